# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the SAs of a host tell: who they are shared with, how old they are, and what is left of their limits. Pure."""

from __future__ import annotations

import typing as t

from ..sa.limits import Limit, age, limits
from ..sa.model import INBOUND, OUTBOUND, Entry, Pair, format_address, label, pair
from ..sa.plan import direction_of

# Percent: an SA is due when no more than this is left of one of its limits, as by default in the role `rotate`.
RESERVE = 50


class Due(t.NamedTuple):
    """Why an SA is due for replacement: a limit that warns or is nearly used up."""

    entry: Entry
    limit: Limit

    def __str__(self) -> str:
        name, unit, used, soft, dummy = self.limit
        if soft and used >= soft:
            return f"{label(self.entry.sa)}: {used} {unit} used, new keys are due from {soft} on ({name})"
        return f"{label(self.entry.sa)}: {self.limit.percent_left} % of its {name} left"


class PairFacts(t.NamedTuple):
    """The SAs between two addresses, larval ones aside. ``peer`` is the packed address of the other
    end, the destination if both ends or neither are addresses of this host.

    ``outbound`` and ``inbound`` count SAs, ``unknown`` those whose direction is not known. ``oldest``
    and ``youngest`` are ages in seconds. ``scarcest`` is the limit that is closest to being used up."""

    ends: Pair
    peer: bytes
    outbound: int
    inbound: int
    unknown: int
    oldest: int
    youngest: int
    scarcest: Limit
    due: tuple[Due, ...]

    @property
    def name(self) -> str:
        """``ADDRESS|ADDRESS``, as the digests of pairs are named (`sa.digest`)."""
        return "|".join(map(format_address, self.ends))


def due(entry: Entry, now: float, reserve: int = RESERVE) -> list[Due]:
    """The limits of the SA that have reached their soft end, or of which no more than ``reserve`` percent is left."""
    return [
        Due(entry, limit)
        for limit in limits(entry, now)
        if (limit.soft and limit.used >= limit.soft) or limit.percent_left <= reserve
    ]


def pairs(entries: t.Iterable[Entry], local: t.AbstractSet[bytes], now: float) -> list[PairFacts]:
    """Facts about each pair of addresses: those with something due first, then by what is left, then by address."""
    groups: dict[Pair, list[Entry]] = {}
    for entry in entries:
        if not entry.larval:
            groups.setdefault(pair(entry.sa), []).append(entry)
    found = [_pair(ends, group, local, now) for ends, group in groups.items()]
    return sorted(found, key=lambda row: (not row.due, row.scarcest.percent_left, len(row.peer), row.peer, row.ends))


def _pair(ends: Pair, group: t.Sequence[Entry], local: t.AbstractSet[bytes], now: float) -> PairFacts:
    directions = [direction_of(entry.sa, local) for entry in group]
    ages = [age(entry, now) for entry in group]
    others = [address for address in ends if address not in local]
    return PairFacts(
        ends,
        others[0] if len(others) == 1 else group[0].sa.destination,
        directions.count(OUTBOUND),
        directions.count(INBOUND),
        directions.count(""),
        max(ages),
        min(ages),
        min((limit for entry in group for limit in limits(entry, now)), key=lambda limit: limit.percent_left),
        tuple(row for entry in group for row in due(entry, now)),
    )


def marked(mark: str, entries: t.Iterable[Entry]) -> list[Entry]:
    """The SAs that the mark ``rotation-due`` names, one on each line, and that the SADB still holds."""
    named = set(mark.splitlines())
    return [entry for entry in entries if label(entry.sa) in named]
