# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The keystore's records: the generations of a connection's units. Pure except for the clock.

A record moves through four phases: steady, prepared (a next generation exists, but no host was
asked to use it), switching (hosts may use it), retiring (all hosts use it, and some may have removed
the current one, so that there is no way back), and back to steady when it is promoted. Only
`changes.promote` and `changes.discard` end a next generation, so the next run can finish an
interrupted one with the same keys.

Each unit (two hosts, or a group) goes its own way. Units whose generations were made together share
a record, and are split (`parts`) when something happens to some of them only, so that a mesh of
many hosts remains one record as long as they all rotate together.

Keys are random, or derived from a root secret. A unit can change from one kind to the other with
each generation."""

from __future__ import annotations

import itertools
import json
import re
import time
import types
import typing as t

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import IpsecError

from .._connections.model import Connection, Unit, connection_of

RANDOM = "random"
DERIVED = "derived"
STORES = (RANDOM, DERIVED)

REPLACED = "replaced"
DISCARDED = "discarded"
UNUSED = "unused"
RETIRED = "retired"


STEADY = "steady"
PREPARED = "prepared"
SWITCHING = "switching"
RETIRING = "retiring"
PHASES = (STEADY, PREPARED, SWITCHING, RETIRING)
# Hosts may have the next generation.
IN_USE = (SWITCHING, RETIRING)

CURRENT = "current"
NEXT = "next"
PREVIOUS = "previous"
NEWEST = "newest"

# Behind an even number of backslashes, which are escaped ones.
_SURROGATES = re.compile(r"(?<!\\)((?:\\\\)*)(\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2})")


class KeystoreError(IpsecError):
    """The keystore cannot be used in its present state; it was not changed."""


class Generation(t.NamedTuple):
    """SAs of one connection that were made together. ``settings`` are those of `Connection.settings` at that
    time, for the units that have these SAs. The connection gives no number twice.

    A random one has ``sas``, ipseckeys text, which is secret. A derived one has the fingerprint of
    its root secret, a salt in hex, and `Derivation.moved`. ``undone`` are the settings that it took
    back, if it was made for that (`undo`). ``selectors`` are those of `Connection.selectors`."""

    generation: int
    created: str
    created_by: str
    settings: dict[str, t.Any]
    store: str = RANDOM
    sas: str = ""
    root: str = ""
    salt: str = ""
    moved: dict[str, int] = {}
    promoted: str = ""
    promoted_by: str = ""
    undone: dict[str, t.Any] = {}
    selectors: dict[str, t.Any] = {}

    def __repr__(self) -> str:
        return f"<generation {self.generation}>"

    @property
    def endpoints(self) -> dict[str, str]:
        """Host to address."""
        return dict(self.settings["endpoints"])


class Retired(t.NamedTuple):
    """A generation whose keys must never be used again, with their fingerprints, and its SPIs if it
    was random.
    """

    generation: int
    created: str
    created_by: str
    retired: str
    retired_by: str
    reason: str
    fingerprints: tuple[str, ...]
    spis: tuple[int, ...] = ()


class KeyRecord(t.NamedTuple):
    """The generations of units that share their history. All generations have the same units.

    ``last`` is the highest number ever given to a generation of the connection. ``left`` is the time
    at which the units were found to be no longer part of the connection, empty if they still are.
    ``cleaned`` is None until the removal of units that left begins; from then on, it names the hosts that no
    longer hold anything of them. ``plays`` are the plays that have the units, each with its family (`owners`)."""

    connection: str
    phase: str = STEADY
    since: str = ""
    by: str = ""
    last: int = 0
    current: Generation | None = None
    next: Generation | None = None
    previous: Generation | None = None
    retired: tuple[Retired, ...] = ()
    left: str = ""
    cleaned: tuple[str, ...] | None = None
    plays: tuple[tuple[str, str], ...] = ()

    def generations(self) -> t.Iterator[Generation]:
        return (found for found in (self.current, self.next, self.previous) if found is not None)

    def held(self) -> list[Generation]:
        """The generations that hosts may still hold, the newest first. Units that left before format 2 have only the
        previous one, with which they left.
        """
        return [found for found in (self.next, self.current) if found is not None] or [*self.generations()]

    def pick(self, which: str) -> Generation | None:
        """The generation that ``which`` names; "newest" is the next one, or without one the current one."""
        if which == NEWEST:
            return self.next or self.current
        return {CURRENT: self.current, NEXT: self.next, PREVIOUS: self.previous}[which]

    def mapped(self, change: t.Callable[[Generation], Generation | None]) -> KeyRecord:
        """The record with what ``change`` returns for each of its generations."""
        current, following, previous = (
            change(found) if found is not None else None for found in (self.current, self.next, self.previous)
        )
        return self._replace(current=current, next=following, previous=previous)

    def shape(self) -> Connection | None:
        """A connection with the units of the record; None if it has no generation."""
        generation = next(self.generations(), None)
        return connection_of(self.connection, generation.settings) if generation is not None else None

    def units(self) -> frozenset[Unit]:
        """The units, in time proportional to their number."""
        shape = self.shape()
        return shape.units() if shape is not None else frozenset()

    @property
    def abandoned(self) -> bool:
        """Whether hosts may still hold a generation newer than the current one that was discarded."""
        current = self.current.generation if self.current is not None else 0
        return any(row.reason == DISCARDED and row.generation > current for row in self.retired)

    def retired_fingerprints(self) -> set[str]:
        return set(itertools.chain.from_iterable(row.fingerprints for row in self.retired))

    def roots(self) -> set[str]:
        """The fingerprints of the root secrets that the record needs."""
        return {found.root for found in self.generations() if found.root}


class ConnectionRecord(t.NamedTuple):
    """The content of one connection's file. ``forgotten`` are retired generations of units that have no
    record any more. ``departed`` are hosts, with their addresses, that left before format 2.
    """

    connection: str
    last: int = 0
    records: tuple[KeyRecord, ...] = ()
    forgotten: tuple[Retired, ...] = ()
    departed: t.Mapping[str, str] = types.MappingProxyType({})

    @classmethod
    def of(cls, *records: KeyRecord) -> ConnectionRecord:
        """The records of a connection, which has at least one."""
        return cls(records[0].connection, max(record.last for record in records), records)

    def present(self) -> list[KeyRecord]:
        """The records of the units that belong to the connection."""
        return [record for record in self.records if not record.left]

    @property
    def retired(self) -> tuple[Retired, ...]:
        """Every generation of the connection that is no longer current or next, of some units at least."""
        rows = itertools.chain(self.forgotten, *(record.retired for record in self.records))
        return tuple({id(row): row for row in rows}.values())

    def retired_fingerprints(self) -> set[str]:
        return set(itertools.chain.from_iterable(row.fingerprints for row in self.retired))

    def retired_spis(self) -> set[int]:
        return set(itertools.chain.from_iterable(row.spis for row in self.retired))

    def roots(self) -> set[str]:
        """The fingerprints of the root secrets that the records need."""
        return set().union(*(record.roots() for record in self.records))


def now() -> str:
    """The current time in the format of the records."""
    return time_of(time.time())


def time_of(seconds: float) -> str:
    """A time since the epoch in the format of the records."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def yaml_lines(fields: t.Mapping[str, t.Any]) -> str:
    """Lines of a file. Values are written as JSON, which is YAML: values from Ansible are subclasses that
    the YAML library cannot write.
    """
    return "".join(f"{name}: {_SURROGATES.sub(_joined, json.dumps(value))}\n" for name, value in fields.items())


def _joined(found: re.Match[str]) -> str:
    """The one difference: JSON writes a character beyond U+FFFF as two escapes, which YAML does not join."""
    character = json.loads('"' + found[2] + '"')
    return f"{found[1]}\\U{ord(character):08x}"
