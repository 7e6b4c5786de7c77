# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import itertools
import typing as t

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core.text import language
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.model import Connection, connection_of
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.reader import read_connections
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.changes import draw_sas
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.generations import SpiAllocator
from ansible_collections.ipsec.manual.plugins.plugin_utils._policies import policies_of_host
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation import (
    decisions,
    departure_warnings,
    departures,
    leaving,
    policies,
    rotation,
)
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation.record import UNANSWERED, Answers
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation.rotation import Result, Rotation
from ansible_collections.ipsec.manual.tests.unit.plugins.plugin_utils._rotation import world
from ansible_collections.ipsec.manual.tests.unit.plugins.plugin_utils._rotation.world import (
    ADDRESS,
    TRANSPORT,
    Host,
    Moment,
)

OWN = {
    "file": world.FILE,
    "backend": "auto",
    "timeout": 0,
    "policies": True,
    "policy_priority": 1000,
    "boot": True,
    "boot_policies": [],
    "boot_options": {"service_manager": "auto", "state": "present"},
}
PREFLIGHT = {"changed": False, "epoch": 0.0, "leftovers": [], "backend": "xfrm"}


def connection(name: str, *hosts: str, **more: t.Any) -> Connection:
    return read_connections([{"name": name, "endpoints": {host: ADDRESS[host] for host in hosts}, **more}])[0]


def row(
    gone: Connection, cleaned: t.Sequence[str] | None = None, own: bool = True, plays: t.Sequence[str] = ("site",)
) -> Result:
    found = {"settings": [gone.settings()], "selectors": [gone.selectors()]}
    return {"connection": gone.name, "cleaned": cleaned, "own": own, "plays": [*plays], **found}


def run_of(
    gone: t.Sequence[Result], present: t.Sequence[Connection] = (), hosts: str = "abc", **wide: t.Any
) -> Rotation:
    """A run that asked the hosts in preflight, and then has the answers that are put in ``results``."""
    keyed = {host: [row.name for row in present if host in row.hosts] for host in hosts}
    state = {
        "wide": {"only": [], "leave": [], "state": "present", "allow_static_counter_mode": False, **wide},
        "digest_key": "",
        "own": {host: dict(OWN) for host in hosts},
        "expected": {
            "connections": [],
            "leaving": list(gone),
            "hosts": {host: {"connections": names} for host, names in keyed.items() if names},
            "keyed": [],
            "outdated": {},
            "midway": [],
        },
    }
    results: dict[tuple[str, str], Result] = {("preflight", host): {"preflight": PREFLIGHT} for host in hosts}
    state["results"] = results
    return Rotation(state, lambda step, host: Answers(results.get((step, host), {})), connections=lambda: list(present))


MESH = connection("mesh", "a", "b", "c")
STAR = MESH.only(frozenset([("a", "c"), ("b", "c")]))


def units(run: Rotation) -> set[tuple[str, ...]]:
    return {unit for part in departures.chosen(run) for unit in part.units}


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ([], set()),
        (["mesh"], {("a", "c"), ("b", "c")}),
        (["c"], {("a", "c"), ("b", "c")}),
        (["mesh/c"], {("a", "c"), ("b", "c")}),
        (["a,c"], {("a", "c")}),
        (["mesh/b,c", "a,c"], {("a", "c"), ("b", "c")}),
        (["b"], {("b", "c")}),
        (["*"], {("a", "c"), ("b", "c")}),
        (["other"], set()),
        (["other/c"], set()),
    ],
)
def test_only_what_is_named_is_removed(words: list[str], found: set[tuple[str, ...]]) -> None:
    run = run_of([row(STAR)], [connection("mesh", "a", "b"), connection("other", "a", "b", reqid=7)], leave=words)
    assert units(run) == found
    assert [warning.split()[2].rstrip(",") for warning in departure_warnings.unknown(run)] == (
        words if not found else []
    )


@pytest.mark.parametrize(
    ("own", "words", "found"),
    [
        (True, [departures.THIS_PLAY], {("a", "c"), ("b", "c")}),
        # Whether somebody else still has it cannot be seen.
        (False, [departures.THIS_PLAY], set()),
        (False, [departures.EVERYTHING], {("a", "c"), ("b", "c")}),
        (False, [departures.THIS_PLAY, "mesh"], {("a", "c"), ("b", "c")}),
        (True, [], set()),
        (True, ["other"], set()),
    ],
)
def test_what_a_play_left_is_removed_and_announced(own: bool, words: list[str], found: set[tuple[str, ...]]) -> None:
    run = run_of([row(STAR, own=own)], leave=words)
    assert units(run) == found
    announced = departure_warnings.announced(run)
    assert bool(announced) == bool(found and "mesh" not in words)
    assert all("mesh/a,c, mesh/b,c" in line and "rotate_leave: []" in line for line in announced)


