# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The picture has every host and every pair, and shows the worst."""

from __future__ import annotations

import re

import pytest

from ansible_collections.ipsec.manual.plugins.plugin_utils._audit.picture import MOST_HOSTS, draw
from ansible_collections.ipsec.manual.tests.unit.plugins.plugin_utils._audit import reports


@pytest.mark.parametrize(
    "name, style", [("empty", "arcs"), ("ordinary", "arcs"), ("hostile", "arcs"), ("large", "tiles")]
)
def test_a_fleet_is_drawn_with_every_host(name: str, style: str) -> None:
    report = getattr(reports, name)()
    picture = draw(report["hosts"], report["pairs"])
    assert picture.style == style
    shown = [shape.name for shape in picture.shapes if shape.kind == "host"]
    assert sorted(shown) == sorted(host["name"] for host in report["hosts"])


def test_every_pair_of_a_small_fleet_is_an_arc_and_the_worst_is_on_top() -> None:
    report = reports.ordinary()
    arcs = [shape for shape in draw(report["hosts"], report["pairs"]).shapes if shape.kind == "pair"]
    assert sorted(arc.name for arc in arcs) == sorted(pair["name"] for pair in report["pairs"])
    assert arcs[-1].css == "arc high" and arcs[-1].title == "backbone: enigma - partym: high"


def test_two_pairs_of_the_same_hosts_are_two_arcs() -> None:
    hosts = [reports.host("a"), reports.host("b")]
    pairs = [reports.pair("one", "a", "b"), reports.pair("two", "b", "a")]
    arcs = [shape.path for shape in draw(hosts, pairs).shapes if shape.kind == "pair"]
    assert len(set(arcs)) == 2


def test_a_peer_outside_the_audit_is_drawn_without_a_section() -> None:
    picture = draw([reports.host("a")], [reports.pair("net", "a", "elsewhere")])
    assert [label.text for label in picture.labels] == ["a", "elsewhere"]
    assert [shape.kind for shape in picture.shapes] == ["pair", "host", ""]


def test_every_pair_of_a_large_fleet_has_its_tile() -> None:
    report = reports.large(MOST_HOSTS + 1, 400)
    picture = draw(report["hosts"], report["pairs"])
    bad = [pair["name"] for pair in report["pairs"] if pair["worst"] in ("low", "medium", "high")]
    assert sorted(shape.name for shape in picture.shapes if shape.kind == "pair") == sorted(bad)
    quiet = sum(shape.path.count("M") for shape in picture.shapes if not shape.kind)
    assert quiet == len(report["pairs"]) - len(bad)


def test_a_host_that_did_not_answer_is_a_cross() -> None:
    (shape,) = draw([reports.host("a", "medium", answered=False)], []).shapes
    assert shape.css == "silent medium" and shape.title == "a: did not answer"


@pytest.mark.parametrize("hosts, pairs", [(1, 0), (40, 300), (41, 0), (1000, 5000)])
def test_all_shapes_are_inside_the_picture(hosts: int, pairs: int) -> None:
    report = reports.large(hosts, pairs)
    picture = draw(report["hosts"], report["pairs"])
    for shape in picture.shapes:
        for x, y in re.findall(r"M(-?[\d.]+) (-?[\d.]+)", shape.path):
            assert 0 <= float(x) <= picture.width and 0 <= float(y) <= picture.height
        for radius, x in re.findall(r"A([\d.]+) [\d.]+ 0 0 1 ([\d.]+)", shape.path):
            assert float(x) + float(radius) <= picture.width
