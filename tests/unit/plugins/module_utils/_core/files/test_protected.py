# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Protected files, on the real file system of this machine, in a directory that only root can change."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import shutil
import signal
import stat
import tempfile
import threading
import warnings
from pathlib import Path

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import ProtectedFileError
from ansible_collections.ipsec.manual.plugins.module_utils._core.files import mounts, protected

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can create files of root")
SECRET = b"add ah spi 0x18907dae dst 192.168.13.213 auth_alg md5 authkey e896f8df7f78d6cab36c94ccf293f031\n"


@pytest.fixture
def folder():
    """A new directory with mode 0700 in a safe place. Temporary directories are unsafe, since
    everybody can write in /tmp.
    """
    made = tempfile.mkdtemp(prefix="ipsec-manual-test-", dir="/root")
    yield Path(made)
    shutil.rmtree(made)


@pytest.fixture
def keys(folder):
    return folder / "ipseckeys"


def refused(call, *arguments):
    with pytest.raises(ProtectedFileError) as caught:
        call(*map(str, arguments[:1]), *arguments[1:])
    assert caught.value.place
    assert "e896f8df" not in str(caught.value)
    return str(caught.value)


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


# What it does


@needs_root
@pytest.mark.parametrize("data", [b"", SECRET, bytes(range(256)) * 5000])
def test_what_was_written_is_read_back(keys, data):
    protected.write(str(keys), data)
    assert protected.read(str(keys)) == data
    assert (mode_of(keys), keys.stat().st_uid) == (0o600, 0)


@needs_root
@pytest.mark.parametrize("umask", [0, 0o022, 0o777])
def test_the_mode_is_0600_under_any_umask(keys, umask):
    before = os.umask(umask)
    try:
        protected.write(str(keys), SECRET)
    finally:
        os.umask(before)
    assert mode_of(keys) == 0o600


@needs_root
def test_missing_directories_are_made_0700(folder):
    before = os.umask(0)
    try:
        protected.write(str(folder / "inet" / "secret" / "ipseckeys"), SECRET)
    finally:
        os.umask(before)
    assert [mode_of(folder / "inet"), mode_of(folder / "inet" / "secret")] == [0o700, 0o700]
    assert (folder / "inet").stat().st_uid == 0


@needs_root
def test_a_file_is_created_only_where_there_is_none(keys, monkeypatch):
    assert protected.create(str(keys), SECRET)
    assert (keys.read_bytes(), mode_of(keys)) == (SECRET, 0o600)
    assert not protected.create(str(keys), b"new")
    assert keys.read_bytes() == SECRET
    keys.unlink()

    def fail(*dummy):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(protected.atomic.os, "write", fail)
    with pytest.raises(ProtectedFileError, match="ENOSPC"):
        protected.create(str(keys), SECRET)
    assert not keys.exists()


@needs_root
def test_writing_replaces_the_file_and_does_not_touch_the_old_one(keys):
    protected.write(str(keys), b"old")
    with open(keys, "rb") as held_open:
        before = keys.stat().st_ino
        protected.write(str(keys), b"new")
        assert keys.stat().st_ino != before
        assert held_open.read() == b"old"
    assert protected.read(str(keys)) == b"new"


@needs_root
def test_nothing_else_is_left_in_the_directory(keys):
    protected.write(str(keys), b"old")
    protected.write(str(keys), b"new")
    assert os.listdir(keys.parent) == ["ipseckeys"]


@needs_root
@pytest.mark.parametrize(
    "change",
    [
        lambda path, check: protected.write(path, b"new", check),
        lambda path, check: protected.update(path, lambda old: b"new", check),
        protected.remove,
    ],
)
def test_a_failing_check_leaves_the_file_unchanged(keys, change):
    protected.write(str(keys), SECRET)

    def too_late():
        raise KeyError("too late")

    with pytest.raises(KeyError):
        change(str(keys), too_late)
    assert protected.read(str(keys)) == SECRET
    assert os.listdir(keys.parent) == ["ipseckeys"]


@needs_root
def test_removing_returns_whether_the_file_existed(keys, folder):
    protected.write(str(keys), SECRET)
    assert protected.remove(str(keys)) is True
    assert protected.remove(str(keys)) is False
    assert protected.remove(str(folder / "no" / "such" / "file")) is False
    assert not keys.exists()


