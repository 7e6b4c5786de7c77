# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import sys
import typing as t

import pytest
import yaml

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import IpsecError
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import (
    AH,
    ESP,
    TRANSPORT,
    TUNNEL,
    Encapsulation,
    format_address,
)
from ansible_collections.ipsec.manual.plugins.modules import ipsec_keystore
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.fields import ASSOCIATION, CONNECTION
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.flows import make_sa
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.model import Connection, connection_of
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.reader import read_connections
from ansible_collections.ipsec.manual.plugins.plugin_utils._policies import policies_of_host

ENDS = {"enigma": "192.0.2.1", "partym": "192.0.2.2"}


def read(
    raw: t.Any,
    addresses: t.Callable[[str], t.Any] = lambda host: None,
    variables: t.Callable[[str, str], t.Any] = lambda host, name: None,
    **options: t.Any,
) -> list[Connection]:
    """Read connections of hosts that have these addresses, and further variables."""

    def variable_of(host: str, name: str) -> t.Any:
        return addresses(host) if name == "ipsec_address" else variables(host, name)

    return read_connections(raw, variables=variable_of, place="ipsec_connections", **options)


def one(**fields: t.Any) -> Connection:
    (connection,) = read([{"name": "c", "endpoints": ENDS, **fields}], allow_static_counter_mode=True)
    return connection


def test_a_name_and_two_addresses_are_enough() -> None:
    connection = one()
    (row,) = connection.associations
    assert (row.protocol, row.mode, row.encryption, row.encryption_bits, row.authentication, row.icv_bits) == (
        ESP,
        TRANSPORT,
        "aes-cbc",
        256,
        "hmac-sha256",
        128,
    )
    assert connection.hosts == ("enigma", "partym") and not connection.counter_mode


def test_listed_endpoints_have_their_address_from_the_inventory() -> None:
    (connection,) = read(
        [{"name": "c", "endpoints": ["b", "a"]}], addresses={"a": "2001:db8::1", "b": "2001:db8::2"}.get
    )
    assert connection.settings()["endpoints"] == {"a": "2001:db8::1", "b": "2001:db8::2"}


@pytest.mark.parametrize(
    ("given", "suite"),
    [
        ({"encryption_algorithm": "3des", "authentication_algorithm": "md5"}, ("3des-cbc", 192, "hmac-md5", 96)),
        ({"authentication_algorithm": "SHA512"}, ("aes-cbc", 256, "hmac-sha512", 256)),
        ({"encryption_algorithm": "null", "authentication_algorithm": "sha256"}, ("null", 0, "hmac-sha256", 128)),
        ({"encryption_algorithm": "aes-gcm", "encryption_bits": 128}, ("aes-gcm", 128, "", 128)),
        (
            {
                "encryption_algorithm": "aes",
                "encryption_bits": "192",
                "authentication_algorithm": "sha1",
                "icv_bits": 160,
            },
            ("aes-cbc", 192, "hmac-sha1", 160),
        ),
    ],
)
def test_algorithms_of_esp(given: dict[str, t.Any], suite: tuple[t.Any, ...]) -> None:
    (row,) = one(associations=[given]).associations
    assert (row.encryption, row.encryption_bits, row.authentication, row.icv_bits) == suite


