# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin runs on the controller; its documentation is in plugins/modules/ipsec_rotation.py.

"""The steps of the role `rotate`.

Some steps run once, on the controller, and decide; the others each query one host. All read the inputs
of the run and the hosts' answers only from the run's record, because hosts can influence the variables
of a task by what they report.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
import typing as t

from ansible.errors import AnsibleConnectionFailure

from ansible_collections.ipsec.manual.plugins.action.ipsec_keystore import ActionModule as KeystoreAction
from ansible_collections.ipsec.manual.plugins.action.ipsec_keystore import run_of
from ansible_collections.ipsec.manual.plugins.module_utils._core.audit.service import file_problems
from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import (
    InputError,
    IpsecError,
    Problems,
    raise_all,
    raise_also,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.files import atomic
from ansible_collections.ipsec.manual.plugins.module_utils._core.spd.text import read_policies
from ansible_collections.ipsec.manual.plugins.module_utils._core.text import language
from ansible_collections.ipsec.manual.plugins.plugin_utils import _screen
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.model import Connection, Unit
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.reader import read_connections
from ansible_collections.ipsec.manual.plugins.plugin_utils._failures import in_time, once
from ansible_collections.ipsec.manual.plugins.plugin_utils._gate import joined, report
from ansible_collections.ipsec.manual.plugins.plugin_utils._inputs import Inputs
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore import sas, undo
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.changes import RESUMED
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.directory import open_keystore
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.records import IN_USE, PREPARED, RETIRING, time_of
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.steps import LEFT
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation import (
    clocks,
    completion,
    cutover,
    decisions,
    due,
    failure,
    leaving,
    notes,
    policies,
    policy_checks,
    preflight,
    rollback,
    rotation,
    staging,
    steps,
    taking,
)
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation.inputs import (
    ROLE_WORDS,
    in_variables,
    otherwise,
    read_boot_inputs,
    read_inputs,
)
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation.record import RunRecord, new_digest_key
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation.report import (
    Row,
    document,
    hosts_that_change,
    rows_of,
)
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation.rotation import Rotation
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation.run import choose
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation.table import brief, changes, forecast, table
from ansible_collections.ipsec.manual.plugins.plugin_utils._secret_action import Call, HostAction

Result = t.Dict[str, t.Any]

# The steps that run once; the others are in `steps.STEPS`.
DECISIONS = ("prepare", "switch", "judge", "stop", "settle", "promote", "forecast", "left", "end")
# Steps that are skipped if no host must change, and in check mode. Of those: the steps for hosts that
# may have switched, for an approved generation, and for one that was not approved. A generation that
# was not approved is rolled back, whatever the reason.
_TRANSACTION = (rotation.STAGE, "switch", "stop")
_SWITCHED = (rotation.CUT_OVER, rotation.SEND, rotation.ARRIVALS, "judge")
_APPROVED = (rotation.ACCEPT, rotation.UNNEST, "settle", rotation.PERSIST, "promote")
_REFUSED = (rotation.GO_BACK, rotation.FORGET)
# Steps that are skipped if nothing that left is to be removed, if the hosts did not get the generation
# that they should, and in check mode.
_LEAVING = (rotation.LEAVE, "left")
_ASKED = {**steps.STEPS, rotation.LEAVE: leaving.leave}
# For a host that is in no connection of the run any more.
_ASKED_OF_OTHERS = {rotation.PREFLIGHT: leaving.preflight, rotation.LEAVE: leaving.leave}
_LONGEST_REASON = 500
_FAILED = "This step failed."
# By whether the run only checks.
_CONTROLLER_ONLY = {
    False: "No host changed. The keystore did, which is on the controller.",
    True: "No host would change. The keystore would, which is on the controller.",
}
_UNFORESEEN = "a step ended with an error that is shown above"


class _Stop(IpsecError):
    """The rotation ends here, in a phase, for these reasons; the message is the report."""

    def __init__(self, text: str, phase: str, problems: t.Sequence[str]) -> None:
        super().__init__(text)
        self.phase = phase
        self.problems = problems


class ActionModule(HostAction):
    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> Result:
        result: Result = super().run(tmp, task_vars)
        step = self.step([*DECISIONS, *_ASKED, "service"])
        self._vars = task_vars or {}
        self._record = RunRecord("rotation")
        try:
            if step == "end":
                result.update(self._end())
            elif step == "service":
                result.update(self._service())
            else:
                if step == rotation.PREFLIGHT:
                    self._record.begun(str(self._task._uuid), self._read, ROLE_WORDS)
                run = self._rotation()
                refused = run.state.get("refused")
                if refused and step == "prepare":
                    raise _Stop(_screen.refused(refused), "begin", refused)
                if refused or _is_left_out(step, run.state):
                    result.update(skipped=True)
                elif step in DECISIONS:
                    result.update(getattr(self, f"_{step}")(run))
                else:
                    host = str(self._vars["inventory_hostname"])
                    with in_time(result):
                        result.update(self._ask(run, step, host))
        except IpsecError as exc:
            text = exc.spelled(ROLE_WORDS)
            stop = exc if isinstance(exc, _Stop) else _Stop(_screen.refused(text.split("\n")), step, text.split("\n"))
            self._note(step, stop)
            result.update(_screen.result(str(stop)))
        return once(self._task, result)

    def _note(self, step: str, stop: _Stop) -> None:
        """Keep the reasons for the report at the end of the run. If its inputs were refused, that is now."""
        with contextlib.suppress(IpsecError):  # this failure comes first
            if stop.phase == "begin":
                self._write_report(self._report_path(), [], stop.phase, stop.problems)
            elif step in DECISIONS and step != "end":
                self._record.save({**self._record.state(), "stop": {"phase": stop.phase, "problems": [*stop.problems]}})

    def _rotation(self) -> Rotation:
        state = self._record.state()
        return Rotation(
            state,
            self._record.answers,
            self._text,
            lambda: _connections(state),
            time.time(),
            self._left_text,
            self._valid_text,
        )

    def _ask(self, run: Rotation, step: str, host: str) -> Result:
        """Ask the host of this task the questions of a step, and record its answers."""
        known = _ASKED if host in run.expected["hosts"] else _ASKED_OF_OTHERS
        questions = list(known[step](run, host)) if step in known else []
        if not questions:
            return {"skipped": True}
        self._record.put(step, host, [question.name for question in questions])
        try:
            answers = self.ask_all([Call(*question[1:]) for question in questions], self._vars)
        except AnsibleConnectionFailure as exc:
            answers = [{"unreachable": True, "changed": False, "msg": report(str(exc), _LONGEST_REASON)}] * len(
                questions
            )
        named = {
            question.name: _worded(answer, question.module, "rotate") for question, answer in zip(questions, answers)
        }
        self._record.note(step, host, named)
        # Changes that are only predicted are not shown twice.
        said = {name: named[name] for name, question in zip(named, questions) if not question.check}
        predicted = [named[name] for name, question in zip(named, questions) if question.check]
        is_first = step == rotation.PREFLIGHT
        earlier = () if is_first else self._record.answers(rotation.PREFLIGHT, host).results.values()
        result = _merged(said) if said else {}
        if result and host not in run.state.get("changing", (host,)):
            # It has what it should. Ansible counts what tasks say, and cannot take it back.
            result["changed"] = any(row.get("changed") for name, row in said.items() if name not in staging.TEMPORARY)
        warnings = notes.warnings(result, predicted, earlier, run.state.get("unwise", ()))
        if warnings or result:
            result = {"changed": False, **result, "warnings": warnings}
        return {**result, **self.discovered()}

    def _text(self, names: t.Sequence[str], host: str, generation: str) -> str:
        """The ipseckeys text of a host's SAs in these connections: secret."""
        store = open_keystore(self._loader, self._record.state()["wide"]["keystore"])
        return language.render(sas.named(store, names, generation, host))

    def _left_text(self, units: t.Mapping[str, frozenset[Unit]], host: str) -> str:
        """The text that removes a host's SAs of units that left. It has no key of theirs."""
        store = open_keystore(self._loader, self._record.state()["wide"]["keystore"])
        return language.render(sas.leaving(store, units, host))

    def _valid_text(self, host: str) -> str:
        """The text that lists a host's SAs of all generations in use. It has no key of theirs."""
        store = open_keystore(self._loader, self._record.state()["wide"]["keystore"])
        return language.render(sas.valid(store, host))

    def _keep(
        self,
        state: t.Mapping[str, t.Any],
        do: str,
        dry: bool = False,
        spis: t.Iterable[str] = (),
        renew: t.Iterable[str] = (),
        **more: t.Any,
    ) -> Result:
        """One step of the keystore, for the connections of this run; ``renew`` are those that are due."""
        wide = state["wide"]
        inputs = Inputs(self, self._vars)
        arguments = {
            "state": do,
            "directory": wide["keystore"],
            "only": wide["only"],
            "store": wide["store"],
            "new_keys": wide["new_keys"],
            "renew": list(renew),
            "undo": wide["undo"],
            "new_root": wide["new_root"],
            "check_run": True,
            "trusted_transports": wide["trusted_transports"],
            "taken_spis": list(spis),
            "force": False,
            "vault_id": wide["vault_id"],
            "digest_key": state["digest_key"],
            "place": state["place"],
            "may_be_empty": bool(wide["leave"]) or wide["state"] == leaving.ABSENT,
            **more,
        }
        result = self._keystore().keep(
            arguments, _connections(state), run_of(self, self._vars, inputs), dry or bool(self._task.check_mode)
        )
        # What was retired is for audits. Every task reads the record of the run, which has a row for each pair.
        for row in result["connections"]:
            row.pop("retired")
        return result

    def _keystore(self) -> KeystoreAction:
        return KeystoreAction(
            self._task, self._connection, self._play_context, self._loader, self._templar, self._shared_loader_obj
        )

    def _service(self) -> Result:
        """The only step of the role `boot`."""
        inputs, host = Inputs(self, self._vars), str(self._vars["inventory_hostname"])
        try:
            options = read_boot_inputs(inputs, host)
        except IpsecError as exc:
            # Most settings are wrong for all hosts alike. Some hosts may not run this task, so one that does explains.
            batch = [*map(str, self._vars["ansible_play_batch"])]
            first = RunRecord("boot").first(str(self._task._uuid), _without_host(exc, host), host, batch)
            if first != host:
                raise InputError(f"refused for the same reason as {first}", host) from None
            raise
        try:
            answer = self.ask("ipsec.manual.ipsec_boot", options, self._vars)
        except AnsibleConnectionFailure as exc:
            text = report(str(exc), _LONGEST_REASON)
            return {**_screen.result(text, "This host cannot be reached."), "failed": False, "unreachable": True}
        answer = _worded(answer, "ipsec_boot", "boot")
        failed = _screen.result(f"{_FAILED}\n{answer['msg']}") if answer.get("failed") else {}
        return {**answer, **failed, **self.discovered()}

    def _read(self) -> Result:
        """Read the inputs of the run, and check everything that can be checked without asking a host."""
        inputs = Inputs(self, self._vars)
        hosts = sorted(map(str, self._vars.get("ansible_play_hosts", ())))
        try:
            wide, own = read_inputs(inputs, hosts)
        except IpsecError as exc:
            raise_also(exc, _wrong_connections(inputs, hosts[0]))
            raise
        variables: dict[str, dict[str, t.Any]] = {}
        groups: dict[str, t.Any] = {}

        def variable_of(host: str, name: str) -> t.Any:
            known = variables.setdefault(name, {})
            return known.setdefault(host, inputs.get(host, name) if host in inputs else None)

        def hosts_of(group: str) -> t.Any:
            found = self._vars.get("groups", {}).get(group)
            return groups.setdefault(group, found if found is None else list(map(str, found)))

        place = inputs.place_of_connections(hosts[0], "rotate_connections")
        connections = read_connections(
            wide["connections"],
            wide["allow_static_counter_mode"],
            groups=hosts_of,
            variables=variable_of,
            place=place,
        )
        raise_all([*inputs.shadowed(hosts, variables), *_boot_problems(own)])
        state: Result = {
            "wide": wide,
            "own": own,
            "variables": variables,
            "groups": groups,
            "place": place,
            "digest_key": new_digest_key(),
            "began": time.time(),
            "check_mode": bool(self._task.check_mode),
            "due": False,
            "switching": False,
            "approved": False,
            "refusal": "",
            "leaving": False,
            "undo": self._undo(wide, connections, hosts, place) if wide["undo"] else {},
        }
        if wide["report"] and not os.access(os.path.dirname(self._loader.path_dwim(wide["report"])), os.W_OK | os.X_OK):
            raise InputError(
                "its folder does not exist, or cannot be written", "rotate_report", "Name a file of the controller."
            )
        if wide["only"] and (wide["leave"] or wide["state"] == leaving.ABSENT):
            raise InputError(
                "a run that is limited to some connections removes nothing",
                "rotate_only",
                "Run without it, or without rotate_leave and rotate_state.",
            )
        state["expected"] = self._keep(state, "prepared", dry=True)
        return state

    def _undo(self, wide: Result, connections: t.Sequence[Connection], hosts: t.Sequence[str], place: str) -> Result:
        """The earlier settings of the connections of this run, by name."""
        store = open_keystore(self._loader, wide["keystore"])
        problems: list[IpsecError] = []
        found = {}
        for connection in choose(connections, frozenset(hosts), wide["only"], place=place):
            whole = store.read(connection.name)
            try:
                if connection not in connections:
                    raise InputError(
                        f"rotate_undo takes back the settings of connection {connection.name} as a whole",
                        "rotate_only",
                        "Name the connection, not hosts or pairs of it.",
                    )
                found[connection.name] = undo.settings_before(
                    connection, whole.present() if whole is not None else [], store.path(connection.name)
                )
            except InputError as exc:
                problems.append(exc)
        raise_all(problems)
        return found

    def _prepare(self, run: Rotation) -> Result:
        """Write the keys to the keystore, before any host gets one."""
        problems = preflight.problems(run, int(self._vars.get("ansible_forks", 0)))
        if problems:
            raise _stop(problems, "preflight", run.expected)
        checks = run.results(rotation.PREFLIGHT, rotation.PREFLIGHT)
        spis = {spi for result in checks.values() for spi in result["spis"]}
        why = due.reasons(run) if run.wide["when"] == due.DUE else {}
        result = self._keep(run.state, "prepared", spis=sorted(spis), renew=why)
        rows = result["connections"]
        begun = [row["name"] for row in rows if row["outcome"] == RESUMED and row["phase"] in IN_USE]
        ahead = sorted(decisions.in_phase(result, RETIRING))
        run.state.update(expected=result, prepared=True, because=why, begun=begun, ahead=ahead)
        self._record.save(run.state)
        away = [
            *decisions.in_place(checks, result),
            *(f"{host}: {place}" for host, place in policy_checks.out_of_place(run)),
            *(f"{host}: {place}" for host, dummy, place in taking.out_of_place(run)),
        ]
        problems = decisions.reload_problems(checks, result)
        if problems:
            raise _stop(problems, "prepare", result)
        changing = bool(away or result["pending"])
        going = bool(leaving.hosts(run))
        is_check = bool(self._task.check_mode)
        run.state["due"] = changing and not is_check
        run.state["leaving"] = going and not is_check
        differing = hosts_that_change(run)
        run.state["changing"] = sorted({*differing, *leaving.hosts(run)})
        undone = notes.undone(run, _inventory(run.state)) if run.state["undo"] else ()
        reasons = [*notes.due(run, why), *undone]
        run.state["reasons"] = reasons
        unwise = notes.unwise(run.connections())
        run.state["unwise"] = [*unwise]
        self._record.save(run.state)
        change = ["transaction.yml", *(["nested.yml"] if run.nested - run.ahead else []), "finish.yml"]
        tasks = ["forecast.yml"] if is_check else change * changing + ["leave.yml"] * going
        return {
            **self._changed(run, result),
            "connections": result["connections"],
            "out_of_place": away,
            "tasks": tasks if changing or going else [],
            "changes": changes(rows_of(run, check_mode=True), differing, leaving.hosts(run), is_check),
            "reasons": reasons,
            "warnings": [
                *leaving.kept(run),
                *leaving.unknown(run),
                *(_gap_warnings(run) if run.state["due"] else ()),
                *(policy_checks.pauses(run) if run.state["due"] else ()),
                *policy_checks.boot_warnings(run),
                *notes.requests(run),
                *(notes.placed(unwise) if changing else ()),
            ],
            **({"diff": result["diff"]} if "diff" in result else {}),
        }

    def _switch(self, run: Rotation) -> Result:
        """Allow hosts to use the generation."""
        problems = staging.problems(run)
        if problems:
            return {"skipped": True, "changed": False, "problems": problems}
        try:
            result = self._keep(run.state, "switching")
        except IpsecError as exc:
            run.state["refusal"] = exc.spelled(ROLE_WORDS)
            self._record.save(run.state)
            return {"skipped": True, "changed": False, "problems": [run.state["refusal"]]}
        run.state["expected"] = {**run.expected, **{name: result[name] for name in ("connections", "hosts")}}
        run.state["switching"] = True
        if run.delay:
            run.state["instants"] = cutover.instants(run)
        self._record.save(run.state)
        return self._changed(run, result)

    def _judge(self, run: Rotation) -> Result:
        """Approve the generation if every host holds the expected SAs and packets arrive, and allow hosts to
        remove the previous SAs, once packets sent through them have arrived. All hosts are approved or
        rolled back together, even after an error in this code.
        """
        try:
            problems, untested = cutover.verdict(run)
        except Exception as exc:  # pylint: disable=broad-except
            self._display.error(exc)
            problems, untested = [_UNFORESEEN], []
        if problems:
            return {"skipped": True, "changed": False, "approved": False, "problems": problems}
        run.state["approved"] = True
        self._record.save(run.state)
        result = self._keep(run.state, "retiring")
        run.state["expected"] = {**run.expected, "connections": result["connections"]}
        self._record.save(run.state)
        _wait_for_arrivals(run, rotation.CUT_OVER)
        return {**self._changed(run, result), "approved": True, "warnings": untested}

    def _settle(self, run: Rotation) -> Result:
        """Wait for packets that were sent through the SAs of both modes."""
        _wait_for_arrivals(run, rotation.UNNEST)
        return {"changed": False}

    def _stop(self, run: Rotation) -> Result:
        """End the rescue of a failed step. What was not approved is rolled back later, so nothing is done."""
        return {"changed": False}

    def _promote(self, run: Rotation) -> Result:
        """Make the generation the current one once every host has it in its file."""
        problems = completion.problems(run)
        if problems:
            raise _stop(problems, "persist", run.expected, run.results(rotation.CUT_OVER, "sadb"))
        result = self._keep(run.state, "promoted")
        run.state["promoted"] = True
        self._record.save(run.state)
        return self._changed(run, result)

    def _left(self, run: Rotation) -> Result:
        """Record which hosts removed what left, and retire the keys that no host has any longer."""
        units = leaving.units(leaving.chosen(run))
        problems, found = leaving.problems(run), leaving.report(run)
        lines = leaving.lines(run)
        result = self._keep(run.state, LEFT, leaving=units, cleaned=leaving.done(run))
        run.state.update(left=found, left_lines=lines)
        self._record.save(run.state)
        if problems:
            said = [
                "What has left the connections could not be removed everywhere.",
                *(f"  {problem}" for problem in problems),
            ]
            said.append("Fix this and run again. Hosts that are done are not asked again.")
            raise _Stop("\n".join(said), rotation.LEAVE, problems)
        return self._changed(run, result)

    def _changed(self, run: Rotation, result: Result) -> Result:
        """What changed. The keystore is on the controller, so a change of it counts on the host of this task only if
        that changes, too; in check mode, each host counts in the forecast.
        """
        counts = not self._task.check_mode and self._vars.get("inventory_hostname") in run.state["changing"]
        if result["changed"] and not run.state.get("keystore"):
            run.state["keystore"] = True
            self._record.save(run.state)
        return {"changed": result["changed"] and counts, "keystore": {"changed": result["changed"]}}

    def _forecast(self, run: Rotation) -> Result:
        """In check mode: what a run would change on the host of this task."""
        host = str(self._vars["inventory_hostname"])
        leftovers = run.answers(rotation.PREFLIGHT, host).get(rotation.PREFLIGHT).get("leftovers", ())
        lines = [
            *forecast(rows_of(run, check_mode=True), host, leftovers),
            *(part for line in leaving.forecast(run, host) for part in _screen.on_screen(line)),
        ]
        return {"changed": True, **_screen.shown(lines)} if lines else {"changed": False}

    def _end(self) -> Result:
        """Report what the run did, and release the keystore for other runs: the next one, perhaps in another
        container, cannot tell that this one has ended.
        """
        try:
            run = self._rotation()
        except IpsecError:
            # The run ended before it had read its inputs, so it never held the keystore.
            return {"changed": False}
        if run.state.get("refused"):
            self._record.end()
            return {"changed": False}
        try:
            return self._close(run)
        finally:
            self._record.end()
            self._keystore().release(run.wide["keystore"])

    def _close(self, run: Rotation) -> Result:
        """Report what the run did. This step fails if no step before has said that the rotation stopped."""
        stopped = _rolled_back(run)
        if stopped is not None:
            run.state["stop"] = {"phase": stopped.phase, "problems": [*stopped.problems]}
        stop = run.state.get("stop") or _unforeseen(run.state)
        rows = rows_of(run, bool(self._task.check_mode)) if run.state.get("prepared") else []
        reasons = stop or {"phase": "", "problems": []}
        foreseen = self._task.check_mode and run.state.get("prepared")
        going = leaving.report(run) if foreseen else run.state.get("left", [])
        lines = []
        if rows and (not stop or run.state["switching"]):
            lines = [
                *brief(run.state.get("reasons", ())),
                *table(rows, not stop, policies.changed(run), len(notes.requests(run))),
            ]
        said = leaving.foreseen(run) if foreseen else run.state.get("left_lines", ())
        lines += [part for line in said for part in _screen.on_screen(line)]
        if run.state.get("keystore") and not run.state["changing"]:
            lines += _screen.on_screen(_CONTROLLER_ONLY[bool(self._task.check_mode)])
        try:
            self._write_report(run.wide["report"], rows, began=run.state["began"], left=going, **reasons)
        except IpsecError as exc:
            if stopped is None:
                raise
            lines += _screen.on_screen(exc.spelled(ROLE_WORDS))
        if stopped is None:
            return {"changed": False, **_screen.shown(lines)}
        failed = _screen.result(str(stopped))
        return {"changed": False, **failed, "report": [*failed["report"], *lines]}

    def _report_path(self) -> str:
        """The value of rotate_report, empty if the inputs of the run do not tell."""
        inputs = Inputs(self, self._vars)
        for host in sorted(map(str, self._vars.get("ansible_play_hosts", ()))):
            with contextlib.suppress(IpsecError):
                found = inputs.get(host, "rotate_report", "")
                return found if isinstance(found, str) else ""
        return ""

    def _write_report(
        self,
        path: str,
        rows: t.Sequence[Row],
        phase: str,
        problems: t.Sequence[str],
        began: float = 0,
        left: t.Sequence[Result] = (),
    ) -> None:
        """Write the run as JSON to a file of the controller, if one is named."""
        if not path:
            return
        now = time.time()
        checking = bool(self._task.check_mode)
        found = document(rows, time_of(began or now), time_of(now), checking, phase, problems, left)
        full = self._loader.path_dwim(path)
        try:
            umask = os.umask(0)
            os.umask(umask)
            atomic.replace(full, json.dumps(found, indent=2).encode() + b"\n", 0o666 & ~umask)
        except OSError as exc:
            raise InputError(
                f"the report of the run cannot be written ({exc.strerror})", full, "Name another file in rotate_report."
            ) from None


