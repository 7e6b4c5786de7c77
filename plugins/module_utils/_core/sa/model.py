# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The security association (SA): its fields, identity, owner, addresses and labels.

An SA is a plain tuple, so that the interpreter creates, compares and hashes ten thousand of them in
C. Addresses are packed (4 or 16 bytes, network order): each address has one form, and its length
tells its family."""

from __future__ import annotations

import operator
import socket
import typing as t

from ..errors import InputError, shown
from . import keys
from .algorithms import AUTHENTICATION, BY_NAME, ENCRYPTION, Algorithm

ESP = "esp"
AH = "ah"
PROTOCOLS = (ESP, AH)
TRANSPORT = "transport"
TUNNEL = "tunnel"
INBOUND = "inbound"
OUTBOUND = "outbound"

SPI_MIN = 256
SPI_MAX = 0xFFFFFFFF
REPLAY_WINDOW_MAX = 4096
# The size of the largest IP packet.
TFC_PADDING_MAX = 0xFFFF

Identity = t.Tuple[str, bytes, int, t.Optional["Mark"]]
Pair = t.Tuple[bytes, bytes]


class Mark(t.NamedTuple):
    """Part of the identity on Linux: the kernel compares a packet's mark under ``mask`` (struct xfrm_mark)."""

    value: int
    mask: int = 0xFFFFFFFF


NO_MARK = Mark(0, 0)


class Lifetimes(t.NamedTuple):
    """Limits of an SA; 0 means no limit. Bytes, packets, seconds since the SA was added, seconds
    since its first use (RFC 4301 section 4.4.2.1).
    """

    soft_bytes: int = 0
    hard_bytes: int = 0
    soft_packets: int = 0
    hard_packets: int = 0
    soft_addtime: int = 0
    hard_addtime: int = 0
    soft_usetime: int = 0
    hard_usetime: int = 0


class Encapsulation(t.NamedTuple):
    """ESP in UDP (RFC 3948): the outer ports, and the addresses before translation, packed or empty."""

    source_port: int
    destination_port: int
    nat_local: bytes = b""
    nat_remote: bytes = b""


class Selector(t.NamedTuple):
    """The traffic that an SA protects. Addresses are packed, empty for any; 0 means any protocol or any port."""

    source: bytes = b""
    source_prefix: int = 0
    destination: bytes = b""
    destination_prefix: int = 0
    protocol: int = 0
    source_port: int = 0
    destination_port: int = 0


NO_LIFETIMES = Lifetimes()
LIFETIME_KINDS = ("bytes", "packets", "addtime", "usetime")


class SecurityAssociation(t.NamedTuple):
    """One SA (RFC 4301 section 4.4.2) in normal form: equal SAs are equal tuples.

    ``encryption`` and ``authentication`` are names from the table in `algorithms` (a Linux kernel
    name if that table has no row), or empty; ESP without a cipher has "null". ``encryption_key``
    holds the key and its salt. ``icv_bits`` is never 0 if the SA has integrity. A ``source`` of all
    zeros means any source. ``esn`` turns on extended sequence numbers. ``direction`` is "inbound",
    "outbound" or, if unspecified, empty. ``extra`` holds, sorted, what only PF_KEY systems know, as
    (ipseckey keyword, text), and under `FLAGS` what a SADB reports but no field can hold.

    Only Linux has the last three, and the ipseckeys language cannot express them: ``output_mark``
    replaces the bits of a packet's mark under its mask, ``tfc_padding`` is the size in octets up to
    which packets are padded (RFC 4303 section 2.7), ``nat_keepalive`` the number of seconds between
    NAT keepalive packets (RFC 3948 section 4)."""

    protocol: str
    spi: int
    source: bytes
    destination: bytes
    mode: str = TRANSPORT
    encryption: str = ""
    encryption_key: bytes = b""
    authentication: str = ""
    authentication_key: bytes = b""
    icv_bits: int = 0
    replay_window: int = 0
    esn: bool = False
    reqid: int = 0
    mark: Mark | None = None
    if_id: int = 0
    selector: Selector | None = None
    encapsulation: Encapsulation | None = None
    lifetimes: Lifetimes = NO_LIFETIMES
    direction: str = ""
    extra: tuple[tuple[str, str], ...] = ()
    output_mark: Mark | None = None
    tfc_padding: int = 0
    nat_keepalive: int = 0

    def __repr__(self) -> str:
        return f"<SecurityAssociation {label(self)}>"


FLAGS = "flags"
"""In `SecurityAssociation.extra`: properties that another program gave the SA and that this
collection neither sets nor preserves, such as ``noecn``.
"""
# Keywords of `SecurityAssociation.extra` that kernels know: the sequence number to start from, and
# the SPI of the SA of the other direction.
REPLAY_VALUE = "replay_value"
PAIR_SPI = "pair-spi"
KEY_FIELDS = ("encryption_key", "authentication_key")


