# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_utils is private to the collection and may change at any time.

"""What a Linux kernel lacks for SAs of some kind, without adding one."""

from __future__ import annotations

import errno
import os
import typing as t

from .. import keys
from ..algorithms import BY_NAME
from ..association import SecurityAssociation
from ..errors import SadbError
from .explain import explain
from .messages import REPLAY_ESN, XFRMA_REPLAY_ESN_VAL, delete_sa, new_sa
from .netlink import Message, Netlink, attribute


def lacks(link: Netlink, sas: t.Iterable[SecurityAssociation]) -> list[SadbError]:
    """One error for each kind of SA that the kernel refuses; kinds differ in what the kernel has to set up."""
    kinds = {(sa.protocol, len(sa.destination), sa.mode, sa.encryption, sa.authentication, sa.icv_bits, len(sa.encryption_key), sa.esn): sa for sa in sas}
    asked = list(kinds.values())
    probes = [_probe(sa) for sa in asked]
    requests = [_broken(new_sa(probe)) for probe in probes]
    found = []
    for first, last in link.batches(requests):
        refusals = link.send(requests[first:last])[0]
        for index in range(first, last):
            refusal = refusals.get(index - first)
            if refusal is None:
                # No kernel is known to accept it; should one do so, it goes again.
                link.send([delete_sa(probes[index])])
            elif not (refusal.errno == errno.EINVAL and (not refusal.text or "replay window" in refusal.text)):
                found.append(explain(refusal, asked[index]))
    return found


def _probe(sa: SecurityAssociation) -> SecurityAssociation:
    """An SA like ``sa`` towards an address that nobody has (RFC 7600, RFC 6666), with random keys."""
    destination = bytes((192, 0, 0, 8)) if len(sa.destination) == 4 else b"\x01\x00" + bytes(14)

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


def _broken(message: Message) -> Message:
    """The same with an anti-replay window larger than its bitmap: the kernel looks at that last, after it has set up protocol and algorithms."""
    return message._replace(body=message.body + attribute(XFRMA_REPLAY_ESN_VAL, REPLAY_ESN.pack(1, 0, 0, 0, 0, 4096) + bytes(4)))
