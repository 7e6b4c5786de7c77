# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The `lab` command: real hosts with ESP and AH on one machine."""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
import typing as t

from . import fetch, folder, images, lab, plan, tables
from .errors import LabError


def modules(text: str) -> tuple[str, ...]:
    """Comma-separated kernel modules, spelled with - or _."""
    return listed(text.replace("-", "_"))


def listed(text: str) -> tuple[str, ...]:
    """Comma-separated words."""
    return tuple(word for word in text.split(",") if word)


def folders(text: str) -> tuple[str, ...]:
    """Comma-separated existing folders."""
    paths = tuple(os.path.abspath(word) for word in listed(text))
    for path in paths:
        if not os.path.isdir(path):
            raise argparse.ArgumentTypeError(f"{path} is not a folder")
    return paths


def kernel_name(text: str) -> str:
    """A value of --kernel."""
    if not re.fullmatch(r"auto|host|uml(-[0-9]+(\.[0-9]+)*)?", text):
        raise argparse.ArgumentTypeError(
            f"{text!r}: use auto, host, uml, or one that `lab kernels` lists, which may be cut short: uml-6.1"
        )
    return text


def add_common(
    command: argparse.ArgumentParser, *, named: bool = True, boots: bool = False, timed: bool = False
) -> None:
    """Options of all commands that are about one lab, that boot a kernel, or that run something."""
    if named:
        command.add_argument("--name", default="default", help="which lab (default: %(default)s)")
    if boots:
        text = (
            "this machine's, the newest User-Mode Linux, one of `lab kernels`, or (default) this machine's if it"
            " has ESP, else the newest"
        )
        command.add_argument(
            "--kernel", type=kernel_name, default="auto", metavar="host|uml|uml-VERSION|auto", help=text
        )
        command.add_argument(
            "--memory", type=int, default=2048, metavar="MIB", help="of User-Mode Linux (default: %(default)s)"
        )
        command.add_argument(
            "--without", type=modules, default=(), metavar="MODULE,...", help="kernel modules that shall be missing"
        )
    if timed:
        command.add_argument(
            "--timeout", type=float, metavar="SECONDS", help="end the command after that time, with exit status 124"
        )


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="lab",
        description="Hosts with ESP and AH, each in its own namespaces, on a real kernel.",
        allow_abbrev=False,
    )
    commands = top.add_subparsers(dest="action", required=True, metavar="COMMAND")

    def add(name: str, text: str, **kinds: bool) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        add_common(command, **kinds)
        return command

    command = add("up", "start a lab", boots=True)
    command.add_argument(
        "--hosts",
        type=listed,
        default=tables.DEFAULT_HOSTS,
        metavar="HOST,...",
        help=f"default: {','.join(tables.DEFAULT_HOSTS)}",
    )
    command = add("down", "end a lab and leave nothing behind")
    command.add_argument("--keep-log", action="store_true", help="keep kernel.log")
    add("status", "exit status 0: up, 3: not up, 1: dead")
    command = add("run", "run a command on a host as root: run HOST -- COMMAND...", timed=True)
    command.add_argument("host")
    command = add(
        "fault",
        "down: kill sshd; cut: packets of the management link vanish; up: repair both; reboot: power failure and boot",
    )
    command.add_argument("what", metavar="HOST", help="the host")
    command.add_argument("fault", choices=("down", "cut", "up", "reboot"))
    command = add(
        "exec",
        "run a command on a kernel with ESP and AH, without a lab: exec -- COMMAND...",
        named=False,
        boots=True,
        timed=True,
    )
    command.add_argument(
        "--env", type=listed, default=(), metavar="NAME,...", help="environment variables to take along, besides PATH"
    )
    command.add_argument(
        "--show",
        type=folders,
        default=(),
        metavar="FOLDER,...",
        help="show these too, read-only, even where a host has a private /tmp",
    )
    add("kernels", "list the User-Mode Linux kernels that are here, the newest first", named=False)
    command = add(
        "fetch", "bring the User-Mode Linux of another Debian suite into build/kernels, if it is not there", named=False
    )
    command.add_argument(
        "suite", nargs="?", default=tables.NEWEST, metavar="SUITE", help="default: %(default)s, the newest"
    )
    add("requirements", "print the Debian packages that the lab needs", named=False)
    return top


def act(options: argparse.Namespace, command: t.Sequence[str]) -> int:
    """Run the command; return the exit status."""
    if options.action == "requirements":
        print(lab.requirements())
        return 0
    if options.action == "kernels":
        print(images.listing())
        return 0
    if options.action == "fetch":
        fetch.fetch(options.suite)
        return 0
    if options.action == "exec":
        return lab.execute(
            lab.Boot(options.kernel, options.memory, options.without),
            command,
            options.env,
            options.show,
            options.timeout,
        )
    which = folder.Lab(plan.lab_name(options.name, new=options.action == "up"))
    if options.action == "run":
        return lab.run(which, options.host, command, options.timeout)
    if options.action == "up":
        print(lab.up(which, lab.Boot(options.kernel, options.memory, options.without), options.hosts))
    elif options.action == "down":
        print(lab.down(which, keep_log=options.keep_log))
    elif options.action == "fault":
        print(lab.fault(which, options.fault, options.what))
    elif which.state() is None:
        print(f"lab {which.name} is not up.")
        return 3
    else:
        print(lab.status(which))
    return 0


def main() -> None:
    arguments = sys.argv[1:]
    split = arguments.index("--") if "--" in arguments else len(arguments)
    options = parser().parse_args(arguments[:split])
    command = arguments[split + 1 :]
    takes_command = options.action in ("run", "exec")
    if takes_command != bool(command):
        parser().error(
            f"{options.action}: {'name the command after --' if takes_command else 'takes no command after --'}"
        )
    for number in (signal.SIGTERM, signal.SIGHUP):  # the cleanup runs
        signal.signal(number, lambda received, dummy: sys.exit(128 + received))
    try:
        status = act(options, command)
    except LabError as exc:
        print(f"lab: {exc}", file=sys.stderr)
        status = lab.LOST if takes_command else 1
    except KeyboardInterrupt:
        status = 130
    sys.exit(status)
