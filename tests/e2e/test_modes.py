# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Connections that change between transport and tunnel mode under traffic, also in runs that are killed on the way
while a host reboots. The tests of a session build on each other, in this order.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import time
import typing as t

import pytest

from ansible_collections.ipsec.manual.tests.e2e.flows import Line, Loss, address, flowing, line
from ansible_collections.ipsec.manual.tests.e2e.harness import Host, Project, clear, lab, on_the_wire
from ansible_collections.ipsec.manual.tests.faults import matrix

# Two sessions share this file, and each has a lab.
NAME = os.environ.get("SESSION", "e2e-modes")
RATE = 100  # packets a second, each way, on each of the flows
OTHER = {"transport": "tunnel", "tunnel": "transport"}
WINDOW: dict[str, t.Any] = {"replay_window": 64, "esn": True}


class Case(t.NamedTuple):
    line: Line
    mode: str  # before the first run that changes it

    @property
    def name(self) -> str:
        return f"{self.line.name.partition('-')[0]}-{self.mode}"

    @property
    def pair(self) -> tuple[str, str]:
        one, other = self.line.connection["endpoints"].values()
        return one, other

    def connection(self, changed: bool) -> dict[str, t.Any]:
        mode = OTHER[self.mode] if changed else self.mode
        return {**self.line.connection, "name": self.name, "mode": mode, "reqid": 7}


# Between the hosts themselves in both modes.
CASES = (
    Case(line(61, "esp", 4, "transport"), "transport"),
    Case(line(62, "esp", 4, "transport"), "tunnel"),
    Case(line(63, "esp", 6, "transport"), "transport"),
    Case(line(64, "esp", 6, "transport", **WINDOW), "tunnel"),
    Case(line(65, "ah", 4, "transport"), "transport"),
    Case(line(66, "ah", 4, "transport"), "tunnel"),
    Case(line(67, "ah", 6, "transport", **WINDOW), "transport"),
    Case(line(68, "ah", 6, "transport"), "tunnel"),
)
FLOWS = {row.name: row.line.flow for row in CASES}
# Anti-replay windows need new keys after a reboot.
AGAIN = [row for row in CASES if "replay_window" not in row.line.connection["associations"][0]]


@pytest.fixture(scope="module", name="hosts")
def own_lab() -> t.Iterator[dict[str, Host]]:
    with lab(NAME, ("enigma", "partym")) as hosts:
        address(hosts, [row.line for row in CASES])
        yield hosts


@pytest.fixture(scope="module", name="project")
def keyed_project(hosts: dict[str, Host], tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder: pathlib.Path = tmp_path_factory.mktemp("modes")
    project = Project(folder, NAME)
    project.variables = {"rotate_boot": True, "boot_service_manager": "sysvinit"}
    project.connections = [row.connection(False) for row in CASES]
    project.run_well()
    return project


def shown(losses: dict[str, Loss]) -> str:
    return "".join(
        f"{name:<14}{row.sent:>7} sent {row.lost:>5} lost {row.gap:>8.1f} ms\n" for name, row in losses.items()
    )


def check(losses: dict[str, Loss]) -> None:
    print(shown(losses))
    for row in losses.values():
        assert row.sent > 500 and row.streamed > 0
        assert (row.lost, row.duplicated, row.breaks) == (0, 0, []), shown(losses)


def modes(host: Host, row: Case) -> set[str]:
    one, other = row.pair
    found = host.ip(f"xfrm state list src {one} dst {other}") + host.ip(f"xfrm policy list src {one} dst {other}")
    assert "level use" not in found
    return {words.split()[0] for words in found.split(" mode ")[1:]}


@pytest.mark.parametrize("changed", [True, False])
def test_modes_change_without_a_lost_packet(hosts: dict[str, Host], project: Project, changed: bool) -> None:
    project.connections = [row.connection(changed) for row in CASES]
    watched = [row.pair for row in CASES if row.line.name.startswith("esp")]
    with on_the_wire(NAME, *watched) as seen, flowing(list(hosts.values()), FLOWS, RATE) as losses:
        done = project.run_well()
    check(losses)
    assert "with a gap" not in done.output and "level use" not in done.output
    assert len(seen) > 1000 and clear(seen) == []
    for host in hosts.values():
        for row in CASES:
            assert modes(host, row) == {OTHER[row.mode] if changed else row.mode}
            assert host.spis(*row.pair) == project.spis(row.name)
    assert set(project.run_well().changed().values()) == {0}


TASKS = {task.step: task.name for task in matrix.tasks("nested.yml")}
PERSIST = next(task.name for task in matrix.tasks("finish.yml") if task.step == "persist")


@pytest.mark.parametrize(
    ("task", "changed", "reboots"),
    [
        (TASKS["accept"], True, False),
        (TASKS["accept"], False, True),
        (TASKS["unnest"], True, True),
        (TASKS["unnest"], False, False),
        (PERSIST, True, False),
        (PERSIST, False, True),
    ],
)
def test_a_run_that_ends_on_the_way_is_finished_without_a_lost_packet(
    hosts: dict[str, Host], project: Project, task: str, changed: bool, reboots: bool
) -> None:
    """Killed while it asks hosts, of which one may then have done more than the other."""
    project.connections = [row.connection(changed) for row in AGAIN]
    flows = {row.name: FLOWS[row.name] for row in AGAIN}
    with contextlib.ExitStack() as stack:
        if not reboots:
            losses = stack.enter_context(flowing(list(hosts.values()), flows, RATE))
        process = project.start("--forks", "1")
        project.await_output(process, f"TASK [ipsec.manual.rotate : {task}]")
        time.sleep(1)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if reboots:
            hosts["enigma"].fault("reboot")
            address({"enigma": hosts["enigma"]}, [row.line for row in CASES])
            ends = {row.name: row.line.flow for row in AGAIN}
            for (dummy, there), (dummy, here) in ends.values():
                assert hosts["partym"].pings(there, here)
            losses = stack.enter_context(flowing(list(hosts.values()), flows, RATE))
        done = project.run_well()
    check(losses)
    assert "with a gap" not in done.output
    for host in hosts.values():
        for row in AGAIN:
            assert modes(host, row) == {OTHER[row.mode] if changed else row.mode}
            assert host.spis(*row.pair) == project.spis(row.name)


JUDGE = next(task.name for task in matrix.tasks("transaction.yml") if task.step == "judge")


@pytest.mark.parametrize("changed", [True, False])
def test_a_host_out_of_reach_keeps_both_generations_in_use(
    hosts: dict[str, Host], project: Project, changed: bool
) -> None:
    """From the moment on when the new SAs are approved: the next run finishes."""
    project.connections = [row.connection(changed) for row in AGAIN]
    with flowing(list(hosts.values()), {row.name: FLOWS[row.name] for row in AGAIN}, RATE) as losses:
        process = project.start()
        project.await_output(process, f"TASK [ipsec.manual.rotate : {JUDGE}")
        hosts["partym"].fault("down")
        done = project.finish(process)
        held = {name: [len(host.sas(*row.pair)) for row in AGAIN] for name, host in hosts.items()}
        hosts["partym"].fault("up")
        project.run_well()
    check(losses)
    assert done.status and "partym: unreachable" in done.output, done.output
    assert held == dict.fromkeys(hosts, [4] * len(AGAIN))
    for host in hosts.values():
        for row in AGAIN:
            assert modes(host, row) == {OTHER[row.mode] if changed else row.mode}
            assert host.spis(*row.pair) == project.spis(row.name)
