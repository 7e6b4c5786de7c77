# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The questions that a rotation asks each host, step by step, and what the run decides between them. Pure.

A question is one call of a module of this collection. Its options come from the inputs of the run and
from the keystore. Hosts' answers only select which questions are asked, through the decisions below
and for the same host. No value from a host is ever passed to another host.

=============  ====================================================================
step           what each host is asked
=============  ====================================================================
preflight      whether it can take part, and which SAs it holds
stage          to write the SAs of the generation to a file beside the protected one, and to
               accept packets that arrive through them (also inbound policies that name other SAs)
cut_over       to send through the new SAs, no longer through the previous ones, which it saves in
               another file, and to send its traffic through SAs (outbound policies; all of a tunnel)
send           to send packets through the new SAs
arrivals       to count the packets that arrived
go_back        to send through the previous SAs again, or before the switch, to remove what was staged
forget         to stop accepting packets through the new SAs, once no host sends through them
accept         after a change of the mode (`nesting`), to accept packets through the new SAs alone
unnest         then to send through these alone
persist        to write the staged SAs to the protected file, to remove the previous ones, to accept
               only traffic that arrived through SAs (inbound policies), to load all this at
               boot, and to remove the staged files
=============  ====================================================================

Connections that cannot overlap (`decisions.gaps`) change in both directions at the cut-over. For all
others, at every moment each host accepts what its peers send, even if it reboots: its protected file
holds the new inbound SAs from the step stage on, and the new outbound ones from cut_over on. Where
policies decide which SAs are used (`Rotation.beside`), kernel and file hold the SAs of both
generations and both directions until persist, and what is loaded at boot says which.
"""

from __future__ import annotations

import typing as t

from ansible_collections.ipsec.manual.plugins.module_utils._core.audit.service import ROTATION_DUE
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import format_address

from .._connections.units import names_at
from .._keystore.records import IN_USE, STEADY, SWITCHING
from . import clocks, decisions, due, pins, policies, policy_checks, probes, taking
from .record import SKIPPED, UNANSWERED, Answers
from .rotation import (
    ACCEPT,
    ARRIVALS,
    CUT_OVER,
    FORGET,
    GO_BACK,
    PERSIST,
    PREFLIGHT,
    SEND,
    STAGE,
    TIDY,
    UNNEST,
    Question,
    Questions,
    Result,
    Rotation,
)

POLICIES_FILE = "/etc/ipsecpolicies.json"
_BESIDE = "beside"
# Questions that write or remove files only for the time of a run.
_NEXT, _REPLACED, _UNSTAGE = "next", "replaced", "unstage"
TEMPORARY = frozenset([_NEXT, _REPLACED, _UNSTAGE, TIDY])
_LOADS_NOTHING = {"state": "absent", "allow_static_counter_mode": True}


def preflight(run: Rotation, host: str) -> Questions:
    view = run.expected["hosts"][host]
    yield from policy_checks.checked(run, host)
    # Asked last, so that the host's clock is read between the recorded times of this step.
    expected = decisions.held_by(run.expected, host)
    wanted = {"addresses": view["addresses"], "associations": view["associations"], "expected": expected}
    yield preflight_question(run, host, {**wanted, "usage": run.wide["when"] == due.DUE})


def preflight_question(run: Rotation, host: str, wanted: Result) -> Question:
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


def preflight_problems(run: Rotation, forks: int) -> list[str]:
    """Why the hosts cannot take part; and with a cut-over instant, why they cannot wait for it together."""
    boot = {host: policy_checks.boot_problems(run, host) for host in run.hosts}
    problems = [problem for host in run.hosts for problem in boot[host]]
    # What else such a host says is about the same.
    problems += [f"{host}: {reason}" for host, reason in run.failures(PREFLIGHT) if not boot[host]]
    problems = problems or run.unasked(PREFLIGHT, lambda host: [PREFLIGHT])
    problems = problems or policy_checks.overtaken(run) + taking.problems(run)
    if run.delay:
        problems += clocks.problems(run.readings(), run.wide["clock_tolerance"], forks)
    return problems


def instants(run: Rotation) -> dict[str, float]:
    """The common instant of the cut-over, on each host's own clock. A host reads its clock at the end of what
    it is asked, which may take seconds, so just before it answers.
    """
    return {
        host: run.started + run.delay + epoch - answered for host, (dummy, epoch, answered) in run.readings().items()
    }


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
        yield change_file(run, host, {"src": run.next_file(host), "keep": True, **inbound})
        yield from _also_outbound(run, host, run.beside - run.overtaking)
        # A host that moved may not have its previous address any more; nothing removes the SAs for that yet.
        stayed = decisions.in_phase(run.expected, SWITCHING) - decisions.moved(run.expected)
        current = _current_of(run, host, stayed)
        if current:
            # An earlier run may have removed them, and peers may send through them, or may go back to them.
            yield _sadb(run, host, {"content": current, "state": "present", **inbound}, name="current")
        # The cut-over may find nothing to change, and so nothing to save, if the host reboots before it.
        backup = {"backup": run.previous_file(host), "backup_label": run.label(host)}
        yield _sadb(run, host, {"src": run.next_file(host), "state": "present", **inbound, **backup})
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
    leave = {"leave": decisions.listed(run.pairs(abandoned, host) | _left_out(run, host, midway.__contains__))}
    yield Question("valid", "ipseckeys_file", {"path": listed, "content": run.valid(host), **anything})
    less = {"content": "", "remove_src": listed, "scope": "peers"}
    yield Question("discarded", "ipseckeys_file", {"path": staged, **less, **anything})
    # First from the file, which the host may load at any moment.
    yield change_file(run, host, {"content": "", "remove_src": staged, **leave})._replace(name="discarded_file")
    yield _sadb(run, host, {"src": staged, **_LOADS_NOTHING, **leave}, name="discarded_sadb")


def _left_out(run: Rotation, host: str, wanted: t.Callable[[str], bool] = lambda name: True) -> set[decisions.Pair]:
    """The host's pairs of addresses in ``wanted`` units that are not part of this run."""
    names = set(run.names)
    found: set[decisions.Pair] = set()
    for connection in run.connections():
        units = {unit for unit, name in names_at(connection, host).items() if name not in names and wanted(name)}
        for source, destinations in connection.only(units).flows(host) if units else ():
            found.update(frozenset(map(format_address, (source, destination))) for destination in destinations)
    return found


