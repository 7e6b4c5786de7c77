# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import Mark, Selector, pack_address
from ansible_collections.ipsec.manual.plugins.module_utils._core.text.language import render
from ansible_collections.ipsec.manual.plugins.module_utils._module import probe
from ansible_collections.ipsec.manual.tests.unit.plugins.modules.harness import World, sa

OUT, BACK, GONE = sa(0x1001), sa(0x1002, "192.0.2.2", "192.0.2.1"), sa(0x1003)
PATH = "/run/keys"
LOCAL = frozenset(map(pack_address, ("192.0.2.1", "10.1.0.5", "2001:db8::1")))


@pytest.fixture(name="world")
def _world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Sending raises the counter, as in a kernel, but no datagram leaves."""
    world = World()
    world.sadb.put(OUT, packets=5)
    world.sadb.put(BACK, packets=2)
    world.files.contents[PATH] = render([OUT, BACK, GONE]).encode()

    def send(flow: t.Any, count: int) -> str:
        entry = world.sadb.entries[0]
        world.sadb.entries[0] = entry._replace(counters=entry.counters._replace(packets=entry.counters.packets + count))
        return ""

    monkeypatch.setattr(probe, "_send", send)
    monkeypatch.setattr(probe, "_PATIENCE", 0.0)
    return world


def test_counters_before_and_after(world: World) -> None:
    result = world.run("ipsec_probe", src=PATH, count=3)
    assert result["sent"] == [
        {"key": "esp|192.0.2.2|0x00001001", "before": 5, "after": 8},
        {"key": "esp|192.0.2.2|0x00001003", "before": None, "after": None},
    ]
    assert result["received"] == [{"key": "esp|192.0.2.1|0x00001002", "before": 2, "after": 2}]
    assert result["changed"] is False


@pytest.mark.parametrize("options", [{"check": True}, {"count": 0}])
def test_nothing_is_sent_in_check_mode_or_for_a_count_of_0(world: World, options: dict[str, t.Any]) -> None:
    assert world.run("ipsec_probe", src=PATH, **options)["sent"][0] == {
        "key": "esp|192.0.2.2|0x00001001",
        "before": 5,
        "after": 5,
    }


def test_a_flow_that_cannot_be_sent_is_reported(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_send", lambda flow, count: "ENETUNREACH, Network is unreachable")
    assert world.run("ipsec_probe", src=PATH)["failures"] == [
        "192.0.2.1 > 192.0.2.2: ENETUNREACH, Network is unreachable"
    ]


@pytest.mark.parametrize("count", [-1, 1001])
def test_the_number_of_datagrams_is_limited(world: World, count: int) -> None:
    assert world.run("ipsec_probe", src=PATH, count=count)["msg"].startswith("count:")


@pytest.mark.parametrize(
    ("fields", "flow"),
    [
        ({}, ("192.0.2.1", "192.0.2.2", 0, 9, 0)),
        ({"mark": Mark(5, 0xFF)}, ("192.0.2.1", "192.0.2.2", 0, 9, 5)),
        ({"source": "0.0.0.0"}, ("", "192.0.2.2", 0, 9, 0)),
        (
            {
                "mode": "tunnel",
                "selector": Selector(pack_address("10.1.0.0"), 16, pack_address("10.2.0.0"), 16, 17, 53, 54),
            },
            ("10.1.0.5", "10.2.0.1", 53, 54, 0),
        ),
        (
            {"mode": "tunnel", "selector": Selector(b"", 0, pack_address("10.2.0.9"), 32)},
            ("192.0.2.1", "10.2.0.9", 0, 9, 0),
        ),
        (
            {"mode": "tunnel", "selector": Selector(b"", 0, pack_address("2001:db8:2::"), 48)},
            ("", "2001:db8:2::1", 0, 9, 0),
        ),
    ],
)
def test_a_flow_matches_what_the_sa_carries(fields: dict[str, t.Any], flow: tuple[t.Any, ...]) -> None:
    source, destination, *rest = flow
    expected = (pack_address(source) if source else b"", pack_address(destination), *rest)
    assert tuple(probe.flow_of(sa(0x1001, **fields), LOCAL)) == expected