def test_esp_is_inside_ah_and_only_esp_uses_tunnel_mode() -> None:
    both = [{"protocol": "ah"}, {"protocol": "esp", "encryption_algorithm": "aes"}]
    assert [(row.protocol, row.mode) for row in one(mode="tunnel", associations=both).associations] == [
        (ESP, TUNNEL),
        (AH, TRANSPORT),
    ]
    assert [(row.protocol, row.mode) for row in one(mode="tunnel", associations=[{"protocol": "ah"}]).associations] == [
        (AH, TUNNEL)
    ]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"associations": [{"encryption_algorithm": "aes-cbc"}]},
            ".associations: ESP without integrity can be forged (RFC 8221 section 4). Add authentication_algorithm",
        ),
        (
            {"associations": [{"encryption_algorithm": "aes-cbd"}]},
            ".associations[0].encryption_algorithm: unknown encryption algorithm 'aes-cbd'. Nearest names: aes-cbc",
        ),
        ({"associations": [{"encryption_algorithm": "md5"}]}, "'md5' is an authentication algorithm"),
        ({"associations": [{"protocol": "ah", "encryption_algorithm": "aes"}]}, "AH cannot encrypt"),
        (
            {"associations": [{"encryption_bits": 100}]},
            "aes-cbc has no key size of 100 bits. Choose one of: 256, 192, 128.",
        ),
        ({"associations": [{"protocol": "ah", "encryption_bits": 128}]}, "the association has no encryption key"),
        ({"associations": [{}, {}]}, "esp is given twice"),
        ({"associations": []}, ".associations: expected a list of one or two associations"),
        ({"associations": [{"esn": True}]}, ".associations[0].esn: extended sequence numbers need a replay window"),
        ({"associations": [{"esn": "yes"}]}, ".associations[0].esn: this is a word, not true or false"),
        ({"associations": [{"icv_bits": 64}]}, "hmac-sha256 has no ICV of 64 bits"),
        (
            {"associations": [{"lifetimes": {"hard_byte": 1}}]},
            ".lifetimes: unknown name 'hard_byte'. Nearest: hard_bytes",
        ),
        (
            {"associations": [{"lifetimes": 1}]},
            ".lifetimes: this is a whole number, not a mapping. Known names are: soft_bytes",
        ),
        (
            {"associations": [{"lifetimes": {"hard_bytes": 1, "soft_bytes": 2}}]},
            "soft_bytes: the soft limit 2 is above the hard limit 1",
        ),
        (
            {"associations": [{"authentication": "md5"}]},
            ".associations[0]: unknown name 'authentication'. Known here: authentication_algorithm",
        ),
        ({"associations": ["esp"]}, ".associations[0]: this is a word, not a mapping"),
        ({"mode": "tunel"}, ".mode: unknown mode 'tunel'. Choose one of: transport, tunnel."),
        ({"reqid": -1}, ".reqid: -1 does not fit 32 bits"),
        ({"reqid": True}, ".reqid: this is true or false, not a whole number"),
        ({"reqid": 1 << 32}, "(c).reqid: 4294967296 does not fit 32 bits"),
        ({"mark": "1/2/3"}, ".mark: '2/3' is not a number"),
        ({"mark": "0x3/0x1"}, "(c).mark: the mark 0x3 has bits outside its mask 0x1"),
        ({"endpoints": {"a": "192.0.2.1"}}, ".endpoints: a connection joins two or more endpoints, found 1"),
        ({"endpoints": {"a": "192.0.2.1", "b": "192.0.2.1"}}, ".endpoints: the address 192.0.2.1 is given twice"),
        ({"endpoints": {"a": "192.0.2.1", "b": "2001:db8::1"}}, ".endpoints: the endpoints mix IPv4 and IPv6"),
        (
            {"endpoints": {"a": "192.0.2.1", "b,c": "192.0.2.2"}},
            ".endpoints.b,c: the name of the host 'b,c' has a comma or a slash, which separate the parts of a pair's",
        ),
        (
            {"endpoints": {"a": "192.0.2.1", "b/c": "192.0.2.2"}},
            ".endpoints.b/c: the name of the host 'b/c' has a comma",
        ),
        (
            {"endpoints": {"a": "192.0.2.1", "b": "host.example"}},
            ".endpoints.b: 'host.example' is not a literal IPv4 or IPv6 address. Write the address itself",
        ),
        (
            {"endpoints": {"a": "192.0.2.1", "b": "224.0.0.5"}},
            ".endpoints.b: 224.0.0.5 is not the address of a host. Groups that endpoints send to go into multicast.",
        ),
        (
            {"endpoints": {"a": "192.0.2.1", "b": {"address": "0.0.0.0"}}},
            ".endpoints.b: 0.0.0.0 is not the address of a host",
        ),
        ({"endpoints": {"a": "::", "b": "2001:db8::1"}}, ".endpoints.a: :: is not the address of a host"),
        (
            {"endpoints": ["a", "b"]},
            ".endpoints.a: the endpoint has no address. Give it here, or set the variable ipsec_address of the host a.",
        ),
        ({"endpoints": {"a": "192.0.2.1", "b": ""}}, ".endpoints.b: the endpoint has no address"),
        ({"endpoints": {"a": "192.0.2.1", "b": {"address": ""}}}, ".endpoints.b: the endpoint has no address"),
        ({"endpoints": "a"}, ".endpoints: endpoints are missing"),
        (
            {"endpoints": {"a": {"address": "192.0.2.1", "networks": ["10.0.0.0/8"]}, "b": "192.0.2.2"}},
            ".endpoints.a.networks: networks behind an endpoint need tunnel mode",
        ),
        (
            {
                "mode": "tunnel",
                "endpoints": {"a": {"address": "192.0.2.1", "networks": ["10.0.0.1/8"]}, "b": "192.0.2.2"},
            },
            ".endpoints.a.networks: 10.0.0.1/8 has host bits set",
        ),
        (
            {
                "mode": "tunnel",
                "endpoints": {"a": {"address": "192.0.2.1", "networks": ["0.0.0.0"]}, "b": "192.0.2.2"},
            },
            ".endpoints.a.networks: 0.0.0.0 without a prefix length may mean every address. Write 0.0.0.0/0",
        ),
        ({"address_variable": "{{ x }}"}, ".address_variable: expected the name of a variable, found '{{ x }}'"),
        ({"encapsulation": "udp"}, ".encapsulation: this is a word, not a mapping. Known names are: type, port"),
        ({"encapsulation": {"type": "tcp"}}, ".encapsulation.type: unknown type 'tcp'. Choose one of: udp"),
        ({"encapsulation": {"port": 0}}, ".encapsulation.port: 0 is not a UDP port"),
        ({"encapsulation": {"port": 1 << 16}}, ".encapsulation.port: 65536 is not a UDP port"),
        (
            {"encapsulation": {}, "associations": [{}, {"protocol": "ah"}]},
            ".encapsulation: only ESP can be carried in UDP (RFC 3948). Remove encapsulation, or the AH association",
        ),
        (
            {"encapsulation": {}, "multicast": ["224.0.0.5"]},
            ".encapsulation: packets to a multicast group are not carried in UDP",
        ),
        ({"associations": [{"udp_port": 4500}]}, ".associations[0]: unknown name 'udp_port'"),
        ({"peers": {}}, "(c): unknown name 'peers'"),
        ({"protokol": "ah"}, "(c): unknown name 'protokol'. Known in associations: protocol"),
        ({"encryption": "aes"}, "(c): unknown name 'encryption'. Known in associations: encryption_bits, encr"),
        ({"associations": [{"endpoint": []}]}, ".associations[0]: unknown name 'endpoint'. Known in a connection:"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, t.Any], message: str) -> None:
    with pytest.raises(IpsecError) as caught:
        one(**fields)
    assert message in str(caught.value) and "ipsec_connections[0] (c)" in str(caught.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"endpoints": {"a": "192.0.2.1", "b": {"adress": "192.0.2.2"}}},
        {"endpoints": None, "endpoint": {"a": "192.0.2.1", "b": "192.0.2.2"}},
        {"endpoints": None, "groop": "all"},
        {"endpoints": None, "group": 5},
        {"endpoints": {"a": "192.0.2.1"}, "hubs": ["b"]},
        {"endpoints": ["x", "y"], "address_varible": "other"},
        {"endpoints": ["x", "z"], "address_varible": "other"},
        {"endpoints": ["x", "y"], "address_variable": "o-ther"},
        {"endpoints": ENDS, "multicats": ["224.0.0.5"]},
        {"mod": "tunnel", "endpoints": {"a": {"address": "192.0.2.8", "networks": ["10.0.0.0/8"]}, "b": "192.0.2.9"}},
        {"mode": "tunel", "endpoints": {"a": {"address": "192.0.2.8", "networks": ["10.0.0.0/8"]}, "b": "192.0.2.9"}},
        {"associations": [{"encryption_algoritm": "blowfish-cbc", "encryption_bits": 100}]},
        {"associations": [{"lifetimes": {"hard_packet": 5}}]},
    ],
)
def test_one_mistake_is_reported_once(fields: dict[str, t.Any]) -> None:
    """Neither what the field would have changed, nor a conflict with another connection is reported besides."""
    other = {"name": "other", "endpoints": ENDS}
    hosts = {"x": "192.0.2.1", "y": "192.0.2.2"}
    usual = {"a": "192.0.2.8", "b": "192.0.2.9"}
    with pytest.raises(IpsecError) as caught:
        read([other, {"name": "c", "endpoints": usual, **fields}], hosts.get)
    assert len(str(caught.value).splitlines()) == 1, caught.value


