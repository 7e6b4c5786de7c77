# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The text form of SAs: the command language of Solaris' ``ipseckey`` and of its file
``ipseckeys``, read; `render` writes it.

One table, `grammar.KEYWORDS`, says what every word means; both follow it. What ipseckey does
silently and to the user's harm (cutting numbers and keys, filling up keys, swallowing lines, losing
text after quotes) is refused here with line and column. No message ever shows a key."""

from __future__ import annotations

import functools
import re
import typing as t

from ..collector import keep, no_collection
from ..errors import InputError, TextError, raise_all, shown
from ..sa import checks, model
from ..sa.model import Encapsulation, Lifetimes, SecurityAssociation, Selector
from .fast_lines import PlainLines, is_ordinary
from .grammar import (
    ADDRESS,
    ADDRESS6,
    ALL,
    AUTHENTICATION,
    BLANKS,
    BY_WORD,
    CHOICE,
    COMMAND_BY_WORD,
    COMMAND_MAX,
    ENCRYPTION,
    EXTRA,
    EXTRA_KEYWORDS,
    FLAG,
    IDENTITY,
    INNER_FIELDS,
    KEY,
    KEYWORDS,
    LINE_MAX,
    LINUX,
    MARK,
    NAT_KEYWORDS,
    NAT_PORT,
    NETWORK,
    NETWORK6,
    NUMBER,
    OURS,
    PROBLEMS_MAX,
    READ_ONLY_KEYWORDS,
    SOLARIS,
    SPI,
    TARGETS,
    TEXT,
    Keyword,
)
from .render import in_keywords, refusals, render
from .values import (
    parse_algorithm,
    parse_identity,
    parse_key,
    parse_mark,
    parse_network,
    parse_number,
    parse_spi,
    parse_type,
    read_spi,
    resolve,
    unsigned,
)

__all__ = [
    "Document",
    "LINUX",
    "SOLARIS",
    "TARGETS",
    "parse",
    "parse_key",
    "parse_mark",
    "parse_network",
    "parse_number",
    "parse_spi",
    "refusals",
    "render",
]


class Document(t.NamedTuple):
    """What a text says. ``lines[i]`` is the line, from 1, on which ``sas[i]`` begins.

    ``warnings`` are pairs of a sentence about how the text was understood, and the place. What is
    unwise about an SA itself is asked of `checks.warnings`."""

    sas: tuple[SecurityAssociation, ...]
    lines: tuple[int, ...]
    warnings: tuple[tuple[str, str], ...]


def parse(
    text: str | bytes,
    name: str = "text",
    target: str = LINUX,
    resolve_names: bool = False,
    allow_static_counter_mode: bool = False,
) -> Document:
    """The SAs that the text adds, checked each alone (`checks.problems`) and together (`checks.conflicts`).

    ``name`` names the text in messages. ``target`` is the system the text is for: "solaris" refuses
    what its ipseckey cannot do. ``resolve_names`` takes host names as addresses, which trusts the
    naming system. Raises TextError, or Problems with all that is wrong."""
    if target not in TARGETS:
        raise InputError(f"unknown target {shown(target)}", "target", f"Choose one of: {', '.join(TARGETS)}.")
    reader = Reader(name, target, resolve_names, allow_static_counter_mode)
    reader.read_all(text)
    return Document(tuple(reader.sas), tuple(reader.lines), tuple(reader.warnings))


# A quoted word with what follows it, or a plain word. What the quotes hold ends at the line's end at the latest.
_WORD = re.compile(r'"(?P<quoted>[^"]*)(?P<close>"?)(?P<after>[^ \t\r\f\v]*)|(?P<plain>[^ \t\r\f\v]+)')
# Stands for a word that was refused as such; what it means is not asked. No word of a text can be this.
REFUSED = "\0"
_STRANGE = re.compile(r"[^ -~\t\r\f\v]")

# Where a problem of `checks.problems` points: the first of these fields that the command
# gives. None of them may have been refused before, else the problem is only a consequence.
_CONCERNS: dict[str, tuple[str, ...]] = {
    "source": ("source", "destination"),
    "encryption_algorithm": ("encryption", "authentication"),
    "encryption_key": ("encryption_key", "encryption"),
    "authentication_algorithm": ("authentication", "encryption"),
    "authentication_key": ("authentication_key", "authentication"),
    "icv_bits": ("icv_bits", "authentication", "encryption"),
    "esn": ("esn", "replay_window"),
    "selector": (
        "inner_destination",
        "inner_source",
        "protocol",
        "inner_protocol",
        "source_port",
        "destination_port",
        "destination",
    ),
    "nat_local": ("nat_local", "destination"),
    "nat_remote": ("nat_remote", "destination"),
    "selector source": ("inner_source",),
    "selector destination": ("inner_destination",),
    "selector protocol": ("protocol", "inner_protocol"),
}


class Word(t.NamedTuple):
    text: str
    line: int
    column: int


def _word_problem(found: re.Match[str]) -> tuple[int, str, str] | None:
    """Why a match of `_WORD` is no word: where in it, what, and the fix; None for a good one. No
    message for a NUL byte, which its line reports.
    """
    text = found["plain"]
    if text is None:
        text = found["quoted"]
        if not found["close"]:
            return 0, "the quotes are not closed on this line", 'Add the closing ".'
        if found["after"]:
            return (
                found.start("after") - found.start(),
                "text stands right after the closing quotes; ipseckey drops it silently",
                "Put a blank between, or remove it.",
            )
        if not text:
            return (
                0,
                "empty quotes are no word; ipseckey takes the word after them instead",
                "Remove them, or write the value.",
            )
    elif '"' in text:
        return text.index('"'), "quotes stand inside a word", "Quote whole words only."
    strange = _STRANGE.search(found[0])
    if strange is None:
        return None
    code = ord(strange[0])
    what = f"the byte 0x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"the character U+{code:04X}"
    message = f"{what} stands where only ASCII is allowed" if code else ""
    return strange.start(), message, "Type the line again; blanks copied from a document may be no blanks."


class Words(t.NamedTuple):
    """The words of one command. ``broken``: a problem of its lines was reported, so what seems to
    be missing may not be.
    """

    words: list[Word]
    broken: bool


class Given(t.NamedTuple):
    """The values of one command by field, the word each stands at, and the fields whose value was refused."""

    values: dict[str, t.Any]
    words: dict[str, Word]
    refused: set[str]


class Reader:
    """Reads one text, collecting SAs, problems and warnings."""

    def __init__(self, name: str, target: str, resolve_names: bool, allow_static_counter_mode: bool) -> None:
        self.name = name
        self.target = target
        self.resolve_names = resolve_names
        self.allow_static_counter_mode = allow_static_counter_mode
        self.sas: list[SecurityAssociation] = []
        self.lines: list[int] = []
        self.problems: list[TextError] = []
        self.warnings: list[tuple[str, str]] = []
        self._resolved: dict[tuple[str, bool], bytes] = {}

    def problem(self, message: str, line: int, column: int, hint: str = "") -> None:
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(TextError(message, self.name, line, column, hint))

    def warn(self, message: str, word: Word, reading: str = "") -> None:
        place = f"{self.name}, line {word.line}, column {word.column}"
        self.warnings.append((message, f"{place}: {reading}" if reading else place))

    def read_all(self, text: str | bytes) -> None:
        """Read a text. Raises all its problems, in order."""
        with no_collection():
            self._read(text.decode("utf-8", "surrogateescape") if isinstance(text, bytes) else text)
            keep(self.sas)
        self.problems.sort(key=lambda problem: (problem.line, problem.column))
        raise_all(self.problems)

    def _read(self, text: str) -> None:
        if text.startswith("\ufeff"):
            self.problem(
                "the text begins with a byte-order mark, which ipseckey takes for a part of the first word",
                1,
                1,
                "Save it as UTF-8 without the mark.",
            )
            text = " " + text[1:]
        lines = text.split("\n")
        if not lines[-1]:
            lines.pop()
        plain_lines = PlainLines()
        ordinary = is_ordinary(text, LINE_MAX[self.target], lines)
        number = 0
        while number < len(lines):
            if ordinary:
                start, number = number, plain_lines.take(lines, number, self.sas)
                self.lines.extend(range(start + 1, number + 1))
                if number == len(lines):
                    break
            following, command = self._command(lines, number)
            if command.words:
                words = [word.text for word in command.words]
                known_warnings = len(self.warnings)
                sa = None if command.broken else plain_lines.read(words[:])
                if sa is None:
                    sa = self._run(command)
                    if sa is not None and len(self.warnings) == known_warnings:
                        plain_lines.learn(words, sa)
                if sa is not None:
                    self.sas.append(sa)
                    self.lines.append(command.words[0].line)
            number = following
            if len(self.problems) >= PROBLEMS_MAX:
                message = f"{PROBLEMS_MAX} problems were found; the rest of the text was not looked at"
                self.problems.append(TextError(message, self.name, number, 1, "Mend those first."))
                return
        self._check_together(lines)

    # Lines to words

    def _command(self, lines: t.Sequence[str], start: int) -> tuple[int, Words]:
        """The command that begins on line ``start`` (from 0), and where the next one may begin. No
        words for a blank line and a comment.
        """
        words: list[Word] = []
        known_problems = len(self.problems)
        length = 0
        number = start
        while number < len(lines):
            line = lines[number]
            number += 1
            length += self._check_line(line, number) + 1
            content, continued = self._continuation(line, number)
            content = content[: LINE_MAX[self.target]]
            if content.lstrip(BLANKS).startswith("#"):
                if not words:
                    self._check_comment(lines, number, continued)
                    return number, Words([], False)
                column = len(content) - len(content.lstrip(BLANKS)) + 1
                self.problem(
                    "a comment stands inside a continued command; ipseckey takes its words for part of the command",
                    number,
                    column,
                    "Move it above the command.",
                )
            else:
                words += self._words(content, number)
            if not continued:
                break
        else:
            if words:
                self.problem(
                    "the text ends inside a continued command, which ipseckey drops silently",
                    number,
                    max(1, len(lines[-1].rstrip(BLANKS))),
                    "Remove the last backslash.",
                )
        if words and length > COMMAND_MAX[self.target]:
            message = f"the command has {length} characters over all its lines, more than {COMMAND_MAX[self.target]}"
            self.problem(
                message,
                words[0].line,
                words[0].column,
                "No command needs so many; a backslash may end a line where none is meant.",
            )
            words = []
        return number, Words(words, len(self.problems) > known_problems)

    def _check_line(self, line: str, number: int) -> int:
        """The line's length in bytes, after what no line may have was reported."""
        size = len(line) if line.isascii() else len(line.encode("utf-8", "surrogatepass"))
        if size > LINE_MAX[self.target]:
            self.problem(
                f"the line has {size} characters, more than {LINE_MAX[self.target]}",
                number,
                LINE_MAX[self.target] + 1,
                "Split it: a line that ends in a backslash goes on in the next.",
            )
        nul = line.find("\0")
        if nul >= 0:
            self.problem(
                "the line has a NUL byte, after which ipseckey ignores the rest of the line",
                number,
                nul + 1,
                "Remove it; the text may be damaged.",
            )
        return size

    def _continuation(self, line: str, number: int) -> tuple[str, bool]:
        """The line without its continuation mark, and whether it has one."""
        if line.endswith("\\"):
            return line[:-1], True
        stripped = line.rstrip(BLANKS)
        if stripped.endswith("\\") and not stripped.lstrip(BLANKS).startswith("#"):
            what = "a carriage return" if "\r" in line[len(stripped) :] else "a blank"
            self.problem(
                f"{what} stands after the backslash, so the command does not go on in the next line",
                number,
                len(stripped),
                "End the line with the backslash itself.",
            )
            return stripped[:-1], True
        return line, False

    def _check_comment(self, lines: t.Sequence[str], number: int, continued: bool) -> None:
        """Refuse a comment that hides what follows it."""
        line = lines[number - 1]
        following = lines[number].strip(BLANKS) if number < len(lines) else ""
        if continued and following and not following.startswith("#"):
            self.problem(
                "the comment ends in a backslash and so swallows the next line",
                number,
                len(line),
                "Remove the backslash.",
            )
        carriage_return = line.rstrip(BLANKS).find("\r")
        if carriage_return >= 0:
            self.problem(
                "a carriage return in the comment makes what follows it look like a line of its own",
                number,
                carriage_return + 1,
                "End lines with a newline.",
            )

    def _words(self, line: str, number: int) -> t.Iterator[Word]:
        for found in _WORD.finditer(line):
            column = found.start() + 1
            text = found["plain"] if found["plain"] is not None else found["quoted"]
            wrong = _word_problem(found)
            if wrong is not None:
                offset, message, hint = wrong
                if message:
                    self.problem(message, number, column + offset, hint)
                text = REFUSED
            yield Word(text, number, column)

    # Words to SAs

    def _run(self, command: Words) -> SecurityAssociation | None:
        first = command.words[0]
        row = COMMAND_BY_WORD.get(first.text)
        if first.text == REFUSED:
            return None
        if row is None:
            if first.text in BY_WORD and not command.broken:
                self.problem(
                    f"{first.text!r} is no command", first.line, first.column, "The line above may lack its backslash."
                )
            elif not command.broken:
                self.problem(
                    f"unknown command {shown_word(first.text)}",
                    first.line,
                    first.column,
                    "A text of SAs holds add commands only.",
                )
            return None
        if not row.read:
            self.problem(
                f"the command {row.name!r} ({row.help}) is not read here",
                first.line,
                first.column,
                "A text of SAs holds add commands only.",
            )
            return None
        return self._add(command)

    def _add(self, command: Words) -> SecurityAssociation | None:
        known_problems = len(self.problems)
        first = command.words[0]
        kind = command.words[1] if len(command.words) > 1 else first
        protocol = parse_type(kind.text) or "" if kind is not first else ""
        rest = 2
        if not protocol and kind.text != REFUSED:
            missing = kind is first or kind.text in BY_WORD
            rest = 1 if missing else 2
            what = "the SA type is missing" if missing else f"unknown SA type {shown_word(kind.text)}"
            self.problem(what, kind.line, kind.column, "Write add esp or add ah.")
        given = self._attributes(command.words[rest:])
        given.words["type"] = kind
        self._check_combination(given, first, command.broken)
        if self.target == SOLARIS:
            self._check_order(given)
        if protocol == model.AH and given.values.get("encryption") == "":
            word = given.words["encryption"]
            self.problem(
                "AH takes no encryption algorithm, not even none", word.line, word.column, "Take encr_alg away."
            )
        if protocol:
            sa = self._build(protocol, given)
            for wrong in checks.problems(sa, self.allow_static_counter_mode) + refusals(sa, self.target):
                concerned = _CONCERNS.get(wrong.place, (wrong.place,))
                certain = not command.broken or all(field in given.words for field in concerned)
                if certain and not given.refused.intersection(concerned):
                    word = next(
                        (given.words[field] for field in concerned if field in given.words), given.words["type"]
                    )
                    self.problem(in_keywords(wrong.message), word.line, word.column, in_keywords(wrong.hint))
            if len(self.problems) == known_problems and not command.broken:
                return sa
        return None

    def _attributes(self, words: t.Sequence[Word], lowest_spi: int = model.SPI_MIN) -> Given:
        """What the words give; ``lowest_spi`` is 1 where they name an SA that is there, whoever made it."""
        given = Given({}, {}, set())
        position = 0
        while position < len(words):
            word = words[position]
            position += 1
            row = BY_WORD.get(word.text)
            if row is None:
                if word.text != REFUSED:
                    self._unknown_keyword(word)
                while position < len(words) and words[position].text not in BY_WORD:
                    position += 1
                continue
            values = words[position : position + row.values]
            if row.kind not in (TEXT, IDENTITY):
                values = [value for value in values if value.text not in BY_WORD]
            position += len(values)
            if len(values) < row.values:
                before = f" before {words[position].text!r}" if position < len(words) else ""
                hint = (
                    f"Write: {word.text} {' or '.join(row.choices)}."
                    if row.choices
                    else f"Write: {word.text} and the {row.help}."
                )
                self.problem(f"{row.name} lacks its value{before}", word.line, word.column, hint)
                given.refused.add(row.field)
            elif row.field in given.words and not (row.kind == FLAG and given.values.get(row.field) == word.text):
                earlier = given.words[row.field]
                what = "is given twice, first" if row.kind != FLAG else f"contradicts {earlier.text}"
                self.problem(
                    f"{word.text} {what} on line {earlier.line}, column {earlier.column}",
                    word.line,
                    word.column,
                    "Keep one of them.",
                )
            elif row.known == OURS and self.target == SOLARIS:
                self.problem(
                    f"{word.text} is no keyword of Solaris",
                    word.line,
                    word.column,
                    "Remove it, or write for target linux.",
                )
                given.words[row.field] = word
                given.refused.add(row.field)
            else:
                given.words[row.field] = values[0] if values else word
                if any(value.text == REFUSED for value in values):
                    given.refused.add(row.field)
                    continue
                try:
                    given.values[row.field] = self._value(row, word, values, lowest_spi)
                except InputError as wrong:
                    self.problem(wrong.message, given.words[row.field].line, given.words[row.field].column, wrong.hint)
                    given.refused.add(row.field)
        return given

    def _unknown_keyword(self, word: Word) -> None:
        if word.text.startswith("#"):
            self.problem(
                "a comment cannot follow a command on its line", word.line, word.column, "Put it on a line of its own."
            )
        elif word.text in READ_ONLY_KEYWORDS:
            self.problem(f"{word.text} cannot be set", word.line, word.column, "Remove it and its value.")
        elif word.text in COMMAND_BY_WORD:
            self.problem(
                f"a command, {word.text}, stands inside a command",
                word.line,
                word.column,
                "Begin it on a line of its own.",
            )
        else:
            self.problem(
                f"unknown keyword {shown_word(word.text)}",
                word.line,
                word.column,
                nearest(word.text, tuple(BY_WORD), _NO_NEAREST),
            )

    def _value(self, row: Keyword, keyword: Word, values: t.Sequence[Word], lowest_spi: int) -> t.Any:
        """The value of one attribute, in the form `_build` wants. Raises InputError."""
        if row.kind == FLAG:
            return keyword.text
        text = values[0].text
        if row.kind in (SPI, NUMBER, ENCRYPTION, AUTHENTICATION):
            text = unsigned(text)
        if row.kind == SPI:
            spi, reading, advice = read_spi(text, "", lowest_spi)
            if reading and self.target == SOLARIS and not text.isdigit() and text[:2] not in ("0x", "0X"):
                raise InputError(f"{shown(text)} is no number to Solaris", "", f"Write 0x{spi:08x}.")
            if advice:
                self.warn(advice, values[0], reading)
            return spi if row.known == ALL else f"0x{spi:08x}"
        if row.kind in (ADDRESS, ADDRESS6):
            return self._address(row, values[0])
        if row.kind in (NETWORK, NETWORK6):
            if row.kind == NETWORK6 and ":" not in text:
                raise InputError(
                    f"{shown(text)} is no IPv6 address",
                    "",
                    f"{keyword.text} takes IPv6 only; {keyword.text[:-1]} takes both.",
                )
            return parse_network(text)
        if row.kind == NUMBER:
            number = parse_number(text, row.bits)
            return number if row.known != EXTRA else str(number)
        if row.kind == KEY:
            return parse_key(text)
        if row.kind in (ENCRYPTION, AUTHENTICATION):
            name = parse_algorithm(row.kind, text)
            known = model.algorithm_of(name)
            if self.target == SOLARIS and known is not None and text.lower() == known.linux:
                raise InputError(f"{shown(text)} is no name to Solaris", "", f"Write {name}.")
            return name
        if row.kind == MARK:
            return parse_mark(text)
        if row.kind == IDENTITY:
            return parse_identity(text, values[1].text)
        if row.kind == CHOICE and text not in row.choices:
            raise InputError(f"{row.name} cannot be {shown(text)}", "", f"Choose {' or '.join(row.choices)}.")
        return text

    def _address(self, row: Keyword, word: Word) -> bytes:
        if row.kind == ADDRESS6 and ":" not in word.text and re.fullmatch(r"[0-9.]*", word.text):
            raise InputError(
                f"{shown(word.text)} is no IPv6 address", "", f"{row.name} takes IPv6 only; {row.name[:-1]} takes both."
            )
        try:
            return model.pack_address(word.text)
        except InputError as wrong:
            if not self.resolve_names:
                raise
            if ":" in word.text:
                raise InputError(wrong.message, "", "Write the address itself.") from None
        asked = (word.text, row.kind == ADDRESS6)
        if asked not in self._resolved:
            self._resolved[asked] = resolve(*asked)
        address = self._resolved[asked]
        reading = f"{word.text} is {model.format_address(address)}"
        self.warn("a host name was taken on the word of the naming system; write the address itself", word, reading)
        return address

    def _check_combination(self, given: Given, command: Word, broken: bool) -> None:
        """What must or must not stand together, as far as an SA alone cannot tell."""

        def wrong(field: str, message: str, hint: str) -> None:
            if field not in given.refused:
                self.problem(message, given.words[field].line, given.words[field].column, hint)

        for field, hint in (
            ("spi", "Add: spi 0x and 8 hexadecimal digits."),
            ("destination", "Add: dst and the address of the receiving host."),
        ):
            if field not in given.words and field not in given.refused:
                given.refused.add(field)
                if not broken:
                    self.problem(
                        f"the SA has no {'dst' if field == 'destination' else field}",
                        command.line,
                        command.column,
                        hint,
                    )
        values = given.values
        tunnel = _is_tunnel(values)
        for field, row in NAT_KEYWORDS.items():
            if field in given.words and "encapsulation" not in given.words and "encapsulation" not in given.refused:
                wrong(field, f"{row.name} needs encap udp", "Add: encap udp.")
            if values.get(field) == 0:
                wrong(field, "0 is no UDP port", "Choose 1 to 65535; 4500 is usual.")
        if "encapsulation" in given.words and not any(field in given.words for field in NAT_KEYWORDS):
            wrong(
                "encapsulation",
                "encap udp needs a NAT address or port",
                f"Add one of: {', '.join(row.name for row in NAT_KEYWORDS.values())}.",
            )
        for field in ("source_port", "destination_port"):
            if tunnel and values.get(field):
                wrong(
                    field,
                    "a port of the outer header says nothing in tunnel mode",
                    "Use isport and idport for the traffic inside.",
                )
        if tunnel and values.get("protocol") not in (None, 0, 4, 41):
            wrong(
                "protocol",
                f"protocol {values['protocol']} is no tunnel",
                "Write 4 (IPv4 inside) or 41 (IPv6 inside), and iproto for the traffic inside.",
            )
        inner = {len(values[field][0]) for field in ("inner_source", "inner_destination") if field in values}
        if tunnel and inner == {16 if values.get("protocol") == 4 else 4} and values.get("protocol") in (4, 41):
            wrong(
                "protocol",
                "the protocol contradicts the inner addresses",
                "Write 4 for IPv4 inside, 41 for IPv6 inside, or leave it away.",
            )
        any_of = [
            field
            for field in ("inner_source", "inner_destination")
            if values.get(field, (b"1",)) in ((bytes(4), 0), (bytes(16), 0))
        ]
        traffic = any(values.get(field) for field in ("inner_protocol", "inner_source_port", "inner_destination_port"))
        alone = (
            tunnel
            and any_of
            and len(any_of) == len([field for field in ("inner_source", "inner_destination") if field in values])
        )
        if (
            alone
            and "destination" in values
            and inner != {len(values["destination"])}
            and (traffic or self.target == SOLARIS)
        ):
            wrong(
                any_of[0],
                "any address of the other family than that of dst cannot be said",
                "Name the networks inside.",
            )
        for outer, within in (
            ("protocol", "inner_protocol"),
            ("source_port", "inner_source_port"),
            ("destination_port", "inner_destination_port"),
        ):
            if not tunnel and outer in given.words and within in given.words:
                wrong(
                    within,
                    "the traffic is described twice",
                    "Keep one of both; in transport mode there is no inner header.",
                )
        for field, message, hint in limit_problems(values, ("alloc",)):
            wrong(field, message, hint)
        if int(values.get("replay_value", "0")) >> 32 and "esn" not in given.words:
            wrong(
                "replay_value",
                "without esn a sequence number has 32 bits; ipseckey would cut it silently",
                "Start from a smaller one.",
            )
        if values.get("reserved_bits", "0") != "0":
            wrong(
                "reserved_bits",
                "a fixed initial value is for test vectors only",
                "Remove it, and the value from the end of encrkey.",
            )
            given.refused.update(("encryption", "encryption_key"))

    def _check_order(self, given: Given) -> None:
        """What Solaris refuses, or is killed by, for where it stands, and what its kernel refuses
        for what is not there. ``given.words`` is in order.
        """
        order = {field: place for place, field in enumerate(given.words)}
        for field, others, message, hint in _SOLARIS_ORDER:
            before = [order[other] < order[field] for other in others if other in order] if field in order else []
            if before and not any(before):
                self.problem(message, given.words[field].line, given.words[field].column, hint)
        if "encryption_key" in order and order["encryption_key"] < order.get("reserved_bits", 0):
            word = given.words["reserved_bits"]
            self.problem(
                "Solaris takes reserved_bits before encrkey only", word.line, word.column, "Put it before encrkey."
            )
        inner = [field for field in ("inner_source", "inner_destination") if field in order]
        if len(inner) == 1 and len(given.values.get(inner[0], (b"", 0))[0]) == 4:
            word = given.words[inner[0]]
            self.problem(
                "Solaris takes one inner address of IPv4 for no tunnel",
                word.line,
                word.column,
                "Give both isrc and idst.",
            )

    def _build(self, protocol: str, given: Given) -> SecurityAssociation:
        """The SA in normal form. Refused fields are left out, a refused identity is filled with
        values that cause no further problem.
        """
        values = given.values
        source = values.get("source", b"")
        destination = values.get("destination") or bytes(len(source or b"1234") - 1) + b"\1"
        if "destination" in given.refused:
            destination = bytes(len(source or b"1234") - 1) + b"\1"
        fields: dict[str, t.Any] = {
            field: values[field]
            for field in (
                "encryption",
                "encryption_key",
                "authentication",
                "authentication_key",
                "icv_bits",
                "replay_window",
                "reqid",
                "mark",
                "if_id",
            )
            if field in values
        }
        direction = values.get("direction", "")
        return model.build(
            protocol,
            values.get("spi", model.SPI_MIN),
            destination,
            source,
            mode=model.TUNNEL if _is_tunnel(values) else model.TRANSPORT,
            esn="esn" in values,
            selector=_selector(values),
            encapsulation=_encapsulation(values, direction) if "encapsulation" in values else None,
            lifetimes=Lifetimes(*(values.get(field, 0) for field in Lifetimes._fields)),
            direction=direction,
            extra=tuple(
                sorted(
                    (field, value)
                    for field, value in values.items()
                    if field in EXTRA_KEYWORDS and (field, value) != ("reserved_bits", "0")
                )
            ),
            **fields,
        )

    def _conflicts(self) -> t.Iterator[checks.Conflict]:
        return checks.conflicts(self.sas)

    def _check_together(self, lines: t.Sequence[str]) -> None:
        for clash in self._conflicts():
            dummy, command = Reader("", self.target, False, False)._command(lines, self.lines[clash.second] - 1)
            wanted = {row.name for row in KEYWORDS if row.field == clash.field}
            word = next(
                (value for keyword, value in zip(command.words, command.words[1:]) if keyword.text in wanted),
                command.words[0],
            )
            message, hint = checks.conflict_message(self.sas, clash, f"line {self.lines[clash.first]}")
            self.problem(message, word.line, word.column, hint)
            if len(self.problems) >= PROBLEMS_MAX:
                return


