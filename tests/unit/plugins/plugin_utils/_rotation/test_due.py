# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is due for new keys, from the keystore's records and from what hosts report."""

from __future__ import annotations

import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import IpsecError
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.facts import seconds_of
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation import completion, due, notes, rotation
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation.record import Answers
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation.rotation import Rotation

DAY = 86400
ENDS = {"ab": {"a": "192.0.2.1", "b": "192.0.2.2"}, "bc": {"b": "192.0.2.2", "c": "192.0.2.3"}}
AB, BC, CD = "192.0.2.1|192.0.2.2#0,,0", "192.0.2.2|192.0.2.3#0,,0", "192.0.2.3|192.0.2.4#0,,0"
PROMOTED = "2026-11-01T12:00:00Z"
NOW = seconds_of(PROMOTED) + 30 * DAY


def run(
    answers: dict[str, dict[str, t.Any]],
    limits: t.Mapping[str, t.Any] | None = None,
    rows: t.Mapping[str, dict[str, t.Any]] | None = None,
    when: str = due.DUE,
) -> Rotation:
    """A run of two connections whose keys are 30 days old. Hosts hold them, and answer so besides."""
    expected = {
        "connections": [
            {
                "name": name,
                "endpoints": ends,
                "outcome": "kept",
                "phase": "steady",
                "current": 1,
                "age": 30 * DAY,
                "promoted": PROMOTED,
                "counter_mode": False,
                "anti_replay": False,
                **(rows or {}).get(name, {}),
            }
            for name, ends in ENDS.items()
        ],
        "hosts": {host: {"left_behind": [], "connections": []} for host in "abc"},
        "held": {AB: "1", BC: "2"},
    }
    state = {
        "wide": {
            "when": when,
            "due": dict(limits or {}),
            "strategy": "overlap",
            "allow_static_counter_mode": False,
        },
        "own": {
            host: {"file": "/k", "timeout": 0, "backend": "auto", "policies": False, "boot": False} for host in "abc"
        },
        "digest_key": "00",
        "expected": expected,
    }
    held = {"held": dict(expected["held"])}
    return Rotation(
        state,
        lambda step, host: Answers({rotation.PREFLIGHT: {**held, **answers.get(host, {})}}, NOW - 1, NOW),
    )


def used(key: str, **numbers: int) -> dict[str, t.Any]:
    return {"usage": {key: numbers}}


def test_fresh_keys_are_not_due() -> None:
    assert due.reasons(run({"a": used(AB, age=30 * DAY, packets=2**20, packets_percent=1, bytes=2**40)})) == {}


@pytest.mark.parametrize(
    ("limits", "answer", "part"),
    [
        ({"age": "30d"}, {}, "30 days old"),
        ({"age": "720h"}, {}, "30 days old"),
        ({"age": "31d"}, {}, None),
        ({"age": "0"}, {}, None),
        ({}, used(AB, packets=2**31, packets_percent=50), "a: an SA has used 2147483648 packets, 50 % of its limit"),
        ({}, used(AB, packets=2**31, packets_percent=49), None),
        ({"packets": "1000"}, used(AB, packets=1000), "a: an SA has used 1000 packets, 0 % of its limit"),
        ({"packets": "0"}, used(AB, packets_percent=100), None),
        ({}, used(AB, bytes=700, bytes_percent=70), "a: an SA has used 700 bytes, 70 % of its limit"),
        ({"bytes": "700"}, used(AB, bytes=700), "a: an SA has used 700 bytes"),
        ({}, used(AB, seconds_percent=60), "a: 60 % of an SA's lifetime has passed"),
        ({}, used(AB, blocks64=2**20), "a: an SA has encrypted 1048576 blocks of 64 bits"),
        ({}, used(AB, blocks64=2**20 - 1), None),
        ({"blocks64": "1%"}, used(AB, blocks64=2**26), "a: an SA has encrypted 67108864 blocks of 64 bits"),
        ({"blocks64": "1%"}, used(AB, blocks64=2**25), None),
        ({}, used(AB, age=3 * DAY), "a: an SA was loaded again 3 days ago, so its counters restarted"),
        ({}, used(AB, age=30 * DAY - 50), None),
        ({"reloaded": False}, used(AB, age=3 * DAY), None),
        ({}, {"asked": [AB]}, "a: its boot service asked for new keys"),
    ],
)
def test_each_limit_applies_by_itself(limits: dict[str, t.Any], answer: dict[str, t.Any], part: str | None) -> None:
    found = due.reasons(run({"a": answer}, limits))
    if limits.get("age", "0") != "0" and part:
        assert found == {"ab": [part], "bc": [part]}
    else:
        assert found == ({"ab": [part]} if part else {})