def test_a_misspelt_name_is_not_a_missing_one() -> None:
    with pytest.raises(IpsecError, match=r"^ipsec_connections\[0\]: unknown name 'nmae'\. Known here: name\b"):
        read([{"nmae": "c", "endpoints": ENDS}])


def test_further_mistakes_are_reported_beside_an_unknown_name() -> None:
    with pytest.raises(IpsecError) as caught:
        read([{"name": "c", "endpoint": 1, "reqid": "?", "endpoints": {"a": "?", "b": {"address": "!", "network": 1}}}])
    assert len(str(caught.value).splitlines()) == 5


def test_counter_modes_need_the_option() -> None:
    raw = [{"name": "c", "endpoints": ENDS, "associations": [{"encryption_algorithm": "aes-gcm"}]}]
    with pytest.raises(IpsecError, match="RFC 8221 section 3"):
        read(raw)
    assert read(raw, allow_static_counter_mode=True)[0].counter_mode


@pytest.mark.parametrize("name", [None, "", "a b", "../x", ".hidden", "x" * 101, 7])
def test_names_are_file_names(name: t.Any) -> None:
    with pytest.raises(IpsecError, match=r"ipsec_connections\[0\]\.name"):
        read([{"name": name, "endpoints": ENDS}])


def test_two_connections_over_one_pair_are_reported_by_name() -> None:
    with pytest.raises(IpsecError, match=r"connections one and two both join 192\.0\.2\.1 and 192\.0\.2\.2"):
        read([{"name": "one", "endpoints": ENDS}, {"name": "two", "endpoints": {**ENDS, "third": "192.0.2.3"}}])
    with pytest.raises(IpsecError, match="two connections named one"):
        read([{"name": "one", "endpoints": ENDS}, {"name": "one", "endpoints": {"a": "192.0.2.8", "b": "192.0.2.9"}}])
    # On macOS, both names would be the same file.
    with pytest.raises(IpsecError, match="two connections whose names differ only in capitals, one and One"):
        read([{"name": "one", "endpoints": ENDS}, {"name": "One", "endpoints": {"a": "192.0.2.8", "b": "192.0.2.9"}}])


