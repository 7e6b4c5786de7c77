# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab's first process: builds the hosts on the running kernel. PID 1 under User-Mode Linux."""

from __future__ import annotations

import json
import os
import pathlib
import resource
import subprocess
import sys
import time
import traceback
import typing as t

from . import host, places, spec, system, tables

# Whenever a program registers with PF_KEY, the kernel asks for each algorithm that it lacks, about 25
# times `modprobe -q -- NAME`. To remember that there is no such module is faster than to search again.
MODPROBE = """\
#!/bin/sh
[ ! -e "{absent}/$3" ] || exit 1
/usr/sbin/modprobe -d {tree} -C {rules} "$@" || {{ [ "$2" != -- ] || : >"{absent}/$3"; exit 1; }}
"""


def mount_basics(machine: spec.Spec) -> None:
    """Give this mount namespace its own /run, and User-Mode Linux the kernel's file systems."""
    if machine.kernel == "uml":
        system.mount("proc", "/proc", "proc")
        system.mount("sysfs", "/sys", "sysfs")
    system.private_mounts()
    system.mount("tmpfs", "/run", "tmpfs", system.MS_NOSUID, "mode=755")
    # Named network namespaces are mounts below /run/netns that must be visible to every process of
    # this mount namespace.
    os.makedirs("/run/netns")
    os.makedirs(places.HOSTS)


def write_modprobe(machine: spec.Spec) -> str:
    """Create a modprobe that finds User-Mode Linux's modules and blocks the unwanted ones; return its path."""
    tree, rules, absent, program = (
        f"{places.RUNTIME}/{name}" for name in ("modules", "modprobe.d", "absent", "modprobe")
    )
    os.makedirs(f"{tree}/lib")
    os.makedirs(rules)
    os.symlink(machine.modules, f"{tree}/lib/modules")
    pathlib.Path(rules, "without.conf").write_text(host.without_rules(machine.without), encoding="ascii")
    os.makedirs(absent)
    pathlib.Path(program).write_text(MODPROBE.format(tree=tree, rules=rules, absent=absent), encoding="ascii")
    os.chmod(program, 0o755)
    return program


def load_modules(machine: spec.Spec) -> list[str]:
    """Load the table's modules, and let the kernel load others on demand; return the names of missing ones."""
    if machine.kernel == "uml":
        program = write_modprobe(machine)
        pathlib.Path("/proc/sys/kernel/modprobe").write_text(program, encoding="ascii")
    else:
        program = "/usr/sbin/modprobe"
    wanted = [name for name in tables.MODULES if name not in machine.without]
    result = subprocess.run([program, "-a", "-q", *wanted], check=False, capture_output=True, text=True)
    if result.returncode == 0:
        return []
    loaded = {line.split(" ", 1)[0] for line in pathlib.Path("/proc/modules").read_text(encoding="ascii").splitlines()}
    return [name for name in wanted if name not in loaded and not os.path.isdir(f"/sys/module/{name}")]


def build_networks(machine: spec.Spec) -> None:
    """Create the management bridge and the link to the controller."""
    address = tables.MACHINE_ADDRESS if machine.kernel == "uml" else tables.CONTROLLER_ADDRESS
    lines = ["link set lo up", "link add mgmt type bridge", f"addr add {address}/16 dev mgmt", "link set mgmt up"]
    if machine.kernel == "uml":
        lines += ["link set vec0 master mgmt", "link set vec0 up"]
    host.ip_batch(lines)


def build(machine: spec.Spec) -> dict[str, t.Any]:
    """Build everything in order; return the report for the controller."""
    mount_basics(machine)
    missing = load_modules(machine)
    build_networks(machine)
    host.start_control(machine)
    first, *others = machine.hosts  # the wire first, if there is one, since the other links end there
    host.connect(machine, [first])
    host.start(machine, first)
    if others:
        host.connect(machine, others)
    for each in others:
        host.start(machine, each)
    return {"release": os.uname().release, "missing_modules": missing}


def main() -> None:
    folder = pathlib.Path(os.environ["LAB_FOLDER"])
    os.environ["PATH"] = places.PATH
    os.umask(0o022)
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY,) * 2)  # populate.c locks memory
    machine = spec.load(folder)
    report = folder / "boot.json"
    try:
        answer = build(machine)
    except Exception:  # this process has no terminal: the report is its only output
        answer = {"error": traceback.format_exc()}
    draft = report.with_suffix(".new")
    draft.write_text(json.dumps(answer), encoding="utf-8")
    draft.rename(report)
    if "error" in answer:
        print(answer["error"], file=sys.stderr, flush=True)
    while True:  # PID 1 reaps processes
        try:
            os.wait()
        except ChildProcessError:
            time.sleep(1)
