# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table at the end of a run."""

from __future__ import annotations

import itertools
import typing as t

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation.report import STATES, Gap, Packets, Row
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation.table import MOST, brief, table
from ansible_collections.ipsec.manual.plugins.plugin_utils._screen import WIDTH

ROW = Row(
    "pair", "pair", {"a": "192.0.2.1", "b": "192.0.2.2"}, 2, 3, "rotated", "overlap", "", None, Gap(0, 0), {}, [], []
)
words = st.text(st.sampled_from("abc-"), min_size=1, max_size=60)
rows = st.lists(
    st.builds(
        Row,
        words,
        words,
        st.dictionaries(words, words, min_size=2, max_size=5),
        st.integers(0, 999),
        st.integers(1, 999),
        st.sampled_from(STATES),
        st.just("overlap"),
        st.sampled_from(["", "rotate_strategy is flush"]),
        st.none() | st.builds(Packets, st.integers(1, 9999), st.integers(0, 9999)),
        st.builds(Gap, st.none() | st.floats(0, 99999), st.none() | st.floats(0, 99999)),
        st.just({}),
        st.lists(st.just("its keys are 91 days old"), max_size=2),
        st.lists(st.just("run again"), max_size=1),
    ),
    min_size=1,
    max_size=3 * MOST,
)


def test_one_line_a_connection() -> None:
    shared = "its hosts share one SA, and send through it as soon as they have it"
    found = table(
        [
            ROW._replace(packets=Packets(6, 6)),
            ROW._replace(
                name="link",
                connection="link",
                old=0,
                new=1,
                state="keyed",
                strategy="flush",
                why=shared,
                gap=Gap(120.2, 3.5),
            ),
            ROW._replace(name="new", connection="new", old=0, new=1, state="keyed", packets=Packets(6, 6)),
            ROW._replace(name="old", connection="old", new=2, state="unchanged"),
        ],
        finished=True,
    )
    assert found == [
        "4 connections: 1 rotated, 2 keyed, 1 unchanged.",
        "connection  hosts  generation  strategy, gap     packets",
        "pair        a, b   2 -> 3      overlap, no gap   6 of 6",
        "link        a, b   none -> 1   flush, <= 121 ms  -",
        "new         a, b   none -> 1   first keys        6 of 6",
        "old         a, b   2           -                 -",
        "flush, because its hosts share one SA, and send through it as soon as",
        "  they have it (link)",
        "no test packets were sent through the new SAs (link)",
        "The gap is an upper bound; by the hosts' own clocks it was 4 ms.",
    ]


def test_nothing_due_is_one_line() -> None:
    same = ROW._replace(new=2, state="unchanged")
    assert table([same], finished=True) == ["Nothing was due: 1 connection is up to date."]
    assert table([same], finished=True, equipped=["a", "b"])[1:] == [
        "Policies, or how they are loaded at boot, changed on a, b."
    ]


@given(rows, st.booleans())
def test_every_line_fits_the_screen(found: list[Row], finished: bool) -> None:
    lines = table(found, finished)
    assert all(len(line) <= WIDTH or " " not in line.strip() for line in lines)


def test_a_large_mesh_is_a_few_lines_with_the_worst_first() -> None:
    hosts = [f"h{number}" for number in range(50)]
    pairs = [
        ROW._replace(
            name=f"mesh {one} {other}",
            connection="mesh",
            endpoints={one: "192.0.2.1", other: "192.0.2.2"},
            packets=Packets(6, 6),
            state="unfinished" if "h7" in (one, other) else "rotated",
            to_do=["run again"] if "h7" in (one, other) else [],
        )
        for one, other in itertools.combinations(hosts, 2)
    ]
    found = table(pairs, finished=False)
    assert found == [
        "1225 pairs, not all done: 49 unfinished, 1176 rotated.",
        "connection  hosts     generation  strategy, gap    packets",
        "mesh        50 hosts  2 -> 3      unfinished       294 of 294",
        "mesh        49 hosts  2 -> 3      overlap, no gap  7056 of 7056",
        "to do: run again (mesh h0 h7, mesh h1 h7, mesh h2 h7 and 46 more)",
    ]


def test_long_names_stay_different() -> None:
    names = ("gateway-north.example.net", "gateway-south.example.net", "192.0.2.7")
    some = [
        ROW._replace(connection="mesh", endpoints={one: "", other: ""})
        for one, other in itertools.combinations(names, 2)
    ]
    lines = table(some, finished=True)
    assert [line.partition("  2 ->")[0].split(None, 1)[1].strip() for line in lines[2:5]] == [
        "gat..rth, gat..uth",
        "gat..rth, 192..2.7",
        "gat..uth, 192..2.7",
    ]
    assert all(len(line) <= WIDTH for line in lines)


def test_what_does_not_fit_into_the_table_is_counted() -> None:
    many: list[t.Any] = [ROW._replace(name=f"c{number:03}", connection=f"c{number:03}") for number in range(100)]
    many[-1] = many[-1]._replace(state="went back")
    found = table(many, finished=False)
    assert found[2].startswith("c099") and "went back" in found[2]
    assert found[2 + MOST] == f"... and {100 - MOST} more: {100 - MOST} rotated"


def test_many_reasons_for_new_keys_are_counted() -> None:
    reasons = [f"connection c{number} gets new keys: its keys are 91 days old" for number in range(30)]
    found = brief(reasons)
    assert found[:10] == reasons[:10] and found[10:] == ["... and 20 more reasons"]
    assert brief(reasons[:3]) == reasons[:3]
