# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reports every written file with fanotify(7), even one that is deleted immediately: the kernel
keeps it until it has been read. Marks apply to mounts of this mount namespace: writes of other
namespaces to the same disk are not seen.
"""

from __future__ import annotations

import ctypes
import os
import re
import stat
import struct
import typing as t

# linux/fanotify.h
FAN_CLOEXEC, FAN_NONBLOCK, FAN_UNLIMITED_QUEUE = 0x01, 0x02, 0x10
FAN_MARK_ADD, FAN_MARK_MOUNT = 0x01, 0x10
FAN_CLOSE_WRITE = 0x08
FAN_NOFD = -1
EVENT = struct.Struct("=IBBHQii")  # struct fanotify_event_metadata
AT_FDCWD = -100

# File systems without regular files.
OF_THE_KERNEL = frozenset(
    {
        "proc",
        "sysfs",
        "devpts",
        "devtmpfs",
        "cgroup",
        "cgroup2",
        "mqueue",
        "nsfs",
        "tracefs",
        "debugfs",
        "securityfs",
        "bpf",
        "pstore",
        "configfs",
        "binfmt_misc",
    }
)
MAX_SIZE = 256 << 20


class Written(t.NamedTuple):
    """A file as it was when its writer closed it, or as a search found it."""

    path: str
    mode: int
    uid: int
    data: bytes


def own_mounts() -> list[str]:
    """Mount points of this mount namespace below which files can be written."""
    with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
        fields = [line.split(" - ", 1) for line in mounts]
    found = []
    for mount, source in fields:
        point, options = mount.split()[4:6]
        if source.split()[0] not in OF_THE_KERNEL and "ro" not in options.split(","):
            found.append(re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), point))
    return [point for point in found if os.path.isdir(point)]


class Watch:
    """Reports files that were opened for writing and closed, on the given mounts."""

    def __init__(self, mounts: t.Iterable[str]) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.fanotify_mark.argtypes = [ctypes.c_int, ctypes.c_uint, ctypes.c_uint64, ctypes.c_int, ctypes.c_char_p]
        self.descriptor = libc.fanotify_init(
            FAN_CLOEXEC | FAN_NONBLOCK | FAN_UNLIMITED_QUEUE, os.O_RDONLY | os.O_CLOEXEC
        )
        if self.descriptor < 0:
            raise OSError(ctypes.get_errno(), "fanotify_init")
        for mount in mounts:
            if libc.fanotify_mark(
                self.descriptor, FAN_MARK_ADD | FAN_MARK_MOUNT, FAN_CLOSE_WRITE, AT_FDCWD, os.fsencode(mount)
            ):
                raise OSError(ctypes.get_errno(), "fanotify_mark", mount)

    def read(self) -> t.Iterator[Written]:
        """What was written since the last call."""
        while True:
            try:
                buffer = os.read(self.descriptor, 1 << 16)
            except BlockingIOError:
                return
            offset = 0
            while offset < len(buffer):
                length, dummy_version, dummy_reserved, dummy_size, dummy_mask, descriptor, dummy_pid = (
                    EVENT.unpack_from(buffer, offset)
                )
                offset += length
                if descriptor == FAN_NOFD:
                    raise RuntimeError("fanotify lost events")
                try:
                    written = _read(descriptor, os.readlink(f"/proc/self/fd/{descriptor}"))
                finally:
                    os.close(descriptor)
                if written is not None:
                    yield written


def _read(descriptor: int, path: str) -> Written | None:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        return None
    if status.st_size > MAX_SIZE:
        raise RuntimeError(f"{path} is too large to be searched: {status.st_size} bytes")
    chunks = []
    while chunk := os.pread(descriptor, 1 << 20, sum(map(len, chunks))):
        chunks.append(chunk)
    return Written(path.removesuffix(" (deleted)"), stat.S_IMODE(status.st_mode), status.st_uid, b"".join(chunks))


def tree(top: str) -> t.Iterator[Written]:
    """All files below a folder of one file system, and the targets of its symbolic links."""
    device = os.stat(top).st_dev
    for folder, folders, names in os.walk(top):
        folders[:] = [name for name in folders if _device(os.path.join(folder, name)) == device]
        for name in names:
            path = os.path.join(folder, name)
            try:
                if os.path.islink(path):
                    yield Written(path, 0, 0, os.fsencode(os.readlink(path)))
                    continue
                if not stat.S_ISREG(os.lstat(path).st_mode):
                    continue
                descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            try:
                found = _read(descriptor, path)
            finally:
                os.close(descriptor)
            if found is not None:
                yield found


def _device(path: str) -> int:
    try:
        return os.lstat(path).st_dev
    except FileNotFoundError:
        return -1
