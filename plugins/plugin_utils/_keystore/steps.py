# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The steps of the keystore: how `ipsec_keystore` changes the records of its connections for each
requested state.

A step reads, decides, and then writes, so a refused step has changed nothing. A step can be
interrupted at any moment and repeated. The caller holds the keystore's lock."""

from __future__ import annotations

import types
import typing as t

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import InputError

from .._connections.model import Connection
from . import changes, generations, records, single_keys, undo
from . import roots as _roots
from .changes import MADE
from .directory import Keystore
from .records import DERIVED, RANDOM, KeyRecord
from .roots import RootFile

PREPARED = "prepared"
SWITCHING = "switching"
RETIRING = "retiring"
PROMOTED = "promoted"
DISCARDED = "discarded"
RETIRED = "retired"
STATES = (PREPARED, SWITCHING, RETIRING, PROMOTED, DISCARDED, RETIRED)


class Order(t.NamedTuple):
    """What to do. ``store`` is the kind of keys, empty for the kind that a connection has;
    ``new_keys`` replaces the keys of all connections, ``renew`` those of the named ones; with ``undo``
    the connections have earlier settings; ``reported`` are SPIs that hosts use; ``ended`` are the names
    of removed connections."""

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


class Outcome(t.NamedTuple):
    """What was done for one connection."""

    outcome: str
    before: KeyRecord
    after: KeyRecord


class Transition(t.NamedTuple):
    """The outcome for each connection, and the root secrets after and before.

    ``others`` are the records of all other connections if the step prepared, else empty."""

    outcomes: dict[str, Outcome]
    roots: RootFile
    roots_before: RootFile = RootFile()
    others: t.Mapping[str, KeyRecord] = types.MappingProxyType({})

    @property
    def changed(self) -> bool:
        return any(row.after != row.before for row in self.outcomes.values())


def carry_out(store: Keystore, connections: t.Sequence[Connection], order: Order, dry: bool = False) -> Transition:
    """Carry out ``order`` for these connections; with ``dry`` only return what would be done."""
    roots = store.read_roots()
    step = (_prepare if order.state == PREPARED else _advance)(store, connections, order, roots)
    if not dry:
        changed = [row.after for row in step.outcomes.values() if row.after != row.before]
        # A root secret is written before the records that need it, and removed after them.
        if len(step.roots.roots) > len(roots.roots):
            store.write(roots=step.roots)
        store.write(*changed)
        if len(step.roots.roots) < len(roots.roots):
            store.write(roots=step.roots)
    return step._replace(roots_before=roots)


def _prepare(store: Keystore, connections: t.Sequence[Connection], order: Order, roots: RootFile) -> Transition:
    known = store.read_all()
    remembered = single_keys.fingerprints(store, known)
    generations.verify(known, store.path, roots.secrets(), remembered)
    rows = []
    for connection in connections:
        store.check(connection.name)
        record = known.get(connection.name, KeyRecord(connection.name))
        changes.check_change(record, connection, store.path(connection.name))
        if not (order.undo or order.new_keys):
            undo.check(connection, [record], store.path(connection.name))
        rows.append((connection, record, order.store or _kind_of(record)))
    if any(kind == DERIVED for dummy, dummy2, kind in rows):
        store.check(_roots.NAME)
        if roots.newest is None or (
            order.new_root
            and _is_used_by_all(roots.newest, [record for dummy, record, kind in rows if kind == DERIVED])
        ):
            roots = _roots.add(roots, order.by)
    elif order.new_root:
        raise InputError(
            "none of the connections derives its keys", "new_root", "Set {store}: derived, or {new_keys}: true."
        )
    secrets = roots.secrets()
    wanted = roots.newest.fingerprint if order.new_root and roots.newest is not None else ""
    spis = generations.allocator_of(known.values(), secrets, order.reported)
    # Fingerprints of keys that must not be drawn.
    gone = {fingerprint for record in known.values() for fingerprint in record.retired_fingerprints()}.union(remembered)
    outcomes = {}
    for connection, record, kind in rows:
        anew = order.new_keys or connection.name in order.renew
        outcome = changes.decide(record, connection, anew, kind, wanted if kind == DERIVED else "")
        after = record
        if outcome == MADE:
            root = (
                (roots.newest.fingerprint, roots.newest.secret)
                if kind == DERIVED and roots.newest is not None
                else None
            )
            after = changes.make(changes.discard(record, secrets, order.by), connection, spis, gone, order.by, root)
            after = undo.noted(record, after) if order.undo else after
        outcomes[connection.name] = Outcome(outcome, record, after)
    return Transition(outcomes, roots, others={name: record for name, record in known.items() if name not in outcomes})


def _kind_of(record: KeyRecord) -> str:
    newest = record.pick(records.NEWEST)
    return newest.store if newest is not None else RANDOM


def _is_used_by_all(newest: _roots.Root, rows: t.Sequence[KeyRecord]) -> bool:
    """Whether a new root secret may be added: an interrupted change to the newest one is finished first."""
    return all(
        record.next is None and record.current is not None and record.current.root == newest.fingerprint
        for record in rows
    )


def _advance(store: Keystore, connections: t.Sequence[Connection], order: Order, roots: RootFile) -> Transition:
    secrets = roots.secrets()
    outcomes = {}
    for name in (*(connection.name for connection in connections), *order.ended):
        record = store.read(name)
        if record is None:
            raise InputError("the connection has no keystore file", store.path(name), "Prepare a generation first.")
        if record.phase in records.IN_USE and not order.force and (order.state == DISCARDED or name in order.ended):
            raise InputError(
                f"hosts may already use generation {record.last} of connection {record.connection}",
                store.path(name),
                "Run the rotation again to finish it; set force: true only if you know that no host has it.",
            )
        outcomes[name] = Outcome(order.state, record, _advanced(record, order, secrets))
    if len(roots.roots) > 1:
        left = {**store.read_all(), **{name: row.after for name, row in outcomes.items()}}
        roots = _roots.prune(roots, {root for record in left.values() for root in record.roots()}, order.by)
    return Transition(outcomes, roots)


def _advanced(record: KeyRecord, order: Order, secrets: generations.Roots) -> KeyRecord:
    if record.connection in order.ended:
        return changes.end(record, secrets, order.by)
    if order.state == SWITCHING:
        return changes.start(record, order.by)
    if order.state == RETIRING:
        return changes.retire(record, order.by)
    if order.state == PROMOTED:
        return changes.promote(record, secrets, order.by)
    if order.state == DISCARDED:
        return changes.discard(record, secrets, order.by)
    return changes.erase(record)
