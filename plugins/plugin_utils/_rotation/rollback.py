# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rollback of a generation that was not approved: hosts send through their previous SAs again, then stop accepting
packets through the new ones. Also what the run decides: which pairs of addresses go back, and which hosts did. Pure.
"""

from __future__ import annotations

import typing as t

from .._keystore.records import IN_USE
from . import cutover, decisions, pins, policies, probes, questions, staging
from .record import Answers
from .rotation import ARRIVALS, CUT_OVER, GO_BACK, PREFLIGHT, STAGE, Questions, Result, Rotation


def go_back(run: Rotation, host: str) -> Questions:
    """Before the switch nobody sends through the new SAs, so they are removed. After it, the host
    sends through its previous SAs again, if it should; it still accepts packets through the new ones,
    which peers may send until they have gone back too. Hosts that did not answer are asked too: they
    may have switched, and may be reachable again.

    The cut-over saves the previous SAs before it changes anything, so without a saved file nothing
    was changed.
    """
    if not run.state["switching"]:
        yield from staging.unstage(run, host)
        return
    every = run.pairs(run.names, host)
    back = every & ways_back(run)
    if not back or not run.answers(CUT_OVER, host).results:
        return
    kept = every - back
    yield from policies.back(run, host, back)
    if run.overlaps(host):
        yield from _former(run, host, back)
        gaps = run.pairs(run.gaps, host)
        yield questions.restore_file(run, host, {"direction": "outbound", "leave": decisions.listed(kept | gaps)})
    yield questions.change_sadb(
        run,
        host,
        {
            "src": run.previous_file(host),
            "scope_src": run.next_file(host),
            "state": "exact",
            **cutover.directions(run, host),
            "src_label": run.label(host),
            "ignore_missing": True,
            # An earlier run may have saved SAs of units that this one leaves out.
            "leave": decisions.listed(kept | questions.left_out(run, host)),
            "allow_static_counter_mode": True,  # restore whatever the host had
        },
        name="back",
    )
    # After the kernel: peers that go back accept nothing else.
    yield from questions.restore_flushed(run, host, back)


def _former(run: Rotation, host: str, back: t.AbstractSet[decisions.Pair]) -> Questions:
    """The outbound SAs that the file held before the first generation of these pairs, which the keystore does not know,
    from what the host saved of its SADB. They stand beside the new ones until these are removed, since it may reboot.
    """
    preflight, staged = run.answers(PREFLIGHT, host).get(PREFLIGHT), run.answers(STAGE, host).get("sadb")
    resumed = host in decisions.resumed_hosts(run.expected) and decisions.leftover(preflight, ".previous")
    if not (resumed or staged.get("changed")):
        return
    first = {row["name"] for row in run.expected["connections"] if not row["current"]}
    pairs = run.pairs(first - run.gaps.keys() - run.beside, host) & back & decisions.filed(preflight)
    if pairs:
        leave = decisions.listed(run.pairs(run.names, host) - pairs)
        options = {"src": run.previous_file(host), "keep": True, "direction": "outbound", "leave": leave}
        # Whatever the file had: a refusal would keep the host from going back.
        anything = {"allow_shared_key": True, "allow_reserved_spi": True}
        yield questions.change_file(run, host, {**options, **anything})._replace(name="former")


def forget(run: Rotation, host: str) -> Questions:
    """Remove the new inbound SAs of pairs whose hosts all went back. If they stayed, an anti-replay
    window would drop the first packets of the next run, whose sequence numbers begin again. They stay
    nevertheless where a host may have sent through the new SAs before this run, since it then went back to those.
    """
    if not run.state["switching"] or not run.answers(CUT_OVER, host).results:
        return
    every = run.pairs(run.names, host)
    back = every & ways_back(run)
    sure = went_back(run)
    unsure = {pair for other in run.hosts if other not in sure for pair in run.pairs(run.names, other)}
    switched = decisions.switched(run.results(PREFLIGHT, PREFLIGHT), run.expected, run.state["begun"])
    unused = back - unsure - switched - run.pairs(run.gaps, host)
    if unused:
        limits = {"direction": "inbound", "leave": decisions.listed(every - unused)}
        yield questions.change_sadb(run, host, {"src": run.next_file(host), **questions.LOADS_NOTHING, **limits})
        yield questions.restore_file(run, host, limits)
        yield from policies.narrowed(run, host, unused, set(run.names) - policies.within(run, host, back))
        yield from pins.released(run, host, {name for name in run.names if run.pairs([name], host) <= unused})
    # The next run needs both files if it has something left to undo.
    if host in sure and back - switched >= run.pairs(decisions.in_phase(run.expected, *IN_USE), host):
        yield questions.tidy(run, host)


def ways_back(run: Rotation) -> set[decisions.Pair]:
    """The pairs whose hosts go back to their previous SAs. A host that could not count tells nothing
    about what arrived. Discarded SAs are never loaded again.
    """
    counted = not decisions.task_problems(cutover.probe_answers(run, ARRIVALS))
    dead = probes.dead_pairs(run.expected, cutover.probed(run).lost) if counted else set()
    return decisions.ways_back(run.expected, _cut_over_answers(run), dead, run.gaps) - stayed(run)


def _cut_over_answers(run: Rotation) -> dict[str, Result]:
    """Each host's answer about its new SAs. A host that refuses the policies cannot use the SAs either."""
    found = run.results(CUT_OVER, "sadb")
    for question in (policies.SERVICE, policies.POLICIES):
        answers = run.results(CUT_OVER, question)
        found = {host: answers[host] if decisions.has_failed(answers[host]) else found[host] for host in found}
    return found


def stayed(run: Rotation) -> set[decisions.Pair]:
    """The pairs whose previous SAs were discarded."""
    return decisions.left_alone(run.results(PREFLIGHT, PREFLIGHT), run.expected)


def went_back(run: Rotation) -> list[str]:
    """The hosts that certainly send through their previous SAs, also after a reboot. Without a saved
    file, a host with SAs that overlap may send through the new ones since an earlier run.
    """
    states = decisions.host_states(run.results(CUT_OVER, "sadb"), run.results(GO_BACK, "back"))
    return [
        host
        for host, state in sorted(states.items())
        if _confirmed(run.answers(GO_BACK, host), "back")
        and (_restored(run.answers(GO_BACK, host)) if run.overlaps(host) else state == "before")
    ]


def _confirmed(answers: Answers, name: str) -> bool:
    """Whether the host did what this question asks, and nothing else that the step asked failed."""
    failed = any(map(decisions.has_failed, answers.results.values()))
    return not (failed or decisions.was_skipped(answers.get(name)))


def _restored(answers: Answers) -> bool:
    return _confirmed(answers, "file") and not answers.get("back").get("missing")


def unsure(run: Rotation) -> list[str]:
    """The hosts that were asked to switch, and may or may not have done so, or gone back."""
    sure = went_back(run)
    asked = [host for host in run.hosts if run.overlaps(host) and run.answers(CUT_OVER, host).results]
    cut = run.results(CUT_OVER, "sadb")
    return [
        host
        for host in asked
        if host not in sure and (decisions.was_skipped(cut[host]) or decisions.has_failed(cut[host]))
    ]
