# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Derived generations: the keys and SPIs of any number of SAs from one root secret, with HKDF-SHA-256
(RFC 5869). Pure.

Extract, once for each generation: the input key material is the root secret (32 bytes), the salt is
the generation's (16 random bytes, not secret). Because of the salt, a generation number that is
used twice, after an old copy of a file was restored, does not give the same keys twice.

Expand, once for each SPI and key, with an info of ASCII text::

    ipsec.manual 1|CONNECTION|GENERATION|SOURCE>DESTINATION|PROTOCOL|PURPOSE|ATTEMPT

CONNECTION is the connection's name and GENERATION its number, in decimal. SOURCE and DESTINATION
are addresses in canonical text (RFC 5952); an SA that a group shares has the unspecified address and
the first multicast address. PROTOCOL is ``esp`` or ``ah``, PURPOSE ``spi``,
``encryption`` or ``authentication``. ATTEMPT is 0, in decimal, and is incremented each time the
result cannot be used. None of these can contain a ``|``.

An SPI is the first 4 bytes in network order. It is skipped if it is below 256, or in use towards the
destination by an SA that the keystore knows or a host reports, in the order of the connection's
sources. The generation stores the attempts that are not 0, so a later derivation does not depend on
the other SAs. A key has as many bytes as its algorithm requires, salt included; DES parity is set;
a weak key is skipped."""

from __future__ import annotations

import functools
import hashlib
import itertools
import typing as t

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import InputError
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa import keys
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.algorithms import (
    AUTHENTICATION,
    ENCRYPTION,
    Algorithm,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import (
    SPI_MIN,
    SecurityAssociation,
    format_address,
)

from .._connections.flows import draw_keys, make_sa
from .._connections.model import Association, Connection

# ansible-core depends on it, but ansible-test also imports plugins without it.
try:
    from cryptography.hazmat.primitives import hashes, hmac
    from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
except ImportError:
    HAS_CRYPTOGRAPHY = False
else:
    HAS_CRYPTOGRAPHY = True

LABEL = "ipsec.manual 1"
ROOT_BYTES = 32
SALT_BYTES = 16

SPI = "spi"
_PURPOSES = {ENCRYPTION: "encryption", AUTHENTICATION: "authentication"}

_ROOT_LABEL = b"ipsec.manual root fingerprint 1\0"
_GENERATION_LABEL = b"ipsec.manual generation fingerprint 1\0"


def root_fingerprint(root: bytes) -> str:
    """The name of a root secret, which does not reveal it: 16 hex digits."""
    return hashlib.sha256(_ROOT_LABEL + root).hexdigest()[:16]


# In a mesh, every address is formatted once for each of its peers.
_text = functools.lru_cache(maxsize=4096)(format_address)


def info_of(
    connection: str, generation: int, source: bytes, destination: bytes, protocol: str, purpose: str, attempt: int
) -> bytes:
    """The info of one expansion."""
    direction = f"{_text(source)}>{_text(destination)}"
    return f"{LABEL}|{connection}|{generation}|{direction}|{protocol}|{purpose}|{attempt}".encode("ascii")


class Derivation:
    """One generation of one connection. ``moved`` are the attempts that gave the SPIs, by `place_of`,
    if it was not the first.
    """

    def __init__(
        self,
        root: bytes,
        salt: bytes,
        connection: Connection,
        generation: int,
        moved: t.Mapping[str, int] | None = None,
    ) -> None:
        self.connection = connection
        self.generation = generation
        self.moved: dict[str, int] = dict(moved or {})
        self._secret = _extract(root, salt)

    def __repr__(self) -> str:
        return f"<derivation of {self.connection.name}, generation {self.generation}>"

    def fingerprint(self) -> str:
        """The fingerprint of the secret from which all keys of the generation are derived: 16 hex digits."""
        return hashlib.sha256(_GENERATION_LABEL + self._secret).hexdigest()[:16]

    def sas(self, host: str = "") -> t.Iterator[SecurityAssociation]:
        """The SAs of all endpoints, or with ``host`` of one."""
        for source, destinations in self.connection.flows(host):
            for row in self.connection.associations:
                spi = self.spi(source, destinations[0], row.protocol)
                encryption_key, authentication_key = self.keys(source, destinations[0], row)
                for destination in destinations:
                    yield make_sa(self.connection, row, source, destination, spi, encryption_key, authentication_key)

    def spi(self, source: bytes, destination: bytes, protocol: str) -> int:
        return self._spi(source, destination, protocol, self.moved.get(place_of(source, destination, protocol), 0))

    def keys(self, source: bytes, destination: bytes, row: Association) -> tuple[bytes, bytes]:
        """The encryption key and the authentication key of one SA; empty if the association has none."""
        return draw_keys(row, functools.partial(self._key, source, destination, row.protocol))

    def spis_towards(self, destination: bytes) -> t.Iterator[int]:
        """The SPIs of the generation that are in use towards an address."""
        for destinations, sources in self.connection.arrivals_at(destination):
            for source, row in itertools.product(sources, self.connection.associations):
                yield self.spi(source, destinations[0], row.protocol)

    def place(self, taken: t.Callable[[bytes], t.AbstractSet[int]], reported: t.AbstractSet[int] = frozenset()) -> None:
        """Find the attempts. ``taken`` returns the SPIs that others use towards an address; ``reported``
        are in use towards any address.

        Only one destination at a time is in memory.
        """
        self.moved.clear()
        for destinations, sources in self.connection.arrivals():
            used = set().union(*map(taken, destinations))
            for source, row in itertools.product(sources, self.connection.associations):
                for attempt in itertools.count():
                    spi = self._spi(source, destinations[0], row.protocol, attempt)
                    if spi >= SPI_MIN and spi not in used and spi not in reported:
                        break
                used.add(spi)
                if attempt:
                    self.moved[place_of(source, destinations[0], row.protocol)] = attempt

    def _spi(self, source: bytes, destination: bytes, protocol: str, attempt: int) -> int:
        return int.from_bytes(self._expand(4, source, destination, protocol, SPI, attempt), "big")

    def _key(self, source: bytes, destination: bytes, protocol: str, algorithm: Algorithm, bits: int) -> bytes:
        size = (bits + algorithm.salt_bits) // 8
        for attempt in itertools.count():
            drawn = self._expand(size, source, destination, protocol, _PURPOSES[algorithm.kind], attempt)
            key = keys.set_parity(algorithm, drawn)
            if not keys.problem(algorithm, key):
                break
        return key

    def _expand(
        self, length: int, source: bytes, destination: bytes, protocol: str, purpose: str, attempt: int
    ) -> bytes:
        info = info_of(self.connection.name, self.generation, source, destination, protocol, purpose, attempt)
        return HKDFExpand(hashes.SHA256(), length, info).derive(self._secret)


def place_of(source: bytes, destination: bytes, protocol: str) -> str:
    """The name of one of the generation's SAs."""
    return f"{_text(source)}>{_text(destination)} {protocol}"


def _extract(root: bytes, salt: bytes) -> bytes:
    if not HAS_CRYPTOGRAPHY:
        raise InputError(
            "the Python package cryptography is missing on the controller",
            "derived keys",
            "Install it where ansible-core is installed.",
        )
    mac = hmac.HMAC(salt, hashes.SHA256())
    mac.update(root)
    return mac.finalize()
