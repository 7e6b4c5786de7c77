# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The model of an SA and its checks."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import InputError
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa import checks, model
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.checks import problems
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.conflicts import set_problems
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import (
    Encapsulation,
    Lifetimes,
    Mark,
    Selector,
    build,
    format_address,
    identity,
    label,
    pack_address,
)

ENIGMA = pack_address("192.168.116.16")
PARTYM = pack_address("192.168.13.213")
ENIGMA6 = pack_address("2001:db8::16")
AES = bytes(range(32))
SHA = bytes(range(100, 132))
MD5 = bytes.fromhex("e896f8df7f78d6cab36c94ccf293f031")
SHA1 = bytes.fromhex("308c9d5d11316f73900c811691eaa6fb9561c2ee")
TRIPLE_DES = bytes.fromhex("d41fb74470271826a8e7a80d343cc5aae9e2a7f05f13730d")
GCM = bytes(range(36))


def good(**changes):
    wanted = {
        "protocol": "esp",
        "spi": 0x8BCD1407,
        "destination": PARTYM,
        "source": ENIGMA,
        "encryption": "aes-cbc",
        "encryption_key": AES,
        "authentication": "hmac-sha256",
        "authentication_key": SHA,
    }
    return build(**{**wanted, **changes})


def good_ah(**changes):
    return good(**{"protocol": "ah", "encryption": "", "encryption_key": b"", **changes})


def gcm(**changes):
    return good(
        **{"encryption": "aes-gcm", "encryption_key": GCM, "authentication": "", "authentication_key": b"", **changes}
    )


@pytest.mark.parametrize(
    "text", ["192.0.2.1", "0.0.0.0", "255.255.255.255", "::", "::1", "2001:db8::1", "fe80::1:2:3:4"]
)
def test_packing_preserves_addresses(text):
    assert format_address(pack_address(text)) == text


@given(st.ip_addresses())
def test_any_address_packs_as_the_standard_library_packs_it(address):
    expected = (
        address.ipv4_mapped.packed
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped
        else address.packed
    )
    assert pack_address(str(address)) == expected


def test_a_mapped_address_is_ipv4():
    assert pack_address("::ffff:192.0.2.1") == pack_address("192.0.2.1")


NO_ADDRESSES = [
    "",
    "partym",
    "10.1",
    "256.1.1.1",
    "192.0.2.1/24",
    "1.2.3.4.5",
    "fe80::1%eth0",
    "::g",
    "1.2.3.4\0",
    "\u0661.2.3.4",
    " 1.2.3.4",
]


@pytest.mark.parametrize("text", NO_ADDRESSES)
def test_only_literal_addresses_are_accepted(text):
    with pytest.raises(InputError, match="not a literal IPv4 or IPv6 address"):
        pack_address(text, "source")


@pytest.mark.parametrize(
    ("given_fields", "field", "value"),
    [
        ({"source": b""}, "source", bytes(4)),
        ({"source": b"", "destination": ENIGMA6}, "source", bytes(16)),
        ({"encryption": "", "encryption_key": b""}, "encryption", "null"),
        ({}, "icv_bits", 128),
        ({"icv_bits": 96}, "icv_bits", 96),
        (
            {"encryption": "aes-gcm8", "encryption_key": GCM, "authentication": "", "authentication_key": b""},
            "icv_bits",
            64,
        ),
        ({"authentication": "", "authentication_key": b""}, "icv_bits", 0),
        ({"selector": Selector()}, "selector", None),
        ({"selector": Selector(bytes(4), 0, bytes(4), 0)}, "selector", None),
        ({"selector": Selector(protocol=6)}, "selector", Selector(protocol=6)),
        ({"mark": Mark(0, 0)}, "mark", None),
    ],
)
def test_an_sa_is_built_in_normal_form(given_fields, field, value):
    assert getattr(good(**given_fields), field) == value


