# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The protected file and what lies beside it, in a directory of the test's own."""

from __future__ import annotations

import os
import struct
import typing as t
from pathlib import Path

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core.audit import files
from ansible_collections.ipsec.manual.plugins.module_utils._core.audit.remark import MOST, Remark
from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import ProtectedFileError
from ansible_collections.ipsec.manual.plugins.module_utils._core.files import protected

# Everything but what the directory above the test's is like, which is not the test's to choose.
SURROUNDINGS = {"path", "file-system", "unknown-file-system"}


@pytest.fixture(autouse=True)
def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Directories of tests lie below /tmp, which others can write in, and belong to whoever runs them."""
    monkeypatch.setattr(protected, "_owner_problems", lambda found, path: [])


def remarks(path: Path) -> list[tuple[str, str, str]]:
    return [
        (row.what, os.path.basename(row.place), row.detail)
        for row in files.examine(str(path))
        if row.what not in SURROUNDINGS and row.what != "owner"
    ]


def keys(folder: Path, name: str = "ipseckeys", mode: int = 0o600) -> Path:
    path = folder / name
    path.write_text("# no keys\n")
    path.chmod(mode)
    return path


def test_a_clean_file_gives_no_remark(tmp_path: Path) -> None:
    assert remarks(keys(tmp_path)) == []


def test_a_missing_file_gives_no_remark(tmp_path: Path) -> None:
    assert remarks(tmp_path / "ipseckeys") == []
    assert remarks(tmp_path / "missing" / "ipseckeys") == []


@pytest.mark.parametrize(
    ("mode", "what"), [(0o604, "world-readable"), (0o640, "mode"), (0o620, "mode"), (0o4600, "mode")]
)
def test_a_wide_mode_is_reported(tmp_path: Path, mode: int, what: str) -> None:
    assert remarks(keys(tmp_path, mode=mode)) == [(what, "ipseckeys", f"mode {mode:04o}")]


def test_hard_links_are_reported(tmp_path: Path) -> None:
    path = keys(tmp_path)
    os.link(path, tmp_path / "other")
    assert remarks(path) == [("links", "ipseckeys", "2 names")]


def test_a_symbolic_link_is_reported_and_not_followed(tmp_path: Path) -> None:
    keys(tmp_path, "real", 0o644)
    (tmp_path / "ipseckeys").symlink_to(tmp_path / "real")
    found = files.examine(str(tmp_path / "ipseckeys"))
    assert [row.detail for row in found if row.place.endswith("ipseckeys")] == ["it is a symbolic link"]


def test_what_this_process_may_not_see_is_no_remark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = ProtectedFileError("the file cannot be examined (EACCES: Permission denied)", str(tmp_path / "x"))
    problem.__cause__ = PermissionError()
    found = protected.FileStatus(str(tmp_path / "x"), problems=(problem,))
    assert files.unreadable(found) and not files.unreadable(found._replace(problems=()))
    monkeypatch.setattr(protected, "status", lambda dummy: found)
    assert files.examine(str(tmp_path / "x")) == []


def test_a_relative_path_is_refused() -> None:
    with pytest.raises(ProtectedFileError):
        files.examine("ipseckeys")


def test_another_owner_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = keys(tmp_path)
    found = protected.status(str(path))
    monkeypatch.setattr(protected, "status", lambda dummy: found._replace(uid=1000))
    assert Remark("owner", str(path), "user 1000") in files.examine(str(path))


@pytest.mark.parametrize(
    ("kind", "what"), [("nfs4", "file-system"), ("fuse.sshfs", "file-system"), ("", "unknown-file-system")]
)
def test_a_file_system_of_a_network_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, what: str
) -> None:
    monkeypatch.setattr(protected, "file_system", lambda descriptor, path: kind)
    assert what in [row.what for row in files.examine(str(keys(tmp_path)))]


@pytest.mark.parametrize(
    "name", ["ipseckeys~", "ipseckeys.bak", "ipseckeys.old", ".ipseckeys.swp", "#ipseckeys#", "ipseckeys (copy)"]
)
def test_copies_beside_it_are_reported(tmp_path: Path, name: str) -> None:
    path = keys(tmp_path)
    keys(tmp_path, name, 0o644)
    keys(tmp_path, "unrelated")
    assert remarks(path) == [("copy", name, "mode 0644")]


@pytest.mark.parametrize("name", ["ipseckeys.next", "ipseckeys.previous", ".ipseckeys.0123456789ab.tmp"])
def test_what_a_rotation_left_is_told_from_a_copy(tmp_path: Path, name: str) -> None:
    path = keys(tmp_path)
    keys(tmp_path, name)
    assert remarks(path) == [("leftover", name, "mode 0600")]


def test_many_copies_are_cut(tmp_path: Path) -> None:
    path = keys(tmp_path)
    for number in range(MOST + 5):
        keys(tmp_path, f"ipseckeys.{number}")
    assert len(remarks(path)) == MOST


def acl(*entries: tuple[int, int, int]) -> bytes:
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


OWNER, GROUP, OTHER = (0x01, 6, 0xFFFFFFFF), (0x04, 0, 0xFFFFFFFF), (0x20, 0, 0xFFFFFFFF)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (acl(OWNER, GROUP, OTHER), []),
        (acl(OWNER, (0x02, 4, 1000), GROUP, (0x10, 4, 0xFFFFFFFF), OTHER), ["user 1000 may read"]),
        (acl(OWNER, (0x08, 6, 50), GROUP, (0x10, 6, 0xFFFFFFFF), OTHER), ["group 50 may read and write"]),
        (acl(OWNER, (0x02, 6, 1000), GROUP, (0x10, 0, 0xFFFFFFFF), OTHER), []),
        (b"\1\0\0\0", ["an access list of an unknown form, 4 bytes"]),
        (b"", ["an access list of an unknown form, 0 bytes"]),
        (acl(OWNER)[:-1], ["an access list of an unknown form, 11 bytes"]),
    ],
)
def test_an_access_list_is_read(data: bytes, found: list[str]) -> None:
    assert files.acl_entries(data) == found


def test_an_access_list_of_the_file_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = keys(tmp_path)

    def getxattr(place: str, name: str, **dummy: t.Any) -> bytes:
        if (place, name) != (str(path), "system.posix_acl_access"):
            raise OSError
        return acl(OWNER, (0x02, 4, 1000), GROUP, OTHER)

    monkeypatch.setattr(os, "getxattr", getxattr)
    assert remarks(path) == [("acl", "ipseckeys", "user 1000 may read")]


def test_names_in_place_of_addresses_are_found() -> None:
    text = "add esp spi 0x1000 src enigma dst 192.0.2.1 encrkey 00 # dst comment\n  saddr6 2001:db8::1 daddr partym\n"
    assert files.names_in(text + text) == ["enigma", "partym"]
    assert files.names_in("") == []


@pytest.mark.parametrize("key", ["5ec4e701" * 4, "0X" + "5EC4E701" * 2, "'" + "5ec4e701" * 8, '"5ec4e7015ec4e701"'])
def test_a_key_in_place_of_an_address_is_not_repeated(key: str) -> None:
    assert files.names_in(f"add esp spi 0x1000 src enigma dst {key} encr_alg aes encrkey 192.0.2.2") == ["enigma"]
