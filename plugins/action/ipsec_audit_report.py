# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin runs on the controller; its documentation is in plugins/modules/ipsec_audit_report.py.

"""The steps of the role `audit`: ask each host once, then make one report of all answers."""

from __future__ import annotations

import os
import time
import typing as t

from ansible import constants as C
from ansible import context
from ansible.errors import AnsibleConnectionFailure

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import IpsecError
from ansible_collections.ipsec.manual.plugins.plugin_utils import _screen
from ansible_collections.ipsec.manual.plugins.plugin_utils._audit import inputs as role
from ansible_collections.ipsec.manual.plugins.plugin_utils._audit import keystore, output, report, run
from ansible_collections.ipsec.manual.plugins.plugin_utils._audit.fleet import Host, Known, Way
from ansible_collections.ipsec.manual.plugins.plugin_utils._audit.remedies import CommandLine
from ansible_collections.ipsec.manual.plugins.plugin_utils._audit.ways import way_of
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.model import Connection
from ansible_collections.ipsec.manual.plugins.plugin_utils._failures import in_time, once
from ansible_collections.ipsec.manual.plugins.plugin_utils._gate import report as shortened
from ansible_collections.ipsec.manual.plugins.plugin_utils._inputs import CONNECTIONS, Inputs
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.directory import open_keystore
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.records import now
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation import decisions
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation.record import RunRecord, new_digest_key
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation.wording import ROLE_WORDS
from ansible_collections.ipsec.manual.plugins.plugin_utils._secret_action import HostAction

Result = t.Dict[str, t.Any]

STEPS = ("ask", "report")
_ASK, _WAY, _WAITED = "ask", "way", "waited"
_LONGEST_REASON = 300
_PLACES = frozenset(["ansible_host", "ansible_connection", "ansible_host_key_checking", "ansible_ssh_common_args"])


