# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook that exports one host's SAs, as an operator runs it."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import tempfile
import typing as t

import pytest

from ansible.parsing.vault import VaultSecret

from ansible_collections.ipsec.manual.plugins.module_utils._core.sa import keys
from ansible_collections.ipsec.manual.plugins.module_utils._core.text import language
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.reader import read_connections
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore import steps
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.directory import Keystore
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.generations import sas_of
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.vault import Vault

COLLECTIONS = pathlib.Path(keys.__file__).parents[7]
CONNECTIONS = read_connections(
    [
        {"name": "pair", "endpoints": {"console": "192.0.2.1", "b": "192.0.2.2"}},
        {
            "name": "mesh",
            "endpoints": {"console": "192.0.2.11", "b": "192.0.2.12", "c": "192.0.2.13"},
            "associations": [{}, {"protocol": "ah"}],
        },
        {"name": "others", "endpoints": {"b": "192.0.2.22", "c": "192.0.2.23"}},
    ]
)


def export(folder: pathlib.Path, **settings: str) -> subprocess.CompletedProcess[str]:
    (folder / "password").write_text("correct horse")
    variables = [word for name, value in settings.items() for word in ("-e", f"export_{name}={value}")]
    command = [
        sys.executable,
        "-m",
        "ansible",
        "playbook",
        "ipsec.manual.export",
        "--vault-password-file",
        str(folder / "password"),
        "-vvv",
        *variables,
    ]
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "ANSIBLE_LOCALHOST_WARNING": "0"}
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def safe_folder() -> t.Iterator[pathlib.Path]:
    """A directory with parents that nobody else can write to, so not below /tmp."""
    with tempfile.TemporaryDirectory(dir=COLLECTIONS, prefix=".export.") as name:
        yield pathlib.Path(name)


@pytest.mark.parametrize("kind", ["random", "derived"])
@pytest.mark.parametrize("target", ["linux", "solaris"])
def test_one_command_writes_one_hosts_keys_for_its_owner_alone(
    tmp_path: pathlib.Path, safe_folder: pathlib.Path, kind: str, target: str
) -> None:
    if os.geteuid() != 0:
        pytest.skip("the protected file belongs to root")
    store = Keystore(str(tmp_path / "keystore"), Vault([("default", VaultSecret(b"correct horse"))]))
    store.make_directory()
    steps.carry_out(store, CONNECTIONS, steps.Order("prepared", "me@here", store=kind))
    step = steps.carry_out(store, CONNECTIONS, steps.Order("promoted", "me@here"))
    safe = safe_folder
    done = export(tmp_path, host="console", keystore=store.directory, dest=str(safe / "ipseckeys"), target=target)
    assert done.returncode == 0, done.stdout
    assert (safe / "ipseckeys").stat().st_mode & 0o777 == 0o600 and [
        path.name for path in safe.iterdir() if path.suffix != ".lock"
    ] == ["ipseckeys"]
    text = (safe / "ipseckeys").read_text()
    wanted = set()
    for name in ("pair", "mesh"):
        current = step.outcomes[name].after.records[0].current
        assert current is not None
        wanted.update(sas_of(current, name, step.roots.secrets(), "console"))
    assert set(language.parse(text, target=target).sas) == wanted and len(wanted) == 10
    assert not any(
        key.hex() in done.stdout + done.stderr
        for sa in wanted
        for key in (sa.encryption_key, sa.authentication_key)
        if key
    )


def test_fields_that_the_other_system_lacks_are_named(tmp_path: pathlib.Path, safe_folder: pathlib.Path) -> None:
    store = Keystore(str(tmp_path / "keystore"), Vault([("default", VaultSecret(b"correct horse"))]))
    store.make_directory()
    connections = read_connections(
        [{"name": "pair", "endpoints": {"console": "192.0.2.1", "b": "192.0.2.2"}, "reqid": 7}]
    )
    step = steps.carry_out(store, connections, steps.Order("prepared", "me@here"))
    generation = step.outcomes["pair"].after.records[0].next
    assert generation is not None
    settings = {
        "keystore": store.directory,
        "dest": str(safe_folder / "ipseckeys"),
        "target": "solaris",
        "generation": "next",
    }
    done = export(tmp_path, host="console", **settings)
    assert done.returncode != 0 and "reqid" in done.stdout + done.stderr and not list(safe_folder.iterdir())
    done_for_none = export(tmp_path, host="nobody", **settings)
    assert done_for_none.returncode != 0 and "there is no next generation of the host nobody" in done_for_none.stdout
    keys_of_it = [
        key.hex() for sa in sas_of(generation, "pair", {}) for key in (sa.encryption_key, sa.authentication_key)
    ]
    assert not any(key in done.stdout + done.stderr + done_for_none.stdout for key in keys_of_it)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"host": "console", "dest": "relative", "keystore": "/k"},
        {"host": "console", "dest": "/d", "keystore": "keystore"},
    ],
)
def test_missing_inputs_are_named(tmp_path: pathlib.Path, settings: dict[str, str]) -> None:
    done = export(tmp_path, **settings)
    usage = "Pass -e export_host=HOST -e export_keystore=DIRECTORY -e export_dest=FILE, both paths absolute."
    assert done.returncode != 0 and " ".join((done.stdout + done.stderr).split()).count(usage) == 1
    assert "TASK [" not in done.stdout
