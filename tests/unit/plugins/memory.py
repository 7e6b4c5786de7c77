# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A SADB that lives in memory, in place of the kernel's. Needs no Ansible, like the core."""

from __future__ import annotations

import typing as t

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import InputError, IpsecError, SadbError
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa import model
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import Counters, Entry, SecurityAssociation
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.plan import Operation
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.base import Sadb, Settle

LOCAL = model.pack_address("192.0.2.1")


class MemorySadb(Sadb):
    """A list of entries."""

    name = "memory"

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.hides_keys = False
        self.refused: dict[str, str] = {}
        self.failure: SadbError | None = None
        self.applied: list[Operation] = []
        self.lacks: list[SadbError] = []

    @property
    def sas(self) -> list[SecurityAssociation]:
        return [entry.sa for entry in self.entries]

    def put(self, *sas: SecurityAssociation, **counters: int) -> None:
        self.entries += [Entry(sa, Counters(**counters)) for sa in sas]

    def refusals(self, sa: SecurityAssociation) -> list[InputError]:
        return [InputError(message, place) for place, message in self.refused.items()]

    def preflight(self, sas: t.Sequence[SecurityAssociation]) -> list[SadbError]:
        return self.lacks

    def dump(self, protocol: str = "", source: bytes = b"", destination: bytes = b"") -> list[Entry]:
        return [
            entry._replace(sa=self._shown(entry.sa))
            for entry in self.entries
            if (not protocol or entry.sa.protocol == protocol)
            and source in (b"", entry.sa.source)
            and destination in (b"", entry.sa.destination)
        ]

    def _shown(self, sa: SecurityAssociation) -> SecurityAssociation:
        if not self.hides_keys:
            return sa
        return sa._replace(
            encryption_key=bytes(len(sa.encryption_key)), authentication_key=bytes(len(sa.authentication_key))
        )

    def _apply(self, operations: t.Sequence[Operation]) -> None:
        if self.failure is not None:
            raise self.failure
        for operation in operations:
            if operation.old is not None:
                gone = model.identity(operation.old.sa)
                self.entries = [entry for entry in self.entries if model.identity(entry.sa) != gone]
            if operation.new is not None:
                self.put(operation.new)
        self.applied += operations

    def _apply_in_two(self, additions: t.Sequence[Operation], settle: Settle, deletions: t.Sequence[Operation]) -> None:
        before, applied = list(self.entries), list(self.applied)
        try:
            self._apply(additions)
            settle()
            self._apply(deletions)
        except IpsecError:
            self.entries, self.applied = before, applied
            raise

    def _flush(self, protocol: str) -> None:
        self.entries = []

    def local_addresses(self) -> frozenset[bytes]:
        return frozenset([LOCAL])

    def keys_hidden(self) -> bool:
        return self.hides_keys
