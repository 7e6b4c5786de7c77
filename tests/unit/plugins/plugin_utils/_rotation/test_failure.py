# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the operator reads about a rotation that stopped."""

from __future__ import annotations

from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation import failure
from ansible_collections.ipsec.manual.tests.unit.plugins.plugin_utils._rotation.test_decisions import (
    EXPECTED,
    FAILED,
    GONE,
    HOLDS,
    OK,
    PAIR,
    SKIPPED,
    SWITCHED,
)


def test_the_report_names_hosts_generations_and_the_way_on() -> None:
    cut, back = {"a": OK, "b": GONE, "c": OK}, {"a": OK, "b": GONE, "c": FAILED}
    text = failure.stopped(
        ["b: the kernel refused"], "cut over", SWITCHED, cut, back, {PAIR}, undoing=[("c", "disk full")]
    )
    assert text.splitlines()[:2] == ["The rotation stopped at: cut over.", "  b: the kernel refused"]
    assert "  a: what it held before this run" in text and "No host went back" not in text
    assert "  b: unknown: generation 4 of pair, generation 2 of gcm, or what it held before" in text
    assert (
        "  c: generation 2 of gcm, which its peers may not hold" in text
        and "peers may not hold\n    restoring failed: disk full\n" in text
        and text.count("restoring failed") == 1
    )
    assert text.endswith("brings every host to them.")


def test_a_problem_of_many_hosts_is_one_line() -> None:
    hosts = [f"h{number:02}" for number in range(60)]
    expected = {**EXPECTED, "hosts": dict.fromkeys(hosts)}
    problems = [*(f"{host}: no service" for host in hosts), "h07: and: more", "x: no service", *["no colon"] * 2]
    lines = failure.stopped(problems, "preflight", expected).splitlines()
    assert lines[1:5] == [
        "  h00, h01, h02 and 57 more: no service",
        "  h07: and: more",
        "  x: no service",
        "  no colon",
    ]
    few = failure.stopped(problems[:3], "preflight", expected).splitlines()
    assert few[1:4] == [f"  {host}: no service" for host in hosts[:3]]


def test_the_report_says_which_pairs_stay() -> None:
    both = {**SWITCHED, "connections": [{**row, "phase": "switching"} for row in SWITCHED["connections"]]}
    cut, back = dict.fromkeys("abc", HOLDS), {"a": OK, "b": OK, "c": SKIPPED}
    text = failure.stopped(["a: failed"], "verify", both, cut, back, {PAIR})
    stays = "    it keeps the new SAs between 192.0.2.2 and 192.0.2.3, as its peer does\n"
    assert "  b: what it held before this run\n" + stays in text and text.count(stays) == 1
    nobody = failure.stopped(["a: timed out"], "verify", both, cut, dict.fromkeys("abc", SKIPPED))
    assert "No host went back to its previous SAs" in nobody and "  a: generation 4 of pair\n" in nobody


def test_the_report_before_and_after_the_cut_over() -> None:
    assert "Every host still sends through its previous SAs." in failure.stopped(["x"], "stage", EXPECTED)
    undone = failure.stopped(["x"], "stage", EXPECTED, undoing=[("a", "disk full")])
    assert "\n  a: restoring failed: disk full\n" in undone
    after = failure.stopped(["a: disk full"], "persist", EXPECTED, {"a": OK, "b": OK, "c": OK})
    assert "  a: generation 4 of pair\n" in after
