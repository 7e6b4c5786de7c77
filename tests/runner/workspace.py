# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the gates run: a copy of the checkout in a folder whose path is the collection's name, and an environment that names it.

ansible-test insists on the real path ``…/ansible_collections/ipsec/manual``, and Python imports need it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import typing as t
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
BUILD = TOP / "build"
COLLECTIONS = BUILD / "collections"
COPY = COLLECTIONS / "ansible_collections" / "ipsec" / "manual"
VENV = TOP / ".venv"
PYTHON = VENV / "bin" / "python"

_MANIFEST = COLLECTIONS / "manifest"


def sync() -> None:
    """Make the copy hold the tracked and unignored files, each replaced at once, and lose those that went."""
    COPY.mkdir(parents=True, exist_ok=True)
    with (COLLECTIONS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (COPY / ".git").exists():  # ansible-test asks git which files count
            subprocess.run(["git", "init", "-q", str(COPY)], check=True)
        wanted = _files()
        for name in wanted:
            _copy(TOP / name, COPY / name)
        for name in set(copied()) - set(wanted):
            _remove(COPY / name)
        _link(COPY / "build" / "kernels", BUILD / "kernels")
        _MANIFEST.write_text("\0".join(wanted), encoding="utf-8", errors="surrogateescape")


def copied() -> list[str]:
    """What the copy holds, tools' leavings apart, relative to it."""
    try:
        return _MANIFEST.read_text(encoding="utf-8", errors="surrogateescape").split("\0")
    except FileNotFoundError:
        return []


def environment(**more: str) -> dict[str, str]:
    """The caller's environment without what would change a result, with our tools and the copy."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "COVERAGE_", "PYTEST_", "PYTHON", "MYPY", "VIRTUAL_ENV"))}
    return {
        **kept,
        "PATH": f"{VENV / 'bin'}:{kept.get('PATH', '/usr/bin:/bin')}:/usr/sbin:/sbin",
        "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
        "ANSIBLE_HOME": str(BUILD / "ansible"),
        "PYTHONPATH": str(COLLECTIONS),
        "LC_ALL": "C.UTF-8",
        **more,
    }


def _files() -> list[str]:
    """The tracked and unignored files of the checkout, relative to it."""
    git = ["git", "-c", f"safe.directory={TOP}", "-C", str(TOP), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(git, check=True, stdout=subprocess.PIPE).stdout.decode("utf-8", "surrogateescape").split("\0")
    return sorted({name for name in names if name and os.path.lexists(TOP / name)})


def _copy(source: Path, target: Path) -> None:
    if _same(source, target):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.new")
    beside.unlink(missing_ok=True)
    shutil.copy2(source, beside, follow_symlinks=False)
    os.replace(beside, target)


def _link(place: Path, target: Path) -> None:
    """What costs a download is there once, for the checkout and the copy."""
    if not place.is_symlink():
        place.parent.mkdir(exist_ok=True)
        place.symlink_to(target)


def _same(source: Path, target: Path) -> bool:
    try:
        return _looks(source) == _looks(target)
    except FileNotFoundError:
        return False


def _looks(path: Path) -> tuple[t.Any, ...]:
    status = path.lstat()
    return status.st_mode, status.st_size, status.st_mtime_ns


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    for folder in path.parents:
        if folder == COPY or any(folder.iterdir()):
            return
        folder.rmdir()
