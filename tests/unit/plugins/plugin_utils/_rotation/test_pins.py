# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts of a multicast group get new keys together: at every moment, each accepts what the others send."""

from __future__ import annotations

import random
import typing as t

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core.text import language
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.reader import read_connections
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.changes import draw_sas
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.generations import SpiAllocator
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation import (
    completion,
    cutover,
    decisions,
    pins,
    rotation,
    staging,
    steps,
)
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation.record import Answers
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation.rotation import Question, Result, Rotation
from ansible_collections.ipsec.manual.tests.unit.plugins.plugin_utils._rotation.world import ADDRESS, FILE

GROUP = "224.0.0.5"
PAIR = f"0.0.0.0|{GROUP}"
(CONNECTION,) = read_connections(
    [
        {
            "name": "group",
            "endpoints": ADDRESS,
            "multicast": [GROUP],
            "associations": [{"protocol": "esp"}, {"protocol": "ah"}],
        }
    ]
)
_SPIS = SpiAllocator()
SAS = {generation: tuple(draw_sas(CONNECTION, _SPIS, set())) for generation in (1, 2)}
GENERATION = {f"0x{sa.spi:08x}": generation for generation, sas in SAS.items() for sa in sas}
OWN = {
    "file": FILE,
    "backend": "auto",
    "timeout": 0,
    "policies": True,
    "policy_priority": 1000,
    "boot": False,
    "boot_policies": [],
}


class Member(t.NamedTuple):
    """A host of the group: the generations that its kernel holds, the newest last, and the one that its policy
    names, 0 for none.
    """

    held: tuple[int, ...] = (1,)
    named: int = 0

    @property
    def sends(self) -> int:
        """The generation that it sends with, 0 if its kernel drops what it would send."""
        chosen = self.named or self.held[-1]
        return chosen if chosen in self.held else 0


def run_of(phase: str = "prepared", **own: t.Any) -> Rotation:
    row = {
        "name": "group",
        "generation": 2,
        "current": 1,
        "outcome": "made",
        "phase": phase,
        "counter_mode": False,
        "anti_replay": False,
        "multicast": [GROUP],
        "endpoints": dict(ADDRESS),
        "abandoned": False,
        "before": {},
    }
    view = {"connections": ["group"], "left_behind": [], "associations": []}
    state: Result = {
        "wide": {
            "allow_static_counter_mode": False,
            "strategy": "overlap",
            "cutover_delay": 0,
            "probe": False,
        },
        "own": {host: {**OWN, **own} for host in ADDRESS},
        "digest_key": "",
        "switching": False,
        "begun": [],
        "expected": {
            "connections": [row],
            "hosts": {host: {**view, "addresses": [address]} for host, address in ADDRESS.items()},
            "digest": {PAIR: "2"},
            "held": {},
            "stored": {},
            "before": {},
            "keyed": ["group"],
            "outdated": {},
            "midway": [],
            "leaving": [],
        },
    }
    found = {"epoch": 0.0, "leftovers": [], "backend": "xfrm", "held": {}}
    state["results"] = {(rotation.PREFLIGHT, host): {rotation.PREFLIGHT: found} for host in ADDRESS}
    return Rotation(
        state,
        lambda step, host: Answers(state["results"].get((step, host), {})),
        lambda names, host, generation: language.render(SAS[1 if generation == "current" else 2]),
        lambda: [CONNECTION],
    )


def asked(member: Member, question: Question) -> tuple[Member, Result]:
    """What a question changes on a host, and the answer."""
    options = question.options
    if question.module == "ipsec_policy":
        for policy in options["policies"]:
            if policy["direction"] == "out":
                (named,) = {GENERATION[row["spi"]] if "spi" in row else 0 for row in policy["templates"]}
                member = member._replace(named=named)
    if question.module == "ipsec_sadb" and options["direction"] == "inbound":
        generation = 2 if options.get("src", "").endswith(".next") else 1
        others = tuple(number for number in member.held if number != generation)
        present = member.held if generation in member.held else (*member.held, generation)
        held = {"present": present, "exact": (generation,), "absent": others}[options["state"]]
        member = member._replace(held=held)
    digest = {PAIR: "2"} if 2 in member.held else {}
    return member, {"changed": True, "missing": False, "digest": digest}


class Fleet:
    """The hosts of a run, which answer its questions in any order."""

    def __init__(self, run: Rotation, order: random.Random) -> None:
        self.run, self.order = run, order
        self.members = {host: Member() for host in ADDRESS}

    def does(self, step: str, refuses: str = "", question: str = "") -> None:
        """All hosts do a step; one of them refuses a question."""
        waiting = {host: list(steps.STEPS[step](self.run, host)) for host in ADDRESS}
        results: dict[str, Result] = {host: {} for host in ADDRESS}
        while any(waiting.values()):
            host = self.order.choice([host for host, left in waiting.items() if left])
            asking = waiting[host].pop(0)
            assert PAIR not in asking.options.get("both_directions", ())
            if host == refuses and asking.name == question:
                results[host][asking.name] = {"failed": True, "changed": False, "msg": "refused"}
                waiting[host] = []
            else:
                self.members[host], results[host][asking.name] = asked(self.members[host], asking)
            self.check()
        for host, answers in results.items():
            self.run.state["results"][step, host] = answers

    def check(self) -> None:
        for sender in self.members.values():
            assert sender.sends and all(sender.sends in receiver.held for receiver in self.members.values())


