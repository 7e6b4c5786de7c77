# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keys that new SAs would share with what the SADB holds."""

from __future__ import annotations

import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ipsec.manual.plugins.module_utils._core.sa import conflicts
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import (
    Counters,
    Entry,
    Mark,
    SecurityAssociation,
    build,
    identity,
    pack_address,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.plan import EXACT, PRESENT, plan
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.reuse import reused

ONE, TWO = pack_address("192.0.2.1"), pack_address("192.0.2.2")
KEYS = [bytes([number] * 31 + [7]) for number in range(4)]
DES = bytes.fromhex("0123456789abcdef")


def ah(spi: int = 0x1000, key: bytes = KEYS[0], destination: bytes = TWO, **fields: t.Any) -> SecurityAssociation:
    return build("ah", spi, destination, fields.pop("source", ONE), "", "hmac-sha256", authentication_key=key, **fields)


def esp(spi: int, cipher: str, key: bytes, other: bytes = KEYS[3]) -> SecurityAssociation:
    return build("esp", spi, TWO, ONE, cipher, "hmac-sha256", encryption_key=key, authentication_key=other)


def entries(*sas: SecurityAssociation) -> list[Entry]:
    return [Entry(sa, Counters()) for sa in sas]


def found(wanted: list[SecurityAssociation], held: list[SecurityAssociation], state: str = PRESENT) -> list[str]:
    return [str(problem) for problem in reused(plan(wanted, entries(*held), state).operations, entries(*held))]


def test_a_key_that_the_sadb_holds_is_refused_for_another_sa() -> None:
    (problem,) = found([ah(0x2000)], [ah(0x1000)])
    assert problem.startswith("ah spi 0x00002000")
    assert "the authentication key is also used by ah spi 0x00001000" in problem and "which the SADB holds" in problem


@pytest.mark.parametrize(
    ("new", "old", "told"),
    [(None, Mark(1), " with mark 0x1/0xffffffff, which"), (Mark(1), None, " without a mark, which")],
)
def test_the_mark_of_the_other_sa_is_told_if_it_differs(new: Mark | None, old: Mark | None, told: str) -> None:
    (problem,) = found([ah(0x2000, mark=new)], [ah(mark=old)])
    assert told in problem


@pytest.mark.parametrize(
    ("wanted", "held", "state"),
    [
        ([ah()], [ah()], PRESENT),  # exists
        ([ah(replay_window=32)], [ah()], PRESENT),  # replaces it
        ([ah(0x2000)], [ah()], EXACT),  # takes its place
        ([ah(0x2000, KEYS[1])], [ah()], PRESENT),
        ([ah(0x3000, KEYS[1])], [ah(), ah(0x2000)], PRESENT),  # two others share one
        ([ah(replay_window=32)], [ah(), ah(0x2000)], PRESENT),  # it had its key before
        ([ah(0x2000)], [ah(key=bytes(32))], PRESENT),  # the kernel hides keys
        ([ah(source=b"", destination=ONE)], [ah(source=b"")], PRESENT),  # one group (RFC 4552)
        ([ah(source=b"", destination=ONE)], [ah(source=b"", extra=(("replay_value", "9"),))], PRESENT),
    ],
)
def test_other_keys_are_accepted(
    wanted: list[SecurityAssociation], held: list[SecurityAssociation], state: str
) -> None:
    assert found(wanted, held, state) == []


def test_parity_and_purpose_do_not_hide_a_key() -> None:
    other_parity = bytes(byte ^ 1 for byte in DES)
    assert found([esp(0x2000, "des-cbc", other_parity)], [esp(0x1000, "des-cbc", DES, KEYS[2])])
    assert "authentication key is also used" in found([ah(0x2000)], [esp(0x1000, "aes-cbc", KEYS[0])])[0]


@given(
    held=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=4),
    wanted=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=4),
    state=st.sampled_from([PRESENT, EXACT]),
)
def test_it_finds_the_conflicts_of_a_text_with_the_resulting_sas(
    held: list[tuple[int, int]], wanted: list[tuple[int, int]], state: str
) -> None:
    """Unless the SADB had a shared key before, or the text has one itself."""
    there = list({identity(sa): sa for sa in (ah(0x1000 + spi, KEYS[key]) for spi, key in held)}.values())
    new = list({identity(sa): sa for sa in (ah(0x1000 + spi, KEYS[key]) for spi, key in wanted)}.values())
    if conflicts.set_problems(there) or conflicts.set_problems(new):
        return
    operations = plan(new, entries(*there), state).operations
    gone = {identity(step.old.sa) for step in operations if step.old is not None}
    outcome = [sa for sa in there if identity(sa) not in gone]
    outcome += [step.new for step in operations if step.new is not None]
    assert bool(reused(operations, entries(*there))) == bool(conflicts.set_problems(outcome))
