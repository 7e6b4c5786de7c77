# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Splitting records by unit, and joining those that have the same history. No key or SPI changes. Pure."""

from __future__ import annotations

import itertools
import json
import re
import typing as t

from .._connections.model import Unit, connection_of
from .records import ConnectionRecord, Generation, KeyRecord, Retired

Units = t.AbstractSet[Unit]

# An SA in the text of a generation, and its addresses.
_SA = re.compile(r"add .*? src (\S+) dst (\S+)")
_CONTINUATION = "\\\n"
# The settings that say which units there are.
SHAPE = ("endpoints", "hubs", "pairs")


def divided(record: KeyRecord, kind_of: t.Callable[[Unit], t.Hashable]) -> dict[t.Any, KeyRecord]:
    """The record split by what ``kind_of`` returns for its units."""
    kinds: dict[t.Any, set[Unit]] = {}
    for unit in record.units():
        kinds.setdefault(kind_of(unit), set()).add(unit)
    if len(kinds) < 2:
        return {kind: record for kind in kinds}
    current, following, previous = (
        parts_of(found, record.connection, kinds) if found is not None else {}
        for found in (record.current, record.next, record.previous)
    )
    return {
        kind: record._replace(current=current.get(kind), next=following.get(kind), previous=previous.get(kind))
        for kind in kinds
    }


def part_of(generation: Generation, connection: str, units: Units) -> Generation:
    """What some of its units have of a generation."""
    return parts_of(generation, connection, {"": units})[""]


def parts_of(generation: Generation, connection: str, kinds: t.Mapping[t.Any, Units]) -> dict[t.Any, Generation]:
    """What each of several sets of its units has of a generation, in one pass over its SAs."""
    whole = connection_of(connection, generation.settings)
    if len(kinds) == 1 and all(whole.only(units) is whole for units in kinds.values()):
        return dict.fromkeys(kinds, generation)
    addresses = generation.endpoints
    owners = {
        (addresses[one], addresses[other]): kind
        for kind, units in kinds.items()
        for unit in units
        for one, other in (unit, unit[::-1])
    }
    lines: dict[t.Any, list[str]] = {}
    for ends, line in sas_between(generation):
        if ends in owners:
            lines.setdefault(owners[ends], []).append(f"{line}\n")
    moved: dict[t.Any, dict[str, int]] = {}
    for place, attempt in generation.moved.items():
        one, other = place.partition(" ")[0].split(">")
        moved.setdefault(owners.get((one, other)), {})[place] = attempt
    return {
        kind: generation._replace(
            settings=whole.only(units).settings(), sas="".join(lines.get(kind, ())), moved=moved.get(kind, {})
        )
        for kind, units in kinds.items()
    }


def sas_between(generation: Generation) -> list[tuple[tuple[str, str], str]]:
    """The lines of a random generation's SAs between its endpoints, each with the two addresses."""
    addresses = set(generation.endpoints.values())
    lines = generation.sas.replace(_CONTINUATION, "").splitlines()
    found = [((sa[1], sa[2]), line) for line in lines for sa in [_SA.match(line)] if sa is not None]
    return [(ends, line) for ends, line in found if addresses.issuperset(ends)]


def assembled(
    before: ConnectionRecord, records: t.Iterable[KeyRecord], forgotten: t.Iterable[Retired] = ()
) -> ConnectionRecord:
    """The connection with these records instead of its own. Records with the same history are joined; of
    those without a generation, the retired ones are kept.
    """
    groups: dict[t.Hashable, list[KeyRecord]] = {}
    gone: dict[int, Retired] = {id(row): row for row in (*before.forgotten, *forgotten)}
    last = before.last
    for record in records:
        last = max(last, record.last)
        if any(record.generations()):
            groups.setdefault(_history(record), []).append(record)
        else:
            gone.update((id(row), row) for row in record.retired)
    joined = tuple(_joined(group, last) for group in groups.values())
    kept = {id(row) for record in joined for row in record.retired}
    return before._replace(
        last=last, records=joined, forgotten=tuple(row for key, row in gone.items() if key not in kept)
    )


def _history(record: KeyRecord) -> t.Hashable:
    generations = tuple(map(_origin, (record.current, record.next, record.previous)))
    own = (record.phase, record.since, record.by, record.left, record.cleaned, record.plays, record.abandoned)
    return own, generations


def _origin(generation: Generation | None) -> t.Hashable:
    """Equal for parts of one generation."""
    if generation is None:
        return ""
    settings = {name: value for name, value in generation.settings.items() if name not in SHAPE}
    return json.dumps([*generation._replace(settings=settings, sas="", moved={})], sort_keys=True)


def _joined(records: t.Sequence[KeyRecord], last: int) -> KeyRecord:
    first = records[0]
    if len(records) == 1:
        return first._replace(last=last)
    units = frozenset[Unit]().union(*(record.units() for record in records))
    return first._replace(
        last=last,
        retired=_folded(row for record in records for row in record.retired),
        current=_union([record.current for record in records], first.connection, units),
        next=_union([record.next for record in records], first.connection, units),
        previous=_union([record.previous for record in records], first.connection, units),
    )


def _union(generations: t.Sequence[Generation | None], connection: str, units: Units) -> Generation | None:
    parts = [generation for generation in generations if generation is not None]
    if not parts:
        return None
    shapes = [connection_of(connection, part.settings) for part in parts]
    endpoints = {endpoint.host: endpoint for shape in shapes for endpoint in shape.endpoints}
    whole = shapes[0]._replace(endpoints=tuple(sorted(endpoints.values())))
    return parts[0]._replace(
        settings=whole.only(units).settings(),
        sas="".join(part.sas for part in parts),
        moved=dict(itertools.chain.from_iterable(part.moved.items() for part in parts)),
    )


def _folded(rows: t.Iterable[Retired]) -> tuple[Retired, ...]:
    """Retired parts of one generation that went together become one."""
    unique = {id(row): row for row in rows}.values()
    groups: dict[Retired, list[Retired]] = {}
    for row in unique:
        groups.setdefault(row._replace(fingerprints=(), spis=()), []).append(row)
    return tuple(
        (
            group[0]
            if len(group) == 1
            else group[0]._replace(
                fingerprints=tuple(dict.fromkeys(itertools.chain.from_iterable(row.fingerprints for row in group))),
                spis=tuple(dict.fromkeys(itertools.chain.from_iterable(row.spis for row in group))),
            )
        )
        for group in groups.values()
    )
