# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files that hold keys: owner root, mode 0600, on a local disk, in directories that only root can change.

Every path is walked from ``/`` by open directories, never through a symbolic link, so what was
checked is what is used. A new content replaces the old one by rename, after it has reached the
disk: a reader sees the old file or the new one, also after a power failure.

A file that holds no keys but decides about traffic (`PUBLIC`) is read with the same care, except
that others may read it too."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat
import time
import typing as t

from ..errors import NetworkFileError, ProtectedFileError, raise_all

LIMIT = 64 << 20
"""Bytes that `read` takes unless told otherwise: some 200,000 SAs."""

DIRECTORY_MODE = 0o700
FILE_MODE = 0o600


class Kind(t.NamedTuple):
    """What a file holds: the usual ``mode``, permission bits that it must not have, what follows
    from other hands on it, and from a network below it.
    """

    mode: int
    refused: int
    after: str
    network: str


SECRET = Kind(
    FILE_MODE, 0o7177, "; its keys may be known, so rotate them", "so keys would leave this system in clear text"
)
PUBLIC = Kind(0o644, 0o7133, "; look at what it says", "so others could change the file on its way")

# A key on such a file system crosses a network, or the border of a virtual machine, in clear text.
# Names as mountinfo and mnttab print them.
_NETWORK_TYPES = """
    9p acfs afs autofs beegfs ceph cifs coda davfs gfs2 glusterfs gpfs hostfs lustre lustre_lite ncpfs nfs nfs3 nfs4
    nfsd ocfs2 orangefs panfs prl_fs pvfs2 smb smb2 smb3 smbfs vboxsf virtiofs vmhgfs
"""
NETWORK_FILE_SYSTEMS = frozenset(_NETWORK_TYPES.split())
# Every other FUSE program may fetch its files from anywhere.
LOCAL_FUSE = frozenset(("fuseblk", "fuse.fuse-overlayfs", "fuse.mergerfs"))

