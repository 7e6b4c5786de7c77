# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Warnings about what left the connections, before anything changes: what goes, and what is kept. Pure."""

from __future__ import annotations

import typing as t

from .._connections.model import connection_of
from .._connections.units import matching, name_of
from . import departures
from .rotation import Rotation

_UNKNOWN = (
    "%s left connection %s while the keystore had its first format, which does not say what was there then: remove it"
    " from this host and its former peers with ipsec_sadb and ipsec_policy, state absent. After that, ipsec_keystore"
    " with state retired ends this warning."
)
_KEPT = "are kept, so that no traffic between them is sent unencrypted. To remove them, run with rotate_leave:"
_GOING = "To be removed, since it left the connections: %s. %s. To keep it, run with rotate_leave: []."


def unknown(run: Rotation) -> list[str]:
    """Warnings about words of rotate_leave that name nothing that left."""
    rows = [shape for found in departures.divided(run) for part in found for shape in part.shapes]
    return [
        f"rotate_leave names {word}, but nothing of that name has left the connections and is waiting to be removed."
        for word in departures.named(run)
        if not any(matching(word, shape) for shape in rows)
    ]


def announced(run: Rotation) -> list[str]:
    """A warning about what the run removes although nobody named it, and no run has begun to."""
    parts = [part for part in departures.chosen(run) if part.cleaned is None and departures.is_unnamed(run, part)]
    names = [name_of(part.name, unit) for part in parts for unit in sorted(part.units)]
    if not names or run.wide["state"] == departures.ABSENT:
        return []
    if any(run.own(host)["policies"] for host in departures.hosts(run)):
        return [_GOING % (departures.listed(names), "Only what other connections need stays protected")]
    return [_GOING % (departures.listed(names), "Its policies stay, and stop its traffic")]


def kept(run: Rotation) -> list[str]:
    """Warnings about connections and hosts that have keys but are no longer named, and that the run does not
    remove; every run repeats them.
    """
    result, gone = run.expected, departures.units(departures.chosen(run))
    successors = _successors(run)
    staying: dict[str, set[str]] = {}
    plays: dict[str, set[str]] = {}
    for part in departures.divided(run)[1]:
        staying.setdefault(part.name, set()).update(part.hosts)
        if not part.own:
            plays.setdefault(part.name, set()).update(part.plays)
    connections = [
        f"connection {row['name']} is not among the connections of this run, and has keys (generation"
        f" {row['generation']}{_had_by(plays.get(row['name'], ()))}) on {', '.join(sorted(staying[row['name']]))}."
        f" {_fate(row['name'], successors.get(row['name'], ''))}"
        for row in result["unnamed"]
        if row["name"] in staying
    ]
    found = []
    for row in result["departed"]:
        name, left = row["name"], [pair for pair in row["pairs"] if tuple(pair) not in gone.get(row["name"], ())]
        if name in {other["name"] for other in result["unnamed"]}:
            continue
        known = {host for pair in row["pairs"] for host in pair or row["hosts"]}
        for host in row["hosts"]:
            if host not in known:
                found.append(_UNKNOWN % (host, name))
            elif any(host in pair or not pair for pair in left):
                found.append(
                    f"{host} left connection {name}. Its SAs and policies, and those of its former peers with it,"
                    f" {_KEPT} [{name}/{host}]."
                )
        parted = [pair for pair in left if pair and not set(pair) & set(row["hosts"])]
        if parted:
            more = f", and {len(parted) - 1} more pairs," if len(parted) > 1 else ""
            found.append(
                f"{' and '.join(parted[0])}{more} are no longer a pair of connection {name}. Their SAs and policies"
                f" {_KEPT} [{name}]."
            )
    return [*connections, *found]


def _had_by(plays: t.Collection[str]) -> str:
    return f", in the play{'s' * (len(plays) > 1)} {', '.join(sorted(plays))}" if plays else ""


def _fate(name: str, successor: str) -> str:
    """What becomes of a connection that is no longer named."""
    if successor:
        return (
            f"Connection {successor} is between the same addresses. If it is the same under another name, run with"
            f" rotate_leave: [{name}], which retires the keys of {name} and removes what is left of its SAs."
            f" Policies that {successor} needs stay."
        )
    return (
        "Its SAs and policies are kept there, so that its traffic is not sent unencrypted. To remove them, run"
        f" with rotate_leave: [{name}]."
    )


def _successors(run: Rotation) -> dict[str, str]:
    """The connections that are between the same addresses as some that left, by the names of these."""
    ends = {frozenset(row.flows()): row.name for row in run.connections()}
    found = {}
    for row in run.expected["leaving"]:
        shape = connection_of(row["connection"], row["settings"][-1], row["selectors"][-1])
        name = ends.get(frozenset(shape.flows()))
        if name not in (None, shape.name):
            found[shape.name] = name
    return found
