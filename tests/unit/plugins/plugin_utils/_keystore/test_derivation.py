# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Derived keys compared with an HKDF that is written here with the standard library's HMAC alone, and
with the vectors of the guide.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
import pathlib
import re
import typing as t

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core.sa import checks, conflicts, keys
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.algorithms import BY_NAME
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import format_address, pack_address
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.model import Connection
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.reader import read_connections
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore import derivation as _derive
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.derivation import Derivation

GUIDE = pathlib.Path(keys.__file__).parents[4] / "docs" / "docsite" / "rst" / "where_keys_live.rst"
ROOT = bytes(range(32))
SALT = bytes(range(16))
MESH = {"a": "192.0.2.1", "b": "192.0.2.2", "c": "192.0.2.3"}
ESP_AH: list[dict[str, t.Any]] = [{"protocol": "esp"}, {"protocol": "ah"}]


def connection(**fields: t.Any) -> Connection:
    return read_connections([{"name": "mesh", "endpoints": MESH, **fields}], allow_static_counter_mode=True)[0]


def hkdf(key_material: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869 sections 2.2 and 2.3."""
    secret = hmac.digest(salt, key_material, "sha256")
    block, output = b"", b""
    for number in range(1, -(-length // 32) + 1):
        block = hmac.digest(secret, block + info + bytes([number]), "sha256")
        output += block
    return output[:length]


def test_this_hkdf_gives_the_vectors_of_the_rfc() -> None:
    """RFC 5869 appendix A.1."""
    info, salt = bytes(range(0xF0, 0xFA)), bytes(range(13))
    wanted = "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    assert hkdf(b"\x0b" * 22, salt, info, 42).hex() == wanted


def by_hand(
    name: str,
    generation: int,
    source: str,
    destination: str,
    protocol: str,
    purpose: str,
    length: int,
    attempt: int = 0,
) -> bytes:
    info = f"ipsec.manual 1|{name}|{generation}|{source}>{destination}|{protocol}|{purpose}|{attempt}"
    return hkdf(ROOT, SALT, info.encode(), length)


@pytest.mark.parametrize(
    ("associations", "lengths"),
    [
        (ESP_AH, {"esp": (32, 32), "ah": (0, 32)}),
        ([{"authentication_algorithm": "hmac-sha512"}], {"esp": (32, 64)}),
        ([{"encryption_algorithm": "aes-gcm"}], {"esp": (36, 0)}),
        ([{"encryption_algorithm": "3des", "authentication_algorithm": "md5"}], {"esp": (24, 16)}),
        ([{"encryption_algorithm": "null", "authentication_algorithm": "sha1"}], {"esp": (0, 20)}),
    ],
)
def test_every_key_and_spi_matches_the_rfc(
    associations: list[dict[str, t.Any]], lengths: dict[str, tuple[int, int]]
) -> None:
    found = list(Derivation(ROOT, SALT, connection(associations=associations), 7).sas())
    assert len(found) == 6 * len(associations)
    for sa in found:
        where = ("mesh", 7, format_address(sa.source), format_address(sa.destination), sa.protocol)
        assert sa.spi.to_bytes(4, "big") == by_hand(*where, "spi", 4)
        for purpose, algorithm, key, length in zip(
            ("encryption", "authentication"),
            (sa.encryption, sa.authentication),
            (sa.encryption_key, sa.authentication_key),
            lengths[sa.protocol],
            strict=True,
        ):
            assert key == (keys.set_parity(BY_NAME[algorithm], by_hand(*where, purpose, length)) if length else b"")
        assert not checks.problems(sa, allow_static_counter_mode=True)
    assert not conflicts.set_problems(found)


def test_the_vectors_of_the_guide_are_correct() -> None:
    (block,) = re.findall(r"\.\. code-block:: json\n\n(   \{.*?\n   \})\n", GUIDE.read_text(), re.S)
    vectors = json.loads(block)
    made = read_connections([vectors["connection"]])[0]
    derivation = Derivation(bytes.fromhex(vectors["root"]), bytes.fromhex(vectors["salt"]), made, vectors["generation"])
    assert (
        derivation.fingerprint() == vectors["generation_fingerprint"]
        and _derive.root_fingerprint(bytes.fromhex(vectors["root"])) == vectors["root_fingerprint"]
    )
    found = [
        {
            "protocol": sa.protocol,
            "direction": f"{format_address(sa.source)}>{format_address(sa.destination)}",
            "spi": f"0x{sa.spi:08x}",
            **({"encryption_key": sa.encryption_key.hex()} if sa.encryption_key else {}),
            "authentication_key": sa.authentication_key.hex(),
        }
        for sa in derivation.sas()
    ]
    assert found == vectors["sas"]
    # The same with the standard library alone.
    for row in vectors["sas"]:
        for purpose, name, length in (
            ("spi", "spi", 4),
            ("encryption", "encryption_key", 32),
            ("authentication", "authentication_key", 32),
        ):
            if name in row:
                info = (
                    "ipsec.manual"
                    f" 1|{made.name}|{vectors['generation']}|{row['direction']}|{row['protocol']}|{purpose}|0".encode()
                )
                derived = hkdf(bytes.fromhex(vectors["root"]), bytes.fromhex(vectors["salt"]), info, length).hex()
                assert row[name].replace("0x", "") == derived


def test_any_other_input_gives_other_keys() -> None:
    def all_keys(root: bytes = ROOT, salt: bytes = SALT, generation: int = 7, **fields: t.Any) -> set[bytes]:
        found = Derivation(root, salt, connection(**fields), generation).sas()
        return {key for sa in found for key in (sa.encryption_key, sa.authentication_key) if key}

    sets = [
        all_keys(),
        all_keys(root=bytes(32)),
        all_keys(salt=bytes(16)),
        all_keys(generation=8),
        all_keys(name="other"),
    ]
    assert all(len(found) == 12 for found in sets) and all(
        not one & other for one, other in itertools.combinations(sets, 2)
    )


def test_one_host_derives_only_its_own_sas() -> None:
    derivation = Derivation(ROOT, SALT, connection(associations=ESP_AH), 7)
    mine = list(derivation.sas("b"))
    address = pack_address(MESH["b"])
    assert set(mine) == {sa for sa in derivation.sas() if address in (sa.source, sa.destination)} and len(mine) == 8


def test_a_taken_spi_is_skipped_in_the_same_way_each_time() -> None:
    plain = Derivation(ROOT, SALT, connection(), 7)
    towards = {sa.source: sa.spi for sa in plain.sas() if sa.destination == pack_address(MESH["c"])}
    taken = {pack_address(MESH["c"]): {towards[pack_address(MESH["a"])]}}
    found = []
    for dummy in range(2):
        derivation = Derivation(ROOT, SALT, connection(), 7)
        derivation.place(lambda destination: taken.get(destination, set()))
        found.append(list(derivation.sas()))
        assert derivation.moved == {"192.0.2.1>192.0.2.3 esp": 1}
    assert found[0] == found[1] == list(Derivation(ROOT, SALT, connection(), 7, {"192.0.2.1>192.0.2.3 esp": 1}).sas())
    moved = next(
        sa
        for sa in found[0]
        if (format_address(sa.source), format_address(sa.destination)) == ("192.0.2.1", "192.0.2.3")
    )
    assert moved.spi.to_bytes(4, "big") == by_hand("mesh", 7, "192.0.2.1", "192.0.2.3", "esp", "spi", 4, attempt=1)
    # Neither its keys nor any other SA change.
    assert [sa for sa in found[0] if sa != moved] == [
        sa for sa in plain.sas() if sa.spi not in taken[pack_address(MESH["c"])]
    ]


def test_spis_are_unique_and_never_reserved_even_if_all_collide(monkeypatch: pytest.MonkeyPatch) -> None:
    """With SPIs of 256 to 267 or fewer, collisions are frequent."""
    genuine = Derivation._spi
    monkeypatch.setattr(Derivation, "_spi", lambda self, *arguments: 250 + genuine(self, *arguments) % 18)
    derivation = Derivation(ROOT, SALT, connection(associations=ESP_AH), 7)
    derivation.place(lambda destination: {256}, {257})
    found = list(derivation.sas())
    assert (
        min(sa.spi for sa in found) > 257 and len({(sa.destination, sa.spi) for sa in found}) == 12 and derivation.moved
    )
    for address in MESH.values():
        assert set(derivation.spis_towards(pack_address(address))) == {
            sa.spi for sa in found if sa.destination == pack_address(address)
        }


def test_weak_keys_are_skipped_and_parity_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = Derivation._expand

    def weak_first(self: Derivation, length: int, *where: t.Any) -> bytes:
        return bytes.fromhex("0101010101010101") if length == 8 and where[-1] < 2 else genuine(self, length, *where)

    monkeypatch.setattr(Derivation, "_expand", weak_first)
    for sa in Derivation(
        ROOT, SALT, connection(associations=[{"encryption_algorithm": "des", "authentication_algorithm": "sha256"}]), 7
    ).sas():
        where = ("mesh", 7, format_address(sa.source), format_address(sa.destination), "esp")
        assert sa.encryption_key == keys.set_parity(BY_NAME["des-cbc"], by_hand(*where, "encryption", 8, attempt=2))
        assert all(bin(byte).count("1") % 2 for byte in sa.encryption_key)


def test_a_group_derives_one_sa_for_all_its_addresses() -> None:
    """The direction is from any source to the first group."""
    group = connection(
        endpoints={"a": "fe80::1", "b": "fe80::2"},
        multicast=["ff02::5", "ff02::6"],
        unicast=True,
        associations=[{"protocol": "ah"}],
    )
    found = list(Derivation(ROOT, SALT, group, 7).sas("a"))
    assert [format_address(sa.destination) for sa in found] == ["ff02::5", "ff02::6", "fe80::1", "fe80::2"]
    assert {sa.authentication_key for sa in found} == {by_hand("mesh", 7, "::", "ff02::5", "ah", "authentication", 32)}
    assert {sa.spi.to_bytes(4, "big") for sa in found} == {by_hand("mesh", 7, "::", "ff02::5", "ah", "spi", 4)}
    assert not conflicts.set_problems(found)


def test_nothing_shows_the_secret() -> None:
    derivation = Derivation(ROOT, SALT, connection(), 7)
    secret = hmac.digest(SALT, ROOT, "sha256")
    wanted = hashlib.sha256(b"ipsec.manual generation fingerprint 1\0" + secret).hexdigest()[:16]
    assert derivation.fingerprint() == wanted and repr(derivation) == "<derivation of mesh, generation 7>"
