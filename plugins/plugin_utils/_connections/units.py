# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The names of units, and which units a word names. Pure.

=========================  =====================================================================
name                       what it names
=========================  =====================================================================
``CONNECTION``             every unit of the connection; the name of its unit if it has only one
``CONNECTION/HOST,HOST``   a pair; this is its name, with the hosts in order
``CONNECTION/HOST``        the pairs of a host in the connection
``HOST,HOST``, ``HOST``    the same in every connection
=========================  =====================================================================
"""

from __future__ import annotations

import typing as t

from .model import GROUP, Connection, Unit

# In the name of a host they would make the names of pairs ambiguous.
SEPARATORS = frozenset("/,")


def name_of(connection: str, unit: Unit) -> str:
    """The name of one of several units of a connection."""
    return f"{connection}/{','.join(unit)}" if unit else connection


def names_of(connection: str, units: t.AbstractSet[Unit]) -> dict[Unit, str]:
    """The names of all units of a connection; a single one has that of the connection."""
    if len(units) == 1:
        return dict.fromkeys(units, connection)
    return {unit: name_of(connection, unit) for unit in sorted(units)}


def connection_of(name: str) -> str:
    """The connection of a unit, by its name."""
    return name.partition("/")[0]


def names_at(connection: Connection, host: str) -> dict[Unit, str]:
    """The names of one endpoint's units, in time proportional to their number; none of another host."""
    if host not in connection.hosts:
        return {}
    if connection.multicast:
        return {GROUP: connection.name}
    units = [(min(host, peer.host), max(host, peer.host)) for peer in connection.peers(host)]
    sole = len(connection.endpoints) == 2
    return {unit: connection.name if sole else name_of(connection.name, unit) for unit in units}


def matching(word: str, connection: Connection) -> frozenset[Unit]:
    """The units of a connection that a word names."""
    name, slash, rest = word.rpartition("/")
    if word == connection.name:
        return connection.units()
    if slash and name != connection.name:
        return frozenset()
    hosts = tuple(sorted(rest.split(",")))
    if connection.multicast:
        return frozenset([GROUP]) if set(hosts) <= set(connection.hosts) else frozenset()
    if len(hosts) == 1:
        return frozenset(names_at(connection, hosts[0]))
    known = len({*hosts}) == len(hosts) == 2 and set(hosts) <= set(connection.hosts) and connection.share(*hosts)
    return frozenset([hosts] if known else [])


def named(word: str, connections: t.Sequence[Connection]) -> dict[str, frozenset[Unit]]:
    """The units that a word names, by connection. A connection comes before a host of that name."""
    if any(connection.name == word for connection in connections):
        connections = [connection for connection in connections if connection.name == word]
    found = {connection.name: matching(word, connection) for connection in connections}
    return {name: units for name, units in found.items() if units}
