# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fields of `ipsec_connections`, as argument specs. Fields that are also options of modules take
their specs from those modules. Pure.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
import typing as t

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import InputError, shown, type_name
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import ESP, NO_LIFETIMES, Mark
from ansible_collections.ipsec.manual.plugins.module_utils._core.specs import IPSEC_PREFLIGHT, IPSEC_SA
from ansible_collections.ipsec.manual.plugins.module_utils._core.text.mapping import (
    OptionReader,
    Options,
    read_lifetimes,
    read_udp_port,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.text.values import is_unspecified_text, parse_mark

from .model import Network

ADDRESS_VARIABLE = "ipsec_address"


def _as_it_is(value: t.Any, place: str) -> t.Any:
    return value


def _mark(value: t.Any, place: str) -> Mark | None:
    return parse_mark(str(value), place)


def _networks(value: t.Any, place: str) -> list[Network]:
    if not isinstance(value, (list, tuple)):
        raise InputError(f"this is {type_name(value)}, not a list of networks", place)
    for text in map(str, value):
        if is_unspecified_text(text):
            raise InputError(f"{text} without a prefix length may mean every address", place, f"Write {text}/0.")
    try:
        networks = [ipaddress.ip_network(str(text)) for text in value]
    except ValueError as exc:
        raise InputError(str(exc), place) from None
    return [(network.network_address.packed, network.prefixlen) for network in networks]


def _hosts(value: t.Any, place: str) -> list[str]:
    names = value if isinstance(value, (list, tuple)) else [value]
    for name in names:
        if not isinstance(name, str):
            raise InputError(f"{type_name(name)} is not a name", place, "Give a name or a list of names.")
    return list(dict.fromkeys(map(str, names)))


def _encapsulation(value: t.Any, place: str) -> int:
    """The UDP port of both ends."""
    reader = OptionReader()
    port = reader.options(value, ENCAPSULATION, place)["port"]
    port = reader.read(read_udp_port, port, f"{place}.port", 0)
    reader.finish()
    return port


def _variable(value: t.Any, place: str) -> str:
    if not isinstance(value, str) or not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", value):
        raise InputError(f"expected the name of a variable, found {shown(str(value))}", place)
    return str(value)


ENCAPSULATION: Options = {
    "type": IPSEC_SA["encapsulation"]["options"]["type"],
    "port": IPSEC_SA["encapsulation"]["options"]["destination_port"],
}
CONNECTION: Options = {
    "name": {"type": "str", "default": ""},
    "endpoints": {"parse": _as_it_is},
    "address_variable": {"parse": _variable, "default": ADDRESS_VARIABLE},
    "mode": IPSEC_SA["mode"],
    "associations": {"parse": _as_it_is, "default": [{"protocol": ESP}]},
    "reqid": IPSEC_SA["reqid"],
    "replaces_reqid": {"type": "int"},
    "mark": {"parse": _mark},
    "if_id": IPSEC_SA["if_id"],
    "encapsulation": {"parse": _encapsulation, "default": 0},
    "group": {"parse": _hosts, "default": []},
    "hub": {"parse": _hosts, "default": []},
    "multicast": {"parse": _hosts, "default": []},
    "unicast": {"type": "bool", "default": False},
    "upper_protocol": {"type": "str", "default": ""},
}
ENDPOINT: Options = {
    "address": {"parse": _as_it_is},
    "networks": {"parse": _networks, "default": []},
}
# The connection has one mode and one UDP port.
ASSOCIATION: Options = {
    **{
        name: row
        for name, row in IPSEC_PREFLIGHT["associations"]["options"].items()
        if name not in ("mode", "udp_port")
    },
    "lifetimes": {"parse": read_lifetimes, "default": NO_LIFETIMES},
}


def nearest(word: str, table: Options) -> str:
    """The hint with the fields nearest to an unknown word: of this table, or of another that has nearer ones."""

    def nearness(row: tuple[str, Options]) -> float:
        return max(difflib.SequenceMatcher(None, name, word).ratio() for name in row[1])

    place, fields = max(
        (("here", table), ("in associations", ASSOCIATION), ("in a connection", CONNECTION)), key=nearness
    )
    near = difflib.get_close_matches(word, fields, 3, 0.5)
    return f"Known {place}: {', '.join(near)}." if near else f"Known here: {', '.join(sorted(table))}."
