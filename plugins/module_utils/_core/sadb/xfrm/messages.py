# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Messages about SAs on Linux: SecurityAssociation to struct xfrm_usersa_info with its attributes, and back.

Layouts and numbers are those of ``include/uapi/linux/xfrm.h``; what the kernel makes of them is in
``net/xfrm/xfrm_user.c``. An SA's key is never changed in place: XFRM_MSG_UPDSA reports success and
keeps the old key."""

from __future__ import annotations

import functools
import socket
import struct
import typing as t

from ...sa.algorithms import BY_NAME, find_linux
from ...sa.model import (
    AH,
    ESP,
    FLAGS,
    INBOUND,
    NO_LIFETIMES,
    OUTBOUND,
    REPLAY_VALUE,
    TRANSPORT,
    TUNNEL,
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
from .netlink import ATTRIBUTE, NLM_F_CREATE, NLM_F_EXCL, Message, Part, attribute, attributes

XFRM_MSG_NEWSA = 0x10
XFRM_MSG_DELSA = 0x11
XFRM_MSG_GETSA = 0x12
XFRM_MSG_UPDSA = 0x1A

XFRMA_ALG_AUTH = 1
XFRMA_ALG_CRYPT = 2
XFRMA_ENCAP = 4
XFRMA_LTIME_VAL = 9
XFRMA_REPLAY_VAL = 10
XFRMA_LASTUSED = 15
XFRMA_ALG_AEAD = 18
XFRMA_ALG_AUTH_TRUNC = 20
XFRMA_MARK = 21
XFRMA_TFCPAD = 22
XFRMA_REPLAY_ESN_VAL = 23
XFRMA_SA_EXTRA_FLAGS = 24
XFRMA_PAD = 27
XFRMA_OFFLOAD_DEV = 28
XFRMA_SET_MARK = 29
XFRMA_SET_MARK_MASK = 30
XFRMA_IF_ID = 31
XFRMA_SA_DIR = 33
XFRMA_NAT_KEEPALIVE_INTERVAL = 34

_FLAG_NOPMTUDISC = 4
_FLAG_AF_UNSPEC = 32
_FLAG_ESN = 128
# By bit: XFRM_STATE_*, and XFRM_SA_XFLAG_* of XFRMA_SA_EXTRA_FLAGS.
_FLAG_WORDS = ("noecn", "decap-dscp", "nopmtudisc", "wildrecv", "icmp", "af-unspec", "align4", "esn")
_EXTRA_FLAG_WORDS = ("dont-encap-dscp", "oseq-may-wrap", *(f"extra-flag-{bit}" for bit in range(2, 32)))
# Bits that decide nothing here: ESN has a field, and the kernel sets the other by itself where
# net.ipv4.ip_no_pmtu_disc is (__xfrm_init_state).
_FLAGS_KNOWN = _FLAG_ESN | _FLAG_NOPMTUDISC
INFINITE = (1 << 64) - 1
_UDP_ENCAP_ESPINUDP = 2
_WINDOW_OF_BASE = 32

PROTOCOL_NUMBERS = {
    ESP: socket.IPPROTO_ESP,
    AH: socket.IPPROTO_AH,
    "comp": 108,
    "route2": socket.IPPROTO_ROUTING,
    "hao": socket.IPPROTO_DSTOPTS,
}
PROTOCOL_NAMES = {number: name for name, number in PROTOCOL_NUMBERS.items()}
MODE_NUMBERS = {TRANSPORT: 0, TUNNEL: 1, "ro": 2, "in_trigger": 3, "beet": 4, "iptfs": 5}
MODE_NAMES = {number: name for name, number in MODE_NUMBERS.items()}
_DIRECTION_NUMBERS = {INBOUND: 1, OUTBOUND: 2}
_DIRECTION_NAMES = {number: name for name, number in _DIRECTION_NUMBERS.items()}
FAMILIES = {4: socket.AF_INET, 16: socket.AF_INET6}
_ADDRESS_SIZES = {int(family): size for size, family in FAMILIES.items()}

# Native alignment, since the kernel's structures have it; 0Q pads a structure that has 64-bit
# members to its whole size, which is smaller where these are aligned to 32 bits (i386).
# xfrm_selector: addresses (destination first), ports with masks, family, prefixes, protocol,
# interface, user.
_SELECTOR = struct.Struct("@16s16sHHHHHBBBiI")
# xfrm_usersa_info: selector, id (destination, SPI, protocol), source, lifetime_cfg, lifetime_cur,
# stats, seq, reqid, family, mode, window, flags.
_INFO = struct.Struct("@56s16sIB3x16s64s4QIIIIIHBBB0Q")
# The same of a new SA, up to the source and from there on, with zeros for what has been used,
# statistics and sequence number.
_NEW_INFO_BEGIN = "@56s16sIB3x16s"
_NEW_INFO_END = struct.Struct("@64s48xIHBBB0Q")
_LIFETIMES = struct.Struct("@8Q")
_LIFETIMES_AT = struct.calcsize("@56s16sIB3x16s0Q")
_USED = struct.Struct("@4Q")
# xfrm_usersa_id: destination, SPI, family, protocol.
_ID = struct.Struct("@16sIHB0I")
ID_SIZE = _ID.size
INFO_SIZE = _INFO.size
# xfrm_user_expire: xfrm_usersa_info, and whether the limit was the hard one.
EXPIRE = struct.Struct(f"@{INFO_SIZE}sB0Q")
_ALGORITHM = struct.Struct("@64sI")
_ALGORITHM_ICV = struct.Struct("@64sII")
_REPLAY = struct.Struct("@III")
# xfrm_replay_state_esn: words of the bitmap, out, in, out high, in high, window; then the bitmap.
REPLAY_ESN = struct.Struct("@6I")
_ENCAP = struct.Struct("@HHH2x16s")
_MARK = struct.Struct("@II")
_U32 = struct.Struct("@I")
_U32_ATTRIBUTE = struct.Struct("@HHI")
U8_ATTRIBUTE = struct.Struct("@HHB3x")

_U16 = struct.Struct("@H")
# xfrm_user_offload: interface, flags.
_OFFLOAD = struct.Struct("@iB")
_OFFLOAD_INBOUND = 2
_OFFLOAD_PACKET = 4

# What the model has no field for: its word by attribute, and the struct of its value where it is a number.
_STRANGE_WORDS = {
    3: ("comp", None),
    8: ("ctx", None),
    14: ("coa", None),
    32: ("mapping-threshold", _U32),
    35: ("pcpu", _U32),
    36: ("iptfs-drop-time", _U32),
    37: ("iptfs-reorder-window", _U16),
    38: ("iptfs-dont-frag", None),
    39: ("iptfs-init-delay", _U32),
    40: ("iptfs-max-queue-size", _U32),
    41: ("iptfs-packet-size", _U32),
}
# What a dump has besides the fields: the same integrity once more, and what was used.
_NOTHING_NEW = frozenset((XFRMA_ALG_AUTH, XFRMA_LTIME_VAL, XFRMA_LASTUSED, XFRMA_PAD))
# Rare ones that are numbers of 32 bits.
_NUMBERS = frozenset((XFRMA_TFCPAD, XFRMA_SET_MARK, XFRMA_SET_MARK_MASK, XFRMA_NAT_KEEPALIVE_INTERVAL))
_NO_NUMBERS: t.Mapping[int, int] = {}
_NO_LIMITS = _LIFETIMES.pack(*(INFINITE,) * 4, *(0,) * 4)
_ANY_TRAFFIC = frozenset(
    bytes(40) + struct.pack("@H", family) + bytes(14) for family in (socket.AF_UNSPEC, socket.AF_INET, socket.AF_INET6)
)


# Looked up once, since they are used for every SA.
_make = tuple.__new__
_htonl = socket.htonl
_ntohl = socket.ntohl
_IPV4 = int(socket.AF_INET)


def pack_selector(selector: Selector, family: int) -> bytes:
    """struct xfrm_selector; the family is that of its addresses, ``family`` where it has none."""
    address = selector.source or selector.destination
    return _SELECTOR.pack(
        selector.destination,
        selector.source,
        socket.htons(selector.destination_port),
        0xFFFF if selector.destination_port else 0,
        socket.htons(selector.source_port),
        0xFFFF if selector.source_port else 0,
        FAMILIES[len(address)] if address else family,
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
    ) = _SELECTOR.unpack(packed)
    size = _ADDRESS_SIZES.get(family, 4)
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


def pack_lifetimes(lifetimes: Lifetimes) -> bytes:
    """struct xfrm_lifetime_cfg: no limit is the highest number for bytes and packets, 0 for times."""
    soft_bytes, hard_bytes, soft_packets, hard_packets, soft_add, hard_add, soft_use, hard_use = lifetimes
    counts = (soft_bytes or INFINITE, hard_bytes or INFINITE, soft_packets or INFINITE, hard_packets or INFINITE)
    return _LIFETIMES.pack(*counts, soft_add, hard_add, soft_use, hard_use)


def unpack_lifetimes(packed: bytes) -> Lifetimes:
    if packed == _NO_LIMITS:
        return NO_LIFETIMES
    limits = _LIFETIMES.unpack(packed)
    return Lifetimes(*(0 if limit == INFINITE else limit for limit in limits[:4]), *limits[4:])


def _algorithm_prefix(name: str, kind: int, key_size: int, icv_bits: int = 0) -> bytes:
    """Everything of an algorithm attribute that comes before the key; a name without a row is the kernel's own."""
    row = BY_NAME.get(name)
    linux = (row.linux if row is not None else name).encode("ascii")
    payload = (
        _ALGORITHM.pack(linux, key_size * 8)
        if kind == XFRMA_ALG_CRYPT
        else _ALGORITHM_ICV.pack(linux, key_size * 8, icv_bits)
    )
    return ATTRIBUTE.pack(4 + len(payload) + key_size, kind) + payload


