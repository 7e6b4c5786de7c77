# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Carry out the commands of a file, a command line or the prompt: all of them, or none."""

from __future__ import annotations

import contextlib
import os
import signal
import typing as t

from ..errors import InputError, IpsecError, TextError, raise_all
from ..files import protected
from ..sa import model
from ..sa.model import Counters, Entry
from ..sa.plan import DELETE, Operation
from ..sa.reuse import reused
from ..sadb import backup, open_sadb
from ..sadb.base import Sadb
from ..signals import uninterrupted
from ..text.render import in_keywords
from ..text.script import Step
from . import display, output, reference
from .effect import NetChanges, net_changes, unsupported
from .options import Options


def check(steps: t.Sequence[Step], name: str, sadb: Sadb) -> None:
    """Raise what this kind of SADB cannot express; ``name`` names the text."""
    problems: list[IpsecError] = []
    for step in steps:
        wrong = sadb.refusals(step.sa) if step.sa is not None else []
        for error in wrong + unsupported(step):
            place = f"{error.place}: " if error.place else ""
            problems.append(
                TextError(in_keywords(f"{place}{error.message}"), name, step.line, 1, in_keywords(error.hint))
            )
    raise_all(problems)


def check_beside(steps: t.Sequence[Step], name: str, sadb: Sadb, options: Options) -> None:
    """Raise what `execute` would raise of the kernel and of what the SADB holds. SAs that are only added may be loaded
    already.
    """
    if not steps:
        return
    places = _places(steps, name)
    only_adds = all(step.command in ("add", "flush") for step in steps)
    held = [entry for entry in sadb.dump() if not only_adds or model.identity(entry.sa) not in places]
    changes = net_changes(steps, held, name)
    raise_all(reused(changes.operations, held, places, options.allow_shared_key))
    added = [operation.new for operation in changes.operations if operation.new is not None]
    raise_all(sadb.preflight(added) if added else [])


def _places(steps: t.Iterable[Step], name: str) -> dict[model.Identity, str]:
    return {model.identity(step.sa): f"{name}, line {step.line}" for step in steps if step.sa is not None}


def execute(
    steps: t.Sequence[Step], name: str, options: Options, typed: t.Iterable[model.SecurityAssociation] = ()
) -> int:
    """Carry out the steps of the text ``name``: one that stands alone by its handler, all others
    together. Their keys must not be those of SAs that were ``typed`` before, either, which may have been deleted
    since. Returns the exit status.
    """
    if not steps:
        return 0
    handler = _ALONE.get(steps[0].command)
    if handler is not None:
        return handler(steps[0], options)
    sadb = open_sadb()
    check(steps, name, sadb)
    if [step.command for step in steps] == ["flush"]:
        return _flush(steps[0].protocol, sadb, options)
    held = sadb.dump()
    changes = net_changes(steps, held, name)
    places = _places(steps, name)
    there = {model.identity(entry.sa) for entry in held}
    gone = [Entry(sa, Counters()) for sa in typed if model.identity(sa) not in there | places.keys()]
    shared = options.allow_shared_key
    raise_all(
        reused(changes.operations, held, places, shared)
        + reused(changes.operations, gone, places, shared, "which was typed before")
    )
    added = [operation.new for operation in changes.operations if operation.new is not None]
    if added:
        raise_all(sadb.preflight(added))
    _change(sadb, changes)
    if options.verbose:
        lines = [f"update {model.label(entry.sa)}" for entry, dummy in changes.updates]
        output.write("".join(f"{line}\n" for line in (*lines, *changes.operations)))
    if changes.shown:
        _get(changes.shown, options, sadb)
    output.advise(added)
    return 0


def _flush(protocol: str, sadb: Sadb, options: Options) -> int:
    held = sadb.dump(protocol) if options.verbose else []
    sadb.flush(protocol)
    if options.verbose:
        lines = [
            *(Operation(DELETE, None, entry) for entry in held),
            f"flush: {len(held)} {'SA' if len(held) == 1 else 'SAs'} deleted",
        ]
        output.write("".join(f"{line}\n" for line in lines))
    return 0


