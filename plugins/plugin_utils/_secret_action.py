# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the actions of modules have in common: on its way to the target a key stands in no file, no
command line and no log, and what comes back from there passes the gate.

Ansible stores a module with its options in a temporary file of the target unless it pipelines,
prints the options when ANSIBLE_DEBUG is on, and the module writes those that it does not know as
secret into the target's log before it looks at them. So a key in a wrong place must not be sent at
all."""

from __future__ import annotations

import dataclasses
import json
import re
import typing as t

from ansible import constants as C
from ansible.errors import AnsibleError
from ansible.module_utils.json_utils import _filter_non_json_lines
from ansible.plugins.action import ActionBase

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import may_be_key, shown
from ansible_collections.ipsec.manual.plugins.plugin_utils._gate import (
    Answer,
    admit,
    failure,
    malformed,
    report,
    visible,
)
from ansible_collections.ipsec.manual.plugins.plugin_utils._key_shapes import holds_key
from ansible_collections.ipsec.manual.plugins.plugin_utils._loop_keys import shows_key

# A Python as Ansible finds one. Ansible runs this path, on this host and on others where a play mixes up their facts.
_PYTHON = re.compile(r"(?:/[A-Za-z0-9_+-][A-Za-z0-9._+-]*)*/(?:platform-)?python[0-9.]*")
# Characters: an answer with the SAs of a host, 50,000 of them.
_LONGEST_OUTPUT = 1 << 26


class HiddenOptions(t.Dict[str, t.Any]):
    """Options that travel as they are but never show themselves."""

    def __repr__(self) -> str:
        return "{options hidden, they may hold keys}"

    __str__ = __repr__


class HostAction(ActionBase):
    """An action that runs our modules on its host. What they answer passes the gate before Ansible reads it."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    # The answer of an asynchronous task is fetched by Ansible itself, past the gate.
    _supports_async = False

    # The module that is asked, and its answer as the gate admits it; None where nothing has come that could be one.
    _asked = ""
    _admitted: Answer | None = None

    def ask(
        self, module: str, arguments: t.Mapping[str, t.Any], task_vars: dict[str, t.Any] | None, secret: bool = False
    ) -> Answer:
        """The answer of ``module``, as the gate admits it; a failure where there is none.
        ``secret``: the options may hold keys.
        """
        problem = self._pipeline() if secret else ""
        if problem:
            return failure(module, problem)
        self._asked, self._admitted = module, None
        raw = self._execute_module(
            module_name=module, module_args=HiddenOptions(arguments) if secret else dict(arguments), task_vars=task_vars
        )
        self._remove_tmp_path(self._connection._shell.tmpdir)
        return failure(module, _no_answer(raw)) if self._admitted is None else self._admitted

    def discovered(self) -> Answer:
        """The fact that keeps Ansible from looking for the host's Python again, where it did so
        just now; part of a task's result.

        The host named it, so it is a plain path or nothing.
        """
        path = self._discovered_interpreter
        if not self._discovered_interpreter_key or not _PYTHON.fullmatch(str(path)):
            return {}
        return {"ansible_facts": {self._discovered_interpreter_key: str(path)}}

    def _parse_returned_data(self, res: t.Any, *profile: t.Any) -> t.Any:
        """What Ansible makes of a module's output. It shows warnings and obeys instructions on the
        way, so it gets to see what the gate admits.
        """
        self._admitted = _admitted(self._asked, res["stdout"])
        stdout, stderr = (
            ("", visible(res["stderr"], keep="\n")) if self._admitted is None else (json.dumps(self._admitted), "")
        )
        return super()._parse_returned_data({**res, "stdout": stdout, "stderr": stderr}, *profile)

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
            cause, fix = (
                f"the become method {become.name} does not pipeline",
                "Use another one, such as ansible.builtin.sudo, or log in as root.",
            )
        else:
            cause, fix = (
                f"the connection {self._connection.transport} does not pipeline",
                "Use a connection plugin that can.",
            )
        return (
            f"this task's options, which may hold keys, would be stored in a temporary file of the host, since {cause}."
            f" {fix}"
        )


@dataclasses.dataclass(frozen=True)
class Unresolved:
    """In place of an option's value: why it could not be made."""

    reason: str


