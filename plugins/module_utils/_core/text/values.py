# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Values as single words of text: SPIs, numbers, addresses, keys. Each function raises InputError,
which never shows a key.
"""

from __future__ import annotations

import re
import socket

from ..errors import InputError, may_be_key, shown
from ..sa import algorithms, checks, keys, model
from ..sa.model import Mark

# Patterns are compiled when they are used, since most tasks need none.
# A word that is meant as a number, valid or not; 3des is a name.
_NUMBER = r"0[xX][0-9a-fA-F]*|[0-9]+"
# A leading zero means octal to ipseckey; below 8 that is the same number.
_DECIMAL = r"[1-9][0-9]{0,63}|0{0,63}[0-7]"
_HEX_DIGITS = frozenset("0123456789abcdefABCDEF")
_DIGEST_KEY_BYTES = 32
_IDENTITY_TYPES = {
    "prefix": "prefix",
    "fqdn": "fqdn",
    "domain": "fqdn",
    "domainname": "fqdn",
    "user_fqdn": "user_fqdn",
    "mailbox": "user_fqdn",
    "der_dn": "der_dn",
    "der_gn": "der_gn",
}
_SA_TYPES = {"esp": model.ESP, "ah": model.AH, "all": ""}
# A type may also be its number in PF_KEY.
_SA_TYPE_NUMBERS = {3: model.ESP, 2: model.AH, 0: ""}
# Words for no algorithm; 0 is its number in ipsecalgs.
_NO_ALGORITHM = {algorithms.ENCRYPTION: ("any", "0"), algorithms.AUTHENTICATION: ("none", "any", "0")}


def parse_spi(text: str | int, place: str = "", lowest: int = model.SPI_MIN) -> tuple[int, str]:
    """An SPI and a warning, which is empty unless the text is ambiguous.

    ``0x…`` is hexadecimal, and so are digits with a letter (as old guides print them); digits alone
    are decimal as for ipseckey. Raises InputError for a leading zero (octal to ipseckey), a sign,
    more than 32 bits (which ipseckey cuts), 0, and the reserved 1 to 255."""
    spi, reading, advice = read_spi(str(text), place, lowest)
    return spi, f"{reading}; {advice}" if reading and isinstance(text, str) else ""


def parse_installed_spi(text: str | int, place: str = "") -> tuple[int, str]:
    """As `parse_spi`, but for the SPI of an installed SA, which another program may have added: allows 1 to 255."""
    return parse_spi(text, place, lowest=1)


def read_spi(text: str, place: str = "", lowest: int = model.SPI_MIN) -> tuple[int, str, str]:
    """An SPI; if the text is ambiguous, also a sentence that says how it was read, and the advice
    that all such SPIs share.
    """
    reading = advice = ""
    if _is_hexadecimal(text):
        spi = int(text, 16)
    elif re.fullmatch(r"0|[1-9][0-9]{0,63}", text):
        spi = int(text)
        if len(text) <= 8 and spi != int(text, 16):
            reading, advice = (
                f"SPI {text} is read as decimal, 0x{spi:08x}, not as 0x{text:0>8}",
                "digits alone are decimal; where hexadecimal is meant, write 0x",
            )
    elif re.fullmatch(r"[0-9a-fA-F]{1,8}", text) and not text.isdigit():
        spi = int(text, 16)
        reading, advice = f"SPI {text} is read as 0x{spi:08x}", "ipseckey itself refuses hexadecimal digits without 0x"
    elif re.fullmatch(r"0[0-9]+", text):
        raise InputError(
            f"SPI {shown(text)} has a leading zero, which means octal to ipseckey",
            place,
            "Write 0x and hexadecimal digits, or decimal without the zero.",
        )
    else:
        raise InputError(f"{shown(text)} is not a valid SPI", place, "Write 0x and up to 8 hexadecimal digits.")
    if spi > model.SPI_MAX:
        raise InputError(f"SPI {shown(text)} does not fit 32 bits", place, "Write 0x and up to 8 hexadecimal digits.")
    if spi < lowest:
        message, hint = checks.spi_problem(spi)
        raise InputError(message, place, hint)
    return spi, reading, advice


def _is_hexadecimal(text: str) -> bool:
    return text[:2] in ("0x", "0X") and 2 < len(text) <= 66 and _HEX_DIGITS.issuperset(text[2:])


def parse_number(text: str, bits: int, place: str = "") -> int:
    """A decimal number, or a hexadecimal one after ``0x``, of at most ``bits`` bits. Signs, octal,
    units and names are refused.
    """
    if _is_hexadecimal(text):
        number = int(text, 16)
    elif re.fullmatch(_DECIMAL, text):
        number = int(text)
    elif re.fullmatch(r"0[0-9]+", text):
        raise InputError(
            f"{shown(text)} has a leading zero, which means octal to ipseckey",
            place,
            "Write the decimal number without it, or 0x and hexadecimal digits.",
        )
    else:
        raise InputError(
            f"{shown(text)} is not a number",
            place,
            "Write decimal digits, or 0x and hexadecimal digits; no sign, no unit, no name.",
        )
    if number >> bits:
        largest = str((1 << bits) - 1) if bits < 64 else "2^64-1"
        silently = "" if number >> 64 else "; ipseckey would cut it silently"
        raise InputError(f"{shown(text)} does not fit {bits} bits", place, f"The largest value is {largest}{silently}.")
    return number


def unsigned(text: str) -> str:
    """A number in a command, without the meaningless plus that may precede it."""
    return text[1:] if text[:1] == "+" and text[1:2].isdigit() else text


def parse_type(text: str) -> str | None:
    """The SA type that a name or a number means, empty for all types; None for an unknown one."""
    word = unsigned(text).lower()
    if not re.fullmatch(_NUMBER, word):
        return _SA_TYPES.get(word)
    try:
        return _SA_TYPE_NUMBERS.get(parse_number(word, 8))
    except InputError:
        return None


def parse_mark(text: str, place: str = "") -> Mark | None:
    """``VALUE`` or ``VALUE/MASK``, 32 bits each; the default mask is all ones. None for a mark that
    matches every packet (mask 0).
    """
    value, slash, mask = text.partition("/")
    mark = Mark(parse_number(value, 32, place), parse_number(mask, 32, place) if slash else 0xFFFFFFFF)
    return mark if any(mark) else None


def parse_network(text: str, place: str = "") -> tuple[bytes, int]:
    """``ADDRESS`` or ``ADDRESS/PREFIX`` as packed address and prefix length in bits. The prefix
    length of an IPv4-mapped IPv6 address may include its first 96 bits. The unspecified address
    needs one, since people mean every address by it.
    """
    address, slash, prefix = text.partition("/")
    try:
        packed = model.pack_address(address, place)
    except InputError as wrong:
        raise InputError(wrong.message, place, "Write the address itself; a name is not a network.") from None
    width = len(packed) * 8
    if not slash and not any(packed):
        raise InputError(
            f"{address} without a prefix length may mean one address or every address",
            place,
            f"Write {address}/0 for every address, {address}/{width} for this one.",
        )
    if not slash:
        return packed, width
    if not re.fullmatch(r"0|[1-9][0-9]{0,2}", prefix):
        raise InputError(
            f"{shown(prefix)} is not a valid prefix length",
            place,
            f"Write a decimal number, /0 to /{width}; ipseckey reads as much of it as it can.",
        )
    length = int(prefix)
    if width == 32 and ":" in address and 96 <= length <= 128:
        length -= 96
    if length > width:
        raise InputError(f"the prefix /{length} is longer than the address", place, f"Write /0 to /{width}.")
    return packed, length


def is_unspecified_text(text: str) -> bool:
    """Whether the word is the unspecified address, without a prefix length."""
    try:
        return not any(model.pack_address(text))
    except InputError:
        return False


def parse_digest_key(text: str, place: str = "") -> bytes:
    """The secret of one run that keys the digests of the hosts' SAs (`digest.digest`): 64 hex digits."""
    key = keys.from_hex(text, place)
    if len(key) != _DIGEST_KEY_BYTES:
        digits = _DIGEST_KEY_BYTES * 2
        raise InputError(
            f"{digits} hex digits are needed, found {len(key) * 2}",
            place,
            "{new_key:hmac-sha256:32} All hosts of a run need the same one.",
        )
    return key