# A field, the fields one of which must stand before it in text for Solaris, and what to say where none does.
_LABELS_ALONE = "Solaris takes it only after a label"
_SOLARIS_ORDER = (
    (
        "direction",
        ("spi", "pair-spi", "replay_window", "state", "authentication", "encryption", "encapsulation"),
        "ipseckey of Solaris is killed by a direction that stands first",
        "Put it last.",
    ),
    ("outer-label", ("label",), _LABELS_ALONE, "Put label before it."),
    ("implicit-label", ("label",), _LABELS_ALONE, "Put label before it."),
)


def limit_problems(values: t.Mapping[str, t.Any], kinds: t.Sequence[str]) -> t.Iterator[tuple[str, str, str]]:
    """Soft limits of those kinds above their hard ones, and idle ones above both: field, message,
    hint. The kernel looks at idle only beside both others.
    """
    limits = {field: int(value) for field, value in values.items() if field.startswith(("soft_", "hard_", "idle_"))}
    yield from checks.soft_above_hard(limits, kinds)
    if not all(any(field.startswith(end) for field in limits) for end in ("soft_", "hard_")):
        return
    for kind in ("addtime", "usetime"):
        idle = limits.get(f"idle_{kind}", 0)
        lowest = min(
            (limit for end in ("soft", "hard") for limit in (limits.get(f"{end}_{kind}", 0),) if limit), default=idle
        )
        if idle > lowest:
            yield (
                f"idle_{kind}",
                f"the idle limit {idle} is above the limit {lowest} of soft_{kind} or hard_{kind}",
                "An idle SA ends before its time is up.",
            )


