# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Messages about SAs, without a kernel: what is sent reads back equal, and errors contain no key."""

from __future__ import annotations

import contextlib
import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import InputError
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa import checks, model
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import (
    SecurityAssociation,
    build,
    pack_address,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb import open_sadb
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.xfrm import backend, explain, ids, messages, uapi
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.xfrm import decode as decoding
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.xfrm.decode import decode, unpack_lifetimes
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.xfrm.netlink import (
    HEADER,
    HEADER_SIZE,
    NLM_F_REQUEST,
    Part,
    Refusal,
    attribute,
    attributes,
)
from ansible_collections.ipsec.manual.tests.unit.plugins.module_utils._core.sadb.strategies import (
    associations,
    lifetimes,
    u32,
)
from ansible_collections.ipsec.manual.tests.unit.plugins.module_utils._core.sadb.xfrm.shown import (
    alike,
    sent,
    sent_attributes,
    shown,
)

KEY = bytes(range(32))


def esp(**fields: object) -> SecurityAssociation:
    arguments = {"authentication_key": bytes(range(32, 64)), "encryption_key": KEY, **fields}
    return build(
        "esp", 0x1000, pack_address("192.0.2.2"), pack_address("192.0.2.1"), "aes-cbc", "hmac-sha256", **arguments
    )


@given(associations())
def test_what_is_sent_reads_back_equal(sa: SecurityAssociation) -> None:
    assert not checks.problems(sa, allow_static_counter_mode=True)
    # A kernel would be asked whether it knows output marks.
    assert not open_sadb().refusals(sa._replace(output_mark=None))
    entry = decode(sent(sa))
    assert entry.sa == sa
    assert not entry.larval


u64 = st.integers(0, (1 << 64) - 1)


@given(alike(), st.data())
def test_sas_of_one_kind_are_not_mixed_up(sas: list[SecurityAssociation], data: st.DataObject) -> None:
    for sa in sas:
        used = data.draw(st.one_of(st.just((0,) * 7), st.tuples(u64, u64, u64, u64, u32, u32, u32)))
        number = u64 if sa.esn or sa.replay_window > 32 else u32
        out, into = data.draw(number), data.draw(number)
        entry = decode(shown(sa, used, out, into))
        assert entry == model.Entry(sa._replace(extra=()), model.Counters(*used[:4], out, into, *used[4:]))
        assert decode(sent(sa)).sa == decode(sent(sa)).sa == entry.sa


def test_remembered_kinds_of_sas_contain_no_key() -> None:
    decoding._LAYOUTS.clear()
    for sa in (esp(), build("esp", 1, bytes(4), bytes(4), "aes-gcm", encryption_key=KEY[:20])):
        assert decode(shown(sa)).sa == decode(sent(sa)).sa == sa
    layouts = [layout for found in decoding._LAYOUTS.values() for layout in found]
    remembered = [piece for layout in layouts for shared in layout.known for piece in shared]
    assert remembered and not any(key[:8] in piece for piece in remembered for key in (KEY, bytes(range(32, 64))))


def test_the_number_of_remembered_kinds_is_limited() -> None:
    for number in range(1, 1000):
        sa = esp(selector=model.Selector(protocol=17, destination_port=number))
        assert decode(shown(sa)).sa == sa
        size = 68 + number % 200 * 4
        assert model.flags(decode(dumped(attribute(200, bytes(size)))).sa) == "attribute-200"
    layouts = [layout for found in decoding._LAYOUTS.values() for layout in found]
    assert 0 < len(layouts) <= 256 and all(len(layout.known) <= 256 for layout in layouts)


@given(associations())
def test_restoring_sends_the_same_sa_with_its_counters(sa: SecurityAssociation) -> None:
    body = bytearray(messages.new_sa(sa)[HEADER_SIZE:])
    struct.pack_into("@4Q", body, 160, 1000, 10, 1_600_000_000, 1_600_000_001)
    sent_body = messages.restore(Part(bytes(body), 0, len(body)))[HEADER_SIZE:]
    assert decode(Part(sent_body, 0, len(sent_body))) == decode(Part(bytes(body), 0, len(body)))
    held = attributes(sent_body, uapi.USERSA_INFO.size, len(sent_body))
    first, last = held[uapi.XFRMA_LTIME_VAL]
    assert struct.unpack("@4Q", sent_body[first:last]) == (1000, 10, 1_600_000_000, 1_600_000_001)


# Any attributes that a kernel may report. Nobody can set the time of last use, or padding.
SHOWN = st.dictionaries(st.integers(16, 60).filter(lambda kind: kind != uapi.XFRMA_PAD), st.binary(max_size=40))


@given(associations(), SHOWN)
def test_restoring_repeats_every_attribute_of_the_dump(sa: SecurityAssociation, shown: dict[int, bytes]) -> None:
    body = messages.new_sa(sa)[HEADER_SIZE:][: uapi.USERSA_INFO.size] + b"".join(
        attribute(kind, payload) for kind, payload in shown.items()
    )
    dump = Part(body + attribute(uapi.XFRMA_LASTUSED, bytes(8)), 0, len(body) + 12)
    restored = messages.restore(dump)[HEADER_SIZE:]
    assert restored[: uapi.USERSA_INFO.size] == body[: uapi.USERSA_INFO.size]
    held = attributes(restored, uapi.USERSA_INFO.size, len(restored))
    assert {kind: restored[first:last] for kind, (first, last) in held.items() if kind != uapi.XFRMA_LTIME_VAL} == shown


@given(associations(), SHOWN, lifetimes())
def test_new_lifetimes_go_with_every_attribute_of_the_dump(
    sa: SecurityAssociation, shown: dict[int, bytes], limits: model.Lifetimes
) -> None:
    body = messages.new_sa(sa)[HEADER_SIZE:][: uapi.USERSA_INFO.size] + b"".join(
        attribute(kind, payload) for kind, payload in shown.items()
    )
    offload = attribute(uapi.XFRMA_OFFLOAD_DEV, bytes(8))
    request = messages.revised(Part(body + offload, 0, len(body + offload)), limits)
    dummy, kind, flags, *dummies = HEADER.unpack_from(request)
    assert (kind, flags) == (uapi.XFRM_MSG_UPDSA, NLM_F_REQUEST)
    new = request[HEADER_SIZE:]
    assert new[:96] + new[160 : uapi.USERSA_INFO.size] == body[:96] + body[160 : uapi.USERSA_INFO.size]
    assert unpack_lifetimes(new[96:160]) == limits
    held = attributes(new, uapi.USERSA_INFO.size, len(new))
    shown.pop(uapi.XFRMA_OFFLOAD_DEV, None)
    assert {kind: new[first:last] for kind, (first, last) in held.items()} == shown


def test_a_nat_keepalive_interval_reads_back_equal() -> None:
    sa = esp(nat_keepalive=20, direction="outbound", encapsulation=model.Encapsulation(4500, 4500))
    assert not checks.problems(sa)
    assert sent_attributes(sa)[34] == struct.pack("@I", 20)
    assert decode(sent(sa)).sa == sa


@pytest.mark.parametrize(
    ("parts", "mark"),
    [
        ([(29, 5)], (5, 0xFFFFFFFF)),
        ([(29, 5), (30, 255)], (5, 255)),
        ([(30, 255)], None),
        ([(29, 0), (30, 1)], (0, 1)),
        ([], None),
    ],
)
def test_the_mask_of_an_output_mark_defaults_to_all_bits(
    parts: list[tuple[int, int]], mark: tuple[int, int] | None
) -> None:
    assert decode(dumped(*(attribute(kind, struct.pack("@I", value)) for kind, value in parts))).sa.output_mark == mark


def test_integrity_is_sent_with_its_icv() -> None:
    found = sent_attributes(esp())
    assert uapi.XFRMA_ALG_AUTH not in found
    assert found[uapi.XFRMA_ALG_AUTH_TRUNC] == b"hmac(sha256)".ljust(64, b"\0") + struct.pack("@II", 256, 128) + bytes(
        range(32, 64)
    )


@pytest.mark.parametrize(
    "window, esn, base, words",
    [(0, False, 0, None), (32, False, 32, None), (33, False, 0, 2), (32, True, 0, 1), (4096, True, 0, 128)],
)
def test_a_large_window_is_sent_with_its_bitmap(window: int, esn: bool, base: int, words: int | None) -> None:
    buffer, start, dummy = sent(esp(replay_window=window, esn=esn))
    assert buffer[start + 215] == base
    found = sent_attributes(esp(replay_window=window, esn=esn)).get(uapi.XFRMA_REPLAY_ESN_VAL)
    if words is None:
        assert found is None
    else:
        assert found is not None
        assert struct.unpack_from("@6I", found) == (words, 0, 0, 0, 0, window)
        assert found[24:] == bytes(4 * words)


@pytest.mark.parametrize("direction, out, into", [("", 5, 5), ("inbound", 0, 5), ("outbound", 5, 0)])
def test_a_start_value_counts_everything_before_it_as_received(direction: str, out: int, into: int) -> None:
    found = sent_attributes(esp(replay_window=0, extra=(("replay_value", "5"),), direction=direction))
    assert struct.unpack("@III", found[uapi.XFRMA_REPLAY_VAL]) == (out, into, 0xFFFFFFFF if into else 0)


def test_a_64_bit_start_value_is_split() -> None:
    start = (7 << 32) + 9
    found = sent_attributes(esp(replay_window=64, esn=True, extra=(("replay_value", str(start)),)))
    assert struct.unpack("@6I", found[uapi.XFRMA_REPLAY_ESN_VAL][:24]) == (2, 9, 9, 7, 7, 64)
    assert found[uapi.XFRMA_REPLAY_ESN_VAL][24:] == b"\xff" * 8


@pytest.mark.parametrize(
    "direction, window, sent",
    [
        ("", 0, None),
        ("inbound", 0, 1),
        ("inbound", 64, 1),
        ("outbound", 0, 2),
        ("outbound", 32, None),
        ("outbound", 64, None),
    ],
)
def test_the_direction_is_sent_if_every_kernel_accepts_it(direction: str, window: int, sent: int | None) -> None:
    found = sent_attributes(esp(direction=direction, replay_window=window)).get(uapi.XFRMA_SA_DIR)
    assert (found and found[0]) == sent


def test_a_tunnel_without_a_selector_accepts_both_families() -> None:
    buffer, start, dummy = sent(esp(mode="tunnel"))
    assert buffer[start : start + 56] == bytes(56)
    assert buffer[start + 216] == 32


def dumped(*extra: bytes, protocol: int = 50, mode: int = 0) -> Part:
    """What a kernel could report of an SA of another program."""
    body = bytearray(messages.new_sa(esp())[HEADER_SIZE:][: uapi.USERSA_INFO.size])
    body[76] = protocol
    body[214] = mode
    whole = bytes(body) + b"".join(extra)
    return Part(b"\xff" * 16 + whole, 16, 16 + len(whole))


def test_algorithms_that_only_the_kernel_knows_keep_its_names() -> None:
    crypt = attribute(uapi.XFRMA_ALG_CRYPT, b"cbc(camellia)".ljust(64, b"\0") + struct.pack("@I", 256) + KEY)
    auth = attribute(
        uapi.XFRMA_ALG_AUTH_TRUNC, b"hmac(rmd160)".ljust(64, b"\0") + struct.pack("@II", 160, 96) + KEY[:20]
    )
    sa = decode(dumped(crypt, auth)).sa
    assert (sa.encryption, sa.encryption_key, sa.authentication, sa.authentication_key, sa.icv_bits) == (
        "cbc(camellia)",
        KEY,
        "hmac(rmd160)",
        KEY[:20],
        96,
    )
    again = sent_attributes(sa)
    assert again[uapi.XFRMA_ALG_CRYPT] == crypt[4:]
    assert again[uapi.XFRMA_ALG_AUTH_TRUNC] == auth[4:]


def test_a_name_that_is_not_ascii_is_escaped() -> None:
    crypt = attribute(uapi.XFRMA_ALG_CRYPT, b"cbc(\xff)".ljust(64, b"\0") + struct.pack("@I", 256) + KEY)
    sa = decode(dumped(crypt)).sa
    assert sa.encryption == "cbc(\\xff)" and model.fingerprints(sa)["encryption"]


def test_an_unknown_combined_cipher_is_sent_as_one() -> None:
    aead = attribute(
        uapi.XFRMA_ALG_AEAD, b"rfc4106(gcm(sm4))".ljust(64, b"\0") + struct.pack("@II", 160, 128) + KEY[:20]
    )
    sa = decode(dumped(aead)).sa
    assert (sa.encryption, sa.icv_bits) == ("rfc4106(gcm(sm4))", 128)
    assert sent_attributes(sa)[uapi.XFRMA_ALG_AEAD] == aead[4:]


def test_a_cipher_of_the_table_with_another_icv_keeps_the_kernels_name() -> None:
    aead = attribute(
        uapi.XFRMA_ALG_AEAD, b"rfc4106(gcm(aes))".ljust(64, b"\0") + struct.pack("@II", 160, 32) + KEY[:20]
    )
    assert decode(dumped(aead)).sa.encryption == "rfc4106(gcm(aes))"


@pytest.mark.parametrize(
    "protocol, name, larval",
    [(50, "esp", True), (51, "ah", True), (108, "comp", False), (60, "hao", False), (99, "99", False)],
)
def test_an_sa_without_algorithms_is_larval_if_its_protocol_needs_some(protocol: int, name: str, larval: bool) -> None:
    entry = decode(dumped(protocol=protocol))
    assert (entry.sa.protocol, entry.larval) == (name, larval)


def test_esp_in_tcp_is_not_read_as_esp_in_udp() -> None:
    assert decode(dumped(attribute(uapi.XFRMA_ENCAP, struct.pack("@HHH2x16s", 7, 1, 2, b"")))).sa.encapsulation is None


# Numbers and sizes of include/uapi/linux/xfrm.h, repeated here on purpose.
STRANGE = [
    (28, struct.pack("@iBxxx", 2, 0), "offload=2,outbound,crypto"),
    (28, struct.pack("@iBxxx", 3, 2 | 1), "offload=3,inbound,crypto"),
    (28, struct.pack("@iBxxx", 1 << 30, 4 | 2), "offload=1073741824,inbound,packet"),
    (32, struct.pack("@I", 7), "mapping-threshold=7"),
    (35, struct.pack("@I", 0), "pcpu=0"),
    (36, struct.pack("@I", 1_000_000), "iptfs-drop-time=1000000"),
    (37, struct.pack("@H", 3), "iptfs-reorder-window=3"),
    (38, b"", "iptfs-dont-frag"),
    (39, struct.pack("@I", 0), "iptfs-init-delay=0"),
    (40, struct.pack("@I", 0xFFFFFFFF), "iptfs-max-queue-size=4294967295"),
    (41, struct.pack("@I", 1400), "iptfs-packet-size=1400"),
    (24, struct.pack("@I", 1 << 1 | 1 << 31), "oseq-may-wrap extra-flag-31"),
    (33, b"\3", "attribute-33"),
    (42, b"", "attribute-42"),
]


@pytest.mark.parametrize(("kind", "payload", "words"), STRANGE)
def test_a_property_without_a_field_is_named_with_its_value(kind: int, payload: bytes, words: str) -> None:
    assert model.flags(decode(dumped(attribute(kind, payload))).sa) == words


def test_iptfs_is_a_mode_and_its_properties_are_restored() -> None:
    parts = [attribute(kind, payload) for kind, payload, dummy in STRANGE if 36 <= kind <= 41]
    part = dumped(*parts, mode=5)
    sa = decode(part).sa
    assert sa.mode == "iptfs" and model.unsayable(sa).startswith("mode=iptfs iptfs-drop-time=1000000 ")
    assert all(b"".join(parts) in request for request in (messages.restore(part), messages.revised(part, sa.lifetimes)))


@pytest.mark.parametrize("size", range(8))
def test_a_value_that_is_cut_short_is_still_named(size: int) -> None:
    for kind, payload, dummy in STRANGE:
        if kind not in (24, 33):
            assert model.flags(decode(dumped(attribute(kind, payload[:size]))).sa)


@given(st.binary(max_size=300), st.integers(0, 255), st.integers(0, 255))
def test_no_dump_crashes_the_reader(tail: bytes, protocol: int, mode: int) -> None:
    """The kernel pads and terminates every attribute, but its content may be new."""
    decode(
        dumped(
            attribute(200, tail),
            attribute(uapi.XFRMA_ALG_CRYPT, tail.ljust(68, b"\0")[:68]),
            protocol=protocol,
            mode=mode,
        )
    )


@pytest.mark.parametrize(
    "fields, places",
    [
        ({"extra": (("pair-spi", "1"), ("replay_value", "7"), ("state", "mature"))}, ["pair-spi", "state"]),
        ({"extra": (("replay_value", str(1 << 32)),)}, ["replay_value"]),
        ({"extra": (("replay_value", "many"),)}, ["replay_value"]),
        ({"extra": (("replay_value", str(1 << 32)),), "esn": True, "replay_window": 32}, []),
        ({"encapsulation": model.Encapsulation(4500, 4500, pack_address("10.0.0.1"))}, ["nat_local"]),
        ({"lifetimes": model.Lifetimes(hard_bytes=(1 << 64) - 1)}, ["hard_bytes"]),
        ({}, []),
    ],
)
def test_what_linux_cannot_express_is_refused_by_name(fields: dict[str, object], places: list[str]) -> None:
    assert [problem.place for problem in open_sadb().refusals(esp(**fields))] == places


@pytest.mark.parametrize(
    "text", ["", "Kernel was unable to initialize cryptographic operations", "Requested mode not found", "anything"]
)
def test_every_refusal_names_errno_and_sa_and_no_key(text: str) -> None:
    sa = esp()
    for number, name in errno.errorcode.items():
        error = explain.explain(Refusal(number, text), sa)
        assert error.errno_name == name
        assert all(word in str(error) for word in (model.label(sa), name, text))
        for key in (sa.encryption_key, sa.authentication_key):
            assert key.hex() not in str(error)
            assert repr(key) not in repr(error)


@pytest.mark.parametrize(
    "number, protocol, address, named",
    [
        (errno.EPROTONOSUPPORT, "esp", "192.0.2.2", "esp4"),
        (errno.EPROTONOSUPPORT, "esp", "2001:db8::2", "esp6"),
        (errno.EPROTONOSUPPORT, "ah", "192.0.2.2", "ah4"),
        (errno.EPROTONOSUPPORT, "ah", "2001:db8::2", "ah6"),
        (errno.ENOSYS, "ah", "192.0.2.2", "crypto-hmac crypto-md5"),
        (
            errno.ENOENT,
            "esp",
            "192.0.2.2",
            "crypto-authenc crypto-echainiv crypto-cbc crypto-des3_ede crypto-hmac crypto-md5",
        ),
    ],
)
def test_a_refusal_for_lack_of_a_module_names_it(number: int, protocol: str, address: str, named: str) -> None:
    sa = build(
        protocol,
        0x1000,
        pack_address(address),
        encryption="3des-cbc" if protocol == "esp" else "",
        authentication="hmac-md5",
    )
    assert f"modprobe -a {named}" in str(explain.explain(Refusal(number, ""), sa)).replace(
        f"{protocol}4 ", "", 1 if number != errno.EPROTONOSUPPORT else 0
    )


def test_messages_do_not_show_keys_when_printed() -> None:
    assert KEY.hex() not in str(esp())
    assert KEY.hex() not in repr(decode(sent(esp())))


def test_an_unknown_backend_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="unknown backend 'pfkey2'.*auto, xfrm"):
        open_sadb("pfkey2")


