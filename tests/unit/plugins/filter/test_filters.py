# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t

import pytest

from ansible.errors import AnsibleFilterError

from ansible_collections.ipsec.manual.plugins.filter.ipsec_text import FilterModule as TextFilters

FILTERS: dict[str, t.Callable[..., t.Any]] = TextFilters().filters()
KEY = "d41fb74470271826a8e7a80d343cc5aae9e2a7f05f13730d"
GUIDE = f"""add esp spi 0x8bcd1407 src 192.168.116.16 dst 192.168.13.213 encr_alg 3des-cbc encrkey {KEY}
add ah spi 0x18907dae src 192.168.116.16 dst 10.116.2.16 auth_alg hmac-md5 authkey e896f8df7f78d6cab36c94ccf293f031
"""
CONNECTIONS = [
    {"name": "one", "endpoints": {"enigma": "192.168.116.16", "partym": "192.168.13.213"}},
    {"name": "two", "endpoints": ["enigma", "third"]},
]
ADDRESSES = {"enigma": "192.168.116.16", "third": "10.116.2.16"}


def test_parsed_text_has_fingerprints_and_no_keys() -> None:
    esp, ah = FILTERS["ipseckeys_parse"](GUIDE)
    assert (esp["protocol"], esp["spi"], esp["encryption_algorithm"], esp["encryption_bits"]) == (
        "esp",
        "0x8bcd1407",
        "3des-cbc",
        192,
    )
    assert (ah["protocol"], ah["authentication_algorithm"], ah["icv_bits"]) == ("ah", "hmac-md5", 96)
    assert len(esp["fingerprints"]["encryption"]) == 16 and KEY not in str(esp)


def test_rendered_text_is_read_again() -> None:
    sas = [
        {
            "protocol": "esp",
            "spi": "0x8bcd1407",
            "source": "192.168.116.16",
            "destination": "192.168.13.213",
            "encryption_algorithm": "3DES",
            "encryption_key": KEY,
        },
        {
            "protocol": "ah",
            "spi": 0x18907DAE,
            "source": "192.168.116.16",
            "destination": "10.116.2.16",
            "authentication_algorithm": "md5",
            "authentication_key": "0xE896F8DF7F78D6CAB36C94CCF293F031",
        },
    ]
    assert FILTERS["ipseckeys_render"](sas) == GUIDE
    more = {
        "mode": "tunnel",
        "reqid": 7,
        "mark": "0x10",
        "lifetimes": {"hard_packets": 9},
        "replay_window": 64,
        "esn": True,
    }
    (again,) = FILTERS["ipseckeys_parse"](FILTERS["ipseckeys_render"]([{**sas[0], **more}]))
    assert {**again, **more, "mark": "0x10/0xffffffff"} == again


def test_what_a_peer_dictates_is_rendered_and_parsed_with_the_options() -> None:
    view = {
        "protocol": "esp",
        "destination": "192.168.13.213",
        "encryption_algorithm": "3des",
        "encryption_key": KEY,
    }
    sas = [{**view, "spi": spi} for spi in ("0x1", "0x2")]
    allowed = {"allow_reserved_spi": True, "allow_shared_key": True}
    text = FILTERS["ipseckeys_render"](sas, **allowed)
    assert [sa["spi"] for sa in FILTERS["ipseckeys_parse"](text, **allowed)] == ["0x00000001", "0x00000002"]
    for missing in allowed:
        for name, value in (("ipseckeys_render", sas), ("ipseckeys_parse", text)):
            with pytest.raises(AnsibleFilterError, match=f"with {missing}"):
                FILTERS[name](value, **{**allowed, missing: False})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"spi": 5}, "sas[0].spi: SPI 5 is reserved"),
        (
            {"encryption_key": KEY[:40]},
            "sas[0].encryption_key: 3des-cbc needs a key of 192 bits (48 hex digits), found 160 bits (40 hex digits)",
        ),
        ({"encryption_key": KEY[:-1]}, "47 hex digits, an odd number"),
        ({"destination": "host.example"}, "sas[0].destination: 'host.example' is not a literal"),
        ({"colour": "red"}, "sas[0]: unknown name 'colour'"),
        ({"protocol": None}, "sas[0].protocol: this is missing. Choose one of: ah, esp."),
        ({"reqid": "many"}, "sas[0].reqid: 'many' is not a number"),
        ({"replay_window": -1}, "sas[0].replay_window: a replay window of -1 packets is out of range"),
        ({"if_id": 1 << 32}, "sas[0].if_id: 4294967296 does not fit 32 bits"),
        ({"esn": "perhaps"}, "sas[0].esn: 'perhaps' is neither true nor false"),
        ({"direction": "both"}, "sas[0].direction: unknown direction 'both'. Choose one of: inbound, outbound."),
        ({"direction": KEY}, "sas[0].direction: unknown direction (a word of 48 characters, hidden"),
        ({"lifetimes": 5}, "sas[0].lifetimes: this is a whole number, not a mapping"),
        ({"lifetimes": {"hard_byte": 5}}, "sas[0].lifetimes: unknown name 'hard_byte'. Nearest: hard_bytes"),
        ({"lifetimes": {"hard_bytes": "5 GB"}}, "sas[0].lifetimes.hard_bytes: '5 GB' is not a number"),
    ],
)
def test_an_sa_that_cannot_be_rendered_is_named_without_its_key(change: dict[str, t.Any], message: str) -> None:
    sa = {
        "protocol": "esp",
        "spi": "0x8bcd1407",
        "destination": "192.168.13.213",
        "encryption_algorithm": "3des",
        "encryption_key": KEY,
        **change,
    }
    with pytest.raises(AnsibleFilterError) as caught:
        FILTERS["ipseckeys_render"]([sa])
    assert (
        message in str(caught.value)
        and KEY[:40] not in str(caught.value)
        and str(caught.value).startswith("ipsec.manual.ipseckeys_render: ")
    )


