# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Paths on the lab's side. Kept small, since every command on a host loads it."""

from __future__ import annotations

RUNTIME = "/run/lab"
HOSTS = f"{RUNTIME}/hosts"
POPULATE = "populate"  # a library that is preloaded on hosts under User-Mode Linux
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def remember(name: str, pid: int) -> None:
    """Store the PID of a host's first process in the lab's PID namespace."""
    with open(f"{HOSTS}/{name}.pid", "w", encoding="ascii") as file:
        file.write(f"{pid}\n")


def pid_of(name: str) -> int:
    """The PID that `remember` stored."""
    with open(f"{HOSTS}/{name}.pid", encoding="ascii") as file:
        return int(file.read())
