# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The summary fits a terminal, whatever the report has, and the worst comes first."""

from __future__ import annotations

import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.ipsec.manual.plugins.plugin_utils._audit.render_text import COLUMNS, LINES, render
from ansible_collections.ipsec.manual.tests.unit.plugins.plugin_utils._audit import reports

WIDE = "\u4e3b"  # two columns


def columns(line: str) -> int:
    return sum(2 if "\u2e80" <= sign <= "\uffdc" else 1 for sign in line)


def fits(text: str) -> bool:
    lines = text.splitlines()
    shown = text.replace("\n", "").isprintable()
    return shown and len(lines) <= LINES and all(columns(line) <= COLUMNS for line in lines)


@pytest.mark.parametrize("name", ["ordinary", "empty", "hostile", "large"])
def test_the_summary_fits_a_terminal_and_has_no_control_characters(name: str) -> None:
    assert fits(render(getattr(reports, name)()))


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(reports.SEVERITIES), st.text(max_size=120), st.text(max_size=90)), max_size=60),
    st.integers(0, 30),
    st.text(max_size=90),
)
def test_the_summary_of_any_report_fits(rows: list[tuple[str, str, str]], hosts: int, name: str) -> None:
    findings = [reports.finding("id", severity, what, host=name, mend=mend) for severity, what, mend in rows]
    silent = [reports.host(f"{name}{number}", answered=False, reason=name) for number in range(hosts)]
    pairs = [reports.pair(name, "a", "b", age=number * 1e9) for number in range(hosts)]
    assert fits(render(reports.report(silent, pairs, findings)))


def test_the_numbers_are_those_of_the_report() -> None:
    lines = render(reports.ordinary()).splitlines()
    assert lines[:3] == [
        "IPsec audit, 2026-11-27 22:00 UTC",
        "2 high findings on 2 of 13 hosts. 1 host did not answer.",
        "Since 2026-11-20 22:00 UTC: 2 new, 2 gone.",
    ]
    assert [line.split() for line in lines[4:8]] == [
        ["high", "medium", "low", "info", "none"],
        ["hosts", "2", "2", "1", "0", "8"],
        ["pairs", "1", "1", "1", "0", "9"],
        ["findings", "2", "2", "1", "3"],
    ]


def test_hosts_that_did_not_answer_and_keys_near_their_end_are_named() -> None:
    text = render(reports.ordinary())
    assert "Hosts that did not answer\n  branch-11: unreachable (ssh: connect" in text
    ends = text.partition("Keys nearest to their end\n")[2].splitlines()
    assert " ".join(ends[0].split()) == "backbone: enigma - partym 113 of 90 days 12 % of packets"
    assert " ".join(ends[1].split()) == "branches: enigma - branch-09 81 of 90 days 86 % of packets"


def test_findings_begin_with_the_worst_and_have_what_mends_them() -> None:
    lines = render(reports.ordinary()).partition("Findings, worst first\n")[2].splitlines()
    assert lines[:3] == [
        "high    new: backbone: enigma - partym: The keys are 113 days old, and the limit",
        "        is 90 days.",
        "        mend: ansible-playbook ipsec.manual.rotate",
    ]
    assert [line.split()[0] for line in lines if not line.startswith(" ")] == [
        *["high"] * 2,
        *["medium"] * 2,
        "low",
        *["info"] * 3,
    ]


def test_findings_that_do_not_fit_are_counted() -> None:
    findings = [reports.finding("id", "low", f"number {number}", host="enigma") for number in range(100)]
    text = render(reports.report([reports.host("enigma", "low")], [], findings))
    shown = text.count("number ")
    assert text.endswith(f"... and {100 - shown} more findings, in the page and the JSON.\n")
    assert len(text.splitlines()) == LINES - 1  # a finding takes two lines, and one was left


def test_no_kind_of_findings_hides_the_others() -> None:
    findings = [reports.finding("many", "high", f"number {number}", host="a") for number in range(100)]
    findings += [reports.finding("rare", "high", "the needle", host="b")]
    text = render(reports.report([reports.host("a", "high")], [], findings))
    assert text.index("number 1") < text.index("the needle") < text.index("number 2")


def test_a_wide_name_is_cut_at_its_columns() -> None:
    line = next(line for line in render(_named(WIDE * 60)).splitlines() if line.startswith("low "))
    assert line.endswith("...") and columns(line) in (COLUMNS - 1, COLUMNS)


def test_a_finding_of_no_host_is_of_the_fleet() -> None:
    assert "low     fleet: what" in render(_named(""))


def _named(name: str) -> t.Any:
    return reports.report([reports.host(name)], [], [reports.finding("id", "low", "what", host=name)])
