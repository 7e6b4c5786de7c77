# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table of a fleet, from answers of hosts and the keystore."""

from __future__ import annotations

import copy
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.digest import digest_by_owner
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import Mark, SecurityAssociation
from ansible_collections.ipsec.manual.plugins.plugin_utils._audit import table
from ansible_collections.ipsec.manual.plugins.plugin_utils._audit.fleet import Known
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.flows import make_sa
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.model import Connection
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.reader import read_connections
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation import due

KEY = b"k" * 32
OTHER = "192.0.2.1|192.0.2.9#0,,0"
PAIR = {"name": "pair", "endpoints": {"a": "192.0.2.1", "b": "192.0.2.2"}}
MESH = {"name": "mesh", "endpoints": {"a": "192.0.2.1", "b": "192.0.2.2", "c": "192.0.2.3"}, "reqid": 7}
GROUP = {
    "name": "group",
    "mode": "transport",
    "endpoints": {"a": "192.0.2.1", "b": "192.0.2.2"},
    "multicast": ["224.0.0.5"],
}


def connection(raw: t.Mapping[str, t.Any] = PAIR) -> Connection:
    (found,) = read_connections([raw], True)
    return found


def sas_of(found: Connection, generation: int, host: str = "") -> list[SecurityAssociation]:
    """The SAs of a generation, with keys that depend on its number."""
    sas = []
    for source, destinations in found.flows(host):
        for destination in destinations:
            row = found.associations[0]
            material = bytes([generation]) + source[-4:] * 2
            key = (material * 9)[: row.encryption_bits // 8], (material * 9)[:32]
            sas.append(make_sa(found, row, source, destination, 0x1000 + generation, *key))
    return sas


def stored(found: Connection, *numbers: int, phase: str = "steady") -> dict[str, Known]:
    digests: dict[str, dict[str, int]] = {}
    for number in numbers:
        for name, digest in digest_by_owner(sas_of(found, number), KEY).items():
            digests.setdefault(name, {})[digest] = number
    return {found.name: Known(phase, numbers[0], digests, {}, {}, frozenset())}


def answer(found: Connection, host: str, generation: int = 8, **changes: t.Any) -> dict[str, t.Any]:
    """The answer of a host that is well."""
    held = digest_by_owner(sas_of(found, generation, host), KEY) if generation else {}
    return {
        "service": {"enabled": True, "state": "active"},
        "backend": "xfrm",
        "keys_hidden": False,
        "held": held,
        "pairs": {name: {"sas": 2, "age": 12 * 86400, "limit": "x", "left": 99} for name in held},
        "usage": {name: {"age": 12 * 86400, "packets": 5} for name in held},
        "asked": [],
        "policies": {"total": 2, "leaking": [], "open": [], "waiting": 0, "optional": 0},
        "wrong": [],
        "due": [],
        "unseen": [],
        **copy.deepcopy(changes),
    }


def answers(found: Connection, **hosts: dict[str, t.Any]) -> dict[str, dict[str, t.Any]]:
    """The answers of all hosts, those in ``hosts`` with changes."""
    return {host: answer(found, host, **hosts.get(host, {})) for host in found.hosts}


def summarize(
    found: Connection, said: dict[str, dict[str, t.Any]], known: dict[str, Known], **limits: t.Any
) -> table.FleetStatus:
    return table.summarize([found], said, known, due.read(limits))


WELL = {
    "connection": "pair",
    "hosts": "2/2",
    "absent": [],
    "generation": "8",
    "age": "12 d",
    "due": "no",
    "agreement": "yes",
    "policies": "yes",
    "boot": "2/2",
}


@pytest.mark.parametrize("raw", [PAIR, MESH, GROUP, {**PAIR, "reqid": 3, "mark": "0x1/0xff", "if_id": 4}])
def test_a_fleet_that_is_well(raw: dict[str, t.Any]) -> None:
    found = connection(raw)
    fleet = summarize(found, answers(found), stored(found, 8, 7))
    count = f"{len(found.hosts)}/{len(found.hosts)}"
    assert fleet.rows == [{**WELL, "connection": found.name, "hosts": count, "boot": count}] and fleet.sentences == []


@pytest.mark.parametrize("raw", [PAIR, MESH, GROUP, {**PAIR, "reqid": 3, "mark": "0x1/0xff", "if_id": 4}])
def test_the_pairs_of_a_connection_are_those_of_its_sas(raw: dict[str, t.Any]) -> None:
    found = connection(raw)
    names = table.names_of(found)
    assert set(names) == set(digest_by_owner(sas_of(found, 1)))
    for host in found.hosts:
        own = {name for name, hosts in names.items() if host in hosts}
        assert own == set(digest_by_owner(sas_of(found, 1, host)))


@pytest.mark.parametrize(
    ("hosts", "row", "parts"),
    [
        (
            {"b": {"generation": 7}},
            {"agreement": "no", "generation": "7, 8"},
            ["different keys", "b holds generation 7"],
        ),
        (
            {"b": {"generation": 0}},
            {"agreement": "no", "generation": "8, none"},
            ["pair: b holds no SAs of this connection"],
        ),
        (
            {"a": {"generation": 9}, "b": {"generation": 9}},
            {"generation": "other"},
            ["a holds SAs that match no", "b holds SAs that match no"],
        ),
        ({"a": {"keys_hidden": True, "held": {}}}, {"agreement": "unknown"}, []),
        (
            {"a": {"backend": "", "held": {}, "pairs": {}, "policies": None}},
            {"agreement": "unknown", "policies": "unknown"},
            [],
        ),
        ({"a": {"policies": None}}, {"policies": "unknown"}, []),
        ({"a": {"service": {"enabled": False, "state": "inactive"}}}, {"boot": "1/2"}, []),
        ({"a": {"service": {"enabled": True, "state": "failed"}}}, {"boot": "1/2"}, []),
        ({"a": {"wrong": ["it is late"]}}, {}, ["a: wrong: it is late"]),
        ({"a": {"due": ["an SA"], "unseen": ["a file"]}}, {}, ["a: unseen: a file"]),
    ],
)
def test_what_differs_on_a_host(hosts: dict[str, t.Any], row: dict[str, str], parts: list[str]) -> None:
    found = connection()
    fleet = summarize(found, answers(found, **hosts), stored(found, 8, 7))
    assert fleet.rows == [{**WELL, **row}]
    assert len(fleet.sentences) == len(parts) and all(
        part in sentence for part, sentence in zip(parts, fleet.sentences)
    ), fleet.sentences


def test_hosts_without_sas_have_nothing_to_agree_about() -> None:
    found = connection()
    fleet = summarize(found, answers(found, a={"generation": 0}, b={"generation": 0}), {})
    row = {**WELL, "generation": "unknown", "age": "none", "agreement": "none", "policies": "none"}
    assert fleet.rows == [row] and fleet.sentences == ["pair: a and b hold no SAs of this connection"]
    known = summarize(found, answers(found, a={"generation": 0}, b={"generation": 0}), stored(found, 8))
    assert known.rows == [{**row, "generation": "none"}] and known.sentences == fleet.sentences


def test_a_host_without_sas_is_named_once_for_all_its_pairs() -> None:
    found = connection(MESH)
    fleet = summarize(found, answers(found, c={"generation": 0}), stored(found, 8))
    assert fleet.sentences == ["mesh: c holds no SAs of this connection"]
    assert (fleet.rows[0]["agreement"], fleet.rows[0]["generation"]) == ("no", "8, none")


@pytest.mark.parametrize(
    ("hosts", "agreement", "sentence"),
    [
        ("b", "no", "b and c do not agree about 192.0.2.2 and 192.0.2.3: b holds none of them"),
        ("bc", "yes", "b and c hold no SAs between 192.0.2.2 and 192.0.2.3"),
    ],
)
def test_a_host_without_the_sas_of_one_pair_is_named_once(hosts: str, agreement: str, sentence: str) -> None:
    found = connection(MESH)
    said = answers(found)
    for host in hosts:
        del said[host]["held"]["192.0.2.2|192.0.2.3#7,,0"]
    fleet = summarize(found, said, stored(found, 8))
    assert fleet.sentences == [f"mesh: {sentence}"]
    assert (fleet.rows[0]["agreement"], fleet.rows[0]["generation"]) == (agreement, "8, none")


def test_many_hosts_without_sas_are_one_short_sentence() -> None:
    found = connection({"name": "mesh", "endpoints": {f"h{number:02}": f"192.0.2.{number}" for number in range(1, 21)}})
    fleet = summarize(found, {host: answer(found, host, 0) for host in found.hosts}, {})
    assert fleet.sentences == ["mesh: h01, h02, h03, h04, h05, h06 and 14 more hold no SAs of this connection"]


@pytest.mark.parametrize(
    "silent", [{"unreachable": True, "msg": "no route"}, {"failed": True, "msg": "no route"}, None]
)
def test_absent_hosts_are_named_and_guessed_nothing_of(silent: dict[str, t.Any] | None) -> None:
    found = connection()
    said = answers(found)
    if silent is None:
        del said["b"]
    else:
        said["b"] = silent
    fleet = summarize(found, said, stored(found, 8))
    unknown = dict.fromkeys(("due", "agreement", "policies"), "unknown")
    assert fleet.rows == [{**WELL, **unknown, "hosts": "1/2", "absent": ["b"], "boot": "1/1"}]
    (sentence,) = fleet.sentences
    assert sentence.startswith("b: absent: ") and ("take part" if silent is None else "no route") in sentence
    nobody = summarize(found, {}, stored(found, 8)).rows[0]
    assert {name: nobody[name] for name in ("hosts", "absent")} == {"hosts": "0/2", "absent": ["a", "b"]}
    assert {nobody[name] for name in table.COLUMNS[2:]} == {"unknown"}


def test_policies_are_those_of_the_connection() -> None:
    found = connection()
    (name,) = table.names_of(found)
    facts = answer(found, "a")["policies"]
    for own, word in ((name, "no"), (OTHER, "yes")):
        for kind in ("leaking", "open"):
            said = answers(found, a={"policies": {**facts, kind: [own]}})
            assert summarize(found, said, {}).rows[0]["policies"] == word


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"asked": ["NAME"]}, "a: its boot service asked for new keys"),
        ({"usage": {"NAME": {"packets": 2**31, "packets_percent": 50}}}, "a: an SA has used 2147483648 packets, 50 %"),
        ({"usage": {"NAME": {"blocks64": 1 << 20}}}, "a: an SA has encrypted 1048576 blocks of 64 bits"),
        ({"usage": {"NAME": {"age": 5}}}, "a: an SA was loaded again 5 s ago"),
    ],
)
def test_a_connection_is_due_for_its_own_sas(changes: dict[str, t.Any], part: str) -> None:
    found = connection()
    (name,) = table.names_of(found)
    known = {found.name: stored(found, 8)[found.name]._replace(promoted={8: 86400})}
    for own in (name, OTHER):
        ((field, value),) = changes.items()
        said = answers(found, a={field: [own] if isinstance(value, list) else {own: value["NAME"]}})
        status = summarize(found, said, known)
        assert status.rows[0]["due"] == ("yes" if own == name else "no")
        assert [sentence.startswith(f"pair: due: {part}") for sentence in status.sentences] == [True] * (own == name)


