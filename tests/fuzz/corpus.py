# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The initial inputs: those in corpus.json, which the fuzzer kept as useful, and the conformance
cases in every kind.
"""

from __future__ import annotations

import hashlib
import json
import typing as t
from pathlib import Path

from ansible_collections.ipsec.manual.tests.fuzz import properties

KEPT = Path(__file__).with_name("corpus.json")
_CASES = Path(__file__).parents[1] / "conformance" / "ipseckey-cases.json"


def kept() -> list[bytes]:
    """The inputs in corpus.json, which has a string for each input and a character for each byte."""
    return [text.encode("latin-1") for text in json.loads(KEPT.read_text(encoding="ascii"))]


def keep(inputs: t.Iterable[bytes], path: Path = KEPT) -> None:
    texts = sorted({data.decode("latin-1") for data in inputs}, key=lambda text: (len(text), text))
    path.write_text("".join(("[\n", ",\n".join(map(json.dumps, texts)), "\n]\n")), encoding="ascii")


def cases() -> list[bytes]:
    """The texts of the conformance cases as text, and as tokens, in every kind."""
    texts = [case["input"] for case in json.loads(_CASES.read_text(encoding="utf-8"))["cases"]]
    kinds = range(len(properties.KINDS))
    return [
        bytes([2 * kind + spelled]) + (properties.encode(text) if spelled else text.encode())
        for text in texts
        if len(text) < 4000
        for kind in kinds
        for spelled in (0, 1)
    ]


def write(folder: Path, inputs: t.Iterable[bytes]) -> None:
    """Write a file for each input, named by its content as libFuzzer does."""
    folder.mkdir(parents=True, exist_ok=True)
    for data in inputs:
        (folder / hashlib.sha1(data, usedforsecurity=False).hexdigest()).write_bytes(data)
