# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fast path for lines that differ only in SPI, addresses and keys, as the lines of every large text do."""

from __future__ import annotations

import binascii
import operator
import socket
import typing as t

from ..sa import keys, model
from ..sa.algorithms import Algorithm
from ..sa.model import SecurityAssociation
from .grammar import ADDRESS, BY_WORD, FLAG_WORDS, IDENTITY, KEY, SPI, TEXT, Keyword

_ORDINARY = bytes(range(0x20, 0x7F)) + b"\t\r\f\v\n"
_SHAPES_MAX = 4096
_VARIABLE_FIELDS = ("spi", "source", "destination", "encryption_key", "authentication_key")
# Bound to names once, since every line uses them.
_pton = socket.inet_pton
_unhexlify = binascii.unhexlify
_IPV4 = int(socket.AF_INET)
_IPV6 = int(socket.AF_INET6)
_MAPPED = b"\0" * 10 + b"\xff\xff"


class _Layout(t.NamedTuple):
    """For lines with the same keywords: the positions of the words that differ from SA to SA (0:
    absent), a getter of all other words, and the shape that belongs to each set of these.
    """

    others: t.Callable[[t.Sequence[str]], t.Any]
    shapes: dict[t.Any, _Shape]
    spi: int
    source: int
    destination: int
    encryption_key: int
    authentication_key: int


class _Shape(t.NamedTuple):
    """What lines with the same other words share: the SA's other fields, and how to check the five that differ.

    ``unspecified`` is the unspecified address of their family, ``multicast`` the first bytes of its
    multicast addresses. ``…_digits`` are the valid numbers of hex digits; ``…_row`` is the algorithm
    if its keys need more checks than for their length and for a repeated byte."""

    unspecified: bytes
    multicast: range
    encryption_digits: tuple[int, ...]
    encryption_row: Algorithm | None
    authentication_digits: tuple[int, ...]
    protocol: str
    mode: str
    encryption: str
    authentication: str
    tail: tuple[t.Any, ...]


def is_ordinary(text: str, line_max: int, lines: t.Sequence[str]) -> bool:
    """Whether `PlainLines` may read the lines of a text: they hold printable ASCII and blanks, and
    none is longer than ``line_max``.
    """
    return (
        text.isascii()
        and not text.encode("ascii").translate(None, _ORDINARY)
        and len(max(lines, key=len, default="")) <= line_max
    )


