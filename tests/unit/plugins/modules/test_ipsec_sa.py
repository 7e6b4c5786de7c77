# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import subprocess
import sys
import typing as t

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import SadbError
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa import model
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import (
    Encapsulation,
    Entry,
    Lifetimes,
    Mark,
    Selector,
)
from ansible_collections.ipsec.manual.tests.unit.plugins.modules.harness import (
    AUTHENTICATION_KEY,
    ENCRYPTION_KEY,
    ESP,
    OTHER_KEY,
    World,
    expect_once,
    sa,
)

AH: dict[str, t.Any] = {
    "protocol": "ah",
    "spi": "0x18907dae",
    "source": "192.0.2.1",
    "destination": "192.0.2.2",
    "authentication_algorithm": "hmac-sha256",
    "authentication_key": AUTHENTICATION_KEY,
}
IDENTITY = {"protocol": "esp", "spi": "0x8bcd1407", "destination": "192.0.2.2"}


@pytest.mark.parametrize(
    "options",
    [
        ESP,
        AH,
        {**ESP, "mode": "tunnel"},
        {**ESP, "source": "2001:db8::1", "destination": "2001:db8::2"},
        {**AH, "source": "2001:db8::1", "destination": "2001:db8::2", "mode": "tunnel"},
        {
            **ESP,
            "replay_window": 64,
            "esn": True,
            "reqid": 7,
            "mark": "0x10/0xff",
            "if_id": 3,
            "icv_bits": 96,
            "direction": "inbound",
        },
        {**ESP, "lifetimes": {"soft_packets": 5, "hard_packets": 10, "hard_bytes": 1 << 40, "hard_addtime": 3600}},
        {**ESP, "encapsulation": {"nat_local": "10.0.0.1"}},
        {**ESP, "output_mark": "0x10/0xff", "mode": "tunnel", "tfc_padding": 1400},
        {**ESP, "output_mark": "0/0"},
        {**ESP, "encapsulation": {}, "direction": "outbound", "nat_keepalive": 20},
        {
            **ESP,
            "mode": "tunnel",
            "selector": {
                "source": "10.1.0.0/16",
                "destination": "10.2.0.0/16",
                "protocol": "udp",
                "destination_port": 53,
            },
        },
    ],
)
def test_second_run_changes_nothing(options: dict[str, t.Any]) -> None:
    expect_once(World().four_times("ipsec_sa", **options))


def test_check_mode_changes_nothing() -> None:
    world = World()
    world.run("ipsec_sa", check=True, **ESP)
    assert not world.sadb.applied


# Every option, and the SA that they describe.
EVERY_OPTION = {
    **ESP,
    "mode": "tunnel",
    "icv_bits": 96,
    "replay_window": 64,
    "esn": True,
    "reqid": 7,
    "mark": "0x10/0xff",
    "if_id": 3,
    "direction": "inbound",
    "output_mark": "5/0xf",
    "tfc_padding": 1400,
    "lifetimes": {
        "soft_bytes": 1,
        "hard_bytes": 2,
        "soft_packets": 3,
        "hard_packets": 4,
        "soft_addtime": 5,
        "hard_addtime": 6,
        "soft_usetime": 7,
        "hard_usetime": 8,
    },
    "encapsulation": {
        "source_port": 4501,
        "destination_port": 4502,
        "nat_local": "10.0.0.1",
        "nat_remote": "10.0.0.2",
    },
    "selector": {
        "source": "10.1.0.0/16",
        "destination": "10.2.0.0/24",
        "protocol": "17",
        "source_port": 1,
        "destination_port": 2,
    },
}
EVERY_FIELD = model.SecurityAssociation(
    "esp",
    0x8BCD1407,
    bytes([192, 0, 2, 1]),
    bytes([192, 0, 2, 2]),
    "tunnel",
    "aes-cbc",
    bytes.fromhex(ENCRYPTION_KEY),
    "hmac-sha256",
    bytes.fromhex(AUTHENTICATION_KEY),
    96,
    64,
    True,
    7,
    Mark(0x10, 0xFF),
    3,
    Selector(bytes([10, 1, 0, 0]), 16, bytes([10, 2, 0, 0]), 24, 17, 1, 2),
    Encapsulation(4501, 4502, bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])),
    Lifetimes(1, 2, 3, 4, 5, 6, 7, 8),
    "inbound",
    output_mark=Mark(5, 0xF),
    tfc_padding=1400,
)


