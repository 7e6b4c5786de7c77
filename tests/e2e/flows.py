# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every kind of connection between two hosts of a lab, each with traffic of its own, so that one rotation
covers them all.
"""

from __future__ import annotations

import collections
import contextlib
import ipaddress
import itertools
import json
import pathlib
import re
import subprocess
import time
import typing as t

from ansible_collections.ipsec.manual.tests.e2e.harness import LAB, Host
from ansible_collections.ipsec.manual.tests.e2e.traffic import Flow, Half

PROGRAM = pathlib.Path(__file__).with_name("traffic.py")
DROPS = re.compile("Xfrm|Discard|Error|Fail|NoRoute|Unknown|Timeout")  # names of counters in /proc/net
ARRIVAL = 1.0  # seconds after which no packet is on its way any more

ESP: dict[str, t.Any] = {"protocol": "esp"}
AH: dict[str, t.Any] = {"protocol": "ah"}
PROTOCOLS: dict[str, list[dict[str, t.Any]]] = {"esp": [ESP], "ah": [AH], "both": [ESP, AH]}
ENDS = {4: {"enigma": "192.168.116.{}", "partym": "192.168.13.{}"}}
ENDS[6] = {"enigma": "fd00:192:168:116::{}", "partym": "fd00:192:168:13::{}"}
INNER = {4: {"enigma": "10.77.{}.1", "partym": "10.78.{}.1"}}
INNER[6] = {"enigma": "fd00:77:{}::1", "partym": "fd00:78:{}::1"}
PREFIX = {4: (24, 32), 6: (64, 128)}


class Line(t.NamedTuple):
    """One connection of two hosts, the flow through it, and the addresses that the hosts need for both."""

    name: str
    connection: dict[str, t.Any]
    flow: Flow
    addresses: dict[str, list[str]]


def line(number: int, protocol: str, family: int, mode: str, **fields: t.Any) -> Line:
    """A connection with addresses of its own. Its number counts from 0, and may be up to 99."""
    outer_bits, inner_bits = PREFIX[family]
    outer = {host: pattern.format(number + 100) for host, pattern in ENDS[family].items()}
    inner = {host: pattern.format(number) for host, pattern in INNER[family].items()}
    name = f"{protocol}{family}-{mode}"
    tunnel = mode == "tunnel"
    ends = {
        host: {"address": outer[host], "networks": [f"{inner[host]}/{inner_bits}"]} if tunnel else outer[host]
        for host in outer
    }
    rows = [{**row, **fields} for row in PROTOCOLS[protocol]]
    addresses = {
        host: [f"{outer[host]}/{outer_bits} dev data0", *([f"{inner[host]}/{inner_bits} dev lo"] if tunnel else [])]
        for host in outer
    }
    return Line(
        name,
        {"name": name, "mode": mode, "endpoints": ends, "associations": rows},
        [[host, (inner if tunnel else outer)[host]] for host in outer],
        addresses,
    )


# With anti-replay windows and 64-bit sequence numbers over IPv6, without over IPv4.
WINDOW: dict[int, dict[str, t.Any]] = {4: {}, 6: {"replay_window": 64, "esn": True}}
MATRIX = tuple(
    line(number, protocol, family, mode, **WINDOW[family])
    for number, (protocol, family, mode) in enumerate(itertools.product(PROTOCOLS, (4, 6), ("transport", "tunnel")))
)


def address(hosts: dict[str, Host], lines: t.Iterable[Line]) -> None:
    """Give hosts the addresses of their connections."""
    for name, host in hosts.items():
        new = [f"addr add {words}" for row in lines for words in row.addresses.get(name, ())]
        text = "\n".join(f"{words} nodad" if ":" in words else words for words in new)
        host.run("sh", "-c", 'printf "%s\\n" "$1" | ip -batch -', "sh", text)


@contextlib.contextmanager
def parted(lab: str, *pairs: tuple[str, str]) -> t.Iterator[None]:
    """Let the wire drop all packets between the networks of two addresses, without a word to anybody."""
    wire = Host("wire", lab)
    rules = [
        f"{'-6' if ':' in one else '-4'} rule {{}} from {network(one)} to {network(other)} pref 10 blackhole"
        for pair in pairs
        for one, other in (pair, pair[::-1])
    ]
    for rule in rules:
        wire.ip(rule.format("add"))
    try:
        yield
    finally:
        for rule in rules:
            wire.ip(rule.format("del"))


def network(text: str) -> str:
    """The lab's network of an address."""
    return str(ipaddress.ip_interface(f"{text}/{64 if ':' in text else 24}").network)


