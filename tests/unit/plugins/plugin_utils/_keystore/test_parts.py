# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Records that are split by pair and joined again, and files of format 1, which had one record for all pairs."""

from __future__ import annotations

import itertools
import json
import textwrap
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import IpsecError
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import SecurityAssociation
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.model import Connection, Unit
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.reader import read_connections
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore import changes, generations, parts, text
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.derivation import root_fingerprint
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.generations import SpiAllocator
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.records import (
    STORES,
    ConnectionRecord,
    Generation,
    KeyRecord,
)
from ansible_collections.ipsec.manual.tests.unit.plugins.generations import make

HOSTS = {host: f"192.0.2.{number}" for number, host in enumerate("abcde", 1)}
PAIRS = tuple(itertools.combinations("abcde", 2))
ROOT = bytes(range(32))
ROOTS = {root_fingerprint(ROOT): ROOT}
BOTH = [{"protocol": "esp"}, {"protocol": "ah"}]


def connection(hosts: str = "abcde", **fields: t.Any) -> Connection:
    ends = {host: HOSTS[host] for host in hosts}
    return read_connections([{"name": "mesh", "endpoints": ends, "associations": BOTH, **fields}])[0]


def made(record: KeyRecord, store: str, wanted: Connection | None = None) -> KeyRecord:
    root = (root_fingerprint(ROOT), ROOT) if store == "derived" else None
    return make(record, wanted or connection(), SpiAllocator(), set(), "me@here", root)


def promoted(record: KeyRecord) -> KeyRecord:
    return changes.promote(record, ROOTS, "me@here")


def three_generations(store: str) -> KeyRecord:
    record = KeyRecord("mesh")
    for dummy in range(2):
        record = promoted(made(record, store))
    return changes.start(made(record, store), "me@here")


THREE = {store: three_generations(store) for store in STORES}


def sas(generation: Generation | None) -> set[SecurityAssociation]:
    return set(generations.sas_of(generation, "mesh", ROOTS)) if generation is not None else set()


def between(found: set[SecurityAssociation], units: t.Iterable[Unit]) -> set[SecurityAssociation]:
    ends = {frozenset(HOSTS[host] for host in unit) for unit in units}
    return {sa for sa in found if frozenset(map(_text, (sa.source, sa.destination))) in ends}


def _text(address: bytes) -> str:
    return ".".join(map(str, address))


@pytest.mark.parametrize("store", STORES)
@settings(max_examples=25, deadline=None)
@given(kinds=st.fixed_dictionaries({pair: st.integers(0, 2) for pair in PAIRS}))
def test_splitting_and_joining_changes_no_key_and_no_spi(store: str, kinds: dict[Unit, int]) -> None:
    record = THREE[store]
    split = parts.divided(record, lambda unit: kinds[unit])
    for kind, part in split.items():
        units = {unit for unit, own in kinds.items() if own == kind}
        assert part.units() == units and part._replace(current=None, next=None, previous=None) == record._replace(
            current=None, next=None, previous=None
        )
        for which in ("current", "next", "previous"):
            assert sas(part.pick(which)) == between(sas(record.pick(which)), units) != set()
            ends = {end for unit in units for end in unit}
            for host in sorted(ends):
                generation = part.pick(which)
                assert generation is not None
                own = {unit for unit in units if host in unit}
                assert set(generations.sas_of(generation, "mesh", ROOTS, host)) == between(sas(generation), own)
    whole = parts.assembled(ConnectionRecord("mesh", record.last), split.values())
    (joined,) = whole.records
    assert [sas(found) for found in joined.generations()] == [sas(found) for found in record.generations()]
    assert joined.retired == record.retired and joined.units() == record.units()
    loaded = text.load(text.dump(ConnectionRecord("mesh", record.last, tuple(split.values()))), "mesh", "")
    assert loaded.records == tuple(split.values())
    generations.verify({"mesh": loaded}, str, ROOTS)


@pytest.mark.parametrize("store", STORES)
def test_pairs_that_rotate_apart_stay_apart_until_their_histories_meet(store: str) -> None:
    record = promoted(made(KeyRecord("mesh"), store))
    own = parts.divided(record, lambda unit: "e" in unit)
    alone = promoted(changes.give(own[True], made(record, store, connection().only(own[True].units())).next))
    whole = parts.assembled(ConnectionRecord.of(record), [own[False], alone])
    assert [len(row.units()) for row in whole.records] == [6, 4] and whole.last == 2
    # The first generation is retired for the pairs of e alone.
    generations.verify({"mesh": whole}, str, ROOTS)
    assert not whole.records[0].retired and [row.generation for row in whole.records[1].retired] == [1]
    for number in (3, 4):
        made_for_all = made(KeyRecord("mesh", last=whole.last), store).next
        assert made_for_all is not None and made_for_all.generation == number
        when = f"2026-01-01T00:00:0{number}Z"
        rows = [
            changes.promote(changes.give(row, parts.part_of(made_for_all, "mesh", row.units())), ROOTS, "me@here", when)
            for row in whole.records
        ]
        whole = parts.assembled(whole, rows)
        assert len(whole.records) == (2 if number == 3 else 1)
    assert sorted(row.generation for row in whole.retired) == ([1, 1, 2, 3])
    generations.verify({"mesh": whole}, str, ROOTS)


