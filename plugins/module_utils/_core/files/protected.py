# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files that hold keys: owner root, mode 0600, on a local disk, in directories that only root can change.

Every path is walked from ``/`` through open directories, never through a symbolic link, so the file
that was checked is the one that is used.

A file that holds no keys but decides about traffic (`PUBLIC`) is read with the same care, except
that others may read it too."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import typing as t

from ..errors import NetworkFileError, ProtectedFileError, raise_all
from . import atomic
from .mounts import NETWORK_FILE_SYSTEMS, TABLES, file_system, is_fuse

LIMIT = 64 << 20
"""The default limit of `read` in bytes: about 200,000 SAs."""

DIRECTORY_MODE = 0o700
FILE_MODE = 0o600


class Protection(t.NamedTuple):
    """How a file must be protected: its ``mode``, the permission bits that it must not have, and the
    consequences of access by others and of a network file system.
    """

    mode: int
    refused: int
    after: str
    network: str


SECRET = Protection(
    FILE_MODE, 0o7177, "; its keys may be known, so rotate them", "so keys would leave this system in clear text"
)
PUBLIC = Protection(0o644, 0o7133, "; look at what it says", "so others could change the file on its way")

# Solaris 10 has no O_DIRECTORY; every directory is checked before it is opened.
_DIRECTORY_FLAGS = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | os.O_NOFOLLOW | os.O_CLOEXEC
_LOCK_SECONDS = 10.0
_FUSE = "so a program would read the content, and may send it over a network"
_LOCK_UNSUPPORTED = (errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


class FileStatus(t.NamedTuple):
    """What is known about a protected file. ``mode`` is its permission bits, 0 if it does not exist;
    ``size`` is in bytes.

    ``file_system`` is the type of the nearest existing directory's file system. ``problems`` are the
    reasons for which the file cannot be read or written."""

    path: str
    exists: bool = False
    mode: int = 0
    uid: int = 0
    size: int = 0
    directory_exists: bool = False
    file_system: str = ""
    problems: tuple[ProtectedFileError, ...] = ()


def read(path: str, limit: int = LIMIT, protection: Protection = SECRET) -> bytes:
    """The content. Raises ProtectedFileError if the file is missing, unsafe, or longer than ``limit`` bytes."""
    with _opened(path, "read") as (directory, name):
        return _read(directory, name, path, limit, protection)


def take(file: t.IO[bytes], path: str, limit: int = LIMIT) -> bytes:
    """The content of an open file. Raises ProtectedFileError if it has more than ``limit`` bytes, so
    that a part is never taken for the whole.
    """
    data = file.read(limit + 1)
    if len(data) > limit:
        fix = "A file of that size is a mistake; check what wrote it."
        raise ProtectedFileError(f"the file is longer than {limit} bytes", path, fix)
    return data


# Called right before a file changes; the file does not change if this raises.
Check = t.Callable[[], None]


def write(path: str, data: bytes, check: Check = lambda: None) -> None:
    """Replace the content, or create the file and missing directories (mode 0700), atomically and durably.

    An unsafe file or directory is refused, not repaired: whoever could read it may know its keys.
    """
    with _writing(path) as (directory, name, dummy):
        _put(directory, name, data, check)


def create(path: str, data: bytes) -> bool:
    """As `write`, but only if the file does not exist; returns whether it was created."""
    with _writing(path) as (directory, name, dummy):
        try:
            atomic.create(name, data, FILE_MODE, directory)
        except FileExistsError:
            return False
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=directory)
            raise
        os.fsync(directory)
    return True


def update(
    path: str, change: t.Callable[[bytes | None], bytes], check: Check = lambda: None
) -> tuple[bytes | None, bytes]:
    """Replace the content, None for no file, by ``change(content)`` while no other process of ours
    writes. Returns the old and the new content.

    Otherwise as `write`; equal content is not written again.
    """
    with _writing(path) as (directory, name, exists):
        old = _read(directory, name, path, LIMIT) if exists else None
        new = change(old)
        if new != old:
            _put(directory, name, new, check)
    return old, new


def writable(path: str) -> FileStatus:
    """The status of a file that `write` could write. Raises what `write` would raise; changes nothing."""
    _require_root(path)
    found = status(path)
    raise_all(found.problems)
    return found


def remove(path: str, check: Check = lambda: None) -> bool:
    """Remove the file; returns whether it existed. Symbolic links and files of other users are refused."""
    _require_root(path)
    try:
        with _opened(path, "removed") as (directory, name):
            alone = _lock(directory, path)
            there = _is_to_remove(directory, name, path)
            if alone:
                _remove_leftovers(directory, name)
            if there:
                check()
                os.unlink(name, dir_fd=directory)
                os.fsync(directory)
            return there
    except _MissingDirectoryError:
        return False


def removable(path: str) -> bool:
    """What `remove` would return. Raises what it would raise; changes nothing."""
    _require_root(path)
    try:
        with _opened(path, "removed") as (directory, name):
            return _is_to_remove(directory, name, path)
    except _MissingDirectoryError:
        return False


