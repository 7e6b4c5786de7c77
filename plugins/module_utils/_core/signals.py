# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Changes that must not be interrupted halfway."""

from __future__ import annotations

import contextlib
import signal
import typing as t

# The signals with which people, terminals and service managers end a process. SIGKILL cannot be blocked.
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


@contextlib.contextmanager
def uninterrupted() -> t.Iterator[None]:
    """Block the signals that end the process until the block ends, also in the programs that it
    starts. For single-threaded processes, as modules are.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
