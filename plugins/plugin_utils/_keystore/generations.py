# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The SAs, keys and SPIs of generations, and the checks that no key comes back. Pure."""

from __future__ import annotations

import itertools
import typing as t

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import InputError
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa import keys, model
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.checks import ANYTHING
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import SecurityAssociation
from ansible_collections.ipsec.manual.plugins.module_utils._core.text import language

from .._connections.model import connection_of
from .derivation import Derivation
from .records import DERIVED, ConnectionRecord, Generation, KeyRecord, KeystoreError

# Root secrets by their fingerprints.
Roots = t.Mapping[str, bytes]


class SpiAllocator:
    """Keeps track of the SPIs that must not be drawn.

    ``known`` are (destination, SPI) of stored SAs. ``reported`` are SPIs that hosts use or that were
    retired; they are excluded for every destination. ``derived`` are generations whose SPIs are not
    stored."""

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

    def claim(self, destinations: t.Sequence[bytes], spi: int) -> bool:
        """Claim the SPI towards all destinations; False if it is in use towards one of them."""
        if spi in self.reported or any(spi in self._all_towards(destination) for destination in destinations):
            return False
        for destination in destinations:
            self._known[destination].add(spi)
        return True

    def towards(self, destination: bytes) -> t.AbstractSet[int]:
        """The SPIs, stored or derived, in use towards an address; nothing is cached."""
        return set(self._known.get(destination, ())).union(*(row.spis_towards(destination) for row in self._derived))

    def _all_towards(self, destination: bytes) -> set[int]:
        found = self._known.setdefault(destination, set())
        if destination not in self._complete:
            found.update(*(row.spis_towards(destination) for row in self._derived))
            self._complete.add(destination)
        return found


def parse_sas(text: str, name: str) -> tuple[SecurityAssociation, ...]:
    """The SAs of a generation. Counter modes were allowed or refused when they were made."""
    return tuple(language.parse(text, name=name, **ANYTHING).sas)


def derivation_of(generation: Generation, connection: str, roots: Roots) -> Derivation:
    """The derivation that makes the SAs of a generation."""
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
    """The SAs of a generation, or with ``host`` those of one endpoint. Raises InputError if the host
    is not an endpoint.

    Parses as few keys of other endpoints as possible.
    """
    if host and host not in generation.endpoints:
        raise InputError(
            f"the host is not an endpoint of generation {generation.generation}",
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
    """The fingerprints of all keys of a generation; for a derived one, that of the secret they are derived from."""
    if generation.store == DERIVED:
        return (derivation_of(generation, connection, roots).fingerprint(),)
    return prints_of(sas_of(generation, connection, roots))


def prints_of(sas: t.Iterable[SecurityAssociation]) -> tuple[str, ...]:
    """The fingerprints of all keys of the SAs, including short keys. Each occurs once, although a group shares keys."""
    return tuple(
        dict.fromkeys(value for sa in sas for value in model.fingerprints(sa, keys.full_fingerprint).values() if value)
    )


def verify(
    records: t.Mapping[str, ConnectionRecord],
    place: t.Callable[[str], str],
    roots: Roots,
    remembered: t.Mapping[str, str] | None = None,
) -> None:
    """Refuse records whose current or next keys were retired in any connection, or belong to another one too.

    The cause is an old copy, a copied file, or an edited one. ``remembered`` maps fingerprints of
    single keys to their names."""
    retired = {name: whole.retired_fingerprints() for name, whole in records.items()}
    gone = {fingerprint: name for name, found in retired.items() for fingerprint in found}
    seen: dict[str, str] = {}
    for name, whole in records.items():
        parted: set[str] = set()
        for record in whole.records:
            own: set[str] = set()
            for generation in filter(None, (record.current, record.next)):
                found = fingerprints_of(generation, name, roots)
                # Parts of a derived generation have one secret, and retire it one after the other.
                shared = generation.store == DERIVED
                for fingerprint in found:
                    if fingerprint in gone and not (shared and _is_in_use(fingerprint, record, retired)):
                        what = f"a key that was retired in connection {gone[fingerprint]}"
                        _refuse(generation, name, what, place(name))
                    if remembered and fingerprint in remembered:
                        what = f"the key that is remembered as {remembered[fingerprint]}"
                        _refuse(generation, name, what, place(name))
                    if fingerprint in seen and fingerprint not in parted:
                        _refuse(generation, name, f"a key that connection {seen[fingerprint]} has too", place(name))
                    seen[fingerprint] = name
                own.update(found if shared else ())
            parted |= own


def _is_in_use(fingerprint: str, record: KeyRecord, retired: t.Mapping[str, t.AbstractSet[str]]) -> bool:
    """Whether a derived secret was retired by other parts of the record's connection only."""
    others = (found for name, found in retired.items() if name != record.connection)
    return fingerprint not in record.retired_fingerprints() and not any(fingerprint in found for found in others)


def verify_own(
    record: KeyRecord, generation: Generation, sas: t.Sequence[SecurityAssociation], place: str, roots: Roots
) -> None:
    """Like `verify`, for some SAs of one record, in time proportional to their number. A previous
    generation is always retired, so it is not checked.
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
        "Restore this file from version control as the last run left it, or move it away and rotate with {new_keys}.",
    )


def allocator_of(
    connections: t.Iterable[ConnectionRecord], roots: Roots, reported: t.Iterable[int] = ()
) -> SpiAllocator:
    """An allocator that knows the SPIs of all records and those that hosts reported."""
    rows = list(connections)
    known: list[tuple[bytes, int]] = []
    derived: list[Derivation] = []
    for record in itertools.chain.from_iterable(whole.records for whole in rows):
        for generation in record.generations():
            if generation.store == DERIVED:
                derived.append(derivation_of(generation, record.connection, roots))
            else:
                known.extend((sa.destination, sa.spi) for sa in sas_of(generation, record.connection, roots))
    return SpiAllocator(known, itertools.chain(reported, *(whole.retired_spis() for whole in rows)), derived)
