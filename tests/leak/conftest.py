# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.ipsec.manual.tests.leak.stage import Stage


@pytest.fixture(scope="session")
def stage() -> t.Iterator[Stage]:
    """Controller and hosts, each under observation."""
    made = Stage()
    yield made
    made.end()
