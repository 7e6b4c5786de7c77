# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Old and new SAs side by side: the policies of each step, and SAs that something else made. Whether no packet
is lost is in `test_invariants`.
"""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core.text import language
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.reader import read_connections
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore import changes
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation import (
    completion,
    cutover,
    policies,
    policy_checks,
    preflight,
    rotation,
    staging,
    taking,
)
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation.record import Answers
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation.rotation import Question, Rotation

Result = t.Dict[str, t.Any]
ENDS = {"a": "192.0.2.1", "b": "192.0.2.2"}
ESP, AH = {"protocol": "esp"}, {"protocol": "ah"}
BARE = {**ESP, "encryption_algorithm": "aes-cbc", "authentication_algorithm": ""}
MODES = ("transport", "tunnel")
UDP = {"type": "udp", "port": 4500}
PAIR = "192.0.2.1|192.0.2.2"
OTHERS = {f"{PAIR}#4242,,0": "1", "192.0.2.1|192.0.2.9#77,,0": "2", f"{PAIR}#77,0x1/0x1,0": "3"}


def connection(**fields: t.Any) -> t.Any:
    return read_connections([{"name": "pair", "endpoints": ENDS, **fields}])[0]


def run_of(
    now: t.Any,
    before: t.Any = None,
    answers: Result | None = None,
    exchange: bool = True,
    phase: str = "prepared",
    ends: t.Mapping[str, str] = ENDS,
) -> Rotation:
    """A run of one connection, which has no keys yet without ``before``. ``answers`` are those of preflight."""
    row = {
        "name": "pair",
        "generation": 2,
        "current": 1 if before else 0,
        "before": before.settings() if before and before != now else {},
        "changing": changes.changed(before.settings(), now.settings()) if before else [],
        "phase": phase,
        "outcome": "made",
        "endpoints": dict(ends),
    }
    own = {"policies": exchange, "policy_priority": 1000, "file": "/f", "timeout": 0, "backend": "auto", "boot": True}
    behind = {*row["changing"]} - {"mode", "protocols", "other_protocols"}  # those have other SPIs only
    view = {"connections": ["pair"], "left_behind": ["pair"] if behind else []}
    return Rotation(
        {
            "wide": {"strategy": "overlap", "cutover_delay": 0.0},
            "own": {host: {**own, "boot_policies": [], "boot_options": {"load": True}} for host in ENDS},
            "expected": {
                "connections": [row],
                "hosts": dict.fromkeys(ENDS, view),
                "keyed": ["pair"] if before else [],
                "outdated": {},
                "midway": [],
                "leaving": [],
            },
        },
        lambda step, host: Answers((answers or {}) if step == rotation.PREFLIGHT else {}),
        connections=lambda: [now],
    )


SERVED = {policies.BOOT: {"installed": True, "file": "/f", "policies": []}}


def reqids(questions: t.Iterable[Question]) -> dict[str, list[tuple[str, int]]]:
    """The reqids of policies by question, with their directions."""
    return {
        question.name: [(row["direction"], row["templates"][0]["reqid"]) for row in question.options["policies"]]
        for question in questions
    }


@pytest.mark.parametrize(("mode", "forward"), [("transport", []), ("tunnel", ["fwd"])])
def test_inbound_policies_accept_both_while_outbound_ones_switch(mode: str, forward: list[str]) -> None:
    networks = {"networks": ["10.1.0.0/16"]} if forward else {}
    ends = {"endpoints": {"a": {"address": "192.0.2.1", **networks}, "b": {"address": "192.0.2.2"}}, "mode": mode}
    run = run_of(connection(reqid=9, **ends), connection(reqid=7, **ends), SERVED)
    wide, ways = [("in", 0), *((way, 0) for way in forward)], ["in", *forward]
    assert reqids(policies.at_stage(run, "a")) == {"policies": wide, "service": [("out", 7), *wide]}
    assert reqids(policies.at_cut_over(run, "a")) == {"service": [("out", 9), *wide], "policies": [("out", 9), *wide]}
    pairs = run.pairs(["pair"], "a")
    assert reqids(policies.back(run, "a", pairs)) == {"service": [("out", 7), *wide], "policies": [("out", 7)]}
    before = [("out", 7), *((way, 7) for way in ways)]
    assert reqids(policies.narrowed(run, "a", pairs)) == {"policies": before[1:], "service": before}
    assert not list(policies.narrowed(run, "a", set()))


def places(questions: t.Iterable[Question]) -> dict[str, list[tuple[str, str, int]]]:
    """The direction, mark and priority of policies by question."""
    return {
        question.name: [
            (row["direction"], row.get("mark", ""), row["priority"]) for row in question.options["policies"]
        ]
        for question in questions
    }


@pytest.mark.parametrize(("before", "after"), [("", "0x7/0xf"), ("0x7/0xf", "")])
def test_policies_for_another_mark_come_before_the_previous_ones(before: str, after: str) -> None:
    now, earlier = (connection(**({"mark": mark} if mark else {})) for mark in (after, before))
    run = run_of(now, earlier, {**SERVED, "policies": {"added": []}})
    assert run.beside == {"pair"}
    old = [("out", before, 1000), ("in", before, 1000)]
    assert places(policies.at_stage(run, "a")) == {"service": old}
    behind = [("out", before, 1001), ("in", before, 1001)]
    assert places(policies.at_cut_over(run, "a")) == {
        "service": [("out", after, 1000), *behind],
        "policies": [*behind, ("out", after, 1000)],
    }
    pairs = run.pairs(["pair"], "a")
    assert places(policies.back(run, "a", pairs)) == {
        "service": old,
        "policies": old[:1],
        "policies_back": [("out", after, 1000), ("in", after, 1000)],
    }
    narrow, service = policies.narrowed(run, "a", pairs)
    assert places([narrow, service]) == {"policies": old[1:], "service": old}
    # The service would go on loading what the cut-over gave it.
    (gone,) = places([service._replace(options={"policies": service.options["removed"]})]).values()
    assert gone == [("out", after, 1000), ("in", after, 1000)]
    assert places(policies.boot(run, "a"))["service"] == [("out", after, 1000), ("in", after, 1000), *behind]


@pytest.mark.parametrize(
    ("before", "after", "name"),
    [
        ({"mark": "0x7/0xf"}, {"mark": "0x3/0x3"}, "mark"),
        ({"mark": "0x3/0x3"}, {"mark": "0x7/0xf"}, "mark"),
        ({"mark": "0x10/0xf0"}, {"mark": "0x7/0xf"}, "mark"),
        ({}, {"mark": "0x7/0xf"}, "mark"),
        ({"mark": "0x7/0xf"}, {"mark": "0x6/0xf"}, "other_mark"),
        ({"associations": [ESP]}, {"associations": [ESP, AH]}, "protocols"),
        ({"associations": [ESP, AH]}, {"associations": [AH]}, "protocols"),
        ({"associations": [ESP]}, {"associations": [AH]}, "other_protocols"),
        ({"associations": [BARE, AH]}, {"associations": [ESP]}, "other_protocols"),
        ({"associations": [BARE, AH]}, {"associations": [AH]}, "protocols"),
        ({"associations": [ESP]}, {"associations": [BARE, AH]}, "other_protocols"),
        ({"associations": [ESP], "mode": "tunnel"}, {"associations": [ESP, AH], "mode": "tunnel"}, "protocols"),
        ({"associations": [AH], "mode": "tunnel"}, {"associations": [ESP, AH], "mode": "tunnel"}, "other_protocols"),
        ({"mode": "tunnel"}, {}, "mode"),
    ],
)
def test_a_change_is_named_by_what_it_means_for_packets(before: Result, after: Result, name: str) -> None:
    assert changes.changed(connection(**before).settings(), connection(**after).settings()) == [name]


@pytest.mark.parametrize("mode", ["transport", "tunnel"])
@pytest.mark.parametrize("adds", [True, False])
def test_inbound_policies_require_what_old_and_new_sas_have_in_common(mode: str, adds: bool) -> None:
    """An optional template would let clear text pass, too."""
    one, both = {"associations": [ESP]}, {"associations": [ESP, AH]}
    before, after = (one, both) if adds else (both, one)
    run = run_of(connection(mode=mode, reqid=9, **after), connection(mode=mode, reqid=7, **before), SERVED)
    assert run.beside == {"pair"} and run.gaps == {}
    for question in (*policies.at_stage(run, "a"), *policies.at_cut_over(run, "a")):
        for row in question.options["policies"]:
            if row["direction"] == "in":
                assert [(each["protocol"], each["reqid"]) for each in row["templates"]] == [("esp", 0)]
                assert "level" not in row["templates"][0]
    *dummy, question = policies.at_cut_over(run, "a")
    (out,) = (row for row in question.options["policies"] if row["direction"] == "out")
    assert {each["protocol"] for each in out["templates"]} == ({"esp", "ah"} if adds else {"esp"})
    assert {each["reqid"] for each in out["templates"]} == {9}


class Policies:
    """The policies of a host that talks to one peer: as Linux replaces them, by direction and mark."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str, str], Result] = {}

    def take(self, rows: t.Iterable[Result]) -> None:
        for row in rows:
            self.rows[row["direction"], row["selector"]["source"], row.get("mark", "")] = row

    def ask(self, questions: t.Iterable[Question]) -> None:
        for question in questions:
            if question.name == policies.POLICIES:
                self.take(question.options["policies"])

    def of(self, direction: str) -> Result:
        (row,) = (row for (way, *dummy), row in self.rows.items() if way == direction)
        return row


