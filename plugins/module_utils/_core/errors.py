# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The errors of the core: what is wrong, where, and how to fix it. They never contain key material."""

from __future__ import annotations

import functools
import re
import typing as t

# Compiled when they are used, since most tasks have no errors.
_HEX_RUN = r"[0-9A-Fa-f]{16,}"
_SEPARATORS = r"[^0-9A-Za-z]"
# One group of a key that is written in groups: mixed digits and letters.
_GROUP = r"(?<![0-9A-Fa-f])(?=[A-Fa-f]*[0-9])(?=[0-9]*[A-Fa-f])[0-9A-Fa-f]{8,}"


def may_be_key(word: str) -> bool:
    """Whether the word contains as many consecutive hexadecimal digits as the shortest key, not
    counting separators.
    """
    return bool(re.search(_HEX_RUN, word) or re.search(_HEX_RUN, re.sub(_SEPARATORS, "", word)))


def shown(word: str) -> str:
    """``word`` quoted for a message, cut to 40 characters; hidden if it may be a misplaced key or a
    group of one.
    """
    if may_be_key(word) or re.search(_GROUP, word):
        return f"(a word of {len(word)} characters, hidden since it may be a key)"
    return repr(word if len(word) <= 40 else word[:37] + "...")


def counted(number: int, one: str, many: str = "") -> str:
    """A number with its noun, for example ``1 policy`` or ``1,200 SAs``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


@functools.lru_cache(maxsize=256)
def nearest(word: str, known: tuple[str, ...], otherwise: str) -> str:
    """A hint that names the known words most like ``word``; ``otherwise`` where none is."""
    import difflib  # only here, since a module starts for every task

    near = difflib.get_close_matches(word.lower(), known, 3, 0.6) if len(word) <= 30 else []
    return f"Nearest: {', '.join(near)}." if near else otherwise


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


WORDS: t.Mapping[str, str] = {
    "allow_reserved_spi": "with allow_reserved_spi",
    "allow_shared_key": "with allow_shared_key",
    "allow_static_counter_mode": "with allow_static_counter_mode",
    "become": " (become: true)",
    "exact": "state exact of ipsec_sadb",
    "moved": " If it is yours and its reqid, mark or if_id changes, name the file that it came from in scope_src.",
    "new_key": "Make one with the lookup ipsec.manual.ipsec_key, algorithm {0}.",
    "new_keys": "new_keys",
    "new_spi": "Draw one with the lookup ipsec.manual.ipsec_spi.",
    "python": ": in Ansible, set ansible_python_interpreter for this host",
    "resolve_names": "with resolve_names",
    "store": "store",
    "trusted_transports": "trusted_transports",
}
"""The placeholders of hints, as a task of the collection fills them. Other front ends have tables of
their own. ``{0}`` stands for the part after the first colon in the braces.
"""
# Paths, which hints also hold, may contain braces.
_IN_BRACES = r"\{(\w+)((?::[^{}:]*)*)\}"


class IpsecError(Exception):
    """One problem: ``message`` says what is wrong, ``place`` where (an option path, a file with line
    and column, an SA), ``hint`` how to fix it.

    ``{name}`` in a hint is a placeholder that each front end fills in its own words, for example with
    the option that allows what was refused; see `WORDS`."""

    def __init__(self, message: str, place: str = "", hint: str = "") -> None:
        super().__init__(message, place, hint)
        self.message = message
        self.place = place
        self.hint = hint

    def __str__(self) -> str:
        return self.spelled(WORDS)

    def spelled(self, words: t.Mapping[str, str]) -> str:
        """The complete text, in the ``words`` of a front end."""
        text = f"{self.place}: {self.message}" if self.place else self.message
        hint = in_words(self.hint, words)
        return f"{text.rstrip('.')}. {hint}" if hint else text


def in_words(hint: str, words: t.Mapping[str, str]) -> str:
    """A hint whose placeholders are filled in the words of a front end."""
    return re.sub(
        _IN_BRACES,
        lambda found: words[found[1]].format(*found[2].split(":")[1:]) if found[1] in words else found[0],
        hint,
    )


class InputError(IpsecError):
    """The user's input is wrong; nothing was changed."""

    def at(self, place: str) -> InputError:
        """The same problem at another place."""
        return InputError(self.message, place, self.hint)


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

    def spelled(self, words: t.Mapping[str, str]) -> str:
        return "\n".join(problem.spelled(words) for problem in self.problems)


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