@pytest.mark.parametrize(
    "sa",
    [
        good(),
        good_ah(),
        good_ah(authentication="hmac-md5", authentication_key=MD5),
        good(encryption="3des-cbc", encryption_key=TRIPLE_DES, authentication="", authentication_key=b""),
        good(encryption="", encryption_key=b""),
        good(source=b""),
        good(source=ENIGMA6, destination=pack_address("2001:db8::1")),
        good(destination=pack_address("224.0.0.5")),
        good(mode="tunnel", selector=Selector(pack_address("10.1.0.0"), 16, pack_address("10.2.0.0"), 16)),
        good(replay_window=4096, esn=True),
        good(esn=True, direction="outbound"),
        good(output_mark=Mark(0, 0xFF)),
        good(tfc_padding=0xFFFF, mode="tunnel"),
        good(nat_keepalive=20, direction="outbound", encapsulation=Encapsulation(4500, 4500)),
        good(mark=Mark(0x10, 0xFF), if_id=0xFFFFFFFF, reqid=1),
        good(encapsulation=Encapsulation(4500, 4500)),
        good(lifetimes=Lifetimes(soft_packets=1, hard_packets=2, soft_bytes=5)),
        good(authentication="hmac-md5", authentication_key=MD5, icv_bits=128),
        good(spi=256),
    ],
    ids=label,
)
def test_a_valid_sa_has_no_problem(sa):
    assert problems(sa) == []