def accepts(policy: Result, passed: t.Sequence[Result]) -> bool:
    """Whether an inbound policy accepts a packet that went through SAs, the outermost first: xfrm_policy_ok and
    secpath_has_nontransport of net/xfrm/xfrm_policy.c. SAs are those that templates of outbound policies name.
    """
    place = 0
    for template in reversed(policy["templates"]):
        is_optional = template.get("level") == "use"
        if is_optional and template["mode"] == "transport":
            continue
        for index in range(place, len(passed)):
            if is_for(template, passed[index]):
                place = index + 1
                break
            if passed[index]["mode"] != "transport":
                return False
        else:
            if not is_optional:
                return False
    return all(row["mode"] == "transport" for row in passed[place:])


def is_for(template: Result, sa: Result) -> bool:
    return (
        template["protocol"] == sa["protocol"]
        and template["mode"] == sa["mode"]
        and template["reqid"] in (0, sa["reqid"])
        and template.get("source") in (None, sa.get("source"))
    )


@pytest.mark.parametrize(
    ("mode", "before", "after"),
    [
        *((mode, *sides) for mode in MODES for sides in (([ESP], [ESP, AH]), ([ESP, AH], [ESP]), ([ESP], [ESP]))),
        ("transport", [AH], [ESP, AH]),
        ("transport", [ESP, AH], [AH]),
    ],
)
@pytest.mark.parametrize("undone", [False, True])
def test_at_each_boundary_peers_accept_each_other_and_never_clear_text(
    mode: str, before: list[Result], after: list[Result], undone: bool
) -> None:
    now = connection(mode=mode, reqid=9, associations=after)
    run = run_of(now, connection(mode=mode, reqid=7, associations=before), SERVED)
    hosts = {host: Policies() for host in ENDS}
    pairs = run.pairs(["pair"], "a")
    ways: dict[bool, list[t.Callable[[Rotation, str], rotation.Questions]]] = {
        False: [lambda run, host: policies.installed(run, host, policies.of_host(run, host))],
        True: [
            lambda run, host: policies.back(run, host, pairs),
            lambda run, host: policies.narrowed(run, host, pairs),
        ],
    }
    for host, held in hosts.items():
        held.take(policies.of_host(run_of(connection(mode=mode, reqid=7, associations=before)), host))
    for step in (policies.at_stage, policies.at_cut_over, *ways[undone]):
        for host, held in hosts.items():
            held.ask(step(run, host))
            for one, other in (hosts.values(), [*hosts.values()][::-1]):
                sent = one.of("out")["templates"][::-1]
                assert accepts(other.of("in"), sent) and not accepts(other.of("in"), [])
    wanted = run_of(connection(mode=mode, reqid=7, associations=before)) if undone else run
    for host, held in hosts.items():
        for row in policies.of_host(wanted, host):
            assert held.of(row["direction"]) == row


