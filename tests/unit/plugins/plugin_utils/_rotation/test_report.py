# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run says about each connection, and the JSON document."""

from __future__ import annotations

import json
import pathlib
import typing as t

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation import policies, report, rollback, rotation
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation.record import Answers
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation.report import Gap, Packets
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation.rotation import Rotation
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation.table import changes, forecast, table
from ansible_collections.ipsec.manual.tests.unit.plugins.plugin_utils._rotation.test_steps import (
    Result,
    World,
    anything,
    rotate,
    runs,
    state,
    states,
    truth,
)

TOP = pathlib.Path(report.__file__).resolve().parents[3]
SCHEMA = json.loads((TOP / "docs/docsite/rst/rotation_report.schema.json").read_text(encoding="utf-8"))
CHECKER = jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker())
NOW = "2026-11-27T21:00:00Z"


def validate(rows: t.Sequence[report.Row], phase: str = "", problems: t.Sequence[str] = ()) -> Result:
    found = json.loads(json.dumps(report.document(rows, NOW, NOW, False, phase, problems), allow_nan=False))
    CHECKER.validate(found)
    return t.cast(Result, found)


def test_the_schema_is_a_schema_and_names_the_same_states() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    properties = SCHEMA["$defs"]["connection"]["properties"]
    assert set(properties["state"]["enum"]) == set(report.STATES)
    assert SCHEMA["properties"]["format"]["const"] == report.FORMAT
    assert list(properties) == SCHEMA["$defs"]["connection"]["required"] == list(report.Row._fields)


def run_of(strategy: str = "overlap", **more: t.Any) -> Rotation:
    """An honest run that went on to the end."""
    world = World(state(False, True, 0.0, strategy), lambda step, host, question: truth(host, question))
    rotate(world, lambda world, step, problems: pytest.fail(f"{step}: {problems}") if problems else None)
    world.state.update({"approved": True, "promoted": True, **more})
    return world.run


def test_a_rotation_without_a_gap_says_what_was_proven() -> None:
    rows = report.rows_of(run_of(), check_mode=False)
    assert [(row.name, row.old, row.new, row.state, row.strategy) for row in rows] == [
        ("ab", 3, 4, "rotated", "overlap"),
        ("bc", 3, 4, "rotated", "overlap"),
    ]
    assert all(row.gap == Gap(0.0, 0.0) and not row.to_do for row in rows)
    assert rows[0].packets == Packets(6, 6)
    assert validate(rows)["outcome"] == "changed"


def test_a_run_that_stopped_says_what_is_left() -> None:
    run = run_of(approved=False, promoted=False, switching=False)
    # An earlier run had begun to switch the other connection.
    run.expected["connections"][0]["phase"] = "prepared"
    before = report.rows_of(run, check_mode=False)
    assert [(row.name, row.state) for row in before] == [("bc", "unfinished"), ("ab", "not begun")]
    after = report.rows_of(run_of(promoted=False), check_mode=False)
    assert {row.state for row in after} == {"unfinished"} and all(row.to_do == ["run again"] for row in after)
    assert validate(after, "persist", ["a: disk full"])["outcome"] == "failed"


def test_check_mode_says_what_would_change_on_each_host() -> None:
    run = run_of(promoted=False, switching=False)
    for host in ("a", "b"):
        run.answers(rotation.PREFLIGHT, host).results[rotation.PREFLIGHT]["held"] = {}
    rows = report.rows_of(run, check_mode=True)
    assert all(row.state == "due" for row in rows)
    by_name = {row.name: row.changes for row in rows}
    assert by_name == {"ab": {"a": ["the SADB"], "b": ["the SADB"]}, "bc": {"b": ["the SADB"]}}
    assert forecast(rows, "a", []) == ["ab: generation 3 -> 4, in the SADB"]
    assert forecast(rows, "b", ["/f.next"])[1:] == [
        "bc: generation 3 -> 4, in the SADB",
        "leftovers of an interrupted run: /f.next",
    ]
    assert forecast(rows, "c", []) == []
    assert changes(rows, {"a", "b"}, [], check_mode=True) == "ab, bc, on 2 hosts, none of it in check mode"
    many = [rows[0]._replace(name=f"mesh/a,{number}", connection="mesh") for number in range(49)]
    assert forecast(many, "a", []) == ["mesh, 49 pairs: generation 3 -> 4, in the SADB"]


