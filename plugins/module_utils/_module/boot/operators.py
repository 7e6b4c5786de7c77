# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A group of the host that may run some commands of ipseckey as root: one file for sudo, which visudo checks
before it is in place.

Each command is written with all its arguments, without wildcards, since those of sudo also match
blanks. The prompt is not among them: there, any file can be written.
"""

from __future__ import annotations

import os
import re

from ..._core.audit import service as at_boot
from ..._core.errors import InputError, IpsecError
from ..base import Module
from ..command import File
from . import texts

# sudo ignores files there whose names contain a dot, such as the temporary one.
PATH = "/etc/sudoers.d/ipseckey"
SUDOERS = "/etc/sudoers"
_MODE = 0o440
_GROUP = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,31}")
_INCLUDED = re.compile(r"^[@#]includedir\s+/etc/sudoers\.d/?\s*$", re.M)
_TYPES = ("", " esp", " ah")


def commands(file: str, policies: bool, read_keys: bool) -> dict[str, list[str]]:
    """The arguments of ipseckey that the group may use, by what they are for."""
    what = f"{file} --policies {at_boot.POLICIES}" if policies else file
    found = {
        "LOOK": [
            *(f"dump{kind}" for kind in _TYPES),
            *("status", "-v status", "--json status", "monitor", "pmonitor", f"-c {file}", f"--compare {what}"),
        ],
        "LOAD": [f"-f {file}", f"--apply {what}"],
        "FLUSH": [*(f"flush{kind}" for kind in _TYPES), f"--remove {what}"],
    }
    if read_keys:
        found["KEYS"] = [*(f"--show-keys dump{kind}" for kind in _TYPES), "--show-keys -s -"]
    return found


def text(group: str, file: str, policies: bool, read_keys: bool) -> str:
    """The file for sudo."""
    rows = commands(file, policies, read_keys)
    aliases = [
        f"Cmnd_Alias IPSECKEY_{name} = " + ", \\\n    ".join(f"{texts.COMMAND} {arguments}" for arguments in words)
        for name, words in rows.items()
    ]
    return (
        f"{texts.HEAD} These commands with these arguments, and nothing more.\n\n"
        + "\n".join(aliases)
        + f"\n\n%{group} ALL = (root) "
        + ", ".join(f"IPSECKEY_{name}" for name in rows)
        + "\n"
    )


def wanted(module: Module, file: str, policies: bool) -> list[File]:
    """The file to install, if a group is named. Raises what keeps sudo from using it."""
    group = module.params["operators"]
    if not group:
        return []
    if not _GROUP.fullmatch(group):
        raise InputError("this is not the name of a group", "operators", "Write letters, digits, _ and -.")
    import grp  # only here, since few hosts have operators

    try:
        grp.getgrnam(group)
    except KeyError:
        raise InputError(f"this host has no group {group}", "operators", "Create it before this task.") from None
    if module.get_bin_path("visudo") is None:
        raise IpsecError("this host has no visudo", "operators", "Install sudo, or name no operators.")
    if os.path.lexists(PATH) and not is_ours():
        raise IpsecError(
            "the file exists, and this module did not write it",
            PATH,
            "Move what it grants to another file, and remove it.",
        )
    if not _INCLUDED.search(_content(SUDOERS)):
        module.warn(
            f"{SUDOERS} does not include /etc/sudoers.d, so sudo ignores {PATH}. Add: @includedir /etc/sudoers.d"
        )
    content = text(group, file, policies, module.params["operators_read_keys"])
    return [File(PATH, _MODE, content.encode("ascii"), checker=("visudo", "-c", "-q", "-f"))]


def superfluous(module: Module) -> list[File]:
    """The file to remove, because the option says that there are no operators."""
    return [File(PATH, _MODE, b"")] if module.params["operators"] == "" and is_ours() else []


def is_ours() -> bool:
    """Whether the file is there, and was written here. One of somebody else is left alone."""
    return texts.MANAGED in _content(PATH)


def _content(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""
