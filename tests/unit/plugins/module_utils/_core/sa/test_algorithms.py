# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import InputError
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa import algorithms
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.algorithms import (
    ALGORITHMS,
    AUTHENTICATION,
    ENCRYPTION,
)

# Both tables begin with shorter Blowfish keys, of 32 bits in illumos and of 40 in Linux.
BLOWFISH = tuple(range(64, 449, 8))
# kind, number, names, size of encrkey or authkey in bits, default ICV in bits: the ipsecalgs table of illumos.
ILLUMOS = [
    (AUTHENTICATION, 2, "hmac-md5 md5", (128,), 96),
    (AUTHENTICATION, 3, "hmac-sha1 sha sha1 sha-1 hmac-sha hmac-sha-1", (160,), 96),
    (AUTHENTICATION, 5, "hmac-sha256 sha256 sha-256 hmac-sha-256", (256,), 128),
    (AUTHENTICATION, 6, "hmac-sha384 sha384 sha-384 hmac-sha-384", (384,), 192),
    (AUTHENTICATION, 7, "hmac-sha512 sha512 sha-512 hmac-sha-512", (512,), 256),
    (ENCRYPTION, 2, "des-cbc des", (64,), 0),
    (ENCRYPTION, 3, "3des-cbc 3des", (192,), 0),
    (ENCRYPTION, 7, "blowfish-cbc blowfish", BLOWFISH, 0),
    (ENCRYPTION, 11, "null", (), 0),
    (ENCRYPTION, 12, "aes-cbc aes", (128, 192, 256), 0),
    (ENCRYPTION, 14, "aes-ccm8", (152, 216, 280), 64),
    (ENCRYPTION, 15, "aes-ccm12", (152, 216, 280), 96),
    (ENCRYPTION, 16, "aes-ccm aes-ccm16", (152, 216, 280), 128),
    (ENCRYPTION, 18, "aes-gcm8", (160, 224, 288), 64),
    (ENCRYPTION, 19, "aes-gcm12", (160, 224, 288), 96),
    (ENCRYPTION, 20, "aes-gcm aes-gcm16", (160, 224, 288), 128),
]
# Linux name, size of the key with its salt in bits, default ICV in bits: net/xfrm/xfrm_algo.c, with
# the ICV of RFC 4868 where the kernel's default is from a draft.
LINUX = [
    ("hmac(md5)", (128,), 96),
    ("hmac(sha1)", (160,), 96),
    ("hmac(sha256)", (256,), 128),
    ("hmac(sha384)", (384,), 192),
    ("hmac(sha512)", (512,), 256),
    ("xcbc(aes)", (128,), 96),
    ("cmac(aes)", (128,), 96),
    ("cbc(des)", (64,), 0),
    ("cbc(des3_ede)", (192,), 0),
    ("cbc(blowfish)", BLOWFISH, 0),
    ("ecb(cipher_null)", (), 0),
    ("cbc(aes)", (128, 192, 256), 0),
    ("rfc3686(ctr(aes))", (160, 224, 288), 0),
    ("rfc4309(ccm(aes))", (152, 216, 280), 128),
    ("rfc4106(gcm(aes))", (160, 224, 288), 128),
    ("rfc4543(gcm(aes))", (160, 224, 288), 128),
    ("rfc7539esp(chacha20,poly1305)", (288,), 128),
]


@pytest.mark.parametrize(("kind", "number", "names", "bits", "icv"), ILLUMOS)
def test_the_table_has_every_row_of_illumos(kind, number, names, bits, icv):
    rows = {algorithms.find(kind, word) for word in (*names.split(), names.upper().split()[0], str(number))}
    assert len(rows) == 1
    row = rows.pop()
    assert row.name == names.split()[0]
    assert tuple(sorted(row.material_bits)) == bits
    assert (row.icv_bits[0] if row.icv_bits else 0) == icv


