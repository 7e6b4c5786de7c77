# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A dump of many SAs counts as true until anything changes an SA, and no longer."""

from __future__ import annotations

import errno
import os
import socket
import struct
import time
import typing as t

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import SadbError
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import Entry, Lifetimes, Mark, Selector
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.pfkey.backend import PfkeySadb
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.xfrm import changes, uapi
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.xfrm.backend import XfrmSadb
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.xfrm.lifetimes import update
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.xfrm.netlink import (
    NETLINK_XFRM,
    Netlink,
    attribute,
    make_request,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.xfrm.selectors import pack_selector
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.xfrm.watch import MANY, Watch
from ansible_collections.ipsec.manual.plugins.module_utils._core.spd.kernel import Spd
from ansible_collections.ipsec.manual.plugins.module_utils._core.spd.policy import Template, build, plan
from ansible_collections.ipsec.manual.tests.kernel import witness
from ansible_collections.ipsec.manual.tests.kernel.witness import add, delete, sa_of

SA = "src 192.0.2.1 dst 192.0.2.2 proto esp spi"
HERE, THERE, ELSEWHERE = (bytes((192, 0, 2, number)) for number in (1, 2, 3))
PAIR = Selector(HERE, 32, THERE, 32)
TUNNEL = build("out", PAIR, [Template("esp", "tunnel", HERE, THERE, reqid=9)])
NOBODY = 65534
# Linux' numbers: XFRM_MSG_MIGRATE, XFRMA_MIGRATE, XFRM_MSG_NEWAE, NLM_F_REPLACE.
_MIGRATE, _MIGRATIONS, _NEWAE, _REPLACE = 0x21, 17, 0x1E, 0x100


@pytest.fixture(name="entries")
def make_entries(sadb: XfrmSadb) -> list[Entry]:
    sadb.apply(add(*(sa_of(0x1000 + number) for number in range(MANY)), sa_of(0xA000, mode="tunnel", reqid=9)))
    return sadb.dump()


def watch_of(sadb: XfrmSadb) -> Watch:
    assert sadb._watch is not None
    return sadb._watch


def migrate() -> None:
    """Move the SA in tunnel mode, whose policy must exist, from one source to another, as Mobile IPv6 does."""
    Spd().apply(plan([TUNNEL], [], "present"))
    body = uapi.USERPOLICY_ID.pack(pack_selector(PAIR, uapi.FAMILIES[4]), 0, 1)
    addresses = THERE, HERE, THERE, ELSEWHERE
    numbers = 50, 1, 0, 9, uapi.FAMILIES[4], uapi.FAMILIES[4]
    move = attribute(_MIGRATIONS, struct.pack("@16s16s16s16sBBHIHH", *addresses, *numbers))
    with Netlink(NETLINK_XFRM) as link:
        refusals = link.send([make_request(_MIGRATE, body + move)])[0]
    if refusals and refusals[0].errno == errno.ENOPROTOOPT:
        pytest.skip("this kernel does not move SAs")
    assert not refusals
    assert "src 192.0.2.3 dst 192.0.2.2" in witness.state_text()


def expire() -> None:
    XfrmSadb().apply(add(sa_of(0xB000, lifetimes=Lifetimes(hard_addtime=1))))
    quick = XfrmSadb()
    quick.dump()
    deadline = time.monotonic() + 30
    while ("esp", 0xB000) in witness.states():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    # This SA came after the dump that the test began with, but before this one.
    assert not watch_of(quick).vouches_for((), len(watch_of(quick).entries))


def revise() -> None:
    fresh = XfrmSadb().dump()
    update([(fresh[0], Lifetimes(hard_bytes=10**9))])


CHANGES: dict[str, t.Callable[[], object]] = {
    "an addition": lambda: witness.run("ip", "-batch", "-", stdin=witness.as_command(sa_of(0xB000))),
    "a deletion": lambda: witness.ip(f"xfrm state delete {SA} 0x1007"),
    "a deletion and an addition": lambda: (
        witness.ip(f"xfrm state delete {SA} 0x1007"),
        witness.run("ip", "-batch", "-", stdin=witness.as_command(sa_of(0x1007))),
    ),
    "a flush": lambda: witness.ip("xfrm state flush"),
    "a flush of one protocol": lambda: witness.ip("xfrm state flush proto esp"),
    "lifetimes": revise,
    "an expiry": expire,
    "an addition over PF_KEY": lambda: PfkeySadb().apply(add(sa_of(0xB000))),
    "a flush over PF_KEY": lambda: PfkeySadb().flush(),
    "a move": migrate,
    "more changes than the socket has room for": lambda: XfrmSadb().apply(
        add(*(sa_of(0xB000 + number) for number in range(2 * MANY)))
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_every_change_of_an_sa_is_heard(sadb: XfrmSadb, entries: list[Entry], name: str) -> None:
    watch = watch_of(sadb)
    assert watch.vouches_for(entries, len(entries))
    CHANGES[name]()
    assert not watch.vouches_for(entries, len(entries))


def test_reading_and_policies_are_no_change(sadb: XfrmSadb, entries: list[Entry]) -> None:
    watch = watch_of(sadb)
    XfrmSadb().dump()
    witness.ip("xfrm policy add src 192.0.2.9 dst 192.0.2.10 dir out action block")
    witness.ip("xfrm policy flush")
    assert watch.vouches_for(entries, len(entries))
    assert not sadb.keys_hidden()
    assert watch_of(sadb) is watch


def test_it_vouches_for_what_was_dumped_only(sadb: XfrmSadb, entries: list[Entry]) -> None:
    watch = watch_of(sadb)
    assert watch.vouches_for(entries[::3], len(entries)) and watch.vouches_for((), len(entries))
    other = entries[7]._replace(sa=sa_of(entries[7].sa.spi))
    assert not watch.vouches_for([*entries[:7], other, *entries[8:]], len(entries))
    assert not watch.vouches_for([other], len(entries))
    # They are looked at individually then, which costs time, not correctness.
    assert not watch.vouches_for(entries[::-1], len(entries))
    with pytest.raises(SadbError) as caught:
        sadb.apply(delete(*entries[:7], other, *entries[8:]))
    assert caught.value.errno_name == "ESTALE" and len(sadb.dump()) == len(entries)


def test_it_vouches_for_none_where_one_has_a_mark(sadb: XfrmSadb, entries: list[Entry]) -> None:
    sadb.apply(add(sa_of(0xB000, mark=Mark(5, 0xFF))))
    assert not watch_of_dump(sadb).vouches_for(entries, len(entries) + 1)


def watch_of_dump(sadb: XfrmSadb) -> Watch:
    sadb.dump()
    return watch_of(sadb)


def test_few_sas_and_parts_of_a_sadb_are_not_watched(sadb: XfrmSadb, entries: list[Entry]) -> None:
    sadb.apply(delete(*entries[10:]))
    assert sadb._watch is None
    sadb.dump()
    assert sadb._watch is None
    sadb.apply(add(*(sa_of(0xB000 + number) for number in range(MANY))))
    assert watch_of_dump(sadb).entries
    sadb.dump(destination=THERE)
    # The whole dump before is not less true for it.
    assert watch_of(sadb).entries


def test_nothing_is_decoded_again_where_nothing_changed(
    sadb: XfrmSadb, entries: list[Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        for name in ("decode", "decode_all"):
            patch.setattr(changes, name, lambda dummy: pytest.fail("decoded"))
        sadb.apply(delete(*entries))
    assert witness.states() == {}
    # And if it fails, everything is restored from what the kernel had just before.
    sadb.apply(add(*(entry.sa for entry in entries)))
    before, dumped = witness.state_text(), sadb.dump()
    with pytest.raises(RuntimeError), sadb.transaction(delete(*dumped)):
        assert witness.states() == {}
        raise RuntimeError
    assert sorted(witness.state_text().split("src ")) == sorted(before.split("src "))


def change_silently(spi: int, *parts: bytes) -> None:
    """What only those hear who make the kernel announce traffic, too."""
    body = uapi.USERSA_ID.pack(THERE, socket.htonl(spi), uapi.FAMILIES[4], 50) + HERE + bytes(12 + 8)
    with Netlink(NETLINK_XFRM) as link:
        assert not link.send([make_request(_NEWAE, body + b"".join(parts), _REPLACE)])[0]


def test_what_is_not_heard_is_restored_all_the_same(sadb: XfrmSadb, entries: list[Entry]) -> None:
    sadb.apply(add(sa_of(0xB000, esn=True, replay_window=128)))
    entries = sadb.dump()
    state = uapi.REPLAY_STATE_ESN.pack(4, 9, 0, 0, 0, 64) + bytes(16)
    change_silently(0xB000, attribute(uapi.XFRMA_REPLAY_ESN_VAL, state))
    usage = attribute(uapi.XFRMA_LTIME_VAL, uapi.LIFETIME_CUR.pack(1000, 10, 0, 0))
    change_silently(0x1007, usage, attribute(uapi.XFRMA_REPLAY_VAL, uapi.REPLAY_STATE.pack(10, 0, 0)))
    assert watch_of(sadb).vouches_for(entries, len(entries))
    before = witness.attributes()
    with pytest.raises(RuntimeError), sadb.transaction(delete(*entries)):
        assert witness.states() == {}
        raise RuntimeError
    assert witness.attributes() == before
    assert {entry.sa.spi: entry.counters.sequence_out for entry in sadb.dump()}[0x1007] == 10


def test_an_sa_that_goes_unheard_stops_the_deletion(
    sadb: XfrmSadb, entries: list[Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one of a device that is removed."""
    monkeypatch.setattr(Watch, "_is_quiet", lambda watch: True)
    witness.ip(f"xfrm state delete {SA} 0x1007")
    assert not watch_of(sadb).vouches_for(entries, len(entries) - 1)
    before = witness.states()
    # Even if it goes in the moment after the SAs were counted.
    monkeypatch.setattr(Watch, "vouches_for", lambda *dummy: True)
    with pytest.raises(SadbError, match="The SADB is as it was before") as caught:
        sadb.apply(delete(*entries))
    assert caught.value.errno_name == "ESRCH" and witness.states().keys() == before.keys()


def test_without_privilege_it_is_never_quiet(entries: list[Entry]) -> None:
    os.seteuid(NOBODY)
    try:
        watch = Watch()
    finally:
        os.seteuid(0)
    watch.entries = entries
    assert not watch.vouches_for(entries, len(entries))


def test_another_namespace_is_not_heard(sadb: XfrmSadb, entries: list[Entry]) -> None:
    witness.run("unshare", "--net", "ip", "-batch", "-", stdin=witness.as_command(sa_of(0xB000)))
    assert watch_of(sadb).vouches_for(entries, len(entries))