def _wait_for_arrivals(run: Rotation, step: str) -> None:
    """Wait for packets that hosts sent before this step."""
    last = max(run.answers(step, host).answered for host in run.hosts)
    if last + run.wide["grace"] > run.started:
        time.sleep(last + run.wide["grace"] - run.started)


def _stop(problems: t.Sequence[str], phase: str, *details: t.Any, **more: t.Any) -> _Stop:
    return _Stop(failure.stopped(problems, phase, *details, **more), phase, problems)


def _rolled_back(run: Rotation) -> _Stop | None:
    """The report on hosts that did not keep the new SAs; None if that did not happen, or was reported."""
    if not run.state["due"] or run.state["approved"] or "stop" in run.state:
        return None
    if not run.state["switching"]:
        problems = [run.state["refusal"]] if run.state["refusal"] else staging.problems(run)
        return _stop(problems, "stage", run.expected, undoing=run.failures(rotation.GO_BACK))
    cut, back = run.results(rotation.CUT_OVER, "sadb"), run.results(rotation.GO_BACK, "back")
    phase, problems = _reasons(run)
    ways, stayed, unsure = rollback.ways_back(run), rollback.stayed(run), rollback.unsure(run)
    undoing = run.failures(rotation.GO_BACK, rotation.FORGET)
    return _stop(problems, phase, run.expected, cut, back, ways, stayed, unsure, undoing)


