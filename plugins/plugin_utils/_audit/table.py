# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The status of a fleet in one table: from the answers of `ipsec_status` and the keystore to a row for each
connection, and sentences about what is wrong. Pure.
"""

from __future__ import annotations

import typing as t

from ansible_collections.ipsec.manual.plugins.module_utils._core.program.status_text import span

from .._connections.model import Connection
from .._keystore.records import STEADY
from .._rotation import due
from .._rotation.decisions import has_failed, reason
from .._screen import on_screen
from .fleet import Known, pairs_of

Result = t.Mapping[str, t.Any]
# For each pair of addresses with its owner, what each of its hosts holds: `_held`.
Held = t.Mapping[str, t.Mapping[str, "str | None"]]

UNKNOWN = "unknown"
YES, NO, NONE, OTHER = "yes", "no", "none", "other"
COLUMNS = ("connection", "hosts", "generation", "age", "due", "agreement", "policies", "boot")
NOT_ASKED: t.Final[Result] = {"failed": True, "msg": "it does not take part in this run"}
# Sentences that are shown, in total, about one connection or host, and of what one host says: no host hides the
# others, nor does a connection in which it disagrees with many.
MOST_LINES = 60
MOST_OF_ONE = 12
MOST_OF_A_HOST = 6
LONGEST_REASON = 300
# Generations, and hosts of a sentence, that are shown one by one.
_MOST_GENERATIONS = 4
_MOST_HOSTS = 6


class FleetStatus(t.NamedTuple):
    """Rows by the names of `COLUMNS`, with the connection's hosts that did not answer as ``absent``, and sentences."""

    rows: list[dict[str, t.Any]]
    sentences: list[str]


def names_of(connection: Connection) -> dict[str, list[str]]:
    """The pairs of addresses and owners that the connection uses, each with its hosts. All hosts share those of
    multicast groups.
    """
    found: dict[str, set[str]] = {}
    for pair in pairs_of([connection], connection.hosts):
        for name in pair.keys:
            found.setdefault(name, set()).update(pair.hosts)
    return {name: sorted(hosts) for name, hosts in found.items()}


def summarize(
    connections: t.Iterable[Connection],
    answers: t.Mapping[str, Result],
    known: t.Mapping[str, Known],
    limits: due.Limits,
) -> FleetStatus:
    """A row for each connection. ``answers`` are those of every host of the connections that was asked, ``known``
    leaves connections out of which the keystore says nothing, or cannot be read. ``limits`` say from
    where on keys are due.
    """
    rows: list[dict[str, t.Any]] = []
    sentences: list[str] = []
    hosts: dict[str, Result] = {}
    for connection in connections:
        own = {host: answers.get(host, NOT_ASKED) for host in connection.hosts}
        hosts.update(own)
        row, found = _row(connection, own, known.get(connection.name), limits)
        rows.append(row)
        sentences += found
    sentences += (
        f"{host}: absent: {reason(row)[:LONGEST_REASON]}" for host, row in sorted(hosts.items()) if has_failed(row)
    )
    for host, answer in sorted(hosts.items()):
        if not has_failed(answer):
            sentences += _said(host, answer)
    return FleetStatus(rows, sentences)


def lines(status: FleetStatus) -> list[str]:
    """The lines of the table, and of the sentences below it."""
    cells = [COLUMNS, *(tuple(str(row[name]) for name in COLUMNS) for row in status.rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(COLUMNS))]
    grid = ["  ".join(f"{text:<{width}}" for text, width in zip(row, widths)).rstrip() for row in cells]
    sentences = _first_of_each(status.sentences)
    more = len(sentences) - MOST_LINES
    shown = [*sentences[:MOST_LINES], *([f"and {more} more"] if more > 0 else [])]
    return [*grid, *(part for sentence in shown for part in on_screen(sentence))]


