# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The gates of this repository; tests/run describes the use."""

from __future__ import annotations

import os
import signal
import sys

import parts
import schedule
import workspace


def main(arguments: list[str]) -> int:
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell ignores the first for what it starts in the background, and all that is tested would inherit that
        signal.signal(number, signal.default_int_handler)
    command, *rest = arguments or ["all"]
    if command == "exec" and not rest:
        print("tests/run exec: name a command", file=sys.stderr)
        return 2
    try:
        chosen = [] if command in ("exec", "sync") else parts.named(command, *rest)
    except KeyError as exc:
        print(f"{exc.args[0]!r} is no tier. Choose of: all {' '.join(parts.TIERS)}", file=sys.stderr)
        return 2
    workspace.sync()
    if command == "sync":
        return 0
    if command == "exec":
        os.chdir(workspace.COPY)
        os.execvpe(rest[0], rest, workspace.environment())
    return schedule.run(chosen)


sys.exit(main(sys.argv[1:]))
