# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The policies that a rotation installs with the variable rotate_policies, and the service that loads
them at boot with rotate_boot. Pure.

Outbound policies come with the cut-over, when every host accepts what arrives through the new SAs, so
that test packets are sent through them. Inbound policies come last: until every host sends through its
SAs, they would drop what a peer still sends in the clear.

Two kinds of inbound policies come with the cut-over, too: those of tunnels, since without one, Linux
drops what arrives through a tunnel (net/xfrm/xfrm_policy.c, __xfrm_policy_check), and those of
connections that change with a gap, also back from a discarded generation, since the previous ones would
drop what arrives through the new SAs.

Where previous and new SAs stand side by side (`Rotation.accepting_both`), policies decide which are used.
Inbound ones accept both from the step stage until persist; the outbound ones that the cut-over
installs are the switch. What a host loads at boot follows in the same steps. Those of a change of the mode have
more steps (`nesting`).
"""

from __future__ import annotations

import posixpath
import typing as t

from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import TUNNEL
from ansible_collections.ipsec.manual.plugins.module_utils._core.spd.policy import label
from ansible_collections.ipsec.manual.plugins.module_utils._core.spd.text import read_policy

from .._connections.model import Connection, as_it_was, as_replaced
from .._connections.units import names_at
from .._keystore.records import RETIRING
from .._policies import policies_of_host
from . import decisions, nesting, pins
from .rotation import ACCEPT, BOOT, CUT_OVER, PERSIST, PREFLIGHT, UNNEST, Question, Questions, Result, Rotation

POLICIES = "policies"
UNPOLICIES = "policies_back"
SERVICE = "service"
_OUT = "out"
ANY_REQID = 0
_ANYTHING = {"reqid": ANY_REQID, "source": None}  # in a template of an inbound policy


def of_host(run: Rotation, host: str, everywhere: bool = False) -> list[Result]:
    """The policies of the units of this run, with ``everywhere`` also of all others that have keys: those that fit
    their keys, whatever their settings are now.
    """
    return _of_units(run, host, {*_names(run, host), *(_elsewhere(run, host) if everywhere else ())}, everywhere)


def _elsewhere(run: Rotation, host: str) -> set[str]:
    """The units with keys that this run leaves out. An interrupted change of the settings of some has not ended: the
    policies that it left to load at boot are right, and stay as they are if nothing names them.
    """
    return set(run.expected["keyed"]).difference(run.expected["midway"], _names(run, host))


def _names(run: Rotation, host: str) -> t.Collection[str]:
    return t.cast("t.List[str]", run.expected["hosts"].get(host, {"connections": []})["connections"])


def _of_units(run: Rotation, host: str, names: t.Collection[str], everywhere: bool) -> list[Result]:
    outdated = run.expected["outdated"] if everywhere else {}
    found = []
    for connection in run.connections():
        units = {unit: name for unit, name in names_at(connection, host).items() if name in names}
        present = {unit for unit, name in units.items() if name not in outdated}
        parts = [connection.only(present)] if present else []
        parts += [
            as_it_was(connection.only({unit}), outdated[name]) for unit, name in units.items() if name in outdated
        ]
        found += [policy for part in parts for policy in of_unit(run, part, host)]
    return found


def of_unit(run: Rotation, connection: Connection | None, host: str) -> list[Result]:
    return policies_of_host(connection, host, run.own(host)["policy_priority"]) if connection is not None else []


def installed(run: Rotation, host: str, wanted: t.Sequence[Result], delay: float = 0) -> Questions:
    """The question that installs these policies. Every endpoint of a connection has some. ``delay`` is
    the time for which a question before it waits.
    """
    if run.own(host)["policies"] and wanted:
        yield Question(POLICIES, "ipsec_policy", {"policies": list(wanted), **run.deadline(host, delay)})


class _Change(t.NamedTuple):
    """The policies of a unit: as they are to be, and as they were, in the kernel and at boot: for its current SAs,
    or for those of a script that replaced them in the kernel. ``beside`` is whether both generations are
    used at once, ``tunnel`` the mode, ``nested`` whether packets pass through SAs of both modes meanwhile
    (`nesting`). Then ``approved`` says that the host has to accept packets through the new SAs alone, and
    ``unnested`` that it sends through these alone.
    """

    name: str
    now: list[Result]
    before: list[Result]
    booted: list[Result]
    beside: bool
    tunnel: bool
    nested: bool = False
    approved: bool = False
    unnested: bool = False

    def sending(self, switched: bool) -> list[Result]:
        """The outbound policies, before the host sends through the new SAs or since."""
        if self.nested and (switched or self.approved):
            alone = self.approved and (switched or self.unnested)
            return _outbound(self.now) if alone else nesting.sending(self.now, self.before)
        return _outbound(self.now if switched else self.booted)

    def accepting(self) -> list[Result]:
        """The inbound policies that accept packets through both generations, in place of those of either."""
        if self.nested:
            return nesting.accepting(self.now, self.before, self.approved)
        return [
            _widened(policy, other)
            for policy in self.now
            for other in self.before
            if policy["direction"] != _OUT and is_same(policy, other) and policy != other
        ]

    def ahead(self) -> list[Result]:
        """The policies that the unit had under no mark or if_id before, if it had any for the same traffic."""
        known = [*map(_traffic, self.before)]
        return [
            policy
            for policy in self.now
            if _traffic(policy) in known and not any(is_same(policy, other) for other in self.before)
        ]

    def behind(self) -> list[Result]:
        """The previous policies for the same traffic with another mark or if_id, which would come before the new
        ones, in the place behind them. Where they still apply, they stop what has no SA any more.
        """
        return [
            {**policy, "priority": policy["priority"] + 1}
            for policy in self.before
            if not any(is_same(policy, other) for other in self.now) and _traffic(policy) in [*map(_traffic, self.now)]
        ]

    def accepting_at_boot(self, switched: bool) -> list[Result]:
        """What a host loads at boot meanwhile; ``switched`` is whether it sends through the new SAs."""
        wide = [*self.accepting(), *(self.behind() if switched else ())]
        others = [policy for policy in self.booted if not any(is_same(policy, other) for other in wide)]
        return [
            *self.sending(switched),
            *wide,
            *(
                policy
                for policy in others
                if policy["direction"] != _OUT or (switched and _traffic(policy) not in [*map(_traffic, self.now)])
            ),
        ]


def _changes(run: Rotation, host: str, names: t.Collection[str]) -> list[_Change]:
    beside = run.accepting_both
    missing = frozenset(run.answers(PREFLIGHT, host).get(POLICIES).get("added", ()))
    replaced = {row["policy"] for row in run.answers(PREFLIGHT, host).get(POLICIES).get("replaced", ())}
    found = []
    for name, connection, earlier in run.units(host, names):
        now, before = of_unit(run, connection, host), of_unit(run, earlier, host)
        if missing and now != before:
            # The unit may have had SAs without policies. One that the host never had is neither widened nor put
            # back: inbound, it would drop what peers still send in the clear.
            lacking = [policy for policy in now if labelled(policy) in missing]
            before = [policy for policy in before if not any(is_same(policy, other) for other in lacking)]
        there = _scripted(run, host, name, connection, before)
        change = _Change(name, now, there, before, name in beside, connection.mode == TUNNEL)
        if name in run.nested:
            unnested = not any(labelled(policy) in replaced for policy in _outbound(now))
            change = change._replace(nested=True, approved=name in run.ahead, unnested=unnested)
        found.append(change)
    return found


def _scripted(run: Rotation, host: str, name: str, now: Connection, before: list[Result]) -> list[Result]:
    """The previous policies, but as a script made them where the host says that they name SAs to be taken over. An
    inbound one for any SA may be what an interrupted run made of that.
    """
    if name not in run.taking:
        return before
    script = as_replaced(now)
    rows = run.answers(PREFLIGHT, host).get(POLICIES).get("replaced", ())
    reqids = {row["policy"]: {*row["reqids"]} for row in rows}
    known = {_OUT: {script.reqid}}
    there = [
        policy
        for policy in of_unit(run, script, host)
        if reqids.get(labelled(policy), set()) & known.get(policy["direction"], {script.reqid, ANY_REQID})
    ]
    return [next((other for other in there if is_same(policy, other)), policy) for policy in before]


def _outbound(policies: t.Iterable[Result]) -> list[Result]:
    return [policy for policy in policies if policy["direction"] == _OUT]


def _traffic(policy: Result) -> tuple[str, Result]:
    return policy["direction"], policy["selector"]


def _widened(policy: Result, other: Result) -> Result:
    """The inbound policy for SAs of any reqid, or from any outer source, where two policies differ in these, and
    only of the protocols that both require. Linux does not compare the outer destination (net/xfrm/xfrm_policy.c,
    xfrm_state_ok), and lets packets pass that went through more SAs in transport mode than the templates name
    (xfrm_policy_ok). Without an SA nothing passes: at least one template is left, and none is optional.
    """
    known = {(row["protocol"], row["mode"]): row for row in other["templates"]}
    rows = []
    for row in policy["templates"]:
        old = known.get((row["protocol"], row["mode"]))
        if old is not None:
            anything = {name: value for name, value in _ANYTHING.items() if name in row and row[name] != old.get(name)}
            rows.append({**row, **anything})
    # Without a common one, the policy stays as strict as it is.
    return {**policy, "templates": rows or policy["templates"]}


def at_stage(run: Rotation, host: str) -> Questions:
    """Accept packets through previous and new SAs where these stand side by side."""
    beside = run.accepting_both.intersection(_names(run, host))
    if not beside:
        return
    found = [policy for change in _changes(run, host, beside) for policy in change.accepting()]
    yield from installed(run, host, found)
    done = sent_at_boot(run)
    yield from _boot_between(run, host, lambda change: change.accepting_at_boot(change.name in done))


def sent_at_boot(run: Rotation) -> set[str]:
    """The units through whose new SAs a host that reboots before the cut-over sends: in an interrupted run, peers may
    have removed the previous ones. For a change of the mode, `_Change.sending` decides.
    """
    return decisions.in_phase(run.expected, RETIRING) - run.nested


def at_cut_over(run: Rotation, host: str, delay: float = 0) -> Questions:
    """Send through the new SAs: also after a reboot, before the kernel does."""
    yield from _boot_between(run, host, lambda change: change.accepting_at_boot(True))
    yield from installed(run, host, of_cut_over(run, host), delay)


def of_cut_over(run: Rotation, host: str) -> list[Result]:
    """The outbound policies, and the inbound ones of tunnels, of units whose policies change, and of those whose change
    is taken back.
    """
    found = []
    discarded = {row["name"] for row in run.expected["connections"] if row.get("abandoned")}.intersection(run.gaps)
    replaced = {row["policy"] for row in run.answers(PREFLIGHT, host).get(POLICIES).get("replaced", ())}
    for change in _changes(run, host, _names(run, host)):
        whole = change.tunnel or (change.before and change.before != change.now and not change.beside)
        wide = change.accepting() if change.beside else []
        if change.nested:
            found += [*change.sending(True), *wide]
            continue
        found += change.behind()
        wanted = [
            policy
            for policy in change.now
            if policy["direction"] == _OUT
            or (whole and not any(is_same(policy, other) for other in wide))
            or (change.name in discarded and labelled(policy) in replaced)
        ]
        found += pins.naming(run, host, change.name, wanted)
        found += wide
    return found


def alone(run: Rotation, host: str, names: t.AbstractSet[str], switched: bool) -> Questions:
    """Accept packets through the new SAs of these units alone, of those that hosts send through both, or when all
    hosts do, send them so with ``switched``.
    """
    own = names & {*_names(run, host)}
    if not own:
        return

    def chosen(change: _Change) -> list[Result]:
        if change.name not in run.unnesting:
            return change.accepting_at_boot(True)
        return change._replace(approved=True, unnested=False).accepting_at_boot(switched and change.name in own)

    yield from _boot_between(run, host, chosen)
    changes = [change._replace(approved=True) for change in _changes(run, host, own)]
    yield from installed(
        run,
        host,
        [policy for change in changes for policy in (change.sending(True) if switched else change.accepting())],
    )


def unconfirmed(run: Rotation, step: str) -> set[str]:
    """The units whose hosts did not all confirm this step."""
    found: set[str] = set()
    for host in run.hosts if run.unnesting else ():
        results = run.answers(step, host).results
        if not results or any(map(decisions.has_failed, results.values())):
            found.update(_names(run, host))
    return found & run.unnesting


def held(run: Rotation) -> set[str]:
    """The units whose hosts must keep both generations."""
    return unconfirmed(run, ACCEPT) | unconfirmed(run, UNNEST)


def asked_at_cut_over(run: Rotation, host: str) -> list[str]:
    """The names of the questions of `at_cut_over`."""
    return [*([SERVICE] if _boots(run, host) else []), *([POLICIES] if run.own(host)["policies"] else [])]


def _boots(run: Rotation, host: str) -> bool:
    """Whether what the host loads at boot follows while its units change."""
    if run.accepting_both.isdisjoint(_names(run, host)):
        return False
    own = run.own(host)
    return bool(own["policies"] and own["boot"] and is_loaded_at_boot(run, host))


def is_loaded_at_boot(run: Rotation, host: str) -> bool:
    """Whether the host said before the run that its service loads the protected file. The inputs may name that with a
    variable of the host, or in other words than the service does.
    """
    answers = run.answers(PREFLIGHT, host)
    service, file = answers.get(BOOT), answers.get(PREFLIGHT).get("file", {}).get("path") or run.own(host)["file"]
    return bool(service.get("installed")) and posixpath.normpath(service["file"]) == posixpath.normpath(file)


def _boot_between(
    run: Rotation,
    host: str,
    chosen: t.Callable[[_Change], list[Result]],
    removed: t.Sequence[Result] = (),
) -> Questions:
    """What the host loads at boot while units change whose previous SAs stand beside the new ones: ``chosen``
    of those, of all others what it was before. Only if the host loads its file at boot already. It would go on loading
    policies of this run that are not chosen any more, unless they are ``removed``.
    """
    own, names = run.own(host), _names(run, host)
    if not _boots(run, host):
        return
    wanted = [*own["boot_policies"], *_of_units(run, host, _elsewhere(run, host), True)]
    done = decisions.in_phase(run.expected, RETIRING)
    for change in _changes(run, host, names):
        wanted += chosen(change) if change.beside else change.now if change.name in done else change.before
    # Nothing is loaded now: the service would change the kernel out of turn.
    options = {**own["boot_options"], "file": own["file"], "policies": wanted, "purge": False, "load": False}
    more = {"removed": list(removed)} if removed else {}
    yield Question(SERVICE, "ipsec_boot", {**options, **more, **run.deadline(host)})


def back(run: Rotation, host: str, pairs: t.AbstractSet[decisions.Pair]) -> Questions:
    """The previous policies of the units that go back. Those that were missing before this run are removed,
    so that traffic flows as it did. If an earlier, interrupted run had installed them, they stay: they stop
    traffic, but never let it pass unencrypted.
    """
    if not run.own(host)["policies"]:
        return
    going = _changes(run, host, within(run, host, pairs))
    now = [policy for change in going for policy in change.now]
    # A peer that has not gone back yet sends through the new SAs, so that inbound policies go on accepting both.
    replaced = [
        policy
        for change in going
        for policy in change.before
        if policy not in now and (policy["direction"] == _OUT or not change.beside)
    ]
    replaced += pins.previous(run, host, [change.name for change in going])
    yield from _boot_between(run, host, lambda change: change.accepting_at_boot(change not in going))
    if replaced:
        yield Question(POLICIES, "ipsec_policy", {"policies": replaced, **run.deadline(host)})
    gone = [
        policy for policy in _installed_by(run, host, going) if not any(is_same(policy, other) for other in replaced)
    ]
    if gone:
        yield Question(UNPOLICIES, "ipsec_policy", {"policies": gone, "state": "absent", **run.deadline(host)})


def _installed_by(run: Rotation, host: str, changes: t.Sequence[_Change]) -> list[Result]:
    """The new policies that were missing before this run. Those for another mark come before the previous ones, so
    they belong to these, whichever run installed them.
    """
    missing = set(run.answers(PREFLIGHT, host).get(POLICIES).get("added", ()))
    before = [policy for change in changes for policy in change.before]
    new = [
        policy for change in changes for policy in change.now if labelled(policy) in missing and policy not in before
    ]
    return new + [policy for change in changes for policy in change.ahead() if policy not in new]


def narrowed(
    run: Rotation, host: str, pairs: t.AbstractSet[decisions.Pair], switched: t.AbstractSet[str] = frozenset()
) -> Questions:
    """Accept packets through the previous SAs only, between hosts none of which sends through the new ones. Where SAs
    are taken over beside keys of the keystore, hosts may send through either, and policies go on accepting both.
    ``switched`` are the units through whose new SAs the host sends after a reboot.
    """
    names = run.accepting_both.intersection(within(run, host, pairs))
    both = {row["name"] for row in run.expected["connections"] if row["current"]} & run.taking
    changes = _changes(run, host, names - both)
    found = [policy for change in changes for policy in change.before if policy["direction"] != _OUT]
    yield from installed(run, host, found)
    if names:
        yield from _boot_between(
            run,
            host,
            lambda change: change.before if change in changes else change.accepting_at_boot(change.name in switched),
            # Not with the way back: they guard the new outbound SAs until these have left the file.
            _installed_by(run, host, changes),
        )


def within(run: Rotation, host: str, pairs: t.AbstractSet[decisions.Pair]) -> set[str]:
    """The host's units all of whose pairs are among these."""
    return {name for name in _names(run, host) if run.pairs([name], host) <= pairs}


