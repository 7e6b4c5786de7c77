# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rows about SAs: one for each pair of addresses and owner, without keys."""

from __future__ import annotations

import typing as t

import pytest
from hypothesis import given

from ansible_collections.ipsec.manual.plugins.module_utils._core.audit import evidence
from ansible_collections.ipsec.manual.plugins.module_utils._core.audit.policies import PolicyFacts
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa import model
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.limits import BLOCKS, SEQUENCE_NUMBERS, Limit
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import (
    Counters,
    Entry,
    Mark,
    SecurityAssociation,
    Selector,
    format_address,
    pack_address,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.spd.policy import Policy, Template
from ansible_collections.ipsec.manual.tests.unit.plugins.module_utils._core.sadb import strategies

A, B, C = map(pack_address, ("192.0.2.1", "192.0.2.2", "192.0.2.3"))
NOW = 1_795_000_000.0


def sa(spi: int, source: bytes = A, destination: bytes = B, **fields: t.Any) -> SecurityAssociation:
    given: dict[str, t.Any] = {
        "encryption": "aes-cbc",
        "encryption_key": spi.to_bytes(4, "big") * 8,
        "authentication": "hmac-sha256",
        "authentication_key": (spi + 1).to_bytes(4, "big") * 8,
        **fields,
    }
    return model.build("esp", spi, destination, source, **given)


def ah(spi: int, source: bytes = A, destination: bytes = B) -> SecurityAssociation:
    key = (spi + 2).to_bytes(4, "big") * 8
    return model.build("ah", spi, destination, source, authentication="hmac-sha256", authentication_key=key)


def rows(*sas: SecurityAssociation, stored: t.Sequence[SecurityAssociation] = (), hidden: bool = False) -> list[t.Any]:
    entries = [Entry(row, Counters(add_time=int(NOW) - 60)) for row in sas]
    return evidence.rows(evidence.Observed(entries, stored), {A}, NOW, b"", hidden)


def test_owners_between_the_same_addresses_have_rows_of_their_own() -> None:
    found = rows(sa(0x1000), sa(0x2000, reqid=7), sa(0x3000, A, C, mark=Mark(1, 0xFF)))
    assert [row["name"] for row in found] == [
        *("192.0.2.1|192.0.2.2#0,,0", "192.0.2.1|192.0.2.2#7,,0", "192.0.2.1|192.0.2.3#0,0x1/0xff,0")
    ]
    assert {row["sas"] for row in found} == {1}


def test_the_row_does_not_change_with_the_order_of_a_dump() -> None:
    sas = [sa(0x1000), sa(0x2000, B, A), ah(0x3000), ah(0x4000, B, A)]
    assert rows(*sas) == rows(*reversed(sas))


BARE = {"authentication": "", "authentication_key": b""}


@pytest.mark.parametrize(
    ("sas", "found"),
    [
        ([sa(0x1000)], "own"),
        ([sa(0x1000, **BARE)], "none"),
        ([sa(0x1000, **BARE), ah(0x2000)], "ah"),
        ([sa(0x1000, **BARE), ah(0x2000, B, A)], "none"),
        ([sa(0x1000, encryption="aes-gcm", **BARE)], "own"),
        ([sa(0x1000, encryption="cipher-of-this-kernel", **BARE)], "own"),
        ([ah(0x2000)], "own"),
    ],
)
def test_where_integrity_comes_from(sas: list[SecurityAssociation], found: str) -> None:
    assert rows(*sas)[0]["integrity"] == found


def test_counter_modes_are_compared_with_no_file() -> None:
    combined, other = sa(0x1000, encryption="aes-gcm", **BARE), ah(0x2000)
    (both,), (alone,), (plain,) = rows(combined, other), rows(combined), rows(other, stored=[other])
    assert both["storable_digest"] == plain["storable_digest"] == plain["digest"] == plain["file_digest"]
    assert both["digest"] != plain["digest"] and alone["digest"] and alone["storable_digest"] == ""
    assert rows(other, stored=[other], hidden=True)[0]["storable_digest"] == ""


def test_where_keys_are_hidden_all_else_is_compared() -> None:
    """Other keys are not seen, another SPI is; and where they are shown, nothing else is needed."""
    one, combined = sa(0x1000), sa(0x2000, encryption="aes-gcm", **BARE)
    redacted = one._replace(encryption_key=bytes(32), authentication_key=bytes(32))
    (row,) = rows(redacted, combined, stored=[one], hidden=True)
    assert (row["digest"], row["storable_digest"]) == ("", "")
    assert row["storable_outline"] == row["file_outline"] != row["outline"] and row["file_digest"]
    assert rows(one, stored=[sa(0x3000)], hidden=True)[0]["file_outline"] != row["file_outline"]
    assert {rows(one, stored=[one])[0][name] for name in ("outline", "storable_outline", "file_outline")} == {""}


def test_sas_of_a_group_share_nothing() -> None:
    groups = [pack_address("224.0.0.5"), pack_address("224.0.0.6")]
    found = rows(*(sa(0x1000, bytes(4), group) for group in groups))
    assert [(row["shared_keys"], row["shared_spis"]) for row in found] == [(0, 0)] * 2


def test_one_key_in_both_directions_is_shared() -> None:
    one = sa(0x1000)
    (row,) = rows(one, one._replace(spi=0x2000, source=B, destination=A))
    assert (row["shared_keys"], row["shared_spis"]) == (4, 0)
    (row,) = rows(one, sa(0x1000, B, A, encryption_key=b"x" * 32, authentication_key=b"y" * 32))
    assert (row["shared_keys"], row["shared_spis"]) == (0, 2)


@pytest.mark.parametrize(
    ("limits", "found"),
    [
        ([], []),
        ([Limit("addtime", "seconds", 9, 0, 10)], []),
        ([Limit(SEQUENCE_NUMBERS, "packets", 1, 0, 4)], [("packets", 0.25)]),
        ([Limit("packets", "packets", 8, 4, 0)], [("packets", 1.0)]),
        ([Limit(SEQUENCE_NUMBERS, "packets", 1, 0, 4), Limit("packets", "packets", 1, 0, 2)], [("packets", 0.5)]),
        (
            [Limit(SEQUENCE_NUMBERS, "packets", 1, 0, 4), Limit(BLOCKS, "bytes", 3, 4, 100)],
            [("blocks", 0.75), ("packets", 0.25)],
        ),
        (
            [Limit(SEQUENCE_NUMBERS, "packets", 96, 0, 100), Limit(BLOCKS, "bytes", 9, 4, 100)],
            [("packets", 0.96), ("blocks", 2.25)],
        ),
        ([Limit("bytes", "bytes", 3, 0, 4)], [("bytes", 0.75)]),
    ],
)
def test_of_each_budget_the_largest_share_counts(limits: list[Limit], found: list[tuple[str, float]]) -> None:
    assert evidence.budgets(limits) == [{"what": what, "used": used} for what, used in found]


def policy(reqid: int, **fields: t.Any) -> Policy:
    return Policy("out", Selector(A, 32, B, 32), templates=(Template("esp", reqid=reqid),), **fields)


def test_policies_are_counted_by_owner() -> None:
    found = evidence.owners(
        [policy(0), policy(7), policy(7), policy(7, mark=Mark(1, 1), if_id=3), Policy("in", Selector())]
    )
    assert found == {"0,,0": 2, "7,,0": 2, "7,0x1/0x1,3": 1}


def test_policies_that_drop_and_that_leak_are_remarked() -> None:
    found = evidence.of_policies(PolicyFacts(2, (), (), (policy(0),), (policy(1),)))
    assert [tuple(row) for row in found] == [
        ("policy-without-sa", "out 192.0.2.1/32 > 192.0.2.2/32", "0,,0"),
        ("level-use", "out 192.0.2.1/32 > 192.0.2.2/32", "1,,0"),
    ]


@given(strategies.associations())
def test_no_row_contains_a_key(one: SecurityAssociation) -> None:
    text = repr(evidence.rows(evidence.Observed([Entry(one, Counters())], [one]), {A}, NOW, b"k" * 32, False))
    assert format_address(one.destination) in text
    for key in (one.encryption_key, one.authentication_key):
        assert len(key) < 8 or (key.hex() not in text and repr(key) not in text)
