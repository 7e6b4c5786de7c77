# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which fault happens where in a rotation: tables, and the tasks of the role itself. Pure but for reading
the role.
"""

from __future__ import annotations

import itertools
import pathlib
import random
import re
import typing as t

import yaml

TASKS = pathlib.Path(__file__).resolve().parents[2] / "roles" / "rotate" / "tasks"
# What runs do with --check, and if something left the connections.
OTHER_RUNS = ("forecast.yml", "leave.yml")
NESTED = "nested.yml"  # what runs do if the mode of a connection changes
HOSTS = ("enigma", "partym", "third")
RESTORING = ("go_back", "forget")  # what a run does only when a host has refused something before

# Where a fault happens: before the task starts on any host, or while it runs on all, and one of them is
# held before its module, amid the changes that this makes, or after them, before its answer arrives.
BEFORE, ASKED, AMID, ANSWER = "before", "asked", "amid", "answer"
ALL = (BEFORE, ASKED, AMID, ANSWER)


class Task(t.NamedTuple):
    """A task of the role: its name, its step, whether it asks each host rather than the controller alone,
    whether it is for runs that go back, and whether it is for runs in which the mode of a connection changes.
    """

    name: str
    step: str
    asks: bool
    undoes: bool
    nests: bool


class Fault(t.NamedTuple):
    """``places`` are for tasks that ask hosts, ``controller`` tells whether it also happens before those that
    do not. ``steps`` limits it to some.
    """

    name: str
    places: tuple[str, ...]
    controller: bool = False
    steps: tuple[str, ...] = ()


FAULTS = (
    Fault("killed", ALL, controller=True),
    Fault("down", (BEFORE, AMID, ANSWER)),
    Fault("cut", (BEFORE, ANSWER)),
    Fault("rebooted", ALL, controller=True),
    Fault("parted", (BEFORE,), controller=True),
    Fault("refused", (BEFORE,), steps=("stage", "cut_over")),
    Fault("full", (BEFORE, AMID)),
    Fault("read-only", (BEFORE, AMID)),
    Fault("keystore", (), controller=True),
    Fault("hanging", (ASKED, AMID)),
    Fault("second-run", (BEFORE,), controller=True),
    Fault("password", (BEFORE,), controller=True),
    Fault("clock", (BEFORE,), steps=("preflight",)),
    Fault("keystore-full", (), controller=True),
)


# With flush, hosts keep the new SAs if both confirmed them, and nobody knows that of a host whose answer is lost.
ALSO_FLUSH = (("down", ANSWER, "cut_over"), ("cut", ANSWER, "cut_over"))

# A kind of run beside the strategies: one of two connections changes between transport and tunnel mode. It has every
# fault at the tasks for that, and where hosts change more than in other runs, what stops them halfway.
MODE = "mode"
ALSO_MODE = (
    *itertools.product(("killed", "down", "rebooted"), (AMID,), ("stage", "cut_over", "persist")),
    *itertools.product(("killed", "rebooted"), (AMID,), ("go_back",)),
    ("down", ANSWER, "cut_over"),
    ("refused", BEFORE, "cut_over"),
)
# At those tasks hosts write one file, which is on the disk of the whole host, and which they write first.
NOT_NESTED = (("full", BEFORE), ("full", AMID), ("read-only", AMID))


class Case(t.NamedTuple):
    """One fault at one place of one task, on one host."""

    fault: str
    place: str
    task: Task
    victim: str
    strategy: str

    def __str__(self) -> str:
        return f"{self.fault}-{self.place}-{self.task.step}-{self.victim}-{self.strategy}"


def tasks(file: str = "main.yml") -> list[Task]:
    """The steps of the role in order, from its files."""
    return _tasks(yaml.safe_load((TASKS / file).read_text(encoding="utf-8")), file == NESTED)


def _tasks(rows: t.Iterable[dict[str, t.Any]], nests: bool) -> list[Task]:
    """Without what rescues a block, which no run is expected to reach."""
    found = []
    for row in rows:
        for part in ("block", "always"):
            found += _tasks(row.get(part, ()), nests)
        for file in included(row):
            if file not in OTHER_RUNS:
                found += tasks(file)
        if "ipsec.manual.ipsec_rotation" in row:
            for name, step in zip(either(row["name"]), either(row["ipsec.manual.ipsec_rotation"]["step"])):
                asks = "timeout" in row and step != "promote"
                found.append(Task(name, step, asks, step in RESTORING, nests))
    return found


def included(row: dict[str, t.Any]) -> list[str]:
    """The files that a task of the role may include."""
    return re.findall(r"\w+\.yml", row.get("loop", "")) if "ansible.builtin.include_tasks" in row else []


def either(text: str) -> list[str]:
    """The text, or both texts of an expression that chooses one."""
    found = re.fullmatch(r"\{\{ '([^']*)' if [^']* else '([^']*)' \}\}", text)
    return list(found.groups()) if found else [text]


def cases() -> list[Case]:
    """The whole matrix. Hosts take turns as victims; part of what can part peers is tried with the strategy flush,
    too.
    """
    rows = [task for task in tasks() if not task.nests]
    steps = [task.step for task in rows]
    keyed = range(steps.index("prepare") + 1, steps.index("promote"))
    found: list[Case] = []
    also: list[Case] = []
    for fault in FAULTS:
        for index, task in enumerate(rows):
            places = fault.places if task.asks else (BEFORE,) if fault.controller else ()
            if fault.steps and task.step not in fault.steps:
                continue
            for place in places:
                victim = HOSTS[len(found) % len(HOSTS)]
                flush = task.asks and index in keyed and len(found) % 4 == 0
                if flush or (fault.name, place, task.step) in ALSO_FLUSH:
                    also.append(Case(fault.name, place, task, victim, "flush"))
                # What a clock that is off does to a gap needs one.
                found.append(Case(fault.name, place, task, victim, "flush" if fault.name == "clock" else "overlap"))
    return [*found, *also, *_mode_cases()]


def _mode_cases() -> list[Case]:
    found: list[Case] = []
    for fault, task in itertools.product(FAULTS, tasks()):
        places = fault.places if task.asks else (BEFORE,) if fault.controller else ()
        for place in places:
            nests = task.nests and not fault.steps and (fault.name, place) not in NOT_NESTED
            if nests or (fault.name, place, task.step) in ALSO_MODE:
                found.append(Case(fault.name, place, task, HOSTS[len(found) % len(HOSTS)], MODE))
    return found


def chosen(every: t.Sequence[Case], count: int, seed: str, only: str) -> list[Case]:
    """The cases whose names contain ``only``, all or ``count`` of them: one of each fault before a second one
    of any, drawn with the seed.
    """
    rest = [case for case in every if only in str(case)]
    if not count:
        return rest
    drawn = random.Random(seed)
    drawn.shuffle(rest)
    found: list[Case] = []
    while rest and len(found) < count:
        seen: set[str] = set()
        for case in list(rest):
            if case.fault not in seen:
                seen.add(case.fault)
                found.append(case)
                rest.remove(case)
    return found[:count]
