# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation import decisions, probes

OK = {"changed": True}
SAME = {"changed": False}
FAILED = {"failed": True, "msg": "the kernel\nrefused"}
LATE = {"failed": True, "timedout": {"period": 120}, "msg": "Timed out after 120 second(s)."}
GONE = {"unreachable": True, "msg": "timed out", "changed": False}
SKIPPED = {"skipped": True, "changed": False}

EXPECTED: dict[str, t.Any] = {
    "connections": [
        {
            "name": "pair",
            "generation": 4,
            "outcome": "made",
            "phase": "prepared",
            "counter_mode": False,
            "anti_replay": False,
            "endpoints": {"a": "192.0.2.1", "b": "192.0.2.2"},
        },
        {
            "name": "gcm",
            "generation": 2,
            "outcome": "kept",
            "phase": "steady",
            "counter_mode": True,
            "anti_replay": False,
            "endpoints": {"b": "192.0.2.2", "c": "192.0.2.3"},
        },
    ],
    "hosts": {
        "a": {"addresses": ["192.0.2.1"], "left_behind": []},
        "b": {"addresses": ["192.0.2.2"], "left_behind": []},
        "c": {"addresses": ["192.0.2.3"], "left_behind": []},
    },
    "digest": {"192.0.2.1|192.0.2.2": "11", "192.0.2.2|192.0.2.3": "22"},
    "held": {"192.0.2.1|192.0.2.2#0,,0": "11", "192.0.2.2|192.0.2.3#0,,0": "22"},
    "stored": {"192.0.2.1|192.0.2.2": "11"},
    "before": {},
}
SWITCHED = {
    **EXPECTED,
    "connections": [
        {**row, "phase": "switching" if row["phase"] == "prepared" else row["phase"]} for row in EXPECTED["connections"]
    ],
}


def check(held: t.Any, digest: t.Any, leftovers: t.Sequence[str] = ()) -> dict[str, t.Any]:
    return {"held": held, "file": {"path": "/f", "digest": digest}, "leftovers": list(leftovers)}


RIGHT = {
    "a": check(
        {"192.0.2.1|192.0.2.2#0,,0": "11", "192.0.2.1|192.0.2.2#9,,0": "somebody else's"},
        {"192.0.2.1|192.0.2.2": "11", "other": "file"},
    ),
    "b": check(EXPECTED["held"], EXPECTED["stored"]),
    "c": check({"192.0.2.2|192.0.2.3#0,,0": "22"}, {}),
}


def test_hosts_with_the_expected_sas_are_in_place() -> None:
    assert decisions.in_place(RIGHT, EXPECTED) == []


@pytest.mark.parametrize(
    ("host", "result", "message"),
    [
        ("a", check({}, EXPECTED["stored"]), "a: the SADB"),
        ("a", check({"192.0.2.1|192.0.2.2#0,,0": "12"}, EXPECTED["stored"]), "a: the SADB"),
        ("a", check(EXPECTED["held"], {}), "a: /f"),
        ("c", check({}, {}), "c: the SADB"),
        ("c", check(EXPECTED["held"], {}, ["/f.next"]), "c: /f.next"),
    ],
)
def test_missing_or_wrong_sas_are_named(host: str, result: t.Any, message: str) -> None:
    assert decisions.in_place({**RIGHT, host: result}, EXPECTED) == [message]


def test_lost_counter_mode_keys_are_not_loaded_again() -> None:
    nothing = check({}, {})
    assert decisions.reload_problems({**RIGHT, "a": nothing}, EXPECTED) == []
    # The SAs that b lost belong to the other connection.
    lost_other = check({"192.0.2.2|192.0.2.3#0,,0": "22"}, {})
    assert decisions.reload_problems({**RIGHT, "b": lost_other}, EXPECTED) == []
    (problem,) = decisions.reload_problems(dict.fromkeys("abc", nothing), EXPECTED)
    assert problem.startswith("connection gcm uses a counter mode, and b, c lost its keys.")
    window = {
        **EXPECTED,
        "connections": [{**row, "counter_mode": False, "anti_replay": True} for row in EXPECTED["connections"]],
    }
    (problem,) = decisions.reload_problems(dict.fromkeys("abc", nothing), window)
    assert problem.startswith("connection gcm uses anti-replay, and b, c lost its keys.")
    made = {**EXPECTED, "connections": [{**row, "outcome": "made"} for row in EXPECTED["connections"]]}
    assert decisions.reload_problems(dict.fromkeys("abc", nothing), made) == []


