# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report of an audit: hosts, pairs and findings. Pure."""

from __future__ import annotations

import collections
import typing as t

from .._keystore.records import time_of
from . import host_findings, key_findings
from .comparison import compare
from .findings import Finding, completed, unique, worst
from .fleet import Fleet, Host, Pair, Row, generation_of

FORMAT = 1
_DUE = {"key-age": "age", "key-reloaded": "loaded again", "due-now": "budget"}


def findings_of(fleet: Fleet) -> list[Finding]:
    """Everything that is found, the worst first."""
    found = (finding for group in (*key_findings.GROUPS, *host_findings.GROUPS) for finding in group(fleet))
    return [completed(row, fleet.line) for row in unique(found)]


def make(fleet: Fleet, made: str, previous: Row | None = None) -> Row:
    """The report of a fleet at the time ``made``, compared with a previous report."""
    findings = findings_of(fleet)
    compared = compare(fleet, findings, previous)
    return {
        "format": FORMAT,
        "made": made,
        "previous": previous["made"] if previous is not None else "",
        "hosts": _hosts(fleet, findings),
        "pairs": _pairs(fleet, findings),
        **compared._asdict(),
    }


def _hosts(fleet: Fleet, findings: t.Iterable[Finding]) -> list[Row]:
    severities = collections.defaultdict(list)
    for row in findings:
        severities[row.host].append(row.severity)
    return [
        _host(host, fleet.counters.get(host.name, {}), worst(severities[host.name])) for host in fleet.hosts.values()
    ]


def _host(host: Host, before: t.Mapping[str, int], level: str) -> Row:
    """A row of the report. A host that did not answer keeps the counters that it had ``before``, so that the next
    audit has something to compare with.
    """
    answer = host.answer
    file = answer.get("file", {})
    return {
        "name": host.name,
        "answered": bool(answer),
        "reason": host.reason,
        "kernel": answer.get("kernel", ""),
        "backend": answer.get("backend", ""),
        "file": {
            "path": host.file,
            "mode": file.get("mode", ""),
            "modified": time_of(file["modified"]) if file.get("exists") else "",
        },
        "service": _service(answer["service"]) if answer else "",
        "clock_offset": host.offset,
        "counters": dict(answer.get("counters", before)),
        "worst": level,
    }


def _service(service: Row) -> str:
    if not service["installed"]:
        return "none"
    return f"{'enabled' if service['enabled'] else 'disabled'}, {service['state']}"


def _pairs(fleet: Fleet, findings: t.Iterable[Finding]) -> list[Row]:
    rows = collections.defaultdict(list)
    for row in findings:
        rows[row.pair].append(row)
    return [_pair(fleet, pair, rows[pair.name]) for pair in fleet.pairs]


def _pair(fleet: Fleet, pair: Pair, findings: t.Sequence[Finding]) -> Row:
    known = fleet.known.get(pair.connection)
    numbers = {generation_of(rows, known) for dummy, rows in fleet.sides(pair)}
    return {
        "name": pair.name,
        "connection": pair.connection,
        "hosts": list(pair.hosts),
        "addresses": list(pair.addresses),
        # While hosts differ, the older generation is what traffic between them can rely on.
        "generation": min(numbers, default=0),
        "agreement": key_findings.agreement_of(fleet, pair),
        "age": key_findings.age_of(fleet, pair),
        "age_limit": int(fleet.age_limit) or None,
        "budgets": key_findings.budgets_of(row for dummy, rows in fleet.sides(pair) for row in rows),
        "due": sorted({_due(row.id) for row in findings if _due(row.id)}),
        "worst": worst(row.severity for row in findings),
    }


def _due(kind: str) -> str:
    """What makes the keys due, by a finding; empty for other findings."""
    return _DUE.get(kind) or (kind[len("due-") :] if kind.startswith("due-") else "")