def status(path: str, protection: Protection = SECRET) -> FileStatus:
    """What exists; changes nothing. Raises only for an invalid path; all else is in ``problems``."""
    _split(path)
    found = FileStatus(path)
    problems: list[ProtectedFileError] = []
    try:
        with _opened(path, "examined") as (directory, name):
            parent = os.path.dirname(path)
            problems += _directory_problems(directory, parent, protection)
            found = found._replace(
                directory_exists=True,
                file_system=file_system(directory, parent),
            )
            existing = _lstat(name, directory, path, required=False)
            if existing is not None:
                problems += _file_problems(existing, path, protection)
                found = found._replace(
                    exists=True,
                    mode=stat.S_IMODE(existing.st_mode),
                    uid=existing.st_uid,
                    size=existing.st_size,
                )
    except _MissingDirectoryError as missing:
        found = found._replace(file_system=missing.file_system)
        problems += missing.problems
    except ProtectedFileError as error:
        problems.append(error)
    return found._replace(problems=tuple(problems))


def _read(directory: int, name: str, path: str, limit: int, protection: Protection = SECRET) -> bytes:
    _raise_first(_directory_problems(directory, os.path.dirname(path), protection))
    _raise_first(_file_problems(_lstat(name, directory, path, required=True), path, protection))
    # O_NONBLOCK: a pipe that has replaced the file must not block us; the checks below refuse it.
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    with open(descriptor, "rb") as file:
        _raise_first(
            _file_problems(os.fstat(descriptor), path, protection)
            + _network_problems(file_system(descriptor, path), path, protection)
        )
        return take(file, path, limit)


@contextlib.contextmanager
def _writing(path: str) -> t.Iterator[tuple[int, str, bool]]:
    """The open directory, the name in it and whether the file exists, all checked, while no other
    process of ours writes there.
    """
    _require_root(path)
    with _opened(path, "written", create=True) as (directory, name):
        alone = _lock(directory, path)
        _raise_first(_directory_problems(directory, os.path.dirname(path)))
        existing = _lstat(name, directory, path, required=False)
        _raise_first(_file_problems(existing, path))
        if alone:
            _remove_leftovers(directory, name)
        yield directory, name, existing is not None


def _put(directory: int, name: str, data: bytes, check: Check) -> None:
    atomic.replace(name, data, FILE_MODE, directory, check=lambda dummy: check())
    os.fsync(directory)


def _is_to_remove(directory: int, name: str, path: str) -> bool:
    _raise_first(_directory_problems(directory, os.path.dirname(path)))
    existing = _lstat(name, directory, path, required=False)
    _raise_first(_file_problems(existing, path, SECRET._replace(refused=0)))
    return existing is not None


class _MissingDirectoryError(ProtectedFileError):
    """A directory of the path does not exist; ``problems`` are those of its nearest existing parent."""

    def __init__(self, directory: str, file_system_type: str, problems: t.Sequence[ProtectedFileError]) -> None:
        fix = f"Create it with: install -d -m 0700 -o root {directory}"
        super().__init__("the directory does not exist", directory, fix)
        self.file_system = file_system_type
        self.problems = tuple(problems)


def _split(path: str) -> tuple[list[str], str]:
    """The names of the directories from ``/`` downwards, and the file's name."""
    if not path.startswith("/") or "\0" in path:
        raise ProtectedFileError("the path is not absolute", repr(path), "Begin it with /.")
    names = [name for name in path.split("/") if name]
    if not names or path.endswith("/") or "." in names or ".." in names:
        fix = "Write it without '.', '..' and a final '/'."
        raise ProtectedFileError("the path is not in its plain form", path, fix)
    return names[:-1], names[-1]


@contextlib.contextmanager
def _opened(path: str, verb: str, create: bool = False) -> t.Iterator[tuple[int, str]]:
    """The open directory of a file, reached from ``/`` without symbolic links and through directories
    that only root can change, and the file's name in it.
    """
    directories, name = _split(path)
    here = "/"
    with _failing(path, "reached"):
        descriptor = os.open("/", _DIRECTORY_FLAGS)
        try:
            for part in directories:
                _raise_first(_owner_problems(os.fstat(descriptor), here))
                below = os.path.join(here, part)
                status_below = _lstat(part, descriptor, below, required=False)
                if status_below is None and not create:
                    parent, problems = os.path.dirname(path), _directory_problems(descriptor, here)
                    raise _MissingDirectoryError(parent, file_system(descriptor, here), problems)
                if status_below is None:
                    _raise_first(_directory_problems(descriptor, here))
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(part, DIRECTORY_MODE, dir_fd=descriptor)
                    os.fsync(descriptor)
                elif stat.S_ISLNK(status_below.st_mode):
                    raise ProtectedFileError("the path contains a symbolic link", below, "Name the real directory.")
                elif not stat.S_ISDIR(status_below.st_mode):
                    raise ProtectedFileError("this is not a directory", below)
                following = os.open(part, _DIRECTORY_FLAGS, dir_fd=descriptor)
                os.close(descriptor)
                descriptor, here = following, below
            with _failing(path, verb):
                yield descriptor, name
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def _failing(path: str, verb: str) -> t.Iterator[None]:
    """Turn OSError into ProtectedFileError."""
    try:
        yield
    except OSError as exc:
        name = errno.errorcode.get(exc.errno or 0, str(exc.errno))
        hint = {
            "EACCES": "Run as root.",
            "EPERM": "Run as root; check for an immutable flag or a security module.",
            "EROFS": "Mount the file system writable.",
        }
        message = f"the file cannot be {verb} ({name}: {exc.strerror})"
        raise ProtectedFileError(message, path, hint.get(name, "")) from exc


