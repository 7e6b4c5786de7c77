# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The policies that make a connection's traffic use its SAs, as options of `ipsec_policy`. Pure."""

from __future__ import annotations

import ipaddress
import typing as t

from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import (
    TUNNEL,
    format_address,
    is_multicast,
    mark_text,
)

from ._connections.model import Connection, Endpoint, Network

# Leaves room below for exceptions that must be matched first.
PRIORITY = 1000

View = t.Dict[str, t.Any]


def policies_of_host(connection: Connection, host: str, priority: int = PRIORITY) -> list[View]:
    """The policies of one endpoint towards its peers or groups; none if the host is not an endpoint.

    They refer to SAs by reqid, never by SPI, so a rotation changes no policy. They require the SAs:
    without one, nothing is sent in the clear."""
    mine = next((endpoint for endpoint in connection.endpoints if endpoint.host == host), None)
    if mine is None:
        return []
    if connection.multicast:
        return list(_to_group(connection, mine, priority))
    return [policy for peer in connection.peers(host) for policy in _between(connection, mine, peer, priority)]


def _to_group(connection: Connection, mine: Endpoint, priority: int) -> t.Iterator[View]:
    """Every host sends to the groups and receives from any sender; only peers send to the host itself."""
    ((dummy, destinations),) = connection.flows()
    for destination in filter(is_multicast, destinations):
        group = Endpoint("", destination)
        yield _policy(connection, "out", mine, group, _host(mine), _host(group), priority)
        yield _policy(connection, "in", group, mine, (bytes(len(destination)), 0), _host(group), priority)
    if connection.unicast:
        for peer in connection.peers(mine.host):
            yield from _between(connection, mine, peer, priority)


def _between(connection: Connection, mine: Endpoint, peer: Endpoint, priority: int) -> t.Iterator[View]:
    for here in _networks(mine):
        for there in _networks(peer):
            if len(here[0]) != len(there[0]):
                continue
            yield _policy(connection, "out", mine, peer, here, there, priority)
            yield _policy(connection, "in", peer, mine, there, here, priority)
            if connection.mode == TUNNEL and mine.networks:
                yield _policy(connection, "fwd", peer, mine, there, here, priority)


def _policy(
    connection: Connection,
    direction: str,
    sender: Endpoint,
    receiver: Endpoint,
    source: Network,
    destination: Network,
    priority: int,
) -> View:
    policy: View = {
        "direction": direction,
        "selector": {
            "source": _text(source),
            "destination": _text(destination),
            **({"protocol": connection.upper_protocol} if connection.upper_protocol else {}),
        },
        "priority": priority,
        "templates": [
            {
                "protocol": row.protocol,
                "mode": row.mode,
                "reqid": connection.reqid,
                **(
                    {"source": format_address(sender.address), "destination": format_address(receiver.address)}
                    if row.mode == TUNNEL
                    else {}
                ),
            }
            for row in connection.associations
        ],
    }
    if connection.mark is not None:
        policy["mark"] = mark_text(connection.mark)
    if connection.if_id:
        policy["if_id"] = connection.if_id
    return policy


def _networks(endpoint: Endpoint) -> tuple[Network, ...]:
    return endpoint.networks or (_host(endpoint),)


def _host(endpoint: Endpoint) -> Network:
    return endpoint.address, len(endpoint.address) * 8


def _text(network: Network) -> str:
    return str(ipaddress.ip_network(network))
