# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Properties that hold for every input of the language, however broken. The fuzzer checks them, and
so does the replay of its corpus.

The first byte of an input selects how the rest is read (`KINDS`). The rest is text, or one byte per
word of the grammar (`tokens`)."""

from __future__ import annotations

import re
import time
import typing as t
from unittest import mock

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import IpsecError, Problems, TextError
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa import algorithms, model
from ansible_collections.ipsec.manual.plugins.module_utils._core.text import grammar, language, script, values
from ansible_collections.ipsec.manual.plugins.module_utils._core.text.fast_lines import PlainLines
from ansible_collections.ipsec.manual.tests.conformance.writing import text_of

# Seconds of processor time for one reading, and for each kilobyte of it; instrumented code is some
# ten times slower than this allows for.
_SECONDS, _SECONDS_PER_KB = 5.0, 0.5
_HEX = re.compile(r"[0-9a-fA-F]{16,}")
_LARGEST_NUMBER = (1 << 64) - 1

_KEY = "6e22b60f98ebd0b73324a4107b80cc9d"
_VALUES = f"""
    esp ah all 2 3 0x100 0x1001 0xffffffff 8bcd1407 12345678 0 1 4 6 17 32 41 255 256 4096
    4294967295 18446744073709551615 -1 010 0x10/0xff
    192.0.2.1 192.0.2.2 2001:db8::1 2001:db8::2 ::1 ::ffff:192.0.2.9 10.1.0.0/16 2001:db8::/32 0.0.0.0/0 224.0.0.1
    localhost
    udp mature transport tunnel fqdn mailbox prefix attr
    {_KEY} 0x{_KEY} {_KEY}/128 308c9d5d11316f73900c811691eaa6fb9561c2ee
    ca6eb4b0e134bb5664037d3011ed614d341d3635d40b050ec425edd1ff341431
    d41fb74470271826a8e7a80d343cc5aae9e2a7f05f13730d 6e22b60f98ebd0b7
