# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The keystore's records: the content of a connection's file. Pure except for the clock.

A record moves through four phases: steady, prepared (a next generation exists, but no host was
asked to use it), switching (hosts may use it), retiring (all hosts use it, and some may have removed
the current one, so that there is no way back), and back to steady when it is promoted. Only
`changes.promote` and `changes.discard` end a next generation, so the next run can finish an
interrupted one with the same keys.

Keys are random, or derived from a root secret. A connection can change from one kind to the other
with each generation.

The file is YAML, vault-encrypted as a whole::

    format: 1
    connection: NAME
    phase: steady | prepared | switching | retiring
    since: "2026-11-21T21:00:00Z"    # when the phase began
    by: USER@CONTROLLER              # who began it
    last: 7                          # the highest generation number ever given
    departed: {HOST: ADDRESS}        # hosts that had keys of the connection and left it
    current:
      generation: 7
      created: "2026-11-21T21:00:00Z"
      created_by: USER@CONTROLLER
      promoted: "2026-11-21T21:04:00Z"
      promoted_by: USER@CONTROLLER
      store: random | derived
      settings: {...}                # `Connection.settings`
      root: ""                       # if derived: the fingerprint of its root secret,
      salt: ""                       # the salt in hex,
      moved: {}                      # and the attempts that gave its SPIs
      undone: {}                     # if it was made to undo a change: the settings that it took back
      sas: |                         # if random: ipseckeys text
        add esp spi ...
    next: null                       # the same shape
    previous: null                   # the same shape
    retired:                         # every generation that is no longer current or next
    - {generation: 6, created: ..., created_by: ..., retired: ..., retired_by: ...,
       reason: replaced | discarded | unused | retired,
       fingerprints: "16 hex digits, one for each key, or one for all of a derived generation",
       spis: "8 hex digits, one for each"}
"""

from __future__ import annotations

import datetime
import itertools
import json
import textwrap
import types
import typing as t

import yaml

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import IpsecError

FORMAT = 1
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


class KeystoreError(IpsecError):
    """The keystore cannot be used in its present state; it was not changed."""


class Generation(t.NamedTuple):
    """All SAs of one connection made together. ``settings`` are those of `Connection.settings` at that time.

    A random one has ``sas``, ipseckeys text, which is secret. A derived one has the fingerprint of
    its root secret, a salt in hex, and `Derivation.moved`. ``undone`` are the settings that it took
    back, if it was made for that (`undo`)."""

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

    def __repr__(self) -> str:
        return f"<generation {self.generation}>"

    def __str__(self) -> str:
        return repr(self)

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
    """The content of one connection's file."""

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
        """The generation that ``which`` names; "newest" is the next one, or without one the current one."""
        if which == NEWEST:
            return self.next or self.current
        return {CURRENT: self.current, NEXT: self.next, PREVIOUS: self.previous}[which]

    def retired_fingerprints(self) -> set[str]:
        return set(itertools.chain.from_iterable(row.fingerprints for row in self.retired))

    def retired_spis(self) -> set[int]:
        return set(itertools.chain.from_iterable(row.spis for row in self.retired))

    def roots(self) -> set[str]:
        """The fingerprints of the root secrets that the record needs."""
        return {found.root for found in self.generations() if found.root}


def now() -> str:
    """The current time in the format of the records."""
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


_Loader: t.Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def dump(record: KeyRecord) -> str:
    """The file's text, before encryption. Values are written as JSON, which is YAML: values from
    Ansible are subclasses that the YAML library cannot write.
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
    # A block keeps the SAs readable in the decrypted file.
    sas = "  sas: |\n" + textwrap.indent(generation.sas, "    ") if generation.sas else '  sas: ""\n'
    return f"{name}:\n{textwrap.indent(_pairs(fields), '  ')}{sas}"


def _pairs(fields: t.Mapping[str, t.Any]) -> str:
    return "".join(f"{name}: {json.dumps(value)}\n" for name, value in fields.items())


def load(text: str, name: str, place: str) -> KeyRecord:
    """The record of connection ``name`` from a file's decrypted text. Raises KeystoreError, without
    the content, for anything else.
    """
    try:
        data = yaml.load(text, Loader=_Loader)
        if data["format"] != FORMAT:
            raise KeystoreError(
                f"the keystore has format {data['format']}; this release knows format {FORMAT}",
                place,
                "Use the release of the collection that wrote it, or a later one.",
            )
        record = KeyRecord(
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
        # The YAML library's message would quote the text.
        raise KeystoreError(
            "the file decrypts, but is not a keystore of this collection", place, "Restore it from version control."
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
