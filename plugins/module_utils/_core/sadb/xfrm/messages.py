# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Requests about SAs on Linux: SecurityAssociation to struct xfrm_usersa_info with its attributes.

The kernel handles them in ``net/xfrm/xfrm_user.c``. An SA's key is never changed in place:
XFRM_MSG_UPDSA reports success and keeps the old key."""

from __future__ import annotations

import functools
import socket
import struct
import typing as t

from ...sa.algorithms import BY_NAME
from ...sa.model import (
    AFTER_KEYS,
    INBOUND,
    OUTBOUND,
    REPLAY_VALUE,
    Lifetimes,
    SecurityAssociation,
    bound_direction,
)
from . import uapi
from .netlink import (
    ATTRIBUTE,
    HEADER,
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REQUEST,
    Part,
    attribute,
    attributes,
    make_request,
)
from .selectors import pack_selector, takes_both_families

# Imported by name, since they are used for every SA.
from .uapi import (
    FAMILIES,
    MARK,
    PROTOCOL_NUMBERS,
    USERSA_INFO,
    XFRM_MSG_NEWSA,
    XFRMA_MARK,
)

_WINDOW_OF_BASE = 32

# Looked up once, since it is used for every SA.
_htonl = socket.htonl


def pack_lifetimes(lifetimes: Lifetimes) -> bytes:
    """struct xfrm_lifetime_cfg: no limit is the highest number for bytes and packets, 0 for times."""
    soft_bytes, hard_bytes, soft_packets, hard_packets, soft_add, hard_add, soft_use, hard_use = lifetimes
    counts = (
        soft_bytes or uapi.XFRM_INF,
        hard_bytes or uapi.XFRM_INF,
        soft_packets or uapi.XFRM_INF,
        hard_packets or uapi.XFRM_INF,
    )
    return uapi.LIFETIME_CFG.pack(*counts, soft_add, hard_add, soft_use, hard_use)


def _algorithm_prefix(name: str, kind: int, key_size: int, icv_bits: int = 0) -> bytes:
    """An algorithm attribute up to the key; a name without a row in the table is the kernel's own."""
    row = BY_NAME.get(name)
    linux = (row.linux if row is not None else name).encode("ascii")
    payload = (
        uapi.ALGO.pack(linux, key_size * 8)
        if kind == uapi.XFRMA_ALG_CRYPT
        else uapi.ALGO_ICV.pack(linux, key_size * 8, icv_bits)
    )
    return ATTRIBUTE.pack(4 + len(payload) + key_size, kind) + payload


def is_combined(sa: SecurityAssociation) -> bool:
    row = BY_NAME.get(sa.encryption)
    return row.combined if row is not None else bool(sa.icv_bits and not sa.authentication)


def _replay_attribute(sa: SecurityAssociation) -> bytes:
    """The sequence numbers that the SA starts with, if given, and a window too large for the base structure.

    Every number up to the start counts as received, so that no old packet is accepted again. An SA
    with a direction has one counter."""
    start = int(dict(sa.extra).get(REPLAY_VALUE, "0"), 0)
    out = start if sa.direction != INBOUND else 0
    into = start if sa.direction != OUTBOUND else 0
    bits = 0xFFFFFFFF
    if not sa.esn and sa.replay_window <= _WINDOW_OF_BASE:
        return (
            attribute(uapi.XFRMA_REPLAY_VAL, uapi.REPLAY_STATE.pack(out & bits, into & bits, bits if into else 0))
            if start
            else b""
        )
    words = (sa.replay_window + 31) // 32
    state = uapi.REPLAY_STATE_ESN.pack(words, out & bits, into & bits, out >> 32, into >> 32, sa.replay_window)
    return attribute(uapi.XFRMA_REPLAY_ESN_VAL, state + (b"\xff" if into else b"\0") * (4 * words))


def _optional_attributes(sa: SecurityAssociation) -> bytes:
    """The attributes behind the algorithms, for the fields that have a value."""
    parts = []
    if sa.esn or sa.replay_window > _WINDOW_OF_BASE or sa.extra:
        parts.append(_replay_attribute(sa))
    if sa.mark is not None:
        parts.append(attribute(XFRMA_MARK, MARK.pack(*sa.mark)))
    if sa.if_id:
        parts.append(uapi.U32_ATTRIBUTE.pack(8, uapi.XFRMA_IF_ID, sa.if_id))
    if sa.encapsulation is not None:
        ports = socket.htons(sa.encapsulation.source_port), socket.htons(sa.encapsulation.destination_port)
        parts.append(
            attribute(
                uapi.XFRMA_ENCAP, uapi.ENCAP_TMPL.pack(uapi.UDP_ENCAP_ESPINUDP, *ports, sa.encapsulation.nat_remote)
            )
        )
    if bound_direction(sa):
        # Since Linux 6.10; older kernels ignore it. With it an outbound SA may have no window, and
        # without it ESN needs one.
        parts.append(uapi.U8_ATTRIBUTE.pack(5, uapi.XFRMA_SA_DIR, uapi.DIRECTION_NUMBERS[sa.direction]))
    if sa.output_mark is not None:
        parts += (
            uapi.U32_ATTRIBUTE.pack(8, uapi.XFRMA_SET_MARK, sa.output_mark.value),
            uapi.U32_ATTRIBUTE.pack(8, uapi.XFRMA_SET_MARK_MASK, sa.output_mark.mask),
        )
    if sa.tfc_padding:
        parts.append(uapi.U32_ATTRIBUTE.pack(8, uapi.XFRMA_TFCPAD, sa.tfc_padding))
    if sa.nat_keepalive:
        parts.append(uapi.U32_ATTRIBUTE.pack(8, uapi.XFRMA_NAT_KEEPALIVE_INTERVAL, sa.nat_keepalive))
    return b"".join(parts)


