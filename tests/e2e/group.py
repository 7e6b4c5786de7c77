# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host of a link on which all send to a multicast group and hear all others.

usage: group.py NAME INTERFACE GROUP RATE

It sends RATE numbered datagrams a second, from the line ``send`` on standard input on. At the next line
it stops, receives for another second, and reports as JSON how many it sent, and by name of the sender
which numbers arrived how often: [distinct ones, all].
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import struct
import sys
import time

PORT = 7800
LINGER = 1.0  # seconds after which no packet is on its way any more
LATE = 0.2  # seconds of packets that are sent at once after a pause of this program


def opened(interface: str, group: str) -> socket.socket:
    link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    # struct ip_mreqn: the group, any address, the interface.
    membership = struct.pack("=4s4xi", socket.inet_aton(group), socket.if_nametoindex(interface))
    link.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
    link.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, membership)
    link.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
    link.bind(("", PORT))
    link.setblocking(False)
    return link


def main() -> None:
    name, interface, group, rate = sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4])
    link = opened(interface, group)
    sent, due, end = 0, 0.0, 0.0
    arrived: dict[str, list[int]] = {}
    print("ready", flush=True)
    while not end or time.monotonic() < end:
        if due and not end:
            now = time.monotonic()
            due = max(due, now - LATE)
            while due <= now:
                with contextlib.suppress(OSError):  # without an SA the kernel drops it: it never arrives
                    link.sendto(f"{name} {sent}".encode(), (group, PORT))
                sent += 1
                due += 1 / rate
        wait = max(0.0, due - time.monotonic()) if due and not end else 0.1
        for source in select.select([link, *([] if end else [0])], [], [], wait)[0]:
            if source == 0:
                due, end = (time.monotonic(), 0.0) if os.read(0, 100) == b"send\n" else (due, time.monotonic() + LINGER)
                continue
            with contextlib.suppress(BlockingIOError):
                while True:
                    sender, number = link.recv(100).decode().split()
                    arrived.setdefault(sender, []).append(int(number))
    found = {sender: [len(set(numbers)), len(numbers)] for sender, numbers in arrived.items()}
    print(json.dumps({"sent": sent, "arrived": found}), flush=True)


if __name__ == "__main__":
    main()
