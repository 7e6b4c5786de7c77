# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which plays have which units, so that a run can tell what was taken out of its connections from what others have.
Pure.

A run of the role rotate enters its play in the records of what it names, and takes it out of those that it does not
name any more. What no other play has is the run's to remove.

The name of a play alone does not tell that: a play may use the role twice, and a playbook may run with other
connections each time. So each entry has a family, which is the name of one of the connections that a run named together
when the first of them was entered. A run has the families of what it names, and what belongs to others is not its own.
"""

from __future__ import annotations

import typing as t

from .._connections.model import Connection
from . import parts
from .records import NEWEST, ConnectionRecord, KeyRecord

Families = t.FrozenSet[str]


class Owner(t.NamedTuple):
    """A run: its play, the families that it has, and that of what it enters. A guest removes nothing of its own accord,
    so it enters its play only where there is none: it is mostly about what another play has.
    """

    play: str
    families: Families
    family: str
    is_guest: bool = False


def owner_of(
    records: t.Mapping[str, ConnectionRecord], connections: t.Sequence[Connection], play: str, is_guest: bool = False
) -> Owner:
    """The run of a play that names these connections."""
    named = {connection.name: connection.units() for connection in connections}
    shapes = [(connection.settings(), connection.selectors()) for connection in connections]
    found = set()
    for name, whole in records.items():
        for record in whole.records:
            family = dict(record.plays).get(play)
            if not play or family is None:
                continue
            newest = record.pick(NEWEST)
            # One that was only renamed would otherwise be the only one of a new family.
            is_renamed = name not in named and newest is not None and (newest.settings, newest.selectors) in shapes
            if is_renamed or not record.units().isdisjoint(named.get(name, ())):
                found.add(family)
    return Owner(play, frozenset(found), min(found or named, default=""), is_guest)


def entered(record: KeyRecord, owner: Owner) -> KeyRecord:
    """The record of units that the run names."""
    if not owner.play or owner.play in dict(record.plays) or (owner.is_guest and record.plays):
        return record
    return record._replace(plays=tuple(sorted((*record.plays, (owner.play, owner.family)))))


def foreign(record: KeyRecord) -> KeyRecord:
    """The record of units for which somebody without a play made keys, and may still name them."""
    return record._replace(plays=tuple(sorted({**dict(record.plays), "": ""}.items())))


def is_own(record: KeyRecord, owner: Owner) -> bool:
    """Whether nobody but the run has the units."""
    return [play for play, dummy in record.plays] == [owner.play] and _is_known(record, owner)


def resigned(record: KeyRecord, owner: Owner) -> KeyRecord:
    """The record of units that the run does not name any more: another play has them alone."""
    if not _is_known(record, owner) or len(record.plays) < 2:
        return record
    return record._replace(plays=tuple(row for row in record.plays if row[0] != owner.play))


def _is_known(record: KeyRecord, owner: Owner) -> bool:
    return dict(record.plays).get(owner.play) in owner.families


def all_resigned(whole: ConnectionRecord, owner: Owner, connection: Connection | None) -> ConnectionRecord:
    """A connection's records after that; ``connection`` is as the run names it."""
    present = connection.units() if connection is not None else frozenset()
    pieces = [
        (piece, resigned(piece, owner) if not is_named else piece)
        for record in whole.records
        if len(record.plays) > 1
        for is_named, piece in parts.divided(record, present.__contains__).items()
    ]
    if all(before == after for before, after in pieces):
        return whole
    return parts.assembled(
        whole, [*(row for row in whole.records if len(row.plays) < 2), *(after for dummy, after in pieces)]
    )
