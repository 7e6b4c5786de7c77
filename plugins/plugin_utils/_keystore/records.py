# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The keystore's records: what one connection's file holds, and how it changes. Pure, but for the
random numbers of new keys and SPIs.

A record goes round: steady, prepared (a next generation is there, no host was asked to use it),
switching (hosts may use it), and steady again once it is promoted. Nothing but `promote` and
`discard` ends a next generation, so a run that broke can be finished by the next one with the same
keys.

Its keys are its own random ones, or derived from a root secret; a connection goes from one kind to
the other as from any generation to the next.

The file is YAML, vault-encrypted as a whole::

    format: 1
    connection: NAME
    phase: steady | prepared | switching
    since: "2026-11-21T21:00:00Z"    # when the phase began
    by: USER@CONTROLLER              # who began it
    last: 7                          # the highest generation number ever given
    departed: {HOST: ADDRESS}        # hosts that had keys of the connection, and left it while it continued
    current:
      generation: 7
      created: "2026-11-21T21:00:00Z"
      created_by: USER@CONTROLLER
      promoted: "2026-11-21T21:04:00Z"
      promoted_by: USER@CONTROLLER
      store: random | derived
      settings: {...}                # `Connection.settings`
      root: ""                       # of a derived one: the fingerprint of its root secret, the
      salt in hex, and the attempts that gave its SPIs
      salt: ""
      moved: {}
      sas: |                         # of a random one: ipseckeys text
        add esp spi ...
    next: null                       # the same shape
    previous: null                   # the same shape
    retired:                         # every generation that is no longer current or next
    - {generation: 6, created: ..., created_by: ..., retired: ..., retired_by: ..., reason: replaced
      | discarded | retired,
       fingerprints: "16 hex digits, one for each key, or one for all of a derived generation",
       spis: "8 hex digits, one for each"}
"""

from __future__ import annotations

import datetime
import itertools
import json
import secrets
import textwrap
import types
import typing as t

import yaml

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import InputError, IpsecError
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa import keys, model
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.algorithms import Algorithm
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import SPI_MAX, SPI_MIN, SecurityAssociation
from ansible_collections.ipsec.manual.plugins.module_utils._core.text import language

from .._connections.flows import draw_keys, make_sa
from .._connections.model import Connection, connection_of
from .derivation import SALT_BYTES, Derivation

FORMAT = 1
RANDOM = "random"
DERIVED = "derived"
STORES = (RANDOM, DERIVED)

REPLACED = "replaced"
DISCARDED = "discarded"
RETIRED = "retired"

# Root secrets by their fingerprints.
Roots = t.Mapping[str, bytes]

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
_REACH = ("endpoints", "reqid", "mark", "if_id", "hubs", "multicast", "unicast")


class KeystoreError(IpsecError):
    """The keystore cannot be used as it is; it was not touched."""


class Generation(t.NamedTuple):
    """All SAs of one connection made together. ``settings`` are those of `Connection.settings` at that time.

    A random one has ``sas``, ipseckeys text: secret. A derived one has the fingerprint of its root
    secret, a salt in hex, and `Derivation.moved`."""

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

    def __repr__(self) -> str:
        return f"<generation {self.generation}>"

    def __str__(self) -> str:
        return repr(self)

    @property
    def endpoints(self) -> dict[str, str]:
        """Host to address."""
        return dict(self.settings["endpoints"])


class Retired(t.NamedTuple):
    """A generation whose keys must never be used again, with the fingerprints of all of them, and
    the SPIs of a random one.
    """

    generation: int
    created: str
    created_by: str
    retired: str
    retired_by: str
    reason: str
    fingerprints: tuple[str, ...]
    spis: tuple[int, ...] = ()


class Taken:
    """SPIs that must not be drawn.

    ``known`` are (destination, SPI) of SAs that are kept, ``reported`` SPIs that hosts have in use
    or that were retired, towards whatever destination, ``derived`` the generations whose SPIs are
    not kept anywhere."""

    def __init__(
        self,
        known: t.Iterable[tuple[bytes, int]] = (),
        reported: t.Iterable[int] = (),
        derived: t.Iterable[Derivation] = (),
    ) -> None:
        self._known: dict[bytes, set[int]] = {}
        self.reported = frozenset(reported)
        self._derived = list(derived)
        self._complete: set[bytes] = set()
        for destination, spi in known:
            self._known.setdefault(destination, set()).add(spi)

    def add(self, derivation: Derivation) -> None:
        self._derived.append(derivation)
        self._complete.clear()

    def take(self, destinations: t.Sequence[bytes], spi: int) -> bool:
        """Claim the SPI towards all of them; False where it is taken towards one."""
        if spi in self.reported or any(spi in self._all_towards(destination) for destination in destinations):
            return False
        for destination in destinations:
            self._known[destination].add(spi)
        return True

    def towards(self, destination: bytes) -> t.AbstractSet[int]:
        """What is kept or derived towards an address; nothing of it stays in memory."""
        return set(self._known.get(destination, ())).union(*(row.spis_towards(destination) for row in self._derived))

    def _all_towards(self, destination: bytes) -> set[int]:
        found = self._known.setdefault(destination, set())
        if destination not in self._complete:
            found.update(*(row.spis_towards(destination) for row in self._derived))
            self._complete.add(destination)
        return found


class Record(t.NamedTuple):
    """What one connection's file holds."""

    connection: str
    phase: str = STEADY
    since: str = ""
    by: str = ""
    last: int = 0
    current: Generation | None = None
    next: Generation | None = None
    previous: Generation | None = None
    retired: tuple[Retired, ...] = ()
    departed: t.Mapping[str, str] = types.MappingProxyType({})

    def generations(self) -> t.Iterator[Generation]:
        return (found for found in (self.current, self.next, self.previous) if found is not None)

    def pick(self, which: str) -> Generation | None:
        """The generation ``which`` names; "newest" is the next one where there is one, else the current one."""
        if which == NEWEST:
            return self.next or self.current
        return {CURRENT: self.current, NEXT: self.next, PREVIOUS: self.previous}[which]

    def retired_fingerprints(self) -> set[str]:
        return set(itertools.chain.from_iterable(row.fingerprints for row in self.retired))

    def retired_spis(self) -> set[int]:
        return set(itertools.chain.from_iterable(row.spis for row in self.retired))

    def roots(self) -> set[str]:
        """The fingerprints of the root secrets that it needs."""
        return {found.root for found in self.generations() if found.root}


