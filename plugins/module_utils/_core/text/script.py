# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every command of the language of ipseckey, from a file, a prompt or a command line.

`grammar.COMMANDS` says where each may stand and what follows it. How a command is executed is not
known here."""

from __future__ import annotations

import re
import typing as t

from ..collector import keep, no_collection
from ..errors import InputError, TextError, nearest, raise_all, shown
from ..sa import conflicts, model
from ..sa.checks import Allowed
from ..sa.model import Identity, Lifetimes, Mark, SecurityAssociation
from . import grammar
from .attributes import AttributeReader, Attributes, shown_word
from .fast_lines import PlainLines, is_ordinary
from .foreign import instead
from .grammar import Command
from .lexer import REFUSED, CommandWords, Lexer, Report, Word, lines_of
from .sa import Builder, extra_of, limit_problems
from .solaris import address_problems, order_problems
from .values import parse_type

ATTRIBUTES_TOPIC = "attr"
_NAME_OF_FIELD = {row.field: row.name for row in reversed(grammar.KEYWORDS)}
_TRAFFIC = ("protocol", "source_port", "destination_port")
_NEEDED = {"spi": "Add: spi 0x and its hexadecimal digits.", "destination": "Add: dst and its address."}
_ADD_ONLY = "A text of SAs holds add commands only."
_NOT_FLUSHED = "the options decide what happens to SAs that the text does not name"
_KEYS_NEVER_CHANGE = ("encryption", "encryption_key", "authentication", "authentication_key", "icv_bits")


class Subject(t.NamedTuple):
    """The SA that a command names: its identity, and what must also match unless it is empty or 0.
    Addresses are packed.
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

    add has an ``sa``; update, delete and get have a ``subject``. ``lifetimes`` and ``extra`` (as
    `SecurityAssociation.extra`) are the values that an update sets, 0 for those that stay.
    ``protocol`` is the SA type of flush, dump and save, empty for all. ``word`` is the file of save
    or the topic of help."""

    command: str
    line: int
    sa: SecurityAssociation | None = None
    subject: Subject | None = None
    lifetimes: Lifetimes = model.NO_LIFETIMES
    extra: tuple[tuple[str, str], ...] = ()
    protocol: str = ""
    word: str = ""


class Script(t.NamedTuple):
    """The commands of a text in order; warnings are as those of `language.Document`."""

    steps: tuple[Step, ...]
    warnings: tuple[tuple[str, str], ...]


def parse(
    text: str | bytes,
    name: str = "text",
    place: str = grammar.FILE,
    target: str = grammar.LINUX,
    resolve_names: bool = False,
    **allowed: bool,
) -> Script:
    """The commands of a text; its SAs are checked each alone (`checks.problems`) and together (`conflicts.conflicts`).

    ``name`` names the text in messages, ``place`` is where it comes from (`grammar.PLACES`).
    ``target`` is the system that the text is for: "solaris" refuses what its ipseckey cannot do.
    ``resolve_names`` accepts host names as addresses, which trusts the name service; ``allowed`` are
    the options of `checks.Allowed`. An SPI towards
    one destination may come twice where it was deleted or flushed in between. Raises TextError, or
    Problems with everything that is wrong."""
    reader = ScriptReader(name, place, target, resolve_names, Allowed(**allowed))
    reader.read(text)
    return Script(tuple(reader.steps()), tuple(reader.report.warnings))


def parse_words(words: t.Sequence[str], name: str = grammar.LINE, **options: t.Any) -> Script:
    """One command as the list of words that a shell passes; options as for `parse`."""
    for number, word in enumerate(words, 1):
        if not re.fullmatch(r"[!#-~][ !#-~]*", word):
            message = "the word is empty, begins with a blank, or has quotes or characters that are not printable ASCII"
            raise TextError(message, f"{name}, word {number}", 1, 1, "Type it again, or remove it.")
    # No word of a shell begins a comment or continues on another line.
    text = " ".join(f'"{word}"' if " " in word or word[0] == "#" or word[-1] == "\\" else word for word in words)
    return parse(text, name, grammar.LINE, **options)


class ScriptReader:
    """Reads one text. The SAs of its add commands and their first lines are in ``sas`` and
    ``lines``; all other commands are in ``others``. Each command has a line of its own, which orders them.
    """

    def __init__(self, name: str, place: str, target: str, resolve_names: bool, allowed: Allowed) -> None:
        if target not in grammar.TARGETS:
            raise InputError(
                f"unknown target {shown(target)}", "target", f"Choose one of: {', '.join(grammar.TARGETS)}."
            )
        self.place = place
        self.target = target
        self.report = Report(name)
        self.problem = self.report.problem
        self.attributes = AttributeReader(target, resolve_names, self.report)
        self.builder = Builder(target, allowed, self.report)
        self.allowed = allowed
        self.sas: list[SecurityAssociation] = []
        self.lines: list[int] = []
        self.others: list[Step] = []
        self._begun = False

    def read(self, text: str | bytes) -> None:
        """Read the whole text. Raises all its problems, in order."""
        text = text.decode("utf-8", "surrogateescape") if isinstance(text, bytes) else text
        with no_collection():
            self._read(text)
            keep(self.sas)
        problems = sorted(self.report.problems, key=lambda problem: (problem.line, problem.column))
        raise_all(instead(problems, self.report.name, text) if self.place in (grammar.FILE, grammar.SAS) else problems)

    def _read(self, text: str) -> None:
        lines = lines_of(text, self.report)
        plain_lines = PlainLines(address_problems if self.target == grammar.SOLARIS else None)
        ordinary = is_ordinary(text, grammar.LINE_MAX[self.target], lines)
        lexer = Lexer(lines, self.target, self.report)
        number = 0
        while number < len(lines):
            if ordinary:
                start, number = number, plain_lines.take(lines, number, self.sas)
                self.lines.extend(range(start + 1, number + 1))
                if number == len(lines):
                    break
            number, command = lexer.command(number)
            if command.words:
                words = [word.text for word in command.words]
                known_warnings = len(self.report.warnings)
                sa = None if command.broken else plain_lines.read(words[:])
                if sa is None:
                    sa = self._run(command)
                    if sa is not None and len(self.report.warnings) == known_warnings:
                        plain_lines.learn(words, sa)
                if sa is not None:
                    self.sas.append(sa)
                    self.lines.append(command.words[0].line)
            if self.report.full:
                message = f"{grammar.PROBLEMS_MAX} problems were found; the rest of the text was not checked"
                self.report.problems.append(TextError(message, self.report.name, number, 1, "Fix those first."))
                return
        self._check_together(lines)

    def steps(self) -> list[Step]:
        """All commands in order."""
        with no_collection():
            adds = [Step("add", line, sa) for sa, line in zip(self.sas, self.lines)]
        return sorted((*self.others, *adds), key=lambda step: step.line) if self.others else adds

    def _run(self, command: CommandWords) -> SecurityAssociation | None:
        """Read one command by the general way. Returns the SA of an add command, None for others and wrong ones."""
        first = command.words[0]
        row = grammar.COMMAND_BY_WORD.get(first.text)
        if row is None:
            if first.text != REFUSED and not command.broken:
                self._unknown_command(first)
        elif row.name == "flush" and self.place == grammar.SAS and not (self._begun or self.others):
            if self._other(row, command) is not None:
                self.report.warn(_NOT_FLUSHED, first, f"{' '.join(word.text for word in command.words)} is ignored")
        elif not row.allowed_in(self.place):
            self._misplaced(row, first)
        elif row.name == "add":
            return self._add(row, command)
        else:
            step = self._other(row, command)
            if step is not None:
                self.others.append(step)
        return None

    def _unknown_command(self, first: Word) -> None:
        if first.text in grammar.BY_WORD and self.place != grammar.LINE:
            self.problem(f"{first.text!r} is not a command", first, "The line above may lack its backslash.")
        else:
            known = tuple(word for word, row in grammar.COMMAND_BY_WORD.items() if self.place in row.places)
            hint = _ADD_ONLY if self.place == grammar.SAS else nearest(first.text, known, f"Known: {', '.join(known)}.")
            self.problem(f"unknown command {shown_word(first.text)}", first, hint)

    def _misplaced(self, row: Command, first: Word) -> None:
        if self.place == grammar.SAS:
            message = f"the command {row.name!r} ({row.help}) is not accepted here"
            hint = grammar.INSTEAD.get(row.name, _ADD_ONLY)
        elif self.place == grammar.LINE:
            message = f"{row.name} is refused on the command line, which every user of this host can read"
            hint = "Write the command to a file of mode 0600 and give it to -f, or type it at the prompt."
        else:
            message, hint = f"{row.name} is not a command for files", f"Run it by itself: ipseckey {row.usage()}"
        self.problem(message, first, hint)

    def _add(self, row: Command, command: CommandWords) -> SecurityAssociation | None:
        self._begun = True
        known_problems = len(self.report.problems)
        protocol, words = self._type(row, command.words)
        attributes = self.attributes.read(words, 1 if self.allowed.allow_reserved_spi else model.SPI_MIN)
        sa = self.builder.build(protocol, command, attributes)
        return None if command.broken or len(self.report.problems) > known_problems else sa

    def _other(self, row: Command, command: CommandWords) -> Step | None:
        """The step of any command but add; None for a wrong command, whose problems are reported."""
        known_problems = len(self.report.problems)
        first = command.words[0]
        protocol, words = self._type(row, command.words) if row.type else ("", command.words[1:])
        text = ""
        attributes = None
        if row.name in grammar.FIELDS_OF_COMMAND:
            attributes = self.attributes.read(words, lowest_spi=1)
            self._check_fields(row, attributes, first, command.broken)
        else:
            if row.takes in (grammar.FILE_NAME, grammar.TOPIC) and words and words[0].text != REFUSED:
                word, *words = words
                text = word.text
                if row.takes == grammar.TOPIC and text not in grammar.COMMAND_BY_WORD and text != ATTRIBUTES_TOPIC:
                    self.problem(f"there is no help about {shown_word(text)}", word, "Write help alone for a list.")
            if words and not command.broken:
                hint = (
                    f"Write: {row.usage()}. Nothing was done."
                    if self.place != grammar.FILE
                    else f"Write: {row.usage()}"
                )
                self.problem(f"too many words after {row.name}", words[0], hint)
        if len(self.report.problems) > known_problems or command.broken:
            return None
        if attributes is None:
            return Step(row.name, first.line, protocol=protocol, word=text)
        values = attributes.values
        lifetimes = Lifetimes(*(values.get(field, 0) for field in Lifetimes._fields))
        return Step(row.name, first.line, None, _subject(protocol, values), lifetimes, extra_of(values))

    def _type(self, row: Command, command: list[Word]) -> tuple[str, list[Word]]:
        """The SA type, empty for all types and for a wrong one, and the words after it."""
        words = command[1:]
        if not words and row.type == grammar.ANY_TYPE_OR_NONE:
            return "", words
        word = command[:2][-1]
        protocol = parse_type(word.text) if words else None
        if protocol or word.text == REFUSED or (protocol == "" and row.type != grammar.ONE_TYPE):
            return protocol or "", words[1:]
        missing = not words or (row.type == grammar.ONE_TYPE and word.text in grammar.BY_WORD)
        message = "the SA type is missing" if missing else f"unknown SA type {shown_word(word.text)}"
        self.problem(message, word, f"Write: {row.usage()}")
        return "", words if missing else words[1:]

    def _check_fields(self, row: Command, attributes: Attributes, first: Word, broken: bool) -> None:
        """Report what a command about an installed SA does not allow, lacks, or contradicts itself in."""
        values, words = attributes.values, attributes.words
        allowed = grammar.FIELDS_OF_COMMAND[row.name]
        for field, word in words.items():
            if field not in allowed:
                name = _NAME_OF_FIELD.get(field, field)
                hint = (
                    "An SA's keys never change: add one with a new SPI, then delete this one."
                    if field in _KEYS_NEVER_CHANGE and row.takes == grammar.CHANGE
                    else "Remove it."
                )
                self.problem(f"{row.name} takes no {name}", word, hint)
        for field, hint in _NEEDED.items():
            if field not in words and field not in attributes.refused and not broken:
                self.problem(f"{row.name} names no {_NAME_OF_FIELD[field]}", first, hint)
        source, destination = values.get("source", b""), values.get("destination", b"")
        if source and destination and len(source) != len(destination):
            self.problem(
                "source and destination are of different address families",
                words["source"],
                "Give both as IPv4 or both as IPv6.",
            )
        for field, message, hint in limit_problems(values, (*model.LIFETIME_KINDS, "alloc")):
            self.problem(message, words[field], hint)
        if self.target == grammar.SOLARIS:
            found = [*order_problems(attributes)] if row.takes == grammar.CHANGE else []
            for field, message, hint in (*found, *address_problems(source, destination)):
                self.problem(message, words[field], hint)

    def _check_together(self, lines: t.Sequence[str]) -> None:
        """Report commands after quit, and SAs that share an identity or a key."""
        ends = [step.line for step in self.others if step.command == "quit"]
        after = [step.line for step in self.steps() if step.line > ends[0]] if ends else []
        if after:
            message = f"this command stands after the quit on line {ends[0]}; ipseckey never reads it"
            self.report.problem_at(message, after[0], 1, "Remove one of them.")
        lexer = Lexer(lines, self.target, Report(""))
        shared = False
        for conflict in self._conflicts():
            if conflict.tolerable and self.allowed.allow_shared_key:
                shared = True
                continue
            dummy, (words, dummy_broken) = lexer.command(self.lines[conflict.second] - 1)
            wanted = {row.name for row in grammar.KEYWORDS if row.field == conflict.field}
            word = next((value for keyword, value in zip(words, words[1:]) if keyword.text in wanted), words[0])
            message, hint = conflicts.conflict_message(self.sas, conflict, f"line {self.lines[conflict.first]}")
            self.problem(message, word, hint)
            if self.report.full:
                return
        if shared:
            message = "several SAs share one key; whoever finds it can read the traffic of all of them"
            self.report.warnings.append((message, self.report.name))

    def _conflicts(self) -> t.Iterator[conflicts.Conflict]:
        """Those of `conflicts.conflicts`, except that deleting or flushing an SA makes its SPI available again."""
        if not any(step.command in ("delete", "delete-pair", "flush") for step in self.others):
            yield from conflicts.conflicts(self.sas)
            return
        yield from (conflict for conflict in conflicts.conflicts(self.sas) if conflict.field != "spi")
        installed: dict[Identity, int] = {}
        index = 0
        for step in self.steps():
            if step.sa is not None:
                first = installed.setdefault(model.identity(step.sa), index)
                if first != index:
                    yield conflicts.Conflict(index, first, "spi")
                index += 1
            elif step.command == "flush":
                installed = {
                    identity: first for identity, first in installed.items() if step.protocol not in ("", identity[0])
                }
            elif step.subject is not None and step.command in ("delete", "delete-pair"):
                installed.pop(step.subject.identity(), None)


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
