# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the lab's kernel and records how it ended: `supervise COMMAND...`, as the first process of a
PID namespace of the lab's own.

When this process ends, the system kills everything that belongs to the lab.
"""

from __future__ import annotations

import os
import pathlib
import resource
import signal
import subprocess
import sys


def main() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a kernel's panic is in its log; a core dump is useless
    folder = pathlib.Path(os.environ["LAB_FOLDER"])
    with subprocess.Popen(sys.argv[1:]) as kernel:
        while True:
            pid, status = os.wait()
            if pid == kernel.pid:
                break
        kernel.returncode = code = os.waitstatus_to_exitcode(status)
    ending = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit status {code}"
    (folder / "kernel.exit").write_text(ending + "\n", encoding="ascii")
