# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The steps of the keystore: how `ipsec_keystore` changes the records of its connections for each
requested state.

A step reads, decides, and then writes, so a refused step has changed nothing. A step can be
interrupted at any moment and repeated. The caller holds the keystore's lock."""

from __future__ import annotations

import functools
import types
import typing as t

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import InputError

from .._connections.model import Connection, Unit
from .._connections.units import matching as units_named
from .._connections.units import names_of
from . import changes, generations, owners, parts, records, single_keys, undo
from . import roots as _roots
from .changes import MADE
from .directory import Keystore
from .records import DERIVED, RANDOM, ConnectionRecord, KeyRecord
from .roots import RootFile

PREPARED = "prepared"
SWITCHING = "switching"
RETIRING = "retiring"
PROMOTED = "promoted"
DISCARDED = "discarded"
RETIRED = "retired"
# Only the role rotate uses it.
LEFT = "left"
STATES = (PREPARED, SWITCHING, RETIRING, PROMOTED, DISCARDED, RETIRED)


class Order(t.NamedTuple):
    """What to do. ``store`` is the kind of keys, empty for the kind that a unit has; ``new_keys`` replaces
    the keys of all units, ``renew`` those of the named units or connections; with ``undo`` the
    connections have earlier settings; ``reported`` are SPIs that hosts use; ``ended`` are the names of
    removed connections and pairs; ``leaving`` are units that left, by connection, of which the hosts in
    ``cleaned`` no longer hold anything. ``known`` are all connections with all their units, if only some are
    worked on. ``play`` is the name of the play that has them, if the role rotate asks; with ``is_guest`` it removes
    nothing of its own accord."""

    state: str
    by: str
    store: str = ""
    new_keys: bool = False
    renew: frozenset[str] = frozenset()
    undo: bool = False
    new_root: bool = False
    force: bool = False
    reported: frozenset[int] = frozenset()
    ended: tuple[str, ...] = ()
    leaving: t.Mapping[str, frozenset[Unit]] = types.MappingProxyType({})
    cleaned: frozenset[str] = frozenset()
    known: tuple[Connection, ...] = ()
    play: str = ""
    is_guest: bool = False


class UnitsOutcome(t.NamedTuple):
    """What was done for some units of a connection; ``connection`` has these units only."""

    outcome: str
    record: KeyRecord
    connection: Connection


class Outcome(t.NamedTuple):
    """What was done for one connection. ``parts`` are the units of the order, none for an ended connection."""

    before: ConnectionRecord
    after: ConnectionRecord
    parts: tuple[UnitsOutcome, ...] = ()


class Transition(t.NamedTuple):
    """The outcome for each connection, and the root secrets after and before.

    If the step prepared, ``others`` are the records of all other connections, ``resigned`` those of them that the
    run's play no longer has, and ``owner`` is the run."""

    outcomes: dict[str, Outcome]
    roots: RootFile
    roots_before: RootFile = RootFile()
    others: t.Mapping[str, ConnectionRecord] = types.MappingProxyType({})
    resigned: tuple[ConnectionRecord, ...] = ()
    owner: owners.Owner = owners.Owner("", frozenset(), "")

    @property
    def changed(self) -> bool:
        return bool(self.resigned) or any(row.after != row.before for row in self.outcomes.values())


def carry_out(store: Keystore, connections: t.Sequence[Connection], order: Order, dry: bool = False) -> Transition:
    """Carry out ``order`` for the units of these connections; with ``dry`` only return what would be done."""
    roots = store.read_roots()
    step = {PREPARED: _prepare, LEFT: _leave}.get(order.state, _advance)(store, connections, order, roots)
    if not dry:
        changed = [*step.resigned, *(row.after for row in step.outcomes.values() if row.after != row.before)]
        # A root secret is written before the records that need it, and removed after them.
        if len(step.roots.roots) > len(roots.roots):
            store.write(roots=step.roots)
        store.write(*changed)
        if len(step.roots.roots) < len(roots.roots):
            store.write(roots=step.roots)
    return step._replace(roots_before=roots)


class _Row(t.NamedTuple):
    """Units to prepare: their record, a connection of these units, the kind of their keys, and whether
    they must have new ones.
    """

    record: KeyRecord
    connection: Connection
    kind: str
    new_keys: bool


