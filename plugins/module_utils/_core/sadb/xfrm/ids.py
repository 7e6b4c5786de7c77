# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Requests that name an SA: XFRM_MSG_GETSA and XFRM_MSG_DELSA."""

from __future__ import annotations

import socket

from ...sa.model import SecurityAssociation
from .netlink import Message, attribute

# Imported by name, since they are used for every SA.
from .uapi import FAMILIES, MARK, PROTOCOL_NUMBERS, USERSA_ID, XFRM_MSG_DELSA, XFRMA_MARK

# Looked up once, since they are used for every SA.
_make = tuple.__new__
_htonl = socket.htonl


def sa_id(kind: int, sa: SecurityAssociation) -> Message:
    protocol, spi, dummy, destination = sa[:4]
    number = PROTOCOL_NUMBERS.get(protocol) or int(protocol)
    body = USERSA_ID.pack(destination, _htonl(spi), FAMILIES[len(destination)], number)
    if sa.mark is not None:
        body += attribute(XFRMA_MARK, MARK.pack(*sa.mark))
    return _make(Message, (kind, body, 0))


def delete_sa(sa: SecurityAssociation) -> Message:
    return sa_id(XFRM_MSG_DELSA, sa)
