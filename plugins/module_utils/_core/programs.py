# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Running the programs of a host, without Ansible and its run_command: those whose answer is only read, and those
that only have to succeed."""

from __future__ import annotations

import subprocess
import typing as t

ENVIRONMENT: t.Mapping[str, str] = {
    "LC_ALL": "C",
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "TZ": "UTC0",
    "TERM": "dumb",
    "HOME": "/",
}
"""The same everywhere, so that programs print the same. Without SMF_FMRI, which would make Solaris' ipseckey
flush the SADB."""


def output(*command: str, timeout: float, failing: bool = False) -> str:
    """What a program prints to standard output; empty if it is missing, takes longer than ``timeout`` seconds, or,
    unless ``failing``, ends with an error.
    """
    done = _run(command, timeout)
    return done.stdout.decode("ascii", "replace") if done is not None and (failing or not done.returncode) else ""


def succeeds(*command: str, timeout: float) -> bool:
    """Whether a program ends without an error within ``timeout`` seconds."""
    done = _run(command, timeout)
    return done is not None and not done.returncode


def _run(command: t.Sequence[str], timeout: float) -> subprocess.CompletedProcess[bytes] | None:
    try:
        return subprocess.run(  # pylint: disable=ansible-bad-function  # the core knows no module
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=ENVIRONMENT,
            timeout=timeout,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