class _Plan(t.NamedTuple):
    """A connection to prepare: what its file holds, the units to prepare, and the records of all others.
    ``touched`` tells that units left or came back.
    """

    connection: Connection
    before: ConnectionRecord
    rows: list[_Row]
    others: list[KeyRecord]
    touched: bool


def _prepare(store: Keystore, connections: t.Sequence[Connection], order: Order, roots: RootFile) -> Transition:
    known = store.read_all()
    remembered = single_keys.fingerprints(store, known)
    generations.verify(known, store.path, roots.secrets(), remembered)
    owner = owners.owner_of(known, order.known or connections, order.play, order.is_guest)
    plans = []
    for connection in connections:
        store.check(connection.name)
        before = known.get(connection.name, ConnectionRecord(connection.name))
        plan = _plan(connection, before, order, owner)
        for row in plan.rows:
            changes.check_change(row.record, row.connection, store.path(connection.name))
        if not (order.undo or order.new_keys):
            undo.check(connection, [row.record for row in plan.rows], store.path(connection.name))
        plans.append(plan)
    rows = [row for plan in plans for row in plan.rows]
    if any(row.kind == DERIVED for row in rows):
        store.check(_roots.NAME)
        derived = [row.record for row in rows if row.kind == DERIVED]
        if roots.newest is None or (order.new_root and _is_used_by_all(roots.newest, derived)):
            roots = _roots.add(roots, order.by)
    elif order.new_root:
        raise InputError(
            "none of the connections derives its keys", "new_root", "Set {store}: derived, or {new_keys}: true."
        )
    spis = generations.allocator_of(known.values(), roots.secrets(), order.reported)
    # Fingerprints of keys that must not be drawn.
    gone = {fingerprint for whole in known.values() for fingerprint in whole.retired_fingerprints()}.union(remembered)
    outcomes = {plan.before.connection: _prepared(plan, order, roots, spis, gone) for plan in plans}
    named = {connection.name: connection for connection in order.known}
    others = {
        name: owners.all_resigned(whole, owner, named.get(name))
        for name, whole in known.items()
        if name not in outcomes
    }
    resigned = tuple(whole for name, whole in others.items() if whole is not known[name])
    return Transition(outcomes, roots, others=others, resigned=resigned, owner=owner)


def _plan(connection: Connection, before: ConnectionRecord, order: Order, owner: owners.Owner) -> _Plan:
    """Split the records of a connection by what is to be done. New units get records."""
    every = _every(connection, order)
    chosen, present, names = connection.units(), every.units(), names_of(every.name, every.units())
    renewed = {unit for unit in chosen if order.new_keys or not order.renew.isdisjoint((every.name, names[unit]))}
    settings = connection.settings()
    plan = _Plan(connection, before, [], [], False)
    for record in before.records:
        stale = [changes.outdated(generation, settings) for generation in (record.current, record.next)]

        def fate_of(unit: Unit, stale: t.Sequence[t.Callable[[Unit], bool]] = stale) -> t.Hashable:
            return (unit in renewed, *(differs(unit) for differs in stale)) if unit in chosen else unit in present

        for fate, part in parts.divided(record, fate_of).items():
            if fate is False and not part.left:
                plan = plan._replace(touched=True)
                part = part._replace(left=records.now())
            if isinstance(fate, bool):
                known = part if fate else owners.resigned(part, owner)
                plan = plan._replace(touched=plan.touched or known is not part)
                plan.others.append(known)
                continue
            known = owners.entered(part, owner)
            plan = plan._replace(touched=plan.touched or bool(part.left) or known is not part)
            kind = order.store or _kind_of([part])
            plan.rows.append(_Row(known._replace(left="", cleaned=None), connection.only(part.units()), kind, fate[0]))
    fresh = chosen.difference(*(record.units() for record in before.records))
    if fresh:
        kind = order.store or _kind_of(before.present())
        new = KeyRecord(before.connection, last=before.last, retired=before.forgotten)
        plan.rows.append(_Row(owners.entered(new, owner), connection.only(fresh), kind, True))
    return plan


def _every(connection: Connection, order: Order) -> Connection:
    """The connection with all its units."""
    return next((other for other in order.known if other.name == connection.name), connection)


