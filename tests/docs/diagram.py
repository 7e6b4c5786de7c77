# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The drawing of the page "How it is built", from two tables: boxes and arrows. A test compares both with the imports of the code.

python tests/docs/diagram.py > docs/docsite/rst/how_it_is_built.svg
"""

from __future__ import annotations

import typing as t
from xml.sax.saxutils import escape

CORE = "plugins/module_utils/_core/"


class Box(t.NamedTuple):
    """``files`` are globs; a file belongs to the first box that has it. ``x`` to ``right`` and ``y`` to ``bottom`` are pixels."""

    name: str
    says: str
    x: int
    right: int
    y: int
    bottom: int
    kind: str
    files: tuple[str, ...] = ()


class Arrow(t.NamedTuple):
    """Something in ``user`` imports something in ``used``, or names it in a task; a vertical line at ``x``. ``core`` is the whole core."""

    user: str
    used: str
    x: int


BOXES = (
    Box("roles, playbooks", "what to do, in which order", 20, 880, 20, 66, "both", ("roles/**/*.yml", "playbooks/**/*.yml")),
    Box("modules", "options, results, documentation", 20, 280, 106, 152, "host", ("plugins/modules/*.py",)),
    Box(
        "actions, lookups, filters",
        "what Ansible calls on the controller",
        310,
        880,
        106,
        152,
        "controller",
        ("plugins/action/*.py", "plugins/lookup/*.py", "plugins/filter/*.py"),
    ),
    Box(
        "glue",
        "module_utils: arguments, secrets, results; the only one of both worlds",
        20,
        520,
        192,
        238,
        "both",
        ("plugins/module_utils/_glue*.py", "plugins/module_utils/_arguments.py"),
    ),
    Box("plugin_utils", "connections, keystore, decisions", 560, 800, 192, 238, "controller", ("plugins/plugin_utils/*.py",)),
    Box("core", "", 20, 880, 278, 640, "core"),
    Box(
        "command",
        "ipseckey for Linux",
        40,
        860,
        322,
        368,
        "both",
        tuple(
            CORE + name
            for name in (
                "__init__.py",
                "__main__.py",
                "command.py",
                "display.py",
                "effect.py",
                "guarding.py",
                "loading.py",
                "login.py",
                "policies.py",
                "record.py",
                "reference.py",
                "script.py",
            )
        ),
    ),
    Box("protected", "the 0600 file", 150, 280, 408, 454, "host", (CORE + "protected.py",)),
    Box("sadb", "the kernel: one file a backend", 320, 740, 408, 454, "host", (CORE + "sadb/*.py",)),
    Box(
        "text",
        "the language",
        40,
        480,
        494,
        540,
        "both",
        tuple(CORE + name for name in ("grammar.py", "language.py", "plainlines.py", "reading.py", "render.py", "values.py")),
    ),
    Box("plan", "the difference, pure", 560, 780, 494, 540, "both", (CORE + "plan.py",)),
    Box(
        "SA",
        "association, keys, algorithms: what an SA is",
        40,
        860,
        580,
        626,
        "both",
        tuple(CORE + name for name in ("algorithms.py", "association.py", "keys.py")),
    ),
)
# Every file may import it, so it is not drawn.
EVERYWHERE = tuple(CORE + name for name in ("bulk.py", "errors.py", "uninterrupted.py"))

ARROWS = (
    Arrow("roles, playbooks", "modules", 150),
    Arrow("roles, playbooks", "actions, lookups, filters", 600),
    Arrow("modules", "glue", 150),
    Arrow("actions, lookups, filters", "glue", 415),
    Arrow("actions, lookups, filters", "plugin_utils", 680),
    Arrow("actions, lookups, filters", "core", 840),
    Arrow("glue", "core", 270),
    Arrow("plugin_utils", "core", 680),
    Arrow("command", "text", 95),
    Arrow("command", "protected", 215),
    Arrow("command", "sadb", 530),
    Arrow("command", "plan", 760),
    Arrow("command", "SA", 825),
    Arrow("text", "SA", 260),
    Arrow("sadb", "text", 400),
    Arrow("sadb", "plan", 650),
    Arrow("sadb", "SA", 520),
    Arrow("plan", "SA", 670),
)

_FILL = {"both": "#ffffff", "host": "#e3f1e3", "controller": "#e2ecf8", "core": "#f5f3ee"}
_LEGEND = (("controller", "on the controller"), ("host", "on the hosts"), ("both", "on both"))
_WIDTH, _HEIGHT = 900, 684
_DESCRIPTION = (
    "Layers from top to bottom. Roles and playbooks use modules, actions, lookups and filters. Modules stand on the glue; actions, lookups and filters "
    "stand on the glue and on the controller's side. Both stand on the core, in which the command stands on text, protected, plan, SADB and SA."
)


def draw() -> str:
    """The SVG."""
    boxes = {box.name: box for box in BOXES}
    parts = [*map(_box, BOXES), *(_arrow(boxes[arrow.user], boxes[arrow.used], arrow.x) for arrow in ARROWS)]
    for index, (kind, words) in enumerate(_LEGEND):
        x = 20 + 170 * index
        parts.append(f'<rect x="{x}" y="656" width="18" height="14" rx="2" fill="{_FILL[kind]}" stroke="#555"/>')
        parts.append(f'<text x="{x + 26}" y="668" class="says">{words}</text>')
    parts.append(f'<text x="{_WIDTH - 20}" y="668" class="says" text-anchor="end">an arrow: imports, or names in a task</text>')
    style = "text{font-family:sans-serif;fill:#222}.name{font-size:15px;font-weight:bold}.says{font-size:12px;fill:#555}"
    head = '<marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto"><path d="M0 0 8 4 0 8z" fill="#444"/></marker>'
    ground = f'<defs>{head}</defs><rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>'
    return document("tests/docs/diagram.py", (_WIDTH, _HEIGHT), ("How the collection is built", _DESCRIPTION), style, [ground, *parts])


def document(drawn_by: str, size: tuple[int, int], words: tuple[str, str], style: str, parts: t.Iterable[str]) -> str:
    """A whole SVG of these elements; ``words`` are a title and a description for those who do not see it."""
    width, height = size
    sizes = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    title, description = map(escape, words)
    return "\n".join(
        [
            "<!--",
            "Copyright (c) 2026, ipsec.manual contributors",
            "GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)",
            "SPDX" + "-License-Identifier: GPL-3.0-or-later",
            f"Drawn by {drawn_by}.",
            "-->",
            f'<svg xmlns="http://www.w3.org/2000/svg" {sizes} role="img" aria-labelledby="title desc">',
            f'<title id="title">{title}</title>',
            f'<desc id="desc">{description}</desc>',
            f"<style>{style}</style>",
            *parts,
            "</svg>",
            "",
        ]
    )


def _box(box: Box) -> str:
    shape = f'<rect x="{box.x}" y="{box.y}" width="{box.right - box.x}" height="{box.bottom - box.y}" rx="5" fill="{_FILL[box.kind]}" stroke="#555"/>'
    if box.kind == "core":
        words = f'<text x="{box.x + 20}" y="{box.y + 28}" class="name">core: the standard library and itself, nothing else</text>'
        return shape + words
    middle = (box.x + box.right) // 2
    name = f'<text x="{middle}" y="{box.y + 20}" class="name" text-anchor="middle">{escape(box.name)}</text>'
    return shape + name + f'<text x="{middle}" y="{box.y + 37}" class="says" text-anchor="middle">{escape(box.says)}</text>'


def _arrow(user: Box, used: Box, x: int) -> str:
    return f'<line x1="{x}" y1="{user.bottom}" x2="{x}" y2="{used.y - 1}" stroke="#444" stroke-width="1.5" marker-end="url(#head)"/>'


if __name__ == "__main__":
    import sys

    sys.stdout.write(draw())
