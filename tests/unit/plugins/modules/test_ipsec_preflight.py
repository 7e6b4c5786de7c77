# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib
import time
import typing as t

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import ProtectedFileError, SadbError
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import Counters, Entry, Lifetimes, label
from ansible_collections.ipsec.manual.plugins.module_utils._core.text.language import render
from ansible_collections.ipsec.manual.plugins.module_utils._module import preflight
from ansible_collections.ipsec.manual.tests.unit.plugins.modules.harness import World, sa

PATH = "/etc/inet/secret/ipseckeys"
SUITE: dict[str, t.Any] = {"encryption_algorithm": "aes-cbc", "authentication_algorithm": "hmac-sha256"}


def test_a_ready_host_reports_what_the_controller_needs() -> None:
    world = World()
    world.sadb.put(sa(0x1001), sa(0x1002))
    world.files.contents[PATH] = render([sa(0x1002), sa(0x1003)]).encode()
    result = world.run(
        "ipsec_preflight",
        addresses=["192.0.2.1"],
        associations=[SUITE, {"protocol": "ah", "authentication_algorithm": "hmac-sha512"}],
    )
    assert not result.get("failed"), result
    assert result["changed"] is False
    assert result["spis"] == ["0x00001001", "0x00001002", "0x00001003"]
    assert (result["file"]["path"], result["file"]["sas"], list(result["file"]["digest"])) == (
        PATH,
        2,
        ["192.0.2.1|192.0.2.2"],
    )
    assert abs(result["epoch"] - time.time()) < 60


def test_a_missing_file_is_accepted() -> None:
    assert World().run("ipsec_preflight")["file"] == {"path": PATH, "sas": 0, "digest": {}}


def test_all_findings_are_reported_at_once() -> None:
    world = World()
    world.sadb.lacks = [SadbError("this kernel has no hmac(md5)", "", "Load the module md5.", "ENOSYS")]
    world.files.problems[PATH] = ProtectedFileError("the file has mode 0640, not 0600", PATH, "chmod 600")
    result = world.run(
        "ipsec_preflight",
        addresses=["192.0.2.1", "192.0.2.9", "enigma"],
        associations=[
            SUITE,
            {"encryption_algorithm": "aes-cbd"},
            {"protocol": "ah"},
            {**SUITE, "encryption_bits": 100},
            {"encryption_algorithm": "aes-gcm"},
        ],
    )
    places = [line.split(":")[0] for line in result["msg"].split("\n")]
    assert places == [
        "addresses[2]",
        "associations[1].encryption_algorithm",
        "associations[2].authentication_algorithm",
        "associations[3].encryption_bits",
        "associations[4].encryption_algorithm",
        PATH,
        "this kernel has no hmac(md5). Load the module md5.",
        "addresses[1]",
    ]
    assert "This host has 192.0.2.1." in result["msg"]


@pytest.mark.parametrize("bound", [(), ("0.0.0.0:1194",), ("127.0.0.1:4501", "[::]:4500")])
def test_a_udp_port_that_no_program_has_open_is_a_warning(
    bound: tuple[str, ...], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = [str(tmp_path / name) for name in ("udp", "udp6")]
    monkeypatch.setattr(preflight, "_UDP_TABLES", tables)
    for table, six in zip(tables, (False, True)):
        ports = [int(text.rpartition(":")[2]) for text in bound if ("[" in text) == six]
        rows = [f"  1: {'0' * (32 if six else 8)}:{port:04X} 00000000:0000 07\n" for port in ports]
        pathlib.Path(table).write_text("".join(["  sl  local_address\n", *rows]), encoding="ascii")
    in_udp = [{**SUITE, "udp_port": 4500}, {**SUITE, "udp_port": 4501}]
    warned = World().run("ipsec_preflight", associations=in_udp)["warnings"]
    missing = [port for port in (4500, 4501) if not any(text.endswith(f":{port}") for text in bound)]
    assert [text.partition(" open")[0] for text in warned] == [f"No program has UDP port {port}" for port in missing]
    assert not World().run("ipsec_preflight", associations=[SUITE])["warnings"]
    # Where there is no such table, nothing is known.
    for table in tables:
        pathlib.Path(table).unlink()
    assert not World().run("ipsec_preflight", associations=in_udp)["warnings"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"udp_port": 65536}, "associations[0].udp_port: 65536 is not a UDP port"),
        ({"udp_port": 4500, "protocol": "ah", "encryption_algorithm": None}, "only ESP can be carried in UDP"),
    ],
)
def test_esp_in_udp_is_checked(given: dict[str, t.Any], message: str) -> None:
    assert message in World().run("ipsec_preflight", associations=[{**SUITE, **given}])["msg"]


def test_spis_that_are_never_drawn_are_not_reported() -> None:
    world = World()
    world.sadb.put(sa(0x64), sa(0x1001))
    world.sadb.entries.append(
        Entry(
            sa(0)._replace(encryption="", encryption_key=b"", authentication="", authentication_key=b""),
            Counters(),
            larval=True,
        )
    )
    assert world.run("ipsec_preflight")["spis"] == ["0x00001001"]


