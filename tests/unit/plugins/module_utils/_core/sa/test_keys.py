# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import InputError
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa import keys
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.algorithms import ALGORITHMS, BY_NAME

KEYED = [row for row in ALGORITHMS if row.key_bits]
GUIDE_3DES = "d41fb74470271826a8e7a80d343cc5aae9e2a7f05f13730d"


@given(st.binary(max_size=64), st.sampled_from(["", "0x", "0X"]), st.booleans())
def test_hex_is_read_in_any_case_with_and_without_0x(key, prefix, upper):
    digits = key.hex().upper() if upper else key.hex()
    assert keys.from_hex(prefix + digits) == key


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("d41", "3 hex digits, an odd number"),
        ("d41g", "position 4"),
        ("d4:1f:b7", "position 3"),
        ("d4 1", "position 3"),
        ("d4\u00e9f", "position 3"),
    ],
)
def test_invalid_hex_is_refused_by_position_only(text, part):
    with pytest.raises(InputError) as caught:
        keys.from_hex(text, "authkey")
    assert part in str(caught.value) and str(caught.value).startswith("authkey: ")
    assert text not in str(caught.value)


@given(st.text(max_size=80))
def test_any_text_is_a_key_or_refused_without_showing_it(text):
    try:
        keys.from_hex(text)
    except InputError as wrong:
        assert len(text) < 8 or text not in str(wrong)


@pytest.mark.parametrize("row", KEYED, ids=lambda row: row.name)
def test_a_generated_key_of_every_size_is_good_and_no_other_size_is(row):
    for bits in row.key_bits:
        key = keys.generate(row, bits)
        assert len(key) * 8 == bits + row.salt_bits
        assert keys.problem(row, key) == ""
    key = keys.generate(row, min(row.key_bits))[:-1]
    wrong = keys.problem(row, key)
    assert row.name in wrong and f"found {len(key) * 8} bits ({len(key) * 2} hex digits)" in wrong


@pytest.mark.parametrize("row", KEYED, ids=lambda row: row.name)
def test_the_default_size_is_the_first(row):
    assert len(keys.generate(row)) * 8 == row.key_bits[0] + row.salt_bits


