# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Undoing a change of settings: a new generation with the settings before the change. No key comes back. Pure.

Which hosts share keys, and what only policies use, is not undone: a host that joined stays.
"""

from __future__ import annotations

import json
import sys
import typing as t

import yaml

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import InputError
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import format_address, mark_text

from .._connections.model import Connection, connection_of
from .parts import SHAPE
from .records import NEWEST, Generation, KeyRecord

Settings = t.Dict[str, t.Any]


def settings_before(connection: Connection, records: t.Iterable[KeyRecord], place: str) -> Settings:
    """The settings that the connection had before its newest change, or has since an undo took that
    change back. ``records`` are those of the connection. Raises InputError if there is no single answer.
    """
    found: list[Settings] = []
    addresses = {endpoint.host: format_address(endpoint.address) for endpoint in connection.endpoints}
    for record in records:
        before = _before(record)
        if before is None:
            continue
        plain = {name: value for name, value in before.settings.items() if name not in SHAPE}
        if plain not in found:
            found.append(plain)
        addresses.update((host, address) for host, address in before.endpoints.items() if host in addresses)
    if len(found) == 1:
        return {**found[0], "endpoints": addresses}
    raise InputError(
        (
            f"parts of connection {connection.name} had different settings before"
            if found
            else f"the keystore knows no earlier settings of connection {connection.name}"
        ),
        place,
        "Put the settings that you want into the connection, and run without rotate_undo. To undo the change of other"
        " connections alone, name those in rotate_only.",
    )


def _before(record: KeyRecord) -> Generation | None:
    newest = record.pick(NEWEST)
    if newest is None or newest.undone:
        return newest
    before = record.current if record.next is not None else record.previous
    return before if before is not None and _differ(before.settings, newest.settings) else None


def _differ(one: Settings, other: Settings) -> bool:
    """Whether settings differ in what an undo takes back."""
    names = {*one, *other}.difference(SHAPE)
    ends, others = one["endpoints"], other["endpoints"]
    return any(one.get(name) != other.get(name) for name in names) or any(
        others.get(host, address) != address for host, address in ends.items()
    )


def restored(connection: Connection, settings: Settings) -> Connection:
    """The connection with the result of `settings_before`. It takes nothing over: the SAs that ``replaces_reqid``
    names may be those of these settings.
    """
    before = connection_of(connection.name, settings)
    addresses = {endpoint.host: endpoint.address for endpoint in before.endpoints}
    return connection._replace(
        **{name: getattr(before, name) for name in ("mode", "associations", "reqid", "mark", "if_id")},
        **{name: getattr(before, name) for name in ("multicast", "unicast", "udp_port")},
        endpoints=tuple(endpoint._replace(address=addresses[endpoint.host]) for endpoint in connection.endpoints),
        replaces_reqid=None,
    )


def noted(record: KeyRecord, made: KeyRecord) -> KeyRecord:
    """The record with a next generation that remembers which settings it undoes: those of ``record`` before."""
    newest = record.pick(NEWEST)
    if newest is None or made.next is None:
        return made
    return made._replace(next=made.next._replace(undone=newest.undone or newest.settings))


def check(connection: Connection, records: t.Iterable[KeyRecord], place: str) -> None:
    """Refuse settings that were undone, since the connection has not been corrected since then."""
    settings = connection.settings()
    for record in records:
        newest = record.pick(NEWEST)
        if newest is not None and newest.undone and not _differ(newest.undone, settings):
            wanted = restored(connection, settings_before(connection, [record], place))
            raise InputError(
                f"connection {connection.name} still has the settings that rotate_undo took back",
                place,
                f"Restore in the connection: {'; '.join(differences(connection, wanted))}. If they are right after"
                " all, run with {new_keys}: true.",
            )


def differences(connection: Connection, wanted: Connection) -> list[str]:
    """The fields of the inventory in which ``wanted`` differs, each as a line of YAML."""
    now, then = _fields(connection), _fields(wanted)
    return [_line(name, value) for name, value in then.items() if now[name] != value]


def _line(name: str, value: t.Any) -> str:
    # Values from Ansible are subclasses that the YAML library cannot write.
    plain = json.loads(json.dumps({name: value}))
    written: str = yaml.safe_dump(plain, default_flow_style=True, sort_keys=False, width=sys.maxsize)
    return written.strip()[1:-1]


def _fields(connection: Connection) -> dict[str, t.Any]:
    return {
        "mode": connection.mode,
        "associations": [row.options() for row in connection.associations],
        "reqid": connection.reqid,
        "mark": mark_text(connection.mark) or None,
        "if_id": connection.if_id,
        "multicast": list(map(format_address, connection.multicast)),
        "unicast": connection.unicast,
        "encapsulation": {"port": connection.udp_port} if connection.udp_port else None,
        "endpoints": {endpoint.host: format_address(endpoint.address) for endpoint in connection.endpoints},
    }
