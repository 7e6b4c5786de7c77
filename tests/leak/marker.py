# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keys of a known pattern, and the search for that pattern in any of its written forms.

The marker is new for each run, so remains of earlier runs are not findings, and no source contains
it. Every eight bytes of a key contain it, so any 14 bytes of a key are enough to be found.
"""

from __future__ import annotations

import base64
import gzip
import io
import itertools
import re
import secrets
import typing as t
import zipfile
import zlib

SIZE = 6
BLOCK = 8  # a DES key: marker and counter
ODD = bytes(byte if byte.bit_count() % 2 else byte ^ 1 for byte in range(256))
# Bytes that every notation writes differently: above ASCII, so that no text contains them raw; odd,
# so that DES leaves them; a letter in their hex digits.
ALPHABET = tuple(byte for byte in range(0xA0, 0x100) if byte.bit_count() % 2 and byte % 16 >= 10)

# Between two bytes written as hex digits: separators of dumps, prefixes of C and Python literals,
# of JSON, URLs, and of escapes within escapes.
BETWEEN_HEX = rb"(?:['\",;]{0,2}[\s:._-]{0,3}(?:0x|\\{1,8}(?:x|u00|udc)|%(?:25)?|&#x)?)"
BETWEEN_DECIMAL = rb"[\s,;]{1,3}"
BETWEEN_OCTAL = rb"\\{1,8}0?"
WRAPPED = rb"(?:\s|\\{1,4}[nr]){0,8}"  # base64 and long lines may be folded

MAX_UNPACKED = 64 << 20


def new() -> bytes:
    """A marker."""
    return bytes(secrets.SystemRandom().sample(ALPHABET, SIZE))


class Keys:
    """Makes keys of any length that carry the marker, no two of them equal, each with DES parity
    and without a repeated DES key.
    """

    def __init__(self, marker: bytes) -> None:
        self._marker = marker
        self._counter = itertools.count(1)

    def key(self, length: int) -> bytes:
        """``length`` bytes."""
        if length < BLOCK:
            raise ValueError(f"a key of {length} bytes cannot carry the marker")
        blocks = (self._marker + self._count() for dummy in range(-(-length // BLOCK)))
        return b"".join(blocks)[:length]

    def _count(self) -> bytes:
        number = next(self._counter)
        return bytes((number >> 7 << 1 & 0xFF, number << 1 & 0xFF)).translate(ODD)


def forms(marker: bytes) -> dict[str, bytes]:
    """Name of a notation: regular expression that finds the marker in it."""
    digits = [f"{byte:02x}".encode() for byte in marker]
    hexes = {"lower": marker.hex().encode(), "upper": marker.hex().upper().encode()}
    found = {
        "raw": re.escape(marker),
        "latin1_as_utf8": re.escape(marker.decode("latin-1").encode("utf-8")),
        "hex": b"(?i:" + BETWEEN_HEX.join(digits) + b")",
        "decimal": rb"(?<!\d)" + BETWEEN_DECIMAL.join(str(byte).encode() for byte in marker),
        "octal": BETWEEN_OCTAL.join(f"{byte:03o}".encode() for byte in marker),
    }
    for name, data in {"": marker, **{f"_of_{case}_hex": text for case, text in hexes.items()}}.items():
        for offset in range(3):
            found[f"base64{name}_{offset}"] = _base64(data, offset)
    return found


def _base64(data: bytes, offset: int) -> bytes:
    """data in base64, standard and URL alphabet, as it appears ``offset`` bytes after a multiple of
    three: only characters that do not depend on neighbours.
    """
    text = base64.b64encode(bytes(offset) + data)
    first = -(-offset * 8 // 6)
    last = (offset + len(data)) * 8 // 6
    spellings = {ord("+"): rb"(?:[+-]|%2[bB])", ord("/"): rb"(?:[/_]|\\/|%2[fF])"}
    return WRAPPED.join(spellings.get(char, re.escape(bytes((char,)))) for char in text[first:last])


class Search:
    """Finds the marker in bytes, also inside gzip, zlib and zip data."""

    def __init__(self, marker: bytes) -> None:
        self._expression = re.compile(
            b"|".join(b"(?P<%s>%s)" % (name.encode(), form) for name, form in forms(marker).items())
        )

    def first(self, data: bytes) -> str:
        """Name of the notation in which the marker first occurs; empty for none."""
        return next((name for part in unpacked(data) if (name := self._plain(part))), "")

    def _plain(self, data: bytes) -> str:
        match = self._expression.search(data)
        return (match.lastgroup or "") if match else ""

    def context(self, data: bytes, around: int = 60) -> str:
        """Where it occurs, for the report, on one line and without what follows the marker; empty
        where it does only in packed data.
        """
        match = self._expression.search(data)
        return (
            data[max(0, match.start() - around) : match.start()].decode("utf-8", "replace") + "<KEY>" if match else ""
        )


def unpacked(data: bytes) -> t.Iterator[bytes]:
    """data itself, and its unpacked content."""
    yield data
    try:
        if data[:4] == b"PK\x03\x04":
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                for entry in archive.infolist():
                    if entry.file_size <= MAX_UNPACKED:
                        yield archive.read(entry)
        elif data[:2] == b"\x1f\x8b":
            yield gzip.GzipFile(fileobj=io.BytesIO(data)).read(MAX_UNPACKED)
        elif data[:2] in (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda"):
            yield zlib.decompressobj().decompress(data, MAX_UNPACKED)
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError):
        return
