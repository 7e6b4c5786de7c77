# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The metrics are in Prometheus' text format as node_exporter's textfile collector accepts it."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.ipsec.manual.plugins.plugin_utils._audit.render_prometheus import METRICS, render
from ansible_collections.ipsec.manual.tests.unit.plugins.plugin_utils._audit import reports

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
SAMPLE = re.compile(rf'({NAME})(?:\{{((?:{NAME}="(?:[^"\\\n]|\\[\\"n])*",?)*)\}})? (\S+)')
LABEL = re.compile(rf'({NAME})="((?:[^"\\\n]|\\[\\"n])*)"')
ESCAPES = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}

Series = t.Dict[t.Tuple[t.Tuple[str, str], ...], float]


def parse(text: str) -> dict[str, Series]:
    """The series of each metric by the rules of the format; an error if it breaks one."""
    found: dict[str, Series] = {}
    described: set[str] = set()
    assert text.endswith("\n")
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            name = line.split(" ", 3)[2]
            assert name not in described
            described.add(name)
        elif line.startswith("# TYPE "):
            dummy1, dummy2, name, kind = line.split(" ")
            assert name in described and name not in found
            assert kind == ("counter" if name.endswith("_total") else "gauge")
            found[name] = {}
        else:
            match = SAMPLE.fullmatch(line)
            assert match, line
            # The series of a metric follow its declaration, without those of another in between.
            assert match[1] == list(found)[-1]
            labels = tuple(
                (name, re.sub(r'\\[\\"n]', lambda escape: ESCAPES[escape[0]], value))
                for name, value in LABEL.findall(match[2] or "")
            )
            assert labels not in found[match[1]], "a series that occurs twice"
            found[match[1]][labels] = float(match[3])
    return found


def value(series: Series, **labels: str) -> float | None:
    return series.get(tuple(labels.items()))


@pytest.mark.parametrize("name", ["ordinary", "empty", "hostile", "large"])
def test_a_report_is_in_the_format(name: str) -> None:
    assert list(parse(render(getattr(reports, name)()))) == list(METRICS)


@settings(deadline=None)
@given(st.lists(st.text(), min_size=1, max_size=5))
def test_any_name_is_a_label(names: list[str]) -> None:
    found = parse(render(reports.report([reports.host(name, counters={name: 1}) for name in names], [], [])))
    assert 1 <= len(found["ipsec_audit_host_answered"]) <= len(names)


def test_a_label_has_the_name_as_it_is() -> None:
    name = 'back\\slash "quote" line\nend'
    found = parse(render(reports.report([reports.host(name)], [], [])))
    assert value(found["ipsec_audit_host_answered"], host=name) == 1


def test_the_values_are_those_of_the_report() -> None:
    found = {name.removeprefix("ipsec_audit_"): series for name, series in parse(render(reports.ordinary())).items()}
    old, absent = (
        {"connection": "backbone", "pair": "backbone: enigma - partym"},
        {"connection": "branches", "pair": "branches: enigma - branch-11"},
    )
    assert found["made_timestamp_seconds"] == {(): 1795816800}
    assert found["new_findings"] == {(): 2} and found["gone_findings"] == {(): 2}
    assert value(found["host_answered"], host="branch-11") == 0
    assert value(found["host_errors_total"], host="enigma", counter="XfrmInNoStates") == 1204
    assert value(found["host_clock_offset_seconds"], host="partym") == -4.7
    assert value(found["pair_key_age_seconds"], **old) == 113 * 86400
    assert value(found["pair_key_age_limit_seconds"], **old) == 90 * 86400
    assert value(found["pair_budget_used_ratio"], **old, what="packets") == 0.12
    several = {"connection": "branches", "pair": "branches: enigma - branch-09"}
    assert value(found["pair_budget_used_ratio"], **several, what="packets") == 0.86
    assert value(found["pair_budget_used_ratio"], **several, what="bytes") == 0.3
    assert value(found["pair_due"], **old) == 1 and value(found["pair_due"], **absent) == 0
    assert value(found["pair_agrees"], **old) == 0
    # What is unknown has no series.
    for name in ("pair_key_age_seconds", "pair_generation", "pair_agrees"):
        assert value(found[name], **absent) is None
    assert value(found["host_clock_offset_seconds"], host="branch-11") is None


def test_each_host_has_a_number_for_each_severity_and_they_add_up() -> None:
    report = reports.ordinary()
    found = parse(render(report))["ipsec_audit_findings"]
    assert value(found, host="partym", severity="high") == 1
    assert value(found, host="partym", severity="low") == 0
    assert value(found, host="", severity="high") == 1  # of a pair
    assert len(found) == 4 * (len(report["hosts"]) + 1)
    assert sum(found.values()) == len(report["findings"])


def test_the_documentation_lists_the_metrics_and_their_labels() -> None:
    page = (Path(__file__).resolve().parents[5] / "docs" / "docsite" / "rst" / "audit_report.rst").read_text("utf-8")
    rows = re.findall(r"^   \* - ``(ipsec_audit_\w+)``\n     -(.*)$", page, re.M)
    found = parse(render(reports.ordinary()))
    assert [(name, re.findall(r"\w+", labels)) for name, labels in rows] == [
        (name, [label for label, dummy in next(iter(series))]) for name, series in found.items()
    ]