def _also_outbound(run: Rotation, host: str, names: t.Collection[str]) -> Questions:
    """The new outbound SAs of these units, in the file beside the previous ones."""
    if run.pairs(names, host):
        outbound = {"direction": "outbound", "leave": _all_but(run, host, names)}
        question = change_file(run, host, {"src": run.next_file(host), "keep": True, **outbound})
        yield question._replace(name=_BESIDE)


def _beside(run: Rotation, host: str) -> list[str]:
    """The host's pairs whose previous SAs stay beside the new ones."""
    return decisions.listed(run.pairs(run.beside, host))


def _all_but(run: Rotation, host: str, names: t.Collection[str]) -> list[str]:
    """The host's pairs of all units but these."""
    return decisions.listed(run.pairs(run.names, host) - run.pairs(names, host))


def _sadb(run: Rotation, host: str, options: Result, name: str = "sadb", delay: float = 0) -> Question:
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


def stage_problems(run: Rotation) -> list[str]:
    """Why the hosts must not switch: hosts that could not stage, or were not asked to."""
    return run.problems(STAGE) or run.unasked(
        STAGE,
        lambda host: [
            _NEXT,
            *([_REPLACED] if run.left_behind(host) else []),
            *(["file", "sadb"] if run.overlaps(host) else []),
            *(question.name for question in _also_outbound(run, host, run.beside - run.overtaking)),
            *(question.name for question in policies.at_stage(run, host)),
            *([pins.PINS] if pins.groups(run, host) else []),
        ],
    )