@needs_root
def test_a_file_with_a_loose_mode_can_still_be_removed(keys):
    keys.write_bytes(SECRET)
    keys.chmod(0o644)
    assert protected.remove(str(keys)) is True


@needs_root
def test_removable_says_what_remove_would_do_and_changes_nothing(keys, folder):
    assert protected.removable(str(keys)) is False
    assert protected.removable(str(folder / "missing" / "ipseckeys")) is False
    protected.write(str(keys), SECRET)
    keys.chmod(0o644)
    assert protected.removable(str(keys)) is True
    assert keys.read_bytes() == SECRET


@needs_root
@pytest.mark.parametrize(
    "spoil", ["symbolic link", "somebody else's", "hard link", "linked directory", "open directory"]
)
def test_removable_and_remove_refuse_the_same(keys, folder, spoil):
    path = keys
    protected.write(str(keys), SECRET)
    if spoil == "symbolic link":
        path = folder / "link"
        path.symlink_to(keys)
    elif spoil == "somebody else's":
        os.chown(keys, 65534, 0)
    elif spoil == "hard link":
        os.link(keys, folder / "other")
    elif spoil == "linked directory":
        (folder / "way").symlink_to(folder)
        path = folder / "way" / keys.name
    else:
        folder.chmod(0o777)
    assert refused(protected.removable, path) == refused(protected.remove, path)
    assert keys.read_bytes() == SECRET


@needs_root
@pytest.mark.parametrize("spoil", ["mode", "open directory", "nothing"])
def test_writable_refuses_what_write_refuses_and_changes_nothing(keys, folder, spoil):
    protected.write(str(keys), SECRET)
    before = keys.stat().st_ino
    if spoil == "nothing":
        assert protected.writable(str(keys)).exists
        assert not protected.writable(str(folder / "missing" / "ipseckeys")).exists
    else:
        (keys if spoil == "mode" else folder).chmod(0o777)
        assert refused(protected.writable, keys) == refused(protected.write, keys, b"")
    assert keys.stat().st_ino == before


@needs_root
def test_update_returns_the_content_and_writes_only_changes(keys):
    assert protected.update(str(keys), lambda old: b"one") == (None, b"one")
    before = keys.stat().st_ino
    assert protected.update(str(keys), lambda old: old) == (b"one", b"one")
    assert keys.stat().st_ino == before
    assert protected.update(str(keys), lambda old: old + b", two") == (b"one", b"one, two")
    assert keys.read_bytes() == b"one, two"


@needs_root
def test_a_failing_update_changes_nothing(keys):
    protected.write(str(keys), SECRET)

    def fail(old):
        raise ProtectedFileError("no", "here")

    refused(protected.update, keys, fail)
    assert keys.read_bytes() == SECRET


@needs_root
def test_concurrent_updates_lose_nothing(keys):
    def add(number):
        for dummy in range(10):
            protected.update(str(keys), lambda old: (old or b"") + b"%d\n" % number)

    writers = [threading.Thread(target=add, args=(number,)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(keys.read_bytes().split()) == sorted(b"%d" % number for number in range(4) for dummy in range(10))


@needs_root
def test_mode_0400_is_accepted(keys):
    keys.write_bytes(SECRET)
    keys.chmod(0o400)
    assert protected.read(str(keys)) == SECRET


@needs_root
def test_a_file_longer_than_the_limit_is_refused(keys):
    protected.write(str(keys), SECRET)
    assert protected.read(str(keys), limit=len(SECRET)) == SECRET
    assert "longer than" in refused(protected.read, keys, len(SECRET) - 1)


# What it refuses


@needs_root
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o700, 0o601, 0o4600])
def test_a_file_with_a_loose_mode_is_neither_read_nor_replaced(keys, mode):
    keys.write_bytes(SECRET)
    keys.chmod(mode)
    for message in (refused(protected.read, keys), refused(protected.write, keys, b"new")):
        assert f"mode {mode:04o}, not 0600" in message and f"chmod 600 {keys}" in message
    assert keys.read_bytes() == SECRET and mode_of(keys) == mode


