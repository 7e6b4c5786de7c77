# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options into the core's values, noting every problem instead of stopping at the first; and marks
and selectors as options again.
"""

from __future__ import annotations

import contextlib
import typing as t

from ..errors import InputError, IpsecError, Problems, raise_all, shown
from ..sa.model import Selector, format_address, pack_address
from .values import parse_network

T = t.TypeVar("T")
V = t.TypeVar("V")


class Reader:
    """Reads options, and notes what is wrong with them."""

    def __init__(self) -> None:
        self.problems: list[IpsecError] = []

    @contextlib.contextmanager
    def noting(self) -> t.Iterator[None]:
        """Note what goes wrong inside, and go on."""
        try:
            yield
        except Problems as exc:
            self.problems.extend(exc.problems)
        except IpsecError as exc:
            self.problems.append(exc)

    def read(self, parse: t.Callable[[V, str], T], value: V | None, place: str, otherwise: T) -> T:
        """``parse(value, place)``, or ``otherwise`` where there is no value or a bad one."""
        if value is not None and value != "":
            with self.noting():
                return parse(value, place)
        return otherwise

    def require(self, parse: t.Callable[[V, str], T], value: V | None, place: str, otherwise: T) -> T:
        """As `read`; no value is a problem, too. An option that must be given can be empty, or null."""
        if value is None or value == "":
            self.problems.append(
                InputError("nothing is given", place, "Give it; a variable that it comes from may be empty.")
            )
        return self.read(parse, value, place, otherwise)

    def unread(self) -> set[str]:
        """The places that were noted."""
        return {problem.place for problem in self.problems}

    def finish(self) -> None:
        """Raise what was noted, all of it together."""
        raise_all(self.problems)


def read_address(text: str, place: str) -> bytes:
    """A literal address, packed."""
    try:
        return pack_address(text, place)
    except InputError as exc:
        raise InputError(
            exc.message, place, "Write the address itself; a name would let the naming service choose the peer."
        ) from None


def read_selector(given: t.Mapping[str, t.Any], place: str) -> Selector:
    """A selector from its suboptions: networks in CIDR notation or addresses, a protocol by number or name, ports."""
    reader = Reader()
    source = reader.read(parse_network, given["source"], f"{place}.source", (b"", 0))
    destination = reader.read(parse_network, given["destination"], f"{place}.destination", (b"", 0))
    protocol = reader.read(read_protocol, given["protocol"], f"{place}.protocol", 0)
    reader.finish()
    return Selector(*source, *destination, protocol, given["source_port"], given["destination_port"])


def read_protocol(text: str, place: str) -> int:
    """An upper-layer protocol as its IANA number, from digits or a name; 0 is any."""
    import socket

    if text == "any":
        return 0
    if text.isascii() and text.isdigit() and int(text) <= 255:
        return int(text)
    # The system's own table (/etc/protocols) may be missing, the common names are not.
    number: int | None = getattr(socket, f"IPPROTO_{text.upper().replace('-', '')}", None)
    if number is not None and 0 < number < 255:
        return number
    try:
        return socket.getprotobyname(text)
    except (OSError, ValueError):
        raise InputError(
            f"{shown(text)} is no IP protocol that this system knows", place, "Write its number, 0 to 255."
        ) from None


def selector_view(selector: Selector) -> dict[str, t.Any]:
    """A selector as its suboptions: networks in CIDR notation, empty for any."""
    return {
        "source": _network(selector.source, selector.source_prefix),
        "destination": _network(selector.destination, selector.destination_prefix),
        "protocol": selector.protocol,
        "source_port": selector.source_port,
        "destination_port": selector.destination_port,
    }


def _network(address: bytes, prefix: int) -> str:
    return f"{format_address(address)}/{prefix}" if address else ""
