# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The words of a report."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.ipsec.manual.plugins.plugin_utils._audit import words
from ansible_collections.ipsec.manual.tests.unit.plugins.plugin_utils._audit import reports


@pytest.mark.parametrize(
    "seconds, limit, text",
    [
        (None, 90 * 86400, "unknown"),
        (34 * 86400, 90 * 86400, "34 of 90 days"),
        (90 * 86400, 90 * 86400, "90 of 90 days"),
        (90 * 86400 + 1, 90 * 86400, "91 of 90 days"),
        (3600, 86400, "1 of 24 hours"),
        (34 * 86400, None, "34 days, no limit"),
        (59, None, "59 seconds, no limit"),
        (0, None, "0 seconds, no limit"),
    ],
)
def test_an_age_and_its_limit_are_in_one_unit(seconds: float | None, limit: float | None, text: str) -> None:
    assert words.age(reports.pair("net", "a", "b", age=seconds, age_limit=limit)) == text


@pytest.mark.parametrize(
    "budget, text",
    [
        (None, "unknown"),
        ({"what": "blocks", "used": 0.9996}, "99.9 % of blocks"),
        ({"what": "blocks", "used": 41.5}, "4150 % of blocks"),
        ({"what": "blocks", "used": 131072.0019}, "13107200 % of blocks"),
    ],
)
def test_a_budget_is_not_rounded_up(budget: t.Any, text: str) -> None:
    assert words.used(budget) == text


@pytest.mark.parametrize(
    "findings, text",
    [
        ([], "No finding above info on 2 hosts."),
        ([("info", "a", "")], "No finding above info on 2 hosts."),
        ([("low", "a", ""), ("info", "b", "")], "1 low finding on 1 of 2 hosts."),
        ([("low", "a", ""), ("high", "a", ""), ("high", "b", "")], "2 high findings on 2 of 2 hosts."),
        ([("medium", "", "net: a - b")], "1 medium finding on 2 of 2 hosts."),
        ([("medium", "", "")], "1 medium finding."),
    ],
)
def test_the_verdict_is_about_the_worst_findings(findings: list[tuple[str, str, str]], text: str) -> None:
    rows = [reports.finding("id", severity, "what", host=host, pair=pair) for severity, host, pair in findings]
    hosts = [reports.host("a"), reports.host("b")]
    assert words.verdict(reports.report(hosts, [reports.pair("net", "a", "b")], rows)) == text


def test_without_an_earlier_audit_nothing_is_new() -> None:
    assert words.changes(reports.empty()) == "There is no earlier audit to compare with."


def test_hosts_come_with_the_worst_first() -> None:
    rows = [reports.host("b"), reports.host("a"), reports.host("c", "high"), reports.host("d", "info")]
    assert [row["name"] for row in words.worst_first(rows)] == ["c", "d", "a", "b"]
