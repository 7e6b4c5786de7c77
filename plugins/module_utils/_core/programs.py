# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Running the programs of a host whose answer is only read, without Ansible and its run_command."""

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
    try:
        done = subprocess.run(  # pylint: disable=ansible-bad-function  # the core knows no module
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=ENVIRONMENT,
            timeout=timeout,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("ascii", "replace") if failing or not done.returncode else ""
