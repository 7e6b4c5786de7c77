# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A report for a terminal: a summary in at most 40 lines of at most 80 columns. Pure."""

from __future__ import annotations

import collections
import itertools
import textwrap
import typing as t

from .words import (
    LEVELS,
    Row,
    age,
    age_share,
    changes,
    columns,
    counted,
    cut,
    findings_first,
    moment,
    plain,
    tally,
    used,
    used_share,
    verdict,
)

LINES, COLUMNS = 40, 80
# Pairs whose keys are nearest to a limit, and hosts that did not answer.
_PAIRS, _HOSTS = 4, 3
_INDENT = 8
# Findings of a kind that come before those of other kinds.
_OF_A_KIND = 2


def render(report: t.Mapping[str, t.Any]) -> str:
    """The summary: numbers, hosts that did not answer, keys near their end, and the worst findings."""
    known = plain(report)
    lines = [f"IPsec audit, {moment(known['made'])}", verdict(known), changes(known), "", *_table(known)]
    lines += _silent(known["hosts"]) + _ends(known["pairs"])
    lines += _findings(findings_first(known["findings"]), LINES - len(lines))
    return "".join(f"{cut(' '.join(line.splitlines()), COLUMNS)}\n" for line in lines)


def _table(report: Row) -> list[str]:
    """Numbers of hosts, pairs and findings by level."""
    rows = {
        "hosts": tally(report["hosts"], "worst"),
        "pairs": tally(report["pairs"], "worst"),
        "findings": tally(report["findings"], "severity"),
    }
    head = "".join(f"{level:>10}" for level in LEVELS)
    lines = [f"{'':10}{head}"]
    for name, counts in rows.items():
        numbers = ["" if (name, level) == ("findings", "none") else f"{counts[level]:,}" for level in LEVELS]
        lines.append(f"{name:10}" + "".join(f"{number:>10}" for number in numbers).rstrip())
    return lines


def _silent(hosts: t.Iterable[Row]) -> list[str]:
    """The hosts that did not answer, with the reason."""
    rows = [f"  {host['name']}: {host['reason']}" for host in hosts if not host["answered"]]
    return _section("Hosts that did not answer", rows, _HOSTS)


def _ends(pairs: t.Iterable[Row]) -> list[str]:
    """The pairs whose keys have used most of their age or budget."""
    near: list[tuple[float, str]] = []
    for pair in pairs:
        shares = [share for share in (age_share(pair), used_share(pair)) if share is not None]
        if shares:
            near.append((max(shares), f"  {_fit(pair['name'], 36)}  {_fit(age(pair), 17)}  {used(pair)}"))
    near.sort(key=lambda row: (-row[0], row[1]))
    return _section("Keys nearest to their end", [text for dummy, text in near[:_PAIRS]], _PAIRS)


def _findings(rows: list[Row], room: int) -> list[str]:
    """The worst findings, each with what mends it, in ``room`` lines."""
    entries = []
    for row in _mixed(rows)[:room]:
        new = "new: " if row["new"] else ""
        place = ", ".join(filter(None, (row["pair"], row["host"]))) or "fleet"
        mend = _wrapped("", f"mend: {row['mend']}") if row["mend"] else []
        entries.append(_wrapped(row["severity"], f"{new}{place}: {row['what']}") + mend)
    if not entries:
        return []
    # The heading takes two lines, and the number of those left out one.
    if len(rows) > room or sum(map(len, entries)) + 2 > room:
        sizes = itertools.accumulate(map(len, entries))
        kept = sum(size + 3 <= room for size in sizes)
        more = [f"... and {counted(len(rows) - kept, 'more finding')}, in the page and the JSON."]
        entries = [*entries[:kept], more]
    return ["", "Findings, worst first", *itertools.chain.from_iterable(entries)]


def _mixed(rows: t.Iterable[Row]) -> list[Row]:
    """The findings of each severity with the first two of each kind in front, so that no kind hides the others."""
    seen: dict[tuple[str, str], int] = collections.defaultdict(int)
    ranked = []
    for row in rows:
        ranked.append((LEVELS.index(row["severity"]), seen[row["severity"], row["id"]] >= _OF_A_KIND, row))
        seen[row["severity"], row["id"]] += 1
    return [row for dummy, dummy, row in sorted(ranked, key=lambda entry: entry[:2])]


def _wrapped(first: str, text: str) -> list[str]:
    """The text in one or two lines, indented, with a word in front of the first one."""
    return textwrap.wrap(
        text,
        COLUMNS,
        initial_indent=f"{first:<{_INDENT}}",
        subsequent_indent=" " * _INDENT,
        max_lines=2,
        placeholder=" ...",
        break_on_hyphens=False,
    )


def _section(title: str, rows: list[str], most: int) -> list[str]:
    """A heading and at most ``most`` rows; nothing if there are none."""
    if not rows:
        return []
    more = [f"  ... and {len(rows) - most:,} more"] if len(rows) > most else []
    return ["", title, *rows[:most], *more]


def _fit(text: str, wide: int) -> str:
    """The text in exactly so many columns."""
    shown = cut(text, wide)
    return shown + " " * (wide - columns(shown))
