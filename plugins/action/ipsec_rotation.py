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
import time
import typing as t

from ansible.errors import AnsibleConnectionFailure

from ansible_collections.ipsec.manual.plugins.action.ipsec_keystore import ActionModule as KeystoreAction
from ansible_collections.ipsec.manual.plugins.action.ipsec_keystore import run_of
from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import InputError, IpsecError
from ansible_collections.ipsec.manual.plugins.module_utils._core.text import language
from ansible_collections.ipsec.manual.plugins.plugin_utils import _screen
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.model import Unit
from ansible_collections.ipsec.manual.plugins.plugin_utils._failures import in_time, once
from ansible_collections.ipsec.manual.plugins.plugin_utils._gate import report
from ansible_collections.ipsec.manual.plugins.plugin_utils._inputs import Inputs
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore import sas
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.changes import RESUMED
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.directory import Keystore, open_keystore
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.records import IN_USE, RETIRING, time_of
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.steps import LEFT
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation import (
    completion,
    course,
    cutover,
    decisions,
    departures,
    due,
    ending,
    initial_state,
    leaving,
    notes,
    preflight,
    report_file,
    rotation,
    staging,
    steps,
    task_result,
)
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation.inputs import read_boot_inputs, report_path
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation.record import RunRecord
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation.report import (
    Row,
    document,
    hosts_that_change,
    rows_of,
)
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation.rotation import Rotation
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation.table import changes, forecast
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation.wording import ROLE_WORDS, without_host, worded
from ansible_collections.ipsec.manual.plugins.plugin_utils._secret_action import Call, HostAction

Result = t.Dict[str, t.Any]