def _first_of_each(sentences: t.Sequence[str]) -> list[str]:
    """At most `MOST_OF_ONE` about each connection or host, and how many others there are."""
    found: dict[str, list[str]] = {}
    for sentence in sentences:
        found.setdefault(sentence.partition(":")[0], []).append(sentence)
    return [
        sentence
        for name, rows in found.items()
        for sentence in (
            *rows[:MOST_OF_ONE],
            *([f"{name}: and {len(rows) - MOST_OF_ONE} more"] if len(rows) > MOST_OF_ONE else ()),
        )
    ]


def _said(host: str, answer: Result) -> list[str]:
    """What the host says about itself."""
    found = [f"{host}: {kind}: {text}" for kind in ("wrong", "unseen") for text in answer[kind]]
    more = len(found) - MOST_OF_A_HOST
    return [*found[:MOST_OF_A_HOST], *([f"{host}: and {more} more, see: ipseckey status -v"] if more > 0 else [])]


def _row(
    connection: Connection, answers: t.Mapping[str, Result], known: Known | None, limits: due.Limits
) -> tuple[dict[str, t.Any], list[str]]:
    names = names_of(connection)
    present = {host: answer for host, answer in answers.items() if not has_failed(answer)}
    held = {name: {host: _held(answers[host], name) for host in hosts} for name, hosts in names.items()}
    bare = _bare(held)
    sentences = [f"{_hold(bare)} no SAs of this connection"] if bare else []
    agreement, disagreeing = _agreement(held, bare)
    generation, behind = _generation(held, known)
    ages = [row["age"] for answer in present.values() for name, row in answer["pairs"].items() if name in names]
    why = list(_due(names, present, known, limits, max(ages, default=0)))
    return {
        "connection": connection.name,
        "hosts": f"{len(present)}/{len(answers)}",
        "absent": sorted(set(answers) - set(present)),
        "generation": generation,
        "age": span(max(ages)) if ages else NONE if present else UNKNOWN,
        "due": YES if why else NO if len(present) == len(answers) else UNKNOWN,
        "agreement": agreement,
        "policies": _policies(names, answers) if ages else NONE if present else UNKNOWN,
        "boot": f"{sum(map(_boots, present.values()))}/{len(present)}" if present else UNKNOWN,
    }, [f"{connection.name}: {text}" for text in (*sentences, *disagreeing, *behind, *(f"due: {text}" for text in why))]


def _due(
    names: t.Collection[str],
    present: t.Mapping[str, Result],
    known: Known | None,
    limits: due.Limits,
    oldest: int,
) -> t.Iterator[str]:
    """Why the connection needs new keys, as the role `rotate` decides it. Without the keystore, the oldest SA tells
    how old the keys are.
    """
    current = {name: known.current_of(name) for name in names} if known is not None else {}
    numbers = sorted(set(current.values()))
    ages = [known.created[number] for number in numbers if number in known.created] if known is not None else []
    old = max(ages, default=oldest)
    if 0 < limits.age <= old:
        yield f"its keys are {due.duration(old)} old"
    for host, answer in sorted(present.items()):
        used: dict[int, list[Result]] = {}
        for name, row in answer["usage"].items():
            if name in names:
                used.setdefault(current.get(name, 0), []).append(row)
        for number, rows in sorted(used.items()):
            in_use = known.promoted.get(number, 0) if known is not None else 0
            yield from (f"{host}: {text}" for text in due.used_up(limits, rows, in_use))
        if any(name in names for name in answer["asked"]):
            yield f"{host}: its boot service asked for new keys"


def _bare(held: Held) -> list[str]:
    """The hosts that hold no SA of the connection at all."""
    found: dict[str, bool] = {}
    for row in held.values():
        for host, digest in row.items():
            found[host] = found.get(host, True) and digest == ""
    return sorted(host for host, bare in found.items() if bare)


