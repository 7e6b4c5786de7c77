# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every molecule scenario of this collection, in containers that `default` starts once, and the
example project with the built artifact.
"""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import subprocess
import sys
import typing as t

import pytest

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
ENGINE = CHECKOUT / "tests" / "molecule" / "engine"
CACHE = CHECKOUT / "build" / "molecule"
STORIES = ("first_sas", "rotation", "refusal", "keystore", "boot")
LIKE_ROTATION = ("refusal", "keystore")  # these converge as it does, which tests idempotence


def run(folder: pathlib.Path, *command: str, **environment: str) -> str:
    """Run a command that must succeed; return its output."""
    path = f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": path, "NO_COLOR": "1", "ANSIBLE_NOCOLOR": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}: exit status {done.returncode}\n{done.stdout}"
    return done.stdout


def succeeded(output: str, scenario: str) -> set[str]:
    """The actions that molecule says it executed."""
    return set(re.findall(rf"\[{scenario} > (\w+)\] Executed: Successful", output))


@pytest.fixture(scope="module")
def note(request: pytest.FixtureRequest) -> t.Callable[[str], None]:
    """Print a note that the summary of all gates shows."""
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def say(text: str) -> None:
        with capture.global_and_fixture_disabled():
            print(f"\nNOTE: {text}")

    return say


@pytest.fixture(scope="module")
def molecule(
    note: t.Callable[[str], None], tmp_path_factory: pytest.TempPathFactory
) -> t.Iterator[t.Callable[..., str]]:
    """Runs molecule in this checkout, with running containers. Its state, with a keystore, is
    outside of any collection.
    """
    state = str(tmp_path_factory.mktemp("state"))

    def molecule(*arguments: str) -> str:
        return run(CHECKOUT, "molecule", *arguments, MOLECULE_EPHEMERAL_DIRECTORY=state)

    CACHE.mkdir(parents=True, exist_ok=True)
    try:
        output = molecule("create", "-s", "default")
        note(t.cast("re.Match[str]", re.search(r'"(containers: [^"]+)"', output)).group(1))
        yield molecule
    finally:
        molecule("destroy", "-s", "default")


def test_every_scenario_is_one_of_the_stories() -> None:
    found = {path.parent.name for path in (CHECKOUT / "extensions" / "molecule").glob("*/molecule.yml")}
    assert found == {"default", *STORIES}


@pytest.mark.parametrize("story", STORIES)
def test_story(story: str, molecule: t.Callable[..., str]) -> None:
    output = molecule("test", "-s", story, "--destroy", "never")
    second = set() if story in LIKE_ROTATION else {"idempotence"}
    assert {"converge", "verify"} | second <= succeeded(output, story), output


@pytest.mark.usefixtures("molecule")
def test_example_project(tmp_path: pathlib.Path) -> None:
    """Use the example's folder with the built artifact, as a team would, and nothing of this
    checkout except the kernel.
    """
    project = tmp_path / "project"
    shutil.copytree(CHECKOUT / "docs" / "example-project", project)
    alone = {
        "ANSIBLE_COLLECTIONS_PATH": str(project / "collections"),
        "PYTHONPATH": "",
        "MOLECULE_EPHEMERAL_DIRECTORY": str(project / "state"),
    }
    run(CHECKOUT, "ansible-galaxy", "collection", "build", "--force", "--output-path", str(project))
    (artifact,) = project.glob("*.tar.gz")
    run(
        project,
        "ansible-galaxy",
        "collection",
        "install",
        "--offline",
        "--collections-path",
        str(project / "collections"),
        str(artifact),
        **alone,
    )
    # As in extensions/molecule/inventory.yml: docker runs images only.
    by_tree = str(
        os.environ.get("MOLECULE_ENGINE") != "docker" and (CHECKOUT / "build" / "lab" / "molecule").exists()
    ).lower()
    extra = (
        "-e",
        f"molecule_hosts_engine={ENGINE}",
        "-e",
        f"molecule_hosts_cache={CACHE}",
        "-e",
        f"molecule_hosts_rootfs={by_tree}",
    )
    output = run(project, "molecule", "test", "--", *extra, **alone)
    assert {"create", "converge", "idempotence", "verify", "destroy"} <= succeeded(output, "default"), output
