# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The drawing of a rotation shows the role's steps in order, and the keys where the steps put them."""

from __future__ import annotations

import inspect
import re
import typing as t
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation import completion, cutover, questions, staging
from ansible_collections.ipsec.manual.tests.docs.timeline import NEW, NOT_DRAWN, OLD, PHASES, ROWS, Bar, draw
from ansible_collections.ipsec.manual.tests.faults import matrix

TOP = Path(__file__).resolve().parents[3]
SVG = "{http://www.w3.org/2000/svg}"
# The code of a step that makes a bar begin or end there.
WRITTEN: dict[tuple[str, str], tuple[t.Callable[..., t.Any], str]] = {
    ("accepts", "stage"): (staging.stage, '"state": "present", **inbound, **backup}'),
    ("accepts", "persist"): (completion.persist, '"state": "exact", **limits}'),
    ("sends", "cut over"): (cutover.cut_over, "**directions(run, host)"),
    ("ipseckeys", "stage"): (staging.stage, '_file(run, host, {"src": run.next_file(host), "keep": True, **inbound})'),
    ("ipseckeys", "persist"): (completion.persist, '_file(run, host, {"src": run.next_file(host), **behind})'),
    ("ipseckeys.next", "stage"): (staging.stage, '"path": run.next_file(host)'),
    ("ipseckeys.next", "persist"): (questions.tidy, '"path": run.next_file(host)'),
    ("ipseckeys.previous", "cut over"): (cutover.cut_over, '"backup": run.previous_file(host)'),
    ("ipseckeys.previous", "persist"): (questions.tidy, "run.previous_file(host)"),
}


def steps_of(tasks: t.Any) -> t.Iterator[str]:
    """The steps of a role's tasks in order, including those of included files."""
    for task in tasks or ():
        for name in matrix.included(task):
            yield from steps_of(yaml.safe_load((matrix.TASKS / name).read_text(encoding="utf-8")))
        if "ipsec.manual.ipsec_rotation" in task:
            yield from matrix.either(task["ipsec.manual.ipsec_rotation"]["step"])
        for part in ("block", "rescue", "always"):
            yield from steps_of(task.get(part))


def test_the_phases_are_the_steps_of_the_role() -> None:
    found = list(steps_of(yaml.safe_load((TOP / "roles/rotate/tasks/main.yml").read_text(encoding="utf-8"))))
    assert [step for step in found if step not in NOT_DRAWN] == [step for phase in PHASES for step in phase.steps]
    assert set(NOT_DRAWN) <= set(found)


def test_the_pages_name_the_same_phases() -> None:
    page = (
        (TOP / "docs/docsite/rst/rotation.rst")
        .read_text(encoding="utf-8")
        .partition("* - Phase\n")[2]
        .partition("\n\n")[0]
    )
    rows = [row.split("\n     - ") for row in page.split("\n   * - ")[1:]]
    assert [(row[0], row[-1]) for row in rows] == [(phase.name, phase.fails) for phase in PHASES]
    readme = (TOP / "roles/rotate/README.md").read_text(encoding="utf-8").partition("| phase |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| (\w[\w ]+) \|", readme, re.M) == [phase.name for phase in PHASES]


@pytest.mark.parametrize("place", sorted({row.place for row in ROWS} - {"current", "next"}))
def test_keys_come_and_go_in_the_step_that_moves_them(place: str) -> None:
    bars = [bar for row in ROWS if (row.owner, row.place) == ("enigma", place) for bar in row.bars]
    moments = {edge for bar in bars for edge in (bar.begin, bar.end)} - {""}
    assert moments == {phase for known, phase in WRITTEN if known == place}
    for phase in moments:
        function, says = WRITTEN[place, phase]
        assert says in inspect.getsource(function)


def test_hosts_accept_what_their_peers_send() -> None:
    """No host sends through both keys, or through none, and all accept the new ones before and the old ones after."""
    order = [phase.name for phase in PHASES]
    (sends,) = {row.bars for row in ROWS if row.place == "sends"}
    moment = sends[0].end
    assert sends == (Bar(OLD, end=moment), Bar(NEW, moment))
    for place in ("accepts", "ipseckeys"):
        old, new = {bar.keys: bar for row in ROWS if row.place == place for bar in row.bars}.values()
        assert order.index(new.begin) < order.index(moment) < order.index(old.end)


def test_the_drawing_matches_the_tables() -> None:
    drawn = (TOP / "docs/docsite/rst/rotation.svg").read_text(encoding="utf-8")
    assert drawn == draw(), "python -m tests.docs.timeline > docs/docsite/rst/rotation.svg"


def test_the_drawing_has_a_description_and_dark_colours() -> None:
    root = ElementTree.fromstring(draw())
    named = [root.find(f"{SVG}{name}[@id='{name}']") for name in str(root.get("aria-labelledby")).split()]
    assert all(found is not None and found.text for found in named) and len(named) == 2
    light, dark = str(root.findtext(f"{SVG}style")).split("@media(prefers-color-scheme:dark)")
    coloured = re.compile(r"([.\w-]+)\{[^}]*(?:fill|stroke):#")
    assert set(coloured.findall(light)) == set(coloured.findall(dark))
