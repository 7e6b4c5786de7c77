# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Faults at every place of a rotation, on one lab. After each, pairs talk, nothing of others is gone, no key is
in a file that it does not belong in, the report names the host, and the next plain run ends what was begun.

`make test` takes a few cases, which turn with the commit; `make faults` takes all. FAULTS is their number,
0 for all; SEED chooses them, and ONLY limits them to those with these characters in their names.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import typing as t

import pytest

from ansible_collections.ipsec.manual.tests.e2e.flows import parted
from ansible_collections.ipsec.manual.tests.e2e.harness import Run, lab

from . import matrix
from .matrix import BEFORE, Case
from .stage import ADDRESSES, HOSTS, NAME, SECRETS, Seen, Stage, task_of

COUNT = int(os.environ.get("FAULTS", "3"))
CASES = matrix.chosen(matrix.cases(), COUNT, os.environ.get("SEED", ""), os.environ.get("ONLY", ""))
PAIRS = {frozenset(pair) for pair in itertools.combinations(HOSTS, 2)}

# These lose packets whatever the role does; all others lose none but with the strategy flush.
LOSSY = ("rebooted", "parted")
# On the victim, so that its secret folder is on a small disk of its own, and back. Its content is never elsewhere.
SMALL_DISK = f"""
mkdir -p /run/kept && mount --bind {SECRETS} /run/kept && mount -t tmpfs -o size=64k,mode=700 none {SECRETS}
cp -a /run/kept/. {SECRETS}/
"""
OWN_DISK = f"""
find /run/kept -mindepth 1 -delete && cp -a {SECRETS}/. /run/kept/ && umount {SECRETS} && umount /run/kept
"""
# So that this disk is full, or the folder is read-only, or that of the policies that are loaded at boot, and back.
SPOIL = {
    "full": f"! dd if=/dev/zero of={SECRETS}/.ballast bs=1k 2>/dev/null",
    "read-only": f"mount --bind {SECRETS} {SECRETS} && mount -o remount,bind,ro {SECRETS}",
    "read-only policies": "mount --rbind /etc /etc && mount --make-rprivate /etc && mount -o remount,bind,ro /etc",
}
REPAIR = {
    "full": f"rm {SECRETS}/.ballast",
    "read-only": f"umount {SECRETS}",
    "read-only policies": "umount -l /etc",
}


