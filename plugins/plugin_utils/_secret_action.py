# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The common part of the modules' actions: on the way to the target, a key is never in a file, a
command line or a log, and the answer passes the gate.

Unless it pipelines, Ansible stores a module with its options in a temporary file on the target, and
it prints the options if ANSIBLE_DEBUG is set. The module logs all options that are not declared
secret on the target before it checks them. So a key in the wrong option must not be sent at all.

Each module has an action of its own name. With a route (``plugin_routing``) to a common action,
Ansible would not call `ModuleAction.finalize_task_arg`: it looks that hook up by the task's name."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
import re
import typing as t

from ansible import constants as C
from ansible.errors import AnsibleActionFail, AnsibleError, AnsibleValueOmittedError
from ansible.module_utils.json_utils import _filter_non_json_lines
from ansible.plugins.action import ActionBase

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import may_be_key, shown
from ansible_collections.ipsec.manual.plugins.plugin_utils._failures import once, printed_once
from ansible_collections.ipsec.manual.plugins.plugin_utils._gate import (
    Answer,
    admit,
    admit_all,
    failure,
    malformed,
    report,
    visible,
)
from ansible_collections.ipsec.manual.plugins.plugin_utils._key_shapes import holds_key
from ansible_collections.ipsec.manual.plugins.plugin_utils._loop_keys import shows_key

# The path of a Python that Ansible may discover and run, even on other hosts if a play mixes up their facts.
_PYTHON = re.compile(r"(?:/[A-Za-z0-9_+-][A-Za-z0-9._+-]*)*/(?:platform-)?python[0-9.]*")
# Characters: enough for an answer with 50,000 SAs.
_LONGEST_OUTPUT = 1 << 26
_BATCH = "ipsec.manual.ipsec_batch"
_STEP = {"step": {"type": "str", "required": True}}
# As Ansible has it in the invocation of a module.
_NOT_SHOWN = "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"


class HiddenOptions(t.Dict[str, t.Any]):
    """Options that are sent unchanged but never printed."""

    def __repr__(self) -> str:
        return "{options hidden, they may hold keys}"


class LocalOptions(t.Dict[str, t.Any]):
    """Options of a task that stay in the process that runs it. Ansible pickles the finished task for its main process,
    where callbacks see its options, and a rescue section has them in ``ansible_failed_task``: they get others.
    """

    def __init__(self, given: t.Mapping[str, t.Any], others: dict[str, t.Any]) -> None:
        super().__init__(given)
        self._others = others

    def __reduce__(self) -> tuple[t.Any, ...]:
        return dict, (self._others,)


class Call(t.NamedTuple):
    """A module of this collection to run, by its name alone, with its options; with ``check``, in check
    mode although the task does not run in it.
    """

    module: str
    options: t.Mapping[str, t.Any]
    check: bool = False