def _prepared(
    plan: _Plan, order: Order, roots: RootFile, spis: generations.SpiAllocator, gone: t.AbstractSet[str]
) -> Outcome:
    """Make one generation of each kind of keys for all units that need one."""
    secrets, when = roots.secrets(), records.now()
    root = (roots.newest.fingerprint, roots.newest.secret) if roots.newest is not None else None
    wanted = root[0] if order.new_root and root is not None else ""
    decided = [
        (changes.decide(row.record, row.connection, row.new_keys, row.kind, wanted if row.kind == DERIVED else ""), row)
        for row in plan.rows
    ]
    number = plan.before.last
    done = [UnitsOutcome(outcome, row.record, row.connection) for outcome, row in decided if outcome != MADE]
    for kind in records.STORES:
        rows = [row for outcome, row in decided if outcome == MADE and row.kind == kind]
        if not rows:
            continue
        number += 1
        ended = [changes.discard(row.record, secrets, order.by, when) for row in rows]
        retired = frozenset(gone).union(*(record.retired_fingerprints() for record in ended))
        whole = plan.connection.only(frozenset().union(*(row.connection.units() for row in rows)))
        made = changes.draw(whole, number, spis, retired, order.by, root if kind == DERIVED else None)
        own = parts.parts_of(made, whole.name, {index: row.connection.units() for index, row in enumerate(rows)})
        for index, (record, row) in enumerate(zip(ended, rows)):
            after = changes.give(record if order.play else owners.foreign(record), own[index])
            done.append(UnitsOutcome(MADE, undo.noted(row.record, after) if order.undo else after, row.connection))
    if number == plan.before.last and not plan.touched:
        return Outcome(plan.before, plan.before, tuple(done))
    return Outcome(
        plan.before, parts.assembled(plan.before, [*plan.others, *(part.record for part in done)]), tuple(done)
    )


def _kind_of(found: t.Sequence[KeyRecord]) -> str:
    """The kind of the newest keys."""
    newest = [generation for record in found for generation in [record.pick(records.NEWEST)] if generation is not None]
    return max(newest, key=lambda generation: generation.generation).store if newest else RANDOM


def _is_used_by_all(newest: _roots.Root, rows: t.Sequence[KeyRecord]) -> bool:
    """Whether a new root secret may be added: an interrupted change to the newest one is finished first."""
    return all(
        record.next is None and record.current is not None and record.current.root == newest.fingerprint
        for record in rows
    )


def _advance(store: Keystore, connections: t.Sequence[Connection], order: Order, roots: RootFile) -> Transition:
    secrets, when = roots.secrets(), records.now()
    outcomes = {}
    for connection in connections:
        whole, place = _read(store, connection.name), store.path(connection.name)
        outcomes[connection.name] = _advanced(whole, connection, order, secrets, when, place)
    for word in order.ended:
        name = word.partition("/")[0]
        if name not in outcomes:
            whole = _read(store, name)
            outcomes[name] = Outcome(whole, whole)
        after = _ended(outcomes[name].after, word, order, secrets, when, store.path(name))
        outcomes[name] = outcomes[name]._replace(after=after)
    return Transition(outcomes, _pruned(store, outcomes, roots, order))


def _pruned(store: Keystore, outcomes: t.Mapping[str, Outcome], roots: RootFile, order: Order) -> RootFile:
    """Without the root secrets that no record needs any longer."""
    if len(roots.roots) < 2:
        return roots
    left = {**store.read_all(), **{name: row.after for name, row in outcomes.items()}}
    return _roots.prune(roots, {root for whole in left.values() for root in whole.roots()}, order.by)


def _leave(store: Keystore, connections: t.Sequence[Connection], order: Order, roots: RootFile) -> Transition:
    """Record which hosts no longer hold anything of units that left. Keys that no host holds are retired."""
    secrets, when = roots.secrets(), records.now()
    outcomes = {}
    for name, units in order.leaving.items():
        whole = _read(store, name)
        outcomes[name] = Outcome(whole, _cleaned(whole, units, order, secrets, when))
    return Transition(outcomes, _pruned(store, outcomes, roots, order))