"""
_MARKS = (" \\\n", "\n", " ", "\t", "\r\n", "#", '"', "\\", "\0", "/")


def tokens() -> tuple[str, ...]:
    """At most 256 pieces of text: every word of the grammar, values of each kind, and separators."""
    names = [row.name for row in algorithms.ALGORITHMS]
    return (*_MARKS, *grammar.COMMAND_BY_WORD, *grammar.BY_WORD, *names, *_VALUES.split())[:256]


TOKENS = tokens()


def _spelled(data: bytes) -> str:
    """A word for each byte, with blanks between words that would join."""
    return "".join(word if word in _MARKS else f"{word} " for word in (TOKENS[byte % len(TOKENS)] for byte in data))


def encode(text: str) -> bytes:
    """The bytes that `_spelled` turns into such a text, without words that are not tokens. For seeds."""
    pieces = re.findall(r" \\\n|\n|\S+", text)
    return bytes(TOKENS.index(piece) for piece in pieces if piece in TOKENS)


class _NoPlainLines(PlainLines):
    """A fast reader that reads nothing."""

    def take(self, lines: t.Sequence[str], start: int, sas: list[model.SecurityAssociation]) -> int:
        return start

    def read(self, words: list[str]) -> model.SecurityAssociation | None:
        return None


Answer = t.Union[language.Document, script.Script, IpsecError]


def _asked(read: t.Callable[[], t.Any]) -> Answer:
    """The result of reading, or an error of ours. The fuzzer looks for any other exception."""
    try:
        answer: Answer = read()
    except IpsecError as error:
        _check_error(error)
        return error
    return answer


def _check_error(error: IpsecError) -> None:
    """Each problem has a message and a place, and none has as many digits in a row as the shortest key."""
    for problem in error.problems if isinstance(error, Problems) else (error,):
        assert isinstance(problem, TextError), f"{type(problem).__name__} without line and column: {problem}"
        assert problem.message and problem.line >= 1 and problem.column >= 1, str(problem)
    for found in _HEX.findall(str(error)):
        assert found.isdigit() and int(found) <= _LARGEST_NUMBER, f"digits of a key may be in a message: {error}"


def _same(first: Answer, second: Answer) -> bool:
    return (
        str(first) == str(second)
        if isinstance(first, IpsecError) or isinstance(second, IpsecError)
        else first == second
    )


def _check_text(text: str | bytes, target: str) -> None:
    """The fast and the general reader agree on a text of SAs, and what was read is written and read back unchanged."""

    def read(again: str | bytes = text) -> language.Document:
        return language.parse(again, "text", target, allow_static_counter_mode=True)

    answer = _asked(read)
    with mock.patch.object(script, "PlainLines", _NoPlainLines):
        assert _same(answer, _asked(read)), "the fast reader reads something else"
    if isinstance(answer, language.Document):
        written = language.render(answer.sas, target=target)
        again = read(written)
        assert again.sas == answer.sas and not again.warnings, "what was written is read as something else"
        assert language.render(again.sas, target=target) == written, "what was written is not stable"
        hidden = language.render(answer.sas, hide_keys=True)
        for sa in answer.sas:
            assert not any(
                key and key.hex() in hidden for key in (sa.encryption_key, sa.authentication_key)
            ), "a hidden key is shown"


def _check_commands(read: t.Callable[[], script.Script], place: str) -> None:
    answer = _asked(read)
    if isinstance(answer, script.Script):
        written = text_of(answer.steps)
        again = script.parse(written, "text", place, allow_static_counter_mode=True)
        assert [step._replace(line=0) for step in again.steps] == [
            step._replace(line=0) for step in answer.steps
        ], "a command is read back as another"
        assert text_of(again.steps) == written, "what was written is not stable"


def _check_place(text: str | bytes, place: str) -> None:
    _check_commands(lambda: script.parse(text, "text", place, allow_static_counter_mode=True), place)


def _check_words(text: str | bytes) -> None:
    words = (text if isinstance(text, str) else text.decode("utf-8", "surrogateescape")).split("\n")
    _check_commands(lambda: script.parse_words(words, allow_static_counter_mode=True), grammar.LINE)


def _check_values(text: str | bytes) -> None:
    """Single words, as in the options of modules."""
    word = text if isinstance(text, str) else text.decode("utf-8", "surrogateescape")
    readers: tuple[t.Callable[[str, str], t.Any], ...] = (
        values.parse_spi,
        values.parse_installed_spi,
        values.parse_mark,
        values.parse_network,
        values.parse_key,
        lambda value, place: values.parse_number(value, 64, place),
        lambda value, place: values.parse_algorithm(algorithms.ENCRYPTION, value, place),
        lambda value, place: values.parse_algorithm(algorithms.AUTHENTICATION, value, place),
        lambda value, place: values.parse_identity(value, "name", place),
        model.pack_address,
    )
    for read in readers:
        try:
            read(word, "option")
        except IpsecError as error:
            assert error.place == "option" and error.message
            assert not any(
                not (found.isdigit() and int(found) <= _LARGEST_NUMBER) for found in _HEX.findall(str(error))
            ), f"a key may be in a message: {error}"


KINDS: tuple[t.Callable[[str | bytes], None], ...] = (
    lambda text: _check_text(text, grammar.LINUX),
    lambda text: _check_text(text, grammar.SOLARIS),
    lambda text: _check_place(text, grammar.FILE),
    lambda text: _check_place(text, grammar.PROMPT),
    _check_words,
    _check_values,
)


def check(data: bytes) -> None:
    """Raise AssertionError, or what the reader raises, if a property does not hold."""
    if not data:
        return
    kind, spelled = divmod(data[0] % (2 * len(KINDS)), 2)
    text: str | bytes = _spelled(data[1:]) if spelled else data[1:]
    began = time.process_time()
    KINDS[kind](text)
    took = time.process_time() - began
    assert took < _SECONDS + _SECONDS_PER_KB * len(text) / 1024, f"{took:.1f} s for {len(text)} characters"
