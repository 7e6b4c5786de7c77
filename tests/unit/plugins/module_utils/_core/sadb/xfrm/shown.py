# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SAs as Linux shows them, made from requests."""

from __future__ import annotations

import struct

from hypothesis import strategies as st

from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import SecurityAssociation
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.xfrm import messages, uapi
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.xfrm.netlink import (
    HEADER_SIZE,
    Part,
    attribute,
    attributes,
)
from ansible_collections.ipsec.manual.tests.unit.plugins.module_utils._core.sadb.strategies import (
    addresses,
    associations,
    lifetimes,
    marks,
    u32,
)


def sent(sa: SecurityAssociation) -> Part:
    body = messages.new_sa(sa)[HEADER_SIZE:]
    return Part(body, 0, len(body))


def sent_attributes(sa: SecurityAssociation) -> dict[int, bytes]:
    buffer, start, end = sent(sa)
    return {
        kind: buffer[first:last]
        for kind, (first, last) in attributes(buffer, start + uapi.USERSA_INFO.size, end).items()
    }


# The order in which Linux shows attributes (copy_to_user_state_extra in net/xfrm/xfrm_user.c).
ORDER = (15, 18, 1, 20, 2, 4, 22, 21, 29, 30, 23, 10, 31, 34, 33)


def shown(sa: SecurityAssociation, used: tuple[int, ...] = (0,) * 7, out: int = 0, into: int = 0) -> Part:
    """What Linux shows of an SA, with its usage and sequence numbers, between other messages."""
    body = bytearray(sent(sa).buffer[: uapi.USERSA_INFO.size])
    uapi.USAGE.pack_into(body, uapi.LIFETIME_CFG_OFFSET + uapi.LIFETIME_CFG.size, *used)
    held = sent_attributes(sa)
    if uapi.XFRMA_ALG_AUTH_TRUNC in held:
        trunc = held[uapi.XFRMA_ALG_AUTH_TRUNC]
        held[uapi.XFRMA_ALG_AUTH] = trunc[:68] + trunc[72:]
    if used[1]:
        held[uapi.XFRMA_LASTUSED] = struct.pack("@Q", used[3])
    if uapi.XFRMA_REPLAY_ESN_VAL in held:
        low, high = 0xFFFFFFFF, 32
        state = held[uapi.XFRMA_REPLAY_ESN_VAL]
        numbers = struct.pack("@4I", out & low, into & low, out >> high, into >> high)
        held[uapi.XFRMA_REPLAY_ESN_VAL] = state[:4] + numbers + state[20:]
    else:
        held[uapi.XFRMA_REPLAY_VAL] = struct.pack("@3I", out, into, 0)
    whole = bytes(body) + b"".join(attribute(kind, held[kind]) for kind in sorted(held, key=ORDER.index))
    return Part(b"\xff" * 24 + whole + b"\xff" * 8, 24, 24 + len(whole))


def key_like(key: bytes) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=len(key), max_size=len(key))


@st.composite
def alike(draw: st.DrawFn) -> list[SecurityAssociation]:
    """Several SAs of one kind, or of two kinds whose messages have the same size."""
    sa = draw(associations())

    def other() -> SecurityAssociation:
        size = len(sa.destination)
        return sa._replace(
            spi=draw(st.integers(256, 0xFFFFFFFF)),
            source=draw(addresses(size)),
            destination=draw(addresses(size)),
            mode=draw(st.sampled_from(("transport", "tunnel"))),
            encryption_key=draw(key_like(sa.encryption_key)),
            authentication_key=draw(key_like(sa.authentication_key)),
            reqid=draw(u32),
            mark=draw(st.one_of(st.just(sa.mark), marks())),
            if_id=draw(st.one_of(st.just(sa.if_id), u32)),
            lifetimes=draw(st.one_of(st.just(sa.lifetimes), lifetimes())),
        )

    return [sa, *(other() for dummy in range(draw(st.integers(1, 4)))), sa]
