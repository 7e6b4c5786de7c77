# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the SAs of a host tell."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core.audit import sas as audit_sas
from ansible_collections.ipsec.manual.plugins.module_utils._core.program.loading import rotation_due
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.digest import digest
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import (
    Counters,
    Entry,
    Lifetimes,
    build,
    pack_address,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.plan import PRESENT, plan

NOW = 1_795_000_000
HERE, PEER, OTHER = (pack_address(f"192.0.2.{end}") for end in (1, 2, 3))
GROUP = pack_address("224.0.0.5")
LOCAL = frozenset((HERE,))


def entry(
    source: bytes = HERE, destination: bytes = PEER, spi: int = 0x1001, larval: bool = False, **fields: t.Any
) -> Entry:
    counters = Counters(**{name: fields.pop(name) for name in Counters._fields if name in fields})
    return Entry(build("esp", spi, destination, source, **{"encryption": "aes-cbc", **fields}), counters, larval)


def test_both_directions_are_one_pair_and_larval_sas_are_none() -> None:
    entries = [
        entry(add_time=NOW - 90),
        entry(PEER, HERE, 0x1002, add_time=NOW - 60),
        entry(OTHER, HERE, 0x1003, larval=True),
    ]
    (found,) = audit_sas.pairs(entries, LOCAL, NOW)
    assert (found.peer, found.outbound, found.inbound, found.unknown) == (PEER, 1, 1, 0)
    assert (found.oldest, found.youngest, found.scarcest.percent_left, found.due) == (90, 60, 100, ())
    assert [found.name] == list(digest(row.sa for row in entries if not row.larval))


def test_the_peer_is_the_end_that_is_not_here() -> None:
    assert [row.peer for row in audit_sas.pairs([entry(PEER, HERE)], LOCAL, NOW)] == [PEER]
    # Neither or both ends are here: where the SA leads to.
    assert [row.peer for row in audit_sas.pairs([entry(PEER, OTHER)], LOCAL, NOW)] == [OTHER]
    assert [row.peer for row in audit_sas.pairs([entry(HERE, HERE)], LOCAL, NOW)] == [HERE]
    assert [row.peer for row in audit_sas.pairs([entry(HERE, GROUP)], LOCAL, NOW)] == [GROUP]
    assert [row.unknown for row in audit_sas.pairs([entry(PEER, OTHER)], LOCAL, NOW)] == [1]


def test_what_is_due_comes_first_then_what_is_scarce() -> None:
    entries = [
        entry(destination=PEER, spi=0x1001),
        entry(destination=OTHER, spi=0x1002, packets=2**31),
        entry(destination=pack_address("2001:db8::2"), source=pack_address("2001:db8::1"), spi=0x1003, packets=2**32),
    ]
    found = audit_sas.pairs(entries, LOCAL, NOW)
    assert [row.scarcest.percent_left for row in found] == [0, 49, 100]
    assert [str(reason).rpartition(": ")[2] for reason in found[0].due] == ["0 % of its sequence numbers left"]


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({}, []),
        ({"packets": int(0.48 * 2**32)}, []),
        ({"packets": int(0.51 * 2**32)}, ["sequence numbers"]),
        ({"packets": 2**40, "esn": True}, []),
        ({"encryption": "3des-cbc", "bytes": 2**23 - 1}, []),
        ({"encryption": "3des-cbc", "bytes": 2**23}, ["64-bit blocks"]),
        ({"lifetimes": Lifetimes(soft_bytes=5, hard_bytes=500), "bytes": 5}, ["bytes"]),
        ({"lifetimes": Lifetimes(soft_bytes=400, hard_bytes=500), "bytes": 5}, []),
        ({"lifetimes": Lifetimes(hard_addtime=100), "add_time": NOW - 95}, ["addtime"]),
        ({"lifetimes": Lifetimes(hard_addtime=100), "add_time": NOW - 49}, []),
        ({"lifetimes": Lifetimes(hard_usetime=100)}, []),  # never used
    ],
)
def test_due(fields: dict[str, t.Any], names: list[str]) -> None:
    assert [row.limit.name for row in audit_sas.due(entry(**fields), NOW)] == names


def test_the_mark_counts_as_long_as_the_sadb_holds_an_sa_that_it_names() -> None:
    entries = [entry(spi=0x1001), entry(spi=0x1002)]
    mark = rotation_due(plan([row.sa for row in entries], [], PRESENT))
    assert audit_sas.marked(mark, [*entries, entry(spi=0x1003)]) == entries
    assert audit_sas.marked(mark, [entry(spi=0x1003)]) == [] == audit_sas.marked("", entries)
