# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the test packets of a rotation prove: through which SAs packets arrived. Pure."""

from __future__ import annotations

import typing as t

from . import decisions


class Probed(t.NamedTuple):
    """The result of the test packets. ``problems``: packets that left through an SA and did not arrive
    through it; ``lost``: the sender, the destination and the receiver of each, empty if no host of the
    run receives. ``unprobed``: SAs through which nothing left, because no policy uses them.
    """

    problems: list[str]
    unprobed: list[str]
    lost: list[tuple[str, str, str]]


def verdict(sent: decisions.Results, received: decisions.Results, before: decisions.Results) -> Probed:
    """``sent`` are the results of each host's probe, ``received`` the counters after all hosts had
    sent, ``before`` the counters before any had. An SA that is missing in ``before`` was new and had
    carried nothing.
    """
    arrived = arrivals(received, before)
    found = Probed([], [], [])
    for host, result in sorted(sent.items()):
        found.unprobed.extend(
            f"{host}: no policy sends traffic through the SA {words}" for dummy, words in unsent(result)
        )
        for row in result.get("sent", ()):
            count = int(row["after"] or 0) - int(row["before"] or 0)
            if count <= 0:
                continue
            for peer, packets in arrived.get(row["key"], [("", 0)]):
                if packets <= 0:
                    found.lost.append((host, row["key"].split("|")[1], peer))
                    words = _words(row["key"])
                    found.problems.append(
                        f"{host}: {count} packets left through the SA {words}, none arrived at {peer}"
                        if peer
                        else f"{host}: {count} packets were sent through the SA {words}, but no host of this run has"
                        " that SA inbound"
                    )
        for failure in result.get("failures", ()):
            found.unprobed.append(f"{host}: test packets could not be sent, {failure}")
    return found


def unsent(result: decisions.Result) -> list[tuple[str, str]]:
    """The destinations of SAs through which a host sent nothing, and the SAs in words."""
    return [
        (row["key"].split("|")[1], _words(row["key"]))
        for row in result.get("sent", ())
        if int(row["after"] or 0) - int(row["before"] or 0) <= 0
    ]


def arrivals(received: decisions.Results, before: decisions.Results) -> dict[str, list[tuple[str, int]]]:
    """By SA, the hosts that have it inbound, and how many packets arrived there through it since ``before``."""
    found: dict[str, list[tuple[str, int]]] = {}
    for host, result in received.items():
        old = {row["key"]: int(row["after"] or 0) for row in before.get(host, {}).get("received", ())}
        for row in result.get("received", ()):
            found.setdefault(row["key"], []).append((host, int(row["after"] or 0) - old.get(row["key"], 0)))
    return found


def dead_pairs(expected: decisions.Result, lost: t.Iterable[tuple[str, str, str]]) -> set[decisions.Pair]:
    """The pairs between which packets were lost, according to their own hosts."""
    by_host = decisions.pairs_of_hosts(expected)
    return {
        pair
        for sender, destination, receiver in lost
        for pair in by_host[sender]
        if destination in pair and (not receiver or pair in by_host[receiver])
    }


def _words(key: str) -> str:
    protocol, destination, spi = key.split("|")
    return f"{protocol} {spi} towards {destination}"
