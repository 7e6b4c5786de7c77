# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes down, for the leak test, what no output shows in full: each task's result and, of our modules, its options
as it ended, and at the end all registered variables and facts, uncensored.

A loop's results are written as Ansible passes them, including the items, whatever the modules return.
"""

from __future__ import annotations

import os
import pathlib
import typing as t

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: results
type: aggregate
short_description: Writes results and registered variables to files
description:
  - Of use to the leak test only.
options: {}
"""


class CallbackModule(CallbackBase):
    """Results as they come, variables at the end."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "results"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *arguments: t.Any, **named: t.Any) -> None:
        super().__init__(*arguments, **named)
        self._folder = pathlib.Path(os.environ["LEAK_RESULTS"])
        self._folder.mkdir(exist_ok=True)
        self._number = 0
        self._variables: t.Any = None

    def v2_playbook_on_play_start(self, play: t.Any) -> None:
        self._variables = play.get_variable_manager()

    def v2_on_any(self, *arguments: t.Any, **dummy: t.Any) -> None:
        for argument in arguments:
            if hasattr(argument, "task_fields") or hasattr(argument, "_task_fields"):
                self._number += 1
                own = argument.task.action.startswith("ipsec.manual.")
                result = argument.result if argument.task.loop else vars(argument)
                self._write(f"{self._number:04d}", [result, argument.task.args if own else {}])

    def v2_playbook_on_stats(self, stats: t.Any) -> None:
        manager = self._variables
        # Private, but the only place that holds registered variables as they are, not as a task's no_log shows them.
        self._write("registered", [dict(manager._nonpersistent_fact_cache), dict(manager._vars_cache)])

    def _write(self, name: str, values: t.Iterable[t.Any]) -> None:
        text = "\n".join(map(repr, values))
        (self._folder / f"{os.getpid()}-{name}").write_text(text, encoding="utf-8", errors="backslashreplace")