def test_fields_may_be_texts_or_null_as_variables_are() -> None:
    sa = {
        "protocol": "esp",
        "spi": "0x8bcd1407",
        "destination": "192.168.13.213",
        "encryption_algorithm": "3des",
        "encryption_key": KEY,
    }
    numbers = {"reqid": 7, "replay_window": 64, "if_id": 9, "lifetimes": {"hard_bytes": 5, "soft_bytes": 4}}
    texts = {
        "reqid": "7",
        "replay_window": "64",
        "if_id": "0x9",
        "lifetimes": {"hard_bytes": "5", "soft_bytes": "4", "hard_packets": None},
    }
    for esn, word in ((False, "no"), (True, "yes")):
        asked = FILTERS["ipseckeys_render"]([{**sa, **numbers, "esn": esn}])
        assert (" esn" in asked, FILTERS["ipseckeys_render"]([{**sa, **texts, "esn": word}])) == (esn, asked)
    nothing = dict.fromkeys(("mode", "reqid", "replay_window", "if_id", "esn", "direction", "icv_bits", "lifetimes"))
    assert FILTERS["ipseckeys_render"]([{**sa, **nothing}]) == FILTERS["ipseckeys_render"]([sa])


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("ipseckeys_render", (None,), "sas: expected a list of security associations, found nothing"),
        (
            "ipseckeys_render",
            ({"spi": 5},),
            "sas: expected a list of security associations, found a mapping. Put a single one into brackets",
        ),
        ("ipseckeys_render", ([None],), "sas[0]: this is nothing, not a mapping"),
        ("ipseckeys_parse", (None,), "text: expected a text, found nothing"),
        ("ipsec_sas", (CONNECTIONS[:1], [KEY], "enigma"), "content: expected a text, found a list"),
        ("ipsec_policies", (None, "enigma"), "connections: expected a list of connections, found nothing"),
        (
            "ipsec_policies",
            (CONNECTIONS[:1], "enigma", ["one"], "inbound"),
            "direction: unknown direction 'inbound'. Choose one of: in, out, fwd.",
        ),
    ],
)
def test_values_of_the_wrong_type_are_named_without_their_key(
    name: str, arguments: tuple[t.Any, ...], message: str
) -> None:
    with pytest.raises(AnsibleFilterError) as caught:
        FILTERS[name](*arguments)
    assert str(caught.value).startswith(f"ipsec.manual.{name}: {message}") and KEY[:16] not in str(caught.value)


def test_bad_text_is_refused_with_its_line() -> None:
    with pytest.raises(AnsibleFilterError, match="line 2"):
        FILTERS["ipseckeys_parse"](GUIDE.replace("hmac-md5", "hmac-md6"))


def test_a_host_gets_its_own_sas_of_a_text() -> None:
    assert FILTERS["ipsec_sas"](CONNECTIONS[:1], GUIDE, "partym") == GUIDE.splitlines(keepends=True)[0]
    assert FILTERS["ipsec_sas"](CONNECTIONS[:1], GUIDE, "enigma") == GUIDE
    with pytest.raises(AnsibleFilterError, match="no connection has the endpoint nobody"):
        FILTERS["ipsec_sas"](CONNECTIONS[:1], GUIDE, "nobody")


