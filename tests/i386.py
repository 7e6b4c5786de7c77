# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Provide a 32-bit Python with what the core's tests use, unless it exists already: Debian's
packages for i386, unpacked into build/i386, never installed.

This machine's kernel must be able to run it.
"""

from __future__ import annotations

import fcntl
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

TESTS = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(TESTS / "lab"))
from _lab import fetch  # noqa: E402
from _lab.errors import LabError  # noqa: E402

BUILD = TESTS.parent / "build"
ROOT = BUILD / "i386"
PYTHON = ROOT / "usr" / "bin" / "python3-i386"
PACKAGES = ("python3-minimal", "python3-pytest", "python3-hypothesis")
# argv[0] tells Python its location, so sys.executable leads here again.
PROGRAM = """\
#!/bin/sh
root=$(cd "$(dirname "$0")/../.." && pwd)
for loader in "$root"/lib/ld-linux.so.2 "$root"/usr/lib/ld-linux.so.2; do [ ! -e "$loader" ] || break; done
libraries=$root/lib/i386-linux-gnu:$root/usr/lib/i386-linux-gnu
exec "$loader" --library-path "$libraries" --argv0 "$0" "$root/usr/bin/python3" "$@"
"""


def bring() -> None:
    """Download, unpack and try. The folder is created completely or not at all."""
    release = pathlib.Path("/etc/os-release").read_text(encoding="utf-8")
    suite = re.search(r"^VERSION_CODENAME=(\w+)", release, re.MULTILINE)
    if suite is None:
        raise LabError("this distribution has no name of its release.")
    with tempfile.TemporaryDirectory(prefix=".i386-", dir=BUILD) as name:
        new, state = pathlib.Path(name, "root"), pathlib.Path(name, "state")
        state.mkdir()
        (state / "status").touch()  # no package is installed there, so all dependencies are downloaded
        apt, trouble = fetch.updated(
            suite[1],
            pathlib.Path(name, "apt"),
            APT_Architecture="i386",
            **{
                "APT_Architectures_": "i386",
                "Dir_State": str(state),
                "Dir_State_status": str(state / "status"),
                "Debug_NoLocking": "true",
            },
        )
        try:
            fetch.run(*apt, "-y", "--no-install-recommends", "--download-only", "install", *PACKAGES)
        except LabError as exc:
            raise LabError(trouble or str(exc)) from exc
        for package in sorted(pathlib.Path(name, "apt", "cache", "archives").glob("*.deb")):
            fetch.run("dpkg-deb", "-x", str(package), str(new))
        program = new / PYTHON.relative_to(ROOT)
        program.write_text(PROGRAM, encoding="ascii")
        program.chmod(0o755)
        fetch.run(
            str(program),
            "-I",
            "-B",
            "-c",
            "import ctypes, struct, pytest, hypothesis; assert struct.calcsize('P') == 4",
        )
        new.rename(ROOT)


def main() -> None:
    BUILD.mkdir(exist_ok=True)
    with (BUILD / "i386.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if PYTHON.exists():
            return
        shutil.rmtree(ROOT, ignore_errors=True)
        print(f"fetching a Python of 32 bits into {ROOT}", flush=True)
        try:
            bring()
        except (LabError, OSError, subprocess.SubprocessError) as exc:
            sys.exit(str(exc))


if __name__ == "__main__":
    main()
