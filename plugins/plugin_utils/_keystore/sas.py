# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Read SAs, with their keys, from the keystore: of some connections or all, of one endpoint or all."""

from __future__ import annotations

import typing as t

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import InputError, shown, type_name
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import SecurityAssociation

from .._connections.model import NAME
from .directory import Keystore
from .generations import sas_of, verify_own
from .records import DERIVED, KeyRecord


def named(store: Keystore, names: t.Iterable[t.Any], which: str, host: str = "") -> list[SecurityAssociation]:
    """The SAs of the generation ``which`` of these connections, or with ``host`` those of one
    endpoint. Raises IpsecError for what is not a connection's name, before any file is read, and if a
    connection has no such generation.
    """
    found: list[SecurityAssociation] = []
    for name in [*map(_name, names)]:
        record = store.read(name)
        if record is None or record.pick(which) is None:
            missing = "there is no keystore file" if record is None else f"there is no {which} generation"
            raise InputError(missing, store.path(name), "Prepare one with ipsec.manual.ipsec_keystore.")
        found += _sas(store, record, which, host)
    return found


def _name(given: t.Any) -> str:
    """A connection's name, which is also that of a file."""
    if isinstance(given, (str, int)) and not isinstance(given, bool) and NAME.fullmatch(str(given)):
        return str(given)
    found = shown(given) if isinstance(given, str) else type_name(given)
    fix = "Write the name that it has in ipsec_connections; names of a list: map(attribute='name')."
    raise InputError(f"expected the name of a connection, found {found}", "", fix)


def everything(store: Keystore, which: str, host: str = "") -> list[SecurityAssociation]:
    """Like `named`, for all connections that have that generation and, with ``host``, that endpoint."""
    found: list[SecurityAssociation] = []
    for record in store.read_all().values():
        generation = record.pick(which)
        if generation is not None and host in ("", *generation.endpoints):
            found += _sas(store, record, which, host)
    if not found:
        whose = f"of the host {host}" if host else "in it"
        raise InputError(
            f"there is no {which} generation {whose}",
            store.directory,
            "Name an endpoint as the connections do, and prepare a generation.",
        )
    return found


def _sas(store: Keystore, record: KeyRecord, which: str, host: str) -> list[SecurityAssociation]:
    generation = record.pick(which)
    if generation is None:
        return []
    roots = store.read_roots().secrets() if generation.store == DERIVED else {}
    sas = sas_of(generation, record.connection, roots, host)
    verify_own(record, generation, sas, store.path(record.connection), roots)
    return sas