def modes_of(rows: t.Iterable[Result]) -> dict[str, list[str]]:
    """The modes of templates by direction; "?" stands behind that of an optional one."""
    return {
        row["direction"]: [each["mode"] + "?" * (each.get("level") == "use") for each in row["templates"]]
        for row in rows
    }


T, U = "transport", "tunnel"


@pytest.mark.parametrize("protocol", [ESP, AH])
@pytest.mark.parametrize(("before", "after", "first", "second"), [(T, U, [T, f"{U}?"], [U]), (U, T, [U], [T, f"{U}?"])])
def test_packets_pass_through_the_sas_of_both_modes_while_the_mode_changes(
    protocol: Result, before: str, after: str, first: list[str], second: list[str]
) -> None:
    was, now = (connection(mode=mode, associations=[protocol]) for mode in (before, after))
    run = run_of(now, was, SERVED)
    assert run.gaps == {} and run.nested == run.beside == {"pair"} and run.unnesting == run.ahead == set()
    assert run.left_behind("a") == ["pair"]  # the new SAs have the same owner, but do not replace the previous ones
    hosts = {host: Policies() for host in ENDS}
    for host, policies_of_host in hosts.items():
        policies_of_host.take(policies.of_host(run_of(was), host))

    def seen(found: Rotation, step: t.Callable[[Rotation, str], rotation.Questions]) -> list[dict[str, list[str]]]:
        """What changes in the kernel and at boot; in between, hosts understand each other."""
        questions = [*step(found, "a")]
        for host, held in hosts.items():
            held.ask(step(found, host))
            for one, other in (hosts.values(), [*hosts.values()][::-1]):
                sent = one.of("out")["templates"][::-1]
                assert accepts(other.of("in"), sent) and not accepts(other.of("in"), [])
        return [modes_of(question.options["policies"]) for question in sorted(questions, key=lambda each: each.name)]

    assert seen(run, policies.at_stage) == [{"in": first}, {"out": [before], "in": first}]
    assert seen(run, policies.at_cut_over) == [{"out": [T, U], "in": first}] * 2
    assert not [*completion.accept(run, "a"), *completion.unnest(run, "a")]  # not approved yet
    retiring = run_of(now, was, SERVED, phase="retiring")
    answered(retiring, rotation.ACCEPT, "ab")
    assert seen(retiring, completion.accept) == [{"in": second}, {"out": [T, U], "in": second}]
    assert seen(retiring, completion.unnest) == [{"out": [after]}, {"out": [after], "in": second}]


