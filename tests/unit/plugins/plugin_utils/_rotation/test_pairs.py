# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A run whose rows are pairs of one connection."""

from __future__ import annotations

import itertools
import typing as t

import pytest

from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.reader import read_connections
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation import decisions, failure, policies
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation.record import Answers
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation.rotation import Rotation

ENDS = {host: f"192.0.2.{number}" for number, host in enumerate("abcd", 1)}
MESH = read_connections([{"name": "mesh", "endpoints": ENDS}])[0]
LINK = read_connections(
    [{"name": "link", "endpoints": {"a": "198.51.100.1", "b": "198.51.100.2"}, "multicast": ["224.0.0.5"]}]
)[0]
PAIRS = tuple(map(",".join, itertools.combinations("abcd", 2)))


def row(pair: str, **more: t.Any) -> dict[str, t.Any]:
    return {
        "name": f"mesh/{pair}",
        "generation": 7,
        "current": 7,
        "phase": "steady",
        "outcome": "kept",
        "counter_mode": False,
        "anti_replay": False,
        "abandoned": False,
        "multicast": [],
        "endpoints": {host: ENDS[host] for host in pair.split(",")},
        **more,
    }


def run_of(rows: t.Sequence[dict[str, t.Any]], keyed: t.Sequence[str] = (), **state: t.Any) -> Rotation:
    """A run of these pairs, of which those of d are new."""
    hosts = {
        host: {
            "connections": [found["name"] for found in rows if host in found["endpoints"]],
            "left_behind": [],
            "addresses": [ENDS[host]],
        }
        for host in sorted({host for found in rows for host in found["endpoints"]})
    }
    expected = {
        "connections": list(rows),
        "hosts": hosts,
        "digest": {},
        "held": {},
        "stored": {},
        "before": {},
        "keyed": keyed,
        "outdated": {},
        "midway": [],
        "leaving": [],
    }
    return Rotation(
        {
            "wide": {"strategy": "overlap", "cutover_delay": 0.0},
            "own": {host: {"policies": True, "policy_priority": 1000, "file": "/f", "timeout": 0} for host in ENDS},
            "expected": expected,
            **state,
        },
        lambda step, host: Answers({}),
        connections=lambda: [MESH, LINK],
    )


NEW = {"generation": 8, "current": 0, "phase": "prepared", "outcome": "made"}
JOINING = [row(pair, **(NEW if "d" in pair else {})) for pair in PAIRS]


def test_the_backup_is_labelled_with_the_generations_of_the_connection() -> None:
    run = run_of(JOINING)
    assert (run.label("a"), run.label("d")) == ("mesh:8", "mesh:8")
    # As releases that rotated the connection as a whole labelled it, so that a broken run of theirs can be undone.
    assert run_of([row(pair, generation=8) for pair in PAIRS]).label("a") == "mesh:8"
    # The same for a run that is limited to a pair and for the run of all that goes on with it.
    alone = [row(pair, generation=8 if pair == "a,d" else 7) for pair in PAIRS]
    assert run_of(alone).label("a") == run_of(alone[2:3]).label("a") == "mesh:8"
    assert run_of([row(pair) for pair in PAIRS]).label("a") == "mesh:7"


def test_only_the_pairs_that_change_can_go_back() -> None:
    run = run_of([{**found, "phase": "switching" if found["phase"] == "prepared" else "steady"} for found in JOINING])
    failed = {host: {"failed": True, "msg": "refused"} for host in ENDS}
    back = decisions.ways_back(run.expected, failed, set(), run.gaps)
    assert decisions.listed(back) == ["192.0.2.1|192.0.2.4", "192.0.2.2|192.0.2.4", "192.0.2.3|192.0.2.4"]


def destinations(run: Rotation, host: str, **options: t.Any) -> list[str]:
    found = policies.of_host(run, host, **options)
    return [row["selector"]["destination"] for row in found if row["direction"] == "out"]


def test_policies_are_those_of_the_pairs_of_the_run() -> None:
    run = run_of([row("a,b")], keyed=["link", "mesh/a,c", "mesh/b,c"])
    assert destinations(run, "a") == ["192.0.2.2/32"]
    assert destinations(run, "a", everywhere=True) == ["192.0.2.2/32", "192.0.2.3/32", "224.0.0.5/32"]


