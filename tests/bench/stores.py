# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prints as JSON the CPU seconds and memory that the keystore takes for a full mesh, ESP and AH,
for both kinds of keys.

    stores.py WORK_FOLDER

Each measurement runs in a separate process, with the real Ansible Vault. Nothing is compared with
a clock, since the machine may be busy."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import time
import typing as t
from pathlib import Path

from ansible.parsing.vault import VaultSecret

from ansible_collections.ipsec.manual.plugins.module_utils._core.text import language
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.model import Connection
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.reader import read_connections
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore import steps
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.directory import Keystore
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.generations import SpiAllocator
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.records import DERIVED, ConnectionRecord, KeyRecord
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.roots import RootFile, add
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.sas import named
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.vault import Vault
from ansible_collections.ipsec.manual.tests.unit.plugins.generations import make

KINDS = ("random", "derived")
HOSTS = 200
MANY = 2000
ASSOCIATIONS = [{"protocol": "esp"}, {"protocol": "ah"}]


def mesh(hosts: int) -> Connection:
    addresses = {host_name(number): f"10.{number >> 8}.{number & 255}.1" for number in range(hosts)}
    return read_connections([{"name": "mesh", "endpoints": addresses, "associations": ASSOCIATIONS}])[0]


def host_name(number: int) -> str:
    return f"h{number:04}"


def keystore(folder: str) -> Keystore:
    return Keystore(folder, Vault([("default", VaultSecret(b"correct horse battery staple"))]))


def prepare(folder: str, kind: str, hosts: int) -> dict[str, t.Any]:
    """Prepare a second generation, as a rotation does: the first one's SPIs and fingerprints are checked, too."""
    store = keystore(folder)
    store.make_directory()
    connections = [mesh(hosts)]
    for state in ("prepared", "promoted"):
        steps.carry_out(store, connections, steps.Order(state, "bench", store=kind))
    began = time.process_time()
    step = steps.carry_out(keystore(folder), [mesh(hosts)], steps.Order("prepared", "bench", store=kind, new_keys=True))
    seconds = time.process_time() - began
    assert [part.outcome for part in step.outcomes["mesh"].parts] == ["made"]
    return {"seconds": seconds, "bytes": Path(store.path("mesh")).stat().st_size}


def render(folder: str, kind: str, hosts: int) -> dict[str, t.Any]:
    """Render one host's text, as the lookup does: decrypt, select or derive, check against retired keys, write."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.process_time()
    store = keystore(folder)
    text = language.render(named(store, ["mesh"], "newest", host_name(0)))
    seconds = time.process_time() - began
    wanted = (hosts - 1) * 2 * len(ASSOCIATIONS)
    assert text.count("\n") == len(set(text.splitlines())) == wanted
    return {"seconds": seconds, "sas": wanted, "kilobytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before}


def lay_down(folder: str, kind: str, hosts: int) -> dict[str, t.Any]:
    """Only the parts of a large mesh that one host's text needs:
    a derived generation and its root secret.
    """
    store = keystore(folder)
    store.make_directory()
    roots = add(RootFile(), "bench")
    root = roots.roots[0]
    connection = mesh(hosts)
    # Allocating the SPIs of so many takes about a minute, which is not measured here.
    record = make(
        KeyRecord("mesh"),
        connection._replace(endpoints=connection.endpoints[:2]),
        SpiAllocator(),
        set(),
        "bench",
        (root.fingerprint, root.secret),
    )
    assert record.next is not None
    record = record._replace(next=record.next._replace(settings=connection.settings()))
    store.write(ConnectionRecord.of(record), roots=roots)
    return {}


STEPS: dict[str, t.Callable[[str, str, int], dict[str, t.Any]]] = {
    "prepare": prepare,
    "render": render,
    "lay_down": lay_down,
}


def alone(step: str, folder: Path, kind: str, hosts: int) -> dict[str, t.Any]:
    """Run one step in a separate process."""
    command = [sys.executable, __file__, step, str(folder), kind, str(hosts)]
    found: dict[str, t.Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    return found


def measure(work: Path) -> dict[str, t.Any]:
    found: dict[str, t.Any] = {}
    for kind in KINDS:
        folder = work / kind
        found[f"{kind} prepare {HOSTS}"] = alone("prepare", folder, kind, HOSTS)
        found[f"{kind} render {HOSTS}"] = alone("render", folder, kind, HOSTS)
        shutil.rmtree(folder)
    for hosts in (HOSTS, MANY):
        folder = work / str(hosts)
        alone("lay_down", folder, DERIVED, hosts)
        found[f"{DERIVED} render {hosts}"] = alone("render", folder, DERIVED, hosts)
    return found


def main() -> None:
    if len(sys.argv) == 2:
        work = Path(sys.argv[1])
        work.mkdir(parents=True, exist_ok=True)
        print(json.dumps(measure(work)))
    else:
        step, folder, kind, hosts = sys.argv[1:]
        print(json.dumps(STEPS[step](folder, kind, int(hosts))))


if __name__ == "__main__":
    main()