def test_lost_keys_that_must_not_be_loaded_again_are_due() -> None:
    rows = {"ab": {"anti_replay": True}}
    assert due.reasons(run({"a": {"held": {}}}, rows=rows)) == {
        "ab": ["a: it lost its SAs, whose keys must not be loaded again"]
    }
    assert due.reasons(run({"a": {"held": {}}})) == {}


def test_what_gets_new_keys_anyway_is_not_reported_as_due() -> None:
    answers = {"a": {**used(AB, packets_percent=99), "asked": [AB]}}
    for outcome in ("made", "resumed"):
        found = run(answers, rows={"ab": {"outcome": outcome}})
        assert due.reasons(found) == {} and due.requests(found) == {}


numbers = st.dictionaries(
    st.sampled_from(["age", "packets", "packets_percent", "bytes", "bytes_percent", "seconds_percent", "blocks64"]),
    st.integers(0, 2**64 - 1),
)
answers = st.fixed_dictionaries(
    {
        "usage": st.dictionaries(st.sampled_from([AB, BC, CD]), numbers),
        "asked": st.lists(st.sampled_from([AB, BC, CD])),
        "held": st.dictionaries(st.sampled_from([AB, BC, CD]), st.text(max_size=3)),
    }
)


@given(answers, st.booleans())
def test_a_host_can_only_cause_new_keys_for_its_own_connections(answer: dict[str, t.Any], window: bool) -> None:
    rows = {name: {"anti_replay": window} for name in ENDS}
    assert due.reasons(run({"a": answer}, rows=rows)).keys() <= {"ab"}
    assert due.reasons(run({"c": answer}, rows=rows)).keys() <= {"bc"}


@pytest.mark.parametrize(
    ("asked", "changed", "removed"),
    [
        ([AB], ("ab",), True),
        ([AB, BC], ("ab", "bc"), True),
        ([AB, BC], ("ab",), False),
        ([AB, CD], ("ab", "bc"), False),
        ([], ("ab", "bc"), False),
    ],
)
def test_the_mark_goes_when_all_its_sas_have_new_keys(
    asked: list[str], changed: tuple[str, ...], removed: bool
) -> None:
    rows = {name: {"outcome": "made", "phase": "retiring"} for name in changed}
    found = run({"b": {"asked": asked}}, rows=rows, when=due.ASKED)
    *dummy, question = completion.persist(found, "b")
    assert ("/var/lib/ipseckey/rotation-due" in question.options["others"]) == removed
    *dummy, question = completion.persist(found, "a")
    assert question.options["others"] == ["/k.previous", "/k.replaced"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("age", "soon"),
        ("age", "30 days"),
        ("packets", "0%"),
        ("packets", "101%"),
        ("bytes", "1G"),
        ("lifetime", "500"),
        ("blocks64", "-1"),
    ],
)
def test_a_wrong_limit_is_named(name: str, value: str) -> None:
    with pytest.raises(IpsecError, match=f"^rotate_due.{name}: '{value}' is not valid. Write .*, or 0 for never."):
        due.read({name: value})


def test_unknown_names_and_types_are_refused_together() -> None:
    with pytest.raises(IpsecError) as caught:
        due.read({"days": 30, "reloaded": [], "age": ["30d"]})
    assert [error.place for error in caught.value.problems] == ["rotate_due", "rotate_due.age", "rotate_due.reloaded"]
    assert "unknown name 'days'. Known here: age, packets, bytes, lifetime, blocks64, reloaded." in str(caught.value)


def test_every_limit_can_be_switched_off() -> None:
    off = due.read({**dict.fromkeys(due.DEFAULTS, "0"), "reloaded": False})
    assert off == due.Limits(0, *[due.Amount()] * 4, reloaded=False)


def test_what_is_due_is_said_once_for_each_reason() -> None:
    found = run({})
    assert notes.due(found, {}) == ["No connection is due for new keys."]
    assert notes.due(found, {"ab": ["30 days old", "a: used"], "bc": ["30 days old"]}) == [
        "connections ab, bc get new keys: 30 days old",
        "connection ab gets new keys: a: used",
    ]
    many = {f"c{number}": ["30 days old"] for number in range(1000)}
    assert notes.due(found, many) == ["connections c0, c1, c2, c3, c4 and 995 more get new keys: 30 days old"]
    assert notes.due(run({}, when=due.ASKED), many) == []


def test_a_request_that_the_run_does_not_answer_is_a_warning() -> None:
    (warning,) = notes.requests(run({"b": {"asked": [BC]}}, when=due.ASKED))
    assert (
        warning.startswith("connection bc: its keys were loaded again at boot on b, ") and "rotate_when: due" in warning
    )
    assert notes.requests(run({"b": {"asked": [BC]}})) == []
