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
stage          to write the SAs of the generation to a file beside the protected one
cut_over       to change its SADB from the staged file, and to save the previous SAs in another
send           to send packets through the new SAs
arrivals       to count the packets that arrived
go_back        to restore the previous SAs, or before the switch, to remove the staged file
persist        to write the staged SAs to the protected file
tidy           to remove the staged files
policies_out   to send its traffic through the SAs
policies_in    to accept only traffic that arrived through them
boot           to load both at boot
=============  ====================================================================
"""

from __future__ import annotations

import typing as t

from .._policies import policies_of_host
from . import decisions
from .record import SKIPPED, UNANSWERED
from .rotation import (
    ARRIVALS,
    BOOT,
    CUT_OVER,
    GO_BACK,
    PERSIST,
    POLICIES_IN,
    POLICIES_OUT,
    PREFLIGHT,
    SEND,
    STAGE,
    TIDY,
    Result,
    Rotation,
)

POLICIES_FILE = "/etc/ipsecpolicies.json"


class Question(t.NamedTuple):
    """One call of a module: its name within the step, the module of this collection, and its options."""

    name: str
    module: str
    options: dict[str, t.Any]


# A step for one host: it yields questions and is sent the answers.
Dialogue = t.Generator[Question, Result, None]


def preflight(run: Rotation, host: str) -> Dialogue:
    view, own = run.expected["hosts"][host], run.own(host)
    if own["policies"] and not own["boot"]:
        yield Question(
            BOOT, "ipsec_boot", {"state": "query", "service_manager": own["boot_options"]["service_manager"]}
        )
    # Asked last, so that the host's clock is read between the recorded times of this step.
    yield Question(
        PREFLIGHT,
        "ipsec_preflight",
        {
            "path": own["file"],
            "backend": own["backend"],
            "addresses": view["addresses"],
            "associations": view["associations"],
            "expected": decisions.held_by(run.expected, host),
            "allow_static_counter_mode": run.wide["allow_static_counter_mode"],
            "digest_key": run.state["digest_key"],
        },
    )


def preflight_problems(run: Rotation, forks: int) -> list[str]:
    """Why the hosts cannot take part; and with a cut-over instant, why they cannot wait for it together."""
    problems = run.problems(PREFLIGHT) or run.unasked(PREFLIGHT, lambda host: [PREFLIGHT]) or boot_problems(run)
    if run.wide["cutover_delay"]:
        problems += decisions.clocks(run.readings(), run.wide["clock_tolerance"], forks)
    return problems


def instants(run: Rotation) -> dict[str, float]:
    """The common instant of the cut-over, on each host's own clock."""
    return {
        host: run.started + run.wide["cutover_delay"] + decisions.offset(*row) for host, row in run.readings().items()
    }


def boot_problems(run: Rotation) -> list[str]:
    """Hosts that load SAs at boot without the policies of this run. The answers only decide whether
    the run continues.
    """
    found = []
    for host in run.hosts:
        service = run.answers(PREFLIGHT, host).get(BOOT)
        if not service.get("installed") or service.get("file") != run.own(host)["file"]:
            continue
        # The upper-layer protocol does not matter.
        loaded = {tuple(label.split()[:4]) for label in service["policies"]}
        missing = [label for label in map(_label, policies(run, host)) if label not in loaded]
        if missing:
            more = f" and {len(missing) - 1} more" if missing[1:] else ""
            found.append(
                f"{host}: it loads SAs at boot, but not policy {' '.join(missing[0])}{more}, so after a reboot traffic"
                " would leave unencrypted: run with rotate_boot, too, or name the policies in boot_policies and run"
                " the role boot first"
            )
    return found


def _label(policy: Result) -> tuple[str, ...]:
    return policy["direction"], policy["selector"]["source"], ">", policy["selector"]["destination"]


def stage(run: Rotation, host: str) -> Dialogue:
    """With other addresses, or another reqid, mark or if_id, the new SAs do not replace the old ones."""
    view, own = run.expected["hosts"][host], run.own(host)
    found = run.answers(PREFLIGHT, host).get(PREFLIGHT)
    stale = decisions.leftover(found, ".previous") and host not in decisions.resumed_hosts(run.expected)
    if stale:
        # Its keys have been retired since then and must not be loaded again.
        yield Question(
            "previous", "ipseckeys_file", {"path": run.previous_file(host), "state": "absent", **run.deadline(host)}
        )
    common = {"digest_key": run.state["digest_key"], **run.deadline(host)}
    yield Question(
        "next",
        "ipseckeys_file",
        {
            **common,
            "path": run.next_file(host),
            "content": run.text(view["connections"], host, "newest"),
            "allow_static_counter_mode": run.wide["allow_static_counter_mode"],
            **({} if own["policies"] and own["boot"] else {"policies_file": POLICIES_FILE}),
        },
    )
    if run.leaves_behind(host):
        yield Question(
            "replaced",
            "ipseckeys_file",
            {
                **common,
                "path": run.replaced_file(host),
                "content": run.text(view["left_behind"], host, "current"),
                "allow_static_counter_mode": True,  # nothing is loaded from it
            },
        )


