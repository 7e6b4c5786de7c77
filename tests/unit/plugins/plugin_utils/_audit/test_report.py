# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report as a whole: its shape, what is new and what is gone, and evidence from hosts that lie."""

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.ipsec.manual.plugins.plugin_utils._answers import ANSWERS
from ansible_collections.ipsec.manual.plugins.plugin_utils._audit import report, run
from ansible_collections.ipsec.manual.plugins.plugin_utils._audit.fleet import DAY, Fleet, Host, Way, host_of, pairs_of
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.reader import read_connections
from ansible_collections.ipsec.manual.plugins.plugin_utils._gate import admit
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation.record import UNANSWERED, Answers
from ansible_collections.ipsec.manual.tests.unit.plugins.plugin_utils._audit.fleets import (
    CONNECTIONS,
    FILE,
    NAME,
    NOW,
    PAIR,
    answer,
    changed,
    clean,
    pairs,
    part,
    remark,
    row,
)

MADE, LATER = "2026-11-27T22:00:00Z", "2026-11-28T22:00:00Z"
WIDE = {"age_limit": 90.0, "clock_tolerance": 5.0}


def test_the_report_of_a_clean_fleet() -> None:
    found = report.make(clean(), MADE)
    assert (found["format"], found["made"], found["previous"], found["findings"], found["gone"]) == (
        1,
        MADE,
        "",
        [],
        [],
    )
    assert found["hosts"][0] == {
        "name": "enigma",
        "answered": True,
        "reason": "",
        "kernel": "Linux 6.12.48",
        "backend": "xfrm",
        "file": {"path": FILE, "mode": "0600", "modified": "2026-11-13T11:06:40Z"},
        "service": "enabled, active",
        "clock_offset": 0.0,
        "counters": {"XfrmInNoStates": 3, "XfrmInError": 1},
        "worst": "none",
    }
    assert found["pairs"] == [
        {
            "name": PAIR,
            "connection": "pair",
            "hosts": ["enigma", "partym"],
            "addresses": ["192.0.2.1", "192.0.2.2"],
            "generation": 7,
            "agreement": "same",
            "age": 5 * DAY,
            "age_limit": 90 * DAY,
            "budgets": [{"what": "packets", "used": 0.1}],
            "due": [],
            "worst": "none",
        }
    ]
    json.dumps(found, allow_nan=False)


def test_an_absent_host_is_in_the_report_with_its_reason() -> None:
    fleet = clean()
    hosts = {**fleet.hosts, "partym": Host("partym", FILE, reason="unreachable (no route)")}
    found = report.make(fleet._replace(hosts=hosts), MADE)
    host = found["hosts"][1]
    assert (host["answered"], host["reason"], host["worst"]) == (False, "unreachable (no route)", "medium")
    assert found["pairs"][0]["agreement"] == "unknown"


def test_what_is_new_and_what_is_gone() -> None:
    first = report.make(changed(pairs(leaking=1)), MADE)
    assert [row["new"] for row in first["findings"]] == [False]
    second = report.make(changed(remark("copy", FILE + "~")), LATER, json.loads(json.dumps(first)))
    assert second["previous"] == MADE
    assert [(row["id"], row["new"]) for row in second["findings"]] == [("file-copy", True)]
    assert [(row["id"], row["new"]) for row in second["gone"]] == [("no-policy", False)]
    third = report.make(changed(remark("copy", FILE + "~")), LATER, second)
    assert [row["new"] for row in third["findings"]] == [False] and third["gone"] == []


def without(fleet: Fleet, *names: str, **fields: t.Any) -> Fleet:
    """The fleet when these hosts do not answer."""
    silent = {name: Host(name, FILE, reason="unreachable") for name in names}
    return fleet._replace(hosts={**fleet.hosts, **silent}, **fields)


def ids(rows: list[dict[str, t.Any]]) -> list[str]:
    return sorted(row["id"] for row in rows)


def test_a_host_that_does_not_answer_has_not_fixed_anything() -> None:
    first = report.make(changed(pairs(leaking=1), "partym"), MADE)
    second = report.make(without(clean(), "partym"), LATER, json.loads(json.dumps(first)))
    assert (ids(second["findings"]), second["gone"]) == (["absent", "agreement-unknown"], [])
    assert ids(second["unchecked"]) == ["no-policy"]
    third = report.make(without(clean(), "partym"), LATER, json.loads(json.dumps(second)))
    assert (ids(third["unchecked"]), third["gone"]) == (["no-policy"], [])
    back = report.make(changed(pairs(leaking=2), "partym"), LATER, third)
    assert [(row["id"], row["new"]) for row in back["findings"]] == [("no-policy", False)]
    assert (ids(back["gone"]), back["unchecked"]) == (["absent", "agreement-unknown"], [])
    repaired = report.make(clean(), LATER, third)
    assert (ids(repaired["gone"]), repaired["unchecked"]) == (["absent", "agreement-unknown", "no-policy"], [])


