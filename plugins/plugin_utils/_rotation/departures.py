# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What left the connections, and what of it a run removes: as far as rotate_leave says, or everything with
rotate_state. By default that is what only this play had. Of the rest, nothing tells whether somebody else still names
it. Pure.
"""

from __future__ import annotations

import typing as t

from .._connections.model import Connection, Unit, connection_of
from .._connections.units import matching, name_of
from .rotation import Rotation

ABSENT = "absent"
STATES = ("present", ABSENT)
# In rotate_leave. No connection and no host has these names.
EVERYTHING = "*"
THIS_PLAY = "this play"
_LISTED = 3


class Leaving(t.NamedTuple):
    """Units that left. ``shapes`` are connections of these units alone, as each generation with keys has
    them; ``cleaned`` are the hosts that no longer hold anything of them, None if nobody began to remove them;
    ``own`` is whether only the run's play had them, ``plays`` are all that have them.
    """

    shapes: list[Connection]
    cleaned: frozenset[str] | None
    own: bool
    plays: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.shapes[0].name

    @property
    def units(self) -> frozenset[Unit]:
        return self.shapes[0].units()

    @property
    def everyone(self) -> list[str]:
        """The hosts that held something. Only those of a group can differ between its generations."""
        return sorted({host for shape in self.shapes for host in shape.hosts})

    @property
    def hosts(self) -> list[str]:
        """The hosts that still hold something."""
        return [host for host in self.everyone if host not in (self.cleaned or ())]


def chosen(run: Rotation) -> list[Leaving]:
    """What this run removes: what rotate_leave says, what an earlier run began to remove, or with
    rotate_state absent everything that a host of the run has. Nothing if the run is limited to a part.
    """
    return [part for part in divided(run)[0] if part.hosts]


def divided(run: Rotation) -> tuple[list[Leaving], list[Leaving]]:
    """What left, by whether this run removes it."""
    removed: list[Leaving] = []
    kept: list[Leaving] = []
    known = {row["connection"] for row in run.expected["leaving"]} | {row.name for row in run.connections()}
    for row in run.expected["leaving"]:
        shapes = [
            connection_of(row["connection"], settings, selectors)
            for settings, selectors in zip(row["settings"], row["selectors"])
        ]
        cleaned = None if row["cleaned"] is None else frozenset(row["cleaned"])
        whole = Leaving(shapes, cleaned, row["own"], tuple(row["plays"]))
        wanted = _wanted(run, whole, known)
        for found, units in ((removed, wanted), (kept, whole.units - wanted)):
            if units:
                found.append(whole._replace(shapes=[shape.only(units) for shape in shapes]))
    return removed, kept


def _wanted(run: Rotation, whole: Leaving, known: t.AbstractSet[str]) -> frozenset[Unit]:
    if run.wide["only"]:
        return frozenset()
    if whole.cleaned is not None:
        return whole.units
    if run.wide["state"] == ABSENT or is_unnamed(run, whole):
        here = run.state["own"].keys()
        return frozenset(unit for unit in whole.units if not here.isdisjoint(unit or whole.everyone))
    words = [word for word in named(run) if word == whole.name or word not in known]
    return frozenset().union(*(matching(word, shape) for word in words for shape in whole.shapes))


def is_unnamed(run: Rotation, part: Leaving) -> bool:
    """Whether the run removes it without a name."""
    words = run.wide["leave"]
    return EVERYTHING in words or (THIS_PLAY in words and part.own)


def named(run: Rotation) -> list[str]:
    return [word for word in run.wide["leave"] if word not in (EVERYTHING, THIS_PLAY)]


def hosts(run: Rotation) -> list[str]:
    """The hosts of the run that have something to remove."""
    return sorted({host for part in chosen(run) for host in part.hosts if host in run.state["own"]})


def is_asked_for(wide: t.Mapping[str, t.Any]) -> bool:
    """Whether the settings of a run ask for a removal, in contrast to the default."""
    return wide["state"] == ABSENT or any(word != THIS_PLAY for word in wide["leave"])


def is_standing(wide: t.Mapping[str, t.Any]) -> bool:
    """Whether the run removes what leaves its connections without a name."""
    return not {EVERYTHING, THIS_PLAY}.isdisjoint(wide["leave"])


def may_be_empty(wide: t.Mapping[str, t.Any]) -> bool:
    """Whether a run without connections is no mistake: what goes is named, or everything shall go."""
    return wide["state"] == ABSENT or any(word not in (THIS_PLAY, EVERYTHING) for word in wide["leave"])


def units(parts: t.Iterable[Leaving]) -> dict[str, frozenset[Unit]]:
    """The units of these parts, by connection."""
    found: dict[str, frozenset[Unit]] = {}
    for part in parts:
        found[part.name] = part.units | found.get(part.name, frozenset())
    return found


def names_at(part: Leaving, host: str) -> list[str]:
    return [name_of(part.name, unit) for unit in sorted(part.units) if not unit or host in unit]


def listed(names: t.Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
