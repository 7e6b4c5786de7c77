# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_utils is private to the collection and may change at any time.

"""The keystore's records: what one connection's file holds, and how it changes. Pure, but for the random numbers of new keys and SPIs.

A record goes round: steady, prepared (a next generation is there, no host was asked to use it), switching (hosts may use it), and steady again once it
is promoted. Nothing but `promote` and `discard` ends a next generation, so a run that broke can be finished by the next one with the same keys.

The file is YAML, vault-encrypted as a whole::

    format: 1
    connection: NAME
    store: random                    # where the keys come from
    phase: steady | prepared | switching
    last: 7                          # the highest generation number ever given
    current: {generation: 7, created: "2026-11-21T21:00:00Z", settings: {...}, sas: |- ipseckeys text}
    next: null                       # the same shape
    previous: null                   # the same shape
    retired:                         # every generation that is no longer current or next
      - {generation: 6, created: ..., retired: "2026-11-21T21:00:00Z", fingerprints: "16 hex digits, one for each key"}
"""

from __future__ import annotations

import datetime
import itertools
import json
import secrets
import typing as t

import yaml

from ansible_collections.ipsec.manual.plugins.module_utils._core import association, keys, language
from ansible_collections.ipsec.manual.plugins.module_utils._core.algorithms import Algorithm
from ansible_collections.ipsec.manual.plugins.module_utils._core.association import SPI_MAX, SPI_MIN, SecurityAssociation
from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import InputError, IpsecError

from ._connections import Connection, draw_keys, make_sa

FORMAT = 1
RANDOM = "random"

STEADY = "steady"
PREPARED = "prepared"
SWITCHING = "switching"
PHASES = (STEADY, PREPARED, SWITCHING)

CURRENT = "current"
NEXT = "next"
PREVIOUS = "previous"
NEWEST = "newest"

MADE = "made"
RESUMED = "resumed"
KEPT = "kept"


# The settings that say between which addresses a generation's SAs are, and whose they are.
_REACH = ("endpoints", "reqid", "mark", "if_id")


class KeystoreError(IpsecError):
    """The keystore cannot be used as it is; it was not touched."""


class Generation(t.NamedTuple):
    """All SAs of one connection made together. ``settings`` are those of `Connection.settings` at that time, ``sas`` is ipseckeys text: secret."""

    generation: int
    created: str
    settings: dict[str, t.Any]
    sas: str

    def __repr__(self) -> str:
        return f"<generation {self.generation}>"

    def __str__(self) -> str:
        return repr(self)

    @property
    def endpoints(self) -> dict[str, str]:
        """Host to address."""
        return dict(self.settings["endpoints"])


class Retired(t.NamedTuple):
    """A generation whose keys must never be used again, with the fingerprints of all of them."""

    generation: int
    created: str
    retired: str
    fingerprints: tuple[str, ...]


class Taken:
    """SPIs that must not be drawn: (destination, SPI) of every SA that is known, and SPIs that hosts reported, towards whatever destination."""

    def __init__(self, known: t.Iterable[tuple[bytes, int]] = (), reported: t.Iterable[int] = ()) -> None:
        self._known = set(known)
        self._reported = frozenset(reported)

    def take(self, destination: bytes, spi: int) -> bool:
        """Claim the SPI; False where it is taken."""
        if spi in self._reported or (destination, spi) in self._known:
            return False
        self._known.add((destination, spi))
        return True


class Record(t.NamedTuple):
    """What one connection's file holds."""

    connection: str
    phase: str = STEADY
    last: int = 0
    current: Generation | None = None
    next: Generation | None = None
    previous: Generation | None = None
    retired: tuple[Retired, ...] = ()

    def generations(self) -> t.Iterator[Generation]:
        return (found for found in (self.current, self.next, self.previous) if found is not None)

    def pick(self, which: str) -> Generation | None:
        """The generation ``which`` names; "newest" is the next one where there is one, else the current one."""
        if which == NEWEST:
            return self.next or self.current
        return {CURRENT: self.current, NEXT: self.next, PREVIOUS: self.previous}[which]

    def retired_fingerprints(self) -> set[str]:
        return set(itertools.chain.from_iterable(row.fingerprints for row in self.retired))


def now() -> str:
    """The time as records hold it."""
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_sas(text: str, name: str) -> tuple[SecurityAssociation, ...]:
    """The SAs of a generation. Counter modes were allowed or refused when they were made."""
    return tuple(language.parse(text, name=name, allow_static_counter_mode=True).sas)