def test_a_finding_of_a_pair_is_gone_only_if_both_hosts_say_so() -> None:
    first = report.make(changed(pairs(digest="cd" * 16, file_digest="cd" * 16)), MADE)
    assert "peers-differ" in ids(first["findings"])
    for fleet in (without(clean(), "enigma"), changed(lambda found: found.update(backend="", pairs=[]))):
        assert "peers-differ" in ids(report.make(fleet, LATER, first)["unchecked"])


def test_hosts_that_do_not_take_part_keep_their_findings_while_they_are_in_the_inventory() -> None:
    first = report.make(changed(remark("copy", FILE + "~"), "partym"), MADE)
    alone = {"enigma": clean().hosts["enigma"]}
    limited = clean()._replace(hosts=alone, inventory=frozenset(["enigma", "partym"]))
    assert ids(report.make(limited, LATER, first)["unchecked"]) == ["file-copy"]
    removed = Fleet(alone, (), {}, inventory=frozenset(["enigma"]))
    assert ids(report.make(removed, LATER, first)["gone"]) == ["file-copy"]


def test_a_pair_outside_the_limit_keeps_its_findings_however_often() -> None:
    names = {"enigma": "192.0.2.1", "partym": "192.0.2.2", "third": "192.0.2.3"}
    connections = read_connections([{"name": "pair", "endpoints": names}])
    found = report.make(clean(), MADE)
    old = {**found["pairs"][0], "name": "pair: enigma - partym"}
    finding = {**dict.fromkeys(("host", "place", "what", "why", "fix"), ""), "id": "key-age", "severity": "medium"}
    found = {**found, "pairs": [old], "findings": [{**finding, "pair": old["name"], "new": False}]}
    for dummy in range(3):
        alone = [host_of("third", FILE, answer(pairs=[], counters={}), offset=0.0)]
        fleet = run.fleet(alone, connections, {}, "", found, WIDE, names)
        found = report.make(fleet._replace(pairs=()), LATER, found)
        assert ids(found["unchecked"]) == ["key-age"]


def test_without_the_keystore_nothing_that_needs_it_is_gone() -> None:
    fleet = clean()
    behind = fleet._replace(known={"pair": fleet.known["pair"]._replace(phase="switching")})
    first = report.make(behind, MADE)
    assert ids(first["findings"]) == ["rotation-unfinished"]
    second = report.make(fleet._replace(known={}, unread="no password"), LATER, first)
    assert (ids(second["unchecked"]), second["gone"]) == (["rotation-unfinished"], [])


def test_counters_wait_for_a_host_that_does_not_answer() -> None:
    first = report.make(clean(), MADE)
    hosts = without(clean(), "enigma").hosts.values()
    second = report.make(run.fleet(hosts, CONNECTIONS, {}, "", first, WIDE), LATER, first)
    third = run.fleet(changed(part("counters", XfrmInError=5)).hosts.values(), CONNECTIONS, {}, "", second, WIDE)
    assert [row["what"] for row in report.make(third, LATER, second)["findings"] if row["id"] == "counter-rose"] == [
        "the counter XfrmInError rose by 4 since the previous audit"
    ]


def test_counters_that_the_previous_audit_did_not_see_have_not_risen() -> None:
    fleet = clean()._replace(counters={"enigma": {}, "partym": {"XfrmInError": 1}})
    assert report.make(fleet, MADE)["findings"] == []


def test_a_finding_whose_numbers_changed_is_not_new() -> None:
    first = report.make(changed(pairs(oldest=91 * DAY)), MADE)
    assert not report.make(changed(pairs(oldest=92 * DAY)), LATER, first)["findings"][0]["new"]


def test_counters_are_compared_with_the_previous_run() -> None:
    previous = report.make(clean(), MADE)
    hosts = clean().hosts.values()
    fleet = run.fleet(hosts, CONNECTIONS, {}, "", previous, WIDE)
    assert fleet.counters["enigma"] == {"XfrmInNoStates": 3, "XfrmInError": 1}
    assert run.fleet(hosts, CONNECTIONS, {}, "", None, WIDE).counters == {}
    assert fleet.age_limit == 90 * DAY


def test_due_says_why() -> None:
    fleet = changed(pairs(oldest=91 * DAY, budgets=[{"what": "blocks", "used": 1.0}], reloaded=1))
    assert report.make(fleet, MADE)["pairs"][0]["due"] == ["age", "blocks", "loaded again"]


