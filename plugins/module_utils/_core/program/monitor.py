# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The commands monitor and pmonitor: print what happens to the SADB until interrupted."""

from __future__ import annotations

import contextlib
import signal

from ..sadb.xfrm.events import LOST, listen
from . import display, output
from .options import Options


def monitor(options: Options, acquires: bool) -> None:
    """Print events, with ``acquires`` also the kernel's requests for SAs."""
    for number in (signal.SIGINT, signal.SIGTERM):
        # Even if a shell started it in the background, with interrupts ignored.
        signal.signal(number, signal.default_int_handler)
    events = listen(acquires=acquires)
    with contextlib.suppress(KeyboardInterrupt):
        for event in events:
            if event.kind == LOST:
                output.say("events arrived faster than they were read; some are lost")
            elif options.json:
                shown = (
                    display.record(event.entry, options.keys())
                    if event.entry is not None
                    else {"protocol": event.protocol or "all"}
                )
                output.write_json({"event": event.kind.lower(), **shown})
            elif event.entry is not None:
                output.show(event.entry, options, event.kind)
            else:
                protocol = (event.protocol or "all").upper()
                output.write(f"Base message (version 2) type {event.kind}, SA type {protocol}.\n\n")
