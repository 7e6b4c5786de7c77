# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The runner of the gates in a small checkout of its own: a green line must mean that tests ran and passed."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[2]
GOOD = "def test_good():\n    pass\n"
BAD = "def test_bad():\n    assert False\n"
SKIPPED = "import pytest\n\n\ndef test_skipped():\n    pytest.skip('no kernel')\n"


@pytest.fixture(name="checkout")
def fixture_checkout(tmp_path: Path) -> Path:
    shutil.copytree(TESTS / "runner", tmp_path / "tests" / "runner")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / ".gitignore").write_text(".venv\n/build/\n__pycache__/\n")
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    return tmp_path


def run(checkout: Path, *arguments: str, before: tuple[str, ...] = ()) -> tuple[int, list[str]]:
    command = [*before, sys.executable, str(checkout / "tests" / "runner"), *arguments]
    answer = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return answer.returncode, answer.stdout.decode().splitlines()


def write_tests(checkout: Path, **files: str) -> None:
    for folder in ("unit", "conformance"):
        (checkout / "tests" / folder).mkdir()
        (checkout / "tests" / folder / f"test_nothing_{folder}.py").touch()
    for name, text in files.items():
        (checkout / "tests" / "unit" / f"test_{name}.py").write_text(text)


@pytest.mark.parametrize(
    ("files", "status", "closing"),
    [
        ({"a": GOOD, "b": SKIPPED}, 0, "1 passed, 0 failed, 1 skipped"),
        ({"a": GOOD, "b": BAD}, 1, "1 passed, 1 failed"),
    ],
)
def test_the_closing_line_and_the_exit_status_tell_the_truth(checkout: Path, files: dict[str, str], status: int, closing: str) -> None:
    write_tests(checkout, **files)
    outcome, lines = run(checkout, "unit")
    assert (outcome, lines[-1]) == (status, closing)


@pytest.mark.parametrize(
    ("status", "last", "counts"),
    [
        (0, "==== 2 passed in 0.10s ====", (2, 0, 0)),
        (0, "==== 2 passed, 3 skipped, 1 xfailed, 4 warnings in 70.10s (0:01:10) ====", (2, 0, 4)),
        (0, "==== 3 skipped in 0.10s ====", (0, 1, 3)),
        (5, "==== no tests ran in 0.10s ====", (0, 1, 0)),
        (2, "==== 1 error in 0.10s ====", (0, 1, 0)),
        (1, "==== 2 failed, 5 passed, 1 error in 0.10s ====", (5, 3, 0)),
        (137, "tests/unit/test_a.py ....", (0, 1, 0)),
        (3, "==== 5 passed in 0.10s ====", (5, 1, 0)),
    ],
)
def test_a_part_passes_only_if_tests_ran_and_all_passed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, status: int, last: str, counts: tuple[int, int, int]
) -> None:
    monkeypatch.syspath_prepend(TESTS / "runner")
    schedule = importlib.import_module("schedule")
    monkeypatch.setattr(schedule, "LOGS", tmp_path)
    (part,) = importlib.import_module("parts").named("lab")
    (tmp_path / "lab.log").write_text(f"collected\n{last}\n")
    outcome = schedule._judge(part, status, "", 1.0)
    assert (outcome.passed, outcome.failed, outcome.skipped) == counts


@pytest.mark.parametrize(("tested", "status", "closing"), [("side(1), side(0)", 0, "1 passed, 0 failed"), ("side(1)", 1, "0 passed, 1 failed")])
def test_coverage_is_judged_by_what_the_tests_ran_with_and_without_a_kernel(checkout: Path, tested: str, status: int, closing: str) -> None:
    shutil.copy(TESTS.parent / "pyproject.toml", checkout)
    core = checkout / "plugins" / "module_utils" / "_core"
    core.mkdir(parents=True)
    (core / "sides.py").write_text("def side(number):\n    if number:\n        return 1\n    return 2\n")
    write_tests(checkout)
    beside = Path("unit", "plugins", "module_utils", "_core")
    (checkout / "tests" / beside).mkdir(parents=True)
    shutil.copy(TESTS / beside / "conftest.py", checkout / "tests" / beside)
    (checkout / "tests" / beside / "test_sides.py").write_text(f"from plugins.module_utils._core.sides import side\n\n\ndef test_sides():\n    {tested}\n")
    assert run(checkout, "coverage")[0] == 1, "nothing is noted yet"
    assert run(checkout, "core")[0] == 0
    assert run(checkout, "coverage")[0] == 1, "nothing is noted of the kernel's tests yet"
    notes = checkout / "build" / "collections" / "ansible_collections" / "ipsec" / "manual" / "build" / "coverage"
    shutil.copy(notes / "core", notes / "kernel")
    outcome, lines = run(checkout, "coverage")
    assert (outcome, lines[-1]) == (status, closing)


