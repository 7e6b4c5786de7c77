# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SAs as Linux shows them: struct xfrm_usersa_info with its attributes to Entry."""

from __future__ import annotations

import functools
import socket
import struct
import typing as t

from ...sa.algorithms import find_linux
from ...sa.model import (
    FLAGS,
    INBOUND,
    NO_LIFETIMES,
    OUTBOUND,
    Counters,
    Encapsulation,
    Entry,
    Lifetimes,
    Mark,
    SecurityAssociation,
    Selector,
    bound_direction,
    normal_selector,
)
from . import uapi
from .messages import pack_selector, takes_both_families
from .netlink import ATTRIBUTE, Part

# Imported by name, since they are used for every SA.
from .uapi import (
    MARK,
    MODE_NAMES,
    PROTOCOL_NAMES,
    REPLAY_STATE,
    USERSA_INFO,
    XFRM_STATE_ESN,
    XFRMA_ALG_AEAD,
    XFRMA_ALG_AUTH_TRUNC,
    XFRMA_ALG_CRYPT,
    XFRMA_MARK,
    XFRMA_REPLAY_ESN_VAL,
    XFRMA_REPLAY_VAL,
)

# By bit: XFRM_STATE_*, and XFRM_SA_XFLAG_* of XFRMA_SA_EXTRA_FLAGS.
_FLAG_WORDS = ("noecn", "decap-dscp", "nopmtudisc", "wildrecv", "icmp", "af-unspec", "align4", "esn")
_EXTRA_FLAG_WORDS = ("dont-encap-dscp", "oseq-may-wrap", *(f"extra-flag-{bit}" for bit in range(2, 32)))
# Bits that need no word: ESN has a field, and the kernel sets the other by itself if
# net.ipv4.ip_no_pmtu_disc is set (__xfrm_init_state).
_FLAGS_KNOWN = uapi.XFRM_STATE_ESN | uapi.XFRM_STATE_NOPMTUDISC
# The word of an attribute that the model has no field for, and the struct of its value where it is a number.
_OTHER_ATTRIBUTES = {
    uapi.XFRMA_ALG_COMP: ("comp", None),
    uapi.XFRMA_SEC_CTX: ("ctx", None),
    uapi.XFRMA_COADDR: ("coa", None),
    uapi.XFRMA_MTIMER_THRESH: ("mapping-threshold", uapi.U32),
    uapi.XFRMA_SA_PCPU: ("pcpu", uapi.U32),
    uapi.XFRMA_IPTFS_DROP_TIME: ("iptfs-drop-time", uapi.U32),
    uapi.XFRMA_IPTFS_REORDER_WINDOW: ("iptfs-reorder-window", uapi.U16),
    uapi.XFRMA_IPTFS_DONT_FRAG: ("iptfs-dont-frag", None),
    uapi.XFRMA_IPTFS_INIT_DELAY: ("iptfs-init-delay", uapi.U32),
    uapi.XFRMA_IPTFS_MAX_QSIZE: ("iptfs-max-queue-size", uapi.U32),
    uapi.XFRMA_IPTFS_PKT_SIZE: ("iptfs-packet-size", uapi.U32),
}
# Attributes of a dump that repeat other fields: the integrity algorithm, and usage.
_NOTHING_NEW = frozenset((uapi.XFRMA_ALG_AUTH, uapi.XFRMA_LTIME_VAL, uapi.XFRMA_LASTUSED, uapi.XFRMA_PAD))
# Rare attributes that are 32-bit numbers.
_NUMBERS = frozenset(
    (uapi.XFRMA_TFCPAD, uapi.XFRMA_SET_MARK, uapi.XFRMA_SET_MARK_MASK, uapi.XFRMA_NAT_KEEPALIVE_INTERVAL)
)
_NO_NUMBERS: t.Mapping[int, int] = {}
_NO_LIMITS = uapi.LIFETIME_CFG.pack(*(uapi.XFRM_INF,) * 4, *(0,) * 4)
_ANY_TRAFFIC = frozenset(
    bytes(40) + struct.pack("@H", family) + bytes(14) for family in (socket.AF_UNSPEC, socket.AF_INET, socket.AF_INET6)
)

# Looked up once, since they are used for every SA.
_make = tuple.__new__
_ntohl = socket.ntohl
_IPV4 = int(socket.AF_INET)


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


def unpack_lifetimes(packed: bytes) -> Lifetimes:
    if packed == _NO_LIMITS:
        return NO_LIFETIMES
    limits = uapi.LIFETIME_CFG.unpack(packed)
    return Lifetimes(*(0 if limit == uapi.XFRM_INF else limit for limit in limits[:4]), *limits[4:])


@functools.lru_cache(maxsize=256)
def _read_algorithm(prefix: bytes) -> tuple[str, int]:
    """Name and key bytes from struct xfrm_algo without its key."""
    linux, bits = uapi.ALGO.unpack(prefix)
    return _name(linux, 0), (bits + 7) // 8


