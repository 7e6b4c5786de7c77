# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core.association import AH, ESP, TRANSPORT, TUNNEL
from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import IpsecError
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections import Connection, read_connections
from ansible_collections.ipsec.manual.plugins.plugin_utils._policies import policies_of_host

ENDS = {"enigma": "192.0.2.1", "partym": "192.0.2.2"}


def read(raw: t.Any, **options: t.Any) -> list[Connection]:
    return read_connections(raw, **options)


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
    (connection,) = read([{"name": "c", "endpoints": ["b", "a"]}], addresses={"a": "2001:db8::1", "b": "2001:db8::2"}.get)
    assert connection.settings()["endpoints"] == {"a": "2001:db8::1", "b": "2001:db8::2"}


@pytest.mark.parametrize(
    ("given", "suite"),
    [
        ({"encryption_algorithm": "3des", "authentication_algorithm": "md5"}, ("3des-cbc", 192, "hmac-md5", 96)),
        ({"authentication_algorithm": "SHA512"}, ("aes-cbc", 256, "hmac-sha512", 256)),
        ({"encryption_algorithm": "null", "authentication_algorithm": "sha256"}, ("null", 0, "hmac-sha256", 128)),
        ({"encryption_algorithm": "aes-gcm", "encryption_bits": 128}, ("aes-gcm", 128, "", 128)),
        ({"encryption_algorithm": "aes", "encryption_bits": "192", "authentication_algorithm": "sha1", "icv_bits": 160}, ("aes-cbc", 192, "hmac-sha1", 160)),
    ],
)
def test_algorithms_of_esp(given: dict[str, t.Any], suite: tuple[t.Any, ...]) -> None:
    (row,) = one(associations=[given]).associations
    assert (row.encryption, row.encryption_bits, row.authentication, row.icv_bits) == suite


def test_esp_stands_inside_ah_and_alone_in_the_tunnel() -> None:
    both = [{"protocol": "ah"}, {"protocol": "esp", "encryption_algorithm": "aes"}]
    assert [(row.protocol, row.mode) for row in one(mode="tunnel", associations=both).associations] == [(ESP, TUNNEL), (AH, TRANSPORT)]
    assert [(row.protocol, row.mode) for row in one(mode="tunnel", associations=[{"protocol": "ah"}]).associations] == [(AH, TUNNEL)]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        (
            {"associations": [{"encryption_algorithm": "aes-cbc"}]},
            ".associations: ESP without integrity can be forged (RFC 8221 section 4). Add authentication_algorithm",
        ),
        (
            {"associations": [{"encryption_algorithm": "aes-cbd"}]},
            ".associations[0].encryption_algorithm: unknown encryption algorithm 'aes-cbd'. Nearest names: aes-cbc",
        ),
        ({"associations": [{"encryption_algorithm": "md5"}]}, "md5 is an authentication algorithm"),
        ({"associations": [{"protocol": "ah", "encryption_algorithm": "aes"}]}, "AH cannot encrypt"),
        ({"associations": [{"encryption_bits": 100}]}, "aes-cbc has no key size of 100 bits. Choose one of: 256, 192, 128."),
        ({"associations": [{"protocol": "ah", "encryption_bits": 128}]}, "there is no encryption key to have a size"),
        ({"associations": [{}, {}]}, "esp is given twice"),
        ({"associations": []}, ".associations: a list with one or two associations is wanted"),
        ({"associations": [{"esn": True}]}, ".associations[0].esn: extended sequence numbers need a replay window"),
        ({"associations": [{"esn": "yes"}]}, ".associations[0].esn: true or false is wanted, found 'yes'"),
        ({"associations": [{"icv_bits": 64}]}, "hmac-sha256 has no ICV of 64 bits"),
        ({"associations": [{"lifetimes": {"hard_byte": 1}}]}, "limits are a dictionary with any of soft_bytes"),
        ({"associations": [{"lifetimes": {"hard_bytes": 1, "soft_bytes": 2}}]}, "soft_bytes: the soft limit 2 is above the hard limit 1"),
        ({"associations": [{"authentication": "md5"}]}, ".associations[0]: unknown field 'authentication'. Known here: authentication_algorithm"),
        ({"associations": ["esp"]}, ".associations[0]: a dictionary is wanted, found str"),
        ({"mode": "tunel"}, ".mode: 'tunel' is none of transport, tunnel"),
        ({"reqid": -1}, ".reqid: a number from 0 is wanted"),
        ({"reqid": True}, ".reqid: a number from 0 is wanted"),
        ({"reqid": 1 << 32}, "(c).reqid: 4294967296 does not fit 32 bits"),
        ({"mark": "1/2/3"}, ".mark: '1/2/3' is no mark"),
        ({"mark": "0x3/0x1"}, "(c).mark: the mark 0x3 has bits outside its mask 0x1"),
        ({"endpoints": {"a": "192.0.2.1"}}, ".endpoints: a connection joins two or more endpoints, found 1"),
        ({"endpoints": {"a": "192.0.2.1", "b": "192.0.2.1"}}, ".endpoints: the address 192.0.2.1 is given twice"),
        ({"endpoints": {"a": "192.0.2.1", "b": "2001:db8::1"}}, ".endpoints: the endpoints mix IPv4 and IPv6"),
        ({"endpoints": {"a": "192.0.2.1", "b": "host.example"}}, ".endpoints.b: 'host.example' is no literal IPv4 or IPv6 address. Write the address itself"),
        ({"endpoints": ["a", "b"]}, ".endpoints.a: the endpoint has no address. Give it here, or set the variable ipsec_address of the host a."),
        ({"endpoints": "a"}, ".endpoints: endpoints are missing"),
        (
            {"endpoints": {"a": {"address": "192.0.2.1", "networks": ["10.0.0.0/8"]}, "b": "192.0.2.2"}},
            ".endpoints.a.networks: networks behind an endpoint need tunnel mode",
        ),
        (
            {"mode": "tunnel", "endpoints": {"a": {"address": "192.0.2.1", "networks": ["10.0.0.1/8"]}, "b": "192.0.2.2"}},
            ".endpoints.a.networks: 10.0.0.1/8 has host bits set",
        ),
        ({"peers": {}}, "(c): unknown field 'peers'"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, t.Any], told: str) -> None:
    with pytest.raises(IpsecError) as caught:
        one(**fields)
    assert told in str(caught.value) and "ipsec_connections[0] (c)" in str(caught.value)