def test_every_option_reaches_the_sa() -> None:
    world = World()
    world.run("ipsec_sa", **EVERY_OPTION)
    assert world.sadb.sas == [EVERY_FIELD]


def test_keywords_of_ipseckey_are_aliases() -> None:
    world = World()
    world.run("ipsec_sa", **ESP)
    words = {
        "type": "esp",
        "spi": "0x8BCD1407",
        "src": "192.0.2.1",
        "dst": "192.0.2.2",
        "encr_alg": "AES",
        "encrkey": "0x" + ENCRYPTION_KEY.upper(),
        "auth_alg": "sha256",
        "authkey": AUTHENTICATION_KEY,
    }
    assert not world.run("ipsec_sa", **words)["changed"]


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        ({"encryption_key": OTHER_KEY}, ["encryption_key"]),
        ({"source": "192.0.2.9"}, ["source"]),
        ({"mode": "tunnel", "reqid": 9}, ["mode", "reqid"]),
        (
            {"authentication_algorithm": "hmac-sha512", "authentication_key": OTHER_KEY * 2},
            ["authentication", "authentication_key", "icv_bits"],
        ),
    ],
)
def test_an_sa_with_the_identity_and_other_fields_is_replaced(change: dict[str, t.Any], fields: list[str]) -> None:
    world = World()
    world.run("ipsec_sa", **ESP)
    results = world.four_times("ipsec_sa", **{**ESP, **change})
    expect_once(results)
    assert results[1]["differences"] == fields
    assert results[1]["operations"][0].startswith("replace esp spi 0x8bcd1407")
    assert len(world.sadb.sas) == 1


def test_parity_of_des_keys_does_not_count() -> None:
    world = World()
    key = "112233445566778899aabbccddeeff000123456789abcdef"
    options = {**ESP, "encryption_algorithm": "3des", "encryption_key": key}
    world.run("ipsec_sa", **options)
    flipped = "".join(f"{byte ^ 1:02x}" for byte in bytes.fromhex(key))
    result = world.run("ipsec_sa", **{**options, "encryption_key": flipped})
    assert result["changed"] is False
    assert any("RFC 8221" in warning for warning in result["warnings"])


def test_absent_needs_only_the_identity() -> None:
    world = World()
    world.run("ipsec_sa", **ESP)
    expect_once(world.four_times("ipsec_sa", state="absent", **IDENTITY))
    assert not world.sadb.sas


@pytest.mark.parametrize("spi", ["0x1", "0xff"])
def test_a_reserved_spi_can_be_removed_but_not_added(spi: str) -> None:
    world = World()
    world.sadb.put(sa(int(spi, 16)))
    assert "is reserved (1 to 255)" in world.run("ipsec_sa", **{**ESP, "spi": spi})["msg"]
    expect_once(world.four_times("ipsec_sa", **{**ESP, "spi": spi}, state="absent"))
    assert not world.sadb.sas
    result = world.run("ipsec_sa", **{**ESP, "spi": spi}, allow_reserved_spi=True)
    assert result["changed"] and any("are reserved (RFC 4303" in text for text in result["warnings"])
    assert [one.spi for one in world.sadb.sas] == [int(spi, 16)]
    assert "SPI 0 is for local use only" in world.run("ipsec_sa", **{**ESP, "spi": "0"}, state="absent")["msg"]


def test_a_key_that_another_sa_of_the_kernel_has_is_refused_unless_allowed() -> None:
    world = World()
    world.run("ipsec_sa", **ESP)
    before, other = world.sadb.sas, {**ESP, "spi": "0x8bcd1408", "destination": "192.0.2.9"}
    for check in (True, False):
        message = world.run("ipsec_sa", check=check, **other)["msg"]
        assert "the encryption key is also used by esp spi 0x8bcd1407" in message and "which the SADB holds" in message
        assert "with allow_shared_key" in message and world.sadb.sas == before
    assert world.run("ipsec_sa", **other, allow_shared_key=True)["changed"] and len(world.sadb.sas) == 2
    assert world.run("ipsec_sa", **{**ESP, "replay_window": 32})["changed"], "its own keys stay"


