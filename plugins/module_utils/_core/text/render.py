# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SAs to text in the language of ipseckey, which `script` reads back as the same SAs.

The fields of an SA become values by `Keyword.field`; `grammar.KEYWORDS` gives each its keyword, its
form and its position in the line."""

from __future__ import annotations

import re
import typing as t

from ..errors import InputError, IpsecError, raise_all, shown
from ..sa import model
from ..sa.model import SecurityAssociation, Selector
from . import grammar
from .grammar import LINUX, SOLARIS, Keyword
from .solaris import refusals

# How to write a value of each kind. Values of keywords that only Solaris knows are text already.
_WRITTEN: dict[str, t.Callable[[t.Any], str]] = {
    grammar.SPI: lambda spi: f"0x{spi:08x}",
    grammar.ADDRESS: model.format_address,
    grammar.NETWORK: lambda network: model.network_text(*network),
    grammar.NUMBER: str,
    grammar.KEY: str,
    grammar.ENCRYPTION: str,
    grammar.AUTHENTICATION: str,
    grammar.CHOICE: str,
    grammar.MARK: model.mark_text,
}
# Errors of the core name options; in a text these are keywords.
_KEYWORD_OF_OPTION = {
    "encryption_algorithm": "encr_alg",
    "authentication_algorithm": "auth_alg",
    "encryption_key": "encrkey",
    "authentication_key": "authkey",
    "replay_window": "replay",
    "encapsulation": "encap",
}
_OPTION = re.compile(r"\b(" + "|".join(_KEYWORD_OF_OPTION) + r")\b")


def _rows() -> t.Iterator[tuple[str, Keyword]]:
    """The first keyword of each field writes it. Flags come last, where `fast_lines` expects them."""
    seen = set()
    for row in sorted(grammar.KEYWORDS, key=lambda row: row.kind == grammar.FLAG):
        if row.field not in seen:
            seen.add(row.field)
            yield row.field, row


_ROWS = dict(_rows())
_PLACES = {field: place for place, field in enumerate(_ROWS)}
_STRANGE = re.compile(rf"[^ -~{grammar.BLANKS}]")
# A backslash at the end of a word could continue the line.
_QUOTE_WANTED = re.compile(rf"[{grammar.BLANKS}]|\\$")


def in_keywords(text: str) -> str:
    """A message of the core with keywords instead of option names."""
    return _OPTION.sub(lambda found: _KEYWORD_OF_OPTION[found[1]], text)


def render(
    sas: t.Iterable[SecurityAssociation],
    comment: str = "",
    target: str = LINUX,
    hide_keys: bool = False,
    earlier: t.Mapping[model.Identity, SecurityAssociation] | None = None,
) -> str:
    """The text that adds the SAs, one line each (long lines are continued). `parse` reads it back as the same SAs.

    ``comment`` goes on top. ``hide_keys`` replaces keys by fingerprints, which people can compare;
    such a text cannot be read back. It marks a short key that differs from that of the ``earlier``
    SA of the same identity. Raises InputError, or Problems, for what the target cannot express."""
    if target not in grammar.TARGETS:
        raise InputError(f"unknown target {shown(target)}", "target", f"Choose one of: {', '.join(grammar.TARGETS)}.")
    problems: list[IpsecError] = []
    lines = [f"# {line}".rstrip() for line in re.split(r"[\r\n\v\f]+", comment.replace("\0", ""))] if comment else []
    lines = [line + " ." if line.endswith("\\") else line for line in lines]
    for sa in sas:
        try:
            problems += [
                InputError(in_keywords(wrong.message), model.label(sa), wrong.hint) for wrong in refusals(sa, target)
            ]
            hidden = model.in_place_of_keys(sa, (earlier or {}).get(model.identity(sa))) if hide_keys else None
            lines.append(folded(words_of_sa(sa, target, hidden)))
        except InputError as wrong:
            problems.append(wrong.at(model.label(sa)))
    raise_all(problems)
    return "".join(f"{line}\n" for line in lines)


def words_of_sa(sa: SecurityAssociation, target: str = LINUX, hidden: t.Mapping[str, str] | None = None) -> list[str]:
    """The words of the command that adds the SA. ``hidden`` has the words to write instead of keys;
    with it, the words also show what no command can add.
    """
    words = ["add", sa.protocol, *words_of(_values(sa, target, hidden))]
    strange = model.unsayable(sa)
    if strange and hidden is None:
        raise InputError(f"it has what the language has no word for: {strange}", "extra")
    return [*words, model.FLAGS, *strange.split()] if strange else words


def words_of(values: t.Mapping[str, t.Any]) -> list[str]:
    """Keywords and values in the order of `grammar.KEYWORDS`; ``values`` are those of `Attributes`,
    except that a key is the text to write.
    """
    words: list[str] = []
    for field in sorted(values, key=_PLACES.__getitem__):
        row, value = _ROWS[field], values[field]
        if row.kind == grammar.FLAG:
            words.append(value)
        elif row.kind == grammar.IDENTITY:
            words += (row.name, *(quoted(text, row.name) for text in value.split(" ", 1)))
        elif row.known == grammar.EXTRA:
            words += (row.name, quoted(value, row.name))
        else:
            words += (row.name, _WRITTEN[row.kind](value))
    return words


def _values(sa: SecurityAssociation, target: str, hidden: t.Mapping[str, str] | None) -> dict[str, t.Any]:
    """The values of the SA by `Keyword.field`."""
    values: dict[str, t.Any] = {"spi": sa.spi, "destination": sa.destination}
    if any(sa.source):
        values["source"] = sa.source
    for field in ("encryption", "authentication", "replay_window", "reqid", "mark", "if_id", "direction"):
        value = getattr(sa, field)
        if value:
            values[field] = value
    for kind, key in ((grammar.ENCRYPTION, sa.encryption_key), (grammar.AUTHENTICATION, sa.authentication_key)):
        if key:
            values[f"{kind}_key"] = key.hex() if hidden is None else hidden[kind]
    integrity = model.algorithm_of(sa.authentication or sa.encryption)
    if (
        sa.icv_bits
        and target == LINUX
        and (integrity is None or not integrity.icv_bits or sa.icv_bits != integrity.icv_bits[0])
    ):
        values["icv_bits"] = sa.icv_bits
    if sa.lifetimes is not model.NO_LIFETIMES:
        values.update((field, limit) for field, limit in zip(sa.lifetimes._fields, sa.lifetimes) if limit)
    if sa.esn:
        values["esn"] = "esn"
    values.update(_traffic(sa, target))
    if sa.encapsulation is not None:
        source_port, destination_port, nat_local, nat_remote = sa.encapsulation
        ports = (destination_port, source_port) if sa.direction == model.INBOUND else (source_port, destination_port)
        values.update(encapsulation="udp", nat_local_port=ports[0])
        # The kernel of Solaris accepts a remote port in transport mode only with an address.
        if target == LINUX or nat_remote or ports[1] != grammar.NAT_PORT:
            values["nat_remote_port"] = ports[1]
        values.update(
            (field, address) for field, address in (("nat_local", nat_local), ("nat_remote", nat_remote)) if address
        )
    for keyword, text in sa.extra:
        if keyword in grammar.EXTRA_KEYWORDS:
            values[keyword] = text
        elif keyword != model.FLAGS:
            raise InputError(f"{shown(keyword)} is not a keyword that only Solaris knows", "extra")
    return values


def _traffic(sa: SecurityAssociation, target: str) -> t.Iterator[tuple[str, t.Any]]:
    """Mode and selector."""
    selector = sa.selector or Selector()
    tunnel = sa.mode == model.TUNNEL
    inner = tunnel or bool(selector.source or selector.destination)
    width = len(selector.source or selector.destination or sa.destination)
    if inner and target == LINUX:
        yield "mode", sa.mode
    if tunnel and target == SOLARIS:
        yield "protocol", 4 if width == 4 else 41
    for field, address, prefix in (
        ("inner_source", selector.source, selector.source_prefix),
        ("inner_destination", selector.destination, selector.destination_prefix),
    ):
        # Solaris requires both inner addresses or neither.
        if address or (tunnel and target == SOLARIS):
            yield field, (address or bytes(width), prefix)
    for field, number in (
        ("protocol", selector.protocol),
        ("source_port", selector.source_port),
        ("destination_port", selector.destination_port),
    ):
        if number:
            yield f"inner_{field}" if inner else field, number


def quoted(text: str, keyword: str) -> str:
    """A word as it is written in a text, in quotes if necessary. Raises InputError if no word can hold it."""
    if not text or text[0] in grammar.BLANKS or '"' in text or _STRANGE.search(text):
        raise InputError(
            f"the value of {keyword} cannot be written: it is empty, begins with a blank, or has quotes, line ends or"
            " characters that are not ASCII",
            "extra",
        )
    return f'"{text}"' if _QUOTE_WANTED.search(text) else text


def folded(words: t.Sequence[str]) -> str:
    """The words in one line, or in continued lines of at most `RENDERED_LINE_MAX` characters."""
    line = " ".join(words)
    if len(line) <= grammar.RENDERED_LINE_MAX:
        return line
    lines = [words[0]]
    for word in words[1:]:
        if len(lines[-1]) + len(word) + 3 > grammar.RENDERED_LINE_MAX:
            lines.append(" " + word)
        else:
            lines[-1] += " " + word
    return " \\\n".join(lines)
