# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Deletions of so many SAs that one dump replaces individual requests: no SA is deleted that
differs from the one that was read.
"""

from __future__ import annotations

import re
import time

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import SadbError
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import Mark
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.xfrm import watch
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.xfrm.backend import XfrmSadb
from ansible_collections.ipsec.manual.tests.kernel import witness
from ansible_collections.ipsec.manual.tests.kernel.witness import add, delete, sa_of

MANY = watch.MANY + 50


def test_nothing_is_deleted_if_one_is_gone_or_changed(sadb: XfrmSadb) -> None:
    sadb.apply(add(*(sa_of(0x1000 + number) for number in range(MANY))))
    entries = sadb.dump()
    for errno_name, commands in (("ESRCH", ""), ("ESTALE", witness.as_command(sa_of(0x1007)))):
        witness.run("ip", "xfrm", "state", "delete", "dst", "192.0.2.2", "proto", "esp", "spi", "0x1007")
        witness.run("ip", "-batch", "-", stdin=commands)
        before = witness.state_text()
        with pytest.raises(SadbError) as caught:
            sadb.apply(delete(*entries))
        assert caught.value.errno_name == errno_name
        assert "0x00001007" in caught.value.place
        assert witness.state_text() == before
        if not commands:
            witness.run("ip", "-batch", "-", stdin=witness.as_command(sa_of(0x1007)))


def await_room() -> None:
    """Of similar SAs, the kernel finds the newest first. But its table grows some time after an SA
    was added, and then the first becomes the last.
    """
    for number in range(200):
        witness.run("ip", "-batch", "-", stdin=witness.as_command(sa_of(0x9000 + number)))
        witness.run("ip", "xfrm", "state", "delete", "dst", "192.0.2.2", "proto", "esp", "spi", str(0x9000 + number))
        time.sleep(0.05)
        count, buckets = map(int, re.findall(r"count (\d+)", witness.run("ip", "-s", "xfrm", "state", "count")))
        if buckets > count:
            return
    pytest.fail(f"the kernel's table does not grow: {count} SAs in {buckets} buckets")


def test_nothing_is_deleted_if_a_mark_hides_one(sadb: XfrmSadb) -> None:
    marked, plain = sa_of(0x1000, mark=Mark(5, 0xFF)), sa_of(0x1000)
    sadb.apply(add(marked, *(sa_of(0x1001 + number) for number in range(MANY))))
    entries = sadb.dump()
    await_room()
    sadb.apply(add(plain))
    before = witness.state_text()
    with pytest.raises(SadbError) as caught:
        sadb.apply(delete(*entries))
    assert caught.value.errno_name == "ESTALE"
    assert witness.state_text() == before


def test_deleted_sas_are_restored_with_their_last_state(sadb: XfrmSadb) -> None:
    """The sequence numbers are those of the moment of the deletion, not those of the plan."""
    sadb.apply(add(*(sa_of(0x1000 + number, extra=(("replay_value", "7"),)) for number in range(MANY))))
    entries = sadb.dump()
    sadb.apply(delete(*entries))
    sadb.apply(add(*(entry.sa._replace(extra=(("replay_value", "9"),)) for entry in entries)))
    before = set(sadb.dump())
    with pytest.raises(RuntimeError), sadb.transaction(delete(*entries)):
        assert witness.states() == {}
        raise RuntimeError
    assert set(sadb.dump()) == before
    assert {entry.counters.sequence_out for entry in before} == {9}


def test_some_are_deleted_in_another_order_than_the_dump_shows_them(sadb: XfrmSadb) -> None:
    sadb.apply(add(*(sa_of(0x1000 + number) for number in range(3 * MANY))))
    entries = sadb.dump()
    gone = [*entries[::3], *reversed(entries[1::3])]
    with pytest.raises(RuntimeError), sadb.transaction(delete(*gone)):
        assert set(sadb.dump()) == set(entries[2::3])
        raise RuntimeError
    assert set(sadb.dump()) == set(entries)
