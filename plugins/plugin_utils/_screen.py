# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How lines for an operator get onto Ansible's screen. Pure."""

from __future__ import annotations

import textwrap
import typing as t

WIDTH = 69
"""Columns of a line: Ansible indents and quotes the strings of a list, and a terminal may have only 80."""

REFUSED = "This step was refused."


def on_screen(text: str) -> list[str]:
    """The text in lines of at most `WIDTH` columns. Continued lines are indented; words are never broken,
    so that paths and messages can be copied.
    """
    return [part for line in text.split("\n") for part in _wrapped(line)]


def _wrapped(line: str) -> list[str]:
    indent = line[: len(line) - len(line.lstrip())]
    return textwrap.wrap(
        line, WIDTH, subsequent_indent=f"{indent}  ", break_long_words=False, break_on_hyphens=False
    ) or [""]


def result(text: str, heading: str = REFUSED) -> dict[str, t.Any]:
    """The result of a task that failed with this text. Ansible prints ``msg`` as one line and escapes its line
    breaks. So ``msg`` is only a heading, the first line of a longer text, and the rest is a list, whose
    strings are printed each as a line.
    """
    first, *rest = text.split("\n")
    if not rest:
        first, rest = heading, [text]
    return {"failed": True, "msg": first, **shown(on_screen("\n".join(rest)))}


def shown(lines: t.Sequence[str]) -> dict[str, t.Any]:
    """The part of a task's result that puts these lines on the screen, however verbose Ansible is."""
    return {"report": [*lines], "_ansible_verbose_always": True} if lines else {}


def refused(problems: t.Sequence[str]) -> str:
    """The text about problems that were found together."""
    if not problems[1:]:
        return problems[0]
    return "\n  ".join([f"This step was refused for {len(problems)} reasons.", *problems])
