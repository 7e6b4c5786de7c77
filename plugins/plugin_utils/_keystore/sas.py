# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Read SAs, with their keys, from the keystore: of some units or all, of one endpoint or all."""

from __future__ import annotations

import secrets
import typing as t

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import InputError, shown, type_name
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa import keys
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.algorithms import BY_NAME
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import SecurityAssociation, pack_address

from .._connections.model import GROUP, NAME, Unit
from .._connections.units import matching
from .directory import Keystore
from .generations import sas_of, verify_own
from .records import DERIVED, IN_USE, ConnectionRecord, Generation, KeyRecord

_PREPARE = "Prepare one with ipsec.manual.ipsec_keystore."


def named(store: Keystore, names: t.Iterable[t.Any], which: str, host: str = "") -> list[SecurityAssociation]:
    """The SAs of the generation ``which`` of these connections or units (`_connections.units`), or with
    ``host`` those of one endpoint. Raises IpsecError for anything that is not such a name, before any file is
    read, and if there is no such generation.
    """
    wanted: dict[str, list[str]] = {}
    for name in [*map(_name, names)]:
        wanted.setdefault(name.partition("/")[0], []).append(name)
    found: list[SecurityAssociation] = []
    for connection, words in wanted.items():
        whole = store.read(connection)
        if whole is None:
            raise InputError("there is no keystore file", store.path(connection), _PREPARE)
        found += _of_words(store, whole, words, which, host)
    return found


def _of_words(
    store: Keystore, whole: ConnectionRecord, words: t.Sequence[str], which: str, host: str
) -> list[SecurityAssociation]:
    found: list[SecurityAssociation] = []
    known: set[str] = set()
    unknown = set(words)
    for record in whole.present():
        generation, shape = record.pick(which), record.shape()
        if generation is None or shape is None:
            continue
        known.update(generation.endpoints)
        matched = {word: matching(word, shape) for word in words if word != whole.connection}
        unknown -= {whole.connection, *(word for word, units in matched.items() if units)}
        if host in ("", *generation.endpoints):
            units = None if whole.connection in words else frozenset[Unit]().union(*matched.values())
            found += _sas(store, record, generation, host, units)
    if unknown:
        missing = "" if whole.connection in unknown else f" for {', '.join(sorted(unknown))}"
        raise InputError(f"there is no {which} generation{missing}", store.path(whole.connection), _PREPARE)
    if host and host not in known:
        raise InputError(
            f"the host is not an endpoint of the {which} generation of connection {whole.connection}",
            host,
            f"Endpoints are: {', '.join(sorted(known))}.",
        )
    return found


def _name(given: t.Any) -> str:
    """The name of a connection, which is also that of a file, or of a part of one."""
    if isinstance(given, (str, int)) and not isinstance(given, bool):
        connection, slash, unit = str(given).partition("/")
        if NAME.fullmatch(connection) and bool(slash) == bool(unit):
            return str(given)
    found = shown(given) if isinstance(given, str) else type_name(given)
    fix = (
        "Write the name that it has in ipsec_connections; names of a list: map(attribute='name'). For a pair, write"
        " CONNECTION/HOST,HOST."
    )
    raise InputError(f"expected the name of a connection, found {found}", "", fix)


def everything(store: Keystore, which: str, host: str = "") -> list[SecurityAssociation]:
    """Like `named`, for all connections that have that generation and, with ``host``, that endpoint."""
    found: list[SecurityAssociation] = []
    for whole in store.read_all().values():
        for record in whole.present():
            generation = record.pick(which)
            if generation is not None and host in ("", *generation.endpoints):
                found += _sas(store, record, generation, host, None)
    if not found:
        whose = f"of the host {host}" if host else "in it"
        raise InputError(
            f"there is no {which} generation {whose}",
            store.directory,
            "Name an endpoint as the connections do, and prepare a generation.",
        )
    return found


def valid(store: Keystore, host: str) -> list[SecurityAssociation]:
    """The SAs of an endpoint in all generations that hosts may use, also of units that left, with other keys than
    theirs: whatever else a file of that host lists was discarded or replaced, or is staged anew before it is used.
    """
    return [
        _with_other_keys(sa)
        for whole in store.read_all().values()
        for record in whole.records
        for generation in (record.current, record.next if record.phase in IN_USE else None)
        if generation is not None and host in generation.endpoints
        for sa in _sas(store, record, generation, host, None)
    ]


def leaving(store: Keystore, units: t.Mapping[str, frozenset[Unit]], host: str) -> list[SecurityAssociation]:
    """The SAs of an endpoint in units that left, by connection, with other keys than theirs: they are only
    removed, so nobody needs to learn a key for it.
    """
    found: list[SecurityAssociation] = []
    for name, wanted in units.items():
        whole = store.read(name)
        for record in whole.records if whole is not None else ():
            own = record.units() & wanted
            for generation in record.held():
                if own and host in generation.endpoints:
                    found += _sas(store, record, generation, host, own)
    return [_with_other_keys(sa) for sa in found]


def _with_other_keys(sa: SecurityAssociation) -> SecurityAssociation:
    def drawn(algorithm: str, key: bytes) -> bytes:
        return keys.set_parity(BY_NAME[algorithm], secrets.token_bytes(len(key))) if key else b""

    return sa._replace(
        encryption_key=drawn(sa.encryption, sa.encryption_key),
        authentication_key=drawn(sa.authentication, sa.authentication_key),
    )


def _sas(
    store: Keystore, record: KeyRecord, generation: Generation, host: str, units: frozenset[Unit] | None
) -> list[SecurityAssociation]:
    """The SAs of a host, or of all, in these units, or in all."""
    roots = store.read_roots().secrets() if generation.store == DERIVED else {}
    sas = sas_of(generation, record.connection, roots, host)
    verify_own(record, generation, sas, store.path(record.connection), roots)
    if units is None or GROUP in units:
        return sas
    addresses = {name: pack_address(address) for name, address in generation.endpoints.items()}
    pairs = {frozenset(addresses[end] for end in unit) for unit in units}
    return [sa for sa in sas if frozenset((sa.source, sa.destination)) in pairs]
