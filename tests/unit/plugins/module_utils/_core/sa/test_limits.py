# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The limits of an SA."""

from __future__ import annotations

import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.limits import Limit, age, limits
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import (
    Counters,
    Entry,
    Lifetimes,
    build,
    pack_address,
)

NOW = 1_795_000_000
ONE, TWO = pack_address("192.0.2.1"), pack_address("192.0.2.2")


def entry(counters: t.Mapping[str, int] | None = None, **fields: t.Any) -> Entry:
    fields.setdefault("encryption", "aes-cbc")
    return Entry(build("esp", 0x1001, TWO, ONE, **fields), Counters(**(counters or {})))


@pytest.mark.parametrize(
    ("fields", "counters", "found"),
    [
        ({}, {"sequence_out": 7}, [("sequence numbers", "packets", 7, 0, 2**32 - 1)]),
        ({}, {"sequence_in": 9, "packets": 8}, [("sequence numbers", "packets", 9, 0, 2**32 - 1)]),
        ({"esn": True}, {}, [("sequence numbers", "packets", 0, 0, 2**64 - 1)]),
        (
            {"encryption": "3des-cbc"},
            {"bytes": 800},
            [("sequence numbers", "packets", 0, 0, 2**32 - 1), ("64-bit blocks", "bytes", 800, 2**23, 2**35)],
        ),
        (
            {"lifetimes": Lifetimes(soft_bytes=5, hard_packets=9, hard_addtime=100, soft_usetime=50)},
            {"bytes": 3, "packets": 2, "add_time": NOW - 60},
            [
                ("sequence numbers", "packets", 2, 0, 2**32 - 1),
                ("bytes", "bytes", 3, 5, 0),
                ("packets", "packets", 2, 0, 9),
                ("addtime", "seconds", 60, 0, 100),
                ("usetime", "seconds", 0, 50, 0),
            ],
        ),
    ],
)
def test_limits(fields: dict[str, t.Any], counters: dict[str, int], found: list[tuple[t.Any, ...]]) -> None:
    assert limits(entry(counters, **fields), NOW) == [Limit(*row) for row in found]


def test_a_lifetime_after_the_first_use_runs_from_then() -> None:
    dummy, limit = limits(entry({"use_time": NOW - 5}, lifetimes=Lifetimes(hard_usetime=20)), NOW)
    assert (limit.used, limit.left, limit.percent_left) == (5, 15, 75)


@given(used=st.integers(0, 2**65), soft=st.integers(0, 2**64), hard=st.integers(0, 2**64))
def test_what_is_left_is_between_nothing_and_everything(used: int, soft: int, hard: int) -> None:
    if soft or hard:
        limit = Limit("bytes", "bytes", used, soft, hard)
        assert 0 <= limit.left <= (hard or soft) and 0 <= limit.percent_left <= 100
        assert (limit.left == 0) == (used >= (hard or soft))


def test_age_is_never_negative_nor_made_up() -> None:
    assert [age(entry({"add_time": then}), NOW) for then in (0, NOW - 60, NOW + 60)] == [0, 60, 0]
