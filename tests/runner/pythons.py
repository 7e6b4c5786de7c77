# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real Python interpreters of this machine, by version."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

# What a managed host may run under the ansible-core versions we claim.
TARGETS = ("3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14")
OWN = f"{sys.version_info.major}.{sys.version_info.minor}"  # that of the tools
# What is run on each of them: the core's own tests, with fewer examples, since the part `unit` has tried more.
CORE = ("--hypothesis-profile", "pythons", "tests/unit/plugins/module_utils/_core", "tests/conformance")


def found() -> dict[str, Path]:
    """Version → interpreter, oldest first. A version manager's shim is not one: it does not run."""
    result = {version: _find(version) for version in TARGETS}
    return {version: path for version, path in result.items() if path}


def _find(version: str) -> Path | None:
    managed = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    folders = [*sorted(managed.glob(f"{version}.*/bin"), reverse=True), *map(Path, os.get_exec_path())]
    candidates = (folder / f"python{version}" for folder in folders)
    return next((path for path in candidates if os.access(path, os.X_OK) and _runs(path, version)), None)


def _runs(path: Path, version: str) -> bool:
    code = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2], sys.prefix == sys.base_prefix)"
    answer = subprocess.run([path, "-I", "-c", code], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    return answer.returncode == 0 and answer.stdout.split() == [version, "True"]


if __name__ == "__main__":
    for found_version, found_path in found().items():
        print(found_version, found_path)
    sys.exit(0)