# The steps that run once; the others are in `steps.STEPS`.
DECISIONS = ("prepare", "switch", "judge", "stop", "settle", "promote", "forecast", "left", "end")
_ASKED = {**steps.STEPS, rotation.LEAVE: leaving.leave}
# For a host that is in no connection of the run any more.
_ASKED_OF_OTHERS = {rotation.PREFLIGHT: leaving.preflight, rotation.LEAVE: leaving.leave}
_LONGEST_REASON = 500
_FAILED = "This step failed."


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
                    raise ending.Stop(_screen.refused(refused), "begin", refused)
                if refused or course.leaves_out(step, run.state):
                    result.update(skipped=True)
                elif step in DECISIONS:
                    result.update(getattr(self, f"_{step}")(run))
                else:
                    host = str(self._vars["inventory_hostname"])
                    with in_time(result):
                        result.update(self._ask(run, step, host))
        except IpsecError as exc:
            lines = exc.spelled(ROLE_WORDS).split("\n")
            stop = exc if isinstance(exc, ending.Stop) else ending.Stop(_screen.refused(lines), step, lines)
            self._note(step, stop)
            result.update(_screen.result(str(stop)))
        return once(self._task, result)

    def _read(self) -> Result:
        """What the run begins with."""
        inputs, groups = Inputs(self, self._vars), self._vars.get("groups", {})
        # Half of a surrogate pair could not be read from the keystore again.
        play = str(self._vars.get("ansible_play_name", "")).encode(errors="replace").decode()
        is_check = bool(self._task.check_mode)
        state = initial_state.read(inputs, groups, self._hosts(), play, self._loader, is_check)
        return {**state, "expected": self._keep(state, "prepared", dry=True)}

    def _hosts(self) -> list[str]:
        return sorted(map(str, self._vars.get("ansible_play_hosts", ())))

    def _note(self, step: str, stop: ending.Stop) -> None:
        """Keep the reasons for the report at the end of the run. If its inputs were refused, that is now."""
        with contextlib.suppress(IpsecError):  # this failure comes first
            if stop.phase == "begin":
                path = report_path(Inputs(self, self._vars), self._hosts())
                self._write_report(path, [], stop.phase, stop.problems)
            elif step in DECISIONS and step != "end":
                self._record.save({**self._record.state(), "stop": {"phase": stop.phase, "problems": [*stop.problems]}})

    def _rotation(self) -> Rotation:
        state = self._record.state()
        return Rotation(
            state,
            self._record.answers,
            self._text,
            lambda: initial_state.connections(state),
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
            lost = {"unreachable": True, "changed": False, "msg": report(str(exc), _LONGEST_REASON)}
            answers = [lost] * len(questions)
        named = {
            question.name: worded(answer, question.module, "rotate") for question, answer in zip(questions, answers)
        }
        self._record.note(step, host, named)
        return {**task_result.of(run, step, host, questions, named), **self.discovered()}

    def _text(self, names: t.Sequence[str], host: str, generation: str) -> str:
        """The ipseckeys text of a host's SAs in these connections: secret."""
        return language.render(sas.named(self._store(), names, generation, host))

    def _left_text(self, units: t.Mapping[str, frozenset[Unit]], host: str) -> str:
        """The text that removes a host's SAs of units that left. It has no key of theirs."""
        return language.render(sas.leaving(self._store(), units, host))

    def _valid_text(self, host: str) -> str:
        """The text that lists a host's SAs of all generations in use. It has no key of theirs."""
        return language.render(sas.valid(self._store(), host))

    def _store(self) -> Keystore:
        return open_keystore(self._loader, self._record.state()["wide"]["keystore"])

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
            "may_be_empty": departures.may_be_empty(wide),
            "play": state["play"],
            "is_guest": not departures.is_standing(wide),
            **more,
        }
        result = self._keystore().keep(
            arguments,
            initial_state.connections(state),
            run_of(self, self._vars, inputs),
            dry or bool(self._task.check_mode),
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
            first = RunRecord("boot").first(str(self._task._uuid), without_host(exc, host), host, batch)
            if first != host:
                raise InputError(f"refused for the same reason as {first}", host) from None
            raise
        try:
            answer = self.ask("ipsec.manual.ipsec_boot", options, self._vars)
        except AnsibleConnectionFailure as exc:
            text = report(str(exc), _LONGEST_REASON)
            return {**_screen.result(text, "This host cannot be reached."), "failed": False, "unreachable": True}
        answer = worded(answer, "ipsec_boot", "boot")
        failed = _screen.result(f"{_FAILED}\n{answer['msg']}") if answer.get("failed") else {}
        return {**answer, **failed, **self.discovered()}

    def _prepare(self, run: Rotation) -> Result:
        """Write the keys to the keystore, before any host gets one."""
        problems = preflight.problems(run, int(self._vars.get("ansible_forks", 0)))
        if problems:
            raise ending.stopped(problems, "preflight", run.expected)
        checks = run.results(rotation.PREFLIGHT, rotation.PREFLIGHT)
        spis = {spi for result in checks.values() for spi in result["spis"]}
        why = due.reasons(run) if run.wide["when"] == due.DUE else {}
        result = self._keep(run.state, "prepared", spis=sorted(spis), renew=why)
        rows = result["connections"]
        begun = [row["name"] for row in rows if row["outcome"] == RESUMED and row["phase"] in IN_USE]
        ahead = sorted(decisions.in_phase(result, RETIRING))
        run.state.update(expected=result, prepared=True, because=why, begun=begun, ahead=ahead)
        self._record.save(run.state)
        away = preflight.out_of_place(run)
        problems = decisions.reload_problems(checks, result)
        if problems:
            raise ending.stopped(problems, "prepare", result)
        changing = bool(away or result["pending"])
        going = bool(departures.hosts(run))
        is_check = bool(self._task.check_mode)
        run.state["due"] = changing and not is_check
        run.state["leaving"] = going and not is_check
        differing = hosts_that_change(run)
        run.state["changing"] = sorted({*differing, *departures.hosts(run)})
        undone = notes.undone(run, initial_state.inventory(run.state)) if run.state["undo"] else ()
        reasons = [*notes.due(run, why), *undone]
        run.state["reasons"] = reasons
        unwise = notes.unwise(run.connections())
        run.state["unwise"] = [*unwise]
        self._record.save(run.state)
        if run.state["leaving"] and not changing:
            self._begin_to_leave(run)
        change = ["transaction.yml", *(["nested.yml"] if run.nested - run.ahead else []), "finish.yml"]
        tasks = ["forecast.yml"] if is_check else change * changing + ["leave.yml"] * going
        return {
            **self._changed(run, result),
            "connections": result["connections"],
            "out_of_place": away,
            "tasks": tasks if changing or going else [],
            "changes": changes(rows_of(run, check_mode=True), differing, departures.hosts(run), is_check),
            "reasons": reasons,
            "warnings": [*preflight.warnings(run), *(notes.placed(unwise) if changing else ())],
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
            problems, untested = [ending.UNFORESEEN], []
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
            raise ending.stopped(problems, "persist", run.expected, run.results(rotation.CUT_OVER, "sadb"))
        result = self._keep(run.state, "promoted")
        run.state["promoted"] = True
        self._record.save(run.state)
        if run.state["leaving"]:
            self._begin_to_leave(run)
        return self._changed(run, result)

    def _begin_to_leave(self, run: Rotation) -> None:
        """Record what is to be removed before any host is asked, so that the next run goes on if this one is killed."""
        self._keep(run.state, LEFT, leaving=departures.units(departures.chosen(run)))

    def _left(self, run: Rotation) -> Result:
        """Record which hosts removed what left, and retire the keys that no host has any longer."""
        units = departures.units(departures.chosen(run))
        problems, found = leaving.problems(run), leaving.report(run)
        lines = leaving.lines(run)
        result = self._keep(run.state, LEFT, leaving=units, cleaned=leaving.done(run))
        run.state.update(left=found, left_lines=lines)
        self._record.save(run.state)
        if problems:
            raise ending.not_removed(problems)
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
        stopped = ending.rolled_back(run)
        if stopped is not None:
            run.state["stop"] = {"phase": stopped.phase, "problems": [*stopped.problems]}
        stop = run.state.get("stop") or ending.unforeseen(run.state)
        check_mode = bool(self._task.check_mode)
        prepared = run.state.get("prepared")
        rows = rows_of(run, check_mode) if prepared else []
        reasons = stop or {"phase": "", "problems": []}
        going = leaving.report(run) if check_mode and prepared else run.state.get("left", [])
        lines = ending.lines(run, rows, stop, check_mode)
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
        report_file.write(self._loader.path_dwim(path), found)


def _wait_for_arrivals(run: Rotation, step: str) -> None:
    """Wait for packets that hosts sent before this step."""
    last = max(run.answers(step, host).answered for host in run.hosts)
    if last + run.wide["grace"] > run.started:
        time.sleep(last + run.wide["grace"] - run.started)
