# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import itertools

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._module import clock


@pytest.mark.parametrize("ahead", [0.0005, 0.0015, 0.0025, 0.0035])
def test_an_instant_that_comes_while_the_clock_is_read_is_no_error(monkeypatch: pytest.MonkeyPatch, ahead: float):
    """Each look at the clock takes a millisecond, so the instant may come between any two."""
    ticks = itertools.count()
    monkeypatch.setattr(clock.time, "time", lambda: 1000 + next(ticks) / 1000)
    assert clock.wait_until(1000 + ahead) in (True, False)
