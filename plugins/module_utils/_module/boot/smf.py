# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The service manual-key of Solaris and illumos, which loads a file of SAs at boot: set to the file, and enabled.

Refreshing, enabling or disabling it flushes all SAs before the file is read, so this is done only if
something must change.
"""

from __future__ import annotations

import re
import typing as t

from ..._core.errors import IpsecError
from ..._core.specs import DEFAULT_PATH
from ..base import Result
from .services import run

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

SERVICE = "svc:/network/ipsec/manual-key:default"
_FILE = re.compile(r"^config/config_file \S+ (.*)$", re.M)


class _State(t.NamedTuple):
    """How the service is set, in its running snapshot, which is what its methods use."""

    file: str
    enabled: bool
    given_up: bool

    def told(self) -> Result:
        return {"installed": True, "enabled": self.enabled, "file": self.file}


def look(module: AnsibleModule) -> _State:
    """Several properties at once come as lines of name, type, value."""
    told = run(module, "svcprop", "-p", "config/config_file", "-p", "general/enabled", "-p", "restarter/state", SERVICE)
    file = _FILE.search(told)
    return _State(
        file[1] if file is not None else DEFAULT_PATH,
        "general/enabled boolean true" in told,
        "restarter/state astring maintenance" in told.splitlines(),
    )


def apply_smf(module: AnsibleModule) -> Result:
    """Have the service load the file, or no file at all."""
    present = module.params["state"] == "present"
    before = look(module)
    file: str = module.params["file"] if present else DEFAULT_PATH
    if before.given_up:
        raise IpsecError(
            f"{SERVICE} is in maintenance",
            "",
            f"See why in the end of its log (svcs -L {SERVICE}) and with: ipseckey -c {before.file}. Then run: svcadm"
            f" clear {SERVICE}",
        )
    after = before._replace(file=file, enabled=present)
    if after != before and not module.check_mode:
        if present:
            run(module, "ipseckey", "-c", file)
        if before.enabled and not present:
            run(module, "svcadm", "disable", "-s", SERVICE)
        if file != before.file:
            _point(module, before.file, file)
        if present and not before.enabled:
            run(module, "svcadm", "enable", "-s", SERVICE)
    result: Result = {"changed": after != before, **after.told()}
    if module._diff:
        result["diff"] = {
            "before_header": SERVICE,
            "after_header": SERVICE,
            "before": _shown(before),
            "after": _shown(after),
        }
    return result


def _point(module: AnsibleModule, old: str, new: str) -> None:
    """Have it load another file; the old one again where it does not take the new one."""

    def name(file: str) -> None:
        run(module, "svccfg", "-s", SERVICE, "setprop", "config/config_file", "=", f"astring: {file}")

    name(new)
    try:
        run(module, "svcadm", "refresh", SERVICE)
    except IpsecError:
        name(old)
        raise


def _shown(state: _State) -> str:
    return f"config/config_file {state.file}\ngeneral/enabled {str(state.enabled).lower()}\n"
