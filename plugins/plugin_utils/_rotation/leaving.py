# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The removal of what left the connections (`departures`). Pure.

On each host the SAs go first, from the protected file and then from the kernel, and the policies last.
So at every moment, and if the step fails halfway, traffic is protected, or stopped by a policy that
finds no SA; it passes in the clear only when everything is done. A peer that is not done yet drops
what arrives in the clear.
"""

from __future__ import annotations

import typing as t

from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.checks import ANYTHING
from ansible_collections.ipsec.manual.plugins.module_utils._core.spd.policy import identity
from ansible_collections.ipsec.manual.plugins.module_utils._core.spd.text import read_policy
from ansible_collections.ipsec.manual.plugins.module_utils._core.text import language

from .._connections.model import Connection
from .._connections.units import name_of
from .._policies import policies_of_host
from . import decisions, departures, policies, questions
from .departures import listed, names_at
from .rotation import LEAVE, PREFLIGHT, TIDY, Question, Questions, Result, Rotation

_COMPARED = "policies_leaving"


def preflight(run: Rotation, host: str) -> Questions:
    """What must be known about a host that is no longer in any connection of the run."""
    if host in departures.hosts(run):
        yield from compared(run, host)
        nothing: Result = {"addresses": [], "associations": [], "expected": {}}
        yield questions.preflight(run, host, nothing)


def compared(run: Rotation, host: str) -> Questions:
    """What the host has in place of the policies that are to go."""
    wanted = _policies(run, host, [part for part in departures.chosen(run) if host in part.hosts])
    if wanted:
        yield Question(_COMPARED, "ipsec_policy", {"policies": wanted}, check=True)


def leave(run: Rotation, host: str) -> Questions:
    """A host that could not be reached before is not asked."""
    own = [part for part in departures.chosen(run) if host in part.hosts]
    if not own or not _is_reached(run, host):
        return
    listed, staged = run.replaced_file(host), run.next_file(host)
    common = {"path": listed, **run.deadline(host)}
    ends = _ends(run, host)
    if ends and decisions.leftover(run.answers(PREFLIGHT, host).get(PREFLIGHT), ".next"):
        # Nothing else lists the SAs of a generation that was staged and then discarded.
        anything = {"content": "", "remove_src": staged}
        yield questions.change_file(run, host, anything)._replace(name="staged_file")
        yield questions.removal(run, host, staged)._replace(name="staged_removal")
    yield Question(
        "left",
        "ipseckeys_file",
        {**common, "content": run.left(departures.units(own), host), "allow_static_counter_mode": True},
    )
    yield questions.change_file(run, host, {"content": "", "remove_src": listed})
    yield questions.removal(run, host)
    gone = _policies(run, host, own)
    foreign = _of_others(run, host, own)
    ours = [policy for policy in gone if policies.labelled(policy) not in foreign]
    if ours:
        options = {"policies": ours, "state": "absent", **run.deadline(host)}
        yield Question(policies.POLICIES, "ipsec_policy", options)
    yield from _boot(run, host, gone)
    # An interrupted run may have left these, with keys.
    others = {"others": [staged, run.previous_file(host)]} if ends else {}
    yield Question(TIDY, "ipseckeys_file", {**common, **others, "state": "absent"})


def _ends(run: Rotation, host: str) -> bool:
    """Whether this is the last that the host has of any connection: then no other step will ever clean it up."""
    return host not in run.expected["hosts"] and not any(host in part.hosts for part in departures.divided(run)[1])


def _policies(run: Rotation, host: str, own: t.Sequence[departures.Leaving]) -> list[Result]:
    """The policies of these units that no other unit has, and that the host does not load for another reason."""
    if not run.own(host)["policies"]:
        return []
    here = run.own(host)
    others = [*run.connections(), *(shape for part in departures.divided(run)[1] for shape in part.shapes)]
    needed = {_identity(view) for view in (*_of(run, host, others), *here["boot_policies"])}
    # Two generations of a unit, and two connections between the same addresses, have the same policies.
    found = {_identity(view): view for view in _of(run, host, [shape for part in own for shape in part.shapes])}
    return [view for key, view in found.items() if key not in needed]


def _of_others(run: Rotation, host: str, own: t.Sequence[departures.Leaving]) -> list[str]:
    """The policies that something else, such as an IKE daemon, has put in the place of those of these units. Without
    them, what they protect would pass in the clear.
    """
    known = {policies.ANY_REQID, *(shape.reqid for part in own for shape in part.shapes)}
    rows = run.answers(PREFLIGHT, host).get(_COMPARED).get("replaced", ())
    return [row["policy"] for row in rows if not row["reqids"] or not known.issuperset(row["reqids"])]


def _identity(view: Result) -> t.Hashable:
    return identity(read_policy(view, "", []))


def _of(run: Rotation, host: str, connections: t.Iterable[Connection]) -> list[Result]:
    priority = run.own(host)["policy_priority"]
    return [policy for connection in connections for policy in policies_of_host(connection, host, priority)]


def _boot(run: Rotation, host: str, gone: list[Result]) -> Questions:
    if not run.own(host)["boot"]:
        return
    if run.wide["state"] == departures.ABSENT:
        manager = run.own(host)["boot_options"]["service_manager"]
        yield Question(
            policies.SERVICE, "ipsec_boot", {"state": "absent", "service_manager": manager, **run.deadline(host)}
        )
        return
    for question in policies.boot(run, host):
        yield question._replace(options={**question.options, "removed": gone})


def done(run: Rotation) -> list[str]:
    """The hosts that removed everything."""
    return [
        host
        for host in departures.hosts(run)
        for answers in [run.answers(LEAVE, host).results]
        if TIDY in answers and not any(map(decisions.has_failed, answers.values()))
    ]


def problems(run: Rotation) -> list[str]:
    """Why hosts that could be reached did not remove everything."""
    found: dict[str, None] = {}
    finished = set(done(run))
    for host in departures.hosts(run):
        reasons = [
            decisions.reason(answer)
            for answer in _answers(run, host)
            if decisions.has_failed(answer) and not decisions.is_unreachable(answer)
        ]
        if host not in finished and not reasons and not _is_away(run, host):
            # An error of this code, or the end of the time for the task, came before its questions.
            reasons = [decisions.UNASKED]
        found.update((f"{host}: {reason}", None) for reason in reasons)
    return list(found)


def _answers(run: Rotation, host: str) -> list[Result]:
    return [answer for step in (PREFLIGHT, LEAVE) for answer in run.answers(step, host).results.values()]


def _is_away(run: Rotation, host: str) -> bool:
    """Whether the host did not answer."""
    answers = _answers(run, host)
    return not answers or any(map(decisions.is_unreachable, answers))


def forecast(run: Rotation, host: str) -> list[str]:
    """What a run would remove from a host."""
    own = [part for part in departures.chosen(run) if host in part.hosts]
    if not own or not _is_reached(run, host):
        return []
    names = [name for part in own for name in names_at(part, host)]
    text = language.parse(run.left(departures.units(own), host), **ANYTHING)
    spis = sorted({f"0x{sa.spi:08x}" for sa in text.sas})
    found = [
        f"{listed(names)}: no longer in the connections; a run would remove",
        f"  SAs in the kernel and in {run.own(host)['file']}: {listed(spis)}",
    ]
    foreign = _of_others(run, host, own)
    gone = [text for text in map(policies.labelled, _policies(run, host, own)) if text not in foreign]
    if foreign:
        found.append(f"  but not policies that others have put in place of its own: {listed(foreign)}")
    if gone:
        found += [f"  policies: {listed(gone)}", "  after which nothing protects this traffic"]
    elif not run.own(host)["policies"]:
        found.append("  policies: none, since the run is without rotate_policies; those that it has stop the traffic")
    elif not foreign:
        found.append("  policies: none, since other connections need them")
    if run.own(host)["boot"]:
        found.append(
            f"  at boot: {'the service' if run.wide['state'] == departures.ABSENT else 'the same SAs and policies'}"
        )
    return found


def foreseen(run: Rotation) -> list[str]:
    """What a run would not remove, since it would not reach the hosts."""
    waiting: dict[str, list[str]] = {}
    for part in departures.chosen(run):
        for host in part.hosts:
            if not _is_reached(run, host):
                waiting.setdefault(host, []).extend(names_at(part, host))
    return [
        f"Would still have to be removed from {host}, which {_why(run, host)}: {listed(names)}."
        for host, names in sorted(waiting.items())
    ]


def _is_reached(run: Rotation, host: str) -> bool:
    """Whether the host answered what the run asked it first."""
    if host not in run.state["own"]:
        return False
    checked = run.answers(PREFLIGHT, host).get(PREFLIGHT)
    return not (decisions.has_failed(checked) or decisions.was_skipped(checked))


def _why(run: Rotation, host: str) -> str:
    if host not in run.state["own"]:
        return "takes no part in this run"
    return "was not reached" if _is_away(run, host) else "could not do it"


def lines(run: Rotation) -> list[str]:
    """What the run removed, and what remains to be removed."""
    finished = set(done(run))
    removed: dict[str, list[str]] = {}
    waiting: dict[str, list[str]] = {}
    retirable: dict[str, dict[str, None]] = {}
    staying = {connection.name: connection.hosts for connection in run.connections()}
    for part in departures.chosen(run):
        for host in part.hosts:
            names = names_at(part, host)
            (removed if host in finished else waiting).setdefault(host, []).extend(names)
            # A word for a host that has other pairs in the connection would name those.
            words = names if host in staying.get(part.name, ()) else [f"{part.name}/{host}"]
            retirable.setdefault(host, {}).update(dict.fromkeys(words))
    found = [f"Removed from {host}: {listed(names)}." for host, names in sorted(removed.items())]
    for host in sorted(removed):
        foreign = _of_others(run, host, [part for part in departures.chosen(run) if host in part.hosts])
        if foreign:
            found.append(f"Kept on {host}, since others have put them in place of its own: policies {listed(foreign)}.")
    for host, names in sorted(waiting.items()):
        found.append(
            f"Still to be removed from {host}, which {_why(run, host)}: {listed(names)}. The next run that reaches it"
            " removes them; if none ever will, retire them with ipsec_keystore, state retired and only"
            f" [{', '.join(retirable[host])}]."
        )
    return found


def report(run: Rotation) -> list[Result]:
    """The same as data."""
    finished = set(done(run))
    return [
        {
            "name": name_of(part.name, unit),
            "connection": part.name,
            "removed_from": [host for host in ends if host in finished or host not in part.hosts],
            "waiting_for": [host for host in ends if host not in finished and host in part.hosts],
        }
        for part in departures.chosen(run)
        for unit in sorted(part.units)
        for ends in [list(unit or part.everyone)]
    ]
