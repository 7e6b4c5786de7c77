# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Facts about a connection's keys for an audit, without any key. Pure except for the clock."""

from __future__ import annotations

import datetime
import time
import typing as t

from .._connections.model import Unit
from .._connections.units import name_of, names_of
from .records import NEWEST, ConnectionRecord, KeyRecord, Retired


def facts_of(whole: ConnectionRecord) -> list[dict[str, t.Any]]:
    """The facts about each unit of a connection, also those that left it; if it has none, one row for
    what was retired.
    """
    if not whole.records:
        return [{**facts_of_part(KeyRecord(whole.connection, retired=whole.forgotten)), "hosts": []}]
    present = frozenset[Unit]().union(*(record.units() for record in whole.present()))
    names = names_of(whole.connection, present)
    rows = [
        {**facts, "name": names.get(unit) or name_of(whole.connection, unit), "hosts": hosts_of(record, unit)}
        for record in whole.records
        for facts in [facts_of_part(record)]
        for unit in record.units()
    ]
    return sorted(rows, key=lambda row: row["hosts"])


def hosts_of(record: KeyRecord, unit: Unit) -> list[str]:
    """The hosts of a unit: two, or the members of the group."""
    newest = record.pick(NEWEST)
    return list(unit) or sorted(newest.endpoints if newest else ())


def facts_of_part(record: KeyRecord) -> dict[str, t.Any]:
    """The phase of a record, and the number, kind, age and author of the generation that hosts should use."""
    newest = record.pick(NEWEST)
    return {
        "name": record.connection,
        "connection": record.connection,
        "phase": record.phase,
        "since": record.since,
        "by": record.by,
        "left": record.left,
        "generation": newest.generation if newest else 0,
        "created": newest.created if newest else "",
        "created_by": newest.created_by if newest else "",
        "promoted": newest.promoted if newest else "",
        "promoted_by": newest.promoted_by if newest else "",
        "age": age_of(newest.created) if newest else 0,
        "store": newest.store if newest else "",
        "root": newest.root if newest else "",
        "current": record.current.generation if record.current else 0,
        "next": record.next.generation if record.next else 0,
        "previous": record.previous.generation if record.previous else 0,
        "retired": list(map(_retired, record.retired)),
    }


def _retired(row: Retired) -> dict[str, t.Any]:
    facts = {**row._asdict(), "fingerprints": len(row.fingerprints)}
    del facts["spis"]
    return facts


def age_of(created: str) -> int:
    """Seconds since a time in the format of the records; 0 if the clock was set back."""
    return max(0, int(time.time() - seconds_of(created)))


def seconds_of(text: str) -> float:
    """A time in the format of the records, in seconds since the epoch."""
    return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=datetime.timezone.utc).timestamp()
