# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which generations are due for new keys, and why. Pure.

It is decided for each row of the keystore's result, from its record and from what its own hosts report
about their SAs. So a host that reports something false causes new keys for its own rows, and for no others.
"""

from __future__ import annotations

import re
import typing as t

from ansible.module_utils.parsing.convert_bool import BOOLEANS, BOOLEANS_TRUE

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import InputError, raise_all
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.limits import ADVISED_BLOCKS, BIRTHDAY_BLOCKS

from .._keystore.changes import KEPT
from .._keystore.facts import seconds_of
from .._keystore.records import IN_USE, PREPARED
from . import decisions
from .decisions import Result
from .rotation import PREFLIGHT, Rotation

ASKED = "asked"
DUE = "due"
WHEN = (ASKED, DUE)

DEFAULTS: dict[str, t.Any] = {
    "age": "90d",
    "packets": "50%",
    "bytes": "50%",
    "lifetime": "50%",
    "blocks64": str(ADVISED_BLOCKS),
    "reloaded": True,
}
"""What rotate_due does not say. The role's documentation gives the sources."""

_DURATION = re.compile(r"([0-9]{1,9})([smhdw]?)")
_AMOUNT = re.compile(r"([0-9]{1,20})(%?)")
_SHARE = re.compile(r"(0|[0-9]{1,3}(?=%))(%?)")
_COUNTED = ("packets", "packets_percent", "bytes", "bytes_percent", "seconds_percent", "blocks64")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
# Seconds by which an SA may be younger than the time for which the keys are in use: clocks are adjusted, and
# another controller may have begun to use them.
_TOLERANCE = 60


class Amount(t.NamedTuple):
    """What may be used: a number, or a share in percent; 0 for no limit."""

    number: int = 0
    percent: int = 0

    def is_reached(self, number: int, percent: int) -> bool:
        return 0 < self.number <= number or 0 < self.percent <= percent


class Limits(t.NamedTuple):
    """The limits at which keys are due; ``age`` in seconds, 0 for never."""

    age: int
    packets: Amount
    bytes: Amount
    lifetime: Amount
    blocks64: Amount
    reloaded: bool


def read(given: Result) -> Limits:
    """The limits that rotate_due sets. Raises every problem at once."""
    values = {**DEFAULTS, **given}
    problems = [
        InputError(f"unknown name {name!r}", "rotate_due", f"Known here: {', '.join(DEFAULTS)}.")
        for name in given
        if name not in DEFAULTS
    ]

    def parsed(name: str, pattern: re.Pattern[str], example: str) -> tuple[int, str]:
        found = pattern.fullmatch(str(values[name]).strip())
        if found is None or (found[2] == "%" and not 0 < int(found[1]) <= 100):
            problems.append(
                InputError(f"{values[name]!r} is not valid", f"rotate_due.{name}", f"Write {example}, or 0 for never.")
            )
            return 0, ""
        return int(found[1]), found[2]

    def amount(name: str, example: str, pattern: re.Pattern[str] = _AMOUNT) -> Amount:
        number, unit = parsed(name, pattern, example)
        return Amount(percent=number) if unit else Amount(number)

    number, unit = parsed("age", _DURATION, "a number and one of s, m, h, d, w, such as 90d")
    limits = Limits(
        number * _SECONDS[unit],
        amount("packets", "a share such as 50%, or a number of packets"),
        amount("bytes", "a share such as 50%, or a number of bytes"),
        amount("lifetime", "a share such as 50%", _SHARE),
        amount("blocks64", "a number of blocks, or a share of 2^32 blocks such as 1%"),
        str(values["reloaded"]).lower() in BOOLEANS_TRUE,
    )
    if str(values["reloaded"]).lower() not in BOOLEANS:
        problems.append(InputError("neither true nor false", "rotate_due.reloaded", "Write one of them."))
    raise_all(problems)
    return limits