def test_all_problems_come_together() -> None:
    with pytest.raises(IpsecError) as caught:
        read([{"name": "a b"}, {"name": "x", "endpoints": {"a": "?", "b": "!"}, "mode": "?", "reqid": "?"}, 5])
    assert len(str(caught.value).splitlines()) == 6
    with pytest.raises(IpsecError, match="expected a list of connections, found a mapping"):
        read({})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"replaces_reqid": 0}, "this is the reqid of the connection itself"),
        ({"replaces_reqid": 1 << 32}, "does not fit 32 bits"),
        ({"replaces_reqid": -1}, "does not fit 32 bits"),
        ({"replaces_reqid": 7, "multicast": "224.0.0.5"}, "SAs of a multicast group"),
        ({"replaces_reqid": "x"}, "replaces_reqid"),
    ],
)
def test_what_is_replaced_must_be_another_reqid(fields: dict[str, t.Any], message: str) -> None:
    with pytest.raises(IpsecError, match=message):
        one(**fields)


def test_what_is_replaced_is_no_setting_of_a_generation() -> None:
    found = one(reqid=7, replaces_reqid=0)
    assert found.replaces_reqid == 0 and found.settings() == one(reqid=7).settings()


@pytest.mark.parametrize(("given", "port"), [({}, 4500), ({"type": "udp", "port": "4501"}, 4501)])
def test_esp_in_udp_has_one_port_at_both_ends(given: dict[str, t.Any], port: int) -> None:
    found = one(encapsulation=given)
    (row,) = found.associations
    sa = make_sa(found, row, *[end.address for end in found.endpoints], 0x1001, bytes(range(32)), bytes(range(32, 64)))
    assert sa.encapsulation == Encapsulation(port, port)
    assert connection_of("c", found.settings()) == found
    assert "udp_port" not in one().settings()


