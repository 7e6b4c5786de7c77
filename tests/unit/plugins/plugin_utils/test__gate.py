# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The gate passes on a host's answer without anything undeclared, or replaces it by a failure that
says where it is malformed.
"""

from __future__ import annotations

import copy
import importlib
import json
import time
import typing as t
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ipsec.manual.plugins.plugin_utils import _gate
from ansible_collections.ipsec.manual.plugins.plugin_utils._answers import ANSWERS, MANY, Fields
from ansible_collections.ipsec.manual.plugins.plugin_utils._gate import admit, admit_all
from ansible_collections.ipsec.manual.plugins.plugin_utils._secret_action import HostAction
from ansible_collections.ipsec.manual.tests.unit.plugins.returns import honest

MODULES = Path(__file__).resolve().parents[4] / "plugins" / "modules"
BY_ANSIBLE = {"changed", "failed", "msg", "warnings", "deprecations", "diff"}
# Keys that make an answer malformed: no mistake could produce them, and Ansible would obey them.
OBEYED: dict[str, t.Any] = {
    "ansible_facts": {"ansible_host": "198.51.100.66"},
    "add_host": {"host_name": "evil", "groups": ["all"]},
    "add_group": "evil",
}
# Further keys that Ansible would obey, or show as its own.
ORDERS: dict[str, t.Any] = {
    "_ansible_no_log": False,
    "_ansible_delegated_vars": {"ansible_host": "198.51.100.66"},
    "_ansible_facts_cacheable": True,
    "_ansible_verbose_always": True,
    "ansible_stats": {"data": {"evil": 1}},
    "ansible_job_id": "../../evil",
    "invocation": {"module_args": {}},
    "results": [],
    "skipped": True,
    "unreachable": True,
    "timedout": {"period": 1},
    "exception": "Traceback",
    "stdout": "evil",
    "rc": 1,
    "nobody_declared_this": 1,
}

everything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.from_regex(r"0x[0-9a-f]{8}", fullmatch=True),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def places(value: t.Any, path: tuple[t.Any, ...] = ()) -> t.Iterator[tuple[t.Any, ...]]:
    """The path to every part of an answer."""
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield (*path, key)
        yield from places(value[key], (*path, key))


def changed(answer: dict[str, t.Any], path: tuple[t.Any, ...], value: t.Any) -> dict[str, t.Any]:
    found = copy.deepcopy(answer)
    inner: t.Any = found
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return found


def expect_admissible(module: str, admitted: dict[str, t.Any]) -> None:
    """Expect nothing undeclared, only JSON, and no terminal control characters."""
    json.loads(json.dumps(admitted, allow_nan=False))
    assert set(admitted) <= BY_ANSIBLE | set(ANSWERS[module])
    expect_declared(ANSWERS[module], admitted)
    assert isinstance(admitted["changed"], bool)
    if admitted.get("failed"):
        assert admitted["msg"]
    for text in texts(admitted):
        assert all(sign.isprintable() or sign == "\n" for sign in text)
    assert admit(module, admitted) == admitted


def expect_declared(fields: Fields, value: dict[str, t.Any]) -> None:
    for name, field in fields.items():
        if value.get(name) is None:
            assert name not in value or field.nullable
            continue
        if field.contains:
            assert set(value[name]) <= set(field.contains)
            expect_declared(field.contains, value[name])
        if field.type == "list" and field.elements is not None and field.elements.contains:
            for part in value[name]:
                assert set(part) <= set(field.elements.contains)
                expect_declared(field.elements.contains, part)


def texts(value: t.Any) -> t.Iterator[str]:
    if isinstance(value, str):
        yield value
    for part in (*value, *value.values()) if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from texts(part)


@pytest.mark.parametrize("module", ANSWERS)
def test_an_honest_answer_passes_and_orders_to_ansible_do_not(module: str) -> None:
    answer = {**honest(module), "warnings": ["a warning"], "diff": {"before": "a\n", "after": "b\n"}}
    assert admit(f"ipsec.manual.{module}", {**answer, **ORDERS}) == admit(module, answer) == answer
    for order, value in OBEYED.items():
        refused = admit(module, {**answer, order: value})
        assert (
            set(refused) == {"failed", "changed", "msg"}
            and refused["failed"]
            and f"malformed: {order} " in refused["msg"]
        )


@pytest.mark.parametrize("module", ANSWERS)
@given(st.data())
def test_anything_at_any_place_is_admitted_or_malformed(module: str, data: st.DataObject) -> None:
    answer = honest(module)
    path = data.draw(st.sampled_from([*places(answer), *((name,) for name in (*BY_ANSIBLE, *ORDERS, *OBEYED))]))
    expect_admissible(module, admit(module, changed(answer, path, data.draw(everything))))


@given(
    st.sampled_from(sorted(ANSWERS)),
    everything | st.dictionaries(st.sampled_from([*BY_ANSIBLE, "spis", "sas", "digest"]), everything),
)
def test_any_answer_at_all_is_admitted_or_malformed(module: str, answer: t.Any) -> None:
    expect_admissible(module, admit(module, answer))


BATCH = ["ipseckeys_file", "ipsec_sadb"]


def test_a_batch_has_the_answers_of_its_modules_and_nothing_else() -> None:
    honest_answers = [{**honest(module), "warnings": [module], "diff": {"before": module}} for module in BATCH]
    found = admit_all(BATCH, {"changed": False, "answers": honest_answers, **ORDERS, "msg": "evil"})
    assert found["answers"] == honest_answers and set(found) == {"changed", "warnings", "diff", "answers"}
    assert found["warnings"] == BATCH and [part["before"] for part in found["diff"]] == BATCH


def test_a_batch_ends_with_the_first_failure() -> None:
    refused = {"failed": True, "msg": "no"}
    found = admit_all(BATCH, {"changed": False, "answers": [refused, honest("ipsec_sadb")]})
    assert len(found["answers"]) == 1 and found["failed"] and "no" in found["msg"]


@pytest.mark.parametrize(
    "answer",
    [
        [],
        {},
        {"answers": {}},
        {"answers": [honest("ipseckeys_file")]},
        {"answers": [honest(module) for module in (*BATCH, "ipsec_sadb")]},
        {"answers": [], "ansible_facts": {}},
        {"failed": True, "msg": "no", "answers": []},
    ],
)
def test_a_batch_without_one_answer_to_each_question_is_a_failure(answer: t.Any) -> None:
    found = admit_all(BATCH, answer)
    assert found["failed"] and found["msg"] and "answers" not in found


@given(everything | st.fixed_dictionaries({"answers": everything | st.lists(everything, max_size=3)}))
def test_any_answer_to_a_batch_is_admitted_or_malformed(answer: t.Any) -> None:
    found = admit_all(BATCH, answer)
    json.loads(json.dumps(found, allow_nan=False))
    answers = found.get("answers", [])
    assert found.get("failed") or len(answers) == len(BATCH)
    for module, part in zip(BATCH, answers):
        expect_admissible(module, part)


@pytest.mark.parametrize("module", ANSWERS)
def test_required_fields_of_a_success_must_be_present(module: str) -> None:
    for name in ("changed", *(name for name, field in ANSWERS[module].items() if not field.optional)):
        answer = honest(module)
        del answer[name]
        assert f"its answer is malformed: {name} is missing." in admit(module, answer)["msg"]
        assert admit(module, {"failed": True, "msg": "no such file"}) == {
            "failed": True,
            "changed": False,
            "msg": "no such file",
        }


@pytest.mark.parametrize(
    ("module", "path", "value", "message"),
    [
        ("ipsec_preflight", ("spis",), ["0x00001000", "zzz"], "spis[1] cannot be 'zzz'."),
        ("ipsec_preflight", ("spis",), ["0x00001000\n"], "spis[0] cannot be '0x00001000\\\\n'."),
        ("ipsec_preflight", ("spis",), {}, "spis is a dictionary, not a list."),
        ("ipsec_preflight", ("spis",), ["0x00001000"] * (MANY + 1), "spis has 100001 items, more than 100000."),
        ("ipsec_preflight", ("epoch",), float("nan"), "epoch is out of range, 0 to 253402300799."),
        ("ipsec_preflight", ("epoch",), float("inf"), "epoch is out of range, 0 to 253402300799."),
        ("ipsec_preflight", ("epoch",), True, "epoch is a boolean, not a number."),
        ("ipsec_preflight", ("file", "sas"), 1 << 64, "file.sas is out of range, 0 to 4294967295."),
        (
            "ipsec_preflight",
            ("file", "digest"),
            {"192.0.2.1": "5f0c1d6c7e2b9a40"},
            "file.digest has an invalid key, '192.0.2.1'.",
        ),
        (
            "ipsec_preflight",
            ("held",),
            {"192.0.2.1|192.0.2.2#0,,0": "{{ 1 }}"},
            "held['192.0.2.1|192.0.2.2#0,,0'] cannot be '{{ 1 }}'.",
        ),
        ("ipsec_probe", ("sent", 0, "after"), {}, "sent[0].after is a dictionary, not an integer."),
        (
            "ipsec_sa_info",
            ("sas", 0, "counters", "bytes"),
            -1,
            "sas[0].counters.bytes is out of range, 0 to 18446744073709551615.",
        ),
        (
            "ipsec_sa_info",
            ("sas", 0, "spi"),
            "5ec4e7d05ec4e7d0",
            "sas[0].spi cannot be (a word of 16 characters, hidden since it may be a key).",
        ),
        ("ipsec_sa_info", ("keys_hidden",), 0, "keys_hidden is an integer, not a boolean."),
        ("ipseckeys_file", ("path",), "/" * 5000, "path has 5000 characters, more than 4096."),
        ("ipseckeys_file", ("failed",), "yes", "failed is a string, not a boolean."),
        ("ipseckeys_file", ("warnings",), [None], "warnings is null, not a string."),
        ("ipseckeys_file", ("diff",), [[]], "diff is a list, not a dictionary."),
    ],
)
def test_the_problem_and_its_place_are_named(module: str, path: tuple[t.Any, ...], value: t.Any, message: str) -> None:
    assert admit(module, changed(honest(module), path, value))["msg"].startswith(
        f"ipsec.manual.{module}: its answer is malformed: {message} "
    )


def test_a_value_that_is_not_an_answer_is_malformed() -> None:
    assert "its answer is malformed: it is a list, not a dictionary." in admit("ipsec_sadb", [])["msg"]
    assert "its answer is malformed: it is null, not a dictionary." in admit("ipsec_sadb", None)["msg"]


def test_terminal_control_characters_are_made_visible() -> None:
    evil = "\x1b[2J\x9b1m\u202egnol\u2028\ud8f3\x00 \r\nPLAY RECAP"
    answer = admit("ipseckeys_file", {**honest("ipseckeys_file"), "owner": evil, "msg": evil, "warnings": [evil]})
    seen = "\\x1b[2J\\x9b1m\\u202egnol\\u2028\\ud8f3\\x00 \\r"
    assert answer["owner"] == f"{seen}\\nPLAY RECAP"
    assert answer["msg"] == answer["warnings"][0] == f"{seen}\nPLAY RECAP"


def test_warnings_of_each_ansible_core_become_their_texts() -> None:
    event = {
        "event": {"msg": "new", "formatted_traceback": "evil", "__ansible_type": "Event"},
        "__ansible_type": "WarningSummary",
    }
    answer = admit(
        "ipseckeys_file",
        {
            **honest("ipseckeys_file"),
            "warnings": ["old", event],
            "deprecations": [event, {"msg": "old", "version": "3"}],
        },
    )
    assert (answer["warnings"], answer["deprecations"]) == (["old", "new"], [{"msg": "new"}, {"msg": "old"}])


def test_long_reports_are_cut() -> None:
    answer = admit("ipsec_sadb", {"failed": True, "msg": "x" * 30_000, "warnings": ["y" * 3000] * 500})
    assert answer["msg"] == "x" * _gate.LONGEST_MESSAGE + "... (10000 more characters)"
    assert answer["warnings"] == ["y" * _gate.LONGEST_WARNING + "... (1000 more characters)"] * _gate.MOST_WARNINGS + [
        "(400 more warnings)"
    ]


def test_the_time_grows_with_the_answer_alone() -> None:
    """Eight times as many SPIs, pairs and SAs take eight times as long, not 64 times, with
    some tolerance for a busy machine.
    """

    def seconds(size: int) -> float:
        spis = {**honest("ipsec_preflight"), "spis": [f"0x{number:08x}" for number in range(size)]}
        spis["held"] = {
            f"192.0.2.1|10.0.{number >> 8}.{number & 255}#0,,0": "5f0c1d6c7e2b9a40" for number in range(size)
        }
        sas = {**honest("ipsec_sa_info"), "sas": [honest("ipsec_sa_info")["sas"][0]] * (size // 16)}
        start = time.process_time()
        assert "failed" not in admit("ipsec_preflight", spis) and "failed" not in admit("ipsec_sa_info", sas)
        return time.process_time() - start

    assert min(seconds(32_000) for dummy in range(3)) < 24 * min(seconds(4_000) for dummy in range(3)) + 0.05


def test_each_module_that_runs_on_hosts_has_an_action_built_on_the_gate() -> None:
    sources = {path.stem: path.read_text(encoding="utf-8") for path in MODULES.glob("ipsec*.py")}
    assert (
        {name for name, text in sources.items() if "def main(" in text}
        == {*ANSWERS, "ipsec_batch"}
        == set(sources)
        - {"ipsec_audit_report", "ipsec_fleet", "ipsec_keystore", "ipsec_keystore_info", "ipsec_rotation"}
    )
    for module in ANSWERS:
        found = importlib.import_module(f"ansible_collections.ipsec.manual.plugins.action.{module}").ActionModule
        assert issubclass(found, HostAction)
        assert (found.module, found._supports_async) == (f"ipsec.manual.{module}", False)