def test_counter_mode_is_accepted_on_request() -> None:
    options = {"associations": [{"encryption_algorithm": "aes-gcm"}]}
    assert World().run("ipsec_preflight", **options)["failed"]
    assert not World().run("ipsec_preflight", allow_static_counter_mode=True, **options).get("failed")


def test_hidden_keys_are_reported() -> None:
    world = World()
    world.sadb.put(sa(0x1001))
    world.sadb.hides_keys = True
    result = world.run("ipsec_preflight")
    assert result["keys_hidden"]
    assert result["warnings"]


def test_hidden_keys_that_a_rotation_would_lose_are_refused() -> None:
    world = World()
    world.sadb.put(sa(0x1001))
    world.sadb.hides_keys = True
    pair, unknown = "192.0.2.1|192.0.2.2#0,,0", "0123456789abcdef"
    result = world.run("ipsec_preflight", addresses=["192.0.2.1"], expected={pair: unknown})
    assert result["msg"].startswith(
        "SADB: this kernel hides the keys of SAs (lockdown), so those between 192.0.2.1 and 192.0.2.2 could not be"
        " restored"
    )
    assert "state: flushed" in result["msg"]
    # Other peers in the same SADB, other owners, and a kernel that shows keys.
    for other in (
        {},
        {"192.0.2.1|192.0.2.9#0,,0": unknown},
        {"192.0.2.8|192.0.2.9#0,,0": unknown},
        {"192.0.2.1|192.0.2.2#7,,0": unknown},
    ):
        assert not world.run("ipsec_preflight", addresses=["192.0.2.1"], expected=other).get("failed")
    world.sadb.hides_keys = False
    assert not world.run("ipsec_preflight", addresses=["192.0.2.1"], expected={pair: unknown}).get("failed")


@pytest.mark.parametrize("path", [PATH, PATH + ".next"])
def test_hidden_keys_are_accepted_if_nothing_has_to_change(path: str) -> None:
    world = World()
    world.sadb.put(sa(0x1001))
    expected = world.run("ipsec_preflight")["held"]
    world.files.contents[path] = render([sa(0x1001)]).encode()
    world.sadb.hides_keys = True
    result = world.run("ipsec_preflight", addresses=["192.0.2.1"], expected=expected)
    assert not result.get("failed") and result["held"] == expected


PAIR = "192.0.2.1|192.0.2.2#0,,0"
MARK = "/var/lib/ipseckey/rotation-due"


def test_the_use_of_expected_sas_alone_is_reported() -> None:
    world = World()
    world.sadb.put(sa(0x1001), packets=7, sequence_out=9, bytes=80, add_time=int(time.time()) - 60)
    world.sadb.put(sa(0x1002), packets=8, bytes=70, add_time=int(time.time()) - 6000)
    world.sadb.put(sa(0x1003)._replace(reqid=7), packets=2**31)
    result = world.run("ipsec_preflight", expected={PAIR: "0" * 16}, usage=True)
    assert list(result["usage"]) == [PAIR]
    used = result["usage"][PAIR]
    assert 60 <= used.pop("age") < 120
    assert used == {"packets": 9, "packets_percent": 1, "bytes": 80}
    assert "usage" not in world.run("ipsec_preflight", expected={PAIR: "0" * 16})


@pytest.mark.parametrize(
    ("lifetimes", "cipher", "counters", "found"),
    [
        ({}, "", {"packets": 2**31}, {"packets": 2**31, "packets_percent": 51}),
        ({"hard_packets": 100}, "", {"packets": 30}, {"packets_percent": 30}),
        ({"hard_packets": 100, "soft_packets": 20}, "", {"packets": 30}, {"packets_percent": 100}),
        ({"hard_bytes": 1000}, "", {"bytes": 100}, {"bytes": 100, "bytes_percent": 10, "blocks64": None}),
        ({}, "3des-cbc", {"bytes": 800}, {"bytes_percent": None, "blocks64": 100}),
        ({}, "", {}, {"age": None}),
    ],
)
def test_the_largest_share_of_any_limit_counts(
    lifetimes: dict[str, int], cipher: str, counters: dict[str, int], found: dict[str, t.Any]
) -> None:
    world = World()
    changed = {"encryption": cipher, "encryption_key": bytes(range(24))} if cipher else {}
    world.sadb.put(sa(0x1001)._replace(lifetimes=Lifetimes(**lifetimes), **changed), **counters)
    used = world.run("ipsec_preflight", expected={PAIR: "0" * 16}, usage=True)["usage"][PAIR]
    assert {name: used.get(name) for name in found} == found


def test_the_mark_counts_as_long_as_the_sadb_holds_one_of_its_sas() -> None:
    world = World()
    world.sadb.put(sa(0x1001), sa(0x1002)._replace(reqid=7))
    world.files.contents[MARK] = f"{label(sa(0x1001))}\n{label(sa(0x1005))}\n".encode()
    assert world.run("ipsec_preflight")["asked"] == [PAIR]
    world.files.contents[MARK] = f"{label(sa(0x1005))}\n\xff".encode("latin-1")
    assert world.run("ipsec_preflight")["asked"] == []
    world.files.problems[MARK] = ProtectedFileError("the file has mode 0666, not 0600", MARK, "chmod 600")
    result = world.run("ipsec_preflight")
    assert result["asked"] == [] and "It is unknown whether the boot service asked" in result["warnings"][0]
