# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A report for people: one page that needs nothing else, neither a network nor its own script. Pure.

Every value enters the page through the template, which escapes all of them (Jinja2's autoescape). The
page's policy allows the style sheet and the script that it contains, by their hashes, and nothing else: no
other source, no style attribute, no handler.
"""

from __future__ import annotations

import base64
import collections
import functools
import hashlib
import pathlib
import typing as t
import urllib.parse

import jinja2
import markupsafe

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import counted

from . import words
from .picture import draw
from .words import Row

# Rows of a list that the browser lays out at once.
_LONGEST = 500
_MOST_KINDS = 12
_FILES = pathlib.Path(__file__).parent


def render(report: t.Mapping[str, t.Any]) -> str:
    """The page."""
    known = words.plain(report)
    findings = words.findings_first(known["findings"])
    pairs = words.worst_first(known["pairs"])
    hosts = words.worst_first(known["hosts"])
    numbered = [{**row, "anchor": f"finding-{index}"} for index, row in enumerate(findings, 1)]
    parts = _parts()
    return parts.template.render(
        report=known,
        policy=parts.policy,
        style=parts.style,
        script=parts.script,
        verdict=words.verdict(known),
        changes=words.changes(known),
        tallies=_tallies(known),
        kinds=_kinds(findings),
        picture=draw(hosts, pairs),
        findings=numbered,
        gone=words.findings_first(known["gone"]),
        unchecked=words.findings_first(known.get("unchecked", ())),
        connections=_connections(pairs, _by(numbered, "pair")),
        hosts=_hosts(hosts, pairs, _by(numbered, "host")),
    )


def anchor(kind: str, name: str) -> str:
    """The anchor of a host or a pair. Percent signs in it are meant literally: a browser compares a
    fragment with the anchors first as it is written.
    """
    return f"{kind}-{urllib.parse.quote(name, safe='')}"


class _Parts(t.NamedTuple):
    template: jinja2.Template
    style: markupsafe.Markup
    script: markupsafe.Markup
    policy: str


@functools.lru_cache(maxsize=None)
def _parts() -> _Parts:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        age=words.age,
        age_share=words.age_share,
        anchor=lambda name, kind: anchor(kind, name),
        counted=counted,
        moment=words.moment,
        on=words.on,
        used=words.used,
        used_share=words.used_share,
    )
    style, script = (_FILES.joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; base-uri 'none'; form-action 'none'"
    )
    source = _FILES.joinpath("page.html.j2").read_text(encoding="utf-8")
    # A line end between two tags would be a node of its own, ten for each pair.
    environment.globals.update(levels=words.LEVELS, severities=words.SEVERITIES)
    environment.globals.update(longest=_LONGEST, most_kinds=_MOST_KINDS)
    template = environment.from_string(source.replace(">\n<", "><"))
    return _Parts(template, markupsafe.Markup(style), markupsafe.Markup(script), policy)


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"


def _tallies(report: Row) -> list[tuple[str, dict[str, str]]]:
    """The rows of the table of numbers. Findings have a severity, so none of them is of the level "none"."""
    findings = report["findings"]
    rows = {"Hosts": report["hosts"], "Pairs": report["pairs"], "Findings": findings}
    if report["previous"]:
        rows.update(new=[row for row in findings if row["new"]], gone=report["gone"])
    table = []
    for name, group in rows.items():
        is_place = name in ("Hosts", "Pairs")
        counts = words.tally(group, "worst" if is_place else "severity")
        shown = {level: f"{number:,}" if is_place or level != words.NONE else "" for level, number in counts.items()}
        table.append((name, shown))
    return table


def _kinds(findings: t.Iterable[Row]) -> list[tuple[str, str, int]]:
    """The severity, the ID and the number of each kind of findings, the worst and most frequent first."""
    found = collections.Counter((row["severity"], row["id"]) for row in findings)
    rows = [(severity, kind, number) for (severity, kind), number in found.items()]
    return sorted(rows, key=lambda row: (words.LEVELS.index(row[0]), -row[2], row[1]))


def _by(findings: t.Iterable[Row], field: str) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in findings:
        found.setdefault(row[field], []).append(row)
    return found


def _connections(pairs: t.Iterable[Row], findings: t.Mapping[str, list[Row]]) -> list[Row]:
    """Connections by their worst pair, each with its pairs and a summary of them."""
    found: dict[str, list[Row]] = {}
    for pair in pairs:
        found.setdefault(pair["connection"], []).append({**pair, "findings": findings.get(pair["name"], [])})
    return [{"name": name, "pairs": rows, "summary": _summary(rows)} for name, rows in found.items()]


def _summary(pairs: t.Sequence[Row]) -> str:
    """What a connection's pairs have in common, and the keys that are nearest to their end."""
    counts = words.tally(pairs, "worst")
    levels = ", ".join(f"{counts[level]:,} {level}" for level in words.LEVELS if counts[level])
    parts = [f"{counted(len(pairs), 'pair')}: {levels}"]
    generations = sorted({pair["generation"] for pair in pairs if pair["generation"]})
    if generations:
        several = f"generations {generations[0]} to {generations[-1]}"
        parts.append(several if len(generations) > 1 else f"generation {generations[0]}")
    aged = [pair for pair in pairs if pair["age"] is not None]
    if len(aged) > 1:
        parts.append(f"oldest keys {words.age(max(aged, key=lambda pair: float(pair['age'])))}")
    due = sum(bool(pair["due"]) for pair in pairs)
    if due:
        parts.append(f"{due:,} due")
    return "; ".join(parts)


def _hosts(hosts: t.Iterable[Row], pairs: t.Iterable[Row], findings: t.Mapping[str, list[Row]]) -> list[Row]:
    """Hosts with their pairs and findings."""
    of_host: dict[str, list[Row]] = {}
    for pair in pairs:
        for name in dict.fromkeys(pair["hosts"]):
            of_host.setdefault(name, []).append(pair)
    return [
        {**host, "pairs": of_host.get(host["name"], []), "findings": findings.get(host["name"], [])} for host in hosts
    ]
