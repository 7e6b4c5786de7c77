# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Events of the SAs in this network namespace, from the multicast groups of NETLINK_XFRM."""

from __future__ import annotations

import contextlib
import socket
import typing as t

from ...sa.model import Counters, Entry, SecurityAssociation
from . import uapi
from .decode import decode
from .link import open_link
from .netlink import (
    HEADER,
    HEADER_SIZE,
    NETLINK_XFRM,
    AnswersLost,
    Netlink,
    NetlinkError,
    Part,
    attribute,
    attributes,
    split,
)

ADD = "ADD"
UPDATE = "UPDATE"
DELETE = "DELETE"
FLUSH = "FLUSH"
ACQUIRE = "ACQUIRE"
SOFT_EXPIRE = "SOFT EXPIRE"
HARD_EXPIRE = "HARD EXPIRE"
LOST = "LOST"

_NEW = {uapi.XFRM_MSG_NEWSA: ADD, uapi.XFRM_MSG_UPDSA: UPDATE}


class Event(t.NamedTuple):
    """One event: its kind, the SA that it concerns if any, and the SA type of a flush, empty for all.
    LOST: events arrived faster than they were read.

    The last three are from the header of the kernel's message: its size in bytes, and the sequence
    number and the process ID that the program that caused it wrote into its request; some write 0."""

    kind: str
    entry: Entry | None = None
    protocol: str = ""
    size: int = 0
    sequence: int = 0
    process: int = 0


def listen(acquires: bool = True) -> t.Iterator[Event]:
    """Every event from this call on, without end; without ``acquires`` not those in which the kernel
    asks for an SA. Raises SadbError.
    """
    with contextlib.ExitStack() as stack:
        link = stack.enter_context(open_link(NETLINK_XFRM, "listening"))
        link.join((uapi.XFRMNLGRP_SA, uapi.XFRMNLGRP_EXPIRE, *((uapi.XFRMNLGRP_ACQUIRE,) if acquires else ())))
        kept = stack.pop_all()
    return _events(link, kept)


def _events(link: Netlink, stack: contextlib.ExitStack) -> t.Iterator[Event]:
    with stack:
        while True:
            try:
                buffer = link.datagram()
            except AnswersLost:
                yield Event(LOST)
                continue
            yield from read_events(buffer)


def read_events(buffer: bytes) -> t.Iterator[Event]:
    """The events of one datagram, up to a message that is cut short; messages of other kinds are skipped."""
    with contextlib.suppress(NetlinkError):
        for kind, dummy, dummy, part in split(buffer):
            event = _event(kind, part)
            if event is not None:
                size, dummy, dummy, sequence, process = HEADER.unpack_from(buffer, part.start - HEADER_SIZE)
                yield event._replace(size=size, sequence=sequence, process=process)


def _event(kind: int, part: Part) -> Event | None:
    body = part.buffer[part.start : part.end]
    if kind in _NEW:
        return Event(_NEW[kind], decode(part))
    if kind == uapi.XFRM_MSG_DELSA:
        return Event(DELETE, _deleted(body))
    if kind == uapi.XFRM_MSG_EXPIRE:
        info, hard = uapi.USER_EXPIRE.unpack_from(body)
        sa = decode(_part(info + body[uapi.USER_EXPIRE.size :]))
        # The kernel shows no algorithm, as it shows none of a larval SA.
        return Event(HARD_EXPIRE if hard else SOFT_EXPIRE, sa._replace(larval=False))
    if kind == uapi.XFRM_MSG_FLUSHSA:
        return Event(FLUSH, None, uapi.PROTOCOL_NAMES.get(body[0], ""))
    if kind == uapi.XFRM_MSG_ACQUIRE:
        return Event(ACQUIRE, _acquired(body))
    return None


def _part(body: bytes) -> Part:
    return Part(body, 0, len(body))


def _deleted(body: bytes) -> Entry | None:
    """XFRM_MSG_DELSA has the SA in one attribute and its algorithms in others beside it."""
    found = attributes(body, uapi.USERSA_ID.size, len(body))
    first, last = found.pop(uapi.XFRMA_SA, (0, 0))
    if last - first < uapi.USERSA_INFO.size:
        return None
    others = (attribute(kind, body[begin:finish]) for kind, (begin, finish) in found.items())
    return decode(_part(body[first:last] + b"".join(others)))


def _acquired(body: bytes) -> Entry:
    destination, spi, protocol, source, *dummy, family = uapi.USER_ACQUIRE.unpack_from(body)
    size = uapi.ADDRESS_SIZES.get(family, 16)
    name = uapi.PROTOCOL_NAMES.get(protocol) or str(protocol)
    return Entry(SecurityAssociation(name, socket.ntohl(spi), source[:size], destination[:size]), Counters(), True)
