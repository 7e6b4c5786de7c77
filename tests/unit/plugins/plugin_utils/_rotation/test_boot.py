# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.reader import read_connections
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation import rotation, steps
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation.record import Answers

FILE = "/etc/inet/secret/ipseckeys"
POLICIES = ["out 192.0.2.1/32 > 192.0.2.2/32 protocol 89", "in 192.0.2.2/32 > 192.0.2.1/32 protocol 89"]


def run(answer: dict[str, t.Any]) -> rotation.Rotation:
    """A run with policies whose play does not set up the service. Host a answered ``answer``, b has no service."""
    answers = {"a": answer, "b": {"installed": False, "file": "", "policies": []}}
    state = {
        "expected": {"hosts": {host: {"connections": ["pair"]} for host in answers}},
        "own": {host: {"file": FILE, "policies": True, "boot": False, "policy_priority": 1000} for host in answers},
    }
    connections = read_connections(
        [{"name": "pair", "endpoints": {"a": "192.0.2.1", "b": "192.0.2.2"}, "upper_protocol": "89"}]
    )
    return rotation.Rotation(
        state, lambda step, host: Answers({rotation.BOOT: answers[host]}), connections=lambda: connections
    )


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        ({"installed": True, "file": FILE, "policies": POLICIES}, None),
        ({"installed": True, "file": FILE, "policies": POLICIES[:1]}, "policy in 192.0.2.2/32 > 192.0.2.1/32, so"),
        ({"installed": True, "file": FILE, "policies": []}, "policy out 192.0.2.1/32 > 192.0.2.2/32 and 1 more, so"),
        ({"installed": True, "file": FILE + "2", "policies": []}, None),
        ({"installed": False, "file": FILE, "policies": []}, None),
        ({"skipped": True}, None),
    ],
)
def test_policies_that_a_service_would_not_load_stop_the_run(answer: dict[str, t.Any], named: str | None) -> None:
    found = steps.boot_problems(run(answer))
    assert [named in problem and problem.startswith("a: ") and "rotate_boot" in problem for problem in found] == (
        [True] if named else []
    )


@pytest.mark.parametrize(
    ("answer", "policies", "named"),
    [
        ({"service_manager": "systemd"}, True, None),
        ({"service_manager": "smf"}, False, None),
        ({"service_manager": "smf"}, True, "/etc/inet/ipsecinit.conf"),
        ({"service_manager": ""}, False, "no known service manager was found"),
    ],
)
def test_a_host_that_cannot_load_at_boot_stops_the_run(
    answer: dict[str, t.Any], policies: bool, named: str | None
) -> None:
    found = run({**answer, "installed": False, "file": "", "policies": []})
    found.state["own"]["a"].update(boot=True, policies=policies, boot_policies=[])
    problems = steps.boot_problems(found)
    assert [problem.startswith("a: rotate_boot") and named in problem for problem in problems if named] == (
        [True] if named else []
    )
    assert named or not problems


@pytest.mark.parametrize(("policies", "boot", "asked"), [(0, 0, False), (1, 0, True), (0, 1, True), (1, 1, True)])
def test_the_service_is_looked_at_if_the_run_needs_it(policies: int, boot: int, asked: bool) -> None:
    found = run({})
    found.state["own"]["a"].update(
        boot=bool(boot), policies=bool(policies), boot_options={"service_manager": "openrc"}, backend="auto"
    )
    found.expected["hosts"]["a"].update(addresses=[], associations=[])
    found.expected.update(connections=[], held={})
    found.state.update(wide={"allow_static_counter_mode": False, "when": "asked"}, digest_key="00")
    questions = list(steps.preflight(found, "a"))
    assert [(question.name, question.options["service_manager"]) for question in questions[:-1]] == (
        [(rotation.BOOT, "openrc")] if asked else []
    )
