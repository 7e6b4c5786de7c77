# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an audit says about a host's SAs: one row for each pair of addresses and owner, without keys. Pure."""

from __future__ import annotations

import collections
import math
import typing as t

from ..sa import keys
from ..sa.conflicts import conflicts
from ..sa.digest import digest, name_by_owner
from ..sa.limits import BLOCKS, BYTES, PACKETS, Limit, age, limits
from ..sa.model import (
    AH,
    ESP,
    INBOUND,
    OUTBOUND,
    Entry,
    SecurityAssociation,
    algorithm_of,
    fingerprints,
    is_counter_mode,
    mark_text,
)
from ..sa.plan import direction_of
from ..spd.guarding import guarding
from ..spd.policy import Policy, label
from .policies import PolicyFacts
from .remark import Remark, bounded

if t.TYPE_CHECKING:
    from .service import ServiceFacts

Row = t.Dict[str, t.Any]

OWN, BY_AH, NO_INTEGRITY = "own", "ah", "none"
_MOST_FINGERPRINTS = 10_000
ENDING = 0.95
"""The share of its packets or bytes from which on an SA is about to end."""


class Observed(t.NamedTuple):
    """A host's SAs: those of the kernel, larval ones aside, and of the protected file; which of the former
    no policy uses; and those that the service at boot loaded again.
    """

    entries: t.Sequence[Entry]
    stored: t.Sequence[SecurityAssociation]
    leaking: t.Sequence[SecurityAssociation] = ()
    open: t.Sequence[SecurityAssociation] = ()
    reloaded: t.Sequence[Entry] = ()


def rows(observed: Observed, local: t.AbstractSet[bytes], now: float, digest_key: bytes, hidden: bool) -> list[Row]:
    """A row for each name of `name_by_owner`. With ``hidden``, the kernel hides keys: nothing is said about them, and
    outlines are compared instead."""
    groups: dict[str, list[Entry]] = {}
    for entry in observed.entries:
        groups.setdefault(name_by_owner(entry.sa), []).append(entry)
    stored: dict[str, list[SecurityAssociation]] = {}
    for sa in observed.stored:
        stored.setdefault(name_by_owner(sa), []).append(sa)
    counts = {
        "leaking": _count(observed.leaking),
        "open": _count(observed.open),
        "reloaded": _count(entry.sa for entry in observed.reloaded),
        "shared_keys": {} if hidden else _sharing_keys([entry.sa for entry in observed.entries]),
        "shared_spis": _sharing_spis([entry.sa for entry in observed.entries]),
    }
    return [
        {
            "name": name,
            **_of_group(groups.get(name, []), local, now, digest_key, hidden),
            "file_digest": _digest(stored.get(name, []), digest_key),
            "file_outline": _digest(stored.get(name, []), digest_key, with_keys=False) if hidden else "",
            **{field: found.get(name, 0) for field, found in counts.items()},
        }
        for name in sorted({*groups, *stored})
    ]


def _of_group(
    group: t.Sequence[Entry], local: t.AbstractSet[bytes], now: float, digest_key: bytes, hidden: bool
) -> Row:
    sas = [entry.sa for entry in group]
    storable = [sa for sa in sas if not is_counter_mode(sa)]
    directions = [direction_of(sa, local) for sa in sas]
    ages = [age(entry, now) for entry in group]
    counters = [entry.counters for entry in group]
    return {
        "sas": len(sas),
        "inbound": directions.count(INBOUND),
        "outbound": directions.count(OUTBOUND),
        "oldest": max(ages, default=0),
        "youngest": min(ages, default=0),
        "budgets": budgets(limit for entry in group for limit in limits(entry, now)),
        "digest": "" if hidden else _digest(sas, digest_key),
        "storable_digest": "" if hidden else _digest(storable, digest_key),
        "outline": _digest(sas, digest_key, with_keys=False) if hidden else "",
        "storable_outline": _digest(storable, digest_key, with_keys=False) if hidden else "",
        "fingerprints": [] if hidden else _fingerprints(sas),
        "algorithms": sorted({name for sa in sas for name in (sa.encryption, sa.authentication) if name}),
        "integrity": _integrity(sas),
        "integrity_failures": sum(row.integrity_failures for row in counters),
        "replayed": sum(row.replayed + row.late for row in counters),
    }


