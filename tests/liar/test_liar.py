# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One host of three gives false answers. The other two end as after an honest run, or untouched;
the report names the liar, and the run fails.
"""

from __future__ import annotations

import itertools
import json
import pathlib
import re
import shutil
import typing as t

import pytest

from ansible_collections.ipsec.manual.tests.liar.hosts import (
    ADDRESS,
    COLLECTIONS,
    CONNECTIONS,
    HOSTS,
    PAIRS,
    Fleet,
    Run,
)

STRONG = {"aes-cbc/hmac-sha256"}
WEAK = [{**CONNECTIONS[0], "associations": [{"encryption_algorithm": "null", "authentication_algorithm": "hmac-md5"}]}]
NEW_KEYS = {"rotate_new_keys": True, "rotate_timeout": 12}
# First and last in the play, since tasks with run_once use the variables of the first.
LIARS = ("a", "c")


@pytest.fixture(scope="session")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """A fleet with its first keys, all honest."""
    fleet = Fleet(tmp_path_factory.mktemp("keyed"))
    done = fleet.run()
    assert done.status == 0, done.output
    return fleet


@pytest.fixture
def fleet(tmp_path: pathlib.Path, keyed: Fleet) -> Fleet:
    return Fleet(tmp_path, like=keyed)


def honest_pair(liar: str) -> tuple[str, str]:
    one, other = (host for host in HOSTS if host != liar)
    return one, other


def spared(fleet: Fleet, liar: str, before: t.AbstractSet[t.Any]) -> None:
    """Each of the two honest hosts accepts what the other sends, through SAs of strong algorithms: the
    old ones, or those of a generation of the right keystore.
    """
    pair = honest_pair(liar)
    held = fleet.sas(pair[0], pair) | fleet.sas(pair[1], pair)
    for host, peer in (pair, pair[::-1]):
        assert set() != fleet.sent(host, peer) <= fleet.sas(peer, pair)
    assert {f"{sa.encryption}/{sa.authentication}" for sa in held} == STRONG
    known = "".join(
        generation["sas"]
        for record in fleet.record("mesh")["records"]
        for generation in (record["current"], record["next"])
        if generation
    )
    assert held == before or all(f"spi 0x{sa.spi:08x}" in known for sa in held)
    assert sorted(path.name for path in fleet.keystore.glob("*.yml") if not path.name.startswith("_")) == ["mesh.yml"]
    assert not list(fleet.folder.rglob("evil*"))
    # Nothing that identifies a key, or allows testing guesses, outlives the run.
    assert not fleet.leftovers()
    assert (fleet.keystore / ".lock").read_text(encoding="utf-8") == ""


def named(done: Run, liar: str) -> None:
    assert done.status != 0, done.output
    report = done.text.partition("fatal: ")[2]
    assert f" {liar}: " in report or f"({liar})" in report or f"for {liar}" in report, done.output
    assert "Traceback" not in done.output and "this is probably a bug" not in done.output, done.output
    assert "[ERROR]" not in done.output and "...ignoring" not in done.output, done.output


FACTS = {
    "ipsec_connections": WEAK,
    "rotate_connections": WEAK,
    "rotate_keystore": "evil",
    "rotate_probe": False,
    "rotate_trusted_transports": ["telnet"],
    "ipsec_address": "192.0.2.66",
    "inventory_hostname": "b",
}


_turns = itertools.cycle(LIARS)


def _lie(name: str, *marks: pytest.MarkDecorator, **modules: t.Any) -> t.Any:
    """The two possible liars take turns."""
    return pytest.param(next(_turns), modules, id=name, marks=marks)


every_core = pytest.mark.every_core
# After these an honest run follows: stopped before the switch, after it with the answer lost, and
# when files were written.
heals = pytest.mark.heals
LIES = (
    # It takes longest, so it comes first.
    _lie("cut-hangs", **{"ipsec_sadb:exact": {"sleep": 20}}),
    _lie("facts", every_core, ipsec_preflight={"set": {"ansible_facts": FACTS}}),
    _lie("facts-late", **{"ipseckeys_file:present": {"set": {"ansible_facts": FACTS}}}),
    _lie(
        "facts-at-cut-over",
        every_core,
        **{"ipsec_sadb:exact": {"set": {"ansible_facts": FACTS, "add_host": {"host_name": "evil"}}}},
    ),
    _lie("spis", ipsec_preflight={"at": {"spis": ["zzz"]}}),
    _lie("spis-millions", ipsec_preflight={"at": {"spis": ["0x00001000"] * 300_000}}),
    _lie("epoch", ipsec_preflight={"at": {"epoch": float("nan")}}),
    _lie("nan", ipsec_preflight={"raw": '{"changed": NaN}'}),
    _lie("asked", ipsec_preflight={"at": {"asked": ["mesh"]}}),
    _lie("usage", ipsec_preflight={"at": {"usage": {"192.0.2.1|192.0.2.2#0,,0": {"packets": -1}}}}),
    _lie("held", ipsec_preflight={"at": {"held": []}}),
    _lie("no-json", every_core, ipsec_preflight={"raw": "\x1b]0;owned\x07 nothing"}),
    _lie("deep", every_core, ipsec_preflight={"raw": "[" * 100_000}),
    _lie("stage-silent", heals, **{"ipseckeys_file:present": {"raw": ""}}),
    _lie("cut-digest", **{"ipsec_sadb:exact": {"at": {"digest": {}}}}),
    _lie("cut-counts", **{"ipsec_sadb:exact": {"at": {"counts": {"unchanged": {}}}}}),
    _lie("cut-lost", every_core, heals, **{"ipsec_sadb:exact": {"raw": "", "status": 137}}),
    _lie("cut-fails", **{"ipsec_sadb:exact": {"set": {"failed": True, "msg": "\x1b[2J\u202eno" * 3000}}}),
    _lie(
        "probe",
        ipsec_probe={"at": {"received": [{"key": "esp|192.0.2.2|0x00001000", "before": {}, "after": "9" * 9999}]}},
    ),
    _lie(
        "probe-of-others",
        every_core,
        ipsec_probe={"at": {"sent": [{"key": "esp|192.0.2.2|0x00001000", "before": 0, "after": 3}]}},
    ),
    _lie(
        "persist",
        every_core,
        heals,
        **{"ipseckeys_file:present": {"at": {"digest": {"192.0.2.1|192.0.2.3": "0" * 32}}}},
    ),
)


@pytest.mark.parametrize(("liar", "modules"), LIES)
def test_a_host_with_false_answers_harms_only_itself(
    fleet: Fleet, liar: str, modules: t.Any, request: pytest.FixtureRequest
) -> None:
    pair = honest_pair(liar)
    before = fleet.sas(pair[0], pair)
    fleet.lie(liar, **modules)
    done = fleet.run(extra=NEW_KEYS)
    spared(fleet, liar, before)
    named(done, liar)
    assert "\x1b" not in done.output and "\u202e" not in done.output
    if request.node.get_closest_marker("heals"):
        # The next honest run completes the rotation.
        fleet.lie(liar)
        done = fleet.run()
        assert done.status == 0, done.output
        assert {record["phase"] for record in fleet.record("mesh")["records"]} == {"steady"}
        assert fleet.sas("a", ("a", "c")) == fleet.sas("c", ("a", "c")) != set()


SOURCES = {
    "inventory": ({}, {}),
    "role": ({"rotate_new_keys": True, "rotate_keystore": "keystore"}, {}),
    "extra": ({}, {"rotate_new_keys": True, "rotate_keystore": "keystore"}),
}


@pytest.mark.parametrize(
    ("liar", "source", "cache"),
    [
        pytest.param("a", "inventory", "jsonfile", marks=every_core),
        ("c", "role", "memory"),
        ("a", "extra", "memory"),
        ("c", "inventory", "memory"),
    ],
)
def test_facts_change_no_input_wherever_it_is_defined(fleet: Fleet, liar: str, source: str, cache: str) -> None:
    """The play gathers facts before the role, and a cache keeps them for a later run, which gathers none."""
    pair = honest_pair(liar)
    before = fleet.sas(pair[0], pair)
    role, extra = SOURCES[source]
    fleet.environment = {"ANSIBLE_CACHE_PLUGIN": cache, "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(fleet.folder / "facts")}
    fleet.lie(liar, setup={"at": {"ansible_facts": FACTS}})
    done = fleet.run(role=role, extra=extra, play={"gather_facts": True})
    spared(fleet, liar, before)
    named(done, liar)
    if cache == "jsonfile":
        fleet.lie(liar)
        named(fleet.run(role=role, extra=extra), liar)
        spared(fleet, liar, before)


@pytest.mark.parametrize("liar", LIARS)
def test_facts_change_no_variable_that_an_input_uses(fleet: Fleet, liar: str) -> None:
    fleet.inventory["all"]["vars"] = {
        "ipsec_connections": "{{ connections_of_ours }}",
        "connections_of_ours": CONNECTIONS,
    }
    pair = honest_pair(liar)
    before = fleet.sas(pair[0], pair)
    fleet.lie(liar, setup={"at": {"ansible_facts": {"connections_of_ours": WEAK}}})
    done = fleet.run(play={"gather_facts": True}, extra={"rotate_new_keys": True})
    spared(fleet, liar, before)
    named(done, liar)
    assert "would change the variable ipsec_connections" in done.text


@every_core
def test_facts_that_all_hosts_share_change_nothing(fleet: Fleet) -> None:
    """In ansible-core 2.21 a cacheable `set_fact` that runs once makes all hosts share one
    dictionary, so the facts of one become everybody's.
    """
    before = fleet.sas("a", ("a", "b"))
    fleet.lie("c", setup={"at": {"ansible_facts": FACTS}})
    shared = {"ansible.builtin.set_fact": {"of_the_play": 1, "cacheable": True}, "run_once": True}
    done = fleet.run(
        before=[shared, {"ansible.builtin.setup": {}, "when": "inventory_hostname == 'c'"}],
        extra={"rotate_new_keys": True},
    )
    spared(fleet, "c", before)
    named(done, "c")


def test_a_host_that_reports_too_much_use_gets_new_keys_for_its_own_pairs_alone(fleet: Fleet) -> None:
    names = [f"192.0.2.{one}|192.0.2.{other}#0,,0" for one, other in ((1, 2), (1, 3), (2, 3), (7, 8))]
    used = {name: {"packets_percent": 100, "blocks64": 2**64 - 1} for name in names}
    fleet.lie("c", ipsec_preflight={"at": {"usage": used, "asked": names}})
    before, honest = fleet.sas("c", ("a", "c")), fleet.sas("a", ("a", "b"))
    done = fleet.run(extra={"rotate_when": "due"})
    assert done.status == 0 and " new keys: c: " in done.text, done.output
    assert not any(f" new keys: {host}: " in done.text for host in "ab")
    assert fleet.sas("a", ("a", "c")) == fleet.sas("c", ("a", "c")) != before
    assert fleet.sas("a", ("a", "b")) == fleet.sas("b", ("a", "b")) == honest
    for host, peer in itertools.permutations(HOSTS, 2):
        assert set() != fleet.sent(host, peer) <= fleet.sas(peer, (host, peer))


def test_inputs_from_facts_are_refused_with_the_fix(fleet: Fleet) -> None:
    fleet.inventory["all"]["vars"]["ipsec_address"] = "{{ ansible_facts.default_ipv4.address }}"
    fleet.inventory["all"]["vars"]["ipsec_connections"] = [{"name": "mesh", "endpoints": list(HOSTS)}]
    done = fleet.run()
    assert (
        done.status != 0 and "ipsec_address of a: it cannot be evaluated" in done.text and "without facts" in done.text
    ), done.output


def test_each_host_gets_only_its_own_data(fleet: Fleet) -> None:
    """A host must not get digests of pairs to which it does not belong, which would let it test
    guesses. The first run made all requests.
    """
    for host in HOSTS:
        asked = fleet.asked(host)
        expected = next(row["options"]["expected"] for row in asked if row["module"] == "ipsec_preflight")
        address = dict(zip(HOSTS, ("192.0.2.1", "192.0.2.2", "192.0.2.3")))[host]
        assert len(expected) == 2 and all(address in pair for pair in expected)
        others = {"192.0.2.1", "192.0.2.2", "192.0.2.3"} - {address}
        staged = [
            line for row in asked for line in str(row["options"].get("content", "")).splitlines() if "authkey" in line
        ]
        assert staged and not any(all(f" {other} " in line for other in others) for line in staged)


@every_core
@pytest.mark.parametrize("strategy", ["overlap", "flush"])
def test_after_an_error_in_the_evaluation_hosts_accept_what_their_peers_send(fleet: Fleet, strategy: str) -> None:
    """Simulates an error in the evaluation. All hosts confirmed the new SAs, so none goes back."""
    root = fleet.folder / "collections" / "ansible_collections" / "ipsec" / "manual"
    for name in ("plugins", "roles", "meta"):
        shutil.copytree(COLLECTIONS / "ansible_collections" / "ipsec" / "manual" / name, root / name)
    broken = root / "plugins" / "plugin_utils" / "_rotation" / "cutover.py"
    code = broken.read_text(encoding="utf-8")
    broken.write_text(code + "\n\ndef verdict(run):\n    raise RuntimeError('broken')\n", encoding="utf-8")
    fleet.environment = {"ANSIBLE_COLLECTIONS_PATH": str(fleet.folder / "collections")}
    done = fleet.run(extra={**NEW_KEYS, "rotate_strategy": strategy})
    assert done.status != 0 and "No host went back to its previous SAs" in done.text, done.output
    for host, peer in itertools.permutations(HOSTS, 2):
        assert set() != fleet.sent(host, peer) <= fleet.sas(peer, (host, peer))
    broken.write_text(code, encoding="utf-8")
    done = fleet.run()
    assert done.status == 0, done.output
    records = fleet.record("mesh")["records"]
    assert {(record["phase"], record["current"]["generation"]) for record in records} == {("steady", 2)}


@every_core
def test_every_run_ends_with_what_it_did(fleet: Fleet) -> None:
    """On the screen in lines, and as JSON."""
    wanted = {"rotate_report": "run.json"}
    found = fleet.folder / "run.json"

    check = fleet.run("--check", extra={"rotate_new_keys": True, **wanted})
    assert fleet.changed(check) == {"a": 1, "b": 1, "c": 1}, check.output
    assert check.text.count("generation 1 -> 2, in the SADB and /etc/inet/secret/ipseckeys") == 6, check.output
    assert json.loads(found.read_text(encoding="utf-8"))["outcome"] == "due"

    done = fleet.run(extra={"rotate_new_keys": True, **wanted})
    assert '"mesh        a, c   1 -> 2      overlap, no gap  -"' in done.output, done.output
    assert json.loads(found.read_text(encoding="utf-8"))["connections"][0]["state"] == "rotated"

    second = fleet.run(extra=wanted)
    assert second.output.count("Nothing was due: 3 pairs are up to date.") == 1 and "mesh" not in second.output
    assert json.loads(found.read_text(encoding="utf-8"))["outcome"] == "unchanged"

    fleet.lie("b", ipsec_preflight={"set": {"failed": True, "msg": "the disk is full of paper"}})
    failed = fleet.run(extra=wanted)
    assert failed.output.count("full of paper") == failed.output.count("fatal: ") == 1, failed.output
    assert '"  b: the disk is full of paper",\n' in failed.output and "...ignoring" not in failed.output
    assert json.loads(found.read_text(encoding="utf-8"))["problems"] == ["b: the disk is full of paper"]


def test_hosts_that_go_back_are_reported_once_with_the_table(fleet: Fleet) -> None:
    """By the last task, which is the only one that fails."""
    fleet.lie("b", **{"ipsec_sadb:exact": {"at": {"digest": {}}}})
    failed = fleet.run(extra={"rotate_new_keys": True, "rotate_report": "run.json"})
    assert failed.status != 0 and failed.output.count("fatal: ") == 1, failed.output
    assert failed.output.count("The rotation stopped at: cut over.") == 1, failed.output
    for part in ("b: holds no SAs between 192.0.2.1 and 192.0.2.2", "Which host holds what:", "3 pairs, not all done"):
        assert failed.text.count(part) == 1, failed.output
    run = json.loads((fleet.folder / "run.json").read_text(encoding="utf-8"))
    assert run["stopped_at"] == "cut over" and run["outcome"] == "failed"
    assert "b: holds no SAs between 192.0.2.1 and 192.0.2.2" in run["problems"]


@every_core
def test_only_hosts_that_change_are_counted(fleet: Fleet) -> None:
    """The host on which the steps of the controller run is not one of them."""
    wanted = {"ipsec_connections": [{"name": "new", "endpoints": {host: ADDRESS[host] for host in ("b", "c")}}]}
    check = fleet.run("--check", extra=wanted)
    assert fleet.changed(check) == {"a": 0, "b": 1, "c": 1}, check.output
    done = fleet.run(extra=wanted)
    counts = fleet.changed(done)
    assert counts.pop("a") == 0 and all(counts.values()), done.output
    assert fleet.changed(fleet.run(extra=wanted)) == {"a": 0, "b": 0, "c": 0}


def test_a_host_that_has_what_it_should_is_not_counted_although_it_takes_part(fleet: Fleet) -> None:
    """A file is staged there, and removed again."""
    mine, others = (
        {"name": "-".join(hosts), "endpoints": {host: ADDRESS[host] for host in hosts}} for hosts in ("ab", "bc")
    )
    fleet.run(extra={"rotate_state": "absent"})
    fleet.run(extra={"ipsec_connections": [mine, others]})
    stronger = {**others, "associations": [{"authentication_algorithm": "hmac-sha512"}]}
    wanted = {"ipsec_connections": [mine, stronger]}
    assert fleet.changed(fleet.run("--check", extra=wanted)) == {"a": 0, "b": 1, "c": 1}
    done = fleet.run(extra=wanted)
    counts = fleet.changed(done)
    assert counts.pop("a") == 0 and all(counts.values()), done.output
    assert {asked["module"] for asked in fleet.asked("a")} > {"ipseckeys_file"} and not fleet.leftovers()


def test_a_change_of_the_keystore_alone_counts_on_no_host_and_is_reported(fleet: Fleet) -> None:
    """It remembers that a host left."""
    ends = {host: ADDRESS[host] for host in ("a", "b")}
    rest = {"ipsec_connections": [{"name": "mesh", "endpoints": ends}], "rotate_leave": []}
    for options, said in ((["--check"], "No host would change."), ([], "No host changed."), ([], "")):
        done = fleet.run(*options, extra=rest)
        assert fleet.changed(done) == {"a": 0, "b": 0, "c": 0}, done.output
        assert done.output.count("The keystore") == bool(said) and said in done.output, done.output


def titles(done: Run) -> list[str]:
    """The headings of the role's tasks."""
    found = re.findall(r"^TASK \[ipsec\.manual\.rotate : (.*)\]", done.output, re.M)
    return [title.partition(",")[0] for title in found]


