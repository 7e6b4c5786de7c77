# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SAs are added to the kernel as requested, checked with ip(8), and read back equal."""

from __future__ import annotations

import time
import typing as t

import pytest
from hypothesis import given

from ansible_collections.ipsec.manual.plugins.module_utils._core.sa import keys
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.algorithms import (
    ALGORITHMS,
    AUTHENTICATION,
    BY_NAME,
    Algorithm,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import (
    Encapsulation,
    Lifetimes,
    Mark,
    SecurityAssociation,
    Selector,
    format_address,
    pack_address,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.plan import Operation, differences
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.plan import plan as make_plan
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.xfrm.backend import XfrmSadb
from ansible_collections.ipsec.manual.tests.kernel import witness
from ansible_collections.ipsec.manual.tests.kernel.witness import add, delete, sa_of
from ansible_collections.ipsec.manual.tests.unit.plugins.module_utils._core.sadb.strategies import association_sets

# net/xfrm/xfrm_algo.c, repeated here on purpose.
KERNEL_NAMES = {
    "hmac-md5": "hmac(md5)",
    "hmac-sha1": "hmac(sha1)",
    "hmac-sha256": "hmac(sha256)",
    "hmac-sha384": "hmac(sha384)",
    "hmac-sha512": "hmac(sha512)",
    "aes-xcbc": "xcbc(aes)",
    "aes-cmac": "cmac(aes)",
    "des-cbc": "cbc(des)",
    "3des-cbc": "cbc(des3_ede)",
    "blowfish-cbc": "cbc(blowfish)",
    "null": "ecb(cipher_null)",
    "aes-cbc": "cbc(aes)",
    "aes-ccm8": "rfc4309(ccm(aes))",
    "aes-ccm12": "rfc4309(ccm(aes))",
    "aes-ccm": "rfc4309(ccm(aes))",
    "aes-gcm8": "rfc4106(gcm(aes))",
    "aes-gcm12": "rfc4106(gcm(aes))",
    "aes-gcm": "rfc4106(gcm(aes))",
    "aes-gmac": "rfc4543(gcm(aes))",
    "chacha20-poly1305": "rfc7539esp(chacha20,poly1305)",
    "aes-ctr": "rfc3686(ctr(aes))",
}
COMBINED_ICVS = {
    "aes-ccm8": 64,
    "aes-ccm12": 96,
    "aes-ccm": 128,
    "aes-gcm8": 64,
    "aes-gcm12": 96,
    "aes-gcm": 128,
    "aes-gmac": 128,
    "chacha20-poly1305": 128,
}


def key_text(key: bytes) -> str:
    return f"0x{key.hex()} ({len(key) * 8} bits)" if key else ""


def suite_text(sa: SecurityAssociation) -> list[str]:
    """How ip(8) shows the algorithms of an SA."""
    texts = []
    if sa.encryption in COMBINED_ICVS:
        texts.append(f"aead {KERNEL_NAMES[sa.encryption]} {key_text(sa.encryption_key)} {COMBINED_ICVS[sa.encryption]}")
    elif sa.encryption:
        texts.append(f"enc {KERNEL_NAMES[sa.encryption]} {key_text(sa.encryption_key)}")
    if sa.authentication:
        texts.append(f"auth-trunc {KERNEL_NAMES[sa.authentication]} {key_text(sa.authentication_key)} {sa.icv_bits}")
    return texts


def every_suite() -> list[tuple[str, str, int, int]]:
    """Cipher, integrity, bits of the key that varies, ICV: every row with every key size and every ICV."""
    suites = []
    for row in ALGORITHMS:
        for bits in row.key_bits or (0,):
            for icv_bits in row.icv_bits or (128,):
                if row.kind == AUTHENTICATION:
                    suites += [("aes-cbc", row.name, bits, icv_bits), ("", row.name, bits, icv_bits)]
                else:
                    suites.append((row.name, "" if row.combined else "hmac-sha256", bits, icv_bits))
    return [*suites, ("aes-cbc", "", 256, 0)]


def test_the_table_of_names_covers_every_algorithm() -> None:
    assert set(KERNEL_NAMES) == set(BY_NAME)


@pytest.mark.parametrize("cipher, integrity, bits, icv_bits", every_suite())
def test_every_algorithm(sadb: XfrmSadb, cipher: str, integrity: str, bits: int, icv_bits: int) -> None:
    """In both families and both modes."""

    def key(row: Algorithm | None) -> bytes:
        if row is None or not row.key_bits:
            return b""
        return keys.generate(row, bits if bits in row.key_bits else None)

    sas = [
        sa_of(
            0x1000 + number,
            cipher,
            integrity,
            six=six,
            mode=mode,
            encryption_key=key(BY_NAME.get(cipher)),
            authentication_key=key(BY_NAME.get(integrity)),
            icv_bits=icv_bits,
        )
        for number, (six, mode) in enumerate(
            ((False, "transport"), (False, "tunnel"), (True, "transport"), (True, "tunnel"))
        )
    ]
    sadb.apply(add(*sas))
    texts = witness.states()
    for sa in sas:
        text = texts["esp" if cipher else "ah", sa.spi]
        assert f"src {format_address(sa.source)} dst {format_address(sa.destination)}" in text
        assert f"mode {sa.mode}" in text
        for part in suite_text(sa):
            assert part in text
    assert {entry.sa for entry in sadb.dump()} == set(sas)


ATTRIBUTES: list[tuple[dict[str, t.Any], list[str]]] = [
    (
        {},
        ["replay-window 0", "reqid 0(", "soft (INF)(bytes), hard (INF)(bytes)", "expire add: soft 0(sec), hard 0(sec)"],
    ),
    ({"reqid": 0x7FFFFFFF}, ["reqid 2147483647("]),
    ({"reqid": 0xFFFFFFFF}, ["(0xffffffff)"]),
    ({"replay_window": 1}, ["replay-window 1 "]),
    ({"replay_window": 32}, ["replay-window 32 "]),
    ({"replay_window": 33}, ["replay_window 33", "anti-replay esn context", "bitmap-length 2"]),
    ({"replay_window": 4096}, ["replay_window 4096", "bitmap-length 128"]),
    ({"replay_window": 32, "esn": True}, ["flag esn", "replay_window 32", "bitmap-length 1"]),
    ({"replay_window": 4096, "esn": True}, ["flag esn", "replay_window 4096"]),
    ({"mark": Mark(5)}, ["mark 0x5/0xffffffff"]),
    ({"mark": Mark(0x10, 0xF0)}, ["mark 0x10/0xf0"]),
    ({"mark": Mark(0, 0xFF)}, ["mark 0/0xff"]),
    ({"if_id": 0xFFFFFFFF}, ["if_id 0xffffffff"]),
    ({"encapsulation": Encapsulation(4500, 4501)}, ["encap type espinudp sport 4500 dport 4501 addr 0.0.0.0"]),
    (
        {"encapsulation": Encapsulation(4500, 4500, b"", bytes((10, 0, 0, 9)))},
        ["encap type espinudp sport 4500 dport 4500 addr 10.0.0.9"],
    ),
    (
        {"lifetimes": Lifetimes(1, 2)},
        ["limit: soft 1(bytes), hard 2(bytes)", "soft (INF)(packets), hard (INF)(packets)"],
    ),
    (
        {"lifetimes": Lifetimes(hard_packets=(1 << 64) - 2)},
        ["limit: soft (INF)(packets), hard 18446744073709551614(packets)"],
    ),
    ({"lifetimes": Lifetimes(soft_addtime=3600, hard_addtime=7200)}, ["expire add: soft 3600(sec), hard 7200(sec)"]),
    (
        {"lifetimes": Lifetimes(soft_usetime=60, hard_usetime=1 << 40)},
        [f"expire use: soft 60(sec), hard {1 << 40}(sec)"],
    ),
    (
        {"selector": Selector(bytes((10, 1, 0, 0)), 16, bytes((10, 2, 3, 0)), 24)},
        ["sel src 10.1.0.0/16 dst 10.2.3.0/24"],
    ),
    (
        {"selector": Selector(protocol=17, source_port=53, destination_port=1024)},
        ["sel src 0.0.0.0/0 dst 0.0.0.0/0 proto udp sport 53 dport 1024"],
    ),
    (
        {"selector": Selector(bytes((10, 0, 0, 0)), 8, protocol=6, destination_port=179)},
        ["sel src 10.0.0.0/8 dst 0.0.0.0/0 proto tcp dport 179"],
    ),
    ({"mode": "tunnel"}, ["mode tunnel", "flag af-unspec"]),
    (
        {"mode": "tunnel", "selector": Selector(pack_address("2001:db8:1::"), 48, pack_address("2001:db8:2::"), 48)},
        ["mode tunnel", "sel src 2001:db8:1::/48 dst 2001:db8:2::/48"],
    ),
    ({"output_mark": Mark(0x10, 0xF0)}, ["output-mark 0x10/0xf0"]),
    ({"mode": "tunnel", "tfc_padding": 65535}, ["tfcpad 65535"]),
    ({"source": bytes(4)}, ["src 0.0.0.0 dst 192.0.2.2"]),
    ({"destination": bytes((224, 0, 0, 5))}, ["dst 224.0.0.5"]),
]


@pytest.mark.parametrize(
    "fields, texts", ATTRIBUTES, ids=lambda value: "-".join(value) if isinstance(value, dict) else ""
)
def test_every_attribute(sadb: XfrmSadb, fields: dict[str, t.Any], texts: list[str]) -> None:
    sa = sa_of(0xFFFFFFFF, **fields)
    sadb.apply(add(sa))
    text = witness.states()["esp", 0xFFFFFFFF]
    for part in texts:
        assert part in text
    (entry,) = sadb.dump()
    assert entry.sa == sa
    assert not entry.larval
    assert abs(entry.counters.add_time - time.time()) < 60


@pytest.mark.parametrize("direction", ["inbound", "outbound"])
@pytest.mark.parametrize("replay", [{}, {"replay_window": 32}, {"replay_window": 64, "esn": True}])
def test_a_direction_is_taken_or_ignored_but_never_refused(
    sadb: XfrmSadb, direction: str, replay: dict[str, t.Any]
) -> None:
    sa = sa_of(0x1000, direction=direction, **replay)
    sadb.apply(add(sa))
    (entry,) = sadb.dump()
    assert entry.sa.direction in ("", direction)
    assert differences(sa, entry.sa) == ()


@pytest.mark.parametrize(
    "fields, shown, sequences",
    [
        ({}, "seq 0x7, oseq 0x7, bitmap 0xffffffff", (7, 7)),
        ({"direction": "inbound", "replay_window": 32}, "seq 0x7, oseq 0x0, bitmap 0xffffffff", (0, 7)),
        ({"direction": "outbound"}, "seq 0x0, oseq 0x7, bitmap 0x00000000", (7, 0)),
        ({"replay_window": 64}, "seq-hi 0x0, seq 0x7, oseq-hi 0x0, oseq 0x7", (7, 7)),
    ],
)
def test_counters_can_start_above_zero(
    sadb: XfrmSadb, fields: dict[str, t.Any], shown: str, sequences: tuple[int, int]
) -> None:
    sa = sa_of(0x1000, extra=(("replay_value", "7"),), **fields)
    sadb.apply(add(sa))
    assert shown in witness.states()["esp", 0x1000]
    (entry,) = sadb.dump()
    assert (entry.counters.sequence_out, entry.counters.sequence_in) == sequences
    assert differences(sa, entry.sa) == ()


def test_a_64_bit_counter_can_start_above_32_bits(sadb: XfrmSadb) -> None:
    sadb.apply(add(sa_of(0x1000, replay_window=32, esn=True, extra=(("replay_value", str((3 << 32) + 9)),))))
    assert "seq-hi 0x3, seq 0x9, oseq-hi 0x3, oseq 0x9" in witness.states()["esp", 0x1000]
    assert sadb.dump()[0].counters.sequence_out == (3 << 32) + 9


@given(sas=association_sets())
def test_any_set_of_sas_is_read_back_equal_and_removed(sadb: XfrmSadb, sas: list[SecurityAssociation]) -> None:
    try:
        sadb.apply(make_plan(sas, sadb.dump(), "present").operations)
        dump = sadb.dump()
        assert len(dump) == len(sas)
        assert {entry.sa for entry in dump} == set(sas)
        assert set(witness.states()) == {(sa.protocol, sa.spi) for sa in sas}
        assert make_plan(sas, dump, "present").operations == ()
        sadb.apply(make_plan(sas, dump, "absent").operations)
        assert sadb.dump() == []
    finally:
        witness.run("ip", "xfrm", "state", "flush")
    assert witness.states() == {}


def test_replacing_really_changes_the_key(sadb: XfrmSadb) -> None:
    old, new = sa_of(0x1000), sa_of(0x1000, source=bytes((192, 0, 2, 9)), replay_window=32)
    sadb.apply(add(old))
    sadb.apply([Operation("replace", new, sadb.dump()[0])])
    text = witness.states()["esp", 0x1000]
    assert all(part in text for part in suite_text(new))
    assert old.encryption_key.hex() not in text
    assert "src 192.0.2.9" in text


def test_dumps_are_filtered_in_the_kernel(sadb: XfrmSadb) -> None:
    one, two, three = sa_of(1 << 12), sa_of(2 << 12, "", "hmac-sha512"), sa_of(3 << 12, six=True)
    four = sa_of(4 << 12, source=pack_address("198.51.100.1"), destination=pack_address("198.51.100.2"))
    sadb.apply(add(one, two, three, four))

    def spis(**only: t.Any) -> set[int]:
        return {entry.sa.spi >> 12 for entry in sadb.dump(**only)}

    assert spis() == {1, 2, 3, 4}
    assert spis(protocol="esp") == {1, 3, 4}
    assert spis(protocol="ah") == {2}
    assert spis(source=pack_address("192.0.2.1")) == {1, 2}
    assert spis(destination=pack_address("198.51.100.2")) == {4}
    assert spis(destination=pack_address("2001:db8::2"), protocol="esp") == {3}
    assert spis(source=pack_address("192.0.2.1"), destination=pack_address("198.51.100.2")) == set()


def test_flush_removes_one_protocol_or_all(sadb: XfrmSadb) -> None:
    sadb.flush()
    sadb.apply(add(sa_of(0x1000), sa_of(0x1001, "", "hmac-sha256"), sa_of(0x1002, six=True)))
    sadb.flush("ah")
    assert set(witness.states()) == {("esp", 0x1000), ("esp", 0x1002)}
    sadb.flush("ah")
    sadb.flush()
    assert witness.states() == {}


def test_sas_of_other_programs_are_read_whatever_they_use(sadb: XfrmSadb) -> None:
    key = "0x" + "0123456789abcdef" * 2
    ends = ("src", "192.0.2.1", "dst", "192.0.2.2", "proto")
    state = ("ip", "xfrm", "state", "add", *ends)
    first, *dummy, last = witness.foreign_ciphers(key) * 2
    witness.run(*state, "esp", "spi", "0x10", "enc", first, key, "auth", "hmac(sha256)", key + key[2:])
    rmd160 = ("auth-trunc", "hmac(rmd160)", key + "01234567", "96")
    auth, name = (
        (rmd160, "hmac(rmd160)")
        if witness.offers("enc", "cbc(aes)", key, *rmd160)
        else (("auth", "hmac(sha1)", key + "01234567"), "hmac-sha1")
    )
    witness.run(*state, "esp", "spi", "0x11", "enc", last, key, *auth, "flag", "noecn", "nopmtudisc")
    witness.run(*state, "comp", "spi", "0x12", "comp", "deflate")
    witness.run(*state, "esp", "spi", "0", "enc", "cbc(aes)", key, "mode", "beet")
    found = {entry.sa.spi: entry for entry in sadb.dump()}
    assert (found[0x10].sa.encryption, found[0x10].sa.authentication, found[0x10].sa.icv_bits) == (
        first,
        "hmac-sha256",
        96,
    )
    assert (found[0x11].sa.encryption, found[0x11].sa.authentication) == (last, name)
    assert found[0x12].sa.protocol == "comp"
    assert found[0].sa.mode == "beet"
    assert not any(entry.larval for entry in found.values())
    sadb.apply(delete(found[0x10], found[0x11]))
    assert set(witness.states()) == {("comp", 0x12), ("esp", 0)}


def test_thousands_of_sas_at_once(sadb: XfrmSadb) -> None:
    sas = [
        sa_of(0x1000 + number, destination=(0x0A000000 + number).to_bytes(4, "big"), reqid=number)
        for number in range(3000)
    ]
    sadb.apply(add(*sas))
    assert {entry.sa for entry in sadb.dump()} == set(sas)
    assert witness.run("ip", "xfrm", "state", "count").split()[-1] == "3000"
    sadb.apply(make_plan(sas, sadb.dump(), "absent").operations)
    assert witness.run("ip", "xfrm", "state", "count").split()[-1] == "0"


def test_local_addresses_are_those_of_all_interfaces(sadb: XfrmSadb) -> None:
    witness.run("ip", "link", "set", "lo", "up")
    witness.run("ip", "link", "add", "dummy0", "type", "dummy")
    for address in ("192.0.2.1/24", "2001:db8::1/64"):
        witness.run("ip", "addr", "add", address, "dev", "dummy0")
    witness.run("ip", "addr", "add", "198.51.100.1", "peer", "198.51.100.2", "dev", "dummy0")
    assert {format_address(address) for address in sadb.local_addresses()} == {
        "127.0.0.1",
        "::1",
        "192.0.2.1",
        "2001:db8::1",
        "198.51.100.1",
    }


def test_counters_are_those_of_real_packets(sadb: XfrmSadb, peer: t.Callable[..., str]) -> None:
    sa = sa_of(0x1000, replay_window=32)
    sadb.apply(add(sa))
    arrived = peer(witness.as_command(sa), packets=5)
    out = sadb.dump()[0].counters
    assert (out.packets, out.sequence_out, out.integrity_failures) == (5, 5, 0)
    assert (out.bytes, out.packets) == witness.counters(witness.states()["esp", 0x1000])
    assert abs(out.use_time - time.time()) < 60
    assert witness.counters(arrived)[1] == 5
    assert "seq 0x5" in arrived


def test_packets_with_another_key_are_counted_as_forged(sadb: XfrmSadb, peer: t.Callable[..., str]) -> None:
    sa = sa_of(0x1000)
    sadb.apply(add(sa))
    other = sa._replace(authentication_key=keys.generate(BY_NAME["hmac-sha256"]))
    assert "failed 3" in peer(witness.as_command(other), packets=3)
