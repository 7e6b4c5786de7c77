# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Key material: read it from hex, check it against its algorithm, generate it, and show it only as a
fingerprint.

A fingerprint is unkeyed: anyone who sees it can test guesses of the key, against all users of this
collection at once. That finds a key of fewer than `LONG_BITS`, so such a key is shown as `SHORT_KEY`,
and its hash is stored only in encrypted files.

Weak DES keys are those of FIPS 74 section 3.6 (4 weak, 12 semi-weak). Parity follows FIPS 46-3: the
low bit of every byte makes its parity odd."""

from __future__ import annotations

import binascii
import functools
import os

from ..errors import InputError
from .algorithms import BY_NAME, Algorithm

# NIST SP 800-131A disallows shorter keys.
LONG_BITS = 112
SHORT_KEY = "short-key"

_FINGERPRINT_LABEL = b"ipsec.manual key fingerprint 1\0"
_WEAK_DES_HEX = """
    0101010101010101 fefefefefefefefe e0e0e0e0f1f1f1f1 1f1f1f1f0e0e0e0e
    011f011f010e010e 1f011f010e010e01 01e001e001f101f1 e001e001f101f101
    01fe01fe01fe01fe fe01fe01fe01fe01 1fe01fe00ef10ef1 e01fe01ff10ef10e
    1ffe1ffe0efe0efe fe1ffe1ffe0efe0e e0fee0fef1fef1fe fee0fee0fef1fef1
"""


def from_hex(text: str, place: str = "") -> bytes:
    """The bytes of hexadecimal digits in any case, with or without ``0x``. Its InputError never shows
    the digits.
    """
    digits = text[2:] if text[:2] in ("0x", "0X") else text
    try:
        return binascii.unhexlify(digits.encode("ascii"))
    except ValueError:
        where = next((index for index, char in enumerate(digits, 1) if char not in "0123456789abcdefABCDEF"), 0)
    if where:
        raise InputError(
            f"the key has a character that is not a hex digit, at position {where}",
            place,
            "Keys are written with 0-9 and a-f.",
        )
    raise InputError(
        f"the key has {len(digits)} hex digits, an odd number",
        place,
        "There is one digit too few or too many; give whole bytes.",
    )


@functools.lru_cache(maxsize=None)
def _odd_parity() -> bytes:
    """The table that gives bytes odd parity. Few tasks have a DES key, so it is made when one does."""
    return bytes(byte if bin(byte).count("1") % 2 else byte ^ 1 for byte in range(256))


def set_parity(algorithm: Algorithm, key: bytes) -> bytes:
    """The key as the kernel uses it: a DES key with odd parity, any other key unchanged."""
    return key.translate(_odd_parity()) if algorithm.des_parity else key


def effective(name: str, key: bytes) -> bytes:
    """`set_parity` by the algorithm's name; the key is unchanged if the table has no such algorithm."""
    row = BY_NAME.get(name)
    return set_parity(row, key) if row is not None else key


def secret(name: str, key: bytes) -> bytes:
    """What of a key no other SA may have: the key as the kernel uses it, without the salt that follows it."""
    row = BY_NAME.get(name)
    return set_parity(row, key)[: len(key) - row.salt_bits // 8] if row is not None else key


def problem(algorithm: Algorithm, key: bytes) -> str:
    """Why the key cannot be used with the algorithm, without showing it; empty for a good key."""
    if not algorithm.key_bits:
        return f"{algorithm.name} takes no key" if key else ""
    if len(key) * 8 not in algorithm.material_bits:
        salt = f", {algorithm.salt_bits} bits of them salt" if algorithm.salt_bits else ""
        found = f"found {len(key) * 8} bits ({len(key) * 2} hex digits)" if key else "none is given"
        return f"{algorithm.name} needs a key of {algorithm.sizes()}{salt}, {found}"
    secret = key[: len(key) - algorithm.salt_bits // 8]
    if secret.count(secret[:1]) == len(secret):
        return f"the {algorithm.name} key is one byte repeated"
    if algorithm.des_parity:
        parts = [set_parity(algorithm, key)[start : start + 8] for start in range(0, len(key), 8)]
        if any(part.hex() in _WEAK_DES_HEX for part in parts):
            return f"the {algorithm.name} key holds a weak or semi-weak DES key"
        if any(first == second for first, second in zip(parts, parts[1:])):
            return f"the {algorithm.name} key repeats a DES key (K1=K2 or K2=K3), which makes it single DES"
    return ""


def make_hint(algorithm: Algorithm) -> str:
    """The hint that says how to make a good key."""
    return f"{{new_key:{algorithm.name}:{algorithm.material_bits[0] // 8}}}"


def generate(algorithm: Algorithm, bits: int | None = None) -> bytes:
    """A new key of ``bits`` bits, None for the default size, and its salt, which ``bits`` does not count.

    It comes from the operating system's generator. DES keys get odd parity; weak keys are discarded.
    """
    if not algorithm.key_bits:
        raise InputError(f"{algorithm.name} takes no key")
    if bits is None:
        bits = algorithm.key_bits[0]
    if bits not in algorithm.key_bits:
        raise InputError(
            f"{algorithm.name} has no key size of {bits} bits",
            "",
            algorithm.size_choices(),
        )
    while True:
        key = set_parity(algorithm, os.urandom((bits + algorithm.salt_bits) // 8))
        if not problem(algorithm, key):
            return key


def is_short(algorithm: Algorithm, key: bytes) -> bool:
    """Whether a key has so few secret bits that testing guesses can find it. Salt and parity bits
    are not secret.
    """
    bits = len(key) * 8 - algorithm.salt_bits
    return (bits * 7 // 8 if algorithm.des_parity else bits) < LONG_BITS


def fingerprint(algorithm: Algorithm, key: bytes) -> str:
    """What may be shown of a key: `full_fingerprint`, `SHORT_KEY` for a short key, empty for no key.

    Two systems that hold the same key show the same fingerprint; a long key cannot be derived from it.
    """
    return SHORT_KEY if key and is_short(algorithm, key) else full_fingerprint(algorithm, key)


def full_fingerprint(algorithm: Algorithm, key: bytes) -> str:
    """The first 16 hex digits of SHA-256 over a fixed label, the algorithm's name and the key with its
    parity set; empty for no key.

    Never show it, and store it only in encrypted files: it reveals a short key to guessing.
    """
    if not key:
        return ""
    import hashlib  # only here, since it loads OpenSSL, which most runs of the command do not need

    return hashlib.sha256(
        _FINGERPRINT_LABEL + algorithm.name.encode("ascii") + b"\0" + set_parity(algorithm, key)
    ).hexdigest()[:16]
