# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which bytes of XFRM_MSG_NEWSA differ from SA to SA, and which repeat.

The SAs of a SADB are of few kinds. Those of one kind have the same algorithms, mode, selector and so
on; they differ in identity, owner, keys, lifetimes and usage. So `decode` interprets what repeats only
once for each kind. In a dump, most messages differ from the one before in even less, and only that is
read of them (`Layout.alike`)."""

from __future__ import annotations

import itertools
import operator
import struct
import typing as t

from . import uapi
from .netlink import HEADER_SIZE, Part, aligned, attributes

# In the order in which kernels show them.
VARIABLES = (
    "destination",
    "spi",
    "source",
    "lifetimes",
    "usage",
    "reqid",
    "authentication_key",
    "encryption_key",
    "mark",
    "replay",
    "if_id",
)
"""What differs from SA to SA. ``spi`` and ``reqid`` are read as numbers in network order, in which the
kernel keeps only the SPI. ``usage`` is `uapi.USAGE`, ``replay`` the sequence numbers out and in, and
with ESN their upper halves.
"""
OWN = ("destination", "spi", "source", "authentication_key", "encryption_key")
USED = ("usage", "replay")
"""The `VARIABLES` in which SAs differ that one program added with the same options: ``OWN`` always, ``USED`` only
where they are in use.
"""
_NUMBERS = ("spi", "reqid")
_SHARED = "shared"
# What determines the position of everything else; SAs of one kind share it.
_HEADER = "header"
_UNUSED = "unused"

# Attributes that repeat other fields: the integrity algorithm, and usage.
NOTHING_NEW = frozenset((uapi.XFRMA_ALG_AUTH, uapi.XFRMA_LTIME_VAL, uapi.XFRMA_LASTUSED, uapi.XFRMA_PAD))
# Attributes that fields of the model hold, whatever their value.
MODELLED = frozenset(
    (
        uapi.XFRMA_ALG_AEAD,
        uapi.XFRMA_ALG_AUTH_TRUNC,
        uapi.XFRMA_ALG_CRYPT,
        uapi.XFRMA_REPLAY_VAL,
        uapi.XFRMA_REPLAY_ESN_VAL,
        uapi.XFRMA_MARK,
        uapi.XFRMA_IF_ID,
        uapi.XFRMA_TFCPAD,
        uapi.XFRMA_SET_MARK,
        uapi.XFRMA_SET_MARK_MASK,
        uapi.XFRMA_NAT_KEEPALIVE_INTERVAL,
    )
)
# Flags that need no word: ESN has a field, and the kernel sets the other by itself if
# net.ipv4.ip_no_pmtu_disc is set (__xfrm_init_state).
FLAGS_KNOWN = uapi.XFRM_STATE_ESN | uapi.XFRM_STATE_NOPMTUDISC
# What an algorithm's attribute has before the key, and the key.
_KEYS = {
    uapi.XFRMA_ALG_AUTH_TRUNC: (uapi.ALGO_ICV.size, "authentication_key"),
    uapi.XFRMA_ALG_CRYPT: (uapi.ALGO.size, "encryption_key"),
    uapi.XFRMA_ALG_AEAD: (uapi.ALGO_ICV.size, "encryption_key"),
}
# The start of other attributes; what follows is not used.
_PAYLOADS = {
    uapi.XFRMA_MARK: ((uapi.MARK.size, "mark"),),
    uapi.XFRMA_IF_ID: ((uapi.U32.size, "if_id"),),
    uapi.XFRMA_REPLAY_VAL: ((8, "replay"),),
    uapi.XFRMA_REPLAY_ESN_VAL: ((4, _SHARED), (16, "replay"), (4, _SHARED)),
    **{kind: () for kind in NOTHING_NEW},
}


class Info(t.NamedTuple):
    """struct xfrm_usersa_info as `uapi.USERSA_INFO` unpacks it."""

    selector: bytes
    destination: bytes
    spi: int
    protocol: int
    source: bytes
    lifetimes: bytes
    used_bytes: int
    used_packets: int
    add_time: int
    use_time: int
    late: int
    replayed: int
    integrity_failures: int
    seq: int
    reqid: int
    family: int
    mode: int
    window: int
    flags: int


# A number of bytes, and what they are.
_Piece = t.Tuple[int, str]
_Values = t.Tuple[t.Any, ...]
_Pick = t.Callable[[_Values], _Values]

# What a message is unpacked into: pieces of one name that follow each other become one value.
_ONLY_HEADERS = {_HEADER: _HEADER}
_ALL_SHARED = {_HEADER: _SHARED, _SHARED: _SHARED}
_EACH = {name: name for name in VARIABLES}


class Layout:
    """Messages of one size whose attributes have the same types and sizes, in the same order.

    Of the message at an offset of a buffer, ``shared`` returns what may repeat, and ``variables`` the
    `VARIABLES`. ``known`` is for what the shared bytes mean: these contain the headers, so a message
    of this size whose shared bytes are known has this layout."""

    def __init__(self, part: Part) -> None:
        buffer, start, dummy = part
        self.known: dict[_Values, t.Any] = {}
        self._pieces = _pieces(part)
        self.shared = _struct(self._pieces, _ALL_SHARED).unpack_from
        self._headers = _struct(self._pieces, _ONLY_HEADERS).unpack_from
        self._expected = self._headers(buffer, start)
        variables, pick = _in_order(self._pieces, _EACH)
        self.variables = _reader(variables, pick)
        self._rests: dict[tuple[str, ...], struct.Struct] = {}
        self._readers: dict[tuple[str, ...], tuple[struct.Struct, _Pick | None]] = {}

    def fits(self, part: Part) -> bool:
        """Whether a message of this size has this layout."""
        return self._headers(part.buffer, part.start) == self._expected

    def alike(self, part: Part, names: tuple[str, ...]) -> memoryview:
        """The messages behind ``part``, which has this layout, up to the first that differs from it in anything
        that has a meaning but ``names``, or in the netlink header.
        """
        if names not in self._rests:
            others = {name: "rest" for name in (_HEADER, _SHARED, *VARIABLES) if name not in names}
            self._rests[names] = _struct([piece for piece in self._whole() if piece[0]], others)
        rest = self._rests[names]
        messages = memoryview(part.buffer)[part.start - HEADER_SIZE :]
        count = len(messages) // rest.size
        # In C where all are alike, as in most datagrams; but first a few, so that many short runs take little longer.
        for some in (4, count):
            rests = list(rest.iter_unpack(messages[: min(some, count) * rest.size]))
            if rests.count(rests[0]) < len(rests):
                count = next(number for number, other in enumerate(rests) if other != rests[0])
                break
        return messages[rest.size : count * rest.size]

    def read(self, messages: memoryview, names: tuple[str, ...]) -> t.Iterator[_Values]:
        """The fields ``names`` of each of the messages, which have this layout."""
        if names not in self._readers:
            self._readers[names] = _in_order(self._whole(), {name: name for name in names})
        fields, pick = self._readers[names]
        found = fields.iter_unpack(messages)
        return found if pick is None else map(pick, found)

    def _whole(self) -> list[_Piece]:
        """A message with its netlink header and its padding."""
        size = HEADER_SIZE + sum(size for size, dummy in self._pieces)
        return [(HEADER_SIZE, _HEADER), *self._pieces, (aligned(size) - size, _UNUSED)]


def _reader(layout: struct.Struct, pick: _Pick | None) -> t.Callable[[bytes, int], _Values]:
    read = layout.unpack_from
    return read if pick is None else lambda buffer, start: pick(read(buffer, start))


def _struct(pieces: t.Iterable[_Piece], names: t.Mapping[str, str]) -> struct.Struct:
    """Unpacks the pieces that have a name, the others are skipped. Numbers are in network order."""
    layout = ">"
    for name, run in itertools.groupby(pieces, lambda piece: names.get(piece[1], "")):
        size = sum(size for size, dummy in run)
        layout += f"{size}x" if not name else "I" if name in _NUMBERS else f"{size}s"
    return struct.Struct(layout)


def _in_order(pieces: t.Sequence[_Piece], names: t.Mapping[str, str]) -> tuple[struct.Struct, _Pick | None]:
    """Unpacks one value for each name, empty if the message lacks it, and what brings the values into
    the order of the names, None if they are.
    """
    found = list(pieces)
    place = len(found)
    for name in reversed(list(names)):
        there = [what for dummy, what in found]
        if name in there:
            place = there.index(name)
        else:
            found.insert(place, (0, name))
    # Kernels show attributes in the order of VARIABLES, but requests may have another order.
    there = [what for dummy, what in found if what in names]
    pick = None if there == list(names) else operator.itemgetter(*map(there.index, names))
    return _struct(found, names), pick


def _pieces(part: Part) -> list[_Piece]:
    buffer, start, end = part
    family = Info(*uapi.USERSA_INFO.unpack_from(buffer, start)).family
    pieces = _info_pieces(uapi.ADDRESS_SIZES.get(family, 16))
    offset = start + uapi.USERSA_INFO.size
    for kind, (first, last) in sorted(attributes(buffer, offset, end).items(), key=operator.itemgetter(1)):
        # Also the padding of the attribute before.
        pieces.append((first - offset, _HEADER))
        pieces += _payload_pieces(kind, buffer[first:last])
        offset = last
    return [*pieces, (end - offset, _HEADER)]


def _info_pieces(address_size: int) -> list[_Piece]:
    """struct xfrm_usersa_info."""
    rest = (16 - address_size, _UNUSED)
    pieces = [
        *((uapi.SELECTOR.size, _SHARED), (address_size, "destination"), rest, (4, "spi")),
        # The protocol, and padding.
        *((1, _SHARED), (3, _UNUSED), (address_size, "source"), rest),
        *((uapi.LIFETIME_CFG.size, "lifetimes"), (uapi.USAGE.size, "usage"), (4, _UNUSED), (4, "reqid")),
        # The family, then mode, window and flags.
        *((2, _HEADER), (3, _SHARED)),
    ]
    # The padding at the end, which the kernel clears.
    return [*pieces, (uapi.USERSA_INFO.size - sum(size for size, dummy in pieces), _SHARED)]


def _payload_pieces(kind: int, payload: bytes) -> t.Iterator[_Piece]:
    pieces = _PAYLOADS.get(kind, ((len(payload), _SHARED),))
    if kind in _KEYS:
        size, name = _KEYS[kind]
        bits = uapi.ALGO.unpack_from(payload)[1] if len(payload) >= size else 0
        pieces = ((size, _HEADER), ((bits + 7) // 8, name))
    left = len(payload)
    for size, what in pieces:
        yield min(size, left), what
        left -= min(size, left)
    yield left, _UNUSED
