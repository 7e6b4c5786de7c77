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
import re
import socket
import sys
import threading
import time
import typing as t

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import SadbError
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
SO_RCVBUFFORCE = 33


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

    def used(self, sa: SecurityAssociation) -> int:
        """The packets that one of several SAs of the group has carried."""
        of_it = ("xfrm", "state", "get", "dst", GROUP, "proto", sa.protocol, "spi", f"{sa.spi:#x}")
        return witness.counters(" ".join(witness.run("ip", "-n", self.name, "-s", *of_it).split()))[1]

    def pins(self, spi: int) -> None:
        """Let the outbound policy name the SPI of the SA to send with; 0 for any."""
        template = f"tmpl proto ah spi {spi:#x} reqid {CONNECTION.reqid} mode transport"
        witness.run("ip", "-n", self.name, *f"xfrm policy update src ::/0 dst {GROUP}/128 dir out {template}".split())

    def dropped(self, counter: str) -> int:
        """The packets that the kernel dropped for a reason."""
        with inside(self.name):
            text = witness.read("/proc/thread-self/net/xfrm_stat")
        return int(re.findall(rf"^{counter}\s+(\d+)$", text, re.M)[0])


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


def two_generations() -> tuple[SecurityAssociation, SecurityAssociation]:
    taken = SpiAllocator()
    (old,), (new,) = draw_sas(CONNECTION, taken, set()), draw_sas(CONNECTION, taken, set())
    return old, new


def test_a_policy_with_an_spi_decides_which_sa_the_kernel_sends_with(link: tuple[Host, Host]) -> None:
    """Whatever the order in which they were added; without the SPI it is the one that was added last. Both are
    accepted meanwhile.
    """
    here, there = link
    old, new = two_generations()
    for first, second in ((old, new), (new, old)):
        for host in link:
            host.pins(first.spi)
            host.holds([first])
            time.sleep(1.1)  # the kernel compares seconds
            host.holds([second])
        for sender, receiver in (link, link[::-1]):
            for pinned, other in ((first, second), (second, first)):
                before = sender.used(pinned), sender.used(other)
                sender.pins(pinned.spi)
                assert receiver.hears(sender)
                assert (sender.used(pinned), sender.used(other)) == (before[0] + 1, before[1])
        here.pins(0)
        before = here.used(first), here.used(second)
        assert there.hears(here)
        assert (here.used(first), here.used(second)) == (before[0], before[1] + 1)
        for host in link:
            host.loses_all()


def test_without_that_sa_the_kernel_sends_with_no_other(link: tuple[Host, Host]) -> None:
    here, there = link
    old, new = two_generations()
    for host in link:
        host.holds([old])
    here.pins(new.spi)
    assert not there.hears(here) and here.used(old) == 0
    assert here.hears(there)  # the inbound policy names no SPI
    here.pins(old.spi)
    assert there.hears(here)


def test_no_packet_is_lost_while_the_policy_changes(link: tuple[Host, Host]) -> None:
    """One host after the other changes its policy, while both send on sockets that keep their routes."""
    here, there = link
    generations = two_generations()
    for host in link:
        host.pins(generations[0].spi)
        host.holds(generations)
        host.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 24)
    ended = threading.Event()
    sent: dict[str, int] = {}

    def send(host: Host) -> None:
        with inside(host.name):
            sender = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        with sender:
            sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
            sender.connect(host.to)
            while not ended.is_set():
                sender.send(b"word")
                sent[host.name] = sent.get(host.name, 0) + 1
                time.sleep(0.0005)

    threads = [threading.Thread(target=send, args=(host,)) for host in link]
    for thread in threads:
        thread.start()
    for dummy in range(5):
        for sa in reversed(generations):
            for host in link:
                before = host.used(sa)
                host.pins(sa.spi)
                while host.used(sa) < before + 20:
                    time.sleep(0.01)
    ended.set()
    for thread in threads:
        thread.join()
    for receiver, sender in (link, link[::-1]):
        assert arrived(receiver) == sent[sender.name] > 400


def arrived(host: Host) -> int:
    """The number of packets that wait in a socket, after the last one arrived."""
    host.socket.settimeout(1)
    count = 0
    with contextlib.suppress(socket.timeout):
        while host.socket.recv(100):
            count += 1
    return count


def test_a_direction_does_not_let_hosts_receive_first(link: tuple[Host, Host]) -> None:
    """A kernel that knows directions still chooses the newest SA, and drops what it would send if that one
    is bound to receive. An older kernel ignores the direction, and sends with it. With the SPI in the
    policy, both send with the old SA, and receive through the new one.
    """
    old, new = two_generations()
    for host in link:
        host.holds([old])
        time.sleep(1.1)
        host.holds([new._replace(direction="inbound")])
    knows = witness.knows_directions()
    for sender, receiver in (link, link[::-1]):
        before = sender.used(old), sender.used(new)
        assert receiver.hears(sender) is not knows
        assert (sender.used(old), sender.used(new)) == (before[0], before[1] + (not knows))
        if knows:
            assert sender.dropped("XfrmOutStateDirError") == 1
    for host in link:
        host.pins(old.spi)
    for sender, receiver in (link, link[::-1]):
        assert receiver.hears(sender)


def test_a_host_cannot_hold_the_sa_of_a_group_for_each_direction(link: tuple[Host, Host]) -> None:
    here, dummy = link
    sa, other = two_generations()
    here.holds([sa._replace(direction="inbound"), other])
    with pytest.raises(SadbError, match="exists"):
        here.holds([sa._replace(direction="outbound")])
