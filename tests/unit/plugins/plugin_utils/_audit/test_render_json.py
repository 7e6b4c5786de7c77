# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The JSON of a report is what its schema describes, in ASCII."""

from __future__ import annotations

import copy
import json
import math
import typing as t
from pathlib import Path

import jsonschema
import pytest

from ansible_collections.ipsec.manual.plugins.plugin_utils._audit import render_json
from ansible_collections.ipsec.manual.plugins.plugin_utils._audit.report import make
from ansible_collections.ipsec.manual.plugins.plugin_utils._audit.words import plain
from ansible_collections.ipsec.manual.tests.unit.plugins.plugin_utils._audit import fleets, reports

SCHEMA = Path(__file__).resolve().parents[5] / "docs" / "docsite" / "rst" / "audit_report.schema.json"


@pytest.fixture(name="validator", scope="module")
def fixture_validator() -> t.Any:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("name", ["ordinary", "empty", "hostile", "large"])
def test_a_report_is_valid(validator: t.Any, name: str) -> None:
    report = getattr(reports, name)()
    text = render_json.render(report)
    assert text.isascii()
    assert json.loads(text) == plain(report)
    validator.validate(json.loads(text))


@pytest.mark.parametrize(
    "path, value",
    [
        (("format",), 2),
        (("made",), "yesterday"),
        (("hosts", 0, "answered"), "yes"),
        (("hosts", 0, "worst"), "critical"),
        (("hosts", 0, "key"), "0011"),
        (("hosts", 0, "counters", "XfrmInNoStates"), "many"),
        (("pairs", 0, "agreement"), "maybe"),
        (("pairs", 0, "age"), -1),
        (("pairs", 0, "budgets", 0, "used"), -0.5),
        (("findings", 0, "severity"), "none"),
        (("gone", 0, "new"), None),
    ],
)
def test_the_schema_refuses_what_a_report_cannot_have(validator: t.Any, path: tuple[t.Any, ...], value: t.Any) -> None:
    report = copy.deepcopy(reports.ordinary())
    place: t.Any = report
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    assert [list(error.absolute_path) for error in validator.iter_errors(report)]


def test_a_number_that_json_does_not_have_is_null() -> None:
    report = reports.ordinary()
    report["hosts"][0]["clock_offset"] = math.nan
    report["hosts"][1]["clock_offset"] = -math.inf
    assert [host["clock_offset"] for host in json.loads(render_json.render(report))["hosts"][:2]] == [None, None]


def test_the_report_of_an_audit_is_valid(validator: t.Any) -> None:
    first = make(fleets.changed(fleets.pairs(leaking=1)), "2026-11-20T22:00:00Z")
    second = make(fleets.changed(fleets.pairs(open=1)), "2026-11-27T22:00:00Z", first)
    assert second["findings"] and second["gone"]
    silent = fleets.clean()._replace(inventory=frozenset(fleets.ADDRESSES), hosts={})
    third = make(silent, "2026-11-28T22:00:00Z", second)
    assert third["unchecked"]
    for report in (first, second, third):
        validator.validate(json.loads(render_json.render(report)))
