# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The artifact contains what users need and nothing else, installs on its own, has documentation, and
includes its playbooks.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import typing as t
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
ROOTS = {
    "CHANGELOG.md",
    "CHANGELOG.rst",
    "CODE_OF_CONDUCT.md",
    "CONTRIBUTING.md",
    "LICENSES",
    "MAINTAINERS",
    "README.md",
    "REUSE.toml",
    "SECURITY.md",
    "changelogs",
    "docs",
    "meta",
    "playbooks",
    "plugins",
    "roles",
}
BUILT = {"FILES.json", "MANIFEST.json"}
NOT_PACKED = {".gitignore", ".gitkeep"}


def run(*command: str, **environment: str) -> str:
    done = subprocess.run(
        command, cwd=TOP, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module", name="artifact")
def make_artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact built as for a release, with a bill of materials that lists all of its files."""
    out = tmp_path_factory.mktemp("artifact") / "out"
    program = "import pathlib, release, sys; release.build(pathlib.Path(sys.argv[1]))"
    run(sys.executable, "-c", program, str(out), PYTHONPATH=str(TOP / "tests" / "release"))
    (tarball,) = out.glob("*.tar.gz")
    return tarball


@pytest.fixture(scope="module", name="installed")
def install(artifact: Path) -> dict[str, str]:
    """An environment in which only the artifact is found."""
    where = {"ANSIBLE_COLLECTIONS_PATH": str(artifact.parent), "PYTHONPATH": ""}
    run(
        "ansible-galaxy",
        "collection",
        "install",
        "--offline",
        "--collections-path",
        str(artifact.parent),
        str(artifact),
        **where,
    )
    return where


def test_the_artifact_holds_what_users_need_and_nothing_else(artifact: Path) -> None:
    files = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    wanted = {
        name
        for name in files
        if name.split("/")[0] in ROOTS and Path(name).name not in NOT_PACKED and (TOP / name).exists()
    } | BUILT
    with tarfile.open(artifact) as archive:
        packed = {member.name for member in archive.getmembers() if not member.isdir()}
    assert packed == wanted, "see build_ignore in galaxy.yml"


@pytest.mark.parametrize("kind", ["module", "lookup", "filter", "role"])
def test_what_is_installed_is_documented(installed: dict[str, str], kind: str) -> None:
    names = list(json.loads(run("ansible-doc", "--json", "--list", "-t", kind, "ipsec.manual", **installed)))
    found: dict[str, t.Any] = json.loads(run("ansible-doc", "--json", "-t", kind, *names, **installed))
    assert names
    assert [
        name
        for name in names
        if not (found.get(name) and (kind == "role" or (found[name]["doc"] and found[name]["examples"])))
    ] == []


def test_the_playbooks_of_the_artifact_are_found_and_read(installed: dict[str, str]) -> None:
    playbooks = [f"ipsec.manual.{path.stem}" for path in sorted((TOP / "playbooks").glob("*.yml"))]
    assert playbooks
    needed = '{"export_host": "enigma", "export_keystore": "/keystore", "export_dest": "/ipseckeys"}'
    run("ansible-playbook", "--inventory", "localhost,", "-e", needed, "--syntax-check", *playbooks, **installed)