class PlainLines:
    """Reads a line that differs only in SPI, addresses and keys from one that the general reader
    accepted, if these are written plainly and are valid.

    It reports no errors: any other line is left to the general reader. Both read an accepted line
    as the same SA. ``address_problems`` are those of a source and a destination on the target."""

    def __init__(self, address_problems: t.Callable[[bytes, bytes], t.Iterable[t.Any]] | None = None) -> None:
        self._address_problems = address_problems
        self._layouts: dict[tuple[str, ...], _Layout] = {}
        self._shapes = 0

    def take(self, lines: t.Sequence[str], start: int, sas: list[SecurityAssociation]) -> int:
        """Append the SAs of the lines from ``start`` up to the first that `read` leaves to the
        general reader; return its index.
        """
        read = self.read
        for index in range(start, len(lines)):
            sa = read(lines[index].split())
            if sa is None:
                return index
            sas.append(sa)
        return len(lines)

    def read(self, words: list[str]) -> SecurityAssociation | None:
        flags: tuple[str, ...] = ()
        layout = self._layouts.get(tuple(words[::2]))
        if layout is None:
            flags = _pop_flags(words)
            layout = self._layouts.get(tuple(words[::2])) if flags else None
            if layout is None:
                return None
        others, shapes, spi_at, source_at, destination_at, cipher_key_at, hash_key_at = layout
        try:
            spi_word = words[spi_at]
            if spi_word[:2] != "0x" or len(spi_word) > 10 or "_" in spi_word:
                return None
            spi = int(spi_word, 16)
            destination = _pton(_IPV6 if ":" in (word := words[destination_at]) else _IPV4, word)
            shape = shapes.get((others(words), flags, len(destination)))
            if shape is None:
                return None
            (
                unspecified,
                multicast,
                cipher_digits,
                cipher,
                hash_digits,
                protocol,
                mode,
                encryption,
                authentication,
                tail,
            ) = shape
            source = unspecified
            if source_at:
                source = _pton(_IPV6 if ":" in (word := words[source_at]) else _IPV4, word)
            cipher_key = hash_key = b""
            if cipher_key_at:
                word = words[cipher_key_at]
                cipher_key = _unhexlify(word)
                if len(word) not in cipher_digits or (cipher_key[0] == cipher_key[-1] and _is_one_byte(cipher_key)):
                    return None
                if cipher is not None and keys.problem(cipher, cipher_key):
                    return None
            if hash_key_at:
                word = words[hash_key_at]
                hash_key = _unhexlify(word)
                if len(word) not in hash_digits or (hash_key[0] == hash_key[-1] and _is_one_byte(hash_key)):
                    return None
        except (ValueError, OSError, IndexError):
            return None
        if (
            spi < model.SPI_MIN
            or cipher_key == hash_key
            or destination == unspecified
            or len(source) != len(destination)
            or source[0] in multicast
            or (len(source) == 16 and _MAPPED in (source[:12], destination[:12]))
            or (self._address_problems is not None and any(self._address_problems(source, destination)))
        ):
            return None
        fields = (protocol, spi, source, destination, mode, encryption, cipher_key, authentication, hash_key)
        return tuple.__new__(SecurityAssociation, fields + tail)

    def learn(self, words: list[str], sa: SecurityAssociation) -> None:
        """Remember the shape of an accepted line, given as its words."""
        flags = _pop_flags(words)
        keywords = tuple(words[::2])
        rows = [BY_WORD.get(word) for word in keywords[1:]]
        if len(words) % 2 or self._shapes >= _SHAPES_MAX or not all(map(_is_plain, rows)):
            return
        places = dict.fromkeys(_VARIABLE_FIELDS, 0)
        others = [0, 1]
        for index, row in enumerate(rows, 1):
            if row is not None and row.field in places and row.kind in (SPI, ADDRESS, KEY):
                places[row.field] = 2 * index + 1
            else:
                others.append(2 * index + 1)
        if places["spi"] and places["destination"]:
            layout = self._layouts.setdefault(keywords, _Layout(operator.itemgetter(*others), {}, **places))
            layout.shapes[(layout.others(words), flags, len(sa.destination))] = _shape(sa)
            self._shapes += 1


def _pop_flags(words: list[str]) -> tuple[str, ...]:
    """Remove the flags at the end, and return them."""
    flags: tuple[str, ...] = ()
    while words and words[-1] in FLAG_WORDS:
        flags += (words.pop(),)
    return flags


def _is_one_byte(key: bytes) -> bool:
    return key.count(key[0]) == len(key)


def _is_plain(row: Keyword | None) -> bool:
    return row is not None and row.values == 1 and row.kind not in (TEXT, IDENTITY)


def _shape(sa: SecurityAssociation) -> _Shape:
    width = len(sa.destination)
    row = model.algorithm_of(sa.encryption)
    return _Shape(
        bytes(width),
        range(224, 240) if width == 4 else range(255, 256),
        _digits(row),
        row if row is not None and (row.des_parity or row.salt_bits) else None,
        _digits(model.algorithm_of(sa.authentication)),
        sa.protocol,
        sa.mode,
        sa.encryption,
        sa.authentication,
        tuple(sa[model.AFTER_KEYS :]),
    )


def _digits(row: Algorithm | None) -> tuple[int, ...]:
    return () if row is None else tuple(bits // 4 for bits in row.material_bits)
