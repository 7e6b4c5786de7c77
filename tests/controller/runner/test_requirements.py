# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Exactly the required packages are installed."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import subprocess
import sys
import typing as t
import zipfile
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[2]
REQUIREMENTS = TESTS / "requirements"
PINNED = sorted(REQUIREMENTS.glob("*.in"))
PIN = re.compile(r"[a-z0-9-]+(\[[a-z,-]+\])?==[0-9][0-9a-z.]*( ; [^;#]+)?((?: --hash=sha256:[0-9a-f]{64})+)")


def packages(*groups: str) -> set[str]:
    rows = [
        line.split()
        for line in (TESTS / "requirements" / "debian.txt").read_text().splitlines()
        if not line.startswith("#")
    ]
    return {row[0] for row in rows if row[1] in groups}


def test_setup_installs_what_the_lab_requires() -> None:
    wanted = (
        subprocess.run([TESTS / "lab" / "lab", "requirements"], stdout=subprocess.PIPE, check=True)
        .stdout.decode()
        .split()
    )
    assert wanted
    assert set(wanted) - packages("base", "lab") == set()


@pytest.mark.parametrize("wanted", PINNED, ids=lambda path: path.stem)
def test_every_pin_has_its_hashes_and_names_no_index(wanted: Path) -> None:
    text = wanted.with_suffix(".txt").read_text(encoding="utf-8").replace("\\\n", "")
    lines = [re.sub(" +", " ", line).strip() for line in text.splitlines()]
    assert lines
    assert [line for line in lines if not PIN.fullmatch(line)] == []


def test_every_list_of_python_packages_is_pinned() -> None:
    lists = {path.stem for path in REQUIREMENTS.glob("*.txt")} - {"debian"}
    assert lists == {path.stem for path in PINNED}


@pytest.fixture(name="install")
def fixture_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> t.Callable[[str], int]:
    """Install `thing` as the sessions do. Its only wheel is in a folder."""
    wheel = tmp_path / "thing-1-py3-none-any.whl"
    files = {
        "thing.py": b"",
        "thing-1.dist-info/METADATA": b"Metadata-Version: 2.1\nName: thing\nVersion: 1\n",
        "thing-1.dist-info/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    digests = {
        name: base64.urlsafe_b64encode(hashlib.sha256(text).digest()).rstrip(b"=").decode()
        for name, text in files.items()
    }
    record = "".join(f"{name},sha256={digest},{len(files[name])}\n" for name, digest in digests.items())
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in {
            **files,
            "thing-1.dist-info/RECORD": f"{record}thing-1.dist-info/RECORD,,\n".encode(),
        }.items():
            archive.writestr(name, content)
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path))
    (tmp_path / "tests" / "requirements").mkdir(parents=True)
    shutil.copy(TESTS.parent / "noxfile.py", tmp_path)
    (tmp_path / "antsibull-nox.toml").write_text("")

    def install(pin: str) -> int:
        pins = pin.replace("RIGHT", hashlib.sha256(wheel.read_bytes()).hexdigest())
        (tmp_path / "tests" / "requirements" / "floor.txt").write_text(pins, encoding="utf-8")
        command = (sys.executable, "-m", "nox", "-s", "liar-floor", "-f", str(tmp_path / "noxfile.py"))
        return subprocess.run(
            command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        ).returncode

    return install


def installed(folder: Path) -> list[str]:
    return [path.name for path in (folder / ".nox" / "floor").rglob("thing.py")]


def test_a_package_with_the_pinned_hash_is_installed(install: t.Callable[[str], int], tmp_path: Path) -> None:
    install("thing==1 --hash=sha256:RIGHT\n")
    assert installed(tmp_path) == ["thing.py"]


@pytest.mark.parametrize("pin", ["thing==1\n", f"thing==1 --hash=sha256:{'0' * 64}\n"])
def test_a_package_with_another_hash_or_none_is_not_installed(
    install: t.Callable[[str], int], tmp_path: Path, pin: str
) -> None:
    assert install(pin) != 0
    assert installed(tmp_path) == []