# Solaris 10 has no O_DIRECTORY; what is opened was seen to be a directory before.
_DIRECTORY_FLAGS = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | os.O_NOFOLLOW | os.O_CLOEXEC
_LOCK_SECONDS = 10.0
_LOCK_UNSUPPORTED = (errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
_MOUNT_TABLES = ("/proc/self/mountinfo", "/etc/mnttab")


class FileStatus(t.NamedTuple):
    """What is known about a protected file. ``mode`` and ``directory_mode`` are permission bits, 0
    where there is none; ``size`` is in bytes.

    ``file_system`` is the type of the nearest existing directory. ``problems`` is everything that
    keeps the file from being read or written."""

    path: str
    exists: bool = False
    mode: int = 0
    uid: int = 0
    gid: int = 0
    size: int = 0
    directory_exists: bool = False
    directory_mode: int = 0
    file_system: str = ""
    problems: tuple[ProtectedFileError, ...] = ()


def read(path: str, limit: int = LIMIT, kind: Kind = SECRET) -> bytes:
    """The content. Raises ProtectedFileError where the file is missing, unsafe, or longer than ``limit`` bytes."""
    directories, name = _split(path)
    with _walked(path, directories) as directory, _failing(path, "read"):
        return _read(directory, name, path, limit, kind)


def take(file: t.IO[bytes], path: str, limit: int = LIMIT) -> bytes:
    """The content of an open file. Raises ProtectedFileError for one of more than ``limit`` bytes,
    rather than take a part of it for the whole.
    """
    data = file.read(limit + 1)
    if len(data) > limit:
        raise ProtectedFileError(
            f"the file is longer than {limit} bytes", path, "A file of that size is a mistake; check what wrote it."
        )
    return data


# Called right before a file changes, when everything is ready; the file does not change if this raises.
Check = t.Callable[[], None]


def _no_check() -> None:
    """Go on."""


def write(path: str, data: bytes, check: Check = _no_check) -> None:
    """Replace the content, or make the file (and missing directories, mode 0700), atomically and durably.

    An unsafe file or directory is refused, not repaired: who could read it may know its keys.
    """
    with _writing(path) as (directory, name, dummy):
        _put(directory, name, data, check)


def update(
    path: str, change: t.Callable[[bytes | None], bytes], check: Check = _no_check
) -> tuple[bytes | None, bytes]:
    """Make the content ``change(content)``, None for no file, while no other process of ours
    writes; what was there, and what is there now.

    As `write` otherwise; the same content is not written again.
    """
    with _writing(path) as (directory, name, exists):
        old = _read(directory, name, path, LIMIT) if exists else None
        new = change(old)
        if new != old:
            _put(directory, name, new, check)
    return old, new


def writable(path: str) -> FileStatus:
    """What is there. Raises what would keep `write` from writing; changes nothing."""
    _require_root(path)
    found = status(path)
    raise_all(found.problems)
    return found


def remove(path: str, check: Check = _no_check) -> bool:
    """Remove the file; True where there was one. A symbolic link or a file of somebody else is refused."""
    _require_root(path)
    directories, name = _split(path)
    try:
        with _walked(path, directories) as directory, _failing(path, "removed"), _locked(directory, path) as alone:
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
    """Whether there is a file that `remove` would remove. Raises what `remove` would raise; changes nothing."""
    _require_root(path)
    directories, name = _split(path)
    try:
        with _walked(path, directories) as directory, _failing(path, "removed"):
            return _is_to_remove(directory, name, path)
    except _MissingDirectoryError:
        return False


def status(path: str, kind: Kind = SECRET) -> FileStatus:
    """What is there, changing nothing. Raises only for a path that no file could have; everything
    else is in ``problems``.
    """
    directories, name = _split(path)
    found = FileStatus(path)
    problems: list[ProtectedFileError] = []
    try:
        with _walked(path, directories) as directory, _failing(path, "examined"):
            parent = os.path.dirname(path)
            problems += _directory_problems(directory, parent, kind)
            found = found._replace(
                directory_exists=True,
                directory_mode=stat.S_IMODE(os.fstat(directory).st_mode),
                file_system=file_system(directory, parent),
            )
            existing = _lstat(name, directory, path, required=False)
            if existing is not None:
                problems += _file_problems(existing, path, kind)
                found = found._replace(
                    exists=True,
                    mode=stat.S_IMODE(existing.st_mode),
                    uid=existing.st_uid,
                    gid=existing.st_gid,
                    size=existing.st_size,
                )
    except _MissingDirectoryError as missing:
        found = found._replace(file_system=missing.file_system)
        problems += missing.problems
    except ProtectedFileError as error:
        problems.append(error)
    return found._replace(problems=tuple(problems))


def _read(directory: int, name: str, path: str, limit: int, kind: Kind = SECRET) -> bytes:
    _raise_first(_directory_problems(directory, os.path.dirname(path), kind))
    _raise_first(_file_problems(_lstat(name, directory, path, required=True), path, kind))
    # O_NONBLOCK: a pipe put there in between must not hang us; the checks below refuse it.
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    with open(descriptor, "rb") as file:
        _raise_first(
            _file_problems(os.fstat(descriptor), path, kind)
            + _network_problems(file_system(descriptor, path), path, kind)
        )
        return take(file, path, limit)


@contextlib.contextmanager
def _writing(path: str) -> t.Iterator[tuple[int, str, bool]]:
    """The open directory, the name in it and whether there is a file, all found safe, while no
    other process of ours writes there.
    """
    _require_root(path)
    directories, name = _split(path)
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(_walked(path, directories, create=True))
        stack.enter_context(_failing(path, "written"))
        alone = stack.enter_context(_locked(directory, path))
        _raise_first(_directory_problems(directory, os.path.dirname(path)))
        existing = _lstat(name, directory, path, required=False)
        _raise_first(_file_problems(existing, path))
        if alone:
            _remove_leftovers(directory, name)
        yield directory, name, existing is not None


def _put(directory: int, name: str, data: bytes, check: Check) -> None:
    """A new file in the place of the old one, once it has reached the disk, which may take long."""
    temporary = f".{name}.{os.urandom(6).hex()}.tmp"
    descriptor = os.open(
        temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE, dir_fd=directory
    )
    try:
        with open(descriptor, "wb") as file:
            os.fchmod(descriptor, FILE_MODE)
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        check()
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=directory)
        raise
    os.fsync(directory)


def _is_to_remove(directory: int, name: str, path: str) -> bool:
    _raise_first(_directory_problems(directory, os.path.dirname(path)))
    existing = _lstat(name, directory, path, required=False)
    _raise_first(_file_problems(existing, path, SECRET._replace(refused=0)))
    return existing is not None


