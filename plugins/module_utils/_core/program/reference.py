# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Help, manual page and shell completion of the ipseckey command, all from the tables in `grammar` and `OPTIONS`."""

from __future__ import annotations

import re
import typing as t

from ..sa.algorithms import ALGORITHMS
from ..text.grammar import (
    ALL,
    COMMAND_BY_WORD,
    COMMANDS,
    EXTRA,
    FIELDS_OF_COMMAND,
    FILE,
    FILE_NAME,
    IDENTITY,
    KEYWORDS,
    LINE,
    OURS,
    PROMPT,
    Command,
    Keyword,
)


class Option(t.NamedTuple):
    """One option of the command. ``value`` names what follows it, empty for nothing."""

    name: str
    help: str
    value: str = ""


OPTIONS: tuple[Option, ...] = (
    Option("-f", "run the commands of FILE: all of them, or none where one is wrong or refused", "FILE"),
    Option("-c", "check FILE, key lengths and what the kernel lacks included, and change nothing", "FILE"),
    Option("-s", "save all SAs to FILE, mode 0600; - is standard output", "FILE"),
    Option(
        "--apply",
        "make the SADB hold the SAs of FILE, and no others between their addresses, by the difference alone; FILE has"
        " add commands only",
        "FILE",
    ),
    Option(
        "--compare",
        "say what --apply would change, and do nothing; exit status 1 where it would change something",
        "FILE",
    ),
    Option(
        "--remove", "remove the SAs of FILE, and those that --apply loaded from it before; SAs of others stay", "FILE"
    ),
    Option(
        "--policies",
        "with --apply, --compare or --remove: do the same with the policies of FILE, which is no secret, and the SPD",
        "FILE",
    ),
    Option(
        "--rotation-due",
        "with --apply: note the SAs that it added in MARK, for their keys may be in use a second time",
        "MARK",
    ),
    Option("-n", "take literal addresses only, no host names"),
    Option("-p", "print XX for every byte of a key"),
    Option("-v", "say each change; print times as seconds"),
    Option("--json", "print SAs and events as JSON"),
    Option(
        "--show-keys",
        "print keys; without it dump, get and monitor print fingerprints, and nothing is saved to standard output",
    ),
    Option(
        "--allow-static-counter-mode",
        "take counter-mode ciphers, whose static keys must never be loaded twice (RFC 8221 section 3)",
    ),
    Option("--allow-unsafe-file", "read a file that others than root can read or change"),
    Option("--allow-network-file", "read a file over a network file system, where its keys travel in clear text"),
    Option(
        "--allow-clear-text-login",
        "open the prompt though the login is not encrypted, so that keys typed travel in clear text",
    ),
    Option("--man", "print the manual page, roff"),
    Option("--completion", "print the completion for bash"),
    Option("--help", "print the options and commands"),
)
USAGE = "ipseckey [OPTION]... [-f FILE | -c FILE | -s FILE | --apply FILE | --compare FILE | --remove FILE | COMMAND]"
SUMMARY = "manual IPsec security associations (SAs)"
_WHERE = {FILE: "in a file", PROMPT: "at the prompt", LINE: "on the command line"}
_KNOWN = {ALL: "", OURS: "not on Solaris", EXTRA: "Solaris only"}
_VALUES = {IDENTITY: "TYPE TEXT", "flag": ""}
_SECTIONS = (
    ("Exit status", "0 when everything was done, 1 for any trouble. An interrupted monitor ends with 0."),
    (
        "Files",
        (
            "A file of commands belongs to root, has mode 0600 and lies on a local file system, in directories that"
            " only root can change."
        ),
    ),
    (
        "Loading",
        (
            "--apply is what loads a file at boot, and again after it was changed: SAs that are there already go on"
            " with their counters, and where one is refused nothing changes. Besides the SAs that the file names, those"
            " are its own that lie between two addresses of the file and have the reqid, mark and if_id of an SA of the"
            " file, and those that it named when it was loaded last, which /run/ipseckey/loaded tells, without keys. Of"
            " its own SAs, --apply removes those that the file names no more; but not those with counter-mode ciphers,"
            " which no such file can name. The mark of --rotation-due names SAs, one a line: a rotation is due as long"
            " as the SADB holds one of them."
        ),
    ),
    (
        "Policies",
        (
            "The file of --policies belongs to root, and others cannot write it. It is JSON: a list of mappings with"
            " direction (in, out, fwd), selector, action (allow, block), priority, mark, if_id and templates, which is"
            " a list; a selector has source, destination, protocol, source_port and destination_port, and a template"
            " protocol (esp, ah), mode (transport, tunnel), source, destination, reqid, spi and level (required, use)."
            " They mean what they mean for the Ansible module ipsec.manual.ipsec_policy; what is missing is its default"
            " there. Those that the file named when it was loaded last, which /run/ipseckey/policies tells, and names"
            " no more are removed."
        ),
    ),
    (
        "Failing closed",
        (
            "With --policies, nothing leaves in the clear that should be protected, as far as files and kernel allow."
            " --apply adds the policies that are missing before it reads the file of SAs, and they stay even if that is"
            " missing, wrong or refused: traffic waits for its SAs. Policies are removed after SAs. One that guards an"
            " SA of the file stays, with a warning, even if the file of policies no longer names it. If this host sends"
            " through an SA of the file but no policy of the SPD, whoever put it there, makes packets use it,"
            " everything is loaded, and the exit status is 1."
        ),
    ),
    (
        "Keys",
        (
            "No key is taken from the command line, which every user can read, and none is printed unless asked for."
            " Messages name line and column, never a key. Lines with keys are not kept in the history of the prompt."
        ),
    ),
    (
        "Linux",
        (
            "update changes lifetimes, never keys: an SA with a new key is another SA, with another SPI. Linux pairs no"
            " SAs, so update-pair, delete-pair and pair-spi are refused. flush deletes all SAs, those of key management"
            " daemons included."
        ),
    ),
)