def parse_key(text: str, place: str = "") -> bytes:
    """Hexadecimal digits, optionally after ``0x`` and before ``/BITS``, which must be the length of
    the digits. No error shows a digit.
    """
    digits, slash, bits = text.partition("/")
    key = keys.from_hex(digits, place)
    if not key:
        raise InputError("the key is empty", place, "Write hexadecimal digits.")
    if slash and not re.fullmatch(r"0{0,5}[1-9][0-9]{0,5}", bits):
        raise InputError(
            "the text after the key's slash is not a number of bits",
            place,
            "Write the number of bits, or omit it and the slash.",
        )
    if slash and int(bits) != len(key) * 8:
        done = "cut the key" if int(bits) < len(key) * 8 else "fill the key with stray memory"
        raise InputError(
            f"the key has {len(key) * 8} bits, but /{int(bits)} stands behind it",
            place,
            f"Correct the key or the number; ipseckey would {done}.",
        )
    return key


def parse_algorithm(kind: str, text: str, place: str = "") -> str:
    """The canonical name of an algorithm given by name or number; empty for a word that means no algorithm."""
    word = text
    if re.fullmatch(_NUMBER, text):
        number = parse_number(text, 64, place)
        if number > 255:
            raise InputError(f"no {kind} algorithm has a number above 255", place, "Write the algorithm's name.")
        word = str(number)
    return "" if word.lower() in _NO_ALGORITHM[kind] else algorithms.find(kind, word, place).name


