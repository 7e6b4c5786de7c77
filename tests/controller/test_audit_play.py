# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook audit, as an operator runs it: without any variable, and what its report says to run next."""

from __future__ import annotations

import json
import os
import pathlib
import shlex
import subprocess
import typing as t

import pytest

from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.reader import read_connections
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore import steps
from ansible_collections.ipsec.manual.tests.controller.test_status import COLLECTIONS, CONNECTIONS, Fleet


@pytest.fixture(name="fleet")
def make_fleet(tmp_path: pathlib.Path) -> Fleet:
    return Fleet(tmp_path)


def report(fleet: Fleet, *options: str) -> dict[str, t.Any]:
    done = fleet.play("ipsec.manual.audit", "--limit", "a,b", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, t.Any] = json.loads((fleet.folder / "audit" / "report.json").read_text(encoding="utf-8"))
    return found


def command(found: dict[str, t.Any], kind: str, pair: str = "") -> list[str]:
    """The last command of the first finding of this kind, and of this pair."""
    row = next(row for row in found["findings"] if row["id"] == kind and row["pair"].startswith(pair))
    return shlex.split(row["commands"][-1]["command"])


def test_it_needs_no_variables_and_names_what_the_next_run_needs(fleet: Fleet) -> None:
    found = report(fleet)
    assert sorted(path.name for path in (fleet.folder / "audit").glob("[ir]*")) == [
        *("ipsec_audit.prom", "report.html", "report.json", "report.txt"),
    ]
    inventory = str(fleet.folder / "inventory.json")
    assert command(found, "keystore-unread") == [
        *("ansible-playbook", "-i", inventory, "--ask-vault-password", "ipsec.manual.audit"),
        *("-e", "audit_keystore=KEYSTORE"),
    ]
    (row,) = (row for row in found["findings"] if row["id"] == "keystore-unread")
    assert f"there is no keystore in {fleet.folder / 'keystore'}" in row["what"]


def test_its_commands_are_for_this_inventory_and_keystore(fleet: Fleet) -> None:
    fleet.store.make_directory()
    steps.carry_out(fleet.store, read_connections(CONNECTIONS), steps.Order("prepared", "me@here"))
    found = report(fleet, "--vault-password-file", "password", "-e", "secret=hidden")
    assert "keystore-unread" not in {row["id"] for row in found["findings"]}
    words = command(found, "no-sas", "pair:")
    assert words == [
        *("ansible-playbook", "-i", str(fleet.folder / "inventory.json")),
        *("--vault-password-file", str(fleet.folder / "password"), "ipsec.manual.rotate"),
        *("-e", "rotate_only=pair"),
        *("-e", f"rotate_keystore={fleet.folder / 'keystore'}"),
    ]
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS)}
    subprocess.run([*words, "--list-tasks"], check=True, env=environment, cwd="/", stdout=subprocess.DEVNULL)