class ActionModule(HostAction):
    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> Result:
        result: Result = super().run(tmp, task_vars)
        step = self.step(STEPS)
        self._vars = task_vars or {}
        self._record = RunRecord("audit")
        self._inputs = Inputs(self, self._vars)
        try:
            with in_time(result):
                result.update(getattr(self, f"_{step}")())
        except IpsecError as exc:
            result.update(_screen.result(_screen.refused(exc.spelled(ROLE_WORDS).split("\n"))))
        return once(self._task, result)

    def _hosts(self) -> list[str]:
        """The hosts of the play, also those that failed before."""
        names = self._vars.get("ansible_play_hosts_all") or self._vars.get("ansible_play_hosts", ())
        return sorted(map(str, names))

    def _checked(self) -> Result:
        """Check the inputs before any host is asked."""
        hosts = self._hosts()
        wide = role.read_wide(self._inputs, hosts)
        role.read_own(self._inputs, hosts)
        self._connections(wide)
        self._directory(wide)
        return {"digest_key": new_digest_key(), "trusted_transports": wide["trusted_transports"]}

    def _ask(self) -> Result:
        """Ask the host of this task everything. What goes wrong is a finding, not a failure."""
        started = time.monotonic()
        state = self._record.begun(str(self._task._uuid), self._checked, ROLE_WORDS)
        if state["refused"]:
            return {"skipped": True}
        host = str(self._vars["inventory_hostname"])
        own = role.read_own(self._inputs, [host])[host]
        names = {*_PLACES, *(role.PREFIX + name for name in role.NAMES), CONNECTIONS, "ipsec_address"}
        address = str(self._play_context.remote_addr or host)
        way = way_of(self._connection, address, state["trusted_transports"], self._inputs.overridden(host, names))
        self._record.note(_WAY, host, {_WAY: way._asdict(), _WAITED: {"seconds": int(time.monotonic() - started)}})
        options = {"path": own["file"], "backend": own["backend"], "digest_key": state["digest_key"]}
        self._record.put(_ASK, host, [run.QUESTION])
        try:
            answer = self.ask("ipsec.manual.ipsec_audit", options, self._vars, secret=True)
        except AnsibleConnectionFailure as exc:
            answer = {"unreachable": True, "msg": shortened(str(exc), _LONGEST_REASON)}
        self._record.note(_ASK, host, {run.QUESTION: answer})
        return {"changed": False, "answered": not decisions.has_failed(answer), **self.discovered()}

    def _report(self) -> Result:
        """Make the report, and write it. Fails if the inputs were refused, or a finding is as bad as the user said."""
        try:
            refused = self._record.state()["refused"]
            return _screen.result(_screen.refused(refused)) if refused else self._reported()
        finally:
            self._record.end()

    def _reported(self) -> Result:
        wide = role.read_wide(self._inputs, self._hosts())
        connections = self._connections(wide)
        directory = self._directory(wide)
        made = now()
        previous, warnings = output.previous(directory, made) if directory else (None, [])
        hosts = [self._host(name) for name in self._hosts()]
        hidden = any(host.answer.get("keys_hidden") for host in hosts)
        known, unread = self._known(wide["keystore"], connections, hidden)
        inventory = map(str, self._vars.get("groups", {}).get("all", ()))
        fleet = run.fleet(hosts, connections, known, unread, previous, wide, inventory)._replace(line=self._line(wide))
        found = report.make(fleet, made, previous)
        written = directory != "" and not self._task.check_mode
        files = output.write(directory, found, wide["formats"]) if written else []
        verdict = run.verdict(found, wide["fail_on"], f"; the report is in {directory}" if written else "")
        return {
            **({"failed": True, "msg": verdict} if verdict else {}),
            **_screen.shown(output.summary(found, files).splitlines()),
            "changed": False,
            "warnings": warnings,
        }

    def _directory(self, wide: Result) -> str:
        """The directory of reports, relative to the playbook; empty for none."""
        if not wide["directory"]:
            return ""
        return output.directory_of(self._loader.path_dwim(os.path.expanduser(wide["directory"])))

    def _connections(self, wide: Result) -> list[Connection]:
        """The connections of the inventory. What is unwise in them becomes a finding."""
        if wide.get("connections") is None:
            return []
        variable = f"{role.PREFIX}connections"
        place = self._inputs.place_of_connections(self._hosts()[0], variable)
        return self._inputs.connections(wide["connections"], place=place)

    def _known(
        self, directory: str, connections: t.Sequence[Connection], with_outlines: bool
    ) -> tuple[dict[str, Known], str]:
        """What the keystore knows, or why it is unknown."""
        if not directory:
            return {}, "audit_keystore is empty"
        digest_key = bytes.fromhex(self._record.state()["digest_key"])
        try:
            store = open_keystore(self._loader, directory)
            if not store.names():
                return {}, f"there is no keystore in {store.directory}"
            names = [connection.name for connection in connections]
            return keystore.facts(store, names, digest_key, with_outlines), ""
        except IpsecError as exc:
            return {}, exc.spelled(ROLE_WORDS)

    def _line(self, wide: Result) -> CommandLine:
        """What commands for Ansible need to work as this run does."""
        directory = self._loader.path_dwim(os.path.expanduser(wide["keystore"])) if wide["keystore"] else ""
        if not os.path.isdir(directory):
            directory = ""
        return run.command_line(
            context.CLIARGS,
            {name: getattr(C, name, None) for name in run.CONFIGURED},
            directory,
            "rotate_keystore" in self._inputs.raw(self._hosts()[0]) and "rotate_keystore" not in self._inputs.given(),
        )

    def _host(self, name: str) -> Host:
        found = self._record.answers(_WAY, name).results
        way = found.get(_WAY, {})
        file = str(self._inputs.get(name, f"{role.PREFIX}file", ""))
        return run.host(
            name,
            file,
            self._record.answers(_ASK, name),
            Way(**{**way, "shadowed": tuple(way["shadowed"])}) if way else Way(),
            found.get(_WAITED, {}).get("seconds", 0),
        )
