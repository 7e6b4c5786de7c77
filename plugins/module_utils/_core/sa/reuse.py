# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keys of new SAs that another SA of the SADB already has. `conflicts.set_problems` finds those within a text."""

from __future__ import annotations

import typing as t

from ..errors import InputError
from .conflicts import set_problems
from .keys import secret
from .model import Entry, Identity, SecurityAssociation, identity, is_unspecified, label, mark_text
from .plan import Operation, differences


def reused(
    operations: t.Sequence[Operation],
    held: t.Iterable[Entry],
    places: t.Mapping[Identity, str] | None = None,
    allow_shared_key: bool = False,
    where: str = "which the SADB holds",
) -> list[InputError]:
    """The new keys that SAs of the operations share with SAs that the SADB ``held`` before and keeps.

    ``places`` names new SAs in messages, and ``where`` says what is known of the others; ``allow_shared_key`` is
    that of `set_problems`. Keys that the kernel hides are never found."""
    added = [(operation.new, _new_keys(operation)) for operation in operations if operation.new is not None]
    new = {key for dummy, fresh in added for key in fresh}
    rows = [entry.sa for entry in held if not entry.larval and not new.isdisjoint(_keys(entry.sa))] if new else []
    if not rows:
        return []
    gone = {identity(operation.old.sa) for operation in operations if operation.old is not None}
    owners: dict[bytes, SecurityAssociation] = {}
    for sa in rows:
        if identity(sa) not in gone:
            owners.update((key, sa) for key in _keys(sa))
    found: list[InputError] = []
    for sa, fresh in added:
        others = {identity(other): other for key in fresh for other in [owners.get(key)] if other is not None}
        for other in others.values():
            if not _is_same_group(sa, other):
                place = (places or {}).get(identity(sa)) or label(sa)
                names = [f"{label(other)}{_mark(other, sa)}, {where}", place]
                found += set_problems([other, sa], names, allow_shared_key)
    return found


def _mark(other: SecurityAssociation, sa: SecurityAssociation) -> str:
    """What tells two SAs apart that differ in nothing else."""
    if other.mark == sa.mark:
        return ""
    return f" with mark {mark_text(other.mark)}" if other.mark is not None else " without a mark"


def _new_keys(operation: Operation) -> set[bytes]:
    """The keys of the new SA that the one in its place does not have."""
    new = set(_keys(operation.new)) if operation.new is not None else set()
    return new.difference(_keys(operation.old.sa)) if operation.old is not None else new


def _keys(sa: SecurityAssociation) -> t.Iterator[bytes]:
    if sa.encryption_key:
        yield secret(sa.encryption, sa.encryption_key)
    if sa.authentication_key:
        yield secret(sa.authentication, sa.authentication_key)


def _is_same_group(sa: SecurityAssociation, other: SecurityAssociation) -> bool:
    """Whether both are the SA that all systems on a link share, as in `checks`, in the form that the kernel shows."""
    return is_unspecified(sa.source) and not differences(sa._replace(destination=other.destination), other)