def is_same(one: Result, other: Result) -> bool:
    """Whether the kernel takes one policy for the other."""
    return all(one.get(name) == other.get(name) for name in ("direction", "selector", "mark", "if_id"))


def boot(run: Rotation, host: str, check: bool = False) -> Questions:
    """The file of policies is replaced, so it includes those of connections that the run leaves out.
    Policies that are no longer named are kept.
    """
    own = run.own(host)
    if own["boot"]:
        wanted = [*own["boot_policies"], *(_at_boot(run, host) if own["policies"] else ())]
        options = {**own["boot_options"], "file": own["file"], "policies": wanted, "purge": False}
        # In preflight nothing changes, and the host's clock is not known yet.
        yield Question(SERVICE, "ipsec_boot", options if check else {**options, **run.deadline(host)}, check)


def _at_boot(run: Rotation, host: str) -> list[Result]:
    names = _names(run, host)
    moved = [row["name"] for row in run.expected["connections"] if row["name"] in names and row["before"]]
    behind = [policy for change in _changes(run, host, moved) for policy in change.behind()] if moved else []
    return [*of_host(run, host, everywhere=True), *behind]


def failed(run: Rotation) -> set[str]:
    """The hosts on which policies, or the service that loads them, could not be set up."""
    return {host for host in run.hosts if any(map(decisions.has_failed, _answers(run, host)))}


def changed(run: Rotation) -> list[str]:
    """The hosts on which policies, or the service that loads them, changed."""
    return [host for host in run.hosts if any(answer.get("changed") for answer in _answers(run, host))]


def _answers(run: Rotation, host: str) -> list[Result]:
    steps = (CUT_OVER, ACCEPT, UNNEST, PERSIST)
    return [run.answers(step, host).get(name) for step in steps for name in (POLICIES, SERVICE)]


def labelled(policy: Result) -> str:
    """The policy as a host names it."""
    return label(read_policy(policy, "", []))