def now() -> str:
    """The time as records hold it."""
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_sas(text: str, name: str) -> tuple[SecurityAssociation, ...]:
    """The SAs of a generation. Counter modes were allowed or refused when they were made."""
    return tuple(language.parse(text, name=name, allow_static_counter_mode=True).sas)


def derivation_of(generation: Generation, connection: str, roots: Roots) -> Derivation:
    """How a derived generation makes its SAs."""
    root = roots.get(generation.root)
    if root is None:
        raise KeystoreError(
            f"generation {generation.generation} of connection {connection} comes from the root secret"
            f" {generation.root}, which the keystore does not have",
            "_root.yml",
            "Restore that file from version control.",
        )
    return Derivation(
        root,
        bytes.fromhex(generation.salt),
        connection_of(connection, generation.settings),
        generation.generation,
        generation.moved,
    )


def sas_of(generation: Generation, connection: str, roots: Roots, host: str = "") -> list[SecurityAssociation]:
    """The SAs of a generation, those of one endpoint where ``host`` is given. Raises InputError where it is none.

    Reads no more of the keys of others than it must.
    """
    if host and host not in generation.endpoints:
        raise InputError(
            f"the host is no endpoint of generation {generation.generation}",
            host,
            f"Endpoints are: {', '.join(generation.endpoints)}.",
        )
    if generation.store == DERIVED:
        return list(derivation_of(generation, connection, roots).sas(host))
    text = generation.sas
    if host:
        shared = (
            [end for dummy, ends in connection_of(connection, generation.settings).flows(host) for end in ends]
            if "multicast" in generation.settings
            else []
        )
        marks = [f" dst {model.format_address(end)} " for end in shared] or [
            f" {side} {generation.endpoints[host]} " for side in ("src", "dst")
        ]
        lines = text.replace("\\\n", "").splitlines()
        text = "".join(f"{line}\n" for line in lines if any(mark in line for mark in marks))
    return list(parse_sas(text, f"connection {connection}, generation {generation.generation}"))


def fingerprints_of(generation: Generation, connection: str, roots: Roots) -> tuple[str, ...]:
    """The fingerprints of all keys of a generation; of a derived one that of the secret from which they all come."""
    if generation.store == DERIVED:
        return (derivation_of(generation, connection, roots).fingerprint(),)
    return prints_of(sas_of(generation, connection, roots))


def prints_of(sas: t.Iterable[SecurityAssociation]) -> tuple[str, ...]:
    """The fingerprints of all keys of SAs, short ones too, each once: a group shares its keys."""
    return tuple(
        dict.fromkeys(value for sa in sas for value in model.fingerprints(sa, keys.full_fingerprint).values() if value)
    )


