# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The addresses of this host by getifaddrs(3), which every system with PF_KEY has."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
import typing as t

from ...errors import SadbError
from .dialects import Dialect

_SIZES = {4: (4, 4), 16: (8, 16)}


class _Ifaddrs(ctypes.Structure):
    """The first fields of struct ifaddrs; the flags are wider on illumos."""

    _fields_: t.ClassVar = [
        ("next", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("flags", ctypes.c_uint64 if sys.platform.startswith("sunos") else ctypes.c_uint),
        ("address", ctypes.c_void_p),
    ]


def local_addresses(dialect: Dialect) -> frozenset[bytes]:
    """Packed IPv4 and IPv6 addresses of all interfaces. Raises SadbError."""
    try:
        library = ctypes.CDLL(None if not sys.platform.startswith("sunos") else "libsocket.so.1", use_errno=True)
        getifaddrs, freeifaddrs = library.getifaddrs, library.freeifaddrs
    except (OSError, AttributeError):
        raise SadbError(
            "the C library has no getifaddrs", "reading this host's addresses", "Use another backend.", "ENOSYS"
        ) from None
    freeifaddrs.argtypes = [ctypes.c_void_p]
    first = ctypes.c_void_p()
    if getifaddrs(ctypes.byref(first)):
        number = ctypes.get_errno()
        name = errno.errorcode.get(number, str(number))
        raise SadbError(
            f"the system cannot list them ({name}: {os.strerror(number)})", "reading this host's addresses", "", name
        )
    try:
        return frozenset(_walk(dialect, first.value))
    finally:
        freeifaddrs(first)


def _walk(dialect: Dialect, where: int | None) -> t.Iterator[bytes]:
    while where:
        item = _Ifaddrs.from_address(where)
        if item.address:
            head = ctypes.string_at(item.address, 2)
            family = head[1] if dialect.sized_addresses else int.from_bytes(head, sys.byteorder)
            size = {dialect.ipv4: 4, dialect.ipv6: 16}.get(family)
            if size is not None:
                start, width = _SIZES[size]
                yield ctypes.string_at(item.address, start + width)[start:]
        where = item.next
