# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lines on Ansible's screen."""

from __future__ import annotations

import hypothesis
from hypothesis import strategies as st

from ansible_collections.ipsec.manual.plugins.plugin_utils import _screen


@hypothesis.given(st.lists(st.text(st.sampled_from("ab0/.-: "), max_size=200), min_size=1))
def test_lines_fit_the_screen_and_keep_every_word(texts: list[str]) -> None:
    text = "\n".join(texts)
    found = _screen.on_screen(text)
    assert " ".join(found).split() == text.split()
    assert all(len(line) <= _screen.WIDTH or " " not in line.strip() for line in found)


def test_a_failure_is_a_heading_and_lines() -> None:
    one = _screen.result(_screen.refused(["one"]))
    assert one["failed"] and one["msg"] == "This step was refused." and one["report"] == ["one"]
    several = _screen.result(_screen.refused(["one", "two"]))
    assert several["msg"] == "This step was refused for 2 reasons." and several["report"] == ["  one", "  two"]