@pytest.mark.parametrize(
    ("sa", "place", "part"),
    [
        (good(protocol="ipcomp"), "protocol", "unknown SA type"),
        (good(spi=0), "spi", "local use"),
        (good(spi=255), "spi", "reserved"),
        (good(spi=1 << 32), "spi", "32 bits"),
        (good(source=ENIGMA6), "source", "different address families"),
        (good(destination=bytes(4)), "destination", "unspecified"),
        (good(source=pack_address("239.1.2.3")), "source", "multicast"),
        (good(source=pack_address("ff02::1"), destination=ENIGMA6), "source", "multicast"),
        (good(encryption_key=AES[:-1]), "encryption_key", "found 248 bits (62 hex digits)"),
        (good(encryption_key=b""), "encryption_key", "none is given"),
        (
            good(authentication_key=SHA[:20]),
            "authentication_key",
            "256 bits (64 hex digits), found 160 bits (40 hex digits)",
        ),
        (good(authentication_key=bytes(32)), "authentication_key", "one byte repeated"),
        (good(authentication_key=AES), "authentication_key", "one key serves both"),
        (good(encryption="cbc(camellia)"), "encryption_algorithm", "unknown encryption algorithm"),
        (
            good(encryption="", encryption_key=AES, authentication=""),
            "encryption_key",
            "without an encryption algorithm",
        ),
        (good(authentication="", authentication_key=SHA), "authentication_key", "without an authentication algorithm"),
        (
            good(encryption="", encryption_key=b"", authentication="", authentication_key=b""),
            "encryption_algorithm",
            "ESP needs",
        ),
        (
            good(encryption="null", encryption_key=b"", authentication="", authentication_key=b""),
            "authentication_algorithm",
            "protects nothing",
        ),
        (good(encryption="null", encryption_key=AES), "encryption_key", "takes no key"),
        (good(protocol="ah"), "encryption_algorithm", "AH cannot encrypt"),
        (good_ah(authentication="", authentication_key=b""), "authentication_algorithm", "AH needs"),
        (gcm(), "encryption_algorithm", "RFC 8221"),
        (
            gcm(authentication="hmac-sha256", authentication_key=SHA),
            "authentication_algorithm",
            "provides its own integrity",
        ),
        (good(icv_bits=64), "icv_bits", "no ICV of 64 bits"),
        (good(authentication="", authentication_key=b"", icv_bits=96), "icv_bits", "without integrity"),
        (good(mode="beet"), "mode", "unknown mode"),
        (good(replay_window=4097), "replay_window", "out of range"),
        (good(esn=True), "esn", "need a replay window"),
        (good(esn=True, direction="inbound"), "esn", "need a replay window"),
        (good(output_mark=Mark(0x100, 0xFF)), "output_mark", "bits outside its mask 0xff, which no packet would get"),
        (good(output_mark=Mark(1 << 32, 0xFF)), "output_mark", "fit 32 bits"),
        (good(tfc_padding=100), "tfc_padding", "only ESP in tunnel mode"),
        (good_ah(tfc_padding=100, mode="tunnel"), "tfc_padding", "only ESP in tunnel mode"),
        (good(tfc_padding=1 << 16, mode="tunnel"), "tfc_padding", "cannot be padded to 65536 octets"),
        (good(tfc_padding=-1, mode="tunnel"), "tfc_padding", "cannot be padded to -1 octets"),
        (good(nat_keepalive=20, direction="outbound"), "nat_keepalive", "only an outbound SA in UDP"),
        (
            good(nat_keepalive=20, encapsulation=Encapsulation(4500, 4500)),
            "nat_keepalive",
            "only an outbound SA in UDP",
        ),
        (
            good(nat_keepalive=20, direction="inbound", encapsulation=Encapsulation(4500, 4500)),
            "nat_keepalive",
            "only an outbound SA in UDP",
        ),
        (
            good(nat_keepalive=20, direction="outbound", replay_window=32, encapsulation=Encapsulation(4500, 4500)),
            "nat_keepalive",
            "only an outbound SA in UDP",
        ),
        (good(reqid=1 << 32), "reqid", "32 bits"),
        (good(if_id=-1), "if_id", "32 bits"),
        (good(mark=Mark(1 << 32)), "mark", "32 bits"),
        (good(mark=Mark(0x10, 0x0F)), "mark", "match no packet"),
        (good(lifetimes=Lifetimes(soft_bytes=3, hard_bytes=2)), "soft_bytes", "above the hard limit"),
        (good(lifetimes=Lifetimes(hard_usetime=1 << 64)), "hard_usetime", "64 bits"),
        (good_ah(encapsulation=Encapsulation(4500, 4500)), "encapsulation", "only ESP"),
        (good(selector=Selector(pack_address("10.1.0.1"), 16)), "selector source", "outside its prefix"),
        (
            good(selector=Selector(destination=pack_address("10.1.0.0"), destination_prefix=33)),
            "selector destination",
            "longer than the address",
        ),
        (good(selector=Selector(pack_address("10.0.0.0"), 8, ENIGMA6, 128)), "selector", "mixes address families"),
        (
            good(mode="tunnel", selector=Selector(bytes(16), 0, pack_address("10.0.0.0"), 8)),
            "selector",
            "mixes address families",
        ),
        (
            good(mode="tunnel", selector=Selector(bytes(4), 0, bytes(16), 0)),
            "selector",
            "mixes address families",
        ),
        (good(selector=Selector(ENIGMA6, 128)), "selector", "transport mode cannot carry another address family"),
        (
            good(encapsulation=Encapsulation(4500, 4500, nat_remote=ENIGMA6)),
            "nat_remote",
            "2001:db8::16 cannot be the address before translation",
        ),
        (good(encapsulation=Encapsulation(4500, 4500, nat_remote=bytes(4))), "nat_remote", "0.0.0.0 cannot be"),
        (
            good(encapsulation=Encapsulation(4500, 4500, nat_remote=pack_address("224.0.0.1"))),
            "nat_remote",
            "224.0.0.1 cannot be",
        ),
        (good(encapsulation=Encapsulation(4500, 4500, nat_local=bytes(16))), "nat_local", ":: cannot be"),
        (good(selector=Selector(protocol=256)), "selector protocol", "not a valid IP protocol"),
        (good(selector=Selector(source_port=65536)), "selector", "port"),
    ],
)
def test_each_problem_has_its_place_and_message(sa, place, part):
    found = {wrong.place: wrong.message for wrong in problems(sa)}
    assert part in found[place]
    assert all(str(wrong).endswith(".") for wrong in problems(sa)), problems(sa)


