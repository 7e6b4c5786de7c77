# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Changes that must not end halfway."""

from __future__ import annotations

import contextlib
import signal
import typing as t

# What people, terminals and service managers end a process with; SIGKILL alone cannot be put off.
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


@contextlib.contextmanager
def uninterrupted() -> t.Iterator[None]:
    """Signals that end the process wait until the block is over, in the programs that it starts,
    too. For processes of one thread, as modules are.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
