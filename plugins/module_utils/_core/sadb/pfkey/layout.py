# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The layout of PF_KEY v2's messages and of the extensions in them (RFC 2367 section 2). Pure.

Numbers are in the byte order of the machine, SPIs, ports and addresses in that of the network.
Every extension is a multiple of 8 bytes, and lengths count 8 bytes. Extension number 0 is reserved;
in a dialect it stands for an extension that the system lacks."""

from __future__ import annotations

import struct
import typing as t

from ...errors import SadbError
from ...sa.algorithms import AUTHENTICATION, ENCRYPTION
from ...sa.model import Lifetimes
from .dialects import Dialect

VERSION = 2

UPDATE = 2
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

# sadb_msg: version, type, errno, SA type, length, reserved (illumos: diagnostic), sequence, process.
HEADER = struct.Struct("=BBBBHHII")
SA2 = struct.Struct("=HHB3xII")
ENCAP_KIND = struct.Struct("=HHB3x")
PORT = struct.Struct("=HHH2x")
WORD = struct.Struct("=HHI")
SEQUENCE_NUMBER = struct.Struct("=HHIQ")
_EXTENSION = struct.Struct("=HH")
_SA = struct.Struct("=HHIBBBBI")
_LIFETIME = struct.Struct("=HHIQQQ")
_ADDRESS = struct.Struct("=HHBBH")
_KEY = struct.Struct("=HHHH")
_SUPPORTED = struct.Struct("=HHI")
_ALGORITHM = struct.Struct("=BBHHH")
_FAMILY = struct.Struct("=H")
_SIZED_FAMILY = struct.Struct("=BB")
# Where the address begins in sockaddr_in and sockaddr_in6, and how long those are.
_IPV4_AT, _IPV4_SIZE = 4, 16
_IPV6_AT, _IPV6_SIZE = 8, 28


class ParsedMessage(t.NamedTuple):
    """One message. ``extensions`` are whole, header included, by type."""

    kind: int
    errno: int
    satype: int
    diagnostic: int
    sequence: int
    process: int
    extensions: dict[int, bytes]


class SaExtension(t.NamedTuple):
    """struct sadb_sa behind its head; the SPI in network byte order."""

    spi: int
    replay: int
    state: int
    authentication: int
    encryption: int
    flags: int

    def pack(self) -> bytes:
        return _SA.pack(_SA.size // 8, EXT_SA, *self)


class Lifetime(t.NamedTuple):
    """struct sadb_lifetime: seconds since the SA was added, and since its first use."""

    packets: int = 0
    bytes: int = 0
    addtime: int = 0
    usetime: int = 0


class Address(t.NamedTuple):
    """struct sadb_address and the sockaddr in it."""

    packed: bytes = b""
    prefix: int = 0
    protocol: int = 0
    port: int = 0


class Supported(t.NamedTuple):
    """Least and greatest bits of a key, by number of the algorithm (sadb_alg)."""

    authentication: dict[int, tuple[int, int]]
    encryption: dict[int, tuple[int, int]]


def malformed(what: str) -> SadbError:
    return SadbError(
        f"the kernel sent a malformed message: {what}",
        "PF_KEY",
        "The kernel speaks another dialect than expected; use another backend.",
        "EBADMSG",
    )


def unpack(layout: struct.Struct, extension: bytes, name: str) -> tuple[t.Any, ...]:
    """The fields of an extension. Raises SadbError if it is too short."""
    if len(extension) < layout.size:
        raise malformed(f"{name} of {len(extension)} bytes")
    return layout.unpack_from(extension)


def pack_message(kind: int, satype: int, sequence: int, process: int, extensions: t.Iterable[bytes] = ()) -> bytes:
    body = b"".join(extensions)
    return HEADER.pack(VERSION, kind, 0, satype, (HEADER.size + len(body)) // 8, 0, sequence, process) + body


def parse(buffer: bytes) -> ParsedMessage:
    """A message by its parts. Raises SadbError if it is malformed. Of two extensions of one type the
    first counts (RFC 2367 section 2.3 forbids two).
    """
    version, kind, number, satype, length, diagnostic, sequence, process = unpack(HEADER, buffer, "a header")
    if version != VERSION:
        raise malformed(f"version {version}")
    if length * 8 != len(buffer):
        raise malformed(f"its header says {length * 8} bytes, and it has {len(buffer)}")
    extensions: dict[int, bytes] = {}
    offset = HEADER.size
    while offset < len(buffer):
        size, ext = _EXTENSION.unpack_from(buffer, offset)
        if not size or offset + size * 8 > len(buffer):
            raise malformed(f"extension {ext} of {size * 8} bytes at byte {offset} of {len(buffer)}")
        if ext:
            extensions.setdefault(ext, buffer[offset : offset + size * 8])
        offset += size * 8
    return ParsedMessage(kind, number, satype, diagnostic, sequence, process, extensions)


def read_sa(extension: bytes) -> SaExtension:
    return SaExtension(*unpack(_SA, extension, "an SA")[2:])


def _padded(packed: bytes) -> bytes:
    return packed + bytes(-len(packed) % 8)


def pack_address(dialect: Dialect, kind: int, address: bytes, prefix: int, protocol: int = 0, port: int = 0) -> bytes:
    """An address extension: struct sadb_address and the struct sockaddr of the system."""
    family, size = (dialect.ipv4, _IPV4_SIZE) if len(address) == 4 else (dialect.ipv6, _IPV6_SIZE)
    head = _SIZED_FAMILY.pack(size, family) if dialect.sized_addresses else _FAMILY.pack(family)
    sockaddr = head + port.to_bytes(2, "big") + bytes(0 if len(address) == 4 else 4) + address
    body = _padded(sockaddr.ljust(size, b"\0"))
    return _ADDRESS.pack((_ADDRESS.size + len(body)) // 8, kind, protocol, prefix, 0) + body


def read_address(dialect: Dialect, extension: bytes) -> Address:
    if len(extension) < _ADDRESS.size + 8:
        raise malformed("an address extension without an address")
    dummy, dummy, protocol, prefix, dummy = _ADDRESS.unpack_from(extension)
    if dialect.sized_addresses:
        dummy, family = _SIZED_FAMILY.unpack_from(extension, _ADDRESS.size)
    else:
        (family,) = _FAMILY.unpack_from(extension, _ADDRESS.size)
    start, width = (_IPV4_AT, 4) if family == dialect.ipv4 else (_IPV6_AT, 16)
    if family not in (dialect.ipv4, dialect.ipv6) or len(extension) < _ADDRESS.size + start + width:
        raise malformed(f"an address of family {family} in {len(extension)} bytes")
    sockaddr = extension[_ADDRESS.size :]
    port = int.from_bytes(sockaddr[2:4], "big")
    return Address(sockaddr[start : start + width], min(prefix, width * 8), protocol, port)


def pack_key(kind: int, key: bytes) -> bytes:
    body = _padded(key)
    return _KEY.pack((_KEY.size + len(body)) // 8, kind, len(key) * 8, 0) + body


def read_key(dialect: Dialect, extension: bytes | None) -> bytes:
    """A key that the kernel shows, and its salt."""
    if extension is None:
        return b""
    dummy, dummy, bits, salt_bits = _KEY.unpack_from(extension)
    size = (bits + 7) // 8 + (salt_bits // 8 if dialect.salt_apart else 0)
    if _KEY.size + size > len(extension):
        raise malformed(f"a key of {bits} bits in {len(extension)} bytes")
    return extension[_KEY.size : _KEY.size + size]


def pack_lifetimes(limits: Lifetimes) -> list[bytes]:
    """Hard and soft limits, always both, since systems that descend from KAME want it; 0 means no limit."""
    hard = (limits.hard_packets, limits.hard_bytes, limits.hard_addtime, limits.hard_usetime)
    soft = (limits.soft_packets, limits.soft_bytes, limits.soft_addtime, limits.soft_usetime)
    return [_LIFETIME.pack(_LIFETIME.size // 8, kind, *values) for kind, values in ((EXT_HARD, hard), (EXT_SOFT, soft))]


def read_lifetime(extension: bytes | None) -> Lifetime:
    if extension is None:
        return Lifetime()
    dummy, dummy, *values = unpack(_LIFETIME, extension, "a lifetime")
    return Lifetime(*values)


def read_supported(message: ParsedMessage) -> Supported:
    """The algorithms of an answer to SADB_REGISTER (RFC 2367 section 2.3.8)."""
    found: dict[str, dict[int, tuple[int, int]]] = {AUTHENTICATION: {}, ENCRYPTION: {}}
    for kind, ext in ((AUTHENTICATION, EXT_SUPPORTED_AUTH), (ENCRYPTION, EXT_SUPPORTED_ENCRYPT)):
        extension = message.extensions.get(ext, b"")
        for offset in range(_SUPPORTED.size, len(extension), _ALGORITHM.size):
            number, dummy, least, most, dummy = _ALGORITHM.unpack_from(extension, offset)
            found[kind][number] = (least, most)
    return Supported(**found)