def _unforeseen(state: t.Mapping[str, t.Any]) -> Result:
    """Why the run is not complete although no step says so; empty if it is."""
    phase = ""
    if not state.get("prepared"):
        phase = "preflight"
    elif state["due"] and not state.get("promoted"):
        phase = "rotation"
    elif state["leaving"] and "left" not in state:
        phase = rotation.LEAVE
    return {"phase": phase, "problems": [_UNFORESEEN]} if phase else {}


def _is_left_out(step: str, state: t.Mapping[str, t.Any]) -> bool:
    wanted = {
        **dict.fromkeys((*_TRANSACTION, *_SWITCHED, *_APPROVED, *_REFUSED), state["due"]),
        **dict.fromkeys(_SWITCHED, state["due"] and state["switching"]),
        **dict.fromkeys(_APPROVED, state["due"] and state["approved"]),
        **dict.fromkeys(_REFUSED, state["due"] and not state["approved"]),
        **dict.fromkeys(_LEAVING, state.get("leaving", False) and (not state["due"] or state.get("promoted", False))),
        "forecast": state.get("check_mode", False),
    }
    return not wanted.get(step, True)


def _reasons(run: Rotation) -> tuple[str, list[str]]:
    """The phase in which the generation was not approved, and the reasons."""
    try:
        cut = cutover.problems(run)
        return ("cut over", cut) if cut else ("verify", cutover.verdict(run)[0] or [_UNFORESEEN])
    except Exception:  # pylint: disable=broad-except  # our own error prevented approval; report it
        return "verify", [_UNFORESEEN]


