# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SAs of a SADB as results show them: `view.public`, and what each has done and may still do."""

from __future__ import annotations

from . import model
from .limits import BYTES, PACKETS, age, limits
from .model import Entry
from .view import View, public


def observed(entry: Entry, now: float) -> View:
    """An SA of the SADB with its counters, its age in seconds at ``now``, and the rest of its budget."""
    counters = entry.counters
    return {
        **public(entry.sa),
        "larval": entry.larval,
        "flags": model.flags(entry.sa).split(),
        "age": age(entry, now),
        "counters": counters._asdict(),
        "budget": budget(entry),
    }


def budget(entry: Entry) -> dict[str, int | None]:
    """Packets and bytes until the SA ends or should be replaced (`limits`); None for no limit."""
    left: dict[str, list[int]] = {PACKETS: [], BYTES: []}
    for limit in limits(entry, 0):
        if limit.hard and limit.unit in left:
            left[limit.unit].append(limit.left)
    return {unit: min(found) if found else None for unit, found in left.items()}