def is_combined(sa: SecurityAssociation) -> bool:
    row = BY_NAME.get(sa.encryption)
    return row.combined if row is not None else bool(sa.icv_bits and not sa.authentication)


def _replay_attribute(sa: SecurityAssociation) -> bytes:
    """The sequence numbers that the SA starts with, where it says so, and a window that the base structure cannot hold.

    Every number up to the start counts as received, so that nothing old is taken twice. An SA that
    says its direction has one counter."""
    start = int(dict(sa.extra).get(REPLAY_VALUE, "0"), 0)
    out = start if sa.direction != INBOUND else 0
    into = start if sa.direction != OUTBOUND else 0
    bits = 0xFFFFFFFF
    if not sa.esn and sa.replay_window <= _WINDOW_OF_BASE:
        return attribute(XFRMA_REPLAY_VAL, _REPLAY.pack(out & bits, into & bits, bits if into else 0)) if start else b""
    words = (sa.replay_window + 31) // 32
    state = REPLAY_ESN.pack(words, out & bits, into & bits, out >> 32, into >> 32, sa.replay_window)
    return attribute(XFRMA_REPLAY_ESN_VAL, state + (b"\xff" if into else b"\0") * (4 * words))


class _Likes(t.NamedTuple):
    """What SAs have in common that differ in SPI, addresses and keys only: how XFRM_MSG_NEWSA is
    packed, and all else that goes into it.
    """

    layout: struct.Struct
    selector: bytes
    protocol: int
    before_encryption_key: bytes
    before_authentication_key: bytes
    end: bytes


