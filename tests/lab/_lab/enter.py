# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run a command in the namespaces of a host, or of any process: `enter HOST|--pid PID [--cwd DIR] -- COMMAND...`.

Like nsenter(1), but the command dies with this process, and its signals reach it: an ssh client that goes away leaves nothing running.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import sys
import typing as t

from . import host, system

NAMESPACES = system.CLONE_NEWNS | system.CLONE_NEWUTS | system.CLONE_NEWIPC | system.CLONE_NEWPID | system.CLONE_NEWNET
PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def enter(pid: int) -> None:
    """Join the namespaces of a process: setns(2) with a PID file descriptor."""
    descriptor = os.pidfd_open(pid)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, NAMESPACES) < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"setns to process {pid}: {os.strerror(number)}")
    os.close(descriptor)


def run(command: t.Sequence[str], cwd: str | None) -> int:
    """Run the command as a child, which joins the PID namespace; its exit status, 128 + N for signal N."""
    system.die_with_parent(signal.SIGTERM)
    child = os.fork()
    if child == 0:
        try:
            system.die_with_parent(signal.SIGKILL)
            if cwd:
                os.chdir(cwd)
            os.execvp(command[0], command)
        except OSError as exc:
            print(f"lab: {command[0]}: {exc}", file=sys.stderr, flush=True)
            os._exit(127 if isinstance(exc, FileNotFoundError) else 126)
    for number in PASSED_ON:
        signal.signal(number, lambda received, dummy: os.kill(child, received))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return 128 - code if code < 0 else code


def main() -> None:
    parser = argparse.ArgumentParser(prog="enter", allow_abbrev=False)
    parser.add_argument("--pid", type=int)
    parser.add_argument("--cwd")
    parser.add_argument("host", nargs="?")
    split = sys.argv.index("--")
    options = parser.parse_args(sys.argv[1:split])
    for name in ("PYTHONPATH", "LAB_FOLDER", "SSH_CLIENT", "SSH_CONNECTION"):
        os.environ.pop(name, None)
    enter(options.pid or host.pid_of(options.host))
    sys.exit(run(sys.argv[split + 1 :], options.cwd))


if __name__ == "__main__":
    main()
