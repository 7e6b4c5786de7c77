# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import itertools
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ipsec.manual.plugins.plugin_utils._connections import units
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.model import GROUP, Connection, connection_of
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.reader import read_connections

HOSTS = {host: f"192.0.2.{number}" for number, host in enumerate("abcde", 1)}


def connection(name: str = "mesh", **fields: t.Any) -> Connection:
    return read_connections([{"name": name, "endpoints": HOSTS, **fields}])[0]


def pairs(*names: str) -> frozenset[t.Any]:
    return frozenset(tuple(name) for name in names)


def test_the_units_of_a_mesh_of_hubs_and_of_a_group() -> None:
    assert connection().units() == frozenset(itertools.combinations("abcde", 2))
    assert connection(hub=["c"]).units() == pairs("ac", "bc", "cd", "ce")
    assert connection(hub=["a", "c"]).units() == pairs("ab", "ac", "ad", "ae", "bc", "cd", "ce")
    assert connection(multicast=["224.0.0.5"]).units() == {GROUP}


SHAPES = st.sampled_from([{}, {"hub": ["c"]}, {"hub": ["a", "e"]}])


@given(SHAPES, st.data())
def test_a_part_has_exactly_its_units_and_is_kept_by_its_settings(shape: dict[str, t.Any], data: st.DataObject) -> None:
    whole = connection(**shape)
    chosen = data.draw(st.frozensets(st.sampled_from(sorted(whole.units())), min_size=1))
    part = whole.only(chosen)
    assert part.units() == chosen and set(part.hosts) == {host for unit in chosen for host in unit}
    assert connection_of("mesh", part.settings()) == part
    flows = {frozenset((source, *ends)) for source, ends in part.flows()}
    addresses = {endpoint.host: endpoint.address for endpoint in whole.endpoints}
    assert flows == {frozenset(addresses[host] for host in unit) for unit in chosen}
    assert {end for ends, senders in part.arrivals() for end in ends if senders} == set().union(*flows)
    # Whatever it is a part of.
    assert connection().only(chosen) == part


@given(
    st.lists(st.tuples(SHAPES, st.frozensets(st.sampled_from(sorted(connection().units())))), min_size=2, max_size=2)
)
def test_connections_are_compared_and_counted_by_their_units(shapes: list[t.Any]) -> None:
    wholes = [connection(**fields) for fields, dummy in shapes]
    parts = [whole.only(chosen & whole.units() or whole.units()) for whole, (dummy, chosen) in zip(wholes, shapes)]
    group = connection(multicast=["224.0.0.5"])
    for one, other in itertools.product([*wholes, *parts, group], repeat=2):
        assert one.has_units_of(other) == (one.units() == other.units())
        assert one.size() == len(one.units())


@pytest.mark.parametrize("fields", [{}, {"hub": ["c"]}, {"hub": ["a", "e"]}, {"multicast": ["224.0.0.5"]}])
def test_all_units_are_the_connection_itself(fields: dict[str, t.Any]) -> None:
    whole = connection(**fields)
    assert whole.only(whole.units()) is whole
    part = connection().only(pairs("ab", "cd"))
    assert part.only(part.units()) is part and part.only(pairs("cd")).hosts == ("c", "d")


def test_a_mesh_and_a_star_need_no_list_of_pairs() -> None:
    without_e = connection().only(frozenset(itertools.combinations("abcd", 2)))
    assert (without_e.hosts, without_e.hubs, without_e.pairs) == (tuple("abcd"), (), None)
    of_e = connection().only(pairs("ae", "be", "ce", "de"))
    assert (of_e.hosts, of_e.hubs, of_e.pairs) == (tuple("abcde"), ("e",), None)
    assert connection().only(pairs("ab", "cd")).settings()["pairs"] == {"a": ["b"], "c": ["d"]}


def test_a_single_unit_has_the_name_of_its_connection() -> None:
    assert units.names_of("pair", pairs("ab")) == {("a", "b"): "pair"}
    assert units.names_of("link", frozenset([GROUP])) == {GROUP: "link"}
    assert units.names_of("mesh", pairs("ab", "ac")) == {("a", "b"): "mesh/a,b", ("a", "c"): "mesh/a,c"}
    for whole in (connection(), connection(hub=["b"]), connection(multicast=["224.0.0.5"])):
        names = units.names_of("mesh", whole.units())
        at_b = {unit: name for unit, name in names.items() if "b" in unit or unit == GROUP}
        assert units.names_at(whole, "b") == at_b and not units.names_at(whole, "f")
        assert {units.connection_of(name) for name in names.values()} == {"mesh"}


OTHERS = read_connections(
    [
        {"name": "mesh", "endpoints": {host: HOSTS[host] for host in "abc"}},
        {"name": "c", "endpoints": {"c": "198.51.100.1", "d": "198.51.100.2"}},
        {"name": "link", "endpoints": {"a": "203.0.113.1", "b": "203.0.113.2"}, "multicast": ["224.0.0.5"]},
    ]
)


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("mesh", {"mesh": pairs("ab", "ac", "bc")}),
        ("mesh/a,b", {"mesh": pairs("ab")}),
        ("mesh/b,a", {"mesh": pairs("ab")}),
        ("mesh/a", {"mesh": pairs("ab", "ac")}),
        ("a,c", {"mesh": pairs("ac")}),
        ("a,b", {"mesh": pairs("ab"), "link": {GROUP}}),
        ("b", {"mesh": pairs("ab", "bc"), "link": {GROUP}}),
        ("d", {"c": pairs("cd")}),
        # A connection comes before a host of that name.
        ("c", {"c": pairs("cd")}),
        ("mesh/c", {"mesh": pairs("ac", "bc")}),
        ("mesh/d", {}),
        ("mesh/a,d", {}),
        ("mesh/a,a", {}),
        ("mesh/", {}),
        ("mesh/a,b,c", {}),
        ("other/a", {}),
        ("", {}),
    ],
)
def test_a_word_names_a_connection_a_pair_or_the_pairs_of_a_host(word: str, found: dict[str, t.Any]) -> None:
    assert units.named(word, OTHERS) == found
