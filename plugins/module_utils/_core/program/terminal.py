# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The terminal of the prompt. It shows stars for the characters of keys; if this Python's readline
cannot do that, or standard output is no terminal, so that Python does not use it, it shows nothing
of what is typed."""

from __future__ import annotations

import re
import sys
import termios
import typing as t

from ..text.grammar import BLANKS, KEY, KEYWORDS
from . import output

_KEYWORDS = "|".join(re.escape(row.name) for row in KEYWORDS if row.kind == KEY)
# The word after a keyword of a key, complete or not, and every other run of digits as long as a key.
_SECRET = re.compile(
    rf"(?<![^{BLANKS}])(?:{_KEYWORDS})[{BLANKS}]+(?P<key>[^{BLANKS}]+)|(?P<digits>[0-9A-Fa-f]{{16,}})".encode("ascii")
)
_ECHO_FLAGS = 3  # of what tcgetattr returns
Complete = t.Callable[[str, int], t.Optional[str]]


def masked(typed: bytes, before: bytes = b"") -> bytes:
    """What may be shown of a line: a star for each byte of a key. ``before`` is what it continues."""

    def stars(found: t.Match[bytes]) -> bytes:
        first = found.start(found.lastgroup or 0) - found.start()
        return found[0][:first] + b"*" * (len(found[0]) - first)

    return _SECRET.sub(stars, before + typed)[len(before) :]


class Terminal:
    """Reads lines from the terminal of standard input. Between two lines nothing is echoed, because
    lines with keys may already be on their way. `close` makes the terminal echo again.
    """

    def __init__(self, complete: Complete) -> None:
        self._before = b""
        self._echo(False)
        # Otherwise `input` lets the terminal itself echo, keys included.
        self.shown = sys.stdout is not None and sys.stdout.isatty()
        self.readline = _readline(complete, lambda typed: masked(typed, self._before)) if self.shown else None

    def read(self, prompt: str, before: str) -> str:
        """A line without its end; ``before`` is the text that it continues. Raises EOFError at the end."""
        self._before = before.replace("\\\n", " ").encode("utf-8", "replace")
        if self.readline is None:
            return self._read_unseen(prompt)
        self._echo(True)
        try:
            return input(prompt)
        finally:
            self._echo(False)

    def _read_unseen(self, prompt: str) -> str:
        output.write(prompt)
        line = sys.stdin.readline()
        output.write("\n")
        if not line:
            raise EOFError
        return line.rstrip("\n")

    def close(self) -> None:
        self._echo(True)

    @staticmethod
    def _echo(on: bool) -> None:
        settings = termios.tcgetattr(sys.stdin)
        settings[_ECHO_FLAGS] = settings[_ECHO_FLAGS] | termios.ECHO if on else settings[_ECHO_FLAGS] & ~termios.ECHO
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, settings)


def _readline(complete: Complete, mask: t.Callable[[bytes], bytes]) -> t.Any:
    """Python's module readline with completion, and with a display that masks keys; None if it cannot do that."""
    try:
        import readline
    except ImportError:
        return None
    if not _mask_display(readline, mask):
        return None
    readline.set_auto_history(False)
    readline.set_completer_delims(" \t")
    readline.set_completer(complete)
    readline.parse_and_bind("tab: complete")
    return readline


_kept: list[t.Any] = []  # readline calls these as long as the process lives


def _mask_display(readline: t.Any, mask: t.Callable[[bytes], bytes]) -> bool:
    """Let GNU readline display its line through ``mask``, which keeps its length; False for another library."""
    try:
        import ctypes

        if "GNU" not in (readline.__doc__ or ""):
            return False
        library = ctypes.CDLL(getattr(readline, "__file__", None))
        redisplay = library.rl_redisplay
        function = ctypes.c_void_p.in_dll(library, "rl_redisplay_function")
        buffer = ctypes.c_void_p.in_dll(library, "rl_line_buffer")
        end = ctypes.c_int.in_dll(library, "rl_end")
    except (ImportError, OSError, AttributeError, ValueError):
        return False

    def show() -> None:
        address, typed = buffer.value, b""
        if address:
            typed = ctypes.string_at(address, end.value)
            ctypes.memmove(address, mask(typed), len(typed))
        redisplay()
        if address:
            ctypes.memmove(address, typed, len(typed))

    _kept.append(ctypes.CFUNCTYPE(None)(show))
    function.value = ctypes.cast(_kept[-1], ctypes.c_void_p).value
    return True