def test_a_heading_says_what_changes() -> None:
    (row,) = (row for row in report.rows_of(run_of(), check_mode=False) if row.name == "ab")
    same = row._replace(state="unchanged", connection="other")
    rows = [same, *(row._replace(connection=name) for name in ("d", "a", "c", "b", "a"))]
    assert changes(rows[:1], [], [], check_mode=False) == changes(rows[:1], [], [], check_mode=True) == "none"
    assert changes(rows[:2], ["a"], [], check_mode=False) == "d, on 1 host"
    assert (
        changes(rows, ["a", "b"], ["c"], check_mode=False) == "a, b, c and 1 more, on 2 hosts, and what left, on 1 host"
    )
    assert changes(rows[:1], ["a"], [], check_mode=False) == "leftovers of an interrupted run, on 1 host"
    assert changes(rows[:1], [], ["a", "b"], check_mode=False) == "what left, on 2 hosts"


def test_hosts_without_their_policies_are_left_to_do() -> None:
    run = run_of()
    run.answers(rotation.PERSIST, "c").results[policies.SERVICE] = {"failed": True, "msg": "no"}
    rows = {row.name: row for row in report.rows_of(run, check_mode=False)}
    assert rows["bc"].to_do == ["policies, or loading them at boot, on c"] and not rows["ab"].to_do


@given(
    st.tuples(st.floats(0, 10), st.floats(0, 10)),
    st.tuples(st.floats(-5, 5), st.floats(-5, 5)),
    st.lists(st.floats(0.001, 3), min_size=8, max_size=8),
)
def test_the_gap_is_at_most_what_the_run_reports(
    moments: tuple[float, float], ahead: tuple[float, float], waits: list[float]
) -> None:
    """Two hosts change at known moments; the controller knows when it asked and was answered."""
    answers: dict[tuple[str, str], Answers] = {}
    for host, moment, clock, wait in zip("ab", moments, ahead, (waits[:4], waits[4:])):
        checked = {rotation.PREFLIGHT: {"epoch": 100 + clock}}
        answers[rotation.PREFLIGHT, host] = Answers(checked, 100 - wait[0], 100 + wait[1])
        applied = {"began": 200 + moment + clock, "ended": 200 + moment + clock}
        cut = Answers({"sadb": {"applied": applied}}, 200 + moment - wait[2], 200 + moment + wait[3])
        answers[rotation.CUT_OVER, host] = cut
    run = Rotation(state(False, True, 0.0, "flush"), lambda step, host: answers.get((step, host), Answers({})))
    gap = report._gap(report._moments(run), ["a", "b"])
    true = abs(moments[0] - moments[1]) * 1000
    assert gap.at_most is not None and gap.by_clocks is not None
    assert gap.at_most >= true - 0.2
    if ahead[0] == ahead[1]:
        assert abs(gap.by_clocks - true) < 0.2


def test_a_gap_is_unknown_if_a_host_did_not_change_in_this_run() -> None:
    rows = report.rows_of(run_of("flush"), check_mode=False)
    assert all(row.gap == Gap() and row.why == "rotate_strategy is flush" for row in rows)
    assert any("flush, unknown" in line for line in table(rows, finished=True))
    validate(rows)


@runs
@given(states, st.data())
def test_whatever_hosts_answer_the_report_is_complete(state: Result, data: st.DataObject) -> None:
    world = World({**state, "approved": False}, anything(data))

    def check(world: World, step: str, problems: t.Sequence[str]) -> None:
        if step == rotation.PREFLIGHT and problems:
            return
        world.state["approved"] = not problems and step in (rotation.CUT_OVER, rotation.PERSIST)
        rows = report.rows_of(world.run, check_mode=False)
        assert sorted(row.name for row in rows) == ["ab", "bc"]
        validate(rows, step, problems)
        assert all(line.isprintable() for line in table(rows, not problems, policies.changed(world.run)))
        if problems and step == rotation.CUT_OVER:
            assert all(row.state != "went back" or rollback.ways_back(world.run) for row in rows)

    rotate(world, check)
