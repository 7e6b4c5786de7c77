# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Watches one system, a host or the controller, and reports where the marker appears.

- arguments and environment of every program that starts (exec_record.c), and of every process, again and again (/proc);
- every file that is written (files.py), and at the end all files of the file systems that are the system's own;
- what is sent to syslog and to the journal.

Standard input and output speak JSON, one object a line: first the `Order`, answered when all
watches stand; then any number of ``{}``, each answered by what was found since the last; end of
input ends it. The marker comes through standard input, so that this program does not leak it itself."""

from __future__ import annotations

import base64
import json
import os
import pathlib
import re
import select
import signal
import socket
import stat
import subprocess
import sys
import time
import typing as t

from . import files, marker

FOLDER = "/run/leak"
LIBRARY, RECORD = f"{FOLDER}/exec.so", f"{FOLDER}/exec.log"  # exec_record.c is compiled with -DRECORD
PRELOAD = "/etc/ld.so.preload"
LOGS = ("/dev/log", "/run/systemd/journal/socket")
SO_RCVBUFFORCE = 33  # asm-generic/socket.h
INVOCATION = re.compile(rb"ansible-[\w.]+")  # how modules name themselves in syslog
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")


class Order(t.TypedDict):
    """What to do."""

    marker: str  # hex
    recorder: str  # the shared library of exec_record.c, base64
    private: bool  # give this mount namespace folders for temporary files, /run, /etc and /dev of its own
    search: list[str]  # folders to search at the end
    share: float  # of a processor, for looking through /proc


class Finding(t.NamedTuple):
    """The marker, seen."""

    kind: str  # argv, environ: sampled; exec argv, exec environ: as started; file, name, log
    place: str  # program, path, or socket
    form: str
    mode: str  # of a file, octal
    uid: int
    context: str


class Observer:
    """All watches of one system."""

    def __init__(self, order: Order) -> None:
        self._search = marker.Search(bytes.fromhex(order["marker"]))
        self._trees = order["search"]
        self._share = order["share"]
        self._seen: dict[tuple[str, str], bytes] = {}
        self._tail = b""
        self._reset()
        os.makedirs(FOLDER, 0o700)
        self._logs = [_listen(path) for path in LOGS]
        self._record = _record_programs(base64.b64decode(order["recorder"]))
        self._read_record()
        if not self.counts["execs"]:
            raise RuntimeError(f"{PRELOAD} is not heeded: programs start unseen")
        self._watch = files.Watch(files.own_mounts())
        self._reset()

    def _reset(self) -> None:
        self.findings: set[Finding] = set()
        self.counts = {"samples": 0, "processes": 0, "execs": 0, "files": 0, "log_lines": 0}
        self.invocations: set[str] = set()

    def serve(self, requests: int) -> None:
        """Watch until the requests end."""
        sources = [requests, self._watch.descriptor, *self._logs]
        pause = 0.0
        while True:
            ready = select.select(sources, [], [], pause)[0]
            self._look()
            if requests in ready:
                if not os.read(requests, 1 << 16):
                    return
                print(json.dumps(self._report()), flush=True)
            started = time.monotonic()
            self._sample()
            pause = (time.monotonic() - started) * (1 / self._share - 1)

    def _report(self) -> dict[str, t.Any]:
        for top in self._trees:
            for found in files.tree(top):
                self._file(found)
        self._sample()
        self._look()
        answer = {"findings": sorted(self.findings), "counts": self.counts, "invocations": sorted(self.invocations)}
        self._reset()
        return answer

    def _look(self) -> None:
        self._read_record()
        for written in self._watch.read():
            self.counts["files"] += 1
            self._file(written)
        for log in self._logs:
            self._read_log(log)

    def _found(self, kind: str, place: str, data: bytes, mode: int = 0, uid: int = 0) -> None:
        form = self._search.first(data)
        if form:
            self.findings.add(Finding(kind, place, form, f"{mode:04o}", uid, self._search.context(data)))

    def _file(self, found: files.Written) -> None:
        if found.path == RECORD:
            return
        self._found("name", found.path, os.fsencode(found.path))
        self._found("file", found.path, found.data, found.mode, found.uid)

    def _sample(self) -> None:
        self.counts["samples"] += 1
        living = {}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            for kind, name in (("argv", "cmdline"), ("environ", "environ")):
                try:
                    with open(f"/proc/{pid}/{name}", "rb", 0) as file:
                        data = file.read()
                except (FileNotFoundError, ProcessLookupError, PermissionError):
                    continue
                if data != self._seen.get((pid, kind)):
                    self.counts["processes"] += kind == "argv"
                    self._found(kind, _program(pid), data)
                living[pid, kind] = data
        self._seen = living

    def _read_record(self) -> None:
        while chunk := os.read(self._record, 1 << 20):
            self._tail += chunk
        while b"\n" in self._tail:
            head, rest = self._tail.split(b"\n", 1)
            pid, arguments, environment = map(int, head.split())
            if len(rest) < arguments + environment:
                return
            self._tail = rest[arguments + environment :]
            self.counts["execs"] += 1
            name = rest[:arguments].split(b"\0", 1)[0].decode("utf-8", "replace")
            self._found("exec argv", name, rest[:arguments])
            self._found("exec environ", name, rest[arguments : arguments + environment])

    def _read_log(self, log: socket.socket) -> None:
        while True:
            try:
                data, descriptors, dummy_flags, dummy_sender = socket.recv_fds(log, 1 << 20, 8)
            except BlockingIOError:
                return
            for descriptor in descriptors:  # the journal takes long messages so
                data += os.pread(descriptor, 1 << 26, 0)
                os.close(descriptor)
            self.counts["log_lines"] += 1
            self.invocations.update(match[0].decode() for match in INVOCATION.finditer(data))
            self._found("log", log.getsockname(), data)


def _program(pid: str) -> str:
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return "?"


def _listen(path: str) -> socket.socket:
    """A socket where a system's log daemon has its own."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    pathlib.Path(path).unlink(missing_ok=True)
    log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    log.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
    log.bind(path)
    os.chmod(path, 0o666)
    return log


