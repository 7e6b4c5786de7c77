# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation import clocks


@pytest.mark.parametrize(
    ("readings", "problem"),
    [
        ({"a": 1001.0, "b": 1003.0}, False),
        ({"a": 1001.0, "b": 1006.9}, False),
        ({"a": 1001.0, "b": 1007.1}, True),
        ({"a": 1091.0, "b": 1092.0}, False),
        ({}, False),
    ],
)
def test_clocks_are_refused_only_if_they_certainly_differ(readings: dict[str, float], problem: bool) -> None:
    """Questions at 1000 are answered at 1004, so each reading is uncertain by four seconds. The tolerance is two."""
    problems = clocks.problems({host: (1000.0, epoch, 1004.0) for host, epoch in readings.items()}, 2.0)
    assert bool(problems) == problem
    if problem:
        assert "the clock of b is at least 2.1 s ahead of that of a, more than 2 s" in problems[0]


def test_each_clock_is_judged_by_its_own_question_and_answer() -> None:
    """If hosts are asked half a minute apart, two right clocks do not differ, and a clock that is
    wrong by five seconds is seen.
    """
    right = {"a": (1000.0, 1000.5, 1001.0), "b": (1030.0, 1030.5, 1031.0)}
    assert clocks.problems(right, 2.0) == []
    assert len(clocks.problems({**right, "b": (1030.0, 1035.5, 1031.0)}, 2.0)) == 1
    assert [clocks.offset(*reading) for reading in right.values()] == [0.0, 0.0]


@pytest.mark.parametrize(("forks", "problems"), [(0, 0), (1, 1), (2, 0), (5, 0)])
def test_hosts_that_wait_together_need_a_fork_each(forks: int, problems: int) -> None:
    readings = {"a": (1000.0, 1002.0, 1004.0), "b": (1000.0, 1002.0, 1004.0)}
    assert len(clocks.problems(readings, 2.0, forks)) == problems


def test_the_gap_follows_from_when_hosts_answered_or_from_the_tolerance() -> None:
    readings = {"a": (0.0, 1000.0, 2.0), "b": (0.0, 1000.0, 7.4)}
    assert clocks.expected_gap(readings) == "about 5 s"
    assert clocks.expected_gap({}) == clocks.expected_gap({"a": (0.0, 1.0, 2.0)}) == "about 1 s"
    assert clocks.expected_gap(readings, 0.5) == "at most 0.5 s"
