# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""struct xfrm_selector: the traffic of an SA or a policy."""

from __future__ import annotations

import socket

from ...sa.model import TUNNEL, SecurityAssociation, Selector
from . import uapi


def pack_selector(selector: Selector, family: int) -> bytes:
    """struct xfrm_selector; the family is that of its addresses, or ``family`` if it has none."""
    address = selector.source or selector.destination
    return uapi.SELECTOR.pack(
        selector.destination,
        selector.source,
        socket.htons(selector.destination_port),
        0xFFFF if selector.destination_port else 0,
        socket.htons(selector.source_port),
        0xFFFF if selector.source_port else 0,
        uapi.FAMILIES[len(address)] if address else family,
        selector.destination_prefix,
        selector.source_prefix,
        selector.protocol,
        0,
        0,
    )


def unpack_selector(packed: bytes) -> tuple[Selector, int]:
    """A selector with packed addresses, and its family (0: none)."""
    (
        destination,
        source,
        destination_port,
        dummy,
        source_port,
        dummy,
        family,
        prefix_d,
        prefix_s,
        protocol,
        dummy,
        dummy,
    ) = uapi.SELECTOR.unpack(packed)
    size = uapi.ADDRESS_SIZES.get(family, 4)
    return (
        Selector(
            source[:size],
            prefix_s,
            destination[:size],
            prefix_d,
            protocol,
            socket.ntohs(source_port),
            socket.ntohs(destination_port),
        ),
        family,
    )


def takes_both_families(sa: SecurityAssociation) -> bool:
    """Whether the SA accepts packets of both families, since no selector restricts it to one."""
    return sa.mode == TUNNEL and sa.selector is None
