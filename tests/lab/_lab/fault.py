# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Faults of a host, injected on the lab's side: `fault down|cut|up|reboot HOST`. Runs in the mount
namespace of the lab's first process.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import time

from . import access, host, places, plan, spec


def processes_of(name: str) -> list[tuple[int, str]]:
    """PIDs and command names of a host's processes."""
    own = os.readlink(f"/proc/{places.pid_of(name)}/ns/pid")
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and os.readlink(entry / "ns/pid") == own:
                found.append((int(entry.name), (entry / "comm").read_text(encoding="utf-8").strip()))
    return found


def stop_sshd(name: str) -> None:
    """Kill sshd and all its sessions: new connections are refused at once, open ones end."""
    for pid, command in processes_of(name):
        if command == "sshd":
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def start_sshd(name: str) -> None:
    """Start sshd if it is not running."""
    if all(command != "sshd" for dummy, command in processes_of(name)):
        subprocess.run(access.program("enter", name, "/", *access.program("sshd")), check=True)


def link(machine: spec.Spec, target: plan.Host, state: str) -> None:
    """Set the management link up or down; when it is down, packets vanish without an answer."""
    host.ip_batch([f"link set {host.management_end(machine.hosts.index(target))} {state}"])


def reboot(machine: spec.Spec, target: plan.Host) -> None:
    """Kill every process of the host at once, as a power failure does, and boot it again. Its files
    stay; /run, /tmp, SADB and SPD are new.
    """
    pid = places.pid_of(target.name)
    os.kill(pid, signal.SIGKILL)
    while pathlib.Path(f"/proc/{pid}").exists():
        time.sleep(0.01)
    host.disconnect(machine, target)
    host.connect(machine, [target])
    host.start(machine, target)


def main() -> None:
    action, name = sys.argv[1:]
    machine = spec.load(pathlib.Path(os.environ["LAB_FOLDER"]))
    target = next(each for each in machine.hosts if each.name == name)
    if action == "down":
        stop_sshd(name)
    elif action == "cut":
        link(machine, target, "down")
    elif action == "up":
        link(machine, target, "up")
        start_sshd(name)
    else:
        reboot(machine, target)
