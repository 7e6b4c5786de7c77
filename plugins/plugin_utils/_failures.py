# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Failures that Ansible prints once.

Ansible prints a failure twice: as an error, with the lines of the playbook around the task, and as the
result of the task. It leaves out the first if the failure is an exception without the key ``exception``.
"""

from __future__ import annotations

import contextlib
import typing as t

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.playbook.task import Task
from ansible.utils.display import Display

from ansible_collections.ipsec.manual.plugins.plugin_utils import _screen
from ansible_collections.ipsec.manual.plugins.plugin_utils._gate import report

Result = t.Dict[str, t.Any]

_HEADING = "This task failed."
_LONGEST_REASON = 500
# What Ansible evaluates only for results that are returned.
_NEED_A_RESULT = ("failed_when", "changed_when", "until", "retries", "delegate_to")


class _Failure(AnsibleActionFail):
    @property
    def omit_exception_key(self) -> bool:
        return True


class _Unreachable(AnsibleConnectionFailure):
    @property
    def omit_exception_key(self) -> bool:
        return True


def once(task: Task, result: Result) -> Result:
    """The result of an action. A failure is raised, unless the task has a keyword that looks at the result.

    The lines of a longer message go to ``report``, since Ansible escapes line breaks of ``msg``. With ``no_log``,
    only the error explains the failure.
    """
    if not result.get("failed") or task.no_log:
        return result
    if "\n" in str(result.get("msg", "")):
        result = {**result, **_screen.result(f"{_HEADING}\n{result['msg']}")}
    if any(getattr(task, keyword, None) for keyword in _NEED_A_RESULT) or (task.loop and task.register):
        return result
    for text in result.pop("warnings", ()):
        Display().warning(text)
    rest = {name: value for name, value in result.items() if name not in ("failed", "msg")}
    raise _Failure(str(result["msg"]), result=rest)


def is_timeout(exc: BaseException) -> bool:
    """Whether the time of the task ran out. Ansible's class is private."""
    return type(exc).__name__ == "TaskTimeoutError"


@contextlib.contextmanager
def in_time(result: Result) -> t.Iterator[None]:
    """Do not fail if the time of the task runs out: the step that reports says so, and what it means."""
    try:
        yield
    except BaseException as exc:  # pylint: disable=broad-except  # Ansible's timeout is no Exception
        if not is_timeout(exc):
            raise
        result.update(changed=False)


@contextlib.contextmanager
def printed_once(task: Task) -> t.Iterator[None]:
    """Print what Ansible itself raises, about options or a host that is out of reach, once."""
    try:
        yield
    except AnsibleConnectionFailure as exc:
        if task.no_log:
            raise
        raise _Unreachable(report(str(exc), _LONGEST_REASON)) from None
    except AnsibleActionFail as exc:
        if task.no_log or isinstance(exc, _Failure):
            raise
        raise _Failure(str(exc), result=exc.result) from None
