# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Messages of PF_KEY v2 in every dialect, without a kernel: layouts copied from RFC 2367's diagrams,
round trips, and malformed messages.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
import sys
import typing as t
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import InputError, SadbError
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa import checks, model
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.algorithms import (
    ALGORITHMS,
    AUTHENTICATION,
    BY_NAME,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import (
    Encapsulation,
    Lifetimes,
    Mark,
    SecurityAssociation,
    Selector,
    build,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.plan import Operation
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb import open_sadb
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.pfkey import (
    backend,
    layout,
    messages,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.pfkey.dialects import (
    DIALECTS,
    FREEBSD,
    ILLUMOS,
    LINUX,
    NETBSD,
    Dialect,
    dialect_of,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.pfkey.explain import (
    AnswerLost,
    PfkeyError,
    explain,
    explain_exchange,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.pfkey.refusals import refusals
from ansible_collections.ipsec.manual.tests.unit.plugins.module_utils._core.sadb.pfkey.strategies import associations

NAMES = [dialect.name for dialect in DIALECTS]
every_dialect = pytest.mark.parametrize("dialect", DIALECTS, ids=NAMES)

SOURCE, DESTINATION = bytes((192, 0, 2, 1)), bytes((192, 0, 2, 2))
KEY, AUTH = bytes(range(1, 17)), bytes(range(32, 52))


def esp(**fields: t.Any) -> SecurityAssociation:
    given_fields = {"encryption_key": KEY, "authentication_key": AUTH, **fields}
    return build("esp", 0x8BCD1407, DESTINATION, SOURCE, "aes-cbc", "hmac-sha1", **given_fields)


def added(dialect: Dialect, sa: SecurityAssociation) -> bytes:
    return layout.pack_message(layout.ADD, messages.satype_of(sa), 7, 99, messages.new_sa(dialect, sa))


def dumped(dialect: Dialect, sa: SecurityAssociation) -> bytes:
    """The SA as the kernel shows it: as it was added, except for the cipher's key on illumos
    (sadb_sa2msg in usr/src/uts/common/inet/ip/sadb.c). There sadb_key_bits does not count the salt,
    sadb_key_reserved does, and an unused initial value follows.
    """
    parts = messages.new_sa(dialect, sa)
    key = sa.encryption_key
    if dialect is ILLUMOS and key:
        salt_bits = BY_NAME[sa.encryption].salt_bits
        body = key + bytes(16 if sa.encryption == "aes-cbc" else 8)
        body += bytes(-len(body) % 8)
        shown = struct.pack("=HHHH", 1 + len(body) // 8, 9, len(key) * 8 - salt_bits, salt_bits) + body
        parts = [shown if part == rfc_key(9, key) else part for part in parts]
        assert shown in parts
    return layout.pack_message(layout.DUMP, messages.satype_of(sa), 7, 99, parts)


def decoded(dialect: Dialect, buffer: bytes) -> model.Entry:
    return messages.decode(dialect, layout.parse(buffer))


# Extensions as in the diagrams of RFC 2367 section 2.3, with struct only. Numbers are in the byte
# order of the machine.
def rfc_sa(spi: int, replay: int, auth: int, encrypt: int, flags: int = 0) -> bytes:
    return struct.pack("=HH", 2, 1) + struct.pack(">I", spi) + struct.pack("=BBBBI", replay, 1, auth, encrypt, flags)


def rfc_address(kind: int, prefix: int, sockaddr: bytes, protocol: int = 0) -> bytes:
    return struct.pack("=HHBBH", 1 + len(sockaddr) // 8, kind, protocol, prefix, 0) + sockaddr


def rfc_key(kind: int, key: bytes) -> bytes:
    padded = key + bytes(-len(key) % 8)
    return struct.pack("=HHHH", 1 + len(padded) // 8, kind, len(key) * 8, 0) + padded


def rfc_lifetime(kind: int, allocations: int, octets: int, addtime: int, usetime: int) -> bytes:
    return struct.pack("=HHIQQQ", 4, kind, allocations, octets, addtime, usetime)


def rfc_message(*extensions: bytes) -> bytes:
    body = b"".join(extensions)
    return struct.pack("=BBBBHHII", 2, 3, 0, 3, 2 + len(body) // 8, 0, 7, 99) + body


IPV4 = {
    "Linux": struct.pack("=H", 2) + bytes(2) + SOURCE + bytes(8),
    "illumos": struct.pack("=H", 2) + bytes(2) + SOURCE + bytes(8),
    "FreeBSD": bytes((16, 2)) + bytes(2) + SOURCE + bytes(8),
    "NetBSD": bytes((16, 2)) + bytes(2) + SOURCE + bytes(8),
}
# sockaddr_in6 has 28 bytes; an extension is a multiple of 8.
SIX = bytes.fromhex("20010db8000000000000000000000001")
IPV6 = {
    "Linux": struct.pack("=H", 10) + bytes(6) + SIX + bytes(8),
    "illumos": struct.pack("=H", 26) + bytes(6) + SIX + bytes(8),
    "FreeBSD": bytes((28, 28)) + bytes(6) + SIX + bytes(8),
    "NetBSD": bytes((28, 24)) + bytes(6) + SIX + bytes(8),
}


def sa2(mode: int, reqid: int) -> bytes:
    return struct.pack("=HHBBHII", 2, 19, mode, 0, 0, 0, reqid)


@every_dialect
def test_an_add_has_the_layout_of_the_rfc(dialect: Dialect) -> None:
    name = dialect.name
    peer = IPV4[name].replace(SOURCE, DESTINATION)
    expected = [
        rfc_sa(0x8BCD1407, 32 if name in ("Linux", "illumos") else 4, 3, 12),
        rfc_address(5, 32, IPV4[name]),
        rfc_address(6, 32, peer),
        rfc_lifetime(3, 0, 2000, 86400, 0),
        rfc_lifetime(4, 0, 1000, 0, 0),
        rfc_key(8, AUTH),
        rfc_key(9, KEY),
    ]
    if name != "illumos":
        expected.append(sa2(1, 5))
    sa = esp(
        replay_window=32,
        reqid=0 if name == "illumos" else 5,
        lifetimes=Lifetimes(soft_bytes=1000, hard_bytes=2000, hard_addtime=86400),
    )
    assert added(dialect, sa) == rfc_message(*expected)


@every_dialect
def test_an_ipv6_address_is_the_systems_sockaddr(dialect: Dialect) -> None:
    assert layout.pack_address(dialect, 6, SIX, 128) == rfc_address(6, 128, IPV6[dialect.name])


def test_linux_needs_a_key_extension_for_null_encryption_and_a_proxy_for_a_selector() -> None:
    sa = build(
        "esp",
        0x1000,
        SIX,
        SIX,
        "null",
        "hmac-md5",
        authentication_key=KEY,
        mode="tunnel",
        selector=Selector(bytes.fromhex("20010db9") + bytes(12), 32),
    )
    network = IPV6["Linux"].replace(SIX, bytes.fromhex("20010db9") + bytes(12))
    expected = [
        rfc_sa(0x1000, 0, 2, 11),
        rfc_address(5, 128, IPV6["Linux"]),
        rfc_address(6, 128, IPV6["Linux"]),
        rfc_key(8, KEY),
        rfc_key(9, b""),
        sa2(2, 0),
        rfc_address(7, 32, network),
    ]
    assert added(LINUX, sa) == rfc_message(*expected)


def test_esp_in_udp_is_three_extensions() -> None:
    sa = esp(encapsulation=Encapsulation(4500, 4501))
    nat = (
        struct.pack("=HHB3x", 1, 20, 2)
        + struct.pack("=HH", 1, 21)
        + struct.pack(">H2x", 4500)
        + struct.pack("=HH", 1, 22)
        + struct.pack(">H2x", 4501)
    )
    for dialect in (LINUX, FREEBSD, NETBSD):
        assert added(dialect, sa).endswith(sa2(1, 0) + nat)
        # NetBSD looks up an SA by its ports, too.
        assert b"".join(messages.identify(dialect, sa)).endswith(nat)


def test_illumos_has_its_own_form_of_tunnel_direction_pair_and_sequence_number() -> None:
    inner = Selector(bytes((10, 0, 0, 0)), 8, bytes((10, 1, 0, 0)), 16, 6, 0, 443)
    sa = esp(
        mode="tunnel", direction="outbound", selector=inner, extra=(("pair-spi", "0x1234"), ("replay_value", "17"))
    )
    peer = IPV4["illumos"].replace(SOURCE, DESTINATION)
    source = struct.pack("=H", 2) + bytes(2) + bytes((10, 0, 0, 0)) + bytes(8)
    destination = struct.pack("=H", 2) + struct.pack(">H", 443) + bytes((10, 1, 0, 0)) + bytes(8)
    expected = [
        rfc_sa(0x8BCD1407, 0, 3, 12, 0x20000 | 0x8000),
        rfc_address(5, 32, IPV4["illumos"]),
        rfc_address(6, 32, peer),
        rfc_key(8, AUTH),
        rfc_key(9, KEY),
        rfc_address(7, 8, source, 6),
        rfc_address(22, 16, destination, 6),
        struct.pack("=HH", 1, 23) + struct.pack(">I", 0x1234),
        struct.pack("=HHIQ", 2, 24, 17, 0),
    ]
    assert added(ILLUMOS, sa) == rfc_message(*expected)
    entry = decoded(ILLUMOS, added(ILLUMOS, sa))
    assert entry.counters.sequence_out == 17
    assert entry.sa == sa._replace(extra=(("pair-spi", "0x00001234"),))


def test_illumos_pairs_a_restored_sa_by_an_update() -> None:
    sa = esp(direction="inbound", extra=(("pair-spi", "0x1234"),))
    ends = (rfc_address(5, 32, IPV4["illumos"]), rfc_address(6, 32, IPV4["illumos"].replace(SOURCE, DESTINATION)))
    pair = struct.pack("=HH", 1, 23) + struct.pack(">I", 0x1234)
    shown = layout.parse(dumped(ILLUMOS, sa))
    assert messages.pair_again(ILLUMOS, shown) == [rfc_sa(0x8BCD1407, 0, 3, 12), *ends, pair]
    assert pair not in messages.restore(ILLUMOS, shown)


@pytest.mark.parametrize(("cipher", "salt_bits"), [("aes-gcm", 32), ("aes-ccm8", 24), ("aes-cbc", 0)])
def test_illumos_shows_a_salt_behind_the_key_and_wants_both_as_one_key(cipher: str, salt_bits: int) -> None:
    key = bytes(range(1, 17 + salt_bits // 8))
    sa = build("esp", 0x1000, DESTINATION, SOURCE, cipher, "" if salt_bits else "hmac-sha1", encryption_key=key)
    assert rfc_key(9, key) in messages.new_sa(ILLUMOS, sa)
    # 8 bytes of key extension, the key, the salt, and the unused initial value.
    shown = struct.pack("=HHHH", 5, 9, 128, salt_bits) + key.ljust(32, b"\0")
    ends = (rfc_address(5, 32, IPV4["illumos"]), rfc_address(6, 32, IPV4["illumos"].replace(SOURCE, DESTINATION)))
    numbers = (3 if not salt_bits else 0, ILLUMOS.encryption[cipher])
    message = layout.parse(rfc_message(rfc_sa(0x1000, 0, *numbers), *ends, shown))
    assert messages.decode(ILLUMOS, message).sa == sa
    assert messages.restore(ILLUMOS, message)[-1] == rfc_key(9, key)


def test_freebsd_has_esn_and_wide_windows() -> None:
    sa = esp(replay_window=4096, esn=True)
    expected = (rfc_sa(0x8BCD1407, 255, 3, 12, 0x400), struct.pack("=HHI", 1, 26, 4096))
    assert all(part in added(FREEBSD, sa) for part in expected)
    assert decoded(FREEBSD, added(FREEBSD, sa)).sa == sa


@every_dialect
@given(data=st.data())
def test_a_sent_sa_reads_back_equal(dialect: Dialect, data: st.DataObject) -> None:
    sa = data.draw(associations(dialect))
    assert checks.problems(sa, allow_static_counter_mode=True) == []
    assert list(refusals(dialect, sa)) == []
    assert decoded(dialect, added(dialect, sa)).sa == sa
    shown = layout.parse(dumped(dialect, sa))
    assert messages.decode(dialect, shown).sa == sa
    # A failed change restores the same SA, by the request that added it.
    restored = messages.restore(dialect, shown)
    again = layout.pack_message(layout.ADD, shown.satype, 8, 99, restored)
    assert decoded(dialect, again).sa == sa._replace(extra=())
    assert bool(messages.pair_again(dialect, shown)) == bool(sa.extra)
    assert not sa.encryption_key or rfc_key(9, sa.encryption_key) in restored
    # Every extension is a multiple of 8 bytes, and the header counts them.
    assert struct.unpack_from("=H", again, 4)[0] * 8 == len(again)


@every_dialect
@given(data=st.data())
def test_malformed_messages_raise_only_our_error(dialect: Dialect, data: st.DataObject) -> None:
    buffer = bytearray(added(dialect, data.draw(associations(dialect))))
    for dummy in range(data.draw(st.integers(1, 6))):
        buffer[data.draw(st.integers(0, len(buffer) - 1))] = data.draw(st.integers(0, 255))
    whole = bytes(buffer[: data.draw(st.integers(0, len(buffer)))]) if data.draw(st.booleans()) else bytes(buffer)
    try:
        message = layout.parse(whole)
        layout.read_supported(message)
        entry = messages.decode(dialect, message)
    except SadbError as wrong:
        assert wrong.errno_name == "EBADMSG"
    else:
        # Every decoded SA can be shown.
        assert str(entry.sa.spi)[:1]
        assert model.label(entry.sa)


@every_dialect
@given(buffer=st.binary(max_size=200))
def test_any_bytes_are_parsed_or_refused(dialect: Dialect, buffer: bytes) -> None:
    header = struct.pack("=BBBBHHII", 2, 10, 0, 3, 2 + len(buffer) // 8, 0, 0, 1)
    for whole in (buffer, header + buffer[: len(buffer) // 8 * 8]):
        try:
            message = layout.parse(whole)
            layout.read_supported(message)
            messages.decode(dialect, message)
        except SadbError as wrong:
            assert wrong.errno_name == "EBADMSG"


# Linux 6.1's answer to SADB_REGISTER.
REGISTERED = bytes.fromhex(
    "0207000316000000050000000300000009000e0000000000fb0000000000000002008000800000000300a000a0000000"
    "0500000100010000060080018001000007000002000200000800a000a000000009008000800000000b000f0000000000"
    "0b0000000000000002084000400000000308c000c0000000060828008000000007082800c00100000c08800000010000"
    "fc088000000100001608800000010000fd088000000100000d08a00020010000"
)
# And to SADB_DUMP: an SA of AES-CBC and HMAC-SHA-256 that ip(8) had added with 10.0.0.0/8 as the
# destination of its selector, which PF_KEY does not show.
DUMPED = bytes.fromhex(
    "020a000323000000000000000300000002000100000018ea0001050c0000000004000300000000000000000000000000"
    "000000000000000000000000000000000400040000000000000000000000000000000000000000000000000000000000"
    "04000200000000000000000000000000d339026b000000000000000000000000030005000020000002000000c0000201"
    "0000000000000000030006000020000002000000c0000202000000000000000003000700ff0000000200000000000000"
    "000000000000000005000800000100000123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    "03000900800000000123456789abcdef0123456789abcdef02001300010000000000000000000000"
)


@pytest.mark.skipif(sys.byteorder != "little", reason="recorded on a little-endian machine")
def test_recorded_messages_of_linux_are_decoded() -> None:
    supported = layout.read_supported(layout.parse(REGISTERED))
    assert supported.authentication[5] == (256, 256)
    assert supported.encryption[12] == (128, 256)
    assert {row.number for row in LINUX.authentication.values()} <= set(supported.authentication)
    assert set(LINUX.encryption.values()) <= set(supported.encryption)
    entry = decoded(LINUX, DUMPED)
    key = bytes.fromhex("0123456789abcdef" * 2)
    assert entry.sa == build(
        "esp", 0x18EA, DESTINATION, SOURCE, "aes-cbc", "hmac-sha256", 96, encryption_key=key, authentication_key=key * 2
    )
    assert not entry.larval
    assert entry.counters.add_time == 0x6B0239D3


def test_an_sa_whose_algorithm_is_not_shown_is_not_a_reservation() -> None:
    buffer = rfc_message(
        rfc_sa(0x1234, 0, 0, 0), rfc_address(5, 32, IPV4["Linux"]), rfc_address(6, 32, IPV4["Linux"]), sa2(1, 0)
    )
    entry = decoded(LINUX, buffer)
    assert (entry.sa.encryption, entry.larval) == (messages.NOT_SHOWN, False)


def test_a_larval_sa_is_marked() -> None:
    larval = bytearray(rfc_sa(0x1234, 0, 0, 0))
    larval[9] = 0
    entry = decoded(
        LINUX, rfc_message(bytes(larval), rfc_address(5, 32, IPV4["Linux"]), rfc_address(6, 32, IPV4["Linux"]))
    )
    assert (entry.larval, entry.sa.encryption, entry.sa.spi) == (True, "", 0x1234)


def test_an_algorithm_without_a_row_is_shown_by_its_number() -> None:
    buffer = rfc_message(rfc_sa(0x1234, 0, 8, 22), rfc_address(5, 32, IPV4["Linux"]), rfc_address(6, 32, IPV4["Linux"]))
    entry = decoded(LINUX, buffer)
    assert (entry.sa.encryption, entry.sa.authentication) == ("ealg-22", "aalg-8")


EXCEPT_ILLUMOS = (LINUX, FREEBSD, NETBSD)
REFUSED: list[tuple[tuple[Dialect, ...], dict[str, t.Any], str]] = [
    (DIALECTS, {"mark": Mark(5, 7)}, "mark"),
    (DIALECTS, {"if_id": 3}, "if_id"),
    (DIALECTS, {"output_mark": Mark(5, 7)}, "output_mark"),
    (DIALECTS, {"tfc_padding": 100}, "tfc_padding"),
    (DIALECTS, {"nat_keepalive": 20}, "nat_keepalive"),
    ((LINUX, ILLUMOS, NETBSD), {"esn": True, "replay_window": 32}, "esn"),
    (DIALECTS, {"esn": True}, "esn"),
    ((ILLUMOS,), {"reqid": 1}, "reqid"),
    ((NETBSD,), {"reqid": 0x10000}, "reqid"),
    (DIALECTS, {"icv_bits": 160}, "icv_bits"),
    ((LINUX,), {"replay_window": 33}, "replay_window"),
    ((ILLUMOS,), {"replay_window": 256}, "replay_window"),
    ((FREEBSD, NETBSD), {"replay_window": 33}, "replay_window"),
    ((NETBSD,), {"replay_window": 2048}, "replay_window"),
    ((ILLUMOS,), {"replay_window": 32, "source": b""}, "replay_window"),
    ((LINUX,), {"lifetimes": Lifetimes(hard_packets=1 << 32)}, "hard_packets"),
    ((ILLUMOS, FREEBSD, NETBSD), {"lifetimes": Lifetimes(soft_packets=10)}, "soft_packets"),
    ((NETBSD,), {"lifetimes": Lifetimes(hard_usetime=10)}, "hard_usetime"),
    ((ILLUMOS,), {"lifetimes": Lifetimes(soft_addtime=10)}, "soft_addtime"),
    (DIALECTS, {"lifetimes": Lifetimes(hard_bytes=(1 << 64) - 1)}, "hard_bytes"),
    ((ILLUMOS,), {"encapsulation": Encapsulation(4500, 4500)}, "encapsulation"),
    (EXCEPT_ILLUMOS, {"encapsulation": Encapsulation(4500, 4500, b"", SOURCE)}, "nat_remote"),
    (EXCEPT_ILLUMOS, {"encapsulation": Encapsulation(4500, 4500, SOURCE)}, "nat_local"),
    ((FREEBSD, NETBSD), {"selector": Selector(bytes((10, 0, 0, 0)), 8)}, "selector"),
    ((LINUX,), {"selector": Selector(destination=bytes((10, 0, 0, 0)), destination_prefix=8)}, "selector"),
    ((LINUX,), {"selector": Selector(protocol=6)}, "selector"),
    ((LINUX,), {"selector": Selector(SOURCE, 32)}, "selector source"),
    ((LINUX,), {"mode": "tunnel", "selector": Selector(SIX, 128)}, "selector source"),
    ((ILLUMOS,), {"mode": "tunnel"}, "selector"),
    ((ILLUMOS,), {"selector": Selector(SOURCE, 32)}, "selector"),
    (EXCEPT_ILLUMOS, {"extra": (("replay_value", "5"),)}, "replay_value"),
    (EXCEPT_ILLUMOS, {"extra": (("pair-spi", "0x1000"),)}, "pair-spi"),
    (DIALECTS, {"extra": (("idle_addtime", "5"),)}, "idle_addtime"),
    ((ILLUMOS,), {"extra": (("replay_value", "0x100000000"),)}, "replay_value"),
]


@pytest.mark.parametrize("dialects, fields, option", REFUSED)
def test_what_a_dialect_cannot_express_is_refused_by_name(
    dialects: tuple[Dialect, ...], fields: dict[str, t.Any], option: str
) -> None:
    sa = esp(**{name: value for name, value in fields.items() if name != "source"})
    if "source" in fields:
        sa = sa._replace(source=bytes(4))
    for dialect in dialects:
        refused = list(refusals(dialect, sa))
        assert [problem.place for problem in refused] == [option], dialect.name
        assert all(problem.hint for problem in refused)
        assert dialect.name in str(refused[0]) or "PF_KEY" in str(refused[0])


@every_dialect
def test_every_algorithm_is_supported_or_refused(dialect: Dialect) -> None:
    for row in ALGORITHMS:
        if row.kind == AUTHENTICATION:
            known, option = dialect.authentication, "authentication_algorithm"
            icv = dialect.authentication[row.name].icv_bits if row.name in known else 0
            sa = build("ah", 0x1000, DESTINATION, SOURCE, "", row.name, icv)
        else:
            known, option = dialect.encryption, "encryption_algorithm"
            sa = build("esp", 0x1000, DESTINATION, SOURCE, row.name, "" if row.combined else "hmac-sha1")
        refused = [problem.place for problem in refusals(dialect, sa)]
        assert refused == ([] if row.name in known else [option]), row.name


@every_dialect
def test_the_table_is_consistent(dialect: Dialect) -> None:
    """Names are those of the algorithms table, numbers those of ipseckey if it has one, no number is used
    twice, and each row names its sources.
    """
    for name, number in [
        *dialect.encryption.items(),
        *((name, row.number) for name, row in dialect.authentication.items()),
    ]:
        assert BY_NAME[name].number in (None, number)
    assert len(set(dialect.encryption.values())) == len(dialect.encryption)
    assert all(row.icv_bits in BY_NAME[name].icv_bits for name, row in dialect.authentication.items())
    assert all(limit in Lifetimes._fields for limit in dialect.limits)
    assert any("pfkeyv2.h" in source for source in dialect.sources)
    assert dialect_of(dialect.platform + "13") is dialect


def test_only_linux_gives_hmac_sha256_the_96_bits_of_the_draft() -> None:
    sa = build("ah", 0x1000, DESTINATION, SOURCE, "", "hmac-sha256", authentication_key=bytes(range(32)))
    assert [problem.place for problem in refusals(LINUX, sa)] == ["icv_bits"]
    assert [list(refusals(dialect, sa)) for dialect in (ILLUMOS, FREEBSD, NETBSD)] == [[], [], []]


def test_a_system_without_a_row_is_named() -> None:
    with pytest.raises(InputError, match="PF_KEY on win32 is not supported.*Linux, illumos, FreeBSD, NetBSD"):
        dialect_of("win32")


@pytest.mark.parametrize("platform, name", [("freebsd14", "pfkey"), ("netbsd10", "pfkey"), ("linux", "xfrm")])
def test_auto_chooses_the_backend_of_the_platform(monkeypatch: pytest.MonkeyPatch, platform: str, name: str) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    assert open_sadb("auto").name == name


@every_dialect
def test_errors_say_what_to_do_and_carry_no_key(dialect: Dialect) -> None:
    sa = esp()
    for number in (
        errno.EPERM,
        errno.EEXIST,
        errno.ESRCH,
        errno.ENOENT,
        errno.ENOSYS,
        errno.EPROTONOSUPPORT,
        errno.EINVAL,
        errno.ENOBUFS,
    ):
        for adds in (True, False):
            found = explain(dialect, PfkeyError(number, 45 if dialect is ILLUMOS else 0), sa, adds)
            assert found.hint
            assert found.errno_name == errno.errorcode[number]
            assert KEY.hex() not in str(found)
            assert "{" not in str(found)
    assert "diagnostic 45: the encryption key has the wrong length" in str(
        explain(dialect, PfkeyError(errno.EINVAL, 45), sa)
    )
    assert explain_exchange(dialect, PfkeyError(errno.EPROTONOSUPPORT), "reading the SADB").hint == dialect.remedy
    assert "root" in explain_exchange(dialect, PfkeyError(errno.EPERM), "reading the SADB").hint


def test_linux_errors_name_the_modules() -> None:
    assert "modprobe af_key" in explain_exchange(LINUX, PfkeyError(errno.EAFNOSUPPORT), "reading").hint
    assert (
        "modprobe -a esp4 crypto-cbc crypto-aes crypto-hmac crypto-sha1"
        in explain(LINUX, PfkeyError(errno.EPROTONOSUPPORT), esp(), True).hint
    )


class Wire:
    """The kernel's end of a PF_KEY socket, which sends the messages of a test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        monkeypatch.setattr(backend.socket, "socket", lambda *dummy: ours)
        monkeypatch.setattr(backend, "_PATIENCE", 0.2)
        self.link = backend.Pfkey(LINUX)
        monkeypatch.undo()
        monkeypatch.setattr(backend, "_PATIENCE", 0.2)
        self.process = self.link._process
        self.next = self.link._sequence + 1

    def say(self, kind: int, sequence: int, number: int = 0, body: bytes = b"", process: int | None = None) -> None:
        header = struct.pack(
            "=BBBBHHII",
            2,
            kind,
            number,
            3,
            2 + len(body) // 8,
            0,
            sequence,
            self.process if process is None else process,
        )
        self.theirs.send(header + body)


BODY = rfc_sa(0x1000, 0, 3, 12) + rfc_address(5, 32, IPV4["Linux"]) + rfc_address(6, 32, IPV4["Linux"]) + sa2(1, 0)


@pytest.fixture(name="wire")
def make_wire(monkeypatch: pytest.MonkeyPatch) -> t.Iterator[Wire]:
    wire = Wire(monkeypatch)
    with wire.link, wire.theirs:
        yield wire


def test_messages_of_other_programs_are_skipped(wire: Wire) -> None:
    wire.say(3, wire.next, 0, BODY, process=wire.process + 1)
    wire.theirs.send(b"short")
    wire.say(4, wire.next, 0, BODY)
    wire.say(3, wire.next + 1, errno.EEXIST)
    wire.say(3, wire.next, 0, BODY)
    answer = wire.link.ask(3, 3)
    assert (answer.sequence, answer.errno) == (wire.next, 0)


def test_a_refusal_is_the_kernels_errno(wire: Wire) -> None:
    wire.say(3, wire.next, errno.EEXIST)
    with pytest.raises(PfkeyError) as caught:
        wire.link.ask(3, 3)
    assert caught.value.errno == errno.EEXIST


def test_a_socket_that_accepts_no_request_reports_why(wire: Wire) -> None:
    wire.theirs.close()
    for request in (lambda: wire.link.ask(3, 3), lambda: wire.link.dump(0)):
        with pytest.raises(PfkeyError) as caught:
            request()
        assert caught.value.errno in (errno.ECONNREFUSED, errno.ECONNRESET, errno.ENOTCONN)


def test_no_answer_is_a_lost_answer(wire: Wire) -> None:
    with pytest.raises(AnswerLost):
        wire.link.ask(3, 3)


@pytest.mark.parametrize(
    "words, expected",
    [
        # Linux counts up, and ends with 0; BSDs count down to 0; illumos ends with a message of its own.
        (((1, 0, BODY), (2, 0, BODY), (0, 0, BODY)), 3),
        (((2, 0, BODY), (1, 0, BODY), (0, 0, BODY)), 3),
        (((5, 0, BODY), (5, 0, BODY), (0, 0, b"")), 2),
        (((0, 0, BODY),), 1),
        (((5, errno.ENOENT, b""),), 0),
        (((0, errno.ESRCH, b""),), 0),
        (((1, 0, BODY), (2, 0, BODY)), AnswerLost),
        (((1, 0, BODY), (0, errno.ENOBUFS, b"")), errno.ENOBUFS),
        # Linux cuts a negative errno to the field's 8 bits.
        (((1, 0, BODY), (0, 256 - errno.EINVAL, BODY)), errno.EINVAL),
    ],
)
def test_the_end_of_a_dump_is_found_on_every_system(
    wire: Wire, words: tuple[tuple[int, int, bytes], ...], expected: t.Any
) -> None:
    for sequence, number, body in words:
        wire.say(10, sequence, number, body)
    if isinstance(expected, int) and expected < 4 and not (len(words) > 1 and words[-1][1]):
        assert len(wire.link.dump(0)) == expected
        return
    with pytest.raises(PfkeyError) as caught:
        wire.link.dump(0)
    if expected is AnswerLost:
        assert isinstance(caught.value, AnswerLost)
    else:
        assert caught.value.errno == expected


def _yes(value: object) -> str:
    return "yes" if value else "no"


def _window(dialect: Dialect) -> str:
    unit = "" if dialect.replay_unit == 1 else f", in steps of {dialect.replay_unit}"
    return f"up to {dialect.replay_most}{unit}" + ("" if dialect.any_source else ", with a source")


def _selector(dialect: Dialect) -> str:
    numbers = dialect.selector
    return (
        "networks in tunnel mode; protocol, ports"
        if numbers.destination
        else "source network" if numbers.source else "no"
    )


def _names(known: t.Iterable[str]) -> str:
    return ", ".join(f"``{name}``" for name in known)


COLUMNS: tuple[tuple[str, t.Callable[[Dialect], str]], ...] = (
    ("``encryption_algorithm``", lambda row: _names(row.encryption)),
    ("``authentication_algorithm``", lambda row: _names(row.authentication)),
    (
        "``icv_bits``",
        lambda row: ", ".join(f"{known.icv_bits} (``{name}``)" for name, known in row.authentication.items()),
    ),
    ("``replay_window``", _window),
    ("``esn``", lambda row: _yes(row.flags.esn)),
    ("``reqid``", lambda row: f"{row.reqid_bits} bits" if row.reqid_bits else "no"),
    ("``lifetimes``", lambda row: _names(limit for limit in Lifetimes._fields if limit in row.limits)),
    ("``encapsulation``", lambda row: "ports" if row.encapsulation is not None else "no"),
    ("``selector``", _selector),
    ("``pair-spi``, ``replay_value``", lambda row: _yes(row.pair and row.replay_value)),
)


def table() -> str:
    """The options that every dialect supports, as a table of the page."""
    rows = [["option", *NAMES], *([option, *map(cell, DIALECTS)] for option, cell in COLUMNS)]
    head = [".. list-table::", "   :header-rows: 1", "   :widths: 16 21 21 21 21", ""]
    return "\n".join([*head, *("   * - " + "\n     - ".join(row) for row in rows)])


def test_the_documentation_has_the_table_of_the_code() -> None:
    text = (Path(__file__).parents[7] / "docs" / "docsite" / "rst" / "backends.rst").read_text(encoding="utf-8")
    shown = text.partition(".. begin of the table made from pfkey/dialects.py\n\n")[2].partition(
        "\n\n.. end of the table"
    )[0]
    # Lines may be wrapped.
    assert shown.split() == table().split()


def test_a_malformed_answer_undoes_what_came_before_and_what_it_is_about(monkeypatch: pytest.MonkeyPatch) -> None:
    requests: list[tuple[int, int]] = []

    class Link:
        def ask(self, kind: int, satype: int, extensions: t.Sequence[bytes]) -> None:
            requests.append((kind, layout.read_sa(extensions[0]).spi))
            if len(requests) == 2:
                raise layout.malformed("no header")

    sadb = backend.PfkeySadb(LINUX)
    monkeypatch.setattr(sadb, "_open", lambda dummy: contextlib.nullcontext(Link()))
    sas = [esp()._replace(spi=0x1000 + number) for number in range(3)]
    with pytest.raises(SadbError, match="malformed.*The SADB is as it was before"):
        sadb.apply([Operation("add", sa, None) for sa in sas])
    first, second = (socket.htonl(sa.spi) for sa in sas[:2])
    assert requests == [(layout.ADD, first), (layout.ADD, second), (layout.DELETE, second), (layout.DELETE, first)]