def fingerprints_of(generation: Generation, whose: str) -> tuple[str, ...]:
    """The fingerprints of all keys of a generation; ``whose`` it is, for messages."""
    found: list[str] = []
    for sa in parse_sas(generation.sas, f"{whose}, generation {generation.generation}"):
        found.extend(value for value in association.fingerprints(sa).values() if value)
    return tuple(found)


def decide(record: Record, connection: Connection, new_keys: bool) -> str:
    """What preparing does: "resumed" a next generation that a broken run left, "kept" the current one, or "made" another.

    A next generation is taken up again only for the settings it was made for; a counter-mode one not after hosts may have loaded it, since a key loaded
    twice repeats nonces.
    """
    settings = connection.settings()
    loaded = connection.counter_mode and record.phase == SWITCHING
    if record.next is not None and record.next.settings == settings and not loaded:
        return RESUMED
    if record.next is None and record.current is not None and record.current.settings == settings and not new_keys:
        return KEPT
    return MADE


def check_change(record: Record, connection: Connection, place: str) -> None:
    """Refuse to give up a next generation that hosts may use and that another one would not replace on them: nothing would ever remove it there."""
    if record.phase == SWITCHING and record.next is not None and not _same_reach(record.next.settings, connection.settings()):
        raise InputError(
            f"hosts may already use generation {record.next.generation} of connection {record.connection}, made for other endpoints, reqid, mark or if_id",
            place,
            "Put those back and run again, which finishes it, and change them then; "
            "or give it up with ipsec_keystore, state discarded and force, when you know that no host has it.",
        )


def left_behind(record: Record) -> frozenset[str]:
    """The endpoints with SAs of the current generation that the next one's do not take the place of: between other addresses, or of another owner."""
    if record.current is None or record.next is None or _same_reach(record.current.settings, record.next.settings):
        return frozenset()
    return frozenset(record.current.endpoints)


def _same_reach(one: t.Mapping[str, t.Any], other: t.Mapping[str, t.Any]) -> bool:
    return all(one.get(name) == other.get(name) for name in _REACH)


def make(record: Record, connection: Connection, taken: Taken, retired: t.AbstractSet[str]) -> Record:
    """The record with a new next generation. A next one that was there is retired. ``retired`` are fingerprints of keys that must not be drawn."""
    base = discard(record)
    sas = list(draw_sas(connection, taken, retired | base.retired_fingerprints()))
    number = base.last + 1
    text = language.render(sas, comment=f"connection {connection.name}, generation {number}")
    return base._replace(phase=PREPARED, last=number, next=Generation(number, now(), connection.settings(), text))


def draw_sas(connection: Connection, taken: Taken, retired: t.AbstractSet[str]) -> t.Iterator[SecurityAssociation]:
    """New SAs for every two endpoints, each direction, each association; SPIs unique for each destination, keys never used before."""

    def draw_key(row: Algorithm, bits: int) -> bytes:
        while True:
            key = keys.generate(row, bits)
            if keys.fingerprint(row, key) not in retired:
                return key

    for source, destination in itertools.permutations(connection.endpoints, 2):
        for row in connection.associations:
            spi = draw_spi(destination.address, taken)
            yield make_sa(connection, row, source.address, destination.address, spi, *draw_keys(row, draw_key))


def draw_spi(destination: bytes, taken: Taken) -> int:
    """An SPI that nothing uses towards the destination, from 256 on (RFC 4303 section 2.1)."""
    while True:
        spi = SPI_MIN + secrets.randbelow(SPI_MAX - SPI_MIN + 1)
        if taken.take(destination, spi):
            return spi


def start(record: Record) -> Record:
    """From here on hosts may use the next generation."""
    return record._replace(phase=SWITCHING) if record.next is not None else record


def promote(record: Record) -> Record:
    """Next becomes current, current becomes previous and is retired. Unchanged where there is no next generation."""
    if record.next is None:
        return record
    retired = (*record.retired, *([_retire(record.current, record.connection)] if record.current is not None else ()))
    return record._replace(phase=STEADY, current=record.next, next=None, previous=record.current, retired=retired)


def discard(record: Record) -> Record:
    """Without its next generation, whose keys are retired. Unchanged where there is none."""
    if record.next is None:
        return record
    return record._replace(phase=STEADY, next=None, retired=(*record.retired, _retire(record.next, record.connection)))


