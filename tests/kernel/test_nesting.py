# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the kernel accepts while a connection changes between transport and tunnel mode: the policies are those of the
role, in the order of its steps.
"""

from __future__ import annotations

import socket
import subprocess
import time
import typing as t

import pytest

from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.reader import read_connections
from ansible_collections.ipsec.manual.plugins.plugin_utils._policies import policies_of_host
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation import nesting
from ansible_collections.ipsec.manual.tests.kernel import witness

MODES = ("transport", "tunnel")
ENDS = {4: ("192.0.2.1", "192.0.2.2"), 6: ("2001:db8::1", "2001:db8::2")}
REQID = 7
KEY = "0123456789abcdef" * 2
PACKETS = 3
MAC = ("02:00:00:00:00:01", "02:00:00:00:00:02")


class Network:
    """This host, and a peer in another network namespace, which has the same SAs in both modes."""

    def __init__(self, process: subprocess.Popen[bytes], family: int, protocol: str) -> None:
        self.inside = ("nsenter", f"--target={process.pid}", "--net")
        while witness.read(f"/proc/{process.pid}/comm") != "sleep":
            time.sleep(0.01)
        self.family, self.ends = family, ENDS[family]
        link = ("link", "add", "here", "address", MAC[0], "type", "veth", "peer", "name", "there")
        witness.run("ip", *link, "address", MAC[1], "netns", str(process.pid))
        bits, duplicates = (24, "") if family == 4 else (64, " nodad")
        for own, device, where in ((0, "here", ()), (1, "there", self.inside)):
            lines = [
                f"addr add {self.ends[own]}/{bits} dev {device}{duplicates}",
                f"link set {device} up",
                f"neigh replace {self.ends[1 - own]} lladdr {MAC[1 - own]} dev {device}",
                *(_sa(self.ends, protocol, spi, mode) for spi, mode in enumerate(MODES, 0x1001)),
            ]
            witness.run(*where, "ip", "-batch", "-", stdin="\n".join(lines))

    def arriving(self, inbound: t.Sequence[dict[str, t.Any]], outbound: t.Sequence[dict[str, t.Any]]) -> int:
        """How many of some datagrams pass the peer's inbound policies. They are for a port on which nobody listens."""
        witness.run("ip", "xfrm", "policy", "flush")
        witness.run("ip", "-batch", "-", stdin="\n".join(map(_policy, outbound)) or "\n")
        witness.run(*self.inside, "ip", "-batch", "-", stdin="\n".join(map(_policy, inbound)))
        before = self._counted()
        kind = socket.AF_INET if self.family == 4 else socket.AF_INET6
        for number in range(PACKETS):
            with socket.socket(kind, socket.SOCK_DGRAM) as sender:
                sender.sendto(f"{number}".encode(), (self.ends[1], 9))
        time.sleep(0.3)
        return self._counted() - before

    def _counted(self) -> int:
        name, value = ("Udp:", 2) if self.family == 4 else ("Udp6NoPorts", 1)
        text = witness.run(*self.inside, "cat", "/proc/net/snmp" if self.family == 4 else "/proc/net/snmp6")
        return int([line.split() for line in text.splitlines() if line.startswith(name)][-1][value])


def _sa(ends: tuple[str, str], protocol: str, spi: int, mode: str) -> str:
    cipher = f" enc cbc(aes) 0x{KEY}" if protocol == "esp" else ""
    integrity = f"auth-trunc hmac(sha256) 0x{KEY}{spi:032x} 128"
    place = f"src {ends[0]} dst {ends[1]} proto {protocol} spi {spi} reqid {REQID} mode {mode}"
    return f"xfrm state add {place}{cipher} {integrity}"


def _policy(policy: dict[str, t.Any]) -> str:
    selector = policy["selector"]
    words = f"xfrm policy update src {selector['source']} dst {selector['destination']} dir {policy['direction']}"
    for row in policy["templates"]:
        outer = f" src {row['source']} dst {row['destination']}" if "source" in row else ""
        words += f" tmpl{outer} proto {row['protocol']} reqid {row['reqid']} mode {row['mode']}"
        words += f" level {row.get('level', 'required')}"
    return words


@pytest.fixture(name="process")
def make_process() -> t.Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["unshare", "--net", "sleep", "infinity"]) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("protocol", ["esp", "ah"])
@pytest.mark.parametrize("family", [4, 6])
def test_each_step_accepts_what_was_sent_before_and_never_clear_text(
    process: subprocess.Popen[bytes], family: int, protocol: str
) -> None:
    network = Network(process, family, protocol)
    ends = dict(zip("ab", ENDS[family]))
    views = {
        mode: read_connections(
            [
                {
                    "name": "pair",
                    "mode": mode,
                    "endpoints": ends,
                    "reqid": REQID,
                    "associations": [{"protocol": protocol}],
                }
            ]
        )[0]
        for mode in MODES
    }
    here, there = ({mode: policies_of_host(view, host) for mode, view in views.items()} for host in ends)
    sent = {
        "clear": [],
        **{mode: [row for row in here[mode] if row["direction"] == "out"] for mode in MODES},
        "both": nesting.sending(here["tunnel"], here["transport"]),
    }
    accepted = {
        (now, alone): {
            name
            for name, outbound in sent.items()
            if network.arriving(nesting.accepting(there[now], there[before], alone), outbound) == PACKETS
        }
        for before, now in (MODES, MODES[::-1])
        for alone in (False, True)
    }
    assert accepted == {
        ("tunnel", False): {"transport", "both"},
        ("tunnel", True): {"tunnel", "both"},
        ("transport", False): {"tunnel", "both"},
        ("transport", True): {"transport", "both"},
    }
