# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pairs and connections that left are removed from hosts, unless the operator or another play keeps them."""

from __future__ import annotations

import concurrent.futures
import itertools
import json
import pathlib
import re
import time
import typing as t

import pytest

from ansible_collections.ipsec.manual.tests.liar.hosts import ADDRESS, HOSTS, PAIRS, Fleet, Run

SET_UP = {"rotate_policies": True, "rotate_boot": True, "rotate_probe": False, "boot_service_manager": "systemd"}
SMALLER = [{"name": "mesh", "endpoints": {host: ADDRESS[host] for host in "ab"}}]
MODULES = ("ipseckeys_file", "ipsec_sadb", "ipsec_policy")


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """A fleet with keys, policies and the service."""
    fleet = Fleet(tmp_path_factory.mktemp("keyed"))
    done = fleet.run(extra=SET_UP)
    assert done.status == 0, done.output
    return fleet


@pytest.fixture
def fleet(tmp_path: pathlib.Path, keyed: Fleet) -> Fleet:
    """The same fleet, whose inventory does not name host c any more."""
    found = Fleet(tmp_path, like=keyed)
    found.inventory["all"]["vars"]["ipsec_connections"] = SMALLER
    for host in HOSTS:
        found.asked(host)
    return found


def run(fleet: Fleet, *options: str, **extra: t.Any) -> Run:
    """A run that removes only what is named, as with an inventory that somebody else fills."""
    return fleet.run(*options, extra={**SET_UP, "rotate_leave": [], **extra})


def plain(fleet: Fleet, *options: str, **extra: t.Any) -> Run:
    return fleet.run(*options, extra={**SET_UP, **extra})


def everything(fleet: Fleet) -> t.Any:
    return fleet.record("mesh"), *map(fleet.state, HOSTS)


def held(fleet: Fleet, host: str, peer: str) -> int:
    """How many things of a pair a host has: SAs in the kernel and in its file, policies, and policies at boot."""
    state, address = fleet.state(host), ADDRESS[peer]
    text = "".join((state["kernel"], *state["files"].values()))
    policies = [*state["policies"], *(state.get("boot") or ())]
    return text.count(f" {address} ") + sum(f"{address}/32" in policy["selector"].values() for policy in policies)


def gone(fleet: Fleet) -> bool:
    return not any(held(fleet, *pair) for pair in (("a", "c"), ("b", "c"), ("c", "a"), ("c", "b")))


def test_a_host_is_kept_until_it_is_named(fleet: Fleet) -> None:
    before = list(map(fleet.state, HOSTS))
    done = run(fleet)
    assert done.status == 0 and "c left connection mesh. " in done.text, done.output
    assert "rotate_leave: [mesh/c]" in done.text and "Nothing was due" in done.text
    assert list(map(fleet.state, HOSTS)) == before and all(held(fleet, *pair) for pair in PAIRS)


def test_a_host_that_left_is_removed_everywhere(fleet: Fleet) -> None:
    run(fleet)
    kernel = fleet.sas("a", ("a", "b"))
    before = everything(fleet)
    said = run(fleet, "--check", rotate_leave=["mesh/c"])
    assert said.status == 0 and everything(fleet) == before, said.output
    assert "mesh/a,c, mesh/b,c: no longer in the connections" in said.text
    assert "nothing protects this traffic" in said.text
    for host in HOSTS:
        fleet.asked(host)

    done = run(fleet, rotate_leave=["mesh/c"])
    assert done.status == 0 and gone(fleet), done.output
    assert "Removed from c: mesh/a,c, mesh/b,c." in done.text
    assert fleet.sas("a", ("a", "b")) == fleet.sas("b", ("a", "b")) == kernel
    assert held(fleet, "a", "b") == held(fleet, "b", "a") > 0
    record = fleet.record("mesh")
    assert [row["reason"] for row in record["retired"]] == ["retired"] and len(record["records"]) == 1
    # No key that is retired went to a host, and policies went last.
    secret = {sa.authentication_key.hex() for sa in kernel}
    for host in HOSTS:
        asked = [row for row in fleet.asked(host) if row["module"] in MODULES]
        assert [row["module"] for row in asked][-5:] == [
            *("ipseckeys_file", "ipseckeys_file", "ipsec_sadb", "ipsec_policy", "ipseckeys_file")
        ]
        known = "".join(row["options"].get("content", "") for row in asked)
        assert known and not any(key in known for key in secret | retired_keys(before))

    again = run(fleet, rotate_leave=["mesh/c"])
    assert again.status == 0 and "Nothing was due" in again.text and "left connection" not in again.text, again.output
    assert "nothing of that name has left" in again.text


