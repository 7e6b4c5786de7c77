# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The status of a fleet: from the answers of `ipsec_status` and the keystore to a table with a row for each
connection, and sentences about what is wrong. Pure.
"""

from __future__ import annotations

import typing as t

from ansible_collections.ipsec.manual.plugins.module_utils._core.program.status_text import span
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.digest import name_by_owner
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import ESP, SecurityAssociation
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.model import Connection
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation.decisions import has_failed, reason

Result = t.Mapping[str, t.Any]

UNKNOWN = "unknown"
YES, NO, NONE = "yes", "no", "none"
COLUMNS = ("connection", "hosts", "generation", "age", "due", "agreement", "policies", "boot")
NOT_ASKED: t.Final[Result] = {"failed": True, "msg": "it does not take part in this run"}
# Sentences that are shown, in total, and of what one host says, so that no host hides the others.
MOST_LINES = 60
MOST_OF_A_HOST = 6
LONGEST_REASON = 300


class Stored(t.NamedTuple):
    """What the keystore has of a connection: the phase of its rotation, and for each generation that it keeps, the
    current one first, its number and its digests by pair of addresses and owner.
    """

    phase: str
    generations: tuple[tuple[int, t.Mapping[str, str]], ...]


class Fleet(t.NamedTuple):
    """Rows by the names of `COLUMNS`, with the connection's hosts that did not answer as ``absent``, and sentences."""

    rows: list[dict[str, t.Any]]
    sentences: list[str]


def names_of(connection: Connection) -> dict[str, list[str]]:
    """The pairs of addresses and owners that the connection uses, each with its hosts. All hosts share those of
    multicast groups.
    """
    hosts = {endpoint.address: endpoint.host for endpoint in connection.endpoints}
    found: dict[str, list[str]] = {}
    for source, destinations in connection.flows():
        for destination in destinations:
            sa = SecurityAssociation(
                ESP, 0, source, destination, reqid=connection.reqid, mark=connection.mark, if_id=connection.if_id
            )
            found[name_by_owner(sa)] = (
                list(connection.hosts) if connection.multicast else sorted((hosts[source], hosts[destination]))
            )
    return found


def summarize(
    connections: t.Iterable[Connection], answers: t.Mapping[str, Result], stored: t.Mapping[str, Stored]
) -> Fleet:
    """A row for each connection. ``answers`` are those of every host of the connections that was asked, ``stored``
    leaves connections out of which the keystore says nothing, or cannot be read.
    """
    rows: list[dict[str, t.Any]] = []
    sentences: list[str] = []
    hosts: dict[str, Result] = {}
    for connection in connections:
        own = {host: answers.get(host, NOT_ASKED) for host in connection.hosts}
        hosts.update(own)
        row, found = _row(connection, own, stored.get(connection.name))
        rows.append(row)
        sentences += found
    sentences += (
        f"{host}: absent: {reason(row)[:LONGEST_REASON]}" for host, row in sorted(hosts.items()) if has_failed(row)
    )
    for host, answer in sorted(hosts.items()):
        if not has_failed(answer):
            sentences += _said(host, answer)
    return Fleet(rows, sentences)


def table(fleet: Fleet) -> list[str]:
    """The lines of the table, and of the sentences below it."""
    cells = [COLUMNS, *(tuple(str(row[name]) for name in COLUMNS) for row in fleet.rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(COLUMNS))]
    lines = ["  ".join(f"{text:<{width}}" for text, width in zip(row, widths)).rstrip() for row in cells]
    more = len(fleet.sentences) - MOST_LINES
    return [*lines, *fleet.sentences[:MOST_LINES], *([f"and {more} more"] if more > 0 else [])]


def _said(host: str, answer: Result) -> list[str]:
    """What the host says about itself."""
    found = [f"{host}: {kind}: {text}" for kind in ("wrong", "due", "unseen") for text in answer[kind]]
    more = len(found) - MOST_OF_A_HOST
    return [*found[:MOST_OF_A_HOST], *([f"{host}: and {more} more, see: ipseckey status -v"] if more > 0 else [])]


