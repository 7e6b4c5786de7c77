# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the module ipsec_batch, and keeps the keys in its calls hidden on the way to the target."""

from __future__ import annotations

import json
import typing as t

from ansible_collections.ipsec.manual.plugins.plugin_utils._gate import failure, joined
from ansible_collections.ipsec.manual.plugins.plugin_utils._secret_action import Call, HostAction

BATCHED = ("ipsec_boot", "ipsec_policy", "ipsec_preflight", "ipsec_probe", "ipsec_sadb", "ipseckeys_file")


class ActionModule(HostAction):
    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        dummy, arguments = self.validate_argument_spec(
            argument_spec={"calls": {"type": "str", "required": True, "no_log": True}}
        )
        try:
            rows = json.loads(arguments["calls"])
            calls = [Call(row["module"], dict(row["options"]), bool(row.get("check"))) for row in rows]
            known = all(call.module in BATCHED for call in calls)
        except (ValueError, TypeError, KeyError):
            known = False
        if not known or not calls:
            problem = "calls: this is not a list in JSON of calls with module and options. Modules are: "
            problem += f"{', '.join(BATCHED)}."
            result.update(failure("ipsec_batch", problem))
            return result
        result.update(joined(self.ask_all(calls, task_vars)), **self.discovered())
        return result
