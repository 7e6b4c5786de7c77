# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keys belong to pairs: what happens to one changes nothing for the others."""

from __future__ import annotations

import pathlib
import typing as t

import pytest

import ansible.parsing.vault
from ansible.parsing.vault import VaultSecret

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import IpsecError
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.digest import digest_by_owner
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import Counters, Entry, identity
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.plan import EXACT, plan
from ansible_collections.ipsec.manual.plugins.plugin_utils._audit import keystore
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.model import (
    GROUP,
    Connection,
    Unit,
    connection_of,
)
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.reader import read_connections
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore import result, steps
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.directory import Keystore
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.facts import facts_of
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.generations import sas_of
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.records import (
    STORES,
    ConnectionRecord,
    KeyRecord,
)
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.sas import leaving, named, valid
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.steps import Order
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.vault import Vault
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation.decisions import lost, reload_problems
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation.run import choose
from ansible_collections.ipsec.manual.tests.unit.plugins.generations import limited
from ansible_collections.ipsec.manual.tests.unit.plugins.plugin_utils._keystore.test_parts import connection as mesh
from ansible_collections.ipsec.manual.tests.unit.plugins.plugin_utils._keystore.test_parts import (
    first_format,
    made,
    promoted,
)

MANY = [f"h{number:02}" for number in range(50)]
ROTATION = ("switching", "retiring", "promoted")


def connection(hosts: t.Iterable[str], **fields: t.Any) -> Connection:
    ends = {host: f"192.0.2.{int(host[1:]) + 1}" for host in hosts}
    return read_connections([{"name": "mesh", "endpoints": {**ends, **fields.pop("moved", {})}, **fields}])[0]


