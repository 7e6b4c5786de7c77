# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils import _core
from ansible_collections.ipsec.manual.plugins.module_utils._module import command
from ansible_collections.ipsec.manual.tests.unit.plugins.modules.harness import World, expect_once

FILES = ["sbin/ipseckey", "share/bash-completion/completions/ipseckey", "share/man/man8/ipseckey.8"]


def run(world: World, prefix: Path, **arguments: object) -> dict[str, object]:
    return world.run("ipseckey_command", prefix=str(prefix), python=sys.executable, **arguments)


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_the_command_is_installed_once_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "sbin").mkdir()
    (tmp_path / "share/man").mkdir(parents=True)
    before = tree(tmp_path)
    expect_once(World().four_times("ipseckey_command", prefix=str(tmp_path), python=sys.executable))
    assert [name for name in tree(tmp_path) if (tmp_path / name).is_file()] == FILES
    assert [oct((tmp_path / name).stat().st_mode & 0o7777) for name in FILES] == ["0o755", "0o644", "0o644"]
    expect_once(World().four_times("ipseckey_command", prefix=str(tmp_path), python=sys.executable, state="absent"))
    assert tree(tmp_path) == before


def test_the_command_needs_no_other_file(tmp_path: Path) -> None:
    path = run(World(), tmp_path)["path"]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("ipseckey.py", "json.py", "getopt.py", "sitecustomize.py"):
        (elsewhere / name).write_text("raise SystemExit('foreign code ran')\n")
    environment = {"PYTHONPATH": str(elsewhere), "PYTHONSTARTUP": str(elsewhere / "json.py")}
    done = subprocess.run(
        [str(path), "help", "attr"], cwd=elsewhere, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "") and "encr_alg" in done.stdout
    assert not list(tmp_path.rglob("__pycache__"))


def test_the_command_holds_the_whole_core(tmp_path: Path) -> None:
    folder = Path(next(iter(_core.__path__)))
    with zipfile.ZipFile(str(run(World(), tmp_path)["path"])) as archive:
        for source in folder.rglob("*.py"):
            assert archive.read(f"ipseckey/{source.relative_to(folder)}") == source.read_bytes()
        assert archive.testzip() is None
    assert command.program("/usr/bin/python3") == command.program("/usr/bin/python3")


@pytest.mark.parametrize("damage", ["content", "mode", "link"])
def test_damaged_files_are_repaired(tmp_path: Path, damage: str) -> None:
    path = Path(str(run(World(), tmp_path)["path"]))
    good = path.read_bytes()
    if damage == "content":
        path.write_bytes(good + b"x")
    elif damage == "mode":
        path.chmod(0o777)
    else:
        path.rename(tmp_path / "moved")
        path.symlink_to(tmp_path / "moved")
    result = run(World(), tmp_path)
    assert result["changed"] and result["files"] == [str(path)]
    assert (path.read_bytes(), oct(path.stat().st_mode & 0o7777), path.is_symlink()) == (good, "0o755", False)


def test_a_program_that_does_not_start_is_not_installed(tmp_path: Path) -> None:
    result = World().run("ipseckey_command", prefix=str(tmp_path), python="/bin/false")
    assert result["failed"] and "does not start" in result["msg"] and "3.8" in result["msg"]
    assert not [name for name in tree(tmp_path) if (tmp_path / name).is_file()]
    assert World().run("ipseckey_command", prefix=str(tmp_path), python="python3 -x")["failed"]


def test_a_prefix_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "sbin").write_text("")
    result = run(World(), tmp_path)
    assert result["failed"] and str(tmp_path / "sbin") in str(result["msg"])
    assert os.listdir(tmp_path) == ["sbin"]
