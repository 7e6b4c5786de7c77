# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filters for connections and ipseckeys text. Pure; each has its documentation beside this file."""

from __future__ import annotations

import inspect
import typing as t
from collections.abc import Mapping

from ansible.errors import AnsibleFilterError
from ansible.module_utils.parsing.convert_bool import boolean

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import (
    InputError,
    IpsecError,
    raise_all,
    shown,
    type_name,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa import checks, conflicts
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import (
    SecurityAssociation,
    format_address,
    is_unspecified,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.view import public
from ansible_collections.ipsec.manual.plugins.module_utils._core.spd import text
from ansible_collections.ipsec.manual.plugins.module_utils._core.specs import BACKEND, IPSEC_SA
from ansible_collections.ipsec.manual.plugins.module_utils._core.text import language
from ansible_collections.ipsec.manual.plugins.module_utils._core.text.mapping import OptionReader, read_sa
from ansible_collections.ipsec.manual.plugins.module_utils._core.text.values import parse_number
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.fields import ADDRESS_VARIABLE
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.model import Connection
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.reader import read_connections
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.units import connection_of, matching
from ansible_collections.ipsec.manual.plugins.plugin_utils._policies import PRIORITY, policies_of_host

View = t.Dict[str, t.Any]


def ipseckeys_parse(
    content: str,
    target: str = "linux",
    allow_static_counter_mode: bool = False,
    allow_reserved_spi: bool = False,
    allow_shared_key: bool = False,
) -> list[View]:
    allowed = _allowed(allow_static_counter_mode, allow_reserved_spi, allow_shared_key)
    return [public(sa) for sa in language.parse(_text(content, "text"), target=target, **allowed).sas]


def _allowed(*values: t.Any) -> dict[str, t.Any]:
    return {name: _boolean(value, name) for name, value in zip(checks.ANYTHING, values)}


def ipseckeys_render(
    sas: t.Sequence[t.Mapping[str, t.Any]],
    target: str = "linux",
    allow_static_counter_mode: bool = False,
    allow_reserved_spi: bool = False,
    allow_shared_key: bool = False,
) -> str:
    if not isinstance(sas, (list, tuple)):
        raise InputError(
            f"expected a list of security associations, found {type_name(sas)}",
            "sas",
            "Put a single one into brackets: [sa].",
        )
    static, reserved, shared = _allowed(allow_static_counter_mode, allow_reserved_spi, allow_shared_key).values()
    made, problems = [], []
    for index, view in enumerate(sas):
        try:
            made.append(_sa(view, f"sas[{index}]", static, reserved))
        except IpsecError as exc:
            problems.append(exc)
    raise_all([*problems, *conflicts.set_problems(made, [f"sas[{index}]" for index in range(len(made))], shared)])
    return language.render(made, target=target)


def _text(content: t.Any, place: str) -> t.Any:
    if not isinstance(content, (str, bytes)):
        raise InputError(
            f"expected a text, found {type_name(content)}", place, "Give the content of an ipseckeys file."
        )
    return content


Groups = t.Mapping[str, t.Sequence[str]]


Addresses = t.Mapping[str, t.Union[str, t.Mapping[str, t.Any]]]


def _read(connections: t.Any, addresses: Addresses | None, groups: Groups | None) -> list[Connection]:
    def variable_of(host: str, name: str) -> t.Any:
        given = (addresses or {}).get(host)
        if not isinstance(given, t.Mapping):
            given = {ADDRESS_VARIABLE: given}
        # Jinja cannot pass None for a variable that a host does not have, so an empty text counts as none.
        return given.get(name) or None

    return read_connections(
        connections,
        allow_static_counter_mode=True,
        groups=(groups or {}).get,
        variables=variable_of,
    )


def _of(connections: t.Sequence[Connection], host: str) -> list[Connection]:
    found = [connection for connection in connections if host in connection.hosts]
    if not found:
        raise InputError(f"no connection has the endpoint {host}", "host", "Name an endpoint as the connections do.")
    return found


def ipsec_connections_of(
    connections: t.Any, host: str, addresses: Addresses | None = None, groups: Groups | None = None
) -> list[str]:
    return [connection.name for connection in _read(connections, addresses, groups) if host in connection.hosts]


def ipsec_peers(
    connections: t.Any, host: str, addresses: Addresses | None = None, groups: Groups | None = None
) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for connection in _read(connections, addresses, groups):
        if host in connection.hosts:
            for peer in connection.peers(host):
                found.setdefault(peer.host, []).append(format_address(peer.address))
    return {peer: sorted(set(texts)) for peer, texts in sorted(found.items())}


def ipsec_sas(
    connections: t.Any,
    content: str,
    host: str,
    addresses: Addresses | None = None,
    groups: Groups | None = None,
) -> str:
    mine = _of(_read(connections, addresses, groups), host)
    own = {endpoint.address for connection in mine for endpoint in connection.endpoints if endpoint.host == host}
    shared = {
        destination
        for connection in mine
        if connection.multicast
        for dummy, ends in connection.flows()
        for destination in ends
    }
    parsed = language.parse(_text(content, "content"), name="content", **checks.ANYTHING).sas
    return language.render(
        [
            sa
            for sa in parsed
            if sa.source in own or sa.destination in own or (is_unspecified(sa.source) and sa.destination in shared)
        ]
    )


def ipsec_policies(
    connections: t.Any,
    host: str,
    only: t.Sequence[str] = (),
    direction: str | None = None,
    priority: int = PRIORITY,
    addresses: Addresses | None = None,
    groups: Groups | None = None,
) -> list[View]:
    if direction not in (None, "in", "out", "fwd"):
        raise InputError(f"unknown direction {shown(str(direction))}", "direction", "Choose one of: in, out, fwd.")
    priority = parse_number(str(priority), 32, "priority")
    chosen = connections
    if only and isinstance(connections, (list, tuple)):
        names = set(map(connection_of, map(str, only)))
        chosen = [raw for raw in connections if isinstance(raw, dict) and str(raw.get("name")) in names]
    found = _read(chosen, addresses, groups)
    if only:
        units = [frozenset().union(*(matching(str(word), connection) for word in only)) for connection in found]
        found = [connection.only(own) for connection, own in zip(found, units) if own]
    return [
        policy
        for connection in found
        for policy in policies_of_host(connection, host, priority)
        if direction in (None, policy["direction"]) or (direction == "in" and policy["direction"] == "fwd")
    ]


def ipsec_policies_render(policies: t.Any) -> str:
    return text.render(text.read_policies(policies, "policies", []))


def _boolean(value: t.Any, place: str) -> bool:
    try:
        return bool(boolean(value))
    except TypeError:
        raise InputError(f"{shown(str(value))} is neither true nor false", place, "Write true or false.") from None


# The options of ipsec_sa that describe an SA of a list.
_FIELDS = {
    name: row
    for name, row in IPSEC_SA.items()
    if name not in {"state", "selector", "encapsulation", "output_mark", "tfc_padding", "nat_keepalive"}
    and name not in (*BACKEND, *checks.ANYTHING)
}


def _sa(view: t.Any, place: str, allow_static_counter_mode: bool, allow_reserved_spi: bool) -> SecurityAssociation:
    reader = OptionReader()
    if isinstance(view, dict):
        # The filter ipseckeys_parse returns an empty text if there is no direction.
        view = {name: value for name, value in view.items() if (name, value) != ("direction", "")}
        if view.get("esn") is not None:
            view["esn"], given = None, view["esn"]
            with reader.noting():
                view["esn"] = _boolean(given, f"{place}.esn")
    options = reader.options(view, _FIELDS, place)
    reader.finish()
    sa = read_sa(reader, options, place, allow_static_counter_mode, allow_reserved_spi)[0]
    reader.finish()
    return sa


# The types of arguments that are not checked elsewhere, and their names.
_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "addresses": ((Mapping,), "a mapping"),
    "groups": ((Mapping,), "a mapping"),
    "host": ((str,), "a word"),
    "only": ((list, tuple, set), "a list"),
    "target": ((str,), "a word"),
}


def _reporting(name: str, work: t.Callable[..., t.Any]) -> t.Callable[..., t.Any]:
    signature = inspect.signature(work)

    def run(*arguments: t.Any, **options: t.Any) -> t.Any:
        try:
            given = signature.bind(*arguments, **options)
        except TypeError as exc:
            raise AnsibleFilterError(
                f"ipsec.manual.{name}: {exc}. It takes: {', '.join(signature.parameters)}."
            ) from None
        try:
            raise_all(list(_ill_typed(given.arguments)))
            return work(*given.args, **given.kwargs)
        except IpsecError as exc:
            raise AnsibleFilterError(f"ipsec.manual.{name}: {exc}") from exc

    return run


def _ill_typed(arguments: t.Mapping[str, t.Any]) -> t.Iterator[InputError]:
    for name, value in arguments.items():
        kinds, wanted = _KINDS.get(name, ((object,), ""))
        may_be_empty = name in ("addresses", "groups", "only")
        if not isinstance(value, kinds) and not (may_be_empty and value in (None, "")):
            yield InputError(
                f"this is {type_name(value)}, not {wanted}",
                name,
                "Name one host." if name == "host" else f"Give {wanted}, or omit it.",
            )


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        works = (
            ipseckeys_parse,
            ipseckeys_render,
            ipsec_connections_of,
            ipsec_peers,
            ipsec_sas,
            ipsec_policies,
            ipsec_policies_render,
        )
        return {work.__name__: _reporting(work.__name__, work) for work in works}
