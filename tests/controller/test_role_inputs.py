# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Inputs that the roles refuse before they contact any host, through ansible-playbook."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import sys
import typing as t

import pytest
import yaml

from ansible_collections.ipsec.manual.plugins.module_utils._core.sa import keys
from ansible_collections.ipsec.manual.plugins.plugin_utils._audit import inputs as audit
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation import inputs

COLLECTION = pathlib.Path(keys.__file__).parents[4]
PAIR = {"name": "pair", "endpoints": {"a": "192.0.2.1", "b": "192.0.2.2"}}


def refused(folder: pathlib.Path, role: str, *options: str, **variables: t.Any) -> str:
    """The output of a run of a role that fails on three hosts."""
    return failed(folder, {"roles": [f"ipsec.manual.{role}"]}, *options, **variables)


def failed(folder: pathlib.Path, work: dict[str, t.Any], *options: str, **variables: t.Any) -> str:
    """The output of a play that fails on three hosts."""
    play = {"hosts": "all", "gather_facts": False, "vars": variables, **work}
    (folder / "play.json").write_text(json.dumps([play]))
    command = [sys.executable, "-m", "ansible", "playbook", "-i", "a,b,c", *options, "play.json"]
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(COLLECTION.parents[2]),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_LOCALHOST_WARNING": "0",
    }
    answer = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode != 0, answer.stdout
    # A report is a list of lines, which break sentences.
    return re.sub(r'",\n\s+"(?!report")\s*', " ", answer.stdout + answer.stderr)


def test_a_misspelt_field_is_reported_with_its_place_and_the_nearest_names_only(tmp_path: pathlib.Path) -> None:
    output = refused(tmp_path, "rotate", ipsec_connections=[PAIR, {**PAIR, "associations": [{"encryption": "aes"}]}])
    assert "ipsec_connections[1] (pair).associations[0]: unknown name 'encryption'. Known here:" in output
    assert "argument_spec_data" not in output and len(output) < 4000
    assert output.count("fatal: ") == 1


@pytest.mark.parametrize("role", ["rotate", "audit"])
def test_the_place_of_an_error_is_the_variable_that_the_user_wrote(tmp_path: pathlib.Path, role: str) -> None:
    """It is the role's own, unless this has the value of the usual one, which is its default."""
    wrong, own = [{**PAIR, "associations": [{"encryption": "aes"}]}], f"{role}_connections"
    for place, variables in (
        (own, {own: wrong}),
        (own, {own: wrong, "ipsec_connections": [PAIR]}),
        (own, {own: "{{ [pair] }}", "pair": wrong[0]}),
        ("ipsec_connections", {"ipsec_connections": wrong}),
        ("ipsec_connections", {own: "{{ ipsec_connections }}", "ipsec_connections": wrong}),
    ):
        assert re.search(rf"(?<!\w){place}\[0\] \(pair\)\.associations", refused(tmp_path, role, **variables)), place


@pytest.mark.parametrize("wrong", [{"pair": PAIR}, "pair", 7])
def test_connections_that_are_not_a_list_are_reported(tmp_path: pathlib.Path, wrong: t.Any) -> None:
    assert "ipsec_connections: expected a list of connections" in refused(tmp_path, "rotate", ipsec_connections=wrong)


