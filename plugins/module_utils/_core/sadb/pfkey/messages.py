# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SecurityAssociation to the extensions of a PF_KEY v2 message, and back. Pure; `layout` has the
extensions, and `dialects` what differs between systems.
"""

from __future__ import annotations

import socket
import typing as t

from ...sa import model
from ...sa.algorithms import BY_NAME
from ...sa.model import Counters, Encapsulation, Entry, Lifetimes, SecurityAssociation, Selector
from . import layout
from .dialects import Dialect
from .layout import (
    ENCAP_KIND,
    PORT,
    SA2,
    SEQUENCE_NUMBER,
    WORD,
    Address,
    ParsedMessage,
    SaExtension,
    pack_address,
    pack_key,
)

ANY_TYPE = 0
SA_TYPES = {model.AH: 2, model.ESP: 3, "comp": 9}
_TYPE_NAMES = {number: name for name, number in SA_TYPES.items()}
_LARVAL = 0
_MATURE = 1
MODES = {model.TRANSPORT: 1, model.TUNNEL: 2, "beet": 3}
_MODE_NAMES = {0: model.TRANSPORT, **{number: name for name, number in MODES.items()}}
_ESP_IN_UDP = 2
# The upper-layer protocol of an address means any with 0, and on systems that descend from KAME with 255.
_ANY_PROTOCOLS = (0, 255)

NOT_SHOWN = "untold"
"""Stands for the algorithm of an SA that PF_KEY shows without its number, as Linux does with combined ciphers."""


def _identity(dialect: Dialect, sa: SecurityAssociation, fields: SaExtension) -> list[bytes]:
    selector = sa.selector or Selector()
    # Where a system takes upper-layer ports, those of a tunnel belong to the inner addresses.
    outer = selector if dialect.selector.traffic and sa.mode != model.TUNNEL else Selector()
    bits, protocol = len(sa.destination) * 8, outer.protocol
    return [
        fields.pack(),
        pack_address(dialect, layout.EXT_SOURCE, sa.source, bits, protocol, outer.source_port),
        pack_address(dialect, layout.EXT_DESTINATION, sa.destination, bits, protocol, outer.destination_port),
    ]


def _pack_encapsulation(dialect: Dialect, sa: SecurityAssociation) -> list[bytes]:
    if sa.encapsulation is None or dialect.encapsulation is None:
        return []
    numbers = dialect.encapsulation
    return [
        ENCAP_KIND.pack(1, numbers.kind, _ESP_IN_UDP),
        PORT.pack(1, numbers.source_port, socket.htons(sa.encapsulation.source_port)),
        PORT.pack(1, numbers.destination_port, socket.htons(sa.encapsulation.destination_port)),
    ]


def identify(dialect: Dialect, sa: SecurityAssociation) -> list[bytes]:
    """The extensions of SADB_GET and SADB_DELETE. Every system requires the source; NetBSD requires
    the ports of an encapsulation, too.
    """
    which = SaExtension(socket.htonl(sa.spi), 0, _MATURE, 0, 0, 0)
    return [*_identity(dialect, sa, which), *_pack_encapsulation(dialect, sa)]


def satype_of(sa: SecurityAssociation) -> int:
    return SA_TYPES.get(sa.protocol) or int(sa.protocol)


def _sa_extension(dialect: Dialect, sa: SecurityAssociation) -> SaExtension:
    integrity = dialect.authentication.get(sa.authentication)
    direction = {model.INBOUND: dialect.flags.inbound, model.OUTBOUND: dialect.flags.outbound}.get(sa.direction, 0)
    return SaExtension(
        socket.htonl(sa.spi),
        min(255, sa.replay_window // dialect.replay_unit),
        _MATURE,
        integrity.number if integrity is not None else 0,
        dialect.encryption.get(sa.encryption, 0),
        (dialect.flags.esn if sa.esn else 0) | (dialect.flags.tunnel if sa.mode == model.TUNNEL else 0) | direction,
    )


def new_sa(dialect: Dialect, sa: SecurityAssociation) -> list[bytes]:
    """The extensions of SADB_ADD, for an SA without refusals."""
    parts = _identity(dialect, sa, _sa_extension(dialect, sa))
    if sa.lifetimes != model.NO_LIFETIMES:
        parts += layout.pack_lifetimes(sa.lifetimes)
    if sa.authentication:
        parts.append(pack_key(layout.EXT_KEY_AUTH, sa.authentication_key))
    if sa.encryption_key or (sa.encryption and dialect.empty_key):
        parts.append(pack_key(layout.EXT_KEY_ENCRYPT, sa.encryption_key))
    if dialect.sa2:
        parts.append(SA2.pack(SA2.size // 8, dialect.sa2, MODES[sa.mode], 0, sa.reqid))
    if sa.replay_window > 255 * dialect.replay_unit:
        parts.append(WORD.pack(1, dialect.wide_replay, sa.replay_window))
    parts += _pack_encapsulation(dialect, sa)
    parts += _pack_selector(dialect, sa)
    for keyword, text in sa.extra:
        number = int(text, 0)
        if keyword == model.PAIR_SPI:
            parts.append(WORD.pack(1, dialect.pair, socket.htonl(number)))
        elif keyword == model.REPLAY_VALUE:
            parts.append(SEQUENCE_NUMBER.pack(2, dialect.replay_value, number, 0))
    return parts


def _pack_selector(dialect: Dialect, sa: SecurityAssociation) -> list[bytes]:
    """The networks of a selector; no network is every address."""
    selector, numbers = sa.selector, dialect.selector
    if selector is None or not (selector.source or selector.destination):
        return []
    traffic = selector if numbers.traffic else Selector()
    any_address = bytes(len(selector.source or selector.destination))
    return [
        pack_address(dialect, number, network or any_address, prefix, traffic.protocol, port)
        for number, network, prefix, port in (
            (numbers.source, selector.source, selector.source_prefix, traffic.source_port),
            (numbers.destination, selector.destination, selector.destination_prefix, traffic.destination_port),
        )
        if number
    ]


def _read_selector(
    dialect: Dialect, extensions: t.Mapping[int, bytes], outer: tuple[Address, Address]
) -> Selector | None:
    numbers = (dialect.selector.source, dialect.selector.destination)
    source, destination = (
        layout.read_address(dialect, extensions[number]) if number in extensions else Address() for number in numbers
    )
    if not (source.packed or destination.packed):
        if not dialect.selector.traffic:
            return None
        # The upper-layer protocol and ports are those of the outer addresses.
        source, destination = (end._replace(packed=b"", prefix=0) for end in outer)
    protocol = (source if source.packed or not destination.packed else destination).protocol
    return model.normal_selector(
        Selector(
            source.packed,
            source.prefix,
            destination.packed,
            destination.prefix,
            0 if protocol in _ANY_PROTOCOLS else protocol,
            source.port,
            destination.port,
        )
    )


def _read_encapsulation(dialect: Dialect, extensions: t.Mapping[int, bytes]) -> Encapsulation | None:
    numbers = dialect.encapsulation
    if numbers is None or numbers.kind not in extensions:
        return None
    dummy, dummy, kind = ENCAP_KIND.unpack_from(extensions[numbers.kind])
    if kind != _ESP_IN_UDP:
        return None
    source, destination = (
        PORT.unpack_from(extensions.get(number, bytes(PORT.size)))[-1]
        for number in (numbers.source_port, numbers.destination_port)
    )
    return Encapsulation(socket.ntohs(source), socket.ntohs(destination))


def _name(known: t.Iterable[tuple[str, int]], number: int, prefix: str) -> str:
    return next((name for name, row in known if row == number), f"{prefix}-{number}" if number else "")


def _algorithms(dialect: Dialect, satype: int, fields: SaExtension) -> tuple[str, str, int]:
    """Names of cipher and integrity, and bits of the ICV. A number without a row stands as a word
    with the number in it.
    """
    rows = dialect.authentication
    encryption = _name(dialect.encryption.items(), fields.encryption, "ealg")
    authentication = _name(((name, row.number) for name, row in rows.items()), fields.authentication, "aalg")
    cipher = BY_NAME.get(encryption)
    if cipher is not None and cipher.combined:
        # Some systems name the hash inside, too.
        return encryption, "", cipher.icv_bits[0]
    icv_bits = rows[authentication].icv_bits if authentication in rows else 0
    if fields.state != _LARVAL and not encryption:
        if satype == SA_TYPES[model.ESP]:
            encryption = NOT_SHOWN
        elif satype == SA_TYPES[model.AH]:
            authentication = authentication or NOT_SHOWN
    return encryption, authentication, icv_bits


def decode(dialect: Dialect, message: ParsedMessage) -> Entry:
    """An Entry from a message of SADB_DUMP, of SADB_GET, or the echo of SADB_ADD. Raises SadbError if
    the message has no SA, or is malformed.
    """
    extensions = message.extensions
    for number in (layout.EXT_SA, layout.EXT_SOURCE, layout.EXT_DESTINATION):
        if number not in extensions:
            raise layout.malformed(f"extension {number} is missing")
    fields = layout.read_sa(extensions[layout.EXT_SA])
    source, destination = (
        layout.read_address(dialect, extensions[kind]) for kind in (layout.EXT_SOURCE, layout.EXT_DESTINATION)
    )
    sa2 = extensions.get(dialect.sa2, bytes(SA2.size))
    dummy, dummy, mode, sequence, reqid = layout.unpack(SA2, sa2, "mode and reqid")
    wide = extensions.get(dialect.wide_replay)
    encryption, authentication, icv_bits = _algorithms(dialect, message.satype, fields)
    hard, soft, current = (
        layout.read_lifetime(extensions.get(kind)) for kind in (layout.EXT_HARD, layout.EXT_SOFT, layout.EXT_CURRENT)
    )
    limits = Lifetimes(
        soft.bytes, hard.bytes, soft.packets, hard.packets, soft.addtime, hard.addtime, soft.usetime, hard.usetime
    )
    inbound, outbound = fields.flags & dialect.flags.inbound, fields.flags & dialect.flags.outbound
    sa = SecurityAssociation(
        _TYPE_NAMES.get(message.satype) or str(message.satype),
        socket.ntohl(fields.spi),
        source.packed,
        destination.packed,
        model.TUNNEL if fields.flags & dialect.flags.tunnel else _MODE_NAMES.get(mode) or str(mode),
        encryption,
        layout.read_key(dialect, extensions.get(layout.EXT_KEY_ENCRYPT)),
        authentication,
        layout.read_key(dialect, extensions.get(layout.EXT_KEY_AUTH)),
        icv_bits,
        WORD.unpack_from(wide)[-1] if wide is not None else fields.replay * dialect.replay_unit,
        bool(fields.flags & dialect.flags.esn),
        reqid,
        selector=_read_selector(dialect, extensions, (source, destination)),
        encapsulation=_read_encapsulation(dialect, extensions),
        lifetimes=limits,
        direction=model.INBOUND if inbound and not outbound else model.OUTBOUND if outbound and not inbound else "",
        extra=_read_pair(dialect, extensions),
    )
    sequence = _read_sequence(dialect, extensions, sequence)
    counters = Counters(current.bytes, current.packets, current.addtime, current.usetime, sequence)
    return Entry(sa, counters, fields.state == _LARVAL)


def _read_pair(dialect: Dialect, extensions: t.Mapping[int, bytes]) -> tuple[tuple[str, str], ...]:
    pair = extensions.get(dialect.pair)
    return () if pair is None else ((model.PAIR_SPI, f"0x{socket.ntohl(WORD.unpack_from(pair)[-1]):08x}"),)


def _read_sequence(dialect: Dialect, extensions: t.Mapping[int, bytes], other: int) -> int:
    extension = extensions.get(dialect.replay_value)
    if extension is None:
        return other
    dummy, dummy, narrow, broad = layout.unpack(SEQUENCE_NUMBER, extension, "a sequence number")
    return int(narrow or broad)


def restore(dialect: Dialect, message: ParsedMessage) -> list[bytes]:
    """The extensions of the SADB_ADD that restores what SADB_GET showed: all but its usage and its
    pair, including those that this codec does not know.
    """
    parts = []
    for kind, extension in message.extensions.items():
        if kind == layout.EXT_SA:
            fields = layout.read_sa(extension)
            extension = fields._replace(state=_MATURE, flags=fields.flags & ~dialect.flags.kernel).pack()
        elif kind == layout.EXT_KEY_ENCRYPT and dialect.salt_apart:
            extension = pack_key(kind, layout.read_key(dialect, extension))
        if kind not in (layout.EXT_CURRENT, dialect.pair):
            parts.append(extension)
    if layout.EXT_KEY_ENCRYPT not in message.extensions and dialect.empty_key and message.satype == SA_TYPES[model.ESP]:
        parts.append(pack_key(layout.EXT_KEY_ENCRYPT, b""))
    return parts


def pair_again(dialect: Dialect, message: ParsedMessage) -> list[bytes]:
    """The extensions of the SADB_UPDATE that pairs a restored SA as SADB_GET showed it; empty
    without a pair. The kernel declares an SA dead that is added before the other SA of its pair.
    """
    pair = message.extensions.get(dialect.pair)
    if pair is None:
        return []
    fields = layout.read_sa(message.extensions[layout.EXT_SA])
    ends = (message.extensions[kind] for kind in (layout.EXT_SOURCE, layout.EXT_DESTINATION))
    return [fields._replace(state=_MATURE, flags=0).pack(), *ends, pair]
