# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The errors of the core: what is wrong, where, and what to do about it. None of them ever carries key material."""

from __future__ import annotations

import re
import typing as t

_HEX_RUN = re.compile(r"[0-9A-Fa-f]{16,}")
_SEPARATORS = re.compile(r"[^0-9A-Za-z]")
# A group of a key that was written in groups: digits and letters mixed.
_GROUP = re.compile(r"(?<![0-9A-Fa-f])(?=[A-Fa-f]*[0-9])(?=[0-9]*[A-Fa-f])[0-9A-Fa-f]{8,}")


def may_be_key(word: str) -> bool:
    """Whether the word holds as many hexadecimal digits in a row as the shortest key, separators
    between them not counted.
    """
    return bool(_HEX_RUN.search(word) or _HEX_RUN.search(_SEPARATORS.sub("", word)))


def shown(word: str) -> str:
    """``word`` quoted for a message, cut at 40 characters; hidden where it may be a key, or a group
    of one, that stands in the wrong place.
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
    """What a value that somebody gave is, in words; never the value."""
    return next((name for kind, name in _TYPE_NAMES.items() if isinstance(value, kind)), "nothing")


_OPTION = re.compile(r"\{(\w+)\}")


def _with(option: str) -> str:
    return f"with {option}"


class IpsecError(Exception):
    """One problem.

    ``message`` says what is wrong, ``place`` where (an option path, a file with line and column, an
    SA), ``hint`` what to do. ``{name}`` in a hint stands for an option of the collection that
    allows what was refused; each front end spells it its own way."""

    def __init__(self, message: str, place: str = "", hint: str = "") -> None:
        super().__init__(message, place, hint)
        self.message = message
        self.place = place
        self.hint = hint

    def __str__(self) -> str:
        return self.spelled(_with)

    def spelled(self, spell: t.Callable[[str], str]) -> str:
        """The whole text. ``spell`` says how to allow something with an option, as in "with resolve_names"."""
        text = f"{self.place}: {self.message}" if self.place else self.message
        hint = _OPTION.sub(lambda found: spell(found.group(1)), self.hint)
        return f"{text.rstrip('.')}. {hint}" if hint else text


class InputError(IpsecError):
    """What the user gave is wrong; nothing was touched."""


class TextError(InputError):
    """A problem at one place of an ipseckeys text; ``line`` and ``column`` count from 1."""

    def __init__(self, message: str, name: str, line: int, column: int, hint: str = "") -> None:
        super().__init__(message, f"{name}, line {line}, column {column}", hint)
        self.name = name
        self.line = line
        self.column = column


class ProtectedFileError(IpsecError):
    """A secret file, or a directory above it, is not as safe as it must be, or could not be read or written."""


class NetworkFileError(ProtectedFileError):
    """It lies, or may lie, on a file system whose content crosses a network."""


class SadbError(IpsecError):
    """The kernel, or the way to it, refused; ``errno_name`` is ``EPERM`` and so on, empty where there is none."""

    def __init__(self, message: str, place: str = "", hint: str = "", errno_name: str = "") -> None:
        super().__init__(message, place, hint)
        self.errno_name = errno_name


class Problems(IpsecError):
    """Several problems of one input, reported together instead of one a run."""

    def __init__(self, problems: t.Sequence[IpsecError]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


def raise_all(problems: t.Sequence[IpsecError]) -> None:
    """Raise nothing for no problem, the problem itself for one, `Problems` for more."""
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise Problems(problems)


def raise_also(error: BaseException, problems: t.Sequence[IpsecError]) -> None:
    """Raise `Problems` of what went wrong first and what went wrong after it; nothing where that is
    nothing, or where the first is no error of ours.
    """
    if problems and isinstance(error, IpsecError):
        raise Problems([*(error.problems if isinstance(error, Problems) else (error,)), *problems]) from None
