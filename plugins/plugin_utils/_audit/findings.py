# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One finding, made from the table of kinds, and what it counts for. Pure."""

from __future__ import annotations

import collections
import typing as t

from .fleet import Row
from .kinds import KINDS, NONE, SEVERITIES
from .remedies import CommandLine, ShellCommand, remedy

_RANKS = {name: rank for rank, name in enumerate((NONE, *SEVERITIES))}
_LONGEST_WORD = 300
# What remedies may need beside the words of the finding.
_WORDS = ("connection", "detail", "file", "manager", "port")
# Findings of one kind about a host itself, or about SAs of others, so that no host fills the report. As many
# remarks of one kind does an honest host make.
MOST_OF_A_KIND = 100


class Finding(t.NamedTuple):
    """A finding of the report. ``host`` and ``pair`` are empty if it is about no particular one; ``place`` is
    what distinguishes findings of one kind, such as a path. ``fix`` says in words what to do, with ``commands``.
    """

    id: str
    severity: str
    host: str
    pair: str
    what: str
    why: str
    fix: str
    place: str = ""
    commands: tuple[ShellCommand, ...] = ()

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What makes it the same finding in another run."""
        return (self.id, self.host, self.pair, self.place)

    def row(self) -> Row:
        """The finding in the form of the report."""
        return {**self._asdict(), "commands": [command._asdict() for command in self.commands]}


def finding(kind: str, host: str = "", pair: str = "", place: str = "", **words: t.Any) -> Finding:
    """A finding of a kind. ``words`` fill the placeholders of its texts."""
    row = KINDS[kind]
    given = {**dict.fromkeys(_WORDS, ""), "host": host, "pair": pair, "place": place, **words}
    filled = {name: str(value)[:_LONGEST_WORD] for name, value in given.items()}
    fix, commands = remedy(kind, filled, filled["place"] == place)
    return Finding(kind, row.severity, host, pair, row.what.format(**filled), row.why, fix, place, commands)


def completed(row: Finding, line: CommandLine) -> Finding:
    """The finding with the commands that work as this run did."""
    fix, commands = line.complete(row.fix, row.commands)
    return row._replace(fix=fix, commands=commands)


def unique(findings: t.Iterable[Finding]) -> list[Finding]:
    """Each finding once, the worst first; of one kind and about no pair, at most `MOST_OF_A_KIND` for each host."""
    found = {row.key: row for row in findings}
    rows = sorted(found.values(), key=lambda row: (-_RANKS[row.severity], row.host, row.pair, row.id, row.place))
    counts: dict[tuple[str, str], int] = collections.defaultdict(int)
    kept = []
    for row in rows:
        counts[row.host, row.id] += not row.pair
        if row.pair or counts[row.host, row.id] <= MOST_OF_A_KIND:
            kept.append(row)
    return kept


def worst(severities: t.Iterable[str]) -> str:
    """The worst of these severities, "none" if there is none."""
    return max(severities, key=_RANKS.__getitem__, default=NONE)


def reaches(severity: str, limit: str) -> bool:
    """Whether a severity is at least as bad as a limit."""
    return _RANKS[severity] >= _RANKS[limit]
