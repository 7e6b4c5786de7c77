# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A process that is told to end in the middle of a change ends after it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core.uninterrupted import uninterrupted

ENDING = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT]


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_arrives_after_the_block(number: signal.Signals) -> None:
    order = []
    before = signal.signal(number, lambda received, dummy: order.append(f"signal {received}"))
    try:
        with uninterrupted():
            order.append("begin")
            os.kill(os.getpid(), number)
            with uninterrupted():
                order.append("inner")
            order.append("end")
        order.append("after")
    finally:
        signal.signal(number, before)
    assert order == ["begin", "inner", "end", f"signal {number}", "after"]


def test_a_signal_arrives_after_a_block_that_failed() -> None:
    with pytest.raises(KeyboardInterrupt) as caught, uninterrupted():
        os.kill(os.getpid(), signal.SIGINT)
        raise ValueError
    assert isinstance(caught.value.__context__, ValueError)


def test_programs_that_the_block_starts_are_spared() -> None:
    """As with ^C at a terminal, which goes to all of them."""
    program = "import os, signal, sys; os.kill(os.getpid(), signal.SIGINT); print('lives')"
    with uninterrupted():
        done = subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.PIPE, universal_newlines=True)
    assert done.stdout == "lives\n"
