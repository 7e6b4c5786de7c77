# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What SAs of one set must not share: an identity, or a key."""

from __future__ import annotations

import typing as t

from ..errors import InputError
from . import keys
from .algorithms import BY_NAME
from .model import SecurityAssociation, algorithm_of, finds, format_address, is_unspecified, label, without_mark


class Conflict(t.NamedTuple):
    """The SAs at ``second`` and ``first`` of a sequence share something that must be unique:
    ``field`` is "spi" (one identity, or two that differ in marks of which Linux takes one for the
    other), "encryption_key" or "authentication_key". ``tolerable``: one key in the same place of both,
    with the same algorithm and no counter mode, unless their salts differ, which the option
    allow_shared_key accepts.
    """

    second: int
    first: int
    field: str
    tolerable: bool = False


def conflicts(sas: t.Sequence[SecurityAssociation]) -> t.Iterator[Conflict]:
    """SAs that share an identity, or a key (DES parity and salts ignored) unless they belong to one group."""
    if not _any_conflict(sas):
        return
    spis: dict[t.Any, list[int]] = {}
    owners: dict[bytes, int] = {}
    for index, sa in enumerate(sas):
        rivals = spis.setdefault(without_mark(sa), [])
        first = next((rival for rival in rivals if _are_mistaken(sas[rival], sa)), index)
        rivals.append(index)
        if first != index:
            yield Conflict(index, first, "spi")
        for field, name, key in (
            ("encryption_key", sa.encryption, sa.encryption_key),
            ("authentication_key", sa.authentication, sa.authentication_key),
        ):
            if key:
                first = owners.setdefault(keys.secret(name, key), index)
                if first != index and not _is_one_group(sas[first], sa):
                    yield Conflict(index, first, field, _is_tolerable(sas[first], sa, field))


def _any_conflict(sas: t.Sequence[SecurityAssociation]) -> bool:
    """Whether `conflicts` may find any, at the speed of sets. SAs that differ in their mark count, and one
    SA that has the same key twice, although these are not always conflicts.
    """
    if len(set(map(without_mark, sas))) < len(sas):
        return True
    used = [
        keys.secret(sa.encryption, sa.encryption_key) if sa.encryption in _NOT_AS_GIVEN else sa.encryption_key
        for sa in sas
        if sa.encryption_key
    ]
    used += [sa.authentication_key for sa in sas if sa.authentication_key]
    return len(set(used)) < len(used)


def _are_mistaken(one: SecurityAssociation, other: SecurityAssociation) -> bool:
    """Whether Linux takes one SA for the other, which has the same protocol, destination and SPI."""
    return one.mark == other.mark or finds(one.mark, other.mark) or finds(other.mark, one.mark)


def _is_one_group(one: SecurityAssociation, other: SecurityAssociation) -> bool:
    """Whether both are the SA that all systems on a link share, each towards a different address of
    theirs (RFC 4552 section 7): one SPI, one key, any source.
    """
    return is_unspecified(one.source) and one._replace(destination=other.destination) == other


def _is_tolerable(one: SecurityAssociation, other: SecurityAssociation, field: str) -> bool:
    """Whether an option may allow two SAs to share this key, since that breaks no cipher at once."""
    kind = field[: -len("_key")]
    name = getattr(one, kind)
    row = algorithm_of(name)
    if name != getattr(other, kind) or row is None:
        return False
    ones, others = getattr(one, field), getattr(other, field)
    # With another salt, counter mode repeats no nonce.
    is_same = keys.effective(name, ones) == keys.effective(name, others)
    return is_same != row.counter_mode and keys.secret(name, ones) == keys.secret(name, others)


# All of them encrypt.
_NOT_AS_GIVEN = frozenset(name for name, row in BY_NAME.items() if row.des_parity or row.salt_bits)


def conflict_message(sas: t.Sequence[SecurityAssociation], conflict: Conflict, first: str) -> tuple[str, str]:
    """What is wrong, and the fix; ``first`` names the SA that came first."""
    if conflict.field != "spi":
        accept = " If the peer dictates one key, accept it {allow_shared_key}." if conflict.tolerable else ""
        message = f"the {conflict.field.split('_')[0]} key is also used by {first}"
        return message, f"Every SA needs its own keys.{accept}"
    sa = sas[conflict.second]
    message = (
        f"SPI 0x{sa.spi:08x} towards {format_address(sa.destination)} is used twice for {sa.protocol}, first by"
        f" {first}"
    )
    return message, "Every SA towards one destination needs its own SPI."


def set_problems(
    sas: t.Sequence[SecurityAssociation], places: t.Sequence[str] | None = None, allow_shared_key: bool = False
) -> list[InputError]:
    """`conflicts` as errors; ``places[i]`` names the i-th SA in messages."""
    names = places or [label(sa) for sa in sas]
    found: list[InputError] = []
    for conflict in conflicts(sas):
        if conflict.tolerable and allow_shared_key:
            continue
        message, hint = conflict_message(sas, conflict, names[conflict.first])
        found.append(InputError(message, names[conflict.second], hint))
    return found
