# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts that lie: their Python edits the answers of modules. Tested through Ansible: what a play sees,
what it does, and what is printed.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import typing as t

from ansible_collections.ipsec.manual.plugins.module_utils._core import errors
from ansible_collections.ipsec.manual.plugins.plugin_utils._answers import ANSWERS
from ansible_collections.ipsec.manual.tests.unit.plugins.plugin_utils.test__gate import ORDERS
from ansible_collections.ipsec.manual.tests.unit.plugins.returns import honest

COLLECTIONS = pathlib.Path(errors.__file__).parents[6]
# Gives the next of its lies, each a whole output or changes of the module's own answer.
LIAR = """\
#!{python}
import json, subprocess, sys
lie, *more = json.load(open({lies!r}))
json.dump(more, open({lies!r}, "w"))
if isinstance(lie, str):  # the module does not run, since it might change this machine
    sys.stdin.read()
    print(lie)
else:
    done = subprocess.run([sys.executable, *sys.argv[1:]], capture_output=True)
    print(json.dumps({{**json.loads(done.stdout), **lie}}))
"""
# Options with which each module can be called.
OPTIONS: dict[str, dict[str, t.Any]] = {
    "ipsec_sa": {"protocol": "esp", "spi": "0x1000", "destination": "192.0.2.1", "state": "absent"},
    "ipsec_probe": {"src": "/nowhere"},
}
# `spis` in a fabricated answer of ipsec_preflight, and what the gate makes of it.
MALFORMED = {
    '["zzz"]': "spis[0] cannot be 'zzz'",
    "{}": "spis is a dictionary, not a list",
    '[{"__ansible_type": "Event", "msg": "x"}]': "spis[0] is a dictionary, not a string",
    '["\\ud8f3"]': "spis[0] cannot be '\\\\ud8f3'",
    "[NaN]": "spis[0] is a number, not a string",
    "[" * 100_000 + "]" * 100_000: "it is nested too deeply",
    json.dumps(["0x00001000"] * 3_000_000): "spis has 3000000 items, more than 100000",
}


def play(
    folder: pathlib.Path, tasks: t.Sequence[dict[str, t.Any]], lies: t.Sequence[t.Any], **variables: t.Any
) -> tuple[list[t.Any], t.Any, str]:
    """The results that each task on a lying host registered, the facts of that host afterwards, and the whole output.

    Checks that no other host has facts, and that no host was added.
    """
    liar = folder / "python3"
    liar.write_text(LIAR.format(python=sys.executable, lies=f"{folder}/lies.json"))
    liar.chmod(0o700)
    (folder / "lies.json").write_text(json.dumps(lies))
    steps: list[dict[str, t.Any]] = [
        {"name": f"Step {number}", "ignore_errors": True, "register": f"result_{number}", **task}
        for number, task in enumerate(tasks)
    ]
    results = ", ".join(f"result_{number}" for number in range(len(tasks)))
    report = f"{{{{ [[{results}], ansible_facts, groups.all, hostvars.honest.ansible_facts] | to_json }}}}"
    python = {"ansible_python_interpreter": sys.executable}
    copy = {"dest": f"{folder}/report.json", "content": report, "mode": "0600"}
    steps.append({"name": "Write down", "delegate_to": "honest", "ansible.builtin.copy": copy, "vars": python})
    hosts = {"liar": {"ansible_python_interpreter": str(liar), **variables}, "honest": python}
    (folder / "hosts.json").write_text(json.dumps({"all": {"vars": {"ansible_connection": "local"}, "hosts": hosts}}))
    (folder / "play.json").write_text(json.dumps([{"hosts": "liar", "gather_facts": False, "tasks": steps}]))
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "-i", "hosts.json", "play.json"],
        cwd=folder,
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    registered, facts, every, others = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert (sorted(every), others) == (["honest", "liar"], {})
    return registered, facts, output


def calling(module: str, **options: t.Any) -> dict[str, t.Any]:
    return {f"ipsec.manual.{module}": {**OPTIONS.get(module, {}), **options}}


