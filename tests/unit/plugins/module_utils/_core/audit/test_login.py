# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Logins over a network in clear text, found among the ancestors of a process."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core.audit import login


def test_a_clear_text_login_is_found_among_the_ancestors(tmp_path: Path) -> None:
    for pid, name, parent in (
        (9, "sh) S 1 (", 8),
        (8, "login", 7),
        (7, "in.telnetd", 1),
        (5, "sshd", 1),
        (1, "init", 0),
    ):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "stat").write_text(f"{pid} ({name}) S {parent} 0 0\n")
    assert login.clear_text_server(9, str(tmp_path)) == "in.telnetd"
    assert login.clear_text_server(5, str(tmp_path)) == ""
    assert login.clear_text_server(77, str(tmp_path)) == ""


@pytest.mark.parametrize(("server", "client"), [("tmux: server", "tmux: client"), ("screen", "screen")])
def test_a_multiplexer_does_not_hide_a_clear_text_login(tmp_path: Path, server: str, client: str) -> None:
    rows = [(9, "bash", 8), (8, server, 1), (7, client, 6), (6, "bash", 5), (5, "in.telnetd", 1), (1, "init", 0)]
    for pid, name, parent in rows:
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "stat").write_text(f"{pid} ({name}) S {parent} 0 0\n")
    (tmp_path / "self").mkdir()
    assert login.clear_text_server(9, str(tmp_path)) == "in.telnetd"
    (tmp_path / "5" / "stat").write_text("5 (sshd) S 1 0 0\n")
    assert login.clear_text_server(9, str(tmp_path)) == ""


def test_the_processes_are_listed_once_however_many_clients_a_multiplexer_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        (9, "bash", 8),
        (8, "tmux: server", 1),
        (1, "init", 0),
        *((pid, "tmux: client", 1) for pid in range(20, 90)),
    ]
    for pid, name, parent in rows:
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "stat").write_text(f"{pid} ({name}) S {parent} 0 0\n")
    listed = []
    names = os.listdir(tmp_path)
    monkeypatch.setattr(login.os, "listdir", lambda path: listed.append(path) or names)
    assert login.clear_text_server(9, str(tmp_path)) == "" and len(listed) == 1
