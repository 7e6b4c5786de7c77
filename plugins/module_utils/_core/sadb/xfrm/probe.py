# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a Linux kernel would refuse, determined without adding an SA that carries traffic."""

from __future__ import annotations

import errno
import os
import typing as t

from ...errors import SadbError
from ...sa import keys
from ...sa.algorithms import BY_NAME
from ...sa.model import SecurityAssociation, identity
from .decode import decode
from .explain import explain
from .ids import delete_sa, sa_id
from .messages import new_sa
from .netlink import Netlink, Refusal, attribute, extended
from .uapi import REPLAY_STATE_ESN, XFRM_MSG_GETSA, XFRMA_REPLAY_ESN_VAL

if t.TYPE_CHECKING:
    from ...sa.plan import Operation


def lacks(link: Netlink, sas: t.Iterable[SecurityAssociation]) -> list[SadbError]:
    """One error for each kind of SA that the kernel refuses; SAs of one kind need the same parts of the kernel."""
    kinds = {
        (
            sa.protocol,
            len(sa.destination),
            sa.mode,
            sa.encryption,
            sa.authentication,
            sa.icv_bits,
            len(sa.encryption_key),
            sa.esn,
        ): sa
        for sa in sas
    }
    asked = list(kinds.values())
    probes = [_probe(sa) for sa in asked]
    requests = [_broken(new_sa(probe)) for probe in probes]
    found = []
    for first, last in link.batches(requests):
        refusals = link.send(requests[first:last])[0]
        for index in range(first, last):
            refusal = refusals.get(index - first)
            if refusal is None:
                # No kernel is known to accept it; if one does, delete it again.
                link.send([delete_sa(probes[index])])
            elif not (refusal.errno == errno.EINVAL and (not refusal.text or "replay window" in refusal.text)):
                found.append(explain(refusal, asked[index]))
    return found


def rehearse(link: Netlink, operations: t.Sequence[Operation]) -> list[SadbError]:
    """What the kernel would refuse of these operations, needed when the SAs that they delete cannot be
    restored; one error for each SA, in order.

    Each new SA is added with its keys, but towards an unassigned address, so that no packet uses it,
    and deleted in the same send. Whether the identity of each is free, or will be by its turn, is
    checked separately."""
    coming = [(number, operation.new) for number, operation in enumerate(operations) if operation.new is not None]
    refused = _taken(link, operations, coming)
    base = int.from_bytes(os.urandom(4), "big")
    spis = (1 << 31 | (base + index) & 0x7FFFFFFF for index in range(len(coming)))
    probes = [sa._replace(destination=_nowhere(sa), spi=spi) for (dummy, sa), spi in zip(coming, spis)]
    requests = [request for probe in probes for request in (new_sa(probe), delete_sa(probe))]
    for first, last in link.batches(requests, inseparable=set(range(1, len(requests), 2))):
        refusals = link.send(requests[first:last])[0]
        for index, refusal in refusals.items():
            number, deletes = divmod(first + index, 2)
            # An SA that was not added cannot be deleted either.
            if not deletes or index - 1 not in refusals:
                refused.setdefault(number, explain(refusal, coming[number][1]))
    return [refused[number] for number in sorted(refused)]


def _taken(
    link: Netlink, operations: t.Sequence[Operation], coming: t.Sequence[tuple[int, SecurityAssociation]]
) -> dict[int, SadbError]:
    """The errors of new SAs, by index, whose identity another SA still has at their turn."""
    leaving = {
        identity(operation.old.sa): number for number, operation in enumerate(operations) if operation.old is not None
    }
    before: set[t.Any] = set()
    refused = {}
    requests = [sa_id(XFRM_MSG_GETSA, sa) for dummy, sa in coming]
    for first, last in link.batches(requests, with_answers=True):
        answers = link.send(requests[first:last])[1]
        for index in range(first, last):
            turn, sa = coming[index]
            answer = answers.get(index - first)
            stays = answer is not None and leaving.get(identity(decode(answer).sa), len(operations)) > turn
            if stays or identity(sa) in before:
                refused[index] = explain(Refusal(errno.EEXIST, ""), sa)
            before.add(identity(sa))
    return refused


def _nowhere(sa: SecurityAssociation) -> bytes:
    """An unassigned address of the SA's family (RFC 7600, RFC 6666)."""
    return bytes((192, 0, 0, 8)) if len(sa.destination) == 4 else b"\x01\x00" + bytes(14)


def _probe(sa: SecurityAssociation) -> SecurityAssociation:
    """An SA like ``sa`` towards an unassigned address, with random keys."""
    destination = _nowhere(sa)

    def material(name: str, key: bytes) -> bytes:
        row = BY_NAME.get(name)
        if row is None or not row.key_bits:
            return os.urandom(len(key))
        return keys.generate(row, len(key) * 8 - row.salt_bits if key else None)

    return SecurityAssociation(
        sa.protocol,
        int.from_bytes(os.urandom(4), "big") | 256,
        bytes(len(destination)),
        destination,
        sa.mode,
        sa.encryption,
        material(sa.encryption, sa.encryption_key),
        sa.authentication,
        material(sa.authentication, sa.authentication_key),
        sa.icv_bits,
    )


def _broken(request: bytes) -> bytes:
    """The request with an anti-replay window larger than its bitmap: the kernel checks that last,
    after it has set up protocol and algorithms.
    """
    return extended(request, attribute(XFRMA_REPLAY_ESN_VAL, REPLAY_STATE_ESN.pack(1, 0, 0, 0, 0, 4096) + bytes(4)))