@pytest.mark.parametrize(("name", "bits", "icv"), LINUX)
def test_the_table_has_every_row_of_linux(name, bits, icv):
    combined = name.startswith(("rfc4", "rfc7"))
    row = algorithms.find_linux(name, icv if combined else 0)
    assert row is not None
    assert tuple(sorted(row.material_bits)) == bits
    assert (row.icv_bits[0] if row.icv_bits else 0) == icv
    assert row.combined == combined


def test_an_unknown_kernel_name_has_no_row():
    assert algorithms.find_linux("cbc(camellia)") is None
    assert algorithms.find_linux("rfc4106(gcm(aes))", 32) is None


def test_no_two_rows_share_a_name_a_number_or_a_kernel_name():
    for kind in (ENCRYPTION, AUTHENTICATION):
        rows = [row for row in ALGORITHMS if row.kind == kind]
        words = [word for row in rows for word in (row.name, *row.aliases)]
        numbers = [row.number for row in rows if row.number is not None]
        assert len(words) == len(set(words)) and len(numbers) == len(set(numbers))
    kernel = [(row.linux, row.icv_bits if row.combined else ()) for row in ALGORITHMS]
    assert len(kernel) == len(set(kernel))


def test_names_and_aliases_are_lower_case_as_find_compares_them():
    assert [word for row in ALGORITHMS for word in (row.name, *row.aliases) if word != word.lower()] == []


def test_counter_mode_marks_all_that_rfc_8221_forbids_with_static_keys():
    assert {row.name for row in ALGORITHMS if row.counter_mode} == {
        row.name for row in ALGORITHMS if row.name.startswith(("aes-gcm", "aes-ccm", "aes-ctr", "aes-gmac", "chacha"))
    }


@pytest.mark.parametrize("name", ["hmac-md5", "hmac-sha1", "des-cbc", "3des-cbc", "blowfish-cbc"])
def test_algorithms_below_must_name_the_rfc(name):
    assert "RFC 8221" in algorithms.BY_NAME[name].advice


def test_sizes_are_in_bits_and_digits():
    assert algorithms.BY_NAME["3des-cbc"].sizes() == "192 bits (48 hex digits)"
    assert algorithms.BY_NAME["blowfish-cbc"].sizes() == "64 to 448 bits in whole bytes (16 to 112 hex digits)"
    assert algorithms.BY_NAME["blowfish-cbc"].size_choices() == "Choose 64 to 448, a multiple of 8."
    assert algorithms.BY_NAME["aes-gcm"].size_choices() == "Choose one of: 256, 192, 128."


def test_the_default_size_of_blowfish_is_that_of_both_tables():
    assert algorithms.BY_NAME["blowfish-cbc"].key_bits[0] == 128


@pytest.mark.parametrize(
    ("kind", "word", "part"),
    [
        (ENCRYPTION, "aes-cbq", "aes-cbc"),
        (ENCRYPTION, "rot13", "unknown encryption algorithm 'rot13'"),
        (ENCRYPTION, "sha256", "is an authentication algorithm"),
        (AUTHENTICATION, "aes", "is an encryption algorithm"),
        (AUTHENTICATION, "hmac-sha265", "hmac-sha256"),
        (ENCRYPTION, "13", "unknown"),
        (ENCRYPTION, "\u00b2", "unknown"),
        (ENCRYPTION, "", "unknown"),
    ],
)
def test_an_unknown_name_is_refused_with_similar_names(kind, word, part):
    with pytest.raises(InputError) as caught:
        algorithms.find(kind, word, "here")
    assert part in str(caught.value) and str(caught.value).startswith("here: ")


