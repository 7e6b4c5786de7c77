# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The exchange with a socket pair in place of the kernel: split batches, matched answers, interrupted
dumps, lost answers.
"""

from __future__ import annotations

import errno
import socket
import struct
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.xfrm import netlink
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.xfrm.netlink import (
    AnswersLost,
    Netlink,
    NetlinkError,
    Refusal,
    make_request,
)

WANTED = 16


def message(kind: int, body: bytes, sequence: int, flags: int = 0) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, flags, sequence, 0) + body + bytes(-len(body) % 4)


def error(number: int, sequence: int, text: str = "", *, capped: bool = True, request: bytes = b"") -> bytes:
    """struct nlmsgerr, as the kernel sends it with NETLINK_CAP_ACK and NETLINK_EXT_ACK."""
    body = struct.pack("=iIHHII", -number, 16 + len(request), 16, 0, sequence, 0) + (
        b"" if capped else request + bytes(-len(request) % 4)
    )
    flags = netlink.NLM_F_CAPPED if capped else 0
    if text:
        body += netlink.attribute(1, text.encode() + b"\0")
        flags |= netlink.NLM_F_ACK_TLVS
    return message(netlink.NLMSG_ERROR, body, sequence, flags)


def content(part: netlink.Part) -> bytes:
    return part.buffer[part.start : part.end]


def contents(part: netlink.Part) -> list[bytes]:
    return [content(part)]


class Exchange:
    """A Netlink whose other end the test controls. It numbers its messages from 1."""

    def __init__(self) -> None:
        self.link = Netlink(netlink.NETLINK_ROUTE)
        self.link._socket.close()
        self.socket, self.kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.senders: list[int] = []
        self.link._socket = t.cast(socket.socket, self)
        self.link._sequence = 0
        self.send, self.close = self.socket.send, self.socket.close

    def recvfrom(self, size: int, flags: int) -> tuple[bytes, tuple[int, int]]:
        """A datagram from the next of ``senders``, or from the kernel if there is none."""
        return self.socket.recv(size, flags), (self.senders.pop(0) if self.senders else 0, 0)

    def answer(self, *datagrams: bytes) -> None:
        for datagram in datagrams:
            self.kernel.send(datagram)


@pytest.fixture(name="exchange")
def make_exchange() -> t.Iterator[Exchange]:
    made = Exchange()
    with made.link:
        yield made
    made.kernel.close()


def test_no_answer_before_the_last_one_is_success(exchange: Exchange) -> None:
    exchange.answer(error(0, 3))
    assert exchange.link.send([make_request(16, b"")] * 3) == ({}, {})
    sent = exchange.kernel.recv(4096)
    headers = [struct.unpack_from("=IHHII", sent, 16 * index) for index in range(3)]
    assert [(flags, sequence) for dummy, dummy, flags, sequence, dummy in headers] == [(1, 1), (1, 2), (5, 3)]


def test_refusals_are_matched_by_sequence_number(exchange: Exchange) -> None:
    exchange.answer(
        error(errno.EEXIST, 2),
        error(errno.EINVAL, 4, "Too short"),
        error(0, 99),
        error(errno.EPERM, 5, capped=False, request=b"12345"),
    )
    refusals, answers = exchange.link.send([make_request(16, b"12345678")] * 5)
    assert refusals == {
        1: Refusal(errno.EEXIST, ""),
        3: Refusal(errno.EINVAL, "Too short"),
        4: Refusal(errno.EPERM, ""),
    }
    assert answers == {}


@pytest.mark.parametrize("capped", [True, False])
def test_the_kernels_explanation_is_read_after_the_request(exchange: Exchange, capped: bool) -> None:
    exchange.answer(error(errno.ENOSYS, 1, "Requested AEAD algorithm not found", capped=capped, request=b"abcdefg"))
    assert exchange.link.send([make_request(16, b"abcdefgh")])[0] == {
        0: Refusal(errno.ENOSYS, "Requested AEAD algorithm not found")
    }


def test_objects_are_matched_by_sequence_number(exchange: Exchange) -> None:
    exchange.answer(message(WANTED, b"two!", 2) + message(WANTED, b"one!", 1), error(errno.ESRCH, 3))
    refusals, answers = exchange.link.send([make_request(18, b"")] * 3)
    assert {index: content(part) for index, part in answers.items()} == {0: b"one!", 1: b"two!"}
    assert list(refusals) == [2]


def test_a_missing_answer_is_not_success(exchange: Exchange) -> None:
    exchange.answer(error(errno.EEXIST, 1))
    with pytest.raises(AnswersLost):
        exchange.link.send([make_request(16, b"")] * 2)


def test_messages_of_other_processes_are_ignored(exchange: Exchange) -> None:
    exchange.senders = [4711, 0, 4711, 4711, 0]
    exchange.answer(error(0, 1), error(errno.EEXIST, 1))
    assert exchange.link.send([make_request(16, b"")])[0] == {0: Refusal(errno.EEXIST, "")}
    exchange.answer(message(WANTED, b"evil", 2, 2), message(netlink.NLMSG_DONE, bytes(4), 2, 2))
    exchange.answer(message(WANTED, b"good", 2, 2) + message(netlink.NLMSG_DONE, bytes(4), 2, 2))
    assert exchange.link.dump(make_request(18, b""), WANTED, contents) == [b"good"]


def test_sequence_numbers_start_at_random() -> None:
    starts = set()
    for dummy in range(8):
        with Netlink(netlink.NETLINK_ROUTE) as link:
            starts.add(link._sequence)
    assert len(starts) == 8
    assert all(start < 1 << 30 for start in starts)


def test_an_inconsistent_dump_is_retried(exchange: Exchange) -> None:
    exchange.answer(
        message(WANTED, b"old1", 1, 2) + message(WANTED, b"old2", 1, 2 | netlink.NLM_F_DUMP_INTR),
        message(netlink.NLMSG_DONE, bytes(4), 1, 2),
        message(WANTED, b"late", 1, 2) + message(WANTED, b"new1", 2, 2),
        message(WANTED, b"new2", 2, 2),
        message(netlink.NLMSG_DONE, bytes(4), 2, 2),
    )
    assert exchange.link.dump(make_request(18, b""), WANTED, contents) == [b"new1", b"new2"]


def test_messages_that_are_read_together_are_not_read_again(exchange: Exchange) -> None:
    """Here all with equal headers, which follow each other without a gap."""

    def read(part: netlink.Part) -> list[bytes]:
        header = part.buffer[part.start - 16 : part.start]
        size = (part.end - part.start + 16 + 3) & ~3
        found = [content(part)]
        while part.buffer.startswith(header, part.start - 16 + size * len(found)):
            start = part.start + size * len(found)
            found.append(part.buffer[start : start + part.end - part.start])
        return found

    exchange.answer(
        b"".join(message(WANTED, body, 1, 2) for body in (b"one", b"two", b"three", b"four", b"fifth")),
        message(WANTED, b"six", 1, 2) + message(WANTED, b"not", 9, 2) + message(WANTED, b"ten", 1, 2),
        message(netlink.NLMSG_DONE, bytes(4), 1, 2),
    )
    bodies = [b"one", b"two", b"three", b"four", b"fifth", b"six", b"ten"]
    assert exchange.link.dump(make_request(18, b""), WANTED, read) == bodies


def test_a_dump_that_stays_inconsistent_fails(exchange: Exchange) -> None:
    for sequence in range(1, 11):
        exchange.answer(message(netlink.NLMSG_DONE, bytes(4), sequence, 2 | netlink.NLM_F_DUMP_INTR))
    with pytest.raises(NetlinkError) as caught:
        exchange.link.dump(make_request(18, b""), WANTED, contents)
    assert caught.value.refusal.errno == errno.EINTR


@pytest.mark.parametrize("kind", [netlink.NLMSG_DONE, netlink.NLMSG_ERROR])
def test_a_refused_dump_says_why(exchange: Exchange, kind: int) -> None:
    if kind == netlink.NLMSG_ERROR:
        exchange.answer(error(errno.EPERM, 1, "Not you"))
    else:
        body = struct.pack("=i", -errno.EPERM) + netlink.attribute(1, b"Not you\0")
        exchange.answer(message(WANTED, b"half", 1, 2), message(kind, body, 1, 2 | netlink.NLM_F_ACK_TLVS))
    with pytest.raises(NetlinkError) as caught:
        exchange.link.dump(make_request(18, b""), WANTED, contents)
    assert caught.value.refusal == Refusal(errno.EPERM, "Not you")


def test_a_message_that_is_cut_short_is_an_error(exchange: Exchange) -> None:
    exchange.answer(struct.pack("=IHHII", 200, WANTED, 0, 1, 0))
    with pytest.raises(AnswersLost, match="cut short"):
        exchange.link.send([make_request(16, b"")])


def test_a_socket_that_fails_after_the_send_leaves_the_outcome_unknown(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Breaking:
        def send(self, data: bytes) -> int:
            return len(data)

        def recvfrom(self, *dummy: t.Any) -> bytes:
            raise OSError(errno.EBADF, "closed")

    with monkeypatch.context() as patch:
        patch.setattr(exchange.link, "_socket", Breaking())
        with pytest.raises(AnswersLost) as caught:
            exchange.link.send([make_request(16, b"")])
    assert caught.value.refusal.errno == errno.EBADF


def test_a_failed_send_changes_nothing(exchange: Exchange) -> None:
    exchange.kernel.close()
    with pytest.raises(NetlinkError) as caught:
        exchange.link.send([make_request(16, b"")])
    assert not isinstance(caught.value, AnswersLost)


def test_the_socket_is_closed_when_something_fails() -> None:
    with pytest.raises(RuntimeError), Netlink(netlink.NETLINK_ROUTE) as link:
        raise RuntimeError
    assert link._socket.fileno() == -1


def test_a_family_that_the_kernel_lacks_raises_netlink_error() -> None:
    with pytest.raises(NetlinkError) as caught:
        Netlink(31)
    assert caught.value.refusal.errno == errno.EPROTONOSUPPORT


@given(st.lists(st.binary(max_size=40), max_size=6))
def test_attributes_read_back(payloads: list[bytes]) -> None:
    buffer = b"head" + b"".join(netlink.attribute(kind, payload) for kind, payload in enumerate(payloads, 1))
    assert len(buffer) % 4 == 0
    found = netlink.attributes(buffer, 4, len(buffer))
    assert {kind: buffer[first:last] for kind, (first, last) in found.items()} == dict(enumerate(payloads, 1))


@given(st.binary(max_size=64))
def test_attributes_of_any_bytes_stay_inside_them(buffer: bytes) -> None:
    assert all(0 <= first <= last <= len(buffer) for first, last in netlink.attributes(buffer, 0, len(buffer)).values())


requests = st.builds(
    lambda kind, words, flags: make_request(kind, words * 4, flags),
    st.integers(0, 0xFFFF),
    st.binary(max_size=9),
    st.sampled_from((0, netlink.NLM_F_EXCL, netlink.NLM_F_CREATE | netlink.NLM_F_EXCL)),
)


@given(
    st.one_of(st.lists(requests, min_size=1, max_size=9), requests.map(lambda one: [one] * 5)), st.integers(1, 1 << 30)
)
def test_a_batch_is_its_requests_numbered_and_the_last_asks_for_an_answer(several: list[bytes], base: int) -> None:
    batch, offset = bytes(netlink._batch(several, base)), 0
    for number, request in enumerate(several, base):
        size, kind, flags, *dummy = netlink.HEADER.unpack_from(request)
        flags |= netlink.NLM_F_ACK if number == base + len(several) - 1 else 0
        assert netlink.HEADER.unpack_from(batch, offset) == (size, kind, flags, number, 0)
        assert batch[offset + 16 : offset + size] == request[16:]
        offset += len(request)
    assert offset == len(batch)


@given(requests, st.binary(max_size=9))
def test_more_attributes_follow_those_of_a_request(request: bytes, words: bytes) -> None:
    longer = netlink.extended(request, words * 4)
    size, kind, flags, *dummy = netlink.HEADER.unpack_from(longer)
    assert (size, longer[16:]) == (len(longer), request[16:] + words * 4)
    assert (kind, flags) == netlink.HEADER.unpack_from(request)[1:3] and kind == netlink.kind_of(request)


@pytest.mark.parametrize(
    ("datagram", "count"),
    [
        (message(WANTED, b"one!", 1) * 3, 3),
        (message(WANTED, b"odd", 1) * 2, 2),
        (message(WANTED, b"one!", 1) * 2 + message(netlink.NLMSG_DONE, b"", 1), 1),
        (message(WANTED, b"one!", 1) + message(netlink.NLMSG_DONE, b"done", 1), 1),
        (message(WANTED, b"one!", 1) + message(WANTED, b"one!", 1, netlink.NLM_F_DUMP_INTR), 1),
        (message(WANTED, b"one!", 1) + message(WANTED, b"one!", 2), 1),
    ],
)
def test_messages_are_passed_over_together_only_if_the_last_is_like_the_first(datagram: bytes, count: int) -> None:
    assert netlink.alike(next(netlink.split(datagram))[3]) == count


@given(st.lists(st.integers(0, 100), max_size=40), st.sets(st.integers(0, 40)), st.integers(1, 5), st.integers(64, 400))
def test_batches_are_whole_in_order_and_fit(sizes: list[int], inseparable: set[int], most: int, space: int) -> None:
    with Netlink(netlink.NETLINK_ROUTE) as link:
        link._receive_space, link._send_space = most * netlink._REFUSAL_SPACE, space
        messages = [make_request(16, bytes(4 * size)) for size in sizes]
        batches = list(link.batches(messages, inseparable=inseparable))
    assert [index for first, last in batches for index in range(first, last)] == list(range(len(messages)))
    for first, last in batches:
        assert first < last
        assert first not in inseparable or first == 0
        # Only messages that must stay together make a batch larger than the limit.
        fitting = [index for index in range(first + 1, last) if index not in inseparable]
        if fitting:
            assert fitting[-1] - first < most
            assert sum(16 + 4 * sizes[index] for index in range(first, fitting[-1] + 1)) <= space


def test_a_datagram_that_may_be_cut_is_an_error(exchange: Exchange) -> None:
    """If it is cut between two messages, nothing else tells that a dump lacks some."""
    one = message(WANTED, bytes(1008), 1)
    exchange.answer(one * (netlink._RECEIVE // len(one) + 1), message(netlink.NLMSG_DONE, bytes(4), 1))
    with pytest.raises(NetlinkError) as caught:
        exchange.link.dump(make_request(18, b""), WANTED, contents)
    assert caught.value.refusal.errno == errno.EMSGSIZE
