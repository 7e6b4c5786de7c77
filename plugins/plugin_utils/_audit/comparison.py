# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The findings of an audit against those of the previous one: what is new, what is gone, and what could not be
checked this time. Pure.
"""

from __future__ import annotations

import typing as t

from .findings import Finding
from .fleet import Fleet, Row

_KEY = ("id", "host", "pair", "place")
# Findings about the way to a host need no answer of it.
_WAYS = frozenset(["absent", "transport-clear", "host-key-unchecked", "name-resolved", "facts-change-inputs"])
# Without the keystore, nobody sees these.
_OF_KEYSTORE = frozenset(
    ["drift-file-keystore", "drift-keystore", "generation-behind", "key-retired", "rotation-unfinished"]
)
# Findings without a host, for which the SAs of all hosts are compared.
_OF_ALL = frozenset(["key-shared"])


class Comparison(t.NamedTuple):
    """``findings`` are those of this audit, as the report has them. ``gone`` are earlier ones that it would have
    found again, ``unchecked`` those that it could not, because a host or the keystore did not say.
    """

    findings: list[Row]
    gone: list[Row]
    unchecked: list[Row]


def compare(fleet: Fleet, findings: t.Sequence[Finding], previous: Row | None) -> Comparison:
    """The findings of this audit against the previous report. What that could not check counts as found by it."""
    if previous is None:
        return Comparison([{**row.row(), "new": False} for row in findings], [], [])
    old = {_key(row): row for row in (*previous.get("unchecked", ()), *previous["findings"])}
    current = {row.key for row in findings}
    left = [{**row, "new": False} for key, row in old.items() if key not in current]
    ends = {row["name"]: row["hosts"] for row in previous["pairs"]}
    ends.update(fleet.ends)
    every = [row["name"] for row in previous["hosts"]]
    checked = [_was_checked(row, fleet, ends, every) for row in left]
    return Comparison(
        [{**row.row(), "new": row.key not in old} for row in findings],
        [row for row, is_checked in zip(left, checked) if is_checked],
        [row for row, is_checked in zip(left, checked) if not is_checked],
    )


def _key(row: Row) -> tuple[str, ...]:
    return tuple(row.get(name, "") for name in _KEY)


def _was_checked(row: Row, fleet: Fleet, ends: t.Mapping[str, t.Sequence[str]], every: t.Sequence[str]) -> bool:
    """Whether this audit would have found it again."""
    if row["id"] in _OF_KEYSTORE and fleet.unread:
        return False
    if row["id"] in _WAYS:
        return row["host"] in fleet.hosts or row["host"] not in fleet.inventory
    if row["id"] in _OF_ALL and not row["host"]:
        return all(_is_known(name, fleet) for name in every)
    return all(_is_known(name, fleet) for name in {row["host"], *ends.get(row["pair"], ())} - {""})


def _is_known(name: str, fleet: Fleet) -> bool:
    """Whether the host said what it holds, or is gone. A host that cannot read its SADB sees little else."""
    host = fleet.hosts.get(name)
    return host.sas_read if host is not None else name not in fleet.inventory
