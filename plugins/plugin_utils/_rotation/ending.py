# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a run ends: why it stopped, and what the operator reads. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import IpsecError

from .. import _screen
from . import cutover, failure, leaving, notes, policies, rollback, rotation, staging
from .report import Row
from .rotation import Result, Rotation
from .table import brief, table

UNFORESEEN = "a step ended with an error that is shown above"
# By whether the run only checks.
_CONTROLLER_ONLY = {
    False: "No host changed. The keystore did, which is on the controller.",
    True: "No host would change. The keystore would, which is on the controller.",
}


class Stop(IpsecError):
    """The rotation ends here, in a phase, for these reasons; the message is the report."""

    def __init__(self, text: str, phase: str, problems: t.Sequence[str]) -> None:
        super().__init__(text)
        self.phase = phase
        self.problems = problems


def stopped(problems: t.Sequence[str], phase: str, *details: t.Any, **more: t.Any) -> Stop:
    """The end of a rotation in this phase; the details are those of `failure.stopped`."""
    return Stop(failure.stopped(problems, phase, *details, **more), phase, problems)


def rolled_back(run: Rotation) -> Stop | None:
    """The report on hosts that did not keep the new SAs; None if that did not happen, or was reported."""
    if not run.state["due"] or run.state["approved"] or "stop" in run.state:
        return None
    if not run.state["switching"]:
        problems = [run.state["refusal"]] if run.state["refusal"] else staging.problems(run)
        return stopped(problems, "stage", run.expected, undoing=run.failures(rotation.GO_BACK))
    cut, back = run.results(rotation.CUT_OVER, "sadb"), run.results(rotation.GO_BACK, "back")
    phase, problems = _reasons(run)
    ways, stayed, unsure = rollback.ways_back(run), rollback.stayed(run), rollback.unsure(run)
    undoing = run.failures(rotation.GO_BACK, rotation.FORGET)
    return stopped(problems, phase, run.expected, cut, back, ways, stayed, unsure, undoing)


def _reasons(run: Rotation) -> tuple[str, list[str]]:
    """The phase in which the generation was not approved, and the reasons."""
    try:
        cut = cutover.problems(run)
        return ("cut over", cut) if cut else ("verify", cutover.verdict(run)[0] or [UNFORESEEN])
    except Exception:  # pylint: disable=broad-except  # our own error prevented approval; report it
        return "verify", [UNFORESEEN]


def unforeseen(state: t.Mapping[str, t.Any]) -> Result:
    """Why the run is not complete although no step says so; empty if it is."""
    phase = ""
    if not state.get("prepared"):
        phase = "preflight"
    elif state["due"] and not state.get("promoted"):
        phase = "rotation"
    elif state["leaving"] and "left" not in state:
        phase = rotation.LEAVE
    return {"phase": phase, "problems": [UNFORESEEN]} if phase else {}


def not_removed(problems: t.Sequence[str]) -> Stop:
    """The report on hosts that did not remove what left the connections."""
    said = ["What has left the connections could not be removed everywhere.", *(f"  {problem}" for problem in problems)]
    said.append("Fix this and run again. Hosts that are done are not asked again.")
    return Stop("\n".join(said), rotation.LEAVE, problems)


def lines(run: Rotation, rows: t.Sequence[Row], stop: Result, check_mode: bool) -> list[str]:
    """What the operator reads after a run, besides the reasons why it stopped."""
    found = []
    if rows and (not stop or run.state["switching"]):
        found = [
            *brief(run.state.get("reasons", ())),
            *table(rows, not stop, policies.changed(run), len(notes.requests(run))),
        ]
    foreseen = check_mode and run.state.get("prepared")
    said = leaving.foreseen(run) if foreseen else run.state.get("left_lines", ())
    found += [part for line in said for part in _screen.on_screen(line)]
    if run.state.get("keystore") and not run.state["changing"]:
        found += _screen.on_screen(_CONTROLLER_ONLY[check_mode])
    return found
