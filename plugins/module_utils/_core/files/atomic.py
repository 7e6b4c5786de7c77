# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Replacing a file atomically, and waiting for a lock. Failures are OSError, which callers explain."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
import typing as t


def replace(
    path: str,
    data: bytes,
    mode: int = 0o600,
    directory: int | None = None,
    suffix: str = ".tmp",
    durable: bool = True,
    check: t.Callable[[str], object] | None = None,
) -> None:
    """Replace or create a file: readers see its old or its new content, also after a power failure
    unless ``durable`` is false.

    ``path`` is relative to the open ``directory``, if any. ``check`` gets the path of the complete
    temporary file, ``.NAME.`` with 12 hex digits and ``suffix``; if it raises, nothing changes. The
    new name itself reaches the disk with `sync`."""
    parent, name = os.path.split(path)
    temporary = os.path.join(parent, f".{name}.{os.urandom(6).hex()}{suffix}")
    try:
        create(temporary, data, mode, directory, durable)
        if check is not None:
            check(temporary)
        os.replace(temporary, path, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=directory)
        raise


def create(path: str, data: bytes, mode: int, directory: int | None = None, durable: bool = True) -> None:
    """Create a file with exactly this mode, whatever the umask; what fails halfway leaves a part of it."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, mode, dir_fd=directory)
    try:
        if stat.S_IMODE(os.fstat(descriptor).st_mode) != mode:  # some network file systems refuse any change
            os.fchmod(descriptor, mode)
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        if durable:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync(directory: str) -> None:
    """Write a directory's names to the disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def lock(descriptor: int, seconds: float) -> bool:
    """Lock an open file or directory (flock(2)); false if another process still holds the lock after ``seconds``."""
    end = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError as exc:
            if exc.errno not in (errno.EAGAIN, errno.EACCES):
                raise
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
