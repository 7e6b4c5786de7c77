# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table at the end of a run: lines made of `report.Row`. Pure."""

from __future__ import annotations

import itertools
import math
import re
import typing as t

from .._screen import WIDTH, on_screen
from .report import DUE, KEYED, RESTORED, ROTATED, SAME, STATES, Gap, Packets, Row

# Lines of a table, reasons for new keys, and pairs of a connection that are named one by one.
MOST = 20
_MOST_REASONS = 10
_MOST_PAIRS = 3
_HEADER = ("connection", "hosts", "generation", "strategy, gap", "packets")
# The columns that are cut if a line is too long, and to what.
_CUT = {0: 10, 1: 8}


def table(rows: t.Sequence[Row], finished: bool, equipped: t.Sequence[str] = (), asked: int = 0) -> list[str]:
    """The table, or one line if nothing was due. ``finished`` is false for a run that stopped; ``equipped``
    are the hosts on which policies, or loading at boot, changed; ``asked`` is for how many rows somebody asks for new
    keys that this run does not make.
    """
    lines = on_screen(_headline(rows, finished, asked))
    if any(row.state != SAME for row in rows):
        shown, labels = _grouped(rows), _labels(rows)
        lines += _aligned([_HEADER, *(_cells(row, labels) for row in shown[:MOST])])
        lines += [*_rest(shown[MOST:]), *_notes(rows)]
    if equipped:
        lines += on_screen(f"Policies, or how they are loaded at boot, changed on {_names(equipped)}.")
    return lines


def _headline(rows: t.Sequence[Row], finished: bool, asked: int) -> str:
    names = {row.connection for row in rows}
    unit = _count(len(rows), "pair" if len(rows) > len(names) else "connection")
    if not finished:
        return f"{unit}, not all done: {_states(rows)}."
    if all(row.state == SAME for row in rows):
        if asked:
            return (
                f"Nothing was changed, but {asked} of {unit} {'is' if asked == 1 else 'are'} due, as the warnings say."
            )
        return f"Nothing was due: {unit} {'is' if len(rows) == 1 else 'are'} up to date."
    if any(row.state == DUE for row in rows):
        return f"{unit}, before a run: {_states(rows)}."
    return f"{unit}: {_states(rows)}."


def _states(rows: t.Sequence[Row]) -> str:
    states = [row.state for row in rows]
    return ", ".join(f"{states.count(state)} {state}" for state in STATES if state in states)


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'s' if number != 1 else ''}"


def _grouped(rows: t.Sequence[Row]) -> list[Row]:
    """Rows for a table: those of a connection together if there are too many."""
    if len(rows) <= MOST:
        return list(rows)

    def alike(row: Row) -> t.Any:
        return STATES.index(row.state), row.connection, row.strategy, row.old, row.new

    return [_joined(list(group)) for dummy, group in itertools.groupby(sorted(rows, key=alike), alike)]


def _joined(group: t.Sequence[Row]) -> Row:
    known = [row.packets for row in group if row.packets]
    return group[0]._replace(
        name=group[0].connection if len(group) > 1 else group[0].name,
        endpoints={host: address for row in group for host, address in row.endpoints.items()},
        packets=Packets(sum(row.sent for row in known), sum(row.arrived for row in known)) if known else None,
        gap=Gap(_most(row.gap.at_most for row in group), _most(row.gap.by_clocks for row in group)),
    )


def _most(values: t.Iterable[float | None]) -> float | None:
    found = list(values)
    known = [value for value in found if value is not None]
    return max(known) if known and len(known) == len(found) else None


def _cells(row: Row, labels: t.Mapping[str, str]) -> tuple[str, ...]:
    hosts = (
        ", ".join(labels[host] for host in row.endpoints)
        if len(row.endpoints) <= 3
        else _count(len(row.endpoints), "host")
    )
    packets = f"{row.packets.arrived} of {row.packets.sent}" if row.packets else "-"
    return row.connection, hosts, _generation(row), _change(row), packets


def _generation(row: Row) -> str:
    if row.old == row.new:
        return f"{row.new} again" if row.state != SAME else f"{row.new}"
    return f"{row.old or 'none'} -> {row.new}"


def _change(row: Row) -> str:
    if row.state == SAME:
        return "-"
    if row.state not in (DUE, RESTORED, ROTATED, KEYED):
        return row.state
    if not row.why:
        return "overlap, no gap" if row.old else "first keys"
    if row.state == DUE:
        return "flush, a gap"
    return "flush, unknown" if row.gap.at_most is None else f"flush, <= {_whole(row.gap.at_most)} ms"