def answered(run: Rotation, step: str, hosts: str) -> None:
    """Of these steps, these hosts confirmed theirs; the other one is out of reach."""
    before = run.answers

    def answers(asked: str, host: str) -> Answers:
        if asked != step:
            return before(asked, host)
        return Answers({"policies": {"changed": True} if host in hosts else {"unreachable": True}})

    run.answers = answers


def test_hosts_keep_the_previous_sas_until_all_have_stopped_sending_through_them() -> None:
    def begun() -> Rotation:
        run = run_of(connection(mode="tunnel"), connection(), SERVED, phase="retiring")
        run.state.update(digest_key="", because={})
        run.wide.update(allow_static_counter_mode=False, when="asked")
        run.expected["connections"][0].update(counter_mode=False, anti_replay=False)
        return run

    run = begun()
    answered(run, rotation.ACCEPT, "a")
    assert not [*completion.unnest(run, "a"), *completion.persist(run, "a"), *completion.persist(run, "b")]
    assert completion.problems(run) == ["b: unreachable (no reason given)"]
    run = begun()
    answered(run, rotation.ACCEPT, "ab")
    assert [*completion.unnest(run, "a")]
    answered(run, rotation.UNNEST, "b")
    assert not [*completion.persist(run, "a"), *completion.persist(run, "b")]
    run = begun()
    answered(run, rotation.ACCEPT, "ab")
    answered(run, rotation.UNNEST, "ab")
    assert "removal" in [question.name for question in completion.persist(run, "a")]


