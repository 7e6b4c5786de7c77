# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pages name every finding of the audit, and no other; and every question of the old guide has one."""

from __future__ import annotations

import re

import pytest

from ansible_collections.ipsec.manual.plugins.plugin_utils._audit.kinds import KINDS
from ansible_collections.ipsec.manual.tests.docs import findings

PAGES = findings.PAGE.parent
ID = re.compile(r"``([a-z]+(?:-[a-z]+)+|[a-z]+)``")


def considerations() -> dict[str, list[str]]:
    """The findings in the last column of the guide's security considerations, by the question."""
    page = (PAGES / "from_the_guide.rst").read_text(encoding="utf-8")
    part = page.partition("\nThe security considerations\n")[2].partition("\nThe network security profile\n")[0]
    rows = [re.split(r"^     - ", row, flags=re.M) for row in re.split(r"^   \* - ", part, flags=re.M)[2:]]
    return {" ".join(row[0].split()): ID.findall(row[2]) for row in rows}


def test_the_tables_on_the_page_match_the_code() -> None:
    page = findings.PAGE.read_text(encoding="utf-8")
    assert page == findings.written(page), "make docs-findings"
    assert findings.BLOCK.search(page)


@pytest.mark.parametrize("name", KINDS)
def test_every_finding_is_documented(name: str) -> None:
    assert f"   * - ``{name}``\n" in findings.PAGE.read_text(encoding="utf-8")


def test_every_question_of_the_guide_has_findings_that_exist() -> None:
    found = considerations()
    assert len(found) == 10
    assert all(found.values())
    assert {name for names in found.values() for name in names} <= set(KINDS)


@pytest.mark.parametrize(
    ("question", "name"),
    [
        ("refreshed", "key-age"),
        ("terminal", "login-clear"),
        ("interactive mode", "key-in-history"),
        ("network mount", "file-network"),
        ("readable by the world", "file-world-readable"),
        ("host names", "file-names"),
        ("hard-wired console", "login-clear"),
        ("length", "file-invalid"),
        ("same key information", "peers-differ"),
        ("an SPI and a key of its own", "key-shared"),
    ],
)
def test_a_question_has_its_finding(question: str, name: str) -> None:
    (names,) = (names for text, names in considerations().items() if question in text)
    assert name in names