def test_each_failure_is_one_line() -> None:
    assert decisions.task_problems({"b": FAILED, "a": GONE, "c": OK, "d": SKIPPED}) == [
        "a: unreachable (timed out)",
        "b: the kernel refused",
    ]


def test_agreement_is_with_the_keystore() -> None:
    right = {
        "a": {"digest": {"192.0.2.1|192.0.2.2": "11"}},
        "b": {"digest": {"192.0.2.1|192.0.2.2": "11", "192.0.2.2|192.0.2.3": "22"}},
        "c": {"digest": {"192.0.2.2|192.0.2.3": "22"}},
    }
    assert decisions.agreement(right, EXPECTED) == []
    assert decisions.agreement({**right, "a": {"digest": {"192.0.2.1|192.0.2.2": "12"}}, "c": {}}, EXPECTED) == [
        "a: holds other SAs (digest 12, expected 11) between 192.0.2.1 and 192.0.2.2",
        "c: holds no SAs between 192.0.2.2 and 192.0.2.3",
    ]


def test_one_address_in_two_networks_is_two_hosts() -> None:
    """c and d have the same address and different peers."""
    first, other = EXPECTED["connections"]
    elsewhere = {**other, "name": "elsewhere", "endpoints": {"d": "192.0.2.3", "e": "192.0.2.5"}}
    expected = {
        **EXPECTED,
        "connections": [first, other, elsewhere],
        "hosts": {**EXPECTED["hosts"], "d": {"addresses": ["192.0.2.3"]}, "e": {"addresses": ["192.0.2.5"]}},
        "digest": {**EXPECTED["digest"], "192.0.2.3|192.0.2.5": "33"},
        "held": {**EXPECTED["held"], "192.0.2.3|192.0.2.5#0,,0": "33"},
    }
    theirs = {host: check({"192.0.2.3|192.0.2.5#0,,0": "33"}, {}) for host in "de"}
    assert decisions.in_place({**RIGHT, **theirs}, expected) == []
    held = {
        "a": {"digest": {"192.0.2.1|192.0.2.2": "11"}},
        "b": {"digest": EXPECTED["digest"]},
        "c": {"digest": {"192.0.2.2|192.0.2.3": "22"}},
        "d": {"digest": {"192.0.2.3|192.0.2.5": "33"}},
        "e": {"digest": {"192.0.2.3|192.0.2.5": "33"}},
    }
    assert decisions.agreement(held, expected) == []
    assert decisions.agreement({**held, "e": {}}, expected) == ["e: holds no SAs between 192.0.2.3 and 192.0.2.5"]


# A module that is killed after its netlink send returns no result.
KILLED = {"failed": True, "msg": "Module result deserialization failed: No start of json char found"}
MISSING = {"changed": False, "missing": True}
BACK = {"changed": True, "missing": False}
AT_HOME = {"changed": False, "missing": False}


PAIR, OTHER_PAIR = frozenset({"192.0.2.1", "192.0.2.2"}), frozenset({"192.0.2.2", "192.0.2.3"})
HOLDS = {"digest": EXPECTED["digest"], **OK}
HOLDS_OTHERS = {"digest": {"192.0.2.1|192.0.2.2": "99"}, **OK}


@pytest.mark.parametrize(
    ("cut", "overlap", "flush"),
    [
        (HOLDS, False, False),
        (FAILED, True, True),
        (KILLED, True, True),
        (HOLDS_OTHERS, True, True),
        (GONE, False, True),
        (LATE, False, True),
        (SKIPPED, False, True),
    ],
)
def test_the_pairs_that_go_back(cut: t.Any, overlap: bool, flush: bool) -> None:
    """With overlap, a host whose answer is lost is no reason: whatever it sends through, its peer accepts."""
    for strategy, goes_back in (("overlap", overlap), ("flush", flush)):
        answers = {"a": cut, "b": HOLDS, "c": FAILED}
        found = decisions.ways_back(SWITCHED, answers, frozenset(), decisions.gaps(SWITCHED, strategy))
        assert found == ({PAIR} if goes_back else set())


@pytest.mark.parametrize("strategy", ["overlap", "flush"])
def test_a_pair_goes_back_if_its_own_hosts_report_lost_packets(strategy: str) -> None:
    cut = dict.fromkeys("abc", HOLDS)
    for receiver, dead in (("b", True), ("", True), ("c", False)):
        lost = probes.dead_pairs(SWITCHED, [("a", "192.0.2.2", receiver)])
        assert decisions.ways_back(SWITCHED, cut, lost, decisions.gaps(SWITCHED, strategy)) == (
            {PAIR} if dead else set()
        )


