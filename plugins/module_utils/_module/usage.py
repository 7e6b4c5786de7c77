# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How much of their limits the SAs of a host have used, and those for which its boot service asked for new keys."""

from __future__ import annotations

import typing as t

from .._core.audit.service import loaded_again
from .._core.errors import IpsecError
from .._core.sa.digest import name_by_owner
from .._core.sa.limits import BLOCKS, BYTES, PACKETS, SECONDS, Limit, age, limits
from .._core.sa.model import Entry
from .base import Module

_BLOCK_BYTES = 8


def usage(entries: t.Iterable[Entry], names: t.Container[str] | None, now: float) -> dict[str, dict[str, int]]:
    """The most that an SA has used, for each of these ``names`` (pair of addresses and owner, as in
    `digest_by_owner`; None for all), and the age of the youngest SA in seconds. What is zero or unknown is left out.
    """
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        name = name_by_owner(entry.sa)
        if (names is None or name in names) and not entry.larval:
            groups.setdefault(name, []).append(entry)
    return {name: _most_used(group, now) for name, group in groups.items()}


def _most_used(entries: t.Sequence[Entry], now: float) -> dict[str, int]:
    rows = [limit for entry in entries for limit in limits(entry, now)]
    own = [limit for limit in rows if limit.name != BLOCKS]

    def percent(unit: str) -> int:
        return max((_percent(limit) for limit in own if limit.unit == unit), default=0)

    found = {
        "age": min((age(entry, now) for entry in entries if entry.counters.add_time), default=0),
        "packets": max(limit.used for limit in own if limit.unit == PACKETS),
        "packets_percent": percent(PACKETS),
        "bytes": max(entry.counters.bytes for entry in entries),
        "bytes_percent": percent(BYTES),
        "seconds_percent": percent(SECONDS),
        "blocks64": max((limit.used // _BLOCK_BYTES for limit in rows if limit.name == BLOCKS), default=0),
    }
    return {name: number for name, number in found.items() if number}


def _percent(limit: Limit) -> int:
    """How much of the limit is used; all of it if the kernel warns already."""
    return 100 if limit.soft and limit.used >= limit.soft else 100 - limit.percent_left


def asked(module: Module, entries: t.Iterable[Entry]) -> list[str]:
    """The names, as in `usage`, of the SAs in the SADB that the boot service loaded again."""
    try:
        return sorted({name_by_owner(entry.sa) for entry in loaded_again(entries)})
    except IpsecError as error:
        module.warn(f"It is unknown whether the boot service asked for new keys. {error}")
        return []
