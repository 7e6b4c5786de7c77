# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs before a module on a host, if there is /root/skew or /root/hold.amid.

The clock that the module reads is shifted by the seconds in the former, since the hosts of a lab share
one clock. While the latter is there, the module waits between its first file or socket and its second, or if it
names a file, between replacing that and what it next says to the kernel's SAs or policies.
"""

import os
import socket
import sys
import time

SKEW, HOLD, HELD = "/root/skew", "/root/hold.amid", "/root/held"
EFFECTS = ("os.rename", "os.remove", "socket.bind")
SOCKET, NETLINK_XFRM = "socket.__new__", 6
_effects: "list[str]" = []
_named = ""


def _shift() -> None:
    with open(SKEW, encoding="ascii") as file:
        seconds = float(file.read())
    now = time.time
    time.time = lambda: now() + seconds


def _wait(event: str, words: "tuple[object, ...]") -> None:
    asks_kernel = event == SOCKET and words[1] == socket.AF_NETLINK
    if not _named and (asks_kernel or event in EFFECTS):
        _effects.append(event)
    elif _named and event == "os.rename" and os.path.basename(str(words[1])) == _named:
        _effects[:] = [event]
    elif _named and asks_kernel and _effects and words[3] == NETLINK_XFRM:
        _effects.append(event)
    else:
        return
    if len(_effects) == 2:
        open(HELD, "w", encoding="ascii").close()
        while os.path.exists(HOLD):
            time.sleep(0.1)


if os.path.exists(SKEW):
    _shift()
if os.path.exists(HOLD):
    with open(HOLD, encoding="ascii") as stream:
        _named = stream.read()
    sys.addaudithook(_wait)