def test_a_part_waits_for_those_it_builds_on_and_for_no_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.syspath_prepend(TESTS / "runner")
    schedule, part = importlib.import_module("schedule"), importlib.import_module("parts").Part
    monkeypatch.setattr(schedule, "LOGS", tmp_path)
    monkeypatch.setattr(schedule.workspace, "COPY", tmp_path)
    slow = part("slow", "unit", ("/bin/sh", "-c", "sleep 1; touch made"))
    reads = part("reads", "unit", ("/bin/sh", "-c", "test -e made"), lane="other", after=("slow", "not chosen"))
    assert schedule.run([reads, slow]) == 0, capsys.readouterr().out


def test_what_is_stopped_can_put_things_right(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(TESTS / "runner")
    schedule, part = importlib.import_module("schedule"), importlib.import_module("parts").Part
    monkeypatch.setattr(schedule, "LOGS", tmp_path)
    monkeypatch.setattr(schedule.workspace, "COPY", tmp_path)
    endless = part("endless", "unit", ("/bin/sh", "-c", "trap 'touch undone; exit 1' INT; touch begun; while :; do sleep 0.1; done"))
    this = schedule.Run([endless])
    lane = threading.Thread(target=this.lane, args=([endless],))
    lane.start()
    while not (tmp_path / "begun").exists():
        time.sleep(0.05)
    this.stop()
    lane.join()
    assert (tmp_path / "undone").exists()


def test_a_missing_test_folder_has_failed(checkout: Path) -> None:
    status, lines = run(checkout, "unit")
    assert (status, lines[-1]) == (1, "0 passed, 1 failed")


def test_tiers_and_parts_are_chosen_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(TESTS / "runner")
    named = importlib.import_module("parts").named
    assert [part.name for part in named("lab", "ruff")] == ["ruff", "lab"]
    assert {part.name for part in named("e2e")} == {"e2e", "e2e-boot", "e2e-solaris", "e2e-wire"}


@pytest.mark.parametrize("words", [("units",), ("ruff", "units")])
def test_an_unknown_tier_is_refused_by_name(checkout: Path, words: tuple[str, ...]) -> None:
    status, lines = run(checkout, *words)
    assert status == 2
    assert "'units' is no tier" in lines[-1]


def test_what_runs_heeds_an_interrupt_though_the_run_is_in_the_background(checkout: Path) -> None:
    heeds = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    assert run(checkout, "exec", "python", "-c", heeds, before=("/bin/sh", "-c", 'trap "" INT; exec "$@"', "sh")) == (0, ["True"])


def test_the_copy_mirrors_the_checkout_and_keeps_what_tools_left(checkout: Path) -> None:
    copy = checkout / "build" / "collections" / "ansible_collections" / "ipsec" / "manual"
    (checkout / "folder").mkdir()
    (checkout / "folder" / "file").write_text("old")
    assert run(checkout, "sync")[0] == 0
    (copy / "left-by-a-tool").write_text("")
    (checkout / "folder" / "file").write_text("new")
    assert run(checkout, "sync")[0] == 0
    assert (copy / "folder" / "file").read_text() == "new"
    assert not (copy / ".venv").exists()
    (checkout / "folder" / "file").unlink()
    assert run(checkout, "sync")[0] == 0
    assert not (copy / "folder").exists()
    assert (copy / "left-by-a-tool").exists()
