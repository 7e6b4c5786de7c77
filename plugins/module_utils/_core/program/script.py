# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every command of the ipseckey language, as a file, a prompt and a command line give them.

`grammar.COMMANDS` says where each may stand and what follows it. SAs are read by `language`;
nothing is known here of how a command is carried out."""

from __future__ import annotations

import re
import typing as t

from ..collector import no_collection
from ..errors import InputError, TextError, shown
from ..sa import checks, model
from ..sa.model import Identity, Lifetimes, Mark, SecurityAssociation
from ..text.grammar import (
    ANY_TYPE,
    ANY_TYPE_OR_NONE,
    BY_WORD,
    CHANGE,
    COMMAND_BY_WORD,
    EXTRA_KEYWORDS,
    FIELDS_OF_COMMAND,
    FILE,
    FILE_NAME,
    KEYWORDS,
    LINE,
    LINUX,
    ONE_TYPE,
    PLACES,
    SOLARIS,
    TARGETS,
    TOPIC,
    Command,
)
from ..text.language import REFUSED, Given, Reader, Word, Words, limit_problems, nearest, shown_word
from ..text.render import folded, quoted, words_of, words_of_sa
from ..text.values import parse_type

ATTRIBUTES_TOPIC = "attr"
ALL_TYPES = "all"
_NAME_OF_FIELD = {row.field: row.name for row in reversed(KEYWORDS)}
_TRAFFIC = ("protocol", "source_port", "destination_port")
_KEYS_NEVER_CHANGE = ("encryption", "encryption_key", "authentication", "authentication_key", "icv_bits")


class Subject(t.NamedTuple):
    """The SA that a command names: its identity, and what it must be like where that is given
    (empty or 0: anything). Addresses are packed.
    """

    protocol: str
    spi: int
    destination: bytes
    mark: Mark | None = None
    source: bytes = b""
    traffic: tuple[int, ...] = (0, 0, 0)
    direction: str = ""

    def identity(self) -> Identity:
        return (self.protocol, self.destination, self.spi, self.mark)

    def __str__(self) -> str:
        return f"{self.protocol} spi 0x{self.spi:08x} dst {model.format_address(self.destination)}"


class Step(t.NamedTuple):
    """One command, by its first name, and the line (from 1) on which it begins.

    ``sa`` is what add adds; ``subject`` names the SA of update, delete and get, ``lifetimes`` and
    ``extra`` (as `SecurityAssociation.extra`) are what an update sets, 0 for what stays;
    ``protocol`` is the SA type of flush, dump and save, empty for all; ``word`` the file of save or
    the topic of help."""

    command: str
    line: int
    sa: SecurityAssociation | None = None
    subject: Subject | None = None
    lifetimes: Lifetimes = model.NO_LIFETIMES
    extra: tuple[tuple[str, str], ...] = ()
    protocol: str = ""
    word: str = ""


class Script(t.NamedTuple):
    """The commands of a text in order, and pairs of a sentence about how the text was understood, and the place."""

    steps: tuple[Step, ...]
    warnings: tuple[tuple[str, str], ...]


def parse(
    text: str | bytes,
    name: str = "text",
    place: str = FILE,
    target: str = LINUX,
    resolve_names: bool = False,
    allow_static_counter_mode: bool = False,
) -> Script:
    """The commands of a text; its SAs are checked each alone and together, as `language.parse` does.

    ``place`` is where the text comes from (`grammar.PLACES`), all else as for `language.parse`. An
    SPI towards one destination may come twice where it was deleted or flushed in between. Raises
    TextError, or Problems with all that is wrong."""
    if target not in TARGETS:
        raise InputError(f"unknown target {shown(target)}", "target", f"Choose one of: {', '.join(TARGETS)}.")
    if place not in PLACES:
        raise InputError(f"unknown place {shown(place)}", "place", f"Choose one of: {', '.join(PLACES)}.")
    reader = _ScriptReader(name, place, target, resolve_names, allow_static_counter_mode)
    reader.read_all(text)
    return Script(tuple(reader.all_steps()), tuple(reader.warnings))


def parse_words(words: t.Sequence[str], name: str = LINE, **options: t.Any) -> Script:
    """One command given word by word, as a shell does; options as for `parse`."""
    for number, word in enumerate(words, 1):
        if not word or not re.fullmatch(r"[ !#-~]+", word):
            message = "the word is empty, or has quotes or characters that are not printable ASCII"
            raise TextError(message, f"{name}, word {number}", 1, 1, "Type it anew, or take it away.")
    text = " ".join(f'"{word}"' if " " in word or word.endswith("\\") else word for word in words)
    return parse(text, name, LINE, **options)


def render(steps: t.Iterable[Step]) -> str:
    """The text of the steps, a command on each line, keys included: what `parse` reads back as the
    same steps, lines apart. Raises InputError.
    """
    return "".join(folded(_words_of_step(step)) + "\n" for step in steps)


def _words_of_step(step: Step) -> list[str]:
    if step.sa is not None:
        return words_of_sa(step.sa)
    row = COMMAND_BY_WORD[step.command]
    words = [row.name]
    if step.subject is not None:
        return [*words, step.subject.protocol, *words_of(_values(step, step.subject))]
    if step.protocol or row.type == ANY_TYPE:
        words.append(step.protocol or ALL_TYPES)
    return [*words, quoted(step.word, row.name)] if step.word else words


def _values(step: Step, subject: Subject) -> dict[str, t.Any]:
    """What a command about one SA says, by field of the grammar; the inverse of `_subject`."""
    dummy, spi, destination, mark, source, traffic, direction = subject
    named = {"spi": spi, "source": source, "destination": destination, "mark": mark, "direction": direction}
    named.update(zip(_TRAFFIC, traffic))
    named.update(step.lifetimes._asdict())
    return {field: value for field, value in (*named.items(), *step.extra) if value}


class _ScriptReader(Reader):
    """Reads all commands. SAs stay where `Reader` collects them, all else is in ``steps``: each
    command has a line of its own, which orders them.
    """

    def __init__(
        self, name: str, place: str, target: str, resolve_names: bool, allow_static_counter_mode: bool
    ) -> None:
        super().__init__(name, target, resolve_names, allow_static_counter_mode)
        self.place = place
        self.steps: list[Step] = []

    def all_steps(self) -> list[Step]:
        with no_collection():
            adds = [Step("add", line, sa) for sa, line in zip(self.sas, self.lines)]
        return sorted((*self.steps, *adds), key=lambda step: step.line) if self.steps else adds

    def _run(self, command: Words) -> SecurityAssociation | None:
        first = command.words[0]
        if first.text == REFUSED:
            return None
        row = COMMAND_BY_WORD.get(first.text)
        if row is None:
            if not command.broken:
                self._unknown_command(first)
        elif self.place not in row.places:
            self._misplaced(row, first)
        elif row.name == "add":
            return self._add(command)
        else:
            step = self._other(row, command)
            if step is not None:
                self.steps.append(step)
        return None

    def _unknown_command(self, first: Word) -> None:
        if first.text in BY_WORD and self.place != LINE:
            self.problem(
                f"{first.text!r} is no command", first.line, first.column, "The line above may lack its backslash."
            )
        else:
            known = [word for word, row in COMMAND_BY_WORD.items() if self.place in row.places]
            self.problem(
                f"unknown command {shown_word(first.text)}",
                first.line,
                first.column,
                nearest(first.text, tuple(known), f"Known: {', '.join(known)}."),
            )

    def _misplaced(self, row: Command, first: Word) -> None:
        if self.place == LINE:
            message = f"{row.name} is refused on the command line, which every user of this host can read"
            hint = "Write the command to a file of mode 0600 and give it to -f, or type it at the prompt."
        else:
            message, hint = f"{row.name} is no command for a file", f"Run it by itself: ipseckey {row.usage()}"
        self.problem(message, first.line, first.column, hint)

    def _other(self, row: Command, command: Words) -> Step | None:
        """The step of any command but add; None, with the problems collected, where it is wrong."""
        known_problems = len(self.problems)
        first, *words = command.words
        protocol = ""
        if row.type:
            protocol, words = self._type(row, first, words)
        subject, lifetimes, text = None, model.NO_LIFETIMES, ""
        extra: tuple[tuple[str, str], ...] = ()
        if row.name in FIELDS_OF_COMMAND:
            given = self._attributes(words, lowest_spi=1)
            self._check_fields(row, given, first, command.broken)
            if len(self.problems) == known_problems and not command.broken:
                subject = _subject(protocol, given.values)
                lifetimes = Lifetimes(*(given.values.get(field, 0) for field in Lifetimes._fields))
                extra = tuple(
                    sorted((field, value) for field, value in given.values.items() if field in EXTRA_KEYWORDS)
                )
        elif row.takes in (FILE_NAME, TOPIC) and words and words[0].text != REFUSED:
            word, *words = words
            text = word.text
            if row.takes == TOPIC and text not in COMMAND_BY_WORD and text != ATTRIBUTES_TOPIC:
                self.problem(
                    f"there is no help about {shown_word(text)}", word.line, word.column, "Write help alone for a list."
                )
        if row.name not in FIELDS_OF_COMMAND and words and not command.broken:
            hint = f"Write: {row.usage()}. Nothing was done." if self.place != FILE else f"Write: {row.usage()}"
            self.problem(f"too many words after {row.name}", words[0].line, words[0].column, hint)
        if len(self.problems) > known_problems or command.broken:
            return None
        return Step(
            row.name, first.line, None, subject, lifetimes, extra, "" if subject is not None else protocol, text
        )

    def _type(self, row: Command, first: Word, words: list[Word]) -> tuple[str, list[Word]]:
        """The SA type, empty for all and for a wrong one, and the words after it."""
        if not words:
            if row.type != ANY_TYPE_OR_NONE:
                self.problem(f"{row.name} lacks its SA type", first.line, first.column, f"Write: {row.usage()}")
            return "", words
        kind = words[0]
        protocol = parse_type(kind.text)
        if protocol or (protocol == "" and row.type in (ANY_TYPE, ANY_TYPE_OR_NONE)) or kind.text == REFUSED:
            return protocol or "", words[1:]
        if row.type == ONE_TYPE and kind.text in BY_WORD:
            self.problem("the SA type is missing", kind.line, kind.column, f"Write: {row.usage()}")
            return "", words
        what = f"{kind.text} is no SA type here" if protocol == "" else f"unknown SA type {shown_word(kind.text)}"
        self.problem(what, kind.line, kind.column, f"Write: {row.usage()}")
        return "", words[1:]

    def _check_fields(self, row: Command, given: Given, first: Word, broken: bool) -> None:
        allowed = FIELDS_OF_COMMAND[row.name]
        for field, word in given.words.items():
            if field not in allowed:
                name = _NAME_OF_FIELD.get(field, field)
                hint = (
                    "An SA's keys never change: add one with a new SPI, then delete this one."
                    if field in _KEYS_NEVER_CHANGE and row.takes == CHANGE
                    else "Remove it."
                )
                self.problem(f"{row.name} takes no {name}", word.line, word.column, hint)
        for field, hint in (
            ("spi", "Add: spi 0x and its hexadecimal digits."),
            ("destination", "Add: dst and its address."),
        ):
            if field not in given.words and field not in given.refused and not broken:
                self.problem(f"{row.name} names no {_NAME_OF_FIELD[field]}", first.line, first.column, hint)
        values = given.values
        source, destination = values.get("source", b""), values.get("destination", b"")
        if source and destination and len(source) != len(destination):
            word = given.words["source"]
            self.problem(
                "source and destination are of different address families",
                word.line,
                word.column,
                "Give both as IPv4 or both as IPv6.",
            )
        for field, message, hint in limit_problems(values, (*model.LIFETIME_KINDS, "alloc")):
            self.problem(message, given.words[field].line, given.words[field].column, hint)
        if row.takes == CHANGE and self.target == SOLARIS:
            self._check_order(given)

    def _check_together(self, lines: t.Sequence[str]) -> None:
        ended = next((step for step in self.steps if step.command == "quit"), None)
        after = next((step for step in self.all_steps() if step.line > ended.line), None) if ended is not None else None
        if ended is not None and after is not None:
            self.problem(
                f"this command stands after the quit on line {ended.line}; ipseckey never reads it",
                after.line,
                1,
                "Remove one of both.",
            )
        super()._check_together(lines)

    def _conflicts(self) -> t.Iterator[checks.Conflict]:
        """As for a text of SAs, but an SPI is free again once its SA was deleted or flushed."""
        if not any(step.command in ("delete", "delete-pair", "flush") for step in self.steps):
            yield from super()._conflicts()
            return
        yield from (conflict for conflict in super()._conflicts() if conflict.field != "spi")
        held: dict[Identity, int] = {}
        index = 0
        for step in self.all_steps():
            if step.sa is not None:
                first = held.setdefault(model.identity(step.sa), index)
                if first != index:
                    yield checks.Conflict(index, first, "spi")
                index += 1
            elif step.command == "flush":
                held = {identity: first for identity, first in held.items() if step.protocol not in ("", identity[0])}
            elif step.subject is not None and step.command in ("delete", "delete-pair"):
                held.pop(step.subject.identity(), None)


def _subject(protocol: str, values: t.Mapping[str, t.Any]) -> Subject:
    return Subject(
        protocol,
        values["spi"],
        values["destination"],
        values.get("mark"),
        values.get("source", b""),
        tuple(values.get(field, 0) for field in _TRAFFIC),
        values.get("direction", ""),
    )