@pytest.mark.parametrize(
    ("role", "options", "variables", "part"),
    [
        (
            "rotate",
            ("-e", "rotate_newkeys=true"),
            {},
            "no variable rotate_newkeys and would ignore it. The nearest name is rotate_new_keys.",
        ),
        ("rotate", ("-e", "rotate_everything=true"), {}, "no variable rotate_everything and would ignore it"),
        (
            "rotate",
            (),
            {"rotate_polices": True},
            "rotate_polices, which a has, and would ignore it. The nearest name is rotate_policies.",
        ),
        ("rotate", (), {"boot_service_manger": "openrc"}, "The nearest name is boot_service_manager."),
        ("boot", (), {"boot_policy": []}, "The nearest name is boot_policies."),
        (
            "audit",
            ("-e", "rotate_keystor=x"),
            {},
            "the role rotate has no variable rotate_keystor and would ignore it. The nearest name is rotate_keystore.",
        ),
        ("audit", (), {"rotate_polices": True}, "The nearest name is rotate_policies."),
        ("audit", ("-e", "audit_html=true"), {}, "the role audit has no variable audit_html and would ignore it"),
        ("audit", (), {"audit_directry": "x"}, "The nearest name is audit_directory."),
        (
            "rotate",
            (),
            {"boot_device": "/dev/sda", "ipsec_ignored_variables": ["boot_dev"]},
            "boot_device, which a has, and would ignore it. The nearest name is boot_file. If something else uses"
            " it, add it to the list ipsec_ignored_variables.",
        ),
        ("boot", (), {"boot_device": "/dev/sda"}, "the role boot has no variable boot_device, which"),
        ("rotate", (), {"rotate_logs": "weekly"}, "no variable rotate_logs, which a has,"),
        (
            "rotate",
            (),
            {"rotate_logs": 1, "ipsec_ignored_variables": {}},
            "ipsec_ignored_variables of a and 2 more: expected a list",
        ),
    ],
)
def test_a_misspelt_variable_is_refused_with_the_nearest_name(
    tmp_path: pathlib.Path, role: str, options: tuple[str, ...], variables: dict[str, t.Any], part: str
) -> None:
    assert part in " ".join(refused(tmp_path, role, *options, ipsec_connections=[PAIR], **variables).split())


def test_connections_under_a_misspelt_name_have_not_all_left(tmp_path: pathlib.Path) -> None:
    output = refused(tmp_path, "rotate", ipsec_conections=[PAIR], rotate_leave=["*"])
    said = "ipsec_connections: there are no connections, but a variable ipsec_conections. Correct its name."
    assert " ".join(output.split()).count(said) == 1


def test_settings_and_connections_that_are_wrong_are_reported_together(tmp_path: pathlib.Path) -> None:
    wrong = [{**PAIR, "associations": [{"encryption": "aes"}]}, {"name": "two"}]
    options = ("-e", "rotate_newkeys=true", "-e", "rotate_when=never")
    output = refused(tmp_path, "rotate", *options, ipsec_connections=wrong)
    for part in ("rotate_newkeys", "rotate_when: expected", "[0] (pair).associations[0]: unknown", "[1] (two)"):
        assert output.count(part) == 1, part
    assert output.count("fatal: ") == 1


def test_a_wrong_setting_causes_no_complaint_about_connections(tmp_path: pathlib.Path) -> None:
    counter = {"encryption_algorithm": "aes-gcm"}
    variables = {"rotate_allow_static_counter_mod": True, "ipsec_connections": [{**PAIR, "associations": [counter]}]}
    output = refused(tmp_path, "rotate", **variables)
    assert "The nearest name is rotate_allow_static_counter_mode." in output
    assert "This step was refused." in output
    # Connections that cannot be evaluated are reported as a variable, and not once more as connections.
    output = refused(tmp_path, "rotate", "-e", "rotate_when=never", rotate_connections="{{ nothing.here }}")
    assert "rotate_when" in output and output.count("cannot be evaluated") == 1 and "refused for 2 reasons" in output


def test_a_pair_that_is_no_list_is_not_taken_for_two_hosts(tmp_path: pathlib.Path) -> None:
    output = refused(tmp_path, "rotate", "-e", "rotate_only=a,b", ipsec_connections=[PAIR])
    assert "rotate_only: a,b may be one pair of hosts, or several words. Write a list" in " ".join(output.split())


def test_variables_that_something_else_uses_are_ignored(tmp_path: pathlib.Path) -> None:
    result = {"changed": False, "failed": False}  # as registered by a task
    variables = {"boot_device": "/dev/sda", "rotate_logs": True, "rotate_answer": result}
    ignored = ["boot_dev*", "rotate_logs"]
    output = refused(tmp_path, "rotate", ipsec_connections=[{}], ipsec_ignored_variables=ignored, **variables)
    assert "ignore it" not in output and "a connection needs a name" in output