@functools.lru_cache(maxsize=256)
def _likes(
    protocol: str,
    address_size: int,
    mode: str,
    encryption: str,
    encryption_key_size: int,
    authentication: str,
    authentication_key_size: int,
    others: tuple[t.Any, ...],
) -> _Likes:
    """``others`` are the fields after the keys. Integrity goes as XFRMA_ALG_AUTH_TRUNC with its
    ICV: without, the kernel takes 96 bits for hmac(sha256).
    """
    nowhere = bytes(address_size)
    sa = SecurityAssociation(protocol, 0, nowhere, nowhere, mode, encryption, b"", authentication, b"", *others)
    family = FAMILIES[address_size]
    flags = _FLAG_ESN if sa.esn else 0
    if sa.selector is not None:
        selector = pack_selector(sa.selector, family)
    else:
        selector = b""
        if _af_unspec(sa):
            flags |= _FLAG_AF_UNSPEC
    window = sa.replay_window if sa.replay_window <= _WINDOW_OF_BASE and not sa.esn else 0
    before = _NEW_INFO_END.pack(pack_lifetimes(sa.lifetimes), sa.reqid, family, MODE_NUMBERS[sa.mode], window, flags)
    if not encryption:
        encryption_key_size = 0
    elif is_combined(sa):
        before += _algorithm_prefix(encryption, XFRMA_ALG_AEAD, encryption_key_size, sa.icv_bits)
    else:
        before += _algorithm_prefix(encryption, XFRMA_ALG_CRYPT, encryption_key_size)
    between = bytes(-encryption_key_size % 4)
    if not authentication:
        authentication_key_size = 0
    else:
        between += _algorithm_prefix(authentication, XFRMA_ALG_AUTH_TRUNC, authentication_key_size, sa.icv_bits)
    parts = [bytes(-authentication_key_size % 4)]
    if sa.esn or sa.replay_window > _WINDOW_OF_BASE or sa.extra:
        parts.append(_replay_attribute(sa))
    if sa.mark is not None:
        parts.append(attribute(XFRMA_MARK, _MARK.pack(*sa.mark)))
    if sa.if_id:
        parts.append(_U32_ATTRIBUTE.pack(8, XFRMA_IF_ID, sa.if_id))
    if sa.encapsulation is not None:
        ports = socket.htons(sa.encapsulation.source_port), socket.htons(sa.encapsulation.destination_port)
        parts.append(attribute(XFRMA_ENCAP, _ENCAP.pack(_UDP_ENCAP_ESPINUDP, *ports, sa.encapsulation.nat_remote)))
    if bound_direction(sa):
        # Since Linux 6.10; older kernels ignore it. With it an outbound SA may have no window, and
        # without it ESN needs one.
        parts.append(U8_ATTRIBUTE.pack(5, XFRMA_SA_DIR, _DIRECTION_NUMBERS[sa.direction]))
    if sa.output_mark is not None:
        parts += (
            _U32_ATTRIBUTE.pack(8, XFRMA_SET_MARK, sa.output_mark.value),
            _U32_ATTRIBUTE.pack(8, XFRMA_SET_MARK_MASK, sa.output_mark.mask),
        )
    if sa.tfc_padding:
        parts.append(_U32_ATTRIBUTE.pack(8, XFRMA_TFCPAD, sa.tfc_padding))
    if sa.nat_keepalive:
        parts.append(_U32_ATTRIBUTE.pack(8, XFRMA_NAT_KEEPALIVE_INTERVAL, sa.nat_keepalive))
    end = b"".join(parts)
    layout = (
        f"{_NEW_INFO_BEGIN}{len(before)}s{encryption_key_size}s{len(between)}s{authentication_key_size}s{len(end)}s"
    )
    return _Likes(struct.Struct(layout), selector, PROTOCOL_NUMBERS[protocol], before, between, end)