def test_absent_leaves_others_alone() -> None:
    world = World()
    others = [sa(0x1001), sa(0x8BCD1407, destination="192.0.2.3"), sa(0x8BCD1407, mark=Mark(1))]
    world.sadb.put(*others)
    assert not world.run("ipsec_sa", state="absent", **IDENTITY)["changed"]
    assert world.sadb.sas == others
    assert world.run("ipsec_sa", state="absent", mark="1", **IDENTITY)["changed"]
    assert world.sadb.sas == others[:2]


def test_a_reservation_of_the_same_spi_is_replaced() -> None:
    world = World()
    larval = sa(0x8BCD1407, encryption="", encryption_key=b"", authentication="", authentication_key=b"")
    world.sadb.entries.append(Entry(larval, model.Counters(), larval=True))
    assert world.run("ipsec_sa", **ESP)["operations"][0].startswith("replace")


def test_all_problems_are_reported_with_their_options() -> None:
    result = World().run(
        "ipsec_sa",
        protocol="esp",
        spi="12",
        source="partym",
        destination="256.1.1.1",
        encryption_algorithm="aes-cbd",
        authentication_algorithm="md5",
        authentication_key="00" * 15,
        mark="many",
        replay_window=5000,
        lifetimes={"soft_bytes": 10, "hard_bytes": 5},
        selector={"source": "10.0.0.1/8", "destination": "10.0.0.0/x", "protocol": "17"},
        encapsulation={"source_port": 0, "nat_local": "here"},
    )
    assert result["failed"]
    places = [line.split(":")[0] for line in result["msg"].split("\n")]
    assert places == [
        "spi",
        "destination",
        "mark",
        "source",
        "encryption_algorithm",
        "selector.destination",
        "encapsulation.source_port",
        "encapsulation.nat_local",
        "authentication_key",
        "replay_window",
        "lifetimes.soft_bytes",
    ]
    assert "Nearest names: aes-cbc" in result["msg"]
    assert "hmac-md5 needs a key of 128 bits (32 hex digits), found 120 bits (30 hex digits)" in result["msg"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encryption_key": ENCRYPTION_KEY[:-1]}, "encryption_key: the key has 63 hex digits, an odd number"),
        ({"encryption_key": ENCRYPTION_KEY[:-2]}, "encryption_key: aes-cbc needs a key of 256 bits"),
        (
            {"encryption_key": ENCRYPTION_KEY[:-1] + "g"},
            "encryption_key: the key has a character that is not a hex digit, at position 64",
        ),
        ({"encryption_key": "00" * 32}, "encryption_key: the aes-cbc key is one byte repeated"),
        ({"encryption_algorithm": "3des", "encryption_key": "0123456789abcdef" * 3}, "K1=K2 or K2=K3"),
        ({"authentication_key": ENCRYPTION_KEY}, "one key serves both"),
        ({"spi": "0"}, "spi: SPI 0 is for local use only"),
        ({"spi": "0x100000000"}, "does not fit 32 bits"),
        ({"spi": "010000"}, "leading zero"),
        ({"source": "2001:db8::1"}, "source: source and destination are of different address families"),
        (
            {
                "encryption_algorithm": "aes-gcm",
                "encryption_key": ENCRYPTION_KEY + "01020304",
                "authentication_algorithm": None,
            },
            "RFC 8221 section 3",
        ),
        ({"esn": True}, "esn: extended sequence numbers need a replay window"),
        ({"output_mark": "5/2"}, "output_mark: the mark 0x5 has bits outside its mask 0x2"),
        ({"output_mark": "five"}, "output_mark: "),
        ({"tfc_padding": 100}, "tfc_padding: only ESP in tunnel mode can pad what it carries"),
        ({"nat_keepalive": 20}, "nat_keepalive: only an outbound SA in UDP sends NAT keepalives"),
        ({"encryption_algorithm": "hmac-sha256"}, "but an encryption algorithm is needed here"),
    ],
)
def test_wrong_input_is_reported_and_changes_nothing(change: dict[str, t.Any], message: str) -> None:
    world = World()
    result = world.run("ipsec_sa", **{**ESP, **change})
    assert result["failed"]
    assert message in result["msg"]
    assert not world.sadb.applied


