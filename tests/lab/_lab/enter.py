# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run a command in the namespaces of a host, or of any process: `enter HOST|PID CWD COMMAND...`; an empty CWD is /.

Like nsenter(1), but the command dies with this process and receives its signals, so that an ssh
client that disconnects leaves nothing running."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import stat
import sys

from . import places, system

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


def run(command: list[str], cwd: str) -> int:
    """Run the command as a child, which joins the PID namespace; its exit status, 128 + N for signal N."""
    system.die_with_parent(signal.SIGTERM)
    try:
        os.chdir(cwd)
        # Not fork(): copying an interpreter costs User-Mode Linux more than starting the command.
        # Python ignores signals that other programs expect.
        child = os.posix_spawnp(command[0], command, os.environ, setsigdef=[signal.SIGPIPE, signal.SIGXFSZ])
    except OSError as exc:
        print(f"lab: {exc.filename or command[0]}: {exc.strerror}", file=sys.stderr, flush=True)
        return 127 if isinstance(exc, FileNotFoundError) else 126
    for number in PASSED_ON:
        signal.signal(number, lambda received, dummy: os.kill(child, received))
    await_end(child)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return 128 - code if code < 0 else code


def await_end(child: int) -> None:
    """Wait for the child to end, and kill it when nobody reads its output any more, which is how
    sshd signals the end of a shared connection.
    """
    ended = os.pidfd_open(child)
    events = select.poll()
    events.register(ended, select.POLLIN)
    if stat.S_ISFIFO(os.fstat(1).st_mode) or stat.S_ISSOCK(os.fstat(1).st_mode):
        events.register(1, 0)  # poll only for errors
    while ended not in (ready := {descriptor for descriptor, dummy in events.poll()}):
        if 1 in ready:
            events.unregister(1)
            os.kill(child, signal.SIGTERM)
    os.close(ended)


def main() -> None:
    target, cwd, *command = sys.argv[1:]
    for name in ("LAB_FOLDER", "SSH_CLIENT", "SSH_CONNECTION"):
        os.environ.pop(name, None)
    os.environ["PWD"] = cwd or "/"
    enter(int(target) if target.isdigit() else places.pid_of(target))
    sys.exit(run(command, cwd or "/"))
