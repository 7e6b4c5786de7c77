# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`make test` in a small separate checkout: a green line must mean that tests ran and passed."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[2]
NOXFILE = """\
import nox


def tests(session):
    report = f"--junitxml=build/test/{session.name}.xml"
    session.run("python", "-m", "pytest", "-p", "no:cacheprovider", report, f"{session.name}.py", external=True)


for name in ("good", "bad", "skipped", "none", "broken", "slow"):
    nox.session(name=name, python=False)(tests)


@nox.session(python=False)
def check(session):
    session.run("echo", "20 files skipped", external=True)


@nox.session(python=False)
def refused(session):
    session.run("false", external=True)


@nox.session(python="3.2")
def lacking(session):
    pass
"""
SLOW = """\
import pathlib, time


def test_slow():
    pathlib.Path("begun").touch()
    try:
        time.sleep(60)
    finally:
        time.sleep(1)
        pathlib.Path("cleared").touch()
"""
FILES = {
    ".gitignore": ".venv\n/build/\n__pycache__/\n",
    "noxfile.py": NOXFILE,
    "good.py": "def test_good():\n    pass\n",
    "bad.py": "def test_good():\n    pass\n\n\ndef test_bad():\n    assert False\n",
    "skipped.py": "import pytest\n\n\ndef test_skipped():\n    pytest.skip('no kernel')\n",
    "none.py": "",
    "broken.py": "import nothing_of_this_name\n",
    "slow.py": SLOW,
}


@pytest.fixture(name="checkout")
def fixture_checkout(tmp_path: Path) -> Path:
    (tmp_path / "tests").mkdir()
    for name in ("run", "session", "sessions.mk"):
        shutil.copy(TESTS / name, tmp_path / "tests")
    (tmp_path / "tests" / "setup").write_text("#!/bin/sh\n")
    (tmp_path / "tests" / "setup").chmod(0o755)
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    return tmp_path


def copy_of(checkout: Path) -> Path:
    return checkout / "build" / "collections" / "ansible_collections" / "ipsec" / "manual"


def run(checkout: Path, *arguments: str) -> tuple[int, list[str]]:
    answer = subprocess.run(
        [checkout / "tests" / "run", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return answer.returncode, answer.stdout.splitlines()


@pytest.mark.parametrize(
    ("sessions", "good", "closing"),
    [
        (["good"], True, "1 passed, 0 failed"),
        (["good", "check"], True, "2 passed, 0 failed"),
        (["good", "bad"], False, "2 passed, 1 failed"),
        (["good", "refused"], False, "1 passed, 1 failed"),
        (["good", "skipped"], False, "1 passed, 1 failed, 1 skipped"),
        (["good", "none"], False, "1 passed, 1 failed"),
        (["broken", "good"], False, "1 passed, 1 failed"),
        (["good", "lacking"], True, "1 passed, 0 failed, 1 skipped"),
        (["lacking"], False, "0 passed, 0 failed, 1 skipped"),
        (["good", "of-no-such-name"], False, "1 passed, 1 failed"),
    ],
)
def test_the_closing_line_and_the_exit_status_tell_the_truth(
    checkout: Path, sessions: list[str], good: bool, closing: str
) -> None:
    status, lines = run(checkout, *sessions)
    assert (status == 0, lines[-1]) == (good, closing), lines
    assert {path.stem for path in (checkout / "build" / "test").glob("*.log")} == set(sessions)


@pytest.mark.parametrize("value", ["", "true"])
def test_a_missing_python_skips_a_session_also_in_continuous_integration(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("CI", value)
    status, lines = run(checkout, "good", "lacking")
    assert (status, lines[-1]) == (0, "1 passed, 0 failed, 1 skipped"), lines


def listed(tier: str, seed: str, target: str = "list") -> list[str]:
    command = ["make", "-sf", TESTS / "sessions.mk", target, f"TIER={tier}", f"SEED={seed}"]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.split()


def test_every_session_has_its_turn() -> None:
    drawn = {tuple(listed("commit", str(number))) for number in range(200)}
    assert set().union(*drawn) == set(every := listed("all", ""))
    assert len(every) == len(set(every))
    for sessions in drawn:
        assert {"unit", "kernel-newest", "faults", "sanity-newest", "pythons-3.8"} <= {*sessions}


def test_what_a_commit_leaves_out_is_said() -> None:
    run_now, waiting = listed("commit", "word"), listed("commit", "word", "waiting")
    assert sorted([*run_now, *waiting]) == sorted(listed("all", "word"))
    assert listed("commit", "word") == run_now


def test_what_an_earlier_run_left_does_not_count(checkout: Path) -> None:
    run(checkout, "bad")
    assert run(checkout, "good")[1][-1] == "1 passed, 0 failed"


def test_each_session_says_how_long_it_took_and_what_failed(checkout: Path) -> None:
    dummy, lines = run(checkout, "bad")
    assert [line for line in lines if line.startswith("bad ") and line.endswith(" s")]
    assert [line for line in lines if "test_bad" in line]


def test_tests_that_are_interrupted_in_the_background_can_clean_up(checkout: Path) -> None:
    """A shell makes processes that it starts in the background ignore SIGINT."""
    command = [shutil.which("sh") or "sh", "-c", f"exec {checkout}/tests/run slow & wait"]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        copy, deadline = copy_of(checkout), time.monotonic() + 60
        while not (copy / "begun").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        found = subprocess.run(
            ["pgrep", "-f", f"junitxml={copy}|junitxml=build/test/slow"], stdout=subprocess.PIPE, text=True, check=True
        ).stdout.split()
        for number in found:
            if Path(f"/proc/{number}/cwd").resolve() == copy:
                subprocess.run(["kill", f"-{signal.SIGINT.value}", number], check=False)
        process.wait(60)
    assert (copy / "cleared").exists()


def test_the_copy_mirrors_the_checkout_and_keeps_what_tools_left(checkout: Path) -> None:
    copy = copy_of(checkout)
    (checkout / "sub").mkdir()
    for name in ("new.py", "sub/deep.py", "link"):
        (checkout / name).write_text("first")
    assert run(checkout, "exec", "true")[0] == 0
    (copy / "build" / "kept").touch()
    (copy / "sub" / "__pycache__").mkdir()
    (checkout / "new.py").write_text("second")
    (checkout / "sub" / "deep.py").unlink()
    (checkout / "link").unlink()
    (checkout / "link").symlink_to("new.py")
    assert run(checkout, "exec", "cat", "new.py", "link")[1] == ["secondsecond"]
    assert not (copy / "sub" / "deep.py").exists()
    assert (copy / "link").is_symlink()
    assert (copy / "build" / "kept").exists() and (copy / "sub" / "__pycache__").exists()
    assert not (copy / ".venv").exists()


def test_a_command_in_the_copy_has_the_tools_and_not_the_callers_environment(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANSIBLE_CONFIG", "/elsewhere")
    monkeypatch.setenv("ANSIBLE_LIBRARY", "/elsewhere")
    monkeypatch.setenv("PYTHONSTARTUP", "/elsewhere")
    status, lines = run(checkout, "exec", "env")
    environment = dict(line.split("=", 1) for line in lines if "=" in line)
    assert status == 0
    assert environment["PATH"].split(":")[0] == str(checkout / ".venv" / "bin")
    assert environment["ANSIBLE_COLLECTIONS_PATH"] == str(checkout / "build" / "collections")
    assert environment["ANSIBLE_CONFIG"].startswith(environment["ANSIBLE_COLLECTIONS_PATH"])
    assert not {"ANSIBLE_LIBRARY", "PYTHONSTARTUP"} & set(environment)
