# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A report for a terminal, in lines of at most 80 columns: the whole of it, or a summary in 40 lines. Pure.

Commands are shown whole or not at all, so that nobody runs a part of one. A long one has continuation lines, which a
shell reads as one. The summary has no commands, because Ansible shows it as a list of strings, in which they could not
be copied.
"""

from __future__ import annotations

import collections
import itertools
import re
import textwrap
import typing as t

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import counted

from .words import (
    LEVELS,
    Row,
    age,
    age_share,
    changes,
    columns,
    cut,
    findings_first,
    moment,
    nearest,
    on,
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
# Hosts that are named where several have the same finding.
_NAMES = 4
# What stands between blanks that are in no quotes. Options stay with what they set.
_SHELL_WORD = re.compile(
    r"(?:(?:-[eiu]|--limit|--vault-(?:id|password-file))\s)?(?:'[^']*'|\"[^\"]*\"|[^\s'\"]|['\"])+"
)


def render(report: t.Mapping[str, t.Any]) -> str:
    """The report: numbers, hosts that did not answer, keys near their end, and all findings."""
    known = plain(report)
    entries = [_entry(rows) for rows in _alike(findings_first(known["findings"]))]
    return _text(_head(known) + _listed(entries))


def summary(report: t.Mapping[str, t.Any], file: str) -> str:
    """The same with the worst findings only, without how to fix them. ``file`` is the name of the one that has all of
    it, empty if none was written.
    """
    known = plain(report)
    head = _head(known)
    return _text(head + _worst(findings_first(known["findings"]), LINES - len(head), file))


def _text(lines: t.Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _head(known: Row) -> list[str]:
    lines = [f"IPsec audit, {moment(known['made'])}", verdict(known), changes(known), "", *_table(known)]
    lines += _silent(known["hosts"]) + _ends(known["pairs"])
    return [_line(line) for line in lines]


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
        budget = nearest(pair)
        shares = [share for share in (age_share(pair), used_share(budget)) if share is not None]
        if shares:
            near.append((max(shares), f"  {_fit(pair['name'], 36)}  {_fit(age(pair), 17)}  {used(budget)}"))
    near.sort(key=lambda row: (-row[0], row[1]))
    return _section("Keys nearest to their end", [text for dummy, text in near[:_PAIRS]], _PAIRS)


def _worst(rows: list[Row], room: int, file: str) -> list[str]:
    """The worst findings, in ``room`` lines."""
    groups = _alike(_mixed(rows))
    entries = [_what(group) for group in groups[:room]]
    # The heading takes two lines, and the number of the others and the name of the file one each.
    sizes = itertools.accumulate(map(len, entries))
    shown = sum(size + 4 <= room for size in sizes)
    left = len(rows) - sum(map(len, groups[:shown]))
    more = [f"... and {counted(left, 'more finding')}."] if left else []
    # The name is not cut, so that it can be copied.
    where = f"How to fix them: {file}" if file else "No report was written, which would say how to fix them."
    return _listed([*entries[:shown], [*more, where]]) if entries else []


def _listed(entries: list[list[str]]) -> list[str]:
    return ["", "Findings, worst first", *itertools.chain.from_iterable(entries)] if entries else []


def _alike(rows: t.Iterable[Row]) -> list[list[Row]]:
    """Findings that differ only in their host, together, where the first of them is."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        commands = [(bool(command["host"]), command["command"]) for command in row.get("commands", ())]
        same = [row[name] for name in ("id", "severity", "new", "pair", "what", "fix")]
        found.setdefault(repr((same, commands)), []).append(row)
    return list(found.values())


def _what(rows: t.Sequence[Row]) -> list[str]:
    """Findings that are alike, in one or two lines."""
    new = "new: " if rows[0]["new"] else ""
    place = ", ".join(filter(None, (rows[0]["pair"], _several([row["host"] for row in rows])))) or "fleet"
    return _wrapped(rows[0]["severity"], f"{new}{place}: {rows[0]['what']}", 2)


def _entry(rows: t.Sequence[Row]) -> list[str]:
    """Findings that are alike, and how to fix them: words, and commands below the machines on which they run."""
    lines = _what(rows)
    commands = rows[0].get("commands", ())
    if rows[0]["fix"]:
        lines += _wrapped("", rows[0]["fix"] + (":" if commands else ""), 6)
    hosts = _several([row["host"] for row in rows])
    for host, group in itertools.groupby(commands, key=lambda command: command["host"]):
        lines.append(_line(f"{'':{_INDENT}}{on(hosts if host and len(rows) > 1 else host)}:"))
        for command in group:
            lines += [f"{'':{_INDENT + 2}}{line}" for line in _in_lines(" ".join(command["command"].splitlines()))]
    return lines


def _several(names: t.Sequence[str]) -> str:
    more = [f"{len(names) - _NAMES:,} more"] if len(names) > _NAMES else []
    *first, last = [*names[:_NAMES], *more]
    return f"{', '.join(first)} and {last}" if first else last


def _line(text: str) -> str:
    """The text in one line."""
    return cut(" ".join(text.splitlines()), COLUMNS)


def _in_lines(command: str) -> list[str]:
    """The command in lines that a shell reads as one, broken between its words only."""
    room = COLUMNS - _INDENT - 2
    lines = [""]
    for word in _SHELL_WORD.findall(command):
        if lines[-1] and columns(f"{lines[-1]} {word} \\") > room:
            lines.append("  " + word)
        else:
            lines[-1] += f" {word}" if lines[-1] else word
    if any(columns(line) > room - 2 for line in lines):
        return ["(too long for these lines; copy it from the page or the JSON)"]
    return [*(f"{line} \\" for line in lines[:-1]), lines[-1]]


def _mixed(rows: t.Iterable[Row]) -> list[Row]:
    """The findings of each severity with the first two of each kind in front, so that no kind hides the others."""
    seen: dict[tuple[str, str], int] = collections.defaultdict(int)
    ranked = []
    for row in rows:
        ranked.append((LEVELS.index(row["severity"]), seen[row["severity"], row["id"]] >= _OF_A_KIND, row))
        seen[row["severity"], row["id"]] += 1
    return [row for dummy, dummy, row in sorted(ranked, key=lambda entry: entry[:2])]


def _wrapped(first: str, text: str, most: int) -> list[str]:
    """The text in at most so many lines, indented, with a word in front of the first one."""
    lines = textwrap.wrap(
        text,
        COLUMNS,
        initial_indent=f"{first:<{_INDENT}}",
        subsequent_indent=" " * _INDENT,
        max_lines=most,
        placeholder=" ...",
        break_on_hyphens=False,
    )
    return [_line(line) for line in lines]


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
