# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin runs on the controller; its documentation is in plugins/modules/ipsec_fleet.py.

"""The steps of the playbook `status`. They read only.

As in a rotation, inputs are read without facts, and what hosts answer is kept in a record on the controller: a
host cannot change what others are asked, nor what is shown about them."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleConnectionFailure

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import InputError, IpsecError, raise_all
from ansible_collections.ipsec.manual.plugins.plugin_utils import _screen
from ansible_collections.ipsec.manual.plugins.plugin_utils._audit import keystore, table
from ansible_collections.ipsec.manual.plugins.plugin_utils._audit.fleet import Known
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.model import Connection
from ansible_collections.ipsec.manual.plugins.plugin_utils._failures import in_time, once
from ansible_collections.ipsec.manual.plugins.plugin_utils._gate import report
from ansible_collections.ipsec.manual.plugins.plugin_utils._inputs import CONNECTIONS, Inputs
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.directory import open_keystore
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation import due
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation import inputs as role
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation.decisions import has_failed
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation.record import UNANSWERED, RunRecord, new_digest_key
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation.wording import ROLE_WORDS
from ansible_collections.ipsec.manual.plugins.plugin_utils._secret_action import HostAction
from ansible_collections.ipsec.manual.plugins.plugin_utils._variables import Values, read_variables

Result = t.Dict[str, t.Any]

STEPS = ("ask", "report")
MODULE = "ipsec.manual.ipsec_status"
# Variables of the role rotate that are read, without its prefix, and their defaults: of the first host, and of each.
_WIDE = ("keystore", "due")
_OWN = ("file", "backend", "timeout")
_DEFAULTS: dict[str, t.Any] = {"keystore": "", "due": {}, "file": "", "backend": "auto", "timeout": 120}
_NAMES = (CONNECTIONS, "ipsec_address", "rotate_connections", *(f"rotate_{name}" for name in _DEFAULTS))
_LONGEST_REASON = 500
_NO_KEYSTORE = "The generations are unknown, since no keystore is named. Set rotate_keystore to its directory."


class ActionModule(HostAction):
    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> Result:
        result: Result = super().run(tmp, task_vars)
        step = self.step(STEPS)
        self._vars = task_vars or {}
        self._record = RunRecord("status")
        try:
            with in_time(result):
                result.update(getattr(self, f"_{step}")())
        except IpsecError as exc:
            result.update(_screen.result(_screen.refused(exc.spelled(ROLE_WORDS).split("\n"))))
        return once(self._task, result)

    def _checked(self) -> Result:
        """Read the inputs, and draw the secret that the hosts' fingerprints are keyed with."""
        inputs = Inputs(self, self._vars)
        hosts = sorted(map(str, self._vars["ansible_play_hosts_all"]))
        raise_all(inputs.shadowed(hosts, _NAMES))
        connections = self._connections(inputs, hosts[0])
        problems: list[IpsecError] = [*role.unknown(inputs, hosts, {"rotate_": role.ROLES["rotate_"]})]
        wide = _read(inputs, hosts[:1], _WIDE, problems)[hosts[0]]
        own = _read(inputs, hosts, _OWN, problems)
        raise_all(problems)
        due.read(wide["due"])
        return {
            "wide": wide,
            "own": {host: {"path": row["file"], "backend": row["backend"]} for host, row in own.items()},
            "endpoints": sorted({host for connection in connections for host in connection.hosts}),
            "digest_key": new_digest_key(),
        }

    def _ask(self) -> Result:
        state = self._record.begun(str(self._task._uuid), self._checked, ROLE_WORDS)
        host = str(self._vars["inventory_hostname"])
        if state["refused"] or host not in state["endpoints"]:
            return {"skipped": True}
        options = {**state["own"][host], "digest_key": state["digest_key"]}
        self._record.put("ask", host, [MODULE])
        try:
            answer = self.ask(MODULE, options, self._vars, secret=True)
        except AnsibleConnectionFailure as exc:
            answer = {"unreachable": True, "msg": report(str(exc), _LONGEST_REASON)}
        self._record.note("ask", host, {MODULE: answer})
        return {"changed": False, "answered": not has_failed(answer), **self.discovered()}

    def _report(self) -> Result:
        try:
            state = self._record.state()
            refused = state["refused"]
            return _screen.result(_screen.refused(refused)) if refused else self._reported(state)
        finally:
            self._record.end()

    def _reported(self, state: Result) -> Result:
        wide, key = state["wide"], bytes.fromhex(state["digest_key"])
        connections = self._connections(Inputs(self, self._vars), min(state["own"]))
        known, problem = self._known(connections, wide["keystore"], key)
        status = table.summarize(connections, self._answers(state["endpoints"]), known, due.read(wide["due"]))
        lines = [*table.lines(status), *(_screen.on_screen(problem) if problem else [])]
        return {"changed": False, **_screen.shown(lines)}

    def _answers(self, hosts: t.Iterable[str]) -> dict[str, Result]:
        """The answers of the hosts that take part in this run."""
        asked = set(map(str, self._vars["ansible_play_hosts_all"]))
        return {
            host: self._record.answers("ask", host).results.get(MODULE, UNANSWERED) for host in hosts if host in asked
        }

    def _connections(self, inputs: Inputs, first: str) -> list[Connection]:
        raw = inputs.get(first, "rotate_connections")
        if raw is None:
            raw = inputs.get(first, CONNECTIONS)
        if raw is None:
            raise_all(role.misspelt_connections(inputs, [first]))
            raise InputError(
                "no connections are known here",
                CONNECTIONS,
                "This playbook reads them from the inventory, such as group_vars/all.yml, and not from other plays.",
            )
        return inputs.connections(raw, place=inputs.place_of_connections(first, "rotate_connections"))

    def _known(self, connections: t.Iterable[Connection], directory: str, key: bytes) -> tuple[dict[str, Known], str]:
        """What the keystore knows about the connections, and otherwise why it is unknown."""
        if not directory:
            return {}, _NO_KEYSTORE
        try:
            store = open_keystore(self._loader, directory)
            return keystore.facts(store, [connection.name for connection in connections], key), ""
        except IpsecError as exc:
            return {}, f"The generations are unknown. {exc.spelled(ROLE_WORDS)}"


def _read(
    inputs: Inputs, hosts: t.Iterable[str], names: t.Iterable[str], problems: list[IpsecError]
) -> dict[str, Values]:
    """These variables of hosts, checked as the role checks them; adds what is wrong to ``problems``."""
    specs = {**role.WIDE, **role.OWN}
    return read_variables(inputs, hosts, {name: specs[name] for name in names}, "rotate_", problems, _DEFAULTS)
