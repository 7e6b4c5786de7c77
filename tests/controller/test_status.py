# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook status, as an operator runs it: what it shows without a keystore, without a password, and with both."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import sys
import typing as t

import pytest

from ansible.parsing.vault import VaultSecret

from ansible_collections.ipsec.manual.plugins.module_utils._core.sa import keys
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.reader import read_connections
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore import steps
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.directory import Keystore
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.generations import sas_of
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.vault import Vault

COLLECTIONS = pathlib.Path(keys.__file__).parents[7]
CONNECTIONS = [
    {"name": "pair", "endpoints": {"a": "192.0.2.1", "b": "192.0.2.2"}},
    {"name": "far", "endpoints": {"a": "192.0.2.1", "c": "192.0.2.3"}},
]
# c cannot be reached, and d is not an endpoint.
HOSTS: dict[str, dict[str, t.Any]] = {
    "a": {"ansible_connection": "local"},
    "b": {"ansible_connection": "local"},
    "c": {"ansible_host": "127.0.0.1", "ansible_port": 9},
    "d": {"ansible_host": "127.0.0.1", "ansible_port": 9},
}


class Fleet:
    """An inventory, and a keystore beside it."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.store = Keystore(str(folder / "keystore"), Vault([("default", VaultSecret(b"correct horse"))]))
        variables = {
            "ipsec_connections": CONNECTIONS,
            "ansible_pipelining": True,
            "ansible_python_interpreter": sys.executable,
            "rotate_file": str(folder / "absent"),
        }
        (folder / "inventory.json").write_text(json.dumps({"all": {"hosts": HOSTS, "vars": variables}}))
        (folder / "password").write_text("correct horse")

    def status(self, *options: str) -> subprocess.CompletedProcess[str]:
        return self.play("ipsec.manual.status", *options)

    def play(self, playbook: str, *options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "ansible", "playbook", playbook, "-i", "inventory.json", *options]
        environment = {
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_SSH_RETRIES": "0",
        }
        return subprocess.run(command, env=environment, cwd=self.folder, capture_output=True, text=True, check=False)

    def tree(self) -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}


@pytest.fixture(name="fleet")
def make_fleet(tmp_path: pathlib.Path) -> Fleet:
    return Fleet(tmp_path)


def said(done: subprocess.CompletedProcess[str]) -> str:
    """What was printed in one line, since sentences are broken into several."""
    return " ".join(re.sub(r'",\n\s+"', " ", done.stdout).split())


def cells(done: subprocess.CompletedProcess[str], name: str) -> list[str]:
    """The row of a connection in the table."""
    # With -vvv, the results of tasks have it too.
    lines = [line for line in done.stdout.splitlines() if line.strip().startswith(f'"{name} ')]
    return lines[-1].strip(' ",').split()


def test_without_a_keystore_the_generation_is_unknown_and_absent_hosts_are_named(fleet: Fleet) -> None:
    done = fleet.status()
    assert done.returncode == 0, done.stdout + done.stderr
    assert cells(done, "pair")[:3] == ["pair", "2/2", "unknown"]
    assert cells(done, "far")[:3] == ["far", "1/2", "unknown"]
    assert "c: absent: unreachable (" in said(done) and "d: absent" not in said(done)
    assert "since no keystore is named" in said(done)


def test_hosts_outside_of_the_run_are_named(fleet: Fleet) -> None:
    done = fleet.status("--limit", "a")
    assert cells(done, "pair")[:2] == ["pair", "1/2"]
    assert "b: absent: it does not take part in this run" in said(done)


def test_with_a_keystore_hosts_that_hold_nothing_are_named(fleet: Fleet) -> None:
    fleet.store.make_directory()
    connections = read_connections(CONNECTIONS)
    steps.carry_out(fleet.store, connections, steps.Order("prepared", "me@here"))
    step = steps.carry_out(fleet.store, connections, steps.Order("promoted", "me@here"))
    before = fleet.tree()
    keystore = ("-e", f"rotate_keystore={fleet.store.directory}")
    without = fleet.status(*keystore)
    assert without.returncode == 0 and cells(without, "pair")[2] == "unknown"
    assert "The generations are unknown. " in said(without) and "no vault secret is loaded" in said(without)
    done = fleet.status(*keystore, "--vault-password-file", "password", "-vvv")
    assert done.returncode == 0, done.stdout + done.stderr
    # This machine has no SAs of these addresses; where it does not show them, nothing is guessed.
    if "pair: a and b hold" in said(done):
        assert cells(done, "pair")[2] == "none"
        assert said(done).count("pair: a and b hold no SAs of this connection") == 1
    else:
        assert "CAP_NET_ADMIN" in said(done)
    assert fleet.tree() == before
    (current,) = (record.current for record in step.outcomes["pair"].after.present())
    assert current is not None
    material = [key.hex() for sa in sas_of(current, "pair", {}) for key in (sa.encryption_key, sa.authentication_key)]
    assert not any(key in done.stdout + done.stderr for key in material)


def was_skipped(done: subprocess.CompletedProcess[str]) -> bool:
    """Whether no host was asked."""
    return {f"skipping: [{host}]" for host in HOSTS} <= {*done.stdout.splitlines()}


def test_an_inventory_without_connections_is_refused(fleet: Fleet) -> None:
    """They may be in a play, where this playbook does not see them."""
    (fleet.folder / "inventory.json").write_text(json.dumps({"all": {"hosts": HOSTS}}))
    done = fleet.status()
    assert done.returncode != 0 and "ipsec_connections: no connections are known here" in said(done), done.stdout
    assert was_skipped(done)
    none = fleet.status("-e", json.dumps({"ipsec_connections": []}))
    assert none.returncode == 0, none.stdout + none.stderr


def test_wrong_connections_are_refused_before_any_host_is_asked(fleet: Fleet) -> None:
    done = fleet.status("-e", json.dumps({"ipsec_connections": [{**CONNECTIONS[0], "endpoint": {}}]}))
    assert done.returncode != 0 and "unknown name 'endpoint'" in done.stdout + done.stderr
    assert was_skipped(done)


@pytest.mark.parametrize(
    ("variables", "part"),
    [
        ({"rotate_due": {"age": "soon"}}, "rotate_due.age: 'soon' is not valid"),
        ({"rotate_due": [1]}, "rotate_due: expected a mapping, but found a list"),
        ({"rotate_backend": "other"}, "rotate_backend: expected one of auto, xfrm, solaris, pfkey, but found 'other'"),
        ({"rotate_timeout": "soon"}, "rotate_timeout: expected a whole number of 0 or more, but found 'soon'"),
        ({"rotate_keystor": "keys"}, "The nearest name is rotate_keystore."),
    ],
)
def test_wrong_settings_are_refused_before_any_host_is_asked(
    fleet: Fleet, variables: dict[str, t.Any], part: str
) -> None:
    done = fleet.status("-e", json.dumps(variables))
    assert done.returncode != 0 and part in said(done) + done.stderr, done.stdout + done.stderr
    assert was_skipped(done)


@pytest.mark.parametrize("module", ["ipsec_audit_report", "ipsec_fleet", "ipsec_rotation"])
def test_a_key_in_place_of_a_step_is_not_shown(fleet: Fleet, module: str) -> None:
    key = "5ec4e7" * 8
    task = {f"ipsec.manual.{module}": {"step": "{{ vault_key }}"}}
    play = {"hosts": "localhost", "gather_facts": False, "tasks": [task]}
    (fleet.folder / "misplaced.yml").write_text(json.dumps([play]))
    (fleet.folder / "variables.json").write_text(json.dumps({"vault_key": key}))
    done = fleet.play("misplaced.yml", "-e", "@variables.json")
    assert done.returncode and key not in done.stdout + done.stderr
    assert "step: there is no step (a word of 48 characters" in said(done) and "Known are: " in said(done)
