# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Starts the sshd of the current host, and exits when it listens. sshd itself goes to the background before that."""

from __future__ import annotations

import pathlib
import subprocess
import time

FOLDER = pathlib.Path("/run/lab-ssh")
SECONDS = 60


def main() -> None:
    pid_file = FOLDER / "sshd.pid"
    pid_file.unlink(missing_ok=True)
    subprocess.run(["/usr/sbin/sshd", "-f", str(FOLDER / "sshd_config")], check=True, stdin=subprocess.DEVNULL)
    deadline = time.monotonic() + SECONDS
    while not pid_file.exists():  # sshd writes it once it listens
        if time.monotonic() > deadline:
            raise RuntimeError(f"sshd does not listen after {SECONDS} s")
        time.sleep(0.01)
