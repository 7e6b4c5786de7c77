# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Datagrams of events that are truncated, have other messages, or end differently on other machines.
tests/kernel tests the events of a kernel.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import struct
import typing as t

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import build, pack_address
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.xfrm import events, messages
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.xfrm.netlink import (
    HEADER_SIZE,
    AnswersLost,
    NetlinkError,
    Refusal,
    attribute,
)
from ansible_collections.ipsec.manual.tests.unit.plugins.module_utils._core.sadb.xfrm import layouts

FLUSH_OF_AH = struct.pack("=IHHII", 20, 0x1C, 0, 5, 4711) + bytes((51, 0, 0, 0))
POLICY = struct.pack("=IHHII", 20, 0x13, 0, 0, 0) + bytes(4)
THE_FLUSH = events.Event(events.FLUSH, None, "ah", 20, 5, 4711)
# xfrm_usersa_id alone, without the SA that the kernel adds.
GONE = struct.pack("=IHHII", 40, 0x11, 0, 0, 0) + bytes(24)


@pytest.mark.parametrize(
    ("buffer", "wanted"),
    [
        (b"", []),
        (FLUSH_OF_AH, [THE_FLUSH]),
        (FLUSH_OF_AH[:15], []),
        (FLUSH_OF_AH[:18], []),
        (struct.pack("=IHHII", 3, 0x1C, 0, 0, 0) + FLUSH_OF_AH, []),
        (POLICY + FLUSH_OF_AH, [THE_FLUSH]),
        (GONE, [events.Event(events.DELETE, size=40)]),
    ],
)
def test_messages_that_are_not_events_are_skipped(buffer, wanted):
    assert list(events.read_events(buffer)) == wanted


KEYS = {"encryption_key": bytes(range(32)), "authentication_key": bytes(range(32, 64))}
SA = build(
    "esp", 0x1000, pack_address("192.0.2.2"), pack_address("192.0.2.1"), "aes-cbc", "hmac-sha256", reqid=7, **KEYS
)


def sent(kind: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


def shown() -> tuple[layouts.UserSaInfo, bytes]:
    """What the kernel reports of an SA: the structure of this machine, followed by its attributes."""
    body = messages.new_sa(SA)[HEADER_SIZE:]
    size = ctypes.sizeof(layouts.UserSaInfo)
    return layouts.UserSaInfo.from_buffer_copy(body[:size]), body[size:]


def test_a_deleted_sa_is_read_whatever_the_size_of_its_structure() -> None:
    info, more = shown()
    (event,) = events.read_events(sent(0x11, bytes(ctypes.sizeof(layouts.UserSaId)) + attribute(6, bytes(info)) + more))
    assert event.kind == events.DELETE and event.entry is not None and event.entry.sa == SA


@pytest.mark.parametrize(("hard", "kind"), [(0, events.SOFT_EXPIRE), (1, events.HARD_EXPIRE)])
def test_an_expiry_is_read_whatever_the_size_of_its_structure(hard: int, kind: str) -> None:
    info, more = shown()
    body = bytes(layouts.UserExpire(info, hard)) + more
    first, second = events.read_events(sent(0x18, body) + FLUSH_OF_AH)
    assert (first.kind, second.kind) == (kind, events.FLUSH)
    assert first.entry is not None and first.entry.sa == SA and not first.entry.larval


class Link:
    """A socket whose datagrams, or failures, follow a script."""

    def __init__(self, *script: t.Any) -> None:
        self.script = list(script)
        self.groups: list[int] = []

    def join(self, groups: t.Iterable[int]) -> None:
        self.groups += groups

    def datagram(self) -> bytes:
        found = self.script.pop(0)
        if isinstance(found, Exception):
            raise found
        return t.cast(bytes, found)


@pytest.mark.parametrize(("acquires", "groups"), [(True, [3, 2, 1]), (False, [3, 2])])
def test_lost_events_are_reported_and_listening_continues(
    monkeypatch: pytest.MonkeyPatch, acquires: bool, groups: list[int]
) -> None:
    link = Link(AnswersLost(), b"", FLUSH_OF_AH, NetlinkError(Refusal(errno.EBADF, "")))
    closed: list[bool] = []

    @contextlib.contextmanager
    def open_link(dummy_family: int, dummy_doing: str) -> t.Iterator[Link]:
        try:
            yield link
        finally:
            closed.append(True)

    monkeypatch.setattr(events, "open_link", open_link)
    heard = events.listen(acquires)
    assert link.groups == groups and not closed
    assert [next(heard).kind, next(heard)] == [events.LOST, THE_FLUSH]
    with pytest.raises(NetlinkError):
        next(heard)
    assert closed