def test_without_policies_a_removal_stops_traffic() -> None:
    run = run_of([row(STAR)], leave=[departures.THIS_PLAY])
    assert "Only what other connections need stays protected." in departure_warnings.announced(run)[0]
    for host in "abc":
        run.own(host)["policies"] = False
    assert "Its policies stay, and stop its traffic." in departure_warnings.announced(run)[0]


def test_a_removal_that_goes_on_is_not_announced_again() -> None:
    run = run_of([row(STAR, ["a"])], leave=[departures.THIS_PLAY])
    assert units(run) and not departure_warnings.announced(run)


@pytest.mark.parametrize("words", [[departures.THIS_PLAY], [departures.EVERYTHING]])
def test_what_no_host_of_the_run_has_is_not_begun(words: list[str]) -> None:
    """As with --limit: a later run, which reaches one of them, announces it."""
    run = run_of([row(STAR)], leave=words)
    del run.state["own"]["b"], run.state["own"]["c"]
    assert units(run) == {("a", "c")}
    del run.state["own"]["a"]
    assert not units(run) and not departure_warnings.announced(run)


def test_the_default_asks_for_nothing() -> None:
    """So a limited run accepts it. A run without connections has to name what is to go: a variable may be missing."""
    wide = run_of([]).wide
    kinds: list[list[str]] = [[], [departures.THIS_PLAY], [departures.EVERYTHING], ["a"]]
    found = [
        (departures.is_asked_for(row), departures.is_standing(row), departures.may_be_empty(row))
        for words in kinds
        for row in [{**wide, "leave": words}]
    ]
    assert found == [(False, False, False), (False, True, False), (True, True, False), (True, False, True)]
    assert departures.is_asked_for({**wide, "state": departures.ABSENT})
    assert departures.may_be_empty({**wide, "state": departures.ABSENT})


def test_a_connection_comes_before_a_host_of_its_name() -> None:
    """A connection c continues, so the word does not name host c, which left another one."""
    assert not units(run_of([row(STAR)], [connection("c", "a", "b")], leave=["c"]))


def test_a_removal_that_began_goes_on_without_a_word_but_not_in_a_limited_run() -> None:
    begun = [row(STAR, ["a"])]
    run = run_of(begun)
    assert [part.hosts for part in departures.chosen(run)] == [["b", "c"]] and departures.hosts(run) == ["b", "c"]
    assert not departures.chosen(run_of(begun, only=["mesh"]))


def test_absent_takes_what_hosts_of_the_run_have() -> None:
    both = [row(MESH), row(connection("far", "b", "c"))]
    assert units(run_of(both, hosts="a", state="absent")) == {("a", "b"), ("a", "c")}
    assert {part.name for part in departures.chosen(run_of(both, state="absent"))} == {"mesh", "far"}


def removed(run: Rotation, host: str) -> list[Result]:
    return [
        policy
        for question in leaving.leave(run, host)
        if question.name == policies.POLICIES
        for policy in question.options["policies"]
    ]


def test_policies_that_others_need_stay() -> None:
    """Those of a connection between the same addresses, of one that stays, and those that the host always loads."""
    gone = connection("old", "a", "b")
    own = policies_of_host(gone, "a")
    assert removed(run_of([row(gone)], leave=["old"]), "a") == own != []
    assert not removed(run_of([row(gone)], [connection("new", "a", "b")], leave=["old"]), "a")
    assert not removed(run_of([row(gone), row(connection("kept", "a", "b"))], leave=["old"]), "a")
    run = run_of([row(gone)], leave=["old"])
    run.own("a")["boot_policies"] = [
        {"direction": "out", "selector": {"source": "192.0.2.1", "destination": "192.0.2.2"}}
    ]
    assert removed(run, "a") == own[1:]
    run.own("a")["policies"] = False
    assert not removed(run, "a")


def test_a_policy_may_have_several_reasons_to_go_and_to_stay() -> None:
    """An interrupted change gives a unit two generations, and a renamed connection the policies of the old one."""
    gone, kept, new = (connection(name, "a", "b") for name in ("old", "kept", "new"))
    own = policies_of_host(gone, "a")
    later = connection("old", "a", "b", associations=[{"protocol": "esp", "authentication_algorithm": "hmac-sha512"}])
    two = {"settings": [later.settings(), gone.settings()], "selectors": [{}, {}]}
    assert removed(run_of([{**row(gone), **two}], leave=["old"]), "a") == own
    run = run_of([row(gone), row(kept)], [new], leave=["old"])
    run.own("a")["boot_policies"] = own
    assert not removed(run, "a")


