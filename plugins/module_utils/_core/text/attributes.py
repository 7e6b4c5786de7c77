# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Words to attributes: each keyword, its value, and the checks that need no other attribute."""

from __future__ import annotations

import re
import typing as t

from ..errors import InputError, nearest, shown
from ..sa import model
from . import grammar
from .grammar import Keyword
from .lexer import REFUSED, Report, Word
from .values import (
    is_unspecified_text,
    parse_algorithm,
    parse_identity,
    parse_key,
    parse_mark,
    parse_network,
    parse_number,
    read_spi,
    resolve,
    unsigned,
)


class Attributes(t.NamedTuple):
    """The attributes of one command by `Keyword.field`: their values, the word of each, in order,
    and the fields whose value was refused.
    """

    values: dict[str, t.Any]
    words: dict[str, Word]
    refused: set[str]


class AttributeReader:
    """Reads the attributes of one text's commands. ``resolve_names`` takes host names for addresses."""

    def __init__(self, target: str, resolve_names: bool, report: Report) -> None:
        self.target = target
        self.resolve_names = resolve_names
        self.report = report
        self._resolved: dict[tuple[str, bool], bytes] = {}

    def read(self, words: t.Sequence[Word], lowest_spi: int) -> Attributes:
        """``lowest_spi`` is 1 where the words name an installed SA, which another program may have added."""
        attributes = Attributes({}, {}, set())
        position = 0
        while position < len(words):
            word = words[position]
            position += 1
            row = grammar.BY_WORD.get(word.text)
            if row is None:
                if word.text != REFUSED:
                    self._unknown_keyword(word)
                while position < len(words) and words[position].text not in grammar.BY_WORD:
                    position += 1
                continue
            values = words[position : position + row.values]
            if row.kind not in (grammar.TEXT, grammar.IDENTITY):
                values = [value for value in values if value.text not in grammar.BY_WORD]
            position += len(values)
            if len(values) < row.values:
                before = f" before {words[position].text!r}" if position < len(words) else ""
                what = f" {' or '.join(row.choices)}" if row.choices else f" and the {row.help}"
                self.report.problem(f"{row.name} lacks its value{before}", word, f"Write: {word.text}{what}.")
                attributes.refused.add(row.field)
            else:
                self._add(attributes, row, word, values, lowest_spi)
        return attributes

    def _add(
        self, attributes: Attributes, row: Keyword, keyword: Word, values: t.Sequence[Word], lowest_spi: int
    ) -> None:
        """Add one attribute, or report why it cannot stand here."""
        field = row.field
        earlier = attributes.words.get(field)
        if earlier is not None and not (row.kind == grammar.FLAG and attributes.values.get(field) == keyword.text):
            what = "is given twice, first" if row.kind != grammar.FLAG else f"contradicts {earlier.text}"
            message = f"{keyword.text} {what} on line {earlier.line}, column {earlier.column}"
            self.report.problem(message, keyword, "Keep one of them.")
            return
        ours = row.known == grammar.OURS and self.target == grammar.SOLARIS
        word = values[0] if values and not ours else keyword
        attributes.words[field] = word
        try:
            if ours:
                raise InputError(
                    f"{keyword.text} is not a keyword of Solaris", "", "Remove it, or write for target linux."
                )
            if all(value.text != REFUSED for value in values):
                attributes.values[field] = self._value(row, keyword, values, lowest_spi)
                return
        except InputError as wrong:
            self.report.problem(wrong.message, word, wrong.hint)
        attributes.refused.add(field)

    def _unknown_keyword(self, word: Word) -> None:
        if word.text.startswith("#"):
            message, hint = "a comment cannot follow a command on its line", "Put it on a line of its own."
        elif word.text in grammar.READ_ONLY_KEYWORDS:
            message, hint = f"{word.text} cannot be set", "Remove it and its value."
        elif word.text in grammar.COMMAND_BY_WORD:
            message, hint = f"a command, {word.text}, stands inside a command", "Begin it on a line of its own."
        else:
            message = f"unknown keyword {shown_word(word.text)}"
            hint = nearest(word.text, tuple(grammar.BY_WORD), _NO_NEAREST)
        self.report.problem(message, word, hint)

    def _value(self, row: Keyword, keyword: Word, values: t.Sequence[Word], lowest_spi: int) -> t.Any:
        """The value of one attribute, in the form that `sa.build` wants. Raises InputError."""
        if row.kind == grammar.FLAG:
            return keyword.text
        text = values[0].text
        if row.kind == grammar.SPI:
            return self._spi(row, values[0], lowest_spi)
        if row.kind in (grammar.ADDRESS, grammar.ADDRESS6):
            return self._address(row, values[0])
        if row.kind in (grammar.NETWORK, grammar.NETWORK6):
            return self._network(row, values[0])
        if row.kind in (grammar.ENCRYPTION, grammar.AUTHENTICATION):
            return self._algorithm(row.kind, unsigned(text))
        if row.kind == grammar.IDENTITY:
            return parse_identity(text, values[1].text)
        return _VALUE_OF_TEXT[row.kind](row, text)

    def _spi(self, row: Keyword, word: Word, lowest: int) -> int | str:
        text = unsigned(word.text)
        spi, reading, advice = read_spi(text, "", lowest)
        if reading and self.target == grammar.SOLARIS and not text.isdigit() and text[:2] not in ("0x", "0X"):
            raise InputError(f"{shown(text)} is not a number on Solaris", "", f"Write 0x{spi:08x}.")
        if advice:
            self.report.warn(advice, word, reading)
        return spi if row.known == grammar.ALL else f"0x{spi:08x}"

    def _algorithm(self, kind: str, text: str) -> str:
        name = parse_algorithm(kind, text)
        known = model.algorithm_of(name)
        if self.target == grammar.SOLARIS and known is not None and text.lower() == known.linux:
            raise InputError(f"{shown(text)} is not an algorithm name on Solaris", "", f"Write {name}.")
        return name

    def _address(self, row: Keyword, word: Word) -> bytes:
        if row.kind == grammar.ADDRESS6 and re.fullmatch(r"[0-9.]*", word.text):
            raise _not_ipv6(row, word.text)
        try:
            return model.pack_address(word.text)
        except InputError as wrong:
            if not self.resolve_names:
                raise
            if ":" in word.text:
                raise InputError(wrong.message, "", "Write the address itself.") from None
        asked = (word.text, row.kind == grammar.ADDRESS6)
        if asked not in self._resolved:
            self._resolved[asked] = resolve(*asked)
        address = self._resolved[asked]
        reading = f"{word.text} is {model.format_address(address)}"
        self.report.warn("the name service chose this address; write the address itself", word, reading)
        return address

    def _network(self, row: Keyword, word: Word) -> tuple[bytes, int]:
        """A network. ipseckey saves /0 without the prefix length, and reads that as one address."""
        text = word.text
        if row.kind == grammar.NETWORK6 and ":" not in text:
            raise _not_ipv6(row, text)
        if self.target != grammar.SOLARIS and is_unspecified_text(text):
            self.report.warn("ipseckey saves every address like this; write /0", word, f"{text} is read as {text}/0")
            text += "/0"
        return parse_network(text)