def budgets(found: t.Iterable[Limit]) -> list[Row]:
    """For packets, bytes and 64-bit blocks, the used share of the limit that is used most. The largest comes first, or
    one that is about to end. That of blocks is a share of what is advised and may exceed 1: the SA continues then.
    """
    shares: dict[str, tuple[bool, float]] = {}
    for limit in found:
        if limit.name == BLOCKS:
            row = "blocks", (False, limit.used / limit.soft)
        elif limit.unit in (PACKETS, BYTES):
            used = min(1.0, limit.used / (limit.hard or limit.soft))
            row = limit.unit, (used >= ENDING, used)
        else:
            continue
        what, share = row
        shares[what] = max(share, shares.get(what, share))
    order = sorted(shares, key=shares.__getitem__, reverse=True)
    return [{"what": what, "used": math.floor(shares[what][1] * 10_000) / 10_000} for what in order]


def of_policies(facts: PolicyFacts) -> list[Remark]:
    """Policies whose traffic does not pass, and those whose traffic passes unprotected, each with its owner."""
    return [
        *bounded(Remark("policy-without-sa", label(policy), owner_of(policy)) for policy in facts.waiting),
        *bounded(Remark("level-use", label(policy), owner_of(policy)) for policy in facts.optional),
    ]


def of_service(
    found: ServiceFacts, overriding: t.Iterable[str], policies: t.Iterable[Policy], sas: t.Iterable[SecurityAssociation]
) -> list[Remark]:
    """What of a service at boot is not as the kernel is now: policies that guard SAs, and that it does not load; and
    drop-ins by which it may load something else.
    """
    guards = guarding(policies, sas) if found.enabled and found.loads_sas_alone else []
    return [
        *bounded(Remark("drop-in", path) for path in overriding),
        *([Remark("boots-without-policies", found.file, str(len(guards)))] if guards else ()),
    ]


def owners(policies: t.Iterable[Policy]) -> dict[str, int]:
    """How many policies there are of each owner."""
    return dict(collections.Counter(map(owner_of, policies)))


def owner_of(policy: Policy) -> str:
    """Whose SAs the policy asks for, as the end of `name_by_owner` names it; its first template decides."""
    reqid = next((template.reqid for template in policy.templates), 0)
    return f"{reqid},{mark_text(policy.mark)},{policy.if_id}"


def _digest(sas: t.Sequence[SecurityAssociation], digest_key: bytes, with_keys: bool = True) -> str:
    return "".join(digest(sas, digest_key, with_keys).values())


def _fingerprints(sas: t.Iterable[SecurityAssociation]) -> list[str]:
    """Those of all keys except short ones, which a fingerprint would reveal."""
    found = {value for sa in sas for value in fingerprints(sa).values()}
    return sorted(found - {"", keys.SHORT_KEY})[:_MOST_FINGERPRINTS]


def _integrity(sas: t.Sequence[SecurityAssociation]) -> str:
    """Whether every ESP SA has integrity of its own, or from an AH SA beside it, or none (RFC 8221 section 4)."""
    authenticated = {(sa.source, sa.destination) for sa in sas if sa.protocol == AH}
    bare = [sa for sa in sas if sa.protocol == ESP and not sa.authentication and not _is_combined(sa)]
    if not bare:
        return OWN
    return BY_AH if all((sa.source, sa.destination) in authenticated for sa in bare) else NO_INTEGRITY


def _is_combined(sa: SecurityAssociation) -> bool:
    cipher = algorithm_of(sa.encryption)
    # What only this kernel knows cannot be judged.
    return cipher is None or cipher.combined


def _sharing_keys(sas: t.Sequence[SecurityAssociation]) -> dict[str, int]:
    pairs = [(sas[row.first], sas[row.second]) for row in conflicts(sas) if row.field != "spi"]
    return _count(sa for pair in pairs for sa in pair)


def _sharing_spis(sas: t.Sequence[SecurityAssociation]) -> dict[str, int]:
    """SAs of different identity with one SPI, except those of a group, which are one SA towards many."""
    users: dict[int, list[SecurityAssociation]] = {}
    for sa in sas:
        users.setdefault(sa.spi, []).append(sa)
    return _count(
        sa
        for group in users.values()
        if len({(row.protocol, row.encryption_key, row.authentication_key) for row in group}) > 1
        for sa in group
    )


def _count(sas: t.Iterable[SecurityAssociation]) -> dict[str, int]:
    found: dict[str, int] = {}
    for sa in sas:
        name = name_by_owner(sa)
        found[name] = found.get(name, 0) + 1
    return found
