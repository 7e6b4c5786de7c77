# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How systems implement PF_KEY v2: one table, a row for each system. RFC 2367 fixes the layouts;
numbers and kernels' additions come from each row's ``sources``.

Everything else that this backend has to know about a system is here too, so that the codec and the
transport do not branch by name. A row lists where a system differs from the defaults of `Dialect`."""

from __future__ import annotations

import sys
import typing as t

from ...errors import InputError


class Integrity(t.NamedTuple):
    """A number of SADB_AALG, and the bits of the ICV that the kernel uses with it: PF_KEY has no
    field for them.
    """

    number: int
    icv_bits: int


class EncapsulationNumbers(t.NamedTuple):
    """Extension numbers of ESP in UDP: kind, source port, destination port."""

    kind: int
    source_port: int
    destination_port: int


class SelectorNumbers(t.NamedTuple):
    """Extension numbers of an SA's inner networks; 0 where the system has none. ``traffic``: the
    system accepts an upper-layer protocol and ports, too.
    """

    source: int = 0
    destination: int = 0
    traffic: bool = False


class Flags(t.NamedTuple):
    """Bits of sadb_sa_flags, 0 where the system has none. Only the kernel sets those of ``kernel``."""

    esn: int = 0
    tunnel: int = 0
    inbound: int = 0
    outbound: int = 0
    kernel: int = 0


class Dialect(t.NamedTuple):
    """One system.

    ``domain`` is the protocol family of the socket, ``ipv4`` and ``ipv6`` address families;
    ``sized_addresses`` says that a struct sockaddr begins with its length. ``sa2`` is the extension
    with mode and reqid, of ``reqid_bits``. A window is ``replay_unit`` packets times an 8-bit
    field, at most ``replay_most`` packets; a wider one needs the extension ``wide_replay``, 0 for
    none. ``limits`` are the lifetimes that the kernel enforces and stores unchanged. ``empty_key``:
    null encryption requires a key extension of no bits. ``salt_apart``: a dump shows the salt of a
    combined cipher behind the key, and its bits in sadb_key_reserved instead of sadb_key_bits, while
    a request has both in sadb_key_bits; a dumped extension may be longer than its key.
    ``any_source``: an SA without a source can have a window. ``pair`` and ``replay_value`` are
    extensions for those keywords of `SecurityAssociation.extra`, 0 for none. ``unregistered``:
    SADB_REGISTER answers without registering.
    ``remedy`` is the hint for a kernel without PF_KEY."""

    name: str
    platform: str
    domain: int
    ipv6: int
    authentication: dict[str, Integrity]
    encryption: dict[str, int]
    replay_most: int
    limits: tuple[str, ...]
    remedy: str
    sources: tuple[str, ...]
    ipv4: int = 2
    sized_addresses: bool = False
    sa2: int = 0
    reqid_bits: int = 0
    replay_unit: int = 1
    wide_replay: int = 0
    encapsulation: EncapsulationNumbers | None = None
    selector: SelectorNumbers = SelectorNumbers()
    flags: Flags = Flags()
    empty_key: bool = True
    salt_apart: bool = False
    any_source: bool = True
    pair: int = 0
    replay_value: int = 0
    unregistered: bool = False

    def __repr__(self) -> str:
        return f"<Dialect {self.name}>"


# Numbers of RFC 2367 and of IPsec's domain of interpretation (RFC 2407), which all systems share.
_HMACS = {
    "hmac-md5": Integrity(2, 96),
    "hmac-sha1": Integrity(3, 96),
    "hmac-sha256": Integrity(5, 128),
    "hmac-sha384": Integrity(6, 192),
    "hmac-sha512": Integrity(7, 256),
}
_CIPHERS = {"des-cbc": 2, "3des-cbc": 3, "blowfish-cbc": 7, "null": 11, "aes-cbc": 12}
_BYTES_AND_ADDTIME = ("soft_bytes", "hard_bytes", "soft_addtime", "hard_addtime")
_USETIME = ("soft_usetime", "hard_usetime")
_GCM = {"aes-gcm8": 18, "aes-gcm12": 19, "aes-gcm": 20}

LINUX = Dialect(
    name="Linux",
    platform="linux",
    domain=15,
    ipv6=10,
    # af_key uses each algorithm with the ICV of the table in xfrm_algo.c: that of hmac(sha256) has
    # the 96 bits of a draft.
    authentication={**_HMACS, "hmac-sha256": Integrity(5, 96), "aes-xcbc": Integrity(9, 96)},
    # The header has numbers for combined ciphers, but af_key looks up plain ciphers only.
    encryption={**_CIPHERS, "aes-ctr": 13},
    sa2=19,
    reqid_bits=32,
    replay_most=32,
    encapsulation=EncapsulationNumbers(20, 21, 22),
    selector=SelectorNumbers(7),
    # Linux counts packets in the allocations of a lifetime.
    limits=(*_BYTES_AND_ADDTIME, *_USETIME, "soft_packets", "hard_packets"),
    unregistered=True,
    remedy="Load the module af_key (modprobe af_key), or use the backend xfrm.",
    sources=("include/uapi/linux/pfkeyv2.h", "net/key/af_key.c", "net/xfrm/xfrm_algo.c"),
)

ILLUMOS = Dialect(
    name="illumos",
    platform="sunos",
    domain=27,
    ipv6=26,
    authentication=_HMACS,
    encryption={**_CIPHERS, "aes-ccm8": 14, "aes-ccm12": 15, "aes-ccm": 16, **_GCM},
    replay_most=255,
    selector=SelectorNumbers(7, 22, traffic=True),
    flags=Flags(
        tunnel=0x20000,
        inbound=0x4000,
        outbound=0x8000,
        kernel=0x80000000 | 0x40000000 | 0x200000 | 0x40000 | 0x10000 | 0x1000,
    ),
    # The kernel subtracts 8 to 23 random seconds from the soft_addtime of an outbound SA, so it cannot be compared.
    limits=("soft_bytes", "hard_bytes", "hard_addtime", *_USETIME),
    empty_key=False,
    salt_apart=True,
    any_source=False,
    pair=23,
    replay_value=24,
    remedy="Use the backend solaris, which drives ipseckey.",
    sources=(
        "usr/src/uts/common/net/pfkeyv2.h",
        "usr/src/uts/common/inet/ip/keysock.c",
        "usr/src/uts/common/inet/ip/sadb.c",
    ),
)

FREEBSD = Dialect(
    name="FreeBSD",
    platform="freebsd",
    domain=27,
    ipv6=28,
    sized_addresses=True,
    authentication=_HMACS,
    encryption={**_CIPHERS, "aes-ctr": 13, "chacha20-poly1305": 15, **_GCM, "aes-gmac": 23},
    sa2=19,
    reqid_bits=32,
    replay_unit=8,
    replay_most=4096,
    wide_replay=26,
    encapsulation=EncapsulationNumbers(20, 21, 22),
    flags=Flags(esn=0x400),
    limits=(*_BYTES_AND_ADDTIME, *_USETIME),
    remedy="Load the module ipsec (kldload ipsec), or use a kernel built with it.",
    sources=("sys/net/pfkeyv2.h", "sys/netipsec/key.c", "sys/netipsec/xform_ah.c", "sys/sys/socket.h"),
)

NETBSD = Dialect(
    name="NetBSD",
    platform="netbsd",
    domain=29,
    ipv6=24,
    sized_addresses=True,
    authentication={**_HMACS, "aes-xcbc": Integrity(9, 96)},
    encryption={**_CIPHERS, "aes-ctr": 13, **_GCM, "aes-gmac": 23},
    sa2=19,
    reqid_bits=16,
    replay_unit=8,
    replay_most=2040,
    encapsulation=EncapsulationNumbers(20, 21, 22),
    # The kernel stores the time since the first use, but never checks it.
    limits=_BYTES_AND_ADDTIME,
    remedy="Use a kernel built with IPsec (options IPSEC).",
    sources=("sys/net/pfkeyv2.h", "sys/netipsec/key.c", "sys/netipsec/xform_ah.c", "sys/sys/socket.h"),
)

# The values of sadb_x_msg_diagnostic that our requests can cause (usr/src/uts/common/net/pfkeyv2.h).
ILLUMOS_DIAGNOSTICS = {
    4: "this kernel does not know the SA type",
    11: "source and destination are of different address families",
    12: "the source address is not valid",
    13: "the destination address is not valid",
    14: "the soft limit of allocations is above the hard limit",
    15: "the soft limit of bytes is above the hard limit",
    16: "the soft limit of the add time is above the hard limit",
    17: "the soft limit of the use time is above the hard limit",
    21: "the encryption key is missing",
    22: "the authentication key is missing",
    33: "the encryption key is malformed",
    34: "the authentication key is malformed",
    40: "this kernel lacks the authentication algorithm",
    41: "this kernel lacks the encryption algorithm",
    42: "the flags do not fit this SA type",
    43: "the state is not allowed",
    44: "the authentication key has the wrong length",
    45: "the encryption key has the wrong length",
    46: "AH cannot encrypt",
    47: "the encryption key is weak",
    48: "the authentication key is weak",
    51: "the local address before translation is missing",
    52: "the remote address before translation is missing",
    55: "the local address before translation is not valid",
    56: "the remote address before translation is not valid",
    67: "the inner addresses are of different families, or of another family than the protocol",
    68: "the remote address before translation is not an IPv4 address",
    69: "the local address before translation is not an IPv4 address",
    73: "the SA cannot be paired",
    76: "the paired SA is not there",
    78: "the SA is not there",
    80: "the kernel's cryptographic framework refuses the algorithm or the key",
    81: "the sequence number is not valid",
}

DIALECTS = (LINUX, ILLUMOS, FREEBSD, NETBSD)


def dialect_of(platform: str = sys.platform) -> Dialect:
    """The row for a system, by the start of ``sys.platform``. Raises InputError if there is none."""
    for row in DIALECTS:
        if platform.startswith(row.platform):
            return row
    raise InputError(
        f"PF_KEY on {platform} is not supported", "backend", f"It is on: {', '.join(row.name for row in DIALECTS)}."
    )
