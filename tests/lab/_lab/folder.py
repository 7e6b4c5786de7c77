# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A lab's folder, `build/lab/NAME`: its content, its lock, and the state of the lab."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import re
import shutil
import typing as t

from . import tables
from .errors import LabError

CHECKOUT = pathlib.Path(__file__).resolve().parents[3]
BUILD = CHECKOUT / "build"
LABS = BUILD / "lab"
LOG_LINES = 25
VERDICT = re.compile(r"panic|Oops|BUG:|Out of memory")  # lines to show even if many follow


class Lab(t.NamedTuple):
    """A lab by name, running or not."""

    name: str

    @property
    def path(self) -> pathlib.Path:
        return LABS / self.name

    @property
    def identity(self) -> str:
        """Unique on this machine: another checkout's lab of the same name is another lab."""
        return f"{self.name}-{hashlib.sha256(str(self.path).encode()).hexdigest()[:6]}"

    @property
    def namespace(self) -> str:
        """The network namespace, as `ip netns` names it, from which the lab is reached."""
        return f"lab-{self.identity}"

    @property
    def socket(self) -> pathlib.Path:
        """Of the shared ssh connection; outside the folder, for a socket's path must be short."""
        return pathlib.Path("/run", f"{self.namespace}.ssh")

    @property
    def log(self) -> pathlib.Path:
        return self.path / "kernel.log"

    @property
    def lasting(self) -> bool:
        """Whether it outlives the command that started it; `exec`'s do not."""
        return not self.name.startswith(tables.EXEC)

    def alias(self, host: str) -> str:
        """The host's name for ssh and Ansible: unique, since they share connections by name."""
        return f"{host}.{self.identity}.lab"

    def state(self) -> dict[str, t.Any] | None:
        """The state that `up` wrote last; None if there is no such lab."""
        try:
            state: dict[str, t.Any] = json.loads((self.path / "state.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return state

    def save(self, state: dict[str, t.Any]) -> None:
        """Write state.json atomically."""
        draft = self.path / "state.new"
        draft.write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")
        draft.rename(self.path / "state.json")

    def log_tail(self) -> str:
        """The end of the kernel's log, for an error message."""
        try:
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            lines = []
        if not lines:
            return f"{self.log} is empty."
        shown = [line for line in lines[:-LOG_LINES] if VERDICT.search(line)][-3:] + lines[-LOG_LINES:]
        return "\n".join([f"Last lines of {self.log}:", *(f"  | {line}" for line in shown)])

    def remove(self, *, keep_log: bool = False) -> None:
        """Delete the folder, optionally except its log, and the folder of labs if this was the last."""
        if self.path.exists():
            for entry in self.path.iterdir():
                if not (keep_log and entry == self.log):
                    shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        for folder in (self.path, LABS):
            with contextlib.suppress(OSError):
                folder.rmdir()


def stat_fields(pid: int) -> list[str] | None:
    """The fields of proc_pid_stat(5) of a living process, from field 3 on; None if there is no such process."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else fields


def started_at(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot (field 22): with the PID, a process's
    identity. None if there is no such process.
    """
    fields = stat_fields(pid)
    return int(fields[19]) if fields else None


def children_of(pid: int) -> list[int]:
    """PIDs of a process's living children (field 4 is the parent)."""
    pids = [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]
    return [each for each in pids if (fields := stat_fields(each)) and fields[1] == str(pid)]


def death(lab: Lab, state: dict[str, t.Any]) -> str | None:
    """How the lab's kernel ended; None while it runs."""
    if started_at(state["pid"]) == state["started"]:
        return None
    try:
        return (lab.path / "kernel.exit").read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return "was killed together with its supervisor"


def living(lab: Lab) -> dict[str, t.Any]:
    """The state of a lab that must be running."""
    state = lab.state()
    if state is None:
        raise LabError(f"lab {lab.name} is not up. Start it: tests/lab/lab up --name {lab.name}")
    check_alive(lab, state)
    return state


def check_alive(lab: Lab, state: dict[str, t.Any]) -> None:
    """Raise the error of a lab whose kernel has ended, or that was left incomplete."""
    owner, born = state["owner"]
    if state["booting"] and started_at(owner) != born:
        raise LabError(
            f"lab {lab.name}: `lab up` (process {owner}) was killed before the lab was ready. Clear it away:"
            f" tests/lab/lab down --name {lab.name}"
        )
    ending = death(lab, state)
    if ending:
        raise LabError(
            f"lab {lab.name} is dead: its kernel ({state['kernel']} {state.get('release', '')}, process {state['pid']})"
            f" {ending}.\n{lab.log_tail()}"
            + (f"\nClear it away: tests/lab/lab down --name {lab.name}" if lab.lasting else "")
        )


def all_labs() -> list[Lab]:
    """Labs that have a folder."""
    if not LABS.is_dir():
        return []
    return [
        Lab(entry.name)
        for entry in sorted(LABS.iterdir())
        if (entry / "spec.json").exists() or (entry / "state.json").exists()
    ]


@contextlib.contextmanager
def exclusive() -> t.Iterator[None]:
    """Lock: only one process at a time creates or removes labs of this checkout."""
    LABS.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(BUILD, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