class _ModuleAction(HostAction):
    """Runs ``module``; or not at all where an option that is not for keys holds one.

    Hides item and result of a loop whose item holds a key, as ``no_log`` would: Ansible prints the
    item, and still says what failed.

    ``arguments`` is the module's argument spec, and ``digests`` are those of its options whose
    values may be hexadecimal digits, as many as a key has. ``secret``: the options may hold keys,
    so they are hidden, and sent over a pipelined connection or not at all."""

    module = ""
    arguments: t.ClassVar[t.Mapping[str, t.Mapping[str, t.Any]]] = {}
    digests: tuple[str, ...] = ()
    secret = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        self._hide_item(task_vars or {})
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        problem = misplaced(self._task.args, self.arguments, self.digests)
        if problem:
            result.update(failure(self.module, problem))
            return result
        result.update(self.ask(self.module, self._task.args, task_vars, self.secret), **self.discovered())
        return result

    @classmethod
    def finalize_task_arg(cls, name: str, value: t.Any, templar: t.Any, context: t.Any) -> t.Any:
        """The option's value; why it has none, where a misspelt field of an item with a key is asked for.

        Ansible would not let this action begin then, and print the item. Where a release of Ansible
        has no such hook, it does."""
        try:
            return super().finalize_task_arg(name, value, templar, context)
        except AnsibleError as exc:
            if not shows_key(templar.available_variables, None, ()):
                raise
            return Unresolved("its template fails" if holds_key(str(exc)) else str(exc))

    def _hide_item(self, task_vars: t.Mapping[str, t.Any]) -> None:
        """To be called before anything can fail."""
        if self._task.loop is None:
            return
        wanted = self._task.no_log
        self._task.no_log = True
        secrets = [self._task.args.get(name) for name, row in _by_name(self.arguments).items() if row.get("no_log")]
        if not shows_key(task_vars, self._label(), secrets):
            self._task.no_log = wanted

    def _label(self) -> t.Any:
        """What is printed in the item's place, as far as it is known yet."""
        try:
            return self._templar.template(self._task.loop_control.label)
        except AnsibleError:
            return None


class SecretActionModule(_ModuleAction):
    """For a module that takes keys."""

    secret = True


class WatchedActionModule(_ModuleAction):
    """For a module that takes no key."""


def _admitted(module: str, output: str) -> Answer | None:
    """The answer in a module's output, without what a shell may print around it, as the gate
    admits it; None if there is none.
    """
    if len(output) > _LONGEST_OUTPUT:
        return malformed(module, f"it has {len(output)} characters, more than {_LONGEST_OUTPUT}")
    try:
        return admit(module, json.loads(_filter_non_json_lines(output, objects_only=True)[0]))
    except RecursionError:
        return malformed(module, "it is nested too deeply")
    except ValueError:
        return None


def _no_answer(raw: t.Mapping[str, t.Any]) -> str:
    """What is known of a module that gave none, where ``raw`` is what Ansible made of its output."""
    said = [
        line.strip()
        for line in str(raw.get("module_stderr") or "").split("\n")
        if line.strip() and not may_be_key(line)
    ]
    cause = f"the module ended with status {raw.get('rc')} and gave no answer. {str(raw.get('msg', '')).rstrip('.')}."
    return f"{cause} It said: {report(' / '.join(said[-5:]), 500)}" if said else cause


def misplaced(
    given: t.Mapping[str, t.Any], arguments: t.Mapping[str, t.Mapping[str, t.Any]], digests: t.Collection[str] = ()
) -> str:
    """Why these options must not be sent, empty where they may: an option that the module does not
    have, or a key in one that is not for keys.

    Ansible would show either. ``arguments`` is the module's argument spec; a value of an option of
    ``digests`` may look like a key as digests do."""
    names = _by_name(arguments)
    unknown = sorted(str(name) for name in given if name not in names)
    if unknown:
        return f"it has no option {', '.join(map(shown, unknown))}. It has: {', '.join(sorted(names))}."
    unresolved = [f"{name}: {value.reason}" for name, value in given.items() if isinstance(value, Unresolved)]
    if unresolved:
        return " ".join(unresolved)
    wrong = sorted(
        name
        for name, value in given.items()
        if not names[name].get("no_log") and holds_key(value, digests=name in digests)
    )
    if wrong:
        secret = ", ".join(option for option, row in arguments.items() if row.get("no_log"))
        hint = f"Keys belong in: {secret}." if secret else "This module takes no key."
        return f"{', '.join(wrong)}: what is given here looks like a key, so it is not shown. {hint}"
    return ""


def _by_name(arguments: t.Mapping[str, t.Mapping[str, t.Any]]) -> dict[str, t.Mapping[str, t.Any]]:
    """The rows of an argument spec, by names and aliases."""
    return {name: row for option, row in arguments.items() for name in (option, *row.get("aliases", ()))}