@functools.lru_cache(maxsize=256)
def _read_algorithm_icv(prefix: bytes, combined: bool) -> tuple[str, int, int]:
    """Name, key bytes and ICV bits from struct xfrm_algo_auth or xfrm_algo_aead without its key."""
    linux, bits, icv_bits = uapi.ALGO_ICV.unpack(prefix)
    return _name(linux, icv_bits if combined else 0), (bits + 7) // 8, icv_bits


def _name(linux: bytes, icv_bits: int) -> str:
    """Our name of an algorithm; the kernel's name if the table has no row, as for SAs of other programs."""
    text = linux.rstrip(b"\0").decode("ascii", "backslashreplace")
    row = find_linux(text, icv_bits)
    return row.name if row is not None else text


@functools.lru_cache(maxsize=64)
def _unused(add_time: int) -> Counters:
    """The counters of an unused SA; thousands that were added in the same second share them."""
    return Counters(add_time=add_time)


def decode(part: Part) -> Entry:
    """An Entry from XFRM_MSG_NEWSA. Never fails on an SA of another program: properties without a field
    are named in the keyword `model.FLAGS`.
    """
    buffer, start, end = part
    (
        selector,
        destination,
        spi,
        protocol,
        source,
        lifetimes,
        used_bytes,
        used_packets,
        add_time,
        use_time,
        late,
        replayed,
        integrity_failures,
        dummy,
        reqid,
        family,
        mode,
        window,
        flags,
    ) = USERSA_INFO.unpack_from(buffer, start)
    offset = start + USERSA_INFO.size
    encryption = authentication = direction = ""
    encryption_key = authentication_key = b""
    icv_bits = if_id = sequence_out = sequence_in = 0
    mark = encapsulation = None
    strange: list[int] = []
    unpack_attribute = ATTRIBUTE.unpack_from
    numbers = _NO_NUMBERS
    while offset + 4 <= end:
        length, kind = unpack_attribute(buffer, offset)
        if kind in _NOTHING_NEW:
            pass
        elif kind == XFRMA_ALG_AUTH_TRUNC:
            authentication, size, icv_bits = _read_algorithm_icv(buffer[offset + 4 : offset + 76], False)
            authentication_key = buffer[offset + 76 : offset + 76 + size]
        elif kind == XFRMA_ALG_CRYPT:
            encryption, size = _read_algorithm(buffer[offset + 4 : offset + 72])
            encryption_key = buffer[offset + 72 : offset + 72 + size]
        elif kind == XFRMA_REPLAY_VAL:
            sequence_out, sequence_in, dummy = REPLAY_STATE.unpack_from(buffer, offset + 4)
        elif kind == XFRMA_ALG_AEAD:
            encryption, size, icv_bits = _read_algorithm_icv(buffer[offset + 4 : offset + 76], True)
            encryption_key = buffer[offset + 76 : offset + 76 + size]
        elif kind == XFRMA_REPLAY_ESN_VAL:
            dummy, out_low, in_low, out_high, in_high, window = uapi.REPLAY_STATE_ESN.unpack_from(buffer, offset + 4)
            sequence_out, sequence_in = out_high << 32 | out_low, in_high << 32 | in_low
        elif kind == XFRMA_MARK:
            mark = Mark(*MARK.unpack_from(buffer, offset + 4))
        elif kind == uapi.XFRMA_IF_ID:
            if_id = uapi.U32.unpack_from(buffer, offset + 4)[0]
        elif kind == uapi.XFRMA_ENCAP:
            encapsulation = _encapsulation(buffer, offset + 4, family)
            if encapsulation is None:
                strange.append(offset)
        elif kind == uapi.XFRMA_SA_DIR:
            direction = uapi.DIRECTION_NAMES.get(buffer[offset + 4], "")
            if not direction:
                strange.append(offset)
        elif kind in _NUMBERS:
            numbers = {**numbers, kind: uapi.U32.unpack_from(buffer, offset + 4)[0]}
        else:
            strange.append(offset)
        offset += (length + 3) & ~3 or 4
    if family == _IPV4:
        source, destination = source[:4], destination[:4]
    any_traffic = selector in _ANY_TRAFFIC
    sa = _make(
        SecurityAssociation,
        (
            PROTOCOL_NAMES.get(protocol) or str(protocol),
            _ntohl(spi),
            source,
            destination,
            MODE_NAMES.get(mode) or str(mode),
            encryption,
            encryption_key,
            authentication,
            authentication_key,
            icv_bits,
            window,
            flags & XFRM_STATE_ESN != 0,
            reqid,
            mark,
            if_id,
            None if any_traffic else normal_selector(unpack_selector(selector)[0]),
            encapsulation,
            NO_LIFETIMES if lifetimes == _NO_LIMITS else unpack_lifetimes(lifetimes),
            direction,
            (),
            None,
            0,
            0,
        ),
    )
    if numbers or strange or flags & ~_FLAGS_KNOWN or not any_traffic:
        sa = _with_rest(sa, flags, selector, numbers, buffer, strange)
    if used_packets or use_time or sequence_out or sequence_in or late or replayed or integrity_failures:
        counters = _make(
            Counters,
            (
                used_bytes,
                used_packets,
                add_time,
                use_time,
                sequence_out,
                sequence_in,
                late,
                replayed,
                integrity_failures,
            ),
        )
    else:
        counters = _unused(add_time)
    # A larval SA has no algorithm (net/xfrm/xfrm_state.c, xfrm_find_acq and xfrm_state_find).
    larval = not (encryption or authentication) and protocol in (socket.IPPROTO_ESP, socket.IPPROTO_AH)
    return _make(Entry, (sa, counters, larval, b""))


