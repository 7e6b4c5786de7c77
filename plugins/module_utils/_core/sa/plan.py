# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The difference between the desired SAs and those in a SADB, as an ordered list of operations.
Pure; it knows no backend.

Order: replacements, then additions (inbound before outbound), then deletions (outbound before
inbound). Operations that can fail come before those that cannot, and a sender never switches to an
SA before the receiver on this host could accept the answer."""

from __future__ import annotations

import functools
import typing as t

from ..collector import no_collection
from ..errors import InputError, raise_all
from . import model
from .keys import effective
from .model import Entry, Identity, SecurityAssociation, identity, owner, pair

PRESENT = "present"
EXACT = "exact"
ABSENT = "absent"
FLUSHED = "flushed"

PEERS = "peers"
PROTOCOL = "protocol"
ALL = "all"

BOTH = "both"

ADD = "add"
DELETE = "delete"
REPLACE = "replace"

# Creates an operation in C.
_make = tuple.__new__
_NO_OWNER = (0, None, 0)
_RANK = {model.INBOUND: 0, "": 1, model.OUTBOUND: 2}


class Operation(t.NamedTuple):
    """One step: ``new`` is added, ``old`` is deleted. A replacement has both, and ``fields`` names
    what differs, never a value.
    """

    kind: str
    new: SecurityAssociation | None
    old: Entry | None
    fields: tuple[str, ...] = ()

    def __str__(self) -> str:
        sa = self.new if self.new is not None else t.cast(Entry, self.old).sa
        return f"{self.kind} {model.label(sa)}" + (f" ({', '.join(self.fields)})" if self.fields else "")


class Plan(t.NamedTuple):
    """The operations in order, the number of SAs that are already as desired, and the number of SAs
    in scope that stay because they have another owner.
    """

    operations: tuple[Operation, ...]
    unchanged: int
    foreign: int

    def count(self, kind: str) -> int:
        return sum(operation.kind == kind for operation in self.operations)


def direction_of(sa: SecurityAssociation, local: t.AbstractSet[bytes]) -> str:
    """The direction of an SA on a host with the addresses ``local``; empty if neither end is local
    and the SA does not specify one.

    An SA towards a multicast group counts as inbound, so that it exists before anybody sends,
    unless it specifies a direction or its source is local."""
    if model.is_multicast(sa.destination):
        return sa.direction or (model.OUTBOUND if sa.source in local else model.INBOUND)
    if sa.destination in local:
        return model.INBOUND
    if sa.source in local or (model.is_unspecified(sa.source) and local):
        return model.OUTBOUND
    return sa.direction


def differences(
    desired: SecurityAssociation, actual: SecurityAssociation, keys_hidden: bool = False, tells_directions: bool = False
) -> tuple[str, ...]:
    """Names of the fields in which ``actual`` differs from ``desired``.

    Ignored are DES parity, keys that the kernel hides, ``extra``, and, unless the kernel
    ``tells_directions``, a ``direction`` that either side leaves open. "flags" stands for properties
    that another program gave the SA and that we cannot ask for."""
    if desired == actual:
        return ()
    strange = (model.FLAGS,) if model.flags(desired) != model.flags(actual) else ()
    return strange + tuple(
        name
        for name, wanted, found in zip(SecurityAssociation._fields, desired, actual)
        if wanted != found
        and name != "extra"
        and not (
            name == "direction"
            and (model.bound_direction(desired) == found if tells_directions else not (wanted and found))
        )
        and not (name in model.KEY_FIELDS and (keys_hidden or _is_same_key(desired, name, wanted, found)))
    )


def _is_same_key(sa: SecurityAssociation, field: str, one: t.Any, other: t.Any) -> bool:
    algorithm = getattr(sa, field[: -len("_key")])
    return effective(algorithm, one) == effective(algorithm, other)


@no_collection()
def plan(
    desired: t.Sequence[SecurityAssociation],
    actual: t.Sequence[Entry],
    state: str,
    scope: str = PEERS,
    direction: str = BOTH,
    local: t.AbstractSet[bytes] = frozenset(),
    protocols: t.Sequence[str] = (),
    scope_sas: t.Sequence[SecurityAssociation] = (),
    keys_hidden: bool = False,
    tells_directions: bool = False,
    take_over: bool = False,
) -> Plan:
    """The operations that bring ``actual`` into the ``state`` of ``desired``.

    present: the desired SAs exist. exact: they exist, and no other SA in scope. absent: none of
    them exists. flushed: no SA in scope exists.

    ``scope`` limits what exact and flushed remove: "peers" to the address pairs of the desired SAs
    and ``scope_sas``, "protocol" to their protocols and ``protocols``, "all" not at all;
    ``protocols`` narrows "peers" and "all". Except with "all", larval SAs and SAs whose reqid, mark
    and if_id none of these SAs carries belong to others and stay. If such an SA conflicts with a
    desired one, InputError is raised, unless ``take_over`` says that the caller named this very SA.

    A ``direction`` other than "both" leaves the other direction alone. It needs the host's addresses
    in ``local``; a desired SA that goes neither way raises InputError. Owners and scope follow from
    all desired SAs, whatever their direction.

    ``keys_hidden`` and ``tells_directions`` are as in `Sadb`.
    """
    if direction == BOTH and _is_settled(desired, actual, state):
        return Plan((), len(desired), 0)
    ours = (*desired, *scope_sas)
    owners = set(map(owner, ours)) or {_NO_OWNER}
    if direction != BOTH:
        desired = _towards(desired, direction, local)
    named = {identity(sa): sa for sa in desired} if state != FLUSHED else {}
    wanted = named if state in (PRESENT, EXACT) else {}
    present = {identity(entry.sa) for entry in actual}
    blocked = _blocked(wanted, actual, present)
    in_reach = (
        _scope_test(scope, ours, [entry.sa for entry in actual if owner(entry.sa) in owners], protocols, local)
        if state in (EXACT, FLUSHED)
        else lambda sa: state == ABSENT and identity(sa) in named
    )
    if direction != BOTH:
        # An entry that occupies a wanted identity conflicts whatever its direction.
        claimed = {*named, *blocked}
        actual = [row for row in actual if identity(row.sa) in claimed or direction_of(row.sa, local) == direction]
    differ = functools.partial(differences, keys_hidden=keys_hidden, tells_directions=tells_directions)
    replaces, deletes, unchanged, foreign = _changes(
        actual, wanted, blocked, owners, in_reach, scope == ALL or take_over, differ
    )
    present.update(identity(step.new) for step in replaces if step.new is not None)
    adds = [_make(Operation, (ADD, sa, None, ())) for key, sa in wanted.items() if key not in present]
    if local:
        adds.sort(key=lambda step: _RANK[direction_of(t.cast(SecurityAssociation, step.new), local)])
        deletes.sort(key=lambda step: -_RANK[direction_of(t.cast(Entry, step.old).sa, local)])
    return Plan((*replaces, *adds, *deletes), unchanged, foreign)


def joined(one: Plan, other: Plan) -> Plan:
    """One plan for two that are about different SAs."""
    return Plan((*one.operations, *other.operations), one.unchanged + other.unchanged, one.foreign + other.foreign)


def in_two(operations: t.Sequence[Operation]) -> tuple[t.Sequence[Operation], t.Sequence[Operation]]:
    """The operations up to the last one that adds an SA, and the deletions after it."""
    end = max((index for index, step in enumerate(operations, 1) if step.new is not None), default=0)
    return operations[:end], operations[end:]


def _changes(
    actual: t.Sequence[Entry],
    wanted: t.Mapping[Identity, SecurityAssociation],
    blocked: t.Mapping[Identity, SecurityAssociation],
    owners: t.AbstractSet[t.Any],
    in_reach: t.Callable[[SecurityAssociation], bool],
    forced: bool,
    differ: t.Callable[[SecurityAssociation, SecurityAssociation], tuple[str, ...]],
) -> tuple[list[Operation], list[Operation], int, int]:
    """Replacements, deletions, and how many entries are unchanged and how many foreign. Raises
    InputError for foreign entries that conflict with wanted SAs, unless ``forced``.
    """
    replaces: list[Operation] = []
    deletes: list[Operation] = []
    conflicts: list[InputError] = []
    unblocked: set[Identity] = set()
    unchanged = foreign = 0
    for entry in actual:
        sa = entry.sa
        key = identity(sa)
        mine = forced or (not entry.larval and owner(sa) in owners)
        new = wanted.get(key)
        replacement = blocked.get(key)
        if new is not None:
            fields = differ(new, sa)
            if not fields and not entry.larval:
                unchanged += 1
            elif mine:
                replaces.append(Operation(REPLACE, new, entry, fields or ("larval",)))
            else:
                conflicts.append(_conflict(entry))
        elif replacement is not None:
            if not (forced or (mine and in_reach(sa))):
                conflicts.append(_conflict(entry))
            elif identity(replacement) in unblocked:
                # Other entries that block the same SA go first, or the kernel refuses to replace the first of them.
                replaces.insert(0, Operation(DELETE, None, entry))
            else:
                replaces.append(Operation(REPLACE, replacement, entry, differ(replacement, sa)))
                unblocked.add(identity(replacement))
        elif in_reach(sa):
            # A reservation without an SPI has no identity by which to delete it; the kernel lets it expire.
            if sa.spi and mine:
                deletes.append(Operation(DELETE, None, entry))
            else:
                foreign += 1
    raise_all(conflicts)
    return replaces, deletes, unchanged, foreign


def _is_settled(desired: t.Sequence[SecurityAssociation], actual: t.Sequence[Entry], state: str) -> bool:
    """Whether there is nothing to do: the desired SAs exist and, for exact, no others. A second run
    ends here, at the speed of lists, or of sets if the order differs.
    """
    if state not in (PRESENT, EXACT) or (state == EXACT and len(actual) != len(desired)):
        return False
    there, wanted = [entry.sa for entry in actual if not entry.larval], list(desired)
    # Linux dumps the newest SA first.
    return wanted in (there, there[::-1]) or set(there).issuperset(wanted)


def _blocked(
    wanted: t.Mapping[Identity, SecurityAssociation], actual: t.Sequence[Entry], present: t.AbstractSet[Identity]
) -> dict[Identity, SecurityAssociation]:
    """The identities of entries that cannot be beside a wanted SA of another identity, and that SA,
    since their marks match: the kernel would refuse it, or find it from then on where it is asked for
    the entry, even to delete that.
    """
    if not actual or not (any(entry.sa.mark for entry in actual) or any(sa.mark for sa in wanted.values())):
        return {}
    found: dict[Identity, SecurityAssociation] = {}
    missing: dict[t.Any, list[SecurityAssociation]] = {}
    for key, sa in wanted.items():
        if key not in present:
            missing.setdefault(key[:3], []).append(sa)
    for entry in actual:
        key = identity(entry.sa)
        for sa in missing.get(key[:3], ()):
            if model.finds(sa.mark, entry.sa.mark) or model.finds(entry.sa.mark, sa.mark):
                found.setdefault(key, sa)
    return found


def _towards(
    desired: t.Sequence[SecurityAssociation], direction: str, local: t.AbstractSet[bytes]
) -> list[SecurityAssociation]:
    raise_all(
        [
            InputError(
                "neither address belongs to this host, so the SA is neither inbound nor outbound here",
                model.label(sa),
                "Give this host only its own SAs, or configure the address.",
            )
            for sa in desired
            if not direction_of(sa, local)
        ]
    )
    return [sa for sa in desired if direction_of(sa, local) == direction]


def _scope_test(
    scope: str,
    ours: t.Sequence[SecurityAssociation],
    there: t.Sequence[SecurityAssociation],
    protocols: t.Sequence[str] = (),
    local: t.AbstractSet[bytes] = frozenset(),
) -> t.Callable[[SecurityAssociation], bool]:
    """A function that tells whether an SA is in scope. ``there`` are the SAs of our owners in the SADB.

    An SA without a source, as in the files of the Solaris guides, has no address pair. A text with
    such SAs covers all SAs between their destinations and this host. Such an SA in the SADB is in
    scope of the pairs if no SA without a source goes anywhere else, since then it cannot be meant
    for another peer."""
    names = set(protocols)
    if scope == PROTOCOL:
        names.update(sa.protocol for sa in ours)
        return lambda sa: sa.protocol in names
    if scope != PEERS:
        return lambda sa: not names or sa.protocol in names
    pairs = set(map(pair, ours))
    ends = set().union(*pairs)
    open_ends = {sa.destination for sa in ours if model.is_unspecified(sa.source)}
    near = open_ends | local if open_ends else open_ends
    if all(sa.destination in ends for sa in there if model.is_unspecified(sa.source)):
        open_ends = ends

    def reaches(sa: SecurityAssociation) -> bool:
        if names and sa.protocol not in names:
            return False
        if model.is_unspecified(sa.source):
            return sa.destination in open_ends
        return pair(sa) in pairs or (sa.source in near and sa.destination in near)

    return reaches


def _conflict(entry: Entry) -> InputError:
    sa = entry.sa
    if entry.larval:
        whose = "is reserved by a key management daemon"
    else:
        mark = model.mark_text(sa.mark) or "none"
        whose = f"belongs to another owner (reqid {sa.reqid}, mark {mark}, if_id {sa.if_id})"
    return InputError(
        f"this SPI is in use towards {model.format_address(sa.destination)} and {whose}",
        model.label(sa),
        "Choose another SPI, or delete that SA if nobody needs it.{moved}",
    )


def in_scope(
    sas: t.Iterable[SecurityAssociation], ours: t.Sequence[SecurityAssociation], scope: str = PEERS
) -> list[SecurityAssociation]:
    """The SAs that a set operation on ``ours`` would treat as its own: in scope and with an owner of ours."""
    owners = set(map(owner, ours)) or {_NO_OWNER}
    candidates = [sa for sa in sas if scope == ALL or owner(sa) in owners]
    return list(filter(_scope_test(scope, ours, candidates), candidates))