@every_core
def test_a_run_shows_what_it_does_and_one_heading_above_the_changes(fleet: Fleet) -> None:
    begin = ["Ask every host what it holds", "Check the settings and the answers"]
    end = ["Report what the run did"]
    again = fleet.run()
    assert titles(again) == [*begin, "Changes: none", *end] and again.output.count("skipping: ") == 1, again.output
    check = fleet.run("--check", extra={"rotate_new_keys": True})
    assert "Changes: mesh, on 3 hosts, none of it in check mode]" in check.output, check.output
    rotated = fleet.run(extra={"rotate_new_keys": True})
    assert "Changes: mesh, on 3 hosts]" in rotated.output, rotated.output
    assert titles(rotated) == [
        *begin,
        "Changes: mesh",
        "Stage the SAs",
        "Record in the keystore that hosts may use the new generation",
        "Cut over",
        "Send test packets through the SAs",
        "Count the test packets that arrived",
        "Approve the new SAs",
        "Write the SAs to the protected file",
        "Make the new generation the current one of the keystore",
        *end,
    ]
    assert "skipping: " not in rotated.output
    removed = fleet.run(extra={"rotate_state": "absent"})
    assert titles(removed) == [
        *begin,
        "Changes: what left",
        "Remove SAs",
        "Record in the keystore which hosts are done",
        *end,
    ]


