# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A report for Prometheus: metrics in its text format 0.0.4, for the textfile collector of
node_exporter. Pure.

The format: https://github.com/prometheus/docs/blob/main/docs/instrumenting/exposition_formats.md. The collector
rejects a file with timestamps, or with a series that occurs twice.
"""

from __future__ import annotations

import collections
import datetime
import typing as t

from .words import SEVERITIES, Row, plain

Labels = t.Tuple[t.Tuple[str, str], ...]
Samples = t.Iterator[t.Tuple[t.Dict[str, str], float]]

GAUGE, COUNTER = "gauge", "counter"


def render(report: t.Mapping[str, t.Any]) -> str:
    """All metrics; each is declared, even if it has no series."""
    known = plain(report)
    lines = []
    for name, (kind, text, samples) in METRICS.items():
        lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
        series: dict[Labels, float] = {tuple(labels.items()): value for labels, value in samples(known)}
        lines += [f"{name}{_labelled(labels)} {_number(value)}" for labels, value in series.items()]
    return "".join(f"{line}\n" for line in lines)


def _made(report: Row) -> Samples:
    yield {}, datetime.datetime.fromisoformat(report["made"].replace("Z", "+00:00")).timestamp()


def _answered(report: Row) -> Samples:
    for host in report["hosts"]:
        yield {"host": host["name"]}, host["answered"]


def _clock_offset(report: Row) -> Samples:
    for host in report["hosts"]:
        if host["clock_offset"] is not None:
            yield {"host": host["name"]}, host["clock_offset"]


def _counters(report: Row) -> Samples:
    for host in report["hosts"]:
        for counter, value in host["counters"].items():
            yield {"host": host["name"], "counter": counter}, value


def _findings(report: Row) -> Samples:
    """Zeros, too: an alert ends when the last finding is gone."""
    found = collections.Counter((row["host"], row["severity"]) for row in report["findings"])
    names = dict.fromkeys([*(host["name"] for host in report["hosts"]), *(host for host, dummy in found)])
    for host in names:
        for severity in SEVERITIES:
            yield {"host": host, "severity": severity}, found[host, severity]


def _new_findings(report: Row) -> Samples:
    yield {}, sum(row["new"] for row in report["findings"])


def _gone_findings(report: Row) -> Samples:
    yield {}, len(report["gone"])


def _unchecked_findings(report: Row) -> Samples:
    yield {}, len(report.get("unchecked", ()))


def _of_pairs(value: t.Callable[[Row], float | None]) -> t.Callable[[Row], Samples]:
    """A metric with one series for each pair of which the value is known."""

    def samples(report: Row) -> Samples:
        for pair in report["pairs"]:
            found = value(pair)
            if found is not None:
                yield _pair(pair), found

    return samples


def _budgets(report: Row) -> Samples:
    for pair in report["pairs"]:
        for budget in pair["budgets"]:
            yield {**_pair(pair), "what": budget["what"]}, budget["used"]


def _pair(pair: Row) -> dict[str, str]:
    return {"connection": pair["connection"], "pair": pair["name"]}


# Type, help and samples by name.
METRICS: dict[str, tuple[str, str, t.Callable[[Row], Samples]]] = {
    "ipsec_audit_made_timestamp_seconds": (GAUGE, "When the audit was made.", _made),
    "ipsec_audit_findings": (GAUGE, "Findings by host and severity; host is empty for those of no host.", _findings),
    "ipsec_audit_new_findings": (GAUGE, "Findings that the previous audit did not have.", _new_findings),
    "ipsec_audit_gone_findings": (GAUGE, "Findings of the previous audit that no longer occur.", _gone_findings),
    "ipsec_audit_unchecked_findings": (
        GAUGE,
        "Earlier findings that the audit could not check.",
        _unchecked_findings,
    ),
    "ipsec_audit_host_answered": (GAUGE, "Whether the host answered.", _answered),
    "ipsec_audit_host_clock_offset_seconds": (
        GAUGE,
        "How far the clock of the host is ahead of the controller's.",
        _clock_offset,
    ),
    "ipsec_audit_host_errors_total": (COUNTER, "Errors that the kernel of the host counted, by counter.", _counters),
    "ipsec_audit_pair_key_age_seconds": (GAUGE, "Age of the keys in use.", _of_pairs(lambda pair: pair["age"])),
    "ipsec_audit_pair_key_age_limit_seconds": (
        GAUGE,
        "Age at which the keys have to be replaced.",
        _of_pairs(lambda pair: pair["age_limit"]),
    ),
    "ipsec_audit_pair_budget_used_ratio": (
        GAUGE,
        "Used share of the packets, bytes and blocks that the keys may protect; above 1 for blocks only.",
        _budgets,
    ),
    "ipsec_audit_pair_due": (
        GAUGE,
        "Number of reasons for which new keys are due.",
        _of_pairs(lambda pair: len(pair["due"])),
    ),
    "ipsec_audit_pair_generation": (
        GAUGE,
        "Generation of the keys in use.",
        _of_pairs(lambda pair: pair["generation"] or None),
    ),
    "ipsec_audit_pair_agrees": (
        GAUGE,
        "Whether the hosts of the pair hold the same keys.",
        _of_pairs(lambda pair: {"same": 1, "differs": 0}.get(pair["agreement"])),
    ),
}


def _labelled(labels: Labels) -> str:
    text = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels)
    return f"{{{text}}}" if text else ""


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))
