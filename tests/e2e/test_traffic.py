# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rotations under traffic: UDP both ways and a TCP stream through every kind of connection, in one lab.

`make faults` runs ten rotations in a row, and sends as much as the lab carries on every flow.
"""

from __future__ import annotations

import json
import math
import os
import pathlib
import typing as t

import pytest

from ansible_collections.ipsec.manual.tests.e2e.flows import MATRIX, Loss, address, flowing, parted
from ansible_collections.ipsec.manual.tests.e2e.harness import GUIDE, Host, Project, lab

NAME = "e2e-traffic"
ROTATIONS, RATE = (10, 500) if os.environ.get("THOROUGH") else (2, 100)  # packets a second, each way
FLOWS = {line.name: line.flow for line in MATRIX}
DELAY = 8  # seconds to the instant of the cut-over


@pytest.fixture(scope="module", name="hosts")
def own_lab() -> t.Iterator[dict[str, Host]]:
    with lab(NAME, ("enigma", "partym")) as hosts:
        address(hosts, MATRIX)
        yield hosts


@pytest.fixture(scope="module", name="project")
def keyed_project(hosts: dict[str, Host], tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder: pathlib.Path = tmp_path_factory.mktemp("traffic")
    project = Project(folder, NAME)
    project.connections = [line.connection for line in MATRIX]
    project.run_well()
    return project


def shown(losses: dict[str, Loss]) -> str:
    return "".join(
        f"{name:<16}{row.sent:>8} sent {row.lost:>6} lost {row.duplicated:>3} twice {row.gap:>8.1f} ms"
        f" {row.streamed:>9} bytes {'; '.join(row.breaks)} {row.refused or ''}".rstrip() + "\n"
        for name, row in losses.items()
    )


def test_traffic_counts_what_is_lost(hosts: dict[str, Host]) -> None:
    """A pause of the link must show in the figures; otherwise those of rotations mean nothing."""
    with flowing(list(hosts.values()), {"clear": FLOWS["esp4-transport"]}, RATE) as losses:
        with parted(NAME, GUIDE):
            hosts["enigma"].run("sleep", "0.3")
        hosts["enigma"].run("sleep", "0.3")
    (row,) = losses.values()
    assert row.lost > 20 and row.gap > 200 and row.streamed > 0 and not row.breaks, losses


def test_rotations_in_a_row_lose_nothing(hosts: dict[str, Host], project: Project) -> None:
    with flowing(list(hosts.values()), FLOWS, RATE) as losses:
        for dummy in range(ROTATIONS):
            project.run_well(rotate_new_keys=True)
    print(shown(losses))
    assert {name: project.record(name)["current"]["generation"] for name in FLOWS} == dict.fromkeys(
        FLOWS, ROTATIONS + 1
    )
    for row in losses.values():
        assert row.sent > 1000 and row.streamed > 0
        assert (row.lost, row.duplicated, row.breaks) == (0, 0, [])


def test_flush_at_one_instant_breaks_no_stream(hosts: dict[str, Host], project: Project) -> None:
    """How long the gap is depends on the machine: the streams must survive it, and the report say it."""
    delayed = {"rotate_strategy": "flush", "rotate_cutover_delay": DELAY, "rotate_report": "report.json"}
    with flowing(list(hosts.values()), FLOWS, RATE) as losses:
        done = project.run_well(rotate_new_keys=True, **delayed)
    print(shown(losses))
    for row in losses.values():
        assert row.lost < row.sent / 2 and row.duplicated == 0 and row.breaks == []
    report = json.loads((project.folder / "report.json").read_text(encoding="utf-8"))
    found = {row["name"]: row["gap"] for row in report["connections"] if row["strategy"] == "flush"}
    assert found.keys() == FLOWS.keys()
    # All pairs of these hosts change in one transaction of each.
    ((most, clocks),) = {(gap["at_most_ms"], gap["by_clocks_ms"]) for gap in found.values()}
    assert most >= clocks > 0, report
    text = done.output
    assert text.count(f"flush, <= {math.ceil(most)} ms") == len(FLOWS) and f"it was {math.ceil(clocks)} ms." in text
