# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads the kernel's state with ip(8), a separate dump decoder and /proc, independently of the code under test."""

from __future__ import annotations

import functools
import os
import re
import socket
import struct
import subprocess
import time
import traceback
import typing as t
from pathlib import Path

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import IpsecError
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa import keys
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.algorithms import BY_NAME
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import (
    Encapsulation,
    Entry,
    SecurityAssociation,
    build,
    format_address,
    pack_address,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.plan import Operation
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.xfrm.messages import new_sa
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.xfrm.netlink import (
    NETLINK_XFRM,
    Netlink,
    extended,
)


def run(*command: str, stdin: str | None = None) -> str:
    """Run a command that must succeed; return its output."""
    result = subprocess.run(command, input=stdin, check=False, capture_output=True, text=True)
    if result.returncode:
        raise AssertionError(f"{' '.join(command)}: exit status {result.returncode}\n{result.stdout}{result.stderr}")
    return result.stdout


def ip(words: str, *more: str) -> str:
    """Run ip(8) with these words, and then with ``more``, which may be empty or hold spaces."""
    return run("ip", *words.split(), *more)


def reserve_spi(spi: str, destination: str = "192.0.2.2") -> None:
    """Have the kernel hold a larval SA, as an IKE daemon does while it negotiates."""
    ip(f"xfrm state allocspi src 192.0.2.1 dst {destination} proto esp min {spi} max {spi}")


def add_sas_of_others(key: str) -> None:
    """Add an SA of an overlay network between our peers, and a reservation of an IKE daemon."""
    # By default a reservation lasts 30 s, which is too short on a busy machine.
    write("/proc/sys/net/core/xfrm_acq_expires", "3600")
    ip(f"xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 0xf001 reqid 77 enc cbc(aes) 0x{key}")
    reserve_spi("0xf002")


def read(path: str) -> str:
    return Path(path).read_text(encoding="utf-8").strip()


def write(path: str, text: str) -> None:
    Path(path).write_text(text + "\n", encoding="utf-8")


def state_text(*options: str) -> str:
    """``ip -s xfrm state``: every SA with counters, times and sequence numbers."""
    return run("ip", "-s", "xfrm", "state", *options)


def states() -> dict[tuple[str, int], str]:
    """The text about each SA, its lines joined by spaces, by protocol and SPI."""
    found = {}
    for block in re.split(r"^(?=src )", state_text(), flags=re.M):
        match = re.search(r"proto (\S+) spi 0x([0-9a-f]+)", block)
        if match:
            found[match[1], int(match[2], 16)] = " ".join(block.split())
    return found


def attributes() -> dict[int, dict[int, bytes]]:
    """The attributes of each SA besides struct xfrm_usersa_info, by SPI: payloads by attribute
    number, including those that ip(8) does not know yet. The struct itself is under 0, without the
    counters.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 6) as asking:
        asking.send(struct.pack("=IHHII", 16, 0x12, 0x301, 1, 0))
        found: dict[int, dict[int, bytes]] = {}
        while True:
            buffer, offset = asking.recv(1 << 16), 0
            while offset < len(buffer):
                length, kind = struct.unpack_from("=IH", buffer, offset)
                if kind != 0x10:
                    return found
                body = buffer[offset + 16 : offset + length]
                shown = {0: body[:160] + body[192:224]}
                rest = body[224:]
                while rest:
                    size, number = struct.unpack_from("=HH", rest)
                    shown[number] = rest[4:size]
                    rest = rest[(size + 3) & ~3 :]
                found[struct.unpack_from("!I", body, 72)[0]] = shown
                offset += (length + 3) & ~3


def offers(*options: str) -> bool:
    """Whether this kernel accepts an ESP SA with these options of ip(8), some of which newer
    kernels dropped. The SA is removed afterwards.
    """
    ends = ("src", "192.0.2.1", "dst", "192.0.2.2", "proto", "esp", "spi", "0x1000")
    result = subprocess.run(
        ("unshare", "--net", "ip", "xfrm", "state", "add", *ends, *options), check=False, capture_output=True, text=True
    )
    return result.returncode == 0


# Ciphers of other programs, which this collection has no names for, and their numbers in PF_KEY.
FOREIGN = {"cbc(camellia)": 22, "cbc(serpent)": 252, "cbc(twofish)": 253}


def foreign_ciphers(key: str) -> list[str]:
    """Those of FOREIGN that this kernel has, at least one."""
    found = [name for name in FOREIGN if offers("enc", name, key)]
    assert found, f"this kernel has none of {', '.join(FOREIGN)}"
    return found


def policies() -> list[str]:
    """The text about each policy, its lines joined by spaces; those of sockets included."""
    return [
        " ".join(block.split()) for block in re.split(r"^(?=src )", run("ip", "xfrm", "policy"), flags=re.M) if block
    ]


def counters(text: str) -> tuple[int, int]:
    """Bytes and packets out of the text about an SA."""
    match = re.search(r"lifetime current: (\d+)\(bytes\), (\d+)\(packets\)", text)
    if match is None:
        raise AssertionError(text)
    return int(match[1]), int(match[2])


def remove_module(module: str) -> None:
    """rmmod, repeated while SAs of ended namespaces still use the module."""
    deadline = time.monotonic() + 20
    while os.path.isdir(f"/sys/module/{module}"):
        result = subprocess.run(["rmmod", module], check=False, capture_output=True, text=True)
        if result.returncode and time.monotonic() > deadline:
            raise AssertionError(result.stderr)
        time.sleep(0.1)


def add_with(sa: SecurityAssociation, attributes_of_it: bytes) -> str:
    """Add an SA with additional attributes; return the kernel's refusal, empty for none."""
    with Netlink(NETLINK_XFRM) as link:
        refusals = link.send([extended(new_sa(sa), attributes_of_it)])[0]
    return "".join(refusal.text or str(refusal.errno) for refusal in refusals.values())


def u32(kind: int, value: int) -> bytes:
    """A 32-bit attribute."""
    return struct.pack("=HHI", 8, kind, value)


@functools.lru_cache(maxsize=None)
def keeps(attribute: bytes, **fields: t.Any) -> bool:
    """Whether this kernel keeps an attribute of an SA with these fields, rather than ignoring it.
    The SA is removed afterwards.
    """
    kind = struct.unpack_from("=HH", attribute)[1]
    refusal = add_with(sa_of(0x3000, **fields), attribute)
    if refusal:
        raise AssertionError(refusal)
    shown = attributes()[0x3000]
    run("ip", "xfrm", "state", "delete", "dst", "192.0.2.2", "proto", "esp", "spi", "0x3000")
    return kind in shown


def knows_directions() -> bool:
    """Whether this kernel keeps the direction of an SA (Linux 6.10)."""
    return keeps(struct.pack("=HHB3x", 5, 33, 1))


def knows_nat_keepalive() -> bool:
    """Whether this kernel sends NAT keepalives (Linux 6.11)."""
    return keeps(u32(34, 20), direction="outbound", encapsulation=Encapsulation(4500, 4500))


def sa_of(
    spi: int, cipher: str = "aes-cbc", integrity: str = "hmac-sha256", *, six: bool = False, **fields: t.Any
) -> SecurityAssociation:
    """An ESP SA with fresh keys, AH for no cipher; 192.0.2.1 > 192.0.2.2 or the same in IPv6."""
    for field, name in (("encryption_key", cipher), ("authentication_key", integrity)):
        if name and field not in fields:
            fields[field] = keys.generate(BY_NAME[name]) if BY_NAME[name].key_bits else b""
    ends = ("2001:db8::2", "2001:db8::1") if six else ("192.0.2.2", "192.0.2.1")
    source = fields.pop("source", None) or pack_address(ends[1])
    destination = fields.pop("destination", None) or pack_address(ends[0])
    return build("esp" if cipher else "ah", spi, destination, source, cipher, integrity, **fields)


def as_command(sa: SecurityAssociation) -> str:
    """A line for ``ip -batch`` that adds an SA of AES-CBC and HMAC-SHA-256."""
    ends = (
        f"src {format_address(sa.source)} dst {format_address(sa.destination)} proto {sa.protocol} spi {sa.spi}"
        f" replay-window {sa.replay_window}"
    )
    cipher = f"enc cbc(aes) 0x{sa.encryption_key.hex()} " if sa.encryption else ""
    return (
        f"xfrm state add {ends} mode {sa.mode} {cipher}auth-trunc hmac(sha256) 0x{sa.authentication_key.hex()}"
        f" {sa.icv_bits}\n"
    )


def add(*sas: SecurityAssociation) -> list[Operation]:
    return [Operation("add", sa, None) for sa in sas]


def delete(*entries: Entry) -> list[Operation]:
    return [Operation("delete", None, entry) for entry in entries]


def assert_no_key(error: IpsecError, *sas: SecurityAssociation) -> None:
    """Check that neither the error nor its traceback contains a key in any notation."""
    text = (
        "".join(traceback.format_exception(type(error), error, error.__traceback__))
        + repr(error)
        + repr(error.__dict__)
    )
    for sa in sas:
        for key in (sa.encryption_key, sa.authentication_key):
            if key:
                assert key.hex() not in text.lower()
                assert repr(key)[2:-1] not in text
