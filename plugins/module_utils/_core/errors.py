# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The errors of the core: what is wrong, where, and how to fix it. They never contain key material."""

from __future__ import annotations

import re
import typing as t

_HEX_RUN = re.compile(r"[0-9A-Fa-f]{16,}")
_SEPARATORS = re.compile(r"[^0-9A-Za-z]")
# One group of a key that is written in groups: mixed digits and letters.
_GROUP = re.compile(r"(?<![0-9A-Fa-f])(?=[A-Fa-f]*[0-9])(?=[0-9]*[A-Fa-f])[0-9A-Fa-f]{8,}")


def may_be_key(word: str) -> bool:
    """Whether the word contains as many consecutive hexadecimal digits as the shortest key, not
    counting separators.
    """
    return bool(_HEX_RUN.search(word) or _HEX_RUN.search(_SEPARATORS.sub("", word)))


def shown(word: str) -> str:
    """``word`` quoted for a message, cut to 40 characters; hidden if it may be a misplaced key or a
    group of one.
    """
    if may_be_key(word) or _GROUP.search(word):
        return f"(a word of {len(word)} characters, hidden since it may be a key)"
    return repr(word if len(word) <= 40 else word[:37] + "...")


_TYPE_NAMES = {
    bool: "true or false",
    int: "a whole number",
    float: "a number with a point",
    str: "a word",
    list: "a list",
    dict: "a mapping",
}


def type_name(value: t.Any) -> str:
    """The type of a given value in words, never the value."""
    return next((name for kind, name in _TYPE_NAMES.items() if isinstance(value, kind)), "nothing")


# The options that hints name; paths, which hints also hold, may contain braces.
_OPTION = re.compile(r"\{(resolve_names|allow_static_counter_mode)\}")


def _with(option: str) -> str:
    return f"with {option}"


class IpsecError(Exception):
    """One problem: ``message`` says what is wrong, ``place`` where (an option path, a file with line
    and column, an SA), ``hint`` how to fix it.

    ``{name}`` in a hint stands for an option of the collection that allows what was refused; each
    front end spells it in its own way."""

    def __init__(self, message: str, place: str = "", hint: str = "") -> None:
        super().__init__(message, place, hint)
        self.message = message
        self.place = place
        self.hint = hint

    def __str__(self) -> str:
        return self.spelled(_with)

    def spelled(self, spell: t.Callable[[str], str]) -> str:
        """The complete text. ``spell`` returns how to allow something by an option, as in "with resolve_names"."""
        text = f"{self.place}: {self.message}" if self.place else self.message
        hint = _OPTION.sub(lambda found: spell(found.group(1)), self.hint)
        return f"{text.rstrip('.')}. {hint}" if hint else text


class InputError(IpsecError):
    """The user's input is wrong; nothing was changed."""


class TextError(InputError):
    """A problem in an ipseckeys text; ``line`` and ``column`` count from 1."""

    def __init__(self, message: str, name: str, line: int, column: int, hint: str = "") -> None:
        super().__init__(message, f"{name}, line {line}, column {column}", hint)
        self.name = name
        self.line = line
        self.column = column


class ProtectedFileError(IpsecError):
    """A protected file, or a directory above it, is unsafe, or cannot be read or written."""


class NetworkFileError(ProtectedFileError):
    """The file is, or may be, on a network file system."""


class SadbError(IpsecError):
    """The kernel refused, or cannot be reached; ``errno_name`` is its error, such as ``EPERM``, or empty."""

    def __init__(self, message: str, place: str = "", hint: str = "", errno_name: str = "") -> None:
        super().__init__(message, place, hint)
        self.errno_name = errno_name


class Problems(IpsecError):
    """Several problems of one input, reported together instead of one per run."""

    def __init__(self, problems: t.Sequence[IpsecError]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


def raise_all(problems: t.Sequence[IpsecError]) -> None:
    """Raise a single problem itself and several as `Problems`; do nothing without a problem."""
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise Problems(problems)


def raise_also(error: BaseException, problems: t.Sequence[IpsecError]) -> None:
    """Raise `Problems` of the first error and the problems that followed; do nothing if none
    followed, or if the first error is not an IpsecError.
    """
    if problems and isinstance(error, IpsecError):
        raise Problems([*(error.problems if isinstance(error, Problems) else (error,)), *problems]) from None
