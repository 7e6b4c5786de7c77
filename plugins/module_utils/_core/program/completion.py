# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Completion of commands and options, at the prompt and in bash."""

from __future__ import annotations

import typing as t

from ..sa.algorithms import ALGORITHMS
from ..text.grammar import BY_WORD, COMMAND_BY_WORD, COMMANDS, FIELDS_OF_COMMAND, FILE_NAME, KEYWORDS, LINE
from .options import OPTIONS


def candidates(words: t.Sequence[str], place: str) -> list[str]:
    """The words that may follow ``words``, for the prompt."""
    if not words:
        return sorted(word for word, row in COMMAND_BY_WORD.items() if place in row.places)
    row = COMMAND_BY_WORD.get(words[0])
    if row is None:
        return []
    if len(words) == 1 and row.type:
        return row.type.strip("[]").split("|")
    if row.name == "help" and len(words) == 1:
        return sorted((*COMMAND_BY_WORD, "attr"))
    last = BY_WORD.get(words[-1])
    if last is not None and last.values:
        if last.kind in ("encryption", "authentication"):
            return sorted(algorithm.name for algorithm in ALGORITHMS if algorithm.kind == last.kind)
        return list(last.choices)
    fields = FIELDS_OF_COMMAND.get(row.name, tuple(keyword.field for keyword in KEYWORDS) if row.name == "add" else ())
    given = {BY_WORD[word].field for word in words if word in BY_WORD}
    return sorted(keyword.name for keyword in KEYWORDS if keyword.field in fields and keyword.field not in given)


def wrapped(text: str, width: int = 100) -> list[str]:
    """The lines of a paragraph. Words are never broken."""
    import textwrap  # only here, since each run of the command imports this module

    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)


def bash_script() -> str:
    cases = []
    for row in COMMANDS:
        if LINE in row.places and (row.type or row.takes):
            first = row.type.strip("[]").replace("|", " ") if row.type else "$topics"
            rest = " ".join(
                keyword.name for keyword in KEYWORDS if keyword.field in FIELDS_OF_COMMAND.get(row.name, ())
            )
            cases.append(
                f'        {row.name}) first="{first}" rest="{rest}"{" files=1" if row.takes == FILE_NAME else ""} ;;'
            )
    values = ", ".join(sorted(word for row in KEYWORDS if row.values for word in (row.name, *row.synonyms)))
    return _BASH.format(
        options="\n        ".join(wrapped(" ".join(row.name for row in OPTIONS), 92)),
        files=_alternatives(", ".join(row.name for row in OPTIONS if row.value)),
        commands=" ".join(sorted(word for word, row in COMMAND_BY_WORD.items() if LINE in row.places)),
        topics="\n        ".join(wrapped(" ".join(sorted((*COMMAND_BY_WORD, "attr"))), 92)),
        cases="\n".join(cases),
        values=_alternatives(values),
    )


def _alternatives(words: str) -> str:
    """Words with commas between them, as a pattern of the shell, whose lines are not too long."""
    return " \\\n                ".join(wrapped(words, 80)).replace(",", " |")


_BASH = """\
# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Written by: ipseckey --completion
# shellcheck shell=bash

_ipseckey() {{
    local word command="" at=0 first="" rest="" files=""
    local current=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}}
    local topics="
        {topics}"
    local options="
        {options}"
    COMPREPLY=()
    case $before in
        {files})
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return
            ;;
    esac
    for ((at = 1; at < COMP_CWORD; at++)); do
        word=${{COMP_WORDS[at]}}
        case $word in
            {files})
                at=$((at + 1))
                continue
                ;;
        esac
        if [[ $word != -* ]]; then
            command=$word
            break
        fi
    done
    case $command in
        "") first="{commands}" ;;
{cases}
    esac
    if [[ $current == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current")
    elif [[ -z $command || $((COMP_CWORD - at)) -eq 1 ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$first" -- "$current")
    elif [[ -n $files ]]; then
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
    else
        case $before in
            {values}) ;; # its value follows
            *) mapfile -t COMPREPLY < <(compgen -W "$rest" -- "$current") ;;
        esac
    fi
}}
complete -o filenames -F _ipseckey ipseckey
"""