def _value(row: Keyword) -> str:
    return "|".join(row.choices) if row.choices else _VALUES.get(row.kind, row.kind.upper().replace(" ", "-"))


def _attribute_rows(fields: t.Collection[str] = ()) -> t.Iterator[tuple[str, str]]:
    for row in KEYWORDS:
        if not fields or row.field in fields:
            notes = "; ".join(
                filter(None, (f"also {', '.join(row.synonyms)}" if row.synonyms else "", _KNOWN[row.known]))
            )
            yield f"{row.name} {_value(row)}".strip(), row.help + (f" ({notes})" if notes else "")


def _command_rows(place: str = "") -> t.Iterator[tuple[str, str]]:
    for row in COMMANDS:
        if not place or place in row.places:
            yield row.usage(), row.help + (f" (also {', '.join(row.synonyms)})" if row.synonyms else "")


def _columns(rows: t.Iterable[tuple[str, str]], width: int = 34) -> str:
    import textwrap  # only here, since each run of the command imports this module

    text = ""
    for left, right in rows:
        lines = textwrap.wrap(right, 96 - width) or [""]
        first = f"  {left}"
        if len(first) >= width:
            text += f"{first}\n"
            first = ""
        text += "".join(
            f"{first if index == 0 else '':<{width}}{line}".rstrip() + "\n" for index, line in enumerate(lines)
        )
    return text


def usage() -> str:
    """Options and commands, for --help and for a wrong option."""
    return f"Usage: {USAGE}\n\n{_columns(_option_rows())}\n{_columns(_command_rows())}"


def _option_rows() -> t.Iterator[tuple[str, str]]:
    return ((f"{row.name} {row.value}".strip(), row.help) for row in OPTIONS)