PLAIN = MESH.only({("a", "b")}).settings()
TUNNEL = {
    **PLAIN,
    "mode": "tunnel",
    "associations": [{**found, "mode": "tunnel"} for found in PLAIN["associations"]],
}


def test_policies_at_boot_fit_the_keys_of_pairs_that_the_run_leaves_out() -> None:
    """The connection is in transport mode now; a,c still has the keys of a tunnel."""
    run = run_of([row("a,b")], keyed=["mesh/a,b", "mesh/a,c"])
    run.expected["outdated"] = {
        "mesh/a,c": {**TUNNEL, "endpoints": {host: ENDS[host] for host in "ac"}},
        "mesh/a,d": {**TUNNEL, "endpoints": {host: ENDS[host] for host in "ad"}},
    }
    found = policies.of_host(run, "a", everywhere=True)
    modes = {policy["selector"]["destination"]: policy["templates"][0]["mode"] for policy in found[::2]}
    assert modes == {"192.0.2.2/32": "transport", "192.0.2.3/32": "tunnel"}


def test_inbound_policies_change_with_the_cut_over_only_for_pairs_whose_policies_change() -> None:
    rows = [row("a,b", before=TUNNEL), row("a,c", before={}), row("a,d", before={}, **NEW)]
    found = policies.of_cut_over(run_of(rows), "a")
    sources = [policy["selector"]["source"] for policy in found if policy["direction"] == "in"]
    assert sources == ["192.0.2.2/32"] and len(found) == 4


def test_all_policies_of_a_tunnel_come_with_the_cut_over() -> None:
    """Without an inbound policy, Linux drops what arrives through a tunnel."""
    ends = {host: {"address": ENDS[host], "networks": [f"10.{number}.0.0/16"]} for number, host in enumerate("ab")}
    (tunnel,) = read_connections([{"name": "mesh", "mode": "tunnel", "endpoints": ends}])
    run = run_of([{**row("a,b", before={}, **NEW), "name": "mesh"}])
    run.connections = lambda: [tunnel]
    assert [policy["direction"] for policy in policies.of_cut_over(run, "a")] == ["out", "in", "fwd"]


def test_hosts_go_back_to_the_policies_that_they_had() -> None:
    rows = [row("a,b", before=TUNNEL), row("a,c", before={}), row("a,d", before={}, **NEW)]
    run = run_of(rows)
    added = ["out 192.0.2.1/32 > 192.0.2.4/32", "in 192.0.2.3/32 > 192.0.2.1/32"]
    run.answers = lambda step, host: Answers({policies.POLICIES: {"added": added}} if step == "preflight" else {})
    restored, removed = policies.back(run, "a", run.pairs(run.names, "a"))
    assert [policy["templates"][0]["mode"] for policy in restored.options["policies"]] == ["tunnel", "tunnel"]
    assert removed.options["state"] == "absent"
    # Only what was missing, and is not known from before: a,c had its policies, whoever removed one.
    assert [policy["selector"]["destination"] for policy in removed.options["policies"]] == ["192.0.2.4/32"]
    assert not list(policies.back(run, "a", run.pairs(["mesh/a,c"], "a")))


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (PAIRS, ["mesh"]),
        (PAIRS[:1], ["mesh/a,b"]),
        (PAIRS[:3], ["mesh/a,b, mesh/a,c, mesh/a,d"]),
        (PAIRS[:5], ["mesh/a,b, mesh/a,c, mesh/a,d and 2 more of mesh"]),
        ((), []),
    ],
)
def test_many_pairs_are_said_in_few_words(names: t.Sequence[str], found: list[str]) -> None:
    expected = run_of(JOINING).expected
    assert decisions.summed_up(expected, {f"mesh/{name}" for name in names}) == found


def test_a_report_names_each_generation_of_a_connection_once() -> None:
    run = run_of(JOINING)
    text = failure.stopped(["d: refused"], "cut over", run.expected, {host: {"changed": True} for host in ENDS})
    assert "  a: generation 7 of mesh, generation 8 of mesh\n" in text and "  d: generation 8 of mesh\n" in text
