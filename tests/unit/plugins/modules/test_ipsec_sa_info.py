# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import time

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core.sa import observed
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import Counters, Entry, Lifetimes
from ansible_collections.ipsec.manual.plugins.module_utils._core.text.language import render
from ansible_collections.ipsec.manual.tests.unit.plugins.modules.harness import World, sa

OUT, BACK = sa(0x1001, reqid=7), sa(0x1002, "192.0.2.2", "192.0.2.1")
ELSEWHERE = sa(0x3001, destination="2001:db8::99", source="2001:db8::1")


@pytest.fixture(name="world")
def _world() -> World:
    world = World()
    world.sadb.put(OUT, BACK, ELSEWHERE, bytes=840, packets=10, sequence_out=10, add_time=int(time.time()) - 60)
    return world


def test_it_shows_everything_but_keys(world: World) -> None:
    result = world.run("ipsec_sa_info")
    assert [one["spi"] for one in result["sas"]] == ["0x00001001", "0x00001002", "0x00003001"]
    first = result["sas"][0]
    assert (first["protocol"], first["source"], first["destination"], first["reqid"]) == (
        "esp",
        "192.0.2.1",
        "192.0.2.2",
        7,
    )
    assert 60 <= first["age"] < 70
    assert first["counters"]["packets"] == 10
    assert first["budget"] == {"packets": 2**32 - 1 - 10, "bytes": None}
    assert result["changed"] is False


@pytest.mark.parametrize(
    ("options", "spis"),
    [
        ({"protocol": "ah"}, []),
        ({"spi": "0x1002"}, ["0x00001002"]),
        ({"source": "192.0.2.1"}, ["0x00001001"]),
        ({"destination": "2001:db8::99"}, ["0x00003001"]),
        ({"protocol": "esp", "source": "192.0.2.2", "destination": "192.0.2.1"}, ["0x00001002"]),
    ],
)
def test_filters_combine(world: World, options: dict[str, str], spis: list[str]) -> None:
    assert [one["spi"] for one in world.run("ipsec_sa_info", **options)["sas"]] == spis


def test_a_file_selects_the_sas(world: World) -> None:
    world.files.contents["/run/keys"] = render([BACK, sa(0x9001)]).encode()
    assert [one["spi"] for one in world.run("ipsec_sa_info", src="/run/keys")["sas"]] == ["0x00001002"]


def test_an_address_in_src_is_refused_with_a_hint(world: World) -> None:
    result = world.run("ipsec_sa_info", src="192.168.116.16")
    assert (
        result["msg"]
        == "src: src must be the absolute path of a protected file. For the address of the sender, use source."
    )


def test_an_ambiguous_spi_causes_a_warning(world: World) -> None:
    (warning,) = world.run("ipsec_sa_info", spi="1000")["warnings"]
    assert warning.startswith("spi: SPI 1000 is read as decimal")


def test_a_reserved_spi_can_be_searched_for(world: World) -> None:
    world.sadb.put(sa(0x64))
    assert [found["spi"] for found in world.run("ipsec_sa_info", spi="0x64")["sas"]] == ["0x00000064"]


def test_wrong_filters_are_reported_together(world: World) -> None:
    result = world.run("ipsec_sa_info", source="partym", destination="enigma", spi="0")
    assert [line.split(":")[0] for line in result["msg"].split("\n")] == ["source", "destination", "spi"]


def test_the_digest_is_that_of_the_set(world: World) -> None:
    peer = World()
    peer.sadb.put(BACK, OUT)
    ours, theirs = world.run("ipsec_sa_info")["digest"], peer.run("ipsec_sa_info")["digest"]
    assert ours["192.0.2.1|192.0.2.2"] == theirs["192.0.2.1|192.0.2.2"]


def test_hidden_keys_give_no_digest(world: World) -> None:
    world.sadb.hides_keys = True
    result = world.run("ipsec_sa_info")
    assert (result["keys_hidden"], result["digest"]) == (True, {})
    assert result["warnings"]


@pytest.mark.parametrize(
    ("fields", "counters", "left"),
    [
        ({}, {"sequence_in": 4294967295}, {"packets": 0, "bytes": None}),
        ({"esn": True, "replay_window": 32}, {"sequence_out": 1}, {"packets": 2**64 - 2, "bytes": None}),
        (
            {"lifetimes": Lifetimes(hard_packets=100, hard_bytes=1000)},
            {"packets": 30, "bytes": 999},
            {"packets": 70, "bytes": 1},
        ),
        ({"lifetimes": Lifetimes(hard_packets=100)}, {"packets": 101}, {"packets": 0, "bytes": None}),
        ({"encryption": "3des-cbc"}, {"bytes": 8}, {"packets": 2**32 - 1, "bytes": 2**35 - 8}),
    ],
)
def test_budgets(fields: dict[str, object], counters: dict[str, int], left: dict[str, int]) -> None:
    assert observed.budget(Entry(sa(0x1001, **fields), Counters(**counters))) == left


def test_selector_and_encapsulation_are_shown(world: World) -> None:
    world.run(
        "ipsec_sadb",
        content=(
            "add esp spi 0x7001 src 192.0.2.1 dst 192.0.2.7 isrc 10.1.0.0/16 idst 10.2.0.0/16 iproto 17 idport 53 "
            "encap udp nat_loc 10.9.9.9 encr_alg aes encrkey "
        )
        + "5ec4e701" * 8,
    )
    (found,) = world.run("ipsec_sa_info", spi="0x7001")["sas"]
    assert found["selector"] == {
        "source": "10.1.0.0/16",
        "destination": "10.2.0.0/16",
        "protocol": 17,
        "source_port": 0,
        "destination_port": 53,
    }
    assert found["encapsulation"]["nat_local"] == "10.9.9.9"
    assert found["mode"] == "tunnel"