def topic(word: str) -> str:
    """What ``help`` prints: the commands, one command, or with ``attr`` all attributes and algorithms."""
    if not word:
        return _columns(_command_rows()) + "\nMore: help COMMAND, help attr\n"
    if word == "attr":
        return f"{_columns(_attribute_rows())}\nAlgorithms:\n{_columns(_algorithm_rows())}"
    row = COMMAND_BY_WORD[word]
    text = f"{row.usage()}\n  {row.help}\n  Taken {_places(row)}.\n"
    if row.name in FIELDS_OF_COMMAND:
        text += f"\n{_columns(_attribute_rows(FIELDS_OF_COMMAND[row.name]))}"
    return text + ("\nAttributes: help attr\n" if row.name == "add" else "")


def _places(row: Command) -> str:
    return ", ".join(_WHERE[place] for place in row.places)


def _algorithm_rows() -> t.Iterator[tuple[str, str]]:
    for row in ALGORITHMS:
        notes = [
            f"also {', '.join(row.aliases)}" if row.aliases else "",
            row.sizes() if row.key_bits else "no key",
            row.rfc,
            row.advice,
        ]
        notes.append("counter mode" if row.counter_mode else "")
        yield row.name, f"{row.kind}; " + "; ".join(filter(None, notes))


def _roff(text: str) -> str:
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + escaped if escaped[:1] in (".", "'") else escaped


def _tables() -> t.Iterator[tuple[str, str, list[tuple[str, str]]]]:
    """Title, what the rows begin with, and the rows with a sentence each."""
    commands = (
        (usage, f"{text}. Taken {_places(COMMAND_BY_WORD[usage.split()[0]])}") for usage, text in _command_rows()
    )
    tables: tuple[tuple[str, str, t.Iterable[tuple[str, str]]], ...] = (
        ("Options", "option", _option_rows()),
        ("Commands", "command", commands),
        ("Attributes", "attribute", _attribute_rows()),
        ("Algorithms", "algorithm", _algorithm_rows()),
    )
    for title, head, rows in tables:
        yield title, head, [(left, right[:1].upper() + right[1:].rstrip(".") + ".") for left, right in rows]


def man_page() -> str:
    """The manual page ipseckey(8)."""
    lines = [
        '.\\" Copyright (c) 2026, ipsec.manual contributors',
        (
            '.\\" GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or'
            " https://www.gnu.org/licenses/gpl-3.0.txt)"
        ),
        # In two pieces, lest the licence check reads the quote as part of the name.
        '.\\" SPDX-License-' + "Identifier: GPL-3.0-or-later",
        '.\\" Written by: ipseckey --man',
        '.TH IPSECKEY 8 "" "ipsec.manual" "System Administration"',
        ".SH NAME",
        _roff(f"ipseckey - {SUMMARY}"),
        ".SH SYNOPSIS",
        _roff(USAGE),
        ".SH DESCRIPTION",
        _roff(
            "Adds, changes, deletes and shows SAs whose keys no daemon negotiates, in the language of Solaris'"
            " ipseckey. Without option and command it prompts."
        ),
    ]
    for title, dummy, rows in _tables():
        lines.append(f".SH {title.upper()}")
        for left, right in rows:
            lines += (".TP", f".B {_roff(left)}", _roff(right))
    for title, text in _SECTIONS:
        lines += (f".SH {title.upper()}", _roff(text))
    return "".join(f"{line}\n" for line in lines)


