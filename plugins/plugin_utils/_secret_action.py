# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_utils is private to the collection and may change at any time.

"""What the actions of modules that take keys have in common: on its way to the target a key stands in no file, no command line and no log.

Ansible stores a module with its options in a temporary file of the target unless it pipelines, and prints the options when ANSIBLE_DEBUG is on.
"""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase


class HiddenOptions(t.Dict[str, t.Any]):
    """Options that travel as they are but never show themselves."""

    def __repr__(self) -> str:
        return "{options hidden, they may hold keys}"

    __str__ = __repr__


class SecretActionModule(ActionBase):
    """Runs ``module`` with hidden options over a pipelined connection, or not at all."""

    module = ""
    # Options that hold keys.
    secrets: t.ClassVar[tuple[str, ...]] = ("content", "encryption_key", "encrkey", "authentication_key", "authkey")

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        if any(self._task.args.get(option) for option in self.secrets):
            problem = self._pipeline()
            if problem:
                result.update(failed=True, msg=f"{self.module}: {problem}")
                return result
        result.update(self._execute_module(module_name=self.module, module_args=HiddenOptions(self._task.args), task_vars=task_vars))
        self._remove_tmp_path(self._connection._shell.tmpdir)
        return result

    def _pipeline(self) -> str:
        """Have the connection pipeline; why it cannot, empty where it does."""
        if not self._is_pipelining_enabled("new") and self._connection.has_pipelining:
            try:
                self._connection.set_option("pipelining", True)
            except (AnsibleError, KeyError):
                # The plugin has no such option; then the play decides.
                self._play_context.pipelining = True
        if self._is_pipelining_enabled("new"):
            return ""
        return (
            f"the connection {self._connection.transport} would store this task's keys in a temporary file of the host, since it does not pipeline. "
            "Use a connection plugin that can, and leave ANSIBLE_KEEP_REMOTE_FILES unset."
        )
