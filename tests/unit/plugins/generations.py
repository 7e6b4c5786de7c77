# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Generations for tests, made as the keystore makes them."""

from __future__ import annotations

import typing as t

from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.model import Connection, Unit
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.changes import draw, give
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.generations import SpiAllocator
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.parts import part_of
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.records import KeyRecord


def make(
    record: KeyRecord,
    connection: Connection,
    spis: SpiAllocator,
    retired: t.AbstractSet[str],
    by: str = "",
    root: tuple[str, bytes] | None = None,
) -> KeyRecord:
    """Add a next generation to the record; an earlier next one must have been discarded."""
    gone = retired | record.retired_fingerprints()
    return give(record, draw(connection, record.last + 1, spis, gone, by, root))


def limited(record: KeyRecord, units: t.Collection[Unit]) -> KeyRecord:
    """The record of some of its units."""
    return record.mapped(lambda generation: part_of(generation, record.connection, units))