@every_core
def test_a_gap_is_measured(fleet: Fleet) -> None:
    done = fleet.run(extra={"rotate_new_keys": True, "rotate_strategy": "flush", "rotate_report": "run.json"})
    shown = re.findall(r'"mesh .* flush, <= (\d+) ms ', done.output)
    rows = json.loads((fleet.folder / "run.json").read_text(encoding="utf-8"))["connections"]
    assert len(shown) == len(rows) == 3, done.output
    for row, line in zip(rows, shown):
        assert 0 <= row["gap"]["by_clocks_ms"] <= row["gap"]["at_most_ms"] <= int(line), done.output


def row(done: Run) -> list[str]:
    """The cells of the connection in the table of the playbook status."""
    (line,) = (line for line in done.output.splitlines() if line.strip().startswith('"mesh '))
    return line.strip(' ",').split()


@every_core
def test_the_status_of_honest_hosts(fleet: Fleet) -> None:
    before = fleet.record("mesh"), *map(fleet.state, HOSTS)
    done = fleet.status()
    assert done.status == 0 and row(done) == ["mesh", "3/3", "1", "3", "d", "no", "yes", "no", "0/3"], done.output
    assert (fleet.record("mesh"), *map(fleet.state, HOSTS)) == before and not fleet.leftovers()
    # Each run has a secret of its own, which all its hosts share.
    fleet.status()
    keys = [
        [asked["options"]["digest_key"] for asked in fleet.asked(host) if asked["module"] == "ipsec_status"]
        for host in HOSTS
    ]
    assert keys[0] == keys[1] == keys[2] and len(set(keys[0])) == len(keys[0]) == 2