def test_policies_require_the_sas_by_reqid_in_both_directions() -> None:
    assert policies_of_host(one(reqid=7, mark="0x10", if_id=3), "enigma") == [
        {
            "direction": direction,
            "selector": {"source": f"{source}/32", "destination": f"{destination}/32"},
            "priority": 1000,
            "templates": [{"protocol": "esp", "mode": "transport", "reqid": 7}],
            "mark": "0x10/0xffffffff",
            "if_id": 3,
        }
        for direction, source, destination in (("out", "192.0.2.1", "192.0.2.2"), ("in", "192.0.2.2", "192.0.2.1"))
    ]
    assert policies_of_host(one(), "nobody") == []


def test_policies_of_a_tunnel_join_the_networks() -> None:
    ends = {
        "a": {"address": "192.0.2.1", "networks": ["10.1.0.0/16"]},
        "b": {"address": "192.0.2.2", "networks": ["10.2.0.0/16", "10.3.0.0/16"]},
    }
    found = policies_of_host(one(mode="tunnel", endpoints=ends), "a")
    assert [
        (policy["direction"], policy["selector"]["source"], policy["selector"]["destination"]) for policy in found
    ] == [
        ("out", "10.1.0.0/16", "10.2.0.0/16"),
        ("in", "10.2.0.0/16", "10.1.0.0/16"),
        ("fwd", "10.2.0.0/16", "10.1.0.0/16"),
        ("out", "10.1.0.0/16", "10.3.0.0/16"),
        ("in", "10.3.0.0/16", "10.1.0.0/16"),
        ("fwd", "10.3.0.0/16", "10.1.0.0/16"),
    ]
    assert found[0]["templates"] == [
        {"protocol": "esp", "mode": "tunnel", "reqid": 0, "source": "192.0.2.1", "destination": "192.0.2.2"}
    ]
    assert found[1]["templates"][0]["source"] == "192.0.2.2"


INVENTORY = {"h1": "192.0.2.1", "h2": "192.0.2.2", "h3": "192.0.2.3", "s1": "192.0.2.11", "s2": "192.0.2.12"}
GROUPS = {"mesh": ["h1", "h2", "h3"], "spokes": ["s1", "s2"], "empty": []}


def grouped(**fields: t.Any) -> Connection:
    (connection,) = read(
        [{"name": "c", **fields}], addresses=INVENTORY.get, groups=GROUPS.get, allow_static_counter_mode=True
    )
    return connection


def flows(connection: Connection, host: str = "") -> set[tuple[str, str]]:
    return {(format_address(source), format_address(end)) for source, ends in connection.flows(host) for end in ends}


def test_a_group_is_a_full_mesh_of_its_hosts() -> None:
    mesh = grouped(group="mesh")
    assert mesh.hosts == ("h1", "h2", "h3") and len(flows(mesh)) == 6 and len(flows(mesh, "h2")) == 4
    more = grouped(group=["mesh", "spokes"], endpoints={"h2": "192.0.2.22", "x": "192.0.2.99"})
    assert more.settings()["endpoints"] == {**INVENTORY, "h2": "192.0.2.22", "x": "192.0.2.99"}