def reasons(run: Rotation) -> dict[str, list[str]]:
    """Why rows of the run are due, by name. Rows that get new keys for another reason are left out."""
    limits = read(run.wide["due"])
    lost = decisions.lost(run.results(PREFLIGHT, PREFLIGHT), run.expected)
    found = {}
    for row, reports in _kept(run):
        why = [f"{duration(row['age'])} old"] if 0 < limits.age <= row["age"] else []
        for report in reports:
            why += [f"{report.host}: {text}" for text in _reasons(report, limits, row)]
            if report.host in lost.get(row["name"], ()):
                why.append(f"{report.host}: it lost its SAs, whose keys must not be loaded again")
        if why:
            found[row["name"]] = why
    return found


def requests(run: Rotation) -> dict[str, list[str]]:
    """The hosts whose boot service asked for new keys, by row. Rows that get some anyway are left out."""
    found = {row["name"]: [report.host for report in reports if report.asked] for row, reports in _kept(run)}
    return {name: hosts for name, hosts in found.items() if hosts}


def is_done(run: Rotation, host: str) -> bool:
    """Whether the run gives new keys to all SAs for which the boot service of the host asked."""
    asked = set(run.answers(PREFLIGHT, host).get(PREFLIGHT).get("asked", ()))
    if not asked:
        return False
    names = decisions.held_by_pair(run.expected)
    changed = run.pairs(decisions.in_phase(run.expected, PREPARED, *IN_USE), host)
    return asked.issubset(name for pair in changed for name in names.get(pair, ()))


class _Report(t.NamedTuple):
    """What a host reports of its SAs in one row, at ``time`` on the controller's clock: how much of their
    limits each group of SAs has used, and whether the boot service asked for new keys.
    """

    host: str
    used: list[dict[str, int]]
    asked: bool
    time: float


def _kept(run: Rotation) -> t.Iterator[tuple[Result, list[_Report]]]:
    """The rows that keep their keys, each with the reports of its own hosts about it."""
    names = decisions.held_by_pair(run.expected)
    answers = {host: run.answers(PREFLIGHT, host) for host in run.hosts}
    for row in run.expected["connections"]:
        if row["outcome"] != KEPT:
            continue
        reports = []
        for host, pairs in decisions.pairs_of(row).items():
            answer = answers[host].get(PREFLIGHT)
            own = [name for pair in pairs for name in names.get(pair, ())]
            used = [answer["usage"][name] for name in own if name in answer.get("usage", ())]
            reports.append(
                _Report(host, used, any(name in answer.get("asked", ()) for name in own), answers[host].answered)
            )
        yield row, reports


def _reasons(report: _Report, limits: Limits, row: Result) -> t.Iterator[str]:
    """Why SAs of a row are due, according to one of its hosts."""
    in_use = report.time - seconds_of(row["promoted"]) if row["promoted"] else 0.0
    yield from used_up(limits, report.used, in_use)
    if report.asked:
        yield "its boot service asked for new keys"


def used_up(limits: Limits, rows: t.Sequence[Result], in_use: float) -> t.Iterator[str]:
    """Why SAs are due according to what they have used (``usage`` of an answer). ``in_use`` is for how many
    seconds their keys have been in use, 0 if that is unknown.
    """
    most = {name: max((used.get(name, 0) for used in rows), default=0) for name in _COUNTED}
    if limits.packets.is_reached(most["packets"], most["packets_percent"]):
        yield f"an SA has used {most['packets']} packets, {most['packets_percent']} % of its limit"
    if limits.bytes.is_reached(most["bytes"], most["bytes_percent"]):
        share = f", {most['bytes_percent']} % of its limit" if most["bytes_percent"] else ""
        yield f"an SA has used {most['bytes']} bytes{share}"
    if limits.lifetime.is_reached(0, most["seconds_percent"]):
        yield f"{most['seconds_percent']} % of an SA's lifetime has passed"
    if limits.blocks64.is_reached(most["blocks64"], most["blocks64"] * 100 // BIRTHDAY_BLOCKS):
        yield f"an SA has encrypted {most['blocks64']} blocks of 64 bits"
    youngest = min((used["age"] for used in rows if "age" in used), default=None)
    if limits.reloaded and youngest is not None and youngest + _TOLERANCE < in_use:
        yield f"an SA was loaded again {duration(youngest)} ago, so its counters restarted"


def duration(seconds: float) -> str:
    """A time in the largest unit of which there are two or more."""
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"
