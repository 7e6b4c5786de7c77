# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the keystore knows about the connections of an audit, without any key."""

from __future__ import annotations

import typing as t

from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.digest import digest_by_owner
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import is_counter_mode

from .._keystore.directory import Keystore
from .._keystore.facts import age_of
from .._keystore.generations import sas_of
from .._keystore.records import PHASES, STEADY, ConnectionRecord
from .fleet import Known


def facts(store: Keystore, names: t.Iterable[str], digest_key: bytes, with_outlines: bool = False) -> dict[str, Known]:
    """What is known of these connections; nothing of those without a file. Raises KeystoreError if the
    keystore cannot be read. ``with_outlines`` is for hosts that hide keys.
    """
    found = {}
    for name in names:
        whole = store.read(name)
        if whole is not None:
            found[name] = _of_connection(store, whole, digest_key, with_outlines)
    return found


def _of_connection(store: Keystore, whole: ConnectionRecord, digest_key: bytes, with_outlines: bool) -> Known:
    """Each pair has its own generations, and no two generations of a connection have the same number."""
    roots = store.read_roots().secrets() if whole.roots() else {}
    present = whole.present()
    used = [record.current.generation for record in present if record.current is not None]
    phases = [record.phase for record in present]
    digests: dict[str, dict[str, int]] = {}
    files: dict[str, dict[int, str]] = {}
    outlines: dict[str, dict[str, int]] = {}
    created: dict[int, int] = {}
    promoted: dict[int, int] = {}
    currents: dict[str, int] = {}
    for record in present:
        for row in record.generations():
            sas = sas_of(row, record.connection, roots)
            own = digest_by_owner(sas, digest_key)
            # Files leave out counter modes.
            kept = [sa for sa in sas if not is_counter_mode(sa)]
            stored = own if len(kept) == len(sas) else digest_by_owner(kept, digest_key)
            for name, digest in own.items():
                digests.setdefault(name, {})[digest] = row.generation
                files.setdefault(name, {})[row.generation] = stored.get(name, "")
            for name, outline in (digest_by_owner(sas, digest_key, with_keys=False) if with_outlines else {}).items():
                outlines.setdefault(name, {})[outline] = row.generation
            if row is record.current and row.generation < max(used):
                currents.update(dict.fromkeys(own, row.generation))
            created[row.generation] = age_of(row.created)
            if row.promoted:
                promoted[row.generation] = min(age_of(row.promoted), promoted.get(row.generation, age_of(row.promoted)))
    return Known(
        max(phases, key=PHASES.index, default=STEADY),
        max(used, default=0),
        digests,
        created,
        promoted,
        frozenset(whole.retired_fingerprints()),
        currents,
        files,
        outlines,
    )