def test_a_connection_chooses_the_variable_of_its_addresses() -> None:
    asked = {("h1", "ipsec_address6"): "2001:db8::1", ("h2", "ipsec_address6"): "2001:db8::2"}
    raw = [
        {"name": "four", "endpoints": ["h1", "h2"]},
        {"name": "six", "group": "mesh", "endpoints": {"h3": "2001:db8::3"}, "address_variable": "ipsec_address6"},
    ]
    found = read(raw, addresses=INVENTORY.get, groups=GROUPS.get, variables=lambda host, name: asked.get((host, name)))
    assert [flow[0][:2] for flow in map(sorted, map(flows, found))] == [
        ("192.0.2.1", "192.0.2.2"),
        ("2001:db8::1", "2001:db8::2"),
    ]
    with pytest.raises(IpsecError, match=r"\(six\)\.endpoints\.h3: .*set the variable ipsec_address6 of the host h3"):
        read(
            [{**raw[1], "endpoints": None}],
            groups=GROUPS.get,
            variables=lambda host, name: asked.get((host, name)),
        )


def test_a_hub_shares_with_all_and_spokes_with_none_of_each_other() -> None:
    star = grouped(group="spokes", hub="h1")
    assert flows(star) == {
        ("192.0.2.1", "192.0.2.11"),
        ("192.0.2.11", "192.0.2.1"),
        ("192.0.2.1", "192.0.2.12"),
        ("192.0.2.12", "192.0.2.1"),
    }
    assert [peer.host for peer in star.peers("s1")] == ["h1"] and [peer.host for peer in star.peers("h1")] == [
        "s1",
        "s2",
    ]
    two = grouped(endpoints=["h2", "s1", "s2"], hub=["h1", "h2"])
    assert len(flows(two)) == 10 and [peer.host for peer in two.peers("s2")] == ["h1", "h2"]


@pytest.mark.parametrize(
    "fields",
    [
        {"group": "mesh"},
        {"group": "spokes", "hub": "h1"},
        {"group": ["mesh"], "multicast": ["224.0.0.5"], "unicast": True},
    ],
)
def test_the_flows_of_one_host_are_its_share_of_all_flows(fields: dict[str, t.Any]) -> None:
    connection = grouped(**fields)
    for endpoint in connection.endpoints:
        address = format_address(endpoint.address)
        mine = {flow for flow in flows(connection) if address in flow or connection.multicast}
        assert flows(connection, endpoint.host) == mine
    arrived = {
        (format_address(source), format_address(end))
        for ends, sources in connection.arrivals()
        for source in sources
        for end in ends
    }
    assert arrived == flows(connection)
    for endpoint in connection.endpoints:
        towards = {
            (source, endpoint.address)
            for ends, sources in connection.arrivals_at(endpoint.address)
            for source in sources
        }
        assert {(format_address(source), format_address(end)) for source, end in towards} == {
            flow for flow in flows(connection) if flow[1] == format_address(endpoint.address)
        }