@pytest.mark.parametrize(
    ("prefix", "role"), [("rotate_", "rotate"), ("boot_", "rotate"), ("rotate_", "audit"), ("audit_", "audit")]
)
def test_the_variables_of_playbooks_are_not_misspelt(tmp_path: pathlib.Path, prefix: str, role: str) -> None:
    playbook = (COLLECTION / "playbooks" / f"{prefix[:-1]}.yml").read_text(encoding="utf-8")
    assert f"{prefix}play_hosts" in playbook
    output = refused(tmp_path, role, "-e", f"{prefix}play_hosts=all", ipsec_connections=[{}])
    assert "ignore it" not in output and "a connection needs a name" in output


# What each role checks, by the prefix of its variables.
CHECKED = {
    "rotate_": {**inputs.WIDE, **inputs.OWN},
    "boot_": inputs.BOOT_ROLE,
    "audit_": {**audit.WIDE, **audit.OWN},
}


@pytest.mark.parametrize("prefix", CHECKED)
def test_the_documented_variables_types_and_choices_are_those_that_are_checked(prefix: str) -> None:
    path = COLLECTION / "roles" / prefix[:-1] / "meta" / "argument_specs.yml"
    (entry_point,) = yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"].items()
    assert entry_point[0] != "main", "Ansible would check it, and print it"

    def facts(spec: dict[str, t.Any]) -> list[t.Any]:
        # A path on a host is text here.
        return [spec["type"].replace("path", "str"), spec.get("elements"), sorted(spec.get("choices", ()))]

    documented = {name: facts(spec) for name, spec in entry_point[1]["options"].items()}
    assert documented == {prefix + name: facts(spec) for name, spec in CHECKED[prefix].items()}


def typed(folder: pathlib.Path, role: str, *options: str, **variables: t.Any) -> list[str]:
    """What a role says about its variables, as the lines of the report."""
    output = refused(folder, role, *options, ipsec_connections=[PAIR], **variables)
    assert len(output) < 3000 and "argument_spec" not in output and output.count("FAILED!") == 1, output
    report = json.loads(output.partition("FAILED! => ")[2].partition("\n\n")[0])["report"]
    return " ".join(" ".join(report).split()).split(" rotate_")


@pytest.mark.parametrize(
    ("role", "variable", "value", "problem"),
    [
        (
            "rotate",
            "rotate_strategy",
            "overlapp",
            "one of overlap, flush, but found 'overlapp'. The nearest value is overlap.",
        ),
        ("rotate", "rotate_store", "7", "one of an empty text, random, derived, but found '7'"),
        ("rotate", "rotate_policies", "maybe", "true or false, but found 'maybe'"),
        ("rotate", "rotate_secure_logging", "maybe", "true or false, but found 'maybe'"),
        ("rotate", "rotate_timeout", "2.5", "a whole number of 0 or more, but found '2.5'"),
        ("rotate", "rotate_timeout", "soon", "a whole number of 0 or more, but found 'soon'"),
        ("rotate", "rotate_grace", "inf", "a number of 0 or more, but found 'inf'"),
        (
            "rotate",
            "rotate_due",
            "often",
            "a mapping, but found 'often'. In YAML, write {A: B}; on the command line -e",
        ),
        (
            "rotate",
            "rotate_strategy",
            "aa" * 16,
            "one of overlap, flush, but found (a word of 32 characters, hidden since it may be a key)",
        ),
        (
            "audit",
            "audit_backend",
            "xfm",
            "one of auto, xfrm, solaris, pfkey, but found 'xfm'. The nearest value is xfrm.",
        ),
        ("audit", "audit_timeout", "soon", "a whole number of 0 or more, but found 'soon'"),
        ("audit", "audit_age_limit", "-1", "a number of 0 or more, but found '-1'"),
        ("audit", "audit_clock_tolerance", "-0.5", "a number of 0 or more, but found '-0.5'"),
        ("rotate", "rotate_grace", "-1", "a number of 0 or more, but found '-1'"),
        ("rotate", "rotate_cutover_delay", "300", "a number from 0 to 299, but found '300'"),
        ("rotate", "rotate_probe_count", "0", "a whole number from 1 to 1000, but found '0'"),
        ("rotate", "rotate_probe_count", "1001", "a whole number from 1 to 1000, but found '1001'"),
    ],
)
def test_a_wrong_value_is_reported_once_with_the_variable_and_what_is_expected(
    tmp_path: pathlib.Path, role: str, variable: str, value: str, problem: str
) -> None:
    (said,) = typed(tmp_path, role, "-e", f"{variable}={value}")
    assert said.startswith(f"{variable}: expected {problem}"), said