def test_policies_that_others_put_in_place_of_ours_stay() -> None:
    """An IKE daemon takes over a pair before it is removed: its policies replaced those of the same traffic."""
    gone = connection("old", "a", "b", reqid=5)
    run = run_of([row(gone)], leave=["old"])
    own = policies_of_host(gone, "a")
    (asked,) = (question for question in leaving.preflight(run, "a") if question.check)
    assert asked.options == {"policies": own}
    labels = [policies.labelled(policy) for policy in own]
    for reqids, stays in (([1], True), ([], True), ([5], False), ([0], False)):
        replaced = [{"policy": labels[0], "reqids": reqids}]
        run.state["results"]["preflight", "a"] = {"preflight": PREFLIGHT, asked.name: {"replaced": replaced}}
        assert removed(run, "a") == own[stays:]
        boot = [question.options["removed"] for question in leaving.leave(run, "a") if question.module == "ipsec_boot"]
        assert boot == [own]
        said = [line for line in leaving.forecast(run, "a") if "others" in line]
        assert bool(said) == stays and all(labels[0] in line for line in said)
        names = [question.name for question in leaving.leave(run, "a")]
        run.state["results"]["leave", "a"] = dict.fromkeys(names, {"changed": True})
        assert any(line.startswith("Kept on a, ") for line in leaving.lines(run)) == stays


def test_networks_and_protocols_of_policies_are_remembered() -> None:
    networks = {"a": {"address": ADDRESS["a"], "networks": ["10.1.0.0/16"]}, "b": ADDRESS["b"]}
    (tunnel,) = read_connections([{"name": "t", "mode": "tunnel", "endpoints": networks, "upper_protocol": "udp"}])
    assert connection_of("t", tunnel.settings(), tunnel.selectors()) == tunnel
    assert removed(run_of([row(tunnel)], leave=["t"]), "a") == policies_of_host(tunnel, "a")
    assert connection("t", "a", "b").selectors() == {}


def test_a_host_that_did_not_answer_is_named_and_not_asked() -> None:
    run = run_of([row(STAR)], [connection("mesh", "a", "b")], leave=["mesh"])
    run.state["results"]["preflight", "c"] = {"preflight": UNANSWERED}
    assert not list(leaving.leave(run, "c")) and leaving.done(run) == []
    for host in "ab":
        asked = [question.name for question in leaving.leave(run, host)]
        run.state["results"]["leave", host] = dict.fromkeys(asked, {"changed": True})
    assert leaving.done(run) == ["a", "b"] and leaving.problems(run) == []
    assert leaving.lines(run)[:2] == ["Removed from a: mesh/a,c.", "Removed from b: mesh/b,c."]
    assert leaving.lines(run)[2].startswith("Still to be removed from c, which was not reached: mesh/a,c, mesh/b,c.")
    assert leaving.lines(run)[2].endswith("only [mesh/c].")
    run.state["results"]["leave", "b"] = {"file": UNANSWERED}
    assert leaving.lines(run)[1].endswith("only [mesh/b,c].")
    run.state["results"]["leave", "b"] = run.state["results"]["leave", "a"]
    assert leaving.report(run) == [
        {"name": f"mesh/{host},c", "connection": "mesh", "removed_from": [host], "waiting_for": ["c"]} for host in "ab"
    ]


def test_a_host_that_was_reached_and_is_not_done_is_a_problem() -> None:
    """The step may end before its questions: by an error on the controller, or since the time for the task is over."""
    run = run_of([row(connection("old", "a", "b"))], leave=["old"])
    run.state["results"]["leave", "a"] = {"file": {"failed": True, "msg": "the disk is full"}}
    assert leaving.problems(run) == ["a: the disk is full", f"b: {decisions.UNASKED}"]
    assert [line.split(":")[0] for line in leaving.lines(run)] == [
        f"Still to be removed from {host}, which could not do it" for host in "ab"
    ]
    run.state["results"]["leave", "b"] = {"file": UNANSWERED}
    assert leaving.problems(run) == ["a: the disk is full"] and "b, which was not reached:" in leaving.lines(run)[1]