@pytest.mark.parametrize(
    "fields",
    [
        {"group": "mesh", "mark": "0x10/0xff", "reqid": 4, "if_id": 7},
        {
            "group": "spokes",
            "hub": "h1",
            "mode": "tunnel",
            "associations": [{"lifetimes": {"hard_bytes": 9}}, {"protocol": "ah"}],
        },
        {"group": "mesh", "multicast": ["224.0.0.5"], "unicast": True, "associations": [{"protocol": "ah"}]},
    ],
)
def test_a_connection_is_restored_from_its_settings(fields: dict[str, t.Any]) -> None:
    connection = grouped(**fields)
    settings = json.loads(json.dumps(connection.settings()))
    assert (
        connection_of("c", settings) == connection
        and connection_of("c", settings).settings() == settings == connection.settings()
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"group": "nowhere"}, ".group: the inventory has no group 'nowhere'"),
        ({"group": "empty"}, ".endpoints: a connection joins two or more endpoints, found 0"),
        ({"group": 7}, ".group: a whole number is not a name. Give a name or a list of names."),
        ({"group": ["mesh", 7]}, ".group: a whole number is not a name"),
        ({"hub": "h1"}, ".endpoints: endpoints are missing"),
        ({"group": "mesh", "hub": ["h1", "h2", "h3"]}, ".hub: every endpoint is a hub"),
        (
            {"group": "mesh", "hub": "unknown"},
            ".endpoints.unknown: the endpoint has no address. Give it here, or set the variable ipsec_address of the"
            " host unknown. For a host that is not in the inventory, see the page 'Where keys live',"
            " 'A host that Ansible cannot reach'.",
        ),
        ({"group": "mesh", "multicast": ["192.0.2.1"]}, ".multicast: 192.0.2.1 is not a multicast address"),
        (
            {"group": "mesh", "multicast": ["all-routers"]},
            ".multicast: 'all-routers' is not a literal IPv4 or IPv6 address",
        ),
        ({"group": "mesh", "multicast": ["ff02::5"]}, ".multicast: the groups and the endpoints mix IPv4 and IPv6"),
        ({"group": "mesh", "multicast": ["224.0.0.5"], "hub": "h1"}, ".hub: all endpoints share the SA"),
        (
            {"group": "mesh", "multicast": ["224.0.0.5"], "mode": "tunnel"},
            ".mode: the SA of a multicast group needs transport mode",
        ),
        (
            {"group": "mesh", "multicast": ["224.0.0.5"], "associations": [{"replay_window": 32}]},
            "no anti-replay window (RFC 4303 section 2.2)",
        ),
        (
            {"group": "mesh", "multicast": ["224.0.0.5"], "associations": [{"encryption_algorithm": "aes-gcm"}]},
            "aes-gcm would repeat nonces at once",
        ),
        ({"group": "mesh", "unicast": True}, ".unicast: only a connection with multicast groups shares one SA"),
        (
            {"group": "mesh", "upper_protocol": True},
            ".upper_protocol: this is true or false, not a word",
        ),
        (
            {
                "mode": "tunnel",
                "endpoints": {
                    "a": {"address": "192.0.2.1", "networks": ["10.0.0.0/8"]},
                    "b": {"address": "192.0.2.2", "networks": ["fd00::/8"]},
                },
            },
            ".endpoints.a.networks: no peer has a network of the same address family",
        ),
    ],
)
def test_incompatible_fields_are_named(fields: dict[str, t.Any], message: str) -> None:
    with pytest.raises(IpsecError) as caught:
        grouped(**fields)
    assert message in str(caught.value) and "ipsec_connections[0] (c)" in str(caught.value)


MESH: dict[str, t.Any] = {"name": "mesh", "group": "mesh"}
STAR: dict[str, t.Any] = {"name": "star", "group": "mesh", "hub": "h1"}
LINK: dict[str, t.Any] = {"name": "link", "group": "mesh", "multicast": ["224.0.0.5"]}


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ([MESH, {**MESH, "name": "two"}], "connections mesh and two both join 192.0.2.1 and 192.0.2.2"),
        (
            [MESH, {"name": "pair", "endpoints": ["h3", "h2"]}],
            "connections pair and mesh both join 192.0.2.2 and 192.0.2.3",
        ),
        (
            [STAR, {"name": "pair", "endpoints": ["h1", "h2"]}],
            "connections star and pair both join 192.0.2.1 and 192.0.2.2",
        ),
        ([STAR, MESH], "connections star and mesh both join"),
        ([LINK, {**LINK, "name": "two"}], "connections link and two both join 0.0.0.0 and 224.0.0.5"),
        ([STAR, {"name": "pair", "endpoints": ["h3", "h2"]}], ""),
        ([LINK, MESH, {"name": "star", "group": "spokes", "hub": "h1"}], ""),
    ],
)
def test_an_address_pair_belongs_to_one_connection(raw: list[dict[str, t.Any]], message: str) -> None:
    if not message:
        assert len(read(raw, addresses=INVENTORY.get, groups=GROUPS.get)) == len(raw)
        return
    with pytest.raises(IpsecError) as caught:
        read(raw, addresses=INVENTORY.get, groups=GROUPS.get)
    assert message in str(caught.value) and len(str(caught.value).splitlines()) == 1