def decide(record: Record, connection: Connection, new_keys: bool, store: str = RANDOM, root: str = "") -> str:
    """What preparing does: "resumed" a next generation that a broken run left, "kept" the current
    one, or "made" another.

    A next generation is taken up again only for the settings it was made for; a counter-mode one
    not after hosts may have loaded it, since a key loaded twice repeats nonces. One of the other
    kind of ``store`` is finished if hosts may have it. ``root`` is the root secret that is wanted,
    empty for any."""
    settings = connection.settings()
    loaded = connection.counter_mode and record.phase == SWITCHING
    if record.next is not None:
        return (
            RESUMED
            if record.next.settings == settings
            and not loaded
            and (record.phase == SWITCHING or record.next.store == store)
            else MADE
        )
    if (
        record.current is not None
        and record.current.settings == settings
        and record.current.store == store
        and root in ("", record.current.root)
    ):
        return MADE if new_keys else KEPT
    return MADE


def check_change(record: Record, connection: Connection, place: str) -> None:
    """Refuse to give up a next generation that hosts may use and that another one would not replace
    on them: nothing would ever remove it there.
    """
    if (
        record.phase == SWITCHING
        and record.next is not None
        and not _same_reach(record.next.settings, connection.settings())
    ):
        raise InputError(
            f"hosts may already use generation {record.next.generation} of connection {record.connection}, made for"
            " other endpoints, reqid, mark or if_id",
            place,
            "Put those back and run again, which finishes it, and change them then; "
            "or give it up with ipsec_keystore, state discarded and force, when you know that no host has it.",
        )


def left_behind(record: Record) -> frozenset[str]:
    """The endpoints with SAs of the current generation that the next one's do not take the place
    of: between other addresses, or of another owner.
    """
    if record.current is None or record.next is None or _same_reach(record.current.settings, record.next.settings):
        return frozenset()
    return frozenset(record.current.endpoints)


def departed(record: Record) -> dict[str, str]:
    """Hosts with their addresses that had keys of the connection and are no longer endpoints of its newest generation.

    What they hold was never removed there.
    """
    newest = record.pick(NEWEST)
    if newest is None:
        return {}
    known = {**record.departed, **(record.current.endpoints if record.current is not None else {})}
    return {host: address for host, address in known.items() if host not in newest.endpoints}


def _same_reach(one: t.Mapping[str, t.Any], other: t.Mapping[str, t.Any]) -> bool:
    return all(one.get(name) == other.get(name) for name in _REACH)


def has_abandoned(record: Record) -> bool:
    """Whether hosts may still hold a generation newer than the current one that was discarded."""
    current = record.current.generation if record.current is not None else 0
    return any(row.reason == DISCARDED and row.generation > current for row in record.retired)


def make(
    record: Record,
    connection: Connection,
    taken: Taken,
    retired: t.AbstractSet[str],
    by: str = "",
    root: tuple[str, bytes] | None = None,
) -> Record:
    """The record with a new next generation; a next one that was there must have been discarded.

    ``retired`` are fingerprints of keys that must not be drawn. Derived from ``root`` (its
    fingerprint and the secret), random where there is none."""
    number, when = record.last + 1, now()
    gone = retired | record.retired_fingerprints()
    made = Generation(number, when, by, connection.settings())
    if root is None:
        text = language.render(
            draw_sas(connection, taken, gone), comment=f"connection {connection.name}, generation {number}"
        )
        made = made._replace(sas=text)
    else:
        while True:
            salt = secrets.token_bytes(SALT_BYTES)
            derivation = Derivation(root[1], salt, connection, number)
            if derivation.fingerprint() not in gone:
                break
        derivation.place(taken.towards, taken.reported)
        taken.add(derivation)
        made = made._replace(store=DERIVED, root=root[0], salt=salt.hex(), moved=derivation.moved)
    return record._replace(phase=PREPARED, since=when, by=by, last=number, next=made)


def draw_sas(connection: Connection, taken: Taken, retired: t.AbstractSet[str]) -> t.Iterator[SecurityAssociation]:
    """New SAs for every flow and association; SPIs unique for each destination, keys never used before."""

    def draw_key(row: Algorithm, bits: int) -> bytes:
        while True:
            key = keys.generate(row, bits)
            if keys.full_fingerprint(row, key) not in retired:
                return key

    for source, destinations in connection.flows():
        for row in connection.associations:
            spi = draw_spi(destinations, taken)
            encryption_key, authentication_key = draw_keys(row, draw_key)
            for destination in destinations:
                yield make_sa(connection, row, source, destination, spi, encryption_key, authentication_key)