def _whole(milliseconds: float) -> int:
    return math.ceil(milliseconds)


def _aligned(lines: t.Sequence[t.Sequence[str]]) -> list[str]:
    """The cells in columns. The names are cut where a line would be too long."""
    widths = [max(map(len, column)) for column in zip(*lines)]
    for column, least in _CUT.items():
        over = sum(widths) + 2 * len(widths) - 2 - WIDTH
        widths[column] = max(min(widths[column], least), widths[column] - max(over, 0))
    return ["  ".join(_fitted(cell, width) for cell, width in zip(line, widths)).rstrip() for line in lines]


def _fitted(cell: str, width: int) -> str:
    """The cell with exactly this width; of several names, each is cut."""
    if len(cell) > width:
        names = cell.split(", ")
        most = (width - 2 * (len(names) - 1)) // len(names)
        cell = ", ".join(_cut(name, most) for name in names)
    return cell.ljust(width)


def _cut(name: str, most: int) -> str:
    """The name with ``most`` characters; names often differ at their ends."""
    end = (most - 2) // 2
    return name if len(name) <= most else f"{name[: most - 2 - end]}..{name[len(name) - end :]}"


def _labels(rows: t.Sequence[Row]) -> dict[str, str]:
    """The hosts without their domains, if that leaves them different."""
    hosts = {host for row in rows for host in row.endpoints}
    first = {host: host if re.match(r"[0-9.]*\Z|[0-9a-f:]*\Z", host) else host.partition(".")[0] for host in hosts}
    return first if len(set(first.values())) == len(hosts) else {host: host for host in hosts}


def _rest(rows: t.Sequence[Row]) -> list[str]:
    return on_screen(f"... and {len(rows)} more: {_states(rows)}") if rows else []


def _notes(rows: t.Sequence[Row]) -> list[str]:
    """What does not fit into a row, once for all connections that it is about."""
    notes: dict[str, list[str]] = {}
    for row in rows:
        if row.state == SAME:
            continue
        if row.why:
            notes.setdefault(f"flush, because {row.why}", []).append(row.name)
        if row.state in (ROTATED, KEYED, RESTORED) and row.packets is None:
            notes.setdefault("no test packets were sent through the new SAs", []).append(row.name)
        for text in row.to_do:
            notes.setdefault(f"to do: {text}", []).append(row.name)
    all_of_them = sum(row.state != SAME for row in rows)
    found = []
    for text, names in notes.items():
        found += on_screen(text if 1 < len(names) == all_of_them else f"{text} ({_names(names)})")
    clocks = _most(row.gap.by_clocks for row in rows if row.why and row.gap.by_clocks is not None)
    if clocks is not None:
        text = f"The gap is an upper bound; by the hosts' own clocks it was {_whole(clocks)} ms."
        found += on_screen(text)
    return found


def _names(names: t.Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def changes(rows: t.Sequence[Row], hosts: t.Collection[str], leaving: t.Collection[str], check_mode: bool) -> str:
    """What a run is about to change, in a few words for a heading: ``hosts`` get keys, or what belongs to them, and
    from those in ``leaving`` something is removed.
    """
    names = [*dict.fromkeys(sorted(row.connection for row in rows if row.state != SAME))]
    parts = []
    if names or hosts:
        parts.append(f"{_names(names) or 'leftovers of an interrupted run'}, on {_count(len(hosts), 'host')}")
    if leaving:
        parts.append(f"what left, on {_count(len(leaving), 'host')}")
    if not parts:
        return "none"
    return ", and ".join(parts) + (", none of it in check mode" if check_mode else "")


def brief(reasons: t.Sequence[str]) -> list[str]:
    """The first of many reasons for new keys."""
    more = [f"... and {len(reasons) - _MOST_REASONS} more reasons"] if len(reasons) > _MOST_REASONS else []
    return [part for text in (*reasons[:_MOST_REASONS], *more) for part in on_screen(text)]


def forecast(rows: t.Sequence[Row], host: str, leftovers: t.Sequence[str]) -> list[str]:
    """What a run would change on a host; pairs of a connection together if there are many."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if host in row.changes:
            what = f"generation {_generation(row)}, in {' and '.join(row.changes[host])}"
            groups.setdefault((row.connection, what), []).append(row)
    found = []
    for (connection, what), group in groups.items():
        together = [f"{connection}, {_count(len(group), 'pair')}"]
        names = together if len(group) > _MOST_PAIRS else [row.name for row in group]
        found += [part for name in names for part in on_screen(f"{name}: {what}")]
    return found + (on_screen(f"leftovers of an interrupted run: {', '.join(leftovers)}") if leftovers else [])
