# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the ipseckey command prints: results to standard output, everything else to standard error."""

from __future__ import annotations

import contextlib
import os
import sys
import typing as t

from ..errors import IpsecError, Problems
from ..sa import checks
from ..sa.model import SPI_MIN, SecurityAssociation
from ..sadb.base import Sadb
from . import display
from .names import Names
from .options import COMMAND_WORDS, Options


def write(text: str) -> None:
    """Write to standard output. Raises IpsecError if it is closed or full, BrokenPipeError if nobody reads it."""
    if sys.stdout is None:
        raise IpsecError("it is closed", "standard output")
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as exc:
        discard(sys.stdout)
        raise IpsecError(f"it cannot be written ({exc.strerror})", "standard output") from None


def write_json(value: t.Any, indent: int | None = None) -> None:
    import json  # only here, since few runs need it

    write(json.dumps(value, indent=indent) + "\n")


def style(options: Options, sadb: Sadb) -> display.Style:
    """How to print the SAs of ``sadb``."""
    local: t.AbstractSet[bytes] = frozenset()
    with contextlib.suppress(IpsecError):  # then directions that the kernel does not know are left out
        local = sadb.local_addresses()
    return display.Style(options.keys(), options.verbose, None if options.numeric else Names(_without_names), local)


def _without_names() -> None:
    say("warning: the naming service does not answer; hosts are shown without their names. Add -n to skip the query")


def discard(stream: t.TextIO) -> None:
    """Send what is still buffered nowhere; otherwise the interpreter complains, and changes the
    exit status, when it closes the stream.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def say(text: str) -> None:
    """Write a line to standard error."""
    if sys.stderr is not None:
        try:
            sys.stderr.write(f"ipseckey: {text}\n")
            sys.stderr.flush()
        except OSError:  # a message that cannot be written must not stop a change, nor undoing one
            discard(sys.stderr)


def complain(error: IpsecError, words: t.Mapping[str, str] | None = None) -> None:
    """Print every problem; ``words`` are those of the prompt, by default those of the command."""
    for problem in error.problems if isinstance(error, Problems) else (error,):
        say(problem.spelled(COMMAND_WORDS if words is None else words))


def warn(warnings: t.Iterable[tuple[str, str]]) -> None:
    """Print warnings about a text, given as message and place."""
    for message, place in warnings:
        say(f"warning: {place}: {message}")


def advise(sas: t.Iterable[SecurityAssociation]) -> None:
    """Warn of what is allowed but unwise, once for all SAs that it is true of."""
    alike: dict[t.Any, list[SecurityAssociation]] = {}
    for sa in sas:
        alike.setdefault(
            (
                *(sa.protocol, sa.encryption, sa.authentication, sa.icv_bits),
                *(bool(sa.replay_window), sa.direction, sa.spi < SPI_MIN),
            ),
            [],
        ).append(sa)
    counts: dict[str, int] = {}
    for group in alike.values():
        for warning in checks.warnings(group[0]):
            counts[warning] = counts.get(warning, 0) + len(group)
    for warning, count in counts.items():
        say(f"warning: {warning} ({count} {'SA' if count == 1 else 'SAs'})")