# PF_KEY numbers them from 1 in the order of that table.
_IDENTITY_NAMES = dict(enumerate(dict.fromkeys(_IDENTITY_TYPES.values()), 1))


def parse_identity(kind: str, text: str, place: str = "") -> str:
    """The type and the text, separated by a blank. The type is its first name in `_IDENTITY_TYPES`, else its number."""
    canonical = _IDENTITY_TYPES.get(kind.lower())
    if canonical is None:
        number = parse_number(kind, 64, place) if re.fullmatch(_NUMBER, kind) else -1
        if not 0 <= number <= 0xFFFF:
            raise InputError(
                f"unknown identity type {shown(kind)}",
                place,
                f"Choose one of: {', '.join(_IDENTITY_TYPES)}, or a number of 16 bits.",
            )
        canonical = _IDENTITY_NAMES.get(number, str(number))
    return f"{canonical} {text}"


def resolve(host: str, ipv6: bool = False) -> bytes:
    """The only address of a host name, or its only IPv6 address. A word that could be a misspelt
    address or a key is never looked up.
    """
    labels = host.rstrip(".").split(".")
    plausible = (
        re.fullmatch(r"[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63}){0,10}\.?", host)
        and re.search(r"[A-Za-z]", labels[-1])
        and not labels[-1].lower().startswith("0x")
    )
    if not plausible or may_be_key(host):
        raise InputError(f"{shown(host)} is neither an address nor a host name", "", "Write an IPv4 or IPv6 address.")
    try:
        answers = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        raise InputError(f"the host name {shown(host)} does not resolve", "", "Write the address itself.") from None
    found = sorted(
        {
            model.pack_address(str(answer[4][0]).partition("%")[0])
            for answer in answers
            if answer[0] in (socket.AF_INET, socket.AF_INET6)
        }
    )
    if ipv6:
        found = [address for address in found if len(address) == 16]
        if not found:
            raise InputError(f"the host name {shown(host)} has no IPv6 address", "", "Write the address itself.")
    if len(found) != 1:
        listed = ", ".join(map(model.format_address, found))
        raise InputError(
            f"the host name {shown(host)} has {len(found)} addresses ({listed})", "", "Write the address that you mean."
        )
    return found[0]
