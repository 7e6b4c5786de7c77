# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Requests that name an SA: XFRM_MSG_GETSA and XFRM_MSG_DELSA."""

from __future__ import annotations

import socket
import struct
import typing as t

from ...sa.model import SecurityAssociation, identity
from .netlink import HEADER, NLM_F_REQUEST, attribute, extended

# Imported by name, since they are used for every SA.
from .uapi import FAMILIES, MARK, PROTOCOL_NUMBERS, XFRM_MSG_DELSA, XFRMA_MARK

# A header, and `uapi.USERSA_ID`.
_UNMARKED = struct.Struct("@16s16sIHB0I")
# Looked up once, since they are used for every SA.
_pack = _UNMARKED.pack
_htonl = socket.htonl


def sa_ids(kind: int, sas: t.Iterable[SecurityAssociation]) -> list[bytes]:
    """A request of that type for each SA."""
    header = HEADER.pack(_UNMARKED.size, kind, NLM_F_REQUEST, 0, 0)
    requests = []
    for protocol, destination, spi, mark in map(identity, sas):
        number = PROTOCOL_NUMBERS.get(protocol) or int(protocol)
        request = _pack(header, destination, _htonl(spi), FAMILIES[len(destination)], number)
        if mark is not None:
            request = extended(request, attribute(XFRMA_MARK, MARK.pack(*mark)))
        requests.append(request)
    return requests


def sa_id(kind: int, sa: SecurityAssociation) -> bytes:
    return sa_ids(kind, (sa,))[0]


def delete_sa(sa: SecurityAssociation) -> bytes:
    return sa_id(XFRM_MSG_DELSA, sa)