@pytest.mark.parametrize("state", ["present", "absent"])
@pytest.mark.parametrize("option", ["spi", "destination"])
@pytest.mark.parametrize("nothing", ["", None])
def test_an_empty_identity_is_refused(option: str, nothing: str | None, state: str) -> None:
    world = World()
    world.sadb.put(sa(model.SPI_MIN), sa(0x8BCD1407, destination="192.0.2.1"))
    identity = {name: ESP[name] for name in ("protocol", "spi", "destination")}
    result = world.run("ipsec_sa", state=state, **{**(ESP if state == "present" else identity), option: nothing})
    assert result["failed"]
    assert result["msg"] == f"{option}: nothing is given. Give it; a variable that it comes from may be empty."
    assert not world.sadb.applied


def test_a_wrong_destination_hides_problems_that_depend_on_it() -> None:
    more = {
        "source": "2001:db8::1",
        "selector": {"source": "2001:db8::1"},
        "encapsulation": {"nat_remote": "2001:db8::9"},
    }
    result = World().run("ipsec_sa", **{**ESP, "destination": "partym", **more})
    assert [line.split(":")[0] for line in result["msg"].split("\n")] == ["destination"]


@pytest.mark.parametrize(
    ("selector", "message"),
    [
        ({"source": "::/0", "protocol": "tcp"}, "a network of every address must be of the address family of the"),
        ({"source": "::/0", "destination": "10.0.0.0/8"}, "the selector mixes address families"),
        ({"source": "0.0.0.0", "destination": "10.0.0.0/8"}, "Write 0.0.0.0/0 for every address"),
        ({"source": "::/0"}, ""),
        ({"source": "0.0.0.0/0", "protocol": "tcp"}, ""),
    ],
)
def test_a_network_of_every_address_keeps_its_family(selector: dict[str, str], message: str) -> None:
    result = World().run("ipsec_sa", **ESP, mode="tunnel", selector=selector)
    assert message in result.get("msg", "") and bool(message) == result.get("failed", False)


def test_a_wrong_encapsulation_hides_problems_that_depend_on_it() -> None:
    result = World().run("ipsec_sa", **ESP, nat_keepalive=20, direction="outbound", encapsulation={"source_port": 0})
    assert result["msg"] == "encapsulation.source_port: 0 is not a UDP port. Choose 1 to 65535; 4500 is usual."


@pytest.mark.parametrize("short", ["1", "0x1", "00001001", "esp"])
def test_a_value_too_short_for_a_key_does_not_garble_the_output(short: str) -> None:
    result = World().run("ipsec_sa", **{**ESP, "spi": "0x00001001", "encryption_key": short})
    assert result["failed"]
    assert "*" not in result["msg"]
    assert result["invocation"]["module_args"]["spi"] == "0x00001001"
    assert result["invocation"]["module_args"]["encryption_key"] == "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"


def test_options_that_the_backend_cannot_express_are_refused_by_name() -> None:
    world = World()
    world.sadb.refused = {"if_id": "this backend has no if_id", "hard_packets": "this backend counts no packets"}
    result = world.run("ipsec_sa", **ESP)
    assert result["msg"] == "if_id: this backend has no if_id\nlifetimes.hard_packets: this backend counts no packets"


def test_a_refusal_by_the_kernel_is_reported() -> None:
    world = World()
    world.sadb.failure = SadbError(
        "the kernel has no ESP", "esp spi 0x8bcd1407", "Load the module esp4.", "EPROTONOSUPPORT"
    )
    result = world.run("ipsec_sa", **ESP)
    assert result["msg"] == "esp spi 0x8bcd1407: the kernel has no ESP. Load the module esp4."


