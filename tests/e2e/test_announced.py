# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Settings of which the old and the new one cannot stand side by side: the run says so, with the gap to expect,
before it changes anything on a host.
"""

from __future__ import annotations

import os
import pathlib
import re
import signal
import typing as t

import pytest

from ansible_collections.ipsec.manual.tests.e2e.flows import PROTOCOLS, Line, address, flowing, line
from ansible_collections.ipsec.manual.tests.e2e.harness import Host, Project, lab

NAME = "e2e-announced"
LINES: dict[str, Line] = {"protocol": line(30, "esp", 4, "transport"), "if-id": line(31, "esp", 4, "transport")}
CHANGED: dict[str, dict[str, t.Any]] = {"protocol": {"associations": PROTOCOLS["ah"]}, "if-id": {"if_id": 5}}


@pytest.fixture(scope="module", name="hosts")
def own_lab() -> t.Iterator[dict[str, Host]]:
    with lab(NAME, ("enigma", "partym")) as hosts:
        address(hosts, LINES.values())
        yield hosts


@pytest.fixture(scope="module", name="project")
def keyed_project(hosts: dict[str, Host], tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder: pathlib.Path = tmp_path_factory.mktemp("announced")
    project = Project(folder, NAME)
    project.connections = [{**row.connection, "name": name} for name, row in LINES.items()]
    project.run_well()
    return project


def state_of(hosts: dict[str, Host]) -> list[t.Any]:
    """What hosts hold: SAs by SPI, policies, and their protected files."""
    return [
        (host.spis(), host.run("ip", "xfrm", "policy"), host.secret_files(), host.file()) for host in hosts.values()
    ]


def test_a_gap_is_announced_before_anything_changes_on_a_host(hosts: dict[str, Host], project: Project) -> None:
    before = state_of(hosts)
    project.connections = [{**found, **CHANGED[found["name"]]} for found in project.connections]
    with flowing(list(hosts.values()), {"protocol": LINES["protocol"].flow}, 50) as losses:
        process = project.start()
        project.await_output(process, "changes with a gap of")
        os.killpg(process.pid, signal.SIGSTOP)
        try:
            assert state_of(hosts) == before
        finally:
            os.killpg(process.pid, signal.SIGCONT)
        done = project.finish(process)
    assert done.status == 0, done.output
    assert state_of(hosts) != before
    said = " ".join(done.output.split())
    for name in LINES:
        assert re.search(rf"connection {name} changes with a gap of [^,]*\d[^,]*, in which packets are lost:", said)
    print(losses)
    assert losses["protocol"].lost and not losses["protocol"].breaks
