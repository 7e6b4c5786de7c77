# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_utils is private to the collection and may change at any time.

"""What the actions of modules have in common: on its way to the target a key stands in no file, no command line and no log.

Ansible stores a module with its options in a temporary file of the target unless it pipelines, prints the options when ANSIBLE_DEBUG is on, and the
module writes those that it does not know as secret into the target's log before it looks at them. So a key in a wrong place must not be sent at all.
"""

from __future__ import annotations

import re
import typing as t

from ansible import constants as C
from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible.plugins.action.normal import ActionModule as NormalActionModule

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import shown

# 64 bits or more in hexadecimal, and no decimal number: no option but a key's has such a value.
_KEY = re.compile(r"(?:0[xX])?(?=[0-9]*[a-fA-F]|[0-9]{32})([0-9a-fA-F]{16,})(?:/[0-9]*)?")
_SHORTEST = 16
_LARGEST_NUMBER = (1 << 64) - 1


class HiddenOptions(t.Dict[str, t.Any]):
    """Options that travel as they are but never show themselves."""

    def __repr__(self) -> str:
        return "{options hidden, they may hold keys}"

    __str__ = __repr__


class SecretActionModule(ActionBase):
    """Runs ``module`` with hidden options over a pipelined connection, or not at all."""

    module = ""
    # The module's argument spec.
    arguments: t.ClassVar[t.Mapping[str, t.Mapping[str, t.Any]]] = {}

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        problem = misplaced(self._task.args, self.arguments) or self._pipeline()
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
        become = self._connection.become
        if C.DEFAULT_KEEP_REMOTE_FILES:
            cause, fix = "ANSIBLE_KEEP_REMOTE_FILES is set", "Unset it."
        elif become is not None and not become.pipelining:
            cause, fix = f"the become method {become.name} does not pipeline", "Use another one, such as ansible.builtin.sudo, or log in as root."
        else:
            cause, fix = f"the connection {self._connection.transport} does not pipeline", "Use a connection plugin that can."
        return f"this task's options, which may hold keys, would be stored in a temporary file of the host, since {cause}. {fix}"


class WatchedActionModule(NormalActionModule):
    """Runs ``module``, which takes no key, as Ansible runs any module; or not at all where one of its options is a key.

    ``fingerprints`` are options whose values may be as long as the shortest key.
    """

    module = ""
    arguments: t.ClassVar[t.Mapping[str, t.Mapping[str, t.Any]]] = {}
    fingerprints: tuple[str, ...] = ()

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        problem = misplaced(self._task.args, self.arguments, self.fingerprints)
        if problem:
            return {"failed": True, "msg": f"{self.module}: {problem}"}
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        return result


def misplaced(given: t.Mapping[str, t.Any], arguments: t.Mapping[str, t.Mapping[str, t.Any]], fingerprints: t.Collection[str] = ()) -> str:
    """Why these options must not be sent, empty where they may: an option that the module does not have, or a key in one that is not for keys.

    Ansible would show either. ``arguments`` is the module's argument spec.
    """
    names = {name: row for option, row in arguments.items() for name in (option, *row.get("aliases", ()))}
    unknown = sorted(str(name) for name in given if name not in names)
    if unknown:
        return f"it has no option {', '.join(map(shown, unknown))}. It has: {', '.join(sorted(names))}."
    wrong = sorted(name for name, value in given.items() if not names[name].get("no_log") and holds_key(value, _SHORTEST + (name in fingerprints)))
    if wrong:
        secret = ", ".join(option for option, row in arguments.items() if row.get("no_log"))
        hint = f"Keys belong into: {secret}." if secret else "This module takes no key."
        return f"{', '.join(wrong)}: what is given here looks like a key, so it is not shown. {hint}"
    return ""


def holds_key(value: t.Any, shortest: int = _SHORTEST) -> bool:
    """Whether a value that should be no secret looks like a key of ``shortest`` digits or more, or like text with one in it.

    A path may look like anything.
    """
    if isinstance(value, dict):
        return any(holds_key(part, shortest) for part in (*value, *value.values()))
    if isinstance(value, (list, tuple)):
        return any(holds_key(part, shortest) for part in value)
    if isinstance(value, int):
        return abs(value) > _LARGEST_NUMBER
    if not isinstance(value, str) or value.startswith("/"):
        return False
    found = map(_KEY.fullmatch, re.split(r"[\s\"',;:]+", value))
    return any(word is not None and len(word[1]) >= shortest for word in found)