@pytest.mark.parametrize(
    ("limit", "fails"), [("never", False), ("high", False), ("medium", True), ("low", True), ("info", True)]
)
def test_fail_on_counts_findings_as_bad_or_worse(limit: str, fails: bool) -> None:
    found = report.make(changed(pairs(replayed=1)), MADE)
    problem = run.verdict(found, limit, "; the report is in /audit")
    assert bool(problem) == fails
    if fails:
        assert problem == f"1 finding is as bad as {limit} or worse (audit_fail_on); the report is in /audit."
    assert run.counts(found) == {"high": 0, "medium": 1, "low": 0, "info": 0}


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        (Answers({}), "it was not asked"),
        (Answers({"audit": UNANSWERED}), "it did not answer, or not in time"),
        (Answers({"audit": {"failed": True, "msg": "no Python"}}), "no Python"),
    ],
)
def test_a_host_without_an_answer_has_a_reason(answers: Answers, reason: str) -> None:
    host = run.host("enigma", FILE, answers, Way())
    assert host.answer == {} and reason in host.reason and "reading the inputs took 50" not in host.reason
    # The time that it took is the reason only if nothing else is known.
    late = run.host("enigma", FILE, answers, Way(), 50)
    assert ("reading the inputs took 50 s" in late.reason) == (answers.get("audit") == UNANSWERED)


@pytest.mark.parametrize(("epoch", "offset"), [(NOW, 0.0), (NOW + 0.9, 0.0), (NOW + 11, 10.0), (NOW - 9, -10.0)])
def test_the_clock_is_compared_within_the_time_of_the_answer(epoch: float, offset: float) -> None:
    found = Answers({"audit": answer(epoch=epoch)}, asked=NOW, answered=NOW + 2)
    assert run.host("enigma", FILE, found, Way()).offset == offset


def admitted(**fields: t.Any) -> dict[str, t.Any]:
    return admit("ipsec_audit", answer(**fields))


def test_the_gate_admits_a_clean_answer_unchanged() -> None:
    assert admitted() == answer()
    assert set(answer()) == {*ANSWERS["ipsec_audit"], "changed"}


@pytest.mark.parametrize(
    "fields",
    [
        {"pairs": [row(name="192.0.2.1|192.0.2.2#0,,0; rm -rf /")]},
        {"pairs": [row(budgets=[{"what": "packets", "used": float("nan")}])]},
        {"pairs": [row(budgets=[{"what": "packets", "used": -0.1}])]},
        {"pairs": [row(budgets=[{"what": "<b>", "used": 0.5}])]},
        {"pairs": [row(oldest=-1)]},
        {"pairs": [row()] * 100_001},
        {"pairs": [row(fingerprints=["zz"])]},
        {"remarks": [{"what": "copy", "place": FILE, "detail": ""}] * 2001},
        {"remarks": [{"what": "{{ 7 }}", "place": FILE, "detail": ""}]},
        {"remarks": [{"what": "copy", "place": "/" * 5000, "detail": ""}]},
        {"counters": {"<script>": 1}},
        {"counters": {f"Xfrm{number}": 1 for number in range(101)}},
        {"counters": {"XfrmInError": -1}},
        {"policies": {"x": 1}},
        {"epoch": float("inf")},
        {"kernel": "L" * 257},
        {"file": {**answer()["file"], "mode": "rwx"}},
        {"service": {**answer()["service"], "state": "\x1b[2J"}},
        {"ansible_facts": {"audit_fail_on": "never"}},
    ],
)
def test_the_gate_refuses_a_malformed_answer_whole(fields: dict[str, t.Any]) -> None:
    assert admitted(**fields)["failed"]


def test_control_and_bidi_characters_are_made_visible() -> None:
    hostile = "/etc/inet/secret/ipseckeys\x1b[31m\u202e<script>{{ 7 * 7 }}"
    found = admitted(
        kernel="Linux\x07", remarks=[{"what": "copy", "place": hostile, "detail": "\u2066"}], unread=["SADB: \x1b[2J"]
    )
    host = host_of("enigma", FILE, found, offset=0.0)
    made = report.make(Fleet({"enigma": host}, (), {}), MADE)
    assert json.dumps(made, ensure_ascii=False).isprintable()
    assert "<script>{{ 7 * 7 }}" in made["findings"][0]["what"] + made["findings"][1]["what"]


def test_undeclared_fields_are_dropped() -> None:
    assert "evil" not in admitted(evil=1) and "evil" not in admitted(pairs=[row(evil=1)])["pairs"][0]


def test_a_large_mesh_has_every_pair_once() -> None:
    endpoints = {f"h{number}": f"10.0.{number // 250}.{number % 250 + 1}" for number in range(150)}
    connections = read_connections([{"name": "mesh", "endpoints": endpoints}])
    found = list(pairs_of(connections, endpoints))
    rows: dict[str, list[t.Any]] = {name: [] for name in endpoints}
    for number, pair in enumerate(found):
        for name in pair.hosts:
            rows[name].append(row(name=pair.keys[0], fingerprints=[f"{number:016x}"]))
    hosts = {name: host_of(name, FILE, answer(pairs=rows[name]), offset=0.0) for name in endpoints}
    made = report.make(Fleet(hosts, tuple(found), {}), MADE)
    assert len(made["pairs"]) == len(found) == 150 * 149 // 2 and made["findings"] == []


def test_one_answer_is_not_shared_between_hosts() -> None:
    part("file", mode="0644")(answer())
    assert answer()["file"]["mode"] == "0600" and NAME in clean().hosts["enigma"].rows