class HostAction(ActionBase):
    """An action that runs our modules on its host. Their answers pass the gate before Ansible reads them."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    # Ansible itself would fetch the answer of an asynchronous task, bypassing the gate.
    _supports_async = False

    # The module that was asked, what the gate admits of its answer, and what it has admitted; None if
    # there was no answer.
    _asked = ""
    _gate: t.Callable[[object], Answer]
    _admitted: Answer | None = None

    def step(self, known: t.Collection[str]) -> str:
        """The option ``step``. Ansible's own refusal would quote it, and it may be a key in the wrong place."""
        hide_keys(self._task, _STEP)
        with printed_once(self._task):
            dummy, arguments = self.validate_argument_spec(argument_spec=_STEP)
            found: str = arguments["step"]
            if found not in known:
                raise AnsibleActionFail(f"step: there is no step {shown(found)}. Known are: {', '.join(known)}.")
        return found

    def ask(
        self, module: str, arguments: t.Mapping[str, t.Any], task_vars: dict[str, t.Any] | None, secret: bool = False
    ) -> Answer:
        """The answer of ``module`` after the gate; a failure if there is none. ``secret``: the options may
        contain keys.
        """
        return self._run_module(
            module, arguments, task_vars, secret=secret, gate=functools.partial(admit, module.rpartition(".")[2])
        )

    def ask_all(self, calls: t.Sequence[Call], task_vars: dict[str, t.Any] | None) -> list[Answer]:
        """The answers of several modules that the host runs in one go, up to the first failure. Without an
        answer, each has failed and is ``unanswered``, since any of them may have been carried out.
        """
        modules = [call.module for call in calls]
        options = {"calls": json.dumps([call._asdict() for call in calls])}
        found = self._run_module(_BATCH, options, task_vars, secret=True, gate=functools.partial(admit_all, modules))
        if "answers" in found:
            return t.cast("list[Answer]", found["answers"])
        return [{**found, "unanswered": True}] * len(calls)

    def _run_module(
        self,
        module: str,
        arguments: t.Mapping[str, t.Any],
        task_vars: dict[str, t.Any] | None,
        secret: bool,
        gate: t.Callable[[object], Answer],
    ) -> Answer:
        problem = self._pipeline() if secret else ""
        if problem:
            return failure(module, problem)
        self._asked, self._gate, self._admitted = module, gate, None
        raw = self._execute_module(
            module_name=module, module_args=HiddenOptions(arguments) if secret else dict(arguments), task_vars=task_vars
        )
        self._remove_tmp_path(self._connection._shell.tmpdir)
        return failure(module, _no_answer(raw)) if self._admitted is None else self._admitted

    def discovered(self) -> Answer:
        """The fact that keeps Ansible from searching for the host's Python again, if it has just done so;
        part of a task's result.

        The value comes from the host, so it is admitted only as a plain path.
        """
        path = self._discovered_interpreter
        if not self._discovered_interpreter_key or not _PYTHON.fullmatch(str(path)):
            return {}
        return {"ansible_facts": {self._discovered_interpreter_key: str(path)}}

    def _parse_returned_data(self, res: t.Any, *profile: t.Any) -> t.Any:
        """Ansible's result from a module's output. Ansible follows instructions while it parses, so it gets only what
        the gate admits. It shows warnings then, too, but these are for the action, which may have shown them.
        """
        self._admitted = _admitted(self._asked, self._gate, res["stdout"])
        stdout, stderr = "", visible(res["stderr"], keep="\n")
        if self._admitted is not None:
            rest = {name: value for name, value in self._admitted.items() if name != "warnings"}
            stdout, stderr = json.dumps(rest), ""
        return super()._parse_returned_data({**res, "stdout": stdout, "stderr": stderr}, *profile)

    def _pipeline(self) -> str:
        """Enable pipelining; returns why that is impossible, empty on success."""
        if not self._is_pipelining_enabled("new") and self._connection.has_pipelining:
            try:
                self._connection.set_option("pipelining", True)
            except (AnsibleError, KeyError):
                # The plugin has no such option, so the play context decides.
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
    """Replaces the value of an option whose template failed; says why."""

    reason: str


class ModuleAction(HostAction):
    """Runs ``module``, unless an option that is not for keys contains one. If the module has options for
    keys, all options are hidden, and sent only over a pipelined connection.

    Hides item and result of a loop whose item contains a key, like ``no_log``, because Ansible prints
    the item; failures are still explained.

    ``arguments`` is the module's argument spec. ``digests`` are the options whose values may be as
    many hexadecimal digits as a key has."""

    module = ""
    arguments: t.ClassVar[t.Mapping[str, t.Mapping[str, t.Any]]] = {}
    digests: tuple[str, ...] = ()

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        hide_keys(self._task, self.arguments, self.digests)
        self._hide_item(task_vars or {})
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        problem = misplaced(self._task.args, self.arguments, self.digests)
        if problem:
            result.update(failure(self.module, problem))
            return once(self._task, result)
        secret = any(row.get("no_log") for row in self.arguments.values())
        with printed_once(self._task):
            answer = self.ask(self.module, self._task.args, task_vars, secret)
        result.update(answer, **self.discovered())
        return once(self._task, result)

    @classmethod
    def finalize_task_arg(cls, name: str, value: t.Any, templar: t.Any, context: t.Any) -> t.Any:
        """The option's value, or `Unresolved` if its template fails, for example because of a misspelt field,
        and the loop's item contains a key: without this hook, Ansible would fail before this action
        begins and print the item."""
        try:
            return super().finalize_task_arg(name, value, templar, context)
        except AnsibleValueOmittedError:  # the option is not given: `default(omit)`
            raise
        except AnsibleError as exc:
            if not shows_key(templar.available_variables, None, ()):
                raise
            return Unresolved("its template fails" if holds_key(str(exc)) else str(exc))

    def _hide_item(self, task_vars: t.Mapping[str, t.Any]) -> None:
        """Must be called before anything can fail."""
        if self._task.loop is None:
            return
        wanted = self._task.no_log
        self._task.no_log = True
        secrets = [self._task.args.get(name) for name, row in _by_name(self.arguments).items() if row.get("no_log")]
        if not shows_key(task_vars, self._label(), secrets):
            self._task.no_log = wanted

    def _label(self) -> t.Any:
        """The label that is printed instead of the item, None if it cannot be evaluated yet."""
        try:
            return self._templar.template(self._task.loop_control.label)
        except AnsibleError:
            return None


