# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What happens to the SAs of this network namespace, as it happens: the multicast groups of
NETLINK_XFRM (include/uapi/linux/xfrm.h).
"""

from __future__ import annotations

import errno
import socket
import struct
import typing as t

from ...errors import SadbError
from ...sa.model import Counters, Entry, SecurityAssociation
from . import uapi
from .backend import open_link
from .decode import decode
from .netlink import HEADER_SIZE, NETLINK_XFRM, Part, attribute, attributes, errno_name, errno_text, is_kernel

ADD = "ADD"
UPDATE = "UPDATE"
DELETE = "DELETE"
FLUSH = "FLUSH"
ACQUIRE = "ACQUIRE"
SOFT_EXPIRE = "SOFT EXPIRE"
HARD_EXPIRE = "HARD EXPIRE"
LOST = "LOST"

_SOL_NETLINK = 270
_NETLINK_ADD_MEMBERSHIP = 1
_BUFFER = 4 << 20
_SO_RCVBUFFORCE = 33

_NEW = {uapi.XFRM_MSG_NEWSA: ADD, uapi.XFRM_MSG_UPDSA: UPDATE}

_HEADER = struct.Struct("=IHHII")


class Event(t.NamedTuple):
    """One event: its kind, the SA where it is about one, and the SA type of a flush, empty for all.
    LOST: events came faster than they were read.
    """

    kind: str
    entry: Entry | None = None
    protocol: str = ""


def listen(acquires: bool = True) -> t.Iterator[Event]:
    """Every event from this call on, without end; without ``acquires`` those only that the kernel
    has no question in. Raises SadbError.
    """
    # Events come whether or not the kernel takes requests, laid out for what it does take.
    with open_link(NETLINK_XFRM, "listening"):
        pass
    groups = (
        (uapi.XFRMNLGRP_SA, uapi.XFRMNLGRP_EXPIRE, uapi.XFRMNLGRP_ACQUIRE)
        if acquires
        else (uapi.XFRMNLGRP_SA, uapi.XFRMNLGRP_EXPIRE)
    )
    try:
        link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_XFRM)
        # The kernel hands nothing to a socket without an address.
        link.bind((0, 0))
        for group in groups:
            link.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, group)
    except OSError as exc:
        number = exc.errno or 0
        raise SadbError(
            f"events cannot be had ({errno_name(number)}: {errno_text(number)})",
            "listening",
            "Run it as root.",
            errno_name(number),
        ) from None
    try:
        link.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
    except OSError:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
    return _events(link)


def _events(link: socket.socket) -> t.Iterator[Event]:
    with link:
        while True:
            try:
                buffer, sender = link.recvfrom(1 << 16)
            except OSError as exc:
                if exc.errno != errno.ENOBUFS:
                    raise
                yield Event(LOST)
                continue
            if is_kernel(sender):
                yield from read_events(buffer)


def read_events(buffer: bytes) -> t.Iterator[Event]:
    """The events of one datagram; messages of other kinds are passed over."""
    offset = 0
    while offset + HEADER_SIZE <= len(buffer):
        length, kind, dummy, dummy, dummy = _HEADER.unpack_from(buffer, offset)
        if length < HEADER_SIZE or offset + length > len(buffer):
            return
        start, end = offset + HEADER_SIZE, offset + length
        if kind in _NEW:
            yield Event(_NEW[kind], decode(Part(buffer, start, end)))
        elif kind == uapi.XFRM_MSG_DELSA:
            yield Event(DELETE, _deleted(buffer, start, end))
        elif kind == uapi.XFRM_MSG_EXPIRE:
            info, hard = uapi.USER_EXPIRE.unpack_from(buffer, start)
            whole = info + buffer[start + uapi.USER_EXPIRE.size : end]
            # No algorithm is told, as of an SA that is larval.
            yield Event(HARD_EXPIRE if hard else SOFT_EXPIRE, decode(Part(whole, 0, len(whole)))._replace(larval=False))
        elif kind == uapi.XFRM_MSG_FLUSHSA:
            yield Event(FLUSH, None, uapi.PROTOCOL_NAMES.get(buffer[start], ""))
        elif kind == uapi.XFRM_MSG_ACQUIRE:
            yield Event(ACQUIRE, _acquired(buffer, start))
        offset += (length + 3) & ~3


def _deleted(buffer: bytes, start: int, end: int) -> Entry | None:
    """The SA stands in an attribute of its own, its algorithms beside it."""
    found = attributes(buffer, start + uapi.USERSA_ID.size, end)
    first, last = found.pop(uapi.XFRMA_SA, (0, 0))
    if last - first < uapi.USERSA_INFO.size:
        return None
    whole = buffer[first:last] + b"".join(
        attribute(kind, buffer[begin:finish]) for kind, (begin, finish) in found.items()
    )
    return decode(Part(whole, 0, len(whole)))


def _acquired(buffer: bytes, start: int) -> Entry:
    destination, spi, protocol, source, dummy, dummy, dummy, dummy, dummy, dummy, family = (
        uapi.USER_ACQUIRE.unpack_from(buffer, start)
    )
    size = next((size for size, known in uapi.FAMILIES.items() if known == family), 16)
    name = uapi.PROTOCOL_NAMES.get(protocol) or str(protocol)
    return Entry(SecurityAssociation(name, socket.ntohl(spi), source[:size], destination[:size]), Counters(), True)
