# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The harness checks that no output holds a key, as for the modules on their own."""

from __future__ import annotations

import json
import typing as t

import pytest

from ansible.module_utils import basic

from ansible_collections.ipsec.manual.plugins.module_utils._core.text.language import render
from ansible_collections.ipsec.manual.plugins.module_utils._module.base import Module
from ansible_collections.ipsec.manual.tests.unit.plugins.modules.harness import World, sa

OUT, BACK = sa(0x1001), sa(0x1002, "192.0.2.2", "192.0.2.1")
PATH = "/run/keys"
FILE = {"module": "ipseckeys_file", "options": {"path": PATH, "content": render([OUT, BACK])}}
SADB = {"module": "ipsec_sadb", "options": {"src": PATH, "state": "exact"}}
SELECTOR = {"source": "192.0.2.1/32", "destination": "192.0.2.2/32"}
POLICY = {"direction": "out", "selector": SELECTOR, "templates": [{"protocol": "esp", "level": "use"}]}


def test_each_call_sees_what_the_one_before_did() -> None:
    world = World()
    file, sadb = world.batch(FILE, SADB)
    assert file["sas"] == 2 and file["changed"] and sadb["counts"]["added"] == 2
    assert [answer["changed"] for answer in world.batch(FILE, SADB)] == [False, False]


def test_a_call_that_fails_is_the_last() -> None:
    world = World()
    answers = world.batch(FILE, {"module": "ipsec_sadb", "options": {"src": "/missing"}}, SADB)
    assert [bool(answer.get("failed")) for answer in answers] == [False, True]
    assert "the file does not exist" in answers[1]["msg"] and not world.sadb.entries


@pytest.mark.parametrize(
    "options",
    [
        {"path": PATH, "content": "", "no": 1},
        {"path": PATH, "content": OUT.encryption_key.hex(), "src": "/a"},
        {"path": PATH},
        {"path": ["5ec4e7"]},
        {"content": OUT.encryption_key.hex() * 3},
    ],
)
def test_options_are_checked_as_by_the_module_itself(options: dict[str, t.Any]) -> None:
    alone = World().run("ipseckeys_file", **options)
    (answer,) = World().batch({"module": "ipseckeys_file", "options": options})
    # Here, Ansible has not told the module its name.
    assert answer["failed"] and answer["msg"] == alone["msg"].replace("(basic.py)", "(ipsec.manual.ipseckeys_file)")


@pytest.mark.parametrize("error", [RuntimeError(OUT.encryption_key.hex()), OSError(28, "No space left", "/5ec4e7")])
def test_an_error_that_nobody_foresaw_loses_no_answer_and_shows_no_text(error: Exception) -> None:
    world = World()

    def dump() -> t.NoReturn:
        raise error

    world.sadb.dump = dump  # type: ignore[method-assign]
    file, sadb = world.batch(FILE, SADB, FILE)
    assert file["changed"] and sadb["failed"]
    assert (
        sadb["msg"].startswith(f"it ended with {type(error).__name__}") and "test_ipsec_batch.py, line" in sadb["msg"]
    )
    assert ("(No space left)" in sadb["msg"]) == isinstance(error, OSError)


def test_secrets_of_options_that_are_refused_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the text says that refuses them."""
    key = OUT.encryption_key.hex()
    monkeypatch.setattr(Module, "failure", lambda self, msg: f"{msg} {self.params}")
    (answer,) = World().batch({"module": "ipseckeys_file", "options": {"path": PATH, "content": key, "no": 1}})
    assert answer["failed"] and key not in answer["msg"]


def test_a_call_may_only_predict() -> None:
    world = World()
    wanted = {"module": "ipsec_policy", "options": {"policies": [POLICY]}}
    predicted, made = world.batch({**wanted, "check": True}, wanted)
    assert predicted["changed"] and made["changed"] and len(world.spd.policies) == 1
    assert "diff" not in predicted and "diff" in made
    assert not world.batch({**wanted, "check": True})[0]["changed"]
    assert world.batch({**SADB, "options": {"state": "flushed", "scope": "all"}}, check=True)[0]["changed"] is False


def test_each_answer_has_its_own_warnings() -> None:
    wanted = {"module": "ipsec_policy", "options": {"policies": [POLICY]}}
    policy, file = World().batch(wanted, FILE)
    assert any("in the clear" in text for text in policy["warnings"]) and "warnings" not in file


@pytest.mark.parametrize("calls", ["{", "[1]", '[{"module": "ipsec_sadb"}]', '{"module": "ipsec_sadb", "options": {}}'])
def test_what_is_no_list_of_calls_is_refused_without_its_text(calls: str) -> None:
    result = World()._run("ipsec_batch", False, {"calls": calls})
    assert (
        result["failed"]
        and result["msg"] == "calls: this is not a list of calls in JSON. Use the role; it writes them."
    )


def test_modules_of_others_are_refused() -> None:
    result = World()._run("ipsec_batch", False, {"calls": json.dumps([{"module": "command", "options": {}}])})
    assert result["failed"] and "no call can name command" in result["msg"]


def test_the_log_of_the_host_names_each_module_and_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(basic.AnsibleModule, "log", lambda self, msg, **more: lines.append(f"{self._name}: {msg}"))
    World().batch(FILE, SADB)
    assert [line.partition(":")[0] for line in lines] == [
        "basic.py",
        "ipsec.manual.ipseckeys_file",
        "ipsec.manual.ipsec_sadb",
    ]
    assert "5ec4e7" not in "".join(lines) and "content=NOT_LOGGING_PARAMETER" in lines[1]
