# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the host itself does with keys and packets: counters of the kernel, swap, core dumps, lockdown,
and since when it runs.
"""

from __future__ import annotations

import contextlib
import os
import typing as t

from .remark import Remark, bounded

_MOST_BYTES = 1 << 20
_DISABLED_PIPES = ("/bin/false", "/bin/true", "/usr/bin/false", "/usr/bin/true")


def look(root: str = "/") -> list[Remark]:
    """Swap that is not encrypted, core dumps that a program leaves, and lockdown. Missing files mean that
    this system does not say.
    """
    rows = [
        *swaps(_read(root, "proc/swaps"), lambda name: _read(root, f"sys/class/block/{name}/dm/uuid")),
        *core_dumps(_read(root, "proc/sys/kernel/core_pattern"), _read(root, "proc/1/limits")),
        *lockdown(_read(root, "sys/kernel/security/lockdown")),
    ]
    return bounded(rows)


def counters(root: str = "/") -> dict[str, int]:
    """The counters of dropped packets in /proc/net/xfrm_stat, which count since the boot."""
    found = {}
    for line in _read(root, "proc/net/xfrm_stat").splitlines():
        name, dummy, value = line.partition(" ")
        if name.startswith("Xfrm") and name.isalnum() and value.strip().isdigit():
            found[name] = int(value)
    return found


def uptime(root: str = "/") -> int:
    """Seconds since the boot; 0 if the system does not say."""
    text = _read(root, "proc/uptime").split(".")[0]
    return int(text) if text.isdigit() else 0


def swaps(table: str, uuid_of: t.Callable[[str], str]) -> t.Iterator[Remark]:
    """The areas of swap that reach a disk as they are. ``uuid_of`` returns the device mapper's UUID of a
    block device, which says whether it encrypts.
    """
    for line in table.splitlines()[1:]:
        fields = line.split()
        if not fields:
            continue
        device = os.path.basename(os.path.realpath(fields[0]) if fields[0].startswith("/dev/") else fields[0])
        if not device.startswith("zram") and not uuid_of(device).startswith("CRYPT-"):
            yield Remark("swap", fields[0], "not encrypted, as far as the kernel says")


def core_dumps(pattern: str, limits: str) -> t.Iterator[Remark]:
    """Whether a crash writes the memory of a process to a file. ``limits`` are those of the first process,
    which others inherit (core(5)).
    """
    pattern = pattern.strip()
    if pattern.startswith("|"):
        program = pattern[1:].split(" ")[0]
        if program not in _DISABLED_PIPES:
            yield Remark("core", "kernel.core_pattern", f"a program gets them: {program}")
    elif pattern and _core_limit(limits) not in ("", "0"):
        yield Remark("core", "kernel.core_pattern", f"{pattern}, and the limit is not 0")


def _core_limit(limits: str) -> str:
    """The soft limit of core dumps in /proc/PID/limits, empty if it is not there."""
    name = "Max core file size"
    return next((line[len(name) :].split()[0] for line in limits.splitlines() if line.startswith(name)), "")


def lockdown(text: str) -> t.Iterator[Remark]:
    """The mode in brackets, unless it is none. Since "confidentiality" hides keys, it is worth a note."""
    mode = text.partition("[")[2].partition("]")[0]
    if mode and mode != "none":
        yield Remark("lockdown", "/sys/kernel/security/lockdown", mode)


def _read(root: str, path: str) -> str:
    with contextlib.suppress(OSError), open(os.path.join(root, path), encoding="utf-8", errors="replace") as file:
        return file.read(_MOST_BYTES)
    return ""