def test_the_identity_is_sent_with_its_mark() -> None:
    sa = esp(mark=model.Mark(5, 255))
    request = ids.delete_sa(sa)
    assert HEADER.unpack_from(request) == (len(request), uapi.XFRM_MSG_DELSA, NLM_F_REQUEST, 0, 0)
    assert request[HEADER_SIZE:] == pack_address("192.0.2.2").ljust(16, b"\0") + b"\0\0\x10\0" + struct.pack(
        "@HBx", 2, 50
    ) + attribute(21, struct.pack("@II", 5, 255))


@pytest.mark.parametrize(("protocol", "number"), [("", 255), ("ah", 51)])
def test_a_dump_asks_for_sas_of_ipsec_only(monkeypatch: pytest.MonkeyPatch, protocol: str, number: int) -> None:
    """Without a protocol, Linux shows a state of protocol 4 beside each tunnel of IPComp, and refuses to delete it."""
    asked: list[bytes] = []

    class Link:
        def dump(self, request: bytes, *dummy: object) -> list[model.Entry]:
            asked.append(request[HEADER_SIZE:])
            return []

    monkeypatch.setattr(backend, "open_link", lambda *dummy: contextlib.nullcontext(Link()))
    assert backend.XfrmSadb().dump(protocol) == []
    first, last = attributes(asked[0], 0, len(asked[0]))[uapi.XFRMA_PROTO]
    assert asked[0][first:last] == bytes((number,))
