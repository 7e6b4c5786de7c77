# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A link whose hosts share the SA of a multicast group, as OSPFv3 requires (RFC 4552): packets of
either host reach the other only with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import sys
import time
import typing as t

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core.sa import keys
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.algorithms import BY_NAME
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import SecurityAssociation, format_address
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.xfrm.backend import XfrmSadb
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.reader import read_connections
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.changes import draw_sas
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.generations import SpiAllocator
from ansible_collections.ipsec.manual.tests.kernel import witness
from ansible_collections.ipsec.manual.tests.kernel.witness import add

GROUP = "ff02::5"
HOSTS = {"here": "fd00::1", "there": "fd00::2"}
(CONNECTION,) = read_connections(
    [{"name": "link", "endpoints": HOSTS, "multicast": [GROUP], "associations": [{"protocol": "ah"}]}]
)
PORT = 9
CLONE_NEWNET = 0x40000000


@contextlib.contextmanager
def inside(host: str) -> t.Iterator[None]:
    """In a host's network namespace; a socket stays in the one it was made in."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/self/ns/net", "rb") as own, open(f"/run/netns/{host}", "rb") as other:
        if libc.setns(other.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), host)
        try:
            yield
        finally:
            libc.setns(own.fileno(), CLONE_NEWNET)


class Host:
    """One end of the link; ip(8) handles its policies and counters, our code its SAs."""

    def __init__(self, name: str) -> None:
        self.name = name
        policy = (
            f"xfrm policy add src ::/0 dst {GROUP}/128 dir {{}} tmpl proto ah reqid {CONNECTION.reqid} mode transport\n"
        )
        address = f"addr add {HOSTS[name]}/64 dev {name} nodad\nlink set {name} up\n"
        with inside(name):  # duplicate address detection would leave the link without an address for a second
            witness.write(f"/proc/sys/net/ipv6/conf/{name}/accept_dad", "0")
        witness.run("ip", "-n", name, "-batch", "-", stdin=address + policy.format("out") + policy.format("in"))
        with inside(name):
            self.socket = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            index = socket.if_nametoindex(name)
        self.socket.bind(("::", PORT))
        self.socket.setsockopt(
            socket.IPPROTO_IPV6,
            socket.IPV6_JOIN_GROUP,
            socket.inet_pton(socket.AF_INET6, GROUP) + index.to_bytes(4, sys.byteorder),
        )
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
        self.to = (GROUP, PORT, 0, index)

    def holds(self, sas: t.Sequence[SecurityAssociation]) -> None:
        with inside(self.name):
            XfrmSadb().apply(add(*sas))

    def loses_all(self) -> None:
        with inside(self.name):
            XfrmSadb().flush()

    def hears(self, sender: Host) -> bool:
        """Whether a packet that the other sends to the group arrives."""
        word = os.urandom(8)
        with contextlib.suppress(OSError):  # without an SA, the kernel refuses to send
            sender.socket.sendto(word, sender.to)
        self.socket.settimeout(2)
        try:
            return self.socket.recv(100) == word
        except socket.timeout:
            return False

    def packets(self) -> int:
        """The counters of the group's SA, read with ip(8)."""
        return witness.counters(" ".join(witness.run("ip", "-n", self.name, "-s", "xfrm", "state").split()))[1]


@pytest.fixture(name="link")
def make_link(sadb: XfrmSadb) -> t.Iterator[tuple[Host, Host]]:
    for name in HOSTS:
        witness.run("ip", "netns", "add", name)
    witness.run("ip", "-n", "here", "link", "add", "here", "type", "veth", "peer", "name", "there", "netns", "there")
    hosts = (Host("here"), Host("there"))
    for name in HOSTS:
        while "state UP" not in witness.run("ip", "-n", name, "link", "show", "dev", name):
            time.sleep(0.05)
    yield hosts
    for host in hosts:
        host.socket.close()
        witness.run("ip", "netns", "del", host.name)


def test_one_sa_carries_the_packets_of_all(link: tuple[Host, Host]) -> None:
    here, there = link
    (sa,) = draw_sas(CONNECTION, SpiAllocator(), set())
    assert format_address(sa.destination) == GROUP
    for host in link:
        host.holds([sa])
    assert there.hears(here) and here.hears(there)
    assert (here.packets(), there.packets()) == (2, 2)


def test_without_the_same_sa_nothing_passes(link: tuple[Host, Host]) -> None:
    here, there = link
    assert not there.hears(here)
    (sa,) = draw_sas(CONNECTION, SpiAllocator(), set())
    here.holds([sa])
    there.holds([sa._replace(authentication_key=keys.generate(BY_NAME[sa.authentication]))])
    assert not there.hears(here)
    there.loses_all()
    there.holds([sa])
    assert there.hears(here)
