# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import pathlib
import time
import typing as t

import pytest

from ansible import constants as C

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import InputError
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation.record import SKIPPED, UNANSWERED, RunRecord


@pytest.fixture
def record(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> RunRecord:
    monkeypatch.setattr(C, "DEFAULT_LOCAL_TMP", str(tmp_path))
    return RunRecord("test")


def test_no_step_runs_before_begin(record: RunRecord) -> None:
    with pytest.raises(InputError, match="no run has begun"):
        record.state()
    record.begin({"one": 1})
    record.save({"one": 2})
    assert record.state() == {"one": 2}
    record.end()
    with pytest.raises(InputError):
        record.state()
    record.end()


def test_a_question_without_an_answer_counts_as_unanswered(record: RunRecord) -> None:
    record.begin({})
    assert record.answers("step", "a").get("first") == SKIPPED
    record.put("step", "a", ["first", "second"])
    found = record.answers("step", "a")
    assert found.get("first") == found.get("second") == UNANSWERED and found.get("third") == SKIPPED
    record.note("step", "a", {"first": {"failed": True}})
    answered = record.answers("step", "a")
    assert answered.get("first") == {"failed": True} and answered.get("second") == SKIPPED
    assert 0 < found.asked == answered.asked <= answered.answered
    # Another run does not see it.
    record.begin({})
    assert record.answers("step", "a").results == {}


def test_hosts_and_steps_have_separate_files_for_any_name(record: RunRecord) -> None:
    record.begin({})
    for number, host in enumerate(("a", "a.b", "../a", "a/b", "ä", "a%2Fb")):
        record.note("step", host, {"question": {"number": number}})
    assert [
        record.answers("step", host).get("question")["number"] for host in ("a", "a.b", "../a", "a/b", "ä", "a%2Fb")
    ] == list(range(6))


def test_nobody_else_can_read_it(record: RunRecord) -> None:
    record.begin({"digest_key": "00"})
    record.note("step", "a", {"question": {}})
    folder = pathlib.Path(record.directory)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [path.stat().st_mode & 0o777 for path in folder.iterdir()] == [0o600, 0o600]


def test_leftovers_of_a_killed_run_are_removed_after_a_day(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(C, "DEFAULT_LOCAL_TMP", str(tmp_path / "ansible-local-1own"))
    left = {}
    for name, age in (
        ("ansible-local-4194399old", 90000),
        ("ansible-local-4194399new", 60),
        (f"ansible-local-{os.getpid()}alive", 90000),
    ):
        left[name] = tmp_path / name / "ipsec.manual.rotation"
        left[name].mkdir(parents=True)
        os.utime(left[name], (time.time() - age, time.time() - age))
    RunRecord("rotation").begin({})
    assert [path.exists() for path in left.values()] == [False, True, True]


class TaskTimeoutError(BaseException):
    """As Ansible's, which is private."""


def refusal() -> t.NoReturn:
    raise InputError("this is wrong", "keystore", "Mend it.")


def slow() -> t.NoReturn:
    raise TaskTimeoutError()


def test_of_the_hosts_that_are_asked_one_begins_the_run(record: RunRecord) -> None:
    read = iter([{"number": 1}, {"number": 2}])
    for run, number in (("a", 1), ("a", 1), ("b", 2), ("b", 2)):
        assert record.begun(run, lambda: next(read)) == {"number": number, "run": run, "refused": []}
        assert record.state()["number"] == number


@pytest.mark.parametrize(
    ("read", "said"), [(refusal, "keystore: this is wrong. Mend it."), (slow, "took longer than a task may")]
)
def test_inputs_that_cannot_be_read_are_refused_once_for_all_hosts(
    record: RunRecord, read: t.Callable[[], t.NoReturn], said: str
) -> None:
    (line,) = record.begun("a", read)["refused"]
    assert said in line
    assert record.begun("a", lambda: {})["refused"] == [line]


def test_a_run_that_cannot_begin_leaves_nothing_of_an_earlier_one(record: RunRecord) -> None:
    record.begun("a", dict)

    def end() -> t.NoReturn:
        raise KeyboardInterrupt()

    with pytest.raises(KeyboardInterrupt):
        record.begun("b", end)
    with pytest.raises(InputError, match="no run has begun"):
        record.state()


def test_the_first_host_of_each_batch_explains(record: RunRecord) -> None:
    """Hosts that have failed are no longer in the batch that the others see."""
    assert record.first("task", "wrong", "a", ["a", "b", "c"]) == "a"
    assert record.first("task", "wrong", "b", ["a", "b", "c"]) == "a"
    assert record.first("task", "wrong", "c", ["c"]) == "a"
    assert record.first("task", "other", "c", ["c"]) == "c"
    assert record.first("task", "wrong", "e", ["d", "e"]) == "e"
    assert record.first("task", "wrong", "d", ["d"]) == "e"
    assert record.first("next task", "wrong", "c", ["c"]) == "c"