def test_hidden_keys_cause_a_warning_and_everything_else_is_compared() -> None:
    world = World()
    world.run("ipsec_sa", **ESP)
    world.sadb.hides_keys = True
    same = world.run("ipsec_sa", **{**ESP, "encryption_key": OTHER_KEY})
    assert same["changed"] is False
    assert any("hides the keys" in warning for warning in same["warnings"])
    assert world.run("ipsec_sa", **{**ESP, "mode": "tunnel"})["differences"] == ["mode"]


def test_digits_that_may_be_hexadecimal_cause_a_warning() -> None:
    result = World().run("ipsec_sa", **{**ESP, "spi": "12345678"})
    assert result["sa"]["spi"] == "0x00bc614e"
    assert any("0x12345678" in warning and "decimal" in warning for warning in result["warnings"])


def test_missing_integrity_causes_a_warning() -> None:
    result = World().run("ipsec_sa", **{**ESP, "authentication_algorithm": None, "authentication_key": None})
    assert result["changed"]
    assert any("without integrity" in warning for warning in result["warnings"])


def test_counter_mode_is_accepted_on_request_with_a_warning() -> None:
    options = {
        **ESP,
        "encryption_algorithm": "aes-gcm",
        "encryption_key": ENCRYPTION_KEY + "01020304",
        "authentication_algorithm": None,
    }
    options.update(authentication_key=None, allow_static_counter_mode=True)
    result = World().run("ipsec_sa", **options)
    assert result["changed"]
    assert any("RFC 8221 section 3" in warning for warning in result["warnings"])


def test_a_changed_short_key_is_reported_but_not_shown() -> None:
    world = World()
    des = {**ESP, "encryption_algorithm": "des-cbc"}
    first = world.run("ipsec_sa", **{**des, "encryption_key": "5ec4e7015ec4e702"})
    assert first["sa"]["fingerprints"]["encryption"] == "short-key" and "(short-key)" in first["diff"]["after"]
    expect_once(world.four_times("ipsec_sa", **{**des, "encryption_key": "5ec4e7045ec4e707"}))
    last = world.run("ipsec_sa", **{**des, "encryption_key": "5ec4e7085ec4e70b"})
    assert last["differences"] == ["encryption_key"]


def test_the_difference_shows_fingerprints() -> None:
    world = World()
    result = world.run("ipsec_sa", **ESP)
    prints = model.fingerprints(world.sadb.sas[0])
    assert result["sa"]["fingerprints"] == prints
    assert all(value in result["diff"]["after"] for value in prints.values())


def test_a_task_imports_nothing_that_only_texts_and_changes_need() -> None:
    """A module starts for every task, and compiles everything that it imports."""
    plugins = "ansible_collections.ipsec.manual.plugins"
    imported = set(
        _printed(
            f"import sys; import {plugins}.modules.ipsec_sa, {plugins}.module_utils._core.sadb.xfrm.backend;"
            " print(*(name.partition('._core.')[2] for name in sys.modules))"
        ).split()
    )
    assert {name for name in imported if name.startswith("text.")} == {"text.mapping", "text.values"}
    assert not imported & {"sadb.xfrm.explain", "sadb.xfrm.probe", "sadb.pfkey.backend", "sadb.solaris.backend"}
    # Most tasks find what they describe, and change nothing.
    assert not imported & {"sadb.xfrm.changes", "sadb.xfrm.messages", "sadb.xfrm.transaction"}
    assert not imported & {"sadb.xfrm.ids", "sadb.xfrm.selectors", "sadb.xfrm.strange", "signals"}
    assert not imported & {"sa.conflicts", "sa.limits", "sa.merge", "sa.plan", "sa.reuse"}


def test_what_ansible_has_loaded_is_never_searched_for_garbage() -> None:
    program = "import ansible.module_utils.basic, gc; before = len(gc.get_objects());"
    program += " import ansible_collections.ipsec.manual.plugins.modules.ipsec_sa; print(before, gc.get_freeze_count())"
    loaded, kept = map(int, _printed(program).split())
    assert loaded > 5000 and kept > loaded * 0.9


def _printed(program: str) -> str:
    """What a new process of Python prints that runs the program."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, env=environment)
    return done.stdout
