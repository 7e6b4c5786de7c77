# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""PF_KEY over Linux' af_key: SAs are added as requested, seen with ip(8), and read back equal; the
refusals are true; no change is left half done.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import struct
import subprocess
import time
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import InputError, SadbError
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa import keys
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.algorithms import AUTHENTICATION, BY_NAME
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
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb import open_sadb
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.pfkey import (
    backend,
    layout,
    messages,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.pfkey.backend import Pfkey, PfkeySadb
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.pfkey.dialects import LINUX
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.pfkey.explain import PfkeyError
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.xfrm.backend import XfrmSadb
from ansible_collections.ipsec.manual.tests.kernel import witness
from ansible_collections.ipsec.manual.tests.kernel.test_sadb import KERNEL_NAMES, key_text
from ansible_collections.ipsec.manual.tests.kernel.witness import add, assert_no_key, delete
from ansible_collections.ipsec.manual.tests.unit.plugins.module_utils._core.sadb.pfkey.strategies import (
    association_sets,
)

# The bits to which xfrm_algo.c truncates each hash, repeated here on purpose; PF_KEY cannot request
# anything else.
ICV_BITS = {"hmac-md5": 96, "hmac-sha1": 96, "hmac-sha256": 96, "hmac-sha384": 192, "hmac-sha512": 256, "aes-xcbc": 96}
NOBODY = 65534
CIPHERS = ("null", "des-cbc", "3des-cbc", "blowfish-cbc", "aes-cbc", "aes-ctr")


@pytest.fixture(name="sadb")
def make_sadb() -> PfkeySadb:
    return PfkeySadb()


def sa_of(spi: int, cipher: str = "aes-cbc", integrity: str = "hmac-sha1", **fields: t.Any) -> SecurityAssociation:
    """An SA with the ICV that af_key uses."""
    return witness.sa_of(spi, cipher, integrity, **{"icv_bits": ICV_BITS.get(integrity, 0), **fields})


def assert_held(sadb: PfkeySadb, sas: t.Collection[SecurityAssociation]) -> None:
    """Both interfaces of the kernel show exactly these SAs."""
    assert {entry.sa for entry in sadb.dump()} == set(sas)
    assert {entry.sa for entry in XfrmSadb().dump()} == set(sas)


def suites() -> list[tuple[str, str, int]]:
    """Cipher, integrity and bits of the cipher's key: every number of af_key with every key size."""
    found = [(cipher, "hmac-sha1", bits) for cipher in CIPHERS for bits in BY_NAME[cipher].key_bits or (0,)]
    return [
        *found,
        *((cipher, name, 256 if cipher else 0) for name in ICV_BITS for cipher in ("aes-cbc", "")),
        ("aes-cbc", "", 256),
    ]


def test_the_suites_are_those_of_the_table() -> None:
    assert set(CIPHERS) == set(LINUX.encryption)
    assert {name: row.icv_bits for name, row in LINUX.authentication.items()} == ICV_BITS


def with_suite(cipher: str, integrity: str, bits: int) -> list[SecurityAssociation]:
    """SAs with these algorithms, in both families and both modes."""
    row = BY_NAME.get(cipher)
    key = keys.generate(row, bits) if row is not None and row.key_bits else b""
    return [
        sa_of(0x1000 + number, cipher, integrity, six=six, mode=mode, encryption_key=key)
        for number, (six, mode) in enumerate(
            ((False, "transport"), (False, "tunnel"), (True, "transport"), (True, "tunnel"))
        )
    ]


def test_every_algorithm_passes_preflight(sadb: PfkeySadb) -> None:
    """All in one call, since at each the kernel searches for modules that it lacks."""
    assert sadb.preflight([sa for suite in suites() for sa in with_suite(*suite)]) == []


@pytest.mark.parametrize("cipher, integrity, bits", suites())
def test_every_algorithm(sadb: PfkeySadb, cipher: str, integrity: str, bits: int) -> None:
    sas = with_suite(cipher, integrity, bits)
    assert [problem for sa in sas for problem in sadb.refusals(sa)] == []
    sadb.apply(add(*sas))
    texts = witness.states()
    for sa in sas:
        text = texts[sa.protocol, sa.spi]
        assert f"src {format_address(sa.source)} dst {format_address(sa.destination)}" in text
        assert f"mode {sa.mode}" in text
        if sa.encryption:
            assert f"enc {KERNEL_NAMES[cipher]} {key_text(sa.encryption_key)}" in text
        if sa.authentication:
            assert (
                f"auth-trunc {KERNEL_NAMES[integrity]} {key_text(sa.authentication_key)} {ICV_BITS[integrity]}" in text
            )
    assert_held(sadb, sas)
    sadb.apply(delete(*sadb.dump()))
    assert witness.states() == {}


ATTRIBUTES: list[tuple[dict[str, t.Any], list[str]]] = [
    (
        {},
        ["replay-window 0", "reqid 0(", "soft (INF)(bytes), hard (INF)(bytes)", "expire add: soft 0(sec), hard 0(sec)"],
    ),
    ({"replay_window": 32, "reqid": 0xFFFFFFFF}, ["replay-window 32", "reqid 4294967295("]),
    (
        {"lifetimes": Lifetimes(soft_packets=900, hard_packets=0xFFFFFFFF)},
        ["soft 900(packets), hard 4294967295(packets)", "hard (INF)(bytes)"],
    ),
    (
        {"lifetimes": Lifetimes(hard_bytes=(1 << 64) - 2, soft_addtime=60)},
        ["hard 18446744073709551614(bytes)", "expire add: soft 60(sec), hard 0(sec)"],
    ),
    ({"lifetimes": Lifetimes(soft_usetime=60, hard_usetime=90)}, ["expire use: soft 60(sec), hard 90(sec)"]),
    ({"encapsulation": Encapsulation(4500, 4501)}, ["encap type espinudp sport 4500 dport 4501 addr 0.0.0.0"]),
    ({"mode": "tunnel", "selector": Selector(bytes((10, 1, 0, 0)), 16)}, ["sel src 10.1.0.0/16 dst 0.0.0.0/0"]),
    ({"source": bytes(4)}, ["src 0.0.0.0 dst 192.0.2.2"]),
    ({"six": True, "encapsulation": Encapsulation(4500, 4500)}, ["encap type espinudp sport 4500 dport 4500 addr ::"]),
]


@pytest.mark.parametrize("fields, shown", ATTRIBUTES)
def test_every_attribute(sadb: PfkeySadb, fields: dict[str, t.Any], shown: list[str]) -> None:
    sa = sa_of(0x1000, **fields)
    assert sadb.refusals(sa) == []
    sadb.apply(add(sa))
    for part in shown:
        assert part in witness.states()["esp", 0x1000]
    assert_held(sadb, [sa])


@given(sas=association_sets(LINUX))
def test_any_set_reads_back_equal_over_both_interfaces(sadb: PfkeySadb, sas: list[SecurityAssociation]) -> None:
    sadb.apply(add(*sas))
    assert_held(sadb, sas)
    sadb.apply(delete(*sadb.dump()))
    assert witness.states() == {}


@given(sas=association_sets(LINUX))
def test_sas_added_over_xfrm_read_back_equal(sadb: PfkeySadb, sas: list[SecurityAssociation]) -> None:
    XfrmSadb().apply(add(*sas))
    assert {entry.sa for entry in sadb.dump()} == set(sas)
    XfrmSadb().apply(delete(*sadb.dump()))
    assert witness.states() == {}


def test_a_dump_is_filtered(sadb: PfkeySadb) -> None:
    sas = [sa_of(0x1000), sa_of(0x1001, six=True), sa_of(0x1002, ""), sa_of(0x1003, source=bytes((192, 0, 2, 9)))]
    sadb.apply(add(*sas))
    assert {entry.sa for entry in sadb.dump("ah")} == {sas[2]}
    assert {entry.sa for entry in sadb.dump(destination=pack_address("2001:db8::2"))} == {sas[1]}
    assert {entry.sa for entry in sadb.dump("esp", source=bytes((192, 0, 2, 9)))} == {sas[3]}


# The refusals are true: without them the kernel cuts or changes values, or refuses the message.
def raw(sa: SecurityAssociation, *more: bytes, change: t.Callable[[bytes], bytes] = bytes) -> None:
    with Pfkey(LINUX) as link:
        first, *rest = messages.new_sa(LINUX, sa)
        link.ask(layout.ADD, messages.satype_of(sa), [change(first), *rest, *more])


def test_a_wide_window_is_cut_silently(sadb: PfkeySadb) -> None:
    sa = sa_of(0x1000, replay_window=64)
    assert [problem.place for problem in sadb.refusals(sa)] == ["replay_window"]
    raw(sa)
    assert "replay-window 32" in witness.states()["esp", 0x1000]


@pytest.mark.parametrize("number", [14, 15, 16, 18, 19, 20, 23])
def test_combined_ciphers_have_a_number_that_is_refused(number: int) -> None:
    with pytest.raises(PfkeyError) as caught:
        raw(sa_of(0x1000, "aes-cbc", ""), change=lambda first: first[:11] + bytes([number]) + first[12:])
    assert caught.value.errno == errno.ENOSYS


def test_hmac_sha256_always_gets_96_bits(sadb: PfkeySadb) -> None:
    sa = witness.sa_of(0x1000)
    assert (sa.icv_bits, [problem.place for problem in sadb.refusals(sa)]) == (128, ["icv_bits"])
    raw(sa)
    assert re.search(r"auth-trunc hmac\(sha256\) \S+ \(256 bits\) 96", witness.states()["esp", 0x1000])


def test_an_original_address_is_accepted_and_lost(sadb: PfkeySadb) -> None:
    sa = sa_of(0x1000, encapsulation=Encapsulation(4500, 4500, b"", bytes((10, 0, 0, 1))))
    assert [problem.place for problem in sadb.refusals(sa)] == ["nat_remote"]
    raw(sa, layout.pack_address(LINUX, 23, bytes((10, 0, 0, 1)), 32))
    assert "addr 0.0.0.0" in witness.states()["esp", 0x1000]


def test_protocol_and_ports_of_a_selector_are_ignored(sadb: PfkeySadb) -> None:
    sa = sa_of(0x1000, mode="tunnel", selector=Selector(bytes((10, 1, 0, 0)), 16, b"", 0, 6, 80))
    assert [problem.place for problem in sadb.refusals(sa)] == ["selector"]
    raw(sa._replace(selector=None), layout.pack_address(LINUX, 7, bytes((10, 1, 0, 0)), 16, 6, 80))
    text = witness.states()["esp", 0x1000]
    assert "sel src 10.1.0.0/16 dst 0.0.0.0/0 " in f"{text} "
    assert "proto tcp" not in text


def test_a_selector_of_the_sas_own_source_is_not_shown(sadb: PfkeySadb) -> None:
    sa = sa_of(0x1000, mode="tunnel", selector=Selector(bytes((192, 0, 2, 1)), 32))
    assert [problem.place for problem in sadb.refusals(sa)] == ["selector source"]
    raw(sa)
    assert "sel src 192.0.2.1/32" in witness.states()["esp", 0x1000]
    assert sadb.dump()[0].sa.selector is None


def test_the_highest_number_of_bytes_is_no_limit(sadb: PfkeySadb) -> None:
    sa = sa_of(0x1000, lifetimes=Lifetimes(hard_bytes=(1 << 64) - 1))
    assert [problem.place for problem in sadb.refusals(sa)] == ["hard_bytes"]
    raw(sa)
    assert "hard (INF)(bytes)" in witness.states()["esp", 0x1000]


@pytest.mark.parametrize(
    "words",
    [
        "mark 0x5 mask 0xff",
        "if_id 0x7",
        "flag esn replay-window 64",
        "sel dst 10.0.0.0/8",
        "encap espinudp 4500 4500 10.0.0.1",
    ],
)
def test_a_dump_does_not_show_what_linux_knows_beside_pfkey(sadb: PfkeySadb, words: str) -> None:
    sa = sa_of(0x1000, mode="tunnel")
    ends = f"src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x1000 mode tunnel enc cbc(aes) 0x{sa.encryption_key.hex()}"
    witness.run(
        "ip",
        "-batch",
        "-",
        stdin=f"xfrm state add {ends} auth-trunc hmac(sha1) 0x{sa.authentication_key.hex()} 96 {words}\n",
    )
    (entry,) = sadb.dump()
    assert entry.sa._replace(encapsulation=None) == sa
    (whole,) = XfrmSadb().dump()
    assert whole.sa != entry.sa


def test_a_truncation_that_is_not_shown_makes_no_difference_if_it_was_requested(sadb: PfkeySadb) -> None:
    sa = sa_of(0x1000, integrity="hmac-sha256")
    sadb.apply(add(sa))
    assert differences(sa, sadb.dump()[0].sa) == ()
    assert differences(sa, XfrmSadb().dump()[0].sa) == ()


def test_replacing_and_deleting(sadb: PfkeySadb) -> None:
    old, stays = sa_of(0x1000), sa_of(0x1001)
    sadb.apply(add(old, stays))
    entry = next(entry for entry in sadb.dump() if entry.sa == old)
    new = sa_of(0x1000, mode="tunnel")
    sadb.apply([Operation("replace", new, entry)])
    assert_held(sadb, [new, stays])
    sadb.apply(delete(*(entry for entry in sadb.dump() if entry.sa == new)))
    assert_held(sadb, [stays])


def test_flush_deletes_one_protocol_or_all(sadb: PfkeySadb) -> None:
    sadb.flush()
    sas = [sa_of(0x1000), sa_of(0x1001, ""), sa_of(0x1002, six=True)]
    sadb.apply(add(*sas))
    sadb.flush("esp")
    assert_held(sadb, sas[1:2])
    sadb.flush()
    assert sadb.dump() == []


def blocks(text: str) -> list[str]:
    return sorted(re.split(r"^(?=src )", text, flags=re.M))


def refused(sadb: PfkeySadb, operations: t.Sequence[Operation]) -> SadbError:
    """The error of an `apply` that must fail and change nothing."""
    before = witness.state_text()
    with pytest.raises(SadbError) as caught:
        sadb.apply(operations)
    # Restored SAs have a new add time, and the sequence number of the PF_KEY request.
    steady = [re.sub(r"seq 0x\d+|add [-0-9]+ [0-9:]+", "", text) for text in (before, witness.state_text())]
    assert blocks(steady[1]) == blocks(steady[0])
    assert_no_key(
        caught.value,
        *(sa for step in operations for sa in (step.new, step.old.sa if step.old else None) if sa is not None),
    )
    return caught.value


def test_everything_is_undone_when_one_sa_is_refused(sadb: PfkeySadb) -> None:
    goes, is_replaced, stays = (
        sa_of(0x1000),
        sa_of(0x1001, six=True, lifetimes=Lifetimes(10**6, 10**7)),
        sa_of(0x1002, "null", replay_window=32, reqid=9),
    )
    sadb.apply(add(goes, is_replaced, stays))
    held = {entry.sa: entry for entry in sadb.dump()}
    operations = [
        Operation("replace", sa_of(0x1001, "", "hmac-sha512", six=True), held[is_replaced]),
        Operation("replace", sa_of(0x1002, mode="tunnel"), held[stays]),
        *add(sa_of(0x1003)),
        *delete(held[goes]),
        *add(sa_of(0x1003)),
    ]
    error = refused(sadb, operations)
    assert error.errno_name == "EEXIST"
    assert "The SADB is as it was before." in str(error)
    assert_held(sadb, [goes, is_replaced, stays])


@pytest.mark.parametrize("late", [False, True])
def test_deletions_wait_and_additions_are_undone_if_it_is_late(sadb: PfkeySadb, late: bool) -> None:
    old, new = sa_of(0x1000), sa_of(0x2000)
    sadb.apply(add(old))
    shown: list[str] = []

    def settle() -> None:
        shown.append(witness.state_text())
        if late:
            raise InputError("it is late", "deadline")

    steps = [*add(new), *delete(*sadb.dump())]
    if late:
        with pytest.raises(SadbError, match="it is late. The SADB is as it was before."):
            sadb.apply(steps, settle)
    else:
        sadb.apply(steps, settle)
    assert [text.count(" spi 0x0000") for text in shown] == [2]
    assert_held(sadb, [old] if late else [new])


def test_an_undo_restores_an_algorithm_that_this_backend_does_not_know(sadb: PfkeySadb) -> None:
    """An SA of another program is restored from what the kernel showed of it."""
    key = "0x" + "0123456789abcdef" * 2
    ends = "src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x1000 mode transport flag noecn reqid 77"
    rmd160, sha1 = (("auth-trunc", name, key + "89abcdef", "96") for name in ("hmac(rmd160)", "hmac(sha1)"))
    auth, name = (rmd160, "aalg-8") if witness.offers("enc", "cbc(aes)", key, *rmd160) else (sha1, "hmac-sha1")
    cipher = witness.foreign_ciphers(key)[0]
    witness.ip(f"xfrm state add {ends} enc {cipher} {key}", *auth)
    (entry,) = sadb.dump()
    assert (entry.sa.encryption, entry.sa.authentication, entry.sa.reqid) == (
        f"ealg-{witness.FOREIGN[cipher]}",
        name,
        77,
    )
    refused(sadb, [Operation("replace", sa_of(0x1000), entry), *add(sa_of(0x1001), sa_of(0x1001))])
    assert "flag noecn" in witness.states()["esp", 0x1000]
    sadb.apply(delete(*sadb.dump()))
    assert witness.states() == {}


def test_an_sa_that_could_not_be_restored_is_not_replaced(sadb: PfkeySadb) -> None:
    key = "0x" + "0123456789abcdef" * 2 + "00112233"
    witness.ip(
        "xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x1000 mode transport"
        f" aead rfc4106(gcm(aes)) {key} 128"
    )
    (entry,) = sadb.dump()
    assert (entry.sa.encryption, entry.larval) == (messages.NOT_SHOWN, False)
    assert "could not be restored" in str(
        refused(sadb, [*add(sa_of(0xFFF)), Operation("replace", sa_of(0x1000), entry)])
    )
    sadb.apply(delete(entry))
    assert witness.states() == {}


def test_a_marked_sa_of_another_program_cannot_be_changed(sadb: PfkeySadb) -> None:
    XfrmSadb().apply(add(sa_of(0x1000, mark=Mark(5, 0xFF))))
    error = refused(sadb, delete(*sadb.dump()))
    assert error.errno_name == "ESRCH"
    assert "mark" in error.hint
    # An SA without a mark has another identity, and hides nothing.
    mine = sa_of(0x1000)
    sadb.apply(add(mine))
    entries = sadb.dump()
    assert len(entries) == 2
    sadb.apply(delete(next(entry for entry in entries if entry.sa == mine)))
    (left,) = XfrmSadb().dump()
    assert left.sa.mark == Mark(5, 0xFF)


def test_an_sa_that_changed_after_it_was_read_is_left_alone(sadb: PfkeySadb) -> None:
    sadb.apply(add(sa_of(0x1000)))
    (read,) = sadb.dump()
    witness.run("ip", "xfrm", "state", "delete", "dst", "192.0.2.2", "proto", "esp", "spi", "0x1000")
    assert refused(sadb, delete(read)).errno_name == "ESRCH"
    sadb.apply(add(sa_of(0x1000)))
    assert refused(sadb, [*add(sa_of(0x1001)), *delete(read)]).errno_name == "ESTALE"


def test_a_reservation_is_larval(sadb: PfkeySadb) -> None:
    witness.reserve_spi("0x1000")
    (entry,) = sadb.dump()
    assert (entry.larval, entry.sa.spi) == (True, 0x1000)
    sadb.apply(delete(entry))
    assert sadb.dump() == []


def test_an_sa_of_another_protocol_is_shown_and_flushed_with_all(sadb: PfkeySadb) -> None:
    witness.ip("xfrm state add src 192.0.2.1 dst 192.0.2.2 proto comp spi 0x77 comp deflate")
    assert [(entry.sa.protocol, entry.sa.spi) for entry in sadb.dump()] == [("comp", 0x77)]
    sadb.apply(delete(*sadb.dump()))
    assert witness.states() == {}


def test_counters_rise_with_packets_and_an_undo_reports_their_loss(sadb: PfkeySadb, peer: t.Callable[..., str]) -> None:
    sa = sa_of(0x1000)
    sadb.apply(add(sa))
    line = (
        "xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x1000 mode transport enc cbc(aes)"
        f" 0x{sa.encryption_key.hex()}"
    )
    seen = peer(f"{line} auth-trunc hmac(sha1) 0x{sa.authentication_key.hex()} 96\n", 5)
    assert witness.counters(seen)[1] == 5
    (entry,) = sadb.dump()
    assert (entry.sa, entry.counters.packets) == (sa, 5)
    assert abs(time.time() - entry.counters.use_time) < 60
    error = "".join(str(caught.value) for caught in [_failing(sadb, entry)])
    assert "sequence numbers of 1 SA restarted" in error
    assert sadb.dump()[0].sa == sa


def _failing(sadb: PfkeySadb, entry: t.Any) -> t.Any:
    with pytest.raises(SadbError) as caught:
        sadb.apply([Operation("replace", sa_of(0x1000), entry), *add(sa_of(0x1001), sa_of(0x1001))])
    return caught


def test_a_thousand_sas(sadb: PfkeySadb) -> None:
    sas = [sa_of(0x1000 + number, destination=bytes((198, 18, number >> 8, number & 255))) for number in range(1000)]
    sadb.apply(add(*sas))
    assert_held(sadb, sas)
    error = refused(sadb, [*delete(*sadb.dump()), *add(sa_of(0x9000), sa_of(0x9000))])
    assert error.errno_name == "EEXIST"
    assert_held(sadb, sas)
    sadb.apply(delete(*sadb.dump()))
    assert witness.states() == {}


def test_a_dump_is_larger_than_its_buffer(sadb: PfkeySadb, monkeypatch: pytest.MonkeyPatch) -> None:
    sas = [sa_of(0x1000 + number) for number in range(300)]
    sadb.apply(add(*sas))
    monkeypatch.setattr(backend, "_BUFFER", backend._SMALLEST_BUFFER)
    assert {entry.sa for entry in sadb.dump()} == set(sas)


def test_a_dump_is_complete_while_others_change_the_sadb(sadb: PfkeySadb) -> None:
    sas = [sa_of(0x1000 + number) for number in range(300)]
    sadb.apply(add(*sas))
    forever = (
        "while true; do ip xfrm state add src 192.0.2.1 dst 192.0.2.3 proto esp spi 0x5000 enc ecb\\(cipher_null\\) ''"
        " ; ip xfrm state flush proto ah; done"
    )
    with subprocess.Popen(["sh", "-c", forever], stderr=subprocess.DEVNULL) as process:
        try:
            for dummy in range(5):
                assert {entry.sa for entry in sadb.dump() if entry.sa.spi < 0x5000} == set(sas)
                sadb.apply(add(sa_of(0x4000)))
                sadb.apply(delete(*(entry for entry in sadb.dump() if entry.sa.spi == 0x4000)))
        finally:
            process.kill()


def test_a_lost_answer_is_looked_up(sadb: PfkeySadb, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel carries out the request; then its answer is lost."""
    answers = Pfkey._answers
    lost = [layout.ADD, layout.DELETE]

    def deaf(self: Pfkey, kind: int) -> t.Iterator[t.Any]:
        if kind in lost:
            lost.remove(kind)
            return iter(())
        return answers(self, kind)

    monkeypatch.setattr(Pfkey, "_answers", deaf)
    sas = [sa_of(0x1000), sa_of(0x1001)]
    sadb.apply(add(*sas))
    assert_held(sadb, sas)
    sadb.apply(delete(*sadb.dump()))
    assert (lost, witness.states()) == ([], {})


@pytest.mark.parametrize("undo", [True, False])
def test_possible_changes_are_undone_if_the_sadb_cannot_be_read_either(
    sadb: PfkeySadb, monkeypatch: pytest.MonkeyPatch, undo: bool
) -> None:
    """The kernel carries out the request; then the answers to it and to a dump are lost."""
    answers = Pfkey._answers
    sadb.apply(add(sa_of(0x1000)))
    (entry,) = sadb.dump()
    before = witness.states()
    changes: list[int] = []

    def deaf(self: Pfkey, kind: int) -> t.Iterator[t.Any]:
        changes.extend([kind] if kind in (layout.ADD, layout.DELETE) else [])
        lost = len(changes) == 2 or (len(changes) > 2 and not undo) or (changes and kind == layout.DUMP)
        return iter(()) if lost else answers(self, kind)

    monkeypatch.setattr(Pfkey, "_answers", deaf)
    with pytest.raises(SadbError) as caught:
        sadb.apply([Operation("replace", sa_of(0x1000), entry)])
    assert witness.states().keys() == before.keys()
    assert f"0x{entry.sa.encryption_key.hex()}" in witness.states()["esp", 0x1000]
    assert ("The SADB is as it was before." in str(caught.value)) == undo
    assert ("whether the kernel undid an addition is unknown" in str(caught.value)) != undo


def test_a_kernel_without_af_key_names_the_module(without: t.Callable[..., None]) -> None:
    without("af_key")
    try:
        with pytest.raises(SadbError, match="the kernel has no PF_KEY.*modprobe af_key") as caught:
            PfkeySadb().dump()
    finally:
        witness.run("modprobe", "af_key")
    assert caught.value.errno_name == "EAFNOSUPPORT"


def test_a_kernel_without_the_protocol_names_the_module(sadb: PfkeySadb, without: t.Callable[..., None]) -> None:
    without("ah6")
    error = refused(sadb, add(sa_of(0xFFF), sa_of(0x1000, "", six=True)))
    assert error.errno_name == "EPROTONOSUPPORT"
    assert "no AH for IPv6" in str(error)
    assert "modprobe -a ah6" in str(error)


def test_preflight_names_what_is_missing_and_leaves_nothing(sadb: PfkeySadb, without: t.Callable[..., None]) -> None:
    without("blowfish_generic")
    sas = [sa_of(0x1000), sa_of(0x1001, "blowfish-cbc")]
    (lack,) = sadb.preflight(sas)
    assert "blowfish-cbc" in str(lack)
    assert "crypto-blowfish" in lack.hint
    short = sas[0]._replace(authentication_key=bytes(8))
    assert [problem.errno_name for problem in sadb.preflight([short])] == ["EINVAL"]
    assert refused(sadb, add(*sas)).errno_name in ("ENOSYS", "ENOENT")
    assert witness.states() == {}


def test_without_privilege_the_error_says_root(sadb: PfkeySadb) -> None:
    os.seteuid(NOBODY)
    try:
        with pytest.raises(SadbError, match="Run it as root") as caught:
            sadb.dump()
    finally:
        os.seteuid(0)
    assert caught.value.errno_name == "EPERM"


def test_the_addresses_of_this_host_are_those_of_netlink(sadb: PfkeySadb) -> None:
    witness.run(
        "ip", "-batch", "-", stdin="addr add 192.0.2.77/24 dev lo\naddr add 2001:db8::77/64 dev lo\nlink set lo up\n"
    )
    local = sadb.local_addresses()
    assert {pack_address("192.0.2.77"), pack_address("2001:db8::77")} < local
    assert local == XfrmSadb().local_addresses()


def test_keys_are_shown(sadb: PfkeySadb) -> None:
    assert not sadb.keys_hidden()
    sadb.apply(add(sa_of(0x1000)))
    assert not sadb.keys_hidden()
    assert isinstance(open_sadb("pfkey"), PfkeySadb)


def test_the_socket_family_is_pythons_own() -> None:
    assert LINUX.domain == socket.AF_KEY
    assert (LINUX.ipv4, LINUX.ipv6) == (socket.AF_INET, socket.AF_INET6)
    assert struct.calcsize("=BBBBHHII") == layout.HEADER.size == 16


@given(data=st.data())
def test_the_integrity_of_every_sa_is_that_of_the_table(sadb: PfkeySadb, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([row.name for row in BY_NAME.values() if row.kind == AUTHENTICATION]))
    places = [problem.place for problem in sadb.refusals(witness.sa_of(0x1000, "", name))]
    assert places == (
        []
        if BY_NAME[name].icv_bits[0] == ICV_BITS.get(name)
        else ["icv_bits"] if name in ICV_BITS else ["authentication_algorithm"]
    )