@pytest.mark.parametrize(("sends", "modes"), [(["tunnel"], ["transport", "tunnel"]), ([], ["tunnel"])])
def test_a_resumed_run_goes_on_from_where_hosts_may_be(sends: list[str], modes: list[str]) -> None:
    """What a host sends after a reboot stays as it is until its peers accept more."""
    replaced = [{"policy": "out 192.0.2.1/32 > 192.0.2.2/32", "reqids": [0]} for dummy in sends]
    answers = {**SERVED, "policies": {"added": [], "replaced": replaced}}
    run = run_of(connection(mode="tunnel"), connection(), answers, phase="retiring")
    run.state["ahead"] = ["pair"]
    assert run.unnesting == set() and not [*completion.accept(run, "a"), *completion.unnest(run, "a")]
    kernel, boot = (modes_of(question.options["policies"]) for question in policies.at_stage(run, "a"))
    assert kernel == {"in": ["tunnel"]} and boot == {"out": modes, "in": ["tunnel"]}
    boot, kernel = (modes_of(question.options["policies"]) for question in policies.at_cut_over(run, "a"))
    assert kernel == boot == {"out": ["tunnel"], "in": ["tunnel"]}


WIDE = {"endpoints": {"a": {"address": ENDS["a"], "networks": ["10.1.0.0/16"]}, "b": ENDS["b"]}}


@pytest.mark.parametrize(
    ("before", "after", "more"),
    [
        ({}, WIDE, {}),
        ({"upper_protocol": "udp"}, {"upper_protocol": "udp"}, {}),
        ({"encapsulation": UDP}, {"encapsulation": UDP}, {}),
        ({}, {"encapsulation": UDP}, {}),
        ({"mark": "0x1/0x1"}, {"mark": "0x1/0x1"}, {}),
        ({"if_id": 5}, {"if_id": 5}, {}),
        ({"associations": [ESP, AH]}, {"associations": [ESP, AH]}, {}),
        ({"reqid": 7}, {"reqid": 9}, {}),
        ({"associations": [ESP]}, {"associations": [AH]}, {}),
        ({}, {"replaces_reqid": 77}, {"answers": {**SERVED, "preflight": {"held": {f"{PAIR}#77,,0": "4"}}}}),
        ({}, {}, {"answers": {**SERVED, "policies": {"added": ["in 192.0.2.2/32 > 192.0.2.1/32"]}}}),
    ],
)
def test_the_mode_changes_with_a_gap_where_sas_of_both_cannot_be_nested(
    before: Result, after: Result, more: Result
) -> None:
    run = run_of(connection(mode="tunnel", **after), connection(**before), **{"answers": SERVED, **more})
    assert "its mode or its protocols change" in run.gaps["pair"]
    assert run.nested == run.beside == set()
    without = run_of(connection(mode="tunnel"), connection(), SERVED, exchange=False)
    assert "without rotate_policies" in without.gaps["pair"] and without.nested == set()


@pytest.mark.parametrize("networks", [True, False])
def test_a_tunnel_whose_end_moves_accepts_any_outer_source(networks: bool) -> None:
    def at(address: str) -> t.Any:
        own = {"networks": ["10.1.0.0/16"]} if networks else {}
        return connection(mode="tunnel", endpoints={"a": {"address": address, **own}, "b": "192.0.2.2"})

    run = run_of(at("192.0.2.7"), at("192.0.2.1"), SERVED, ends={**ENDS, "a": "192.0.2.7"})
    assert run.beside == {"pair"}

    def sources(questions: t.Iterable[Question]) -> list[tuple[str, str | None]]:
        return [
            (row["direction"], row["templates"][0]["source"])
            for question in questions
            if question.name == "policies"
            for row in question.options["policies"]
        ]

    wide = [("in", None)] if networks else []
    assert sources(policies.at_stage(run, "b")) == wide
    # Policies between the hosts themselves are about other addresses, so that the new ones are the first.
    assert sources(policies.at_cut_over(run, "b")) == [("out", "192.0.2.2"), *(wide or [("in", "192.0.2.7")])]


