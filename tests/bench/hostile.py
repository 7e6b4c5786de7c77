# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The cost of texts that were written to make the parser slow: a text four times as long must cost
about four times as much.
"""

from __future__ import annotations

import contextlib
import time
import typing as t

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import IpsecError
from ansible_collections.ipsec.manual.plugins.module_utils._core.text import language

ADD = (
    f"add esp spi 0x1001 src 192.0.2.1 dst 192.0.2.2 encr_alg aes-cbc encrkey {'5a' * 32} auth_alg hmac-sha256 authkey"
    f" {'a5' * 32}"
)
PIECES = {
    "comment lines": "# \\\n",
    "continuations": "\\\n",
    "one long command": "add esp spi 0x1001 \\\n",
    "one long line": "add ",
    "quotes": '"',
    "closed quotes": '"" ',
    "unknown keywords": "add esp colour{} red\n",
    "bad keys": "add ah spi 0x1001 dst ::1 auth_alg md5 authkey zz\n",
    "shapes": ADD.replace("0x1001", "0x{:08x}") + " reqid {}\n",
    "huge numbers": "9",
    "the same line": ADD + "\n",
    "blanks": " ",
    "nul": "\0",
}
SHORT, LONG = 100_000, 400_000


class Cost(t.NamedTuple):
    """CPU seconds for both lengths, for the kind of text whose cost grows most."""

    kind: str
    short: float
    long: float

    @property
    def growth(self) -> float:
        """Cost per character of the long text relative to the short one: 1 is linear."""
        return self.long / self.short / (LONG / SHORT)


def measure() -> Cost:
    return max(
        (Cost(kind, _seconds(_text(piece, SHORT)), _seconds(_text(piece, LONG))) for kind, piece in PIECES.items()),
        key=lambda cost: cost.growth,
    )


def _text(piece: str, length: int) -> str:
    count = length // len(piece)
    return "".join(piece.format(number + 4096, number) for number in range(count)) if "{" in piece else piece * count


def _seconds(text: str) -> float:
    """The fastest of three runs."""
    found = []
    for _round in range(3):
        began = time.process_time()
        with contextlib.suppress(IpsecError):
            language.parse(text, resolve_names=False)
        found.append(time.process_time() - began)
    return max(min(found), 1e-3)
