# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the clocks of hosts agree. Pure."""

from __future__ import annotations

import typing as t

Readings = t.Mapping[str, t.Tuple[float, float, float]]


def problems(readings: Readings, tolerance: float, forks: int = 0) -> list[str]:
    """Why the hosts cannot wait for the same instant together. ``readings`` are (asked, epoch,
    answered): a reading of the host's clock between two of the controller's, all in seconds, which
    bounds its offset.

    Reports two clocks that certainly differ by more than ``tolerance`` seconds, and too few ``forks``.
    """
    found = []
    if 0 < forks < len(readings):
        found.append(
            f"{len(readings)} hosts must wait for the same instant, but Ansible has {forks} forks: give it"
            f" --forks {len(readings)}"
        )
    ahead = {host: (epoch - answered, epoch - asked) for host, (asked, epoch, answered) in readings.items()}
    if len(ahead) < 2:
        return found
    fastest = max(ahead, key=lambda host: (ahead[host][0], host))
    slowest = min(ahead, key=lambda host: (ahead[host][1], host))
    apart = ahead[fastest][0] - ahead[slowest][1]
    if apart > tolerance:
        found.append(
            f"the clock of {fastest} is at least {apart:.1f} s ahead of that of {slowest}, more than {tolerance:g} s:"
            " synchronize them (NTP), or rotate without rotate_cutover_delay"
        )
    return found


def offset(asked: float, epoch: float, answered: float) -> float:
    """How far a host's clock is ahead of the controller's, in seconds: the middle of the possible range."""
    return epoch - (asked + answered) / 2


def expected_gap(readings: Readings, tolerance: float | None = None) -> str:
    """How long the gap will be, in words: hosts that change at once differ by their clocks, at most by the
    ``tolerance``; others as much as when they answered before.
    """
    if tolerance is not None:
        return f"at most {tolerance:g} s"
    answered = [reading[2] for reading in readings.values()]
    return f"about {max(1.0, max(answered, default=0.0) - min(answered, default=0.0)):.0f} s"