OTHER = {"held": {"192.0.2.1|192.0.2.3#0,,0": "0" * 32}}


@pytest.mark.parametrize(
    ("lie", "cells", "part"),
    [
        pytest.param({"at": OTHER}, ["3/3", "1,", "other,", "none"], "a and c do not agree", id="keys"),
        pytest.param({"at": {"backend": ""}}, ["3/3", "1"], "", id="blind"),
        pytest.param({"at": {"held": []}}, ["2/3", "1"], "{}: absent: ipsec.manual.ipsec_status", id="ill-typed"),
        pytest.param({"set": {"ansible_facts": FACTS}}, ["2/3", "1"], "{}: absent: ", id="facts"),
        pytest.param({"raw": "[" * 100_000}, ["2/3", "1"], "{}: absent: ", id="deep"),
        pytest.param(
            {"at": {"wrong": ["\x1b[2Jb: absent: gone"] * 100}},
            ["3/3", "1"],
            "{}: wrong: \\\\x1b[2Jb: absent",
            id="loud",
        ),
    ],
)
def test_a_lie_about_the_status_is_said_of_the_liar_alone(
    fleet: Fleet, lie: dict[str, t.Any], cells: list[str], part: str
) -> None:
    liar = next(_turns)
    fleet.lie(liar, ipsec_status=lie)
    done = fleet.status()
    assert done.status == 0 and row(done)[1 : 1 + len(cells)] == cells, done.output
    assert part.format(liar) in done.text and "\x1b" not in done.output, done.output
    for host in set(HOSTS) - {liar}:
        assert f"{host}: wrong: no policy uses 2 outbound SAs" in done.text and f'"{host}: absent' not in done.output
    assert not fleet.leftovers()