def _with_rest(
    sa: SecurityAssociation,
    flags: int,
    selector: bytes,
    numbers: t.Mapping[int, int],
    buffer: bytes,
    strange: t.Sequence[int],
) -> SecurityAssociation:
    """The SA with its rare properties: ``numbers`` by attribute type, and words for properties without a
    field; ``strange`` has the offsets of the attributes without a field.
    """
    words = _strange_words(sa, flags, selector, [(buffer, offset) for offset in strange])
    mark = numbers.get(uapi.XFRMA_SET_MARK)
    return sa._replace(
        output_mark=None if mark is None else Mark(mark, numbers.get(uapi.XFRMA_SET_MARK_MASK, 0xFFFFFFFF)),
        tfc_padding=numbers.get(uapi.XFRMA_TFCPAD, 0),
        nat_keepalive=numbers.get(uapi.XFRMA_NAT_KEEPALIVE_INTERVAL, 0),
        extra=((FLAGS, " ".join(words)),) if words else (),
    )


def _strange_words(
    sa: SecurityAssociation, flags: int, selector: bytes, found: t.Sequence[tuple[bytes, int]]
) -> list[str]:
    """The words of ip(8) for properties of an SA that `SecurityAssociation` has no field for; ``found``
    are the attributes without a field.
    """
    if takes_both_families(sa):
        flags &= ~uapi.XFRM_STATE_AF_UNSPEC
    words = [word for bit, word in enumerate(_FLAG_WORDS) if flags & ~_FLAGS_KNOWN & 1 << bit]
    if (
        selector not in _ANY_TRAFFIC
        and pack_selector(sa.selector or Selector(), uapi.FAMILIES[len(sa.destination)]) != selector
    ):
        words.append("selector")
    for buffer, offset in found:
        length, kind = ATTRIBUTE.unpack_from(buffer, offset)
        if kind == uapi.XFRMA_SA_EXTRA_FLAGS:
            bits = uapi.U32.unpack_from(buffer, offset + 4)[0]
            words += [word for bit, word in enumerate(_EXTRA_FLAG_WORDS) if bits & 1 << bit]
        elif kind == uapi.XFRMA_ENCAP:
            words.append(f"encap-{uapi.ENCAP_TMPL.unpack_from(buffer, offset + 4)[0]}")
        else:
            words.append(strange_word(kind, buffer[offset + 4 : offset + length]))
    return list(dict.fromkeys(words))


def strange_word(kind: int, payload: bytes) -> str:
    """The word for an attribute of an SA or a policy without a field, with its value if that is a number:
    ``pcpu=3``.

    An offload shows the number of the interface, the direction and the kind: ``offload=2,inbound,packet``."""
    if kind == uapi.XFRMA_OFFLOAD_DEV and len(payload) >= uapi.USER_OFFLOAD.size:
        interface, flags = uapi.USER_OFFLOAD.unpack_from(payload)
        direction = INBOUND if flags & uapi.XFRM_OFFLOAD_INBOUND else OUTBOUND
        return f"offload={interface},{direction},{'packet' if flags & uapi.XFRM_OFFLOAD_PACKET else 'crypto'}"
    word, layout = _OTHER_ATTRIBUTES.get(kind, (f"attribute-{kind}", None))
    return f"{word}={layout.unpack_from(payload)[0]}" if layout is not None and len(payload) >= layout.size else word


def _encapsulation(buffer: bytes, offset: int, family: int) -> Encapsulation | None:
    """None for an encapsulation that is not ESP in UDP. The kernel has one original address, read as the
    remote one.
    """
    kind, source_port, destination_port, original = uapi.ENCAP_TMPL.unpack_from(buffer, offset)
    if kind != uapi.UDP_ENCAP_ESPINUDP:
        return None
    original = original[: uapi.ADDRESS_SIZES.get(family, 16)]
    return Encapsulation(
        socket.ntohs(source_port), socket.ntohs(destination_port), b"", original if any(original) else b""
    )


def redacted(sa: SecurityAssociation) -> bool:
    """Whether all key material reads as zeros (xfrm_redact() under lockdown)."""
    material = sa.encryption_key + sa.authentication_key
    return bool(material) and not any(material)


def as_shown(sa: SecurityAssociation, tells_directions: bool) -> SecurityAssociation:
    """The SA as a dump shows it after `new_sa`: without ``extra``, and with a direction only if bound to it."""
    return sa._replace(direction=bound_direction(sa) if tells_directions else "", extra=())
