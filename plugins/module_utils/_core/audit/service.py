# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The service that loads SAs and policies at boot, as ipsec_boot installs it: what it loads, and how it is."""

from __future__ import annotations

import contextlib
import glob
import os
import re
import shutil
import sys
import typing as t

from .. import programs
from ..errors import InputError
from ..files import protected
from ..sa.model import Entry
from ..specs import DEFAULT_PATH
from . import sas

NAME = "ipseckeys"
# Not secret, so it is kept apart from the secret files.
POLICIES = "/etc/ipsecpolicies.json"
ROTATION_DUE = "/var/lib/ipseckey/rotation-due"
# A line of every file of the service.
MANAGED = "# Managed by ipsec.manual.ipsec_boot."

SYSTEMD = "systemd"
OPENRC = "openrc"
SYSVINIT = "sysvinit"
SMF = "smf"
SMF_SERVICE = "svc:/network/ipsec/manual-key:default"
# Prints what `read_smf` reads.
SMF_QUERY = ("svcprop", "-p", "config/config_file", "-p", "general/enabled", "-p", "restarter/state", SMF_SERVICE)

ACTIVE = "active"
INACTIVE = "inactive"
FAILED = "failed"
UNKNOWN = "unknown"

_TIMEOUT = 10  # seconds
_SAYS = (
    re.compile(r"^ExecStart=\S+ -n (?:--allow-\S+ )*--apply (?P<file>\S+)(?: --policies (?P<policies>\S+))?", re.M),
    re.compile(r'^file="(?P<file>[^"]*)"\npolicies="(?P<policies>[^"]*)"', re.M),
)
# Where a service names what it loads. One that loads policies starts without a file of SAs, too.
_MOUNTS = re.compile(rf"^(?P<before>RequiresMountsFor=)\S+(?: (?!{ROTATION_DUE}$)\S+)?", re.M)
_SA_FILE = re.compile(r'^(?P<before>file="|# Description: +Loads )[^\s"]+', re.M)
_POLICY_FILE = re.compile(r'^(?P<before>policies=")[^"]*', re.M)
_CONDITION = re.compile(r"^(?P<before>Documentation=.*\n)(?:ConditionPathExists=.*\n)?", re.M)
_COMMAND = re.compile(r"^(?P<before>Exec\w+=\S+ -n (?:--allow-\S+ )*--(?:apply|remove) )\S+(?: --policies \S+)?", re.M)
_FITTING = re.compile(r"/[A-Za-z0-9_./+@-]+")
# Directories that do not exist, or that the service cannot see, when it loads the file.
_TOO_LATE = re.compile(r"/+(?:root|home|tmp|var/tmp|run|dev|proc|sys)/")
_SMF_FILE = re.compile(r"^config/config_file \S+ (.*)$", re.M)
_SMF_STATES = {"online": ACTIVE, "degraded": ACTIVE, "maintenance": FAILED}
_SMF_STATE = re.compile(r"^restarter/state \S+ (\S+)$", re.M)


# Where systemd looks for additions to the service, the first first; of several with one name, it reads the first.
_FOLDERS = ("/etc/systemd", "/run/systemd", "/usr/local/lib/systemd", "/usr/lib/systemd", "/lib/systemd")
_REPLACING = re.compile(r"^[ \t]*Exec(?:Start|Reload|Stop)[ \t]*=", re.M)


class ServiceFacts(t.NamedTuple):
    """The service. ``manager`` is the service manager of the host, empty if it is unknown; ``state``
    is one of the constants above, `UNKNOWN` if the manager cannot tell. ``file`` and
    ``policies_file`` are what the service loads, empty for none.
    """

    manager: str
    installed: bool = False
    enabled: bool = False
    state: str = UNKNOWN
    file: str = ""
    policies_file: str = ""

    @property
    def loads_sas_alone(self) -> bool:
        """Whether it loads SAs and no policies, on a system where it could load both."""
        return bool(self.file) and not self.policies_file and self.manager != SMF


class Place(t.NamedTuple):
    """Where a service manager keeps the service: the file that defines it, and a pattern of the link
    that starts it at boot. ``reload`` is the command that reloads it.
    """

    path: str
    link: str
    reload: str = ""

    def enabled(self) -> bool:
        return bool(glob.glob(self.link))


PLACES: dict[str, Place] = {
    SYSTEMD: Place(
        f"/etc/systemd/system/{NAME}.service",
        f"/etc/systemd/system/sysinit.target.wants/{NAME}.service",
        f"systemctl reload {NAME}.service",
    ),
    OPENRC: Place(f"/etc/init.d/{NAME}", f"/etc/runlevels/boot/{NAME}", f"rc-service {NAME} reload"),
    SYSVINIT: Place(f"/etc/init.d/{NAME}", f"/etc/rcS.d/S??{NAME}", f"/etc/init.d/{NAME} reload"),
}
# Links by which OpenRC remembers how its services are.
_OPENRC_STATES = ((FAILED, f"/run/openrc/failed/{NAME}"), (ACTIVE, f"/run/openrc/started/{NAME}"))


