# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every rotation with a fault at any place, from every state that such rotations leave behind.

The decisions, questions and record changes are those of the role, in the order of its tasks; hosts
and keys are abstract (`world`). In every state:

- I1: each host accepts what each of its peers sends.
- I2: so it does if any one host reboots, and while any host is out of reach.
- I3: from every state that a run leaves, a plain run ends with one generation on all hosts, and in
  their files; the run after it changes nothing.
- I4: no host gets SAs of a generation that was retired before.

That the SAs of others are untouched (I5), and that keys are nowhere else (I6), is tested on a real
kernel.
"""

from __future__ import annotations

import copy
import functools
import itertools
import types
import typing as t

import pytest
import yaml

from ansible_collections.ipsec.manual.plugins.action import ipsec_rotation
from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import IpsecError
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore import changes, records
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation import (
    completion,
    course,
    cutover,
    decisions,
    ending,
    nesting,
    policies,
    questions,
    rotation,
    steps,
)
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation.record import UNANSWERED, Answers
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation.rotation import Question, Questions, Rotation
from ansible_collections.ipsec.manual.tests.unit.docs.test_timeline import TOP, steps_of
from ansible_collections.ipsec.manual.tests.unit.plugins.plugin_utils._rotation import world
from ansible_collections.ipsec.manual.tests.unit.plugins.plugin_utils._rotation.world import NAME, Host, Moment, Result

REFUSED: Result = {"failed": True, "changed": False, "msg": "the kernel refuses it"}
ORDER = tuple(
    step
    for step in steps_of(yaml.safe_load((TOP / "roles/rotate/tasks/main.yml").read_text(encoding="utf-8")))
    if step != "end"
)
AFTER_FORGET = ORDER[ORDER.index(rotation.FORGET) + 1]
OWN = {
    "file": world.FILE,
    "backend": "auto",
    "timeout": 0,
    "policies": True,
    "policy_priority": 1000,
    "boot": True,
    "boot_policies": [],
    "boot_options": {"service_manager": "auto", "state": "present"},
}
# What may happen when a host is asked several questions in one go: it is out of reach, from then on for the whole
# run; it is out of reach after a question, and its answers are lost; it refuses a question; it reboots before a
# question, and the answers to earlier ones are lost; the network drops its packets.
FAULTS = ("gone", "lost", "refused", "rebooted", "dropped")


MODES = ((world.TRANSPORT, world.TUNNEL), (world.TUNNEL, world.TRANSPORT))


class Violation(Exception):
    """An invariant does not hold."""


class _Controller(ipsec_rotation.ActionModule):  # type: ignore[misc]
    """The role's action with an abstract keystore and record."""

    def __init__(self, ongoing: Ongoing) -> None:  # pylint: disable=super-init-not-called
        self.ongoing = ongoing
        self._vars = {}
        self._task = types.SimpleNamespace(check_mode=False)
        self._record = types.SimpleNamespace(save=lambda state: None)

    def _keep(
        self,
        state: t.Any,
        do: str,
        dry: bool = False,
        spis: t.Iterable[str] = (),
        renew: t.Collection[str] = (),
    ) -> Result:
        before = moment = self.ongoing.moment
        if do == "prepared":
            moment, state["outcomes"] = world.prepared(moment, state["units"], state["new_keys"] or bool(renew))
        else:
            found = {
                unit: _ADVANCES[do](record) if unit in state["units"] else record for unit, record in moment.records
            }
            moment = moment._replace(records=tuple(found.items()))
        if not dry:
            self.ongoing.moment = moment
        return world.expected(before, moment, state["outcomes"])


_ADVANCES: dict[str, t.Callable[[records.KeyRecord], records.KeyRecord]] = {
    "switching": changes.start,
    "retiring": changes.retire,
    "promoted": lambda record: changes.promote(record, {}),
}


