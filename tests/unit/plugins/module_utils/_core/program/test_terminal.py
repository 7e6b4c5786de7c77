# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The prompt on a terminal: no key is shown, and what is missing is reported first."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pty
import select
import shutil
import subprocess
import sys
import termios
import time
import typing as t
import zipapp
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ipsec.manual.plugins.module_utils._core.program import command
from ansible_collections.ipsec.manual.plugins.module_utils._core.program.terminal import masked

KEY = "308c9d5d11316f73900c811691eaa6fb9561c2ee"
# Refused, so that it never gets to a kernel.
ADD = "add esp spi 0x1001 dst 192.0.2.2 frobnicate auth_alg sha1 authkey "


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("authkey 30", "authkey **"),
        ("add  encrkey\t308c9d/128 authkey 1 dst 2001:db8::1", "add  encrkey\t********** authkey * dst 2001:db8::1"),
        ('encrkey "30', "encrkey ***"),
        (KEY, "*" * 40),
        ("dst 2001:db8:8bcd:1407:2001:db8:8bcd:1407 spi 0x8bcd1407", None),
        ("encrkey", None),
        ("myencrkey 30", None),
        ("", None),
    ],
)
def test_keys_are_stars(typed, shown):
    assert masked(typed.encode()).decode() == (typed if shown is None else shown)


def test_the_key_of_a_continued_line_is_stars():
    assert masked(b"308c dst", b"add esp authkey  ") == b"**** dst"


@given(before=st.binary(), key=st.text("0123456789abcdef", min_size=1), after=st.sampled_from([b"", b" dst", b"/128"]))
def test_every_key_keeps_its_length_and_loses_its_digits(before, key, after):
    line = before + b" encrkey " + key.encode() + after
    shown = masked(line)
    assert len(shown) == len(line)
    assert shown[len(before) + 9 :][: len(key)] == b"*" * len(key)


class Prompt:
    """The prompt in a process of its own, on a terminal."""

    def __init__(
        self, before: str = "pass", drop: bool = False, stdout: int | None = None, installed: Path | None = None
    ) -> None:
        program = (
            f"import sys; sys.path[:0] = {sys.path!r}; {before}; from {command.__name__} import main;"
            " sys.exit(main(['--allow-clear-text-login']))"
        )
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [
                sys.executable,
                *(["-c", program] if installed is None else ["-I", installed, "--allow-clear-text-login"]),
            ],
            stdin=slave,
            stdout=slave if stdout is None else stdout,
            stderr=slave,
            env={**os.environ, "TERM": "xterm"},
            preexec_fn=(lambda: ctypes.CDLL(None).prctl(24, 12, 0, 0, 0)) if drop else None,  # CAP_NET_ADMIN
        )
        self.slave = slave
        self.seen = ""

    def until(self, part: str, count: int = 1) -> None:
        deadline = time.monotonic() + 20
        while self.seen.count(part) < count:
            assert time.monotonic() < deadline, self.seen
            if select.select([self.master], [], [], 1)[0]:
                self.seen += os.read(self.master, 4096).decode()

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)

    def echoes(self) -> bool:
        return bool(termios.tcgetattr(self.slave)[3] & termios.ECHO)


@contextlib.contextmanager
def opened(**options: t.Any) -> t.Iterator[Prompt]:
    prompt = Prompt(**options)
    try:
        prompt.until("ipseckey> ")
        yield prompt
        prompt.type("quit\n")
        assert prompt.process.wait(60) in (0, 1)
        assert prompt.echoes()
    finally:
        prompt.close()


def test_keys_typed_at_the_prompt_do_not_echo():
    pytest.importorskip("readline")
    with opened() as prompt:
        # More than one line, as if pasted, so that the second arrives while the first is carried out.
        prompt.type(f"{ADD}{KEY}\n{ADD}\\\n{KEY}\n")
        prompt.until("frobnicate", 4)
        prompt.until("ipseckey> ", 3)
    assert KEY[:4] not in prompt.seen and KEY[-4:] not in prompt.seen
    assert "add esp spi 0x1001" in prompt.seen and "*" * len(KEY) in prompt.seen.replace("\r", "").replace("\n", "")


@pytest.mark.parametrize("lack", ["readline", "ctypes"])
def test_nothing_is_shown_where_keys_cannot_be_hidden(lack):
    with opened(before=f"sys.modules[{lack!r}] = None") as prompt:
        assert "nothing that you type is shown" in prompt.seen
        prompt.type(f"{ADD}{KEY}\n")
        prompt.until("ipseckey> ", 2)
    assert "add esp" not in prompt.seen and KEY[:4] not in prompt.seen
    assert "unknown" in prompt.seen


def test_nothing_is_shown_where_standard_output_is_no_terminal(tmp_path):
    with (tmp_path / "log").open("wb") as log:
        prompt = Prompt(stdout=log.fileno())
        try:
            prompt.until("nothing that you type is shown, since standard output is not a terminal")
            prompt.type(f"{ADD}{KEY}\nquit\n")
            prompt.until("frobnicate")
            assert prompt.process.wait(60) == 1 and prompt.echoes()
        finally:
            prompt.close()
    assert KEY[:4] not in prompt.seen and KEY[:4] not in (tmp_path / "log").read_text()


def test_an_open_prompt_outlives_an_upgrade(tmp_path):
    installed = tmp_path / "ipseckey"
    shutil.copytree(Path(command.__file__).parents[1], tmp_path / "archive" / "core")
    zipapp.create_archive(tmp_path / "archive", installed, main="core.program.command:main")
    with opened(installed=installed, drop=True) as prompt:
        installed.write_bytes(b"another version")
        prompt.type("status /nonexistent/keys\n")
        prompt.until("ipseckey> ", 2)
    assert (
        "Traceback" not in prompt.seen and "/nonexistent/keys" in prompt.seen.partition("status")[2].partition("\n")[2]
    )


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="only root has privileges that can be missing")
def test_missing_privileges_are_reported_before_anything_is_typed():
    with opened(drop=True) as prompt:
        before, dummy, dummy2 = prompt.seen.partition("ipseckey> ")
    assert "CAP_NET_ADMIN" in before or "no netlink interface" in before
    assert "become" not in before
