# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the documentation of ipsec_keystore and ipsec_keystore_info claims: check mode, differences,
idempotence, and what it returns.
"""

from __future__ import annotations

import json
import pathlib
import re
import typing as t

import yaml

from ansible_collections.ipsec.manual.plugins.modules import ipsec_keystore, ipsec_keystore_info
from ansible_collections.ipsec.manual.tests.controller.test_ipsec_keystore import Controller, keystore

BY_ANSIBLE = {"changed", "diff", "failed", "invocation", "warnings", "deprecations"}
# Each state changes something after the one before it. For discarded, a generation is prepared first.
STATES: tuple[tuple[str, dict[str, t.Any]], ...] = (
    ("prepared", {}),
    ("switching", {}),
    ("retiring", {}),
    ("promoted", {}),
    ("prepared", {"new_keys": True}),
    ("discarded", {}),
)


def test_each_state_in_check_mode_for_real_and_both_again(tmp_path: pathlib.Path) -> None:
    controller = Controller(tmp_path)
    names = []
    tasks = [digest("files_at_first")]
    for number, (state, options) in enumerate(STATES):
        for turn, check in enumerate((True, False, True, False)):
            name = f"{number}_{turn}"
            names.append(name)
            tasks += [
                {**keystore(state, **options), "check_mode": check, "diff": True, "register": f"result_{name}"},
                digest(f"files_{name}"),
            ]
    for turn, check in enumerate((True, False)):
        look = {
            "ipsec.manual.ipsec_keystore_info": {"directory": "keystore"},
            "check_mode": check,
            "diff": True,
            "register": f"result_info_{turn}",
        }
        names.append(f"info_{turn}")
        tasks += [look, digest(f"files_info_{turn}")]
    everything = ", ".join(f"'{name}': [result_{name}, files_{name}]" for name in names)
    write = {
        "dest": "{{ playbook_dir }}/results.json",
        "content": f"{{{{ dict({{{everything}, 'at_first': [none, files_at_first]}}) | to_json }}}}",
        "mode": "0600",
    }
    controller.well(*tasks, {"ansible.builtin.copy": write}, vars={"ansible_connection": "local"})
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))

    documented = yaml.safe_load(ipsec_keystore.RETURN)
    previous = results["at_first"][1]
    for number, (state, dummy) in enumerate(STATES):
        (predicted, done, *repeated), (before, after, *later) = zip(*(results[f"{number}_{turn}"] for turn in range(4)))
        assert [result["changed"] for result in (predicted, done, *repeated)] == [True, True, False, False], state
        assert before == previous != after == later[0] == later[1], state
        assert without_random(predicted["diff"]) == without_random(done["diff"]) != [], state
        if state != "prepared":  # check mode and the real run draw different random numbers
            assert predicted["diff"] == done["diff"]
        assert all(result["diff"] == [] for result in repeated)
        returned = {
            name
            for name, row in documented.items()
            if row["returned"] not in ("failure", *([] if state == "prepared" else ["with O(state=prepared)"]))
        }
        assert [set(result) - BY_ANSIBLE for result in (predicted, done, *repeated)] == [returned] * 4, state
        previous = after
    for turn in range(2):
        seen, files = results[f"info_{turn}"]
        assert not seen["changed"] and "diff" not in seen and files == previous
        assert set(seen) - BY_ANSIBLE == {
            name for name, row in yaml.safe_load(ipsec_keystore_info.RETURN).items() if row["returned"] != "failure"
        }


def digest(name: str) -> dict[str, t.Any]:
    """Record the current content of the keystore's files."""
    return {
        "ansible.builtin.set_fact": {
            name: "{{ lookup('ansible.builtin.pipe', 'cat ' ~ playbook_dir ~ '/keystore/*.yml 2>&1 | sha256sum') }}"
        }
    }


def without_random(diff: list[dict[str, str]]) -> list[dict[str, str]]:
    """The text without SPIs, fingerprints and times."""
    return [
        {name: re.sub(r"\b(?:0x)?[0-9a-f]{8,16}\b|\d{4}-\d\d-\d\dT[\d:]+Z", "-", text) for name, text in row.items()}
        for row in diff
    ]