def cut_over(run: Rotation, host: str) -> Questions:
    """The outbound SAs, too, are in the file before they are in the kernel. If the host reboots once it
    has confirmed that it sends through the new SAs, it continues to do so.
    """
    flushed = decisions.listed(run.pairs(run.gaps, host))
    delay = run.delay if flushed else 0
    if run.overlaps(host):
        leave = decisions.listed(run.pairs({*run.gaps, *run.beside}, host))
        yield change_file(run, host, {"src": run.next_file(host), "direction": "outbound", "leave": leave})
        # Not before all peers accept them: the previous policies may send through them as soon as they are there.
        yield from _also_outbound(run, host, run.beside & run.overtaking)
    yield _sadb(
        run,
        host,
        {
            "src": run.next_file(host),
            "state": "exact",
            **_outbound(run, host),
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


def _outbound(run: Rotation, host: str) -> Result:
    """The directions in which a cut-over changes the SADB, and in which it is undone."""
    if not run.overlaps(host):
        return {}
    return {"direction": "outbound", "both_directions": decisions.listed(run.pairs(run.gaps, host))}


def send(run: Rotation, host: str) -> Questions:
    if run.wide["probe"] and not cut_over_problems(run):
        yield _probe(run, host, SEND, run.wide["probe_count"])


def arrivals(run: Rotation, host: str) -> Questions:
    """All hosts have sent, so all packets should have arrived."""
    if run.wide["probe"] and not cut_over_problems(run):
        yield _probe(run, host, ARRIVALS, 0)


def _probe(run: Rotation, host: str, name: str, count: int) -> Question:
    return Question(
        name, "ipsec_probe", {"src": run.next_file(host), "count": count, "backend": run.own(host)["backend"]}
    )


def cut_over_problems(run: Rotation) -> list[str]:
    """Verification failures after the cut-over: hosts that failed, and hosts that hold SAs
    other than the keystore's.
    """
    results = run.results(CUT_OVER, "sadb")
    unasked = run.unasked(
        CUT_OVER,
        lambda host: [
            "sadb",
            *(["file"] if run.overlaps(host) else []),
            *(question.name for question in _also_outbound(run, host, run.beside & run.overtaking)),
            *policies.asked_at_cut_over(run, host),
            *(["before"] if run.wide["probe"] else []),
        ],
    )
    return run.problems(CUT_OVER) or unasked or decisions.agreement(results, run.expected)


def verdict(run: Rotation) -> tuple[list[str], list[str]]:
    """Verification failures after test packets were sent, and what could not be tested."""
    problems = cut_over_problems(run)
    if problems or not run.wide["probe"]:
        return problems, []
    asked = {step: {host: _must(run.answers(step, host).get(step)) for host in run.hosts} for step in (SEND, ARRIVALS)}
    problems = [problem for results in asked.values() for problem in decisions.task_problems(results)]
    if problems:
        return problems, []
    found = _probed(run)
    return found.problems or taking.unused(run), found.unprobed


def _must(result: Result) -> Result:
    """A question that should have been asked but was not counts as unanswered."""
    return UNANSWERED if result == SKIPPED else result


def _probed(run: Rotation) -> probes.Probed:
    return probes.verdict(run.results(SEND, SEND), run.results(ARRIVALS, ARRIVALS), run.results(CUT_OVER, "before"))


def ways_back(run: Rotation) -> set[decisions.Pair]:
    """The pairs whose hosts go back to their previous SAs. A host that could not count tells nothing
    about what arrived. Discarded SAs are never loaded again.
    """
    counted = {host: _must(run.answers(ARRIVALS, host).get(ARRIVALS)) for host in run.hosts}
    dead = set() if decisions.task_problems(counted) else probes.dead_pairs(run.expected, _probed(run).lost)
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


def go_back(run: Rotation, host: str) -> Questions:
    """Before the switch nobody sends through the new SAs, so they are removed. After it, the host
    sends through its previous SAs again, if it should; it still accepts packets through the new ones,
    which peers may send until they have gone back too. Hosts that did not answer are asked too: they
    may have switched, and may be reachable again.

    The cut-over saves the previous SAs before it changes anything, so without a saved file nothing
    was changed.
    """
    if not run.state["switching"]:
        yield from _unstage(run, host)
        return
    every = run.pairs(run.names, host)
    back = every & ways_back(run)
    if not back or not run.answers(CUT_OVER, host).results:
        return
    kept = every - back
    yield from policies.back(run, host, back)
    if run.overlaps(host):
        gaps = run.pairs(run.gaps, host)
        yield _previous_file(run, host, {"direction": "outbound", "leave": decisions.listed(kept | gaps)})
    yield _sadb(
        run,
        host,
        {
            "src": run.previous_file(host),
            "scope_src": run.next_file(host),
            "state": "exact",
            **_outbound(run, host),
            "src_label": run.label(host),
            "ignore_missing": True,
            # An earlier run may have saved SAs of units that this one leaves out.
            "leave": decisions.listed(kept | _left_out(run, host)),
            "allow_static_counter_mode": True,  # restore whatever the host had
        },
        name="back",
    )


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
        yield _sadb(run, host, {"src": run.next_file(host), **_LOADS_NOTHING, **limits})
        yield _previous_file(run, host, limits)
        yield from policies.narrowed(run, host, unused, set(run.names) - policies.within(run, host, back))
        yield from pins.released(run, host, {name for name in run.names if run.pairs([name], host) <= unused})
    # The next run needs both files if it has something left to undo.
    if host in sure and back - switched >= run.pairs(decisions.in_phase(run.expected, *IN_USE), host):
        yield _tidy(run, host)


def went_back(run: Rotation) -> list[str]:
    """The hosts that certainly send through their previous SAs, also after a reboot. Without a saved
    file, a host with SAs that overlap may send through the new ones since an earlier run.
    """
    states = decisions.host_states(run.results(CUT_OVER, "sadb"), run.results(GO_BACK, "back"))
    return [
        host
        for host, state in sorted(states.items())
        if (_restored(run.answers(GO_BACK, host)) if run.overlaps(host) else state == "before")
    ]


def _restored(answers: Answers) -> bool:
    back, file = answers.get("back"), answers.get("file")
    done = not any(decisions.was_skipped(answer) or decisions.has_failed(answer) for answer in (back, file))
    return done and not back.get("missing")


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


def _unstage(run: Rotation, host: str) -> Questions:
    """Keep a generation that hosts may already use, since peers may send through its SAs. What an
    earlier run may have left is removed with the rest.
    """
    staged = run.answers(STAGE, host).get(_NEXT)
    is_known = not decisions.has_failed(staged)
    if run.overlaps(host) and not decisions.was_skipped(staged) and is_known:
        kept = {*run.gaps, *decisions.in_phase(run.expected, STEADY, *IN_USE)}
        inbound = {"direction": "inbound", "leave": decisions.listed(run.pairs(kept, host))}
        yield from policies.narrowed(run, host, run.pairs(set(run.names) - kept, host), policies.sent_at_boot(run))
        yield _sadb(run, host, {"src": run.next_file(host), **_LOADS_NOTHING, **inbound})
        yield _previous_file(run, host, inbound)
        waiting = run.beside - kept
        if run.pairs(waiting, host):
            outbound = {"direction": "outbound", "leave": _all_but(run, host, waiting)}
            yield _previous_file(run, host, outbound)._replace(name=_BESIDE)
            # A host that rebooted after stage has loaded them.
            yield _sadb(run, host, {"src": run.next_file(host), **_LOADS_NOTHING, **outbound}, name="beside_sadb")
        yield from pins.released(run, host, set(run.names) - kept)
    # Where SAs may have been loaded, the next run needs the list of them.
    if may_have_changed(staged) and (is_known or not run.overlaps(host)):
        in_use = run.pairs(decisions.in_phase(run.expected, *IN_USE), host)
        others = [] if in_use else [run.previous_file(host), run.replaced_file(host)]
        yield Question(
            _UNSTAGE,
            "ipseckeys_file",
            {"path": run.next_file(host), "others": others, "state": "absent", **run.deadline(host)},
        )


def _previous_file(run: Rotation, host: str, options: Result) -> Question:
    """The protected file with the current generations again instead of the next ones."""
    previous = {"content": _current_of(run, host, run.names), "remove_src": run.next_file(host)}
    return change_file(run, host, {**previous, **options})


def _current_of(run: Rotation, host: str, names: t.Collection[str]) -> str:
    """The text of the current generations of those of these units that overlap; empty if there are none."""
    wanted = frozenset(names).difference(run.gaps)
    rows = [row for row in run.expected["connections"] if row["name"] in wanted]
    found = [row["name"] for row in rows if row["current"] and host in row["endpoints"]]
    return run.text(found, host, "current") if found else ""


def may_have_changed(result: t.Mapping[str, t.Any]) -> bool:
    """A question that was not answered may have been carried out."""
    return bool(result.get("changed") or result.get("unanswered")) or decisions.is_unreachable(result)


def persist(run: Rotation, host: str) -> Questions:
    """No host sends through the previous SAs, also after a reboot, so they are removed. What the host
    holds is compared once more: it may have rebooted since it was asked. With a gap, its file still
    held the previous SAs then. Other outbound SAs that it has lost are not loaded again, since their
    sequence numbers would begin again. The outbound policies, too, are named again. The host waits for the next run if
    a peer did not confirm what has to be done before.
    """
    if policies.held(run).intersection(run.expected["hosts"][host]["connections"]):
        return
    rows = [row for row in run.expected["connections"] if not (row["counter_mode"] or row["anti_replay"])]
    whole = run.pairs({row["name"] for row in rows} & run.gaps.keys(), host)
    behind = {"remove_src": run.replaced_file(host)} if run.left_behind(host) else {}
    yield change_file(run, host, {"src": run.next_file(host), **behind})
    limits = {"direction": "inbound", "both_directions": decisions.listed(whole)}
    yield _sadb(run, host, {"src": run.next_file(host), "state": "exact", **limits})
    yield from policies.installed(run, host, policies.of_host(run, host))
    if behind:
        yield removal(run, host)
    yield from taking.removal(run, host)
    # After the policies; otherwise the service would load them host by host.
    yield from policies.boot(run, host)
    # Last: the next run needs the files if this host has not done everything.
    yield _tidy(run, host, [ROTATION_DUE] if due.is_done(run, host) else [])


def removal(run: Rotation, host: str) -> Question:
    """To remove the SAs that the file lists."""
    options = {"src": run.replaced_file(host), "state": "absent", "backend": run.own(host)["backend"]}
    return Question("removal", "ipsec_sadb", {**options, **run.deadline(host)})


def persist_problems(run: Rotation) -> list[str]:
    """Hosts whose protected file or SADB differs from the keystore, or that have not done everything else
    that they should.
    """
    unasked = run.unasked(
        PERSIST,
        lambda host: [
            *("file", "sadb", TIDY),
            *([policies.POLICIES] if run.own(host)["policies"] else []),
            *(["removal"] if run.left_behind(host) else []),
            *(question.name for question in taking.removal(run, host)),
            *([policies.SERVICE] if run.own(host)["boot"] else []),
        ],
    )
    return (
        run.problems(ACCEPT, UNNEST, PERSIST)
        or unasked
        or decisions.file_problems(run.results(PERSIST, "file"), run.expected)
        or decisions.agreement(run.results(PERSIST, "sadb"), run.expected)
    )


def _tidy(run: Rotation, host: str, more: t.Sequence[str] = ()) -> Question:
    others = [run.previous_file(host), run.replaced_file(host), *more]
    return Question(
        TIDY, "ipseckeys_file", {"path": run.next_file(host), "others": others, "state": "absent", **run.deadline(host)}
    )


def accept(run: Rotation, host: str) -> Questions:
    yield from policies.alone(run, host, run.unnesting, switched=False)


def unnest(run: Rotation, host: str) -> Questions:
    yield from policies.alone(run, host, run.unnesting - policies.unconfirmed(run, ACCEPT), switched=True)


STEPS: t.Mapping[str, t.Callable[[Rotation, str], Questions]] = {
    PREFLIGHT: preflight,
    STAGE: stage,
    CUT_OVER: cut_over,
    SEND: send,
    ARRIVALS: arrivals,
    GO_BACK: go_back,
    FORGET: forget,
    ACCEPT: accept,
    UNNEST: unnest,
    PERSIST: persist,
}