@needs_root
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o600, 0o444])
def test_others_may_read_a_public_file(keys, mode):
    keys.write_bytes(b"[]")
    keys.chmod(mode)
    assert protected.read(str(keys), protection=protected.PUBLIC) == b"[]"
    assert protected.status(str(keys), protected.PUBLIC).problems == ()


@needs_root
@pytest.mark.parametrize("mode", [0o664, 0o646, 0o755, 0o2644])
def test_a_public_file_that_others_can_change_is_refused(keys, mode):
    keys.write_bytes(b"[]")
    keys.chmod(mode)
    with pytest.raises(ProtectedFileError, match=f"mode {mode:04o}, not 0644. chmod 644 {keys}"):
        protected.read(str(keys), protection=protected.PUBLIC)
    keys.chmod(0o644)
    os.chown(keys, 65534, -1)
    (problem,) = protected.status(str(keys), protected.PUBLIC).problems
    assert "belongs to user 65534" in str(problem) and "rotate" not in problem.hint
    assert "change the file" in str(protected._network_problems("nfs", "/srv", protected.PUBLIC)[0])


@needs_root
def test_a_file_of_another_user_is_refused(keys):
    keys.write_bytes(SECRET)
    keys.chmod(0o600)
    os.chown(keys, 65534, -1)
    for call, more in ((protected.read, ()), (protected.write, (b"new",)), (protected.remove, ())):
        assert "belongs to user 65534, not to root" in refused(call, keys, *more)
    assert keys.read_bytes() == SECRET


@needs_root
@pytest.mark.parametrize("target", ["good", "missing", "directory"])
def test_a_symbolic_link_is_never_followed(keys, folder, target):
    other = folder / "other"
    if target == "good":
        protected.write(str(other), SECRET)
    elif target == "directory":
        other.mkdir()
    keys.symlink_to(other)
    for call, more in ((protected.read, ()), (protected.write, (b"new",)), (protected.remove, ())):
        assert "symbolic link" in refused(call, keys, *more)
    assert keys.is_symlink()
    assert target != "good" or other.read_bytes() == SECRET


@needs_root
def test_a_symbolic_link_in_the_path_is_refused_by_name(folder):
    (folder / "real").mkdir(mode=0o700)
    (folder / "link").symlink_to("real")
    message = refused(protected.write, folder / "link" / "ipseckeys", SECRET)
    assert f"{folder}/link: the path contains a symbolic link" in message
    assert os.listdir(folder / "real") == []


@needs_root
def test_a_hard_link_is_refused(keys, folder):
    protected.write(str(keys), SECRET)
    os.link(keys, folder / "second")
    for call, more in ((protected.read, ()), (protected.write, (b"new",)), (protected.remove, ())):
        assert "2 names (hard links)" in refused(call, keys, *more)


def make_device(path):
    os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3))


@needs_root
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, make_device])
def test_a_file_that_is_not_regular_is_refused_at_once(keys, make):
    make(keys)
    for call, more in ((protected.read, ()), (protected.write, (b"new",)), (protected.remove, ())):
        assert "not a regular file" in refused(call, keys, *more)


@needs_root
@pytest.mark.parametrize("mode", [0o770, 0o707, 0o1777])
def test_a_directory_that_others_can_write_is_refused_at_any_level(folder, mode):
    deep = folder / "inet" / "secret"
    deep.mkdir(parents=True)
    protected.write(str(deep / "ipseckeys"), SECRET)
    for level in (deep, folder / "inet"):
        level.chmod(mode)
        for call, more in ((protected.read, ()), (protected.write, (b"new",)), (protected.remove, ())):
            message = refused(call, deep / "ipseckeys", *more)
            assert message.startswith(f"{level}: users other than root can write") and f"mode {mode:04o}" in message
        level.chmod(0o700)
    assert protected.read(str(deep / "ipseckeys")) == SECRET


@needs_root
def test_a_directory_of_another_user_is_refused_and_nothing_is_made_in_it(folder):
    os.chown(folder, 65534, -1)
    assert "belongs to user 65534" in refused(protected.write, folder / "secret" / "ipseckeys", SECRET)
    assert os.listdir(folder) == []


