# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin runs on the controller; its documentation is in plugins/modules/ipsec_keystore_info.py.

"""Facts about the keystore for an audit."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import IpsecError
from ansible_collections.ipsec.manual.plugins.plugin_utils import _screen
from ansible_collections.ipsec.manual.plugins.plugin_utils._failures import once, printed_once
from ansible_collections.ipsec.manual.plugins.plugin_utils._gate import failure
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore import generations, single_keys
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.directory import open_keystore
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.facts import facts_of
from ansible_collections.ipsec.manual.plugins.plugin_utils._secret_action import hide_keys, misplaced

ARGUMENTS = {"directory": {"type": "path", "required": True}}


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        hide_keys(self._task, ARGUMENTS)
        problem = misplaced({name: value for name, value in self._task.args.items() if name != "directory"}, ARGUMENTS)
        if problem:
            result.update(failure("ipsec_keystore_info", problem))
            return once(self._task, result)
        with printed_once(self._task):
            dummy, arguments = self.validate_argument_spec(argument_spec=ARGUMENTS)
        try:
            store = open_keystore(self._loader, arguments["directory"])
            known, roots = store.read_all(), store.read_roots()
            generations.verify(known, store.path, roots.secrets(), single_keys.fingerprints(store, known))
        except IpsecError as exc:
            result.update(_screen.result(_screen.refused(str(exc).split("\n"))))
            return once(self._task, result)
        result.update(
            changed=False,
            connections=[row for whole in known.values() for row in facts_of(whole)],
            roots=[
                {name: getattr(root, name) for name in ("fingerprint", "created", "created_by")} for root in roots.roots
            ],
        )
        return result
