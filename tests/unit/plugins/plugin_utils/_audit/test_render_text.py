# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The summary fits a terminal, whatever the report has, and the worst comes first."""

from __future__ import annotations

import shlex
import subprocess
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.ipsec.manual.plugins.plugin_utils._audit.render_text import COLUMNS, LINES, render, summary
from ansible_collections.ipsec.manual.tests.unit.plugins.plugin_utils._audit import reports

WIDE = "\u4e3b"  # two columns


# Ideographs, syllables of Hangul and full-width forms: what is wide on every terminal.
_WIDE = (("\u4e00", "\u9fff"), ("\uac00", "\ud7a3"), ("\uff01", "\uff60"))


def columns(line: str) -> int:
    return sum(1 + any(first <= sign <= last for first, last in _WIDE) for sign in line)


FILE = "/srv/audit/report.txt"


def fits(report: dict[str, t.Any]) -> bool:
    """Whether report and summary are shown as they are."""
    whole, short = render(report), summary(report, FILE)
    return (
        (whole + short).replace("\n", "").isprintable()
        and all(columns(line) <= COLUMNS for line in (whole + short).splitlines())
        and len(short.splitlines()) <= LINES
    )


@pytest.mark.parametrize("name", ["ordinary", "empty", "hostile", "large"])
def test_the_report_fits_a_terminal_and_has_no_control_characters(name: str) -> None:
    assert fits(getattr(reports, name)())


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(reports.SEVERITIES), st.text(max_size=120), st.text(max_size=190)), max_size=60),
    st.integers(0, 30),
    st.text(max_size=90),
)
def test_any_report_fits(rows: list[tuple[str, str, str]], hosts: int, name: str) -> None:
    findings = [
        reports.finding("id", severity, what, host=name, fix=fix, commands=[{"host": name, "command": fix}])
        for severity, what, fix in rows
    ]
    silent = [reports.host(f"{name}{number}", answered=False, reason=name) for number in range(hosts)]
    pairs = [reports.pair(name, "a", "b", age=number * 1e9) for number in range(hosts)]
    assert fits(reports.report(silent, pairs, findings))


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


def test_findings_begin_with_the_worst_and_have_what_fixes_them() -> None:
    lines = render(reports.ordinary()).partition("Findings, worst first\n")[2].splitlines()
    assert lines[:3] == [
        "high    new: backbone: enigma - partym: The keys are 113 days old, and the limit",
        "        is 90 days.",
        "        give backbone new keys:",
    ]
    assert lines[3:6] == [
        "        on the controller:",
        "          ansible-playbook --ask-vault-password ipsec.manual.rotate \\",
        "            -e rotate_only=backbone",
    ]
    assert [line.split()[0] for line in lines if not line.startswith(" ")] == [
        *["high"] * 2,
        *["medium"] * 2,
        "low",
        "info",  # three of them, alike
    ]


def test_findings_that_do_not_fit_are_counted() -> None:
    findings = [reports.finding("id", "low", f"number {number}", host="enigma") for number in range(100)]
    report = reports.report([reports.host("enigma", "low")], [], findings)
    text = summary(report, FILE)
    shown = text.count("number ")
    assert text.endswith(f"... and {100 - shown} more findings.\nHow to fix them: {FILE}\n")
    assert len(text.splitlines()) == LINES
    assert render(report).count("number ") == 100


def test_no_kind_of_findings_hides_the_others() -> None:
    findings = [reports.finding("many", "high", f"number {number}", host="a") for number in range(100)]
    findings += [reports.finding("rare", "high", "the needle", host="b")]
    text = summary(reports.report([reports.host("a", "high")], [], findings), FILE)
    assert text.index("number 1") < text.index("the needle") < text.index("number 2")


def test_a_wide_name_is_cut_at_its_columns() -> None:
    line = next(line for line in render(_named(WIDE * 60)).splitlines() if line.startswith("low "))
    assert line.endswith("...") and columns(line) in (COLUMNS - 1, COLUMNS)


def test_a_finding_of_no_host_is_of_the_fleet() -> None:
    assert "low     fleet: what" in render(_named(""))


def _named(name: str) -> t.Any:
    return reports.report([reports.host(name)], [], [reports.finding("id", "low", "what", host=name)])


WORD = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"]) | st.sampled_from(" '"), min_size=1, max_size=30
)


@settings(deadline=None, max_examples=60)
@given(st.lists(WORD, min_size=1, max_size=20))
def test_a_shell_reads_a_command_in_several_lines_as_one(given_words: list[str]) -> None:
    command = shlex.join(["printf", "%s\\0", *given_words])
    row = reports.finding("id", "low", "what", commands=[{"host": "enigma", "command": command}])
    shown = render(reports.report([reports.host("enigma")], [], [row])).partition("as root:\n")[2]
    if "too long" not in shown:
        printed = subprocess.run(["/bin/sh", "-c", shown], check=True, stdout=subprocess.PIPE).stdout
        assert printed.decode("utf-8").split("\0")[:-1] == given_words


def test_a_command_that_does_not_fit_is_not_shown_in_part() -> None:
    command = "rm -i -- /" + "a" * 100
    report = reports.report([], [], [reports.finding("id", "low", "x", commands=[{"host": "h", "command": command}])])
    assert "rm" not in render(report) and "too long" in render(report)
    assert summary(report, "").endswith(": x\nNo report was written, which would say how to fix them.\n")


def test_a_report_of_an_earlier_release_has_no_commands() -> None:
    row = {name: value for name, value in reports.finding("id", "low", "x", fix="do it").items() if name != "commands"}
    assert render(reports.report([], [], [row])).endswith("        do it\n")


def test_findings_that_differ_only_in_their_host_are_one_entry() -> None:
    rows = [
        reports.finding("id", "low", "x", host=name, fix="do", commands=[{"host": name, "command": "sysctl -p"}])
        for name in ("a", "b", "c")
    ]
    rows.append(reports.finding("id", "low", "y", host="d", fix="do", commands=[{"host": "d", "command": "sysctl -p"}]))
    shown = render(reports.report([], [], rows)).partition("Findings, worst first\n")[2].splitlines()
    assert shown == [
        *("low     a, b and c: x", "        do:", "        on a, b and c, as root:", "          sysctl -p"),
        *("low     d: y", "        do:", "        on d, as root:", "          sysctl -p"),
    ]
    many = [reports.finding("id", "low", "x", host=f"h{number}") for number in range(9)]
    assert "low     h0, h1, h2, h3 and 5 more: x" in render(reports.report([], [], many))