class Counters(t.NamedTuple):
    """What an SA has done. Times are in seconds since the epoch, 0 for never; sequence numbers have
    64 bits with ESN (RFC 4303 section 2.2.1).
    """

    bytes: int = 0
    packets: int = 0
    add_time: int = 0
    use_time: int = 0
    sequence_out: int = 0
    sequence_in: int = 0
    late: int = 0
    replayed: int = 0
    integrity_failures: int = 0


class Entry(t.NamedTuple):
    """One row of a SADB: the SA, its counters, and whether it is larval (reserved, without keys;
    RFC 2367 section 3.3).
    """

    sa: SecurityAssociation
    counters: Counters
    larval: bool = False


def pack_address(text: str, place: str = "") -> bytes:
    """A literal IPv4 or IPv6 address as 4 or 16 bytes; an IPv4-mapped IPv6 address becomes IPv4.
    Raises InputError for a host name: naming systems are not trusted.
    """
    try:
        if ":" in text:
            packed = socket.inet_pton(socket.AF_INET6, text)
            return packed[12:] if packed[:12] == b"\0" * 10 + b"\xff\xff" else packed
        return socket.inet_pton(socket.AF_INET, text)
    except (OSError, ValueError):
        raise InputError(
            f"{shown(text)} is not a literal IPv4 or IPv6 address",
            place,
            "Write the address itself; host names are accepted only {resolve_names}.",
        ) from None


def format_address(address: bytes) -> str:
    """The canonical text of a packed address (RFC 5952)."""
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)


def network_text(address: bytes, prefix: int) -> str:
    """A network in CIDR notation, empty for any."""
    return f"{format_address(address)}/{prefix}" if address else ""


def mark_text(mark: Mark | None) -> str:
    """A mark as options and text write it, empty for none."""
    return "" if mark is None else f"0x{mark.value:x}/0x{mark.mask:x}"


def finds(mark: Mark | None, there: Mark | None) -> bool:
    """Whether Linux, asked for an SA with ``mark``, takes one with the mark ``there``: it compares under the mask of
    the SA that it has (__xfrm_state_lookup in net/xfrm/xfrm_state.c), so one without a mark answers to every mark.
    """
    asked, has = mark or NO_MARK, there or NO_MARK
    return asked.value & asked.mask & has.mask == has.value


def lies_in(address: bytes, network: bytes, prefix: int) -> bool:
    """Whether the address is one of the network."""
    if len(address) != len(network):
        return False
    shift = len(network) * 8 - prefix
    return int.from_bytes(address, "big") >> shift == int.from_bytes(network, "big") >> shift


def is_unspecified(address: bytes) -> bool:
    return not any(address)


def is_multicast(address: bytes) -> bool:
    return address[0] == 0xFF if len(address) == 16 else 224 <= address[0] < 240


AFTER_KEYS = SecurityAssociation._fields.index("authentication_key") + 1
"""Where the fields begin that follow the keys, and that differ from SA to SA only rarely."""


def field_getter(*names: str) -> t.Callable[[tuple[t.Any, ...]], t.Any]:
    """A function, in C, that returns those fields of an SA, or of a tuple that equals it, as a tuple."""
    return operator.itemgetter(*map(SecurityAssociation._fields.index, names))


identity: t.Callable[[SecurityAssociation], Identity] = field_getter("protocol", "destination", "spi", "mark")
"""What distinguishes an SA from all others (RFC 2401 section 4.1; Linux adds the mark)."""
without_mark: t.Callable[[tuple[t.Any, ...]], tuple[str, bytes, int]] = field_getter("protocol", "destination", "spi")
"""What of the identity the kernel compares exactly; marks only have to match (`finds`)."""
owner: t.Callable[[SecurityAssociation], tuple[int, Mark | None, int]] = field_getter("reqid", "mark", "if_id")
"""Ownership tag on Linux. IKE daemons and overlay networks set at least one of the three."""


def pair(sa: SecurityAssociation) -> Pair:
    """The two addresses of an SA, in an order that does not depend on its direction."""
    return (sa.source, sa.destination) if sa.source < sa.destination else (sa.destination, sa.source)


def flags(sa: SecurityAssociation) -> str:
    """The words under `FLAGS`, separated by blanks; empty for an SA that this collection could have added."""
    return dict(sa.extra).get(FLAGS, "") if sa.extra else ""


def unsayable(sa: SecurityAssociation) -> str:
    """Properties of the SA that the ipseckeys language cannot express, separated by blanks; empty
    for an SA that a text can restore.
    """
    words = [] if sa.mode in (TRANSPORT, TUNNEL) else [f"mode={sa.mode}"]
    if sa.output_mark is not None:
        words.append(f"output_mark={mark_text(sa.output_mark)}")
    words += [f"{field}={getattr(sa, field)}" for field in ("tfc_padding", "nat_keepalive") if getattr(sa, field)]
    return " ".join(filter(None, (*words, flags(sa))))


