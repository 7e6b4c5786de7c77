# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Traffic between hosts of the lab that counts what is lost: `traffic.py HOST RATE FLOWS`, on each host.

FLOWS is JSON: one list of two rows [host, address] for each flow. On each flow both hosts send RATE
numbered UDP packets a second, and the first host sends a TCP stream, whose SHA-256 the second one
answers. The program prints `ready` once it can receive. It sends after `send` on standard input, stops
at `stop`, and at `report` prints, as JSON, one object for each flow: see `Half`.

The hosts of a lab share one clock, so a receiver knows when each packet was sent: a pause of the sender
is not a gap.
"""

from __future__ import annotations

import collections
import contextlib
import errno
import hashlib
import json
import os
import random
import select
import socket
import struct
import sys
import threading
import time
import typing as t

PORT = 7000
PACKET = struct.Struct("!IQ")  # number, and when it was sent: nanoseconds
PADDING = bytes(100)
SO_RCVBUFFORCE, BUFFER = 33, 8 << 20  # socket(7); without a name in Python
SO_MARK, MARK = 36, 7  # of every packet, for connections with that mark
# A sender that was kept from the processor goes on at the usual rate: a burst would overflow queues of
# the kernel, which would count as a loss.
LATE = 0.05
BLOCK, PAUSE = 4096, 0.1  # bytes and seconds between two writes to a TCP stream

Flow = t.List[t.List[str]]


class Half(t.NamedTuple):
    """What one host counted on a flow: ``sent`` packets; the ``received`` ones, without ``duplicates``;
    the longest ``gap`` between the sending of two packets that arrived, without those between them, in
    seconds; ``streamed`` bytes of TCP (the first host only), and the ``breaks`` of the stream: resets,
    timeouts, and a wrong checksum. ``refused`` counts, by their error, packets that sendto(2) refused;
    they are among the ones sent.
    """

    sent: int
    received: int
    duplicates: int
    gap: float
    streamed: int
    breaks: list[str]
    refused: dict[str, int]


class Datagrams:
    """Numbered packets both ways between one local and one remote address."""

    def __init__(self, port: int, local: str, remote: str) -> None:
        family = socket.AF_INET6 if ":" in local else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_MARK, MARK)
        self.socket.bind((local, port))
        self.socket.setblocking(False)
        self.peer = (remote, port)
        self.sent = 0
        self.seen: set[int] = set()
        self.duplicates = 0
        self.last = (-1, 0)  # number, and when it was sent
        self.gap = 0
        self.refused: collections.Counter[str] = collections.Counter()

    def send(self) -> None:
        # Without an SA the kernel refuses the packet, which is then one that never arrives.
        try:
            self.socket.sendto(PACKET.pack(self.sent, time.monotonic_ns()) + PADDING, self.peer)
        except OSError as exc:
            self.refused[errno.errorcode[exc.errno or 0]] += 1
        self.sent += 1

    def receive(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                number, sent = PACKET.unpack_from(self.socket.recv(1500))
                if number in self.seen:
                    self.duplicates += 1
                elif number > self.last[0]:
                    if number > self.last[0] + 1 and self.last[1]:
                        self.gap = max(self.gap, sent - self.last[1])
                    self.last = (number, sent)
                self.seen.add(number)


class Stream(threading.Thread):
    """One end of a TCP stream. The sender gets the digest of what arrived, and compares."""

    def __init__(self, port: int, local: str, remote: str, first: bool, started: threading.Event) -> None:
        super().__init__(daemon=True)
        self.port, self.local, self.remote, self.first, self.started = port, local, remote, first, started
        self.stopped = threading.Event()
        self.streamed = 0
        self.breaks: list[str] = []
        if not first:
            family = socket.AF_INET6 if ":" in local else socket.AF_INET
            self.listener = socket.create_server((local, port), family=family)
            self.listener.setsockopt(socket.SOL_SOCKET, SO_MARK, MARK)

    def run(self) -> None:
        try:
            if self.first:
                self.started.wait()
                self._send()
            else:
                self._receive()
        except OSError as exc:
            self.breaks.append(repr(exc))

    def _send(self) -> None:
        digest, source = hashlib.sha256(), random.Random(self.port)
        with socket.socket(socket.AF_INET6 if ":" in self.local else socket.AF_INET) as stream:
            stream.setsockopt(socket.SOL_SOCKET, SO_MARK, MARK)
            stream.settimeout(60)
            stream.bind((self.local, 0))
            stream.connect((self.remote, self.port))
            while not self.stopped.wait(PAUSE):
                block = source.randbytes(BLOCK)
                digest.update(block)
                stream.sendall(block)
                self.streamed += len(block)
            stream.shutdown(socket.SHUT_WR)
            if stream.recv(64) != digest.hexdigest().encode():
                self.breaks.append("checksum")

    def _receive(self) -> None:
        digest = hashlib.sha256()
        with self.listener.accept()[0] as stream:
            while block := stream.recv(1 << 16):
                digest.update(block)
            stream.sendall(digest.hexdigest().encode())


def halves_of(host: str, flows: t.Sequence[Flow], started: threading.Event) -> list[tuple[Datagrams, Stream] | None]:
    """The sockets of this host for each flow that it is an end of."""
    found: list[tuple[Datagrams, Stream] | None] = []
    for number, ends in enumerate(flows):
        names = [name for name, dummy in ends]
        if host not in names:
            found.append(None)
            continue
        first = names[0] == host
        (dummy, local), (dummy, remote) = ends if first else reversed(ends)
        port = PORT + number
        found.append((Datagrams(port, local, remote), Stream(port, local, remote, first, started)))
    return found


def main() -> None:
    host, rate, flows = sys.argv[1], float(sys.argv[2]), json.loads(sys.argv[3])
    started = threading.Event()
    halves = halves_of(host, flows, started)
    own = [half for half in halves if half]
    for dummy, stream in own:
        stream.start()
    print("ready", flush=True)
    pump([datagrams for datagrams, dummy in own], rate, started)
    for dummy, stream in own:
        stream.stopped.set()
    pump([datagrams for datagrams, dummy in own], 0, started)  # what is still on its way
    for dummy, stream in own:
        stream.join(60)
    print(json.dumps([half and counted(*half) for half in halves]), flush=True)


def counted(datagrams: Datagrams, stream: Stream) -> Half:
    breaks = [*stream.breaks, *(["unfinished"] if stream.is_alive() else [])]
    received = len(datagrams.seen)
    gap = datagrams.gap / 1e9
    return Half(datagrams.sent, received, datagrams.duplicates, gap, stream.streamed, breaks, datagrams.refused)


def pump(flows: t.Sequence[Datagrams], rate: float, started: threading.Event) -> None:
    """Receive, and from the line `send` on also send, until the next line."""
    events = select.epoll()
    events.register(0, select.EPOLLIN)
    by_number = {flow.socket.fileno(): flow for flow in flows}
    for number in by_number:
        events.register(number, select.EPOLLIN)
    step, due = (1 / (rate * len(flows)), 0.0) if rate else (0.0, 0.0)
    turn = 0
    while True:
        now = time.monotonic()
        if due:
            due = max(due, now - LATE)
            while due <= now:
                flows[turn % len(flows)].send()
                turn += 1
                due += step
        for number, dummy in events.poll(max(0.0, due - time.monotonic()) if due else 60):
            if number:
                by_number[number].receive()
            elif os.read(0, 100) == b"send\n":
                due = time.monotonic()
                started.set()
            else:
                return


if __name__ == "__main__":
    main()
