# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the operator reads about a rotation that stopped. Pure."""

from __future__ import annotations

import typing as t

from .._connections.units import connection_of
from .._keystore.records import IN_USE, RETIRING
from . import decisions

_FAILED = "restoring failed: {}"
# Hosts with the same problem that have a line each.
_ALONE = 3


def stopped(
    problems: t.Sequence[str],
    phase: str,
    expected: decisions.Result,
    cut: decisions.Results | None = None,
    rolled_back: decisions.Results | None = None,
    back: t.AbstractSet[decisions.Pair] = frozenset(),
    stayed: t.AbstractSet[decisions.Pair] = frozenset(),
    unsure: t.Collection[str] = (),
    undoing: t.Sequence[tuple[str, str]] = (),
) -> str:
    """The report on a stopped rotation: the reasons, which host holds which generation, and what to do.
    ``back`` are the pairs whose hosts go back, ``stayed`` those for which that is impossible,
    ``unsure`` hosts that may hold either generation; ``undoing`` are the hosts that could not undo
    everything, with the reasons.
    """
    said = [f"The rotation stopped at: {phase}."]
    said += [f"  {problem}" for problem in _together(problems, expected["hosts"])]
    if cut is None:
        said += [f"  {host}: {_FAILED.format(reason)}" for host, reason in undoing]
        said.append(
            "Every host still sends through its previous SAs. Fix this and run again; a prepared generation is resumed."
        )
        return "\n".join(said)
    states = decisions.host_states(cut, rolled_back) if rolled_back is not None else {host: "next" for host in cut}
    states.update(dict.fromkeys(unsure, "unknown"))
    confirmed = decisions.confirmed(expected, cut)
    said.append("Which host holds what:")
    words = {
        "before": "what it held before this run",
        "next": "{}, which its peers may not hold" if back else "{}",
        "unknown": "unknown: {}, or what it held before",
    }
    pending = decisions.in_phase(expected, *IN_USE)
    for host, state in sorted(states.items()):
        said.append(f"  {host}: {words[state].format(_generations(host, expected))}")
        said += [f"    {_FAILED.format(reason)}" for failing, reason in undoing if failing == host]
        own = decisions.pairs(expected, pending, host)
        for text in decisions.listed((own - back) & confirmed) if own & back else ():
            said.append(f"    it keeps the new SAs between {text.replace('|', ' and ')}, as its peer does")
        for text in decisions.listed(stayed & own):
            said.append(
                f"    its SAs between {text.replace('|', ' and ')} were kept: the previous ones were discarded and must"
                " not be loaded again"
            )
    if rolled_back is not None and not back and not stayed:
        said.append(
            "No host can go back, since some may have removed the previous SAs."
            if decisions.in_phase(expected, RETIRING)
            else "No host went back to its previous SAs, since no kernel refused the new ones and no packet was lost."
        )
    said.append(
        "Fix this and run again with the same connections: the run resumes the same generations and brings every host"
        " to them."
    )
    return "\n".join(said)


def _together(problems: t.Sequence[str], hosts: t.Container[str]) -> list[str]:
    """The problems, each once if many hosts have it."""
    found: dict[tuple[str, str], list[str]] = {}
    for problem in problems:
        host, separator, reason = problem.partition(": ")
        key = ("", reason) if separator and host in hosts else (problem, "")
        found.setdefault(key, []).append(host)
    lines = []
    for (whole, reason), names in found.items():
        if whole:
            lines.append(whole)
        elif len(names) > _ALONE:
            lines.append(f"{', '.join(names[:_ALONE])} and {len(names) - _ALONE} more: {reason}")
        else:
            lines += [f"{name}: {reason}" for name in names]
    return lines


def _generations(host: str, expected: decisions.Result) -> str:
    rows = [row for row in expected["connections"] if host in row["endpoints"]]
    found = dict.fromkeys((row["generation"], connection_of(row["name"])) for row in rows)
    return ", ".join(f"generation {number} of {name}" for number, name in found) or "no generation of these connections"
