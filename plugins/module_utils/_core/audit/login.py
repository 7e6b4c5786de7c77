# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Detect a login over a network in clear text."""

from __future__ import annotations

import contextlib
import os
import re
import typing as t

# Servers of logins that are not encrypted. Linux shows at most 15 characters of a name.
CLEAR_TEXT_SERVERS = frozenset(
    ["telnetd", "in.telnetd", "utelnetd", "rlogind", "in.rlogind", "rshd", "in.rshd", "rexecd", "in.rexecd"]
)
# The server of a multiplexer does not descend from the login, but the clients that show it on a
# terminal do. Server and client have the same name up to a colon.
MULTIPLEXERS = frozenset(["tmux", "screen", "zellij", "dtach", "abduco"])


def clear_text_server(pid: int, proc: str = "/proc") -> str:
    """The name of the nearest ancestor of the process that serves such logins; empty if there is
    none, or if the system does not say. A client of an ancestor that is a terminal multiplexer counts
    as an ancestor.
    """
    waiting, seen = [pid], set()
    asked: set[tuple[str, int]] = set()
    while waiting:
        pid = waiting.pop(0)
        found = None if pid in seen else _process(pid, proc)
        seen.add(pid)
        if found is not None:
            name, parent = found
            if name in CLEAR_TEXT_SERVERS:
                return name
            waiting += [parent, *_clients(pid, name, proc, asked)]
    return ""


def _process(pid: int, proc: str) -> tuple[str, int] | None:
    """The name and the parent of a process, None if there is none."""
    try:
        with open(os.path.join(proc, str(pid), "stat"), encoding="utf-8", errors="replace") as file:
            text = file.read()
    except OSError:
        return None
    # The name is in parentheses and may contain any character; state and parent follow it (proc(5)).
    return text[text.find("(") + 1 : text.rfind(")")], int(text[text.rfind(")") + 1 :].split()[1])


def _clients(pid: int, name: str, proc: str, asked: set[tuple[str, int]]) -> t.Iterator[int]:
    """The processes of the same user that are clients of the multiplexer, if the process is one. Those of a
    multiplexer and a user in ``asked`` are known already.
    """
    family = _family(name)
    if family not in MULTIPLEXERS:
        return
    with contextlib.suppress(OSError):
        user = os.stat(os.path.join(proc, str(pid))).st_uid
        if (family, user) in asked:
            return
        asked.add((family, user))
        for other in filter(str.isdigit, os.listdir(proc)):
            found = _process(int(other), proc)
            if found is not None and _family(found[0]) == family:
                with contextlib.suppress(OSError):
                    if os.stat(os.path.join(proc, other)).st_uid == user:
                        yield int(other)


def _family(name: str) -> str:
    return re.split("[: ]", name, maxsplit=1)[0].lower()