def test_a_pause_of_traffic_that_a_tunnel_does_not_carry_yet_is_announced() -> None:
    def wide(*networks: str, **fields: t.Any) -> t.Any:
        ends = {"a": {"address": ENDS["a"], "networks": [*networks]}, "b": {"address": ENDS["b"]}}
        return connection(mode="tunnel", endpoints=ends, **fields)

    now = wide("10.1.0.0/16", "10.2.0.0/16")
    added = {"policies": {"added": ["out 10.2.0.0/16 > 192.0.2.2/32"]}}
    (text,) = policy_checks.pauses(run_of(now, now, added))
    assert text.startswith("connection pair: traffic between networks that its tunnel does not carry yet pauses")
    assert policy_checks.pauses(run_of(now, now, {"policies": {"added": []}})) == []
    assert policy_checks.pauses(run_of(now, None, added)) == []  # a new connection
    marked = wide("10.1.0.0/16", "10.2.0.0/16", mark="0x7/0xf")
    assert policy_checks.pauses(run_of(marked, now, added)) == []
    assert policy_checks.pauses(run_of(connection(), connection(), {"policies": {"added": ["out 192.0.2.1/32"]}})) == []


def test_with_a_gap_too_no_previous_policy_comes_first() -> None:
    run = run_of(connection(if_id=6), connection(if_id=5))
    found = places(policies.at_cut_over(run, "a"))["policies"]
    assert run.beside == set() and sorted(row[2] for row in found) == [1000, 1000, 1001, 1001]


def test_the_service_loads_nothing_out_of_turn_and_is_not_installed_early() -> None:
    now, before = connection(reqid=9), connection(reqid=7)
    dummy, service = policies.at_stage(run_of(now, before, SERVED), "a")
    assert service.options["load"] is False and service.options["purge"] is False
    for answer in ({"installed": False}, {"installed": True, "file": "/g", "policies": []}):
        found = [question.name for question in policies.at_stage(run_of(now, before, {policies.BOOT: answer}), "a")]
        assert found == ["policies"]


def test_what_peers_may_have_removed_is_not_sent_through_after_a_reboot() -> None:
    run = run_of(connection(reqid=9), connection(reqid=7), SERVED, phase="retiring")
    assert reqids(policies.at_stage(run, "a"))["service"] == [("out", 9), ("in", 0)]


def held(reqid: int) -> Result:
    return {"preflight": {"held": {**OTHERS, f"{PAIR}#{reqid},,0": "4"}}}


def test_only_sas_of_that_reqid_between_the_addresses_are_taken_over() -> None:
    now = connection(replaces_reqid=77)
    assert run_of(now, answers={"preflight": {"held": OTHERS}}).taking == set()
    assert run_of(connection(), answers=held(77)).taking == set()
    run = run_of(now, answers=held(77))
    assert run.taking == run.beside == {"pair"}
    assert taking.out_of_place(run) == [(host, "pair", "SAs with reqid 77") for host in ENDS]
    (question,) = taking.removal(run, "a")
    assert (question.options["state"], question.options["scope"]) == ("flushed", "peers")
    sas = language.parse(question.options["content"], "").sas
    assert {(sa.reqid, sa.source[-1], sa.destination[-1]) for sa in sas} == {(77, 1, 2), (77, 2, 1)}


def test_policies_that_nobody_made_are_neither_widened_nor_put_back() -> None:
    answers = {**held(77), "policies": {"added": ["in 192.0.2.2/32 > 192.0.2.1/32"]}}
    run = run_of(connection(reqid=9, replaces_reqid=77), answers=answers)
    assert not reqids(policies.at_stage(run, "a"))
    assert reqids(policies.at_cut_over(run, "a")) == {"policies": [("out", 9)]}
    assert reqids(policies.back(run, "a", run.pairs(["pair"], "a"))) == {
        "policies": [("out", 77)],
        "policies_back": [("in", 9)],
    }


def test_no_policy_drops_clear_packets_of_peers_before_the_end_or_after_a_failure() -> None:
    """The host had SAs, but none of the policies, or no inbound one."""
    ways = {"out": "out 192.0.2.1/32 > 192.0.2.2/32", "in": "in 192.0.2.2/32 > 192.0.2.1/32"}
    for lacking, restored in ((["in"], [("out", 7)]), (["in", "out"], [])):
        answers = {**SERVED, "policies": {"added": [ways[way] for way in lacking]}}
        run = run_of(connection(reqid=9), connection(reqid=7), answers)
        assert run.beside == {"pair"}
        assert "policies" not in reqids(policies.at_stage(run, "a"))
        assert reqids(policies.at_cut_over(run, "a"))["policies"] == [("out", 9)]
        pairs = run.pairs(["pair"], "a")
        assert reqids(policies.back(run, "a", pairs)).get("policies", []) == restored
        assert "policies" not in reqids(policies.narrowed(run, "a", pairs))


