# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.reader import read_connections
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation import policies, policy_checks, preflight, rotation
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation.record import Answers

FILE = "/etc/inet/secret/ipseckeys"
POLICIES = ["out 192.0.2.1/32 > 192.0.2.2/32 protocol 89", "in 192.0.2.2/32 > 192.0.2.1/32 protocol 89"]


def run(answer: dict[str, t.Any], path: str = FILE) -> rotation.Rotation:
    """A run with policies whose play does not set up the service. Host a answered ``answer``, b has no service.
    ``path`` is that of the protected file on the hosts.
    """
    answers = {"a": answer, "b": {"installed": False, "file": "", "policies": []}}
    state = {
        "expected": {
            "hosts": {host: {"connections": ["pair"]} for host in answers},
            "outdated": {},
            "midway": [],
            "leaving": [],
        },
        "own": {host: {"file": FILE, "policies": True, "boot": False, "policy_priority": 1000} for host in answers},
    }
    connections = read_connections(
        [{"name": "pair", "endpoints": {"a": "192.0.2.1", "b": "192.0.2.2"}, "upper_protocol": "89"}]
    )
    return rotation.Rotation(
        state,
        lambda step, host: Answers({rotation.BOOT: answers[host], rotation.PREFLIGHT: {"file": {"path": path}}}),
        connections=lambda: connections,
    )


def problems(found: rotation.Rotation) -> list[str]:
    return [problem for host in found.hosts for problem in policy_checks.boot_problems(found, host)]


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        ({"installed": True, "file": FILE, "policies": POLICIES}, None),
        (
            {"installed": True, "file": FILE, "policies": POLICIES[:1]},
            "policy in 192.0.2.2/32 > 192.0.2.1/32 protocol 89, so",
        ),
        (
            {"installed": True, "file": FILE, "policies": []},
            "policy out 192.0.2.1/32 > 192.0.2.2/32 protocol 89 and 1 more, so",
        ),
        ({"installed": True, "file": FILE, "policies": [text.partition(" protocol")[0] for text in POLICIES]}, None),
        ({"installed": True, "file": FILE, "policies": [text.replace("89", "6") for text in POLICIES]}, "and 1 more"),
        ({"installed": True, "file": FILE + "2", "policies": []}, None),
        ({"installed": False, "file": FILE, "policies": []}, None),
        ({"skipped": True}, None),
    ],
)
def test_policies_that_a_service_would_not_load_stop_the_run(answer: dict[str, t.Any], named: str | None) -> None:
    found = problems(run(answer))
    assert [named in problem and problem.startswith("a: ") and "rotate_boot" in problem for problem in found] == (
        [True] if named else []
    )


@pytest.mark.parametrize(
    ("inputs", "answered", "loaded"),
    [
        ("$KEYS/ipseckeys", FILE, FILE),
        ("/etc/inet/secret//ipseckeys", "/etc/inet/secret//ipseckeys", FILE),
        (FILE, FILE, "/etc/inet/./secret/ipseckeys"),
    ],
)
def test_a_file_is_known_by_its_path_on_the_host(inputs: str, answered: str, loaded: str) -> None:
    found = run({"installed": True, "file": loaded, "policies": []}, answered)
    found.state["own"]["a"]["file"] = inputs
    assert "and 1 more" in problems(found)[0]


@pytest.mark.parametrize(
    ("changing", "boot", "file", "warned"),
    [
        (["reqid"], False, FILE, True),
        (["mark"], False, FILE, True),
        (["protocols"], False, FILE, True),
        (["other_protocols"], False, FILE, True),
        (["endpoints"], False, FILE, False),
        ([], False, FILE, False),
        (["reqid"], True, FILE, False),
        (["reqid"], False, FILE + "2", False),
    ],
)
def test_policies_that_a_service_loads_for_other_sas_are_a_warning(
    changing: list[str], boot: bool, file: str, warned: bool
) -> None:
    """With the same addresses, such policies have the same names."""
    found = run({"installed": True, "file": file, "policies": POLICIES})
    found.state["own"]["a"]["boot"] = boot
    ends = {"a": "192.0.2.1", "b": "192.0.2.2"}
    found.expected["connections"] = [{"name": "pair", "endpoints": ends, "changing": changing}]
    said = policy_checks.boot_warnings(found)
    assert [text.startswith("a: ") and "pair" in text and "rotate_boot: true" in text for text in said] == (
        [True] if warned else []
    )