def completions(words: t.Sequence[str], place: str) -> list[str]:
    """What may follow the words, each with what is typed of the next; used by the prompt."""
    if not words:
        return sorted(word for word, row in COMMAND_BY_WORD.items() if place in row.places)
    row = COMMAND_BY_WORD.get(words[0])
    if row is None:
        return []
    if len(words) == 1 and row.type:
        return row.type.strip("[]").split("|")
    if row.name == "help" and len(words) == 1:
        return sorted((*COMMAND_BY_WORD, "attr"))
    known = {word: keyword for keyword in KEYWORDS for word in (keyword.name, *keyword.synonyms)}
    last = known.get(words[-1])
    if last is not None and last.values:
        if last.kind in ("encryption", "authentication"):
            return sorted(algorithm.name for algorithm in ALGORITHMS if algorithm.kind == last.kind)
        return list(last.choices)
    fields = FIELDS_OF_COMMAND.get(row.name, tuple(keyword.field for keyword in KEYWORDS) if row.name == "add" else ())
    given = {known[word].field for word in words if word in known}
    return sorted(keyword.name for keyword in KEYWORDS if keyword.field in fields and keyword.field not in given)


def completion() -> str:
    """A completion script for bash."""
    commands = " ".join(sorted(word for word, row in COMMAND_BY_WORD.items() if LINE in row.places))
    cases = []
    for row in COMMANDS:
        if LINE in row.places and (row.type or row.takes):
            first = row.type.strip("[]").replace("|", " ") if row.type else " ".join(sorted((*COMMAND_BY_WORD, "attr")))
            rest = " ".join(
                keyword.name for keyword in KEYWORDS if keyword.field in FIELDS_OF_COMMAND.get(row.name, ())
            )
            cases.append(
                f'        {row.name}) first="{first}" rest="{rest}"{" files=1" if row.takes == FILE_NAME else ""} ;;'
            )
    values = " | ".join(sorted(word for row in KEYWORDS if row.values for word in (row.name, *row.synonyms)))
    files = " | ".join(row.name for row in OPTIONS if row.value)
    return _BASH.format(
        options=" ".join(row.name for row in OPTIONS),
        files=files,
        commands=commands,
        cases="\n".join(cases),
        values=values,
    )


_BASH = """\
# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Written by: ipseckey --completion
# shellcheck shell=bash

_ipseckey() {{
    local word command="" at=0 first="" rest="" files=""
    local current=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}}
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
        mapfile -t COMPREPLY < <(compgen -W "{options}" -- "$current")
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


def page() -> str:
    """The same as `man_page`, as a page of the docs site."""
    text = _PAGE.format(summary=SUMMARY[:1].upper() + SUMMARY[1:], usage=USAGE)
    for title, head, rows in _tables():
        text += f"{_heading(title)}.. list-table::\n   :header-rows: 1\n   :widths: 35 65\n\n   * - {head}\n     -\n"
        text += "".join(f"   * - ``{left}``\n     - {_plain(right)}\n" for left, right in rows)
    return text + "".join(f"{_heading(title)}{_plain(paragraph)}\n" for title, paragraph in _SECTIONS)


def _heading(title: str) -> str:
    return f"\n{title}\n{'-' * len(title)}\n\n"


def _plain(text: str) -> str:
    """The text with nothing in it that reStructuredText takes for markup, and options of the command as literals."""
    return re.sub(r"(?<![\w-])--[a-z]+(?:-[a-z]+)*", r"``\g<0>``", re.sub(r"[\\*`|]|_(?!\w)", r"\\\g<0>", text))


_PAGE = """\
..
  Copyright (c) 2026, ipsec.manual contributors
  GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
  SPDX-License-Identifier: GPL-3.0-or-later

.. _ansible_collections.ipsec.manual.docsite.ipseckey:

The command ipseckey
====================

{summary}, in the language of Solaris' utility of that name;
:ref:`another page <ansible_collections.ipsec.manual.docsite.deviations>` lists where it differs.
``make docs-command`` writes this page from the tables of the command itself; ``ipseckey --man`` prints them as a
manual page.

.. code-block:: text

   {usage}
"""

# What is written from here: file of docs/, and its content.
DOCUMENTS: dict[str, t.Callable[[], str]] = {
    "ipseckey.8": man_page,
    "ipseckey.bash": completion,
    "docsite/rst/ipseckey.rst": page,
}