def test_the_age_of_keys_is_that_of_the_keystore_or_of_the_oldest_sa() -> None:
    found = connection()
    known = {found.name: stored(found, 8)[found.name]._replace(created={8: 100 * 86400})}
    status = summarize(found, answers(found), known)
    assert status.rows[0]["due"] == "yes" and status.sentences == ["pair: due: its keys are 100 days old"]
    assert summarize(found, answers(found), known, age="101d").rows == [WELL]
    assert summarize(found, answers(found), {}, age="13d").rows[0]["due"] == "no"
    assert summarize(found, answers(found), {}, age="12d").sentences == ["pair: due: its keys are 12 days old"]


def test_the_phase_of_a_rotation_is_shown() -> None:
    found = connection()
    rows = summarize(found, answers(found), stored(found, 8, 9, phase="prepared")).rows
    assert rows[0]["generation"] == "8 (prepared)"


def test_the_owner_of_sas_belongs_to_their_name() -> None:
    found = connection({**PAIR, "reqid": 3, "mark": "0x1/0xff"})
    assert found.mark == Mark(1, 255)
    (name,) = table.names_of(found)
    assert name == "192.0.2.1|192.0.2.2#3,0x1/0xff,0"


@given(st.integers(0, 200))
def test_the_table_is_aligned_and_bounded(count: int) -> None:
    rows = [{**WELL, "connection": "c" * (number % 40 + 1)} for number in range(3)]
    lines = table.lines(table.FleetStatus(rows, [f"host {number}: sentence" for number in range(count)]))
    assert len({line.index("2/2") for line in lines[1:4]}) == 1
    assert len(lines) == 4 + min(count, table.MOST_LINES) + (count > table.MOST_LINES)


