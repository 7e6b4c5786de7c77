# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Relative links lead to existing files. The build of the docs site checks only links between its pages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from ansible_collections.ipsec.manual.tests.unit.docs.examples import examples

TOP = Path(__file__).resolve().parents[3]
TEXTS = sorted(
    path
    for glob in ("*.md", ".github/**/*.md", "docs/**/*.md", "roles/*/README.md", "tests/**/*.md")
    for path in TOP.glob(glob)
)
LINK = re.compile(r"\]\(([^)#:]*)(?:#([\w-]+))?\)")  # with a colon it is an address, which is not fetched here


def anchors(path: Path) -> set[str]:
    """The anchors of the headings of a Markdown or reStructuredText file."""
    text = path.read_text(encoding="utf-8")
    titles = (
        re.findall(r"^#+ (.+)$", text, re.M) if path.suffix == ".md" else re.findall(r"^(.+)\n[=-]{3,}$", text, re.M)
    )
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(TOP)))
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    for target, anchor in LINK.findall(path.read_text(encoding="utf-8")):
        found = path.parent / target if target else path
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), f"{target}#{anchor}"


PAGES = sorted(TOP.glob("docs/docsite/rst/*.rst"))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_can_be_read_in_a_checkout(path: Path) -> None:
    """A forge does not render Sphinx roles. Pages link to files and name plugins in literals instead,
    and the build of the site turns both into links.
    """
    text = path.read_text(encoding="utf-8")
    assert set(re.findall(r":([a-z]+):`", text)) <= {"sup"}  # one of docutils
    for target, anchor in re.findall(r"<([^<>\s]*\.rst)(?:#([\w-]+))?>`__", text):
        assert (path.parent / target).exists(), target
        assert not anchor or anchor in anchors(path.parent / target), f"{target}#{anchor}"
    plugins = {found.stem for glob in ("plugins/*/*.*", "playbooks/*", "roles/*") for found in TOP.glob(glob)}
    assert set(re.findall(r"``ipsec\.manual\.(\w+)``", text)) <= plugins


def test_the_readme_has_links() -> None:
    assert len(LINK.findall((TOP / "README.md").read_text(encoding="utf-8"))) > 20


@pytest.mark.parametrize("path", sorted(TOP.glob("docs/docsite/rst/*.rst")), ids=lambda path: path.stem)
def test_pages_link_each_other_by_name(path: Path) -> None:
    """An address of the repository would show another version unnoticed."""
    repository = yaml.safe_load((TOP / "galaxy.yml").read_text(encoding="utf-8"))["repository"]
    assert f"{repository}/blob/" not in path.read_text(encoding="utf-8")


def test_the_readme_shows_a_playbook_once() -> None:
    shown = [example.data for example in examples() if example.place.startswith("README.md-")]
    roles = [
        role["role"] for data in shown if isinstance(data, list) for play in data for role in play.get("roles", ())
    ]
    assert roles == ["ipsec.manual.rotate"]


def test_the_first_example_encrypts_and_the_readme_says_what_it_leaves_out() -> None:
    text = (TOP / "README.md").read_text(encoding="utf-8")
    part = text.partition("## In sixty seconds\n")[2].partition("\n## ")[0]
    assert "ansible-galaxy collection install" in part and "rotate_policies: true" in part
    for variable in ("rotate_boot: true", "rotate_new_keys=true"):
        assert variable in part
