# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names that other programs use for algorithms: setkey and racoon, ``ip xfrm``, ipsec.conf of OpenBSD,
strongSwan and Libreswan, and the registry of IANA. They are recognised, so that an error can name ours.
"""

from __future__ import annotations

import re
import typing as t


class Meaning(t.NamedTuple):
    """What a name means: our name, empty if the collection lacks the algorithm; the key size without
    the salt and the ICV that the name implies, in bits, 0 if none.
    """

    name: str
    key_bits: int = 0
    icv_bits: int = 0


_NAME_MAX = 40
_SEPARATORS = re.compile(r"[-_ /()]+")
# What IANA and Libreswan put before a name.
_PREFIX = re.compile(r"^(?:encr|auth|esp)(?=.)")
# The kind, the form of a name in lower case without separators and prefix, and our name, empty where
# the collection lacks the algorithm. Of the groups, "key" is a key size in bits, "icv" an ICV in bits,
# and "last" a number that may be a key size in bits or, of a combined mode, an ICV in bits or octets.
_FORMS: tuple[tuple[str, str, str], ...] = (
    (
        "encryption",
        r"(?:aes|rijndael)(?P<key>128|192|256)?(?P<mode>gcm|ccm)(?P<last>128|192|256|8|12|16|64|96)?(?:icv)?",
        "aes-{mode}",
    ),
    ("encryption", r"(?:nullauth)?aes(?P<key>128|192|256)?gmac(?P<last>128|192|256)?", "aes-gmac"),
    ("encryption", r"aes(?P<key>128|192|256)?ctr(?P<last>128|192|256)?", "aes-ctr"),
    ("encryption", r"(?:aes|rijndael)(?P<key>128|192|256)?(?:cbc)?(?P<last>128|192|256)?", "aes-cbc"),
    ("encryption", r"(?:blowfish|bf)(?P<key>[0-9]{2,3})?(?:cbc)?(?P<last>[0-9]{2,3})?", "blowfish-cbc"),
    ("encryption", r"(?:3des|tripledes|des3)(?:ede3?)?(?:cbc)?(?:192|168)?", "3des-cbc"),
    ("encryption", r"des(?:iv64)?(?:cbc)?(?:56|64)?", "des-cbc"),
    ("encryption", r"(?:ecb)?(?:cipher)?null(?:cipher)?", "null"),
    ("encryption", r"chacha20poly1305(?:ietf|256|128|esp)?", "chacha20-poly1305"),
    (
        "encryption",
        r".*(?:cast|camellia|serpent|twofish|idea|rc[45]|seed|desderiv|3desderiv|desiv32|skipjack|sm4|aria).*",
        "",
    ),
    ("authentication", r"(?:hmac)?sha2?(?P<hash>256|384|512)(?:hmac)?(?P<icv>96|128|192|256)?", "hmac-sha{hash}"),
    ("authentication", r"(?:hmac)?sha1?(?:hmac)?(?P<icv>96|160)?", "hmac-sha1"),
    ("authentication", r"(?:hmac)?md5(?:hmac)?(?P<icv>96|128)?", "hmac-md5"),
    ("authentication", r"(?:aes(?:128)?xcbc|xcbcaes)(?:mac)?(?P<icv>96)?", "aes-xcbc"),
    ("authentication", r"(?:aes(?:128)?cmac|cmacaes)(?P<icv>96|128)?", "aes-cmac"),
    (
        "authentication",
        r".*(?:ripemd|rmd160|keyed|tcpmd5|desmac|kpdk|tiger|sm3|digestnull|sha2?224|blake|umac|poly1305).*",
        "",
    ),
)
_COMPILED = tuple((kind, re.compile(form), name) for kind, form, name in _FORMS)


def meaning(kind: str, word: str) -> Meaning | None:
    """What the word means as an algorithm of that kind; None if no other program has such a name."""
    if len(word) > _NAME_MAX:
        return None
    plain = _PREFIX.sub("", _SEPARATORS.sub("", word.lower()), count=1)
    for row_kind, form, name in _COMPILED:
        found = form.fullmatch(plain) if row_kind == kind else None
        if found is not None:
            groups = {group: value or "" for group, value in found.groupdict().items()}
            return _meaning(name.format(**groups), groups)
    return None


def _meaning(name: str, groups: t.Mapping[str, str]) -> Meaning:
    key, icv = int(groups.get("key") or 0), int(groups.get("icv") or 0)
    last = int(groups.get("last") or 0)
    if not groups.get("mode") or (last > 128 and not key):
        return Meaning(name, key or last, icv)
    octets = last if last <= 16 else last // 8
    return Meaning(name if octets in (0, 16) else f"{name}{octets}", key)
