# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""System calls without a function in Python 3.11: mounts and namespaces."""

from __future__ import annotations

import ctypes
import os

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MS_SHARED = 1 << 20
MNT_DETACH = 2

PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """mount(2)."""
    result = _libc.mount(
        source.encode(), target.encode(), kind.encode() or None, ctypes.c_ulong(flags), options.encode() or None
    )
    _check(result, f"mount {kind or 'bind'} {source} on {target}")


def bind(source: str, target: str, *, read_only: bool = False) -> None:
    """Show a folder or file at a second place, read-only if asked."""
    mount(source, target, flags=MS_BIND | MS_REC)
    if read_only:
        mount("none", target, flags=MS_BIND | MS_REMOUNT | MS_RDONLY)


def private_mounts() -> None:
    """Make mounts private: they do not propagate to or from other mount namespaces."""
    mount("none", "/", flags=MS_REC | MS_PRIVATE)


def pivot_root(new_root: str) -> None:
    """Make the mount point new_root the root, and let go of the old one: pivot_root(2), "pivot_root(".", ".")"."""
    os.chdir(new_root)
    _check(_libc.syscall(155, b".", b"."), f"pivot_root to {new_root}")
    _check(_libc.umount2(b".", MNT_DETACH), "umount of the old root")
    os.chdir("/")


def unshare(flags: int) -> None:
    """unshare(2)."""
    _check(_libc.unshare(flags), "unshare")


def enter_network(name: str) -> None:
    """Enter the named network namespace (`ip netns`)."""
    with open(f"/run/netns/{name}", "rb") as namespace:
        _check(_libc.setns(namespace.fileno(), CLONE_NEWNET), f"setns {name}")


def die_with_parent(signal_number: int) -> None:
    """Make the kernel send this process a signal when its parent ends."""
    _check(_libc.prctl(PR_SET_PDEATHSIG, signal_number), "prctl")
