# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin runs on the controller; its documentation is in plugins/modules/ipsec_keystore.py.

"""Manage the generations of connections: the controller's side of a rotation."""

from __future__ import annotations

import multiprocessing
import os
import typing as t

from ansible import constants as C
from ansible.plugins.action import ActionBase

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import InputError, IpsecError, raise_all
from ansible_collections.ipsec.manual.plugins.module_utils._core.text.values import parse_digest_key, parse_number
from ansible_collections.ipsec.manual.plugins.plugin_utils import _screen
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.model import Connection
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.reader import PLACE
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.units import named
from ansible_collections.ipsec.manual.plugins.plugin_utils._failures import once, printed_once
from ansible_collections.ipsec.manual.plugins.plugin_utils._gate import failure
from ansible_collections.ipsec.manual.plugins.plugin_utils._inputs import Inputs
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore import records, result, steps
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.directory import open_keystore
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.lease import Lease, Runner, actor
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.steps import Order
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation.run import Run, choose, run_problems
from ansible_collections.ipsec.manual.plugins.plugin_utils._secret_action import hide_keys, misplaced

ARGUMENTS: dict[str, t.Any] = {
    "state": {"type": "str", "choices": [*steps.STATES, "released"], "default": "prepared"},
    "directory": {"type": "path", "required": True},
    "connections": {"type": "list", "elements": "dict", "required": True},
    "only": {"type": "list", "elements": "str", "default": []},
    "store": {"type": "str", "choices": list(records.STORES)},
    "new_keys": {"type": "bool", "default": False, "no_log": False},
    "new_root": {"type": "bool", "default": False, "no_log": False},
    "check_run": {"type": "bool", "default": False},
    "trusted_transports": {"type": "list", "elements": "str", "default": []},
    "taken_spis": {"type": "list", "elements": "str", "default": []},
    "digest_key": {"type": "str", "no_log": True},
    "allow_static_counter_mode": {"type": "bool", "default": False},
    "force": {"type": "bool", "default": False},
    "vault_id": {"type": "str", "default": ""},
}
# Options whose values may look like a key: paths, names of hosts, numbers in a list.
_FREE = ("directory", "connections", "only", "taken_spis")


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        hide_keys(self._task, ARGUMENTS)
        given = {name: value for name, value in self._task.args.items() if name not in _FREE}
        problem = misplaced(given, ARGUMENTS)
        if problem:
            result.update(failure("ipsec_keystore", problem))
            return once(self._task, result)
        with printed_once(self._task):
            dummy, arguments = self.validate_argument_spec(argument_spec=ARGUMENTS)
        try:
            result.update(
                self.release(arguments["directory"])
                if arguments["state"] == "released"
                else self._work(arguments, task_vars or {})
            )
        except IpsecError as exc:
            result.update(_screen.result(_screen.refused(str(exc).split("\n"))))
        return once(self._task, result)

    def _work(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        inputs = Inputs(self, task_vars)
        connections = inputs.connections(arguments["connections"], arguments["allow_static_counter_mode"])
        return self.keep(arguments, connections, run_of(self, task_vars, inputs), bool(self._task.check_mode))

    def keep(
        self, arguments: t.Mapping[str, t.Any], connections: t.Sequence[Connection], run: Run, dry: bool
    ) -> dict[str, t.Any]:
        """Carry out ``arguments``, or with ``dry`` only report what would be done. Raises IpsecError."""
        retires = arguments["state"] == steps.RETIRED
        leaving = arguments.get("leaving", {})
        # What was removed is named in `only`, but is not among the connections.
        ended = [word for word in arguments["only"] if not named(word, connections)] if retires else []
        only = [name for name in arguments["only"] if name not in ended]
        chosen = (
            choose(connections, run.hosts, only, arguments.get("may_be_empty", False), arguments.get("place", PLACE))
            if not leaving and (only or not ended)
            else []
        )
        if arguments["check_run"]:
            raise_all(list(run_problems(chosen, run, arguments["trusted_transports"])))
            if C.DEFAULT_KEEP_REMOTE_FILES:
                raise InputError(
                    "Ansible would keep modules and their keys in files of the hosts",
                    "ANSIBLE_KEEP_REMOTE_FILES",
                    "Unset it for this run.",
                )
        order = Order(
            state=arguments["state"],
            by=actor(),
            store=arguments["store"] or "",
            new_keys=arguments["new_keys"],
            renew=frozenset(arguments.get("renew", ())),
            undo=arguments.get("undo", False),
            new_root=arguments["new_root"],
            force=arguments["force"],
            # Any number: a host may report 0 and the reserved 1 to 255, which are never drawn.
            reported=frozenset(parse_number(spi, 32, "taken_spis") for spi in arguments["taken_spis"]),
            ended=tuple(ended),
            leaving=leaving,
            cleaned=frozenset(arguments.get("cleaned", ())),
            known=tuple(connections),
            play=arguments.get("play", ""),
            is_guest=arguments.get("is_guest", False),
        )
        digest_key = parse_digest_key(arguments["digest_key"], "digest_key") if arguments["digest_key"] else b""
        store = open_keystore(self._loader, arguments["directory"], arguments["vault_id"])
        runner = _this_run()
        if not dry:
            store.make_directory()
        with store.lock(runner, create=not dry) as lease:
            step = steps.carry_out(store, chosen, order, dry)
            if not dry:
                _settle(lease, runner, arguments["state"])
        return {
            **self._result(connections, step, digest_key),
            **(result.others(step, connections) if arguments["state"] == steps.PREPARED else {}),
        }

    def release(self, directory: str) -> dict[str, t.Any]:
        """Release the lease. No other input is read, so this works even if everything else was refused."""
        if not self._task.check_mode:
            open_keystore(self._loader, directory).leave(_this_run())
        return {"changed": False}

    def _result(
        self, connections: t.Sequence[Connection], step: steps.Transition, digest_key: bytes
    ) -> dict[str, t.Any]:
        found = {"changed": step.changed, **result.of(step, connections, digest_key)}
        return {**found, "diff": result.diff_of(step)} if self._task.diff else found


def run_of(action: ActionBase, task_vars: t.Mapping[str, t.Any], inputs: Inputs) -> Run:
    """Ansible's view of the run, and the transports of its hosts from the inventory."""
    hosts = frozenset(map(str, task_vars.get("ansible_play_hosts", ())))
    return Run(
        hosts=hosts,
        batch=frozenset(map(str, task_vars.get("ansible_play_batch", ()))),
        inventory=inputs.hosts(),
        strategy=str(getattr(action._task.get_play(), "strategy", "linear")),
        transports={
            host: str(inputs.get(host, "ansible_connection", action._task.connection))
            for host in hosts
            if host in inputs
        },
    )


def _this_run() -> Runner:
    """The run that this task belongs to: the parent of this process.

    The parent comes from multiprocessing, because workers survive a killed run and getppid() then
    returns 1."""
    parent = multiprocessing.parent_process()
    pid = parent.pid if parent is not None and parent.pid is not None else os.getppid()
    if pid != os.getppid():
        raise InputError("the run that this task belongs to has ended", f"process {pid}", "Run again.")
    return Runner.of(pid)


def _settle(lease: Lease | None, runner: Runner, state: str) -> None:
    if lease is None:
        return
    if state in ("prepared", "switching", "retiring"):
        lease.take(runner)
    elif state not in ("promoted", steps.LEFT):
        # After these the run still cleans up on the hosts, so no other run may begin.
        lease.release()