def test_sas_are_taken_over_with_policies_alone() -> None:
    now = connection(replaces_reqid=77)
    assert taking.problems(run_of(now, answers=held(77))) == []
    first, second = taking.problems(run_of(now, answers=held(77), exchange=False))
    assert first.startswith("a: ") and second.startswith("b: ") and "rotate_policies: true" in first
    assert taking.problems(run_of(now, answers=held(5), exchange=False)) == []


@pytest.mark.parametrize(
    ("now", "before", "ways", "reqid", "is_told"),
    [
        ({"reqid": 9}, None, ["out"], 77, True),
        ({}, None, ["out", "in"], 77, True),
        ({"reqid": 9}, None, ["out"], 0, True),
        ({"reqid": 9, "replaces_reqid": 5}, None, ["out"], 77, True),
        ({"reqid": 9, "replaces_reqid": 77}, None, ["out"], 77, False),
        ({"reqid": 9}, {"reqid": 77}, ["out"], 77, False),  # a change of the reqid
        ({"reqid": 77}, None, ["out"], 77, False),
        ({"reqid": 9}, None, ["in"], 77, False),
        ({"reqid": 9, "mark": "0x7/0xf"}, None, ["out"], 77, False),  # other traffic
    ],
)
def test_a_run_stops_where_it_would_replace_policies_for_sas_that_it_does_not_take_over(
    now: Result, before: Result | None, ways: list[str], reqid: int, is_told: bool
) -> None:
    """As of a connection that has got another name and reqid."""
    known = {"out": "out 192.0.2.1/32 > 192.0.2.2/32", "in": "in 192.0.2.2/32 > 192.0.2.1/32"}
    replaced = [{"policy": known[way], "reqids": [reqid]} for way in ways]
    answers = {**held(reqid), policies.POLICIES: {"added": [], "replaced": replaced}}
    earlier = None if before is None else connection(**before)
    found = preflight.problems(run_of(connection(**now), earlier, answers), 0)
    assert [problem.partition(",")[0] for problem in found] == (
        [f"a: it sends through SAs with reqid {reqid} between the hosts of connection pair"] if is_told else []
    )
    answers[rotation.PREFLIGHT] = {"held": {}}
    assert not preflight.problems(run_of(connection(**now), earlier, answers), 0)


def test_policies_of_a_script_beside_keys_accept_both_to_the_end() -> None:
    """What is loaded at boot, where the script's SAs are missing, goes on sending through SAs of the keystore."""
    ways = ("out 192.0.2.1/32 > 192.0.2.2/32", "in 192.0.2.2/32 > 192.0.2.1/32")
    replaced = [{"policy": way, "reqids": [77]} for way in ways]
    now = connection(reqid=9, replaces_reqid=77)
    run = run_of(now, now, {**SERVED, **held(77), "policies": {"added": [], "replaced": replaced}})
    both = [("out", 9), ("in", 0)]
    assert run.taking == run.accepting_both == {"pair"} and run.beside == set()
    assert reqids(policies.at_stage(run, "a")) == {"policies": [("in", 0)], "service": both}
    assert reqids(policies.at_cut_over(run, "a")) == {"service": both, "policies": both}
    pairs = run.pairs(["pair"], "a")
    assert reqids(policies.back(run, "a", pairs)) == {"service": both, "policies": [("out", 77)]}
    assert reqids(policies.narrowed(run, "a", pairs)) == {"service": both}