def new_sa(sa: SecurityAssociation) -> Message:
    """XFRM_MSG_NEWSA."""
    protocol, spi, source, destination, mode, encryption, encryption_key, authentication, authentication_key = sa[:9]
    layout, selector, number, before, between, end = _likes(
        protocol,
        len(destination),
        mode,
        encryption,
        len(encryption_key),
        authentication,
        len(authentication_key),
        sa[9:],
    )
    body = layout.pack(
        selector, destination, _htonl(spi), number, source, before, encryption_key, between, authentication_key, end
    )
    return _make(Message, (XFRM_MSG_NEWSA, body, NLM_F_CREATE | NLM_F_EXCL))


def sa_id(kind: int, sa: SecurityAssociation) -> Message:
    body = _ID.pack(
        sa.destination,
        _htonl(sa.spi),
        FAMILIES[len(sa.destination)],
        PROTOCOL_NUMBERS.get(sa.protocol) or int(sa.protocol),
    )
    return _make(Message, (kind, body if sa.mark is None else body + attribute(XFRMA_MARK, _MARK.pack(*sa.mark)), 0))


def delete_sa(sa: SecurityAssociation) -> Message:
    return sa_id(XFRM_MSG_DELSA, sa)


@functools.lru_cache(maxsize=256)
def _read_algorithm(prefix: bytes) -> tuple[str, int]:
    """Name and key bytes from struct xfrm_algo without its key."""
    linux, bits = _ALGORITHM.unpack(prefix)
    return _name(linux, 0), (bits + 7) // 8


@functools.lru_cache(maxsize=256)
def _read_algorithm_icv(prefix: bytes, combined: bool) -> tuple[str, int, int]:
    """Name, key bytes and ICV bits from struct xfrm_algo_auth or xfrm_algo_aead without its key."""
    linux, bits, icv_bits = _ALGORITHM_ICV.unpack(prefix)
    return _name(linux, icv_bits if combined else 0), (bits + 7) // 8, icv_bits


