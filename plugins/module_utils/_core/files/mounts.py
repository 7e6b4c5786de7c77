# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The type of the file system that a file is on, and whether its content crosses a network."""

from __future__ import annotations

import contextlib
import re
import typing as t

TABLES = ("/proc/self/mountinfo", "/etc/mnttab")
# A key on such a file system crosses a network, or the border of a virtual machine, in clear text.
# Names as mountinfo and mnttab print them.
_NETWORK = """
    9p acfs afs autofs beegfs ceph cifs coda davfs gfs2 glusterfs gpfs hostfs lustre lustre_lite ncpfs nfs nfs3 nfs4
    nfsd ocfs2 orangefs panfs prl_fs pvfs2 smb smb2 smb3 smbfs vboxsf virtiofs vmhgfs
"""
NETWORK_FILE_SYSTEMS = frozenset(_NETWORK.split())
LOCAL_FUSE = frozenset(("fuseblk", "fuse.fuse-overlayfs", "fuse.mergerfs"))


def is_fuse(kind: str) -> bool:
    """Whether a program serves a file system of that type, and may fetch its files from anywhere."""
    return kind.startswith("fuse") and kind not in LOCAL_FUSE


def file_system(descriptor: int, path: str) -> str:
    """The type of the file system of an open file or directory, as the system's mount table names
    it; empty if that does not list its mount.
    """
    mount_id = ""
    with contextlib.suppress(OSError), open(f"/proc/self/fdinfo/{descriptor}", encoding="ascii") as file:
        mount_id = next((line.split()[1] for line in file if line.startswith("mnt_id:")), "")
    for table in TABLES:
        with contextlib.suppress(FileNotFoundError), open(table, encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
            return (
                type_in_mountinfo(text, mount_id, path) if table.endswith("mountinfo") else type_in_mnttab(text, path)
            )
    return ""


def type_in_mountinfo(text: str, mount_id: str, path: str) -> str:
    """The type of the mount with that ID in Linux' mountinfo (proc(5)); without an ID, of the mount
    that contains ``path``.
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
    """The type of the mount that contains ``path`` in Solaris' /etc/mnttab (mnttab(5)): special,
    mount point, type, options, time.
    """
    rows = (line.split("\t") for line in text.split("\n"))
    return _type_by_path([(fields[1], fields[2]) for fields in rows if len(fields) > 2], path)


def _type_by_path(mounts: t.Sequence[tuple[str, str]], path: str) -> str:
    """The type of the longest mount point above ``path``, the last one if several share it."""
    above = [
        (len(point.rstrip("/")), index)
        for index, (point, dummy) in enumerate(mounts)
        if path == point or path.startswith(point.rstrip("/") + "/")
    ]
    return mounts[max(above)[1]][1] if above else ""
