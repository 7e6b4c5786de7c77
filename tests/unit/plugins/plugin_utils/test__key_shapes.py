# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import random
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.ipsec.manual.plugins.plugin_utils._key_shapes import holds_key

# Sizes of keys in bytes: DES, AES-128, SHA-1, 3DES, AES-256 with and without a salt, SHA-512.
LENGTHS = (8, 16, 20, 24, 32, 36, 64)


def random_key(seed: int, length: int) -> bytes:
    return random.Random(seed).randbytes(length)


keys = st.builds(random_key, st.integers(0, 1 << 32), st.sampled_from(LENGTHS)).filter(
    lambda key: not key.hex().isdecimal()
)


def groups(text: str, size: int) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]


NOTATIONS: dict[str, t.Callable[[bytes], str]] = {
    "plain": lambda key: key.hex(),
    "upper": lambda key: key.hex().upper(),
    "prefixed": lambda key: f"0x{key.hex()}/{len(key) * 8}",
    **{f"bytes by {gap!r}": lambda key, gap=gap: key.hex(gap) for gap in ":-_. ,"},
    **{f"words by {gap!r}": lambda key, gap=gap: key.hex(gap, -2) for gap in "-_. "},
    **{f"16 digits by {gap!r}": lambda key, gap=gap: gap.join(groups(key.hex(), 16)) for gap in ":-_. "},
    "prefixed words": lambda key: "0x" + key.hex("_", -4),
    "a list of C": lambda key: ", ".join(f"0x{byte:02X}" for byte in key),
    "lines of xxd": lambda key: "\n".join(
        line.hex(" ") for line in (key[start : start + 16] for start in range(0, len(key), 16))
    ),
    "base64 of hexadecimal": lambda key: base64.b64encode(key.hex().encode()).decode(),
}


@given(
    keys,
    st.sampled_from(sorted(NOTATIONS)),
    st.sampled_from(["{}", " {}\n", "encrkey {}", "key={}", '{{"k": "{}"}}', "[{}]"]),
)
def test_a_key_is_seen_in_any_notation(key: bytes, notation: str, around: str) -> None:
    text = around.format(NOTATIONS[notation](key))
    assert holds_key(text)
    assert holds_key([{"a": {"b": text}}])
    assert holds_key({text: 1})


# One key in a few thousand has no capital letter, or no small one.
@settings(derandomize=True)
@given(st.integers(0, 1 << 32), st.sampled_from([length for length in LENGTHS if length % 3]), st.booleans())
def test_a_key_is_seen_in_base64_with_padding(seed: int, length: int, url: bool) -> None:
    text = (base64.urlsafe_b64encode if url else base64.b64encode)(random_key(seed, length)).decode()
    assert holds_key(text)
    assert holds_key(f"key: {text}\n")


@pytest.mark.parametrize("length", [16, 24, 32, 36, 64])
def test_nearly_every_key_is_seen_in_base64_without_padding(length: int) -> None:
    texts = [base64.b64encode(random_key(seed, length)).decode().rstrip("=") for seed in range(1000)]
    assert sum(map(holds_key, texts)) > 900


@given(st.binary(min_size=8, max_size=8) | st.binary(min_size=16, max_size=16))
def test_digits_are_a_digest_between_two_addresses_where_digests_are_expected(digest: bytes) -> None:
    pair = "192.0.2.1|2001:db8::2#0,,0"
    assert not holds_key({pair: digest.hex()}, digests=True)
    if holds_key(digest.hex()):
        for value in (
            {"192.0.2.1": digest.hex()},
            {pair: [digest.hex()]},
            {pair: f"0x{digest.hex()}"},
            {digest.hex(): "a"},
            digest.hex(),
        ):
            assert holds_key(value, digests=True)


addresses = st.ip_addresses().filter(lambda address: address.version == 4 or int(address) >> 112 >= 0x100)


@given(
    st.lists(addresses, min_size=1, max_size=9),
    st.sampled_from([",", ", ", " ", "|", ">", "-"]),
    st.sampled_from(["", "/64", "%eth0", ":500"]),
    st.booleans(),
)
def test_an_address_is_not_a_key(chosen: list[t.Any], between: str, after: str, exploded: bool) -> None:
    assert not holds_key(between.join((address.exploded if exploded else str(address)) + after for address in chosen))


@given(
    st.lists(st.integers(0, (1 << 32) - 1), min_size=1, max_size=9),
    st.sampled_from(["0x{:08x}", "0x{:X}", "{:x}", "{}", "{:#x}/0xffffffff"]),
)
def test_an_spi_is_not_a_key(spis: list[int], form: str) -> None:
    texts = [form.format(spi) for spi in spis]
    assert not holds_key(texts)
    assert not holds_key(",".join(texts))
    assert not holds_key(", ".join(texts))
    assert not holds_key(spis)


@given(
    st.lists(st.binary(min_size=6, max_size=6), min_size=1, max_size=5),
    st.sampled_from(":-"),
    st.sampled_from([" ", ",", ", ", "|"]),
)
def test_a_mac_is_not_a_key(macs: list[bytes], gap: str, between: str) -> None:
    assert not holds_key(between.join(mac.hex(gap) for mac in macs))


@given(st.uuids())
def test_a_uuid_is_not_a_key(uuid: t.Any) -> None:
    assert not holds_key(str(uuid))
    assert not holds_key(f"connection-{uuid}")


NAMES = """
site berlin-2 Frankfurt edge vpn VPN01 core 20261121 backbone to gw a b DE add beef Primary hmac sha256 aes rack7 10g
"""
words = st.sampled_from([word for word in NAMES.split() if word.strip("0123456789abcdefABCDEF")])


# Four words may be 22 characters of mixed kinds, like a key in base64.
@given(st.lists(words, min_size=1, max_size=3), st.sampled_from(["-", "_", ".", " ", ", "]))
def test_a_name_is_not_a_key(parts: list[str], between: str) -> None:
    assert not holds_key(between.join(parts))


@pytest.mark.parametrize(
    "value",
    [
        "/etc/inet/secret/ipseckeys.previous",
        "/run/deadbeefdeadbeefdeadbeefdeadbeef/keys",
        "keys/deadbeefdeadbeefdeadbeefdeadbeef.txt",
        "rfc7539esp(chacha20,poly1305)",
        "aes-ctr-key-256",
        "enigma.example.org",
        "FrankfurtBerlinBackbone2026Primary",
        "Site-A-To-Site-B-VPN-01-East",
        "/opt/Backup2/Keys7/oF42/aB3/Zz9Q1w",
        "ansible_connection=local",
        "2026-11-21T21:00:00.123456Z",
        "10,11,12,13,14,15,16,17,18,19,20,21",
        18446744073709551615,
        1795000000.25,
        None,
        True,
    ],
)
def test_other_values_of_options_are_not_keys(value: t.Any) -> None:
    assert not holds_key(value)
