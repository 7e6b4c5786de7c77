# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The actions of modules that accept keys refuse to send misplaced keys, pass ordinary options, and
show no key in loops.
"""

from __future__ import annotations

import base64
import json
import os
import pathlib
import re
import subprocess
import sys
import typing as t

import pytest

from ansible.errors import AnsibleValueOmittedError

from ansible_collections.ipsec.manual.plugins.module_utils._core.sa import keys
from ansible_collections.ipsec.manual.plugins.module_utils._core.specs import (
    IPSEC_AUDIT,
    IPSEC_BOOT,
    IPSEC_POLICY,
    IPSEC_POLICY_INFO,
    IPSEC_PREFLIGHT,
    IPSEC_PROBE,
    IPSEC_SA,
    IPSEC_SA_INFO,
    IPSEC_SADB,
    IPSEC_STATUS,
    IPSECKEYS_FILE,
)
from ansible_collections.ipsec.manual.plugins.plugin_utils._secret_action import Call, ModuleAction, misplaced

COLLECTIONS = pathlib.Path(keys.__file__).parents[7]
KEY = "5ec4e7d0" * 6
BASE64 = base64.b64encode(bytes.fromhex(KEY)).decode()
ARGUMENTS = {
    "ipsec_audit": IPSEC_AUDIT,
    "ipsec_preflight": IPSEC_PREFLIGHT,
    "ipsec_sa": IPSEC_SA,
    "ipsec_sa_info": IPSEC_SA_INFO,
    "ipsec_sadb": IPSEC_SADB,
    "ipsec_status": IPSEC_STATUS,
    "ipseckeys_file": IPSECKEYS_FILE,
}
# Modules that accept no key.
WATCHED = {
    "ipsec_boot": IPSEC_BOOT,
    "ipsec_policy": IPSEC_POLICY,
    "ipsec_policy_info": IPSEC_POLICY_INFO,
    "ipsec_probe": IPSEC_PROBE,
}


@pytest.mark.parametrize(
    "options",
    [
        {"spi": "0x8bcd1407", "source": "2001:db8:abcd:ef01:2345:6789:abcd:ef01", "destination": "192.168.13.213"},
        {"spi": 4294967295, "mark": "0xffffffff/0xffffffff", "if_id": 4294967295, "reqid": "4294967295"},
        {
            "spi": "8bcd1407",
            "lifetimes": {"hard_bytes": 2**64 - 1, "soft_bytes": "18446744073709551615"},
            "replay": 4096,
        },
        {
            "encryption_algorithm": "rfc7539esp(chacha20,poly1305)",
            "auth_alg": "hmac(sha256)",
            "encr_alg": "aes-ctr-key-256",
        },
        {
            "selector": {
                "source": "2001:0db8:0000:0000:0000:0000:0000:0001/128",
                "protocol": "udp",
                "destination_port": 53,
            }
        },
        {"encapsulation": {"nat_remote": "::ffff:192.0.2.1"}, "state": "absent", "backend": "xfrm"},
        {"encryption_key": KEY, "authentication_key": f"0x{KEY}/192", "encrkey": KEY.upper(), "authkey": KEY},
    ],
)
def test_ordinary_options_of_an_sa_pass(options: dict[str, t.Any]) -> None:
    assert misplaced(options, IPSEC_SA) == ""


@pytest.mark.parametrize(
    "options",
    [
        {
            "src": "/etc/inet/secret/ipseckeys",
            "backup": "/run/deadbeefdeadbeefdeadbeefdeadbeef/keys",
            "at": 1795000000.25,
        },
        {
            "content": f"add esp spi 0x1000 dst 192.0.2.1 encrkey {KEY}",
            "protocols": ["esp", "ah"],
            "resolve_names": True,
        },
    ],
)
def test_ordinary_options_of_a_set_pass(options: dict[str, t.Any]) -> None:
    assert misplaced(options, IPSEC_SADB) == ""


@pytest.mark.parametrize("form", ["{0}", "0x{0}", "{0}/192", " {0}\n", "0X{0}", "{1}", "{2}"])
@pytest.mark.parametrize("option", ["encryption_algorithm", "spi", "destination", "src", "mark", "type", "reqid"])
def test_a_key_in_another_option_is_refused(option: str, form: str) -> None:
    message = misplaced({option: form.format(KEY.upper(), BASE64, bytes.fromhex(KEY).hex(" "))}, IPSEC_SA)
    assert (
        message == f"{option}: what is given here looks like a key, so it is not shown. Keys belong in: encryption_key,"
        " authentication_key."
    )


@pytest.mark.parametrize(
    ("module", "options"),
    [
        ("ipsec_sadb", {"src": f"add esp spi 0x1000 dst 192.0.2.1 encr_alg aes encrkey {KEY}"}),
        ("ipsec_sadb", {"src": f'add esp spi 0x1000 dst 192.0.2.1 encr_alg aes encrkey "{KEY}"\n'}),
        ("ipsec_sadb", {"protocols": ["esp", KEY]}),
        ("ipsec_sadb", {"protocols": f"esp,{KEY}"}),
        ("ipsec_sa", {"reqid": int(KEY, 16)}),
        ("ipsec_sa", {"spi": "1234567890123456" * 3}),
        ("ipsec_sa", {"lifetimes": {"hard_bytes": KEY}}),
        ("ipsec_sa", {"lifetimes": {KEY: 1}}),
        ("ipsec_sa_info", {"spi": KEY}),
        ("ipsec_status", {"path": KEY}),
        ("ipsec_preflight", {"path": f"add esp spi 0x1000 dst 192.0.2.1 encr_alg aes encrkey {KEY}"}),
        ("ipsec_preflight", {"expected": KEY}),
        ("ipsec_preflight", {"expected": {"192.0.2.1|192.0.2.2": KEY}}),
        ("ipsec_preflight", {"expected": {"192.0.2.1|192.0.2.2": [KEY[:32]]}}),
        ("ipsec_preflight", {"expected": {"key": KEY[:32]}}),
        ("ipsec_preflight", {"expected": {f"192.0.2.1|{KEY}": 1, KEY: 1}}),
    ],
)
def test_a_key_inside_another_option_is_refused(module: str, options: dict[str, t.Any]) -> None:
    message = misplaced(options, ARGUMENTS[module], ("expected",))
    assert "looks like a key" in message
    assert "5ec4e7" not in message.lower()


@pytest.mark.parametrize(
    ("module", "options"),
    [
        (
            "ipsec_policy",
            {
                "direction": "out",
                "selector": {"source": "2001:db8:abcd:ef01:2345:6789:abcd:0/112", "protocol": "udp"},
                "mark": "0xff/0xff",
            },
        ),
        ("ipsec_policy", {"policies": [{"direction": "in", "templates": [{"spi": "0x8bcd1407", "reqid": 7}]}]}),
        (
            "ipsec_boot",
            {
                "file": "/etc/inet/secret/ipseckeys",
                "policies": [{"direction": "in", "templates": [{"spi": "0x8bcd1407"}]}],
                "load": "no",
            },
        ),
        ("ipsec_policy_info", {"direction": "fwd"}),
        (
            "ipsec_preflight",
            {
                "addresses": ["::1"],
                "expected": {"192.0.2.1|192.0.2.2#0,,0": "5f0c1d6c7e2b9a40"},
                "associations": [{"protocol": "ah"}],
            },
        ),
        ("ipsec_preflight", {"expected": {"192.0.2.1|192.0.2.2#0,,0": "5f0c1d6c7e2b9a40" * 2}, "digest_key": KEY}),
        ("ipsec_probe", {"src": "/etc/inet/secret/ipseckeys", "count": 3, "resolve_names": False}),
        (
            "ipsec_sa_info",
            {"type": "esp", "spi": "8bcd1407", "source": "fd00:192:168:116::16", "dst": "192.0.2.1", "digest_key": KEY},
        ),
    ],
)
def test_ordinary_options_of_other_modules_pass(module: str, options: dict[str, t.Any]) -> None:
    assert misplaced(options, {**ARGUMENTS, **WATCHED}[module], ("expected",)) == ""


@pytest.mark.parametrize("module", WATCHED)
def test_no_option_of_a_module_without_keys_takes_one(module: str) -> None:
    assert not any(row.get("no_log") for row in WATCHED[module].values())
    for option in WATCHED[module]:
        for value in (
            f"0x{KEY}",
            [KEY.upper()],
            {KEY: "spi"},
            [{"templates": [{"spi": f"key {KEY}"}]}],
            bytes.fromhex(KEY).hex(":"),
            BASE64,
        ):
            message = misplaced({option: value}, WATCHED[module])
            assert (
                message
                == f"{option}: what is given here looks like a key, so it is not shown. This module takes no key."
            )


class OmittingTemplar:
    """Templates what ends in `default(omit)`, in a loop whose item holds a key."""

    available_variables: t.ClassVar[dict[str, t.Any]] = {"item": {"authentication_key": KEY}}

    def template(self, dummy: t.Any) -> t.NoReturn:
        raise AnsibleValueOmittedError()


def test_an_option_that_a_template_omits_is_not_given() -> None:
    """Ansible then leaves it out, as for any other module."""
    with pytest.raises(AnsibleValueOmittedError):
        ModuleAction.finalize_task_arg(
            "encryption_key", "{{ item.encryption_key | default(omit) }}", OmittingTemplar(), None
        )


def test_an_option_that_does_not_exist_is_refused_by_name() -> None:
    message = misplaced({"contents": KEY, "state": "exact"}, IPSEC_SADB)
    assert message == "it has no option 'contents'. Nearest: content. ansible-doc lists all options of the module."
    assert "'txt'. Nearest: " in (message := misplaced({"txt": "x"}, IPSEC_SADB)) and len(message) < 100
    message = misplaced({KEY: "x"}, IPSEC_SADB)
    assert KEY not in message and message.endswith(". ansible-doc lists all options of the module.")
    assert "Nearest" not in message


def play(
    folder: pathlib.Path,
    tasks: list[dict[str, t.Any]],
    environment: t.Mapping[str, str] | None = None,
    **options: t.Any,
) -> str:
    """The output of failing tasks on this machine at the highest verbosity."""
    steps = [{"name": f"Step {number}", "ignore_errors": True, **task} for number, task in enumerate(tasks)]
    (folder / "play.json").write_text(
        json.dumps([{"hosts": "all", "connection": "local", "gather_facts": False, "tasks": steps, **options}])
    )
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "ansible",
            "playbook",
            "-i",
            "localhost,",
            "-e",
            f"ansible_python_interpreter={sys.executable}",
            "-vvvvv",
            "play.json",
        ],
        cwd=folder,
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "ANSIBLE_NOCOLOR": "1", **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    output = done.stdout
    assert done.returncode == 0, output
    assert f"ignored={len(tasks)}" in output, output
    return output


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        ({"answers": [{"failed": True, "msg": "no"}]}, [{"failed": True, "msg": "no"}]),
        ({"failed": True, "msg": "killed"}, [{"failed": True, "msg": "killed", "unanswered": True}] * 2),
    ],
)
def test_without_an_answer_every_call_may_have_been_carried_out(
    found: dict[str, t.Any], wanted: list[t.Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    action = ModuleAction.__new__(ModuleAction)
    monkeypatch.setattr(action, "_run_module", lambda *dummy, **options: found)
    assert action.ask_all([Call("ipsec_sadb", {}), Call("ipsec_probe", {})], {}) == wanted


MALFORMED = [KEY, json.dumps([{"module": "command", "options": {"cmd": KEY}}]), json.dumps([KEY]), "[]"]
BATCHES = [
    *MALFORMED,
    json.dumps(
        [
            {"module": "ipsec_boot", "options": {"state": "query"}},
            {"module": "ipseckeys_file", "options": {"path": KEY}},
        ]
    ),
    json.dumps([{"module": "ipsec_sadb", "options": {"contents": KEY}}]),
]


def test_a_mistake_shows_no_key_and_sends_nothing(tmp_path: pathlib.Path) -> None:
    esp = {"protocol": "esp", "spi": "0x1000", "destination": "192.0.2.1", "encryption_algorithm": "aes"}
    output = play(
        tmp_path,
        [
            {"ipsec.manual.ipsec_sadb": {"contents": f"add esp spi 0x1000 dst 192.0.2.1 encr_alg aes encrkey {KEY}"}},
            {"ipsec.manual.ipsec_sa": {**esp, "encryption-key": KEY}},
            {"ipsec.manual.ipsec_sa": {**esp, "encryption_algorithm": KEY}},
            {"ipsec.manual.ipseckeys_file": {"src": KEY}},
            *({f"ipsec.manual.{module}": {next(iter(arguments)): KEY}} for module, arguments in WATCHED.items()),
            *({"ipsec.manual.ipsec_batch": {"calls": calls}} for calls in BATCHES),
            {"ipsec.manual.ipsec_batch": {"calls": "{{ item }}{{ missing }}"}, "loop": BATCHES[:1]},
        ],
    )
    assert output.count("this is not a list in JSON of calls with module and options") >= len(MALFORMED)
    assert output.count("This module takes no key.") >= len(WATCHED)
    assert KEY not in output
    for message in (
        "ipsec.manual.ipsec_sadb: it has no option 'contents'",
        "it has no option 'encryption-key'",
        "encryption_algorithm: what is given here looks",
        "calls[1], ipseckeys_file: path: what is given here looks",
        "calls[0], ipsec_sadb: it has no option 'contents'",
    ):
        assert message in output
    assert "EXEC" not in output


def test_what_ansible_shows_of_a_finished_task_has_no_key(tmp_path: pathlib.Path) -> None:
    """Ansible shows its options as they were sent: in a rescue section, and where callbacks print them afterwards."""
    show = {"ansible.builtin.debug": {"var": "ansible_failed_task"}}
    rescue = [show, {"ansible.builtin.fail": {"msg": "again"}}]
    store = {"directory": "/nowhere/keystore", "connections": [{}]}
    output = play(
        tmp_path,
        [
            adding("{{ key }}"),
            {**adding("{{ key }}"), "retries": 1, "delay": 0},
            {"ipsec.manual.ipsec_sadb": {"content": "{{ text }}"}},
            {"ipsec.manual.ipsec_sa": {"encryption_algorithm": "{{ key }}"}},
            {"ipsec.manual.ipsec_sa": "{{ {key: 'x'} }}"},
            {"block": [{"ipsec.manual.ipsec_keystore": {**store, "digest_key": "{{ key }}"}}], "rescue": [show]},
            {"block": [{"ipsec.manual.ipsec_keystore_info": {"encrkey": "{{ key }}"}}], "rescue": [show]},
            {"block": [{**adding("{{ key }}"), "ignore_errors": False}], "rescue": rescue},
        ],
        # With these, the headings of tasks are printed when they end.
        {"ANSIBLE_DISPLAY_ARGS_TO_STDOUT": "1", "ANSIBLE_DISPLAY_SKIPPED_HOSTS": "0"},
        strategy="free",
        vars={"key": "{{ 'd0' ~ '5ec4e7' * 7 }}", "text": "{{ 'encrkey ' ~ key }}"},
    )
    assert "5ec4e7" * 2 not in output
    assert re.search(r"TASK \[.*encryption_key=VALUE_SPECIFIED_IN_NO_LOG_PARAMETER, protocol=esp, spi=0x1000\]", output)
    assert output.count('"encryption_key": "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"') == 1


@pytest.mark.parametrize(
    ("environment", "options", "message"),
    [
        ({"ANSIBLE_KEEP_REMOTE_FILES": "1"}, {}, "since ANSIBLE_KEEP_REMOTE_FILES is set. Unset it."),
        (
            {},
            {"become": True, "become_method": "ansible.builtin.su"},
            "since the become method su does not pipeline. Use another one",
        ),
    ],
)
def test_the_reason_why_a_task_cannot_pipeline_is_named(
    tmp_path: pathlib.Path, environment: dict[str, str], options: dict[str, t.Any], message: str
) -> None:
    output = play(
        tmp_path, [{"ipsec.manual.ipseckeys_file": {"state": "absent", "path": "/nowhere"}}], environment, **options
    )
    assert message in output
    assert "EXEC" not in output


SECRETS = {
    "key": KEY,
    "keys": {"one": KEY},
    "rows": [{"name": "first", "deep": {"key": KEY}}, {"name": "second", "deep": {"key": "00ff"}}],
    "encoded": base64.b64encode(KEY.encode()).decode(),
    "separated": bytes.fromhex(KEY).hex(":"),
    "text": f"add esp spi 0x1000 dst 192.0.2.1 encr_alg aes encrkey {KEY}0\n",
    "phrase": "correct horse battery",
}


def adding(key: str, refused: str = "refused") -> dict[str, t.Any]:
    """A task that its action refuses because of an unknown option, which is quick."""
    return {
        "ipsec.manual.ipsec_sa": {
            "protocol": "esp",
            "spi": "0x1000",
            "destination": "192.0.2.1",
            "encryption_key": key,
            refused: "x",
        }
    }


# Tasks, and what is shown of each, a regular expression.
LOOPS: dict[str, tuple[dict[str, t.Any], str]] = {
    "plain": ({**adding("{{ item }}", "plain"), "loop": ["{{ key }}"]}, "no option 'plain'"),
    "with": ({**adding("{{ item }}", "with"), "with_items": ["{{ key }}"]}, "no option 'with'"),
    "fields": (
        {**adding("{{ row.deep.key }}", "row"), "loop": "{{ rows[:1] }}", "loop_control": {"loop_var": "row"}},
        "no option 'row'",
    ),
    "neighbours": (
        {**adding("{{ item.deep.key }}", "next"), "loop": "{{ rows }}", "loop_control": {"extended": True}},
        "no option 'next'",
    ),
    "label": (
        {**adding("{{ keys[item] }}", "label"), "loop": ["one"], "loop_control": {"label": "{{ keys[item] }}"}},
        "no option 'label'",
    ),
    "base64": ({**adding("{{ item | b64decode }}", "code"), "loop": ["{{ encoded }}"]}, "no option 'code'"),
    "separators": (
        {**adding("{{ item | replace(':', '') }}", "colon"), "loop": ["{{ separated }}"]},
        "no option 'colon'",
    ),
    "other use": ({**adding("00ff", "other"), "loop": ["{{ key }}"]}, "no option 'other'"),
    "looks like none": ({**adding("{{ item }}", "looks"), "loop": ["{{ phrase }}"]}, "no option 'looks'"),
    "retried": (
        {**adding("{{ item }}", "again"), "loop": ["{{ key }}"], "retries": 1, "delay": 0},
        "no option 'again'",
    ),
    "refused by the module": (
        {"ipsec.manual.ipsec_sadb": {"content": "{{ item }}"}, "loop": ["{{ text }}"]},
        "hex digits",
    ),
    "module without keys": (
        {"ipsec.manual.ipsec_sa_info": {"spi": "{{ item }}"}, "loop": ["{{ key }}"]},
        "looks like a key",
    ),
    "misspelt field": (
        {
            "ipsec.manual.ipsec_sa": {"encryption_key": "{{ item.deep.key }}", "spi": "{{ item.spy }}"},
            "loop": "{{ rows[:1] }}",
        },
        "has no attribute 'spy'",
    ),
    "unreachable": (
        {
            "ipsec.manual.ipseckeys_file": {"content": "{{ item }}"},
            "loop": ["{{ text }}"],
            "vars": {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1},
            "ignore_unreachable": True,
        },
        # Why: that it was refused, or with a slow reader that no data could be sent, or nothing more.
        "(?i)(via|over) ssh: ",
    ),
}


def test_a_loop_shows_no_key_in_what_ansible_prints_and_writes(tmp_path: pathlib.Path) -> None:
    (tmp_path / "secrets.json").write_text(json.dumps(SECRETS))
    places = {"ANSIBLE_LOG_PATH": "log/log", "JUNIT_OUTPUT_DIR": "junit", "ANSIBLE_CALLBACK_TREE_DIR": "tree"}
    (tmp_path / "log").mkdir()
    output = play(
        tmp_path,
        [{**task, "name": name} for name, (task, dummy) in LOOPS.items()],
        {
            "ANSIBLE_CALLBACKS_ENABLED": "ansible.builtin.junit,ansible.builtin.tree",
            "ANSIBLE_DISPLAY_ARGS_TO_STDOUT": "1",
            **{name: str(tmp_path / place) for name, place in places.items()},
        },
        vars_files=["secrets.json"],
    )
    written = [path for place in ("log", "junit", "tree") for path in (tmp_path / place).iterdir()]
    assert {path.parent.name for path in written} == {"log", "junit", "tree"}
    texts = [output, *(path.read_text() for path in written)]
    assert not [
        secret for secret in ("key", "encoded", "separated", "phrase") for text in texts if str(SECRETS[secret]) in text
    ]
    for (name, (dummy, reason)), part in zip(LOOPS.items(), output.split("TASK [")[1:], strict=True):
        assert "failed: [localhost] (item=(censored due to no_log))" in part, name
        assert re.search(reason, part), part


def test_a_loop_without_keys_is_shown(tmp_path: pathlib.Path) -> None:
    (tmp_path / "secrets.json").write_text(json.dumps(SECRETS))
    tasks = [
        {**adding("{{ key }}"), "loop": ["{{ key }}", "second"]},
        {
            **adding("{{ (keys | combine({'two': '00ff'}))[item] }}"),
            "loop": ["one", "two"],
            "loop_control": {"extended": True, "label": "{{ item }} of {{ later.changed | default }}"},
        },
        {
            "ipsec.manual.ipsec_probe": {"src": "{{ item }}", "refused": 1},
            "loop": ["/etc/inet/secret/ipseckeys", "2001:db8::1"],
        },
    ]
    output = play(tmp_path, tasks, vars_files=["secrets.json"])
    assert KEY not in output
    assert output.count("censored due to no_log") == 1
    for item in ("second", "one of", "two of", "/etc/inet/secret/ipseckeys", "2001:db8::1"):
        assert f"(item={item}" in output