class _MissingDirectoryError(ProtectedFileError):
    """A directory of the path does not exist; ``problems`` are those of its nearest existing parent."""

    def __init__(
        self, path: str, directory: str, file_system_type: str, problems: t.Sequence[ProtectedFileError]
    ) -> None:
        super().__init__(
            "the directory does not exist", directory, f"Make it with: install -d -m 0700 -o root {directory}"
        )
        self.path = path
        self.file_system = file_system_type
        self.problems = tuple(problems)


def _split(path: str) -> tuple[list[str], str]:
    """Directory names from ``/`` downwards, and the file's name."""
    if not path.startswith("/") or "\0" in path:
        raise ProtectedFileError("the path is not absolute", repr(path), "Write it from / on.")
    names = [name for name in path.split("/") if name]
    if not names or path.endswith("/") or "." in names or ".." in names:
        raise ProtectedFileError(
            "the path does not name a file plainly", path, "Write it without '.', '..' and final '/'."
        )
    return names[:-1], names[-1]


@contextlib.contextmanager
def _walked(path: str, directories: t.Sequence[str], create: bool = False) -> t.Iterator[int]:
    """An open descriptor of the last directory, reached from ``/`` without symbolic links; every
    directory on the way is one that only root can change.
    """
    here = "/"
    with _failing(path, "reached"):
        descriptor = os.open("/", _DIRECTORY_FLAGS)
        try:
            for name in directories:
                _raise_first(_owner_problems(os.fstat(descriptor), here))
                below = os.path.join(here, name)
                status_below = _lstat(name, descriptor, below, required=False)
                if status_below is None and not create:
                    raise _MissingDirectoryError(
                        path,
                        os.path.dirname(path),
                        file_system(descriptor, here),
                        _directory_problems(descriptor, here),
                    )
                if status_below is None:
                    _raise_first(_directory_problems(descriptor, here))
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(name, DIRECTORY_MODE, dir_fd=descriptor)
                    os.fsync(descriptor)
                elif stat.S_ISLNK(status_below.st_mode):
                    raise ProtectedFileError("a symbolic link is on the way", below, "Name the real directory.")
                elif not stat.S_ISDIR(status_below.st_mode):
                    raise ProtectedFileError("this is not a directory", below)
                following = os.open(name, _DIRECTORY_FLAGS, dir_fd=descriptor)
                os.close(descriptor)
                descriptor, here = following, below
            yield descriptor
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def _failing(path: str, verb: str) -> t.Iterator[None]:
    """Turn the system's refusals into ours."""
    try:
        yield
    except OSError as exc:
        name = errno.errorcode.get(exc.errno or 0, str(exc.errno))
        hint = {
            "EACCES": "Run as root.",
            "EPERM": "Run as root; check for an immutable flag or a security module.",
            "EROFS": "Mount the file system writable.",
        }
        raise ProtectedFileError(
            f"the file cannot be {verb} ({name}: {exc.strerror})", path, hint.get(name, "")
        ) from exc


@contextlib.contextmanager
def _locked(directory: int, path: str) -> t.Iterator[bool]:
    """True while no other process of ours writes in the directory.

    Where others may open the directory they could hold the lock for ever, so there is none (False):
    the rename is atomic without it."""
    if stat.S_IMODE(os.fstat(directory).st_mode) & 0o077:
        yield False
        return
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise ProtectedFileError(
                    "another process is writing in this directory",
                    os.path.dirname(path),
                    "Wait until it ends, then run again.",
                ) from None
            time.sleep(0.05)
        except OSError as exc:
            if exc.errno not in _LOCK_UNSUPPORTED:
                raise
            yield False
            return
    try:
        yield True
    finally:
        fcntl.flock(directory, fcntl.LOCK_UN)


def _remove_leftovers(directory: int, name: str) -> None:
    """Temporary files of writers that were killed hold keys too."""
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
        raise ProtectedFileError("only root can write a file that root must own", path, "Run as root (become: true).")


def _owner_problems(found: os.stat_result, path: str) -> list[ProtectedFileError]:
    problems = []
    if found.st_uid != 0:
        problems.append(
            ProtectedFileError(f"the directory belongs to user {found.st_uid}, not to root", path, f"chown root {path}")
        )
    if found.st_mode & 0o022:
        sticky = " (the sticky bit does not help)" if found.st_mode & stat.S_ISVTX else ""
        mode = stat.S_IMODE(found.st_mode)
        problems.append(
            ProtectedFileError(
                f"users other than root can write in the directory, mode {mode:04o}{sticky}",
                path,
                f"chmod go-w {path}, or choose another directory",
            )
        )
    return problems