@pytest.mark.parametrize(
    ("variable", "value", "problem"),
    [
        ("rotate_leave", {"a": 1}, "rotate_leave of a: expected a list, but found a mapping. In YAML, write [A, B]"),
        ("rotate_leave", [["a"]], "rotate_leave[0] of a: expected text, but found a list"),
        ("rotate_boot_policies", ["x"], "rotate_boot_policies[0] of a and 2 more: expected a mapping, but found 'x'"),
        ("rotate_keystore", ["x"], "rotate_keystore of a: expected text, but found a list"),
        (
            "rotate_timeout",
            True,
            "rotate_timeout of a and 2 more: expected a whole number of 0 or more, but found true",
        ),
        ("rotate_file", "{{ missing }}", "rotate_file of a and 2 more: it cannot be evaluated: 'missing' is undefined"),
        ("rotate_timeout", "{{ missing }}", "rotate_timeout of a and 2 more: it cannot be evaluated: 'missing' is"),
        (
            "rotate_backend",
            None,
            "rotate_backend of a and 2 more: expected one of auto, xfrm, solaris, pfkey, but found",
        ),
    ],
)
def test_a_wrong_value_of_the_play_is_reported_once_for_all_hosts(
    tmp_path: pathlib.Path, variable: str, value: t.Any, problem: str
) -> None:
    (said,) = typed(tmp_path, "rotate", **{variable: value})
    assert said.startswith(problem), said


def test_all_wrong_values_are_reported_together(tmp_path: pathlib.Path) -> None:
    output = refused(tmp_path, "boot", "-e", "boot_state=here boot_load=maybe boot_operators_rights=look,lod")
    assert output.count("boot_state: expected one of absent, present, but found 'here'") == 1
    assert len(re.findall("refused for the same reason as [abc]", output)) == 2
    assert "boot_load: expected true or false, but found 'maybe'" in output
    assert "boot_operators_rights[1]: expected one of look, load," in output


def test_a_wrong_variable_of_molecule_hosts_is_reported_without_the_specification(tmp_path: pathlib.Path) -> None:
    output = refused(tmp_path, "molecule_hosts", molecule_hosts_state="here")
    assert "value of molecule_hosts_state must be one of: present, absent, got: here" in output
    assert "TASK [ipsec.manual.molecule_hosts : Start the hosts]" not in output and len(output) < 6000, output


def test_values_of_the_command_line_are_converted(tmp_path: pathlib.Path) -> None:
    """On the command line, values are text."""
    words = "rotate_policies=false rotate_boot=no rotate_timeout=60 rotate_grace=1 rotate_secure_logging=false"
    refused(tmp_path, "rotate", "-e", f"{words} rotate_report=run.json", ipsec_connections=[{}])
    assert len(json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))["problems"]) == 1


def test_a_connection_chooses_the_variable_of_its_addresses(tmp_path: pathlib.Path) -> None:
    six = {"name": "six", "group": "all", "address_variable": "ipsec_address6"}
    output = refused(tmp_path, "rotate", ipsec_connections=[six], ipsec_address6="2001:db8::1")
    assert "(six).endpoints: the address 2001:db8::1 is given twice" in output


