# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keys in histories and scripts: the place and the pattern are reported, the key never."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core.audit import traces

KEY = "5ec4e701" * 4
LINES = {
    "ipseckey": f"ipseckey add esp spi 0x1000 dst 192.0.2.1 encr_alg aes encrkey {KEY}",
    "ip xfrm state": f"ip xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x1000 enc 'cbc(aes)' 0x{KEY}",
    "setkey": f"add 192.0.2.1 192.0.2.2 esp 0x1000 -E rijndael-cbc 0x{KEY};",
}
HARMLESS = "ip xfrm state\nipseckey dump\ngit show 5ec4e7015ec4e7015ec4e7015ec4e7015ec4e701\nadd user -A wheel\n"


@pytest.mark.parametrize("name", LINES)
def test_a_script_with_a_key_is_reported_without_it(tmp_path: Path, name: str) -> None:
    script = tmp_path / "up"
    script.write_text(f"#!/bin/sh\n{LINES[name]}\n{HARMLESS}")
    (found,) = traces.in_scripts([f"{tmp_path}/*"])
    assert (found.what, found.place, found.detail) == ("script", str(script), f"{name}, 1 line")
    assert KEY not in repr(found)


def test_harmless_files_give_no_remark(tmp_path: Path) -> None:
    (tmp_path / "history").write_text(HARMLESS)
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "binary").write_bytes(os.urandom(100_000))
    assert traces.in_scripts([f"{tmp_path}/*"]) == []


def test_histories_of_users_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".bash_history").write_text(f"{LINES['ipseckey']}\n" * 2)
    passwd = tmp_path / "passwd"
    passwd.write_text(f"root:x:0:0::/nonexistent:/bin/sh\nme:x:1:1::{tmp_path}:/bin/sh\nbroken\n")
    monkeypatch.setattr(traces, "MOUNTS", str(tmp_path / "none"))
    found = [row for row in traces.in_histories(str(passwd)) if row.place.startswith(str(tmp_path))]
    assert [(row.what, row.place, row.detail) for row in found] == [
        ("history", str(tmp_path / ".bash_history"), "ipseckey, 2 lines")
    ]


def test_homes_on_a_network_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".bash_history").write_text(LINES["ipseckey"])
    (tmp_path / "passwd").write_text(f"me:x:1:1::{tmp_path}:/bin/sh\n")
    (tmp_path / "mounts").write_text(f"1 0 0:1 / / rw - ext4 a rw\n2 1 0:2 / {tmp_path} rw - nfs4 b rw\n")
    monkeypatch.setattr(traces, "MOUNTS", str(tmp_path / "mounts"))
    assert not [row for row in traces.in_histories(str(tmp_path / "passwd")) if row.place.startswith(str(tmp_path))]


def test_homes_on_a_network_are_not_even_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below autofs, looking mounts."""
    (tmp_path / "link").symlink_to(tmp_path / "away")
    (tmp_path / "passwd").write_text(f"me:x:1:1::{tmp_path}/away:/bin/sh\nme:x:1:1::{tmp_path}/link:/bin/sh\n")
    mounted = f"1 0 0:1 / / rw - ext4 a rw\n2 1 0:2 / {tmp_path}/away rw - autofs b rw\n"
    (tmp_path / "mounts").write_text(mounted)
    monkeypatch.setattr(traces, "MOUNTS", str(tmp_path / "mounts"))
    opened: list[str] = []
    resolve = os.path.realpath
    monkeypatch.setattr(traces.os.path, "realpath", lambda path: opened.append(path) or resolve(path))
    monkeypatch.setattr(traces, "_tail", lambda path: opened.append(path) or b"")
    traces.in_histories(str(tmp_path / "passwd"))
    assert [path for path in opened if path.startswith(str(tmp_path))] == [str(tmp_path / "link")]


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "real").write_text(LINES["setkey"])
    (tmp_path / "link").symlink_to(tmp_path / "real")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    assert [os.path.basename(row.place) for row in traces.in_scripts([f"{tmp_path}/*"])] == ["real"]


def test_the_end_of_a_huge_history_is_read_in_bounded_time(tmp_path: Path) -> None:
    path = tmp_path / "huge"
    path.write_bytes(b"add " + b"-E " * 2_000_000 + b"\n" + LINES["setkey"].encode())
    assert [row.detail for row in traces.in_scripts([str(path)])] == ["setkey, 1 line"]


@pytest.mark.parametrize("words", [b"x s ", b"x s enc ", b'x s auth "', b"add -E x ", b"encrkey authkey ", b"x  "])
def test_no_line_makes_a_pattern_try_every_way(words: bytes) -> None:
    """A user chooses the lines of their history. With .* in a pattern, a history of such lines took 40 s."""
    line = (words * 4096)[:4096]
    for patterns in traces.PATTERNS.values():
        assert all(b".*" not in pattern.pattern for pattern in patterns)
        assert not traces._matches(line, patterns)


def test_linked_directories_are_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "away" / "fish").mkdir(parents=True)
    (tmp_path / "away" / "fish" / "fish_history").write_text(LINES["ipseckey"])
    for home, link in (("linked", True), ("plain", False)):
        local = tmp_path / home / ".local"
        local.mkdir(parents=True)
        if link:
            (local / "share").symlink_to(tmp_path / "away")
        else:
            (tmp_path / "away").rename(local / "share")
            (tmp_path / "away").symlink_to(local / "share")
    (tmp_path / "passwd").write_text(
        "".join(f"{name}:x:1:1::{tmp_path}/{name}:/bin/sh\n" for name in ("linked", "plain"))
    )
    monkeypatch.setattr(traces, "MOUNTS", str(tmp_path / "none"))
    found = [row.place for row in traces.in_histories(str(tmp_path / "passwd")) if row.place.startswith(str(tmp_path))]
    assert found == [str(tmp_path / "plain/.local/share/fish/fish_history")]
