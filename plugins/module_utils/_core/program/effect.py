# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the commands of one text do to a SADB, all taken together. Pure; nothing is known here of kernels."""

from __future__ import annotations

import typing as t

from ..collector import no_collection
from ..errors import InputError, TextError, raise_all
from ..sa import model
from ..sa.model import Counters, Entry, Identity, Lifetimes
from ..sa.plan import ADD, DELETE, REPLACE, Operation
from .script import Step, Subject

NO_COUNTERS = Counters()
_NO_PAIRS = ("Linux pairs no SAs", "Name each SA in a command of its own.")


class Effect(t.NamedTuple):
    """``updates`` are entries with the lifetimes they get, ``operations`` all else, ``shown`` what
    each get shows at its place in the text.
    """

    updates: tuple[tuple[Entry, Lifetimes], ...]
    operations: tuple[Operation, ...]
    shown: tuple[Entry, ...]


@no_collection()
def effect(steps: t.Iterable[Step], held: t.Sequence[Entry], name: str) -> Effect:
    """The difference that the steps, taken in order, make to the SADB that holds ``held``.

    An SA that goes and comes again is replaced; one that comes and goes is never added. Raises
    TextError, or Problems, for an SA that is already there or not there when its command comes;
    ``name`` names the text."""
    before = {model.identity(entry.sa): entry for entry in held}
    now = dict(before)
    touched: dict[Identity, bool] = {}
    shown: list[Entry] = []
    problems: list[TextError] = []
    for step in steps:
        try:
            if step.sa is not None:
                _add(step, now, touched)
            elif step.command == "flush":
                for identity in [
                    identity
                    for identity, entry in now.items()
                    if entry.sa.spi and step.protocol in ("", entry.sa.protocol)
                ]:
                    del now[identity]
                    touched[identity] = True
            elif step.subject is not None:
                _one(step, step.subject, now, touched, shown)
        except InputError as wrong:
            problems.append(TextError(wrong.message, name, step.line, 1, wrong.hint))
    raise_all(problems)
    return Effect(*_net(before, now, touched), tuple(shown))


def _add(step: Step, now: dict[Identity, Entry], touched: dict[Identity, bool]) -> None:
    if step.sa is None:
        return
    identity = model.identity(step.sa)
    there = now.get(identity)
    if there is not None:
        what = "reserved by a key management daemon" if there.larval else "there already"
        raise InputError(
            f"an SA of type {step.sa.protocol} with SPI 0x{step.sa.spi:08x} towards"
            f" {model.format_address(step.sa.destination)} is {what}",
            "",
            "Choose another SPI, or delete it first.",
        )
    now[identity] = Entry(step.sa, NO_COUNTERS)
    touched[identity] = True


def _one(
    step: Step, subject: Subject, now: dict[Identity, Entry], touched: dict[Identity, bool], shown: list[Entry]
) -> None:
    """A command about one SA that must be there."""
    identity = subject.identity()
    entry = now.get(identity)
    if step.command.endswith("-pair"):
        raise InputError(_NO_PAIRS[0], "", _NO_PAIRS[1])
    if entry is None or not _is_like(entry, subject):
        raise InputError(
            f"the SA {subject} does not exist" if entry is None else f"the SA {subject} is not like that",
            "",
            "See: ipseckey dump",
        )
    if step.command == "get":
        shown.append(entry)
    elif step.command == "delete":
        del now[identity]
        touched[identity] = True
    else:
        now[identity] = entry._replace(sa=entry.sa._replace(lifetimes=_updated(step, entry)))
        touched.setdefault(identity, False)


def _updated(step: Step, entry: Entry) -> Lifetimes:
    """The lifetimes after an update: what it does not set stays."""
    if entry.larval:
        raise InputError("the SA is reserved by a key management daemon", "", "Leave it to that daemon.")
    for keyword, dummy in step.extra:
        raise InputError(f"Linux has nothing like {keyword}", "", "Take it away.")
    lifetimes = Lifetimes(*(new or old for new, old in zip(step.lifetimes, entry.sa.lifetimes)))
    for kind in ("bytes", "packets", "addtime", "usetime"):
        soft, hard = (getattr(lifetimes, f"{end}_{kind}") for end in ("soft", "hard"))
        if hard and soft > hard:
            raise InputError(
                f"the soft limit of {soft} {kind} would be above the hard limit {hard}",
                "",
                "Set both; ipseckey would cut the soft one.",
            )
    return lifetimes


def _is_like(entry: Entry, subject: Subject) -> bool:
    """Whether what the subject says beside the identity holds; what either side leaves open does."""
    selector = entry.sa.selector or model.Selector()
    held = (
        entry.sa.source if any(entry.sa.source) else b"",
        entry.sa.direction,
        selector.protocol,
        selector.source_port,
        selector.destination_port,
    )
    wanted = (subject.source if any(subject.source) else b"", subject.direction, *subject.traffic)
    return all(not one or not other or one == other for one, other in zip(held, wanted))


def _net(
    before: t.Mapping[Identity, Entry], now: t.Mapping[Identity, Entry], touched: t.Mapping[Identity, bool]
) -> tuple[tuple[tuple[Entry, Lifetimes], ...], tuple[Operation, ...]]:
    """Updates and operations, in the order of `plan`: what can fail comes before what cannot."""
    updates, replaces, adds, deletes = [], [], [], []
    for identity, whole in touched.items():
        old, new = before.get(identity), now.get(identity)
        if old is not None and new is not None and whole:
            replaces.append(Operation(REPLACE, new.sa, old))
        elif old is not None and new is not None:
            updates.append((old, new.sa.lifetimes))
        elif new is not None:
            adds.append(Operation(ADD, new.sa, None))
        elif old is not None:
            deletes.append(Operation(DELETE, None, old))
    return tuple(updates), (*replaces, *adds, *deletes)
