# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which bytes of XFRM_MSG_NEWSA differ from SA to SA, and which repeat.

The SAs of a SADB are of few kinds. Those of one kind have the same algorithms, mode, selector and so
on; they differ in identity, owner, keys, lifetimes and usage. So `decode` interprets what repeats only
once for each kind."""

from __future__ import annotations

import itertools
import operator
import struct
import typing as t

from . import uapi
from .netlink import Part, attributes

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
"""What differs from SA to SA: numbers are ``spi`` and ``reqid``, ``usage`` is `uapi.USAGE`, ``replay`` the
sequence numbers out and in, and with ESN their upper halves.
"""
_NUMBERS = ("spi", "reqid")
_SHARED = "shared"
# What determines the position of everything else; SAs of one kind share it.
_HEADER = "header"
_UNUSED = "unused"

# Attributes that repeat other fields: the integrity algorithm, and usage.
NOTHING_NEW = frozenset((uapi.XFRMA_ALG_AUTH, uapi.XFRMA_LTIME_VAL, uapi.XFRMA_LASTUSED, uapi.XFRMA_PAD))
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
_Reader = t.Callable[[bytes, int], t.Tuple[t.Any, ...]]


class Layout:
    """Messages of one size whose attributes have the same types and sizes, in the same order.

    Of the message at an offset of a buffer, ``shared`` returns what may repeat, and ``variables`` the
    `VARIABLES`. ``known`` is for what the shared bytes mean: these contain the headers, so a message
    of this size whose shared bytes are known has this layout."""

    def __init__(self, part: Part) -> None:
        buffer, start, dummy = part
        pieces = _pieces(part)
        self.known: dict[tuple[t.Any, ...], t.Any] = {}
        self.shared = _reader((_SHARED,), [(size, _SHARED if what == _HEADER else what) for size, what in pieces])
        self.variables = _in_order(pieces)
        self._headers = _reader((_HEADER,), pieces)
        self._expected = self._headers(buffer, start)

    def fits(self, part: Part) -> bool:
        """Whether a message of this size has this layout."""
        return self._headers(part.buffer, part.start) == self._expected


def _reader(wanted: t.Container[str], pieces: t.Iterable[_Piece]) -> _Reader:
    """A function, in C, that returns the wanted pieces of the message at an offset of a buffer; pieces of
    one kind that follow each other are returned as one.
    """
    layout = "="
    for what, run in itertools.groupby(pieces, operator.itemgetter(1)):
        size = sum(size for size, dummy in run)
        layout += f"{size}x" if what not in wanted else "I" if what in _NUMBERS else f"{size}s"
    return struct.Struct(layout).unpack_from


def _in_order(pieces: t.Sequence[_Piece]) -> _Reader:
    """A reader of the `VARIABLES`; those that the message lacks are empty."""
    found = list(pieces)
    place = len(found)
    for name in reversed(VARIABLES):
        names = [what for dummy, what in found]
        if name in names:
            place = names.index(name)
        else:
            found.insert(place, (0, name))
    names = [what for dummy, what in found if what in VARIABLES]
    read = _reader(VARIABLES, found)
    if names == list(VARIABLES):
        return read
    # Kernels show attributes in the order of VARIABLES, but requests may have another order.
    pick = operator.itemgetter(*map(names.index, VARIABLES))
    return lambda buffer, start: pick(read(buffer, start))


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
    return [*pieces, (uapi.USERSA_INFO.size - sum(size for size, dummy in pieces), _UNUSED)]


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