@pytest.mark.parametrize("phase", ["retiring", "steady"])
def test_there_is_no_way_back_to_a_generation_that_hosts_may_have_removed(phase: str) -> None:
    expected = {**SWITCHED, "connections": [{**row, "phase": phase} for row in SWITCHED["connections"]]}
    cut = dict.fromkeys("abc", FAILED)
    gaps = [decisions.gaps(expected, strategy) for strategy in ("overlap", "flush")]
    assert not any(decisions.ways_back(expected, cut, {PAIR}, flushed) for flushed in gaps)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"multicast": ["ff02::5"]}, "its hosts share one SA"),
        ({"abandoned": True}, "was discarded"),
    ],
)
def test_connections_that_cannot_overlap_are_named_with_the_reason(change: dict[str, t.Any], reason: str) -> None:
    assert decisions.gaps(EXPECTED, "overlap") == {} and set(decisions.gaps(EXPECTED, "flush")) == {"pair", "gcm"}
    first, other = EXPECTED["connections"]
    found = decisions.gaps({**EXPECTED, "connections": [{**first, **change}, other]}, "overlap")
    assert list(found) == ["pair"] and reason in found["pair"]
    behind = {**EXPECTED["hosts"], "a": {**EXPECTED["hosts"]["a"], "left_behind": ["pair"]}}
    assert list(decisions.gaps({**EXPECTED, "hosts": behind}, "overlap")) == ["pair"]


@pytest.mark.parametrize(
    ("changing", "behind", "exchanging", "reason"),
    [
        (["reqid"], True, "ab", ""),
        (["reqid"], True, "a", "without rotate_policies"),
        (["mode"], False, "ab", "its mode or its protocols change"),
        (["protocols"], False, "ab", "with another reqid in the same run, there is no gap"),
        (["protocols", "reqid"], True, "ab", ""),
        (["other_protocols"], False, "ab", "its mode or its protocols change"),
        (["other_protocols", "reqid"], True, "ab", "its mode or its protocols change"),
        (["mode", "reqid"], True, "ab", "its mode or its protocols change"),
        (["if_id", "reqid"], True, "ab", "its endpoints, addresses, mark or if_id change"),
        (["mark"], True, "ab", ""),
        (["mark"], True, "b", "without rotate_policies"),
        (["other_mark"], True, "ab", "its endpoints, addresses, mark or if_id change"),
        (["mark", "reqid"], True, "ab", "its endpoints, addresses, mark or if_id change"),
        (["endpoints"], True, "ab", ""),
        (["endpoints"], True, "", "without rotate_policies"),
        (["endpoints", "mark"], True, "ab", "its endpoints, addresses, mark or if_id change"),
        (["endpoints", "reqid"], True, "ab", ""),
        (["endpoints", "protocols", "reqid"], True, "ab", ""),
        (["endpoints", "reqid"], True, "a", "without rotate_policies"),
        ([], False, "", ""),
    ],
)
def test_a_changed_setting_has_a_gap_unless_both_can_stand_side_by_side(
    changing: list[str], behind: bool, exchanging: str, reason: str
) -> None:
    first, other = EXPECTED["connections"]
    hosts = {**EXPECTED["hosts"], "a": {**EXPECTED["hosts"]["a"], "left_behind": ["pair"] if behind else []}}
    expected = {**EXPECTED, "hosts": hosts, "connections": [{**first, "changing": changing}, other]}
    found = decisions.gaps(expected, "overlap", set(exchanging))
    assert set(found) == ({"pair"} if reason else set()) and reason in found.get("pair", "")
    together = reason in ("", "without rotate_policies") or changing == ["mode"]
    assert decisions.moving(expected) == ({"pair"} if changing and together else set())


@pytest.mark.parametrize("changing", [["mode"], ["mode", "reqid"]])
def test_the_mode_alone_changes_without_a_gap_where_sas_of_both_can_be_nested(changing: list[str]) -> None:
    first, other = EXPECTED["connections"]
    expected = {**EXPECTED, "connections": [{**first, "changing": changing}, other]}
    names = {row["name"] for row in decisions.changing_mode(expected)}
    assert names == ({"pair"} if changing == ["mode"] else set())
    assert set(decisions.gaps(expected, "overlap", {"a", "b"}, nested=names)) == {"pair"} - names
    assert "pair" in decisions.gaps(expected, "overlap", nested=names)
    assert "pair" in decisions.gaps(expected, "flush", {"a", "b"}, nested=names)


