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
    "selector": {"source": "2001:db8:1::/48", "destination": "2001:db8:2::/48", "protocol": "tcp", "destination_port": 443},
    "priority": 5,
    "mark": "0x10/0xff",
    "if_id": 3,
    "templates": [{"mode": "tunnel", "source": "192.0.2.1", "destination": "192.0.2.2", "reqid": 7, "spi": "0x1001"}],
}


@pytest.mark.parametrize(
    "options", [OUT, TUNNEL, {"policies": [OUT, BACK]}, {"direction": "out", "selector": {"destination": "198.51.100.0/24"}, "action": "block"}]
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


def test_level_use_is_warned_about() -> None:
    result = World().run("ipsec_policy", **{**OUT, "templates": [{"level": "use"}]})
    assert any("in the clear" in warning for warning in result["warnings"])
    assert not World().run("ipsec_policy", **OUT)["warnings"]


def test_all_problems_come_together_with_their_places() -> None:
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


def test_one_form_is_required() -> None:
    assert "direction, policies" in World().run("ipsec_policy")["msg"]
    assert "mutually exclusive" in World().run("ipsec_policy", policies=[BACK], direction="out")["msg"]


def test_info_shows_what_was_asked_for() -> None:
    world = World()
    world.run("ipsec_policy", policies=[OUT, TUNNEL])
    (found,) = world.run("ipsec_policy_info", direction="fwd")["policies"]
    assert found["selector"] == {"source": "2001:db8:1::/48", "destination": "2001:db8:2::/48", "protocol": 6, "source_port": 0, "destination_port": 443}
    assert (found["priority"], found["mark"], found["if_id"], found["action"]) == (5, "0x10/0xff", 3, "allow")
    assert found["templates"] == [
        {"protocol": "esp", "mode": "tunnel", "source": "192.0.2.1", "destination": "192.0.2.2", "reqid": 7, "spi": "0x00001001", "level": "required"}
    ]
    assert len(world.run("ipsec_policy_info")["policies"]) == 2