def draw_spi(destinations: t.Sequence[bytes], taken: Taken) -> int:
    """An SPI that nothing uses towards the destinations, from 256 on (RFC 4303 section 2.1)."""
    while True:
        spi = SPI_MIN + secrets.randbelow(SPI_MAX - SPI_MIN + 1)
        if taken.take(destinations, spi):
            return spi


def start(record: Record, by: str = "") -> Record:
    """From here on hosts may use the next generation."""
    return record._replace(phase=SWITCHING, since=now(), by=by) if record.phase == PREPARED else record


def promote(record: Record, roots: Roots, by: str = "") -> Record:
    """Next becomes current, current becomes previous and is retired. Unchanged where there is no next generation."""
    if record.next is None:
        return record
    when = now()
    retired = (
        *record.retired,
        *([_retire(record.current, record.connection, roots, by, REPLACED)] if record.current is not None else ()),
    )
    current = record.next._replace(promoted=when, promoted_by=by)
    return record._replace(
        phase=STEADY,
        since=when,
        by=by,
        current=current,
        next=None,
        previous=record.current,
        retired=retired,
        departed=departed(record),
    )


def discard(record: Record, roots: Roots, by: str = "") -> Record:
    """Without its next generation, whose keys are retired. Unchanged where there is none."""
    if record.next is None:
        return record
    return record._replace(
        phase=STEADY,
        since=now(),
        by=by,
        next=None,
        retired=(*record.retired, _retire(record.next, record.connection, roots, by, DISCARDED)),
    )


def erase(record: Record) -> Record:
    """Without the keys of the previous generation, which were retired when it was replaced, and without hosts
    that left.

    Unchanged if there are none.
    """
    return record._replace(previous=None, departed={})


def end(record: Record, roots: Roots, by: str = "") -> Record:
    """Without any key: the connection is no more. What was retired stays known."""
    left = [found for found in (record.current, record.next) if found is not None]
    if not left:
        return erase(record)
    retired = (*record.retired, *(_retire(found, record.connection, roots, by, RETIRED) for found in left))
    return record._replace(
        phase=STEADY, since=now(), by=by, current=None, next=None, previous=None, retired=retired, departed={}
    )


def _retire(generation: Generation, connection: str, roots: Roots, by: str, reason: str) -> Retired:
    # The SPIs of a derived generation are not remembered; each new one has others by its salt.
    sas = sas_of(generation, connection, roots) if generation.store == RANDOM else []
    prints = prints_of(sas) if sas else fingerprints_of(generation, connection, roots)
    spis = tuple(dict.fromkeys(sa.spi for sa in sas))
    return Retired(generation.generation, generation.created, generation.created_by, now(), by, reason, prints, spis)


def verify(
    records: t.Mapping[str, Record],
    place: t.Callable[[str], str],
    roots: Roots,
    remembered: t.Mapping[str, str] | None = None,
) -> None:
    """Refuse records of which one has current or next keys that were retired, in whatever
    connection, or that another one has too.

    An old copy was mixed in, a file was copied, or somebody edited it. ``remembered`` are
    fingerprints of keys that stand alone, with their names."""
    gone = {
        fingerprint: name
        for name, record in records.items()
        for row in record.retired
        for fingerprint in row.fingerprints
    }
    seen: dict[str, str] = {}
    for name, record in records.items():
        for generation in (record.current, record.next):
            for fingerprint in fingerprints_of(generation, name, roots) if generation is not None else ():
                if fingerprint in gone:
                    _refuse(generation, name, f"a key that was retired in connection {gone[fingerprint]}", place(name))
                if remembered and fingerprint in remembered:
                    _refuse(generation, name, f"the key that is remembered as {remembered[fingerprint]}", place(name))
                if fingerprint in seen:
                    _refuse(generation, name, f"a key that connection {seen[fingerprint]} has too", place(name))
                seen[fingerprint] = name


def verify_own(
    record: Record, generation: Generation, sas: t.Sequence[SecurityAssociation], place: str, roots: Roots
) -> None:
    """The same for some SAs of one record, in time that grows with them; a previous generation is
    retired by its nature.
    """
    if generation not in (record.current, record.next):
        return
    found = fingerprints_of(generation, record.connection, roots) if generation.store == DERIVED else prints_of(sas)
    if not record.retired_fingerprints().isdisjoint(found):
        _refuse(generation, record.connection, "a key that was retired", place)


def _refuse(generation: Generation | None, connection: str, what: str, place: str) -> t.NoReturn:
    number = generation.generation if generation is not None else 0
    raise KeystoreError(
        f"generation {number} of connection {connection} holds {what}",
        place,
        "Restore this file from version control as the last run left it, or move it away and rotate with"
        " rotate_new_keys.",
    )


