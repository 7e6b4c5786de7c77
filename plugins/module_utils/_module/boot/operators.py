# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A group of the host that may run some commands of ipseckey, and of the service manager, as root: one file for
sudo, which visudo checks before it is in place.

Each command is written with all its arguments. Where they vary, a regular expression names every word, without
blanks in any, since the wildcards of sudo match those, too, and with them further options. No variables of the
environment are passed on (NOSETENV), whatever other settings of sudo say. What shows the status of the service can
start no other program (NOEXEC), such as a pager with its shell.
"""

from __future__ import annotations

import os
import re
import typing as t

from ..._core.audit import service as at_boot
from ..._core.errors import InputError, IpsecError
from ..base import Module
from ..command import File
from . import texts
from .services import Service, with_path

# sudo ignores files there whose names contain a dot, such as the temporary one.
PATH = "/etc/sudoers.d/ipseckey"
SUDOERS = "/etc/sudoers"
_MODE = 0o440
_GROUP = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,31}")
_INCLUDED = re.compile(r"^[@#]includedir\s+/etc/sudoers\.d/?\s*$", re.M)
_TYPES = ("", " esp", " ah")


class Right(t.NamedTuple):
    """What a right allows: arguments of ipseckey, exactly or as a regular expression of sudo. In them, ``FILE`` is the
    protected file, ``FILE_PATTERN`` a regular expression for it, and ``WHAT`` the same with the policies.
    """

    purpose: str
    arguments: tuple[str, ...]


# How a single SA is named, as in RFC 4301 by SPI, destination and protocol; the source is optional.
_ONE_SA = "(esp|ah) spi (0x)?[0-9a-fA-F]+ dst6? [0-9a-fA-F.:]+( src6? [0-9a-fA-F.:]+)?"
_ANY_FILE = "/[[:graph:]]+"
_ANY, _NO_ARGUMENTS = "", '""'

RIGHTS: t.Mapping[str, Right] = {
    "look": Right(
        "see SAs without keys, policies, the status, and whether the protected file is right",
        (
            *(f"dump{kind}" for kind in _TYPES),
            *("status", "-v status", "--json status", "monitor", "pmonitor", "-c FILE", "--compare WHAT"),
            *("--show-policies", "--json --show-policies"),
        ),
    ),
    "load": Right("load the protected file", ("-f FILE", "--apply WHAT")),
    "flush": Right(
        "delete all SAs, or those of the protected file", (*(f"flush{kind}" for kind in _TYPES), "--remove WHAT")
    ),
    "get": Right("see one SA without keys", (f"^get {_ONE_SA}$",)),
    "delete": Right("delete one SA", (f"^delete {_ONE_SA}$",)),
    "policies": Right(
        "load any file of policies of root, compare it, delete policies, and flush them, as with ipsecconf of Solaris",
        (
            *("--show-policies", "--json --show-policies", "--flush-policies", "^--delete-policy [0-9]+$"),
            *(f"^--policies {_ANY_FILE}$", f"^--compare FILE_PATTERN --policies {_ANY_FILE}$"),
        ),
    ),
    "keys": Right(
        "see keys",
        (*(f"--show-keys dump{kind}" for kind in _TYPES), f"^--show-keys get {_ONE_SA}$", "--show-keys -s -"),
    ),
    "files": Right(
        "check and load any file of root", (f"^-[cf] {_ANY_FILE}$", f"^--(apply|compare|remove) {_ANY_FILE}$")
    ),
    "boot_file": Right(
        "have the service load any other files of root, as with svccfg of Solaris",
        (f"^--boot-file {_ANY_FILE}( --policies {_ANY_FILE})?$",),
    ),
    "boot_without_policies": Right(
        "have the service load any other file of root, and no policies, as once policy of Solaris is disabled",
        (f"^--boot-file {_ANY_FILE} --no-policies$",),
    ),
    "save": Right("save keys to any file, in place of what it holds", (f"^-s {_ANY_FILE}$",)),
    "prompt": Right("the prompt, which can add SAs and save to any file", (_NO_ARGUMENTS,)),
    # Its commands are those of the service manager.
    "service": Right("start, stop, restart, reload, enable and disable the service, as with svcadm of Solaris", ()),
    "all": Right("ipseckey with any arguments, as ipseckey and ipsecconf in Solaris' profile", (_ANY,)),
}


def commands(file: str, policies: bool, rights: t.Iterable[str]) -> dict[str, list[str]]:
    """The arguments of ipseckey that the group may use, by right; an empty text for any arguments."""
    named = set(rights)
    words = {
        "FILE": file,
        "FILE_PATTERN": re.sub("[.+]", r"[\g<0>]", file),
        "WHAT": f"{file} --policies {at_boot.POLICIES}" if policies else file,
    }
    return {
        # In one pass, since a path may contain these words, too.
        name: [re.sub(r"\b(?:FILE_PATTERN|FILE|WHAT)\b", lambda found: words[found[0]], text) for text in row.arguments]
        for name, row in RIGHTS.items()
        if name in named
    }


def text(group: str, file: str, policies: bool, rights: t.Iterable[str], service: type[Service]) -> str:
    """The file for sudo. Raises IpsecError if the host lacks a program of its service manager."""
    rows = {
        name: (RIGHTS[name].purpose, [f"{texts.COMMAND} {arguments}".rstrip() for arguments in words])
        for name, words in commands(file, policies, rights).items()
    }
    if "service" in rows:
        rows["service"] = (RIGHTS["service"].purpose, list(map(with_path, service.operated)))
        if service.shown:
            # Last, since the tag holds for all that follow it.
            rows["status"] = ("see its status, without a pager", list(map(with_path, service.shown)))
    aliases = [
        f"# To {purpose}.\nCmnd_Alias IPSECKEY_{name.upper()} = " + ", \\\n    ".join(words)
        for name, (purpose, words) in rows.items()
    ]
    return (
        f"{texts.HEAD} These commands with these arguments, and nothing more.\n\n"
        + "\n".join(aliases)
        + f"\n\n%{group} ALL = (root) NOSETENV: "
        + ", ".join(f"{'NOEXEC: ' if name == 'status' else ''}IPSECKEY_{name.upper()}" for name in rows)
        + "\n"
    )


def wanted(module: Module, file: str, policies: bool, service: type[Service]) -> list[File]:
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
    rights = module.params["operators_rights"]
    if not rights:
        raise InputError("no right is named", "operators_rights", "Name one, or name no operators.")
    content = text(group, file, policies, rights, service)
    return [File(PATH, _MODE, content.encode("ascii"), checker=("visudo", "-c", "-q", "-f"))]


def superfluous(module: Module) -> list[File]:
    """The file to remove, because the option says that there are no operators."""
    return [File(PATH, _MODE, b"")] if module.params["operators"] == "" and is_ours() else []


def is_ours() -> bool:
    """Whether the file is there, and was written here. One of somebody else is left alone."""
    return at_boot.MANAGED in _content(PATH)


def _content(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""