@needs_root
def test_tmp_is_refused_although_it_is_sticky():
    message = refused(protected.write, "/tmp/ipsec-manual/ipseckeys", SECRET)
    assert "/tmp: users other than root can write" in message
    assert message.endswith("Choose another directory.")
    assert not os.path.exists("/tmp/ipsec-manual")


@needs_root
def test_a_file_as_directory_is_refused(keys):
    protected.write(str(keys), SECRET)
    assert "not a directory" in refused(protected.write, keys / "ipseckeys", SECRET)


@pytest.mark.parametrize(
    "path",
    ["", "ipseckeys", "./ipseckeys", "/", "/etc/", "/etc/../etc/ipseckeys", "/etc/./ipseckeys", "/etc/ipsec\0keys"],
)
def test_a_path_in_another_form_is_refused(path):
    for call, more in ((protected.read, ()), (protected.write, (b"",)), (protected.remove, ()), (protected.status, ())):
        if os.geteuid() == 0 or call in (protected.read, protected.status):
            refused(call, path, *more)


@needs_root
def test_a_missing_file_and_a_missing_directory_have_different_errors(folder):
    assert "the file does not exist" in refused(protected.read, folder / "ipseckeys")
    assert "the directory does not exist" in refused(protected.read, folder / "secret" / "ipseckeys")


@needs_root
def test_a_long_name_raises_our_error(folder):
    assert "ENAMETOOLONG" in refused(protected.write, folder / ("x" * 300), SECRET)


# Faults


@needs_root
def test_a_full_disk_keeps_the_old_file_and_leaves_no_temporary_one(in_own_mounts):
    def work(place):
        _mount("tmpfs", place, "tmpfs", "size=64k,mode=0700")
        path = f"{place}/ipseckeys"
        protected.write(path, SECRET)
        assert "ENOSPC" in refused(protected.write, path, bytes(1 << 20))
        assert protected.read(path) == SECRET
        assert os.listdir(place) == ["ipseckeys"]

    in_own_mounts(work)


@needs_root
def test_a_read_only_file_system_raises_our_error(in_own_mounts):
    def work(place):
        _mount("tmpfs", place, "tmpfs", "mode=0700", flags=_MS_RDONLY)
        assert "EROFS" in refused(protected.write, f"{place}/ipseckeys", SECRET)
        assert "EROFS" in refused(protected.write, f"{place}/secret/ipseckeys", SECRET)

    in_own_mounts(work)


@needs_root
def test_the_next_writer_removes_the_leftovers_of_a_killed_one(keys, folder):
    left = folder / ".ipseckeys.0123456789ab.tmp"
    others = folder / ".other.0123456789ab.tmp"
    for path in (left, others):
        path.write_bytes(SECRET)
    protected.write(str(keys), b"new")
    assert sorted(os.listdir(folder)) == [".other.0123456789ab.tmp", "ipseckeys"]


@needs_root
def test_a_writer_killed_at_any_moment_leaves_the_old_file_or_the_new_one(keys):
    contents = [bytes([number]) * 200_000 for number in range(2)]
    protected.write(str(keys), contents[0])

    def forever():
        while True:
            for content in contents:
                protected.write(str(keys), content)

    for delay in (0.01, 0.02, 0.03, 0.05, 0.08):
        writer = _fork(forever)
        threading.Event().wait(delay)
        os.kill(writer, signal.SIGKILL)
        os.waitpid(writer, 0)
        assert protected.read(str(keys)) in contents
    protected.write(str(keys), SECRET)
    assert os.listdir(keys.parent) == ["ipseckeys"]


@needs_root
def test_concurrent_writers_leave_one_whole_file(keys):
    contents = [bytes([number]) * 50_000 for number in range(6)]
    writers = [
        _fork(lambda content=content: [protected.write(str(keys), content) for dummy in range(10)])
        for content in contents
    ]
    seen = set()
    for writer in writers:
        with contextlib.suppress(ProtectedFileError):
            seen.add(protected.read(str(keys)))
        assert os.waitpid(writer, 0)[1] == 0
    assert seen | {protected.read(str(keys))} <= set(contents)
    assert os.listdir(keys.parent) == ["ipseckeys"]


