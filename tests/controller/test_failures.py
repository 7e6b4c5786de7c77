# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is on the screen when a single task of ours fails, through ansible-playbook."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import sys
import typing as t

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core.sa import keys

COLLECTIONS = pathlib.Path(keys.__file__).parents[7]
NOWHERE = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
SA = {"protocol": "esp", "spi": "0x1234", "source": "192.0.2.1", "destination": "192.0.2.2"}
KEY = "0123456789abcdef0123456789abcdef01234567"
SHORT = {"encryption_algorithm": "aes-cbc", "encryption_key": "00112233"}


def output_of(folder: pathlib.Path, task: dict[str, t.Any]) -> str:
    """What a play prints whose only task fails on one host."""
    (folder / "play.json").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [task]}]))
    variables = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    (folder / "inventory.json").write_text(json.dumps({"all": {"hosts": {"a": variables}}}))
    answer = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "-i", "inventory.json", "play.json"],
        cwd=folder,
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode in (2, 4), answer.stdout
    return answer.stdout + answer.stderr


@pytest.mark.parametrize(
    ("task", "content"),
    [
        ({"ipsec.manual.ipsec_sa": {**SA, **SHORT}}, "found 32 bits"),
        ({"ipsec.manual.ipsec_sadb": {"content": "add foo bar\n"}}, "unknown SA type 'foo'"),
        ({"ipsec.manual.ipsec_policy": {"action": "protect"}}, "got: protect"),
        ({"ipsec.manual.ipsec_sa_info": {"backend": "xfmr"}}, "got: xfmr"),
        ({"ipsec.manual.ipsec_keystore": {"state": "x", "directory": "x", "connections": []}}, "got: x"),
        ({"ipsec.manual.ipsec_keystore_info": {"directory": "missing", "more": 1}}, "has no option 'more'"),
        ({"ipsec.manual.ipsec_rotation": {"step": "dance"}}, "no step 'dance'"),
        ({"ipsec.manual.ipsec_sa_info": {}, "vars": NOWHERE}, "127.0.0.1 port 1|Failed to connect to|Broken pipe"),
        ({"ipsec.manual.ipsec_sa_info": {"backend": "{{ item }}"}, "loop": ["xfmr"]}, "got: xfmr"),
        ({"ipsec.manual.ipsec_sa_info": {"backend": "xfmr"}, "no_log": True}, "got: xfmr"),
    ],
)
def test_the_content_of_a_failure_is_on_the_screen_once(
    tmp_path: pathlib.Path, task: dict[str, t.Any], content: str
) -> None:
    output = output_of(tmp_path, task)
    assert len(re.findall(content, " ".join(output.split()))) == 1, output
    assert ("[ERROR]" in output) == bool(task.get("no_log"))


@pytest.mark.parametrize(
    ("options", "content"),
    [
        ({"state": KEY}, "state: what is given here looks like a key"),
        ({"store": [KEY]}, "store: what is given here looks like a key"),
        ({KEY: True}, "it has no option \\(a word of 40 characters"),
    ],
)
def test_a_key_in_the_wrong_option_of_the_keystore_is_not_shown(
    tmp_path: pathlib.Path, options: dict[str, t.Any], content: str
) -> None:
    output = output_of(tmp_path, {"ipsec.manual.ipsec_keystore": {"directory": "x", "connections": [], **options}})
    assert len(re.findall(content, " ".join(output.split()))) == 1, output
    assert KEY not in output and not (tmp_path / "x").exists()


@pytest.mark.parametrize("keyword", [{"failed_when": "result.failed"}, {"retries": 1, "delay": 0}])
def test_keywords_that_look_at_the_result_have_it(tmp_path: pathlib.Path, keyword: dict[str, t.Any]) -> None:
    task = {"ipsec.manual.ipsec_sa_info": {"backend": "xfmr"}, "register": "result", **keyword}
    assert "got: xfmr" in output_of(tmp_path, task).partition("FAILED! => ")[2]