def test_instructions_of_a_host_to_ansible_are_not_followed(tmp_path: pathlib.Path) -> None:
    evil = {**ORDERS, "warnings": ["look\x1b[2J\u202e"]}
    results, facts, output = play(
        tmp_path,
        [calling(module) for module in ANSWERS],
        [json.dumps({**honest(module), **evil}) for module in ANSWERS],
    )
    for module, result in zip(ANSWERS, results):
        assert result == {**honest(module), "failed": False, "warnings": ["look\\x1b[2J\\u202e"]}, module
    assert facts == {}
    assert output.count("look\\x1b[2J\\u202e") == 1  # Ansible shows each warning once
    assert not {"\x1b", "\u202e"} & set(output)


def test_edits_of_an_honest_answer_are_left_out_or_named(tmp_path: pathlib.Path) -> None:
    command = calling("ipseckey_command", prefix=f"{tmp_path}/local")
    lies = [{}, ORDERS, {"files": "all of them"}, {"failed": True, "msg": "\x1b[2Jno"}, {"changed": "maybe"}, {}]
    first, again, *bad, last = play(tmp_path, [command] * len(lies), lies)[0]
    path = f"{tmp_path}/local/sbin/ipseckey"
    assert (first["changed"], first["path"], len(first["files"])) == (True, path, 3)
    assert again == last == {"changed": False, "failed": False, "path": path, "files": []}
    malformed = "ipsec.manual.ipseckey_command: its answer is malformed:"
    assert bad[0]["msg"].startswith(f"{malformed} files is a string, not a list. ")
    assert bad[1]["msg"] == "\\x1b[2Jno"
    assert bad[2]["msg"].startswith(f"{malformed} changed is a string, not a boolean. ")
    assert all(result["failed"] and not result["changed"] for result in bad)


def test_a_malformed_answer_is_the_failure_of_its_host(tmp_path: pathlib.Path) -> None:
    answer = json.dumps({**honest("ipsec_preflight"), "spis": "SPIS"})
    results, dummy, output = play(
        tmp_path, [calling("ipsec_preflight")] * len(MALFORMED), [answer.replace('"SPIS"', lie) for lie in MALFORMED]
    )
    for result, problem in zip(results, MALFORMED.values()):
        assert set(result) <= {"failed", "changed", "msg", "exception"}
        assert (result["failed"], result["changed"]) == (True, False)
        assert result["msg"].startswith(
            f"ipsec.manual.ipsec_preflight: its answer is malformed: {problem}. None of it is used."
        )
    assert "Traceback" not in output


def test_a_missing_answer_is_a_failure_with_the_known_facts(tmp_path: pathlib.Path) -> None:
    silent, missing = play(
        tmp_path,
        [
            calling("ipsec_preflight"),
            {**calling("ipsec_preflight"), "vars": {"ansible_python_interpreter": "/usr/bin/python9"}},
        ],
        ["\x1b[2Jno JSON {"],
    )[0]
    assert silent["msg"].startswith("ipsec.manual.ipsec_preflight: the module ended with status 0 and gave no answer. ")
    assert (
        "the module ended with status 127 and gave no answer. The module interpreter '/usr/bin/python9' was not found."
        " It said: " in missing["msg"]
    )
    assert not {"module_stdout", "module_stderr", "rc"} & {*silent, *missing}


def test_shell_output_around_the_answer_is_ignored(tmp_path: pathlib.Path) -> None:
    answer = json.dumps(honest("ipsec_preflight"))
    (result,), dummy, output = play(
        tmp_path, [calling("ipsec_preflight")], [f"Welcome!\x1b[2J\n{answer}\nGood bye!\x1b[2J"]
    )
    assert result == {**honest("ipsec_preflight"), "failed": False}
    assert "Good bye" not in output and "\x1b" not in output


def test_an_asynchronous_task_is_refused(tmp_path: pathlib.Path) -> None:
    (result,), dummy, dummy = play(tmp_path, [{**calling("ipsec_preflight"), "async": 10, "poll": 1}], [])
    assert "async" in result["msg"] and result["failed"]


def test_the_python_that_ansible_found_is_still_remembered(tmp_path: pathlib.Path) -> None:
    """Ansible keeps it as a fact of a successful task, and would look for it again before each
    task otherwise.
    """
    command = calling("ipseckey_command", prefix=f"{tmp_path}/local")
    dummy, facts, dummy = play(
        tmp_path,
        [command],
        [{}],
        ansible_python_interpreter="auto_silent",
        ansible_interpreter_python_fallback=[f"{tmp_path}/python3"],
    )
    assert facts == {"discovered_interpreter_python": f"{tmp_path}/python3"}
