# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The commands monitor and pmonitor: print what happens to the SADB until interrupted."""

from __future__ import annotations

import contextlib
import signal

from ..sadb import open_sadb
from ..sadb.xfrm.events import LOST, Event, listen
from . import display, output
from .options import Options


def monitor(options: Options, acquires: bool) -> None:
    """Print events, with ``acquires`` also the kernel's requests for SAs."""
    for number in (signal.SIGINT, signal.SIGTERM):
        # Even if a shell started it in the background, with interrupts ignored.
        signal.signal(number, signal.default_int_handler)
    events = listen(acquires=acquires)
    with contextlib.suppress(KeyboardInterrupt):
        style = display.PLAIN
        if not options.json:
            style = output.style(options, open_sadb())
            output.write(f"{'Actively' if acquires else 'Passively'} monitoring the PF_KEY socket.\n")
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
            else:
                output.write(_text(event, style) + "\n")


def _text(event: Event, style: display.Style) -> str:
    origin = display.Origin(event.size, event.sequence, event.process)
    if event.entry is not None:
        return display.block(event.entry, style, event.kind, origin)
    return "".join(f"{line}\n" for line in display.head(event.kind, event.protocol, origin))
