# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.ipsec.manual.tests.unit.plugins.modules.harness import World, expect_once

OUT: dict[str, t.Any] = {
    "direction": "out",
    "selector": {"source": "192.0.2.1/32", "destination": "192.0.2.2/32"},
    "templates": [{"protocol": "esp"}, {"protocol": "ah"}],
}
BACK: dict[str, t.Any] = {
    "direction": "in",
    "selector": {"source": "192.0.2.2/32", "destination": "192.0.2.1/32"},
    "templates": [{"protocol": "esp"}, {"protocol": "ah"}],
}
TUNNEL: dict[str, t.Any] = {
    "direction": "fwd",
    "selector": {
        "source": "2001:db8:1::/48",
        "destination": "2001:db8:2::/48",
        "protocol": "tcp",
        "destination_port": 443,
    },
    "priority": 5,
    "mark": "0x10/0xff",
    "if_id": 3,
    "templates": [{"mode": "tunnel", "source": "192.0.2.1", "destination": "192.0.2.2", "reqid": 7, "spi": "0x1001"}],
}


@pytest.mark.parametrize(
    "options",
    [
        OUT,
        TUNNEL,
        {"policies": [OUT, BACK]},
        {"direction": "out", "selector": {"destination": "198.51.100.0/24"}, "action": "block"},
    ],
)
def test_second_run_changes_nothing(options: dict[str, t.Any]) -> None:
    world = World()
    expect_once(world.four_times("ipsec_policy", **options))
    assert len(world.spd.policies) == len(options.get("policies", [1]))
    expect_once(world.four_times("ipsec_policy", state="absent", **options))
    assert not world.spd.policies


def test_another_template_replaces_the_policy() -> None:
    world = World()
    world.run("ipsec_policy", **OUT)
    results = world.four_times("ipsec_policy", **{**OUT, "templates": [{"protocol": "esp", "reqid": 9}]})
    expect_once(results)
    assert results[1]["operations"] == ["replace policy out 192.0.2.1/32 > 192.0.2.2/32 (templates)"]
    assert len(world.spd.policies) == 1


def test_properties_without_an_option_are_shown_and_removed() -> None:
    world = World()
    world.run("ipsec_policy", **OUT)
    world.spd.policies[0] = world.spd.policies[0]._replace(extra=("localok", "hard_addtime 4"))
    assert world.run("ipsec_policy_info")["policies"][0]["flags"] == ["localok", "hard_addtime 4"]
    results = world.four_times("ipsec_policy", **OUT)
    expect_once(results)
    assert results[1]["operations"] == ["replace policy out 192.0.2.1/32 > 192.0.2.2/32 (localok, hard_addtime 4)"]


@pytest.mark.parametrize(("protocol", "is_warned"), [("esp", False), ("ah", True)])
def test_level_use_causes_no_warning_if_another_sa_of_the_protocol_is_required(protocol: str, is_warned: bool) -> None:
    tunnel = {"level": "use", "mode": "tunnel", "source": "192.0.2.1", "destination": "192.0.2.2"}
    result = World().run("ipsec_policy", **{**OUT, "templates": [{"protocol": protocol}, tunnel]})
    assert bool(result.get("warnings")) is is_warned


def test_level_use_causes_a_warning() -> None:
    result = World().run("ipsec_policy", **{**OUT, "templates": [{"level": "use"}]})
    assert any("in the clear" in warning for warning in result["warnings"])
    assert not World().run("ipsec_policy", **OUT)["warnings"]


def test_all_problems_are_reported_with_their_places() -> None:
    result = World().run(
        "ipsec_policy",
        policies=[
            {**OUT, "mark": "x", "selector": {"source": "enigma", "protocol": "smoke"}},
            {**OUT, "templates": [{"source": "here", "spi": "1"}]},
            {**BACK, "templates": [{"mode": "tunnel"}]},
        ],
    )
    assert [line.split(":")[0] for line in result["msg"].split("\n")] == [
        "policies[0].selector.source",
        "policies[0].selector.protocol",
        "policies[0].mark",
        "policies[1].templates[0].source",
        "policies[1].templates[0].spi",
        "policies[2].templates[0].destination",
    ]


