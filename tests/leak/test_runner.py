# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A rotation as an automation controller runs it: ansible-runner, a private data directory, the
collection from its artifact.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

from ansible_collections.ipsec.manual.tests.leak.rotations import SETTINGS, check_watched, keys_in, prepare
from ansible_collections.ipsec.manual.tests.leak.stage import HOSTS, TOP, WORK, Stage

TOOLS = Path(sys.executable).parent
DATA = WORK / "runner"
INSTALLED = WORK / "installed"


def install() -> None:
    """Build the artifact and install it alone."""
    for folder in (DATA, INSTALLED):
        shutil.rmtree(folder, ignore_errors=True)
    galaxy("build", "--output-path", str(INSTALLED), str(TOP))
    (artifact,) = INSTALLED.glob("*.tar.gz")
    galaxy("install", "--offline", "--collections-path", str(INSTALLED), str(artifact))


def galaxy(*arguments: str) -> None:
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(INSTALLED), "PYTHONPATH": ""}
    done = subprocess.run(
        [TOOLS / "ansible-galaxy", "collection", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def write_data(stage: Stage) -> None:
    """The private data directory: inventory, settings, and the vault's password as the answer to
    Ansible's question for it.
    """
    inventory, input_folder = DATA / "inventory", DATA / "env"
    for folder in (inventory, input_folder, DATA / "project"):
        folder.mkdir(parents=True)
    shutil.copy(stage.inventory, inventory / "1-lab.yml")
    (inventory / "2-settings.yml").write_text(json.dumps({"lab": {"vars": SETTINGS}}), encoding="utf-8")
    password = (WORK / "vault.txt").read_text(encoding="ascii")
    inputs: dict[str, t.Any] = {
        "cmdline": "--ask-vault-pass -vvvv --diff",
        "passwords": {r"^Vault password:\s*$": password},
        "envvars": {
            "ANSIBLE_COLLECTIONS_PATH": str(INSTALLED),
            "ANSIBLE_HOME": "/tmp/home/.ansible",
            "HOME": "/tmp/home",
        },
        "settings": {"idle_timeout": 300, "job_timeout": 900},
    }
    for name, value in inputs.items():
        path = input_folder / name
        path.touch(mode=0o600)
        path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")


def test_a_job_leaks_no_key_into_its_events(stage: Stage) -> None:
    texts = prepare(stage)
    install()
    write_data(stage)
    outcome = stage.run(
        "controller",
        str(TOOLS / "ansible-runner"),
        "run",
        str(DATA),
        "--ident",
        "job",
        "-p",
        "ipsec.manual.rotate",
        environment={"PYTHONPATH": ""},
    )
    assert [str(leak) for leak in outcome.leaks] == []
    assert outcome.status == 0, outcome.output
    check_watched(outcome)
    for host in HOSTS:
        assert sorted(stage.kernel_keys(host)) == keys_in(texts.values())
    job = DATA / "artifacts" / "job"
    events = [json.loads(path.read_text(encoding="utf-8")) for path in (job / "job_events").glob("*.json")]
    kinds = {event["event"] for event in events}
    assert {"playbook_on_start", "runner_on_ok", "playbook_on_stats"} <= kinds
    assert (job / "rc").read_text(encoding="ascii") == "0"
    # The watch on written files saw them; once more, all that the job left.
    for path in filter(Path.is_file, job.rglob("*")):
        assert stage.search.first(path.read_bytes()) == "", path
    installed = INSTALLED / "ansible_collections" / "ipsec" / "manual"
    assert any(str(installed) in json.dumps(event) for event in events), "another copy of the collection ran"