def test_counter_modes_need_consent() -> None:
    raw = [{"name": "c", "endpoints": ENDS, "associations": [{"encryption_algorithm": "aes-gcm"}]}]
    with pytest.raises(IpsecError, match="RFC 8221 section 3"):
        read(raw)
    assert read(raw, allow_static_counter_mode=True)[0].counter_mode


@pytest.mark.parametrize("name", [None, "", "a b", "../x", ".hidden", "x" * 101, 7])
def test_names_are_file_names(name: t.Any) -> None:
    with pytest.raises(IpsecError, match=r"ipsec_connections\[0\]\.name"):
        read([{"name": name, "endpoints": ENDS}])


def test_two_connections_over_one_pair_are_both_named() -> None:
    with pytest.raises(IpsecError, match=r"connections one and two both join 192\.0\.2\.1 and 192\.0\.2\.2"):
        read([{"name": "one", "endpoints": ENDS}, {"name": "two", "endpoints": {**ENDS, "third": "192.0.2.3"}}])
    with pytest.raises(IpsecError, match="two connections named one"):
        read([{"name": "one", "endpoints": ENDS}, {"name": "one", "endpoints": {"a": "192.0.2.8", "b": "192.0.2.9"}}])


def test_all_problems_come_together() -> None:
    with pytest.raises(IpsecError) as caught:
        read([{"name": "a b"}, {"name": "x", "endpoints": {"a": "?", "b": "!"}, "mode": "?", "reqid": "?"}, 5])
    assert len(str(caught.value).splitlines()) == 6
    with pytest.raises(IpsecError, match="a list of connections is wanted, found dict"):
        read({})


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
    ends = {"a": {"address": "192.0.2.1", "networks": ["10.1.0.0/16"]}, "b": {"address": "192.0.2.2", "networks": ["10.2.0.0/16", "10.3.0.0/16"]}}
    found = policies_of_host(one(mode="tunnel", endpoints=ends), "a")
    assert [(policy["direction"], policy["selector"]["source"], policy["selector"]["destination"]) for policy in found] == [
        ("out", "10.1.0.0/16", "10.2.0.0/16"),
        ("in", "10.2.0.0/16", "10.1.0.0/16"),
        ("fwd", "10.2.0.0/16", "10.1.0.0/16"),
        ("out", "10.1.0.0/16", "10.3.0.0/16"),
        ("in", "10.3.0.0/16", "10.1.0.0/16"),
        ("fwd", "10.3.0.0/16", "10.1.0.0/16"),
    ]
    assert found[0]["templates"] == [{"protocol": "esp", "mode": "tunnel", "reqid": 0, "source": "192.0.2.1", "destination": "192.0.2.2"}]
    assert found[1]["templates"][0]["source"] == "192.0.2.2"