def stage_problems(run: Rotation) -> list[str]:
    """Why the hosts must not switch: hosts that could not stage, or were not asked to."""
    return run.problems(STAGE) or run.unasked(
        STAGE, lambda host: ["next", "replaced"] if run.leaves_behind(host) else ["next"]
    )


def cut_over(run: Rotation, host: str) -> Dialogue:
    own = run.own(host)
    delay = run.wide["cutover_delay"]
    answer = yield Question(
        "sadb",
        "ipsec_sadb",
        {
            "src": run.next_file(host),
            "state": "exact",
            "scope": "peers",
            "backup": run.previous_file(host),
            "backup_label": run.label(host),
            **({"at": run.state["instants"][host]} if delay else {}),
            **run.deadline(host, delay),
            "backend": own["backend"],
            "allow_static_counter_mode": run.wide["allow_static_counter_mode"],
            "digest_key": run.state["digest_key"],
        },
    )
    if _has_carried(run, answer):
        # No host sends test packets before all hosts have cut over.
        yield _probe(run, host, "before", 0)


def _has_carried(run: Rotation, cut: Result) -> bool:
    """Whether the counters must be read before test packets are sent: unlike new SAs, unchanged ones
    have carried packets.
    """
    return bool(run.wide["probe"] and not decisions.has_failed(cut) and cut["counts"]["unchanged"])


def send(run: Rotation, host: str) -> Dialogue:
    if run.wide["probe"] and not cut_over_problems(run):
        yield _probe(run, host, SEND, run.wide["probe_count"])


def arrivals(run: Rotation, host: str) -> Dialogue:
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
    asked = {host: UNANSWERED if decisions.was_skipped(result) else result for host, result in results.items()}
    problems = decisions.task_problems(asked) or decisions.agreement(asked, run.expected) or run.problems(CUT_OVER)
    return problems or run.unasked(
        CUT_OVER, lambda host: ["sadb", "before"] if _has_carried(run, results[host]) else ["sadb"]
    )


def verdict(run: Rotation) -> tuple[list[str], list[str]]:
    """Verification failures after test packets were sent, and what could not be tested."""
    problems = cut_over_problems(run)
    if problems or not run.wide["probe"]:
        return problems, []
    asked = {step: {host: _must(run.answers(step, host).get(step)) for host in run.hosts} for step in (SEND, ARRIVALS)}
    problems = [problem for results in asked.values() for problem in decisions.task_problems(results)]
    if problems:
        return problems, []
    found = decisions.probe_verdict(asked[SEND], asked[ARRIVALS], run.results(CUT_OVER, "before"))
    return found["problems"], found["unprobed"]


def _must(result: Result) -> Result:
    """A question that should have been asked but was not counts as unanswered."""
    return UNANSWERED if result == SKIPPED else result


def go_back(run: Rotation, host: str) -> Dialogue:
    """Before the switch, only the file that this run staged is removed. After it, hosts that did not
    answer are asked too: they may have switched, and may be reachable again.

    The cut-over saves the previous SAs before it changes anything, so without a saved file nothing
    was changed.
    """
    if not run.state["switching"]:
        staged = [run.next_file(host)] if may_have_changed(run.answers(STAGE, host).get("next")) else []
        if staged:
            yield Question("unstage", "ipseckeys_file", {"path": staged[0], "state": "absent", **run.deadline(host)})
        return
    if host in decisions.roll_back_hosts(run.results(CUT_OVER, "sadb"), run.expected):
        yield Question(
            "back",
            "ipsec_sadb",
            {
                "src": run.previous_file(host),
                "scope_src": run.next_file(host),
                "state": "exact",
                "scope": "peers",
                "src_label": run.label(host),
                "ignore_missing": True,
                **run.deadline(host),
                "backend": run.own(host)["backend"],
                "leave": sorted(decisions.own_pairs(stayed(run), run.expected, host)),
                "allow_static_counter_mode": True,  # restore whatever the host had
            },
        )
    # If restoring failed, the next run needs both files to try again.
    if host in decisions.settled_hosts(run.results(CUT_OVER, "sadb"), run.results(GO_BACK, "back")):
        yield _tidy(run, host)


def stayed(run: Rotation) -> set[str]:
    """The pairs, as ``ADDRESS|ADDRESS``, whose SAs are not changed by a rollback."""
    return decisions.left_alone(run.results(PREFLIGHT, PREFLIGHT), run.expected)


def may_have_changed(result: t.Mapping[str, t.Any]) -> bool:
    """A question that was not answered may have been carried out."""
    return bool(result.get("changed")) or decisions.is_unreachable(result)


