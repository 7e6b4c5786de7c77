# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table of the algorithms that ESP and AH can use with manual keys.

Names and numbers are those of the ``ipsecalgs`` table of illumos, kernel names those of
``net/xfrm/xfrm_algo.c`` in Linux. Key sizes are those that both tables and the RFC in ``rfc`` have,
without Blowfish keys of less than 64 bits. The status of each algorithm is from RFC 8221 as updated
by RFC 9395."""

from __future__ import annotations

import typing as t

from ..errors import InputError, shown

if t.TYPE_CHECKING:
    from .neighbours import Meaning

ENCRYPTION = "encryption"
AUTHENTICATION = "authentication"

# Messages list up to this many key sizes; a longer list has all multiples of 8 in a range.
_LISTED_MAX = 3


class Algorithm(t.NamedTuple):
    """One row.

    ``key_bits`` are the possible key sizes without the salt; the first is the default. The salt of
    ``salt_bits`` follows the key in ``encrkey``. ``icv_bits`` are the possible lengths of the
    integrity check value; the first is the default, and a cipher without integrity has none.
    ``number`` is that of ipseckey, None if its table lacks the algorithm. ``modules`` are the
    arguments of modprobe(8) that load it on Linux: aliases if they exist, since module names differ
    between kernels. ``advice`` is the requirement level below MUST that an RFC assigns, otherwise
    empty; levels address implementers (RFC 8221 section 1.3). ``counter_mode`` marks algorithms that
    must never use a key and counter twice (RFC 8221 section 3)."""

    name: str
    kind: str
    aliases: tuple[str, ...]
    number: int | None
    linux: str
    key_bits: tuple[int, ...]
    salt_bits: int = 0
    icv_bits: tuple[int, ...] = ()
    block_bits: int = 0
    modules: tuple[str, ...] = ()
    rfc: str = ""
    advice: str = ""
    counter_mode: bool = False
    des_parity: bool = False

    @property
    def material_bits(self) -> tuple[int, ...]:
        """The possible sizes of a key value in bits: key and salt together."""
        return tuple(bits + self.salt_bits for bits in self.key_bits)

    @property
    def combined(self) -> bool:
        """Whether the cipher provides its own integrity (AEAD)."""
        return self.kind == ENCRYPTION and bool(self.icv_bits)

    def sizes(self) -> str:
        """The sizes for messages and documentation: ``192 bits (48 hex digits)``."""
        if len(self.key_bits) <= _LISTED_MAX:
            return " or ".join(f"{bits} bits ({bits // 4} hex digits)" for bits in self.material_bits)
        low, high = min(self.material_bits), max(self.material_bits)
        return f"{low} to {high} bits in whole bytes ({low // 4} to {high // 4} hex digits)"

    def size_choices(self) -> str:
        """The advice to choose one of the sizes without the salt."""
        if len(self.key_bits) <= _LISTED_MAX:
            return f"Choose one of: {', '.join(map(str, self.key_bits))}."
        return f"Choose {min(self.key_bits)} to {max(self.key_bits)}, a multiple of 8."


def _hmac(
    name: str, number: int, aliases: tuple[str, ...], bits: int, icv: tuple[int, ...], rfc: str, advice: str = ""
) -> Algorithm:
    """An HMAC, which Linux calls after its hash: ``hmac-sha256`` is hmac(sha256), from crypto-sha256."""
    hashed = name[len("hmac-") :]
    return Algorithm(
        name,
        AUTHENTICATION,
        aliases,
        number,
        f"hmac({hashed})",
        (bits,),
        icv_bits=icv,
        modules=("crypto-hmac", f"crypto-{hashed}"),
        rfc=rfc,
        advice=advice,
    )


def _cbc(
    name: str, number: int, cipher: str, key_bits: tuple[int, ...], block: int, rfc: str, advice: str = ""
) -> Algorithm:
    """A cipher in mode CBC, also known without it: ``des-cbc`` is des. ``cipher`` is the name in Linux."""
    return Algorithm(
        name,
        ENCRYPTION,
        (name[: -len("-cbc")],),
        number,
        f"cbc({cipher})",
        key_bits,
        block_bits=block,
        modules=("crypto-cbc", f"crypto-{cipher}"),
        rfc=rfc,
        advice=advice,
        des_parity=cipher.startswith("des"),
    )


def _aead(
    name: str, number: int | None, aliases: tuple[str, ...], linux: str, salt: int, icv: int, module: str, rfc: str
) -> Algorithm:
    return Algorithm(
        name,
        ENCRYPTION,
        aliases,
        number,
        linux,
        (256, 192, 128),
        salt,
        (icv,),
        128,
        (module, "crypto-aes", "crypto-seqiv"),
        rfc,
        counter_mode=True,
    )


ALGORITHMS: tuple[Algorithm, ...] = (
    _hmac("hmac-md5", 2, ("md5",), 128, (96, 128), "RFC 2403", "MUST NOT, RFC 8221 section 6"),
    _hmac(
        "hmac-sha1",
        3,
        ("sha", "sha1", "sha-1", "hmac-sha", "hmac-sha-1"),
        160,
        (96, 160),
        "RFC 2404",
        "MUST-, RFC 8221 section 6",
    ),
    _hmac("hmac-sha256", 5, ("sha256", "sha-256", "hmac-sha-256"), 256, (128, 96, 256), "RFC 4868"),
    _hmac("hmac-sha384", 6, ("sha384", "sha-384", "hmac-sha-384"), 384, (192, 384), "RFC 4868"),
    _hmac("hmac-sha512", 7, ("sha512", "sha-512", "hmac-sha-512"), 512, (256, 512), "RFC 4868"),
    Algorithm(
        "aes-xcbc",
        AUTHENTICATION,
        ("aes-xcbc-mac",),
        None,
        "xcbc(aes)",
        (128,),
        icv_bits=(96,),
        modules=("crypto-xcbc", "crypto-aes"),
        rfc="RFC 3566",
    ),
    Algorithm(
        "aes-cmac",
        AUTHENTICATION,
        (),
        None,
        "cmac(aes)",
        (128,),
        icv_bits=(96, 128),
        modules=("crypto-cmac", "crypto-aes"),
        rfc="RFC 4494",
    ),
    _cbc("des-cbc", 2, "des", (64,), 64, "RFC 2405", "MUST NOT, RFC 8221 section 5"),
    _cbc("3des-cbc", 3, "des3_ede", (192,), 64, "RFC 2451", "SHOULD NOT, RFC 8221 section 5"),
    _cbc(
        "blowfish-cbc",
        7,
        "blowfish",
        (128, *range(64, 128, 8), *range(136, 449, 8)),
        64,
        "RFC 2451",
        "MUST NOT, RFC 8221 section 5",
    ),
    Algorithm("null", ENCRYPTION, (), 11, "ecb(cipher_null)", (), modules=("crypto_null",), rfc="RFC 2410"),
    _cbc("aes-cbc", 12, "aes", (256, 192, 128), 128, "RFC 3602"),
    _aead("aes-ccm8", 14, (), "rfc4309(ccm(aes))", 24, 64, "crypto-ccm", "RFC 4309"),
    _aead("aes-ccm12", 15, (), "rfc4309(ccm(aes))", 24, 96, "crypto-ccm", "RFC 4309"),
    _aead("aes-ccm", 16, ("aes-ccm16",), "rfc4309(ccm(aes))", 24, 128, "crypto-ccm", "RFC 4309"),
    _aead("aes-gcm8", 18, (), "rfc4106(gcm(aes))", 32, 64, "crypto-gcm", "RFC 4106"),
    _aead("aes-gcm12", 19, (), "rfc4106(gcm(aes))", 32, 96, "crypto-gcm", "RFC 4106"),
    _aead("aes-gcm", 20, ("aes-gcm16",), "rfc4106(gcm(aes))", 32, 128, "crypto-gcm", "RFC 4106"),
    _aead("aes-gmac", None, (), "rfc4543(gcm(aes))", 32, 128, "crypto-gcm", "RFC 4543"),
    Algorithm(
        "chacha20-poly1305",
        ENCRYPTION,
        ("chacha20poly1305",),
        None,
        "rfc7539esp(chacha20,poly1305)",
        (256,),
        32,
        (128,),
        512,
        ("crypto-rfc7539esp", "crypto-chacha20", "crypto-seqiv"),
        "RFC 7634",
        counter_mode=True,
    ),
    Algorithm(
        "aes-ctr",
        ENCRYPTION,
        (),
        None,
        "rfc3686(ctr(aes))",
        (256, 192, 128),
        32,
        block_bits=128,
        modules=("crypto-ctr", "crypto-aes", "crypto-seqiv"),
        rfc="RFC 3686",
        counter_mode=True,
    ),
)

DEFAULT_ENCRYPTION = "aes-cbc"
DEFAULT_AUTHENTICATION = "hmac-sha256"
_DEFAULTS = {ENCRYPTION: DEFAULT_ENCRYPTION, AUTHENTICATION: DEFAULT_AUTHENTICATION}

BY_NAME: dict[str, Algorithm] = {row.name: row for row in ALGORITHMS}
_BY_WORD: dict[tuple[str, str], Algorithm] = {
    (row.kind, word): row for row in ALGORITHMS for word in (row.name, *row.aliases, row.linux)
}
_BY_NUMBER: dict[tuple[str, int], Algorithm] = {
    (row.kind, row.number): row for row in ALGORITHMS if row.number is not None
}
_BY_LINUX: dict[tuple[str, int], Algorithm] = {
    (row.linux, icv): row for row in ALGORITHMS for icv in (row.icv_bits if row.combined else (0,))
}


def find(kind: str, word: str, place: str = "") -> Algorithm:
    """The row that ``word`` names: an ipseckey name or alias in any case, a Linux kernel name, or ipseckey's number.

    Raises InputError if there is none, with our name for it or the nearest names.
    """
    row = _BY_WORD.get((kind, word.lower()))
    if row is None and len(word) <= 3 and word.isascii() and word.isdigit():
        row = _BY_NUMBER.get((kind, int(word)))
    if row is not None:
        return row
    raise _unknown(kind, word, place)


def _unknown(kind: str, word: str, place: str) -> InputError:
    """The error for a name that is not in the table, with our name for the algorithm or with similar names."""
    from . import neighbours  # only here, since a module starts for every task

    own, other = neighbours.meaning(kind, word), AUTHENTICATION if kind == ENCRYPTION else ENCRYPTION
    of_other = neighbours.meaning(other, word)
    if own is not None and own.name:
        return InputError(f"unknown {kind} algorithm {shown(word)}", place, _called(BY_NAME[own.name], own))
    such = f"Choose another one, such as {_DEFAULTS[kind]}."
    if own is not None:
        return InputError(f"the {kind} algorithm {shown(word)} is not supported", place, such)
    if (other, word.lower()) in _BY_WORD or (of_other is not None and of_other.name):
        return InputError(f"{shown(word)} is an {other} algorithm, but an {kind} algorithm is needed here", place, such)
    return InputError(f"unknown {kind} algorithm {shown(word)}", place, f"Nearest names: {_nearest(kind, word)}.")


def _called(row: Algorithm, known: Meaning) -> str:
    """The hint for another program's name of ``row``, with the key size and the ICV that the name implies."""
    implied = ""
    if known.key_bits in row.key_bits:
        salt = f" and {row.salt_bits} bits of salt" if row.salt_bits else ""
        digits = (known.key_bits + row.salt_bits) // 4
        implied = f", with a key of {known.key_bits} bits{salt} ({digits} hex digits)"
    if row.icv_bits and known.icv_bits not in (0, row.icv_bits[0]):
        implied += f", with icv_bits {known.icv_bits}"
    if not _reservations(row):
        return f"Write {row.name}{implied}."
    better = f"{DEFAULT_ENCRYPTION} with {DEFAULT_AUTHENTICATION}" if row.kind == ENCRYPTION else DEFAULT_AUTHENTICATION
    return f"Prefer {better} (RFC 8221); otherwise write {row.name}{implied}."


def _nearest(kind: str, word: str) -> str:
    """The names most like the word, and the default; first those that RFC 8221 allows with static keys."""
    import difflib  # only here, since a module starts for every task

    words = {known: row for (row_kind, known), row in _BY_WORD.items() if row_kind == kind}
    near = difflib.get_close_matches(word.lower(), words, 3, 0.5) if len(word) <= 40 else []
    rows = [words[known] for known in (*near, _DEFAULTS[kind])] if near else [words[_DEFAULTS[kind]], *words.values()]
    return ", ".join(dict.fromkeys(row.name for row in sorted(rows, key=_reservations)))


def _reservations(row: Algorithm) -> int:
    """How strongly RFC 8221 advises against the algorithm with static keys: 0 not at all, 2 MUST NOT."""
    return 2 if row.counter_mode or row.advice.startswith("MUST NOT") else int(bool(row.advice))


def find_linux(linux: str, icv_bits: int = 0) -> Algorithm | None:
    """The row for a Linux kernel name, None if there is none. Combined ciphers are distinguished by
    their ICV in bits; all others have 0.
    """
    return _BY_LINUX.get((linux, icv_bits))