def test_no_host_hides_what_is_said_of_the_others() -> None:
    found = connection(MESH)
    said = {
        **answers(found, a={"wrong": ["look"] * 100, "due": ["here"] * 100}),
        "c": {"failed": True, "msg": "gone" * 9999},
    }
    sentences = summarize(found, said, {}).sentences
    assert (
        sentences[0].startswith("c: absent: gone")
        and len(sentences[0]) < 400
        and sentences[-1] == "a: and 94 more, see: ipseckey status -v"
    )
    assert len(sentences) == 2 + table.MOST_OF_A_HOST


def test_no_connection_hides_what_is_said_of_the_others() -> None:
    sentences = [*(f"mesh: pair {number}" for number in range(500)), "pair: due", "c: absent: no route"]
    lines = table.lines(table.FleetStatus([WELL], sentences))
    assert lines[2:] == [*sentences[: table.MOST_OF_ONE], f"mesh: and {500 - table.MOST_OF_ONE} more", *sentences[-2:]]


def test_each_pair_is_due_by_the_generation_that_is_its_own() -> None:
    """One pair of a mesh got new keys later than the others."""
    found = connection(MESH)
    (late,) = (name for name, hosts in table.names_of(found).items() if hosts == ["b", "c"])
    known = stored(found, 8, 7)[found.name]._replace(
        created={8: 86400, 7: 100 * 86400}, promoted={8: 86400, 7: 99 * 86400}, currents={late: 7}
    )
    status = summarize(found, answers(found), {found.name: known}, age="99d", reloaded=False)
    assert [line for line in status.sentences if ": due: " in line] == ["mesh: due: its keys are 100 days old"]
    status = summarize(found, answers(found), {found.name: known}, age=0)
    assert {line for line in status.sentences if ": due: " in line} == {
        f"mesh: due: {host}: an SA was loaded again 12 days ago, so its counters restarted" for host in "bc"
    }


