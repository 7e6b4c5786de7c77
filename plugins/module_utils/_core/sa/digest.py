# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Comparing the SAs of two systems without sending a key."""

from __future__ import annotations

import typing as t

from .algorithms import AUTHENTICATION, ENCRYPTION
from .model import Pair, SecurityAssociation, fingerprints, format_address, key_in_use, mark_text, owner, pair

_NO_KEYS = dict.fromkeys((ENCRYPTION, AUTHENTICATION), "")


def digest(sas: t.Iterable[SecurityAssociation], key: bytes = b"", with_keys: bool = True) -> dict[str, str]:
    """``{"ADDRESS|ADDRESS": 16 hex digits}``: one fingerprint for all SAs between two addresses, in either direction.

    It covers what both peers must agree on: protocol, SPI, addresses, mode, algorithms, ICV, ESN
    and keys. Two hosts with the same SAs get the same fingerprint.

    Short keys (`keys.is_short`) are left out, since anyone who reads a fingerprint can test guesses.
    With ``key``, a secret, the fingerprint is an HMAC of 32 hex digits that covers them too. ``with_keys`` is False
    where a kernel hides keys, to compare all else."""
    import hashlib  # only here, as in `keys`
    import hmac

    lines: dict[Pair, list[str]] = {}
    for sa in sas:
        if not with_keys:
            prints = _NO_KEYS
        elif key:
            prints = {kind: key_in_use(sa, kind).hex() for kind in (ENCRYPTION, AUTHENTICATION)}
        else:
            prints = fingerprints(sa)
        lines.setdefault(pair(sa), []).append(
            f"{sa.protocol} {sa.spi:08x} {sa.source.hex()} {sa.destination.hex()} {sa.mode} {sa.encryption}"
            f" {prints[ENCRYPTION]} {sa.authentication} {prints[AUTHENTICATION]} {sa.icv_bits} {sa.esn:d}\n"
        )
    found = {}
    for ends, texts in sorted(lines.items()):
        text = "".join(sorted(texts)).encode("ascii")
        found["|".join(map(format_address, ends))] = (
            hmac.new(key, text, "sha256").hexdigest()[:32] if key else hashlib.sha256(text).hexdigest()[:16]
        )
    return found


def digest_by_owner(sas: t.Iterable[SecurityAssociation], key: bytes = b"", with_keys: bool = True) -> dict[str, str]:
    """``{"ADDRESS|ADDRESS#REQID,MARK,IF_ID": fingerprint}``: `digest` over all SAs of one owner between two addresses.

    SAs of other owners have names of their own, so they do not change the fingerprint of ours.
    """
    groups: dict[str, list[SecurityAssociation]] = {}
    for sa in sas:
        groups.setdefault(name_by_owner(sa), []).append(sa)
    return {
        name: fingerprint for name, group in groups.items() for fingerprint in digest(group, key, with_keys).values()
    }


def name_by_owner(sa: SecurityAssociation) -> str:
    """The name of the SA's owner between its two addresses: ``ADDRESS|ADDRESS#REQID,MARK,IF_ID``."""
    reqid, mark, if_id = owner(sa)
    return f"{'|'.join(map(format_address, pair(sa)))}#{reqid},{mark_text(mark)},{if_id}"
