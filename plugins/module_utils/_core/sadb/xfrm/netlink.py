# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Netlink: requests to the Linux kernel in batches, and dumps of its tables. Does not interpret the messages.

Layouts and numbers are those of ``include/uapi/linux/netlink.h``. The kernel processes a batch
during ``sendmsg``, message by message, and continues after one that it refuses; when the call
returns, all answers are in the socket. So only the last message asks for an acknowledgement: the
others are answered if they are refused, and no answer before the last one means success."""

from __future__ import annotations

import errno
import itertools
import os
import socket
import struct
import typing as t

NETLINK_ROUTE = 0
NETLINK_XFRM = 6

NLMSG_ERROR = 2
NLMSG_DONE = 3

NLM_F_REQUEST = 0x1
NLM_F_ACK = 0x4
NLM_F_DUMP_INTR = 0x10
NLM_F_CAPPED = 0x100
NLM_F_ACK_TLVS = 0x200
NLM_F_DUMP = 0x300
NLM_F_EXCL = 0x200
NLM_F_CREATE = 0x400

_SOL_NETLINK = 270
_NETLINK_ADD_MEMBERSHIP = 1
_NETLINK_CAP_ACK = 10
_NETLINK_EXT_ACK = 11
_NLMSGERR_ATTR_MSG = 1
_NLA_TYPE_MASK = 0x3FFF
_SO_SNDBUFFORCE = 32
_SO_RCVBUFFORCE = 33

# struct nlmsghdr: length, type, flags, sequence, port. struct nlattr: length, type.
HEADER = struct.Struct("=IHHII")
_INT = struct.Struct("=i")
_NUMBER = struct.Struct("=I")
ATTRIBUTE = struct.Struct("=HH")
HEADER_SIZE = HEADER.size
_SEQUENCE = 8

_BUFFER = 4 << 20
# More than the largest datagram of a dump (netlink_recvmsg in net/netlink/af_netlink.c); answers are smaller.
_RECEIVE = 32 << 10
# The most that one refusal, and one answer with an object, take of the receive buffer; batches are
# cut so that all their answers fit.
_REFUSAL_SPACE = 2 << 10
_ANSWER_SPACE = 8 << 10
_BATCH_BYTES = 1 << 20
_DUMP_ATTEMPTS = 10


Object = t.TypeVar("Object")
# Creates a named tuple in C.
_make = tuple.__new__


class Refusal(t.NamedTuple):
    """The kernel's answer to a request that it refused: a positive errno, and its explanation
    (NLMSGERR_ATTR_MSG), empty if there is none.
    """

    errno: int
    text: str


class Part(t.NamedTuple):
    """One message from the kernel; its body is ``buffer[start:end]``."""

    buffer: bytes
    start: int
    end: int


# Returns the object of a message, and those of any number of messages behind it whose headers equal its own.
Read = t.Callable[[Part], t.Sequence[Object]]


class NetlinkError(Exception):
    """The exchange itself failed, or a dump was refused."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal)
        self.refusal = refusal


class AnswersLost(NetlinkError):
    """A batch was sent but its answers are lost, for example because the kernel had no memory for them.

    Which requests it carried out is unknown.
    """

    def __init__(self, refusal: Refusal | None = None) -> None:
        super().__init__(refusal if refusal is not None else Refusal(errno.ENOBUFS, "the kernel's answers were lost"))


def make_request(kind: int, body: bytes, flags: int = 0) -> bytes:
    """A request with its header, in which `Netlink.send` sets the sequence number. The size of ``body`` must be
    a multiple of 4 bytes.
    """
    return HEADER.pack(HEADER_SIZE + len(body), kind, flags | NLM_F_REQUEST, 0, 0) + body


def kind_of(request: bytes) -> int:
    """The type of a request."""
    return int(HEADER.unpack_from(request)[1])


def extended(request: bytes, more: bytes) -> bytes:
    """The request with more attributes behind those that it has."""
    dummy, kind, flags, *dummy = HEADER.unpack_from(request)
    return make_request(kind, request[HEADER_SIZE:] + more, flags)


def aligned(size: int) -> int:
    """The size with the padding to a multiple of 4 bytes that messages and attributes have."""
    return (size + 3) & ~3


def attribute(kind: int, payload: bytes) -> bytes:
    """A struct nlattr with its payload, padded to a multiple of 4 bytes."""
    return ATTRIBUTE.pack(4 + len(payload), kind) + payload + bytes(-len(payload) % 4)


def attributes(buffer: bytes, start: int, end: int) -> dict[int, tuple[int, int]]:
    """Where the payload of each attribute begins and ends, by type without the flags NLA_F_NESTED and
    NLA_F_NET_BYTEORDER.
    """
    found = {}
    while start + 4 <= end:
        length, kind = ATTRIBUTE.unpack_from(buffer, start)
        if length < 4 or start + length > end:
            break
        found[kind & _NLA_TYPE_MASK] = (start + 4, start + length)
        start += aligned(length)
    return found


