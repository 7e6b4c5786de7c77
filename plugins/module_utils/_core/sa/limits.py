# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The limits of an SA, and how much of them it has used. Pure."""

from __future__ import annotations

import typing as t

from .model import LIFETIME_KINDS, Entry, algorithm_of

PACKETS = "packets"
BYTES = "bytes"
SECONDS = "seconds"
_UNITS = {"bytes": BYTES, "packets": PACKETS, "addtime": SECONDS, "usetime": SECONDS}

SEQUENCE_NUMBERS = "sequence numbers"
BLOCKS = "64-bit blocks"
_SEQUENCES = 1 << 32
_SEQUENCES_ESN = 1 << 64
_BIRTHDAY_BLOCK_BITS = 64
BIRTHDAY_BLOCKS = 1 << 32
"""Blocks of 64 bits under one key, after which two equal ones are likely (Sweet32, CVE-2016-2183)."""
ADVISED_BLOCKS = 1 << 20
"""Blocks of 64 bits after which new keys are due: NIST SP 800-67 Rev. 2, section 3.1, for the keys of 3DES."""
_BLOCK_BYTES = 8


class Limit(t.NamedTuple):
    """One limit: its name (a lifetime without its end, `SEQUENCE_NUMBERS` or `BLOCKS`), the unit in
    which ``used``, ``soft`` and ``hard`` are counted, and where it warns and ends; 0 for no such end.
    """

    name: str
    unit: str
    used: int
    soft: int
    hard: int

    @property
    def left(self) -> int:
        """How much may still be used until the hard end, or without one until the soft end."""
        return max(0, (self.hard or self.soft) - self.used)

    @property
    def percent_left(self) -> int:
        """The same as a share, rounded down, so that 0 is reached before the end."""
        return self.left * 100 // (self.hard or self.soft)


def limits(entry: Entry, now: float) -> list[Limit]:
    """Every limit of the SA, counters read at ``now`` (seconds since the epoch).

    Every packet takes one of 2^32 sequence numbers (2^64 with ESN; RFC 4303 section 3.3.3), and
    counts against the lifetime in packets. Bytes are limited by the lifetime in bytes, and to 2^32
    blocks for ciphers with 64-bit blocks, when a repeated block becomes likely; new keys are advised
    much earlier. A lifetime since the first use does not run until then."""
    sa, counters = entry.sa, entry.counters
    sequence = max(counters.sequence_out, counters.sequence_in, counters.packets)
    found = [Limit(SEQUENCE_NUMBERS, PACKETS, sequence, 0, (_SEQUENCES_ESN if sa.esn else _SEQUENCES) - 1)]
    cipher = algorithm_of(sa.encryption)
    if cipher is not None and cipher.block_bits == _BIRTHDAY_BLOCK_BITS:
        advised, likely = (blocks * _BLOCK_BYTES for blocks in (ADVISED_BLOCKS, BIRTHDAY_BLOCKS))
        found.append(Limit(BLOCKS, BYTES, counters.bytes, advised, likely))
    used = {
        "bytes": counters.bytes,
        "packets": counters.packets,
        "addtime": _since(counters.add_time, now),
        "usetime": _since(counters.use_time, now),
    }
    for kind in LIFETIME_KINDS:
        soft, hard = (getattr(sa.lifetimes, f"{end}_{kind}") for end in ("soft", "hard"))
        if soft or hard:
            found.append(Limit(kind, _UNITS[kind], used[kind], soft, hard))
    return found


def age(entry: Entry, now: float) -> int:
    """Seconds since the SA was added; 0 if the SADB does not tell, or if the clock was set back."""
    return _since(entry.counters.add_time, now)


def _since(then: int, now: float) -> int:
    return max(0, int(now) - then) if then else 0