@pytest.mark.parametrize("row", KEYED, ids=lambda row: row.name)
@pytest.mark.parametrize("byte", [0, 0xFF, 0x5A])
def test_a_repeated_byte_is_refused(row, byte):
    assert "one byte repeated" in keys.problem(row, bytes([byte]) * (row.material_bits[0] // 8))


def test_a_constant_key_with_a_random_salt_is_refused():
    assert "one byte repeated" in keys.problem(BY_NAME["aes-gcm"], bytes(16) + b"salt")


def test_a_missing_key_is_called_missing():
    assert "none is given" in keys.problem(BY_NAME["3des-cbc"], b"")


def test_null_takes_no_key():
    assert keys.problem(BY_NAME["null"], b"") == ""
    assert "takes no key" in keys.problem(BY_NAME["null"], b"12345678")
    with pytest.raises(InputError):
        keys.generate(BY_NAME["null"])


def test_a_size_that_the_algorithm_does_not_have_is_refused():
    with pytest.raises(InputError, match="no key size of 136 bits"):
        keys.generate(BY_NAME["aes-cbc"], 136)


def test_the_key_that_the_guide_cut_short_is_refused_with_both_lengths():
    reason = keys.problem(BY_NAME["3des-cbc"], bytes.fromhex("137fb4739a55c9b3a1747baa06359826a5e4358e"))
    assert reason == "3des-cbc needs a key of 192 bits (48 hex digits), found 160 bits (40 hex digits)"


# FIPS 74 section 3.6.
WEAK = """
    0101010101010101 fefefefefefefefe e0e0e0e0f1f1f1f1 1f1f1f1f0e0e0e0e
    011f011f010e010e 1f011f010e010e01 01e001e001f101f1 e001e001f101f101
    01fe01fe01fe01fe fe01fe01fe01fe01 1fe01fe00ef10ef1 e01fe01ff10ef10e
    1ffe1ffe0efe0efe fe1ffe1ffe0efe0e e0fee0fef1fef1fe fee0fee0fef1fef1
"""


@pytest.mark.parametrize("weak", WEAK.split())
@pytest.mark.parametrize("flip", [0, 1])
def test_weak_and_semi_weak_des_keys_are_refused_in_every_position(weak, flip):
    part = bytes(byte ^ flip for byte in bytes.fromhex(weak))
    good = keys.generate(BY_NAME["3des-cbc"])
    assert keys.problem(BY_NAME["des-cbc"], part)
    for place in range(3):
        key = good[: place * 8] + part + good[place * 8 + 8 :]
        assert keys.problem(BY_NAME["3des-cbc"], key)


@pytest.mark.parametrize(
    ("order", "good"),
    [((0, 0, 1), False), ((0, 1, 1), False), ((0, 0, 0), False), ((0, 1, 0), True), ((0, 1, 2), True)],
)
@pytest.mark.parametrize("flip", [0, 1])
def test_triple_des_keys_that_amount_to_single_des_are_refused(order, good, flip):
    parts = [bytes.fromhex(GUIDE_3DES)[start : start + 8] for start in (0, 8, 16)]
    key = parts[order[0]] + bytes(byte ^ flip for byte in parts[order[1]]) + parts[order[2]]
    assert (keys.problem(BY_NAME["3des-cbc"], key) == "") == good


@given(st.binary(min_size=24, max_size=24))
def test_parity_makes_every_byte_odd_and_changes_the_low_bit_only(key):
    repaired = keys.set_parity(BY_NAME["3des-cbc"], key)
    assert all(bin(byte).count("1") % 2 for byte in repaired)
    assert all(one ^ other in (0, 1) for one, other in zip(key, repaired))
    assert keys.set_parity(BY_NAME["3des-cbc"], repaired) == repaired
    assert keys.set_parity(BY_NAME["aes-cbc"], key) == key


def test_the_guides_key_differs_in_twelve_bytes_after_parity():
    key = bytes.fromhex(GUIDE_3DES)
    assert sum(one != other for one, other in zip(key, keys.set_parity(BY_NAME["3des-cbc"], key))) == 12


@given(st.binary(min_size=24, max_size=24))
def test_a_fingerprint_hides_parity_and_the_key(key):
    row = BY_NAME["3des-cbc"]
    print_ = keys.fingerprint(row, key)
    assert len(print_) == 16 and int(print_, 16) >= 0
    assert print_ == keys.fingerprint(row, keys.set_parity(row, key))
    assert print_ not in key.hex()


def test_the_fingerprint_is_labelled_sha256():
    row = BY_NAME["hmac-md5"]
    key = bytes.fromhex("e896f8df7f78d6cab36c94ccf293f031")
    assert (
        keys.fingerprint(row, key)
        == hashlib.sha256(b"ipsec.manual key fingerprint 1\0hmac-md5\0" + key).hexdigest()[:16]
    )
    assert keys.fingerprint(BY_NAME["aes-xcbc"], key) != keys.fingerprint(row, key)
    assert keys.fingerprint(row, b"") == ""


@pytest.mark.parametrize("row", ALGORITHMS, ids=lambda row: row.name)
def test_only_des_and_short_keys_of_blowfish_have_no_fingerprint(row):
    for bits in row.key_bits:
        key = keys.generate(row, bits)
        assert keys.is_short(row, key) == (row.name == "des-cbc" or (row.name == "blowfish-cbc" and bits < 112))
        assert keys.fingerprint(row, key) == (
            keys.SHORT_KEY if keys.is_short(row, key) else keys.full_fingerprint(row, key)
        )


@pytest.mark.parametrize(
    ("size", "salt", "parity", "short"),
    [(13, 0, False, True), (14, 0, False, False), (17, 4, False, True), (16, 0, True, False), (15, 0, True, True)],
)
def test_neither_salt_nor_parity_makes_a_key_long(size, salt, parity, short):
    row = BY_NAME["aes-cbc"]._replace(name="other", salt_bits=salt * 8, des_parity=parity)
    assert keys.is_short(row, bytes(range(size))) == short


def test_a_weak_key_is_discarded(monkeypatch):
    drawn = iter([bytes.fromhex("0101010101010101"), bytes.fromhex("0123456789abcdef")])
    monkeypatch.setattr(keys.os, "urandom", lambda size: next(drawn))
    assert keys.generate(BY_NAME["des-cbc"]) == bytes.fromhex("0123456789abcdef")
