# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import gzip
import io
import json
import random
import typing as t
import urllib.parse
import zipfile
import zlib

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core.sa import keys
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.algorithms import ALGORITHMS, Algorithm
from ansible_collections.ipsec.manual.tests.leak import marker

Notation = t.Callable[[bytes], bytes]


def _zip(data: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("module.py", data.hex())
    return packed.getvalue()


NOTATIONS: dict[str, Notation] = {
    "raw": lambda key: key,
    "hex": lambda key: key.hex().encode(),
    "upper-case hex": lambda key: key.hex().upper().encode(),
    "hex with 0x": lambda key: b"0x" + key.hex().encode(),
    "hex with colons": lambda key: key.hex(":").encode(),
    "hex of a dump": lambda key: key.hex(" ", 4).encode(),
    "hex over many lines": lambda key: key.hex(" ", 1).replace(" ", "\n ").encode(),
    "C array": lambda key: ", ".join(f"0x{byte:02X}" for byte in key).encode(),
    "repr of bytes": lambda key: repr(key).encode(),
    "repr of repr": lambda key: repr(repr(key)).encode(),
    "repr of surrogates": lambda key: repr(key.decode("ascii", "surrogateescape")).encode(),
    "JSON": lambda key: json.dumps(key.decode("latin-1")).encode(),
    "UTF-8 of Latin-1": lambda key: key.decode("latin-1").encode(),
    "list of numbers": lambda key: repr(list(key)).encode(),
    "octal": lambda key: "".join(f"\\{byte:03o}" for byte in key).encode(),
    "URL": lambda key: urllib.parse.quote(key).encode(),
    "base64": base64.b64encode,
    "base64, one byte later": lambda key: base64.b64encode(b"?" + key),
    "base64, two bytes later": lambda key: base64.b64encode(b"??" + key),
    "base64 for URLs": base64.urlsafe_b64encode,
    "folded base64": lambda key: base64.encodebytes(bytes(50) + key),
    "base64 of a text with the hex": lambda key: base64.b64encode(f"encrkey {key.hex()} authalg".encode()),
    "base64 of a text with the upper-case hex": lambda key: base64.b64encode(f"encrkey  {key.hex().upper()}".encode()),
    "gzip": gzip.compress,
    "zlib": zlib.compress,
    "zip": _zip,
}


@pytest.mark.parametrize("notation", NOTATIONS)
def test_the_marker_is_found_in_every_notation(notation: str) -> None:
    for pattern in [marker.new() for dummy in range(25)]:
        key = marker.Keys(pattern).key(32)
        assert marker.Search(pattern).first(NOTATIONS[notation](key)), (notation, pattern.hex())


@pytest.mark.parametrize("notation", NOTATIONS)
def test_another_key_is_not_found(notation: str) -> None:
    search = marker.Search(marker.new())
    other = random.Random(1)
    assert not any(search.first(NOTATIONS[notation](other.randbytes(32))) for dummy in range(1000))


def test_a_piece_of_a_key_is_found() -> None:
    pattern = marker.new()
    key = marker.Keys(pattern).key(64)
    search = marker.Search(pattern)
    assert all(search.first(key[start : start + 14].hex().encode()) for start in range(len(key) - 13))


@pytest.mark.parametrize("algorithm", [row for row in ALGORITHMS if row.key_bits], ids=lambda row: str(row.name))
def test_keys_are_good_ones_for_every_algorithm(algorithm: Algorithm) -> None:
    pattern = marker.new()
    maker = marker.Keys(pattern)
    made = [
        maker.key(bits // 8) for bits in algorithm.material_bits for dummy in range(300) if bits >= 8 * marker.BLOCK
    ]
    assert made
    assert len(set(made)) == len(made)
    for key in made:
        assert keys.problem(algorithm, key) == ""
        assert keys.set_parity(algorithm, key) == key
        assert marker.Search(pattern).first(key)
