# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The difference between the SAs that should be in a SADB and those that are: an ordered list of
operations. Pure; no backend is known here.

Order: replacements, then additions (inbound before outbound), then deletions (outbound before
inbound). What can fail comes before what cannot, and a sender never switches to an SA before the
receiver on this host could take its answer."""

from __future__ import annotations

import operator
import typing as t

from ..collector import no_collection
from ..errors import InputError, raise_all
from .algorithms import AUTHENTICATION, BY_NAME, ENCRYPTION
from .keys import set_parity
from .model import (
    FLAGS,
    INBOUND,
    KEY_FIELDS,
    OUTBOUND,
    Entry,
    Identity,
    Mark,
    SecurityAssociation,
    bound_direction,
    fingerprints,
    flags,
    format_address,
    is_multicast,
    is_unspecified,
    key_in_use,
    label,
)

PRESENT = "present"
EXACT = "exact"
ABSENT = "absent"
FLUSHED = "flushed"
STATES = (PRESENT, EXACT, ABSENT, FLUSHED)

PEERS = "peers"
PROTOCOL = "protocol"
ALL = "all"
SCOPES = (PEERS, PROTOCOL, ALL)

BOTH = "both"
DIRECTIONS = (BOTH, INBOUND, OUTBOUND)

ADD = "add"
DELETE = "delete"
REPLACE = "replace"

Pair = t.Tuple[bytes, bytes]

_FIELDS = SecurityAssociation._fields
# The same as association.identity and association.owner, made in C since a plan asks for them once
# an SA; and so are operations.
_identity: t.Callable[[SecurityAssociation], Identity] = operator.itemgetter(
    *map(_FIELDS.index, ("protocol", "destination", "spi", "mark"))
)
_owner = operator.itemgetter(*map(_FIELDS.index, ("reqid", "mark", "if_id")))
_make = tuple.__new__
_NOBODY = (0, None, 0)
_NO_MARK = Mark(0, 0)


class Operation(t.NamedTuple):
    """One step. ``new`` is what to add, ``old`` what goes; a replacement has both, and ``fields``
    names what differs (never a value).
    """

    kind: str
    new: SecurityAssociation | None
    old: Entry | None
    fields: tuple[str, ...] = ()

    def __str__(self) -> str:
        sa = self.new if self.new is not None else t.cast(Entry, self.old).sa
        return f"{self.kind} {label(sa)}" + (f" ({', '.join(self.fields)})" if self.fields else "")


class Plan(t.NamedTuple):
    """``operations`` in order; how many SAs are as they should be; and how many in reach belong to
    somebody else and stay.
    """

    operations: tuple[Operation, ...]
    unchanged: int
    foreign: int

    def count(self, kind: str) -> int:
        return sum(operation.kind == kind for operation in self.operations)


def pair(sa: SecurityAssociation) -> Pair:
    """The two addresses of an SA without their order."""
    return (sa.source, sa.destination) if sa.source < sa.destination else (sa.destination, sa.source)


def direction_of(sa: SecurityAssociation, local: t.AbstractSet[bytes]) -> str:
    """Which way an SA goes on the host that has the addresses ``local``; empty where neither end is
    its own and the SA does not say.

    An SA towards a multicast group, unless it says otherwise or its source is this host, is
    received as well as sent; it counts as inbound, so that it is there before anybody sends."""
    if is_multicast(sa.destination):
        return sa.direction or (OUTBOUND if sa.source in local else INBOUND)
    if sa.destination in local:
        return INBOUND
    if sa.source in local or (is_unspecified(sa.source) and local):
        return OUTBOUND
    return sa.direction


def differences(
    desired: SecurityAssociation, actual: SecurityAssociation, keys_hidden: bool = False, tells_directions: bool = False
) -> tuple[str, ...]:
    """Names of the fields in which ``actual`` is not what ``desired`` asks for.

    DES parity does not count, nor keys that the kernel hides, nor what a kernel does not tell:
    ``extra``, and, unless it ``tells_directions``, a ``direction`` that either side leaves open.
    What another program gave the SA and we cannot ask for counts, as "flags"."""
    if desired == actual:
        return ()
    strange = (FLAGS,) if flags(desired) != flags(actual) else ()
    return strange + tuple(
        name
        for name, wanted, found in zip(_FIELDS, desired, actual)
        if wanted != found
        and name != "extra"
        and not (
            name == "direction" and (bound_direction(desired) == found if tells_directions else not (wanted and found))
        )
        and not (name in KEY_FIELDS and (keys_hidden or _same_key(name, desired, actual)))
    )


def _same_key(field: str, desired: SecurityAssociation, actual: SecurityAssociation) -> bool:
    row = BY_NAME.get(getattr(desired, field[: -len("_key")]))
    return row is not None and set_parity(row, getattr(desired, field)) == set_parity(row, getattr(actual, field))


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
    """What to do so that ``actual`` becomes as ``state`` says about ``desired``.

    present: the desired SAs are there. exact: they are, and no other SA in scope. absent: none of
    them is. flushed: nothing in scope is.

    ``scope`` is what exact and flushed may remove: "peers" the address pairs of the desired SAs and
    of ``scope_sas``, "protocol" the protocols of those and ``protocols``, "all" everything;
    ``protocols`` narrows "peers" and "all". Except with "all", larval SAs and SAs whose reqid, mark
    and if_id no SA of ours carries are somebody else's and stay. One that is in the way of an SA we
    want raises InputError, unless ``take_over`` says that the caller named this very SA.

    ``direction`` other than "both" leaves the other direction alone; it needs the host's addresses
    in ``local``, and raises InputError for a desired SA that goes neither way. Whose an SA is and
    what is in scope, all of the desired SAs tell, whatever their direction.

    ``keys_hidden`` and ``tells_directions`` are what `Sadb` says of the kernel.
    """
    if direction == BOTH and _is_settled(desired, actual, state):
        return Plan((), len(desired), 0)
    ours = (*desired, *scope_sas)
    owners = set(map(_owner, ours)) or {_NOBODY}
    reaches: t.Callable[[SecurityAssociation], bool] = _nothing
    if state in (EXACT, FLUSHED):
        reaches = _scope_test(
            scope, ours, [entry.sa for entry in actual if _owner(entry.sa) in owners], protocols, local
        )
    everything = scope == ALL
    if direction != BOTH:
        desired = _towards(desired, direction, local)
    wanted = {_identity(sa): sa for sa in desired} if state != FLUSHED else {}
    held = {_identity(entry.sa) for entry in actual}
    in_the_way = _in_the_way(wanted, actual, held) if state in (PRESENT, EXACT) else {}
    if direction != BOTH:
        # What holds an identity that we want is in the way whatever its source says.
        actual = [
            entry
            for entry in actual
            if _identity(entry.sa) in wanted
            or _identity(entry.sa) in in_the_way
            or direction_of(entry.sa, local) == direction
        ]

    replaces: list[Operation] = []
    deletes: list[Operation] = []
    conflicts: list[InputError] = []
    unchanged = foreign = 0
    for entry in actual:
        sa = entry.sa
        identity = _identity(sa)
        mine = not entry.larval and _owner(sa) in owners
        sa_wanted = wanted.get(identity)
        blocked = in_the_way.get(identity)
        if sa_wanted is not None and state in (PRESENT, EXACT):
            fields = differences(sa_wanted, sa, keys_hidden, tells_directions)
            if not fields and not entry.larval:
                unchanged += 1
            elif mine or everything or take_over:
                replaces.append(Operation(REPLACE, sa_wanted, entry, fields or ("larval",)))
            else:
                conflicts.append(_taken(entry))
        elif blocked is not None:
            if not (everything or take_over or (mine and reaches(sa))):
                conflicts.append(_taken(entry))
            elif _identity(blocked) in held:
                # A second one in the way goes first, or the kernel refuses what takes the place of the other.
                replaces.insert(0, Operation(DELETE, None, entry))
            else:
                replaces.append(
                    Operation(REPLACE, blocked, entry, differences(blocked, sa, keys_hidden, tells_directions))
                )
                held.add(_identity(blocked))
        elif (sa_wanted is not None and state == ABSENT) or reaches(sa):
            # A reservation without an SPI has no identity to delete it by; the kernel lets it expire.
            if sa.spi and (mine or everything or take_over):
                deletes.append(Operation(DELETE, None, entry))
            else:
                foreign += 1
    raise_all(conflicts)
    adds = (
        [_make(Operation, (ADD, sa, None, ())) for identity, sa in wanted.items() if identity not in held]
        if state in (PRESENT, EXACT)
        else []
    )
    if local:
        rank = {INBOUND: 0, "": 1, OUTBOUND: 2}
        adds.sort(key=lambda step: rank[direction_of(t.cast(SecurityAssociation, step.new), local)])
        deletes.sort(key=lambda step: -rank[direction_of(t.cast(Entry, step.old).sa, local)])
    return Plan((*replaces, *adds, *deletes), unchanged, foreign)


def _is_settled(desired: t.Sequence[SecurityAssociation], actual: t.Sequence[Entry], state: str) -> bool:
    """Whether there is nothing to do: the desired SAs are there and, for exact, nothing else is. A
    second run ends here, at the speed of sets.
    """
    if state == EXACT and len(actual) != len(desired):
        return False
    return state in (PRESENT, EXACT) and {entry.sa for entry in actual if not entry.larval}.issuperset(desired)


def _in_the_way(
    wanted: t.Mapping[Identity, SecurityAssociation], actual: t.Sequence[Entry], held: t.AbstractSet[Identity]
) -> dict[Identity, SecurityAssociation]:
    """SAs that are not the wanted ones, but for which the kernel would refuse these: it compares
    marks under the mask of the SA that is there.

    By the identity of the SA that is there, the SA that is wanted in its place (Linux,
    __xfrm_state_locate in net/xfrm/xfrm_state.c)."""
    if not actual or not (any(entry.sa.mark for entry in actual) or any(sa.mark for sa in wanted.values())):
        return {}
    found: dict[Identity, SecurityAssociation] = {}
    missing: dict[t.Any, list[SecurityAssociation]] = {}
    for identity, sa in wanted.items():
        if identity not in held:
            missing.setdefault(identity[:3], []).append(sa)
    for entry in actual:
        there = entry.sa.mark or _NO_MARK
        for sa in missing.get(_identity(entry.sa)[:3], ()):
            mark = sa.mark or _NO_MARK
            if mark.value & mark.mask & there.mask == there.value:
                found.setdefault(_identity(entry.sa), sa)
    return found


def _towards(
    desired: t.Sequence[SecurityAssociation], direction: str, local: t.AbstractSet[bytes]
) -> list[SecurityAssociation]:
    astray = [sa for sa in desired if not direction_of(sa, local)]
    raise_all(
        [
            InputError(
                "neither address is one of this host's, so the SA is neither inbound nor outbound here",
                label(sa),
                "Give this host its own SAs only, or configure the address.",
            )
            for sa in astray
        ]
    )
    return [sa for sa in desired if direction_of(sa, local) == direction]


def _nothing(dummy: SecurityAssociation) -> bool:
    """The scope of states that remove only what they name."""
    return False


def _scope_test(
    scope: str,
    ours: t.Sequence[SecurityAssociation],
    there: t.Sequence[SecurityAssociation],
    protocols: t.Sequence[str] = (),
    local: t.AbstractSet[bytes] = frozenset(),
) -> t.Callable[[SecurityAssociation], bool]:
    """Whether an SA is in scope. ``there`` are the SAs of our owners in the SADB.

    An SA without a source, as the Solaris guides' files have them, has no pair. Text with such SAs
    is about the SAs between their destinations and this host; such an SA of the SADB is in scope of
    pairs when nothing without a source goes anywhere else, since then nobody else can mean it."""
    names = set(protocols)
    if scope == PROTOCOL:
        names.update(sa.protocol for sa in ours)
        return lambda sa: sa.protocol in names
    if scope != PEERS:
        return lambda sa: not names or sa.protocol in names
    pairs = set(map(pair, ours))
    ends = set().union(*pairs)
    open_ends = {sa.destination for sa in ours if is_unspecified(sa.source)}
    near = open_ends | local if open_ends else open_ends
    if all(sa.destination in ends for sa in there if is_unspecified(sa.source)):
        open_ends = ends

    def reaches(sa: SecurityAssociation) -> bool:
        if names and sa.protocol not in names:
            return False
        if is_unspecified(sa.source):
            return sa.destination in open_ends
        return pair(sa) in pairs or (sa.source in near and sa.destination in near)

    return reaches


def _taken(entry: Entry) -> InputError:
    sa = entry.sa
    if entry.larval:
        whose = "is reserved by a key management daemon"
    else:
        mark = "none" if sa.mark is None else f"0x{sa.mark.value:x}/0x{sa.mark.mask:x}"
        whose = f"belongs to somebody else (reqid {sa.reqid}, mark {mark}, if_id {sa.if_id})"
    return InputError(
        f"this SPI is in use towards {format_address(sa.destination)} and {whose}",
        label(sa),
        "Choose another SPI. Where it is an SA of yours that gets another reqid, mark or if_id, name the file that it"
        " came from in scope_src.",
    )


def in_scope(
    sas: t.Iterable[SecurityAssociation], ours: t.Sequence[SecurityAssociation], scope: str = PEERS
) -> list[SecurityAssociation]:
    """Those of ``sas`` that a set operation about ``ours`` would take for its own: in scope, and
    with an owner that ours carry.
    """
    owners = set(map(_owner, ours)) or {_NOBODY}
    candidates = [sa for sa in sas if scope == ALL or _owner(sa) in owners]
    return list(filter(_scope_test(scope, ours, candidates), candidates))


def digest(sas: t.Iterable[SecurityAssociation], key: bytes = b"") -> dict[str, str]:
    """``{"ADDRESS|ADDRESS": 16 hex digits}``: one fingerprint for all SAs between two addresses, in either direction.

    It covers what both peers must agree on: protocol, SPI, addresses, mode, algorithms, ICV, ESN
    and keys. Equal on two hosts that hold the same SAs.

    Short keys (`keys.is_short`) are left out, since whoever reads a fingerprint can test guesses.
    With ``key``, a secret, it is an HMAC of 32 hex digits that covers them too."""
    import hashlib  # only here, as in `keys`
    import hmac

    lines: dict[Pair, list[str]] = {}
    for sa in sas:
        prints = (
            {kind: key_in_use(sa, kind).hex() for kind in (ENCRYPTION, AUTHENTICATION)} if key else fingerprints(sa)
        )
        lines.setdefault(pair(sa), []).append(
            f"{sa.protocol} {sa.spi:08x} {sa.source.hex()} {sa.destination.hex()} {sa.mode} {sa.encryption}"
            f" {prints[ENCRYPTION]} {sa.authentication} {prints[AUTHENTICATION]} {sa.icv_bits} {sa.esn:d}\n"
        )
    found = {}
    for ends, texts in sorted(lines.items()):
        text = "".join(sorted(texts)).encode("ascii")
        found["|".join(map(format_address, ends))] = (
            hmac.new(key, text, "sha256").hexdigest()[:32] if key else hashlib.sha256(text).hexdigest()[:16]
        )
    return found