def _is_tunnel(values: t.Mapping[str, t.Any]) -> bool:
    if "mode" in values:
        return bool(values["mode"] == model.TUNNEL)
    return any(field in values for field in INNER_FIELDS)


def _selector(values: t.Mapping[str, t.Any]) -> Selector:
    """The traffic. In tunnel mode, protocol and ports without an i in front are those of the outer
    header, which an SA does not hold.
    """
    tunnel = _is_tunnel(values)
    traffic = (
        values.get(f"inner_{field}", 0 if tunnel else values.get(field, 0))
        for field in ("protocol", "source_port", "destination_port")
    )
    return Selector(*values.get("inner_source", (b"", 0)), *values.get("inner_destination", (b"", 0)), *traffic)


def _encapsulation(values: t.Mapping[str, t.Any], direction: str) -> Encapsulation:
    """Local is the source's side, except where the SA is inbound."""
    ports = [values.get(field, NAT_PORT) for field in ("nat_local_port", "nat_remote_port")]
    if direction == model.INBOUND:
        ports.reverse()
    return Encapsulation(ports[0], ports[1], values.get("nat_local", b""), values.get("nat_remote", b""))


def shown_word(word: str) -> str:
    """A word that stands where none of its kind is known: hidden unless it is short and looks like
    a word, since it may be part of a key.
    """
    digits = sum(char in "0123456789abcdefABCDEF" for char in word)
    if len(word) > 30 or (digits >= 8 and digits * 2 > len(word)) or (digits >= 4 and digits == len(word)):
        return f"(a word of {len(word)} characters, hidden since it may be part of a key)"
    return shown(word)


_NO_NEAREST = "Nothing is like it; keywords are spi, src, dst, encr_alg, encrkey, auth_alg, authkey and others."


@functools.lru_cache(maxsize=256)
def nearest(word: str, known: tuple[str, ...], otherwise: str) -> str:
    """A hint that names the known words most like ``word``, or says what stands in ``otherwise``."""
    import difflib  # only here, since a module starts for every task

    near = difflib.get_close_matches(word.lower(), known, 3, 0.6) if len(word) <= 30 else []
    return f"Nearest: {', '.join(near)}." if near else otherwise