def retired_keys(before: t.Any) -> set[str]:
    """All words of the keystore that are as long as a key of the default algorithms."""
    texts = [record["current"]["sas"] for record in before[0]["records"]]
    return {word for text in texts for word in text.split() if len(word) == 64}


def test_a_host_that_takes_no_part_is_named_and_remembered(fleet: Fleet) -> None:
    done = run(fleet, "--limit", "a,b", rotate_leave=["c"])
    assert done.status == 0 and "Still to be removed from c, which takes no part" in done.text, done.output
    assert not held(fleet, "a", "c") and not held(fleet, "b", "c") and held(fleet, "c", "a")
    assert any(record.get("cleaned") == ["a", "b"] for record in fleet.record("mesh")["records"])

    for host in HOSTS:
        fleet.asked(host)
    done = run(fleet)
    assert done.status == 0 and gone(fleet) and "Removed from c: " in done.text, done.output
    assert not any(row["module"] in MODULES and row["options"].get("content") for row in fleet.asked("a"))
    assert len(fleet.record("mesh")["records"]) == 1


def test_a_host_that_refuses_fails_the_run_and_the_next_one_ends_it(fleet: Fleet) -> None:
    fleet.lie("b", **{"ipsec_sadb:absent": {"set": {"failed": True, "msg": "the kernel is busy"}, "unchanged": True}})
    done = run(fleet, rotate_leave=["mesh"])
    assert done.status != 0 and "b: the kernel is busy" in done.text, done.output
    assert not held(fleet, "a", "c") and not held(fleet, "c", "b")
    # Its policies stand, so that nothing leaves in the clear.
    assert any(f"{ADDRESS['c']}/32" in policy["selector"].values() for policy in fleet.state("b")["policies"])
    fleet.lie("b")
    done = run(fleet)
    assert done.status == 0 and gone(fleet) and len(fleet.record("mesh")["records"]) == 1, done.output


@pytest.mark.parametrize("words", [{}, {"rotate_leave": ["*"]}], ids=["default", "everything"])
def test_what_leaves_is_removed_without_a_name(fleet: Fleet, words: t.Any) -> None:
    before = everything(fleet)
    said = plain(fleet, "--check", **words)
    assert said.status == 0 and everything(fleet) == before, said.output
    done = plain(fleet, **words)
    for found in (said, done):
        assert "To be removed, since it left the connections: mesh/a,c, mesh/b,c." in found.text, found.output
    assert done.status == 0 and gone(fleet) and "Removed from c: mesh/a,c, mesh/b,c." in done.text, done.output
    assert held(fleet, "a", "b") == held(fleet, "b", "a") > 0
    again = plain(fleet, **words)
    assert again.status == 0 and "Nothing was due" in again.text, again.output
    assert "rotate_leave" not in again.text


@pytest.mark.parametrize("playbook", ["rotate", "due"])
def test_a_fact_removes_nothing(fleet: Fleet, playbook: str) -> None:
    """These two playbooks take the variable from the inventory, by its name."""
    before = everything(fleet)
    fleet.environment = {
        "ANSIBLE_CACHE_PLUGIN": "jsonfile",
        "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(fleet.folder / "facts"),
    }
    fleet.lie("b", setup={"at": {"ansible_facts": {"rotate_leave": ["mesh/c"]}}})
    assert fleet.run("--check", play={"gather_facts": True, "tasks": []}).status == 0
    fleet.lie("b")
    done = fleet.playbook(f"ipsec.manual.{playbook}", extra={**SET_UP, "rotate_keystore": str(fleet.keystore)})
    assert (
        done.status != 0 and "b: it reports facts that would change the variable rotate_leave" in done.text
    ), done.text
    assert everything(fleet) == before