def _cleaned(
    whole: ConnectionRecord, units: frozenset[Unit], order: Order, secrets: generations.Roots, when: str
) -> ConnectionRecord:
    found = []
    for record in whole.records:
        for is_leaving, part in parts.divided(record, units.__contains__).items():
            if not is_leaving:
                found.append(part)
                continue
            # A group may have had other hosts when its previous keys were made.
            hosts = {host for generation in part.held() for host in generation.endpoints}
            done = {*(part.cleaned or ()), *(order.cleaned & hosts)}
            part = part._replace(left=part.left or when, cleaned=tuple(sorted(done)))
            for is_over, piece in parts.divided(part, functools.partial(_is_over, hosts=hosts, done=done)).items():
                found.append(changes.end(piece, secrets, order.by, when) if is_over else piece)
    return parts.assembled(whole, found)


def _is_over(unit: Unit, hosts: t.AbstractSet[str], done: t.AbstractSet[str]) -> bool:
    """Whether all hosts of a unit are done; ``hosts`` are those of the group."""
    return done >= set(unit or hosts)


def _read(store: Keystore, name: str) -> ConnectionRecord:
    whole = store.read(name)
    if whole is None:
        raise InputError("the connection has no keystore file", store.path(name), "Prepare a generation first.")
    return whole


def _ended(
    whole: ConnectionRecord, word: str, order: Order, secrets: generations.Roots, when: str, place: str
) -> ConnectionRecord:
    """The connection without its keys, or without those of the units that ``word`` names and that left it."""
    done: list[KeyRecord] = []
    others: list[KeyRecord] = []
    for record in whole.records:
        shape = record.shape()
        gone = units_named(word, shape) if shape is not None and (record.left or word == whole.connection) else set()
        for is_gone, part in parts.divided(record, gone.__contains__).items():
            if is_gone:
                _refuse_in_use(part, order, place)
            (done if is_gone else others).append(changes.end(part, secrets, order.by, when) if is_gone else part)
    if word != whole.connection and not done:
        raise InputError(f"no pair {word} left the connection", place, "Name one that ipsec_keystore_info shows.")
    after = parts.assembled(whole, [*others, *done])
    return after._replace(departed={}) if word == whole.connection else after


def _refuse_in_use(record: KeyRecord, order: Order, place: str) -> None:
    if record.phase in records.IN_USE and record.next is not None and not order.force:
        raise InputError(
            f"hosts may already use generation {record.next.generation} of connection {record.connection}",
            place,
            "Run the rotation again to finish it; set force: true only if you know that no host has it.",
        )


# What becomes of a record in each state: (record, root secrets, by, when).
_ADVANCES: t.Mapping[str, t.Callable[[KeyRecord, generations.Roots, str, str], KeyRecord]] = {
    SWITCHING: lambda record, secrets, by, when: changes.start(record, by, when),
    RETIRING: lambda record, secrets, by, when: changes.retire(record, by, when),
    PROMOTED: changes.promote,
    DISCARDED: changes.discard,
    RETIRED: lambda record, secrets, by, when: changes.erase(record),
}


def _advanced(
    whole: ConnectionRecord,
    connection: Connection,
    order: Order,
    secrets: generations.Roots,
    when: str,
    place: str,
) -> Outcome:
    """Advance the units of the connection. Those that left are ended with the whole connection's previous keys."""
    chosen = connection.units()
    forgets = order.state == RETIRED and chosen == _every(connection, order).units()
    done, others, touched = [], [], forgets and bool(whole.departed)
    for record in whole.records:
        if record.left:
            touched = touched or forgets
            others.append(changes.end(record, secrets, order.by, when) if forgets else record)
            continue
        for is_chosen, part in parts.divided(record, chosen.__contains__).items():
            if not is_chosen:
                others.append(part)
                continue
            if order.state == DISCARDED:
                _refuse_in_use(part, order, place)
            after = _ADVANCES[order.state](part, secrets, order.by, when)
            touched = touched or after != part
            done.append(UnitsOutcome(order.state, after, connection.only(part.units())))
    if not touched:
        return Outcome(whole, whole, tuple(done))
    joined = parts.assembled(whole, [*others, *(part.record for part in done)])
    return Outcome(whole, joined._replace(departed={}) if forgets else joined, tuple(done))