@pytest.mark.parametrize(
    ("sa", "hint"),
    [
        (gcm(icv_bits=64), "The algorithm with 64 bits is aes-gcm8."),
        (gcm(icv_bits=96), "The algorithm with 96 bits is aes-gcm12."),
        (gcm(icv_bits=80), "Choose one of: 128."),
        (good(icv_bits=64), "Choose one of: 128, 96, 256."),
    ],
)
def test_a_wrong_icv_length_gets_a_useful_hint(sa, hint):
    (wrong,) = problems(sa, allow_static_counter_mode=True)
    assert (wrong.place, wrong.hint) == ("icv_bits", hint)


def test_all_problems_are_reported_together():
    assert len(problems(good(spi=1, encryption_key=AES[1:], replay_window=9999))) == 3


def test_counter_mode_is_accepted_only_when_allowed():
    assert problems(gcm(), allow_static_counter_mode=True) == []


@pytest.mark.parametrize(
    ("sa", "parts"),
    [
        (good(), []),
        (good_ah(), []),
        (
            good(encryption="3des-cbc", encryption_key=TRIPLE_DES, authentication="", authentication_key=b""),
            ["3des-cbc is not recommended (SHOULD NOT, RFC 8221 section 5); prefer aes-cbc", "ESP without"],
        ),
        (
            good_ah(authentication="hmac-md5", authentication_key=MD5),
            ["hmac-md5 is not recommended (MUST NOT, RFC 8221 section 6); prefer hmac-sha256"],
        ),
        (
            good_ah(authentication="hmac-sha1", authentication_key=SHA1),
            [
                "hmac-sha1 is still required, but perhaps not for much longer (MUST-, RFC 8221 section 6); prefer"
                " hmac-sha256"
            ],
        ),
        (gcm(), ["aes-gcm with a static key"]),
        (good(replay_window=32), ["anti-replay"]),
        (good(replay_window=32, direction="inbound"), ["anti-replay"]),
        (good(replay_window=32, direction="outbound"), ["anti-replay", "cannot bind an outbound SA"]),
        (good(icv_bits=96), ["96-bit ICV"]),
    ],
)
def test_each_unwise_choice_has_its_own_warning(sa, parts):
    found = checks.warnings(sa)
    assert len(found) == len(parts)
    assert all(part in warning for part, warning in zip(parts, found))


def test_the_identity_excludes_the_source_and_includes_the_mark():
    assert identity(good()) == identity(good(source=b"")) == ("esp", PARTYM, 0x8BCD1407, None)
    assert identity(good(mark=Mark(1))) != identity(good())
    assert identity(good_ah()) != identity(good())


def test_the_owner_is_reqid_mark_and_if_id():
    assert model.owner(good(reqid=7, if_id=9)) == (7, None, 9)


@pytest.mark.parametrize(
    "show",
    [repr, str, label, lambda sa: f"{sa}", lambda sa: f"{[sa]}", lambda sa: f"{problems(sa)}{model.fingerprints(sa)}"],
)
def test_no_way_of_showing_an_sa_shows_a_key(show):
    text = show(good(icv_bits=7, esn=True))
    assert not any(
        secret in text
        for secret in (AES.hex(), SHA.hex(), AES.hex()[:8], SHA.hex()[:8], repr(AES)[2:-1], repr(SHA)[2:-1])
    )


def test_fingerprints_belong_to_the_right_key_and_are_empty_without_one():
    prints = model.fingerprints(good())
    assert prints["encryption"] != prints["authentication"] and all(len(print_) == 16 for print_ in prints.values())
    assert model.fingerprints(good_ah())["encryption"] == ""
    assert len(model.fingerprints(good(encryption="cbc(camellia)"))["encryption"]) == 16


def another(number, **changes):
    return good(
        spi=0x1000 + number,
        encryption_key=bytes([number, 1]) * 16,
        authentication_key=bytes([number, 2]) * 16,
        **changes,
    )


