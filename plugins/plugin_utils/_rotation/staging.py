# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Staging: hosts write the SAs of the generation to a file and accept packets through them, or remove them again while
no host may send through them yet. Pure.
"""

from __future__ import annotations

import typing as t

from .._keystore.records import IN_USE, STEADY, SWITCHING
from . import decisions, pins, policies, questions
from .rotation import PREFLIGHT, STAGE, TIDY, Question, Questions, Rotation

POLICIES_FILE = "/etc/ipsecpolicies.json"
# Questions that write or remove files only for the time of a run.
_NEXT, _REPLACED, _UNSTAGE = "next", "replaced", "unstage"
TEMPORARY = frozenset([_NEXT, _REPLACED, _UNSTAGE, TIDY])


def stage(run: Rotation, host: str) -> Questions:
    """With other addresses, or another reqid, mark or if_id, the new SAs do not replace the old ones.

    The inbound SAs are in the file before they are in the kernel, so that a host that reboots still
    accepts what its peers send."""
    view, own = run.expected["hosts"][host], run.own(host)
    found = run.answers(PREFLIGHT, host).get(PREFLIGHT)
    stale = decisions.leftover(found, ".previous") and host not in decisions.resumed_hosts(run.expected)
    if stale:
        # Its keys have been retired since then and must not be loaded again.
        yield Question(
            "previous", "ipseckeys_file", {"path": run.previous_file(host), "state": "absent", **run.deadline(host)}
        )
    if decisions.leftover(found, ".next"):
        yield from _without_discarded(run, host)
    common = {"digest_key": run.state["digest_key"], **run.deadline(host)}
    yield Question(
        _NEXT,
        "ipseckeys_file",
        {
            **common,
            "path": run.next_file(host),
            "content": run.text(view["connections"], host, "newest"),
            "allow_static_counter_mode": run.wide["allow_static_counter_mode"],
            **({} if own["policies"] and own["boot"] else {"policies_file": POLICIES_FILE}),
        },
    )
    if run.left_behind(host):
        yield Question(
            _REPLACED,
            "ipseckeys_file",
            {
                **common,
                "path": run.replaced_file(host),
                "content": run.text(run.left_behind(host), host, "current"),
                "allow_static_counter_mode": True,  # nothing is loaded from it
            },
        )

    if run.overlaps(host):
        yield from pins.staged(run, host)
        inbound = {"direction": "inbound", "leave": decisions.listed(run.pairs(run.gaps, host))}
        yield questions.change_file(run, host, {"src": run.next_file(host), "keep": True, **inbound})
        yield from questions.add_outbound(run, host, run.beside - run.overtaking)
        # A host that moved may not have its previous address any more; nothing removes the SAs for that yet.
        stayed = decisions.in_phase(run.expected, SWITCHING) - decisions.moved(run.expected)
        current = questions.current_of(run, host, stayed)
        if current:
            # An earlier run may have removed them, and peers may send through them, or may go back to them.
            yield questions.change_sadb(run, host, {"content": current, "state": "present", **inbound}, name="current")
        # The cut-over may find nothing to change, and so nothing to save, if the host reboots before it.
        backup = {"backup": run.previous_file(host), "backup_label": run.label(host)}
        yield questions.change_sadb(run, host, {"src": run.next_file(host), "state": "present", **inbound, **backup})
        yield from policies.at_stage(run, host)


def _without_discarded(run: Rotation, host: str) -> Questions:
    """Remove what an interrupted run staged, and no host sends through: of generations that were discarded since, with
    another owner or other addresses, nothing else would. The staged file, which this run replaces, is the only place
    that lists these SAs, so what hosts may use of the keystore is taken out of it. That includes units that this run
    leaves out, whose generation may be discarded before it is staged again.

    SAs of a discarded generation that hosts may send through stay, also those of units that this run leaves out.
    """
    listed, staged = run.replaced_file(host), run.next_file(host)
    anything = {"allow_static_counter_mode": True, **run.deadline(host)}
    abandoned = [row["name"] for row in run.expected["connections"] if row.get("abandoned")]
    midway = frozenset(run.expected["midway"])
    leave = {"leave": decisions.listed(run.pairs(abandoned, host) | questions.left_out(run, host, midway.__contains__))}
    yield Question("valid", "ipseckeys_file", {"path": listed, "content": run.valid(host), **anything})
    less = {"content": "", "remove_src": listed, "scope": "peers"}
    yield Question("discarded", "ipseckeys_file", {"path": staged, **less, **anything})
    # First from the file, which the host may load at any moment.
    question = questions.change_file(run, host, {"content": "", "remove_src": staged, **leave})
    yield question._replace(name="discarded_file")
    yield questions.change_sadb(run, host, {"src": staged, **questions.LOADS_NOTHING, **leave}, name="discarded_sadb")


def problems(run: Rotation) -> list[str]:
    """Why the hosts must not switch: hosts that could not stage, or were not asked to."""
    return run.problems(STAGE) or run.unasked(
        STAGE,
        lambda host: [
            _NEXT,
            *([_REPLACED] if run.left_behind(host) else []),
            *(["file", "sadb"] if run.overlaps(host) else []),
            *(question.name for question in questions.add_outbound(run, host, run.beside - run.overtaking)),
            *(question.name for question in policies.at_stage(run, host)),
            *([pins.PINS] if pins.groups(run, host) else []),
        ],
    )


def unstage(run: Rotation, host: str) -> Questions:
    """Keep a generation that hosts may already use, since peers may send through its SAs. What an
    earlier run may have left is removed with the rest.
    """
    staged = run.answers(STAGE, host).get(_NEXT)
    is_known = not decisions.has_failed(staged)
    if run.overlaps(host) and not decisions.was_skipped(staged) and is_known:
        kept = {*run.gaps, *decisions.in_phase(run.expected, STEADY, *IN_USE)}
        inbound = {"direction": "inbound", "leave": decisions.listed(run.pairs(kept, host))}
        yield from policies.narrowed(run, host, run.pairs(set(run.names) - kept, host), policies.sent_at_boot(run))
        yield questions.change_sadb(run, host, {"src": run.next_file(host), **questions.LOADS_NOTHING, **inbound})
        yield questions.restore_file(run, host, inbound)
        waiting = run.beside - kept
        if run.pairs(waiting, host):
            outbound = {"direction": "outbound", "leave": questions.all_but(run, host, waiting)}
            yield questions.restore_file(run, host, outbound)._replace(name=questions.BESIDE)
            # A host that rebooted after stage has loaded them.
            loaded = {"src": run.next_file(host), **questions.LOADS_NOTHING, **outbound}
            yield questions.change_sadb(run, host, loaded, name="beside_sadb")
        yield from pins.released(run, host, set(run.names) - kept)
    # Where SAs may have been loaded, the next run needs the list of them.
    if _may_have_changed(staged) and (is_known or not run.overlaps(host)):
        in_use = run.pairs(decisions.in_phase(run.expected, *IN_USE), host)
        others = [] if in_use else [run.previous_file(host), run.replaced_file(host)]
        yield Question(
            _UNSTAGE,
            "ipseckeys_file",
            {"path": run.next_file(host), "others": others, "state": "absent", **run.deadline(host)},
        )


def _may_have_changed(result: t.Mapping[str, t.Any]) -> bool:
    """A question that was not answered may have been carried out."""
    return bool(result.get("changed") or result.get("unanswered")) or decisions.is_unreachable(result)