def test_a_file_that_no_service_could_load_is_refused_before_any_host_is_asked(tmp_path: pathlib.Path) -> None:
    output = " ".join(
        refused(tmp_path, "rotate", ipsec_connections=[PAIR], rotate_boot=True, rotate_file="/tmp/k").split()
    )
    assert "rotate_file of a: /tmp/k does not exist, or is hidden from the service, when SAs are loaded." in output


def test_a_policy_that_cannot_be_loaded_at_boot_is_refused_before_any_host_is_asked(tmp_path: pathlib.Path) -> None:
    wrong = {"direction": "outward", "action": "allow"}
    options = {"ipsec_connections": [PAIR], "rotate_boot_policies": [wrong]}
    output = " ".join(refused(tmp_path, "rotate", rotate_boot=True, **options).split())
    assert "rotate_boot_policies of a[0]" in output and "outward" in output and "of b[0]" not in output


def test_a_report_that_cannot_be_written_is_refused(tmp_path: pathlib.Path) -> None:
    output = refused(tmp_path, "rotate", ipsec_connections=[PAIR], rotate_report="missing/run.json")
    assert "rotate_report: its folder does not exist, or cannot be written" in output


def test_a_refused_run_is_reported(tmp_path: pathlib.Path) -> None:
    refused(tmp_path, "rotate", "-e", "rotate_newkeys=true", ipsec_connections=[PAIR], rotate_report="run.json")
    found = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    assert (found["outcome"], found["stopped_at"], found["connections"]) == ("failed", "begin", [])
    assert "The nearest name is rotate_new_keys." in found["problems"][0]


NOWHERE = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
NO_SSH = "Data could not be sent to|Failed to connect to"  # it depends on when ssh gives up
UNPROTECTED = "the keystore file is not encrypted"


@pytest.mark.parametrize(
    ("role", "variables", "content", "hosts"),
    [
        ("rotate", {"ipsec_connections": [{**PAIR, "protocl": "ah"}]}, "unknown name 'protocl'", 1),
        ("rotate", {"ipsec_connections": [PAIR], "rotate_newkeys": True}, "no variable rotate_newkeys", 1),
        ("rotate", {"ipsec_connections": [PAIR], **NOWHERE}, NO_SSH, 2),
        ("rotate", {"ipsec_connections": [PAIR], "rotate_keystore": "unprotected"}, UNPROTECTED, 1),
        ("audit", {"ipsec_connections": [{**PAIR, "protocl": "ah"}]}, "unknown name 'protocl'", 1),
        ("boot", {"ansible_connection": "local", "boot_service_manager": "launchd"}, "but found 'launchd'", 1),
        ("boot", {"boot_policy": []}, "The nearest name is boot_policies.", 1),
        (
            "boot",
            {"boot_policies": [{"direction": "outward"}]},
            r"boot_policies\[0\].direction: unknown direction 'outward'",
            1,
        ),
        ("boot", {"boot_file": "/tmp/keys"}, "boot_file: /tmp/keys does not exist, or is hidden", 1),
        (
            "boot",
            {"boot_file": "{{ [inventory_hostname] if inventory_hostname != 'b' else '/etc/keys' }}"},
            "boot_file of",
            1,
        ),
        ("boot", NOWHERE, NO_SSH, 3),
    ],
)
def test_the_content_of_a_failure_is_on_the_screen_once(
    tmp_path: pathlib.Path, role: str, variables: dict[str, t.Any], content: str, hosts: int
) -> None:
    """Once for each host that it is about, and no lines of the role's own code."""
    (tmp_path / "unprotected").mkdir()
    (tmp_path / "unprotected" / "pair.yml").write_text("format: 1\n")
    (tmp_path / "password").write_text("correct")
    output = refused(
        tmp_path,
        role,
        *("--vault-password-file", "password"),
        **{"ansible_python_interpreter": sys.executable, **variables},
    )
    assert len(re.findall(content, " ".join(output.split()))) == hosts, output
    assert "[ERROR]" not in output


