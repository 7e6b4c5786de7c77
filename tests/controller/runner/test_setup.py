# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""tests/setup on a machine that lacks packages, in a small checkout, with an apt-get that
the test controls.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[2]
LOCKED = "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 4711 (apt-get)"


@pytest.fixture(name="checkout")
def fixture_checkout(tmp_path: Path) -> Path:
    """A checkout that requires two packages, has its Python tools, and is used by root."""
    requirements = tmp_path / "tests" / "requirements"
    requirements.mkdir(parents=True)
    shutil.copy(TESTS / "setup", tmp_path / "tests")
    (requirements / "debian.txt").write_text(
        f"one base {tmp_path}/one first\ntwo bench {tmp_path}/two second\nthree other {tmp_path}/three third\n"
        f"large browser {tmp_path}/large fourth\n"
    )
    for name in ("install.txt", "dev.txt"):
        (requirements / name).touch()
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").symlink_to(sys.executable)
    pins = subprocess.run(
        ["sha256sum", "tests/requirements/install.txt", "tests/requirements/dev.txt"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        check=True,
    ).stdout.decode()
    (tmp_path / ".venv" / "stamp").write_text(f"{pins}\n")
    program(tmp_path, "id", "echo 0")
    program(tmp_path, "sleep", "true")
    return tmp_path


def program(checkout: Path, name: str, script: str) -> None:
    path = checkout / "programs" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def setup(checkout: Path, *groups: str) -> tuple[int, list[str], list[str]]:
    environment = {"PATH": f"{checkout}/programs:{os.environ['PATH']}", "HOME": str(checkout)}
    done = subprocess.run(
        [checkout / "tests" / "setup", *groups], env=environment, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout.splitlines(), done.stderr.splitlines()


needs_apt = pytest.mark.skipif(not os.path.exists("/usr/bin/apt-get"), reason="tests/setup installs on Debian only")


@needs_apt
@pytest.mark.parametrize("step", ["update", "install"])
def test_a_held_lock_of_apt_is_waited_for_and_reported_once(checkout: Path, step: str) -> None:
    program(
        checkout,
        "apt-get",
        f'echo "$*" >>calls\ncase "$*" in *{step}*) [ $(grep -c {step} calls) -gt 3 ] || {{ echo "{LOCKED}"; exit 100;'
        " } ;; esac",
    )
    status, output, errors = setup(checkout, "bench")
    assert (status, errors) == (0, [])
    assert len([line for line in output if "waiting for it" in line]) == 1
    calls = (checkout / "calls").read_text().splitlines()
    assert len([call for call in calls if step in call]) == 4
    assert calls[-1].endswith("install one two")
    assert all("DPkg::Lock::Timeout=0 " in call for call in calls)  # else apt-get waits, and says nothing


@needs_apt
def test_another_failure_of_apt_is_shown_at_once(checkout: Path) -> None:
    program(checkout, "apt-get", 'echo "$*" >>calls; echo "E: no network"; exit 100')
    status, output, errors = setup(checkout)
    assert status == 1
    assert "E: no network" in errors and "apt-get update" in errors[-1]
    assert not [line for line in output if "waiting" in line]
    assert len((checkout / "calls").read_text().splitlines()) == 1


def test_other_users_than_root_get_one_list_of_what_is_missing(checkout: Path) -> None:
    program(checkout, "id", "echo 1000")
    program(checkout, "apt-get", "echo called >>calls")
    wanted = ["Debian packages are missing: one two", "As root: apt-get install --no-install-recommends one two"]
    assert setup(checkout, "bench") == (1, [], wanted)
    status, dummy, errors = setup(checkout, "bench", "lab")
    assert status == 1 and errors[:2] == wanted and "as root, too" in errors[2]
    assert not (checkout / "calls").exists()


@needs_apt
def test_a_browser_that_cannot_be_installed_is_reported_with_the_reason_and_stops_nothing(checkout: Path) -> None:
    program(checkout, "apt-get", 'echo "$*" >>calls; case "$*" in *large*) echo "E: no space"; exit 100 ;; esac')
    status, output, errors = setup(checkout, "bench", "browser")
    assert (status, errors) == (0, [])
    note = "NOTE: the page of an audit is not opened in a browser: tests/setup: this command failed, its output is in"
    assert output[-1].startswith(f"{note} build/setup.log: apt-get ") and output[-1].endswith(" install large")
    calls = (checkout / "calls").read_text().splitlines()
    assert [call.split(" install ")[1] for call in calls if " install " in call] == ["one two", "large"]
    assert "E: no space" in (checkout / "build" / "setup.log").read_text()


@needs_apt
def test_a_browser_excuses_no_other_package(checkout: Path) -> None:
    program(checkout, "apt-get", 'case "$*" in *"one two"*) echo "E: no space"; exit 100 ;; esac')
    status, dummy, errors = setup(checkout, "bench", "browser")
    assert status == 1 and "E: no space" in errors and errors[-1].endswith(" install one two")


def test_other_users_than_root_are_told_how_to_get_a_browser(checkout: Path) -> None:
    for name in ("one", "two"):
        (checkout / name).touch()
    program(checkout, "id", "echo 1000")
    status, output, errors = setup(checkout, "bench", "browser")
    assert (status, errors) == (0, [])
    assert len(output) == 1 and output[0].startswith("NOTE: the page of an audit is not opened in a browser: As root: ")
    (checkout / "large").touch()
    assert setup(checkout, "bench", "browser") == (0, [], [])


def test_nothing_is_done_if_everything_is_installed(checkout: Path) -> None:
    for name in ("one", "two"):
        (checkout / name).touch()
    program(checkout, "apt-get", "echo called >>calls")
    assert setup(checkout, "bench") == (0, [], [])
    assert not (checkout / "calls").exists()


def test_kernels_that_cannot_be_fetched_are_reported_with_the_reason_and_stop_nothing(checkout: Path) -> None:
    (checkout / "tests" / "requirements" / "debian.txt").write_text("")
    tool = checkout / "tests" / "lab" / "lab"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\n[ $1 = fetch ] && { echo fetching $2; echo lab: no network >&2; exit 1; }\n")
    tool.chmod(0o755)
    status, output, errors = setup(checkout, "lab", "kernels")
    assert (status, errors) == (0, [])
    assert output == [
        "fetching sid",
        "NOTE: labs use the installed, slower User-Mode Linux: no network",
        "fetching bookworm",
        "NOTE: nothing is tested on Linux 6.1: no network",
        "fetching trixie",
        "NOTE: nothing is tested on Linux 6.12: no network",
    ]


def test_a_missing_32_bit_python_is_reported_with_the_reason_and_stops_nothing(checkout: Path) -> None:
    brings = checkout / "tests" / "i386.py"
    brings.write_text("import sys\nprint('fetching')\nsys.exit('no network')\n")
    (checkout / "tests" / "requirements" / "debian.txt").write_text("")
    assert setup(checkout, "i386") == (
        0,
        ["fetching", "NOTE: the core is not tested on a 32-bit Python: no network"],
        [],
    )
