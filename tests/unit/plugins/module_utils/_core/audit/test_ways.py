# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Logins in clear text, from files as Linux writes them."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ipsec.manual.plugins.module_utils._core.audit import ways
from ansible_collections.ipsec.manual.plugins.module_utils._core.audit.remark import Remark

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


def record(size: int, kind: int = 7, pid: int = 100, user: bytes = b"me", host: bytes = b"192.0.2.9") -> bytes:
    return struct.pack("=h2xi32s4s32s256s", kind, pid, b"pts/0", b"ts/0", user, host).ljust(size, b"\0")


def socket(local: str, remote: str, state: str) -> str:
    return f"   0: {local} {remote} {state} 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100\n"


def words(address: bytes) -> str:
    """The address as the kernel prints it: words of 32 bits in the byte order of the host."""
    return "".join(f"{word:08X}" for (word,) in struct.iter_unpack("=I", address))


@pytest.mark.parametrize("size", [384, 400])
def test_logins_are_read_from_both_sizes_of_records(size: int) -> None:
    data = record(size, kind=2, pid=0) + record(size) + record(size, kind=8, pid=7)
    assert ways.logins(data) == [ways.Login(100, "me", "192.0.2.9")]


@given(st.binary(max_size=2000))
def test_any_utmp_is_read_or_ignored(data: bytes) -> None:
    assert all(login.pid > 0 for login in ways.logins(data))


def test_a_login_below_a_telnet_server_is_reported(tmp_path: Path) -> None:
    for pid, name, parent in ((100, "bash", 50), (50, "in.telnetd", 1), (101, "bash", 60), (60, "sshd", 1)):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "stat").write_text(f"{pid} ({name}) S {parent} 0 0")
    (tmp_path / "utmp").write_bytes(record(384) + record(384, pid=101, user=b"other"))
    assert ways.look(str(tmp_path / "utmp"), [], str(tmp_path)) == [Remark("login", "me", "in.telnetd, from 192.0.2.9")]


def test_connections_and_servers_are_told_apart(tmp_path: Path) -> None:
    table = tmp_path / "tcp"
    remote = words(bytes.fromhex("c0000209"))
    table.write_text(
        HEAD
        + socket("00000000:0017", "00000000:0000", "0A")
        + socket("00000000:0016", "00000000:0000", "0A")
        + socket("010200C0:0201", f"{remote}:9999", "01")
        + socket("010200C0:9999", f"{remote}:0017", "01")
    )
    assert ways.look(str(tmp_path / "none"), [str(table), str(tmp_path / "none")]) == [
        Remark("listens", "telnet", "port 23"),
        Remark("login", "rlogin", "a connection from 192.0.2.9"),
    ]


def test_addresses_of_ipv6_are_read() -> None:
    digits = words(bytes.fromhex("20010db8" + "00" * 11 + "07"))
    (found,) = ways.sockets(HEAD + socket(f"{digits}:0017", f"{digits}:9999", "01"))
    assert found.detail == "a connection from 2001:db8::7"


@pytest.mark.parametrize("address", ["7f000001", "00" * 15 + "01", "00" * 10 + "ffff7f000001"])
def test_what_does_not_leave_the_host_is_left_out(address: str) -> None:
    digits = words(bytes.fromhex(address))
    table = HEAD + socket(f"{digits}:0017", "00000000:0000", "0A") + socket(f"{digits}:0017", f"{digits}:9999", "01")
    assert list(ways.sockets(table)) == []
