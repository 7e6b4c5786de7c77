# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rotations under traffic through ESP in UDP, and of hosts that are keyed over PF_KEY. The tests build on
each other, in this order.
"""

from __future__ import annotations

import collections
import pathlib
import re
import textwrap
import typing as t

import pytest

from ansible_collections.ipsec.manual.tests.e2e.flows import Line, Loss, address, flowing, line
from ansible_collections.ipsec.manual.tests.e2e.harness import CHECKOUT, Host, Project, Run, clear, lab, on_the_wire

NAME = "e2e-backends"
RATE = 100  # packets a second, each way
ROTATIONS = 2
CALLS = 6  # to each host, in a rotation of hosts that have policies and load their SAs at boot
# What PF_KEY of Linux can request: no ESN, small windows, and no HMAC-SHA-256 with 128 bits.
COMMON: dict[str, t.Any] = {"authentication_algorithm": "hmac-sha512"}
WINDOW: dict[str, t.Any] = {"replay_window": 32}
IN_UDP = tuple(
    line(number, "esp", family, mode, **COMMON, **(WINDOW if family == 6 else {}))
    for number, (family, mode) in enumerate(((4, "transport"), (4, "tunnel"), (6, "transport"), (6, "tunnel")))
)
PLAIN = (
    line(4, "both", 4, "transport", **COMMON),
    line(5, "both", 6, "tunnel", **COMMON, **WINDOW),
    line(6, "ah", 4, "tunnel", **COMMON),
)
# Gets its encapsulation under traffic.
LATER = line(7, "esp", 4, "transport", **COMMON, **WINDOW)._replace(name="esp4-later")
LATER.connection["name"] = LATER.name
LINES = (*IN_UDP, *PLAIN, LATER)
FLOWS = {row.name: row.flow for row in LINES}
PAGE = CHECKOUT / "docs" / "docsite" / "rst" / "connections.rst"


def connections(in_udp: t.Collection[Line]) -> list[dict[str, t.Any]]:
    return [{**row.connection, **({"encapsulation": {}} if row in in_udp else {})} for row in LINES]


def pair(row: Line) -> tuple[str, str]:
    one, other = (end["address"] if isinstance(end, dict) else end for end in row.connection["endpoints"].values())
    return one, other


def receive(host: Host) -> None:
    """Start the program of the page that lets the kernel receive ESP in UDP."""
    found = re.search(r"\.\. code-block:: python\n\n(.*?)\n(?=\S)", PAGE.read_text(encoding="utf-8"), re.S)
    assert found
    start = (
        'printf "%s" "$1" >/root/esp-in-udp; /usr/bin/python3 -I /root/esp-in-udp >/root/said 2>&1 &'
        " for turn in $(seq 50); do grep -q ' [0-9A-F]*:1194 ' /proc/net/udp6 && exit; sleep 0.1; done; cat /root/said;"
        " exit 1"
    )
    host.run("sh", "-c", start, "sh", textwrap.dedent(found[1]))


@pytest.fixture(scope="module", name="hosts")
def own_lab() -> t.Iterator[dict[str, Host]]:
    with lab(NAME, ("enigma", "partym")) as hosts:
        address(hosts, LINES)
        yield hosts


@pytest.fixture(scope="module", name="project")
def own_project(hosts: dict[str, Host], tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder: pathlib.Path = tmp_path_factory.mktemp("backends")
    project = Project(folder, NAME)
    project.connections = connections(IN_UDP)
    project.variables = {"rotate_boot": True, "boot_service_manager": "sysvinit"}
    return project


def assert_nothing_lost(losses: dict[str, Loss]) -> None:
    shown = "".join(
        f"{name:<16}{row.sent:>7} sent {row.lost:>5} lost {row.gap:>8.1f} ms\n" for name, row in losses.items()
    )
    print(shown)
    for row in losses.values():
        assert row.sent > 1000 and row.streamed > 0
        assert (row.lost, row.duplicated, row.breaks) == (0, 0, []), shown


def calls(run: Run) -> dict[str, int]:
    """How often a run with -vvv connects to each host."""
    return collections.Counter(re.findall(r"^<(\S+)> ESTABLISH SSH CONNECTION", run.output, re.M))


def assert_current(hosts: dict[str, Host], project: Project) -> None:
    """Kernels hold the current generation, and nothing else."""
    for host in hosts.values():
        for row in LINES:
            assert host.spis(*pair(row)) == project.spis(row.name)


def test_a_port_that_nothing_has_open_is_noticed(hosts: dict[str, Host], project: Project) -> None:
    done = project.run_badly()
    assert "No program has UDP port 4500 open" in done.output and "none arrived at partym" in done.output
    for host in hosts.values():
        assert f"src {pair(IN_UDP[0])[0]}/32" not in host.ip("xfrm policy")
        receive(host)
    assert "UDP port 4500" not in project.run_well().output
    assert " encap udp " in hosts["enigma"].file()


def test_rotations_through_udp_lose_nothing(hosts: dict[str, Host], project: Project) -> None:
    project.connections = connections([*IN_UDP, LATER])
    # Test packets between the ends of a tunnel are not for its networks, and travel in the clear.
    watched = [pair(row) for row in IN_UDP if row.connection["mode"] == "transport"]
    with on_the_wire(NAME, *watched) as seen, flowing(list(hosts.values()), FLOWS, RATE) as losses:
        for dummy in range(ROTATIONS):
            assert "with a gap" not in project.run_well(rotate_new_keys=True).output
    assert_nothing_lost(losses)
    assert_current(hosts, project)
    assert len(seen) > 1000 and clear(seen) == [] and all("UDP-encap: ESP(" in row for row in seen)
    assert hosts["enigma"].ip("xfrm state").count("encap type espinudp sport 4500 dport 4500") == 2 * len(IN_UDP) + 2


def test_rotations_over_pf_key_lose_nothing(hosts: dict[str, Host], project: Project) -> None:
    before = {row.name: project.record(row.name)["current"]["generation"] for row in LINES}
    with flowing(list(hosts.values()), FLOWS, RATE) as losses:
        for dummy in range(ROTATIONS):
            done = project.run_well("-vvv", rotate_new_keys=True, rotate_backend="pfkey")
            assert "with a gap" not in done.output and '"backend": "xfrm"' not in done.output
    assert_nothing_lost(losses)
    assert_current(hosts, project)
    assert {row.name: project.record(row.name)["current"]["generation"] for row in LINES} == {
        name: number + ROTATIONS for name, number in before.items()
    }
    again = project.run_well("-vvv", rotate_backend="pfkey")
    assert again.changed() == {"enigma": 0, "partym": 0}
    assert max(calls(done).values()) <= CALLS and set(calls(again).values()) == {1}
    assert len(calls(done)) == len(calls(again)) == len(hosts)
