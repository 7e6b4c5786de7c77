# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Service managers of Linux, and how each of them runs the service ipseckeys. SMF has a service of
its own, in another file.
"""

from __future__ import annotations

import os
import typing as t

from ..._core.audit.service import NAME, OPENRC, PLACES, SYSTEMD, SYSVINIT, Place, systemd_is_behind, systemd_runs
from ..._core.errors import IpsecError
from ..base import Module
from . import texts

_SHOWN_LINES = 10
_UNIT = f"{NAME}.service"
_SYSTEM = ("/usr/bin", "/bin", "/usr/sbin", "/sbin")


def run(module: Module, name: str, *words: str, good: t.Collection[int] = (0,)) -> str:
    """The output of a program of the host. Raises IpsecError if the host lacks it, or if it ends with
    a status that is not in ``good``.
    """
    path = module.get_bin_path(name)
    if path is None:
        raise IpsecError(f"this host has no {name}", "service_manager", "Name the service manager that it has.")
    status, out, err = module.run_command([path, *words], environ_update={"LC_ALL": "C"})
    if status not in good:
        output = "\n".join((out + err).strip().splitlines()[-_SHOWN_LINES:])
        raise IpsecError(f"exit status {status}{': ' if output else ''}{output}", " ".join((name, *words)))
    return t.cast(str, out)


def with_path(command: str) -> str:
    """A command with the path of its program in a directory of the system, whatever PATH says. Raises IpsecError if
    the host lacks the program. A command that starts with a path stays as it is.
    """
    name, dummy, arguments = command.partition(" ")
    if name.startswith("/"):
        return command
    for path in (os.path.join(folder, name) for folder in _SYSTEM):
        if os.access(path, os.X_OK):
            return f"{path} {arguments}"
    raise IpsecError(f"this host has no {name}", "service_manager", "Name the service manager that it has.")


class Service:
    """The service ipseckeys under one service manager. ``path``, ``mode`` and ``text`` are those of
    the file that defines it; ``commands`` are how to enable, disable, start and reload it. ``operated`` are the
    commands that operators may be allowed, and ``shown`` those among them that need no other program.
    """

    place: Place
    commands: t.ClassVar[t.Mapping[str, t.Sequence[str]]]
    operated: t.ClassVar[t.Sequence[str]] = ()
    shown: t.ClassVar[t.Sequence[str]] = ()
    mode = 0o755
    text = ""
    # Whether the manager can tell that the service runs; if not, starting it alone does not count as a change.
    knows_what_runs = True

    def __init__(self, module: Module) -> None:
        self.module = module

    @property
    def path(self) -> str:
        return self.place.path

    @staticmethod
    def runs() -> bool:
        """Whether the service manager runs, and not only waits for a boot, as in an image or in many containers."""
        return True

    def installed(self) -> bool:
        return os.path.lexists(self.path)

    def enabled(self) -> bool:
        """Whether it is started at boot."""
        return self.place.enabled()

    def active(self) -> bool:
        """Whether it was started, as far as the service manager knows."""
        return False

    def behind(self) -> bool:
        """Whether the service manager has not read the definition of the service since it changed, as after a run that
        was killed.
        """
        return False

    def reread(self) -> None:
        """Have the service manager read the definition of the service again."""

    def do(self, what: str) -> None:
        """Run one of the ``commands``."""
        run(self.module, *self.commands[what])

    def forget(self) -> None:
        """Before its file is removed, have the service manager forget that it was started."""

    def forgotten(self) -> None:
        """The same, after its file was removed."""


class Systemd(Service):
    place = PLACES[SYSTEMD]
    mode = 0o644
    text = texts.SYSTEMD
    commands: t.ClassVar = {
        "enable": ("systemctl", "--quiet", "enable", _UNIT),
        "disable": ("systemctl", "--quiet", "disable", _UNIT),
        "start": ("systemctl", "start", _UNIT),
        "reload": place.reload.split(),
    }
    operated: t.ClassVar = tuple(
        f"systemctl {verb} {_UNIT}"
        for verb in ("start", "stop", "restart", "reload", "reset-failed", "enable", "disable")
    )
    # A pager would run as root, and can start a shell.
    shown: t.ClassVar = (f"systemctl --no-pager status {_UNIT}",)

    @staticmethod
    def runs() -> bool:
        return systemd_runs()

    def active(self) -> bool:
        return run(self.module, "systemctl", "is-active", _UNIT, good=range(256)).strip() == "active"

    def behind(self) -> bool:
        return systemd_is_behind()

    def reread(self) -> None:
        if self.runs():
            run(self.module, "systemctl", "daemon-reload")

    def forgotten(self) -> None:
        # A unit without a file runs nothing when it stops, so the SAs stay. Status 1 or 5: unknown unit.
        self.reread()
        for verb in ("stop", "reset-failed"):
            run(self.module, "systemctl", verb, _UNIT, good=(0, 1, 5))


class Openrc(Service):
    place = PLACES[OPENRC]
    text = texts.OPENRC
    commands: t.ClassVar = {
        "enable": ("rc-update", "add", NAME, "boot"),
        "disable": ("rc-update", "del", NAME, "boot"),
        "start": ("rc-service", NAME, "start"),
        "reload": place.reload.split(),
    }
    operated: t.ClassVar = (
        *(f"rc-service {NAME} {verb}" for verb in ("start", "stop", "restart", "reload", "zap", "status")),
        *(f"rc-update {verb} {NAME} boot" for verb in ("add", "del")),
    )

    def active(self) -> bool:
        return os.path.lexists(f"/run/openrc/started/{NAME}")

    def forget(self) -> None:
        # Without its script nothing stops it, so the SAs stay.
        if self.active():
            run(self.module, "rc-service", NAME, "zap")


class Sysvinit(Service):
    place = PLACES[SYSVINIT]
    text = texts.SYSVINIT
    knows_what_runs = False
    commands: t.ClassVar = {
        "enable": ("update-rc.d", NAME, "defaults"),
        "disable": ("update-rc.d", "-f", NAME, "remove"),
        "start": (place.path, "start"),
        "reload": place.reload.split(),
    }
    operated: t.ClassVar = (
        *map(f"{place.path} {{}}".format, ("start", "stop", "restart", "reload", "status")),
        *(f"update-rc.d {words}" for words in (f"{NAME} defaults", f"-f {NAME} remove")),
    )


SERVICES: dict[str, type[Service]] = {SYSTEMD: Systemd, OPENRC: Openrc, SYSVINIT: Sysvinit}
