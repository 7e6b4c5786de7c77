# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The removal of what left the connections: pairs and groups that the inventory no longer names, as far as
rotate_leave says, or everything with rotate_state. By default that is what only this play had. Of the rest, nothing
tells whether somebody else still names it.
Pure.

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

from .._connections.model import Connection, Unit, connection_of
from .._connections.units import matching, name_of
from .._policies import policies_of_host
from . import decisions, policies, questions
from .rotation import LEAVE, PREFLIGHT, TIDY, Question, Questions, Result, Rotation

ABSENT = "absent"
STATES = ("present", ABSENT)
# In rotate_leave. No connection and no host has these names.
EVERYTHING = "*"
THIS_PLAY = "this play"
_NAMED = 3
_COMPARED = "policies_leaving"
_UNKNOWN = (
    "%s left connection %s while the keystore had its first format, which does not say what was there then: remove it"
    " from this host and its former peers with ipsec_sadb and ipsec_policy, state absent. After that, ipsec_keystore"
    " with state retired ends this warning."
)
_KEPT = "are kept, so that no traffic between them is sent unencrypted. To remove them, run with rotate_leave:"
_GOING = "To be removed, since it left the connections: %s. %s. To keep it, run with rotate_leave: []."


class Leaving(t.NamedTuple):
    """Units that left. ``shapes`` are connections of these units alone, as each generation with keys has
    them; ``cleaned`` are the hosts that no longer hold anything of them, None if nobody began to remove them;
    ``own`` is whether only the run's play had them, ``plays`` are all that have them.
    """

    shapes: list[Connection]
    cleaned: frozenset[str] | None
    own: bool
    plays: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.shapes[0].name

    @property
    def units(self) -> frozenset[Unit]:
        return self.shapes[0].units()

    @property
    def everyone(self) -> list[str]:
        """The hosts that held something. Only those of a group can differ between its generations."""
        return sorted({host for shape in self.shapes for host in shape.hosts})

    @property
    def hosts(self) -> list[str]:
        """The hosts that still hold something."""
        return [host for host in self.everyone if host not in (self.cleaned or ())]


def chosen(run: Rotation) -> list[Leaving]:
    """What this run removes: what rotate_leave says, what an earlier run began to remove, or with
    rotate_state absent everything that a host of the run has. Nothing if the run is limited to a part.
    """
    return [part for part in _divided(run)[0] if part.hosts]


def _divided(run: Rotation) -> tuple[list[Leaving], list[Leaving]]:
    """What left, by whether this run removes it."""
    removed: list[Leaving] = []
    kept: list[Leaving] = []
    known = {row["connection"] for row in run.expected["leaving"]} | {row.name for row in run.connections()}
    for row in run.expected["leaving"]:
        shapes = [
            connection_of(row["connection"], settings, selectors)
            for settings, selectors in zip(row["settings"], row["selectors"])
        ]
        cleaned = None if row["cleaned"] is None else frozenset(row["cleaned"])
        whole = Leaving(shapes, cleaned, row["own"], tuple(row["plays"]))
        wanted = _wanted(run, whole, known)
        for found, units in ((removed, wanted), (kept, whole.units - wanted)):
            if units:
                found.append(whole._replace(shapes=[shape.only(units) for shape in shapes]))
    return removed, kept


def _wanted(run: Rotation, whole: Leaving, known: t.AbstractSet[str]) -> frozenset[Unit]:
    if run.wide["only"]:
        return frozenset()
    if whole.cleaned is not None:
        return whole.units
    if run.wide["state"] == ABSENT or _is_unnamed(run, whole):
        here = run.state["own"].keys()
        return frozenset(unit for unit in whole.units if not here.isdisjoint(unit or whole.everyone))
    words = [word for word in _named(run) if word == whole.name or word not in known]
    return frozenset().union(*(matching(word, shape) for word in words for shape in whole.shapes))


def _is_unnamed(run: Rotation, part: Leaving) -> bool:
    """Whether the run removes it without a name."""
    words = run.wide["leave"]
    return EVERYTHING in words or (THIS_PLAY in words and part.own)


def _named(run: Rotation) -> list[str]:
    return [word for word in run.wide["leave"] if word not in (EVERYTHING, THIS_PLAY)]


def is_asked_for(wide: t.Mapping[str, t.Any]) -> bool:
    """Whether the settings of a run ask for a removal, in contrast to the default."""
    return wide["state"] == ABSENT or any(word != THIS_PLAY for word in wide["leave"])


def is_standing(wide: t.Mapping[str, t.Any]) -> bool:
    """Whether the run removes what leaves its connections without a name."""
    return not {EVERYTHING, THIS_PLAY}.isdisjoint(wide["leave"])


def may_be_empty(wide: t.Mapping[str, t.Any]) -> bool:
    """Whether a run without connections is no mistake: what goes is named, or everything shall go."""
    return wide["state"] == ABSENT or any(word not in (THIS_PLAY, EVERYTHING) for word in wide["leave"])


