# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fields of `ipsec_connections`: how each is read, and its default. Pure."""

from __future__ import annotations

import difflib
import ipaddress
import re
import typing as t

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import shown
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import (
    AH,
    ESP,
    NO_LIFETIMES,
    TRANSPORT,
    TUNNEL,
    Lifetimes,
    Mark,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.text.values import is_unspecified_text

from .model import Network

ADDRESS_VARIABLE = "ipsec_address"

# By name: the function that reads a value (raises ValueError for an invalid one), and the default.
Fields = t.Mapping[str, t.Tuple[t.Callable[[t.Any], t.Any], t.Any]]


def _word(value: t.Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"a word is wanted, found {type(value).__name__}")
    return value


def _one_of(*words: str) -> t.Callable[[t.Any], str]:
    def convert(value: t.Any) -> str:
        if value not in words:
            raise ValueError(f"{shown(str(value))} is not one of {', '.join(words)}")
        return str(value)

    return convert


def _number(value: t.Any) -> int:
    # A template returns digits instead of a number.
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"a number from 0 is wanted, found {shown(str(value))}")
    return value


def _truth(value: t.Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"true or false is wanted, found {shown(str(value))}")
    return value


def _mark(value: t.Any) -> Mark:
    text = str(value)
    match = re.fullmatch(r"(0[xX][0-9a-fA-F]+|[0-9]+)(?:/(0[xX][0-9a-fA-F]+|[0-9]+))?", text)
    if isinstance(value, bool) or match is None:
        raise ValueError(f"{shown(text)} is not a valid mark; write VALUE or VALUE/MASK, decimal or with 0x")
    parts = [int(part, 16 if part[:2].lower() == "0x" else 10) for part in match.groups() if part]
    return Mark(*parts)


def _networks(value: t.Any) -> list[Network]:
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"a list of networks is wanted, found {type(value).__name__}")
    for text in map(str, value):
        if is_unspecified_text(text):
            raise ValueError(f"{text} without a prefix length may mean every address; write {text}/0")
    return [
        (network.network_address.packed, network.prefixlen) for network in map(ipaddress.ip_network, map(str, value))
    ]


def _lifetimes(value: t.Any) -> Lifetimes:
    if not isinstance(value, dict):
        raise ValueError(f"limits are a dictionary with any of {', '.join(Lifetimes._fields)}")
    for word in sorted(set(map(str, value)) - set(Lifetimes._fields)):
        near = difflib.get_close_matches(word, Lifetimes._fields, 3, 0.5) or Lifetimes._fields
        raise ValueError(f"there is no limit {shown(word)}; known here: {', '.join(near)}")
    return Lifetimes(**{name: _number(limit) for name, limit in value.items()})


def _hosts(value: t.Any) -> list[str]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"a name or a list of names is wanted, found {type(value).__name__}")
    return list(dict.fromkeys(map(str, names)))


def _upper_protocol(value: t.Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, str)) or not str(value):
        raise ValueError(f"a number or name of an upper-layer protocol is wanted, found {shown(str(value))}")
    return str(value)


def _variable(value: t.Any) -> str:
    if not isinstance(value, str) or not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", value):
        raise ValueError(f"the name of a variable is wanted, found {shown(str(value))}")
    return str(value)


def _anything(value: t.Any) -> t.Any:
    return value


CONNECTION: Fields = {
    "name": (_word, ""),
    "endpoints": (_anything, None),
    "address_variable": (_variable, ADDRESS_VARIABLE),
    "mode": (_one_of(TRANSPORT, TUNNEL), TRANSPORT),
    "associations": (_anything, [{"protocol": ESP}]),
    "reqid": (_number, 0),
    "mark": (_mark, None),
    "if_id": (_number, 0),
    "group": (_hosts, []),
    "hub": (_hosts, []),
    "multicast": (_hosts, []),
    "unicast": (_truth, False),
    "upper_protocol": (_upper_protocol, ""),
}
ENDPOINT: Fields = {
    "address": (_anything, None),
    "networks": (_networks, []),
}
ASSOCIATION: Fields = {
    "protocol": (_one_of(ESP, AH), ESP),
    "encryption_algorithm": (_word, ""),
    "encryption_bits": (_number, 0),
    "authentication_algorithm": (_word, ""),
    "icv_bits": (_number, 0),
    "replay_window": (_number, 0),
    "esn": (_truth, False),
    "lifetimes": (_lifetimes, NO_LIFETIMES),
}


def nearest(word: str, table: Fields) -> str:
    """The hint with the fields nearest to an unknown word: of this table, or of another that has nearer ones."""

    def nearness(row: tuple[str, Fields]) -> float:
        return max(difflib.SequenceMatcher(None, name, word).ratio() for name in row[1])

    place, fields = max(
        (("here", table), ("in associations", ASSOCIATION), ("in a connection", CONNECTION)), key=nearness
    )
    near = difflib.get_close_matches(word, fields, 3, 0.5)
    return f"Known {place}: {', '.join(near)}." if near else f"Known here: {', '.join(sorted(table))}."