_Loader: t.Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def dump(record: Record) -> str:
    """The file's text, before encryption. Values are JSON, which is YAML, since those that came
    from Ansible are subclasses that YAML does not know.
    """
    return "".join(
        (
            _pairs(
                {
                    "format": FORMAT,
                    **{name: getattr(record, name) for name in ("connection", "phase", "since", "by", "last")},
                    "departed": dict(record.departed),
                }
            ),
            *(_dumped(name, record.pick(name)) for name in (CURRENT, NEXT, PREVIOUS)),
            "retired:\n" if record.retired else "retired: []\n",
            *(f"- {json.dumps(_dumped_retired(row))}\n" for row in record.retired),
        )
    )


def _dumped_retired(row: Retired) -> dict[str, t.Any]:
    spis = " ".join(f"{spi:08x}" for spi in row.spis)
    return {**row._asdict(), "fingerprints": " ".join(row.fingerprints), "spis": spis}


def _dumped(name: str, generation: Generation | None) -> str:
    if generation is None:
        return f"{name}: null\n"
    fields = {key: value for key, value in generation._asdict().items() if key != "sas"}
    # A person who views the file can read the SAs.
    sas = "  sas: |\n" + textwrap.indent(generation.sas, "    ") if generation.sas else '  sas: ""\n'
    return f"{name}:\n{textwrap.indent(_pairs(fields), '  ')}{sas}"


def _pairs(fields: t.Mapping[str, t.Any]) -> str:
    return "".join(f"{name}: {json.dumps(value)}\n" for name, value in fields.items())


def load(text: str, name: str, place: str) -> Record:
    """The record of connection ``name`` that a file's decrypted text holds. Raises KeystoreError
    for anything that is not one, without its content.
    """
    try:
        data = yaml.load(text, Loader=_Loader)
        if data["format"] != FORMAT:
            raise KeystoreError(
                f"the keystore has format {data['format']}; this release knows format {FORMAT}",
                place,
                "Use the release of the collection that wrote it, or a later one.",
            )
        record = Record(
            connection=str(data["connection"]),
            phase=PHASES[PHASES.index(data["phase"])],
            since=str(data["since"]),
            by=str(data["by"]),
            last=int(data["last"]),
            departed={str(host): str(address) for host, address in data.get("departed", {}).items()},
            current=_generation(data[CURRENT]),
            next=_generation(data[NEXT]),
            previous=_generation(data[PREVIOUS]),
            retired=tuple(
                Retired(
                    **{
                        **row,
                        "fingerprints": tuple(row["fingerprints"].split()),
                        "spis": tuple(int(spi, 16) for spi in row["spis"].split()),
                    }
                )
                for row in data["retired"]
            ),
        )
        highest = max(
            [0, *(found.generation for found in record.generations()), *(row.generation for row in record.retired)]
        )
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError):
        # What YAML says would quote the text.
        raise KeystoreError(
            "the file decrypts, but is no keystore of this collection", place, "Restore it from version control."
        ) from None
    if record.connection != name:
        raise KeystoreError(
            f"the file holds the keys of connection {record.connection}, not of {name}",
            place,
            "A keystore file is named after its connection; rename it back.",
        )
    if record.last < highest or (record.next is None) != (record.phase == STEADY):
        raise KeystoreError(
            "the file contradicts itself: somebody edited it", place, "Restore it from version control."
        )
    return record


def _generation(data: t.Any) -> Generation | None:
    if data is None:
        return None
    found = Generation(**data)
    # A derived generation has the parameters of its derivation, a random one has SAs.
    complete = (found.root and found.salt) if found.store == DERIVED else found.sas
    if (
        not found.endpoints
        or found.store not in STORES
        or not complete
        or not isinstance(found.generation, int)
        or not isinstance(found.moved, dict)
    ):
        raise ValueError
    bytes.fromhex(found.salt)
    return found


def taken_by(records: t.Iterable[Record], roots: Roots, reported: t.Iterable[int] = ()) -> Taken:
    """All SPIs that records know, and what hosts reported."""
    rows = list(records)
    known: list[tuple[bytes, int]] = []
    derived: list[Derivation] = []
    for record in rows:
        for generation in record.generations():
            if generation.store == DERIVED:
                derived.append(derivation_of(generation, record.connection, roots))
            else:
                known.extend((sa.destination, sa.spi) for sa in sas_of(generation, record.connection, roots))
    return Taken(known, itertools.chain(reported, *(record.retired_spis() for record in rows)), derived)