@pytest.fixture(scope="module", name="whole_stage")
def one_lab(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[t.Callable[[], Stage]]:
    """Returns the same stage again and again, and a new one after a test that failed."""
    stages: list[Stage] = []
    with contextlib.ExitStack() as running:

        def whole() -> Stage:
            if not stages or stages[-1].broken:
                running.close()
                stages[:] = []
                hosts = running.enter_context(lab(NAME, HOSTS))
                stages.append(Stage(hosts, tmp_path_factory.mktemp("faults")))
            return stages[-1]

        yield whole


@pytest.fixture(name="stage")
def a_whole_stage(whole_stage: t.Callable[[], Stage]) -> Stage:
    return whole_stage()


def test_the_matrix_follows_the_role() -> None:
    """Every task of the role is in the matrix, and every fault in the part that `make test` runs, in turn."""
    every, rows = matrix.cases(), matrix.tasks()
    assert {case.task for case in every} == {*rows} and any(row.undoes for row in rows)
    assert len({str(case) for case in every}) == len(every)
    mode = [case for case in every if case.strategy == matrix.MODE]
    assert {case.task for case in mode} > {row for row in rows if row.nests} != set()
    assert all(case in mode for case in every if case.task.nests)
    assert {(case.fault, case.place, case.task.step) for case in mode} > {*matrix.ALSO_MODE}
    drawn = [matrix.chosen(every, COUNT or 4, str(seed), "") for seed in range(100)]
    assert {case.fault for cases in drawn for case in cases} == {fault.name for fault in matrix.FAULTS}
    assert all(len({case.fault for case in cases}) == len(cases) for cases in drawn)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_fault(case: Case, stage: Stage) -> None:
    with stage.breaking():
        flowing = case.strategy != "flush" and case.fault not in LOSSY
        with stage.traffic(flowing) as losses, stage.in_the_clear() as clear:
            with on_its_disk(stage, case):
                reached = happens(stage, case)
            healed = stage.project.run()
        assert not clear, clear
        assert healed.status == 0, healed.output
        stage.check_end(stage.examine())
        assert all(row.sent > 0 == row.lost == row.duplicated and not row.breaks for row in losses.values()), losses
    if not reached:
        pytest.skip(f"the task has nothing to do there on {case.victim}")


@contextlib.contextmanager
def on_its_disk(stage: Stage, case: Case) -> t.Iterator[None]:
    """Put the folder that becomes full on a small disk before the run starts: its modules would go on using a folder
    that they have open.
    """
    if case.fault == "full":
        stage.on(case.victim, SMALL_DISK)
    yield
    if case.fault == "full":
        stage.on(case.victim, OWN_DISK)


def happens(stage: Stage, case: Case) -> bool:
    """Run into the fault; whether the run got to its place."""
    first = [task_of("cut_over")] if case.task.undoes else []
    stage.start(case, [*first, case.task])
    with contextlib.ExitStack() as refusing:
        for task in first:
            stage.reach(task)
            refusing.enter_context(stage.taken(next(host for host in HOSTS if host != case.victim)))
            stage.go_on(task)
        stage.reach(case.task)
        if case.place != BEFORE and not stage.hold(case):
            return False
        FAULTS[case.fault](stage, case)
    return True


def go_on(stage: Stage, case: Case) -> None:
    """Let the run go on after a fault."""
    if case.place == BEFORE:
        stage.go_on(case.task)
    else:
        stage.let_go(case.victim)


def after(stage: Stage, case: Case, done: Run, apart: t.Collection[frozenset[str]] = ()) -> None:
    """What must hold at the end of the run with the fault, while that lasts."""
    seen = stage.examine()
    check(stage, case, seen, apart)
    agreed = stage.agreed(seen)
    assert all(case.victim in pair or pair in agreed for pair in PAIRS), done.output
    if done.status == 0 and not case.task.undoes:
        stage.check_end(seen, but=apart)
    else:
        stage.check_report(done, seen, case.victim)


def check(stage: Stage, case: Case, seen: dict[str, Seen], apart: t.Collection[frozenset[str]] = ()) -> None:
    """With the strategy flush, a fault may part hosts until the next run, but not those that agree."""
    parting = PAIRS - stage.agreed(seen) if case.strategy == "flush" else set()
    stage.check_talk(seen, but={*apart, *parting})


def talk(stage: Stage, case: Case) -> None:
    """What must hold at any time. With the strategy flush, hosts are seen when they have finished what they do."""
    if case.strategy == "flush":
        stage.settle(but=case.victim)
    check(stage, case, stage.examine())


def killed(stage: Stage, case: Case) -> None:
    """The module that the victim still runs goes on without its controller."""
    stage.kill()
    talk(stage, case)
    if case.place != BEFORE:
        stage.release(case.victim)
        talk(stage, case)


def out_of_reach(fault: str) -> t.Callable[[Stage, Case], None]:
    def happen(stage: Stage, case: Case) -> None:
        host = stage.hosts[case.victim]
        host.fault(fault)
        go_on(stage, case)
        after(stage, case, stage.finish())
        host.fault("up")
        stage.release(case.victim)

    return happen


def rebooted(stage: Stage, case: Case) -> None:
    stage.hosts[case.victim].fault("reboot")
    stage.let_go(case.victim)
    stage.add_foreign(case.victim)
    talk(stage, case)
    if case.place == BEFORE:
        stage.go_on(case.task)
    after(stage, case, stage.finish())


def parted_link(stage: Stage, case: Case) -> None:
    other = next(host for host in HOSTS if host != case.victim)
    pairs = list(zip(ADDRESSES[case.victim], ADDRESSES[other]))
    with parted(NAME, *pairs):
        go_on(stage, case)
        after(stage, case, stage.finish(), [frozenset({case.victim, other})])


def refused(stage: Stage, case: Case) -> None:
    with stage.taken(case.victim):
        go_on(stage, case)
        after(stage, case, stage.finish())


def spoilt(fault: str) -> t.Callable[[Stage, Case], None]:
    def happen(stage: Stage, case: Case) -> None:
        what = f"{fault} policies" if case.task.nests else fault
        stage.on(case.victim, SPOIL[what])
        go_on(stage, case)
        try:
            after(stage, case, stage.finish())
        finally:
            stage.on(case.victim, REPAIR[what])

    return happen


def keystore(stage: Stage, case: Case) -> None:
    """The controller cannot write to the keystore any more; the namespace of its mounts ends with it."""
    stage.lock_keystore()
    go_on(stage, case)
    done = stage.finish()
    talk(stage, case)
    assert done.status == 0 or "Read-only file system" in done.output, done.output


def keystore_full(stage: Stage, case: Case) -> None:
    with stage.full_keystore():
        go_on(stage, case)
        done = stage.finish()
    talk(stage, case)
    assert done.status == 0 or "No space left on device" in done.output, done.output


def hanging(stage: Stage, case: Case) -> None:
    """The module goes on after the time of its task is over, and after the run."""
    after(stage, case, stage.finish())
    stage.release(case.victim)
    talk(stage, case)


def second_run(stage: Stage, case: Case) -> None:
    """Once a run has prepared the next generation, a second one is refused, and the first one ends as if nothing
    had been. Before that, whoever comes first wins.
    """
    steps = [task.step for task in matrix.tasks()]
    leased = steps.index(case.task.step) > steps.index("prepare")
    second = stage.beside().run(rotate_new_keys=True)
    assert bool(second.status) == leased, second.output
    assert not leased or "another run" in " ".join(second.output.split()), second.output
    go_on(stage, case)
    done = stage.finish()
    assert done.status == 0 or not leased or case.task.undoes, done.output


def password(stage: Stage, case: Case) -> None:
    stage.kill()
    kept, before = stage.project.snapshot(), stage.examine()
    stage.project.password("wrong battery")
    done = stage.project.run()
    stage.project.password("correct horse")
    assert done.status != 0 and "decrypt" in done.output, done.output
    assert stage.project.snapshot() == kept
    assert {name: (seen.sas, seen.files) for name, seen in stage.examine().items()} == {
        name: (seen.sas, seen.files) for name, seen in before.items()
    }


def clock(stage: Stage, case: Case) -> None:
    stage.on(case.victim, "echo 60 >/root/skew")
    go_on(stage, case)
    done = stage.finish()
    stage.on(case.victim, "rm /root/skew")
    seen = stage.examine()
    stage.check_report(done, seen, case.victim)
    stage.check_end(seen)


FAULTS: dict[str, t.Callable[[Stage, Case], None]] = {
    "killed": killed,
    "down": out_of_reach("down"),
    "cut": out_of_reach("cut"),
    "rebooted": rebooted,
    "parted": parted_link,
    "refused": refused,
    "full": spoilt("full"),
    "read-only": spoilt("read-only"),
    "keystore": keystore,
    "keystore-full": keystore_full,
    "hanging": hanging,
    "second-run": second_run,
    "password": password,
    "clock": clock,
}