def _lock(directory: int, path: str) -> bool:
    """Lock the open directory; true if no other process of ours writes there until it is closed.

    If others may open the directory, they could hold its lock for ever, so there is none (False):
    the rename is atomic without it."""
    if stat.S_IMODE(os.fstat(directory).st_mode) & 0o077:
        return False
    try:
        if not atomic.lock(directory, _LOCK_SECONDS):
            fix = "Wait until it ends, then run again."
            raise ProtectedFileError("another process is writing in this directory", os.path.dirname(path), fix)
    except OSError as exc:
        if exc.errno not in _LOCK_UNSUPPORTED:
            raise
        return False
    return True


def _remove_leftovers(directory: int, name: str) -> None:
    """Remove the temporary files of killed writers: they hold keys too."""
    leftover = re.compile(rf"\.{re.escape(name)}\.[0-9a-f]{{12}}\.tmp")
    for found in os.listdir(directory):
        if leftover.fullmatch(found):
            os.unlink(found, dir_fd=directory)


def _lstat(name: str, directory: int, path: str, required: bool) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        if required:
            raise ProtectedFileError("the file does not exist", path) from None
        return None


def _raise_first(problems: t.Sequence[ProtectedFileError]) -> None:
    if problems:
        raise problems[0]


def _require_root(path: str) -> None:
    if os.geteuid() != 0:
        raise ProtectedFileError("only root can write a file that root must own", path, "Run as root{become}.")


def _owner_problems(found: os.stat_result, path: str) -> list[ProtectedFileError]:
    problems, otherwise = [], "Choose another directory, or if nobody else uses it: "
    if found.st_uid != 0:
        message = f"the directory belongs to user {found.st_uid}, not to root"
        problems.append(ProtectedFileError(message, path, f"{otherwise}chown root {path}"))
    if found.st_mode & 0o022:
        shared = bool(found.st_mode & stat.S_ISVTX)  # meant for all users, so its mode is right
        sticky, fix = (" (the sticky bit does not help)", "") if shared else ("", f"{otherwise}chmod go-w {path}")
        message = f"users other than root can write in the directory, mode {stat.S_IMODE(found.st_mode):04o}{sticky}"
        problems.append(ProtectedFileError(message, path, fix or "Choose another directory."))
    return problems


def _directory_problems(descriptor: int, path: str, protection: Protection = SECRET) -> list[ProtectedFileError]:
    remote = _network_problems(file_system(descriptor, path), path, protection)
    return _owner_problems(os.fstat(descriptor), path) + remote


def _file_problems(file: os.stat_result | None, path: str, protection: Protection = SECRET) -> list[ProtectedFileError]:
    if file is None:
        return []
    if stat.S_ISLNK(file.st_mode):
        fix = "Remove the link, or name the file that it points to."
        return [ProtectedFileError("the file is a symbolic link", path, fix)]
    if not stat.S_ISREG(file.st_mode):
        return [ProtectedFileError("this is not a regular file", path)]
    problems = []
    mode = stat.S_IMODE(file.st_mode)
    if file.st_uid != 0:
        message = f"the file belongs to user {file.st_uid}, not to root"
        problems.append(ProtectedFileError(message, path, f"chown root {path}{protection.after}"))
    if mode & protection.refused:
        message = f"the file has mode {mode:04o}, not {protection.mode:04o}"
        problems.append(ProtectedFileError(message, path, f"chmod {protection.mode:o} {path}{protection.after}"))
    if file.st_nlink > 1:
        fix = "Remove the other names; find them with: find / -xdev -samefile"
        problems.append(ProtectedFileError(f"the file has {file.st_nlink} names (hard links)", path, fix))
    return problems


def _network_problems(found: str, path: str, protection: Protection = SECRET) -> list[ProtectedFileError]:
    if not found:
        fix = f"One of {', '.join(TABLES)} must list its mount."
        return [NetworkFileError("the type of the file system is unknown", path, fix)]
    if found in NETWORK_FILE_SYSTEMS or is_fuse(found):
        message = f"the file system is {found}, {_FUSE if is_fuse(found) else protection.network}"
        return [NetworkFileError(message, path, "Choose a directory on a local file system.")]
    return []
