# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The questions that several steps of a rotation ask, and the pairs of addresses that they leave alone. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import format_address

from .._connections.units import names_at
from . import decisions
from .rotation import PREFLIGHT, TIDY, Question, Questions, Result, Rotation

BESIDE, FLUSHED = "beside", "flushed"
LOADS_NOTHING = {"state": "absent", "allow_static_counter_mode": True}


def preflight(run: Rotation, host: str, wanted: Result) -> Question:
    """What the host holds, and whether it can do what is ``wanted``."""
    own = run.own(host)
    return Question(
        PREFLIGHT,
        "ipsec_preflight",
        {
            "path": own["file"],
            "backend": own["backend"],
            **wanted,
            "allow_static_counter_mode": run.wide["allow_static_counter_mode"],
            "digest_key": run.state["digest_key"],
        },
    )


def change_sadb(run: Rotation, host: str, options: Result, name: str = "sadb", delay: float = 0) -> Question:
    """A change of the SADB."""
    common = {
        "scope": "peers",
        "backend": run.own(host)["backend"],
        "allow_static_counter_mode": run.wide["allow_static_counter_mode"],
        "digest_key": run.state["digest_key"],
        **run.deadline(host, delay),
    }
    return Question(name, "ipsec_sadb", {**common, **options})


def change_file(run: Rotation, host: str, options: Result) -> Question:
    """A change of the protected file."""
    found = run.answers(PREFLIGHT, host).get(PREFLIGHT)
    common = {
        "path": run.own(host)["file"],
        "scope": "peers",
        "omit_counter_mode": True,
        "target": "solaris" if found.get("backend") == "solaris" else "linux",
        "allow_static_counter_mode": run.wide["allow_static_counter_mode"],
        "digest_key": run.state["digest_key"],
        **run.deadline(host),
    }
    return Question("file", "ipseckeys_file", {**common, **options})


def restore_file(run: Rotation, host: str, options: Result) -> Question:
    """The protected file with the current generations again instead of the next ones."""
    previous = {"content": current_of(run, host, run.names), "remove_src": run.next_file(host)}
    return change_file(run, host, {**previous, **options})


def current_of(run: Rotation, host: str, names: t.Collection[str]) -> str:
    """The text of the current generations of those of these units that overlap; empty if there are none."""
    return _current(run, host, frozenset(names).difference(run.gaps))


def _current(run: Rotation, host: str, names: t.AbstractSet[str]) -> str:
    rows = [row for row in run.expected["connections"] if row["name"] in names]
    found = [row["name"] for row in rows if row["current"] and host in row["endpoints"]]
    return run.text(found, host, "current") if found else ""


def flushed(run: Rotation) -> set[str]:
    """The units that change with a gap, and whose SAs in the file change with those in the kernel: the policies that
    the host loads at boot are for both generations. Those of all others change at the end of the run.
    """
    rows = run.expected["connections"]
    return {row["name"] for row in rows if row["name"] in run.gaps and row["current"] and not row["before"]}


def restore_flushed(run: Rotation, host: str, pairs: t.AbstractSet[decisions.Pair]) -> Questions:
    """Of the units `flushed`, the current generations between these addresses again instead of the next ones."""
    names = flushed(run)
    wanted = run.pairs(names, host) & pairs
    if wanted:
        leave = decisions.listed(run.pairs(run.names, host) - wanted)
        options = {"content": _current(run, host, names), "remove_src": run.next_file(host), "leave": leave}
        yield change_file(run, host, options)._replace(name=FLUSHED)


def add_outbound(run: Rotation, host: str, names: t.Collection[str]) -> Questions:
    """The new outbound SAs of these units, in the file beside the previous ones."""
    if run.pairs(names, host):
        outbound = {"direction": "outbound", "leave": all_but(run, host, names)}
        question = change_file(run, host, {"src": run.next_file(host), "keep": True, **outbound})
        yield question._replace(name=BESIDE)


def all_but(run: Rotation, host: str, names: t.Collection[str]) -> list[str]:
    """The host's pairs of all units but these."""
    return decisions.listed(run.pairs(run.names, host) - run.pairs(names, host))


def left_out(run: Rotation, host: str, wanted: t.Callable[[str], bool] = lambda name: True) -> set[decisions.Pair]:
    """The host's pairs of addresses in ``wanted`` units that are not part of this run."""
    names = set(run.names)
    found: set[decisions.Pair] = set()
    for connection in run.connections():
        units = {unit for unit, name in names_at(connection, host).items() if name not in names and wanted(name)}
        for source, destinations in connection.only(units).flows(host) if units else ():
            found.update(frozenset(map(format_address, (source, destination))) for destination in destinations)
    return found


def removal(run: Rotation, host: str, listed: str = "") -> Question:
    """To remove the SAs that a file lists, by default the one for that."""
    options = {"src": listed or run.replaced_file(host), "state": "absent", "backend": run.own(host)["backend"]}
    return Question("removal", "ipsec_sadb", {**options, **run.deadline(host)})


def tidy(run: Rotation, host: str, more: t.Sequence[str] = ()) -> Question:
    """To remove the files that a rotation needs only while it lasts, and ``more``."""
    others = [run.previous_file(host), run.replaced_file(host), *more]
    return Question(
        TIDY, "ipseckeys_file", {"path": run.next_file(host), "others": others, "state": "absent", **run.deadline(host)}
    )