def test_a_run_stops_before_another_policy_would_come_first() -> None:
    """An exception between the priority of a script's policy and that of the role would let its traffic pass."""
    rows = [
        {"policy": "out 192.0.2.1/32 > 192.0.2.2/32", "priority": 7, "other": "out any > any", "other_priority": 100},
        {"policy": "in 192.0.2.2/32 > 192.0.2.1/32", "priority": 5, "other": "in any > any", "other_priority": 100},
    ]
    now = connection(replaces_reqid=77)
    assert preflight.problems(run_of(now, answers=held(77)), 0) == []
    run = run_of(now, answers={**held(77), policies.POLICIES: {"added": [], "overtaken": rows}})
    assert preflight.problems(run, 0) == [
        f"{host}: policy out 192.0.2.1/32 > 192.0.2.2/32 has priority 7 now. With 1000, policy out any > any with"
        " priority 100 would come first: set rotate_policy_priority to 5 for this host, or remove that policy"
        for host in ENDS
    ]


def test_sas_stay_as_long_as_nothing_leaves_through_the_new_ones() -> None:
    run = run_of(connection(replaces_reqid=77), answers=held(77))
    preflight = run.answers
    rows = [{"key": "esp|192.0.2.2|0x00001000", "before": 1, "after": 1}]
    run.answers = lambda step, host: (
        Answers({"send": {"sent": rows if host == "a" else []}}) if step == rotation.SEND else preflight(step, host)
    )
    (problem,) = taking.unused(run)
    assert problem.startswith("a: no packet leaves through the new SA esp 0x00001000 towards 192.0.2.2")
    rows[0]["after"] = 4
    assert taking.unused(run) == []


@pytest.mark.parametrize(
    ("fields", "is_told"),
    [
        ({"upper_protocol": "udp"}, True),
        ({"upper_protocol": "tcp"}, False),
        ({"mode": "tunnel"}, True),
        (
            {
                "mode": "tunnel",
                "endpoints": {host: {"address": ENDS[host], "networks": ["192.0.2.0/24"]} for host in ENDS},
            },
            True,
        ),
        ({"mode": "tunnel", "endpoints": {**ENDS, "b": {"address": ENDS["b"], "networks": ["10.0.0.0/8"]}}}, False),
    ],
)
def test_nothing_is_said_about_sas_that_no_test_packet_can_use(fields: Result, is_told: bool) -> None:
    run = run_of(connection(replaces_reqid=77, **fields), answers=held(77))
    preflight = run.answers
    sent = {"send": {"sent": [{"key": "esp|192.0.2.2|0x00001000", "before": 0, "after": 0}]}}
    run.answers = lambda step, host: Answers(sent) if (step, host) == (rotation.SEND, "a") else preflight(step, host)
    assert bool(taking.unused(run)) is is_told


def outbound_files(questions: t.Iterable[Question]) -> list[str]:
    """The names of questions that change outbound SAs in the protected file beside others."""
    return [q.name for q in questions if q.options.get("keep") and q.options.get("direction") == "outbound"]


@pytest.mark.parametrize(
    ("before", "after", "staged"),
    [
        ({"mark": "0x7/0xf"}, {"mark": "0x3/0x3"}, False),
        ({"mark": "0x3/0x3"}, {"mark": "0x7/0xf"}, False),
        ({"mark": "0x7/0xf"}, {}, False),
        ({}, {"mark": "0x7/0xf"}, False),
        ({"reqid": 7}, {"reqid": 9}, True),
    ],
)
def test_new_sas_that_previous_policies_choose_wait_until_all_peers_accept_them(
    before: Result, after: Result, staged: bool
) -> None:
    """A host that reboots between the steps loads its file, and Linux compares an SA's mark with that of the policy."""
    run = run_of(connection(**after), connection(**before), SERVED)
    run.state.update(digest_key="", instants={})
    run.wide.update(allow_static_counter_mode=False, probe=False)
    assert run.beside == {"pair"} and run.gaps == {}
    assert outbound_files(staging.stage(run, "a")) == (["beside"] if staged else [])
    cut = [*cutover.cut_over(run, "a")]
    assert outbound_files(cut) == ([] if staged else ["beside"])
    # In the file before it is in the kernel.
    names = [question.name for question in cut]
    assert staged or names.index("beside") < names.index("sadb")
    missing = [line for line in (*staging.problems(run), *cutover.problems(run)) if "not asked" in line]
    assert len(missing) == 4