def _admitted(module: str, gate: t.Callable[[object], Answer], output: str) -> Answer | None:
    """The answer in a module's output after the gate, without the text that a shell may print around it;
    None if there is none.
    """
    if len(output) > _LONGEST_OUTPUT:
        return malformed(module, f"it has {len(output)} characters, more than {_LONGEST_OUTPUT}")
    try:
        return gate(json.loads(_filter_non_json_lines(output, objects_only=True)[0]))
    except RecursionError:
        return malformed(module, "it is nested too deeply")
    except ValueError:
        return None


def _no_answer(raw: t.Mapping[str, t.Any]) -> str:
    """Why a module gave no answer, from Ansible's result ``raw``."""
    lines = [
        line.strip()
        for line in str(raw.get("module_stderr") or "").split("\n")
        if line.strip() and not may_be_key(line)
    ]
    cause = f"the module ended with status {raw.get('rc')} and gave no answer. {str(raw.get('msg', '')).rstrip('.')}."
    return f"{cause} It said: {report(' / '.join(lines[-5:]), 500)}" if lines else cause


def misplaced(
    given: t.Mapping[str, t.Any], arguments: t.Mapping[str, t.Mapping[str, t.Any]], digests: t.Collection[str] = ()
) -> str:
    """Why these options must not be sent, empty if they may: an unknown option, or a key in an option
    that is not for keys.

    Ansible would print either. ``arguments`` is the module's argument spec; values of the options in
    ``digests`` may be digests, which look like keys."""
    names = _by_name(arguments)
    unknown = sorted(str(name) for name in given if name not in names)
    if unknown:
        # What is like a key is not compared.
        near = [name for word in unknown if not may_be_key(word) for name in _nearest(word, names)]
        hint = f"Nearest: {', '.join(dict.fromkeys(near))}. " if near else ""
        return f"it has no option {', '.join(map(shown, unknown))}. {hint}ansible-doc lists all options of the module."
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


def hide_keys(task: t.Any, arguments: t.Mapping[str, t.Mapping[str, t.Any]], digests: t.Collection[str] = ()) -> None:
    """Keep keys out of what Ansible shows of the task when it has ended."""
    task.args = LocalOptions(task.args, without_keys(task.args, arguments, digests))


def without_keys(
    given: t.Mapping[str, t.Any], arguments: t.Mapping[str, t.Mapping[str, t.Any]], digests: t.Collection[str] = ()
) -> dict[str, t.Any]:
    """The options, as `misplaced` gets them, without what is or may be a key: values, and names that are unknown."""
    names = _by_name(arguments)
    return {
        name: (
            _NOT_SHOWN
            if names[name].get("no_log") or isinstance(value, Unresolved) or holds_key(value, digests=name in digests)
            else value
        )
        for name, value in given.items()
        if name in names
    }


def _nearest(word: str, names: t.Iterable[str]) -> list[str]:
    return difflib.get_close_matches(word[:40], sorted(names), 3, 0.6) or difflib.get_close_matches(
        word[:40], sorted(names), 1, 0.0
    )


def _by_name(arguments: t.Mapping[str, t.Mapping[str, t.Any]]) -> dict[str, t.Mapping[str, t.Any]]:
    """The rows of an argument spec, by names and aliases."""
    return {name: row for option, row in arguments.items() for name in (option, *row.get("aliases", ()))}