def detect() -> str:
    """The service manager of this host, empty if it is unknown."""
    if sys.platform.startswith("sunos"):
        return SMF
    if systemd_runs():
        return SYSTEMD
    if os.path.exists("/sbin/openrc") or os.path.exists("/usr/sbin/openrc"):
        return OPENRC
    # An image that was not booted.
    if os.path.basename(os.path.realpath("/sbin/init")) == "systemd":
        return SYSTEMD
    return SYSVINIT if shutil.which("update-rc.d", path="/usr/sbin:/sbin:/usr/bin:/bin") else ""


def systemd_runs() -> bool:
    return os.path.isdir("/run/systemd/system")  # sd_booted(3)


def systemd_is_behind() -> bool:
    """Whether systemd runs, and the definition of the service has changed since it read it."""
    return systemd_runs() and "=yes" in _output("systemctl", "show", "-p", "NeedDaemonReload", f"{NAME}.service")


def serving() -> str:
    """The service manager under which this host has the service: that of the host, or one that somebody named when the
    service was installed. Without a service, that of the host.
    """
    found = detect()
    if found == SMF or (found == SYSTEMD and os.path.exists(PLACES[found].path)):
        return found
    for manager, place in PLACES.items():
        with contextlib.suppress(OSError), open(place.path, encoding="utf-8", errors="replace") as stream:
            lines = stream.read().splitlines()
            # Both have their scripts in one directory.
            if MANAGED in lines and (manager == SYSTEMD or lines[0].endswith("openrc-run") == (manager == OPENRC)):
                return manager
    return found


def look() -> ServiceFacts:
    """The service of this host. Needs no rights."""
    manager = serving()
    if manager == SMF:
        return read_smf(_output(*SMF_QUERY))
    place = PLACES.get(manager)
    if place is None or not os.path.exists(place.path):
        return ServiceFacts(manager)
    with open(place.path, encoding="utf-8", errors="replace") as stream:
        file, policies_file = says(stream.read())
    return ServiceFacts(manager, True, place.enabled(), _state(manager), file, policies_file)


def overriding() -> t.Iterator[str]:
    """The drop-ins of systemd that replace commands of the service, so that these name what it loads."""
    if serving() != SYSTEMD or not os.path.exists(PLACES[SYSTEMD].path):
        return
    found: dict[str, str] = {}
    # One for the service comes before one for all services, in whatever folder.
    for unit in (f"{NAME}.service", "service"):
        for folder in _FOLDERS:
            for path in sorted(glob.glob(f"{folder}/system/{unit}.d/*.conf")):
                found.setdefault(os.path.basename(path), path)
    for path in found.values():
        # One that cannot be read, or is a link to /dev/null, replaces nothing as far as can be seen.
        with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as stream:
            if _REPLACING.search(stream.read()):
                yield path


def says(text: str) -> tuple[str, str]:
    """The file of SAs and the file of policies that a service loads, from the text that defines it;
    empty for none.
    """
    for pattern in _SAYS:
        found: re.Match[str] | None = pattern.search(text)
        if found is not None:
            return found["file"], found["policies"] or ""
    return "", ""


def switched(text: str, file: str, policies_file: str) -> str:
    """The text that defines a service, with other files to load; ``policies_file`` is empty for none."""
    what = f"{file} --policies {policies_file}" if policies_file else file
    condition = "" if policies_file else f"ConditionPathExists={file}\n"
    mounts = f"{file} {policies_file}".rstrip()
    for pattern, new in (
        (_CONDITION, condition),
        (_MOUNTS, mounts),
        (_SA_FILE, file),
        (_POLICY_FILE, policies_file),
        (_COMMAND, what),
    ):
        text = pattern.sub(lambda found, new=new: found["before"] + new, text)  # type: ignore[misc]
    return text


def file_problems(file: str, place: str) -> t.Iterator[InputError]:
    """Why a service cannot load this file at boot."""
    if not _FITTING.fullmatch(file):
        yield InputError(
            f"{file!r} has characters that start scripts could misread", place, "Use letters, digits, and _ . / + @ -"
        )
    elif _TOO_LATE.match(file):
        yield InputError(
            f"{file} does not exist, or is hidden from the service, when SAs are loaded",
            place,
            "Choose a directory below /etc.",
        )


def read_smf(properties: str) -> ServiceFacts:
    """The service manual-key from what svcprop prints: lines of name, type and value. They are those
    of the running snapshot, which its methods use.
    """
    file, state = _SMF_FILE.search(properties), _SMF_STATE.search(properties)
    return ServiceFacts(
        SMF,
        bool(properties),
        "general/enabled boolean true" in properties,
        _SMF_STATES.get(state[1], INACTIVE) if state is not None else UNKNOWN,
        file[1] if file is not None else DEFAULT_PATH,
    )


def loaded_again(entries: t.Iterable[Entry]) -> list[Entry]:
    """Those of the entries that the service noted in `ROTATION_DUE`: their keys may be in use a second time."""
    if not protected.status(ROTATION_DUE).exists:
        return []
    return sas.marked(protected.read(ROTATION_DUE).decode("ascii", "replace"), entries)


def _state(manager: str) -> str:
    if manager == SYSTEMD:
        found = _output("systemctl", "is-active", f"{NAME}.service").strip()
        return found if found in (ACTIVE, INACTIVE, FAILED) else UNKNOWN
    if manager == OPENRC:
        return next((state for state, link in _OPENRC_STATES if os.path.lexists(link)), INACTIVE)
    return UNKNOWN


def _output(*command: str) -> str:
    return programs.output(*command, timeout=_TIMEOUT, failing=True)