def persist(run: Rotation, host: str) -> Dialogue:
    own = run.own(host)
    found = run.answers(PREFLIGHT, host).get(PREFLIGHT)
    yield Question(
        "file",
        "ipseckeys_file",
        {
            "path": own["file"],
            "src": run.next_file(host),
            "scope": "peers",
            **({"remove_src": run.replaced_file(host)} if run.leaves_behind(host) else {}),
            "omit_counter_mode": True,
            "target": "solaris" if found.get("backend") == "solaris" else "linux",
            "allow_static_counter_mode": run.wide["allow_static_counter_mode"],
            "digest_key": run.state["digest_key"],
            **run.deadline(host),
        },
    )
    if run.leaves_behind(host):
        yield Question(
            "removal",
            "ipsec_sadb",
            {"src": run.replaced_file(host), "state": "absent", "backend": own["backend"], **run.deadline(host)},
        )


def persist_problems(run: Rotation) -> list[str]:
    """Hosts whose protected file differs from the kernel, or that still have SAs that should have been removed."""
    unasked = run.unasked(PERSIST, lambda host: ["file", "removal"] if run.leaves_behind(host) else ["file"])
    return run.problems(PERSIST) or unasked or decisions.file_problems(run.results(PERSIST, "file"), run.expected)


def tidy(run: Rotation, host: str) -> Dialogue:
    yield _tidy(run, host)


def _tidy(run: Rotation, host: str) -> Question:
    others = [run.previous_file(host), run.replaced_file(host)]
    return Question(
        TIDY, "ipseckeys_file", {"path": run.next_file(host), "others": others, "state": "absent", **run.deadline(host)}
    )


def policies_out(run: Rotation, host: str) -> Dialogue:
    """Outbound policies come first on all hosts, because an inbound policy drops what a peer still
    sends in the clear.
    """
    yield from _policies(run, host, POLICIES_OUT, ("out",))


def policies_in(run: Rotation, host: str) -> Dialogue:
    """Leave out connections with an endpoint that could not be made to send through its SAs: what it
    still sends in the clear would be dropped.
    """
    failed = {
        name for other in run.hosts if not _sends(run, other) for name in run.expected["hosts"][other]["connections"]
    }
    yield from _policies(run, host, POLICIES_IN, ("in", "fwd"), failed)


def _sends(run: Rotation, host: str) -> bool:
    """Whether the outbound policies of the host are in place, if it should have any."""
    answers = run.answers(POLICIES_OUT, host).results
    wanted = run.own(host)["policies"] and any(policy["direction"] == "out" for policy in policies(run, host))
    return not wanted or (POLICIES_OUT in answers and not decisions.has_failed(answers[POLICIES_OUT]))


def _policies(
    run: Rotation, host: str, name: str, directions: t.Collection[str], without: t.Collection[str] = ()
) -> Dialogue:
    wanted = [policy for policy in policies(run, host, without=without) if policy["direction"] in directions]
    if run.own(host)["policies"] and wanted:
        yield Question(name, "ipsec_policy", {"policies": wanted})


def policy_problems(run: Rotation) -> list[str]:
    """Hosts where policies, or the service that loads them at boot, could not be set up."""
    unasked = [
        f"{host}: {decisions.UNASKED}"
        for host in run.hosts
        if not _sends(run, host) and not run.answers(POLICIES_OUT, host).results
    ]
    return run.problems(POLICIES_OUT, POLICIES_IN, BOOT) + unasked


def policies(run: Rotation, host: str, everywhere: bool = False, without: t.Collection[str] = ()) -> list[Result]:
    """The policies of the connections of this run, with ``everywhere`` also of all others that have
    keys, but not of the connections in ``without``.
    """
    names = {*run.expected["hosts"][host]["connections"], *(run.state["keyed"] if everywhere else ())} - set(without)
    priority = run.own(host)["policy_priority"]
    return [
        policy
        for connection in run.connections()
        if connection.name in names
        for policy in policies_of_host(connection, host, priority)
    ]


def boot(run: Rotation, host: str) -> Dialogue:
    """The file of policies is replaced, so it includes those of connections that the run leaves out.
    Policies that are not named any more are kept.
    """
    own = run.own(host)
    if own["boot"]:
        wanted = [*own["boot_policies"], *(policies(run, host, everywhere=True) if own["policies"] else ())]
        yield Question(
            BOOT, "ipsec_boot", {**own["boot_options"], "file": own["file"], "policies": wanted, "purge": False}
        )


STEPS: t.Mapping[str, t.Callable[[Rotation, str], Dialogue]] = {
    PREFLIGHT: preflight,
    STAGE: stage,
    CUT_OVER: cut_over,
    SEND: send,
    ARRIVALS: arrivals,
    GO_BACK: go_back,
    PERSIST: persist,
    TIDY: tidy,
    POLICIES_OUT: policies_out,
    POLICIES_IN: policies_in,
    BOOT: boot,
}
