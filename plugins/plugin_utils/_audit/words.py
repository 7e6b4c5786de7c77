# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The values of a report in the words that people read: its page and its summary use the same. Pure."""

from __future__ import annotations

import itertools
import math
import typing as t
import unicodedata

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import counted
from ansible_collections.ipsec.manual.plugins.plugin_utils._gate import visible

from . import kinds

Row = t.Dict[str, t.Any]

# Worst first.
SEVERITIES = kinds.SEVERITIES[::-1]
NONE = kinds.NONE
LEVELS = (*SEVERITIES, NONE)
# Seconds of each unit. A time is given in the largest unit that it holds twice.
_UNITS = (("days", 86400), ("hours", 3600), ("minutes", 60), ("seconds", 1))


def plain(value: t.Any) -> t.Any:
    """A report in plain types, as every output may show it: its text without control, escape and bidi
    characters other than line ends, and its numbers finite.
    """
    if isinstance(value, dict):
        return {plain(str(key)): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, str):
        return visible(value, keep="\n")
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def worst_first(rows: t.Iterable[Row]) -> list[Row]:
    """Hosts or pairs by their worst finding, then by name."""
    return sorted(rows, key=lambda row: (LEVELS.index(row["worst"]), row["name"]))


def findings_first(rows: t.Iterable[Row]) -> list[Row]:
    """Findings by severity, then by host, pair and ID."""
    return sorted(rows, key=lambda row: (LEVELS.index(row["severity"]), row["host"], row["pair"], row["id"]))


def tally(rows: t.Iterable[Row], field: str) -> dict[str, int]:
    """How many rows there are of each level."""
    found = dict.fromkeys(LEVELS, 0)
    for row in rows:
        found[row[field]] += 1
    return found


def columns(text: str) -> int:
    """The columns of a text in a terminal, or more; wide characters take two."""
    return sum(1 + (unicodedata.east_asian_width(sign) in "WF") for sign in text)


def cut(text: str, most: int) -> str:
    """The text in at most so many columns, ending in dots if some of it is missing."""
    if columns(text) <= most:
        return text
    widths = itertools.accumulate(map(columns, text))
    return text[: sum(width <= most - 3 for width in widths)] + "..."


def on(host: str) -> str:
    """Where a command runs."""
    return f"on {host}, as root" if host else "on the controller"


def moment(text: str) -> str:
    """A time of the report, 2026-11-27T22:00:00Z, as 2026-11-27 22:00 UTC."""
    return f"{text[:10]} {text[11:16]} UTC" if text else ""


def verdict(report: Row) -> str:
    """The result of the audit in one sentence, and a second one about hosts that did not answer."""
    hosts = counted(len(report["hosts"]), "host")
    silent = sum(not host["answered"] for host in report["hosts"])
    worst = _worst(report["findings"])
    if worst:
        pairs = {pair["name"]: pair["hosts"] for pair in report["pairs"]}
        places = {name for row in worst for name in ([row["host"]] if row["host"] else pairs.get(row["pair"], ()))}
        where = f" on {len(places):,} of {hosts}" if places else ""
        first = f"{counted(len(worst), worst[0]['severity'] + ' finding')}{where}."
    else:
        first = f"No finding above info on {hosts}."
    return f"{first} {counted(silent, 'host')} did not answer." if silent else first


def changes(report: Row) -> str:
    """What became of the findings since the previous audit, in one sentence."""
    if not report["previous"]:
        return "There is no earlier audit to compare with."
    new = sum(row["new"] for row in report["findings"])
    left = len(report.get("unchecked", ()))
    more = f", {left:,} not checked" if left else ""
    return f"Since {moment(report['previous'])}: {new:,} new, {len(report['gone']):,} gone{more}."


def age(pair: Row) -> str:
    """The age of a pair's keys, and its limit, in one unit."""
    seconds, limit = pair["age"], pair["age_limit"]
    if seconds is None:
        return "unknown"
    unit, size = _unit(limit or seconds)
    if not limit:
        return f"{int(seconds // size):,} {unit}, no limit"
    # Keys just over the limit are not shown as being at it.
    rounded = math.ceil(seconds / size) if seconds > limit else int(seconds // size)
    return f"{rounded:,} of {int(limit // size):,} {unit}"


def used(budget: Row | None) -> str:
    """The share of a budget that is used."""
    return f"{percent(budget['used'])} % of {budget['what']}" if budget else "unknown"


def percent(share: float) -> str:
    """A share in percent, not rounded up. It may exceed 100: only what is advised ends no SA."""
    tenths = math.floor(share * 1000)
    return f"{tenths / 10:g}" if tenths < 1000 else str(tenths // 10)


def nearest(pair: Row) -> Row | None:
    """The budget of a pair that ends first."""
    return next(iter(pair["budgets"]), None)


def age_share(pair: Row) -> float | None:
    """The age of a pair's keys as a share of their limit; above 1 if they are too old."""
    return pair["age"] / pair["age_limit"] if pair["age"] is not None and pair["age_limit"] else None


def used_share(budget: Row | None) -> float | None:
    return float(budget["used"]) if budget else None


def _worst(findings: t.Iterable[Row]) -> list[Row]:
    """The findings of the highest severity above info; none if there is none above it."""
    rows = sorted(
        (row for row in findings if row["severity"] != "info"), key=lambda row: SEVERITIES.index(row["severity"])
    )
    return [row for row in rows if row["severity"] == rows[0]["severity"]]


def _unit(seconds: float) -> tuple[str, int]:
    return next((row for row in _UNITS if seconds >= 2 * row[1]), _UNITS[-1])
