# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Messages decoded together, or after others, mean what each means alone: those of a kernel, and those that no
kernel sends.
"""

from __future__ import annotations

import struct
import typing as t

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import Entry, build
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.xfrm import decode as decoding
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.xfrm import uapi
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.xfrm.decode import (
    decode,
    decode_all,
    decode_several,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.xfrm.netlink import (
    HEADER,
    HEADER_SIZE,
    Part,
    aligned,
    attribute,
    attributes,
    split,
)
from ansible_collections.ipsec.manual.tests.unit.plugins.module_utils._core.sadb.strategies import u32
from ansible_collections.ipsec.manual.tests.unit.plugins.module_utils._core.sadb.xfrm.shown import (
    alike,
    key_like,
    shown,
)

u64 = st.integers(0, (1 << 64) - 1)
usages = st.one_of(st.just((0,) * 7), st.tuples(u64, u64, u64, u64, u32, u32, u32))
INFO = uapi.USERSA_INFO.size
# struct xfrm_algo and its kin: where the number of key bits is.
KEY_BITS = 4 + 64


@st.composite
def bodies(draw: st.DrawFn) -> list[bytes]:
    """Bodies of messages about SAs of one kind, in groups that differ in identity and keys only."""
    found = []
    for sa in draw(alike())[:3]:
        used, number = draw(usages), draw(u32)
        for dummy in range(draw(st.integers(1, 2))):
            other = sa._replace(
                spi=draw(st.integers(256, 0xFFFFFFFF)),
                encryption_key=draw(key_like(sa.encryption_key)),
                authentication_key=draw(key_like(sa.authentication_key)),
            )
            part = shown(other, draw(st.one_of(st.just(used), usages)), number, number)
            found.append(part.buffer[part.start : part.end])
    return found


@st.composite
def broken(draw: st.DrawFn, body: bytes) -> bytes:
    """A body that no kernel sends: bytes changed, attributes repeated, unknown, in another order, or cut
    short, and lengths that lie.
    """
    changed = bytearray(body)
    kind = draw(st.sampled_from(("byte", "length", "bits", "order", "again", "unknown", "cut")))
    places = [(first, last) for first, last in attributes(body, INFO, len(body)).values()]
    first, last = draw(st.sampled_from(places))
    if kind == "byte":
        changed[draw(st.integers(0, len(body) - 1))] = draw(st.integers(0, 255))
    elif kind == "length":
        struct.pack_into("=H", changed, first - 4, draw(st.integers(0, 300)))
    elif kind == "bits" and last - first >= KEY_BITS:
        struct.pack_into("=I", changed, first + KEY_BITS - 4, draw(st.one_of(st.integers(0, 600), u32)))
    elif kind == "cut":
        del changed[draw(st.integers(0, len(body))) :]
    else:
        parts = [bytes(body[begin - 4 : aligned(end)]) for begin, end in places]
        if kind == "again":
            parts.append(draw(st.sampled_from(parts)))
        elif kind == "unknown":
            parts.append(attribute(draw(st.integers(0, 0xFFFF)), draw(st.binary(max_size=40))))
        changed[INFO:] = b"".join(draw(st.permutations(parts)))
    return bytes(changed)


@st.composite
def datagrams(draw: st.DrawFn, *, hostile: bool) -> bytes:
    """Messages behind each other, each of them any number of times."""
    found = draw(bodies())
    if hostile:
        found = [draw(st.one_of(st.just(body), broken(body))) for body in found]
    sequences = st.sampled_from((7, 7, 7, 8))
    messages = [HEADER.pack(HEADER_SIZE + len(body), 16, 2, draw(sequences), 9) + body for body in found]
    # Long enough for runs, and for datagrams whose middle differs from both ends.
    chosen = draw(st.lists(st.sampled_from(messages), max_size=12))
    return b"".join(message.ljust(aligned(len(message)), b"\0") for message in (*messages, *chosen))


def forget() -> None:
    decoding._LAYOUTS.clear()
    decoding._UNUSED.clear()


def outcome(part: Part, read: t.Callable[[Part], t.Any]) -> t.Any:
    """What is read, or the kind of error."""
    try:
        return read(part)
    except (struct.error, ValueError) as error:
        return type(error)


def alone(part: Part) -> t.Any:
    forget()
    return outcome(Part(part.buffer[part.start : part.end], 0, part.end - part.start), decode)


def together(datagram: bytes) -> t.Iterator[Entry | type[Exception]]:
    parts = [part for dummy, dummy, dummy, part in split(datagram)]
    while parts:
        found = outcome(parts[0], decode_several)
        yield from found if isinstance(found, list) else [found]
        del parts[: len(found) if isinstance(found, list) else 1]


@given(datagrams(hostile=False), st.booleans())
def test_sas_are_decoded_together_as_each_alone(datagram: bytes, warm: bool) -> None:
    expected = [alone(part) for dummy, dummy, dummy, part in split(datagram)]
    assert all(isinstance(entry, Entry) for entry in expected)
    if not warm:
        forget()
    assert list(together(datagram)) == expected


@given(datagrams(hostile=True), st.booleans())
def test_messages_that_no_kernel_sends_are_decoded_together_as_each_alone(datagram: bytes, warm: bool) -> None:
    expected = [alone(part) for dummy, dummy, dummy, part in split(datagram)]
    if not warm:
        forget()
    # Once to learn the layouts, and once with all of them known.
    assert list(together(datagram)) == expected
    assert list(together(datagram)) == expected


@given(datagrams(hostile=False))
def test_a_datagram_is_decoded_as_its_messages(datagram: bytes) -> None:
    assert decode_all(datagram) == [decode(part) for dummy, dummy, dummy, part in split(datagram)]


def test_messages_that_differ_in_identity_keys_and_usage_are_decoded_together() -> None:
    """Otherwise the tests above would compare one path with itself."""
    one, other = (1000, 10, 1_700_000_000, 1_700_000_001, 0, 0, 0), (2000, 20, 1_700_000_000, 1_700_000_002, 0, 0, 0)
    parts = [
        shown(build("esp", spi, bytes((192, 0, 2, 1)), bytes(4), "aes-cbc", encryption_key=key, reqid=reqid), usage)
        for spi, key, reqid, usage in (
            (0x1000, b"a" * 32, 7, one),
            (0x1001, b"b" * 32, 7, other),
            (0x1002, b"c" * 32, 7, one),
            (0x1003, b"d" * 32, 8, one),
        )
    ]
    bodies = [part.buffer[part.start : part.end] for part in parts]
    datagram = b"".join(HEADER.pack(HEADER_SIZE + len(body), 16, 2, 7, 9) + body for body in bodies)
    entries = decode_several(next(split(datagram))[3])
    assert entries == list(map(decode, parts[:3]))
    assert [entry.counters.packets for entry in entries] == [10, 20, 10]
