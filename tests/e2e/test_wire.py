# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Traffic that was once encrypted never leaves in the clear, in whatever order connections are
added, changed and removed, hosts leave and reboot, and runs use policies and boot or not. One
history covers all of these, and each step builds on the previous ones; tcpdump checks the wire
after each step and each reboot.
"""

from __future__ import annotations

import itertools
import os
import pathlib
import signal
import typing as t

import pytest

from ansible_collections.ipsec.manual.tests.e2e.harness import (
    GUIDE,
    MESH,
    SHARED,
    Host,
    Project,
    clear,
    lab,
    on_the_wire,
)

NAME = "e2e-wire"
ADDRESSES = {"enigma": (GUIDE[0], MESH[0]), "partym": (GUIDE[1], MESH[1]), "third": (SHARED[1], MESH[2])}
EVERYWHERE = [pair for family in zip(*ADDRESSES.values()) for pair in itertools.combinations(family, 2)]

# Settings of a run for policies and boot.
FLAGS: dict[str, dict[str, bool]] = {
    "both": {"rotate_policies": True, "rotate_boot": True},
    "boot": {"rotate_policies": False, "rotate_boot": True},
    "policies": {"rotate_policies": True, "rotate_boot": False},
    "neither": {"rotate_policies": False, "rotate_boot": False},
}
# Changes of connections.
CHANGES = ("add", "change", "remove", "leave")


def connection(name: str, *hosts: str, family: int = 0, **more: t.Any) -> dict[str, t.Any]:
    return {"name": name, "endpoints": {host: ADDRESSES[host][family] for host in hosts}, **more}


def pair(**more: t.Any) -> dict[str, t.Any]:
    return connection("pair", "enigma", "partym", **more)


def shared(**more: t.Any) -> dict[str, t.Any]:
    return connection("shared", "enigma", "third", **more)


def far(**more: t.Any) -> dict[str, t.Any]:
    return connection("far", "partym", "third", **more)


def mesh(*hosts: str, **more: t.Any) -> dict[str, t.Any]:
    return connection("mesh", *hosts, family=1, **more)


class Step(t.NamedTuple):
    """One run of the role.

    ``does`` names the `CHANGES` that the run is the first to see, ``connections`` are all of them
    after it. A run that is ``refused`` reports that, and leaves them to the next. ``broken`` is a
    task after whose start the run is killed. ``says`` is in the output. Then ``reboots``."""

    does: str
    flags: str
    connections: list[dict[str, t.Any]]
    settings: dict[str, t.Any] = {}
    limit: str = ""
    refused: str = ""
    broken: str = ""
    says: tuple[str, ...] = ()
    reboots: tuple[str, ...] = ()

    def __str__(self) -> str:
        more = "limit" if self.limit else "only" if "rotate_only" in self.settings else "broken" if self.broken else ""
        return "-".join(filter(None, (*self.does.split(), self.flags, more)))


OPEN = "after a reboot their traffic would leave unencrypted"
TUNNEL: dict[str, t.Any] = {"mode": "tunnel", "reqid": 31}
ALL = ("enigma", "partym", "third")

HISTORY = (
    # Policies first, unknown to the service that is installed later.
    Step("add", "policies", [pair(), mesh(*ALL)]),
    Step("", "boot", [pair(), mesh(*ALL)], reboots=ALL),
    Step("add", "neither", [pair(), mesh(*ALL), shared()], refused=OPEN),
    Step("", "policies", [pair(), mesh(*ALL), shared()], refused="rotate_boot"),
    Step("add", "boot", [pair(), mesh(*ALL), shared()], refused=OPEN, reboots=("third",)),
    Step("add", "both", [pair(), mesh(*ALL), shared(), far()], reboots=("partym",)),
    Step("change", "neither", [pair(), mesh(*ALL), shared(reqid=7), far()], refused=OPEN),
    Step(
        "",
        "both",
        [pair(), mesh(*ALL), shared(reqid=7), far()],
        {"rotate_only": ["shared"]},
        broken="Write the SAs to the protected file",
        reboots=("enigma",),
    ),
    Step(
        "",
        "both",
        [pair(), mesh(*ALL), shared(reqid=7), far()],
        {"rotate_only": ["shared"]},
        limit="enigma,third",
        reboots=("third",),
    ),
    Step(
        "remove leave",
        "both",
        [mesh("enigma", "partym"), shared(reqid=7), far()],
        says=("connection pair is not among", "third left connection mesh"),
        reboots=ALL,
    ),
    Step("remove change", "boot", [mesh("enigma", "partym"), far(**TUNNEL)], {"rotate_only": ["far"]}, refused=OPEN),
    Step("", "both", [mesh("enigma", "partym"), far(**TUNNEL)], {"rotate_only": ["far"]}, reboots=("partym", "third")),
    Step("add change", "both", [mesh(*ALL), far(), pair()]),
    Step(
        "remove leave",
        "neither",
        [mesh("partym", "third"), far()],
        says=("connection pair is not among", "enigma left connection mesh"),
        reboots=ALL,
    ),
    Step("add leave", "boot", [mesh("enigma", "third"), far(), pair()], reboots=("enigma",)),
    Step("change remove", "policies", [mesh("enigma", "third"), far(reqid=9)], refused=OPEN),
    Step("leave", "policies", [mesh("partym", "third"), far()], {"rotate_new_keys": True}, reboots=ALL),
)


def test_the_history_has_every_change_under_all_flags() -> None:
    met = {(change, step.flags) for step in HISTORY for change in step.does.split()}
    assert met == set(itertools.product(CHANGES, FLAGS))


@pytest.fixture(scope="module", name="hosts")
def own_lab() -> t.Iterator[dict[str, Host]]:
    with lab(NAME) as hosts:
        yield hosts


@pytest.fixture(scope="module", name="project")
def own_project(hosts: dict[str, Host], tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder: pathlib.Path = tmp_path_factory.mktemp("wire")
    return Project(folder, NAME)


@pytest.fixture(scope="module", name="guarded")
def pairs_that_were_guarded() -> set[tuple[str, str]]:
    """The addresses between which policies of a finished run once required SAs."""
    return set()


def ends(connections: t.Iterable[dict[str, t.Any]]) -> set[tuple[str, str]]:
    return {
        (one, other)
        for row in connections
        for one, other in EVERYWHERE
        if {one, other} <= set(row["endpoints"].values())
    }


def send(host: Host) -> None:
    """Send a datagram to every address of the other hosts, without waiting for answers."""
    others = [address for name, addresses in ADDRESSES.items() if name != host.name for address in addresses]
    host.run("sh", "-c", "for to; do ping -c 1 -W 1 -q $to & done; wait; true", "sh", *others)


def watched(hosts: dict[str, Host], pairs: t.Collection[tuple[str, str]]) -> list[str]:
    with on_the_wire(NAME, *pairs) as seen:
        for host in hosts.values():
            send(host)
    return seen


def closed(seen: list[str], passing: set[tuple[str, str]]) -> None:
    """Check that all captured packets are encrypted, and that working connections have packets in both directions."""
    assert clear(seen) == []
    missing = [
        (one, other)
        for pair in passing
        for one, other in (pair, pair[::-1])
        if not any(f"{one} > {other}: ESP(" in line for line in seen)
    ]
    assert missing == []


def test_the_capture_sees_what_is_in_the_clear(hosts: dict[str, Host]) -> None:
    seen = watched(hosts, EVERYWHERE)
    assert all(
        any(f"{one} > {other}" in line for line in clear(seen))
        for pair in EVERYWHERE
        for one, other in (pair, pair[::-1])
    )


@pytest.mark.parametrize("step", HISTORY, ids=str)
def test_nothing_leaves_in_the_clear(
    step: Step, hosts: dict[str, Host], project: Project, guarded: set[tuple[str, str]]
) -> None:
    project.connections = step.connections
    options = ("--limit", step.limit) if step.limit else ()
    # This test looks at packets itself, so that the role need not. What is taken out stays protected.
    common = {"boot_service_manager": "sysvinit", "rotate_probe": False, "rotate_leave": []}
    process = project.start(*options, **common, **FLAGS[step.flags], **step.settings)
    if step.broken:
        project.await_output(process, f"TASK [ipsec.manual.rotate : {step.broken}")
        os.killpg(process.pid, signal.SIGKILL)
    done = project.finish(process)
    output = " ".join(done.output.split())
    assert bool(done.status) == bool(step.refused or step.broken), done.output
    assert step.refused in output and all(words in output for words in step.says), done.output
    if not done.status and FLAGS[step.flags]["rotate_policies"]:
        guarded |= ends(step.connections)
    passing = ends(step.connections) if not done.status else set()
    closed(watched(hosts, guarded), passing)
    for name in step.reboots:
        hosts[name].fault("reboot")
    if step.reboots:
        closed(watched(hosts, guarded), passing)