def test_a_forecast_names_what_would_go_and_what_stays() -> None:
    gone = connection("old", "a", "b")
    run = run_of([row(gone)], leave=["old"])
    text = language.render(draw_sas(gone, SpiAllocator(), set()))
    run.left = lambda units, host: text if units == {"old": gone.units()} else ""
    first, sas, *rest = leaving.forecast(run, "a")
    assert (
        first == "old/a,b: no longer in the connections; a run would remove"
        and sas.count("0x") == 2
        and world.FILE in sas
    )
    ends = (ADDRESS["a"], ADDRESS["b"])
    out, back = (f"{way} {one}/32 > {other}/32" for way, (one, other) in (("out", ends), ("in", ends[::-1])))
    assert rest == [
        f"  policies: {out}, {back}",
        "  after which nothing protects this traffic",
        "  at boot: the same SAs and policies",
    ]
    run.own("a").update(policies=False, boot=False)
    assert "without rotate_policies" in leaving.forecast(run, "a")[-1]
    renamed = run_of([row(gone)], [connection("new", "a", "b")], leave=["old"])
    assert "  policies: none, since other connections need them" in leaving.forecast(renamed, "a")
    run.state["results"]["preflight", "a"] = {"preflight": UNANSWERED}
    assert leaving.forecast(run, "a") == leaving.forecast(run, "c") == []
    assert leaving.foreseen(run) == ["Would still have to be removed from a, which was not reached: old/a,b."]


@pytest.mark.parametrize(
    ("present", "words"),
    [
        ([connection("new", "a", "b")], "Connection new is between the same addresses."),
        ([connection("new", "a", "b", "c")], "Its SAs and policies are kept there"),
        ([], "Its SAs and policies are kept there"),
    ],
)
def test_a_renamed_connection_is_recognized_by_its_addresses(present: list[Connection], words: str) -> None:
    gone = connection("old", "a", "b")
    unnamed = {"name": "old", "generation": 3, "hosts": ["a", "b"]}
    run = run_of([row(gone)], present)
    run.expected.update(unnamed=[unnamed], departed=[])
    (warning,) = departure_warnings.kept(run)
    assert warning.startswith("connection old is not among the connections of this run") and words in warning
    assert "rotate_leave: [old]" in warning
    run.wide["leave"] = ["old"]
    assert departure_warnings.kept(run) == []


def test_a_connection_of_which_only_a_part_is_removed_is_named() -> None:
    """The removal of host c began before the connection left as a whole."""
    run = run_of([row(connection("mesh", "a", "b")), row(STAR, ["a"])])
    run.expected.update(
        unnamed=[{"name": "mesh", "generation": 1, "hosts": ["a", "b"]}],
        departed=[{"name": "mesh", "hosts": ["c"], "pairs": [["a", "c"], ["b", "c"]]}],
    )
    (warning,) = departure_warnings.kept(run)
    assert "has keys (generation 1) on a, b. " in warning and "rotate_leave: [mesh]" in warning
    run.wide["leave"] = ["mesh/a,b"]
    assert departure_warnings.kept(run) == []


def test_a_host_that_left_a_group_whose_change_was_interrupted_still_has_the_previous_keys() -> None:
    before, after = (connection("ospf", *hosts, multicast=["224.0.0.5"]) for hosts in ("abc", "ab"))
    run = run_of([{**row(after), "settings": [after.settings(), before.settings()], "selectors": [{}, {}]}])
    run.wide["leave"] = ["ospf"]
    assert departures.hosts(run) == ["a", "b", "c"] and removed(run, "c") == policies_of_host(before, "c") != []
    assert [entry["waiting_for"] for entry in leaving.report(run)] == [["a", "b", "c"]]


@pytest.mark.parametrize(
    ("host", "words", "is_last"),
    [
        pytest.param("c", ["mesh"], True, id="nothing stays"),
        pytest.param("c", ["mesh/a,c"], False, id="another pair is kept"),
        pytest.param("b", ["mesh"], False, id="the rotation cleans up"),
    ],
)
def test_what_an_interrupted_run_staged_goes_with_the_last_pair(host: str, words: list[str], is_last: bool) -> None:
    run = run_of([row(STAR)], [connection("mesh", "a", "b")], leave=words)
    run.state["results"]["preflight", host] = {"preflight": {**PREFLIGHT, "leftovers": [f"{world.FILE}.next"]}}
    asked = {question.name: question.options for question in leaving.leave(run, host)}
    assert ("staged_file" in asked) == ("staged_removal" in asked) == is_last
    files = [f"{world.FILE}.next", f"{world.FILE}.previous"] if is_last else []
    assert asked[rotation.TIDY].get("others", []) == files and [*asked][-1] == rotation.TIDY


