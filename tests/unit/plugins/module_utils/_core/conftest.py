# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from hypothesis import HealthCheck, settings

# The machine that runs the tests may be busy, and a copy of the checkout is not the place for a database
# of examples.
settings.register_profile("core", deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
# For runs on several Pythons: differences between them show early.
settings.register_profile("pythons", settings.get_profile("core"), max_examples=15)
settings.load_profile("core")