def _get(entries: t.Sequence[Entry], options: Options, sadb: Sadb) -> None:
    if options.json:
        for entry in entries:
            output.write_json(display.record(entry, options.keys()))
    else:
        style = output.style(options, sadb)
        for entry in entries:
            output.write(display.block(entry, style, "GET"))


def _change(sadb: Sadb, changes: NetChanges) -> None:
    """Make all changes or none: lifetimes first, since they can be restored without loss."""
    from ..sadb.xfrm.lifetimes import update

    with uninterrupted():
        if changes.updates:
            update(changes.updates)
        try:
            if changes.operations:
                sadb.apply(changes.operations)
        except IpsecError:
            if changes.updates:
                update([(entry, entry.sa.lifetimes) for entry, dummy in changes.updates])
            raise


def _dump(step: Step, options: Options) -> int:
    sadb = open_sadb()
    entries = sadb.dump(step.protocol)
    if options.json:
        output.write_json([display.record(entry, options.keys()) for entry in entries], indent=1)
        return 0
    style = output.style(options, sadb) if entries else display.PLAIN
    for entry in entries:
        output.write(display.block(entry, style) + "\n")
    output.write(f"Dump succeeded for SA type {display.NUMBERS.get(step.protocol, 0)}.\n")
    return 0


def save(step: Step, options: Options) -> int:
    """Write the SAs, sequence numbers included, as far as the language can express them; 1 if it cannot for all."""
    to_output = step.word in ("", "-")
    if options.crossed:
        raise InputError("-p would save keys that cannot be loaded again", "save", "{uncrossed}")
    if to_output and not options.show_keys:
        raise InputError("this would print keys", "save", "Name a file{show_keys}.")
    text, problems = backup.save(
        open_sadb().dump(step.protocol),
        "Saved by ipseckey. Keep it secret: it holds keys.",
        options.allow_reserved_spi,
        options.allow_shared_key,
    )
    if to_output:
        output.write(text)
    else:
        protected.write(os.path.abspath(step.word), text.encode("ascii"))
    for problem in problems:
        output.complain(problem)
    return 1 if problems else 0


def _monitor(step: Step, options: Options) -> int:
    """Print events until interrupted; monitor also prints the kernel's requests for SAs, pmonitor does not."""
    from ..sadb.xfrm.events import LOST, listen  # only here, since few runs need them

    for number in (signal.SIGINT, signal.SIGTERM):
        # Even if a shell started it in the background, with interrupts ignored.
        signal.signal(number, signal.default_int_handler)
    active = step.command == "monitor"
    events = listen(acquires=active)
    with contextlib.suppress(KeyboardInterrupt):
        style = display.PLAIN
        if not options.json:
            style = output.style(options, open_sadb())
            output.write(f"{'Actively' if active else 'Passively'} monitoring the PF_KEY socket.\n")
        for event in events:
            if event.kind == LOST:
                output.say("events arrived faster than they were read; some are lost")
            elif options.json:
                shown = (
                    display.record(event.entry, options.keys())
                    if event.entry is not None
                    else {"protocol": event.protocol or "all"}
                )
                output.write_json({"event": event.kind.lower(), **shown})
            else:
                origin = display.Origin(event.size, event.sequence, event.process)
                if event.entry is not None:
                    text = display.block(event.entry, style, event.kind, origin)
                else:
                    text = "".join(f"{line}\n" for line in display.head(event.kind, event.protocol, origin))
                output.write(text + "\n")
    return 0


def _status(step: Step, options: Options) -> int:
    from . import status, status_text  # only here, since few runs need them

    if step.word.startswith("-"):
        raise InputError(
            f"{step.word} is not an option of status",
            "command line",
            "If it is the name of a file, write ./ before it.",
        )
    found = status.gather(os.path.abspath(step.word) if step.word else "")
    if options.json:
        output.write_json(status_text.record(found), indent=1)
    else:
        output.write(status_text.screen(found, options.verbose))
    return status_text.exit_status(found)


def _help(step: Step, dummy: Options) -> int:
    output.write(reference.topic(step.word))
    return 0


# Commands that stand alone in their text.
_ALONE: dict[str, t.Callable[[Step, Options], int]] = {
    "dump": _dump,
    "save": save,
    "monitor": _monitor,
    "pmonitor": _monitor,
    "status": _status,
    "help": _help,
    "quit": lambda dummy, dummies: 0,
}
