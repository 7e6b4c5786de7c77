# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The cut-over and its verification: hosts begin to send through the new SAs, and test packets show whether what
they send arrives. Also what the run decides: the instant that hosts wait for, and whether to approve the generation.
Pure.
"""

from __future__ import annotations

from . import decisions, policies, probes, questions, taking
from .record import SKIPPED, UNANSWERED
from .rotation import ARRIVALS, CUT_OVER, SEND, Question, Questions, Result, Rotation


def instants(run: Rotation) -> dict[str, float]:
    """The common instant of the cut-over, on each host's own clock. A host reads its clock at the end of what
    it is asked, which may take seconds, so just before it answers.
    """
    return {
        host: run.started + run.delay + epoch - answered for host, (dummy, epoch, answered) in run.readings().items()
    }


def cut_over(run: Rotation, host: str) -> Questions:
    """The outbound SAs, too, are in the file before they are in the kernel. If the host reboots once it
    has confirmed that it sends through the new SAs, it continues to do so.
    """
    delay = run.delay if run.pairs(run.gaps, host) else 0
    if run.overlaps(host):
        leave = decisions.listed(run.pairs({*run.gaps, *run.beside}, host))
        yield questions.change_file(run, host, {"src": run.next_file(host), "direction": "outbound", "leave": leave})
        # Not before all peers accept them: the previous policies may send through them as soon as they are there.
        yield from questions.add_outbound(run, host, run.beside & run.overtaking)
    yield from _flushed_file(run, host)
    yield questions.change_sadb(
        run,
        host,
        {
            "src": run.next_file(host),
            "state": "exact",
            **directions(run, host),
            "beside": _beside(run, host),
            "backup": run.previous_file(host),
            "backup_label": run.label(host),
            **({"at": run.state["instants"][host]} if delay else {}),
        },
        delay=delay,
    )
    yield from policies.at_cut_over(run, host, delay)
    if run.wide["probe"]:
        # No host sends test packets before all hosts have cut over.
        yield _probe(run, host, "before", 0)


def _flushed_file(run: Rotation, host: str) -> Questions:
    """In both directions, what changes with a gap (`questions.flushed`)."""
    names = questions.flushed(run)
    if run.pairs(names, host):
        options = {"src": run.next_file(host), "leave": questions.all_but(run, host, names)}
        yield questions.change_file(run, host, options)._replace(name=questions.FLUSHED)


def directions(run: Rotation, host: str) -> Result:
    """The directions in which a cut-over changes the SADB, and in which it is undone."""
    if not run.overlaps(host):
        return {}
    return {"direction": "outbound", "both_directions": decisions.listed(run.pairs(run.gaps, host))}


def _beside(run: Rotation, host: str) -> list[str]:
    """The host's pairs whose previous SAs stay beside the new ones."""
    return decisions.listed(run.pairs(run.beside, host))


def send(run: Rotation, host: str) -> Questions:
    if run.wide["probe"] and not problems(run):
        yield _probe(run, host, SEND, run.wide["probe_count"])


def arrivals(run: Rotation, host: str) -> Questions:
    """All hosts have sent, so all packets should have arrived."""
    if run.wide["probe"] and not problems(run):
        yield _probe(run, host, ARRIVALS, 0)


def _probe(run: Rotation, host: str, name: str, count: int) -> Question:
    return Question(
        name, "ipsec_probe", {"src": run.next_file(host), "count": count, "backend": run.own(host)["backend"]}
    )


def problems(run: Rotation) -> list[str]:
    """Verification failures after the cut-over: hosts that failed, and hosts that hold SAs
    other than the keystore's.
    """
    results = run.results(CUT_OVER, "sadb")
    unasked = run.unasked(
        CUT_OVER,
        lambda host: [
            "sadb",
            *(["file"] if run.overlaps(host) else []),
            *(question.name for question in questions.add_outbound(run, host, run.beside & run.overtaking)),
            *(question.name for question in _flushed_file(run, host)),
            *policies.asked_at_cut_over(run, host),
            *(["before"] if run.wide["probe"] else []),
        ],
    )
    return run.problems(CUT_OVER) or unasked or decisions.agreement(results, run.expected)


def verdict(run: Rotation) -> tuple[list[str], list[str]]:
    """Verification failures after test packets were sent, and what could not be tested."""
    found = problems(run)
    if found or not run.wide["probe"]:
        return found, []
    found = [problem for step in (SEND, ARRIVALS) for problem in decisions.task_problems(probe_answers(run, step))]
    if found:
        return found, []
    result = probed(run)
    return result.problems or taking.unused(run), result.unprobed


def probe_answers(run: Rotation, step: str) -> dict[str, Result]:
    """The hosts' answers about test packets. One that should have been asked but was not counts as unanswered."""
    found = {host: run.answers(step, host).get(step) for host in run.hosts}
    return {host: UNANSWERED if answer == SKIPPED else answer for host, answer in found.items()}


def probed(run: Rotation) -> probes.Probed:
    """What became of the test packets."""
    return probes.verdict(run.results(SEND, SEND), run.results(ARRIVALS, ARRIVALS), run.results(CUT_OVER, "before"))
