# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The service manual-key of Solaris and illumos, which loads a file of SAs at boot: set to the file, and enabled.

Refreshing, enabling or disabling it flushes all SAs before the file is read, so it is done only if
something changes.
"""

from __future__ import annotations

from ..._core.audit.service import FAILED, SMF_QUERY, ServiceFacts, read_smf
from ..._core.audit.service import SMF_SERVICE as SERVICE
from ..._core.errors import IpsecError
from ..._core.specs import DEFAULT_PATH
from ..base import Module, Result
from ..clock import Deadline
from .services import run


def query(module: Module) -> Result:
    """What the service loads."""
    return _result(read_smf(run(module, *SMF_QUERY)))


def apply(module: Module, deadline: Deadline) -> Result:
    """Have the service load the file, or disable it."""
    present = module.params["state"] == "present"
    before = read_smf(run(module, *SMF_QUERY))
    file: str = module.params["file"] if present else DEFAULT_PATH
    if before.state == FAILED:
        raise IpsecError(
            f"{SERVICE} is in maintenance",
            "",
            f"See the end of its log (svcs -L {SERVICE}), and run: ipseckey -c {before.file}. Then run: svcadm clear"
            f" {SERVICE}",
        )
    after = before._replace(file=file, enabled=present)
    if after != before and not module.check_mode:
        if present:
            run(module, "ipseckey", "-c", file)
        deadline.check()
        if before.enabled and not present:
            run(module, "svcadm", "disable", "-s", SERVICE)
        if file != before.file:
            _point(module, before.file, file)
        if present and not before.enabled:
            run(module, "svcadm", "enable", "-s", SERVICE)
    result: Result = {"changed": after != before, **_result(after)}
    if module._diff:
        result["diff"] = {
            "before_header": SERVICE,
            "after_header": SERVICE,
            "before": _shown(before),
            "after": _shown(after),
        }
    return result


def _point(module: Module, old: str, new: str) -> None:
    """Set the file that the service loads; if the service rejects it, set the old one again."""

    def name(file: str) -> None:
        run(module, "svccfg", "-s", SERVICE, "setprop", "config/config_file", "=", f"astring: {file}")

    name(new)
    try:
        run(module, "svcadm", "refresh", SERVICE)
    except IpsecError:
        name(old)
        raise


def _result(found: ServiceFacts) -> Result:
    return {"installed": True, "enabled": found.enabled, "file": found.file}


def _shown(found: ServiceFacts) -> str:
    return f"config/config_file {found.file}\ngeneral/enabled {str(found.enabled).lower()}\n"
