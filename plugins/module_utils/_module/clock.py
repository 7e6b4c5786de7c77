# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Instants on this host's clock: the one at which peers switch together, and the one after which
nothing may change.
"""

from __future__ import annotations

import math
import time

from .._core.errors import InputError

# Seconds. A longer wait would hold up the play; a host that is later would switch after its peers.
LONGEST_WAIT = 300.0
LATEST = 1.0


def check_instant(at: float | None) -> None:
    """Raise InputError for an instant that is too far ahead to wait for, or that has passed."""
    if at is None:
        return
    _check_finite(at, "at")
    ahead = at - time.time()
    if ahead > LONGEST_WAIT:
        raise InputError(
            f"the instant is {ahead:.0f} s away on this host's clock",
            "at",
            f"Choose one within {LONGEST_WAIT:.0f} s, and compare the clocks.",
        )
    if -ahead > LATEST:
        raise InputError(
            f"the instant passed {-ahead:.1f} s ago on this host's clock, nothing was changed",
            "at",
            "Choose a later one, and compare the clocks.",
        )


def wait_until(at: float | None, lead: float = 0.0) -> bool:
    """Sleep until ``lead`` seconds before the instant, and return whether there was time to sleep.
    Raises InputError if the instant has passed, also during the sleep.
    """
    check_instant(at)
    left = at - lead - time.time() if at is not None else 0.0
    if left <= 0:
        return False
    time.sleep(left)
    check_instant(at)
    return True


class Deadline:
    """The option ``deadline``: the controller relies on this host to change nothing after it."""

    def __init__(self, instant: float | None, at: float | None = None) -> None:
        self._instant = math.inf
        if instant is not None:
            self._instant = instant
            _check_finite(instant, "deadline")
        if at is not None and at > self._instant:
            raise InputError(
                f"the instant in at is {at - self._instant:.1f} s after it",
                "deadline",
                "Choose a later deadline, or an earlier instant.",
            )
        # The deadline does not move if the clock is set back in the meantime.
        self._end = time.monotonic() + self._instant - time.time()
        self.check()

    def check(self, done: str = "nothing was changed") -> None:
        """Raise InputError if it has passed. ``done`` says what was changed until now."""
        late = max(time.time() - self._instant, time.monotonic() - self._end)
        if late > 0:
            message = f"the deadline passed {late:.1f} s ago on this host's clock, {done}"
            raise InputError(
                message,
                "deadline",
                "Find out what held this host up, compare the clocks, and run again with a later one.",
            )


def _check_finite(instant: float, option: str) -> None:
    if not math.isfinite(instant):
        raise InputError(f"{instant} is not an instant", option, "Give seconds since the epoch.")