def _without_host(error: IpsecError, host: str) -> str:
    return re.sub(rf"\b(of|which) {re.escape(host)}(?=:|\[| has,)", r"\1", str(error))


def _worded(answer: Result, module: str, role: str) -> Result:
    """An answer of a module, which speaks of its options, in the words of the role."""

    def reworded(text: str) -> str:
        return otherwise(in_variables(text, role) if module == "ipsec_boot" else text)

    told: Result = {"msg": reworded(str(answer["msg"]))} if "msg" in answer else {}
    if "warnings" in answer:
        told["warnings"] = [reworded(text) for text in answer["warnings"]]
    return {**answer, **told}


def _wrong_connections(inputs: Inputs, host: str) -> list[IpsecError]:
    """What is wrong with the connections beside the settings, without what a wrong setting may have caused."""
    try:
        raw = inputs.get(host, "rotate_connections", [])
    except IpsecError:  # it is among the settings
        return []
    try:
        inputs.connections(raw, place=inputs.place_of_connections(host, "rotate_connections"))
    except Problems as exc:
        return [*exc.problems]
    except IpsecError as exc:
        return [exc]
    return []


def _boot_problems(own: t.Mapping[str, t.Mapping[str, t.Any]]) -> list[IpsecError]:
    """What cannot be loaded at boot although it should; each problem for the first host that has it."""
    files, policies = {}, {}
    for host, row in sorted(own.items(), reverse=True):
        if row["boot"]:
            files[row["file"]] = host
            policies[json.dumps(row["boot_policies"])] = host
    found: list[IpsecError] = []
    for file, host in files.items():
        found += file_problems(file, f"rotate_file of {host}")
    for text, host in policies.items():
        try:
            read_policies(json.loads(text), f"rotate_boot_policies of {host}", [])
        except IpsecError as exc:
            found.append(exc)
    return found


