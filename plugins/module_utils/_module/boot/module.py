# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The work of ipsec_boot: a service that loads SAs, and the policies that make traffic use
them, before the network is up.
"""

from __future__ import annotations

import typing as t

from ..._core.audit.service import SMF, detect, file_problems
from ..._core.errors import InputError, IpsecError, raise_all
from ..base import Module, Result
from ..clock import Deadline
from . import smf
from .services import SERVICES


def apply_boot(module: Module) -> Result:
    """Install the service, remove it, or report its state."""
    params = module.params
    manager = params["service_manager"] if params["service_manager"] != "auto" else detect()
    runs = manager == SMF or (manager in SERVICES and SERVICES[manager].runs())
    result: Result = {
        "changed": False,
        "service_manager": manager,
        "running": runs,
        "installed": False,
        "enabled": False,
        "file": "",
    }
    result.update({"policies_file": "", "policies": [], "kept": [], "files": []})
    if params["state"] != "query":
        raise_all(_problems(params, manager))
    deadline = Deadline(params["deadline"])
    try:
        return {**result, **_of(module, manager, deadline)}
    except OSError as exc:
        raise IpsecError(f"{exc.strerror}", exc.filename or "", "Run as root (become: true).") from None


def _problems(params: t.Mapping[str, t.Any], manager: str) -> list[IpsecError]:
    """What is wrong with the options for this host."""
    problems: list[IpsecError] = []
    if not manager:
        known = ", ".join((*SERVICES, SMF))
        problems.append(
            InputError(
                "no known service manager was found on this host",
                "service_manager",
                f"If the host has one of {known}, name it.",
            )
        )
    file: str = params["file"]
    if params["state"] != "present":
        return problems
    problems += file_problems(file, "file")
    if params["policies"] and manager == SMF:
        fix = "This system loads its policies from /etc/inet/ipsecinit.conf at boot (ipsecconf). Write them there."
        problems.append(InputError("policies need Linux", "policies", fix))
    if params["operators"] and manager == SMF:
        fix = "This system has rights profiles. Give the members of the group the profile Network IPsec Management."
        problems.append(InputError("operators need Linux", "operators", fix))
    return problems


def _of(module: Module, manager: str, deadline: Deadline) -> Result:
    if manager == SMF:
        return smf.apply(module, deadline) if module.params["state"] != "query" else smf.query(module)
    if not manager:
        return {}
    # Imported here, since other systems have no such policies and cannot import this.
    from .linux import install, query, remove

    service = SERVICES[manager](module)
    if module.params["state"] == "query":
        return query(module, service)
    return (install if module.params["state"] == "present" else remove)(module, service, deadline)