def unknown(run: Rotation) -> list[str]:
    """Warnings about words of rotate_leave that name nothing that left."""
    rows = [shape for found in _divided(run) for part in found for shape in part.shapes]
    return [
        f"rotate_leave names {word}, but nothing of that name has left the connections and is waiting to be removed."
        for word in _named(run)
        if not any(matching(word, shape) for shape in rows)
    ]


def announced(run: Rotation) -> list[str]:
    """A warning about what the run removes although nobody named it, and no run has begun to."""
    parts = [part for part in chosen(run) if part.cleaned is None and _is_unnamed(run, part)]
    names = [name_of(part.name, unit) for part in parts for unit in sorted(part.units)]
    if not names or run.wide["state"] == ABSENT:
        return []
    if any(run.own(host)["policies"] for host in hosts(run)):
        return [_GOING % (_listed(names), "Only what other connections need stays protected")]
    return [_GOING % (_listed(names), "Its policies stay, and stop its traffic")]


def hosts(run: Rotation) -> list[str]:
    """The hosts of the run that have something to remove."""
    return sorted({host for part in chosen(run) for host in part.hosts if host in run.state["own"]})


def preflight(run: Rotation, host: str) -> Questions:
    """What must be known about a host that is no longer in any connection of the run."""
    if host in hosts(run):
        yield from compared(run, host)
        nothing: Result = {"addresses": [], "associations": [], "expected": {}}
        yield questions.preflight(run, host, nothing)


def compared(run: Rotation, host: str) -> Questions:
    """What the host has in place of the policies that are to go."""
    wanted = _policies(run, host, [part for part in chosen(run) if host in part.hosts])
    if wanted:
        yield Question(_COMPARED, "ipsec_policy", {"policies": wanted}, check=True)


def leave(run: Rotation, host: str) -> Questions:
    """A host that could not be reached before is not asked."""
    own = [part for part in chosen(run) if host in part.hosts]
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
        "left", "ipseckeys_file", {**common, "content": run.left(units(own), host), "allow_static_counter_mode": True}
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
    return host not in run.expected["hosts"] and not any(host in part.hosts for part in _divided(run)[1])


def _policies(run: Rotation, host: str, own: t.Sequence[Leaving]) -> list[Result]:
    """The policies of these units that no other unit has, and that the host does not load for another reason."""
    if not run.own(host)["policies"]:
        return []
    here = run.own(host)
    others = [*run.connections(), *(shape for part in _divided(run)[1] for shape in part.shapes)]
    needed = {_identity(view) for view in (*_of(run, host, others), *here["boot_policies"])}
    # Two generations of a unit, and two connections between the same addresses, have the same policies.
    found = {_identity(view): view for view in _of(run, host, [shape for part in own for shape in part.shapes])}
    return [view for key, view in found.items() if key not in needed]


def _of_others(run: Rotation, host: str, own: t.Sequence[Leaving]) -> list[str]:
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
    if run.wide["state"] == ABSENT:
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
        for host in hosts(run)
        for answers in [run.answers(LEAVE, host).results]
        if TIDY in answers and not any(map(decisions.has_failed, answers.values()))
    ]


def problems(run: Rotation) -> list[str]:
    """Why hosts that could be reached did not remove everything."""
    found: dict[str, None] = {}
    finished = set(done(run))
    for host in hosts(run):
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
    own = [part for part in chosen(run) if host in part.hosts]
    if not own or not _is_reached(run, host):
        return []
    names = [name for part in own for name in _names_at(part, host)]
    text = language.parse(run.left(units(own), host), **ANYTHING)
    spis = sorted({f"0x{sa.spi:08x}" for sa in text.sas})
    found = [
        f"{_listed(names)}: no longer in the connections; a run would remove",
        f"  SAs in the kernel and in {run.own(host)['file']}: {_listed(spis)}",
    ]
    foreign = _of_others(run, host, own)
    gone = [text for text in map(policies.labelled, _policies(run, host, own)) if text not in foreign]
    if foreign:
        found.append(f"  but not policies that others have put in place of its own: {_listed(foreign)}")
    if gone:
        found += [f"  policies: {_listed(gone)}", "  after which nothing protects this traffic"]
    elif foreign:
        pass
    elif run.own(host)["policies"]:
        found.append("  policies: none, since other connections need them")
    else:
        found.append("  policies: none, since the run is without rotate_policies; those that it has stop the traffic")
    if run.own(host)["boot"]:
        found.append(f"  at boot: {'the service' if run.wide['state'] == ABSENT else 'the same SAs and policies'}")
    return found


