# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections: which endpoints share SAs, and with which algorithms. Pure.

A connection has two or more endpoints and one or two associations: ESP, AH, or both (ESP inside, AH
outside). Each association becomes one SA in each direction between every two endpoints, or, with
hubs, between each hub and every other endpoint. Each SA has an SPI and keys of its own. A
connection with multicast groups has one SA for each association, which all endpoints share for
sending and receiving (RFC 4552 section 7).

What shares keys is a *unit*: two hosts, or the whole group of a connection with multicast groups. Each
unit has its own keys, which change without those of any other unit."""

from __future__ import annotations

import collections
import itertools
import re
import types
import typing as t

from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.algorithms import BY_NAME
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import (
    TUNNEL,
    Lifetimes,
    Mark,
    format_address,
    mark_text,
    pack_address,
)

Raw = t.Mapping[str, t.Any]
Network = t.Tuple[bytes, int]
# The names of two hosts in order, or `GROUP`.
Unit = t.Tuple[str, ...]
GROUP: Unit = ()
# The name of a connection or of a single key; it becomes part of a file name.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


class Association(t.NamedTuple):
    """One SA of each direction, without its SPI and keys. ``encryption_bits`` is the key's size
    without salt, 0 for no key.
    """

    protocol: str
    mode: str
    encryption: str
    encryption_bits: int
    authentication: str
    icv_bits: int
    replay_window: int
    esn: bool
    lifetimes: Lifetimes

    def limits(self) -> dict[str, int]:
        """The lifetimes that are set."""
        return {name: limit for name, limit in self.lifetimes._asdict().items() if limit}

    def options(self) -> dict[str, t.Any]:
        """The fields that are set, as the inventory names them, without the mode, which is that of the connection."""
        fields = {
            "protocol": self.protocol,
            "encryption_algorithm": self.encryption,
            "encryption_bits": self.encryption_bits,
            "authentication_algorithm": self.authentication,
            "icv_bits": self.icv_bits,
            "replay_window": self.replay_window,
            "esn": self.esn,
            "lifetimes": self.limits(),
        }
        return {name: value for name, value in fields.items() if value}


class Endpoint(t.NamedTuple):
    """A host of the inventory with its packed address in the connection and, for tunnels, the networks
    behind it (packed address, prefix).
    """

    host: str
    address: bytes
    networks: tuple[Network, ...] = ()


class Connection(t.NamedTuple):
    """One checked connection. ``endpoints`` are sorted by host, ``associations`` in the order in which
    they are applied to a packet: ESP, then AH.

    ``hubs`` are hosts that share SAs with all endpoints, while the others share none with each other;
    empty for a full mesh. ``multicast`` are packed group addresses; with ``unicast``, the shared SA is
    also used for packets to the endpoints' own addresses. ``upper_protocol`` limits the policies.
    ``pairs``, if given, are the only pairs that share SAs: a part of a connection, made by `only`.
    ``replaces_reqid`` is that of SAs and policies between the same addresses which somebody else made and
    which those of the connection replace, None for none. ``udp_port`` is the port of both ends if ESP is carried
    in UDP, 0 if not."""

    name: str
    mode: str
    endpoints: tuple[Endpoint, ...]
    associations: tuple[Association, ...]
    reqid: int = 0
    mark: Mark | None = None
    if_id: int = 0
    hubs: tuple[str, ...] = ()
    multicast: tuple[bytes, ...] = ()
    unicast: bool = False
    upper_protocol: str = ""
    pairs: frozenset[Unit] | None = None
    replaces_reqid: int | None = None
    udp_port: int = 0

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(endpoint.host for endpoint in self.endpoints)

    @property
    def counter_mode(self) -> bool:
        """Whether a key of this connection must never be loaded twice (RFC 8221 section 3)."""
        return any(BY_NAME[row.encryption].counter_mode for row in self.associations if row.encryption)

    def settings(self) -> dict[str, t.Any]:
        """The settings of a generation, as plain data: different settings need a new generation."""
        return {
            "endpoints": {endpoint.host: format_address(endpoint.address) for endpoint in self.endpoints},
            "mode": self.mode,
            "associations": [{**row._asdict(), "lifetimes": row.limits()} for row in self.associations],
            "reqid": self.reqid,
            "mark": mark_text(self.mark),
            "if_id": self.if_id,
            **({"hubs": list(self.hubs)} if self.hubs else {}),
            **({"multicast": list(map(format_address, self.multicast))} if self.multicast else {}),
            **({"unicast": True} if self.unicast else {}),
            **({"udp_port": self.udp_port} if self.udp_port else {}),
            **({"pairs": _by_first(self.pairs)} if self.pairs is not None else {}),
        }

    def selectors(self) -> dict[str, t.Any]:
        """What only policies depend on, as plain data; empty if they are between the endpoints' addresses alone."""
        networks = {
            endpoint.host: [f"{format_address(address)}/{prefix}" for address, prefix in endpoint.networks]
            for endpoint in self.endpoints
            if endpoint.networks
        }
        return {
            **({"networks": networks} if networks else {}),
            **({"upper_protocol": self.upper_protocol} if self.upper_protocol else {}),
        }

    def units(self) -> frozenset[Unit]:
        """Everything that has keys of its own."""
        if self.multicast:
            return frozenset([GROUP])
        if self.pairs is not None:
            return self.pairs
        pairs = itertools.combinations(self.hosts, 2)
        return frozenset((pair for pair in pairs if self.share(*pair)) if self.hubs else pairs)

    def has_units_of(self, other: Connection) -> bool:
        """Whether both have the same units. They are listed only if the outlines differ: a mesh of 2,000 hosts has
        two million.
        """

        def outline(connection: Connection) -> tuple[t.Any, ...]:
            return bool(connection.multicast), connection.hosts, connection.hubs, connection.pairs

        return outline(self) == outline(other) or self.units() == other.units()

    def size(self) -> int:
        """The number of units, without listing them."""
        if self.multicast or self.pairs is not None:
            return len(self.pairs or [GROUP])
        hosts = len(self.endpoints)
        hubs = len(self.hubs) or hosts
        return hubs * (hosts - hubs) + hubs * (hubs - 1) // 2

    def only(self, units: t.AbstractSet[Unit]) -> Connection:
        """The part of the connection that these units are. Its settings do not depend on the rest."""
        if self.multicast or len(units) == self.size():
            return self
        degrees = collections.Counter(host for unit in units for host in unit)
        hubs = frozenset(host for host, degree in degrees.items() if degree == len(degrees) - 1)
        star = all(not hubs.isdisjoint(unit) for unit in units)
        return self._replace(
            endpoints=tuple(endpoint for endpoint in self.endpoints if endpoint.host in degrees),
            hubs=tuple(sorted(hubs)) if star and len(hubs) < len(degrees) else (),
            pairs=None if star else frozenset(units),
        )

    def peers(self, host: str) -> t.Iterator[Endpoint]:
        """The endpoints that ``host`` shares SAs with."""
        for peer in self.endpoints:
            if peer.host != host and self.share(host, peer.host):
                yield peer

    def share(self, host: str, peer: str) -> bool:
        """Whether two different endpoints share SAs."""
        if self.pairs is not None:
            return (min(host, peer), max(host, peer)) in self.pairs
        return not self.hubs or host in self.hubs or peer in self.hubs

    def flows(self, host: str = "") -> t.Iterator[tuple[bytes, tuple[bytes, ...]]]:
        """Source and destinations of every SA of an association; each has one SPI and one set of keys.
        With ``host``, only those of one endpoint, in time proportional to its peers."""
        if self.multicast:
            groups = (*self.multicast, *(endpoint.address for endpoint in self.endpoints if self.unicast))
            yield bytes(len(groups[0])), groups
        elif host:
            for address in (endpoint.address for endpoint in self.endpoints if endpoint.host == host):
                for peer in self.peers(host):
                    yield address, (peer.address,)
                    yield peer.address, (address,)
        else:
            for endpoint in self.endpoints:
                for peer in self.peers(endpoint.host):
                    yield endpoint.address, (peer.address,)

    def arrivals(self) -> t.Iterator[tuple[tuple[bytes, ...], list[bytes]]]:
        """Like `flows`, by receiver: destinations, and the sources of the SAs towards them."""
        if self.multicast:
            ((source, groups),) = self.flows()
            yield groups, [source]
            return
        for endpoint in self.endpoints:
            yield (endpoint.address,), [peer.address for peer in self.peers(endpoint.host)]

    def arrivals_at(self, address: bytes) -> t.Iterator[tuple[tuple[bytes, ...], list[bytes]]]:
        """The item of `arrivals` for an address, if any, in time proportional to its senders."""
        if self.multicast:
            ((source, groups),) = self.flows()
            if address in groups:
                yield groups, [source]
            return
        host = next((endpoint.host for endpoint in self.endpoints if endpoint.address == address), None)
        if host is not None:
            yield (address,), [peer.address for peer in self.peers(host)]


