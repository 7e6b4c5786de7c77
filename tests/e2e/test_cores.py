# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The life of one connection with each older ansible-core on the controller. The other tests run on the newest.
The tests build on each other, in this order, and once for each core.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import typing as t

import pytest
import yaml

from ansible.release import __version__ as newest

from ansible_collections.ipsec.manual.tests.e2e.harness import GUIDE, Host, Project, Run, lab
from ansible_collections.ipsec.manual.tests.unit.docs.examples import examples

NAME = "e2e-cores"
CONNECTIONS = [{"name": "enigma-partym", "endpoints": {"enigma": GUIDE[0], "partym": GUIDE[1]}}]
Hosts = t.Dict[str, Host]
# The folder with the programs of each core, by its name. The session e2e-cores makes them.
CORES: dict[str, str] = json.loads(os.environ.get("CORES", "{}"))
TAKEN = ("reqid", "99", "mode", "transport", "enc", "cbc(aes)", "0x" + "a5" * 32)


@pytest.fixture(scope="module", name="hosts")
def make_hosts() -> t.Iterator[Hosts]:
    if not CORES:
        pytest.skip("CORES names no ansible-core: the session e2e-cores does")
    with lab(NAME, ("enigma", "partym")) as hosts:
        yield hosts


@pytest.fixture(scope="module", name="project", params=CORES or ["none"])
def make_project(
    hosts: Hosts, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> t.Iterator[Project]:
    """A controller with this core, and hosts without SAs."""
    folder: pathlib.Path = tmp_path_factory.mktemp(request.param)
    project = Project(folder, NAME)
    project.program = str(pathlib.Path(CORES[request.param], "ansible-playbook"))
    project.connections = CONNECTIONS
    yield project
    for host in hosts.values():
        host.run("sh", "-c", "ip xfrm policy flush; ip xfrm state flush; rm -rf /etc/inet/secret")


def quiet(done: Run) -> Run:
    """A run without warnings."""
    assert "WARNING" not in done.output, done.output
    return done


def agree(hosts: Hosts, project: Project) -> set[str]:
    """Check that both hosts hold the current generation, with the same keys, and nothing else; its SPIs."""
    ends = [{sa._replace(packets=0) for sa in host.sas()} for host in hosts.values()]
    spis = project.spis("enigma-partym")
    assert ends[0] == ends[1] and {sa.spi for sa in ends[0]} == spis != set()
    assert all(host.secret_files() == {"ipseckeys": "600 root"} for host in hosts.values())
    return spis


def test_no_example_makes_this_core_warn(project: Project) -> None:
    """ansible-core reads them as `ansible-playbook --list-tasks` does, without a host."""
    plays = []
    for example in examples():
        if example.kind == "playbook":
            plays += [play for play in example.data if "hosts" in play]
        elif example.kind == "tasks":
            plays.append({"name": example.place, "hosts": "enigma", "gather_facts": False, "tasks": example.data})
    assert len(plays) > 30
    (project.folder / "examples.yml").write_text(yaml.safe_dump(plays, sort_keys=False), encoding="utf-8")
    listed = quiet(project.run_well("--list-tasks", playbook="examples.yml"))
    assert all(f"({play['hosts']}): {play['name']}" in listed.output for play in plays if "name" in play)


def test_first_run_keys_both_hosts(hosts: Hosts, project: Project) -> None:
    version = subprocess.run([project.program, "--version"], capture_output=True, text=True, check=True).stdout
    assert "[core 2." in version and f"[core {newest}]" not in version
    quiet(project.run_well())
    agree(hosts, project)
    assert hosts["enigma"].pings(GUIDE[1])
    assert all(host.packets() and all(host.packets().values()) for host in hosts.values())


def test_rotation_replaces_the_keys(hosts: Hosts, project: Project) -> None:
    old, keys = project.spis("enigma-partym"), hosts["enigma"].keys()
    quiet(project.run_well(rotate_new_keys=True))
    assert not agree(hosts, project) & old and not hosts["enigma"].keys() & keys
    assert hosts["enigma"].pings(GUIDE[1])


def test_second_run_changes_nothing(hosts: Hosts, project: Project) -> None:
    kept, spis = project.snapshot(), hosts["enigma"].spis()
    assert quiet(project.run_well("--diff")).changed() == {"enigma": 0, "partym": 0}
    assert (project.snapshot(), agree(hosts, project)) == (kept, spis)


def test_refusal_at_cut_over_takes_both_hosts_back(hosts: Hosts, project: Project) -> None:
    """Another program takes the identity of the SA through which enigma is to send, once the hosts were checked."""
    old = {name: host.keys() for name, host in hosts.items()}
    process = project.start(rotate_new_keys=True)
    project.await_output(process, "TASK [ipsec.manual.rotate : Stage the SAs")
    lines = project.record("enigma-partym")["next"]["sas"].splitlines()
    (spi,) = [line.split()[3] for line in lines if f"dst {GUIDE[1]} " in line]
    identity = ("dst", GUIDE[1], "proto", "esp", "spi", spi)
    hosts["enigma"].run("ip", "xfrm", "state", "add", "src", "192.0.2.99", *identity, *TAKEN)
    done = project.finish(process)
    hosts["enigma"].run("ip", "xfrm", "state", "delete", *identity)
    assert done.status != 0, done.output
    assert "WARNING" not in done.output and done.output.count("reqid 99") == 1
    report = done.output.rpartition("The rotation stopped at: cut over")[2]
    assert "enigma: " in report and spi in report and "reqid 99" in report
    assert report.count("what it held before this run") >= 2
    assert {name: host.keys() for name, host in hosts.items()} == old
    agree(hosts, project)
    assert hosts["enigma"].pings(GUIDE[1])