def _directory_problems(descriptor: int, path: str, kind: Kind = SECRET) -> list[ProtectedFileError]:
    """What is wrong with the directory that holds, or is to hold, the file."""
    return _owner_problems(os.fstat(descriptor), path) + _network_problems(file_system(descriptor, path), path, kind)


def _file_problems(found: os.stat_result | None, path: str, kind: Kind = SECRET) -> list[ProtectedFileError]:
    if found is None:
        return []
    if stat.S_ISLNK(found.st_mode):
        return [
            ProtectedFileError(
                "the file is a symbolic link", path, "Remove the link, or name the file that it points to."
            )
        ]
    if not stat.S_ISREG(found.st_mode):
        return [ProtectedFileError("this is not a regular file", path)]
    problems = []
    mode = stat.S_IMODE(found.st_mode)
    if found.st_uid != 0:
        problems.append(
            ProtectedFileError(
                f"the file belongs to user {found.st_uid}, not to root", path, f"chown root {path}{kind.after}"
            )
        )
    if mode & kind.refused:
        problems.append(
            ProtectedFileError(
                f"the file has mode {mode:04o}, not {kind.mode:04o}", path, f"chmod {kind.mode:o} {path}{kind.after}"
            )
        )
    if found.st_nlink > 1:
        problems.append(
            ProtectedFileError(
                f"the file has {found.st_nlink} names (hard links)",
                path,
                "Remove the other names; find them with: find / -xdev -samefile",
            )
        )
    return problems


def _network_problems(found: str, path: str, kind: Kind = SECRET) -> list[ProtectedFileError]:
    if not found:
        return [
            NetworkFileError(
                "the type of the file system cannot be told",
                path,
                f"One of {', '.join(_MOUNT_TABLES)} must list its mount.",
            )
        ]
    if found in NETWORK_FILE_SYSTEMS or (found.startswith("fuse") and found not in LOCAL_FUSE):
        return [
            NetworkFileError(
                f"the file system is {found}, {kind.network}", path, "Choose a directory on a local file system."
            )
        ]
    return []


def file_system(descriptor: int, path: str) -> str:
    """The type of the file system that an open file or directory is on, as the system's mount table
    names it; empty where that cannot be told.
    """
    mount_id = ""
    with contextlib.suppress(OSError), open(f"/proc/self/fdinfo/{descriptor}", encoding="ascii") as file:
        mount_id = next((line.split()[1] for line in file if line.startswith("mnt_id:")), "")
    for table in _MOUNT_TABLES:
        with contextlib.suppress(FileNotFoundError), open(table, encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
            return (
                type_in_mountinfo(text, mount_id, path) if table.endswith("mountinfo") else type_in_mnttab(text, path)
            )
    return ""


def type_in_mountinfo(text: str, mount_id: str, path: str) -> str:
    """The type of the mount with that ID in the text of Linux' mountinfo (proc(5)); without an ID,
    of the mount that ``path`` lies on.
    """
    mounts = []
    for line in text.split("\n"):
        fields = line.split(" ")
        if "-" not in fields[6:]:
            continue
        kind = fields[fields.index("-", 6) + 1]
        if mount_id and fields[0] == mount_id:
            return kind
        mounts.append((re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), fields[4]), kind))
    return "" if mount_id else _type_by_path(mounts, path)


def type_in_mnttab(text: str, path: str) -> str:
    """The type of the mount that ``path`` lies on in the text of Solaris' /etc/mnttab (mnttab(5)):
    special, mount point, type, options, time.
    """
    return _type_by_path(
        [(fields[1], fields[2]) for fields in (line.split("\t") for line in text.split("\n")) if len(fields) > 2], path
    )


def _type_by_path(mounts: t.Sequence[tuple[str, str]], path: str) -> str:
    """The type of the longest mount point above ``path``, the last one where several have it."""
    above = [
        (len(point.rstrip("/")), index)
        for index, (point, dummy) in enumerate(mounts)
        if path == point or path.startswith(point.rstrip("/") + "/")
    ]
    return mounts[max(above)[1]][1] if above else ""
