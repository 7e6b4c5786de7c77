# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Help and manual page of the ipseckey command, from the tables in `grammar` and `options`."""

from __future__ import annotations

import typing as t

from ..sa.algorithms import ALGORITHMS
from ..sa.model import REPLAY_VALUE
from ..text import grammar
from ..text.grammar import Command, Keyword
from .completion import wrapped
from .options import OPTIONS, USAGE

SUMMARY = "manual IPsec security associations (SAs)"
_WHERE = {grammar.FILE: "in a file", grammar.PROMPT: "at the prompt", grammar.LINE: "on the command line"}
_KNOWN = {grammar.ALL: "", grammar.OURS: "not on Solaris", grammar.EXTRA: "Solaris only"}
_VALUES = {grammar.IDENTITY: "TYPE TEXT", "flag": ""}
SECTIONS = {
    "Exit status": (
        "0 if everything succeeded, otherwise 1. An interrupted monitor exits with 0. On the command line, status "
        "exits with 0 if all is well, with 1 if it lists something as wrong or due, and with 2 if it does not, but "
        "could not see everything."
    ),
    "Files": (
        "A file of commands must belong to root, have mode 0600 and be on a local file system, in directories that "
        "only root can change."
    ),
    "Checking": (
        "-c makes every check that -f makes before it changes anything, except that SAs of the file may be loaded "
        "already. So it needs the right to change SAs, and a kernel with the algorithms of the file. With --text-only "
        "it needs neither, nor Linux: in a pre-commit hook, in a pipeline, or on a controller, it checks words, "
        "addresses, key lengths, weak keys, and keys and SPIs that are used twice. It ignores who can read the file, "
        "and says on standard error what it did not check. With -n it asks no naming service. The exit status is 0 if "
        "the text is correct."
    ),
    "Loading": (
        "--apply loads a file at boot, and again after it was changed: SAs that already exist keep their counters, "
        "and if one is refused, nothing changes. A file owns the SAs that it names; those between two of its "
        "addresses with the reqid, mark and if_id of one of its SAs; and those that it named when it was last loaded, "
        "which /run/ipseckey/loaded records without keys. Of the SAs that the file owns, --apply removes those that "
        "it no longer names, except those with counter-mode ciphers, which no such file can name. The file of "
        "--rotation-due names SAs, one per line: a rotation is due as long as the SADB holds one of them."
    ),
    "Policies": (
        "The file of --policies must belong to root, and only root may be able to write it. It is JSON: a list of "
        "mappings with direction (in, out, fwd), selector, action (allow, block), priority, mark, if_id and "
        "templates, which is a list; a selector has source, destination, protocol, source_port and destination_port, "
        "and a template protocol (esp, ah), mode (transport, tunnel), source, destination, reqid, spi and level "
        "(required, use). They have the meaning and the defaults that they have in the Ansible module "
        "ipsec.manual.ipsec_policy. Policies that the file named when it was last loaded, which "
        "/run/ipseckey/policies records, and no longer names are removed; without a file of SAs, those that guard an "
        "SA of the kernel stay, with a warning. --show-policies prints all policies but those of sockets, and with "
        "--json the fields of such a file and the number of each. --save-policies writes such a file, which must not "
        "exist yet, so that --policies or --boot-file can name it; it names the policies that such a file cannot "
        "express, and the exit status is 1. --flush-policies and --delete-policy remove policies of other programs, "
        "too, and warn if the traffic of SAs may leave in the clear then."
    ),
    "The service": (
        "--boot-file changes which FILE the service at boot loads, if the Ansible module ipsec.manual.ipsec_boot "
        "installed it, and with --policies, which policies; without it these stay as they are. It makes the checks "
        "that --apply makes with the options of the service, and changes nothing if one fails. The next reload of the "
        "service removes what was loaded from the files before and is not in these, as if one file had been changed. "
        "With --no-policies the service loads FILE alone. The next reload removes the policies that it loaded before, "
        "those that guard SAs, too, and the traffic of the SAs leaves unencrypted from then on, or after the next "
        "boot, unless something else has policies for it; --policies with --boot-file brings them back. The next run "
        "of the module sets its own files again."
    ),
    "Failing closed": (
        "With --policies, nothing leaves in the clear that should be protected, as far as files and kernel allow. "
        "--apply adds the policies that are missing before it reads the file of SAs, and they stay even if that is "
        "missing, wrong or refused: traffic waits for its SAs. Policies are removed after SAs. One that guards an SA "
        "of the file stays, with a warning, even if the file of policies no longer names it. If this host sends "
        "through an SA of the file but no policy in the SPD, whoever put it there, makes packets use it, everything "
        "is loaded, and the exit status is 1."
    ),
    "Keys": (
        "No key is accepted on the command line, which every user can read, and none is printed unless you ask for "
        "it. Messages name line and column, never a key. The prompt shows stars for keys, and its history holds no "
        "lines with them. If Python lacks GNU readline, or standard output is not a terminal, the prompt shows nothing "
        "of what is typed."
    ),
    "Output": (
        "dump, get and monitor print the lines of the Solaris utility, with fingerprints instead of keys. Allocations "
        "are packets. NLC and NRM are the local and the remote end of a NAT, which depend on the direction of the SA; "
        "if the kernel does not know that, the addresses of this host decide. OTH lines show what Solaris does not "
        "have, such as reqid and mark. Without -n, hosts and protocols are also shown by name; if the naming service "
        "does not answer, it is not asked again. Characters that are not printable ASCII appear as escapes such as "
        "\\x1b."
    ),
    "Status": (
        "status shows on one screen what loads the SAs at boot, whether the protected file is safe and holds what the "
        "kernel holds, the SAs by peer with their age and the limit that is closest to being used up, and the "
        "policies. FILE is the protected file, if it is not the one that the service loads, or "
        "/etc/inet/secret/ipseckeys without a service. These are wrong: a service that failed, or is installed but "
        "not enabled or not active; a file that others can read or change, that differs from the kernel, or that is "
        "missing although it is named or the service would load it; outbound SAs that no policy uses, and inbound SAs "
        "that no policy requires; policies without an SA, and those that let traffic pass without one. These are due: "
        "SAs with a soft limit reached, or with half of a hard limit or of their sequence numbers used up; those "
        "whose cipher has 64-bit blocks, after 2^20 of them (NIST SP 800-67); and SAs that the service loaded again "
        "at boot (--rotation-due). Unseen is what only root could see, or only another kernel would show. status "
        "changes nothing, and prints no key and no fingerprint."
    ),
    "Linux": (
        "update changes lifetimes, never keys: an SA with a new key is another SA, with another SPI. Linux does not "
        "pair SAs, so update-pair, delete-pair and pair-spi are refused. flush deletes all SAs, including those of "
        "key management daemons."
    ),
}