def test_what_another_play_has_is_kept(fleet: Fleet) -> None:
    """Plays may share a keystore. What one does not name, the other may have."""
    another = {"name": "Another play"}
    before = list(map(fleet.state, HOSTS))
    done = fleet.run(play=another, extra=SET_UP)
    assert done.status == 0 and "c left connection mesh. " in done.text, done.output
    assert list(map(fleet.state, HOSTS)) == before

    fleet.inventory["all"]["vars"]["ipsec_connections"] = [between("a", "b"), between("b", "c")]
    done = fleet.run(play=another, extra={**SET_UP, "rotate_policies": False, "rotate_boot": False})
    assert done.status == 0 and "(generation 1, in the play all) on a, b, c." in done.text, done.output
    assert "Removed from" not in done.text and held(fleet, "a", "c") == held(fleet, "c", "a") > 0

    fleet.inventory["all"]["vars"]["ipsec_connections"] = [between("b", "c")]
    done = fleet.run(play=another, extra={**SET_UP, "rotate_policies": False, "rotate_boot": False})
    assert (
        done.status == 0 and "Removed from a: a-b/a,b." in done.text and "Removed from c" not in done.text
    ), done.output


def between(one: str, other: str) -> dict[str, t.Any]:
    return {"name": f"{one}-{other}", "endpoints": {host: ADDRESS[host] for host in (one, other)}}


def test_what_was_begun_is_recorded_before_a_host_is_asked(fleet: Fleet) -> None:
    """So that the next run goes on, whenever the controller is killed."""
    fleet.lie("c", **{"ipsec_policy:absent": {"sleep": 3}})
    with concurrent.futures.ThreadPoolExecutor() as pool:
        future = pool.submit(run, fleet, rotate_leave=["mesh"])
        log = fleet.folder / "c" / "asked.jsonl"
        while not future.done() and not (log.exists() and "remove_src" in log.read_text(encoding="utf-8")):
            time.sleep(0.01)
        assert not future.done()
        assert [record.get("cleaned") for record in fleet.record("mesh")["records"] if record["left"]] == [[]]
        assert future.result().status == 0 and gone(fleet)


def test_nothing_of_an_interrupted_run_stays_on_a_host_that_left(fleet: Fleet) -> None:
    """Keys that it staged, and SAs of a generation that was discarded since and that only the staged file lists."""
    path, state = "/etc/inet/secret/ipseckeys", fleet.state("c")
    discarded = re.sub("(spi 0x|key )......", r"\1abcdef", state["files"][path])
    state["files"] |= {f"{path}.next": discarded, f"{path}.previous": state["files"][path]}
    state["files"][path] += discarded
    state["kernel"] += discarded
    (fleet.folder / "c" / "state.json").write_text(json.dumps(state), encoding="utf-8")
    done = run(fleet, rotate_leave=["mesh"])
    assert done.status == 0 and gone(fleet), done.output
    assert fleet.state("c")["kernel"] == "" and list(fleet.state("c")["files"]) == [path]


def test_a_rotation_and_a_removal_in_one_run(fleet: Fleet) -> None:
    before = fleet.sas("a", ("a", "b"))
    done = run(fleet, rotate_leave=["mesh"], rotate_new_keys=True)
    assert done.status == 0 and gone(fleet), done.output
    assert fleet.sas("a", ("a", "b")) == fleet.sas("b", ("a", "b")) != before


def test_a_renamed_connection_keeps_the_policies_of_its_successor(fleet: Fleet) -> None:
    """Both are between the same addresses, so that their policies are the same."""
    fleet.inventory["all"]["vars"]["ipsec_connections"] = [{"name": "other", "endpoints": ADDRESS}]
    policies = [fleet.state(host)["policies"] for host in HOSTS]
    done = run(fleet, rotate_leave=["mesh"])
    assert done.status == 0, done.output
    assert [fleet.state(host)["policies"] for host in HOSTS] == policies
    for host, peer in itertools.permutations(HOSTS, 2):
        assert len(fleet.sas(host, (host, peer))) == 2
    assert fleet.record("mesh")["records"] == [] and len(fleet.record("other")["records"]) == 1