def foreseen(run: Rotation) -> list[str]:
    """What a run would not remove, since it would not reach the hosts."""
    waiting: dict[str, list[str]] = {}
    for part in chosen(run):
        for host in part.hosts:
            if not _is_reached(run, host):
                waiting.setdefault(host, []).extend(_names_at(part, host))
    return [
        f"Would still have to be removed from {host}, which {_why(run, host)}: {_listed(names)}."
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


def units(parts: t.Iterable[Leaving]) -> dict[str, frozenset[Unit]]:
    """The units of these parts, by connection."""
    found: dict[str, frozenset[Unit]] = {}
    for part in parts:
        found[part.name] = part.units | found.get(part.name, frozenset())
    return found


def lines(run: Rotation) -> list[str]:
    """What the run removed, and what remains to be removed."""
    finished = set(done(run))
    removed: dict[str, list[str]] = {}
    waiting: dict[str, list[str]] = {}
    retirable: dict[str, dict[str, None]] = {}
    staying = {connection.name: connection.hosts for connection in run.connections()}
    for part in chosen(run):
        for host in part.hosts:
            names = _names_at(part, host)
            (removed if host in finished else waiting).setdefault(host, []).extend(names)
            # A word for a host that has other pairs in the connection would name those.
            words = names if host in staying.get(part.name, ()) else [f"{part.name}/{host}"]
            retirable.setdefault(host, {}).update(dict.fromkeys(words))
    found = [f"Removed from {host}: {_listed(names)}." for host, names in sorted(removed.items())]
    for host in sorted(removed):
        foreign = _of_others(run, host, [part for part in chosen(run) if host in part.hosts])
        if foreign:
            found.append(
                f"Kept on {host}, since others have put them in place of its own: policies {_listed(foreign)}."
            )
    for host, names in sorted(waiting.items()):
        found.append(
            f"Still to be removed from {host}, which {_why(run, host)}: {_listed(names)}. The next run that reaches it"
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
        for part in chosen(run)
        for unit in sorted(part.units)
        for ends in [list(unit or part.everyone)]
    ]


def kept(run: Rotation) -> list[str]:
    """Warnings about connections and hosts that have keys but are no longer named, and that the run does not
    remove; every run repeats them.
    """
    result, gone = run.expected, units(chosen(run))
    successors = _successors(run)
    staying: dict[str, set[str]] = {}
    plays: dict[str, set[str]] = {}
    for part in _divided(run)[1]:
        staying.setdefault(part.name, set()).update(part.hosts)
        if not part.own:
            plays.setdefault(part.name, set()).update(part.plays)
    connections = [
        f"connection {row['name']} is not among the connections of this run, and has keys (generation"
        f" {row['generation']}{_had_by(plays.get(row['name'], ()))}) on {', '.join(sorted(staying[row['name']]))}."
        f" {_fate(row['name'], successors.get(row['name'], ''))}"
        for row in result["unnamed"]
        if row["name"] in staying
    ]
    found = []
    for row in result["departed"]:
        name, left = row["name"], [pair for pair in row["pairs"] if tuple(pair) not in gone.get(row["name"], ())]
        if name in {other["name"] for other in result["unnamed"]}:
            continue
        known = {host for pair in row["pairs"] for host in pair or row["hosts"]}
        for host in row["hosts"]:
            if host not in known:
                found.append(_UNKNOWN % (host, name))
            elif any(host in pair or not pair for pair in left):
                found.append(
                    f"{host} left connection {name}. Its SAs and policies, and those of its former peers with it,"
                    f" {_KEPT} [{name}/{host}]."
                )
        parted = [pair for pair in left if pair and not set(pair) & set(row["hosts"])]
        if parted:
            more = f", and {len(parted) - 1} more pairs," if len(parted) > 1 else ""
            found.append(
                f"{' and '.join(parted[0])}{more} are no longer a pair of connection {name}. Their SAs and policies"
                f" {_KEPT} [{name}]."
            )
    return [*connections, *found]


def _had_by(plays: t.Collection[str]) -> str:
    return f", in the play{'s' * (len(plays) > 1)} {', '.join(sorted(plays))}" if plays else ""


def _fate(name: str, successor: str) -> str:
    """What becomes of a connection that is no longer named."""
    if successor:
        return (
            f"Connection {successor} is between the same addresses. If it is the same under another name, run with"
            f" rotate_leave: [{name}], which retires the keys of {name} and removes what is left of its SAs."
            f" Policies that {successor} needs stay."
        )
    return (
        "Its SAs and policies are kept there, so that its traffic is not sent unencrypted. To remove them, run"
        f" with rotate_leave: [{name}]."
    )


def _successors(run: Rotation) -> dict[str, str]:
    """The connections that are between the same addresses as some that left, by the names of these."""
    ends = {frozenset(row.flows()): row.name for row in run.connections()}
    found = {}
    for row in run.expected["leaving"]:
        shape = connection_of(row["connection"], row["settings"][-1], row["selectors"][-1])
        name = ends.get(frozenset(shape.flows()))
        if name not in (None, shape.name):
            found[shape.name] = name
    return found


def _names_at(part: Leaving, host: str) -> list[str]:
    return [name_of(part.name, unit) for unit in sorted(part.units) if not unit or host in unit]


def _listed(names: t.Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
