# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import IpsecError
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa import checks, conflicts, keys, model
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.algorithms import BY_NAME
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import pack_address
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.model import Connection
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.reader import read_connections
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore import changes, generations, parts, text
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.changes import KEPT, MADE, RESUMED
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.generations import SpiAllocator
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.records import ConnectionRecord, KeyRecord
from ansible_collections.ipsec.manual.tests.unit.plugins.generations import make

MESH = {"a": "192.0.2.1", "b": "192.0.2.2", "c": "192.0.2.3"}


def connection(**fields: t.Any) -> Connection:
    return read_connections([{"name": "mesh", "endpoints": MESH, **fields}], allow_static_counter_mode=True)[0]


def made(record: KeyRecord | None = None, **fields: t.Any) -> KeyRecord:
    return make(discarded(record or KeyRecord("mesh")), connection(**fields), SpiAllocator(), set(), "me@here")


def promoted(record: KeyRecord) -> KeyRecord:
    return changes.promote(record, {}, "me@here")


def discarded(record: KeyRecord) -> KeyRecord:
    return changes.discard(record, {}, "me@here")


def verify(record: KeyRecord) -> None:
    generations.verify({record.connection: ConnectionRecord.of(record)}, lambda name: f"{name}.yml", {})


def sas(record: KeyRecord, which: str = "next") -> tuple[model.SecurityAssociation, ...]:
    generation = record.pick(which)
    assert generation is not None
    return generations.parse_sas(generation.sas, "test")


def test_every_direction_and_association_has_its_own_spi_and_keys() -> None:
    found = sas(made(associations=[{"protocol": "esp", "encryption_algorithm": "3des"}, {"protocol": "ah"}]))
    assert len(found) == 12
    assert len({(sa.source, sa.destination, sa.protocol) for sa in found}) == 12
    assert len({(sa.destination, sa.spi) for sa in found}) == 12
    assert len({sa.encryption_key or sa.authentication_key for sa in found}) == 12
    assert not conflicts.set_problems(found) and not any(checks.problems(sa) for sa in found)


def test_the_life_of_a_generation() -> None:
    first = made()
    assert (first.phase, first.last, first.current, first.previous) == ("prepared", 1, None, None)
    assert changes.start(first).phase == "switching"
    second = make(promoted(changes.start(first)), connection(), SpiAllocator(), set())
    assert (
        (second.phase, second.last) == ("prepared", 2) and second.current is not None and second.current.generation == 1
    )
    third = promoted(second)
    assert second.next is not None and second.current is not None
    assert (third.phase, third.previous, third.next) == ("steady", second.current, None)
    assert third.current == second.next._replace(promoted=third.since, promoted_by="me@here")
    assert [(row.generation, row.reason, len(row.fingerprints), len(row.spis)) for row in third.retired] == [
        (1, "replaced", 12, 6)
    ]
    assert promoted(third) == third == changes.start(third) == discarded(third)


def test_a_discarded_generation_is_retired_and_its_number_never_reused() -> None:
    record = discarded(made())
    assert (record.phase, record.next, record.last) == ("steady", None, 1)
    assert len(record.retired_fingerprints()) == 12
    assert made(record).last == 2


@pytest.mark.parametrize(
    ("before", "fields", "new_keys", "outcome"),
    [
        (KeyRecord("mesh"), {}, False, MADE),
        (made(), {}, False, RESUMED),
        (made(), {}, True, RESUMED),
        (made(), {"reqid": 9}, False, MADE),
        (changes.start(made()), {}, True, RESUMED),
        (promoted(made()), {}, False, KEPT),
        (promoted(made()), {}, True, MADE),
        (promoted(made()), {"reqid": 9}, False, MADE),
        (made(promoted(made())), {}, False, RESUMED),
        (made(promoted(made()), reqid=9), {}, False, MADE),
    ],
)
def test_the_outcomes_of_a_preparation(
    before: KeyRecord, fields: dict[str, t.Any], new_keys: bool, outcome: str
) -> None:
    assert changes.decide(before, connection(**fields), new_keys) == outcome


def test_a_counter_mode_generation_that_hosts_may_have_loaded_is_not_resumed() -> None:
    gcm: dict[str, t.Any] = {"associations": [{"encryption_algorithm": "aes-gcm"}]}
    assert changes.decide(made(**gcm), connection(**gcm), False) == RESUMED
    assert changes.decide(changes.start(made(**gcm)), connection(**gcm), False) == MADE


