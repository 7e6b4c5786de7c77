# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The properties hold for the corpus, and they can fail."""

from __future__ import annotations

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import TextError
from ansible_collections.ipsec.manual.plugins.module_utils._core.text import language, script
from ansible_collections.ipsec.manual.tests.fuzz import corpus, properties

TEXT = b"add ah spi 0x1001 dst 192.0.2.2 auth_alg sha1 authkey 308c9d5d11316f73900c811691eaa6fb9561c2ee\n"


def test_every_input_of_the_corpus_holds() -> None:
    kept = corpus.kept()
    assert len(kept) > 100 and len(set(kept)) == len(kept)
    assert {data[0] % (2 * len(properties.KINDS)) for data in kept if data} == set(range(2 * len(properties.KINDS)))
    for data in kept:
        properties.check(data)


def test_every_conformance_case_holds_in_every_kind() -> None:
    for data in corpus.cases():
        properties.check(data)


def test_tokens_spell_a_command() -> None:
    text = "add esp spi 0x1001 dst 192.0.2.2 encr_alg aes-cbc encrkey 6e22b60f98ebd0b73324a4107b80cc9d"
    assert properties._spelled(properties.encode(text)).split() == text.split()


def raising(error: Exception):
    def instead(*dummy, **dummies):
        raise error

    return instead


@pytest.mark.parametrize(
    ("kind", "module", "name", "instead"),
    [
        (0, language, "parse", raising(KeyError("spi"))),
        (0, language, "parse", raising(TextError("authkey 308c9d5d11316f73900c", "text", 1, 1))),
        (2, language, "render", lambda sas, *dummy, **dummies: ""),
        (4, script, "parse", raising(RecursionError())),
        (6, properties, "text_of", lambda steps: "flush\n"),
    ],
)
def test_the_properties_find_what_the_fuzzer_looks_for(
    monkeypatch: pytest.MonkeyPatch, kind: int, module: object, name: str, instead: object
) -> None:
    monkeypatch.setattr(module, name, instead)
    with pytest.raises((AssertionError, KeyError, RecursionError)):
        properties.check(bytes([kind]) + TEXT)