def test_only_what_can_be_removed_is_to_be_named() -> None:
    """The keystore does not know what hosts had that left before it had format 2."""
    run = run_of([row(STAR)], [connection("mesh", "a", "b")])
    departed = {"name": "mesh", "hosts": ["c", "f"], "pairs": [["a", "c"], ["b", "c"]]}
    run.expected.update(unnamed=[], departed=[departed])
    known, unknown = departure_warnings.kept(run)
    assert known.startswith("c left connection mesh.") and "rotate_leave: [mesh/c]" in known
    assert unknown.startswith("f left connection mesh while") and "rotate_leave" not in unknown
    run.expected["departed"] = [{"name": "mesh", "hosts": ["f"], "pairs": []}]
    assert departure_warnings.kept(run) == [unknown]


def sas_at(name: str) -> world.Sas:
    """The SAs of a host with all others."""
    return frozenset[world.Sa]().union(*(world.sas_of(1, (name, peer)) for peer in ADDRESS if peer != name))


def start() -> Moment:
    """Three hosts with keys and policies."""
    everyone = list(ADDRESS)
    hosts = [
        (name, Host(sas, sas, policies=rules, boot_policies=rules))
        for name in everyone
        for sas, rules in [(sas_at(name), world.policies_of(name, everyone, 0))]
    ]
    return Moment(tuple(hosts), ())


def step(run: Rotation, moment: Moment, host: str, fault: str = "", at: int = -1) -> t.Iterator[Moment]:
    """The states of the world while a host does its part, which ends early if something fails."""
    answers: Result = {}
    for number, question in enumerate(leaving.leave(run, host)):
        if number == at and fault == "refused":
            answers[question.name] = {"failed": True, "msg": "refused"}
            break
        moment, answers[question.name] = world.carry_out(moment, host, question, set())
        yield moment
        if number == at:
            answers = dict.fromkeys([*answers, rotation.TIDY], UNANSWERED)
            break
    run.state["results"]["leave", host] = answers


def check(moment: Moment) -> None:
    """The pair that stays is untouched, and no host sends in the clear while it still has SAs of a pair that goes."""
    for when in (moment, *(moment.with_host(name, host.rebooted()) for name, host in moment.hosts)):
        for name, host in when.hosts:
            for peer in ADDRESS.keys() - {name}:
                there = {place: {sa for sa in getattr(host, place) if peer in sa[1:]} for place in ("kernel", "boot")}
                rules = {
                    place: ("out", peer, ((TRANSPORT, 0, False),)) in getattr(host, place)
                    for place in ("policies", "boot_policies")
                }
                if "c" not in (name, peer):
                    assert len(there["kernel"]) == len(there["boot"]) == 2 and all(rules.values())
                assert rules["policies"] or not (there["kernel"] or there["boot"])


def run_once(moment: Moment, cleaned: t.Sequence[str], faults: t.Mapping[str, tuple[str, int]]) -> t.Any:
    run = run_of([row(STAR, cleaned)], [connection("mesh", "a", "b")])
    run.left = lambda units, host: world.text_of(frozenset(sa for sa in sas_at(host) if "c" in sa[1:]))
    for host in departures.hosts(run):
        for state in step(run, moment, host, *faults.get(host, ("", -1))):
            check(state)
            moment = state
    return moment, sorted({*cleaned, *leaving.done(run)})


@pytest.mark.parametrize("hosts", ["ab", "ac", "bc"])
def test_whatever_fails_nothing_else_changes_and_the_next_run_ends_it(hosts: str) -> None:
    seen = set()
    every = list(itertools.product(("refused", "lost"), range(7)))
    for faults in itertools.product(every, every):
        moment, cleaned = run_once(start(), [], dict(zip(hosts, faults)))
        seen.add((moment, tuple(cleaned)))
        moment, cleaned = run_once(moment, cleaned, {})
        assert cleaned == ["a", "b", "c"]
        for name, host in moment.hosts:
            assert not any("c" in sa[1:] for sa in host.kernel | host.boot) and not host.files
            assert {peer for dummy, peer, dummy2 in host.policies} == {*"ab"} - {name, "c"} - (
                {*"ab"} if name == "c" else set()
            )
            assert host.policies == host.boot_policies
    assert len(seen) > 30


def test_the_exploration_finds_policies_that_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = leaving.leave
    monkeypatch.setattr(leaving, "leave", lambda run, host: sorted(genuine(run, host), key=_policies_first))
    with pytest.raises(AssertionError):
        run_once(start(), [], {})


def _policies_first(question: rotation.Question) -> bool:
    return question.name != policies.POLICIES
