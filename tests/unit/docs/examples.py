# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every example of the collection: of plugins, of roles, of the pages and of the README."""

from __future__ import annotations

import ast
import re
import textwrap
import typing as t
from pathlib import Path

import yaml

TOP = Path(__file__).resolve().parents[3]

_MARKDOWN = re.compile(r"^```yaml\n(.*?)^```", re.M | re.S)
_BLOCK = re.compile(r"^( *)(\.\. runnable\n\1)?\.\. code-block:: yaml(?:\+jinja)?\n\n((?:\1 +\S.*\n|\n)+)", re.M)


class Example(t.NamedTuple):
    """One example. ``plugin`` is the plugin's name, empty for examples of pages."""

    place: str
    text: str
    plugin: str = ""
    runnable: bool = False

    @property
    def data(self) -> t.Any:
        return yaml.safe_load(self.text)

    @property
    def kind(self) -> str:
        """``playbook``, ``tasks``, or ``data``: variables and inventories."""
        data = self.data
        if not isinstance(data, list):
            return "data"
        imports = ("import_playbook", "ansible.builtin.import_playbook")
        return "playbook" if all({"hosts", *imports} & set(row) for row in data) else "tasks"

    @property
    def file(self) -> str:
        return re.sub(r"\W+", "_", self.place) + ".yml"


def examples() -> list[Example]:
    return [*_of_plugins(), *_of_markdown(), *_of_pages()]


def _of_plugins() -> t.Iterator[Example]:
    for path in sorted(TOP.glob("plugins/*/*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "EXAMPLES":
                yield Example(_name(path), ast.literal_eval(node.value), path.stem)
    for path in sorted(TOP.glob("plugins/*/*.yml")):
        yield Example(_name(path), yaml.safe_load(path.read_text(encoding="utf-8"))["EXAMPLES"], path.stem)


def _of_markdown() -> t.Iterator[Example]:
    for path in sorted({*TOP.glob("*.md"), *TOP.glob("roles/*/README.md")}):
        for index, text in enumerate(_MARKDOWN.findall(path.read_text(encoding="utf-8"))):
            yield Example(f"{_name(path)}-{index}", text)


def _of_pages() -> t.Iterator[Example]:
    for path in sorted(TOP.glob("docs/docsite/rst/*.rst")):
        for index, (dummy, mark, text) in enumerate(_BLOCK.findall(path.read_text(encoding="utf-8"))):
            yield Example(f"{_name(path)}-{index}", textwrap.dedent(text), runnable=bool(mark))


def _name(path: Path) -> str:
    return str(path.relative_to(TOP))