class Ongoing:
    """A run in progress: the world, the run's record, and the hosts that are out of reach."""

    def __init__(
        self, moment: Moment, strategy: str, new_keys: bool, only: t.Sequence[world.Unit] | None = None
    ) -> None:
        self.moment = moment
        self.results: dict[tuple[str, str], dict[str, Result]] = {}
        self.gone: set[str] = set()
        self.arrived: set[tuple[str, world.Sa]] = set()
        self.stopped = False
        self.failed = False
        self.trail: tuple[str, ...] = ()
        self.state: Result = {
            "wide": {
                "when": "asked",
                "undo": False,
                "only": [],
                "leave": [],
                "state": "present",
                "strategy": strategy,
                "grace": 0.0,
                "cutover_delay": 0.0,
                "clock_tolerance": 2.0,
                "allow_static_counter_mode": False,
                "probe": True,
                "probe_count": 3,
            },
            "own": dict.fromkeys(world.names(moment), OWN),
            "digest_key": "",
            "due": False,
            "switching": False,
            "approved": False,
            "refusal": "",
            "undo": {},
            "units": [unit for unit, dummy in moment.records if only is None or unit in only],
            "outcomes": {},
            "new_keys": new_keys,
        }
        self.state["expected"] = _Controller(self)._keep(self.state, "prepared", dry=True)

    def fork(self) -> Ongoing:
        other = copy.copy(self)
        other.results = {place: dict(found) for place, found in self.results.items()}
        other.gone, other.arrived, other.state = set(self.gone), set(self.arrived), dict(self.state)
        return other

    def rotation(self) -> Rotation:
        def text(names: t.Sequence[str], host: str, generation: str) -> str:
            units = [unit for unit, name in world.pairs_of(world.names(self.moment)).items() if name in names]
            sas = world.NOTHING
            for unit in units:
                found = self.moment.record(unit).pick(generation)
                assert found is not None and host in unit
                sas |= world.sas_of(found.generation, unit)
            return world.text_of(sas) if names else ""

        return Rotation(
            self.state,
            lambda step, host: Answers(self.results.get((step, host), {})),
            text,
            lambda: world.connections(
                "".join(world.names(self.moment)), self.moment.reqid, self.moment.is_scripted, self.moment.mode
            ),
            valid=lambda host: world.text_of(world.valid(self.moment, host)),
        )

    def decide(self, step: str) -> None:
        """A step of the controller."""
        if course.leaves_out(step, self.state):
            return
        try:
            getattr(_Controller(self), f"_{step}")(self.rotation())
        except IpsecError:
            self.stopped = self.failed = True

    def questions(self, step: str, host: str) -> list[Question]:
        """What a host is asked in a step. Runs that differ only in what follows share it."""
        if course.leaves_out(step, self.state) or host not in self.state["expected"]["hosts"]:
            return []
        return list(steps.STEPS[step](self.rotation(), host))

    def ask(self, step: str, host: str, questions: t.Sequence[Question], fault: str = "", at: int = 0) -> None:
        """Ask a host the questions of a step, with a fault at one of them."""
        results = self.results.setdefault((step, host), {})
        if questions and fault == "gone":
            self.gone.add(host)
        if host in self.gone:
            results.update(dict.fromkeys((question.name for question in questions), UNANSWERED))
            return
        for number, question in enumerate(questions):
            ends_here = number == at
            if ends_here and fault == "rebooted":
                self._become(self.moment.with_host(host, self.moment.host(host).rebooted()))
                if number:
                    results.update(dict.fromkeys((question.name for question in questions), UNANSWERED))
                    break
            results[question.name] = self._put(host, question, fault if ends_here else "")
            if decisions.has_failed(results[question.name]):
                break
            if ends_here and fault == "lost":
                self.gone.add(host)
                results.update(dict.fromkeys((question.name for question in questions), UNANSWERED))
                break

    def _put(self, host: str, question: Question, fault: str) -> Result:
        if fault == "refused":
            return REFUSED
        arrived = set() if fault == "dropped" else self.arrived
        moment, answer = world.carry_out(self.moment, host, question, arrived)
        self.trail += (f"{host} {question.module} {question.name} {fault}",)
        self._become(moment)
        return answer

    def _become(self, moment: Moment) -> None:
        try:
            check_retired(self.moment, moment)
            if self.state["wide"]["strategy"] == "overlap":
                check_traffic(moment)
        except Violation as exc:
            raise Violation("\n".join((*self.trail, str(exc)))) from None
        self.moment = moment


def check_retired(before: Moment, after: Moment) -> None:
    """I4: no host gets SAs of a generation that was retired before."""
    retired = {(row.generation, unit) for unit, record in after.records for row in record.retired}
    for name, host in after.hosts:
        for place in ("kernel", "boot"):
            added = getattr(host, place) - getattr(before.host(name), place)
            came_with_the_boot = place == "kernel" and host.kernel == host.boot
            if not came_with_the_boot and any((sa[0], tuple(sorted(sa[1:]))) in retired for sa in added):
                raise Violation(f"I4: {name} gets a retired generation in its {place}: {sorted(added)}")


def check_traffic(moment: Moment) -> None:
    """I1 and I2: each host accepts what its peers send, also after a reboot of one host."""
    keyed = frozenset(unit for unit, record in moment.records if record.current is not None or moment.filed)
    why = lost(moment.hosts, keyed, moment.reqids, moment.modes)
    if why:
        raise Violation(why)


@functools.lru_cache(maxsize=None)
def lost(
    hosts: tuple[tuple[str, Host], ...],
    keyed: frozenset[world.Unit],
    reqids: tuple[tuple[int, int], ...],
    modes: tuple[tuple[int, str], ...],
) -> str:
    """What is lost between hosts that hold this, empty for nothing. ``keyed`` are the pairs that have a
    current generation, ``reqids`` and ``modes`` those of generations.
    """
    moment = Moment(hosts, (), reqids=reqids, modes=modes)
    worlds = [("", moment)] + [
        (f"after a reboot of {name}", moment.with_host(name, host.rebooted()))
        for name, host in hosts
        if host.boot and not moment.is_scripted
    ]
    for when, there in worlds:
        for sender, receiver in itertools.permutations(world.names(moment), 2):
            dropped = world.used(there, sender, receiver) - there.host(receiver).kernel
            if dropped:
                return f"{'I2' if when else 'I1'}: {receiver} drops what {sender} sends {when}: {sorted(dropped)}"
            why = world.lost_in_clear(there, keyed, sender, receiver)
            if why:
                return f"{'I2' if when else 'I1'}: what {sender} sends to {receiver} is lost {when}: {why}"
    return ""


