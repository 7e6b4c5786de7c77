# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The protected file and what is around it: who can read it, where it lies, and which copies of its
keys are elsewhere. Reports places, never what they contain.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import stat
import struct
import typing as t

from ..errors import InputError, NetworkFileError
from ..files import protected
from ..sa.model import pack_address
from ..text.grammar import ADDRESS, ADDRESS6, KEYWORDS
from .remark import Remark, bounded

_OTHERS_READ = 0o004
# Entries of the directory that are compared with the file's name.
_MOST_NAMES = 20_000

# linux/posix_acl_xattr.h: a version, then entries of tag, permissions and ID, all little-endian.
_ACL_VERSION = 2
_ACL_ENTRY = struct.Struct("<HHI")
_ACL_USER, _ACL_GROUP, _ACL_MASK = 0x02, 0x08, 0x10
_ACLS = (("system.posix_acl_access", ""), ("system.posix_acl_default", "for new files: "), ("system.nfs4_acl", ""))

# What a rotation and a killed writer leave, after the name of the protected file.
_LEFTOVER = re.compile(r"\.(?:next|previous|replaced)|\.[0-9a-f]{12}\.tmp")
_ADDRESSED = "|".join(
    re.escape(name) for row in KEYWORDS if row.kind in (ADDRESS, ADDRESS6) for name in (row.name, *row.synonyms)
)
_NAMED = re.compile(rf"(?<!\S)(?:{_ADDRESSED})\s+(?P<value>[^\s#]+)")
# As long as the shortest key. Where words are in the wrong order, a key may stand in the place of an address.
_LIKE_A_KEY = re.compile(r"[0-9a-f]{16}", re.I)


def examine(path: str) -> list[Remark]:
    """Everything about the protected file that gives others access to its keys. Raises ProtectedFileError
    for a path that cannot be that of a file.
    """
    found = protected.status(path)
    rows = [*_problems(found)]
    if found.exists:
        rows += _bits(found)
    if found.directory_exists:
        rows += _acls(os.path.dirname(path))
        rows += _beside(path)
    return bounded(rows)


def unreadable(found: protected.FileStatus) -> bool:
    """Whether this process may not look at the file, so that nothing is known about it."""
    return any(isinstance(problem.__cause__, OSError) for problem in found.problems)


def _problems(found: protected.FileStatus) -> t.Iterator[Remark]:
    for problem in () if unreadable(found) else found.problems:
        if isinstance(problem, NetworkFileError):
            yield Remark("file-system" if found.file_system else "unknown-file-system", problem.place, problem.message)
        elif not (found.exists and problem.place == found.path):
            yield Remark("path", problem.place, problem.message)


def _bits(found: protected.FileStatus) -> t.Iterator[Remark]:
    """What the inode says. The file may have been replaced since `found`, so it is not opened."""
    with contextlib.suppress(OSError):
        inode = os.stat(found.path, follow_symlinks=False)
        if stat.S_ISLNK(inode.st_mode) or not stat.S_ISREG(inode.st_mode):
            kind = "a symbolic link" if stat.S_ISLNK(inode.st_mode) else "not a regular file"
            yield Remark("path", found.path, f"it is {kind}")
            return
        if inode.st_nlink > 1:
            yield Remark("links", found.path, f"{inode.st_nlink} names")
        yield from _acls(found.path)
    if found.mode & _OTHERS_READ:
        yield Remark("world-readable", found.path, f"mode {found.mode:04o}")
    elif found.mode & protected.SECRET.refused:
        yield Remark("mode", found.path, f"mode {found.mode:04o}")
    if found.uid:
        yield Remark("owner", found.path, f"user {found.uid}")


def _acls(path: str) -> t.Iterator[Remark]:
    """Users and groups that an access list lets in. The mode of the file does not show them."""
    for name, prefix in _ACLS if hasattr(os, "getxattr") else ():
        with contextlib.suppress(OSError):
            data = os.getxattr(path, name, follow_symlinks=False)
            entries = acl_entries(data) if name.startswith("system.posix") else ["an NFS access list"]
            if entries:
                yield Remark("acl", path, prefix + ", ".join(entries))


def acl_entries(data: bytes) -> list[str]:
    """The named users and groups that a POSIX access list, in the form of its extended attribute, grants
    anything; the mask counts. What cannot be read is reported as such.
    """
    if len(data) % _ACL_ENTRY.size != 4 or int.from_bytes(data[:4], "little") != _ACL_VERSION:
        return [f"an access list of an unknown form, {len(data)} bytes"]
    rows = list(_ACL_ENTRY.iter_unpack(data[4:]))
    mask = next((permissions for tag, permissions, dummy in rows if tag == _ACL_MASK), 0o7)
    return [
        f"{'user' if tag == _ACL_USER else 'group'} {number} may {_verbs(permissions & mask)}"
        for tag, permissions, number in rows
        if tag in (_ACL_USER, _ACL_GROUP) and permissions & mask
    ]


def _verbs(permissions: int) -> str:
    return " and ".join(verb for bit, verb in ((4, "read"), (2, "write"), (1, "enter")) if permissions & bit)


def _beside(path: str) -> t.Iterator[Remark]:
    """Files of the directory whose names contain the protected file's: copies, and what was left over."""
    directory, name = os.path.split(path)
    try:
        with os.scandir(directory) as entries:
            names = sorted(entry.name for entry in itertools.islice(entries, _MOST_NAMES) if name in entry.name)
    except OSError:
        return
    for other in names:
        if other == name:
            continue
        is_ours = _LEFTOVER.fullmatch(other.replace(name, "", 1) if other.startswith(name) else other[1 + len(name) :])
        with contextlib.suppress(OSError):
            place = os.path.join(directory, other)
            mode = stat.S_IMODE(os.stat(place, follow_symlinks=False).st_mode)
            yield Remark("leftover" if is_ours else "copy", place, f"mode {mode:04o}")


def names_in(text: str) -> list[str]:
    """The words of an ipseckey text that stand for addresses and are not addresses: a name service decides
    what they mean. Words that may be keys are left out.
    """
    found: dict[str, None] = {}
    for line in text.splitlines():
        for match in _NAMED.finditer(line.partition("#")[0]):
            try:
                pack_address(match["value"])
            except InputError:
                if not _LIKE_A_KEY.search(match["value"]):
                    found[match["value"]] = None
    return list(found)
