# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the keystore knows about the connections of an audit, without any key."""

from __future__ import annotations

import typing as t

from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.digest import digest_by_owner

from .._keystore.directory import Keystore
from .._keystore.facts import age_of
from .._keystore.generations import sas_of
from .._keystore.records import KeyRecord
from .fleet import Known


def facts(store: Keystore, names: t.Iterable[str], digest_key: bytes) -> dict[str, Known]:
    """What is known of these connections; nothing of those without a file. Raises KeystoreError if the
    keystore cannot be read.
    """
    found = {}
    for name in names:
        record = store.read(name)
        if record is not None:
            found[name] = _of_record(store, record, digest_key)
    return found


def _of_record(store: Keystore, record: KeyRecord, digest_key: bytes) -> Known:
    roots = store.read_roots().secrets() if record.roots() else {}
    generations = list(record.generations())
    return Known(
        record.phase,
        record.current.generation if record.current is not None else 0,
        {row.generation: digest_by_owner(sas_of(row, record.connection, roots), digest_key) for row in generations},
        {row.generation: age_of(row.created) for row in generations},
        {row.generation: age_of(row.promoted) for row in generations if row.promoted},
        frozenset(record.retired_fingerprints()),
    )