def test_distinct_sas_do_not_conflict():
    assert set_problems([another(1), another(2), another(3, destination=ENIGMA, source=PARTYM)]) == []
    assert set_problems([]) == []


def test_a_repeated_identity_is_reported_with_both_places():
    found = set_problems([another(1), another(2), another(3)._replace(spi=0x1001)], ["first", "second", "third"])
    assert [str(wrong) for wrong in found] == [
        "third: SPI 0x00001001 towards 192.168.13.213 is used twice for esp, first by first. Every SA towards one"
        " destination needs its own SPI."
    ]


def test_two_hosts_or_two_protocols_may_share_an_spi():
    assert set_problems([another(1), another(2, destination=ENIGMA)._replace(spi=0x1001)]) == []
    ah = build("ah", 0x1001, PARTYM, authentication="hmac-sha256", authentication_key=SHA)
    assert set_problems([another(1), ah]) == []


@pytest.mark.parametrize(
    ("one", "other", "clash"),
    [
        (Mark(1), Mark(2), False),
        (Mark(0x1, 0xF), Mark(0x12, 0xFF), False),
        (Mark(0x1, 0xF), Mark(0x11, 0xFF), True),
        (Mark(1), None, True),
        (Mark(0, 0xF), None, True),
    ],
)
def test_one_spi_serves_several_marks_unless_the_kernel_takes_one_for_the_other(one, other, clash):
    for marks in ((one, other), (other, one)):
        found = set_problems([another(number, mark=mark)._replace(spi=0x1000) for number, mark in enumerate(marks)])
        assert len(found) == clash and all("is used twice" in str(problem) for problem in found)


@pytest.mark.parametrize("field", ["encryption_key", "authentication_key"])
def test_a_key_in_two_sas_is_found(field):
    first = another(1)
    found = set_problems([first, another(2), another(3)._replace(**{field: first.encryption_key})])
    assert len(found) == 1
    assert f"the {field.split('_')[0]} key is also used by {label(first)}" in found[0].message


def combined(number, encryption, salt):
    """An SA with always the same key."""
    plain = {"authentication": "", "authentication_key": b"", "icv_bits": 0}
    return good(spi=0x1000 + number, encryption=encryption, encryption_key=bytes(range(32)) + salt, **plain)


@pytest.mark.parametrize(
    ("one", "other", "is_tolerable"),
    [
        (combined(1, "aes-gcm", b"salt"), combined(2, "aes-gcm", b"salt"), False),
        (combined(1, "aes-gcm", b"salt"), combined(2, "aes-gcm", b"SALT"), True),
        (combined(1, "aes-gcm", b"salt"), combined(2, "aes-ccm", b"sal"), False),
        (combined(1, "aes-gcm", b"salt"), combined(2, "aes-cbc", b""), False),
        (combined(1, "aes-cbc", b""), combined(2, "aes-cbc", b""), True),
    ],
)
def test_a_salt_makes_no_other_key(one, other, is_tolerable):
    assert len(set_problems([one, other])) == len(set_problems([other, one])) == 1
    assert len(set_problems([one, other], allow_shared_key=True)) == (not is_tolerable)


def test_a_salt_does_not_hide_that_one_key_serves_both_algorithms():
    sa = good(encryption="aes-ctr", encryption_key=bytes(range(32)) + b"salt", authentication_key=bytes(range(32)))
    assert any("one key serves both" in str(found) for found in problems(sa, allow_static_counter_mode=True))


def test_des_keys_that_differ_only_in_parity_are_the_same_key():
    weak = {"encryption": "3des-cbc", "authentication": "", "authentication_key": b""}
    first = good(spi=0x1001, encryption_key=TRIPLE_DES, **weak)
    second = good(spi=0x1002, encryption_key=bytes(byte ^ 1 for byte in TRIPLE_DES), **weak)
    assert len(set_problems([first, second])) == 1
