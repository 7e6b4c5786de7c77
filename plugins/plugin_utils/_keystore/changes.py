# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a record changes: from one phase to the next, and from one generation to another. Pure except for
random numbers and the clock.
"""

from __future__ import annotations

import secrets
import typing as t

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import InputError
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa import keys
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.algorithms import BY_NAME, Algorithm
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import SPI_MAX, SPI_MIN, SecurityAssociation
from ansible_collections.ipsec.manual.plugins.module_utils._core.text import language

from .._connections.flows import draw_keys, make_sa
from .._connections.model import GROUP, Connection, Unit
from .derivation import SALT_BYTES, Derivation
from .generations import Roots, SpiAllocator, fingerprints_of, prints_of, sas_of
from .parts import SHAPE
from .records import (
    DERIVED,
    DISCARDED,
    IN_USE,
    PREPARED,
    RANDOM,
    REPLACED,
    RETIRED,
    RETIRING,
    STEADY,
    SWITCHING,
    UNUSED,
    ConnectionRecord,
    Generation,
    KeyRecord,
    Retired,
    now,
)

MADE = "made"
RESUMED = "resumed"
KEPT = "kept"

# The settings that determine the owner of a generation's SAs, or how they are shared. With the addresses,
# they decide which SAs a new generation replaces.
_REACH = ("reqid", "mark", "if_id", "multicast", "unicast")


def decide(record: KeyRecord, connection: Connection, new_keys: bool, store: str = RANDOM, root: str = "") -> str:
    """The outcome of a preparation: "resumed" if an interrupted run left a next generation, "kept" if
    the current one stays, "made" if a new one is needed. ``connection`` has the units of the record.

    A next generation is resumed only for the settings it was made for. One in a counter mode is not
    resumed once hosts may have loaded it, because a key that is loaded twice repeats nonces. One of
    the other kind of ``store`` is resumed only if hosts may have it. ``root`` is the fingerprint of
    the required root secret, empty for any."""
    loaded = connection.counter_mode and record.phase in IN_USE
    if record.next is not None:
        return (
            RESUMED
            if not is_outdated(record.next, connection)
            and not loaded
            and (record.phase in IN_USE or record.next.store == store)
            else MADE
        )
    if (
        record.current is not None
        and not is_outdated(record.current, connection)
        and record.current.store == store
        and root in ("", record.current.root)
    ):
        return MADE if new_keys else KEPT
    return MADE


def is_outdated(generation: Generation, connection: Connection) -> bool:
    """Whether a unit of the connection has other settings than those the generation was made for."""
    return any(map(outdated(generation, connection.settings()), connection.units()))


def outdated(generation: Generation | None, settings: t.Mapping[str, t.Any]) -> t.Callable[[Unit], bool]:
    """Which units of a generation have other settings by now."""
    if generation is None:
        return lambda unit: True
    names = {*generation.settings, *settings} - set(SHAPE)
    return _differing(generation.settings, settings, names)


def _differing(
    before: t.Mapping[str, t.Any], after: t.Mapping[str, t.Any], names: t.Collection[str]
) -> t.Callable[[Unit], bool]:
    """Which units differ in their addresses, or all in one of these settings."""
    if any(before.get(name) != after.get(name) for name in names):
        return lambda unit: True
    one, other = before["endpoints"], after["endpoints"]
    moved = {host for host in {**one, **other} if one.get(host) != other.get(host)}
    return lambda unit: bool(moved) if unit == GROUP else not moved.isdisjoint(unit)


def changed(before: t.Mapping[str, t.Any], after: t.Mapping[str, t.Any]) -> list[str]:
    """What of a unit's settings changes for those who use its SAs: names of settings, "endpoints" for its
    addresses, "protocols" if one is added or left out, "other_protocols" if one replaces another or what is left
    cannot stand alone, and "other_mark" if no packet can have both the previous mark and the new one. Algorithms,
    limits and windows are an SA's own affair.
    """
    names = ["mode", *_REACH, *(["endpoints"] if before["endpoints"] != after["endpoints"] else [])]
    found = [name for name in names if before.get(name) != after.get(name)]
    if "mark" in found and not _meet(before["mark"], after["mark"]):
        found[found.index("mark")] = "other_mark"
    one, other = ([row["protocol"] for row in side["associations"]] for side in (before, after))
    if one != other:
        # In a tunnel, AH beside ESP is in transport mode, and AH by itself is not.
        sides = ({(row["protocol"], row["mode"]) for row in side["associations"]} for side in (before, after))
        shorter, longer = sorted(sides, key=len)
        rows = (row for side in (before, after) for row in side["associations"])
        left = [row for row in rows if (row["protocol"], row["mode"]) in shorter]
        found.append("protocols" if shorter < longer and all(map(_stands_alone, left)) else "other_protocols")
    return sorted(found)


def _stands_alone(row: t.Mapping[str, t.Any]) -> bool:
    """Whether packets can be accepted through this association without another one beside it: not through ESP that
    leaves integrity to AH, since anybody could forge them (RFC 8221 section 4).
    """
    cipher = BY_NAME.get(row["encryption"])
    return bool(row["authentication"]) or (cipher is not None and cipher.combined)


def _meet(one: str, other: str) -> bool:
    """Whether a packet can have both marks; an empty one is any."""
    if not (one and other):
        return True
    (value, mask), (value_2, mask_2) = ([int(part, 16) for part in mark.split("/")] for mark in (one, other))
    return not (value ^ value_2) & mask & mask_2


def check_change(record: KeyRecord, connection: Connection, place: str) -> None:
    """Refuse to discard a next generation that hosts may use if its successor would not replace it
    there: nothing would ever remove its SAs. ``connection`` has the units of the record.
    """
    if (
        record.phase in IN_USE
        and record.next is not None
        and any(map(_differing(record.next.settings, connection.settings(), _REACH), connection.units()))
    ):
        raise InputError(
            f"hosts may already use generation {record.next.generation} of connection {record.connection}, made for"
            " other endpoints, reqid, mark or if_id",
            place,
            "Restore those and run again to finish it, then change them; "
            "or abandon it with ipsec_keystore, state discarded and force, if you know that no host has it.",
        )


def left_behind(record: KeyRecord) -> frozenset[Unit]:
    """The units whose SAs of the current generation are not replaced by those of the next one,
    because the addresses or the owner differ.
    """
    if record.current is None or record.next is None:
        return frozenset()
    return frozenset(filter(_differing(record.current.settings, record.next.settings, _REACH), record.units()))


def departed(whole: ConnectionRecord) -> dict[str, str]:
    """Hosts, with their addresses, that had keys of the connection and belong to none of its units any
    more. Their SAs were never removed.
    """
    known = {**whole.departed}
    for record in whole.records:
        for generation in record.generations() if record.left else ():
            known.update(generation.endpoints)
    present = {host for record in whole.present() for found in record.generations() for host in found.endpoints}
    return {host: address for host, address in known.items() if host not in present}


def left_units(whole: ConnectionRecord) -> frozenset[Unit]:
    """The units that left the connection, and whose keys hosts may still have."""
    return frozenset().union(*(record.units() for record in whole.records if record.left))


def give(record: KeyRecord, made: Generation) -> KeyRecord:
    """Add a generation for its units to the record as the next one."""
    return record._replace(
        phase=PREPARED, since=made.created, by=made.created_by, last=made.generation, next=made, left=""
    )


def draw(
    connection: Connection,
    number: int,
    spis: SpiAllocator,
    retired: t.AbstractSet[str],
    by: str = "",
    root: tuple[str, bytes] | None = None,
) -> Generation:
    """A new generation for all units of the connection.

    ``retired`` are fingerprints of keys that must not be drawn. Keys are derived from ``root`` (its
    fingerprint and the secret), or random without one."""
    made = Generation(number, now(), by, connection.settings(), selectors=connection.selectors())
    if root is None:
        comment = f"connection {connection.name}, generation {number}"
        return made._replace(sas=language.render(draw_sas(connection, spis, retired), comment=comment))
    while True:
        salt = secrets.token_bytes(SALT_BYTES)
        derivation = Derivation(root[1], salt, connection, number)
        if derivation.fingerprint() not in retired:
            break
    derivation.place(spis.towards, spis.reported)
    spis.add(derivation)
    return made._replace(store=DERIVED, root=root[0], salt=salt.hex(), moved=derivation.moved)


def draw_sas(
    connection: Connection, spis: SpiAllocator, retired: t.AbstractSet[str]
) -> t.Iterator[SecurityAssociation]:
    """Draw new SAs for every flow and association: SPIs that are unique for each destination, and new keys."""

    def draw_key(row: Algorithm, bits: int) -> bytes:
        while True:
            key = keys.generate(row, bits)
            if keys.full_fingerprint(row, key) not in retired:
                return key

    for source, destinations in connection.flows():
        for row in connection.associations:
            spi = draw_spi(destinations, spis)
            encryption_key, authentication_key = draw_keys(row, draw_key)
            for destination in destinations:
                yield make_sa(connection, row, source, destination, spi, encryption_key, authentication_key)


def draw_spi(destinations: t.Sequence[bytes], spis: SpiAllocator) -> int:
    """Draw an SPI of at least 256 (RFC 4303 section 2.1) that is not in use towards the destinations."""
    while True:
        spi = SPI_MIN + secrets.randbelow(SPI_MAX - SPI_MIN + 1)
        if spis.claim(destinations, spi):
            return spi


def start(record: KeyRecord, by: str = "", when: str = "") -> KeyRecord:
    """Allow hosts to use the next generation."""
    return record._replace(phase=SWITCHING, since=when or now(), by=by) if record.phase == PREPARED else record


def retire(record: KeyRecord, by: str = "", when: str = "") -> KeyRecord:
    """Allow hosts to remove the current generation, now that all use the next one."""
    return record._replace(phase=RETIRING, since=when or now(), by=by) if record.phase == SWITCHING else record


def promote(record: KeyRecord, roots: Roots, by: str = "", when: str = "") -> KeyRecord:
    """Make the next generation current, and the current one previous and retired. Without a next one, no change."""
    if record.next is None:
        return record
    when = when or now()
    retired = record.retired
    if record.current is not None:
        retired = (*retired, _retire(record.current, record.connection, roots, by, REPLACED, when))
    current = record.next._replace(promoted=when, promoted_by=by)
    return record._replace(
        phase=STEADY, since=when, by=by, current=current, next=None, previous=record.current, retired=retired
    )


def discard(record: KeyRecord, roots: Roots, by: str = "", when: str = "") -> KeyRecord:
    """Remove the next generation and retire its keys. Without one, no change."""
    if record.next is None:
        return record
    when = when or now()
    reason = DISCARDED if record.phase in IN_USE else UNUSED
    retired = (*record.retired, _retire(record.next, record.connection, roots, by, reason, when))
    return record._replace(phase=STEADY, since=when, by=by, next=None, retired=retired)


def erase(record: KeyRecord) -> KeyRecord:
    """Remove the previous generation, whose keys were retired when it was replaced."""
    return record._replace(previous=None)


def end(record: KeyRecord, roots: Roots, by: str = "", when: str = "") -> KeyRecord:
    """Retire all keys of units that are gone; keep their fingerprints."""
    left = [found for found in (record.current, record.next) if found is not None]
    if not left:
        return erase(record)
    when = when or now()
    retired = (*record.retired, *(_retire(found, record.connection, roots, by, RETIRED, when) for found in left))
    return record._replace(phase=STEADY, since=when, by=by, current=None, next=None, previous=None, retired=retired)


def _retire(generation: Generation, connection: str, roots: Roots, by: str, reason: str, when: str) -> Retired:
    # The SPIs of a derived generation are not stored: the salt of a new one gives other SPIs.
    sas = sas_of(generation, connection, roots) if generation.store == RANDOM else []
    prints = prints_of(sas) if sas else fingerprints_of(generation, connection, roots)
    spis = tuple(dict.fromkeys(sa.spi for sa in sas))
    return Retired(generation.generation, generation.created, generation.created_by, when, by, reason, prints, spis)