def _not_ipv6(row: Keyword, text: str) -> InputError:
    return InputError(
        f"{shown(text)} is not an IPv6 address", "", f"{row.name} takes IPv6 only; {row.name[:-1]} takes both."
    )


def _number(row: Keyword, text: str) -> int | str:
    number = parse_number(unsigned(text), row.bits)
    return number if row.known != grammar.EXTRA else str(number)


def _choice(row: Keyword, text: str) -> str:
    if text not in row.choices:
        raise InputError(f"{row.name} cannot be {shown(text)}", "", f"Choose {' or '.join(row.choices)}.")
    return text


# The kinds whose value depends on nothing but its row and its one word.
_VALUE_OF_TEXT: dict[str, t.Callable[[Keyword, str], t.Any]] = {
    grammar.NUMBER: _number,
    grammar.KEY: lambda row, text: parse_key(text),
    grammar.MARK: lambda row, text: parse_mark(text),
    grammar.CHOICE: _choice,
    grammar.TEXT: lambda row, text: text,
}


def shown_word(word: str) -> str:
    """An unknown word for a message: hidden unless it is short and looks like a word, since it may
    be part of a key.
    """
    digits = sum(char in "0123456789abcdefABCDEF" for char in word)
    if len(word) > 30 or (digits >= 8 and digits * 2 > len(word)) or (digits >= 4 and digits == len(word)):
        return f"(a word of {len(word)} characters, hidden since it may be part of a key)"
    return shown(word)


_NO_NEAREST = "Nothing is like it; keywords are spi, src, dst, encr_alg, encrkey, auth_alg, authkey and others."
