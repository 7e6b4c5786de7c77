# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib
import sys
import typing as t

import pytest
from hypothesis import HealthCheck, settings

# The machine that runs the tests may be busy, and a copy of the checkout is not the place for a database
# of examples.
settings.register_profile("unit", deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
# For runs on several Pythons: differences between them show early.
settings.register_profile("pythons", settings.get_profile("unit"), max_examples=15)
settings.load_profile("unit")

HERE = pathlib.Path(__file__).parent
# Coverage is that of the core, and these tests are about it and the modules made of it.
MEASURED = (HERE / "plugins" / "module_utils", HERE / "plugins" / "modules")
# It draws thousands of options, which reach no line of the core that others do not.
UNMEASURED = HERE / "plugins" / "modules" / "test_ill_typed_options.py"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> t.Iterator[None]:
    """Measure no other tests: to look for the core's lines makes them take two to four times as long.

    The mark no_cover of pytest-cov has no effect in the processes of pytest-xdist.
    """
    measured = any(folder in item.path.parents for folder in MEASURED) and item.path != UNMEASURED
    tracer = sys.gettrace()
    if not measured:
        sys.settrace(None)
    yield
    if not measured:
        sys.settrace(tracer)
