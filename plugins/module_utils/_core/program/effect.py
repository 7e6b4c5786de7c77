# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The net changes that the commands of one text make to a SADB. Pure; knows no kernel."""

from __future__ import annotations

import typing as t

from ..collector import no_collection
from ..errors import InputError, TextError, raise_all
from ..sa import model
from ..sa.checks import soft_above_hard
from ..sa.model import Counters, Entry, Identity, Lifetimes
from ..sa.plan import ADD, DELETE, REPLACE, Operation
from ..text.script import Step, Subject

_ORDER = (REPLACE, ADD, DELETE)  # as in `plan`: operations that can fail come first


class NetChanges(t.NamedTuple):
    """``updates`` are entries with their new lifetimes, ``operations`` all other changes, ``shown``
    what each get shows at its place in the text.
    """

    updates: tuple[tuple[Entry, Lifetimes], ...]
    operations: tuple[Operation, ...]
    shown: tuple[Entry, ...]


@no_collection()
def net_changes(steps: t.Iterable[Step], held: t.Sequence[Entry], name: str) -> NetChanges:
    """The difference that the steps, taken in order, make to the SADB that holds ``held``.

    An SA that is deleted and added again is replaced; one that is added and deleted again is left
    out. Raises TextError, or Problems, for an SA that exists when it is added, or does not exist
    when a command names it; ``name`` names the text."""
    before = {model.identity(entry.sa): entry for entry in held}
    now = dict(before)
    touched: dict[Identity, bool] = {}  # whether the whole SA changes, not its lifetimes only
    shown: list[Entry] = []
    problems: list[TextError] = []
    for step in steps:
        try:
            if step.sa is not None:
                _add(step.sa, now, touched)
            elif step.command == "flush":
                _flush(step.protocol, now, touched)
            elif step.subject is not None:
                _change(step, step.subject, now, touched, shown)
        except InputError as wrong:
            problems.append(TextError(wrong.message, name, step.line, 1, wrong.hint))
    raise_all(problems)
    return NetChanges(*_difference(before, now, touched), tuple(shown))


def unsupported(step: Step) -> list[InputError]:
    """What Linux has no counterpart for."""
    found = [InputError(f"Linux has nothing like {keyword}", "", "Remove it.") for keyword, dummy in step.extra]
    if step.command.endswith("-pair"):
        found.append(InputError("Linux does not pair SAs", "", "Name each SA in a command of its own."))
    return found


def _add(sa: model.SecurityAssociation, now: dict[Identity, Entry], touched: dict[Identity, bool]) -> None:
    identity = model.identity(sa)
    existing = now.get(identity)
    if existing is not None:
        what = "reserved by a key management daemon" if existing.larval else "there already"
        raise InputError(
            f"an SA of type {sa.protocol} with SPI 0x{sa.spi:08x} towards {model.format_address(sa.destination)} is"
            f" {what}",
            "",
            "Choose another SPI, or delete it first.",
        )
    now[identity] = Entry(sa, Counters())
    touched[identity] = True


def _flush(protocol: str, now: dict[Identity, Entry], touched: dict[Identity, bool]) -> None:
    for identity in [key for key, entry in now.items() if entry.sa.spi and protocol in ("", entry.sa.protocol)]:
        del now[identity]
        touched[identity] = True


def _change(
    step: Step, subject: Subject, now: dict[Identity, Entry], touched: dict[Identity, bool], shown: list[Entry]
) -> None:
    """A command about one SA, which must exist."""
    for problem in unsupported(step):
        raise problem
    identity = subject.identity()
    entry = now.get(identity)
    if entry is None or not _matches(entry, subject):
        what = "does not exist" if entry is None else "is not like that"
        raise InputError(f"the SA {subject} {what}", "", "See: {dump}")
    if step.command == "get":
        shown.append(entry)
    elif step.command == "delete":
        del now[identity]
        touched[identity] = True
    else:
        now[identity] = entry._replace(sa=entry.sa._replace(lifetimes=_updated(step.lifetimes, entry)))
        touched.setdefault(identity, False)


def _updated(given: Lifetimes, entry: Entry) -> Lifetimes:
    """The lifetimes after an update, which keeps those that it does not set."""
    if entry.larval:
        raise InputError("the SA is reserved by a key management daemon", "", "Leave it to that daemon.")
    lifetimes = Lifetimes(*(new or old for new, old in zip(given, entry.sa.lifetimes)))
    for field, message, dummy in soft_above_hard(lifetimes._asdict()):
        raise InputError(f"{field}: {message}", "", "Set both; Solaris' ipseckey would lower the soft one.")
    return lifetimes


def _matches(entry: Entry, subject: Subject) -> bool:
    """Whether the entry is as the subject says; a field that either leaves open matches."""
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


def _difference(
    before: t.Mapping[Identity, Entry], now: t.Mapping[Identity, Entry], touched: t.Mapping[Identity, bool]
) -> tuple[tuple[tuple[Entry, Lifetimes], ...], tuple[Operation, ...]]:
    """Updates and operations. A deletion goes before the addition of an SA that differs in its mark
    only, since the kernel may take one of them for the other.
    """
    updates: list[tuple[Entry, Lifetimes]] = []
    operations: list[Operation] = []
    for identity, whole in touched.items():
        old, new = before.get(identity), now.get(identity)
        if old is not None and new is not None and not whole:
            updates.append((old, new.sa.lifetimes))
        elif new is not None:
            operations.append(Operation(ADD if old is None else REPLACE, new.sa, old))
        elif old is not None:
            operations.append(Operation(DELETE, None, old))
    added = {model.without_mark(operation.new) for operation in operations if operation.new is not None}

    def turn(operation: Operation) -> int:
        makes_room = (
            operation.new is None and operation.old is not None and model.without_mark(operation.old.sa) in added
        )
        return -1 if makes_room else _ORDER.index(operation.kind)

    return tuple(updates), tuple(sorted(operations, key=turn))