@pytest.mark.parametrize(
    ("extra", "connections", "words"),
    [
        pytest.param({"rotate_leave": ["mesh"], "rotate_only": ["mesh"]}, SMALLER, "removes nothing", id="only"),
        pytest.param({}, [], "no connection has an endpoint among the hosts of this run", id="empty"),
        pytest.param({"rotate_leave": ["*"]}, [], "no connection has an endpoint", id="everything"),
    ],
)
def test_a_mistake_removes_nothing(fleet: Fleet, extra: t.Any, connections: t.Any, words: str) -> None:
    fleet.inventory["all"]["vars"]["ipsec_connections"] = connections
    before = everything(fleet)
    done = plain(fleet, **extra)
    assert done.status != 0 and words in done.text and everything(fleet) == before, done.output


def test_what_the_connections_name_is_never_removed(fleet: Fleet) -> None:
    done = run(fleet, rotate_leave=["a,b"])
    assert done.status == 0 and "rotate_leave names a,b, but nothing of that name has left" in done.text, done.output
    assert all(held(fleet, *pair) for pair in PAIRS)


def test_the_last_connection_goes_by_name(fleet: Fleet) -> None:
    fleet.inventory["all"]["vars"]["ipsec_connections"] = []
    done = run(fleet, rotate_leave=["mesh"])
    assert done.status == 0 and gone(fleet) and not held(fleet, "a", "b"), done.output
    assert fleet.record("mesh")["records"] == []


def test_everything_goes(fleet: Fleet) -> None:
    done = run(fleet, rotate_state="absent")
    assert done.status == 0 and gone(fleet) and not held(fleet, "a", "b"), done.output
    for host in HOSTS:
        state = fleet.state(host)
        assert not state["policies"] and state["boot"] is None and not state["kernel"]
    assert fleet.record("mesh")["records"] == []
    again = run(fleet, rotate_state="absent")
    assert again.status == 0 and fleet.changed(again) == dict.fromkeys(HOSTS, 0), again.output


def test_a_host_that_comes_back_has_its_pairs_again(fleet: Fleet) -> None:
    run(fleet, "--limit", "a,b", rotate_leave=["mesh/c"])
    fleet.inventory["all"]["vars"]["ipsec_connections"] = [{"name": "mesh", "endpoints": ADDRESS}]
    done = run(fleet)
    assert done.status == 0, done.output
    for one, other in PAIRS:
        assert fleet.sas(one, (one, other)) == fleet.sas(other, (one, other)) != set()


def twice(*lists: t.Any) -> list[t.Any]:
    """A play that uses the role for each of these lists of connections."""
    return [
        {"ansible.builtin.include_role": {"name": "ipsec.manual.rotate"}, "vars": {"rotate_connections": rows}}
        for rows in lists
    ]


def test_a_play_that_uses_the_role_twice_keeps_both(tmp_path: pathlib.Path) -> None:
    """Both uses have the same play, and each names connections that the other does not."""
    fleet = Fleet(tmp_path)
    fleet.inventory["all"]["vars"]["ipsec_connections"] = [between("a", "c")]
    for dummy in range(2):
        done = fleet.run(before=twice([between("a", "b")]), extra={"rotate_probe": False})
        assert done.status == 0 and "Removed" not in done.text and "To be removed" not in done.text, done.output
        assert len(fleet.sas("a", ("a", "b"))) == len(fleet.sas("a", ("a", "c"))) == 2


def test_a_connection_that_moved_to_another_play_is_kept(fleet: Fleet) -> None:
    """That play has run, but had no reason to make new keys."""
    fleet.inventory["all"]["vars"]["ipsec_connections"] = [{"name": "mesh", "endpoints": ADDRESS}]
    another = {"name": "Another play"}
    assert fleet.run(play=another, extra=SET_UP).status == 0
    fleet.inventory["all"]["vars"]["ipsec_connections"] = SMALLER
    done = plain(fleet)
    assert done.status == 0 and "Removed" not in done.text, done.output
    assert all(held(fleet, *pair) for pair in PAIRS)
