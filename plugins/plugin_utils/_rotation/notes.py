# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the operator reads about connections that get new keys, or should. Pure."""

from __future__ import annotations

import itertools
import typing as t

from ansible_collections.ipsec.manual.plugins.module_utils._core.sa import checks
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import SPI_MIN

from .._connections.flows import make_sa
from .._connections.model import Connection
from .._connections.units import connection_of
from .._keystore import undo
from .._keystore.changes import KEPT
from . import due as _due
from .decisions import Result
from .rotation import Rotation

_SHOWN = 5  # names in a line


def due(run: Rotation, why: t.Mapping[str, t.Sequence[str]]) -> list[str]:
    """What is due, one line for each reason; nothing if the run does not ask for it."""
    if run.wide["when"] != _due.DUE:
        return []
    found: dict[str, list[str]] = {}
    for name, reasons in why.items():
        for reason in reasons:
            found.setdefault(reason, []).append(name)
    lines = [f"{_named(names)} new keys: {reason}" for reason, names in found.items()]
    return lines or ["No connection is due for new keys."]


def _named(names: t.Sequence[str]) -> str:
    if len(names) == 1:
        return f"connection {names[0]} gets"
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"connections {', '.join(names[:_SHOWN])}{more} get"


def requests(run: Rotation) -> list[str]:
    """Warnings about new keys that boot services ask for, and that the run does not make."""
    if run.wide["when"] == _due.DUE:
        return []
    return [
        f"connection {name}: its keys were loaded again at boot on {', '.join(hosts)}, where the boot service asks for"
        " new ones. Run with rotate_when: due, or with rotate_new_keys: true."
        for name, hosts in _due.requests(run).items()
    ]


def unwise(connections: t.Iterable[Connection]) -> dict[str, list[str]]:
    """What is allowed but unwise in the associations, as a host says it of their SAs, with the places."""
    found: dict[str, list[str]] = {}
    for connection in connections:
        for row, (source, destinations) in itertools.product(connection.associations, [*connection.flows()][:1]):
            for text in checks.warnings(make_sa(connection, row, source, destinations[0], SPI_MIN, b"", b"")):
                found.setdefault(text, []).append(f"connection {connection.name}, {row.protocol}")
    return found


def undone(run: Rotation, inventory: t.Iterable[Connection]) -> t.Iterator[str]:
    """What an undo does, and what the inventory should say from now on."""
    made = {connection_of(row["name"]) for row in run.expected["connections"] if row["outcome"] != KEPT}
    for connection in inventory:
        settings = run.state["undo"].get(connection.name)
        if settings is None:
            continue
        what = (
            "gets its earlier settings, with new keys"
            if connection.name in made
            else "has its earlier settings already"
        )
        back = undo.differences(connection, undo.restored(connection, settings))
        lines = [" Change the inventory accordingly:", *(f"  {line}" for line in back)] if back else []
        yield f"connection {connection.name} {what}." + "\n".join(lines)


def placed(unwise_texts: t.Mapping[str, t.Sequence[str]]) -> list[str]:
    """The same as warnings, one for each text."""
    return [
        f"{places[0]}{f' (and {len(places) - 1} more)' if places[1:] else ''}: {text}."
        for text, places in unwise_texts.items()
    ]


def warnings(
    result: Result, predicted: t.Iterable[Result], earlier: t.Iterable[Result], said: t.Iterable[str] = ()
) -> list[str]:
    """The warnings of a task: of its result, and of answers that only predict a change, since a run in which nothing
    changes asks no more. What earlier answers warned of is not repeated, nor what the run ``said`` of connections,
    which a host says of lines of a text that nobody wrote.
    """
    known = {text for answer in earlier for text in answer.get("warnings", ())}
    found = [text for answer in (result, *predicted) for text in answer.get("warnings", ())]
    ends = tuple(f": {text}." for text in said)
    return [text for text in dict.fromkeys(found) if text not in known and not text.endswith(ends)]
