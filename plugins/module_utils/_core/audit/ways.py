# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ways into this host that cross a network without encryption: who is logged in over one now, and
which servers wait for such logins.
"""

from __future__ import annotations

import contextlib
import ipaddress
import struct
import typing as t

from ..sa.model import format_address
from .login import clear_text_server
from .remark import Remark, bounded

UTMP = "/run/utmp"
TABLES = ("/proc/net/tcp", "/proc/net/tcp6")

# IANA's ports for telnet, rlogin, rsh and rexec.
PORTS = {23: "telnet", 512: "rexec", 513: "rlogin", 514: "rsh"}
_ESTABLISHED, _LISTENING = "01", "0A"
_MOST_BYTES = 16 << 20

# utmp(5): type, process, line, ID, user, host. glibc's records have 384 bytes, or 400 where the time in
# them has 64 bits.
_RECORD = struct.Struct("=h2xi32s4s32s256s")
_SIZES = (384, 400)
_USER_PROCESS = 7


class Login(t.NamedTuple):
    """A login of a user: the process that the login gave it, and where it came from."""

    pid: int
    user: str
    host: str


def look(utmp: str = UTMP, tables: t.Sequence[str] = TABLES, proc: str = "/proc") -> list[Remark]:
    """Logins in clear text, and servers that accept them."""
    rows = []
    for login in logins(_read(utmp)):
        server = clear_text_server(login.pid, proc)
        if server:
            rows.append(Remark("login", login.user, f"{server}, from {login.host or 'an unknown place'}"))
    for table in tables:
        rows += sockets(_read(table).decode("ascii", "replace"))
    return bounded(dict.fromkeys(rows))


def logins(data: bytes) -> list[Login]:
    """The logins in the content of a utmp file; none if its form is unknown."""
    size = next((size for size in _SIZES if len(data) % size == 0 and _plausible(data, size)), 0)
    found = []
    for start in range(0, len(data) if size else 0, size or 1):
        kind, pid, dummy, dummy, user, host = _RECORD.unpack_from(data, start)
        if kind == _USER_PROCESS and pid > 0:
            found.append(Login(pid, _text(user), _text(host)))
    return found


def _plausible(data: bytes, size: int) -> bool:
    """Whether every record of that size begins with a known type."""
    return all(_RECORD.unpack_from(data, start)[0] in range(10) for start in range(0, len(data), size))


def sockets(table: str) -> t.Iterator[Remark]:
    """Connections to the ports of logins in clear text, and sockets that wait for them, in a table of the
    kernel (proc_net_tcp(5)), except those that do not leave the host.
    """
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 4:
            continue
        local, dummy, digits = fields[1].rpartition(":")
        port = int(digits, 16)
        if port not in PORTS or _is_loopback(_packed(local)):
            continue
        if fields[3] == _ESTABLISHED:
            yield Remark("login", PORTS[port], f"a connection from {_address(fields[2].partition(':')[0])}")
        elif fields[3] == _LISTENING:
            yield Remark("listens", PORTS[port], f"port {port}")


def _address(digits: str) -> str:
    packed = _packed(digits)
    return format_address(packed) if len(packed) in (4, 16) else "an unknown address"


def _packed(digits: str) -> bytes:
    """The address in words of 32 bits, each in the byte order of this host."""
    return b"".join(struct.pack("=I", int(digits[start : start + 8], 16)) for start in range(0, len(digits), 8))


def _is_loopback(packed: bytes) -> bool:
    if len(packed) not in (4, 16):
        return False
    address = ipaddress.ip_address(packed)
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "replace")


def _read(path: str) -> bytes:
    with contextlib.suppress(OSError), open(path, "rb") as file:
        return file.read(_MOST_BYTES)
    return b""