@pytest.mark.parametrize(
    ("kind", "word", "hint"),
    [
        (ENCRYPTION, "rijndael-cbc", "Write aes-cbc."),
        (ENCRYPTION, "aes256", "Write aes-cbc, with a key of 256 bits (64 hex digits)."),
        (ENCRYPTION, "AES-192", "Write aes-cbc, with a key of 192 bits (48 hex digits)."),
        (ENCRYPTION, "aes-cbc-128", "Write aes-cbc, with a key of 128 bits (32 hex digits)."),
        (
            ENCRYPTION,
            "aes256gcm16",
            "Prefer aes-cbc with hmac-sha256 (RFC 8221); otherwise write aes-gcm, with a key of 256 bits and 32 bits"
            " of salt (72 hex digits).",
        ),
        (
            ENCRYPTION,
            "aes128ccm96",
            "Prefer aes-cbc with hmac-sha256 (RFC 8221); otherwise write aes-ccm12, with a key of 128 bits and 24 bits"
            " of salt (38 hex digits).",
        ),
        (ENCRYPTION, "aes-gcm-128", "Prefer aes-cbc with hmac-sha256 (RFC 8221); otherwise write aes-gcm."),
        (
            ENCRYPTION,
            "ENCR_NULL_AUTH_AES_GMAC",
            "Prefer aes-cbc with hmac-sha256 (RFC 8221); otherwise write aes-gmac.",
        ),
        (ENCRYPTION, "des-iv64", "Prefer aes-cbc with hmac-sha256 (RFC 8221); otherwise write des-cbc."),
        (ENCRYPTION, "camellia-cbc", "Choose another one, such as aes-cbc."),
        (ENCRYPTION, "hmac-sha2-256", "Choose another one, such as aes-cbc."),
        (AUTHENTICATION, "hmac-sha2-256", "Write hmac-sha256."),
        (AUTHENTICATION, "hmac-sha2-256-128", "Write hmac-sha256."),
        (AUTHENTICATION, "sha2-256", "Write hmac-sha256."),
        (AUTHENTICATION, "sha256_96", "Write hmac-sha256, with icv_bits 96."),
        (AUTHENTICATION, "hmac-md5-96", "Prefer hmac-sha256 (RFC 8221); otherwise write hmac-md5."),
        (AUTHENTICATION, "hmac-ripemd160", "Choose another one, such as hmac-sha256."),
        (AUTHENTICATION, "aes256", "Choose another one, such as hmac-sha256."),
    ],
)
def test_a_name_of_another_program_is_refused_with_ours(kind, word, hint):
    with pytest.raises(InputError) as caught:
        algorithms.find(kind, word)
    assert caught.value.hint == hint


def of_other_programs():
    """Our name, and one that other programs have for it, from the documentation."""
    page = Path(__file__).parents[6] / "docs/docsite/rst/compatibility.rst"
    table = page.read_text(encoding="utf-8").split("IANA\n")[1].split("\n\n")[0]
    for row in table.split("   * - ")[1:]:
        ours, *others = re.findall("``(.+?)``", row)
        for word in others:
            yield ours, word


@pytest.mark.parametrize(("ours", "word"), list(of_other_programs()))
def test_the_documentation_translates_names_as_the_table_and_the_errors_do(ours, word):
    kind = algorithms.BY_NAME[ours].kind
    try:
        assert algorithms.find(kind, word).linux == algorithms.BY_NAME[ours].linux
    except InputError as wrong:
        assert re.search(rf"\bwrite {ours}[,.]", wrong.hint, re.I)


@given(st.sampled_from([ENCRYPTION, AUTHENTICATION]), st.sampled_from(ALGORITHMS), st.data())
def test_no_suggestion_begins_with_what_rfc_8221_forbids(kind, row, data):
    at = data.draw(st.integers(0, len(row.name)))
    word = row.name[:at] + data.draw(st.sampled_from(["", "x", "-", "q2"])) + row.name[at + 1 :]
    try:
        algorithms.find(kind, word)
    except InputError as wrong:
        first = re.search(r"(?:Nearest names: |such as |Prefer |Write )([a-z0-9-]+)", wrong.hint)
        assert first is not None
        suggested = algorithms.BY_NAME[first[1]]
        assert not suggested.counter_mode and "NOT" not in suggested.advice


def test_a_huge_number_is_refused_at_once():
    with pytest.raises(InputError):
        algorithms.find(ENCRYPTION, "9" * 100_000)


@given(st.binary(min_size=8, max_size=64))
def test_a_key_in_place_of_a_name_is_not_shown(key):
    with pytest.raises(InputError) as caught:
        algorithms.find(ENCRYPTION, key.hex())
    assert key.hex()[:8] not in str(caught.value)