def _connections(state: t.Mapping[str, t.Any]) -> list[Connection]:
    """The connections of the inventory, those that are undone with their earlier settings."""
    return [
        undo.restored(connection, state["undo"][connection.name]) if connection.name in state["undo"] else connection
        for connection in _inventory(state)
    ]


def _inventory(state: t.Mapping[str, t.Any]) -> list[Connection]:
    wide = state["wide"]
    if wide["state"] == leaving.ABSENT:
        return []
    return read_connections(
        wide["connections"],
        wide["allow_static_counter_mode"],
        groups=state["groups"].get,
        variables=lambda host, name: state["variables"].get(name, {}).get(host),
    )


def _gap_warnings(run: Rotation) -> list[str]:
    """Warnings about connections that would overlap, but cannot."""
    if run.wide["strategy"] == decisions.FLUSH:
        return []
    due = decisions.in_phase(run.expected, *IN_USE, PREPARED)
    gap = clocks.expected_gap(run.readings(), run.wide["clock_tolerance"] if run.delay else None)
    return [
        f"connection {name} changes with a gap of {gap}, in which packets are lost: {reason}. rotate_cutover_delay"
        " shortens it."
        for reason in dict.fromkeys(run.gaps.values())
        for name in decisions.summed_up(run.expected, {name for name in due if run.gaps.get(name) == reason})
    ]


def _merged(answers: t.Mapping[str, Result]) -> Result:
    """The result of a task from the answers to its questions. A failure is left out, since a later step decides what
    it means, and reports it with the reason.
    """
    plain = {
        name: {key: value for key, value in answer.items() if key not in ("warnings", "diff")}
        for name, answer in answers.items()
    }
    merged = {**joined([*answers.values()]), "answers": plain}
    if any(map(decisions.has_failed, answers.values())):
        return {name: value for name, value in merged.items() if name not in ("failed", "msg")}
    return merged