def _agreement(held: Held, bare: t.Container[str]) -> tuple[str, list[str]]:
    """Whether all hosts hold the same SAs with the same keys, and a sentence for each pair that does not. Nothing is
    said again of hosts that are ``bare``.
    """
    sentences, found = [], set()
    for name, row in held.items():
        digests = {digest for digest in row.values() if digest is not None}
        agreed = len(digests) < 2
        found |= {NO} if not agreed else {UNKNOWN} if None in row.values() else {YES if any(digests) else NONE}
        missing = sorted(host for host, digest in row.items() if digest == "" and host not in bare)
        together = f"{' and '.join(row)} do not agree about {_ends(name)}"
        if missing and agreed:
            sentences.append(f"{_hold(missing)} no SAs between {_ends(name)}")
        elif missing:
            sentences.append(f"{together}: {_hold(missing)} none of them")
        elif len(digests - {""}) > 1:
            sentences.append(f"{together}: they hold different keys or SAs")
    return next((word for word in (NO, UNKNOWN, YES) if word in found), NONE), sentences


def _held(answer: Result, name: str) -> str | None:
    """The digest of the host's SAs, empty if it has none; None if unknown."""
    if has_failed(answer) or not answer["backend"] or answer["keys_hidden"]:
        return None
    found: str = answer["held"].get(name, "")
    return found


def _hold(hosts: t.Sequence[str]) -> str:
    """The hosts with their verb; so many are not read one by one."""
    more = len(hosts) - _MOST_HOSTS
    names = [*hosts[:_MOST_HOSTS], *([f"{more} more"] if more > 0 else [])]
    return f"{', '.join(names[:-1])} and {names[-1]} hold" if names[1:] else f"{names[0]} holds"


def _generation(held: Held, known: Known | None) -> tuple[str, list[str]]:
    """The generation that the hosts hold, and sentences for each host that holds others than the current one."""
    if known is None or not known.current:
        return UNKNOWN, []
    shown: set[int] = set()
    nothing = False
    found: dict[str, set[tuple[int, int]]] = {}
    for name, row in held.items():
        numbers, current = known.digests.get(name, {}), known.current_of(name)
        nothing = nothing or (bool(numbers) and "" in row.values())
        for host, digest in row.items():
            if digest:
                number = numbers.get(digest, 0)
                shown.add(number)
                found.setdefault(host, set()).update({(number, current)} if number != current else ())
    sentences = [
        f"{host} holds {f'generation {number}' if number else 'SAs that match no generation as a whole'}, not"
        f" generation {current} of the keystore"
        for host, rows in sorted(found.items())
        for number, current in sorted(rows)
    ]
    phase = "" if known.phase == STEADY else f" ({known.phase})"
    return (_numbers(sorted(shown), nothing) or UNKNOWN) + phase, sentences


def _numbers(generations: t.Sequence[int], nothing: bool) -> str:
    """Generations in few words; 0 stands for something else, ``nothing`` for hosts that lack SAs of one."""
    known = [number for number in generations if number]
    words = list(map(str, known)) if len(known) <= _MOST_GENERATIONS else [f"{known[0]} to {known[-1]}"]
    return ", ".join([*words, *([OTHER] if 0 in generations else []), *([NONE] if nothing else [])])


def _policies(names: t.Container[str], answers: t.Mapping[str, Result]) -> str:
    """Whether every SA of the connection has a policy on every host."""
    seen = [None if has_failed(answer) else answer["policies"] for answer in answers.values()]
    if any(facts is not None and any(name in names for name in (*facts["leaking"], *facts["open"])) for facts in seen):
        return NO
    return UNKNOWN if None in seen else YES


def _boots(answer: Result) -> bool:
    """Whether the host loads its SAs at boot, as far as can be seen."""
    return bool(answer["service"]["enabled"]) and answer["service"]["state"] != "failed"


def _ends(name: str) -> str:
    return " and ".join(name.partition("#")[0].split("|"))
