# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names of hosts and IP protocols, from this system's naming services."""

from __future__ import annotations

import socket
import typing as t

from ..sa.model import format_address

PROTOCOLS = "/etc/protocols"


class Names:
    """Looks up names; calls ``unanswered`` once if the naming services do not answer. They are not
    asked again then, since each query would take as long as the first.
    """

    def __init__(self, unanswered: t.Callable[[], None], protocols: str = PROTOCOLS) -> None:
        self._unanswered: t.Callable[[], None] | None = unanswered
        self._hosts: dict[bytes, str] = {}
        self._protocols = _read_protocols(protocols)

    def protocol(self, number: int) -> str:
        """The name of an IP protocol, empty if it is unknown."""
        return self._protocols.get(number, "")

    def host(self, address: bytes) -> str:
        """The name of the host with a packed address, empty if it is unknown."""
        if address not in self._hosts and self._unanswered is not None:
            self._hosts[address] = ""
            try:
                self._hosts[address] = socket.getnameinfo((format_address(address), 0), socket.NI_NAMEREQD)[0]
            except socket.gaierror as exc:
                if exc.errno == socket.EAI_AGAIN:
                    self._unanswered()
                    self._unanswered = None
            except (OSError, UnicodeError):
                pass
        return self._hosts.get(address, "")


def _read_protocols(path: str) -> dict[int, str]:
    """The first name of each number in a file with the format of protocols(5)."""
    found: dict[int, str] = {}
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                words = line.partition("#")[0].split()
                if len(words) > 1 and words[1].isascii() and words[1].isdigit():
                    found.setdefault(int(words[1]), words[0])
    except OSError:
        pass
    return found
