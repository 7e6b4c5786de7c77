# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Messages of PF_KEY v2: SecurityAssociation to extensions, and back. Pure; layouts are those of
RFC 2367 section 2, what differs is in `pfkey_dialects`.

Numbers are in the byte order of the machine, SPIs, ports and addresses in that of the network.
Every extension is a multiple of 8 bytes."""

from __future__ import annotations

import socket
import struct
import typing as t

from ...errors import SadbError
from ...sa.algorithms import AUTHENTICATION, BY_NAME, ENCRYPTION
from ...sa.model import (
    AH,
    ESP,
    INBOUND,
    NO_LIFETIMES,
    OUTBOUND,
    PAIR_SPI,
    REPLAY_VALUE,
    TRANSPORT,
    TUNNEL,
    Counters,
    Encapsulation,
    Entry,
    Lifetimes,
    SecurityAssociation,
    Selector,
    normal_selector,
)
from .dialects import Dialect

VERSION = 2

ADD = 3
DELETE = 4
GET = 5
REGISTER = 7
FLUSH = 9
DUMP = 10

EXT_SA = 1
EXT_CURRENT = 2
EXT_HARD = 3
EXT_SOFT = 4
EXT_SOURCE = 5
EXT_DESTINATION = 6
EXT_KEY_AUTH = 8
EXT_KEY_ENCRYPT = 9
EXT_SUPPORTED_AUTH = 14
EXT_SUPPORTED_ENCRYPT = 15

ANY_TYPE = 0
SA_TYPES = {AH: 2, ESP: 3, "comp": 9}
_TYPE_NAMES = {number: name for name, number in SA_TYPES.items()}
_LARVAL = 0
_MATURE = 1
MODES = {TRANSPORT: 1, TUNNEL: 2, "beet": 3}
_MODE_NAMES = {0: TRANSPORT, **{number: name for name, number in MODES.items()}}
_ESP_IN_UDP = 2
# The upper-layer protocol of an address means any with 0, and on systems that descend from KAME with 255.
_ANY_PROTOCOLS = (0, 255)

UNTOLD = "untold"
"""Stands for the algorithm of an SA that PF_KEY shows without its number, as Linux does with combined ciphers."""

# sadb_msg: version, type, errno, SA type, length, reserved (illumos: diagnostic), sequence,
# process. Lengths count 8 bytes.
HEADER = struct.Struct("=BBBBHHII")
_EXTENSION = struct.Struct("=HH")
_SA = struct.Struct("=HHIBBBBI")
_LIFETIME = struct.Struct("=HHIQQQ")
_ADDRESS = struct.Struct("=HHBBH")
_KEY = struct.Struct("=HHHH")
_SA2 = struct.Struct("=HHB3xII")
_ENCAP_KIND = struct.Struct("=HHB3x")
_PORT = struct.Struct("=HHH2x")
_WORD = struct.Struct("=HHI")
_REPLAY_VALUE = struct.Struct("=HHIQ")
_SUPPORTED = struct.Struct("=HHI")
_ALGORITHM = struct.Struct("=BBHHH")
_FAMILY = struct.Struct("=H")
_SIZED_FAMILY = struct.Struct("=BB")
# Where the address begins in sockaddr_in and sockaddr_in6, and how long those are.
_IPV4_AT, _IPV4_SIZE = 4, 16
_IPV6_AT, _IPV6_SIZE = 8, 28


class Message(t.NamedTuple):
    """One message taken apart. ``extensions`` are whole, header included, by type."""

    kind: int
    errno: int
    satype: int
    diagnostic: int
    sequence: int
    process: int
    extensions: dict[int, bytes]


class Supported(t.NamedTuple):
    """Least and greatest bits of a key, by number of the algorithm (sadb_alg)."""

    authentication: dict[int, tuple[int, int]]
    encryption: dict[int, tuple[int, int]]


def _malformed(what: str) -> SadbError:
    return SadbError(
        f"a message of the kernel's is malformed: {what}",
        "PF_KEY",
        "The kernel speaks another dialect than expected; use another backend.",
        "EBADMSG",
    )


def message(kind: int, satype: int, sequence: int, process: int, extensions: t.Iterable[bytes] = ()) -> bytes:
    body = b"".join(extensions)
    return HEADER.pack(VERSION, kind, 0, satype, (HEADER.size + len(body)) // 8, 0, sequence, process) + body


def parse(buffer: bytes) -> Message:
    """A message taken apart; raises SadbError for one that is none. Of two extensions of one type
    the first counts (RFC 2367 section 2.3 forbids two).
    """
    if len(buffer) < HEADER.size:
        raise _malformed(f"{len(buffer)} bytes are no header")
    version, kind, number, satype, length, diagnostic, sequence, process = HEADER.unpack_from(buffer)
    if version != VERSION:
        raise _malformed(f"version {version}")
    if length * 8 != len(buffer):
        raise _malformed(f"it says {length * 8} bytes and has {len(buffer)}")
    extensions: dict[int, bytes] = {}
    offset = HEADER.size
    while offset < len(buffer):
        size, ext = _EXTENSION.unpack_from(buffer, offset)
        if not size or offset + size * 8 > len(buffer):
            raise _malformed(f"extension {ext} of {size * 8} bytes at byte {offset} of {len(buffer)}")
        extensions.setdefault(ext, buffer[offset : offset + size * 8])
        offset += size * 8
    return Message(kind, number, satype, diagnostic, sequence, process, extensions)


def _padded(packed: bytes) -> bytes:
    return packed + bytes(-len(packed) % 8)


def pack_address(dialect: Dialect, kind: int, address: bytes, prefix: int, protocol: int = 0, port: int = 0) -> bytes:
    """An address extension: struct sadb_address and the struct sockaddr of the system."""
    family, size = (dialect.ipv4, _IPV4_SIZE) if len(address) == 4 else (dialect.ipv6, _IPV6_SIZE)
    head = _SIZED_FAMILY.pack(size, family) if dialect.sized_addresses else _FAMILY.pack(family)
    sockaddr = head + port.to_bytes(2, "big") + bytes(0 if len(address) == 4 else 4) + address
    body = _padded(sockaddr.ljust(size, b"\0"))
    return _ADDRESS.pack((_ADDRESS.size + len(body)) // 8, kind, protocol, prefix, 0) + body


class _Address(t.NamedTuple):
    packed: bytes
    prefix: int
    protocol: int
    port: int


def _read_address(dialect: Dialect, extension: bytes) -> _Address:
    if len(extension) < _ADDRESS.size + 8:
        raise _malformed("an address without an address")
    dummy, kind, protocol, prefix, dummy = _ADDRESS.unpack_from(extension)
    if dialect.sized_addresses:
        dummy, family = _SIZED_FAMILY.unpack_from(extension, _ADDRESS.size)
    else:
        family = _FAMILY.unpack_from(extension, _ADDRESS.size)[0]
    start, width = (_IPV4_AT, 4) if family == dialect.ipv4 else (_IPV6_AT, 16)
    if family not in (dialect.ipv4, dialect.ipv6) or len(extension) < _ADDRESS.size + start + width:
        raise _malformed(f"an address of family {family} in {len(extension)} bytes")
    packed = extension[_ADDRESS.size + start : _ADDRESS.size + start + width]
    return _Address(
        packed,
        min(prefix, width * 8),
        protocol,
        int.from_bytes(extension[_ADDRESS.size + 2 : _ADDRESS.size + 4], "big"),
    )


def _pack_key(kind: int, key: bytes) -> bytes:
    body = _padded(key)
    return _KEY.pack((_KEY.size + len(body)) // 8, kind, len(key) * 8, 0) + body


def _read_key(extension: bytes | None) -> bytes:
    if extension is None:
        return b""
    dummy, dummy, bits, dummy = _KEY.unpack_from(extension)
    size = (bits + 7) // 8
    if _KEY.size + size > len(extension):
        raise _malformed(f"a key of {bits} bits in {len(extension)} bytes")
    return extension[_KEY.size : _KEY.size + size]


def _pack_lifetimes(lifetimes: Lifetimes) -> list[bytes]:
    """Hard and soft limits, always both, as the systems that descend from KAME want it; 0 is no limit."""
    soft_bytes, hard_bytes, soft_packets, hard_packets, soft_add, hard_add, soft_use, hard_use = lifetimes
    return [
        _LIFETIME.pack(_LIFETIME.size // 8, EXT_HARD, hard_packets, hard_bytes, hard_add, hard_use),
        _LIFETIME.pack(_LIFETIME.size // 8, EXT_SOFT, soft_packets, soft_bytes, soft_add, soft_use),
    ]


def _read_lifetime(extension: bytes | None) -> tuple[int, int, int, int]:
    """Allocations, bytes, seconds since it was added, seconds since the first use."""
    if extension is None:
        return 0, 0, 0, 0
    if len(extension) < _LIFETIME.size:
        raise _malformed(f"a lifetime of {len(extension)} bytes")
    dummy, dummy, allocations, octets, added, used = _LIFETIME.unpack_from(extension)
    return allocations, octets, added, used


def _identity(dialect: Dialect, sa: SecurityAssociation, sa_extension: bytes) -> list[bytes]:
    selector = sa.selector or Selector()
    # Where a system takes upper-layer ports, those of a tunnel belong to the inner addresses.
    outer = selector if dialect.selector.traffic and sa.mode != TUNNEL else Selector()
    return [
        sa_extension,
        pack_address(dialect, EXT_SOURCE, sa.source, len(sa.source) * 8, outer.protocol, outer.source_port),
        pack_address(
            dialect, EXT_DESTINATION, sa.destination, len(sa.destination) * 8, outer.protocol, outer.destination_port
        ),
    ]


def _encapsulation_extensions(dialect: Dialect, sa: SecurityAssociation) -> list[bytes]:
    if sa.encapsulation is None or dialect.encapsulation is None:
        return []
    numbers = dialect.encapsulation
    return [
        _ENCAP_KIND.pack(1, numbers.kind, _ESP_IN_UDP),
        _PORT.pack(1, numbers.source_port, socket.htons(sa.encapsulation.source_port)),
        _PORT.pack(1, numbers.destination_port, socket.htons(sa.encapsulation.destination_port)),
    ]


def identify(dialect: Dialect, sa: SecurityAssociation) -> list[bytes]:
    """The extensions of SADB_GET and SADB_DELETE. The source is among them: every system wants it.
    NetBSD wants the ports of an encapsulation, too.
    """
    which = _SA.pack(_SA.size // 8, EXT_SA, socket.htonl(sa.spi), 0, _MATURE, 0, 0, 0)
    return [*_identity(dialect, sa, which), *_encapsulation_extensions(dialect, sa)]


def satype_of(sa: SecurityAssociation) -> int:
    known = SA_TYPES.get(sa.protocol)
    return known if known is not None else int(sa.protocol)


def _pack_sa(dialect: Dialect, sa: SecurityAssociation) -> bytes:
    integrity = dialect.authentication.get(sa.authentication)
    direction = {INBOUND: dialect.flags.inbound, OUTBOUND: dialect.flags.outbound}.get(sa.direction, 0)
    flags = (dialect.flags.esn if sa.esn else 0) | (dialect.flags.tunnel if sa.mode == TUNNEL else 0) | direction
    return _SA.pack(
        _SA.size // 8,
        EXT_SA,
        socket.htonl(sa.spi),
        min(255, sa.replay_window // dialect.replay_unit),
        _MATURE,
        integrity.number if integrity is not None else 0,
        dialect.encryption.get(sa.encryption, 0),
        flags,
    )


def new_sa(dialect: Dialect, sa: SecurityAssociation) -> list[bytes]:
    """The extensions of SADB_ADD, for an SA without refusals."""
    parts = _identity(dialect, sa, _pack_sa(dialect, sa))
    if sa.lifetimes != NO_LIFETIMES:
        parts += _pack_lifetimes(sa.lifetimes)
    if sa.authentication:
        parts.append(_pack_key(EXT_KEY_AUTH, sa.authentication_key))
    if sa.encryption_key or (sa.encryption and dialect.empty_key):
        parts.append(_pack_key(EXT_KEY_ENCRYPT, sa.encryption_key))
    if dialect.sa2:
        parts.append(_SA2.pack(_SA2.size // 8, dialect.sa2, MODES[sa.mode], 0, sa.reqid))
    if sa.replay_window > 255 * dialect.replay_unit:
        parts.append(_WORD.pack(1, dialect.wide_replay, sa.replay_window))
    parts += _encapsulation_extensions(dialect, sa)
    parts += _pack_selector(dialect, sa)
    for keyword, text in sa.extra:
        number = int(text, 0)
        if keyword == PAIR_SPI:
            parts.append(_WORD.pack(1, dialect.pair, socket.htonl(number)))
        elif keyword == REPLAY_VALUE:
            parts.append(_REPLAY_VALUE.pack(2, dialect.replay_value, number, 0))
    return parts


def _pack_selector(dialect: Dialect, sa: SecurityAssociation) -> list[bytes]:
    """The networks of a selector; no network is every address."""
    selector, numbers = sa.selector, dialect.selector
    if selector is None or not (selector.source or selector.destination):
        return []
    protocol, source_port, destination_port = selector[4:] if numbers.traffic else (0, 0, 0)
    any_address = bytes(len(selector.source or selector.destination))
    parts = []
    if numbers.source:
        parts.append(
            pack_address(
                dialect, numbers.source, selector.source or any_address, selector.source_prefix, protocol, source_port
            )
        )
    if numbers.destination:
        parts.append(
            pack_address(
                dialect,
                numbers.destination,
                selector.destination or any_address,
                selector.destination_prefix,
                protocol,
                destination_port,
            )
        )
    return parts


def _protocol(told: int) -> int:
    return 0 if told in _ANY_PROTOCOLS else told


def _read_selector(
    dialect: Dialect, extensions: t.Mapping[int, bytes], outer: tuple[_Address, _Address]
) -> Selector | None:
    numbers = dialect.selector
    source, destination = (
        _read_address(dialect, extensions[number]) if number and number in extensions else None
        for number in numbers[:2]
    )
    if source is None and destination is None:
        if not numbers.traffic:
            return None
        return normal_selector(
            Selector(protocol=_protocol(outer[0].protocol), source_port=outer[0].port, destination_port=outer[1].port)
        )
    traffic = source or destination
    return normal_selector(
        Selector(
            source.packed if source else b"",
            source.prefix if source else 0,
            destination.packed if destination else b"",
            destination.prefix if destination else 0,
            _protocol(traffic.protocol) if traffic else 0,
            source.port if source else 0,
            destination.port if destination else 0,
        )
    )


def _read_encapsulation(dialect: Dialect, extensions: t.Mapping[int, bytes]) -> Encapsulation | None:
    numbers = dialect.encapsulation
    if (
        numbers is None
        or numbers.kind not in extensions
        or _ENCAP_KIND.unpack_from(extensions[numbers.kind])[2] != _ESP_IN_UDP
    ):
        return None
    ports = [
        _PORT.unpack_from(extensions[number])[2] if number in extensions else 0
        for number in (numbers.source_port, numbers.destination_port)
    ]
    return Encapsulation(socket.ntohs(ports[0]), socket.ntohs(ports[1]))


def _algorithms(dialect: Dialect, satype: int, larval: bool, auth: int, encrypt: int) -> tuple[str, str, int]:
    """Names of cipher and integrity, and bits of the ICV. A number without a row stands as a word
    with the number in it.
    """
    encryption = next(
        (name for name, number in dialect.encryption.items() if number == encrypt), f"ealg-{encrypt}" if encrypt else ""
    )
    authentication, icv_bits = next(
        ((name, row.icv_bits) for name, row in dialect.authentication.items() if row.number == auth),
        (f"aalg-{auth}" if auth else "", 0),
    )
    cipher = BY_NAME.get(encryption)
    if cipher is not None and cipher.combined:
        # Some systems name the hash inside, too.
        return encryption, "", cipher.icv_bits[0]
    if (
        not larval
        and not encryption
        and satype in (SA_TYPES[AH], SA_TYPES[ESP])
        and (satype == SA_TYPES[ESP] or not authentication)
    ):
        return (UNTOLD, authentication, icv_bits) if satype == SA_TYPES[ESP] else (encryption, UNTOLD, 0)
    return encryption, authentication, icv_bits


def decode(dialect: Dialect, told: Message) -> Entry:
    """An Entry from what SADB_DUMP, SADB_GET and the echo of SADB_ADD have. Raises SadbError for a
    message without an SA, or a malformed one.
    """
    extensions = told.extensions
    try:
        packed, outer = extensions[EXT_SA], tuple(
            _read_address(dialect, extensions[kind]) for kind in (EXT_SOURCE, EXT_DESTINATION)
        )
    except KeyError as missing:
        raise _malformed(f"extension {missing} is missing") from None
    sa2 = extensions.get(dialect.sa2, b"") if dialect.sa2 else bytes(_SA2.size)
    wide = extensions.get(dialect.wide_replay) if dialect.wide_replay else None
    if len(packed) < _SA.size or (sa2 and len(sa2) < _SA2.size):
        raise _malformed(f"an SA of {len(packed)} bytes")
    dummy, dummy, spi, replay, state, auth, encrypt, flags = _SA.unpack_from(packed)
    dummy, dummy, mode, sequence, reqid = _SA2.unpack(sa2[: _SA2.size] or bytes(_SA2.size))
    if not dialect.sa2:
        mode = MODES[TUNNEL] if flags & dialect.flags.tunnel else MODES[TRANSPORT]
    source, destination = outer
    larval = state == _LARVAL
    encryption, authentication, icv_bits = _algorithms(dialect, told.satype, larval, auth, encrypt)
    hard, soft, current = (_read_lifetime(extensions.get(kind)) for kind in (EXT_HARD, EXT_SOFT, EXT_CURRENT))
    limits = Lifetimes(soft[1], hard[1], soft[0], hard[0], soft[2], hard[2], soft[3], hard[3])
    inbound, outbound = flags & dialect.flags.inbound, flags & dialect.flags.outbound
    extra = _read_extra(dialect, extensions)
    sa = SecurityAssociation(
        _TYPE_NAMES.get(told.satype) or str(told.satype),
        socket.ntohl(spi),
        source.packed,
        destination.packed,
        _MODE_NAMES.get(mode) or str(mode),
        encryption,
        _read_key(extensions.get(EXT_KEY_ENCRYPT)),
        authentication,
        _read_key(extensions.get(EXT_KEY_AUTH)),
        icv_bits,
        _WORD.unpack_from(wide)[2] if wide is not None else replay * dialect.replay_unit,
        bool(flags & dialect.flags.esn),
        reqid,
        selector=_read_selector(dialect, extensions, (source, destination)),
        encapsulation=_read_encapsulation(dialect, extensions),
        lifetimes=limits,
        direction=INBOUND if inbound and not outbound else OUTBOUND if outbound and not inbound else "",
        extra=tuple((keyword, text) for keyword, text in extra if keyword != REPLAY_VALUE),
    )
    sequence = int(dict(extra).get(REPLAY_VALUE, sequence))
    counters = Counters(
        bytes=current[1], packets=current[0], add_time=current[2], use_time=current[3], sequence_out=sequence
    )
    return Entry(sa, counters, larval)


def _read_extra(dialect: Dialect, extensions: t.Mapping[int, bytes]) -> list[tuple[str, str]]:
    found = []
    if dialect.pair and dialect.pair in extensions:
        found.append((PAIR_SPI, f"0x{socket.ntohl(_WORD.unpack_from(extensions[dialect.pair])[2]):08x}"))
    if dialect.replay_value and dialect.replay_value in extensions:
        if len(extensions[dialect.replay_value]) < _REPLAY_VALUE.size:
            raise _malformed("a sequence number cut short")
        dummy, dummy, narrow, broad = _REPLAY_VALUE.unpack_from(extensions[dialect.replay_value])
        found.append((REPLAY_VALUE, str(narrow or broad)))
    return found


def restore(dialect: Dialect, told: Message) -> list[bytes]:
    """The extensions of the SADB_ADD that puts back what SADB_GET showed: all of them, what this
    codec does not know included, but what has been used.
    """
    parts = []
    for kind, extension in told.extensions.items():
        if kind == EXT_CURRENT:
            continue
        if kind == EXT_SA:
            fields = list(_SA.unpack_from(extension))
            fields[4], fields[7] = _MATURE, fields[7] & ~dialect.flags.kernel
            extension = _SA.pack(*fields)
        parts.append(extension)
    if EXT_KEY_ENCRYPT not in told.extensions and dialect.empty_key and told.satype == SA_TYPES[ESP]:
        parts.append(_pack_key(EXT_KEY_ENCRYPT, b""))
    return parts


def read_supported(told: Message) -> Supported:
    """The algorithms of an answer to SADB_REGISTER (RFC 2367 section 2.3.8)."""
    found: dict[str, dict[int, tuple[int, int]]] = {AUTHENTICATION: {}, ENCRYPTION: {}}
    for kind, ext in ((AUTHENTICATION, EXT_SUPPORTED_AUTH), (ENCRYPTION, EXT_SUPPORTED_ENCRYPT)):
        extension = told.extensions.get(ext, b"")
        for offset in range(_SUPPORTED.size, len(extension), _ALGORITHM.size):
            number, dummy, least, most, dummy = _ALGORITHM.unpack_from(extension, offset)
            found[kind][number] = (least, most)
    return Supported(found[AUTHENTICATION], found[ENCRYPTION])