def rotated(seed: int, refusing: str = "", step: str = "", question: str = "") -> Fleet:
    fleet = Fleet(run_of(), random.Random(seed))
    (row,) = fleet.run.expected["connections"]
    fleet.does(rotation.STAGE, refusing if step == rotation.STAGE else "", question)
    if staging.problems(fleet.run):
        fleet.does(rotation.GO_BACK)
        return fleet
    row["phase"] = "switching"
    fleet.run.state["switching"] = True
    fleet.does(rotation.CUT_OVER, refusing if step == rotation.CUT_OVER else "", question)
    if cutover.problems(fleet.run):
        fleet.does(rotation.GO_BACK)
        fleet.does(rotation.FORGET)
        return fleet
    row["phase"] = "retiring"
    fleet.does(rotation.PERSIST)
    assert not completion.problems(fleet.run)
    return fleet


@pytest.mark.parametrize("seed", range(20))
def test_no_packet_is_lost(seed: int) -> None:
    assert set(rotated(seed).members.values()) == {Member((2,), 0)}


@pytest.mark.parametrize(
    ("step", "question", "sends"),
    [
        (rotation.STAGE, pins.PINS, {1}),
        (rotation.STAGE, "file", {1}),
        (rotation.STAGE, "sadb", {1}),
        (rotation.CUT_OVER, "file", {1, 2}),  # no kernel refused an SA, so the next run goes on
        (rotation.CUT_OVER, "sadb", {1}),
        (rotation.CUT_OVER, "policies", {1}),
    ],
)
@pytest.mark.parametrize("host", ADDRESS)
def test_nor_if_a_host_refuses(host: str, step: str, question: str, sends: set[int]) -> None:
    for seed in range(5):
        fleet = rotated(seed, host, step, question)
        assert {member.sends for member in fleet.members.values()} == sends
        assert all(1 in member.held for member in fleet.members.values())


def taken_up(members: t.Mapping[str, Member], phase: str, seed: int) -> Fleet:
    """The hosts after a run that continues one that was interrupted."""
    fleet = Fleet(run_of(phase), random.Random(seed))
    fleet.members = dict(members)
    fleet.check()
    fleet.does(rotation.STAGE)
    fleet.does(rotation.CUT_OVER)
    fleet.run.expected["connections"][0]["phase"] = "retiring"
    fleet.does(rotation.PERSIST)
    return fleet


# The next generation on some hosts only, or of some the older SA, after a switch, and when one host is done.
ALL_STAGED = dict.fromkeys(ADDRESS, Member((1, 2), 1))
INTERRUPTED = [
    ("prepared", {**ALL_STAGED, "a": Member((1,), 1)}),
    ("switching", {**ALL_STAGED, "a": Member((2, 1), 1)}),
    ("switching", {**ALL_STAGED, "a": Member((1, 2), 2)}),
    ("retiring", {**dict.fromkeys(ADDRESS, Member((1, 2), 2)), "a": Member((2,), 0)}),
]


@pytest.mark.parametrize(("phase", "members"), INTERRUPTED)
def test_a_run_that_was_interrupted_is_taken_up(phase: str, members: t.Mapping[str, Member]) -> None:
    for seed in range(10):
        assert set(taken_up(members, phase, seed).members.values()) == {Member((2,), 0)}


@pytest.mark.parametrize("function", ["staged", "naming"])
def test_the_simulation_finds_policies_that_name_no_spi(monkeypatch: pytest.MonkeyPatch, function: str) -> None:
    def nothing(run: t.Any, host: str, *more: t.Any) -> t.Any:
        return list(more[-1]) if more else []

    monkeypatch.setattr(pins, function, nothing)
    with pytest.raises(AssertionError):
        for seed in range(20):
            taken_up(INTERRUPTED[1][1], "switching", seed)
            rotated(seed)


@pytest.mark.parametrize(
    ("own", "row", "strategy", "words"),
    [
        ({}, {}, "overlap", ""),
        ({"policies": False}, {}, "overlap", "share one SA"),
        ({}, {}, "flush", "flush"),
        ({}, {"before": {"reqid": 1}}, "overlap", "share one SA"),
        ({}, {"current": 0}, "overlap", "share one SA"),
        ({}, {"abandoned": True}, "overlap", "discarded"),
    ],
)
def test_groups_overlap_where_policies_of_ours_can_name_the_spi(
    own: Result, row: Result, strategy: str, words: str
) -> None:
    run = run_of(**own)
    run.wide["strategy"] = strategy
    run.expected["connections"][0].update(row)
    assert list(run.gaps) == (["group"] if words else []) and words in "".join(run.gaps.values())
    run.expected["connections"][0]["outcome"] = "made"
    assert bool(pins.groups(run, "a")) is not bool(words)


def test_a_backend_that_cannot_name_an_spi_has_a_gap() -> None:
    run = run_of()
    run.state["results"][rotation.PREFLIGHT, "b"] = {rotation.PREFLIGHT: {"backend": "pfkey"}}
    assert list(run.gaps) == ["group"]
    assert decisions.gaps(run.expected, "overlap", pinned={"group"}) == {}


def test_only_the_policy_towards_the_group_names_an_spi() -> None:
    (unicast,) = read_connections(
        [{"name": "group", "endpoints": ADDRESS, "multicast": [GROUP], "unicast": True, "reqid": 7}]
    )
    run = run_of()
    run.connections = lambda: [unicast]
    run.text = lambda names, host, generation: language.render(draw_sas(unicast, SpiAllocator(), set()))
    (question,) = pins.staged(run, "a")
    named = {
        policy["selector"]["destination"]: ["spi" in row for row in policy["templates"]]
        for policy in question.options["policies"]
    }
    assert named == {f"{GROUP}/32": [True], **{f"{ADDRESS[host]}/32": [False] for host in "bc"}}
