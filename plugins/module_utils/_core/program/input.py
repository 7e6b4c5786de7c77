# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the ipseckey command reads: files, and lines typed at its prompt."""

from __future__ import annotations

import os
import stat
import sys

from ..errors import IpsecError, NetworkFileError, ProtectedFileError, may_be_key, raise_all
from ..files import protected
from ..text.grammar import PROMPT
from . import completion, output
from .options import Options
from .terminal import Terminal

PROMPT_TEXT = "ipseckey> "
CONTINUED_TEXT = "> "
STANDARD_INPUT = "standard input"


def read_file(path: str, options: Options, protection: protected.Protection = protected.SECRET) -> bytes:
    """The content of a file. Raises ProtectedFileError for an unsafe one, naming the option that accepts it."""
    if not (options.allow_unsafe_file or options.allow_network_file):
        try:
            return protected.read(path, protection=protection)
        except ProtectedFileError as error:
            raise (_with_option(error, options) if os.path.isfile(path) else error) from None
    raise_all(
        [
            _with_option(error, options)
            for error in protected.status(path, protection).problems
            if not (options.allow_network_file if isinstance(error, NetworkFileError) else options.allow_unsafe_file)
        ]
    )
    return read_any(path)


def read_any(path: str) -> bytes:
    """The content of a file that anyone may read or change."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as exc:
        raise ProtectedFileError(f"the file cannot be read ({exc.strerror})", path) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ProtectedFileError("this is not a regular file", path)
    with open(descriptor, "rb") as file:
        return protected.take(file, path)


def read_standard_input() -> bytes:
    if sys.stdin is None:
        raise IpsecError("it is closed", STANDARD_INPUT)
    try:
        return protected.take(sys.stdin.buffer, STANDARD_INPUT)
    except OSError as exc:
        raise _unreadable(exc) from None


def _unreadable(exc: OSError) -> IpsecError:
    return IpsecError(f"it cannot be read ({exc.strerror or exc})", STANDARD_INPUT)


def _with_option(error: ProtectedFileError, options: Options) -> ProtectedFileError:
    if options.boot_file:  # the service reads no such file
        return error
    option = "--allow-network-file" if isinstance(error, NetworkFileError) else "--allow-unsafe-file"
    ways = f"To accept it anyway: {option}{'; to check the text alone: --text-only' if options.check else ''}"
    hint = ". ".join(filter(None, (error.hint.rstrip("."), ways)))
    return ProtectedFileError(error.message, error.place, hint)


class Lines:
    """Lines of standard input, edited and completed if that is a terminal, which shows no keys. The
    history holds no line that may hold a key, and is never written to a file.
    """

    def __init__(self) -> None:
        if hasattr(sys.stdin, "reconfigure"):
            sys.stdin.reconfigure(errors="surrogateescape")  # the language refuses bytes that are not ASCII
        self.terminal = Terminal(self._complete) if sys.stdin.isatty() else None
        if self.terminal is not None and self.terminal.readline is None:
            why = "this Python lacks GNU readline, which would hide keys"
            why = why if self.terminal.shown else "standard output is not a terminal, where keys would be hidden"
            output.say(f"nothing that you type is shown, since {why}")

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *dummy: object) -> None:
        if self.terminal is not None:
            self.terminal.close()

    def _complete(self, typed: str, index: int) -> str | None:
        readline = self.terminal.readline if self.terminal is not None else None
        before = readline.get_line_buffer()[: readline.get_begidx()].split() if readline is not None else []
        found = [word + " " for word in completion.candidates(before, PROMPT) if word.startswith(typed)]
        return found[index] if index < len(found) else None

    def read_command(self) -> str | None:
        """A line and those that continue it; None at the end."""
        text = ""
        while True:
            try:
                line = self._read(text)
            except OSError as exc:
                raise _unreadable(exc) from None
            if line is None:
                return text or None
            text += line + "\n"
            if not line.endswith("\\"):
                return text

    def _read(self, before: str) -> str | None:
        if self.terminal is None:
            line = sys.stdin.readline()
            return line[:-1] if line.endswith("\n") else line or None
        try:
            line = self.terminal.read(CONTINUED_TEXT if before else PROMPT_TEXT, before)
        except EOFError:
            output.write("\n")
            return None
        if self.terminal.readline is not None and line.strip() and "key" not in line and not may_be_key(line):
            self.terminal.readline.add_history(line)
        return line