def _row(
    connection: Connection, answers: t.Mapping[str, Result], stored: Stored | None
) -> tuple[dict[str, t.Any], list[str]]:
    names = names_of(connection)
    present = {host: answer for host, answer in answers.items() if not has_failed(answer)}
    agreement, disagreeing = _agreement(connection, names, answers)
    generation, behind = _generation(connection, names, present, stored)
    pairs = [row for answer in present.values() for name, row in answer["pairs"].items() if name in names]
    asked = any(name in names for answer in present.values() for name in answer["asked"])
    return {
        "connection": connection.name,
        "hosts": f"{len(present)}/{len(answers)}",
        "absent": sorted(set(answers) - set(present)),
        "generation": generation,
        "age": span(max(row["age"] for row in pairs)) if pairs else NONE if present else UNKNOWN,
        "due": (YES if asked or any(row["due"] for row in pairs) else NO) if present else UNKNOWN,
        "agreement": agreement,
        "policies": _policies(names, present) if pairs else NONE if present else UNKNOWN,
        "boot": f"{sum(map(_boots, present.values()))}/{len(present)}" if present else UNKNOWN,
    }, [*disagreeing, *behind]


def _agreement(
    connection: Connection, names: t.Mapping[str, t.Sequence[str]], answers: t.Mapping[str, Result]
) -> tuple[str, list[str]]:
    """Whether all hosts hold the same SAs with the same keys, and a sentence for each pair that does not."""
    sentences, unknown, empty = [], False, True
    for name, hosts in names.items():
        found = {host: _held(answers[host], name) for host in hosts}
        unknown = unknown or None in found.values()
        known = {digest for digest in found.values() if digest is not None}
        empty = empty and known <= {""}
        if len(known) > 1:
            missing = sorted(host for host, digest in found.items() if digest == "")
            why = f"{', '.join(missing)} holds none of them" if missing else "they hold different keys or SAs"
            sentences.append(f"{connection.name}: {' and '.join(hosts)} do not agree about {_ends(name)}: {why}")
    return NO if sentences else UNKNOWN if unknown else NONE if empty else YES, sentences


def _held(answer: Result, name: str) -> str | None:
    """The digest of the host's SAs, empty if it has none; None if that cannot be told."""
    if has_failed(answer) or not answer["backend"] or answer["keys_hidden"]:
        return None
    found: str = answer["held"].get(name, "")
    return found


def _generation(
    connection: Connection,
    names: t.Mapping[str, t.Sequence[str]],
    present: t.Mapping[str, Result],
    stored: Stored | None,
) -> tuple[str, list[str]]:
    """The generation that the hosts hold, and a sentence for each host that does not hold the current one."""
    if stored is None or not stored.generations or not present:
        return UNKNOWN, []
    held = {host: _held_generation(host, answer, names, stored) for host, answer in present.items()}
    current = str(stored.generations[0][0])
    known = sorted({number for number in held.values() if number})
    phase = "" if stored.phase == "steady" else f" ({stored.phase})"
    return ", ".join(known or [UNKNOWN]) + phase, [
        f"{connection.name}: {host} holds "
        + (f"generation {number}" if number.isdigit() else "SAs of no generation")
        + f", not generation {current} of the keystore"
        for host, number in sorted(held.items())
        if number not in ("", current)
    ]


def _held_generation(host: str, answer: Result, names: t.Mapping[str, t.Sequence[str]], stored: Stored) -> str:
    """The number of the generation that the host holds, "other" for none, empty if that cannot be told."""
    own = [name for name, hosts in names.items() if host in hosts]
    found = {name: _held(answer, name) for name in own}
    if None in found.values():
        return ""
    for number, digests in stored.generations:
        if all(digests.get(name, "") == digest for name, digest in found.items()):
            return str(number)
    return "other"


def _policies(names: t.Container[str], present: t.Mapping[str, Result]) -> str:
    """Whether every SA of the connection has a policy on every host."""
    seen = [answer["policies"] for answer in present.values()]
    if any(facts is not None and any(name in names for name in (*facts["leaking"], *facts["open"])) for facts in seen):
        return NO
    return UNKNOWN if None in seen else YES


def _boots(answer: Result) -> bool:
    """Whether the host loads its SAs at boot, as far as can be seen."""
    return bool(answer["service"]["enabled"]) and answer["service"]["state"] != "failed"


def _ends(name: str) -> str:
    return " and ".join(name.partition("#")[0].split("|"))
