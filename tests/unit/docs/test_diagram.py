# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The drawing on the page "How it is built" shows exactly the imports of the code."""

from __future__ import annotations

import ast
import re
import typing as t
from pathlib import Path

from ansible_collections.ipsec.manual.tests.docs.diagram import ARROWS, BOXES, CORE, EVERYWHERE, draw

TOP = Path(__file__).resolve().parents[3]
OURS = "ansible_collections.ipsec.manual."
# What a task can name, and in which folder it is.
NAMED = {
    "action": "plugins/action",
    "module": "plugins/modules",
    "lookup": "plugins/lookup",
    "filter": "plugins/filter",
}


def boxes() -> dict[Path, str]:
    """The box that each file is in."""
    found: dict[Path, str] = {}
    for box in BOXES:
        for glob in box.files:
            for path in TOP.glob(glob):
                found.setdefault(path, box.name)
    return found


def imports(path: Path) -> t.Iterator[Path]:
    """The files of the collection that a file imports, also for types only."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(OURS):
            base = TOP.joinpath(*(node.module or "")[len(OURS) :].split("."))
        else:
            assert not isinstance(node, ast.Import) or not any(
                name.name.startswith(OURS) for name in node.names
            ), f"{path}: import it with from"
            continue
        for name in node.names:
            candidates = (
                base / f"{name.name}.py",
                base / name.name / "__init__.py",
                base.with_suffix(".py"),
                base / "__init__.py",
            )
            yield [found for found in candidates if found.exists()][0]


def names(path: Path) -> t.Iterator[Path]:
    """The plugins that the tasks of a file name. A module with an action is called through it."""
    words = set(re.findall(r"ipsec\.manual\.(\w+)", path.read_text(encoding="utf-8")))
    for word in words:
        files = {kind: TOP / folder / f"{word}.py" for kind, folder in NAMED.items()}
        yield from (found for found in files.values() if found.exists())
        if (TOP / "plugins" / "filter" / f"{word}.yml").exists():
            yield TOP / "plugins" / "filter" / "ipsec_text.py"


def everywhere() -> set[Path]:
    return {path for glob in EVERYWHERE for path in TOP.glob(glob)}


def real_arrows() -> set[tuple[str, str]]:
    known = boxes()
    core = {box.name for box in BOXES if any(glob.startswith(CORE) for glob in box.files)}
    base = everywhere()
    found = set()
    for path, user in known.items():
        for target in imports(path) if path.suffix == ".py" else names(path):
            inside = user in core
            if not (inside and target in base) and known.get(target, "_core") != user:
                used = known.get(target, "_core")
                found.add((user, "_core" if used in core and not inside else used))
    return found


def test_every_file_is_in_a_box() -> None:
    drawn = {*boxes(), *everywhere()}
    lost = [
        str(path.relative_to(TOP))
        for path in TOP.glob("plugins/**/*.py")
        if path not in drawn and "doc_fragments" not in path.parts and path.stat().st_size
    ]
    assert lost == [], "give each a box in tests/docs/diagram.py"


def test_every_box_has_files() -> None:
    assert {box.name for box in BOXES} - set(boxes().values()) == {"_core"}


def test_arrows_are_the_imports() -> None:
    assert {(arrow.user, arrow.used) for arrow in ARROWS} == real_arrows()


def test_arrows_point_down_and_touch_what_they_join() -> None:
    known = {box.name: box for box in BOXES}
    for arrow in ARROWS:
        user, used = known[arrow.user], known[arrow.used]
        assert user.bottom < used.y and max(user.x, used.x) < arrow.x < min(user.right, used.right), arrow
        between = [
            box for box in BOXES if user.bottom < box.y < used.y and box.x < arrow.x < box.right and box.kind != "core"
        ]
        assert not between, f"{arrow} crosses {between}"


def test_the_core_knows_no_ansible() -> None:
    for path in (TOP / CORE).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = (
                [name.name for name in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            )
            assert not any(module.split(".")[0] in ("ansible", "ansible_collections") for module in modules), path


def test_the_drawing_matches_the_tables() -> None:
    drawn = (TOP / "docs" / "docsite" / "rst" / "how_it_is_built.svg").read_text(encoding="utf-8")
    assert drawn == draw(), "python tests/docs/diagram.py > docs/docsite/rst/how_it_is_built.svg"