def test_a_derived_secret_that_the_same_pairs_retired_is_refused() -> None:
    record = promoted(made(promoted(made(KeyRecord("mesh"), "derived")), "derived"))
    back = record._replace(current=record.previous)
    own = parts.divided(back, lambda unit: "e" in unit)
    for rows in ([back], [own[True], own[False]]):
        with pytest.raises(IpsecError, match="generation 1 of connection mesh holds a key that was retired"):
            generations.verify({"mesh": ConnectionRecord.of(*rows)}, str, ROOTS)
    used = record._replace(current=record.previous, retired=())
    copied = used._replace(connection="other")
    with pytest.raises(IpsecError, match="holds a key that was retired in connection mesh"):
        generations.verify({"mesh": ConnectionRecord.of(record), "other": ConnectionRecord.of(copied)}, str, ROOTS)
    with pytest.raises(IpsecError, match="holds a key that connection mesh has too"):
        generations.verify({"mesh": ConnectionRecord.of(used), "other": ConnectionRecord.of(copied)}, str, ROOTS)


def first_format(record: KeyRecord, departed: t.Mapping[str, str] | None = None) -> str:
    """The text as releases with format 1 wrote it."""

    def pairs(fields: t.Mapping[str, t.Any]) -> str:
        return "".join(f"{name}: {json.dumps(value)}\n" for name, value in fields.items())

    def generation(name: str, found: Generation | None) -> str:
        if found is None:
            return f"{name}: null\n"
        fields = {key: value for key, value in found._asdict().items() if key != "sas"}
        keys = "  sas: |\n" + textwrap.indent(found.sas, "    ") if found.sas else '  sas: ""\n'
        return f"{name}:\n{textwrap.indent(pairs(fields), '  ')}{keys}"

    head = {"format": 1, **{name: getattr(record, name) for name in ("connection", "phase", "since", "by", "last")}}
    retired = [
        {
            **row._asdict(),
            "fingerprints": " ".join(row.fingerprints),
            "spis": " ".join(f"{spi:08x}" for spi in row.spis),
        }
        for row in record.retired
    ]
    return "".join(
        [
            pairs(head if departed is None else {**head, "departed": departed}),
            *(generation(name, record.pick(name)) for name in ("current", "next", "previous")),
            "retired:\n" if retired else "retired: []\n",
            *(f"- {json.dumps(row)}\n" for row in retired),
        ]
    )


@pytest.mark.parametrize("phase", ["steady", "prepared", "switching", "retiring"])
@pytest.mark.parametrize("store", STORES)
def test_format_1_is_read_and_written_on_as_format_2(store: str, phase: str) -> None:
    record = THREE[store]._replace(phase=phase)
    if phase == "steady":
        record = promoted(record)
    whole = text.load(first_format(record, {"f": "192.0.2.9"}), "mesh", "mesh.yml")
    assert whole.records == (record,) and whole.last == record.last and whole.departed == {"f": "192.0.2.9"}
    dumped = text.dump(whole)
    assert dumped.startswith("format: 2\n") and text.load(dumped, "mesh", "mesh.yml") == whole
    assert changes.departed(whole) == {"f": "192.0.2.9"}
    # Before hosts that left were remembered.
    assert text.load(first_format(record), "mesh", "mesh.yml") == whole._replace(departed={})


def test_format_1_without_keys_keeps_what_was_retired() -> None:
    record = changes.end(THREE["random"], ROOTS, "me@here")
    whole = text.load(first_format(record), "mesh", "mesh.yml")
    assert whole == ConnectionRecord("mesh", 3, (), record.retired) == text.load(text.dump(whole), "mesh", "")
    assert whole.retired_fingerprints() == record.retired_fingerprints() and len(whole.retired_spis()) == 120


@pytest.mark.parametrize("store", STORES)
def test_format_1_whose_generations_have_different_hosts_is_split_by_pair(store: str) -> None:
    """Host e left with the current generation; d leaves, and e comes back, with the next one."""
    record = promoted(made(KeyRecord("mesh"), store))
    record = promoted(made(record, store, connection("abcd")))
    record = changes.start(made(record, store, connection("abce")), "me@here")
    whole = text.load(first_format(record, {"e": HOSTS["e"]}), "mesh", "mesh.yml")
    found = {
        unit: (row.phase, bool(row.left), tuple(generation.generation for generation in row.generations()))
        for row in whole.records
        for unit in row.units()
    }
    assert found == {
        **dict.fromkeys([("a", "b"), ("a", "c"), ("b", "c")], ("switching", False, (2, 3, 1))),
        **dict.fromkeys([("a", "e"), ("b", "e"), ("c", "e")], ("switching", False, (3, 1))),
        **dict.fromkeys([("a", "d"), ("b", "d"), ("c", "d")], ("steady", True, (2, 1))),
        ("d", "e"): ("steady", True, (1,)),
    }
    for which in ("current", "next", "previous"):
        assert set().union(*(sas(row.pick(which)) for row in whole.records)) == sas(record.pick(which))
    assert whole.retired == record.retired and changes.departed(whole) == {"d": HOSTS["d"]}
    assert changes.left_units(whole) == {("a", "d"), ("b", "d"), ("c", "d"), ("d", "e")}
    assert text.load(text.dump(whole), "mesh", "") == whole
    generations.verify({"mesh": whole}, str, ROOTS)
