# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What looks like a key: 64 bits or more in hexadecimal, with or without separators, or in base64.

A guard against mistakes, not a proof. In doubt it reports a key, but it admits the usual values of
options: addresses, SPIs, names, UUIDs, paths.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import re
import typing as t

_LARGEST_NUMBER = (1 << 64) - 1
# The shortest notation of a DES key: eight bytes in base64, without padding.
_SHORTEST = 11

# Decimal numbers below 128 bits do not match.
_HEX = re.compile(r"(?:0[xX])?(?=[0-9]*[a-fA-F]|[0-9]{32})[0-9a-fA-F]{16,}(?:/[0-9]*)?")
_BETWEEN_WORDS = re.compile(r"[\s\"',;:=|(){}\[\]<>\\]+")
_DIGEST = re.compile(r"[0-9a-f]{16}|[0-9a-f]{32}")

# Digits in each group: separators, and how many groups make a key. Fewer may be MAC addresses,
# SPIs, or the middle of a UUID.
_GROUPS: tuple[tuple[int, str, int], ...] = (
    (2, r"[\s:._-]|,\s?", 8),
    (4, r"[\s._-]", 4),
    (4, r":", 9),  # eight are an IPv6 address
    (8, r"_", 2),
    (8, r"[\s:.-]", 4),
    (16, r"[._-]", 2),
    (32, r"[._-]", 2),
)


def _grouped(digits: int, separators: str, groups: int) -> re.Pattern[str]:
    group = rf"(?:0[xX])?[0-9a-fA-F]{{{digits}}}"
    return re.compile(
        rf"(?<![0-9a-zA-Z]){group}(?P<gap>{separators}){group}(?:(?P=gap){group}){{{groups - 2},}}(?![0-9a-zA-Z])"
    )


_SEPARATED = tuple(itertools.starmap(_grouped, _GROUPS))
_LETTER = re.compile(r"[a-f]", re.I)

_BASE64 = re.compile(r"(?<![A-Za-z0-9+/_-])([A-Za-z0-9+/_-]{11,})(={0,2})(?![A-Za-z0-9+/_=-])")
_STANDARD = str.maketrans("-_", "+/")
_UNPADDED = 22  # characters, 128 bits
_CLASSES = ("[A-Z]+", "[a-z]+", "[0-9]+", "[+/]+")


def holds_key(value: t.Any, digests: bool = False) -> bool:
    """Whether a value that should not be secret looks like a key, or like text that contains one.

    With ``digests``, the value is a dictionary of digests by two addresses, as `digest.digest` returns
    it, and digests are not keys. A path may look like anything.
    """
    if isinstance(value, dict):
        return any(
            holds_key(name) or (holds_key(part) and not (digests and _is_digest(name, part)))
            for name, part in value.items()
        )
    if isinstance(value, (list, tuple)):
        return any(map(holds_key, value))
    if isinstance(value, int):
        return abs(value) > _LARGEST_NUMBER
    if not isinstance(value, str) or len(value) < _SHORTEST:
        return False
    return _encoded(value) or (not value.startswith("/") and _written_out(value))


def _is_digest(name: t.Any, value: t.Any) -> bool:
    return "|" in str(name) and isinstance(value, str) and bool(_DIGEST.fullmatch(value))


def _written_out(text: str) -> bool:
    """Whether the text contains a key in hexadecimal."""
    if any(map(_HEX.fullmatch, _BETWEEN_WORDS.split(text))):
        return True
    return any(
        _LETTER.search(re.sub("0[xX]", "", match[0]))
        for expression in _SEPARATED
        for match in expression.finditer(text)
    )


def _encoded(text: str) -> bool:
    """Whether the text contains a key in base64, as bytes or as hexadecimal digits."""
    return any(_is_encoded(match[1].translate(_STANDARD), match[2]) for match in _BASE64.finditer(text))


def _is_encoded(word: str, padding: str) -> bool:
    missing = "=" * (-len(word) % 4)
    try:
        data = base64.b64decode(word + missing, validate=True)
    except binascii.Error:
        return False
    # An encoder sets unused bits to zero; most names do not.
    if (padding and padding != missing) or base64.b64encode(data).decode("ascii") != word + missing:
        return False
    if data.isascii():
        return _written_out(data.decode("ascii"))
    runs = [len(re.findall(run, word)) for run in _CLASSES]
    if padding:
        return sum(map(bool, runs)) > 1
    # Without padding it may be a path or a name, whose capitals, digits and hyphens are grouped.
    is_mixed = all(runs[:2]) and sum(runs) >= 0.4 * len(word) and len(re.findall("[+/]", word)) <= len(word) / 8
    return len(word) >= _UNPADDED and is_mixed and not word.startswith("/")
