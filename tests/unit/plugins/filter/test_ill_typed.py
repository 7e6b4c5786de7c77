# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A filter or a lookup returns a result or an error of ours, whatever its arguments are."""

from __future__ import annotations

import copy
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible.errors import AnsibleError, AnsibleFilterError

from ansible_collections.ipsec.manual.plugins.filter.ipsec_text import FilterModule
from ansible_collections.ipsec.manual.tests.unit.plugins.filter.test_filters import ADDRESSES, CONNECTIONS, GUIDE
from ansible_collections.ipsec.manual.tests.unit.plugins.lookup.test_lookups import look_up
from ansible_collections.ipsec.manual.tests.unit.plugins.values import json_values

FILTERS: dict[str, t.Callable[..., t.Any]] = FilterModule().filters()
SA = {
    "protocol": "esp",
    "spi": "0x1001",
    "source": "192.0.2.1",
    "destination": "192.0.2.2",
    "encryption_algorithm": "aes",
    "encryption_key": "0123456789abcdef0123456789abcdee",
    "lifetimes": {"hard_bytes": 5},
    "mark": "0x1/0xff",
}
OF_CONNECTIONS: dict[str, t.Any] = {
    "connections": CONNECTIONS,
    "host": "enigma",
    "addresses": ADDRESSES,
    "groups": {"all": ["enigma", "third"]},
}
# Valid arguments of each filter.
USUAL: dict[str, dict[str, t.Any]] = {
    "ipseckeys_parse": {"content": GUIDE, "target": "linux", "allow_static_counter_mode": False},
    "ipseckeys_render": {"sas": [SA], "target": "linux", "allow_static_counter_mode": False},
    "ipsec_connections_of": OF_CONNECTIONS,
    "ipsec_peers": OF_CONNECTIONS,
    "ipsec_sas": {**OF_CONNECTIONS, "content": GUIDE},
    "ipsec_policies": {**OF_CONNECTIONS, "only": ["one"], "direction": "in", "priority": 0},
    "ipsec_policies_render": {
        "policies": [{"direction": "in", "selector": {"source": "192.0.2.1"}, "templates": [{"protocol": "esp"}]}]
    },
}
LOOKUPS: dict[str, dict[str, t.Any]] = {
    "ipsec_key": {"bits": 256},
    "ipsec_spi": {"exclude": ["0x1001"], "count": 2, "destination": "192.0.2.1"},
}
NAMES = sorted(
    {
        *SA,
        "name",
        "endpoints",
        "associations",
        "encryption_bits",
        "address",
        "host",
        "mode",
        "tunnel",
        "direction",
        "selector",
        "hard_bytes",
    }
)
VALUES = json_values(NAMES)


def places(value: t.Any) -> t.Iterator[tuple[t.Any, ...]]:
    """The path to every part of a structure."""
    yield ()
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        for rest in places(part):
            yield (key, *rest)


def changed(value: t.Any, place: tuple[t.Any, ...], new: t.Any) -> t.Any:
    """The structure with another value at the given path."""
    if not place:
        return new
    value = copy.copy(value)
    value[place[0]] = changed(value[place[0]], place[1:], new)
    return value


def spoilt(data: st.DataObject, usual: dict[str, t.Any]) -> dict[str, t.Any]:
    """Arguments of which one part is replaced by any value."""
    place = data.draw(st.sampled_from([place for place in places(usual) if place]))
    return t.cast("dict[str, t.Any]", changed(usual, place, data.draw(VALUES)))


@pytest.mark.parametrize("name", USUAL)
def test_typical_arguments_are_accepted(name: str) -> None:
    FILTERS[name](**USUAL[name])


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        (
            "ipsec_peers",
            {**OF_CONNECTIONS, "groups": 5},
            "groups: this is a whole number, not a mapping. Give a mapping, or omit it.",
        ),
        (
            "ipsec_policies",
            {**OF_CONNECTIONS, "only": True},
            "only: this is true or false, not a list. Give a list, or omit it.",
        ),
        (
            "ipsec_connections_of",
            {**OF_CONNECTIONS, "host": ["enigma"]},
            "host: this is a list, not a word. Name one host.",
        ),
        (
            "ipsec_connections_of",
            {"connections": []},
            "missing a required argument: 'host'. It takes: connections, host, addresses, groups.",
        ),
    ],
)
def test_an_argument_of_a_wrong_type_has_our_own_message(name: str, arguments: dict[str, t.Any], message: str) -> None:
    with pytest.raises(AnsibleFilterError) as caught:
        FILTERS[name](**arguments)
    assert str(caught.value) == f"ipsec.manual.{name}: {message}"


def test_every_filter_is_tried() -> None:
    assert FILTERS.keys() == USUAL.keys()


@pytest.mark.parametrize("name", USUAL)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_filter_returns_a_value_or_our_own_error(name: str, data: st.DataObject) -> None:
    arguments = spoilt(data, USUAL[name])
    try:
        FILTERS[name](**arguments)
    except AnsibleFilterError as error:
        message = str(error)
        assert message.startswith(f"ipsec.manual.{name}: ")
        assert "<class" not in message


@pytest.mark.parametrize("name", LOOKUPS)
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_lookup_returns_a_value_or_our_own_error(name: str, data: st.DataObject) -> None:
    terms = data.draw(st.just(["aes-cbc"] if name == "ipsec_key" else []) | st.lists(VALUES, max_size=2))
    options = spoilt(data, LOOKUPS[name])
    try:
        look_up(name, *terms, **options)
    except AnsibleError as error:
        assert name in str(error) or any(option in str(error) for option in options)
