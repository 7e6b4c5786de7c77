# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock that keeps a second run out of the keystore, and the run that holds it."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import pwd
import socket
import sys
import time
import typing as t

from ansible_collections.ipsec.manual.plugins.module_utils._core.files import atomic

from .records import KeystoreError

# The PID namespace of a Linux machine itself, PROC_PID_INIT_INO.
_FIRST_NAMESPACE = "pid:[4026531836]"
# Whether a run on another machine has ended is unknown; after this time it is assumed dead.
LEASE_SECONDS = 3600
LOCK_SECONDS = 30.0

# Fixes for files that cannot be written.
_FIXES = {
    **dict.fromkeys((errno.EACCES, errno.EPERM), "Make the directory writable for the user who runs Ansible"),
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "Free space on the file system, or raise the quota"),
    errno.EROFS: "Mount the file system writable, or move the keystore",
    errno.ELOOP: "Remove the symbolic link",
    errno.EIO: "Look for disk errors in the kernel log of this machine",
}


class Runner(t.NamedTuple):
    """One run of Ansible: machine, boot, process and its start time, so that a reused process number
    is not mistaken for the same process.

    ``machine`` is a digest of machine-id(5), empty if there is none. A name does not identify a
    machine, because images and containers share names. ``namespace`` is the PID namespace
    (pid_namespaces(7)), empty if unknown: containers of one image may share the machine-id too."""

    node: str
    boot: str
    pid: int
    started: str
    machine: str = ""
    namespace: str = ""

    @classmethod
    def of(cls, pid: int) -> Runner:
        namespace = _namespace()
        # Without a namespace, /proc is missing or shows other processes.
        started = _start_of(pid) if namespace else ""
        return cls(
            socket.gethostname(), _first_line("/proc/sys/kernel/random/boot_id"), pid, started, _machine(), namespace
        )

    def is_alive(self) -> bool | None:
        """None if unknown, because the run is or may be on another machine or in another container."""
        here = Runner.of(self.pid)
        # Earlier releases wrote no namespace.
        if (here.node, here.machine) != (self.node, self.machine) or self.namespace not in ("", here.namespace):
            return None
        if here.boot != self.boot:
            # The numbers of other namespaces restart with each boot, on each machine.
            return False if self.machine and self.namespace == _FIRST_NAMESPACE else None
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False if self.namespace else None
        except PermissionError:
            # It belongs to another user.
            pass
        if here.started == self.started:
            return True
        # A process that /proc hides (hidepid) may be the same one.
        return False if here.started and self.namespace else None


class Lease:
    """The run that owns the keystore, from the preparation of a generation to its end. It is stored in
    the lock file and must be used only while that is locked.
    """

    def __init__(self, handle: int, path: str) -> None:
        self.handle = handle
        self.path = path

    def holder(self) -> tuple[Runner | None, float]:
        """The run that holds the lease, None for none, and since when (seconds since the epoch)."""
        try:
            held = json.loads(os.pread(self.handle, 65536, 0) or b"null")
            return (Runner(**held["runner"]), float(held["since"])) if held else (None, 0.0)
        except (ValueError, TypeError, KeyError):
            raise KeystoreError(
                "the keystore's lock holds no lease of this collection",
                self.path,
                "Remove it when no run uses this keystore.",
            ) from None

    def refuse_others(self, runner: Runner) -> None:
        other, since = self.holder()
        if other is None or other == runner:
            return
        alive = other.is_alive()
        if alive or (alive is None and time.time() - since < LEASE_SECONDS):
            where = "" if alive else f" on {other.node}, which cannot be seen from here"
            # The clock of another machine may be ahead.
            seconds = max(0, int(time.time() - since))
            raise KeystoreError(
                f"another run (process {other.pid}{where}) has used this keystore for {seconds} s",
                self.path,
                "Wait for it to end; remove this file only when you know that it has.",
            )

    def take(self, runner: Runner) -> None:
        self._write(json.dumps({"runner": runner._asdict(), "since": int(time.time())}))

    def release(self) -> None:
        self._write("")

    def _write(self, text: str) -> None:
        try:
            os.ftruncate(self.handle, 0)
            os.pwrite(self.handle, text.encode("ascii"), 0)
        except OSError as exc:
            raise KeystoreError(
                f"the keystore's lock cannot be written: {exc.strerror}", self.path, f"{fix_of(exc)}, then run again."
            ) from None


@contextlib.contextmanager
def locked(path: str, flags: int) -> t.Iterator[Lease | None]:
    """The lock file, opened with ``flags`` and locked; None if it does not exist and must not be created."""
    handle = _opened(path, flags)
    try:
        if handle is not None:
            _flock(handle, path)
        yield None if handle is None else Lease(handle, path)
    finally:
        if handle is not None:
            os.close(handle)


def _opened(path: str, flags: int) -> int | None:
    try:
        return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except FileNotFoundError:
        if flags & os.O_CREAT:
            raise
        return None
    except OSError as exc:
        raise KeystoreError(f"the keystore's lock cannot be opened: {exc.strerror}", path, f"{fix_of(exc)}.") from None


def _flock(handle: int, path: str) -> None:
    try:
        if atomic.lock(handle, LOCK_SECONDS):
            return
    except OSError as exc:
        raise KeystoreError(
            f"the keystore cannot be locked: {exc.strerror}", path, "Move it to a file system that supports locks."
        ) from None
    message = f"another process has held the keystore's lock for {LOCK_SECONDS:.0f} s"
    raise KeystoreError(message, path, "Find it with fuser or lsof, and end it.")


def actor() -> str:
    """The user and controller that change the keystore."""
    try:
        user = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        user = str(os.geteuid())
    return f"{user}@{socket.gethostname()}"


def _first_line(path: str) -> str:
    try:
        with open(path, encoding="ascii") as stream:
            return stream.readline().strip()
    except OSError:
        return ""


def _namespace() -> str:
    """The PID namespace of this process; empty if /proc is missing or belongs to another one. Linux only."""
    if sys.platform != "linux":
        return sys.platform
    try:
        return os.readlink("/proc/self/ns/pid") if os.readlink("/proc/self") == str(os.getpid()) else ""
    except OSError:
        return ""


def _machine() -> str:
    # machine-id(5) asks not to reveal the identity itself.
    identity = _first_line("/etc/machine-id") or _first_line("/var/lib/dbus/machine-id")
    return hashlib.sha256(f"ipsec.manual keystore {identity}".encode("ascii")).hexdigest()[:16] if identity else ""


def fix_of(exc: OSError) -> str:
    return _FIXES.get(exc.errno or 0, "Fix that")


def _start_of(pid: int) -> str:
    # The command in brackets may contain blanks; the 22nd field of proc_pid_stat(5) is the 20th after it.
    fields = _first_line(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 else ""