def test_each_pair_is_compared_with_the_generation_that_is_its_own() -> None:
    found = connection(MESH)
    names = table.names_of(found)
    (late,) = (name for name, hosts in names.items() if hosts == ["b", "c"])
    known = {found.name: stored(found, 8, 7)[found.name]._replace(currents={late: 7})}
    old = digest_by_owner(sas_of(found, 7), KEY)
    said = answers(found)
    for host in "bc":
        said[host]["held"][late] = old[late]
    fleet = summarize(found, said, known)
    assert fleet.rows[0]["generation"] == "7, 8" and fleet.sentences == []
    # Two pairs that hold each the generation of the other.
    (early,) = (name for name, hosts in names.items() if hosts == ["a", "b"])
    said["b"]["held"].update({early: old[early], late: digest_by_owner(sas_of(found, 8), KEY)[late]})
    assert [line for line in summarize(found, said, known).sentences if "mesh: b holds" in line] == [
        "mesh: b holds generation 7, not generation 8 of the keystore",
        "mesh: b holds generation 8, not generation 7 of the keystore",
    ]


def test_many_generations_are_shown_as_a_range() -> None:
    """Where pairs get new keys one by one, each may have a number of its own."""
    found = connection({"name": "mesh", "endpoints": {f"h{number}": f"192.0.2.{number + 1}" for number in range(5)}})
    names = list(table.names_of(found))
    digests = {name: {f"{index:032x}": index + 2} for index, name in enumerate(names)}
    currents = {name: number for name, row in digests.items() for number in row.values()}
    known = Known("steady", 11, digests, {}, {}, frozenset(), currents)
    rows = {
        host: answer(found, host, held={name: f"{index:032x}" for index, name in enumerate(names)})
        for host in found.hosts
    }
    (row,) = table.summarize([found], rows, {"mesh": known}, due.read({})).rows
    assert row["generation"] == "2 to 11"
    rows["h0"]["held"] = dict.fromkeys(names, "f" * 32)
    (row,) = table.summarize([found], rows, {"mesh": known}, due.read({})).rows
    assert row["generation"] == "2 to 11, other"