def _retire(generation: Generation, connection: str) -> Retired:
    return Retired(generation.generation, generation.created, now(), fingerprints_of(generation, f"connection {connection}"))


def check(record: Record, place: str) -> None:
    """Refuse a record whose current or next keys were retired: an old copy was mixed in, or somebody edited it."""
    gone = record.retired_fingerprints()
    for generation in (record.current, record.next):
        if generation is not None and gone.intersection(fingerprints_of(generation, f"{place}, connection {record.connection}")):
            raise KeystoreError(
                f"generation {generation.generation} of connection {record.connection} holds a key that was retired",
                place,
                "Restore this file from version control as the last run left it, or move it away and rotate with rotate_new_keys.",
            )


class _Dumper(yaml.SafeDumper):
    """Text of many lines as a block, so that a person who views the file can read it."""


def _represent_str(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _represent_str)
_Loader: t.Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def dump(record: Record) -> str:
    """The file's text, before encryption."""
    data = {
        "format": FORMAT,
        "connection": record.connection,
        "store": RANDOM,
        "phase": record.phase,
        "last": record.last,
        **{
            name: found._asdict() if found is not None else None
            for name, found in ((CURRENT, record.current), (NEXT, record.next), (PREVIOUS, record.previous))
        },
        "retired": [{**row._asdict(), "fingerprints": " ".join(row.fingerprints)} for row in record.retired],
    }
    # Through JSON, since values that came from Ansible are subclasses that YAML does not know.
    return yaml.dump(json.loads(json.dumps(data)), Dumper=_Dumper, sort_keys=False, width=160)


def load(text: str, name: str, place: str) -> Record:
    """The record of connection ``name`` that a file's decrypted text holds. Raises KeystoreError for anything that is not one, without its content."""
    try:
        data = yaml.load(text, Loader=_Loader)
        if data["format"] != FORMAT or data["store"] != RANDOM:
            raise KeystoreError(
                f"the keystore has format {data['format']} with keys of kind {data['store']}; this release knows format {FORMAT} with {RANDOM} ones",
                place,
                "Use the release of the collection that wrote it, or a later one.",
            )
        record = Record(
            connection=str(data["connection"]),
            phase=PHASES[PHASES.index(data["phase"])],
            last=int(data["last"]),
            current=_generation(data[CURRENT]),
            next=_generation(data[NEXT]),
            previous=_generation(data[PREVIOUS]),
            retired=tuple(Retired(row["generation"], row["created"], row["retired"], tuple(row["fingerprints"].split())) for row in data["retired"]),
        )
        highest = max([0, *(found.generation for found in record.generations()), *(row.generation for row in record.retired)])
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError):
        # What YAML says would quote the text.
        raise KeystoreError("the file decrypts, but is no keystore of this collection", place, "Restore it from version control.") from None
    if record.connection != name:
        raise KeystoreError(
            f"the file holds the keys of connection {record.connection}, not of {name}", place, "A keystore file is named after its connection; rename it back."
        )
    if record.last < highest or (record.next is None) != (record.phase == STEADY):
        raise KeystoreError("the file contradicts itself: somebody edited it", place, "Restore it from version control.")
    check(record, place)
    return record


def _generation(data: t.Any) -> Generation | None:
    if data is None:
        return None
    found = Generation(int(data["generation"]), str(data["created"]), data["settings"], str(data["sas"]))
    if not found.endpoints:
        raise ValueError
    return found


def spis_of(records: t.Iterable[Record]) -> set[tuple[bytes, int]]:
    """(destination, SPI) of every SA of every generation."""
    return {
        (sa.destination, sa.spi)
        for record in records
        for generation in record.generations()
        for sa in parse_sas(generation.sas, f"{record.connection}, generation {generation.generation}")
    }


def sas_of_host(generation: Generation, host: str) -> list[SecurityAssociation]:
    """The SAs of one endpoint. Raises InputError where the host is none."""
    if host not in generation.endpoints:
        raise InputError(f"the host is no endpoint of generation {generation.generation}", host, f"Endpoints are: {', '.join(generation.endpoints)}.")
    address = association.pack_address(generation.endpoints[host])
    return [sa for sa in parse_sas(generation.sas, f"generation {generation.generation}") if address in (sa.source, sa.destination)]