class Loss(t.NamedTuple):
    """What became of a flow, both ways: packets ``sent``, ``lost`` and ``duplicated``, the longest gap, in
    milliseconds, bytes that a TCP stream carried, why it broke, and the packets among the lost ones that
    the sender's kernel ``refused``, by error.
    """

    sent: int
    lost: int
    duplicated: int
    gap: float
    streamed: int
    breaks: list[str]
    refused: dict[str, int]


def loss(first: Half, second: Half) -> Loss:
    return Loss(
        first.sent + second.sent,
        first.sent - second.received + second.sent - first.received,
        first.duplicates + second.duplicates,
        1000 * max(first.gap, second.gap),
        first.streamed,
        [*first.breaks, *second.breaks],
        dict(collections.Counter(first.refused) + collections.Counter(second.refused)),
    )


@contextlib.contextmanager
def flowing(hosts: t.Sequence[Host], flows: dict[str, Flow], rate: float) -> t.Iterator[dict[str, Loss]]:
    """Traffic on all flows during the block; what was lost, by name, is there when the block ends."""
    found: dict[str, Loss] = {}
    counted = {host.name: counters(host) for host in (*hosts, Host("wire", hosts[0].lab))}
    words = (str(rate), json.dumps(list(flows.values())))
    with contextlib.ExitStack() as stack:
        programs = [stack.enter_context(_program(host, *words)) for host in hosts]

        def tell(word: str) -> None:
            for program in programs:
                assert program.stdin
                print(word, file=program.stdin, flush=True)

        for program in programs:
            assert program.stdout and program.stdout.readline() == "ready\n"
        tell("send")
        yield found
        tell("stop")
        time.sleep(ARRIVAL)
        tell("report")
        answers = [json.loads(program.communicate(timeout=120)[0]) for program in programs]
    for name, flow, *rows in zip(flows, flows.values(), *answers):
        halves = {host.name: Half(*row) for host, row in zip(hosts, rows) if row}
        found[name] = loss(*(halves[host] for host, dummy in flow))
    for name, before in counted.items():
        rose = collections.Counter(counters(Host(name, hosts[0].lab))) - collections.Counter(before)
        print(f"Drops that the kernel of {name} counted: {json.dumps(rose)}")


def counters(host: Host) -> dict[str, int]:
    """How many packets the kernel dropped or refused so far, by the counter's name in /proc/net and, for
    interfaces, in ip(8).
    """
    text = host.run("cat", "/proc/net/xfrm_stat", "/proc/net/snmp6", check=False)
    pairs = [words for words in map(str.split, text.splitlines()) if len(words) == 2]
    rows = host.run("cat", "/proc/net/snmp").splitlines()
    for names, values in zip(rows[::2], rows[1::2]):
        prefix = names.split(":")[0]
        pairs += [[prefix + name, value] for name, value in zip(names.split()[1:], values.split()[1:])]
    found = {name: int(value) for name, value in pairs if DROPS.search(name)}
    for link in json.loads(host.run("ip", "-json", "-statistics", "link")):
        for way, counts in link["stats64"].items():
            found[f"{link['ifname']} {way}"] = counts["dropped"] + counts["errors"]
    return found


@contextlib.contextmanager
def _program(host: Host, *words: str) -> t.Iterator[subprocess.Popen[str]]:
    command = [LAB, "run", "--name", host.lab, host.name, "--", "/usr/bin/python3", "-BIS", str(PROGRAM), host.name]
    with subprocess.Popen([*command, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        try:
            yield program
        except BaseException:
            program.kill()
            raise
