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
