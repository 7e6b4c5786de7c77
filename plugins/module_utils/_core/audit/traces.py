# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keys in shell histories and in scripts below /etc: which file has a line like those that give keys to
a kernel. Reports the file, the pattern and the number of lines, never a line.
"""

from __future__ import annotations

import contextlib
import glob
import itertools
import os
import re
import stat
import typing as t

from ..files import mounts
from .remark import Remark, bounded

PASSWD = "/etc/passwd"
MOUNTS = "/proc/self/mountinfo"

# From the end of a file, which is the newest part of a history.
_MOST_BYTES = 1 << 20
_LONGEST_LINE = 4096
_MOST_HOMES = 500
_MOST_FILES = 2000

_HISTORIES = (
    *(".bash_history", ".zsh_history", ".sh_history", ".ksh_history", ".history", ".ash_history", ".ipseckey_history"),
    ".local/share/fish/fish_history",
)
_SCRIPTS = (
    *("/etc/rc.local", "/etc/rc.d/*", "/etc/init.d/*", "/etc/local.d/*", "/etc/conf.d/*", "/etc/profile.d/*"),
    *("/etc/crontab", "/etc/cron.*/*", "/etc/network/interfaces", "/etc/network/*.d/*"),
    *("/etc/NetworkManager/dispatcher.d/*", "/etc/NetworkManager/dispatcher.d/*/*", "/etc/networkd-dispatcher/*/*"),
    *("/etc/sysconfig/network-scripts/*", "/etc/systemd/system/*.service", "/etc/systemd/system/*/*.conf"),
    *("/etc/ipsec-tools.conf", "/etc/ipsec-tools.d/*", "/etc/setkey.conf", "/etc/racoon/*.conf", "/etc/ipsec.conf"),
    *("/etc/ipsec.d/*.conf", "/etc/ipsec.d/*.sh", "/etc/default/*", "/etc/inet/ipsec*", "/etc/ipsec/*"),
)

# By name: how a line looks that gives a key to ipseckey, ip-xfrm(8) or setkey(8). Each pattern is searched behind
# the match of the one before it: as one pattern with .* between them, a line made for that would take seconds.
# Sixteen digits are the shortest key.
_HEX = rb"(?:0x)?[0-9a-f]{16,}"
PATTERNS: t.Mapping[str, tuple[t.Pattern[bytes], ...]] = {
    "ipseckey": (re.compile(rb"\b(?:encrkey|authkey)\s+" + _HEX, re.I),),
    "ip xfrm state": (
        re.compile(rb"\bx(?:frm)?\s+s[a-z]*\s", re.I),
        re.compile(rb"\b(?:enc|auth|auth-trunc|aead)\s+\S+\s+['\"]?" + _HEX, re.I),
    ),
    "setkey": (
        re.compile(rb"^\s*add\s", re.I),
        re.compile(rb"\s-[EA]\s+\S+\s+(?:" + _HEX + rb"|\"[^\"]{8,}\")", re.I),
    ),
}


def in_histories(passwd: str = PASSWD) -> list[Remark]:
    """Shell histories with keys, of root and of every user of the local user database. Home directories
    on network file systems are left out, since looking at them could mount them.
    """
    return bounded(
        remark
        for home in itertools.islice(_homes(passwd), _MOST_HOMES)
        for name in _HISTORIES
        if not _is_linked(home, name)
        for remark in _of_file("history", os.path.join(home, name))
    )


def in_scripts(patterns: t.Sequence[str] = _SCRIPTS) -> list[Remark]:
    """Files below /etc with keys, in the places where scripts and settings of IPsec usually are."""
    paths = sorted({path for pattern in patterns for path in glob.iglob(pattern)})
    return bounded(remark for path in paths[:_MOST_FILES] for remark in _of_file("script", path))


def _homes(passwd: str) -> t.Iterator[str]:
    homes = ["/root"]
    table = ""
    with contextlib.suppress(OSError), open(passwd, encoding="utf-8", errors="replace") as file:
        homes += [fields[5] for fields in (line.split(":") for line in file) if len(fields) > 6]
    with contextlib.suppress(OSError), open(MOUNTS, encoding="utf-8", errors="surrogateescape") as file:
        table = file.read()
    for home in dict.fromkeys(homes):
        # Resolved only where that mounts nothing.
        if home.startswith("/") and _is_local(table, home) and _is_local(table, os.path.realpath(home)):
            yield home


def _is_local(table: str, path: str) -> bool:
    kind = mounts.type_in_mountinfo(table, "", path)
    return kind not in mounts.NETWORK_FILE_SYSTEMS and not mounts.is_fuse(kind)


def _is_linked(home: str, name: str) -> bool:
    """Whether a directory on the way from the home to the history is a link, which could lead to a network."""
    folders = name.split("/")[:-1]
    return any(os.path.islink(os.path.join(home, *folders[: count + 1])) for count in range(len(folders)))


def _of_file(what: str, path: str) -> t.Iterator[Remark]:
    data = _tail(path)
    lines = [line[:_LONGEST_LINE] for line in data.splitlines()]
    for name, patterns in PATTERNS.items():
        count = sum(_matches(line, patterns) for line in lines)
        if count:
            yield Remark(what, path, f"{name}, {count} {'line' if count == 1 else 'lines'}")


def _matches(line: bytes, patterns: t.Iterable[t.Pattern[bytes]]) -> bool:
    place = 0
    for pattern in patterns:
        found = pattern.search(line, place)
        if found is None:
            return False
        place = found.end()
    return True


def _tail(path: str) -> bytes:
    """The end of a regular file; empty if it is none or cannot be read."""
    # O_NONBLOCK: a pipe with the name of a history must not block the audit.
    with contextlib.suppress(OSError), open(
        os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb"
    ) as file:
        found = os.fstat(file.fileno())
        if stat.S_ISREG(found.st_mode):
            file.seek(max(0, found.st_size - _MOST_BYTES))
            return file.read(_MOST_BYTES)
    return b""