def _value(row: Keyword) -> str:
    return "|".join(row.choices) if row.choices else _VALUES.get(row.kind, row.kind.upper().replace(" ", "-"))


def _known(row: Keyword) -> str:
    # Linux begins at a sequence number too.
    return "" if row.name == REPLAY_VALUE else _KNOWN[row.known]


def _attribute_rows(fields: t.Collection[str] = ()) -> t.Iterator[tuple[str, str]]:
    for row in grammar.KEYWORDS:
        if not fields or row.field in fields:
            notes = "; ".join(filter(None, (f"also {', '.join(row.synonyms)}" if row.synonyms else "", _known(row))))
            yield f"{row.name} {_value(row)}".strip(), row.help + (f" ({notes})" if notes else "")


def _command_rows() -> t.Iterator[tuple[str, str]]:
    for row in grammar.COMMANDS:
        yield row.usage(), row.help + (f" (also {', '.join(row.synonyms)})" if row.synonyms else "")


def _columns(rows: t.Iterable[tuple[str, str]], width: int = 34) -> str:
    text = ""
    for left, right in rows:
        lines = wrapped(right, 96 - width) or [""]
        first = f"  {left}"
        if len(first) >= width:
            text += f"{first}\n"
            first = ""
        text += "".join(
            f"{first if index == 0 else '':<{width}}{line}".rstrip() + "\n" for index, line in enumerate(lines)
        )
    return text


def usage() -> str:
    """Options and commands, for --help."""
    return f"Usage: {USAGE}\n\n{_columns(_option_rows())}\n{_columns(_command_rows())}"


def _option_rows() -> t.Iterator[tuple[str, str]]:
    return ((f"{row.name} {row.value}".strip(), row.help) for row in OPTIONS)


def topic(word: str) -> str:
    """What ``help`` prints: the commands; one command; or for ``attr`` all attributes and algorithms."""
    if not word:
        return _columns(_command_rows()) + "\nMore: help COMMAND, help attr\n"
    if word == "attr":
        return f"{_columns(_attribute_rows())}\nAlgorithms:\n{_columns(_algorithm_rows())}"
    row = grammar.COMMAND_BY_WORD[word]
    text = f"{row.usage()}\n  {row.help}\n  Allowed {_places(row)}.\n"
    if row.name in grammar.FIELDS_OF_COMMAND:
        text += f"\n{_columns(_attribute_rows(grammar.FIELDS_OF_COMMAND[row.name]))}"
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


def _roff_lines(text: str) -> list[str]:
    return [_roff(line) for line in wrapped(text)]


def tables() -> t.Iterator[tuple[str, str, list[tuple[str, str]]]]:
    """Of each table of the reference: title, heading of the first column, and rows, each with a sentence."""
    commands = (
        (usage, f"{text}. Allowed {_places(grammar.COMMAND_BY_WORD[usage.split()[0]])}")
        for usage, text in _command_rows()
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
        # In two pieces, so that the licence check does not read the quote as part of the name.
        '.\\" SPDX-License-' + "Identifier: GPL-3.0-or-later",
        '.\\" Written by: ipseckey --man',
        '.TH IPSECKEY 8 "" "ipsec.manual" "System Administration"',
        ".SH NAME",
        _roff(f"ipseckey - {SUMMARY}"),
        ".SH SYNOPSIS",
        _roff(USAGE),
        ".SH DESCRIPTION",
        *_roff_lines(
            "Adds, changes, deletes and shows SAs whose keys no daemon negotiates, in the language of Solaris'"
            " ipseckey. Without an option or a command it opens a prompt."
        ),
    ]
    for title, dummy, rows in tables():
        lines.append(f".SH {title.upper()}")
        for left, right in rows:
            lines += (".TP", f".B {_roff(left)}", *_roff_lines(right))
    for title, text in SECTIONS.items():
        lines += (f".SH {title.upper()}", *_roff_lines(text))
    return "".join(f"{line}\n" for line in lines)