def as_it_was(connection: Connection, settings: Raw) -> Connection:
    """The connection with earlier `Connection.settings`; fields that only affect policies are the present ones."""
    networks = {endpoint.host: endpoint.networks for endpoint in connection.endpoints}
    earlier = connection_of(connection.name, settings)
    return earlier._replace(
        endpoints=tuple(
            endpoint._replace(networks=networks.get(endpoint.host, ()) if earlier.mode == TUNNEL else ())
            for endpoint in earlier.endpoints
        ),
        upper_protocol=connection.upper_protocol,
    )


def as_replaced(connection: Connection) -> Connection:
    """The connection with the reqid of the SAs that it takes over, if it names one."""
    replaced = connection.replaces_reqid
    return connection if replaced is None else connection._replace(reqid=replaced)


def connection_of(name: str, settings: Raw, selectors: Raw = types.MappingProxyType({})) -> Connection:
    """The inverse of `Connection.settings` and `Connection.selectors`; without the latter, fields that only
    affect policies keep their defaults. Raises KeyError, TypeError or ValueError for other data.
    """
    return Connection(
        name=name,
        mode=settings["mode"],
        endpoints=tuple(
            Endpoint(host, pack_address(address), tuple(map(_network, selectors.get("networks", {}).get(host, ()))))
            for host, address in sorted(settings["endpoints"].items())
        ),
        upper_protocol=selectors.get("upper_protocol", ""),
        associations=tuple(
            Association(**{**row, "lifetimes": Lifetimes(**row["lifetimes"])}) for row in settings["associations"]
        ),
        reqid=settings["reqid"],
        mark=Mark(*(int(part, 16) for part in settings["mark"].split("/"))) if settings["mark"] else None,
        if_id=settings["if_id"],
        hubs=tuple(settings.get("hubs", ())),
        multicast=tuple(map(pack_address, settings.get("multicast", ()))),
        unicast=bool(settings.get("unicast")),
        udp_port=settings.get("udp_port", 0),
        pairs=(
            frozenset((host, peer) for host, peers in settings["pairs"].items() for peer in peers)
            if "pairs" in settings
            else None
        ),
    )


def _network(text: str) -> Network:
    address, dummy, prefix = text.partition("/")
    return pack_address(address), int(prefix)


def _by_first(pairs: t.Iterable[Unit]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for host, peer in sorted(pairs):
        found.setdefault(host, []).append(peer)
    return found