class Netlink:
    """A socket to one netlink family; use it in a ``with`` statement."""

    def __init__(self, family: int) -> None:
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family)
        except OSError as exc:
            raise NetlinkError(Refusal(exc.errno or 0, "")) from None
        # Random, so that no other process can forge an answer in advance; with room to count up within 32 bits.
        self._sequence = int.from_bytes(os.urandom(4), "big") >> 2
        self._buffer_sizes()
        for option in (_NETLINK_CAP_ACK, _NETLINK_EXT_ACK):
            self._option(_SOL_NETLINK, option, 1)

    def _option(self, level: int, option: int, value: int) -> bool:
        """Set a socket option; False if the kernel lacks it or denies it to this user."""
        try:
            self._socket.setsockopt(level, option, value)
        except OSError:
            return False
        return True

    def _buffer_sizes(self) -> None:
        for forced, polite in ((_SO_RCVBUFFORCE, socket.SO_RCVBUF), (_SO_SNDBUFFORCE, socket.SO_SNDBUF)):
            if not self._option(socket.SOL_SOCKET, forced, _BUFFER):
                self._option(socket.SOL_SOCKET, polite, _BUFFER)
        self._receive_space = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        # The kernel keeps half of what it reports for its own bookkeeping (socket(7)).
        self._send_space = min(_BATCH_BYTES, self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) // 2)

    def __enter__(self) -> Netlink:
        return self

    def __exit__(self, *dummy: t.Any) -> None:
        self._socket.close()

    def join(self, groups: t.Iterable[int]) -> None:
        """Subscribe to the events of multicast groups."""
        try:
            # The kernel sends no events to a socket without an address.
            self._socket.bind((0, 0))
            for group in groups:
                self._socket.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, group)
        except OSError as exc:
            raise NetlinkError(Refusal(exc.errno or 0, "")) from None

    def batches(
        self, requests: t.Sequence[bytes], with_answers: bool = False, inseparable: t.Container[int] = ()
    ) -> t.Iterator[tuple[int, int]]:
        """Cut requests into runs ``[first, last)`` that fit one send, and whose answers fit the socket.

        A request whose index is in ``inseparable`` goes in one send with the request before it.
        """
        most = max(1, self._receive_space // (_ANSWER_SPACE if with_answers else _REFUSAL_SPACE))
        if 0 < len(requests) <= most and sum(map(len, requests)) <= self._send_space:
            yield 0, len(requests)
            return
        first = size = 0
        for index, length in enumerate(map(len, requests)):
            if (
                index > first
                and (size + length > self._send_space or index - first >= most)
                and index not in inseparable
            ):
                yield first, index
                first, size = index, 0
            size += length
        if first < len(requests):
            yield first, len(requests)

    def send(self, requests: t.Sequence[bytes]) -> tuple[dict[int, Refusal], dict[int, Part]]:
        """Send one batch, which the kernel carries out in order. Returns its refusals and the objects that
        it answered, each by the index of the request.

        Raises AnswersLost if the outcome is unknown.
        """
        refusals: dict[int, Refusal] = {}
        answers: dict[int, Part] = {}
        if not requests:
            return refusals, answers
        base = self._sequence + 1
        self._sequence += len(requests)
        last = len(requests) - 1
        try:
            self._socket.send(_batch(requests, base))
        except OSError as exc:
            raise NetlinkError(Refusal(exc.errno or 0, "")) from None
        try:
            while True:
                for kind, message_flags, sequence, part in split(self.datagram(socket.MSG_DONTWAIT)):
                    index = sequence - base
                    if not 0 <= index <= last:
                        continue
                    if kind != NLMSG_ERROR:
                        answers[index] = part
                        continue
                    refusal = _refusal(kind, message_flags, part)
                    if refusal.errno:
                        refusals[index] = refusal
                    if index == last:
                        return refusals, answers
        except NetlinkError as exc:
            raise exc if isinstance(exc, AnswersLost) else AnswersLost(exc.refusal) from None

    def dump(self, request: bytes, kind: int, read: Read[Object]) -> list[Object]:
        """All objects of a table, from its messages of type ``kind``. Retries when the kernel marks the
        dump inconsistent.
        """
        attempts = 0
        while attempts < _DUMP_ATTEMPTS:
            objects = self._dump_once(request, kind, read)
            if objects is not None:
                return objects
            attempts += 1
        raise NetlinkError(Refusal(errno.EINTR, f"the table changed during each of {attempts} dumps"))

    def _dump_once(self, request: bytes, wanted: int, read: Read[Object]) -> list[Object] | None:
        self._sequence += 1
        expected = self._sequence
        size, kind, flags, *dummy = HEADER.unpack_from(request)
        header = HEADER.pack(size, kind, flags | NLM_F_DUMP, expected, 0)
        try:
            self._socket.send(header + request[HEADER_SIZE:])
        except OSError as exc:
            raise NetlinkError(Refusal(exc.errno or 0, "")) from None
        found: list[Object] = []
        whole = True
        while True:
            buffer, offset = self.datagram(), 0
            while offset + HEADER_SIZE <= len(buffer):
                kind, flags, sequence, part = _message(buffer, offset)
                size = aligned(part.end) - offset
                offset += size
                if sequence != expected:
                    continue
                if flags & NLM_F_DUMP_INTR:
                    whole = False
                if kind == wanted:
                    objects = read(part)
                    found += objects
                    offset += size * (len(objects) - 1)
                elif kind in (NLMSG_DONE, NLMSG_ERROR):
                    refusal = _refusal(kind, flags, part)
                    if refusal.errno:
                        raise NetlinkError(refusal)
                    return found if whole else None

    def datagram(self, flags: int = 0) -> bytes:
        """The next datagram, empty if another process sent it. Raises AnswersLost if the socket had no room
        for it, or with MSG_DONTWAIT if there is none.
        """
        try:
            buffer, sender = self._socket.recvfrom(_RECEIVE, flags)
        except BlockingIOError:
            raise AnswersLost() from None
        except OSError as exc:
            if exc.errno == errno.ENOBUFS:
                raise AnswersLost() from None
            raise NetlinkError(Refusal(exc.errno or 0, "")) from None
        # Any process with CAP_NET_ADMIN can send to our port from its own (netlink(7)); the kernel's is 0.
        if sender[0] != 0:
            return b""
        # The rest of a larger datagram would be lost without a sign.
        if len(buffer) == _RECEIVE:
            raise NetlinkError(Refusal(errno.EMSGSIZE, "a datagram is larger than those of a kernel should be"))
        return buffer


def _batch(requests: t.Sequence[bytes], base: int) -> bytearray:
    """Requests for one send, with sequence numbers from ``base`` on; the last asks for an acknowledgement."""
    batch = bytearray().join(requests)
    numbers = range(base, base + len(requests))
    sizes = set(map(len, requests))
    if len(sizes) == 1:
        # In C, since there may be many thousands.
        words = memoryview(batch).cast("I")
        words[_SEQUENCE // 4 :: sizes.pop() // 4] = memoryview(struct.pack(f"={len(requests)}I", *numbers)).cast("I")
    else:
        starts = itertools.accumulate(map(len, requests[:-1]), initial=_SEQUENCE)
        for start, number in zip(starts, numbers):
            _NUMBER.pack_into(batch, start, number)
    size, kind, flags, sequence, port = HEADER.unpack_from(batch, len(batch) - len(requests[-1]))
    HEADER.pack_into(batch, len(batch) - len(requests[-1]), size, kind, flags | NLM_F_ACK, sequence, port)
    return batch


def split(buffer: bytes) -> t.Iterator[tuple[int, int, int, Part]]:
    """The messages of one datagram: type, flags, sequence, body. Raises NetlinkError at one that is cut short."""
    offset = 0
    while offset + HEADER_SIZE <= len(buffer):
        message = _message(buffer, offset)
        yield message
        offset = aligned(message[3].end)


def alike(part: Part) -> int:
    """How many messages of this size fill the rest of its datagram, if the last of them has the same header; else 1.

    Those between are not looked at, so they may have other sizes; but the end of a dump, which has another type,
    is always last. It is for passing over a datagram that may be read later.
    """
    buffer, start, end = part
    first = start - HEADER_SIZE
    size = aligned(end) - first
    count, rest = divmod(len(buffer) - first, size)
    return 1 if rest or not buffer.startswith(buffer[first:start], len(buffer) - size) else count


def _message(buffer: bytes, offset: int) -> tuple[int, int, int, Part]:
    length, kind, flags, sequence, dummy = HEADER.unpack_from(buffer, offset)
    if length < HEADER_SIZE or offset + length > len(buffer):
        raise NetlinkError(Refusal(errno.EBADMSG, "a message is cut short"))
    return kind, flags, sequence, _make(Part, (buffer, offset + HEADER_SIZE, offset + length))


def _refusal(kind: int, flags: int, part: Part) -> Refusal:
    """The refusal in struct nlmsgerr, or in the number that ends a dump, with the extended text after it;
    errno 0 for an acknowledgement.
    """
    buffer, start, end = part
    if end - start < 4:
        return Refusal(0, "")
    number = -_INT.unpack_from(buffer, start)[0]
    if not flags & NLM_F_ACK_TLVS:
        return Refusal(number, "")
    texts = start + 4
    if kind == NLMSG_ERROR:
        # The header of the request is repeated, and its body unless capped.
        texts += HEADER_SIZE if flags & NLM_F_CAPPED else (HEADER.unpack_from(buffer, texts)[0] + 3) & ~3
    where = attributes(buffer, texts, end).get(_NLMSGERR_ATTR_MSG)
    return Refusal(
        number, "" if where is None else buffer[where[0] : where[1]].rstrip(b"\0").decode("utf-8", "replace")
    )


def errno_name(number: int) -> str:
    """``EPERM`` for 1, and so on; the number if it has no name."""
    return errno.errorcode.get(number, str(number))


def errno_text(number: int) -> str:
    """The C library's text for an errno."""
    return os.strerror(number)
