# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a rotation asks each host first: whether it can take part, and which SAs it holds. Nothing changes. Pure."""

from __future__ import annotations

from .._keystore.records import IN_USE, PREPARED
from . import clocks, decisions, departure_warnings, due, leaving, notes, policy_checks, questions, taking
from .rotation import PREFLIGHT, Questions, Rotation


def preflight(run: Rotation, host: str) -> Questions:
    view = run.expected["hosts"][host]
    yield from policy_checks.checked(run, host)
    yield from leaving.compared(run, host)
    # Asked last, so that the host's clock is read between the recorded times of this step.
    expected = decisions.held_by(run.expected, host)
    wanted = {"addresses": view["addresses"], "associations": view["associations"], "expected": expected}
    yield questions.preflight(run, host, {**wanted, "usage": run.wide["when"] == due.DUE})


def problems(run: Rotation, forks: int) -> list[str]:
    """Why the hosts cannot take part; and with a cut-over instant, why they cannot wait for it together."""
    boot = {host: policy_checks.boot_problems(run, host) for host in run.hosts}
    found = [problem for host in run.hosts for problem in boot[host]]
    # What else such a host says is about the same.
    found += [f"{host}: {reason}" for host, reason in run.failures(PREFLIGHT) if not boot[host]]
    found = found or run.unasked(PREFLIGHT, lambda host: [PREFLIGHT])
    found = found or policy_checks.overtaken(run) + taking.problems(run)
    if run.delay:
        found += clocks.problems(run.readings(), run.wide["clock_tolerance"], forks)
    return found


def out_of_place(run: Rotation) -> list[str]:
    """What hosts do not hold as they should."""
    return [
        *decisions.in_place(run.results(PREFLIGHT, PREFLIGHT), run.expected),
        *(f"{host}: {place}" for host, place in policy_checks.out_of_place(run)),
        *(f"{host}: {place}" for host, dummy, place in taking.out_of_place(run)),
    ]


def warnings(run: Rotation) -> list[str]:
    """What the operator should know before hosts change."""
    return [
        *departure_warnings.kept(run),
        *departure_warnings.unknown(run),
        *departure_warnings.announced(run),
        *(_gaps(run) if run.state["due"] else ()),
        *(policy_checks.pauses(run) if run.state["due"] else ()),
        *policy_checks.boot_warnings(run),
        *notes.requests(run),
    ]


def _gaps(run: Rotation) -> list[str]:
    """Warnings about connections that would overlap, but cannot."""
    if run.wide["strategy"] == decisions.FLUSH:
        return []
    pending = decisions.in_phase(run.expected, *IN_USE, PREPARED)
    gap = clocks.expected_gap(run.readings(), run.wide["clock_tolerance"] if run.delay else None)
    return [
        f"connection {name} changes with a gap of {gap}, in which packets are lost: {reason}. rotate_cutover_delay"
        " shortens it."
        for reason in dict.fromkeys(run.gaps.values())
        for name in decisions.summed_up(run.expected, {name for name in pending if run.gaps.get(name) == reason})
    ]