def settled(moment: Moment) -> bool:
    wanted = world.NOTHING
    for unit, record in moment.records:
        if record.current is None or record.phase != records.STEADY:
            return False
        wanted |= world.sas_of(record.current.generation, unit)
    return all(
        host.kernel == host.boot == frozenset(sa for sa in wanted if name in sa)
        and not host.files
        and host.policies
        == host.boot_policies
        == world.policies_of(name, world.names(moment), moment.reqid, moment.mode)
        for name, host in moment.hosts
    )


def run_plainly(moment: Moment, strategy: str, new_keys: bool = False) -> Moment:
    """A run without a fault."""
    ongoing = Ongoing(moment, strategy, new_keys)
    for step in ORDER:
        if step in ipsec_rotation.DECISIONS:
            if not ongoing.stopped:
                ongoing.decide(step)
        elif not ongoing.stopped:
            for host in world.names(moment):
                ongoing.ask(step, host, ongoing.questions(step, host))
    if ongoing.failed or not settled(ongoing.moment):
        raise Violation(f"I3: a plain run does not end what was left: {ongoing.moment}")
    return ongoing.moment


def explore_run(
    moment: Moment, strategy: str, new_keys: bool, most: int, only: t.Sequence[world.Unit] | None = None
) -> t.Iterator[Moment]:
    """The states that one run can leave, with ``most`` faults or fewer, or killed at any place. With ``only``,
    it is limited to these units.
    """
    plan = [
        (step, host) for step in ORDER for host in ([""] if step in ipsec_rotation.DECISIONS else world.names(moment))
    ]

    def follow(ongoing: Ongoing, position: int, faults: int) -> t.Iterator[Moment]:
        while position < len(plan) and not ongoing.stopped:
            step, host = plan[position]
            position += 1
            before = ongoing.fork()
            if not host:
                ongoing.decide(step)
                yield from changed(before, ongoing)
                continue
            questions = ongoing.questions(step, host)
            if not questions:
                continue
            ongoing.ask(step, host, questions)
            if faults:
                possible = [fault for fault in FAULTS if fault != "rebooted" or not before.moment.is_scripted]
                for at, fault in itertools.product(
                    range(len(questions)), possible if step == rotation.SEND else possible[:-1]
                ):
                    other = before.fork()
                    other.ask(step, host, questions, fault, at)
                    yield from changed(before, other)
                    yield from follow(other, position, faults - 1)
            yield from changed(before, ongoing)

    def changed(before: Ongoing, after: Ongoing) -> t.Iterator[Moment]:
        if after.moment is not before.moment:  # else the state is known, and to compare it takes long
            yield after.moment

    yield moment
    yield from follow(Ongoing(moment, strategy, new_keys, only), 0, most)


def explore(
    hosts: t.Sequence[str],
    strategy: str,
    rounds: int,
    faults: int = 1,
    old_backup: bool = False,
    reqids: t.Sequence[int] = (0,),
    scripted: bool = False,
    again: bool = False,
    modes: t.Sequence[str] = (),
    filed: bool = False,
) -> int:
    """Visit the states that ``rounds`` runs in a row can leave, each with faults, in a world without
    keys and in one that has keys; the number of states. With ``old_backup``, only in one that has keys,
    and beside the protected files backups of retired SAs. With several ``reqids``, only in one that has keys,
    and a run that makes new ones is for the next of these in turn. With ``scripted``, only in one without keys,
    where a script has made SAs, and where no host reboots; with ``again``, after a run, and then the script once more.
    With two ``modes``, only in one that has keys for the first, and each run that makes new ones is for the other one.
    With ``filed``, only in one without keys, where the hosts have SAs in their files.
    """
    empty = world.beginning("".join(hosts), scripted, filed)._replace(reqid=reqids[0])
    frontier = [empty] if scripted or filed else [empty, run_plainly(empty, strategy)]
    frontier = frontier[-1:] if len(reqids) > 1 else frontier
    if modes:
        frontier = [run_plainly(empty._replace(mode=modes[0]), "flush")]  # a first run changes with a gap
    if again:
        frontier = [world.scripted_again(run_plainly(empty, strategy))]
    if old_backup:
        keyed = run_plainly(frontier[1], strategy, new_keys=True)
        frontier = [keyed._replace(hosts=tuple((name, with_backup(keyed, name)) for name in hosts))]
    seen = {moment.canonical() for moment in frontier}
    ends = set()  # what a second plain run leaves as it is
    for number in range(rounds):
        following = []
        for moment in frontier:
            # A run takes up a next generation whether or not it is to make new keys.
            for new_keys in (False, True) if number and not is_begun(moment) else (True,):
                wanted = reqids[(reqids.index(moment.reqid) + new_keys) % len(reqids)]
                start = moment if is_begun(moment) or (scripted and not again) else moment._replace(reqid=wanted)
                if modes and new_keys and not is_begun(moment):
                    start = start._replace(mode=modes[(modes.index(moment.mode) + 1) % len(modes)])
                for left in explore_run(start, strategy, new_keys, faults):
                    state = left.canonical()
                    if state not in seen:
                        seen.add(state)
                        following.append(left)
                        again = run_plainly(left, strategy)
                        end = again.canonical()
                        if end not in ends and run_plainly(again, strategy).canonical() != end:
                            raise Violation(f"I3: a second plain run changes something: {again}")
                        ends.add(end)
        frontier = following
    return len(seen)


