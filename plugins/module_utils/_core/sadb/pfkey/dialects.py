# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What systems make of PF_KEY v2: one table, a row for each. RFC 2367 fixes the layouts; numbers
and what kernels add to it are from each row's ``sources``.

All else about a system that this backend needs to know stands here too, so that the codec and the
transport have no branches by name. A row says where a system differs from the defaults of
`Dialect`."""

from __future__ import annotations

import sys
import typing as t

from ...errors import InputError


class Integrity(t.NamedTuple):
    """A number of SADB_AALG, and the bits of the ICV that the kernel gives this algorithm: PF_KEY
    has no field for it.
    """

    number: int
    icv_bits: int


class Encapsulation(t.NamedTuple):
    """Extension numbers of ESP in UDP: kind, source port, destination port."""

    kind: int
    source_port: int
    destination_port: int


class Selector(t.NamedTuple):
    """Extension numbers of the networks that an SA is for; 0 where the system has none.
    ``traffic``: upper-layer protocol and ports are taken, too.
    """

    source: int = 0
    destination: int = 0
    traffic: bool = False


class Flags(t.NamedTuple):
    """Bits of sadb_sa_flags, 0 where the system has none. ``kernel`` are those that only the kernel sets."""

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
    field, ``replay_most`` packets at most; a wider one takes the extension ``wide_replay``, 0 for
    none. ``limits`` are the lifetimes that the kernel acts on and keeps as they are. ``empty_key``:
    null encryption wants a key extension of no bits. ``any_source``: an SA without a source can
    have a window. ``pair`` and ``replay_value`` are extensions for what `SecurityAssociation.extra`
    names, 0 for none. ``unregistered``: SADB_REGISTER answers without registering. ``untold`` is
    what SAs that came another way may have and a dump does not show. ``remedy`` is for a kernel
    without PF_KEY."""

    name: str
    platform: str
    domain: int
    ipv4: int
    ipv6: int
    authentication: dict[str, Integrity]
    encryption: dict[str, int]
    replay_most: int
    limits: tuple[str, ...]
    remedy: str
    sources: tuple[str, ...]
    sized_addresses: bool = False
    sa2: int = 0
    reqid_bits: int = 0
    replay_unit: int = 1
    wide_replay: int = 0
    encapsulation: Encapsulation | None = None
    selector: Selector = Selector()
    flags: Flags = Flags()
    empty_key: bool = True
    any_source: bool = True
    pair: int = 0
    replay_value: int = 0
    unregistered: bool = False
    untold: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<Dialect {self.name}>"


# Numbers that all systems share, since RFC 2367 and IPsec's domain of interpretation (RFC 2407) gave them.
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
    ipv4=2,
    ipv6=10,
    # af_key takes each algorithm with the ICV of the table in xfrm_algo.c: that of hmac(sha256) is
    # the 96 bits of a draft.
    authentication={**_HMACS, "hmac-sha256": Integrity(5, 96), "aes-xcbc": Integrity(9, 96)},
    # Combined ciphers have numbers in the header, but af_key looks for plain ciphers only.
    encryption={**_CIPHERS, "aes-ctr": 13},
    sa2=19,
    reqid_bits=32,
    replay_most=32,
    encapsulation=Encapsulation(20, 21, 22),
    selector=Selector(7),
    # Allocations of a lifetime are packets here.
    limits=(*_BYTES_AND_ADDTIME, *_USETIME, "soft_packets", "hard_packets"),
    unregistered=True,
    untold=(
        "mark",
        "if_id",
        "esn",
        "icv_bits",
        "selector",
        "nat_remote",
        "replay_window above 32",
        "keys of combined ciphers",
    ),
    remedy="Load the module af_key (modprobe af_key), or use the backend xfrm.",
    sources=("include/uapi/linux/pfkeyv2.h", "net/key/af_key.c", "net/xfrm/xfrm_algo.c"),
)

ILLUMOS = Dialect(
    name="illumos",
    platform="sunos",
    domain=27,
    ipv4=2,
    ipv6=26,
    authentication=_HMACS,
    encryption={**_CIPHERS, "aes-ccm8": 14, "aes-ccm12": 15, "aes-ccm": 16, **_GCM},
    replay_most=255,
    selector=Selector(7, 22, traffic=True),
    flags=Flags(
        tunnel=0x20000,
        inbound=0x4000,
        outbound=0x8000,
        kernel=0x80000000 | 0x40000000 | 0x200000 | 0x40000 | 0x10000 | 0x1000,
    ),
    # The kernel takes 8 to 23 random seconds off the soft_addtime of an outbound SA, which could never be compared.
    limits=("soft_bytes", "hard_bytes", "hard_addtime", *_USETIME),
    empty_key=False,
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
    ipv4=2,
    ipv6=28,
    sized_addresses=True,
    authentication=_HMACS,
    encryption={**_CIPHERS, "aes-ctr": 13, "chacha20-poly1305": 15, **_GCM, "aes-gmac": 23},
    sa2=19,
    reqid_bits=32,
    replay_unit=8,
    replay_most=4096,
    wide_replay=26,
    encapsulation=Encapsulation(20, 21, 22),
    flags=Flags(esn=0x400),
    limits=(*_BYTES_AND_ADDTIME, *_USETIME),
    remedy="Load the module ipsec (kldload ipsec), or take a kernel built with it.",
    sources=("sys/net/pfkeyv2.h", "sys/netipsec/key.c", "sys/netipsec/xform_ah.c", "sys/sys/socket.h"),
)

NETBSD = Dialect(
    name="NetBSD",
    platform="netbsd",
    domain=29,
    ipv4=2,
    ipv6=24,
    sized_addresses=True,
    authentication={**_HMACS, "aes-xcbc": Integrity(9, 96)},
    encryption={**_CIPHERS, "aes-ctr": 13, **_GCM, "aes-gmac": 23},
    sa2=19,
    reqid_bits=16,
    replay_unit=8,
    replay_most=2040,
    encapsulation=Encapsulation(20, 21, 22),
    # The time since the first use is kept but looked at by nobody.
    limits=_BYTES_AND_ADDTIME,
    remedy="Take a kernel built with IPsec (options IPSEC).",
    sources=("sys/net/pfkeyv2.h", "sys/netipsec/key.c", "sys/netipsec/xform_ah.c", "sys/sys/socket.h"),
)

DIALECTS = (LINUX, ILLUMOS, FREEBSD, NETBSD)


def dialect_of(platform: str = sys.platform) -> Dialect:
    """The row for a system, by the start of ``sys.platform``. Raises InputError where there is none."""
    for row in DIALECTS:
        if platform.startswith(row.platform):
            return row
    raise InputError(
        f"nothing is known of PF_KEY on {platform}", "backend", f"It is on: {', '.join(row.name for row in DIALECTS)}."
    )
