# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import InputError
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.reader import read_connections
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation.run import Run, choose, run_problems

PAIR, OTHER = read_connections(
    [
        {"name": "pair", "endpoints": {"a": "192.0.2.1", "b": "192.0.2.2"}},
        {"name": "other", "endpoints": {"b": "192.0.2.2", "c": "192.0.2.3"}},
    ]
)
ALL = frozenset("abc")
GOOD = Run(ALL, ALL, ALL, "linear", dict.fromkeys(ALL, "ssh"))


@pytest.mark.parametrize(
    ("hosts", "only", "names"),
    [
        ("abc", [], ["pair", "other"]),
        ("a", [], ["pair"]),
        ("c", [], ["other"]),
        ("abc", ["other"], ["other"]),
        ("", ["pair"], ["pair"]),
    ],
)
def test_connections_of_a_run(hosts: str, only: list[str], names: list[str]) -> None:
    assert [connection.name for connection in choose([PAIR, OTHER], set(hosts), only)] == names


def test_a_run_without_connections_is_refused() -> None:
    with pytest.raises(InputError, match="no connection has an endpoint among the hosts of this run. Hosts are: x, y."):
        choose([PAIR], {"x", "y"})
    unknown = "there is no connection, host or pair paar. Known connections are: other, pair."
    with pytest.raises(InputError, match=unknown):
        choose([PAIR, OTHER], ALL, ["paar", "pair"])


@pytest.mark.parametrize(
    "run",
    [
        GOOD,
        GOOD._replace(strategy="ansible.builtin.linear"),
        GOOD._replace(transports={}),
        GOOD._replace(transports={"a": "community.docker.docker"}),
    ],
)
def test_runs_that_keep_peers_together_are_accepted(run: Run) -> None:
    assert list(run_problems([PAIR, OTHER], run)) == []


@pytest.mark.parametrize(
    ("change", "starts"),
    [
        ({"hosts": frozenset("ab")}, ["connection other, endpoint c: this host does not take part in the run"]),
        (
            {"inventory": frozenset("bc")},
            ["connection pair, endpoint a: this host is not in the inventory. Name endpoints"],
        ),
        (
            {"inventory": frozenset(["b", "c", "a1"])},
            [
                "connection pair, endpoint a: this host is not in the inventory. Name endpoints as the inventory does."
                " The nearest is a1."
            ],
        ),
        (
            {"batch": frozenset("a")},
            [
                "connection pair, endpoint b: serial splits",
                "connection other, endpoint b: serial splits",
                "connection other, endpoint c: serial",
            ],
        ),
        ({"strategy": "free"}, ["strategy: the strategy free lets one host run ahead"]),
        ({"strategy": "ansible.builtin.host_pinned"}, ["strategy: the strategy ansible.builtin.host_pinned"]),
        (
            {"transports": {"a": "ansible.netcommon.telnet"}},
            ["connection pair, endpoint a: the connection plugin ansible.netcommon.telnet is not known to hide"],
        ),
    ],
)
def test_runs_that_separate_peers_or_show_keys_are_refused(change: dict[str, t.Any], starts: list[str]) -> None:
    problems = [str(problem) for problem in run_problems([PAIR, OTHER], GOOD._replace(**change))]
    assert len(problems) == len(starts)
    assert all(problem.startswith(start) for problem, start in zip(problems, starts, strict=True))


def test_a_transport_can_be_trusted_by_name() -> None:
    run = GOOD._replace(transports={"a": "corp.net.tls"})
    assert list(run_problems([PAIR], run)) and not list(run_problems([PAIR], run, ["corp.net.tls"]))