def _record_programs(library: bytes) -> int:
    """Record every program from now on; return the record, open for reading."""
    pathlib.Path(LIBRARY).write_bytes(library)
    record = os.open(RECORD, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    pathlib.Path(PRELOAD).write_text(f"{LIBRARY}\n", encoding="ascii")
    subprocess.run(["/bin/true"], check=True)
    return record


def make_private() -> None:
    """Give this mount namespace its own temporary folders, /run, /etc and /dev; of /run it keeps
    the network namespaces.
    """
    staging = "/tmp"
    _mount("-t", "tmpfs", "-o", "mode=1777", "tmpfs", staging)
    for name, kept in {"run": ["netns"], "dev": ["pts", "net"]}.items():
        new = f"{staging}/{name}"
        os.mkdir(new)
        _mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", new)
        for folder in kept:
            if os.path.isdir(f"/{name}/{folder}"):
                os.mkdir(f"{new}/{folder}")
                _mount("--rbind", f"/{name}/{folder}", f"{new}/{folder}")
        if name == "dev":
            _make_devices(new)
        _mount("--move", new, f"/{name}")
        os.rmdir(new)
    _mount("-t", "tmpfs", "-o", "mode=1777", "tmpfs", "/dev/shm")
    _mount("-t", "tmpfs", "-o", "mode=1777", "tmpfs", "/var/tmp")
    changes = "/run/etc"
    os.makedirs(f"{changes}/upper")
    os.makedirs(f"{changes}/work")
    _mount("-t", "overlay", "-o", f"lowerdir=/etc,upperdir={changes}/upper,workdir={changes}/work", "overlay", "/etc")


def _make_devices(folder: str) -> None:
    for device in DEVICES:
        status = os.stat(f"/dev/{device}")
        os.mknod(f"{folder}/{device}", status.st_mode, status.st_rdev)
        os.chmod(f"{folder}/{device}", stat.S_IMODE(status.st_mode))
    os.mkdir(f"{folder}/shm")
    for link, target in {
        "ptmx": "pts/ptmx",
        "fd": "/proc/self/fd",
        "stdin": "fd/0",
        "stdout": "fd/1",
        "stderr": "fd/2",
    }.items():
        os.symlink(target, f"{folder}/{link}")


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", "-n", *arguments], check=True)


def main() -> None:
    order: Order = json.loads(sys.stdin.buffer.raw.readline())
    if order["private"]:
        make_private()
    observer = Observer(order)
    print(json.dumps({"watched": files.own_mounts()}), flush=True)
    if os.getpid() == 1:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps the orphans
    observer.serve(sys.stdin.fileno())


if __name__ == "__main__":
    main()