def _keys(fleet: Fleet) -> set[bytes]:
    """The keys in all kernels: two for each SA."""
    sas = [sa for pair in PAIRS for host in pair for sa in fleet.sas(host, pair)]
    return {key for sa in sas for key in (sa.encryption_key, sa.authentication_key)}


def test_an_undo_makes_new_keys_with_the_earlier_settings(fleet: Fleet) -> None:
    """It says so, and what to restore in the inventory; until then, no run makes the change again."""
    earlier, first = fleet.ciphers(), _keys(fleet)
    changed = [
        {**connection, "associations": [{"authentication_algorithm": "hmac-sha512"}]} for connection in CONNECTIONS
    ]
    fleet.inventory["all"]["vars"]["ipsec_connections"] = changed
    done = fleet.run()
    assert done.status == 0 and fleet.ciphers() == {"aes-cbc/hmac-sha512"}, done.output
    seen = first | _keys(fleet)

    done = fleet.run(extra={"rotate_undo": True})
    assert done.status == 0 and fleet.ciphers() == earlier, done.output
    assert done.text.count("mesh gets its earlier settings, with new keys. Change the inventory accordingly:") == 1
    for one, other in PAIRS:
        assert fleet.sas(one, (one, other)) == fleet.sas(other, (one, other)) != set()
    assert len(seen) == 24 and not _keys(fleet) & seen
    records = fleet.record("mesh")["records"]
    assert {(record["phase"], record["current"]["generation"]) for record in records} == {("steady", 3)}

    held = {host: fleet.state(host) for host in HOSTS}
    done = fleet.run()
    assert done.status != 0 and "still has the settings that rotate_undo took back" in done.text, done.output
    fleet.inventory["all"]["vars"]["ipsec_connections"] = CONNECTIONS
    done = fleet.run()
    assert done.status == 0 and set(fleet.changed(done).values()) == {0}, done.output
    assert {host: fleet.state(host) for host in HOSTS} == held
