# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Events of the kernel about SAs, caused with ip(8); and changes of lifetimes in place."""

from __future__ import annotations

import contextlib
import socket
import typing as t

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import SadbError
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import Lifetimes
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.xfrm import events, lifetimes, netlink
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.xfrm.backend import XfrmSadb
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.xfrm.lifetimes import update
from ansible_collections.ipsec.manual.tests.kernel import witness
from ansible_collections.ipsec.manual.tests.kernel.test_faults import as_nobody
from ansible_collections.ipsec.manual.tests.kernel.witness import add, as_command, sa_of


def batch(text: str) -> None:
    witness.run("ip", "-batch", "-", stdin=text)


def next_events(heard: t.Iterator[events.Event], *kinds: str) -> list[events.Event]:
    """The next events, whose kinds must be these."""
    found = [next(heard) for dummy in kinds]
    assert [event.kind for event in found] == list(kinds)
    return found


def test_additions_changes_and_deletions_are_events(sadb: XfrmSadb) -> None:
    sa = sa_of(0x1000)
    heard = events.listen()
    batch(as_command(sa) + as_command(sa).replace(" add ", " update "))
    batch("xfrm state delete src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x1000\n")
    for event in next_events(heard, events.ADD, events.UPDATE, events.DELETE):
        assert event.entry is not None and event.entry.sa == sa
        assert event.size > 224 and event.sequence


def test_flushes_of_one_protocol_and_of_all(sadb: XfrmSadb) -> None:
    sadb.apply(add(sa_of(0x1000), sa_of(0x1001, "")))
    heard = events.listen()
    batch("xfrm state flush proto ah\n")
    batch("xfrm state flush\n")
    flushes = [event.protocol for event in (next(heard) for dummy in range(2)) if event.kind == events.FLUSH]
    assert flushes == ["ah", ""]


def test_limits_that_are_reached(sadb: XfrmSadb, peer: t.Callable[..., str]) -> None:
    sa = sa_of(0x1000, lifetimes=Lifetimes(soft_packets=2))
    sadb.apply(add(sa))
    heard = events.listen()
    peer(as_command(sa), packets=3)
    sadb.apply(add(sa_of(0x1001, lifetimes=Lifetimes(hard_addtime=1))))
    soft, dummy, hard = next_events(heard, events.SOFT_EXPIRE, events.ADD, events.HARD_EXPIRE)
    assert [(event.entry.sa.spi, event.entry.larval) for event in (soft, hard) if event.entry is not None] == [
        (0x1000, False),
        (0x1001, False),
    ]
    assert soft.entry is not None and soft.entry.sa.lifetimes == sa.lifetimes


def test_traffic_without_an_sa_is_an_event(sadb: XfrmSadb) -> None:
    batch("link add dummy0 type dummy\naddr add 192.0.2.1/24 dev dummy0\nlink set dummy0 up\n")
    batch("xfrm policy add src 192.0.2.1 dst 192.0.2.2 dir out tmpl proto esp mode transport\n")
    heard, unasked = events.listen(), events.listen(acquires=False)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender, contextlib.suppress(OSError):
        sender.setblocking(False)
        sender.sendto(b"anyone?", ("192.0.2.2", 9))
    (event,) = next_events(heard, events.ACQUIRE)
    assert event.entry is not None and event.entry.larval
    assert (event.entry.sa.protocol, event.entry.sa.destination) == ("esp", socket.inet_aton("192.0.2.2"))
    batch("xfrm state flush\n")
    assert next(unasked).kind != events.ACQUIRE


def test_lost_events_are_reported(sadb: XfrmSadb, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(netlink, "_BUFFER", 1)
        heard = events.listen()
    sadb.apply(add(*(sa_of(0x1000 + number) for number in range(500))))
    assert events.LOST in (next(heard).kind for dummy in range(500))


def test_without_privilege_there_are_no_events(sadb: XfrmSadb) -> None:
    assert "Run it as root" in as_nobody(events.listen)


def test_lifetimes_change_for_all_sas_or_for_none(sadb: XfrmSadb, monkeypatch: pytest.MonkeyPatch) -> None:
    sadb.apply(add(sa_of(0x1000, lifetimes=Lifetimes(hard_bytes=1000)), sa_of(0x1001)))
    longer = [(entry, Lifetimes(hard_bytes=5000)) for entry in sorted(sadb.dump(), key=lambda entry: entry.sa.spi)]
    held = lifetimes.current

    def gone(*arguments: t.Any, **options: t.Any) -> t.Any:
        """An SA that another program deletes as soon as it has been read."""
        found = held(*arguments, **options)
        batch("xfrm state delete src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x1001\n")
        return found

    # The first change is undone. Then the second is refused before the first is tried.
    with monkeypatch.context() as patch:
        patch.setattr(lifetimes, "current", gone)
        with pytest.raises(SadbError, match="the SA is no longer there.*No lifetime was changed"):
            update(longer)
    assert "hard 1000(bytes)" in witness.states()["esp", 0x1000]
    with pytest.raises(SadbError, match="the SA is no longer there.*No lifetime was changed"):
        update(longer)
    assert "hard 1000(bytes)" in witness.states()["esp", 0x1000]
    update(longer[:1])
    assert "hard 5000(bytes)" in witness.states()["esp", 0x1000]
