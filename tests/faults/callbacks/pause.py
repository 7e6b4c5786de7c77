# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stops a run before tasks: $PAUSES is JSON, a list of pairs [task, folder]. A run that reaches a task
makes its folder, and goes on once the folder is gone.
"""

from __future__ import annotations

import json
import os
import pathlib
import time
import typing as t

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: pause
type: aggregate
short_description: stop a run before some of its tasks
description: For tests of faults.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "pause"

    def v2_playbook_on_task_start(self, task: t.Any, is_conditional: bool) -> None:
        for name, folder in json.loads(os.environ["PAUSES"]):
            reached = pathlib.Path(folder)
            if task.name == name and not reached.with_suffix(".done").exists():
                reached.with_suffix(".done").touch()
                reached.mkdir()
                while reached.exists():
                    time.sleep(0.02)
