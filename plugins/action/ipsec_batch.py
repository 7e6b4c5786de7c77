# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the module ipsec_batch, and keeps the keys in its calls hidden on the way to the target. A call
with a key in the wrong option is not sent, as by the action of its module.
"""

from __future__ import annotations

import json
import typing as t

from ansible_collections.ipsec.manual.plugins.module_utils._core import specs
from ansible_collections.ipsec.manual.plugins.plugin_utils._gate import Answer, failure, joined
from ansible_collections.ipsec.manual.plugins.plugin_utils._secret_action import Call, ModuleAction, misplaced

BATCHED: t.Mapping[str, specs.Arguments] = {
    "ipsec_boot": specs.IPSEC_BOOT,
    "ipsec_policy": specs.IPSEC_POLICY,
    "ipsec_preflight": specs.IPSEC_PREFLIGHT,
    "ipsec_probe": specs.IPSEC_PROBE,
    "ipsec_sadb": specs.IPSEC_SADB,
    "ipseckeys_file": specs.IPSECKEYS_FILE,
}


class ActionModule(ModuleAction):
    module = "ipsec.manual.ipsec_batch"
    arguments = specs.IPSEC_BATCH

    def ask(
        self, module: str, arguments: t.Mapping[str, t.Any], task_vars: dict[str, t.Any] | None, secret: bool = False
    ) -> Answer:
        calls = _read(arguments.get("calls"))
        if not calls:
            problem = "calls: this is not a list in JSON of calls with module and options. Modules are: "
            problem += f"{', '.join(BATCHED)}."
            return failure(module, problem)
        for number, call in enumerate(calls):
            # The option `expected` of ipsec_preflight has digests.
            problem = misplaced(call.options, BATCHED[call.module], ("expected",))
            if problem:
                return failure(module, f"calls[{number}], {call.module}: {problem}")
        return joined(self.ask_all(calls, task_vars))


def _read(text: t.Any) -> list[Call]:
    """The calls, none if they are malformed."""
    try:
        calls = [Call(row["module"], dict(row["options"]), bool(row.get("check"))) for row in json.loads(text)]
        return calls if all(call.module in BATCHED for call in calls) else []
    except (ValueError, TypeError, KeyError, AttributeError):
        return []