@needs_root
def test_a_writer_that_never_ends_is_reported(keys, monkeypatch):
    monkeypatch.setattr(protected, "_LOCK_SECONDS", 0.2)
    descriptor = os.open(keys.parent, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        assert "another process is writing" in refused(protected.write, keys, SECRET)
    finally:
        os.close(descriptor)
    protected.write(str(keys), SECRET)


@needs_root
def test_others_cannot_block_writers_in_a_directory_that_they_may_open(keys, folder, monkeypatch):
    monkeypatch.setattr(protected, "_LOCK_SECONDS", 0.2)
    folder.chmod(0o755)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        protected.write(str(keys), SECRET)
    finally:
        os.close(descriptor)
    assert protected.read(str(keys)) == SECRET


@needs_root
def test_no_descriptor_leaks(keys, folder):
    protected.write(str(keys), SECRET)
    before = len(os.listdir("/proc/self/fd"))
    for path in (keys, folder / "missing", folder / "no" / "way", "/tmp/x"):
        for call, more in ((protected.read, ()), (protected.write, (SECRET,)), (protected.status, ())):
            with contextlib.suppress(ProtectedFileError):
                call(str(path), *more)
    assert len(os.listdir("/proc/self/fd")) == before


@needs_root
def test_another_user_is_asked_to_become_root(folder):
    def work():
        os.setgid(65534)
        os.setuid(65534)
        assert "only root" in refused(protected.write, "/etc/inet/secret/ipseckeys", SECRET)
        assert "only root" in refused(protected.remove, "/etc/inet/secret/ipseckeys")
        assert "EACCES" in refused(protected.read, folder / "ipseckeys")

    assert os.waitpid(_fork(work), 0)[1] == 0


# Status


@needs_root
def test_status_describes_a_file(keys):
    protected.write(str(keys), SECRET)
    found = protected.status(str(keys))
    assert found[:6] == (str(keys), True, 0o600, 0, len(SECRET), True)
    assert found.file_system and found.problems == ()


@needs_root
def test_status_of_a_missing_file_changes_nothing(folder):
    found = protected.status(str(folder / "secret" / "ipseckeys"))
    assert (found.exists, found.directory_exists, found.problems) == (False, False, ())
    assert found.file_system
    assert os.listdir(folder) == []


@needs_root
def test_status_lists_every_problem_and_raises_none(keys):
    keys.write_bytes(SECRET)
    keys.chmod(0o644)
    os.chown(keys, 65534, -1)
    keys.parent.chmod(0o777)
    found = protected.status(str(keys))
    assert found.exists
    assert [
        part
        for part in ("can write in the directory", "belongs to user", "mode 0644")
        if any(part in str(wrong) for wrong in found.problems)
    ] == [
        "can write in the directory",
        "belongs to user",
        "mode 0644",
    ]


@needs_root
def test_status_of_a_link_and_of_a_path_below_tmp_has_the_problem(keys):
    keys.symlink_to("/etc/passwd")
    assert "symbolic link" in str(protected.status(str(keys)).problems[0])
    assert "can write" in str(protected.status("/tmp/secret/ipseckeys").problems[0])


# File systems

MOUNTINFO = r"""
21 1 254:1 / / rw,relatime - ext4 /dev/vda rw
30 21 0:30 / /srv rw,relatime shared:5 - nfs4 server:/srv rw,vers=4.2
31 30 0:31 / /srv/local rw shared:5 master:1 - tmpfs tmpfs rw
32 21 0:32 / /mnt/two\040words rw - cifs //server/share rw
33 21 0:33 / /over rw - nfs server:/old rw
34 21 254:2 / /over rw - xfs /dev/vdb rw
35 21 0:35 / /home rw - fuse.sshfs me@host:/home rw
broken
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"),
        ("/etc/inet/secret", "ext4"),
        ("/srv", "nfs4"),
        ("/srv/keys", "nfs4"),
        ("/srvx", "ext4"),
        ("/srv/local/keys", "tmpfs"),
        ("/mnt/two words/keys", "cifs"),
        ("/over/keys", "xfs"),
        ("/home", "fuse.sshfs"),
    ],
)
def test_the_mount_of_a_path_is_the_longest_and_the_last(path, kind):
    assert mounts.type_in_mountinfo(MOUNTINFO, "", path) == kind


def test_a_mount_is_found_by_its_number_regardless_of_the_path():
    assert mounts.type_in_mountinfo(MOUNTINFO, "33", "/over") == "nfs"
    assert mounts.type_in_mountinfo(MOUNTINFO, "99", "/over") == ""
    assert mounts.type_in_mountinfo("", "", "/") == ""


def test_mnttab_of_solaris_is_read():
    text = "rpool/ROOT\t/\tzfs\trw,dev=1\t0\nserver:/export\t/export/my keys\tnfs\trw,dev=2\t0\n\nbroken\n"
    assert mounts.type_in_mnttab(text, "/etc/inet/secret") == "zfs"
    assert mounts.type_in_mnttab(text, "/export/my keys/x") == "nfs"


NOT_LOCAL = "nfs nfs4 cifs smb3 9p ceph afs glusterfs lustre fuse.sshfs fuse fuse.rclone virtiofs"


@pytest.mark.parametrize("kind", [*NOT_LOCAL.split(), ""])
def test_keys_must_not_be_on_a_network_file_system(kind):
    (problem,) = protected._network_problems(kind, "/srv")
    assert problem.place == "/srv" and (kind in str(problem))
    assert ("clear text" in str(problem)) == (kind != "" and not kind.startswith("fuse"))


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "zfs", "ufs", "tmpfs", "ramfs", "overlay", "fuseblk", "f2fs"])
def test_a_local_file_system_is_accepted(kind):
    assert protected._network_problems(kind, "/srv") == []


@needs_root
def test_a_real_mount_that_is_not_local_is_refused(in_own_mounts):
    def work(place):
        # No program answers for this file system, so it is not entered, only named.
        answers = os.open("/dev/fuse", os.O_RDWR)
        _mount("none", place, "fuse", f"fd={answers},rootmode=40700,user_id=0,group_id=0")
        found = mounts.file_system(os.open(place, os.O_PATH), place)
        assert found == "fuse"
        assert protected._network_problems(found, place)

    in_own_mounts(work)


@needs_root
def test_the_type_belongs_to_the_open_directory_not_to_a_mount_over_it(in_own_mounts):
    def work(place):
        _mount("tmpfs", place, "tmpfs", "mode=0700")
        descriptor = os.open(place, os.O_RDONLY)
        _mount("none", place, "proc", "")
        assert mounts.file_system(descriptor, place) == "tmpfs"
        assert mounts.file_system(os.open(place, os.O_RDONLY), place) == "proc"

    in_own_mounts(work)


# A child of our own, with its own mounts

_MS_RDONLY = 1
_MS_REC_PRIVATE = (1 << 14) | (1 << 18)
_CLONE_NEWNS = 0x20000
_LIBC = ctypes.CDLL(None, use_errno=True)


def _mount(source, target, kind, options, flags=0):
    if _LIBC.mount(source.encode(), str(target).encode(), kind.encode(), flags, options.encode()) != 0:
        raise OSError(ctypes.get_errno(), f"mount -t {kind}")


def _fork(work):
    """Run ``work`` in a child, which exits with 0 if it returns."""
    with warnings.catch_warnings():
        # The threads of a parallel test run hold no lock that the child wants.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        except OSError as exc:
            status = 77 if "mount -t" in str(exc) else 1
            os.write(2, f"{exc!r}\n".encode())
        except BaseException as exc:
            os.write(2, f"{exc!r}\n".encode())
        finally:
            os._exit(status)
    return child


@pytest.fixture
def in_own_mounts(folder):
    """Call work(directory) in a child with private mounts; skip if the kernel lacks the file system."""

    def run(work):
        def child():
            if _LIBC.unshare(_CLONE_NEWNS) != 0:
                raise OSError(ctypes.get_errno(), "mount -t (unshare)")
            _mount("none", "/", "none", "", flags=_MS_REC_PRIVATE)
            work(str(folder))

        status = os.waitpid(_fork(child), 0)[1]
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 77:
            pytest.skip("this kernel, or this container, cannot mount that file system")
        assert status == 0

    return run