def test_policies_of_a_hub_are_for_its_peers_and_of_an_upper_protocol_alone() -> None:
    found = policies_of_host(grouped(group="spokes", hub="h1", upper_protocol="udp"), "s1")
    assert [(policy["direction"], policy["selector"]) for policy in found] == [
        ("out", {"source": "192.0.2.11/32", "destination": "192.0.2.1/32", "protocol": "udp"}),
        ("in", {"source": "192.0.2.1/32", "destination": "192.0.2.11/32", "protocol": "udp"}),
    ]


def test_policies_of_a_group_accept_any_sender() -> None:
    link = {
        "name": "link",
        "endpoints": {"a": "fe80::1", "b": "fe80::2"},
        "multicast": ["ff02::5", "ff02::6"],
        "reqid": 9,
        "upper_protocol": 89,
    }
    (alone,), (both,) = read([link]), read([{**link, "unicast": True}])
    wanted = [
        ("out", "fe80::1/128", "ff02::5/128"),
        ("in", "::/0", "ff02::5/128"),
        ("out", "fe80::1/128", "ff02::6/128"),
        ("in", "::/0", "ff02::6/128"),
        ("out", "fe80::1/128", "fe80::2/128"),
        ("in", "fe80::2/128", "fe80::1/128"),
    ]
    for connection, expected in ((alone, wanted[:4]), (both, wanted)):
        found = policies_of_host(connection, "a")
        assert [
            (policy["direction"], policy["selector"]["source"], policy["selector"]["destination"]) for policy in found
        ] == expected
        assert all(policy["selector"]["protocol"] == "89" and policy["templates"][0]["reqid"] == 9 for policy in found)


def test_networks_are_paired_within_their_family() -> None:
    ends = {
        host: {"address": address, "networks": [four, six]}
        for host, address, four, six in (
            ("a", "192.0.2.1", "10.1.0.0/16", "fd01::/64"),
            ("b", "192.0.2.2", "10.2.0.0/16", "fd02::/64"),
        )
    }
    found = policies_of_host(one(mode="tunnel", endpoints=ends), "a")
    assert [policy["selector"]["destination"] for policy in found if policy["direction"] == "out"] == [
        "10.2.0.0/16",
        "fd02::/64",
    ]


def test_the_cost_of_a_mesh_is_linear_in_its_hosts() -> None:
    """2,000 hosts have 2 million pairs. Checking the connection must not look at each of them."""
    addresses = {f"h{number}": f"10.{number >> 8}.{number & 255}.1" for number in range(2000)}
    raw = [{"name": "fleet", "endpoints": addresses}]
    counted = 0

    def trace(dummy: t.Any, event: str, dummy2: t.Any) -> None:
        nonlocal counted
        counted += event == "call"

    sys.setprofile(trace)
    try:
        read(raw)
    finally:
        sys.setprofile(None)
    assert counted < 2000 * 20


def test_the_page_and_the_reader_know_the_same_fields() -> None:
    """The documentation of ipsec_keystore specifies connections."""
    page = yaml.safe_load(ipsec_keystore.DOCUMENTATION)["options"]["connections"]["suboptions"]
    assert set(page) == set(CONNECTION)
    assert set(page["associations"]["suboptions"]) == set(ASSOCIATION)
    for table, fields in ((page, CONNECTION), (page["associations"]["suboptions"], ASSOCIATION)):
        for name, row in table.items():
            if "default" in row:
                assert row["default"] == fields[name].get("default")
