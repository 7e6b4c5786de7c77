# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rotation through the backend solaris: our ipseckey replaces the utility, and the kernel's state
is checked. The tests build on each other, in this order.
"""

from __future__ import annotations

import contextlib
import re
import typing as t

import pytest

from ansible_collections.ipsec.manual.tests.e2e.flows import flowing
from ansible_collections.ipsec.manual.tests.e2e.harness import CHECKOUT, GUIDE, MESH, Host, Project, lab

NAME = "e2e-solaris"
ENDS = {"enigma": GUIDE[0], "partym": GUIDE[1]}
CONNECTIONS: list[dict[str, t.Any]] = [
    {
        "name": "guide",
        "endpoints": ENDS,
        "associations": [
            {"protocol": "esp", "encryption_algorithm": "3des"},
            {"protocol": "ah", "authentication_algorithm": "md5"},
        ],
    },
    {
        "name": "tunnel",
        "endpoints": {"enigma": MESH[0], "partym": MESH[1]},
        "mode": "tunnel",
        "associations": [{"replay_window": 32}],
    },
]
RATE = 100  # packets a second, each way
FLOWS = {"guide": [[host, ENDS[host]] for host in ENDS], "tunnel": [["enigma", MESH[0]], ["partym", MESH[1]]]}
UTILITY = "/usr/sbin/ipseckey"
LIBRARY = "/usr/local/lib/ipseckey-library"
COMMAND = f"env PYTHONPATH={LIBRARY} /usr/bin/python3 -m ipseckey.program.command --show-keys"
# Like the utility with input that it cannot use: status 0, and a line on standard output that shows
# the key.
DROPS = f"""\
sed -u "s/^add .*encrkey \\([0-9a-f]*\\).*/help/" | {COMMAND} "$@"
echo "string '5ec4e7' not a hex value."
exit 0"""


class Fleet(t.NamedTuple):
    project: Project
    enigma: Host
    partym: Host

    def agree(self) -> None:
        for pair in (GUIDE, MESH[:2]):
            assert (
                {sa._replace(packets=0) for sa in self.enigma.sas(*pair)}
                == {sa._replace(packets=0) for sa in self.partym.sas(*pair)}
                != set()
            )

    @contextlib.contextmanager
    def losing_nothing(self) -> t.Iterator[None]:
        """Hosts accept both generations at the same time, so no packet is lost during the block."""
        with flowing([self.enigma, self.partym], FLOWS, RATE) as losses:
            yield
        for row in losses.values():
            assert row.sent > 1000 and row.streamed > 0
            assert (row.lost, row.duplicated, row.breaks) == (0, 0, []), losses


def install(host: Host, script: str) -> None:
    host.run("sh", "-c", f"cat > {UTILITY} <<'END'\n#!/bin/sh\n{script}\nEND\nchmod 755 {UTILITY}")


@pytest.fixture(scope="module", name="hosts")
def own_lab() -> t.Iterator[dict[str, Host]]:
    with lab(NAME, tuple(ENDS)) as hosts:
        yield hosts


@pytest.fixture(name="fleet", scope="module")
def make_fleet(hosts: dict[str, Host], tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """Two hosts with our command in place of the utility."""
    fleet = Fleet(Project(tmp_path_factory.mktemp("solaris"), NAME), hosts["enigma"], hosts["partym"])
    fleet.project.connections = CONNECTIONS
    for host in (fleet.enigma, fleet.partym):
        host.run("sh", "-c", f"mkdir -p {LIBRARY}; cp -r {CHECKOUT}/plugins/module_utils/_core {LIBRARY}/ipseckey")
        install(host, f'exec {COMMAND} "$@"')
    return fleet


def test_first_run_keys_both_and_the_second_changes_nothing(fleet: Fleet) -> None:
    done = fleet.project.run_well("-v", rotate_backend="solaris")
    fleet.agree()
    assert '"backend": "solaris"' in done.output and '"backend": "xfrm"' not in done.output
    for name, pair in (("guide", GUIDE), ("tunnel", MESH[:2])):
        assert fleet.partym.spis(*pair) == fleet.project.spis(name)
    text = fleet.enigma.file()
    assert (
        "proto 41 isrc ::/0 idst ::/0" in text
        and " mode tunnel" not in text
        and fleet.enigma.secret_files() == {"ipseckeys": "600 root"}
    )
    assert fleet.enigma.pings(GUIDE[1]) and fleet.enigma.pings(MESH[1])
    assert not fleet.enigma.keys() & set(re.findall(r"\w+", done.output))
    assert fleet.project.run_well(rotate_backend="solaris").changed() == {"enigma": 0, "partym": 0}


def test_new_keys_with_a_peer_on_linux(fleet: Fleet) -> None:
    """One host uses netlink, the other the prompt."""
    old = fleet.enigma.keys()
    with fleet.losing_nothing():
        fleet.project.run_well(
            rotate_new_keys=True, rotate_backend="{{ 'solaris' if inventory_hostname == 'partym' else 'auto' }}"
        )
    fleet.agree()
    assert len(fleet.enigma.keys()) == len(old) and not old & (fleet.enigma.keys() | fleet.partym.keys())
    assert fleet.partym.pings(GUIDE[0]) and fleet.partym.pings(MESH[0])


def test_a_utility_that_falsely_reports_success_does_not_affect_peers(fleet: Fleet) -> None:
    before = [{sa._replace(packets=0) for sa in host.sas()} for host in (fleet.enigma, fleet.partym)]
    install(fleet.partym, DROPS)
    done = fleet.project.run_badly(rotate_new_keys=True, rotate_backend="solaris")
    assert "did not add it" in done.output and "5ec4e7" not in done.output
    assert [{sa._replace(packets=0) for sa in host.sas()} for host in (fleet.enigma, fleet.partym)] == before
    assert fleet.enigma.pings(GUIDE[1]) and fleet.enigma.pings(MESH[1])
    install(fleet.partym, f'exec {COMMAND} "$@"')
    with fleet.losing_nothing():
        fleet.project.run_well(rotate_new_keys=True, rotate_backend="solaris")
    fleet.agree()
    assert [
        {sa.keys for sa in host.sas()} & {sa.keys for sa in old}
        for host, old in zip((fleet.enigma, fleet.partym), before)
    ] == [set(), set()]