CURRENT = {"192.0.2.2|192.0.2.3#0,,0": "21"}


@pytest.mark.parametrize(
    ("held", "left"),
    [
        ({"b": "21", "c": "21"}, set()),
        ({"b": "21"}, set()),
        ({"b": "20", "c": "21"}, {OTHER_PAIR}),  # what was discarded
        ({"b": "21", "c": "22"}, {OTHER_PAIR}),  # an earlier run took it there, and nobody knows from where
    ],
)
def test_no_pair_goes_back_where_that_may_be_a_generation_that_was_discarded(
    held: dict[str, str], left: set[decisions.Pair]
) -> None:
    """Both ends stay, since one that goes back alone would part them; and only that pair."""
    results = {host: check({"192.0.2.2|192.0.2.3#0,,0": held[host]} if host in held else {}, {}) for host in "abc"}
    abandoned = [{**row, "abandoned": row["name"] == "gcm"} for row in EXPECTED["connections"]]
    expected = {**EXPECTED, "before": CURRENT, "connections": abandoned}
    assert decisions.left_alone(results, expected) == left
    assert decisions.left_alone(results, EXPECTED) == set()


@pytest.mark.parametrize(
    ("outcome", "phase", "hosts"),
    [
        ("resumed", "switching", ["a", "b"]),
        ("resumed", "prepared", ["a", "b"]),
        ("made", "prepared", []),
        ("kept", "steady", []),
    ],
)
def test_only_a_run_that_may_have_cut_over_is_resumed_with_its_backups(
    outcome: str, phase: str, hosts: list[str]
) -> None:
    first, other = EXPECTED["connections"]
    assert (
        decisions.resumed_hosts({**EXPECTED, "connections": [{**first, "outcome": outcome, "phase": phase}, other]})
        == hosts
    )


@pytest.mark.parametrize(
    ("cut", "back", "state"),
    [
        (OK, BACK, "before"),
        (OK, AT_HOME, "before"),
        (OK, FAILED, "next"),
        (OK, GONE, "unknown"),  # it may have gone back, and its answer is lost
        (OK, SKIPPED, "next"),
        (FAILED, MISSING, "before"),
        (FAILED, AT_HOME, "before"),
        (FAILED, FAILED, "unknown"),
        (KILLED, BACK, "before"),
        (KILLED, GONE, "unknown"),
        (KILLED, MISSING, "before"),
        (GONE, GONE, "unknown"),
        (GONE, FAILED, "unknown"),
        (GONE, BACK, "before"),
        (GONE, MISSING, "unknown"),  # it may still be working
        (LATE, LATE, "unknown"),
        (LATE, BACK, "before"),
        (SAME, MISSING, "before"),
        (OK, MISSING, "next"),  # it switched, and its backup is gone
    ],
)
def test_the_states_of_hosts_after_a_rollback(cut: t.Any, back: t.Any, state: str) -> None:
    assert decisions.host_states({"a": cut}, {"a": back}) == {"a": state}


def test_a_host_learns_only_its_own_pairs() -> None:
    assert decisions.held_by(EXPECTED, "a") == {"192.0.2.1|192.0.2.2#0,,0": "11"}
    assert decisions.held_by(EXPECTED, "b") == EXPECTED["held"]


def test_a_leftover_is_found_however_the_host_writes_its_path() -> None:
    """The host expands `~` and variables in paths, the controller does not."""
    assert decisions.leftover({"leftovers": ["/root/k/ipseckeys.previous"]}, ".previous")
    assert not decisions.leftover({"leftovers": ["/root/k/ipseckeys.next"]}, ".previous") and not decisions.leftover(
        {}, ".previous"
    )


def test_a_file_with_other_sas_than_those_staged_is_named() -> None:
    """Another run has staged its file between cut-over and persist."""
    right = {
        "a": {"path": "/f", "digest": EXPECTED["stored"]},
        "b": {"path": "/f", "digest": {**EXPECTED["stored"], "of others": "99"}},
        "c": {"digest": {}},
    }
    assert decisions.file_problems(right, EXPECTED) == []
    (problem,) = decisions.file_problems(
        {**right, "b": {"path": "/f", "digest": {"192.0.2.1|192.0.2.2": "12"}}}, EXPECTED
    )
    assert problem.startswith("b: its file /f does not hold the SAs that this run staged")
