# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A whole rotation of three hosts that may give any answer, or none, to every question:
decisions and questions stay correct, and nothing raises an exception.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import json
import typing as t

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.reader import read_connections
from ansible_collections.ipsec.manual.plugins.plugin_utils._gate import admit
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation import (
    completion,
    cutover,
    decisions,
    failure,
    policies,
    preflight,
    questions,
    rollback,
    rotation,
    staging,
    steps,
)
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation.record import UNANSWERED, Answers
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation.rotation import Question, Rotation
from ansible_collections.ipsec.manual.tests.unit.plugins.plugin_utils.test__gate import changed, places
from ansible_collections.ipsec.manual.tests.unit.plugins.returns import honest
from ansible_collections.ipsec.manual.tests.unit.plugins.values import json_values

Result = t.Dict[str, t.Any]

HOSTS = ("a", "b", "c")
AB, BC = "192.0.2.1|192.0.2.2", "192.0.2.2|192.0.2.3"
DIGESTS = {AB: "1" * 32, BC: "2" * 32}
PAIRS = {"a": (AB,), "b": (AB, BC), "c": (BC,)}
ENDPOINTS = {"ab": {"a": "192.0.2.1", "b": "192.0.2.2"}, "bc": {"b": "192.0.2.2", "c": "192.0.2.3"}}
CONNECTIONS = read_connections([{"name": name, "endpoints": ends} for name, ends in ENDPOINTS.items()])
# Every field of an answer that a host chooses, the whole answer, a lost answer, or a question that
# was never asked.
KINDS = st.sampled_from(["honest"] * 6 + ["field", "any", "lost", "unasked"])
everything = json_values(["changed", "failed", "msg", "digest", "counts", "held", "file", "epoch"])
# A run draws many values, and the first text loads Unicode's tables.
runs = settings(
    deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
START = 1_800_000_000.0


OWN = {
    "file": "/etc/ipseckeys",
    "backend": "auto",
    "timeout": 60,
    "policies": True,
    "policy_priority": 1000,
    "boot": True,
    "boot_policies": [],
}


def state(left_behind: bool, probe: bool, delay: float, strategy: str = "overlap") -> Result:
    """What a run has decided before it asks: connection ab is new, bc is taken up from a run that
    had begun to switch.
    """
    rows = [
        {
            "name": name,
            "generation": 4,
            "outcome": outcome,
            "phase": phase,
            "counter_mode": False,
            "anti_replay": False,
            "current": 3,
            "before": {},
            "endpoints": ENDPOINTS[name],
        }
        for name, outcome, phase in (("ab", "made", "prepared"), ("bc", "resumed", "switching"))
    ]
    hosts = {
        host: {
            "addresses": [next(ends[host] for ends in ENDPOINTS.values() if host in ends)],
            "associations": [{"protocol": "esp"}],
            "connections": [name for name, ends in ENDPOINTS.items() if host in ends],
            "left_behind": ["ab"] if left_behind and host in ENDPOINTS["ab"] else [],
        }
        for host in HOSTS
    }
    held = {f"{pair}#0,,0": digest for pair, digest in DIGESTS.items()}
    return {
        "wide": {
            "when": "asked",
            "allow_static_counter_mode": False,
            "strategy": strategy,
            "grace": 3.0,
            "cutover_delay": delay,
            "clock_tolerance": 2.0,
            "probe": probe,
            "probe_count": 3,
        },
        "own": {host: {**OWN, "boot_options": {"service_manager": "auto"}} for host in HOSTS},
        "digest_key": "00",
        "switching": False,
        "begun": ["bc"],
        "expected": {
            "connections": rows,
            "hosts": hosts,
            "digest": DIGESTS,
            "held": held,
            "stored": DIGESTS,
            "before": {},
            "keyed": ["ab", "bc"],
            "outdated": {},
            "midway": [],
            "leaving": [],
        },
    }


def truth(host: str, question: Question) -> Result:
    """The answer of an honest host if everything is in order."""
    answer = honest(question.module)
    own = {pair: DIGESTS[pair] for pair in PAIRS[host]}
    carried = 0 if question.name == "before" else 3
    inbound = [
        {"key": f"esp|{ends[host]}|0x00001000", "before": 0, "after": carried}
        for ends in ENDPOINTS.values()
        if host in ends
    ][:1]
    outbound = [
        {"key": f"esp|{address}|0x00001000", "before": 0, "after": 3}
        for ends in ENDPOINTS.values()
        if host in ends
        for peer, address in ends.items()
        if peer != host
    ]
    counts = {**answer["counts"], "unchanged": 2} if host == "b" and "counts" in answer else answer.get("counts")
    honest_answers: dict[str, Result] = {
        "ipsec_preflight": {
            "epoch": START + 1,
            "held": {f"{pair}#0,,0": digest for pair, digest in own.items()},
            "file": {"path": "/etc/ipseckeys", "sas": 2, "digest": own},
            "leftovers": ["/etc/ipseckeys.previous"],
        },
        "ipseckeys_file": {"digest": own},
        "ipsec_sadb": {"digest": own, "missing": False, "counts": counts},
        "ipsec_probe": {"sent": outbound, "received": inbound, "failures": []},
        "ipsec_policy": {"overtaken": []},
    }
    return {**answer, "changed": not question.check, **honest_answers.get(question.module, {})}


@dataclasses.dataclass
class World:
    """A controller's record, and hosts. ``tell`` gives a host's raw answer to a question, None
    if it is lost. Unasked ends a step before the question.
    """

    state: Result
    tell: t.Callable[[str, str, Question], t.Any]
    asked: dict[tuple[str, str, str], Result] = dataclasses.field(default_factory=dict)
    results: dict[tuple[str, str], dict[str, Result]] = dataclasses.field(default_factory=dict)
    stopped: set[tuple[str, str]] = dataclasses.field(default_factory=set)

    def __post_init__(self) -> None:
        def answers(step: str, host: str) -> Answers:
            return Answers(self.results.get((step, host), {}), START, START + 2)

        self.run = Rotation(
            self.state, answers, lambda names, host, generation: f"{names} of {host}", lambda: CONNECTIONS, START
        )

    def ask(self, *names: str) -> None:
        for step in names:
            for host in HOSTS:
                self._ask(step, host)

    def _ask(self, step: str, host: str) -> None:
        """Ask as the action does."""
        questions = list(steps.STEPS[step](self.run, host))
        results = self.results.setdefault((step, host), {})
        for question in questions:
            raw = self.tell(step, host, question)
            if raw is Unasked:
                self.stopped.add((step, host))
                return
            self.asked[step, host, question.name] = question.options
            if raw is None:
                # The host got all questions at once, and may have done everything.
                self.asked.update({(step, host, question.name): question.options for question in questions})
                results.update(dict.fromkeys((question.name for question in questions), UNANSWERED))
                return
            results[question.name] = json.loads(json.dumps(admit(question.module, raw), allow_nan=False))
            if decisions.has_failed(results[question.name]):
                return

    def good(self, step: str, host: str, question: str) -> bool:
        """Whether the host itself answered the question without a failure."""
        result = self.results.get((step, host), {}).get(question)
        return result is not None and not {"failed", "unreachable"} & {name for name, value in result.items() if value}


class Unasked:
    """The task ended before it asked the question."""


def anything(data: st.DataObject) -> t.Callable[[str, str, Question], t.Any]:
    """Answers are honest up to some step, so that examples get that far. After that they are arbitrary."""
    order = list(steps.STEPS)
    first = data.draw(st.sampled_from(order), label="first step with lies")
    liars = data.draw(st.sets(st.sampled_from(HOSTS), min_size=1), label="liars")

    def tell(step: str, host: str, question: Question) -> t.Any:
        if host not in liars or order.index(step) < order.index(first):
            return truth(host, question)
        kind = data.draw(KINDS, label=f"{step} {host} {question.name}")
        if kind == "honest":
            return truth(host, question)
        if kind == "field":
            answer = truth(host, question)
            return changed(
                answer, data.draw(st.sampled_from([*places(answer), ("failed",), ("msg",)])), data.draw(everything)
            )
        return {"lost": None, "unasked": Unasked}.get(kind, data.draw(everything) if kind == "any" else None)

    return tell


def plausible(step: str, host: str, question: Question) -> t.Any:
    """False answers wherever possible, except those that would stop the run at once."""
    answer = truth(host, question)
    other: Result = {
        "epoch": START + 1.5,
        "leftovers": ["/evil.previous", "/evil.next"],
        "spis": ["0x0badc0de"],
        "backend": "solaris",
        "path": "/evil",
        "keys_hidden": True,
        "changed": False,
        "failures": ["evil"],
    }
    return {**answer, **{name: value for name, value in other.items() if name in answer}}


def is_text(problems: t.Sequence[str]) -> bool:
    return all(isinstance(text, str) and text for text in problems)


states = st.builds(
    state, st.booleans(), st.booleans(), st.sampled_from([0.0, 5.0]), st.sampled_from(["overlap", "flush"])
)


def rotate(world: World, check: t.Callable[[World, str, t.Sequence[str]], None]) -> None:
    """Take a run through its steps. ``check`` is called after each decision with its name and the
    problems that it found.
    """
    run = world.run
    world.ask(rotation.PREFLIGHT)
    problems = preflight.problems(run, forks=5)
    check(world, rotation.PREFLIGHT, problems)
    if problems:
        return
    found = run.results(rotation.PREFLIGHT, rotation.PREFLIGHT)
    assert is_text(decisions.in_place(found, run.expected)) and is_text(decisions.reload_problems(found, run.expected))
    world.ask(rotation.STAGE)
    problems = staging.problems(run)
    check(world, rotation.STAGE, problems)
    if not problems:
        run.state["switching"] = True
        run.expected["connections"] = [{**row, "phase": "switching"} for row in run.expected["connections"]]
        run.state["instants"] = cutover.instants(run)
        world.ask(rotation.CUT_OVER, rotation.SEND, rotation.ARRIVALS)
        problems, untested = cutover.verdict(run)
        assert is_text(untested)
        check(world, rotation.CUT_OVER, problems)
    if problems:
        world.ask(rotation.GO_BACK, rotation.FORGET)
        check(world, rotation.GO_BACK, problems)
        return
    world.ask(rotation.PERSIST)
    problems = completion.problems(run)
    check(world, rotation.PERSIST, problems)


@pytest.mark.parametrize("probe", [True, False])
@pytest.mark.parametrize("left_behind", [True, False])
def test_an_honest_run_goes_on(left_behind: bool, probe: bool) -> None:
    world = World(state(left_behind, probe, 5.0), lambda step, host, question: truth(host, question))
    rotate(world, lambda world, step, problems: pytest.fail(f"{step}: {problems}") if problems else None)
    assert {step for step, host, question in world.asked} == (
        set(steps.STEPS)
        - {rotation.GO_BACK, rotation.FORGET, rotation.ACCEPT, rotation.UNNEST}
        - (set() if probe else {rotation.SEND, rotation.ARRIVALS})
    )


@runs
@given(states, st.data())
def test_the_run_continues_only_on_proof_from_each_host(state: Result, data: st.DataObject) -> None:
    rotate(World(state, anything(data)), check_decision)


@pytest.mark.parametrize("missing", ["lost", "unasked", "failed", "undigested"])
@pytest.mark.parametrize("left_behind", [True, False])
def test_one_missing_answer_stops_the_run(left_behind: bool, missing: str) -> None:
    honest_world = World(state(left_behind, True, 5.0), lambda step, host, question: truth(host, question))
    rotate(honest_world, check_decision)
    for place in honest_world.asked:

        def tell(step: str, host: str, question: Question, place: t.Any = place) -> t.Any:
            if (step, host, question.name) != place:
                return truth(host, question)
            return {
                "lost": None,
                "unasked": Unasked,
                "failed": {"failed": True, "msg": "no"},
                "undigested": {**truth(host, question), "digest": {}},
            }[missing]

        rotate(World(state(left_behind, True, 5.0), tell), check_decision)


def check_decision(world: World, step: str, problems: t.Sequence[str]) -> None:
    """Problems are sentences, and there are some unless every host has proven with its
    own answers that it has done the step.
    """
    run, expected = world.run, world.run.expected
    assert is_text(problems)
    text = failure.stopped(
        problems, step, expected, run.results(rotation.CUT_OVER, "sadb"), run.results(rotation.GO_BACK, "back")
    )
    assert all(sign.isprintable() or sign == "\n" for sign in text + failure.stopped(problems, step, expected))
    behind = [host for host in HOSTS if expected["hosts"][host]["left_behind"]]
    proven = {
        rotation.PREFLIGHT: all(world.good(rotation.PREFLIGHT, host, rotation.PREFLIGHT) for host in HOSTS),
        rotation.STAGE: all(
            world.good(step, host, "next")
            and (host not in behind or world.good(step, host, "replaced"))
            and (not run.overlaps(host) or (world.good(step, host, "file") and world.good(step, host, "sadb")))
            for host in HOSTS
        ),
        rotation.CUT_OVER: all(has_switched(world, host) for host in HOSTS),
        rotation.PERSIST: all(
            world.good(step, host, "file")
            and holds(world, step, host, "file")
            and world.good(step, host, "sadb")
            and holds(world, step, host, "sadb")
            and (host not in behind or world.good(step, host, "removal"))
            and all(world.good(step, host, name) for name in (policies.POLICIES, policies.SERVICE, rotation.TIDY))
            for host in HOSTS
        ),
        rotation.GO_BACK: False,
    }
    assert proven[step] or problems
    if step == rotation.GO_BACK:
        check_way_back(world)


def has_switched(world: World, host: str) -> bool:
    """Whether its own answer proves that it holds the generation and that its tests were made."""
    if not world.good(rotation.CUT_OVER, host, "sadb"):
        return False
    if world.run.overlaps(host) and not world.good(rotation.CUT_OVER, host, "file"):
        return False
    flushed = world.run.pairs(questions.flushed(world.run), host)
    if flushed and not world.good(rotation.CUT_OVER, host, questions.FLUSHED):
        return False
    if not world.good(rotation.CUT_OVER, host, policies.POLICIES):
        return False
    answer = world.results[rotation.CUT_OVER, host]["sadb"]
    tests = [(rotation.SEND, rotation.SEND), (rotation.ARRIVALS, rotation.ARRIVALS)] if world.run.wide["probe"] else []
    received = world.results[rotation.STAGE, host].get("sadb", {"counts": {"unchanged": 0}})
    if tests and (answer["counts"]["unchanged"] or received["counts"]["unchanged"]):
        tests.append((rotation.CUT_OVER, "before"))
    return holds(world, rotation.CUT_OVER, host, "sadb") and all(world.good(step, host, name) for step, name in tests)


def holds(world: World, step: str, host: str, question: str) -> bool:
    digest = world.results[step, host][question].get("digest", {})
    return all(digest.get(pair) == DIGESTS[pair] for pair in PAIRS[host])


def check_way_back(world: World) -> None:
    """Both hosts of a pair have the same way, and there is a reason for it."""
    run = world.run
    back = {host: pairs_that_go_back(world, host) for host in HOSTS}
    for pair, ends in ((pair, [host for host in HOSTS if pair in PAIRS[host]]) for pair in (AB, BC)):
        switched = [host for host in ends if (rotation.CUT_OVER, host, "sadb") in world.asked]
        # A host whose file cannot be changed is not asked to change its SADB.
        failed = [host for host in ends if "back" not in world.results.get((rotation.GO_BACK, host), ["back"])]
        asked = [host for host in switched if (rotation.GO_BACK, host) not in world.stopped and host not in failed]
        goes = {pair in back[host] for host in asked}
        assert len(goes) <= 1
        confirmed = all(world.good(rotation.CUT_OVER, host, "sadb") and holds_pair(world, host, pair) for host in ends)
        answers = [world.results.get((rotation.CUT_OVER, host), {}) for host in ends]
        refused = any(
            "sadb" in answer
            and not decisions.is_unreachable(answer["sadb"])
            and (
                answer["sadb"].get("failed")
                or answer.get(policies.POLICIES, {}).get("failed")
                or not holds_pair(world, host, pair)
            )
            for host, answer in zip(ends, answers)
        )
        flush = {AB: "ab", BC: "bc"}[pair] in run.gaps
        if goes and not run.wide["probe"]:
            assert goes == {refused or (flush and not confirmed)}
        if goes and (refused or (flush and not confirmed)):
            assert goes == {True}
    for host in HOSTS:
        put = {question for step, name, question in world.asked if (step, name) == (rotation.GO_BACK, host)}
        if run.state["switching"]:
            assert put <= {"back", "file", questions.FLUSHED, policies.UNPOLICIES}
        # What the next run needs to try again stays where going back failed.
        tidied = (rotation.FORGET, host, rotation.TIDY) in world.asked
        assert not tidied or world.good(rotation.GO_BACK, host, "back")
        forgotten = world.asked.get((rotation.FORGET, host, "sadb"))
        for pair in set(PAIRS[host]) - set(forgotten["leave"]) if forgotten else ():
            assert all(world.good(rotation.GO_BACK, other, "back") for other in HOSTS if pair in PAIRS[other])


def pairs_that_go_back(world: World, host: str) -> set[str]:
    options = world.asked.get((rotation.GO_BACK, host, "back"))
    return set(PAIRS[host]) - set(options["leave"]) if options else set()


def holds_pair(world: World, host: str, pair: str) -> bool:
    return world.results[rotation.CUT_OVER, host]["sadb"].get("digest", {}).get(pair) == DIGESTS[pair]


def refusing(host: str, step: str, question: str) -> t.Callable[[str, str, Question], t.Any]:
    """All is well but for one answer."""

    def tell(at: str, name: str, put: Question) -> t.Any:
        refuses = (at, name, put.name) == (step, host, question)
        return {"failed": True, "msg": "no"} if refuses else truth(name, put)

    return tell


@pytest.mark.parametrize("question", ["sadb", policies.POLICIES])
@pytest.mark.parametrize("strategy", ["overlap", "flush"])
def test_a_refusal_takes_back_the_pairs_of_that_host_alone(strategy: str, question: str) -> None:
    world = World(state(False, True, 0.0, strategy), refusing("c", rotation.CUT_OVER, question))
    rotate(world, check_decision)
    assert [pairs_that_go_back(world, host) for host in HOSTS] == [set(), {BC}, {BC}]
    assert world.asked[rotation.GO_BACK, "b", "back"].get("direction") == (
        "outbound" if strategy == "overlap" else None
    )


@pytest.mark.parametrize("strategy", ["overlap", "flush"])
def test_a_host_that_is_unreachable_after_it_confirmed_does_not_cause_a_rollback(strategy: str) -> None:
    def tell(step: str, host: str, question: Question) -> t.Any:
        return None if (step, host) == (rotation.SEND, "c") else truth(host, question)

    world = World(state(False, True, 0.0, strategy), tell)
    rotate(world, check_decision)
    assert (rotation.SEND, "c", rotation.SEND) in world.asked
    assert [pairs_that_go_back(world, host) for host in HOSTS] == [set(), set(), set()]


def test_the_common_instant_does_not_depend_on_how_long_a_host_took_to_answer() -> None:
    """Their clocks are right, and read just before the answers; b had more to do."""
    world = World(state(True, True, 30.0), lambda step, host, question: truth(host, question))
    epochs = {"a": START + 1.0, "b": START + 5.0}
    world.run.answers = lambda step, host: Answers(
        {rotation.PREFLIGHT: {"epoch": epochs[host]} if host in epochs else {}}, START, epochs.get(host, START)
    )
    assert cutover.instants(world.run) == {"a": START + 30.0, "b": START + 30.0}


def test_policies_may_be_installed_after_the_wait_for_the_common_instant() -> None:
    """The wait is longer than the timeout."""
    world = World(state(True, True, 100.0), lambda step, host, question: truth(host, question))
    rotate(world, check_decision)
    for host in HOSTS:
        sadb, policy = (world.asked[rotation.CUT_OVER, host, name] for name in ("sadb", policies.POLICIES))
        assert policy["deadline"] == sadb["deadline"] > sadb.get("at", 0)


@pytest.mark.parametrize(("strategy", "goes"), [("overlap", set()), ("flush", {BC})])
def test_a_lost_answer_to_the_cut_over_causes_a_rollback_only_without_overlap(strategy: str, goes: set[str]) -> None:
    def tell(step: str, host: str, question: Question) -> t.Any:
        return None if (step, host) == (rotation.CUT_OVER, "c") else truth(host, question)

    world = World(state(False, True, 0.0, strategy), tell)
    rotate(world, check_decision)
    assert [pairs_that_go_back(world, host) for host in HOSTS] == [set(), goes, goes]


def test_what_was_staged_is_removed_if_nobody_may_use_it() -> None:
    """Connection bc stays, since an earlier run may have switched to it."""
    world = World(state(False, True, 0.0), refusing("c", rotation.STAGE, "sadb"))
    rotate(world, check_decision)
    put = {
        (host, question): options for (step, host, question), options in world.asked.items() if step == rotation.GO_BACK
    }
    assert put["a", "sadb"]["state"] == "absent" and put["a", "sadb"]["direction"] == "inbound"
    assert put["b", "sadb"]["leave"] == put["b", "file"]["leave"] == [BC]
    assert all((host, "unstage") in put for host in HOSTS)
    assert put["a", "file"]["remove_src"] == "/etc/ipseckeys.next" and "'ab'" in put["a", "file"]["content"]


@pytest.mark.parametrize(
    ("answer", "strategy", "asked"),
    [({"unanswered": True}, "flush", True), ({"unanswered": True}, "overlap", False), ({}, "flush", False)],
)
def test_what_a_killed_module_may_have_staged_is_removed_unless_sas_may_have_been_loaded(
    answer: Result, strategy: str, asked: bool
) -> None:
    """The staged file lists these SAs for the next run, which removes them if their generation is discarded."""
    world = World(state(False, True, 0.0, strategy), lambda step, host, question: truth(host, question))
    world.ask(rotation.PREFLIGHT, rotation.STAGE)
    world.results[rotation.STAGE, "a"] = {
        name: {"failed": True, "msg": "status 137", **answer} for name in ("next", "file", "sadb")
    }
    assert staging.problems(world.run)
    assert [question.name for question in rollback.go_back(world.run, "a")] == (["unstage"] if asked else [])


@pytest.mark.parametrize("liar", HOSTS)
@runs
@given(states, st.data())
def test_no_answer_of_a_host_is_part_of_a_question_to_another(liar: str, state: Result, data: st.DataObject) -> None:
    """An answer may decide whether another host is asked, but not what it is asked."""
    lies = data.draw(st.sampled_from([anything(data), plausible]))

    def lying(step: str, host: str, question: Question) -> t.Any:
        return lies(step, host, question) if host == liar else truth(host, question)

    honest_world = World(copy.deepcopy(state), lambda step, host, question: truth(host, question))
    world = World(state, lying)
    for each in (honest_world, world):
        rotate(each, lambda *dummy: None)
    # A world that goes back as this one does, because of another host of the pair.
    peer = {"a": "b", "b": "a", "c": "b"}
    refused = (rotation.CUT_OVER, "sadb") if world.run.state["switching"] else (rotation.STAGE, "next")

    @functools.lru_cache(maxsize=None)
    def going_back(host: str) -> World:
        found = World(copy.deepcopy(state), refusing(peer[host], *refused))
        rotate(found, lambda *dummy: None)
        return found

    for (step, host, name), options in world.asked.items():
        if host == liar:
            continue
        elif step in (rotation.GO_BACK, rotation.FORGET):
            asked = going_back(host).asked.get((step, host, name), options)
            assert set(options.get("leave", ())) <= set(PAIRS[host])
            assert {**options, "leave": []} == {**asked, "leave": []}
        else:
            assert options == honest_world.asked[step, host, name]
