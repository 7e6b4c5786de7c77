# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The modules over the backend pfkey."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.ipsec.manual.tests.kernel import test_modules as modules
from ansible_collections.ipsec.manual.tests.kernel import witness

KEY_64 = "".join(f"5ec4e7{number:02x}" for number in range(100, 116))
ESP = {**modules.ESP, "authentication_algorithm": "hmac-sha512", "authentication_key": KEY_64, "backend": "pfkey"}
AH = {**modules.AH, "authentication_algorithm": "hmac-sha512", "authentication_key": KEY_64, "backend": "pfkey"}


@pytest.mark.parametrize(
    "arguments, shown",
    [
        (
            ESP,
            [
                "mode transport",
                f"auth-trunc hmac(sha512) 0x{KEY_64} (512 bits) 256",
                f"enc cbc(aes) 0x{modules.ENCRYPTION_KEY}",
            ],
        ),
        ({**AH, "mode": "tunnel", "reqid": 5}, ["proto ah", "mode tunnel", "reqid 5"]),
        (
            {**ESP, "replay_window": 32, "lifetimes": {"soft_packets": 9, "hard_addtime": 86400}},
            ["replay-window 32", "soft 9(packets)"],
        ),
        ({**ESP, "encapsulation": {"source_port": 4501}}, ["encap type espinudp sport 4501 dport 4500"]),
    ],
)
def test_ipsec_sa_adds_and_removes(arguments: dict[str, t.Any], shown: list[str]) -> None:
    done = modules.expect_once("ipsec_sa", **arguments)
    assert done["backend"] == "pfkey"
    text = modules.only_state()
    assert all(part in text for part in shown)
    modules.expect_once("ipsec_sa", **arguments, state="absent")
    assert witness.states() == {}


def test_ipsec_sa_replaces_and_refuses_by_option() -> None:
    modules.run("ipsec_sa", **ESP)
    done = modules.expect_once("ipsec_sa", **{**ESP, "encryption_key": modules.OTHER_KEY})
    assert done["differences"] == ["encryption_key"]
    refused_result = modules.run("ipsec_sa", **{**ESP, "mark": "5", "if_id": 3, "esn": True, "replay_window": 64})
    assert refused_result["failed"]
    assert [line.partition(":")[0] for line in refused_result["msg"].splitlines()] == [
        "mark",
        "if_id",
        "esn",
        "replay_window",
    ]
    default = modules.run("ipsec_sa", **{**modules.ESP, "backend": "pfkey"})
    assert default["msg"].startswith(
        "icv_bits: PF_KEY of Linux gives hmac-sha256 an ICV of 96 bits, not 128. Set 96 on both peers"
    )


def test_ipsec_sadb_and_ipsec_sa_info_work_over_it() -> None:
    line = "add {} spi {} src 192.0.2.1 dst 192.0.2.2 {} auth_alg hmac-sha512 authkey {}\n"
    cipher = f"encr_alg aes-cbc encrkey {modules.ENCRYPTION_KEY}"
    content = line.format("esp", "0x1001", cipher, KEY_64) + line.format(
        "ah", "0x1002", "", "".join(reversed([KEY_64[i : i + 8] for i in range(0, 128, 8)]))
    )
    foreign = "xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x2000 reqid 77 enc cbc(aes)"
    witness.ip(f"{foreign} 0x{'12' * 16}")
    done = modules.expect_once("ipsec_sadb", content=content, backend="pfkey", state="exact")
    assert (done["counts"]["added"], done["counts"]["foreign"]) == (2, 1)
    by_xfrm = modules.run("ipsec_sadb", content=content, backend="xfrm", state="exact")
    assert (by_xfrm["changed"], by_xfrm["digest"]) == (False, done["digest"])
    info = modules.run("ipsec_sa_info", backend="pfkey")
    assert {(sa["protocol"], sa["spi"]) for sa in info["sas"]} == {
        ("esp", "0x00001001"),
        ("ah", "0x00001002"),
        ("esp", "0x00002000"),
    }
    prints = {sa["spi"]: sa["fingerprints"] for sa in modules.run("ipsec_sa_info", backend="xfrm")["sas"]}
    assert {sa["spi"]: sa["fingerprints"] for sa in info["sas"]} == prints
    backup = str(modules.DIRECTORY / "backup")
    modules.run("ipsec_sadb", content=content, backend="pfkey", state="flushed", backup=backup)
    assert [spi for dummy, spi in witness.states()] == [0x2000]
    modules.expect_once("ipsec_sadb", src=backup, backend="pfkey", state="exact")
    modules.expect_once("ipsec_sadb", content=content, backend="pfkey", state="absent")
    assert [spi for dummy, spi in witness.states()] == [0x2000]