def _name(linux: bytes, icv_bits: int) -> str:
    """Our name for the kernel's; the kernel's own where the table has no row, as for the SAs of other programs."""
    text = linux.rstrip(b"\0").decode("ascii", "replace")
    row = find_linux(text, icv_bits)
    return row.name if row is not None else text


@functools.lru_cache(maxsize=64)
def _unused(add_time: int) -> Counters:
    """The counters of an SA that has done nothing; thousands that were added in one second share them."""
    return Counters(add_time=add_time)


def decode(part: Part) -> Entry:
    """An Entry from XFRM_MSG_NEWSA. Never fails on an SA of another program: what the model lacks
    is named in `association.FLAGS`.
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
    ) = _INFO.unpack_from(buffer, start)
    offset = start + _INFO.size
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
            sequence_out, sequence_in, dummy = _REPLAY.unpack_from(buffer, offset + 4)
        elif kind == XFRMA_ALG_AEAD:
            encryption, size, icv_bits = _read_algorithm_icv(buffer[offset + 4 : offset + 76], True)
            encryption_key = buffer[offset + 76 : offset + 76 + size]
        elif kind == XFRMA_REPLAY_ESN_VAL:
            dummy, out_low, in_low, out_high, in_high, window = REPLAY_ESN.unpack_from(buffer, offset + 4)
            sequence_out, sequence_in = out_high << 32 | out_low, in_high << 32 | in_low
        elif kind == XFRMA_MARK:
            mark = Mark(*_MARK.unpack_from(buffer, offset + 4))
        elif kind == XFRMA_IF_ID:
            if_id = _U32.unpack_from(buffer, offset + 4)[0]
        elif kind == XFRMA_ENCAP:
            encapsulation = _encapsulation(buffer, offset + 4, family)
            if encapsulation is None:
                strange.append(offset)
        elif kind == XFRMA_SA_DIR:
            direction = _DIRECTION_NAMES.get(buffer[offset + 4], "")
            if not direction:
                strange.append(offset)
        elif kind in _NUMBERS:
            numbers = {**numbers, kind: _U32.unpack_from(buffer, offset + 4)[0]}
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
            flags & _FLAG_ESN != 0,
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
    if numbers:
        sa = sa._replace(
            output_mark=(
                Mark(numbers[XFRMA_SET_MARK], numbers.get(XFRMA_SET_MARK_MASK, 0xFFFFFFFF))
                if XFRMA_SET_MARK in numbers
                else None
            ),
            tfc_padding=numbers.get(XFRMA_TFCPAD, 0),
            nat_keepalive=numbers.get(XFRMA_NAT_KEEPALIVE_INTERVAL, 0),
        )
    if strange or flags & ~_FLAGS_KNOWN or not any_traffic:
        words = _strange_words(sa, flags, selector, [(buffer, offset) for offset in strange])
        if words:
            sa = sa._replace(extra=((FLAGS, " ".join(words)),))
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
    # A larval SA has an SPI at most: no algorithm (net/xfrm/xfrm_state.c, xfrm_find_acq and xfrm_state_find).
    larval = not (encryption or authentication) and protocol in (socket.IPPROTO_ESP, socket.IPPROTO_AH)
    return _make(Entry, (sa, counters, larval, b""))


def _strange_words(
    sa: SecurityAssociation, flags: int, selector: bytes, found: t.Sequence[tuple[bytes, int]]
) -> list[str]:
    """What the kernel shows of an SA and `SecurityAssociation` has no field for, as ip(8) calls it;
    ``found`` are its other attributes.
    """
    if _af_unspec(sa):
        flags &= ~_FLAG_AF_UNSPEC
    words = [word for bit, word in enumerate(_FLAG_WORDS) if flags & ~_FLAGS_KNOWN & 1 << bit]
    if (
        selector not in _ANY_TRAFFIC
        and pack_selector(sa.selector or Selector(), FAMILIES[len(sa.destination)]) != selector
    ):
        words.append("selector")
    for buffer, offset in found:
        length, kind = ATTRIBUTE.unpack_from(buffer, offset)
        if kind == XFRMA_SA_EXTRA_FLAGS:
            bits = _U32.unpack_from(buffer, offset + 4)[0]
            words += [word for bit, word in enumerate(_EXTRA_FLAG_WORDS) if bits & 1 << bit]
        elif kind == XFRMA_ENCAP:
            words.append(f"encap-{_ENCAP.unpack_from(buffer, offset + 4)[0]}")
        else:
            words.append(strange_word(kind, buffer[offset + 4 : offset + length]))
    return list(dict.fromkeys(words))


def strange_word(kind: int, payload: bytes) -> str:
    """The word for an attribute of an SA or a policy that we have no field for, and its value where
    that is a number: ``pcpu=3``.

    That of an offload is the number of the interface, the direction and what is done there:
    ``offload=2,inbound,packet``."""
    if kind == XFRMA_OFFLOAD_DEV and len(payload) >= _OFFLOAD.size:
        interface, flags = _OFFLOAD.unpack_from(payload)
        direction = INBOUND if flags & _OFFLOAD_INBOUND else OUTBOUND
        return f"offload={interface},{direction},{'packet' if flags & _OFFLOAD_PACKET else 'crypto'}"
    word, layout = _STRANGE_WORDS.get(kind, (f"attribute-{kind}", None))
    return f"{word}={layout.unpack_from(payload)[0]}" if layout is not None and len(payload) >= layout.size else word


def _af_unspec(sa: SecurityAssociation) -> bool:
    """Whether packets of either family may go through: no selector says which."""
    return sa.mode == TUNNEL and sa.selector is None


def _encapsulation(buffer: bytes, offset: int, family: int) -> Encapsulation | None:
    """None for an encapsulation that is not ESP in UDP; the kernel holds one original address,
    taken for the remote one.
    """
    kind, source_port, destination_port, original = _ENCAP.unpack_from(buffer, offset)
    if kind != _UDP_ENCAP_ESPINUDP:
        return None
    original = original[: _ADDRESS_SIZES.get(family, 16)]
    return Encapsulation(
        socket.ntohs(source_port), socket.ntohs(destination_port), b"", original if any(original) else b""
    )


def restore(part: Part) -> Message:
    """The XFRM_MSG_NEWSA that puts a dumped SA back as it was: flags, counters, times, sequence
    numbers and windows included.

    Of what a dump shows, the kernel does not take back the time of the last use and the counts of refused packets.
    """
    buffer, start, dummy = part
    used = _INFO.unpack_from(buffer, start)[6:10]
    body = buffer[start : start + _INFO.size] + attribute(XFRMA_LTIME_VAL, _USED.pack(*used)) + _attributes_of(part)
    return Message(XFRM_MSG_NEWSA, body, NLM_F_CREATE | NLM_F_EXCL)


def revised(part: Part, lifetimes: Lifetimes) -> Message:
    """The XFRM_MSG_UPDSA that gives a dumped SA other lifetimes.

    All that the dump shows goes along: the kernel refuses what differs in some of it, and takes
    over some (xfrm_state_update in net/xfrm/xfrm_state.c). An offload does not, or the device would
    be given the SA a second time."""
    buffer, start, dummy = part
    before, after = (
        buffer[start : start + _LIFETIMES_AT],
        buffer[start + _LIFETIMES_AT + _LIFETIMES.size : start + _INFO.size],
    )
    return Message(XFRM_MSG_UPDSA, before + pack_lifetimes(lifetimes) + after + _attributes_of(part, XFRMA_OFFLOAD_DEV))


def _attributes_of(part: Part, *without: int) -> bytes:
    """The attributes of a dumped SA that a request may have."""
    buffer, start, end = part
    held = attributes(buffer, start + _INFO.size, end)
    return b"".join(
        attribute(kind, buffer[first:last])
        for kind, (first, last) in held.items()
        if kind not in (XFRMA_LASTUSED, XFRMA_PAD, XFRMA_LTIME_VAL) and kind not in without
    )


def as_shown(sa: SecurityAssociation, tells_directions: bool) -> SecurityAssociation:
    """The SA as a dump shows it after `new_sa`: without ``extra``, and without a direction that it was not bound to."""
    return sa._replace(direction=bound_direction(sa) if tells_directions else "", extra=())


def redacted(sa: SecurityAssociation) -> bool:
    """Whether all key material reads as zeros (xfrm_redact() under lockdown)."""
    material = sa.encryption_key + sa.authentication_key
    return bool(material) and not any(material)
