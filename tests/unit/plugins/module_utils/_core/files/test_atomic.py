# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The atomic writer and the lock, without the checks that their callers add."""

from __future__ import annotations

import os
import stat
import typing as t
from pathlib import Path

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core.files import atomic


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_is_replaced_with_its_mode_whatever_the_umask(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    before = os.umask(0o277)
    try:
        atomic.replace(str(path), b"new", 0o644, durable=durable)
    finally:
        os.umask(before)
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode), os.listdir(tmp_path)) == (b"new", 0o644, ["file"])


def test_a_check_sees_the_complete_file_and_can_refuse_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def refuse(temporary: str) -> t.NoReturn:
        assert Path(temporary).parent == tmp_path and temporary.endswith(".new")
        raise ValueError(Path(temporary).read_bytes())

    with pytest.raises(ValueError, match="new content"):
        atomic.replace(str(path), b"new content", suffix=".new", check=refuse)
    assert (path.read_bytes(), os.listdir(tmp_path)) == (b"old", ["file"])


def test_a_name_is_relative_to_an_open_directory(tmp_path: Path) -> None:
    directory = os.open(tmp_path, os.O_RDONLY)
    try:
        atomic.replace("file", b"content", directory=directory)
    finally:
        os.close(directory)
    assert (tmp_path / "file").read_bytes() == b"content"


def test_a_lock_is_waited_for_only_so_long(tmp_path: Path) -> None:
    first, second = (os.open(tmp_path, os.O_RDONLY) for dummy in range(2))
    try:
        assert atomic.lock(first, 0.0)
        assert not atomic.lock(second, 0.1)
        os.close(first)
        assert atomic.lock(second, 0.0)
    finally:
        os.close(second)


def test_a_lock_that_the_system_refuses_is_an_error() -> None:
    with pytest.raises(OSError, match="Bad file descriptor"):
        atomic.lock(-1 & 0xFFFFF, 0.0)