@pytest.mark.parametrize("module", ["ipsec_keystore", "ipsec_keystore_info"])
def test_the_content_of_a_refused_keystore_is_on_the_screen_once(tmp_path: pathlib.Path, module: str) -> None:
    (tmp_path / "keystore").mkdir()
    (tmp_path / "keystore" / "pair.yml").write_text("format: 1\n")
    (tmp_path / "password").write_text("correct")
    options = {"directory": "keystore", **({"connections": [PAIR]} if module == "ipsec_keystore" else {})}
    output = failed(
        tmp_path,
        {"tasks": [{f"ipsec.manual.{module}": options, "run_once": True}]},
        "--vault-password-file",
        "password",
    )
    assert " ".join(output.split()).count(UNPROTECTED) == 1, output


def test_programs_find_the_reasons_of_a_failure_in_a_list(tmp_path: pathlib.Path) -> None:
    output = refused(tmp_path, "rotate", ipsec_connections=[PAIR], rotate_newkeys=True)
    failure = json.loads(output.partition("FAILED! => ")[2].partition("\n\n")[0])
    assert failure["msg"] == "This step was refused."
    assert "The nearest name is rotate_new_keys." in " ".join(failure["report"])


@pytest.mark.parametrize("priority", [-1, 4294967295])
def test_a_priority_without_a_number_behind_it_is_refused(tmp_path: pathlib.Path, priority: int) -> None:
    output = refused(tmp_path, "rotate", ipsec_connections=[PAIR], rotate_policy_priority=priority)
    assert f"rotate_policy_priority of a: {priority} is outside 0 to 4294967294" in output


@pytest.mark.parametrize("word", ["true", "false"])
def test_containers_reach_other_networks_unless_that_is_switched_off(tmp_path: pathlib.Path, word: str) -> None:
    """The command line gives text."""
    engine = tmp_path / "engine"
    engine.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/calls\n[ "$1 $2" != "network inspect" ]\n')
    engine.chmod(0o700)
    variables = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "molecule_hosts_engine": str(engine),
        "molecule_hosts_group": "all",
        "molecule_hosts_image": "image",
        "molecule_hosts_network": "isolated",
    }
    work = {"hosts": "a", "roles": ["ipsec.manual.molecule_hosts"], "post_tasks": [{"ansible.builtin.fail": {}}]}
    failed(tmp_path, work, "-e", f"molecule_hosts_internal={word}", **variables)
    created = "network create --internal isolated" if word == "true" else "network create isolated"
    assert created in (tmp_path / "calls").read_text(encoding="utf-8").splitlines()


def test_the_host_that_explains_a_refusal_for_others_is_in_the_same_batch(tmp_path: pathlib.Path) -> None:
    work = {"roles": ["ipsec.manual.boot"], "serial": 1, "order": "reverse_inventory"}
    output = failed(tmp_path, work, "-e", "boot_state=here")
    assert "expected one of absent, present" in output and "same reason" not in output


@pytest.mark.parametrize(
    "play",
    [
        {"roles": [{"role": "ipsec.manual.boot", "when": "inventory_hostname != 'a'"}]},
        {
            "tasks": [
                {
                    "ansible.builtin.include_role": {"name": "ipsec.manual.boot"},
                    "when": "inventory_hostname != 'a'",
                }
            ]
        },
    ],
)
def test_the_host_that_explains_a_refusal_for_others_has_run_the_role(
    tmp_path: pathlib.Path, play: dict[str, t.Any]
) -> None:
    output = failed(tmp_path, play, "-e", "boot_state=here")
    assert output.count("boot_state: expected one of absent, present, but found 'here'") == 1
    assert len(re.findall("refused for the same reason as [bc]", output)) == 1 and "reason as a" not in output
