# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lines to words: blanks, quotes, comments, continued lines, and the position of each word. Blanks
after an opening quote do not count, as for ipseckey.

What ipseckey drops or joins silently here (text after quotes, lines that a comment swallows,
characters beyond its buffers) is a problem with its line and column."""

from __future__ import annotations

import re
import typing as t

from ..errors import TextError
from .grammar import BLANKS, COMMAND_MAX, LINE_MAX, PROBLEMS_MAX

# A quoted word with the text after it, or a plain word. Quotes end at the end of the line at the latest.
_WORD = re.compile(r'"(?P<quoted>[^"]*)(?P<close>"?)(?P<after>[^ \t\r\f\v]*)|(?P<plain>[^ \t\r\f\v]+)')
REFUSED = "\0"
"""Stands for a word whose spelling was refused, so its meaning is not checked. No word of a text can be this."""
_STRANGE = re.compile(r"[^ -~\t\r\f\v]")


class Word(t.NamedTuple):
    """A word and the position, from 1, at which it begins."""

    text: str
    line: int
    column: int


class CommandWords(t.NamedTuple):
    """The words of one command. ``broken``: its lines have a reported problem, so a word that seems
    to be missing may not be.
    """

    words: list[Word]
    broken: bool


class Report:
    """The problems and warnings of one text, which messages call ``name``."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.problems: list[TextError] = []
        self.warnings: list[tuple[str, str]] = []

    def problem(self, message: str, word: Word, hint: str) -> None:
        self.problem_at(message, word.line, word.column, hint)

    def problem_at(self, message: str, line: int, column: int, hint: str) -> None:
        if not self.full:
            self.problems.append(TextError(message, self.name, line, column, hint))

    def warn(self, message: str, word: Word, reading: str) -> None:
        self.warnings.append((message, f"{self.name}, line {word.line}, column {word.column}: {reading}"))

    @property
    def full(self) -> bool:
        return len(self.problems) >= PROBLEMS_MAX


def lines_of(text: str, report: Report) -> list[str]:
    """The lines of a text. Reports a byte-order mark."""
    if text.startswith("\ufeff"):
        report.problem_at(
            "the text begins with a byte-order mark, which ipseckey reads as part of the first word",
            1,
            1,
            "Save it as UTF-8 without the mark.",
        )
        text = " " + text[1:]
    lines = text.split("\n")
    return lines if lines[-1] else lines[:-1]


class Lexer:
    """Splits the lines of a text into commands and their words, with the limits of ``target``."""

    def __init__(self, lines: t.Sequence[str], target: str, report: Report) -> None:
        self.lines = lines
        self.line_max = LINE_MAX[target]
        self.command_max = COMMAND_MAX[target]
        self.problem_at = report.problem_at
        self.problems = report.problems

    def command(self, start: int) -> tuple[int, CommandWords]:
        """The command that begins on line ``start`` (from 0), and the line on which the next one
        may begin. A blank line and a comment have no words.
        """
        words: list[Word] = []
        known_problems = len(self.problems)
        length = 0
        number = start
        while number < len(self.lines):
            line = self.lines[number]
            number += 1
            length += self._check_line(line, number) + 1
            content, continued = self._continuation(line, number)
            content = content[: self.line_max]
            if content.lstrip(BLANKS).startswith("#"):
                if not words:
                    self._check_comment(number, continued)
                    return number, CommandWords([], False)
                self.problem_at(
                    "a comment stands inside a continued command; ipseckey reads its words as part of the command",
                    number,
                    len(content) - len(content.lstrip(BLANKS)) + 1,
                    "Move it above the command.",
                )
            else:
                words += self._words(content, number)
            if not continued:
                break
        else:
            if words:
                self.problem_at(
                    "the text ends inside a continued command, which ipseckey drops silently",
                    number,
                    max(1, len(self.lines[-1].rstrip(BLANKS))),
                    "Remove the last backslash.",
                )
        if words and length > self.command_max:
            self.problem_at(
                f"the command has {length} characters over all its lines, more than {self.command_max}",
                words[0].line,
                words[0].column,
                "No command needs that many; a line may end in a backslash by mistake.",
            )
            words = []
        return number, CommandWords(words, len(self.problems) > known_problems)

    def _check_line(self, line: str, number: int) -> int:
        """The length of the line in bytes. Reports a line that is too long or has a NUL byte."""
        size = len(line) if line.isascii() else len(line.encode("utf-8", "surrogatepass"))
        if size > self.line_max:
            self.problem_at(
                f"the line has {size} characters, more than {self.line_max}",
                number,
                self.line_max + 1,
                "Split it: a line that ends in a backslash continues on the next one.",
            )
        nul = line.find("\0")
        if nul >= 0:
            self.problem_at(
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
            self.problem_at(
                f"{what} stands after the backslash, so the command does not continue on the next line",
                number,
                len(stripped),
                "End the line with the backslash itself.",
            )
            return stripped[:-1], True
        return line, False

    def _check_comment(self, number: int, continued: bool) -> None:
        """Report a comment that hides what follows it."""
        line = self.lines[number - 1]
        following = self.lines[number].strip(BLANKS) if number < len(self.lines) else ""
        if continued and following and not following.startswith("#"):
            self.problem_at(
                "the comment ends in a backslash and so swallows the next line",
                number,
                len(line),
                "Remove the backslash.",
            )
        carriage_return = line.rstrip(BLANKS).find("\r")
        if carriage_return >= 0:
            self.problem_at(
                "a carriage return in the comment makes what follows it look like a line of its own",
                number,
                carriage_return + 1,
                "End lines with a newline.",
            )

    def _words(self, line: str, number: int) -> t.Iterator[Word]:
        for found in _WORD.finditer(line):
            column = found.start() + 1
            text = found["plain"] if found["plain"] is not None else found["quoted"].lstrip(BLANKS)
            wrong = _word_problem(found)
            if wrong is not None:
                offset, message, hint = wrong
                if message:
                    self.problem_at(message, number, column + offset, hint)
                text = REFUSED
            yield Word(text, number, column)


def _word_problem(found: re.Match[str]) -> tuple[int, str, str] | None:
    """Why a match of `_WORD` is not a valid word: its offset in the match, the message and the fix.
    None for a good word; an empty message for a NUL byte, which `_check_line` reports.
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
                "Put a blank between them, or remove the text.",
            )
        if not text.strip(BLANKS):
            return (
                0,
                "empty quotes are not a word; ipseckey uses the word after them instead",
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
    return strange.start(), message, "Type the line again; blanks copied from a document may be other characters."
