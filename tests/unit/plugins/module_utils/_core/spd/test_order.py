# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which policies lose their place when their priority changes."""

from __future__ import annotations

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import Mark, Selector, pack_address
from ansible_collections.ipsec.manual.plugins.module_utils._core.spd.order import overtaken
from ansible_collections.ipsec.manual.plugins.module_utils._core.spd.policy import PolicyEntry, Template, build, plan

HERE, THERE, NEAR = (pack_address(f"192.0.2.{end}") for end in (1, 2, 3))
TRAFFIC = Selector(HERE, 32, THERE, 32)
NETWORK = Selector(pack_address("192.0.2.0"), 24, pack_address("192.0.2.0"), 24)


def ours(priority, **fields):
    return build("out", TRAFFIC, [Template("esp")], priority=priority, **fields)


def bypass(priority, selector=NETWORK, direction="out", **fields):
    return build(direction, selector, priority=priority, **fields)


def found(old, new, *others, complete=True):
    actual = [PolicyEntry(old, 8, 0, 0, True), *(PolicyEntry(other, 16, 0, 0, complete) for other in others)]
    return [row.other for row in overtaken([new], plan([new], actual), actual)]


@pytest.mark.parametrize(
    ("old", "other", "new", "passes"),
    [
        (0, 100, 1000, True),
        (100, 100, 1000, True),
        (0, 1000, 1000, True),
        (200, 100, 1000, False),
        (0, 1001, 1000, False),
        (1000, 1000, 1000, False),
        (1000, 500, 0, False),
    ],
)
def test_another_policy_comes_first_if_its_priority_lies_between(old: int, other: int, new: int, passes: bool) -> None:
    assert bool(found(ours(old), ours(new), bypass(other))) is passes


@pytest.mark.parametrize(
    ("other", "passes"),
    [
        (bypass(100, direction="in"), False),
        (bypass(100, Selector(NEAR, 32, THERE, 32)), False),
        (bypass(100, Selector(bytes(4), 0, bytes(4), 0, 6, 0, 22)), True),
        (bypass(100, Selector(bytes(16), 0, bytes(16), 0)), False),
        (bypass(100, if_id=4), False),
        (bypass(100, mark=Mark(1, 1)), True),
        (build("out", NETWORK, action="block", priority=100), True),
    ],
)
def test_only_policies_for_some_of_the_same_packets_count(other, passes: bool) -> None:
    assert bool(found(ours(0), ours(1000), other)) is passes


def test_marks_that_exclude_each_other_do_not_meet() -> None:
    for value, passes in ((1, False), (2, True)):
        old, new = (ours(priority, mark=Mark(2, 3)) for priority in (0, 1000))
        assert bool(found(old, new, bypass(100, mark=Mark(value, 3)))) is passes


def test_what_is_not_known_of_a_selector_may_match() -> None:
    old, new = (
        build("out", TRAFFIC._replace(protocol=17, destination_port=53), priority=priority) for priority in (0, 9)
    )
    other = bypass(5, NETWORK._replace(protocol=6, destination_port=8080))
    assert not found(old, new, other)
    assert found(old, new, other, complete=False) == [other]


def test_the_first_is_named_and_policies_of_the_same_change_do_not_count() -> None:
    assert found(ours(0), ours(1000), bypass(300), bypass(100, TRAFFIC._replace(protocol=6))) == [
        bypass(100, TRAFFIC._replace(protocol=6))
    ]
    wide = build("out", NETWORK, [Template("esp")], priority=1000)
    actual = [PolicyEntry(policy, 8, 0, 0, True) for policy in (ours(0), wide)]
    wanted = [ours(1000), wide]
    assert not overtaken(wanted, plan(wanted, actual), actual)


def test_a_policy_that_is_added_loses_no_place() -> None:
    actual = [PolicyEntry(bypass(100), 8, 0, 0, True)]
    assert not overtaken([ours(1000)], plan([ours(1000)], actual), actual)