class _Likes(t.NamedTuple):
    """XFRM_MSG_NEWSA for SAs that differ only in SPI, addresses and keys: its layout, and the parts that
    they share.
    """

    layout: struct.Struct
    header: bytes
    selector: bytes
    protocol: int
    before_encryption_key: bytes
    before_authentication_key: bytes
    end: bytes


@functools.lru_cache(maxsize=256)
def _likes(
    protocol: str,
    sizes: tuple[int, int, int],
    mode: str,
    encryption: str,
    authentication: str,
    others: tuple[t.Any, ...],
) -> _Likes:
    """``sizes`` are those of address, encryption key and authentication key in bytes, ``others`` the fields after
    the keys. Integrity goes as XFRMA_ALG_AUTH_TRUNC with its ICV: without it, the kernel assumes 96 bits for
    hmac(sha256).
    """
    address_size, encryption_key_size, authentication_key_size = sizes
    nowhere = bytes(address_size)
    sa = SecurityAssociation(protocol, 0, nowhere, nowhere, mode, encryption, b"", authentication, b"", *others)
    family = FAMILIES[address_size]
    flags = uapi.XFRM_STATE_ESN if sa.esn else 0
    if sa.selector is not None:
        selector = pack_selector(sa.selector, family)
    else:
        selector = b""
        if takes_both_families(sa):
            flags |= uapi.XFRM_STATE_AF_UNSPEC
    window = sa.replay_window if sa.replay_window <= _WINDOW_OF_BASE and not sa.esn else 0
    before = uapi.NEW_USERSA_INFO_END.pack(
        pack_lifetimes(sa.lifetimes), sa.reqid, family, uapi.MODE_NUMBERS[sa.mode], window, flags
    )
    if not encryption:
        encryption_key_size = 0
    elif is_combined(sa):
        before += _algorithm_prefix(encryption, uapi.XFRMA_ALG_AEAD, encryption_key_size, sa.icv_bits)
    else:
        before += _algorithm_prefix(encryption, uapi.XFRMA_ALG_CRYPT, encryption_key_size)
    between = bytes(-encryption_key_size % 4)
    if not authentication:
        authentication_key_size = 0
    else:
        between += _algorithm_prefix(authentication, uapi.XFRMA_ALG_AUTH_TRUNC, authentication_key_size, sa.icv_bits)
    end = bytes(-authentication_key_size % 4) + _optional_attributes(sa)
    parts = len(before), encryption_key_size, len(between), authentication_key_size, len(end)
    layout = struct.Struct(uapi.NEW_USERSA_INFO_BEGIN + "".join(f"{size}s" for size in parts))
    header = HEADER.pack(layout.size, XFRM_MSG_NEWSA, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL, 0, 0)
    return _Likes(layout, header, selector, PROTOCOL_NUMBERS[protocol], before, between, end)


def new_sas(sas: t.Iterable[SecurityAssociation]) -> list[bytes]:
    """XFRM_MSG_NEWSA for each SA."""
    requests = []
    kind = None
    for sa in sas:
        own = sa[:9]
        protocol, spi, source, destination, mode, encryption, encryption_key, authentication, authentication_key = own
        sizes = len(destination), len(encryption_key), len(authentication_key)
        this = protocol, sizes, mode, encryption, authentication, sa[AFTER_KEYS:]
        if this != kind:
            kind = this
            layout, header, selector, number, before, between, end = _likes(*this)
        keys = before, encryption_key, between, authentication_key
        requests.append(layout.pack(header, selector, destination, _htonl(spi), number, source, *keys, end))
    return requests


def new_sa(sa: SecurityAssociation) -> bytes:
    """XFRM_MSG_NEWSA."""
    return new_sas((sa,))[0]


def restore(part: Part) -> bytes:
    """The XFRM_MSG_NEWSA that restores a dumped SA with its flags, counters, times, sequence numbers
    and windows.

    The kernel cannot set the time of the last use and the counts of refused packets.
    """
    buffer, start, dummy = part
    used = USERSA_INFO.unpack_from(buffer, start)[6:10]
    body = (
        buffer[start : start + USERSA_INFO.size]
        + attribute(uapi.XFRMA_LTIME_VAL, uapi.LIFETIME_CUR.pack(*used))
        + _attributes_of(part)
    )
    return make_request(XFRM_MSG_NEWSA, body, NLM_F_CREATE | NLM_F_EXCL)


def revised(part: Part, lifetimes: Lifetimes) -> bytes:
    """The XFRM_MSG_UPDSA that gives a dumped SA other lifetimes.

    It repeats everything that the dump shows: some of it the kernel refuses if it differs, and some it
    applies (xfrm_state_update in net/xfrm/xfrm_state.c). An offload is left out, or the device would
    receive the SA a second time."""
    buffer, start, dummy = part
    before, after = (
        buffer[start : start + uapi.LIFETIME_CFG_OFFSET],
        buffer[start + uapi.LIFETIME_CFG_OFFSET + uapi.LIFETIME_CFG.size : start + USERSA_INFO.size],
    )
    return make_request(
        uapi.XFRM_MSG_UPDSA, before + pack_lifetimes(lifetimes) + after + _attributes_of(part, uapi.XFRMA_OFFLOAD_DEV)
    )


def _attributes_of(part: Part, *without: int) -> bytes:
    """The attributes of a dumped SA that a request may repeat."""
    buffer, start, end = part
    found = attributes(buffer, start + USERSA_INFO.size, end)
    return b"".join(
        attribute(kind, buffer[first:last])
        for kind, (first, last) in found.items()
        if kind not in (uapi.XFRMA_LASTUSED, uapi.XFRMA_PAD, uapi.XFRMA_LTIME_VAL) and kind not in without
    )
