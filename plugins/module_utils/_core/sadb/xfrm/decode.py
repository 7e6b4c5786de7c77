# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SAs as Linux shows them: struct xfrm_usersa_info with its attributes to Entry."""

from __future__ import annotations

import itertools
import operator
import socket
import struct
import typing as t

from ...sa.algorithms import find_linux
from ...sa.model import (
    AFTER_KEYS,
    FLAGS,
    NO_LIFETIMES,
    PROTOCOLS,
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
from . import uapi
from .layout import FLAGS_KNOWN, MODELLED, NOTHING_NEW, OWN, USED, Info, Layout
from .netlink import HEADER_SIZE, Part, aligned, attributes, split

_NO_LIMITS = uapi.LIFETIME_CFG.pack(*(uapi.XFRM_INF,) * 4, *(0,) * 4)

# Looked up once, since they are used for every SA.
_make = tuple.__new__
_ntohl = socket.ntohl
_encryption_key = operator.itemgetter(SecurityAssociation._fields.index("encryption_key"))
_AFTER_LIFETIMES = SecurityAssociation._fields.index("lifetimes") + 1

# The layouts of messages by size, and how many sizes, layouts of a size, and kinds of SAs are remembered.
_LAYOUTS: dict[int, list[Layout]] = {}
_MOST_SIZES = 64
_MOST_LAYOUTS = 4
_MOST_KINDS = 256
# The counters of unused SAs.
_UNUSED: dict[tuple[bytes, bytes], Counters] = {}
_MOST_UNUSED = 64
# Sequence numbers out and in, then their upper halves, which only ESN has.
_SEQUENCES = struct.Struct("=4I")


def unpack_lifetimes(packed: bytes) -> Lifetimes:
    if packed == _NO_LIMITS:
        return NO_LIFETIMES
    limits = uapi.LIFETIME_CFG.unpack(packed)
    return Lifetimes(*(0 if limit == uapi.XFRM_INF else limit for limit in limits[:4]), *limits[4:])


def _name(linux: bytes, icv_bits: int) -> str:
    """Our name of an algorithm; the kernel's name if the table has no row, as for SAs of other programs."""
    text = linux.rstrip(b"\0").decode("ascii", "backslashreplace")
    row = find_linux(text, icv_bits)
    return row.name if row is not None else text


class _Common(t.NamedTuple):
    """What SAs of one kind have in common; ``rest`` are the fields after the lifetimes."""

    protocol: str
    mode: str
    encryption: str
    authentication: str
    icv_bits: int
    replay_window: int
    esn: bool
    selector: Selector | None
    encapsulation: Encapsulation | None
    rest: tuple[t.Any, ...]
    larval: bool


def decode(part: Part) -> Entry:
    """An Entry from XFRM_MSG_NEWSA. Never fails on an SA of another program: properties without a field
    are named in the keyword `model.FLAGS`.
    """
    return _entry(part, *_interpret(part))


def _interpret(part: Part) -> tuple[Layout, _Common]:
    buffer, start, end = part
    for layout in _LAYOUTS.get(end - start, ()):
        common = layout.known.get(layout.shared(buffer, start))
        if common is not None:
            return layout, common
    return _learn(part)


def _entry(part: Part, layout: Layout, common: _Common) -> Entry:
    protocol, mode, encryption, authentication, icv_bits, window, esn, selector, encapsulation, rest, larval = common
    (
        destination,
        spi,
        source,
        lifetimes,
        usage,
        reqid,
        authentication_key,
        encryption_key,
        mark,
        replay,
        if_id,
    ) = layout.variables(part.buffer, part.start)
    fields = (
        protocol,
        spi,
        source,
        destination,
        mode,
        encryption,
        encryption_key,
        authentication,
        authentication_key,
        icv_bits,
        window,
        esn,
        _ntohl(reqid),
        Mark(*uapi.MARK.unpack(mark)) if mark else None,
        uapi.U32.unpack(if_id)[0] if if_id else 0,
        selector,
        encapsulation,
        NO_LIFETIMES if lifetimes == _NO_LIMITS else unpack_lifetimes(lifetimes),
    )
    return _make(Entry, (_make(SecurityAssociation, fields + rest), _counters(usage, replay), larval))


def decode_several(part: Part) -> list[Entry]:
    """The Entry of a message, and those of the messages behind it that differ from it in `OWN` and perhaps
    `USED` only.
    """
    layout, common = _interpret(part)
    entry = _entry(part, layout, common)
    sa, counters, larval = entry
    buffer, start, end = part
    if not buffer.startswith(buffer[start - HEADER_SIZE : start], aligned(end)):
        return [entry]
    several: t.Iterable[Counters] = itertools.repeat(counters)
    messages = layout.alike(part, OWN)
    if len(messages) < len(buffer) - aligned(end):
        messages = layout.alike(part, OWN + USED)
        several = [_counters(usage, replay) for usage, replay in layout.read(messages, USED)]
    protocol, mode, encryption, authentication = sa.protocol, sa.mode, sa.encryption, sa.authentication
    others = sa[AFTER_KEYS:]
    fields = [
        (protocol, spi, source, destination, mode, encryption, key, authentication, integrity_key) + others
        for destination, spi, source, integrity_key, key in layout.read(messages, OWN)
    ]
    # In C, since a SADB may have many thousands.
    sas = map(_make, itertools.repeat(SecurityAssociation), fields)
    return [entry, *map(_make, itertools.repeat(Entry), zip(sas, several, itertools.repeat(larval)))]


def decode_all(datagram: bytes) -> list[Entry]:
    """The entries of all SAs that a datagram of a dump shows."""
    parts = [part for kind, *dummy, part in split(datagram) if kind == uapi.XFRM_MSG_NEWSA]
    entries: list[Entry] = []
    while len(entries) < len(parts):
        entries += decode_several(parts[len(entries)])
    return entries


def _counters(usage: bytes, replay: bytes) -> Counters:
    return _UNUSED.get((usage, replay)) or _read_counters(usage, replay)


def _read_counters(usage: bytes, replay: bytes) -> Counters:
    used_bytes, packets, add_time, use_time, late, replayed, failures = uapi.USAGE.unpack(usage)
    out_low, in_low, out_high, in_high = _SEQUENCES.unpack(replay.ljust(_SEQUENCES.size, b"\0"))
    sequences = out_high << 32 | out_low, in_high << 32 | in_low
    counters = _make(Counters, (used_bytes, packets, add_time, use_time, *sequences, late, replayed, failures))
    if not packets:
        # Thousands of SAs that were added in the same second have the same counters.
        if len(_UNUSED) >= _MOST_UNUSED:
            _UNUSED.clear()
        _UNUSED[usage, replay] = counters
    return counters


def _learn(part: Part) -> tuple[Layout, _Common]:
    """Interpret the message of a new kind of SA, and remember the result, which contains no key."""
    layout = next((layout for layout in _LAYOUTS.get(part.end - part.start, ()) if layout.fits(part)), None)
    if layout is None:
        layout = Layout(part)
        size = part.end - part.start
        if len(_LAYOUTS) >= _MOST_SIZES:
            _LAYOUTS.clear()
        # Only a few, since a message is compared with each of them. A SADB has one or two layouts of one size.
        _LAYOUTS[size] = [layout, *_LAYOUTS.get(size, ())][:_MOST_LAYOUTS]
    if len(layout.known) >= _MOST_KINDS:
        layout.known.clear()
    common = _read_common(part)
    layout.known[layout.shared(part.buffer, part.start)] = common
    return layout, common


def _read_common(part: Part) -> _Common:
    buffer, start, end = part
    info = Info(*uapi.USERSA_INFO.unpack_from(buffer, start))
    payloads = {
        kind: buffer[first:last]
        for kind, (first, last) in attributes(buffer, start + uapi.USERSA_INFO.size, end).items()
        if kind not in NOTHING_NEW
    }
    encryption, authentication, icv_bits = _algorithms(payloads)
    esn_state = payloads.get(uapi.XFRMA_REPLAY_ESN_VAL)
    window = info.window if esn_state is None else uapi.REPLAY_STATE_ESN.unpack_from(esn_state)[5]
    sa = SecurityAssociation(
        uapi.PROTOCOL_NAMES.get(info.protocol) or str(info.protocol),
        0,
        info.source,
        info.destination[: uapi.ADDRESS_SIZES.get(info.family, 16)],
        uapi.MODE_NAMES.get(info.mode) or str(info.mode),
        encryption,
        b"",
        authentication,
        b"",
        icv_bits,
        window,
        bool(info.flags & uapi.XFRM_STATE_ESN),
        selector=None if info.selector in uapi.ANY_TRAFFIC else _selector(info.selector),
        **_attribute_fields(payloads, info.family),
    )
    if not _is_plain(sa, info, payloads):
        from .strange import strange_words

        words = strange_words(sa, info, payloads)
        if words:
            sa = sa._replace(extra=((FLAGS, " ".join(words)),))
    # A larval SA has no algorithm (net/xfrm/xfrm_state.c, xfrm_find_acq and xfrm_state_find).
    larval = not (encryption or authentication) and sa.protocol in PROTOCOLS
    return _Common(
        sa.protocol,
        sa.mode,
        encryption,
        authentication,
        icv_bits,
        window,
        sa.esn,
        sa.selector,
        sa.encapsulation,
        sa[_AFTER_LIFETIMES:],
        larval,
    )


def _is_plain(sa: SecurityAssociation, info: Info, payloads: t.Mapping[int, bytes]) -> bool:
    """Whether the SA has no property that may need a word of `strange`, which most tasks then need not import."""
    known = FLAGS_KNOWN | (uapi.XFRM_STATE_AF_UNSPEC if sa.mode == TUNNEL else 0)
    return info.selector in uapi.ANY_TRAFFIC and not info.flags & ~known and MODELLED.issuperset(payloads)


def _selector(packed: bytes) -> Selector | None:
    from .selectors import unpack_selector  # only here, since most SAs have no selector

    return normal_selector(unpack_selector(packed)[0])


def _algorithms(payloads: t.Mapping[int, bytes]) -> tuple[str, str, int]:
    """The names of cipher and integrity algorithm, and the ICV bits."""
    encryption = authentication = ""
    icv_bits = 0
    if uapi.XFRMA_ALG_AUTH_TRUNC in payloads:
        linux, dummy, icv_bits = uapi.ALGO_ICV.unpack_from(payloads[uapi.XFRMA_ALG_AUTH_TRUNC])
        authentication = _name(linux, 0)
    if uapi.XFRMA_ALG_CRYPT in payloads:
        encryption = _name(uapi.ALGO.unpack_from(payloads[uapi.XFRMA_ALG_CRYPT])[0], 0)
    if uapi.XFRMA_ALG_AEAD in payloads:
        linux, dummy, icv_bits = uapi.ALGO_ICV.unpack_from(payloads[uapi.XFRMA_ALG_AEAD])
        encryption = _name(linux, icv_bits)
    return encryption, authentication, icv_bits


def _attribute_fields(payloads: t.Mapping[int, bytes], family: int) -> dict[str, t.Any]:
    """The fields of an SA that have an attribute each."""

    def number(kind: int, default: int = 0) -> int:
        return uapi.U32.unpack_from(payloads[kind])[0] if kind in payloads else default

    fields: dict[str, t.Any] = {
        "tfc_padding": number(uapi.XFRMA_TFCPAD),
        "nat_keepalive": number(uapi.XFRMA_NAT_KEEPALIVE_INTERVAL),
        "direction": _direction(payloads),
        "encapsulation": _encapsulation(payloads, family),
    }
    if uapi.XFRMA_SET_MARK in payloads:
        fields["output_mark"] = Mark(number(uapi.XFRMA_SET_MARK), number(uapi.XFRMA_SET_MARK_MASK, 0xFFFFFFFF))
    return fields


def _direction(payloads: t.Mapping[int, bytes]) -> str:
    """Empty without a direction, and for one that this module does not know."""
    return uapi.DIRECTION_NAMES.get(payloads.get(uapi.XFRMA_SA_DIR, b"\0")[0], "")


def _encapsulation(payloads: t.Mapping[int, bytes], family: int) -> Encapsulation | None:
    """None for an encapsulation that is not ESP in UDP. The kernel has one original address, read as the
    remote one.
    """
    if uapi.XFRMA_ENCAP not in payloads:
        return None
    kind, source_port, destination_port, original = uapi.ENCAP_TMPL.unpack_from(payloads[uapi.XFRMA_ENCAP])
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


def any_redacted(sas: t.Sequence[SecurityAssociation]) -> bool:
    # In C where every cipher has a key that is shown, as in nearly all cases.
    return not all(map(any, map(_encryption_key, sas))) and any(map(redacted, sas))


def as_shown(sa: SecurityAssociation, tells_directions: bool) -> SecurityAssociation:
    """The SA as a dump shows it after `new_sa`: without ``extra``, and with a direction only if bound to it."""
    return sa._replace(direction=bound_direction(sa) if tells_directions else "", extra=())
