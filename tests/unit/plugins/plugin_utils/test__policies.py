# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The policies that connections make, against the SAs that they make: a status finds nothing wrong, unless
one of them is missing.
"""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core.audit.policies import PolicyFacts, compare
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import SecurityAssociation
from ansible_collections.ipsec.manual.plugins.module_utils._core.spd.policy import FORWARD, OUT, Policy
from ansible_collections.ipsec.manual.plugins.module_utils._core.spd.text import read_policies
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.flows import make_sa
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.model import Connection
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.reader import read_connections
from ansible_collections.ipsec.manual.plugins.plugin_utils._policies import policies_of_host

TWO = {"a": "192.0.2.1", "b": "192.0.2.2"}
NETWORKS = {
    "a": {"address": "192.0.2.1", "networks": ["10.1.0.0/16"]},
    "b": {"address": "192.0.2.2", "networks": ["10.2.0.0/16"]},
}
GROUP = {"mode": "transport", "multicast": ["224.0.0.5"], "upper_protocol": "ospf"}
CONNECTIONS: dict[str, dict[str, t.Any]] = {
    "pair": {},
    "esp-and-ah": {"associations": [{}, {"protocol": "ah"}]},
    "six": {"endpoints": {"a": "2001:db8::1", "b": "2001:db8::2"}, "reqid": 7},
    "mark": {"reqid": 7, "mark": "0x1/0xff"},
    "interface": {"reqid": 7, "if_id": 3},
    "tunnel": {"mode": "tunnel", "endpoints": NETWORKS},
    "mesh": {"endpoints": {**TWO, "c": "192.0.2.3"}},
    "group": GROUP,
    "group-and-peers": {**GROUP, "unicast": True},
    "group-six": {**GROUP, "endpoints": {"a": "fe80::1", "b": "fe80::2"}, "multicast": ["ff02::5"]},
}


def host_of(name: str, host: str) -> tuple[list[SecurityAssociation], list[Policy], frozenset[bytes]]:
    """The SAs, the policies and the addresses of an endpoint."""
    (found,) = read_connections([{"name": name, "endpoints": TWO, **CONNECTIONS[name]}], True)
    local = frozenset(endpoint.address for endpoint in found.endpoints if endpoint.host == host)
    return sas_of(found, host), list(read_policies(policies_of_host(found, host), "", [])), local


def sas_of(connection: Connection, host: str) -> list[SecurityAssociation]:
    return [
        make_sa(connection, row, source, destination, 0x1001, b"1" * (row.encryption_bits // 8), b"2" * 32)
        for row in connection.associations
        for source, destinations in connection.flows(host)
        for destination in destinations
    ]


@pytest.mark.parametrize("host", ["a", "b"])
@pytest.mark.parametrize("name", CONNECTIONS)
def test_sas_and_policies_of_a_connection_belong_together(name: str, host: str) -> None:
    sas, policies, local = host_of(name, host)
    assert compare(sas, policies, local) == PolicyFacts(len(policies), (), (), (), ())


@pytest.mark.parametrize("name", CONNECTIONS)
def test_a_missing_policy_or_sa_is_noticed(name: str) -> None:
    sas, policies, local = host_of(name, "a")
    for policy in policies:
        # Forwarded packets of a tunnel use an inbound SA that also has an inbound policy.
        if policy.direction != FORWARD and name != "tunnel":
            found = compare(sas, [row for row in policies if row != policy], local)
            assert found.leaking if policy.direction == OUT else found.open
    for sa in sas:
        assert compare([row for row in sas if row != sa], policies, local).waiting