def is_begun(moment: Moment) -> bool:
    """Whether a run has prepared a generation that is not in use everywhere."""
    return any(record.next is not None for dummy, record in moment.records)


def explore_parts(faults: int) -> int:
    """The states that a run of all pairs can leave which follows a run of one pair that ended anywhere."""
    keyed = run_plainly(world.beginning("abc"), "overlap")
    seen: set[t.Any] = set()
    for first in {left.canonical(): left for left in explore_run(keyed, "overlap", True, 0, [("a", "b")])}.values():
        for left in explore_run(first, "overlap", True, faults):
            if left.canonical() not in seen:
                seen.add(left.canonical())
                run_plainly(left, "overlap")
    return len(seen)


def explore_second_thoughts(changed: str, values: t.Sequence[t.Any], faults: int = 0) -> int:
    """The states that two runs can leave: one for the second of these values of a setting, and, wherever it ended
    before any host switched, one for the last of them.
    """
    first, second, last = ({changed: value} for value in values)
    keyed = run_plainly(world.beginning("ab")._replace(**first), "flush")  # a tunnel begins with a gap
    seen: set[t.Any] = set()
    begun = explore_run(keyed._replace(**second), "overlap", True, 1)
    for start in {left.canonical(): left for left in begun if is_unused(left)}.values():
        for left in explore_run(start._replace(**last), "overlap", False, faults):
            if left.canonical() not in seen:
                seen.add(left.canonical())
                run_plainly(left, "overlap")
    return len(seen)


def explore_retiring(modes: t.Sequence[str], faults: int) -> int:
    """The states that a run can leave which follows a change of the mode that was approved, and ended on the way."""
    keyed = run_plainly(world.beginning("ab")._replace(mode=modes[0]), "flush")._replace(mode=modes[1])
    begun = {left.canonical(): left for left in explore_run(keyed, "overlap", True, 0) if is_approved(left)}
    seen: set[t.Any] = set()
    for start in begun.values():
        for left in explore_run(start, "overlap", False, faults):
            if left.canonical() not in seen:
                seen.add(left.canonical())
                run_plainly(left, "overlap")
    return len(seen)


def is_approved(moment: Moment) -> bool:
    return any(record.phase == records.RETIRING for dummy, record in moment.records)


def is_unused(moment: Moment) -> bool:
    """Whether a run has prepared a generation through which no host sends."""
    return any(record.phase == records.PREPARED for dummy, record in moment.records)


def with_backup(moment: Moment, name: str) -> Host:
    """A host with a backup of the first generation, which was retired."""
    old = frozenset(sa for unit, dummy in moment.records if name in unit for sa in world.sas_of(1, unit))
    return moment.host(name)._replace(files=((".previous", old),), label=f"{NAME}:2")


def deep(*values: t.Any) -> t.Any:
    """Values for an exploration that takes long. The session `invariants` runs these, and `unit` the others."""
    return pytest.param(*values, marks=pytest.mark.deep)


def test_an_old_backup_is_not_loaded() -> None:
    assert explore("ab", "overlap", 1, old_backup=True) > 50


@pytest.mark.parametrize(
    ("hosts", "strategy", "rounds", "faults"),
    [
        ("ab", "overlap", 1, 1),
        deep("ab", "overlap", 2, 1),
        deep("ab", "overlap", 1, 2),
        ("ab", "flush", 1, 1),
        deep("ab", "flush", 2, 1),
        deep("abc", "overlap", 1, 1),
    ],
)
def test_no_fault_separates_two_hosts(
    hosts: str, strategy: str, rounds: int, faults: int, capsys: pytest.CaptureFixture[str]
) -> None:
    found = explore(hosts, strategy, rounds, faults)
    with capsys.disabled():
        print(
            f"{found} states: {len(hosts)} hosts, {rounds} runs in a row, {faults} faults in each, strategy {strategy}"
        )
    assert found > 50


@pytest.mark.parametrize(
    ("hosts", "rounds", "faults", "reqids"),
    [
        *(("ab", 1, 1, reqids) for reqids in ((7, 9), (0, 7), (7, 0))),
        deep("ab", 2, 1, (7, 9)),
        deep("ab", 1, 2, (0, 7)),
        deep("abc", 1, 1, (7, 0)),
    ],
)
def test_no_fault_separates_two_hosts_while_the_reqid_changes(
    hosts: str, rounds: int, faults: int, reqids: t.Sequence[int], capsys: pytest.CaptureFixture[str]
) -> None:
    found = explore(hosts, "overlap", rounds, faults, reqids=reqids)
    with capsys.disabled():
        print(f"{found} states: {len(hosts)} hosts, {rounds} runs in a row, {faults} faults in each, reqid {reqids}")
    assert found > 50