def bound_direction(sa: SecurityAssociation) -> str:
    """The direction to which Linux 6.10 and later binds the SA: none for an outbound SA with an
    anti-replay window, which it would reject.
    """
    return "" if sa.direction == OUTBOUND and sa.replay_window else sa.direction


def label(sa: SecurityAssociation) -> str:
    """One line for messages: protocol, SPI, addresses, mode and algorithms, never a key."""
    suite = "+".join(filter(None, (sa.encryption, sa.authentication))) or "no algorithm"
    return (
        f"{sa.protocol} spi 0x{sa.spi:08x} {format_address(sa.source)} > {format_address(sa.destination)} {sa.mode}"
        f" {suite}"
    )


def algorithm_of(name: str) -> Algorithm | None:
    """The row for an SA's algorithm; None for an empty name, or one that only this kernel knows."""
    return BY_NAME.get(name)


def is_counter_mode(sa: SecurityAssociation) -> bool:
    """Whether the key must never be loaded twice (RFC 8221 section 3)."""
    row = algorithm_of(sa.encryption)
    return row is not None and row.counter_mode


def fingerprints(sa: SecurityAssociation, of: t.Callable[[Algorithm, bytes], str] = keys.fingerprint) -> dict[str, str]:
    """``{"encryption": ..., "authentication": ...}``: the fingerprints of the keys, which may be
    shown; empty if there is no key.
    """
    found = {}
    for kind, name, key in (
        (ENCRYPTION, sa.encryption, sa.encryption_key),
        (AUTHENTICATION, sa.authentication, sa.authentication_key),
    ):
        row = algorithm_of(name)
        found[kind] = of(row or Algorithm(name, kind, (), None, name, ()), key)
    return found


def in_place_of_keys(sa: SecurityAssociation, earlier: SecurityAssociation | None = None) -> dict[str, str]:
    """What a text shows in place of the SA's keys. A short key that differs from the one in ``earlier``
    is marked as changed, since its placeholder is always the same.
    """
    found = {}
    for kind, value in fingerprints(sa).items():
        changed = earlier is not None and key_in_use(sa, kind) != key_in_use(earlier, kind)
        short = f"({value}:changed)" if changed else f"({value})"
        found[kind] = short if value == keys.SHORT_KEY else f"(fingerprint:{value})"
    return found


def key_in_use(sa: SecurityAssociation, kind: str) -> bytes:
    """The encryption or authentication key as the kernel uses it."""
    return keys.effective(getattr(sa, kind), getattr(sa, f"{kind}_key"))


def build(
    protocol: str,
    spi: int,
    destination: bytes,
    source: bytes = b"",
    encryption: str = "",
    authentication: str = "",
    icv_bits: int = 0,
    **fields: t.Any,
) -> SecurityAssociation:
    """An SA in normal form, unchecked, from canonical names and packed addresses; ``fields`` are
    the other fields of `SecurityAssociation`.

    An empty source becomes any source of the destination's family, ESP without a cipher gets "null"
    (RFC 2410), an ``icv_bits`` of 0 becomes the algorithm's default, a network with prefix 0
    becomes any. A selector or mark that matches every packet becomes None, and so does an output
    mark that changes none.
    """
    if protocol == ESP and not encryption and authentication:
        encryption = "null"
    integrity = BY_NAME.get(authentication or encryption)
    if not icv_bits and integrity is not None and integrity.icv_bits:
        icv_bits = integrity.icv_bits[0]
    if fields.get("selector") is not None:
        fields["selector"] = normal_selector(fields["selector"])
    for field in ("mark", "output_mark"):
        if fields.get(field) == Mark(0, 0):
            fields[field] = None
    return SecurityAssociation(
        protocol,
        spi,
        source or bytes(len(destination)),
        destination,
        encryption=encryption,
        authentication=authentication,
        icv_bits=icv_bits,
        **fields,
    )


def loses_family(networks: t.Iterable[tuple[bytes, int]], destination: bytes) -> bool:
    """Whether the networks of a selector hold every address of a family that is not that of the SA's
    destination. The normal form says only "any", so they would become networks of that family.
    """
    others = [len(address) != len(destination) and not prefix and not any(address) for address, prefix in networks]
    return bool(others) and all(others)


def normal_selector(selector: Selector) -> Selector | None:
    """The selector without networks that contain every address; None if it then matches all traffic.
    Networks of two families stay, since no traffic has both.
    """
    if selector.source and selector.destination and len(selector.source) != len(selector.destination):
        return selector
    if not selector.source_prefix and not any(selector.source):
        selector = selector._replace(source=b"")
    if not selector.destination_prefix and not any(selector.destination):
        selector = selector._replace(destination=b"")
    return None if selector == Selector() else selector