def test_two_policies_for_the_same_traffic_are_refused() -> None:
    world = World()
    assert "given twice" in world.run("ipsec_policy", policies=[OUT, {**OUT, "priority": 3}])["msg"]
    assert not world.spd.policies


def test_direction_or_policies_is_required() -> None:
    assert "direction, policies" in World().run("ipsec_policy")["msg"]
    assert "mutually exclusive" in World().run("ipsec_policy", policies=[BACK], direction="out")["msg"]


def test_options_beside_policies_are_refused() -> None:
    result = World().run(
        "ipsec_policy", policies=[BACK], selector=OUT["selector"], templates=OUT["templates"], action="block"
    )
    assert (
        result["msg"]
        == "policies: selector, action, templates would have no effect beside it. Write this into each of the policies."
    )


@pytest.mark.parametrize("selector", [None, {}, {"protocol": "tcp", "destination_port": 23}])
@pytest.mark.parametrize("state", ["present", "absent"])
def test_a_selector_without_a_family_is_refused(selector: dict[str, t.Any] | None, state: str) -> None:
    world = World()
    result = world.run(
        "ipsec_policy",
        direction="out",
        action="block",
        state=state,
        **({} if selector is None else {"selector": selector}),
    )
    assert result["msg"].startswith(
        "selector: the selector has no address, so it would be for IPv4 alone. Write 0.0.0.0/0 or ::/0"
    )
    assert not world.spd.policies
    result = world.run("ipsec_policy", policies=[OUT, {**BACK, "selector": selector or {}}])
    assert result["msg"].startswith("policies[1].selector: ")


@pytest.mark.parametrize(("anything", "size"), [("0.0.0.0/0", 4), ("::/0", 16)])
def test_any_address_of_a_family_is_accepted(anything: str, size: int) -> None:
    world = World()
    expect_once(
        world.four_times(
            "ipsec_policy", direction="out", selector={"destination": anything, "protocol": "tcp"}, action="block"
        )
    )
    (policy,) = world.spd.policies
    assert policy.selector.destination == policy.selector.source == bytes(size)


def test_digits_that_may_be_hexadecimal_cause_a_warning() -> None:
    result = World().run("ipsec_policy", policies=[OUT, {**BACK, "templates": [{"spi": "1000"}]}])
    (warning,) = result["warnings"]
    assert warning.startswith("policies[1].templates[0].spi: SPI 1000 is read as decimal, 0x000003e8")


def test_info_shows_the_policies_that_were_added() -> None:
    world = World()
    world.run("ipsec_policy", policies=[OUT, TUNNEL])
    (found,) = world.run("ipsec_policy_info", direction="fwd")["policies"]
    assert found["selector"] == {
        "source": "2001:db8:1::/48",
        "destination": "2001:db8:2::/48",
        "protocol": 6,
        "source_port": 0,
        "destination_port": 443,
    }
    assert (found["priority"], found["mark"], found["if_id"], found["action"]) == (5, "0x10/0xff", 3, "allow")
    assert found["templates"] == [
        {
            "protocol": "esp",
            "mode": "tunnel",
            "source": "192.0.2.1",
            "destination": "192.0.2.2",
            "reqid": 7,
            "spi": "0x00001001",
            "level": "required",
        }
    ]
    assert len(world.run("ipsec_policy_info")["policies"]) == 2


def test_a_policy_that_lets_another_one_come_first_is_reported_before_it_is_changed() -> None:
    world = World()
    wide = {"source": "192.0.2.0/24", "destination": "192.0.2.0/24"}
    world.run("ipsec_policy", policies=[OUT, {"direction": "out", "selector": wide, "priority": 100}])
    for priority, expected in ((50, []), (1000, [100])):
        asked = world.run("ipsec_policy", check=True, **{**OUT, "priority": priority})
        assert [row["other_priority"] for row in asked["overtaken"]] == expected
    assert asked["overtaken"][0] == {
        "policy": "out 192.0.2.1/32 > 192.0.2.2/32",
        "priority": 0,
        "other": "out 192.0.2.0/24 > 192.0.2.0/24",
        "other_priority": 100,
    }
    assert world.spd.policies[0].priority == 0