def test_spis_are_unique_for_a_destination_and_never_reserved(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter([0, 0, 5, 7, 9])
    monkeypatch.setattr(changes.secrets, "randbelow", lambda limit: next(drawn))
    destination, other = pack_address("192.0.2.1"), pack_address("192.0.2.2")
    taken = SpiAllocator([(other, 256 + 5)], [256 + 7])
    assert changes.draw_spi([destination], taken) == 256
    # Taken towards this destination, then free here but taken towards the other, then reported by a host.
    assert changes.draw_spi([destination], taken) == 256 + 5
    assert changes.draw_spi([destination], taken) == 256 + 9


def test_spis_of_every_generation_are_known() -> None:
    record = made(promoted(made(promoted(made()))))
    assert record.current is not None and record.next is not None and record.previous is not None
    taken = generations.allocator_of([ConnectionRecord.of(record)], {}, [7])
    for sa in (*sas(record, "current"), *sas(record), *sas(record, "previous")):
        assert sa.spi in taken.towards(sa.destination) and not taken.claim([sa.destination], sa.spi)
    assert 7 in taken.reported and not taken.claim([b"anybody"], 7)


def test_a_retired_key_is_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    row = BY_NAME["aes-cbc"]
    gone = bytes(range(32))
    genuine = keys.generate
    drawn: list[bytes] = [gone]
    monkeypatch.setattr(
        keys,
        "generate",
        lambda algorithm, bits=None: drawn.pop() if drawn and algorithm == row else genuine(algorithm, bits),
    )
    found = list(changes.draw_sas(connection(), SpiAllocator(), {keys.fingerprint(row, gone)}))
    assert not drawn and gone not in {sa.encryption_key for sa in found}


def test_short_keys_are_distinguished_and_recognized_when_retired(monkeypatch: pytest.MonkeyPatch) -> None:
    des: dict[str, t.Any] = {
        "associations": [{"encryption_algorithm": "des-cbc", "authentication_algorithm": "hmac-sha256"}]
    }
    record = made(**des)
    verify(record)
    assert len(discarded(record).retired_fingerprints()) == 12
    gone = sas(record)[0].encryption_key
    genuine, drawn = keys.generate, [gone]
    monkeypatch.setattr(
        keys,
        "generate",
        lambda algorithm, bits=None: drawn.pop() if drawn and algorithm.des_parity else genuine(algorithm, bits),
    )
    again = made(record, **des)
    assert not drawn and gone not in {sa.encryption_key for sa in sas(again)}


@pytest.mark.parametrize(
    "record", [made(), changes.start(made()), promoted(made()), made(promoted(made())), discarded(made())]
)
def test_records_survive_their_file(record: KeyRecord) -> None:
    whole = parts.assembled(ConnectionRecord("mesh"), [record])
    dumped = text.dump(whole)
    assert text.load(dumped, "mesh", "mesh.yml") == whole and bool(whole.records) == any(record.generations())
    # It is readable for a person who views the file.
    assert "\n      add esp spi 0x" in dumped or not whole.records


@given(st.text(), st.text())
@example("\U0001f511 keys", "\\ud83d\\udd11")
@example("\\\U0001f511\U0001f511\\\\\U0001f511", "\x85\ufffe\u2028\"'")
def test_the_name_of_a_play_survives_the_file(play: str, family: str) -> None:
    """Somebody wrote it; all other words are of few characters."""
    whole = parts.assembled(ConnectionRecord("mesh"), [made()._replace(plays=((play, family),))])
    assert text.load(text.dump(whole), "mesh", "mesh.yml") == whole


def _records(dumped: str) -> str:
    return dumped.partition("records:\n")[2].rpartition("retired:")[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("format: 2", "format: 3"), "format 3; this release knows formats 1 and 2"),
        (lambda text: text.replace('store: "random"', 'store: "derived"'), "is not a keystore"),
        (lambda text: text.replace('store: "random"', 'store: "borrowed"'), "is not a keystore"),
        (
            lambda text: text.replace('connection: "mesh"', 'connection: "other"'),
            "holds the keys of connection other, not of mesh",
        ),
        (lambda text: text.replace('phase: "prepared"', 'phase: "steady"'), "contradicts itself"),
        (lambda text: text.replace("last: 1", "last: 0"), "contradicts itself"),
        # Two records of one unit, an endpoint without SAs, an SA without an endpoint, and one that could not be found
        # when its pair is split off.
        (lambda text: text.replace("records:\n", f"records:\n{_records(text)}"), "contradicts itself"),
        (lambda text: text.replace('"a": "192.0.2.1"', '"a": "192.0.2.1", "d": "192.0.2.4"'), "contradicts itself"),
        (lambda text: text.replace('"a": "192.0.2.1", ', ""), "contradicts itself"),
        (lambda text: text.replace("src 192.0.2.1 dst 192.0.2.2", "dst 192.0.2.2 src 192.0.2.1"), "contradicts itself"),
        (lambda text: text.replace('"a": "192.0.2.1"', '"a": "elsewhere"'), "is not a keystore"),
        (lambda text: text.replace('"reqid": 0', '"owner": 0'), "is not a keystore"),
        (lambda text: text.replace('phase: "prepared"', 'phase: "later"'), "is not a keystore"),
        (lambda text: text[: len(text) // 2], "is not a keystore"),
        (lambda text: "- 1\n", "is not a keystore"),
        (lambda text: "{", "is not a keystore"),
        (lambda text: "", "is not a keystore"),
    ],
)
def test_files_that_are_not_records_are_refused_and_not_shown(change: t.Callable[[str], str], message: str) -> None:
    dumped = text.dump(ConnectionRecord.of(made()))
    with pytest.raises(IpsecError) as caught:
        text.load(change(dumped), "mesh", "mesh.yml")
    assert message in str(caught.value) and "mesh.yml" in str(caught.value)
    assert not any(sa.encryption_key.hex() in str(caught.value) for sa in sas(made()))


def test_a_bad_key_is_refused_with_its_file_and_connection() -> None:
    record = made()
    assert record.next is not None
    key = sas(record)[0].encryption_key.hex()
    broken = record._replace(next=record.next._replace(sas=record.next.sas.replace(key, key[:-2])))
    with pytest.raises(IpsecError) as caught:
        verify(broken)
    assert str(caught.value).startswith("connection mesh, generation 1, line 2, column ")
    assert key[:16] not in str(caught.value)


def test_a_retired_key_in_use_is_refused() -> None:
    record = promoted(made(promoted(made())))
    turned_back = record._replace(current=record.previous)
    with pytest.raises(IpsecError, match="generation 1 of connection mesh holds a key that was retired"):
        verify(turned_back)
    assert turned_back.current is not None
    with pytest.raises(IpsecError, match="generation 1 of connection mesh holds a key that was retired"):
        generations.verify_own(turned_back, turned_back.current, sas(turned_back, "current")[:1], "mesh.yml", {})


def test_a_host_gets_only_its_own_sas() -> None:
    generation = made().next
    assert generation is not None
    address = pack_address(MESH["b"])
    found = generations.sas_of(generation, "mesh", {}, "b")
    assert len(found) == 4 and set(found) < set(generations.sas_of(generation, "mesh", {}))
    assert all(address in (sa.source, sa.destination) for sa in found)
    with pytest.raises(IpsecError, match="d: the host is not an endpoint of generation 1. Endpoints are: a, b, c."):
        generations.sas_of(generation, "mesh", {}, "d")


def test_no_generation_shows_its_keys() -> None:
    record = made()
    assert record.next is not None and repr(record.next) == str(record.next) == "<generation 1>"
    assert not any(sa.encryption_key.hex() in f"{record!r} {record}" for sa in sas(record))


PAIRS = frozenset([("a", "b"), ("a", "c"), ("b", "c")])
OF_C = frozenset([("a", "c"), ("b", "c")])


@pytest.mark.parametrize(
    ("fields", "behind"),
    [
        ({}, ()),
        ({"associations": [{"protocol": "ah"}]}, ()),
        ({"mode": "tunnel"}, ()),
        ({"reqid": 9}, PAIRS),
        ({"mark": "0x1/0xff"}, PAIRS),
        ({"if_id": 3}, PAIRS),
        ({"endpoints": {**MESH, "c": "192.0.2.33"}}, OF_C),
    ],
)
def test_sas_without_a_successor(fields: dict[str, t.Any], behind: t.Collection[t.Any]) -> None:
    current = promoted(made())
    assert changes.left_behind(made(current, **fields)) == frozenset(behind)
    assert not changes.left_behind(current) and not changes.left_behind(made())
    switching = changes.start(made(current))
    for record in (current, made(current), switching):
        if behind and record is switching:
            with pytest.raises(IpsecError, match="hosts may already use generation 2 of connection mesh"):
                changes.check_change(record, connection(**fields), "place")
        else:
            changes.check_change(record, connection(**fields), "place")