GROUPED = [
    {"name": "star", "group": "spokes", "hub": "enigma"},
    {
        "name": "link",
        "endpoints": ["enigma", "third"],
        "multicast": ["224.0.0.5"],
        "associations": [{"protocol": "ah"}],
    },
]
INVENTORY = {"addresses": {**ADDRESSES, "s1": "192.0.2.1", "s2": "192.0.2.2"}, "groups": {"spokes": ["s1", "s2"]}}


def test_a_hosts_connections_and_peers() -> None:
    names, peers = FILTERS["ipsec_connections_of"], FILTERS["ipsec_peers"]
    assert [names(GROUPED, host, **INVENTORY) for host in ("enigma", "s1", "third", "nobody")] == [
        ["star", "link"],
        ["star"],
        ["link"],
        [],
    ]
    assert (
        peers(GROUPED, "s1", **INVENTORY) == {"enigma": ["192.168.116.16"]}
        and peers(GROUPED, "nobody", **INVENTORY) == {}
    )
    assert peers(GROUPED, "enigma", **INVENTORY) == {"s1": ["192.0.2.1"], "s2": ["192.0.2.2"], "third": ["10.116.2.16"]}
    with pytest.raises(
        AnsibleFilterError, match=r"connections\[0\] \(star\)\.group: the inventory has no group 'spokes'"
    ):
        peers(GROUPED, "s1")


def test_the_sas_of_a_host_include_those_that_a_group_shares() -> None:
    shared = "add ah spi 0x00001000 dst 224.0.0.5 auth_alg hmac-sha256 authkey " + "5a01" * 16 + "\n"
    assert (
        FILTERS["ipsec_sas"](GROUPED, GUIDE + shared, "third", **INVENTORY)
        == GUIDE.splitlines(keepends=True)[1] + shared
    )
    assert FILTERS["ipsec_sas"](GROUPED, GUIDE + shared, "s1", **INVENTORY) == ""


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({}, ["out 192.168.13.213/32", "in 192.168.116.16/32", "out 10.116.2.16/32", "in 192.168.116.16/32"]),
        ({"direction": "out"}, ["out 192.168.13.213/32", "out 10.116.2.16/32"]),
        ({"only": ["two"], "direction": "in"}, ["in 192.168.116.16/32"]),
        ({"only": ["one"], "addresses": None, "direction": "out"}, ["out 192.168.13.213/32"]),
    ],
)
def test_policies_can_be_picked(options: dict[str, t.Any], found: list[str]) -> None:
    policies = FILTERS["ipsec_policies"](CONNECTIONS, "enigma", **{"addresses": ADDRESSES, "priority": 5, **options})
    assert [f"{policy['direction']} {policy['selector']['destination']}" for policy in policies] == found
    assert {policy["priority"] for policy in policies} == {5}


@pytest.mark.parametrize(
    ("only", "found"),
    [
        (["star"], ["192.0.2.1/32", "192.0.2.2/32"]),
        (["star/enigma"], ["192.0.2.1/32", "192.0.2.2/32"]),
        (["star/s2,enigma"], ["192.0.2.2/32"]),
        (["star/s1", "link/third"], ["192.0.2.1/32", "224.0.0.5/32"]),
        (["star/s1,s2", "nobody"], []),
    ],
)
def test_policies_of_pairs_can_be_picked(only: list[str], found: list[str]) -> None:
    policies = FILTERS["ipsec_policies"](GROUPED, "enigma", only=only, direction="out", **INVENTORY)
    assert [policy["selector"]["destination"] for policy in policies] == found


def test_policies_are_written_for_the_command_and_checked() -> None:
    policies = FILTERS["ipsec_policies"](CONNECTIONS, "enigma", addresses=ADDRESSES)
    text = FILTERS["ipsec_policies_render"](policies)
    assert FILTERS["ipsec_policies_render"](json.loads(text)) == text and len(json.loads(text)) == 4
    with pytest.raises(
        AnsibleFilterError, match=r"ipsec_policies_render: policies\[1\].templates\[0\].spi: SPI 1 is reserved"
    ):
        FILTERS["ipsec_policies_render"]([policies[0], {**policies[1], "templates": [{"spi": "1"}]}])


def test_every_filter_is_documented(pytestconfig: pytest.Config) -> None:
    assert set(FILTERS) == {path.stem for path in (pytestconfig.rootpath / "plugins" / "filter").glob("*.yml")}