@pytest.fixture
def store(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Keystore:
    # One round of PBKDF2 instead of 10,000.
    genuine = ansible.parsing.vault.PBKDF2HMAC
    monkeypatch.setattr(ansible.parsing.vault, "PBKDF2HMAC", lambda **options: genuine(**{**options, "iterations": 1}))
    found = Keystore(str(tmp_path / "keystore"), Vault([("default", VaultSecret(b"correct horse"))]))
    found.make_directory()
    return found


def advance(
    directory: Keystore, whole: Connection, *states: str, only: t.Sequence[str] = (), **options: t.Any
) -> steps.Transition:
    for state in states:
        chosen = choose([whole], set(whole.hosts), only)
        done = steps.carry_out(directory, chosen, Order(state, "me@here", known=(whole,), **options))
    return done


def outcomes(step: steps.Transition) -> dict[Unit, str]:
    (outcome,) = step.outcomes.values()
    return {unit: part.outcome for part in outcome.parts for unit in part.connection.units()}


def changed(step: steps.Transition) -> set[Unit]:
    return {unit for unit, outcome in outcomes(step).items() if outcome == "made"}


def held(store: Keystore, which: str, hosts: t.Iterable[str]) -> dict[str, list[t.Any]]:
    """What each host holds."""
    return {host: named(store, ["mesh"], which, host) for host in hosts}


@pytest.mark.parametrize("kind", STORES)
def test_a_host_that_joins_or_leaves_a_mesh_of_50_changes_only_its_own_pairs(store: Keystore, kind: str) -> None:
    old, new = MANY[:49], MANY[49]
    advance(store, connection(old), "prepared", *ROTATION, store=kind)
    before = held(store, "current", old)
    step = advance(store, connection(MANY), "prepared")
    assert changed(step) == {(host, new) for host in old} and len(outcomes(step)) == 49 * 50 // 2
    advance(store, connection(MANY), *ROTATION)
    after = held(store, "current", MANY)
    address = next(end.address for end in connection(MANY).endpoints if end.host == new)
    others = 0
    for host in old:
        work = plan(after[host], [Entry(sa, Counters()) for sa in before[host]], EXACT).operations
        assert len(work) == 2 and all(str(step).startswith("add ") for step in work)
        others += sum(address not in (step.new.source, step.new.destination) for step in work if step.new)
    assert others == 0
    # It leaves again.
    step = advance(store, connection(old), "prepared")
    assert not changed(step) and step.changed
    assert held(store, "newest", old) == before
    whole = store.read("mesh")
    assert whole is not None and [len(record.units()) for record in whole.records if record.left] == [49]
    # Nothing is written when nothing happens.
    assert not advance(store, connection(old), "prepared").changed
    # Its keys are kept until somebody says that its SAs are gone.
    advance(store, connection(old), "retired")
    whole = store.read("mesh")
    assert whole is not None and not any(record.left for record in whole.records)
    assert [(row.generation, row.reason) for row in whole.retired] == [(2, "retired")]
    assert held(store, "current", old) == before


def test_a_host_with_another_address_gets_new_keys_for_its_pairs(store: Keystore) -> None:
    advance(store, connection(MANY[:4]), "prepared", *ROTATION)
    moved = connection(MANY[:4], moved={"h03": "198.51.100.3"})
    step = advance(store, moved, "prepared")
    assert changed(step) == {("h00", "h03"), ("h01", "h03"), ("h02", "h03")}
    found = result.of(step, [moved], b"")
    assert found["hosts"]["h00"]["left_behind"] == ["mesh/h00,h03"]
    assert found["hosts"]["h03"]["left_behind"] == ["mesh/h00,h03", "mesh/h01,h03", "mesh/h02,h03"]
    rows = {row["name"]: row for row in found["connections"]}
    assert rows["mesh/h00,h03"]["endpoints"] == {"h00": "192.0.2.1", "h03": "198.51.100.3"}
    assert {row["name"]: row["generation"] for row in found["connections"]} == {
        **dict.fromkeys(["mesh/h00,h01", "mesh/h00,h02", "mesh/h01,h02"], 1),
        **dict.fromkeys(["mesh/h00,h03", "mesh/h01,h03", "mesh/h02,h03"], 2),
    }
    advance(store, moved, "switching")
    with pytest.raises(IpsecError, match="hosts may already use generation 2 of connection mesh"):
        advance(store, connection(MANY[:4]), "prepared")


def test_a_mesh_that_gets_a_hub_keeps_the_pairs_of_the_hub(store: Keystore) -> None:
    advance(store, connection(MANY[:4]), "prepared", *ROTATION)
    before = held(store, "current", ["h00"])
    star = connection(MANY[:4], hub=["h00"])
    step = advance(store, star, "prepared")
    assert not changed(step) and held(store, "newest", ["h00"]) == before
    found = result.others(step, [star])
    assert found["departed"] == [
        {"name": "mesh", "hosts": [], "pairs": [["h01", "h02"], ["h01", "h03"], ["h02", "h03"]]}
    ]
    assert found["keyed"] == ["mesh/h00,h01", "mesh/h00,h02", "mesh/h00,h03"]
    # It becomes a mesh again: nothing was lost.
    assert not changed(advance(store, connection(MANY[:4]), "prepared"))


@pytest.mark.parametrize(
    ("only", "chosen"),
    [
        (["h00,h01"], {("h00", "h01")}),
        (["mesh/h02"], {("h00", "h02"), ("h01", "h02"), ("h02", "h03")}),
        (["h00,h01", "h02,h03"], {("h00", "h01"), ("h02", "h03")}),
    ],
)
@pytest.mark.parametrize("kind", STORES)
def test_named_pairs_rotate_without_the_others(store: Keystore, kind: str, only: list[str], chosen: set[Unit]) -> None:
    whole = connection(MANY[:4])
    advance(store, whole, "prepared", *ROTATION, store=kind)
    file = pathlib.Path(store.path("mesh"))
    text = store.read_text("mesh")
    step = advance(store, whole, "prepared", only=only, new_keys=True)
    assert changed(step) == chosen == set(outcomes(step))
    for state in ROTATION:
        assert set(outcomes(advance(store, whole, state, only=only))) == chosen
    found = store.read("mesh")
    assert found is not None
    numbers = {
        unit: (row.current.generation, row.phase)
        for row in found.records
        for unit in row.units()
        if row.current is not None
    }
    assert numbers == {unit: (2 if unit in chosen else 1, "steady") for unit in whole.units()}
    assert text != store.read_text("mesh") and file.exists()
    # Two rotations of all later, they share their history again.
    for dummy in range(2):
        advance(store, whole, "prepared", *ROTATION, new_keys=True)
    found = store.read("mesh")
    assert found is not None and len(found.records) == 1


def test_pairs_that_a_run_leaves_out_keep_the_settings_of_their_keys(store: Keystore) -> None:
    advance(store, connection(MANY[:3]), "prepared", *ROTATION)
    tunnels = connection(MANY[:3], mode="tunnel")
    found = result.others(advance(store, tunnels, "prepared", only=["h00,h01"]), [tunnels])["outdated"]
    assert {name: row["mode"] for name, row in found.items()} == {
        "mesh/h00,h02": "transport",
        "mesh/h01,h02": "transport",
    }
    assert result.others(advance(store, tunnels, "prepared"), [tunnels])["outdated"] == {}
    # It has left out the connection as a whole.
    other = [tunnels, tunnels._replace(name="other")]
    assert len(result.others(advance(store, other[1], "prepared"), other)["outdated"]) == 3


def test_pairs_are_midway_while_hosts_may_use_settings_other_than_those_of_the_current_keys(store: Keystore) -> None:
    plain, tunnels = connection(MANY[:3]), connection(MANY[:3], mode="tunnel")

    def midway(whole: Connection, *states: str) -> t.Any:
        advance(store, whole, *states, only=["h00,h01"])
        return result.others(advance(store, whole, "prepared", only=["h01,h02"]), [whole])["midway"]

    advance(store, plain, "prepared", *ROTATION)
    assert midway(tunnels, "prepared") == []
    assert midway(tunnels, "switching") == midway(tunnels, "retiring") == ["mesh/h00,h01"]
    # The change is taken back, but hosts may still use it.
    assert midway(plain, "prepared") == ["mesh/h00,h01"]
    assert midway(plain, *ROTATION) == []
    advance(store, plain, "prepared", only=["h00,h01"], new_keys=True)
    assert midway(plain, "switching") == []  # with the same settings


def test_what_is_staged_is_valid_when_hosts_may_use_it(store: Keystore) -> None:
    whole = connection(MANY[:3])
    advance(store, whole, "prepared", *ROTATION)

    def count(*states: str) -> int:
        advance(store, whole, *states, only=["h00,h01"], new_keys=True)
        return len(valid(store, "h00"))

    assert [count("prepared"), count("switching"), count("retiring"), count("promoted")] == [4, 6, 6, 4]


def test_pairs_that_are_due_are_named_like_the_rows(store: Keystore) -> None:
    whole = connection(MANY[:3])
    advance(store, whole, "prepared", *ROTATION)
    step = advance(store, whole, "prepared", renew=frozenset(["mesh/h00,h02"]))
    assert changed(step) == {("h00", "h02")}
    rows = result.of(step, [whole], b"")["connections"]
    assert {row["name"]: row["outcome"] for row in rows} == {
        "mesh/h00,h01": "kept",
        "mesh/h00,h02": "made",
        "mesh/h01,h02": "kept",
    }


def test_a_pair_that_left_during_a_rotation_keeps_both_generations_until_it_is_retired(store: Keystore) -> None:
    advance(store, connection(MANY[:3]), "prepared", *ROTATION)
    advance(store, connection(MANY[:3]), "prepared", "switching", new_keys=True)
    less = connection(MANY[:2])
    step = advance(store, less, "prepared")
    assert set(outcomes(step).values()) == {"resumed"}
    found = store.read("mesh")
    assert found is not None
    assert [(row["name"], bool(row["left"])) for row in facts_of(found)] == [
        ("mesh", False),
        ("mesh/h00,h02", True),
        ("mesh/h01,h02", True),
    ]
    (left,) = (record for record in found.records if record.left)
    assert left.phase == "switching" and left.current is not None and left.next is not None
    assert left.current.endpoints["h02"] == "192.0.2.3"
    advance(store, less, *ROTATION)
    order = Order("retired", "me@here", ended=("mesh/h00,h02",), known=(less,))
    with pytest.raises(IpsecError, match="hosts may already use generation 2 of connection mesh"):
        steps.carry_out(store, [], order)
    steps.carry_out(store, [], order._replace(force=True))
    found = store.read("mesh")
    assert found is not None and [record.units() for record in found.records if record.left] == [{("h01", "h02")}]
    with pytest.raises(IpsecError, match="no pair mesh/h00,h01 left the connection"):
        steps.carry_out(store, [], order._replace(ended=("mesh/h00,h01",)))


@pytest.mark.parametrize("phase", ["prepared", "switching", "retiring"])
@pytest.mark.parametrize("kind", STORES)
def test_a_run_of_an_earlier_release_that_was_interrupted_goes_on(store: Keystore, kind: str, phase: str) -> None:
    whole = connection(MANY[:4])
    advance(store, whole, "prepared", *ROTATION, store=kind)
    states = ("prepared", *ROTATION)
    advance(store, whole, *states[: states.index(phase) + 1], new_keys=True)
    known = store.read("mesh")
    assert known is not None
    (record,) = known.records
    store.write_texts({"mesh": first_format(record)})
    current, following = (held(store, which, MANY[:4]) for which in ("current", "next"))
    # A host joins at the same time.
    more = connection(MANY[:5])
    step = advance(store, more, "prepared")
    assert outcomes(step) == {unit: "made" if "h04" in unit else "resumed" for unit in more.units()}
    assert held(store, "current", MANY[:4]) == current
    alike = {unit for unit in more.units() if "h04" not in unit}
    found = store.read("mesh")
    assert found is not None and (store.read_text("mesh") or "").count("format: 2\n") == 1
    assert [record.phase for record in found.records if record.units() == alike] == [phase]
    advance(store, more, *ROTATION)
    names = [f"mesh/{','.join(unit)}" for unit in sorted(alike)]
    for host in MANY[:4]:
        own = [name for name in names if host in name]
        assert set(named(store, own, "current", host)) == set(following[host])
        assert set(named(store, own, "previous", host)) == set(current[host])


def test_a_host_that_lost_keys_which_must_not_be_loaded_again_is_named_with_its_pairs(store: Keystore) -> None:
    whole = connection(MANY[:6], associations=[{"replay_window": 32}])
    advance(store, whole, "prepared", *ROTATION)
    expected = result.of(advance(store, whole, "prepared"), [whole], b"")
    answers: dict[str, t.Any] = {host: {"held": dict(expected["held"])} for host in whole.hosts}
    assert not lost(answers, expected)
    del answers["h05"]["held"]["192.0.2.1|192.0.2.6#0,,0"]
    assert lost(answers, expected) == {"mesh/h00,h05": ["h05"]}
    (problem,) = reload_problems(answers, expected)
    assert "anti-replay, and h05 lost its keys" in problem and "rotate_only: [mesh/h00,h05]" in problem
    answers["h05"]["held"].clear()
    (problem,) = reload_problems(answers, expected)
    assert "anti-replay, and h05 lost its keys" in problem and "rotate_only: [mesh/h05]" in problem


@pytest.mark.parametrize("with_ah", [True, False])
def test_an_audit_expects_no_counter_mode_in_a_file(store: Keystore, with_ah: bool) -> None:
    associations = [{"protocol": "esp", "encryption_algorithm": "aes-gcm"}, *([{"protocol": "ah"}] if with_ah else [])]
    whole = read_connections(
        [{"name": "mesh", "endpoints": {"h00": "192.0.2.1", "h01": "192.0.2.2"}, "associations": associations}],
        allow_static_counter_mode=True,
    )[0]
    advance(store, whole, "prepared", *ROTATION)
    known = keystore.facts(store, ["mesh"], bytes(32))["mesh"]
    ((name, digests),) = known.digests.items()
    assert known.in_file(name) not in digests and bool(known.in_file(name)) == with_ah
    whole_record = store.read("mesh")
    assert whole_record is not None
    (current,) = (record.current for record in whole_record.records)
    assert current is not None
    kept = [sa for sa in sas_of(current, "mesh", {}) if sa.protocol == "ah"]
    assert known.in_file(name) == digest_by_owner(kept, bytes(32)).get(name, "")


def test_an_audit_knows_the_generation_of_each_pair(store: Keystore) -> None:
    whole = connection(MANY[:3])
    advance(store, whole, "prepared", *ROTATION)
    advance(store, whole, "prepared", *ROTATION, only=["h00,h01"], new_keys=True)
    advance(store, whole, "prepared", only=["h00,h02"], new_keys=True)
    known = keystore.facts(store, ["mesh", "none"], bytes(32))["mesh"]
    names = ["192.0.2.1|192.0.2.2#0,,0", "192.0.2.1|192.0.2.3#0,,0", "192.0.2.2|192.0.2.3#0,,0"]
    assert (known.phase, known.current, known.currents) == ("prepared", 2, dict.fromkeys(names[1:], 1))
    assert {name: set(found.values()) for name, found in known.digests.items()} == {
        names[0]: {1, 2},
        names[1]: {1, 3},
        **{name: {1} for name in names[2:]},
    }
    assert known.in_file(names[0]) in known.digests[names[0]] and known.files[names[0]][2] == known.in_file(names[0])
    assert known.in_file(names[1]) == known.files[names[1]][1] and known.in_file("192.0.2.8|192.0.2.9#0,,0") == ""
    assert known.outlines == {}
    outlines = keystore.facts(store, ["mesh"], bytes(32), with_outlines=True)["mesh"].outlines
    assert {name: set(found.values()) for name, found in outlines.items()} == {
        name: set(found.values()) for name, found in known.digests.items()
    }
    assert not {text for found in outlines.values() for text in found} & set(known.digests[names[0]])
    rows = facts_of(store.read("mesh") or ConnectionRecord("mesh"))
    assert [(row["name"], row["current"], row["next"], row["previous"], row["phase"]) for row in rows] == [
        ("mesh/h00,h01", 2, 0, 1, "steady"),
        ("mesh/h00,h02", 1, 3, 0, "prepared"),
        ("mesh/h01,h02", 1, 0, 0, "steady"),
    ]


def test_a_record_of_one_pair_has_nothing_of_the_others(store: Keystore) -> None:
    whole = connection(MANY[:4])
    advance(store, whole, "prepared", *ROTATION)
    known = store.read("mesh")
    assert known is not None
    alone = limited(known.records[0], {("h00", "h01")}).current
    assert alone is not None and alone.endpoints == {"h00": "192.0.2.1", "h01": "192.0.2.2"}
    assert "192.0.2.3" not in alone.sas and len(alone.sas.splitlines()) == 2


def cleaned(store: Keystore, units: t.Iterable[Unit], *hosts: str) -> ConnectionRecord:
    """The keystore after these hosts removed what they had of the units."""
    order = Order("left", "me@here", leaving={"mesh": frozenset(units)}, cleaned=frozenset(hosts))
    steps.carry_out(store, [], order)
    whole = store.read("mesh")
    assert whole is not None
    return whole


@pytest.mark.parametrize("kind", STORES)
def test_keys_are_retired_when_both_hosts_of_a_pair_removed_them(store: Keystore, kind: str) -> None:
    advance(store, connection(MANY[:4]), "prepared", *ROTATION, store=kind)
    smaller = connection(MANY[:3])
    step = advance(store, smaller, "prepared")
    before = held(store, "current", MANY[:3])
    (row,) = result.others(step, [smaller])["leaving"]
    assert row["cleaned"] is None and row["connection"] == "mesh"
    gone = [("h00", "h03"), ("h01", "h03"), ("h02", "h03")]
    texts = [str(sa) for sa in leaving(store, {"mesh": frozenset(gone[:1])}, "h03")]
    genuine = before_of(store, "h03")
    assert len(texts) == 2 and {identity(sa) for sa in leaving(store, {"mesh": frozenset(gone)}, "h03")} == {
        identity(sa) for sa in genuine
    }
    assert not {sa.authentication_key for sa in leaving(store, {"mesh": frozenset(gone)}, "h03")} & {
        sa.authentication_key for sa in genuine
    }

    whole = cleaned(store, gone, "h00", "h03", "elsewhere")
    assert [(record.cleaned, sorted(record.units())) for record in whole.records if record.left] == [
        (("h00", "h03"), gone[1:])
    ]
    assert [row.reason for row in whole.retired] == ["retired"]
    # Nothing else changes, and a run that prepares leaves it alone.
    assert not advance(store, smaller, "prepared").changed and held(store, "current", MANY[:3]) == before
    whole = cleaned(store, gone[1:], "h01", "h02")
    assert not any(record.left for record in whole.records) and held(store, "current", MANY[:3]) == before
    assert len(whole.retired_fingerprints()) == (12 if kind == "random" else 1)


def plays(store: Keystore, name: str = "mesh") -> dict[Unit, dict[str, str]]:
    whole = store.read(name)
    assert whole is not None
    return {unit: dict(record.plays) for record in whole.records for unit in record.units()}


def own(step: steps.Transition, *named_now: Connection) -> list[bool]:
    return [row["own"] for row in result.others(step, named_now)["leaving"]]


def test_what_no_other_play_has_is_its_own(store: Keystore) -> None:
    """Also if no new keys are made when a play begins or ceases to have it."""
    whole, smaller = connection(MANY[:4]), connection(MANY[:3])
    advance(store, whole, "prepared", *ROTATION, play="one")
    assert set(map(str, plays(store).values())) == {"{'one': 'mesh'}"}
    assert advance(store, whole, "prepared", play="other").changed
    assert not advance(store, whole, "prepared", play="one").changed
    step = advance(store, smaller, "prepared", play="one")
    assert own(step, smaller) == [False]
    assert {unit for unit, found in plays(store).items() if "one" not in found} == set(whole.units() - smaller.units())
    step = advance(store, smaller, "prepared", play="one")
    assert own(step, smaller) == [False] and not step.changed
    step = advance(store, smaller, "prepared", play="other")
    assert own(step, smaller) == [True] and not step.changed


def test_what_was_keyed_without_a_play_is_nobodys_own(store: Keystore) -> None:
    """The module ipsec_keystore may go on naming it."""
    whole, smaller = connection(MANY[:3]), connection(MANY[:2])
    advance(store, whole, "prepared", *ROTATION)
    advance(store, whole, "prepared", play="one")
    assert own(advance(store, smaller, "prepared", play="one"), smaller) == [False]
    assert own(advance(store, smaller, "prepared", play="one"), smaller) == [False]


def test_a_play_that_removes_nothing_does_not_keep_what_others_have(store: Keystore) -> None:
    """As the playbooks that only give new keys."""
    whole, smaller = connection(MANY[:3]), connection(MANY[:2])
    advance(store, whole, "prepared", *ROTATION, play="one")
    advance(store, whole, "prepared", *ROTATION, play="guest", is_guest=True, new_keys=True)
    assert set(map(str, plays(store).values())) == {"{'one': 'mesh'}"}
    assert own(advance(store, smaller, "prepared", play="guest", is_guest=True), smaller) == [False]
    assert own(advance(store, smaller, "prepared", play="one"), smaller) == [True]


def alone(name: str, host: str, **more: t.Any) -> Connection:
    return read_connections([{"name": name, "endpoints": {"hub": "192.0.2.200", host: "192.0.2.99"}, **more}])[0]


def name_only(store: Keystore, *rows: Connection, play: str = "site") -> steps.Transition:
    return steps.carry_out(store, rows, Order("prepared", "me@here", known=rows, play=play))


def test_a_play_that_names_other_connections_each_time_keeps_them(store: Keystore) -> None:
    """As where it uses the role twice, or gets its connections from the command line."""
    core, second, edge = alone("core", "h01"), alone("second", "h02"), alone("edge", "h03")
    for dummy in range(2):
        assert own(name_only(store, core, second), core, second) == [] + [False] * dummy
        assert own(name_only(store, edge), edge) == [False, False]
    assert own(name_only(store, core), core) == [False, True]
    # One that joins belongs to those that were there.
    third = alone("third", "h04")
    name_only(store, core, second, third)
    assert own(name_only(store, second), second) == [True, False, True]


def test_the_only_connection_of_a_play_may_get_another_name(store: Keystore) -> None:
    name_only(store, alone("core", "h01"))
    renamed = alone("backbone", "h01")
    assert own(name_only(store, renamed), renamed) == [True]
    assert plays(store, "backbone") == {("h01", "hub"): {"site": "core"}}
    other = alone("else", "h01", mode="tunnel")
    assert own(name_only(store, other), other) == [False, False]


def test_a_connection_of_which_nothing_is_named_is_given_up(store: Keystore) -> None:
    core, second = alone("core", "h01"), alone("second", "h02")
    name_only(store, core, second)
    name_only(store, core, second, play="other")
    step = name_only(store, core)
    assert step.changed and own(step, core) == [False]
    assert plays(store, "second") == {("h02", "hub"): {"other": "core"}}
    step = name_only(store, core, play="other")
    assert own(step, core) == [True] and not step.changed


def before_of(store: Keystore, host: str) -> list[t.Any]:
    """What a host has of units that left, with its keys."""
    whole = store.read("mesh")
    assert whole is not None
    roots = store.read_roots().secrets()
    return [
        sa
        for record in whole.records
        if record.left and record.current is not None
        for sa in sas_of(record.current, "mesh", roots, host)
    ]


def test_a_pair_that_comes_back_is_not_removed_any_more(store: Keystore) -> None:
    advance(store, connection(MANY[:3]), "prepared", *ROTATION)
    advance(store, connection(MANY[:2]), "prepared")
    cleaned(store, [("h00", "h02"), ("h01", "h02")], "h00")
    step = advance(store, connection(MANY[:3]), "prepared")
    whole = store.read("mesh")
    assert whole is not None and [(record.left, record.cleaned) for record in whole.records] == [("", None)]
    assert set(outcomes(step).values()) == {"kept"}


@pytest.mark.parametrize("last", ["prepared", "promoted"])
def test_the_keys_of_a_group_are_retired_when_the_hosts_that_hold_them_removed_them(store: Keystore, last: str) -> None:
    """A host that left a group before is one of these only until the group has other keys."""
    groups = {"multicast": ["224.0.0.5"]}
    advance(store, connection(MANY[:3], **groups), "prepared", *ROTATION)
    advance(store, connection(MANY[:2], **groups), "prepared", *(ROTATION if last == "promoted" else ()))
    hosts = MANY[: 2 if last == "promoted" else 3]
    assert [bool(leaving(store, {"mesh": frozenset([GROUP])}, host)) for host in hosts] == [True] * len(hosts)
    assert cleaned(store, [GROUP], *hosts[:-1]).records and not cleaned(store, [GROUP], hosts[-1]).records


def test_a_host_that_left_with_the_last_generation_of_format_1_can_be_removed(store: Keystore) -> None:
    """It has the keys that are the previous ones of all others."""
    record = made(promoted(made(KeyRecord("mesh"), "random")), "random", mesh("abcd"))
    store.write_texts({"mesh": first_format(promoted(record))})
    gone = [("a", "e"), ("b", "e"), ("c", "e"), ("d", "e")]
    step = steps.carry_out(store, [mesh("abcd")], Order("prepared", "me@here"))
    (row,) = result.others(step, [mesh("abcd")])["leaving"]
    assert not step.changed and set(row["settings"][0]["endpoints"]) == set("abcde")
    assert len(leaving(store, {"mesh": frozenset(gone)}, "e")) == 16
    assert not any(record.left for record in cleaned(store, gone, *"abcde").records)


def test_a_host_that_came_back_has_not_left_although_the_run_is_limited_to_others(store: Keystore) -> None:
    whole = connection(MANY[:4])
    advance(store, whole, "prepared", *ROTATION)
    advance(store, connection(MANY[:2]), "prepared")
    back = connection(MANY[:3])
    step = advance(store, back, "prepared", only=["mesh/h00,h01"])
    found = result.others(step, [back])
    assert [row["hosts"] for row in found["departed"]] == [["h03"]]
    (row,) = found["leaving"]
    gone = {unit for unit in whole.units() if "h03" in unit}
    assert connection_of("mesh", row["settings"][0]).units() == gone
    assert {tuple(pair) for pair in found["departed"][0]["pairs"]} == gone
