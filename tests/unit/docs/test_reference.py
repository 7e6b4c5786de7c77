# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every plugin refers to related ones, every module to its RFC, and the pages have every field and every guide."""

from __future__ import annotations

import ast
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.fields import ASSOCIATION, CONNECTION, ENDPOINT

TOP = Path(__file__).resolve().parents[3]
PAGES = TOP / "docs" / "docsite" / "rst"


def documentation(path: Path) -> dict[str, t.Any]:
    if path.suffix == ".yml":
        return t.cast("dict[str, t.Any]", yaml.safe_load(path.read_text(encoding="utf-8"))["DOCUMENTATION"])
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "DOCUMENTATION":
            return t.cast("dict[str, t.Any]", yaml.safe_load(ast.literal_eval(node.value)))
    return {}


PLUGINS = {
    path: found
    for folder in ("modules", "lookup", "filter")
    for path in sorted(TOP.glob(f"plugins/{folder}/*.*"))
    for found in [documentation(path)]
    if found
}


@pytest.mark.parametrize("path", PLUGINS, ids=lambda path: path.name)
def test_seealso_names_related_plugins_and_rfcs(path: Path) -> None:
    rows = PLUGINS[path].get("seealso", [])
    others = {row.get("module", row.get("plugin")) for row in rows}
    assert any(str(name).startswith("ipsec.manual.") for name in others), "seealso names no other plugin of ours"
    if path.parent.name == "modules":
        assert f"ipsec.manual.{path.stem}" not in {row.get("module") for row in rows}
        assert any("rfc-editor.org" in row.get("link", "") for row in rows), "seealso names no RFC"


@pytest.mark.parametrize("field", sorted({*CONNECTION, *ENDPOINT, *ASSOCIATION}))
def test_every_field_of_a_connection_is_on_its_page(field: str) -> None:
    assert f"``{field}``" in (PAGES / "connections.rst").read_text(encoding="utf-8")


def test_every_page_is_in_the_contents_and_has_its_label() -> None:
    listed = [
        name
        for row in yaml.safe_load((TOP / "docs/docsite/extra-docs.yml").read_text(encoding="utf-8"))["sections"]
        for name in row["toctree"]
    ]
    assert sorted(listed) == sorted(path.stem for path in PAGES.glob("*.rst"))
    assert all(
        f".. _ansible_collections.ipsec.manual.docsite.{name}:\n" in (PAGES / f"{name}.rst").read_text(encoding="utf-8")
        for name in listed
    )
