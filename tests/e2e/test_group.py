# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""New keys for a multicast group, while all of its hosts send to it. tests/kernel/test_multicast.py shows what
kernels do.
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import re
import subprocess
import typing as t

import pytest

from ansible_collections.ipsec.manual.tests.e2e.harness import HOSTS, LAB, Host, Project, lab

NAME = "e2e-group"
Hosts = t.Dict[str, Host]
PROGRAM = pathlib.Path(__file__).with_name("group.py")
GROUP = "239.1.1.7"
LINK = "link0"
ADDRESS = {name: f"10.77.0.{number}" for number, name in enumerate(HOSTS, 1)}
RATE = 100  # packets a second, from each host


@pytest.fixture(scope="module", name="hosts")
def hosts_on_one_link() -> t.Iterator[Hosts]:
    """Hosts whose wires are one link, in a VLAN of their own."""
    with lab(NAME) as hosts:
        ends = re.findall(r"^\d+: ([^:@]+)@", Host("wire", NAME).run("ip", "-o", "link"), re.M)
        bridge = "ip link add shared type bridge mcast_snooping 0; ip link set shared up; for end; do"
        vlan = "ip link add link $end name $end.7 type vlan id 7; ip link set $end.7 master shared up; done"
        Host("wire", NAME).run("sh", "-ec", f"{bridge} {vlan}", "sh", *ends)
        for name, host in hosts.items():
            host.ip(f"link add link data0 name {LINK} type vlan id 7")
            host.ip(f"addr add {ADDRESS[name]}/24 dev {LINK}")
            host.ip(f"link set {LINK} up")
        yield hosts


@pytest.fixture(scope="module", name="project")
def keyed_project(hosts: Hosts, tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder: pathlib.Path = tmp_path_factory.mktemp("group")
    project = Project(folder, NAME)
    rows = [{"protocol": "esp"}, {"protocol": "ah"}]
    project.connections = [{"name": "group", "endpoints": ADDRESS, "multicast": [GROUP], "associations": rows}]
    project.run_well()
    return project


class Heard(t.NamedTuple):
    """What one host heard of another: packets that were sent, that arrived, and that arrived twice."""

    sent: int
    arrived: int
    twice: int


@contextlib.contextmanager
def talking(hosts: Hosts) -> t.Iterator[dict[tuple[str, str], Heard]]:
    """All hosts send to the group during the block; what each heard of each other is there when it ends."""
    found: dict[tuple[str, str], Heard] = {}
    with contextlib.ExitStack() as stack:
        programs = {}
        for name, host in hosts.items():
            words = ("/usr/bin/python3", "-BIS", str(PROGRAM), name, LINK, GROUP, str(RATE))
            command = [LAB, "run", "--name", host.lab, name, "--", *words]
            program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            programs[name] = stack.enter_context(program)
            stack.callback(program.kill)
        for program in programs.values():
            assert program.stdout and program.stdout.readline() == "ready\n"
        tell(programs, "send")
        yield found
        tell(programs, "stop")
        answers = {name: json.loads(program.communicate(timeout=120)[0]) for name, program in programs.items()}
    for sender in hosts:
        for receiver in hosts.keys() - {sender}:
            distinct, every = answers[receiver]["arrived"].get(sender, (0, 0))
            found[sender, receiver] = Heard(answers[sender]["sent"], distinct, every - distinct)


def tell(programs: dict[str, subprocess.Popen[str]], word: str) -> None:
    for program in programs.values():
        assert program.stdin
        print(word, file=program.stdin, flush=True)


def outbound_policy(host: Host) -> str:
    return " ".join(host.run("ip", "xfrm", "policy", "list", "dst", f"{GROUP}/32", "dir", "out").split())


def test_the_program_counts_what_is_lost(hosts: Hosts, project: Project) -> None:
    third = hosts["third"]
    with talking(hosts) as heard:
        third.run("sh", "-c", f"ip link set {LINK} down; sleep 0.5; ip link set {LINK} up; sleep 0.5")
    assert heard["enigma", "partym"].sent > 50 and heard["enigma", "partym"].arrived == heard["enigma", "partym"].sent
    assert 0 < heard["enigma", "third"].arrived < heard["enigma", "third"].sent


def test_no_packet_to_the_group_is_lost_when_its_keys_change(hosts: Hosts, project: Project) -> None:
    old = project.spis("group")
    assert [host.spis() for host in hosts.values()] == [old] * len(hosts)
    with talking(hosts) as heard:
        for dummy in range(2):
            done = project.run_well(rotate_new_keys=True)
    print(heard)
    assert len(heard) == 6 and all(row.sent > 200 for row in heard.values())
    assert {(row.sent - row.arrived, row.twice) for row in heard.values()} == {(0, 0)}
    new = project.spis("group")
    assert [host.spis() for host in hosts.values()] == [new] * len(hosts) and not new & old
    assert re.search(r"group .* 2 -> 3 +overlap, no gap", done.output) and "flush" not in done.output
    # Only during the run do policies depend on a generation.
    assert all("spi" not in outbound_policy(host) and "proto esp" in outbound_policy(host) for host in hosts.values())
    assert project.run_well().changed() == dict.fromkeys(HOSTS, 0)


def test_without_policies_of_ours_the_group_has_a_gap_and_says_why(hosts: Hosts, project: Project) -> None:
    done = project.run_well(rotate_new_keys=True, rotate_policies=False)
    words = " ".join(done.output.split())
    assert "flush, because its hosts share one SA" in words and "connection group changes with a gap" in words
    with talking(hosts) as heard:
        hosts["enigma"].run("sleep", "0.5")
    assert all(row.sent == row.arrived > 0 for row in heard.values()), heard
