# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run did for each connection: rows, which the role writes as JSON, and which `table` makes
lines of. Pure.
"""

from __future__ import annotations

import typing as t

from .._keystore.records import IN_USE
from . import decisions, policies, policy_checks, probes, rollback, taking
from .rotation import ARRIVALS, CUT_OVER, PREFLIGHT, SEND, Result, Rotation

FORMAT = 1
"""Version of the JSON document, which ``docs/docsite/rst/rotation_report.schema.json`` describes."""

# What became of a connection, worst first.
UNFINISHED = "unfinished"
BACK = "went back"
WAITING = "not begun"
DUE = "due"
RESTORED = "restored"
ROTATED = "rotated"
KEYED = "keyed"
SAME = "unchanged"
STATES = (UNFINISHED, BACK, WAITING, DUE, RESTORED, ROTATED, KEYED, SAME)
DONE = (RESTORED, ROTATED, KEYED, SAME)

OVERLAP = "overlap"


class Packets(t.NamedTuple):
    """Packets that left through the new SAs while the run tested them, and how many of those arrived."""

    sent: int
    arrived: int


class Gap(t.NamedTuple):
    """For how long hosts may have held different SAs, in milliseconds: ``at_most`` whatever the clocks of
    the hosts say, and ``by_clocks``, if these agree. None if the answers do not say.
    """

    at_most: float | None = None
    by_clocks: float | None = None


class Row(t.NamedTuple):
    """One row of the keystore's result. ``old`` and ``new`` are generations, 0 for none. ``why`` is the reason
    of a gap. ``changes`` are the places that differed from the keystore before the run, by host. ``because`` says
    why it was due for new keys, if the run asked.
    """

    name: str
    connection: str
    endpoints: dict[str, str]
    old: int
    new: int
    state: str
    strategy: str
    why: str
    packets: Packets | None
    gap: Gap
    changes: dict[str, list[str]]
    because: list[str]
    to_do: list[str]


def hosts_that_change(run: Rotation) -> set[str]:
    """The hosts that do not hold what they should, or that have leftovers of an interrupted run."""
    untidy = {host for host, answer in run.results(PREFLIGHT, PREFLIGHT).items() if answer.get("leftovers")}
    return untidy.union(*(row.changes for row in rows_of(run, check_mode=True)))


def rows_of(run: Rotation, check_mode: bool) -> list[Row]:
    """A row for each connection, worst first. Needs the answers of preflight."""
    found = decisions.differences(run.results(PREFLIGHT, PREFLIGHT), run.expected)
    places: dict[str, dict[str, list[str]]] = {}
    for host, differing in found.items():
        for name, place in differing:
            places.setdefault(name, {}).setdefault(host, []).append(place)
    for host, place in policy_checks.out_of_place(run):
        for name in run.expected["hosts"][host]["connections"]:
            places.setdefault(name, {}).setdefault(host, []).append(place)
    for host, name, place in taking.out_of_place(run):
        places.setdefault(name, {}).setdefault(host, []).append(place)
    packets, moments, lacking = _packets(run), _moments(run), policies.failed(run)
    back, gaps = _back(run), run.gaps
    result = []
    for row in run.expected["connections"]:
        changes = places.get(row["name"], {})
        state = _state(run, row, bool(changes), check_mode, back)
        why = gaps.get(row["name"], "")
        hosts = sorted(row["endpoints"])
        moved = state in (RESTORED, ROTATED, KEYED)
        result.append(
            Row(
                name=row["name"],
                connection=row.get("connection", row["name"]),
                endpoints={host: row["endpoints"][host] for host in hosts},
                old=row["current"],
                new=row["generation"],
                state=state,
                strategy=decisions.FLUSH if why else OVERLAP,
                why=why,
                packets=packets.get(row["name"]),
                gap=Gap() if not moved else _gap(moments, hosts) if why else Gap(0.0, 0.0),
                changes=changes,
                because=[*run.state.get("because", {}).get(row["name"], ())],
                to_do=[
                    *([] if state in DONE or state == DUE else ["run again"]),
                    *(f"policies, or loading them at boot, on {host}" for host in hosts if host in lacking),
                ],
            )
        )
    return sorted(result, key=lambda row: (STATES.index(row.state), row.name))


def _state(run: Rotation, row: Result, differs: bool, check_mode: bool, back: t.AbstractSet[str]) -> str:
    if row["generation"] == row["current"] and not differs:
        return SAME
    if check_mode:
        return DUE
    if run.state.get("promoted"):
        return (ROTATED if row["current"] else KEYED) if row["generation"] != row["current"] else RESTORED
    if run.state["switching"]:
        return BACK if row["name"] in back else UNFINISHED
    return UNFINISHED if row["phase"] in IN_USE else WAITING


def _back(run: Rotation) -> set[str]:
    """The connections whose hosts all went back."""
    if run.state.get("promoted") or run.state["approved"] or not run.state["switching"]:
        return set()
    sure, ways = set(rollback.went_back(run)), rollback.ways_back(run)
    return {
        row["name"]
        for row in run.expected["connections"]
        if sure.issuperset(row["endpoints"]) and decisions.pairs(run.expected, [row["name"]]) <= ways
    }


def _packets(run: Rotation) -> dict[str, Packets]:
    """The test packets of each connection for which packets were sent."""
    owners = {
        (host, address): row["name"]
        for row in run.expected["connections"]
        for host in row["endpoints"]
        for address in row.get("multicast") or row["endpoints"].values()
    }
    arrived = probes.arrivals(run.results(ARRIVALS, ARRIVALS), run.results(CUT_OVER, "before"))
    found: dict[str, Packets] = {}
    for host, result in run.results(SEND, SEND).items():
        for row in result.get("sent", ()):
            count = int(row["after"] or 0) - int(row["before"] or 0)
            name = owners.get((host, row["key"].split("|")[1]))
            if name is None or count <= 0:
                continue
            # Other traffic counts too, so more may have arrived than was sent during the test.
            got = max(0, min((packets for dummy, packets in arrived.get(row["key"], ())), default=0))
            old = found.get(name, Packets(0, 0))
            found[name] = Packets(old.sent + count, old.arrived + min(count, got))
    return found


class _Moment(t.NamedTuple):
    """When a host changed its SADB at the cut-over, in seconds: the earliest and the latest possible moment
    on the controller's clock, and the same on the host's own.
    """

    first: float
    last: float
    own_first: float
    own_last: float


def _moments(run: Rotation) -> dict[str, _Moment]:
    """By host, as far as known. How far a host's clock is ahead is bounded by when it was asked and when it
    answered, in preflight and at the cut-over.
    """
    found = {}
    for host, (asked, epoch, answered) in run.readings().items():
        cut = run.answers(CUT_OVER, host)
        applied = cut.get("sadb").get("applied")
        if not applied:
            continue
        began, ended = float(applied["began"]), float(applied["ended"])
        least = max(epoch - answered, ended - cut.answered)
        most = min(epoch - asked, began - cut.asked)
        if least <= most and began <= ended:  # otherwise a clock was set meanwhile
            found[host] = _Moment(began - most, ended - least, began, ended)
    return found


def _gap(moments: t.Mapping[str, _Moment], hosts: t.Sequence[str]) -> Gap:
    if not all(host in moments for host in hosts):
        return Gap()
    own = [moments[host] for host in hosts]
    return Gap(
        _milliseconds(max(row.last for row in own) - min(row.first for row in own)),
        _milliseconds(max(row.own_last for row in own) - min(row.own_first for row in own)),
    )


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 1)


def document(
    found: t.Sequence[Row],
    began: str,
    ended: str,
    check_mode: bool,
    phase: str,
    problems: t.Sequence[str],
    left: t.Sequence[Result] = (),
) -> Result:
    """The run as JSON. ``left`` is what `leaving.report` returns."""
    changed = bool(left) or any(row.state != SAME for row in found)
    outcome = "failed" if problems else "unchanged" if not changed else DUE if check_mode else "changed"
    return {
        "format": FORMAT,
        "began": began,
        "ended": ended,
        "check_mode": check_mode,
        "outcome": outcome,
        "stopped_at": phase,
        "problems": list(problems),
        "connections": [
            {
                **row._asdict(),
                "packets": row.packets._asdict() if row.packets else None,
                "gap": {"at_most_ms": row.gap.at_most, "by_clocks_ms": row.gap.by_clocks},
            }
            for row in found
        ],
        "left": list(left),
    }
