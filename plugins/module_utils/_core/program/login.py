# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Detect a login over a network in clear text."""

from __future__ import annotations

import os

# Servers of logins that are not encrypted. Linux shows at most 15 characters of a name.
CLEAR_TEXT_SERVERS = frozenset(
    ["telnetd", "in.telnetd", "utelnetd", "rlogind", "in.rlogind", "rshd", "in.rshd", "rexecd", "in.rexecd"]
)


def clear_text_server(pid: int, proc: str = "/proc") -> str:
    """The name of the nearest ancestor of the process that serves such logins; empty if there is
    none, or if the system does not say.
    """
    seen = set()
    while pid > 0 and pid not in seen:
        seen.add(pid)
        try:
            with open(os.path.join(proc, str(pid), "stat"), encoding="utf-8", errors="replace") as file:
                text = file.read()
        except OSError:
            return ""
        # The name is in parentheses and may contain any character; state and parent follow it (proc(5)).
        name = text[text.find("(") + 1 : text.rfind(")")]
        if name in CLEAR_TEXT_SERVERS:
            return name
        pid = int(text[text.rfind(")") + 1 :].split()[1])
    return ""