@pytest.mark.parametrize(
    ("file", "enabled", "boot", "warned"),
    [
        (FILE + "2", True, False, True),
        (FILE + "2", False, False, False),
        (FILE + "2", True, True, False),
        (FILE, True, False, False),
    ],
)
def test_a_service_that_loads_another_file_is_a_warning(file: str, enabled: bool, boot: bool, warned: bool) -> None:
    found = run({"installed": True, "enabled": enabled, "file": file, "policies": POLICIES})
    found.state["own"]["a"]["boot"] = boot
    found.expected["connections"] = []
    assert [text.startswith(f"a: it loads {file} at boot, which") for text in policy_checks.boot_warnings(found)] == (
        [True] if warned else []
    )


@pytest.mark.parametrize(
    ("answer", "with_policies", "named"),
    [
        ({"service_manager": "systemd"}, True, None),
        ({"service_manager": "smf"}, False, None),
        ({"service_manager": "smf"}, True, "/etc/inet/ipsecinit.conf"),
        ({"service_manager": ""}, False, "no known service manager was found"),
        ({"service_manager": "systemd", "running": False}, True, "systemd does not run on this host"),
    ],
)
def test_a_host_that_cannot_load_at_boot_stops_the_run(
    answer: dict[str, t.Any], with_policies: bool, named: str | None
) -> None:
    found = run({**answer, "installed": False, "file": "", "policies": []})
    found.state["own"]["a"].update(boot=True, policies=with_policies, boot_policies=[], boot_options={"load": True})
    said = problems(found)
    assert [problem.startswith("a: rotate_boot") and named in problem for problem in said if named] == (
        [True] if named else []
    )
    assert named or not said


@pytest.mark.parametrize(
    ("with_policies", "boot", "asked"),
    [
        (False, False, []),
        (True, False, [rotation.BOOT, policies.POLICIES]),
        (False, True, [rotation.BOOT, policies.SERVICE]),
        (True, True, [rotation.BOOT, policies.POLICIES, policies.SERVICE]),
    ],
)
def test_a_host_is_asked_what_the_run_needs_to_know(with_policies: bool, boot: bool, asked: list[str]) -> None:
    found = run({})
    options = {"service_manager": "openrc", "state": "present"}
    found.state["own"]["a"].update(
        boot=boot, policies=with_policies, boot_options=options, boot_policies=[], backend="auto", timeout=60
    )
    found.expected["hosts"]["a"].update(addresses=[], associations=[])
    found.expected.update(connections=[], held={}, keyed=[], outdated={})
    found.state.update(wide={"allow_static_counter_mode": False, "when": "asked"}, digest_key="00")
    questions = list(preflight.preflight(found, "a"))
    assert [question.name for question in questions] == [*asked, rotation.PREFLIGHT]
    assert all(question.check or question.options["state"] == "query" for question in questions[:-1])
    # It would be on the controller's clock: that of the host is not known yet.
    assert not any("deadline" in question.options for question in questions)
    services = [question.options["service_manager"] for question in questions if question.module == "ipsec_boot"]
    assert set(services) <= {"openrc"}


def test_the_service_is_set_up_before_the_task_times_out_only() -> None:
    found = run({})
    found.state["own"]["a"].update(boot=True, policies=False, boot_options={}, boot_policies=[], timeout=60)
    (question,) = policies.boot(found, "a")
    assert question.options["deadline"] == pytest.approx(found.deadline("a")["deadline"])
    (question,) = policies.boot(found, "a", check=True)
    assert "deadline" not in question.options


def test_a_service_that_was_switched_to_another_file_gets_that_of_the_run_again() -> None:
    found = run({"installed": True, "file": FILE + "2", "policies": POLICIES})
    found.state["own"]["a"].update(boot=True, policies=False, boot_options={}, boot_policies=[], timeout=60)
    assert not policies.is_loaded_at_boot(found, "a")
    (question,) = policies.boot(found, "a")
    assert question.options["file"] == FILE and question.options.get("load", True)