@pytest.mark.parametrize(
    ("hosts", "rounds", "faults", "modes"),
    [
        *(("ab", 1, 1, modes) for modes in MODES),
        deep("ab", 1, 2, MODES[0]),
        deep("ab", 1, 2, MODES[1]),
        deep("abc", 1, 1, MODES[0]),
    ],
)
def test_no_fault_separates_two_hosts_while_the_mode_changes(
    hosts: str, rounds: int, faults: int, modes: t.Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    found = explore(hosts, "overlap", rounds, faults, modes=modes)
    with capsys.disabled():
        print(f"{found} states: {len(hosts)} hosts, {rounds} runs in a row, {faults} faults in each, mode {modes}")
    assert found > 50


@pytest.mark.deep
@pytest.mark.parametrize("modes", MODES)
def test_no_fault_separates_two_hosts_in_a_run_that_ends_the_change_of_a_mode(modes: t.Sequence[str]) -> None:
    assert explore_retiring(modes, 1) > 50


@pytest.mark.deep
@pytest.mark.parametrize("reqids", [(7, 9, 7), (7, 9, 11), (7, 7, 9)])
def test_nothing_of_a_discarded_generation_stays_when_the_reqid_changes_again(reqids: t.Sequence[int]) -> None:
    assert explore_second_thoughts("reqid", reqids) > 50


@pytest.mark.deep
@pytest.mark.parametrize("modes", [(one, other, one) for one, other in MODES])
def test_nothing_of_a_discarded_generation_stays_when_the_mode_changes_back(modes: t.Sequence[str]) -> None:
    assert explore_second_thoughts("mode", modes) > 50


@pytest.mark.parametrize("reqid", [0, 9])
def test_no_fault_separates_two_hosts_whose_sas_are_taken_over(reqid: int) -> None:
    assert explore("ab", "overlap", 1, reqids=(reqid,), scripted=True) > 50


@pytest.mark.deep
@pytest.mark.parametrize(("hosts", "rounds", "faults"), [("ab", 2, 1), ("ab", 1, 2), ("abc", 1, 1)])
def test_no_fault_separates_hosts_that_had_sas_in_their_files(hosts: str, rounds: int, faults: int) -> None:
    assert explore(hosts, "overlap", rounds, faults, filed=True) > 50


@pytest.mark.deep
@pytest.mark.parametrize("reqids", [(0,), (9,), (7, 9)])
def test_no_fault_separates_two_hosts_with_keys_where_a_script_made_its_sas_again(reqids: t.Sequence[int]) -> None:
    assert explore("ab", "overlap", 1, reqids=reqids, scripted=True, again=True) > 50


@pytest.mark.parametrize(("faults", "least"), [(0, 20), deep(1, 50)])
def test_no_fault_separates_hosts_whose_pairs_are_in_different_phases(faults: int, least: int) -> None:
    assert explore_parts(faults) > least


@pytest.mark.parametrize("changed", [{"reqid": 9}, {}])
def test_a_host_that_rebooted_after_stage_keeps_nothing_new_if_its_peer_refuses(changed: dict[str, int]) -> None:
    """At the boot it loads what is staged in its file, of SAs beside the previous ones also the outbound ones."""
    keyed = run_plainly(world.beginning("ab")._replace(reqid=7), "overlap")
    ongoing = Ongoing(keyed._replace(**changed), "overlap", new_keys=True)
    for step in ORDER[: ORDER.index("forget") + 1]:
        if step in ipsec_rotation.DECISIONS:
            ongoing.decide(step)
            continue
        for host in "ab":
            fault = "refused" if step == rotation.STAGE and host == "b" else ""
            ongoing.ask(step, host, ongoing.questions(step, host), fault)
        if step == rotation.STAGE:
            loaded = ongoing.moment.host("a").rebooted()
            assert bool({sa for sa in loaded.kernel if sa not in keyed.host("a").kernel and sa[1] == "a"}) == bool(
                changed
            )
            ongoing._become(ongoing.moment.with_host("a", loaded))
    host, before = ongoing.moment.host("a"), keyed.host("a")
    assert (host.kernel, host.boot) == (before.kernel, before.boot)


Faults = t.Mapping[t.Tuple[str, str], t.Tuple[str, int]]


def run_with(
    moment: Moment,
    new_keys: bool,
    faults: Faults,
    only: t.Sequence[world.Unit] | None = None,
    until: str = "",
    strategy: str = "overlap",
) -> Moment:
    """A run with these faults, by step and host, that is killed before the step ``until``."""
    ongoing = Ongoing(moment, strategy, new_keys, only)
    for step in itertools.takewhile(until.__ne__, ORDER):
        if ongoing.stopped:
            break
        if step in ipsec_rotation.DECISIONS:
            ongoing.decide(step)
            continue
        for host in world.names(moment):
            ongoing.ask(step, host, ongoing.questions(step, host), *faults.get((step, host), ()))
    return ongoing.moment


CHANGES: tuple[tuple[dict[str, t.Any], dict[str, t.Any]], ...] = (
    ({"reqid": 7}, {"reqid": 9}),
    *(({"mode": one}, {"mode": other}) for one, other in MODES),
)


@functools.lru_cache(maxsize=None)
def keyed_mesh(reqid: int = 0, mode: str = world.TRANSPORT) -> Moment:
    return run_plainly(world.beginning("abc")._replace(reqid=reqid, mode=mode), "flush")


@pytest.mark.parametrize(("before", "after"), CHANGES)
@pytest.mark.parametrize("until", [rotation.SEND, rotation.UNNEST, rotation.PERSIST])
@pytest.mark.parametrize("faults", [{}, {(rotation.STAGE, "b"): ("refused", 3)}])
def test_a_run_of_other_pairs_does_not_disturb_an_interrupted_change(
    before: dict[str, t.Any], after: dict[str, t.Any], until: str, faults: Faults
) -> None:
    """Neither what hosts load at boot, which the service loads at once, nor their SAs."""
    left = run_with(keyed_mesh(**before)._replace(**after), True, {}, [("a", "c"), ("b", "c")], until)
    run_plainly(run_with(left, True, faults, [("a", "b")]), "overlap")


@pytest.mark.parametrize(("before", "after"), CHANGES)
def test_a_host_that_went_back_loads_at_boot_what_it_sends_through(
    before: dict[str, t.Any], after: dict[str, t.Any]
) -> None:
    """One peer went back, too; what the other one did is not known."""
    faults = {(rotation.CUT_OVER, "c"): ("refused", 3), (rotation.GO_BACK, "b"): ("lost", 1)}
    run_plainly(run_with(keyed_mesh(**before)._replace(**after), True, faults), "overlap")


@pytest.mark.parametrize(("before", "after"), [({}, {}), CHANGES[0]])
def test_a_run_of_one_pair_does_not_take_others_back(before: dict[str, t.Any], after: dict[str, t.Any]) -> None:
    """The host has a backup from a run of all of its pairs, which made the same generation."""
    faults = {(rotation.CUT_OVER, "a"): ("lost", 1), (rotation.CUT_OVER, "c"): ("refused", 3)}
    left = run_with(keyed_mesh(**before)._replace(**after), True, faults)
    dropped = {(rotation.SEND, "c"): ("dropped", 0)}
    after_all = run_with(left, False, dropped, [("a", "c")])
    sent = {sa for sa in after_all.host("a").kernel if sa[1:] == ("a", "b")}
    assert sent >= {sa for sa in left.host("a").kernel if sa[1:] == ("a", "b")}
    run_plainly(after_all, "overlap")


def test_a_host_that_reboots_after_a_cut_over_with_a_gap_keeps_the_keys_of_its_peers() -> None:
    start = run_plainly(world.beginning("abc"), "flush")
    faults = {(rotation.SEND, "a"): ("lost", 0)}
    check_traffic(run_with(start, True, faults, until=rotation.SEND, strategy="flush"))
    left = run_with(start, True, faults, until=AFTER_FORGET, strategy="flush")
    check_traffic(left)
    assert left.host("a").kernel == left.host("a").boot != start.host("a").kernel


def test_a_host_that_goes_back_with_a_gap_loads_at_boot_what_it_sends_through() -> None:
    start = run_plainly(world.beginning("abc"), "flush")
    faults = {(rotation.CUT_OVER, "a"): ("refused", 1)}  # after its file has changed
    left = run_with(start, True, faults, until=AFTER_FORGET, strategy="flush")
    check_traffic(left)
    assert all(left.host(host).kernel == left.host(host).boot for host in "abc")
    assert left.host("a").kernel == start.host("a").kernel


@pytest.mark.parametrize(("before", "after"), MODES)
@pytest.mark.parametrize("until", [rotation.SEND, rotation.UNNEST, rotation.PERSIST])
def test_the_gap_of_a_mode_that_is_taken_back_ends_with_the_cut_over(before: str, after: str, until: str) -> None:
    """Inbound policies that an interrupted change left may accept nothing through the new SAs."""
    left = run_with(keyed_mesh(mode=before)._replace(mode=after), True, {}, until=until)._replace(mode=before)
    ongoing = Ongoing(left, "flush", False)
    for step in ORDER[: ORDER.index(rotation.SEND)]:
        for host in world.names(left):
            if step not in ipsec_rotation.DECISIONS:
                ongoing.ask(step, host, ongoing.questions(step, host))
        if step in ipsec_rotation.DECISIONS:
            ongoing.decide(step)
    there = ongoing.moment
    for sender, receiver in itertools.permutations(world.names(there), 2):
        sent = world.used(there, sender, receiver)
        assert sent and sent <= there.host(receiver).kernel
        assert not world.lost_in_clear(there, {(sender, receiver)}, sender, receiver)


def test_nothing_stays_of_a_generation_that_was_staged_before_a_run_of_other_pairs() -> None:
    """That run replaces the file that lists its SAs. Then the generation is discarded, since the reqid changes."""
    staged = run_with(keyed_mesh(reqid=7), True, {}, until="switch")
    assert is_unused(staged)
    other = run_with(staged._replace(reqid=9), True, {}, [("a", "c"), ("b", "c")])
    run_plainly(other, "overlap")


def test_the_report_does_not_say_what_nobody_knows() -> None:
    """One host's answer about its file is lost, so that it was not asked to change its SADB; the other refuses."""
    start = run_plainly(world.beginning("ab"), "overlap")
    ongoing = Ongoing(start, "overlap", new_keys=True)
    for step in ORDER[: ORDER.index("forget") + 1]:
        if step in ipsec_rotation.DECISIONS:
            ongoing.decide(step)
            continue
        for host, fault, at in (("a", "lost", 0), ("b", "refused", 1)):
            questions = ongoing.questions(step, host)
            ongoing.ask(step, host, questions, fault if step == rotation.CUT_OVER else "", at)
    text = str(ending.rolled_back(ongoing.rotation()))
    assert "  a: unknown: generation 2 of mesh, or what it held before" in text
    assert "  b: what it held before this run" in text


def _both_directions_at_once(patch: pytest.MonkeyPatch) -> None:
    """The previous inbound SAs go while peers still send through them."""
    patch.setattr(cutover, "directions", lambda run, host: {})


def _outbound_before_all_receive(patch: pytest.MonkeyPatch) -> None:
    genuine = steps.STEPS[rotation.STAGE]

    def stage(run: Rotation, host: str) -> Questions:
        yield from genuine(run, host)
        yield questions.change_sadb(run, host, {"src": run.next_file(host), "state": "present"}, name="early")

    patch.setitem(steps.STEPS, rotation.STAGE, stage)  # type: ignore[arg-type]


def expected_names(expected: Result) -> list[str]:
    return [row["name"] for row in expected["connections"]]


def _back_because_a_host_is_out_of_reach(patch: pytest.MonkeyPatch) -> None:
    """The hosts that can be reached go back, and no longer accept the new SAs, as with the strategy flush."""
    genuine = decisions.ways_back
    patch.setattr(
        decisions,
        "ways_back",
        lambda expected, cut, dead, dummy: genuine(expected, cut, dead, expected_names(expected)),
    )
    patch.setattr(cutover, "directions", lambda run, host: {} if run.results(rotation.GO_BACK, "back") else {})


def _boot_file_written_late(patch: pytest.MonkeyPatch) -> None:
    for name in (rotation.STAGE, rotation.CUT_OVER):

        def late(run: Rotation, host: str, genuine: t.Any = steps.STEPS[name]) -> Questions:
            for question in genuine(run, host):
                if question.name == "file":
                    nothing = {"leave": list(run.expected["digest"])}
                    question = question._replace(options={**question.options, **nothing})
                yield question

        patch.setitem(steps.STEPS, name, late)  # type: ignore[arg-type]


def _back_from_retiring(patch: pytest.MonkeyPatch) -> None:
    genuine = decisions.ways_back

    def back(expected: Result, *more: t.Any) -> t.Any:
        rows = [{**row, "phase": records.SWITCHING} for row in expected["connections"]]
        return genuine({**expected, "connections": rows}, *more)

    patch.setattr(decisions, "ways_back", back)


def _any_backup_is_loaded(patch: pytest.MonkeyPatch) -> None:
    """A backup from an older run is neither removed nor overwritten nor distinguished from one of this run."""
    left, genuine = decisions.leftover, questions.change_sadb

    def sadb(run: Rotation, host: str, options: Result, **more: t.Any) -> Question:
        if left(run.answers(rotation.PREFLIGHT, host).get(rotation.PREFLIGHT), ".previous"):
            options = {name: value for name, value in options.items() if not name.startswith("backup")}
        return genuine(run, host, options, **more)

    patch.setattr(questions, "change_sadb", sadb)
    patch.setattr(decisions, "leftover", lambda *dummy: False)
    patch.setattr(Rotation, "label", lambda self, host: f"{NAME}:2")


@pytest.mark.parametrize(
    ("plant", "invariant", "rounds", "old_backup"),
    [
        (_both_directions_at_once, "I1", 2, False),
        (_outbound_before_all_receive, "I1", 2, False),
        (_back_because_a_host_is_out_of_reach, "I[12]", 2, False),
        (_boot_file_written_late, "I[12]", 2, False),
        deep(_back_from_retiring, "I[12]", 2, False),
        (_any_backup_is_loaded, "I4", 1, True),
    ],
)
def test_planted_bugs_are_found(
    plant: t.Callable[[pytest.MonkeyPatch], None],
    invariant: str,
    rounds: int,
    old_backup: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant(monkeypatch)
    with pytest.raises(Violation, match=f"{invariant}:"):
        explore("ab", "overlap", rounds, old_backup=old_backup)


def _inbound_policies_narrowed_early(patch: pytest.MonkeyPatch) -> None:
    """At the cut-over, while a peer may still send through the previous SAs."""
    patch.setattr(policies, "of_cut_over", policies.of_host)


def _inbound_policies_not_widened(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(policies, "_widened", lambda policy, other: other)


def _outbound_policies_before_peers_accept(patch: pytest.MonkeyPatch) -> None:
    genuine = steps.STEPS[rotation.STAGE]

    def stage(run: Rotation, host: str) -> Questions:
        yield from genuine(run, host)
        yield questions.change_sadb(run, host, {"src": run.next_file(host), "state": "present"}, name="early")
        yield from (question._replace(name="soon") for question in policies.installed(run, host, _outbound(run, host)))

    def _outbound(run: Rotation, host: str) -> list[Result]:
        return [policy for policy in policies.of_host(run, host) if policy["direction"] == "out"]

    patch.setitem(steps.STEPS, rotation.STAGE, stage)  # type: ignore[arg-type]


def _previous_outbound_sas_go_before_the_policy(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(cutover, "_beside", lambda run, host: [])
    genuine = questions.change_sadb

    def sadb(run: Rotation, host: str, options: Result, **more: t.Any) -> Question:
        replaced = run.replaced_file(host)
        more_scope = {"scope_src": replaced} if options["state"] == "exact" and run.left_behind(host) else {}
        return genuine(run, host, {**more_scope, **options}, **more)

    patch.setattr(questions, "change_sadb", sadb)


def _boot_policies_left_behind(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(policies, "_boot_between", lambda run, host, chosen: iter(()))


def _inbound_policies_narrowed_with_the_way_back(patch: pytest.MonkeyPatch) -> None:
    """Before the peers have gone back."""
    genuine = policies.back

    def back(run: Rotation, host: str, pairs: t.Any) -> Questions:
        yield from genuine(run, host, pairs)
        yield from (question._replace(name=f"n{question.name}") for question in policies.narrowed(run, host, pairs))

    patch.setattr(policies, "back", back)


@pytest.mark.parametrize(
    "plant",
    [
        _inbound_policies_narrowed_early,
        _inbound_policies_not_widened,
        _outbound_policies_before_peers_accept,
        _previous_outbound_sas_go_before_the_policy,
        _boot_policies_left_behind,
        _inbound_policies_narrowed_with_the_way_back,
    ],
)
def test_bugs_planted_into_the_change_of_a_reqid_are_found(
    plant: t.Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    with pytest.raises(Violation, match="I[12]:"):
        explore("ab", "overlap", 1, reqids=(7, 9))


def _renamed(questions: Questions, prefix: str) -> Questions:
    return (question._replace(name=f"{prefix}{question.name}") for question in questions)


def _new_sas_alone_without_a_barrier(patch: pytest.MonkeyPatch) -> None:
    """Each host sends through the new SAs alone as soon as it accepts that itself."""

    def both(run: Rotation, host: str) -> Questions:
        yield from completion.accept(run, host)
        yield from _renamed(policies.alone(run, host, run.unnesting, switched=True), "u")

    patch.setitem(steps.STEPS, rotation.ACCEPT, both)  # type: ignore[arg-type]


def _previous_sas_go_while_peers_send_through_them(patch: pytest.MonkeyPatch) -> None:
    def unnest(run: Rotation, host: str) -> Questions:
        yield from completion.unnest(run, host)
        if run.unnesting:
            yield questions.removal(run, host)

    patch.setitem(steps.STEPS, rotation.UNNEST, unnest)  # type: ignore[arg-type]


def _nobody_waits_for_a_host_that_does_not_accept(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(policies, "unconfirmed", lambda run, step: set())


def _previous_sas_go_although_a_peer_may_send_through_them(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(policies, "held", lambda run: set())


def _resumed_from_the_beginning(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Rotation, "ahead", frozenset())


def _boot_runs_ahead_of_the_kernel(patch: pytest.MonkeyPatch) -> None:
    """In a resumed run, before the peers accept packets through the new SAs alone."""
    genuine = policies._changes

    def _changes(*arguments: t.Any) -> t.Any:
        return [change._replace(unnested=True) for change in genuine(*arguments)]

    patch.setattr(policies, "_changes", _changes)


def _boot_policies_left_nested(patch: pytest.MonkeyPatch) -> None:
    genuine = policies.alone

    def alone(*arguments: t.Any, **more: t.Any) -> Questions:
        return (question for question in genuine(*arguments, **more) if question.name != policies.SERVICE)

    patch.setattr(policies, "alone", alone)


def _both_modes_optional(patch: pytest.MonkeyPatch) -> None:
    genuine = nesting.accepting

    def accepting(*arguments: t.Any) -> list[Result]:
        return [
            {**row, "templates": [{**template, "level": "use"} for template in row["templates"]]}
            for row in genuine(*arguments)
        ]

    patch.setattr(nesting, "accepting", accepting)


def _nested_before_peers_accept(patch: pytest.MonkeyPatch) -> None:
    genuine = steps.STEPS[rotation.STAGE]

    def stage(run: Rotation, host: str) -> Questions:
        yield from genuine(run, host)
        yield questions.change_sadb(run, host, {"src": run.next_file(host), "state": "present"}, name="early")
        yield from _renamed(policies.at_cut_over(run, host), "soon")

    patch.setitem(steps.STEPS, rotation.STAGE, stage)  # type: ignore[arg-type]


@pytest.mark.parametrize("modes", MODES)
@pytest.mark.parametrize(
    "plant",
    [
        _nested_before_peers_accept,
        _new_sas_alone_without_a_barrier,
        _previous_sas_go_while_peers_send_through_them,
        _nobody_waits_for_a_host_that_does_not_accept,
        _previous_sas_go_although_a_peer_may_send_through_them,
        _resumed_from_the_beginning,
        _boot_runs_ahead_of_the_kernel,
        _boot_policies_left_nested,
        _both_modes_optional,
    ],
)
def test_bugs_planted_into_the_change_of_a_mode_are_found(
    plant: t.Callable[[pytest.MonkeyPatch], None], modes: t.Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    with pytest.raises(Violation, match="I[12]:"):
        explore("ab", "overlap", 1, modes=modes)
