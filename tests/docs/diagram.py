# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The drawing on the page "How it is built", from two tables: boxes and arrows. A test compares
both with the imports of the code.

python tests/docs/diagram.py > docs/docsite/rst/how_it_is_built.svg
"""

from __future__ import annotations

import typing as t
from xml.sax.saxutils import escape

CORE = "plugins/module_utils/_core/"
PLUGINS = ("plugins/action/*.py", "plugins/lookup/*.py", "plugins/filter/*.py")


class Box(t.NamedTuple):
    """``files`` are globs. A file belongs to the first box that matches. ``x`` to ``right`` and
    ``y`` to ``bottom`` are pixels.
    """

    name: str
    says: str
    x: int
    right: int
    y: int
    bottom: int
    kind: str
    files: tuple[str, ...] = ()


class Arrow(t.NamedTuple):
    """Something in ``user`` imports something in ``used``, or names it in a task. Drawn as a vertical line
    at ``x``. ``core`` is the whole core.
    """

    user: str
    used: str
    x: int


BOXES = (
    Box(
        "roles, playbooks",
        "what to do, in which order",
        20,
        880,
        20,
        66,
        "both",
        ("roles/**/*.yml", "playbooks/**/*.yml"),
    ),
    Box("modules", "options, results, documentation", 20, 280, 106, 152, "host", ("plugins/modules/*.py",)),
    Box("actions, lookups, filters", "what Ansible calls on the controller", 310, 880, 106, 152, "controller", PLUGINS),
    Box(
        "_module",
        "the work of the modules, and what is secret",
        60,
        520,
        192,
        238,
        "both",
        ("plugins/module_utils/_module/**/*.py",),
    ),
    Box(
        "plugin_utils",
        "connections, keystore, rotation",
        560,
        800,
        192,
        238,
        "controller",
        ("plugins/plugin_utils/**/*.py",),
    ),
    Box("_core", "", 20, 880, 278, 812, "core"),
    Box("program", "the command ipseckey for Linux", 40, 860, 322, 368, "both", (CORE + "program/*.py",)),
    Box("audit", "read-only facts for a status and an audit", 120, 400, 408, 454, "host", (CORE + "audit/*.py",)),
    Box("files", "the 0600 file", 40, 160, 494, 540, "host", (CORE + "files/*.py",)),
    Box("spd", "policies: as text, and in the kernel", 230, 600, 494, 540, "host", (CORE + "spd/*.py",)),
    Box("sadb", "the kernel: one folder a backend", 290, 740, 580, 626, "host", (CORE + "sadb/**/*.py",)),
    Box("text", "the language of ipseckey", 170, 840, 666, 712, "both", (CORE + "text/*.py",)),
    Box("sa", "what an SA is, and how two sets differ", 40, 860, 752, 798, "both", (CORE + "sa/*.py",)),
)
# Any file of the core may import these, so they are not drawn.
EVERYWHERE = tuple(
    CORE + name
    for name in ("__init__.py", "collector.py", "errors.py", "programs.py", "signals.py", "specs.py", "sa/*.py")
)

ARROWS = (
    Arrow("roles, playbooks", "modules", 150),
    Arrow("roles, playbooks", "actions, lookups, filters", 600),
    Arrow("modules", "_core", 40),
    Arrow("modules", "_module", 150),
    Arrow("actions, lookups, filters", "_module", 415),
    Arrow("actions, lookups, filters", "plugin_utils", 680),
    Arrow("actions, lookups, filters", "_core", 840),
    Arrow("_module", "_core", 270),
    Arrow("plugin_utils", "_core", 680),
    Arrow("program", "audit", 260),
    Arrow("program", "files", 80),
    Arrow("program", "text", 800),
    Arrow("program", "spd", 415),
    Arrow("program", "sadb", 690),
    Arrow("audit", "files", 140),
    Arrow("audit", "text", 200),
    Arrow("audit", "spd", 330),
    Arrow("spd", "text", 260),
    Arrow("spd", "sadb", 445),
    Arrow("sadb", "text", 535),
)

_FILL = {"both": "#ffffff", "host": "#e3f1e3", "controller": "#e2ecf8", "core": "#f5f3ee"}
_LEGEND = (("controller", "on the controller"), ("host", "on the hosts"), ("both", "on both"))
_WIDTH, _HEIGHT = 900, 856
_DESCRIPTION = (
    "Layers from top to bottom. Roles and playbooks use modules, actions, lookups and filters. Modules use _module;"
    " actions, lookups and filters use _module and plugin_utils. All use _core, in which program uses audit,"
    " files, spd, sadb and text; audit uses files, spd and text; spd uses sadb and text; sadb uses text; and every"
    " folder uses sa."
)


def draw() -> str:
    """The SVG."""
    boxes = {box.name: box for box in BOXES}
    parts = [*map(_box, BOXES), *(_arrow(boxes[arrow.user], boxes[arrow.used], arrow.x) for arrow in ARROWS)]
    for index, (kind, words) in enumerate(_LEGEND):
        x = 20 + 170 * index
        parts.append(f'<rect x="{x}" y="828" width="18" height="14" rx="2" fill="{_FILL[kind]}" stroke="#555"/>')
        parts.append(f'<text x="{x + 26}" y="840" class="says">{words}</text>')
    parts.append(
        f'<text x="{_WIDTH - 20}" y="840" class="says" text-anchor="end">an arrow: imports, or names in a task</text>'
    )
    style = (
        "text{font-family:sans-serif;fill:#222}.name{font-size:15px;font-weight:bold}.says{font-size:12px;fill:#555}"
    )
    head = (
        '<marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto"><path'
        ' d="M0 0 8 4 0 8z" fill="#444"/></marker>'
    )
    ground = f'<defs>{head}</defs><rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>'
    return document(
        "tests/docs/diagram.py",
        (_WIDTH, _HEIGHT),
        ("How the collection is built", _DESCRIPTION),
        style,
        [ground, *parts],
    )


def document(drawn_by: str, size: tuple[int, int], words: tuple[str, str], style: str, parts: t.Iterable[str]) -> str:
    """A complete SVG of these elements. ``words`` are a title and a description for people who cannot see it."""
    width, height = size
    sizes = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    title, description = map(escape, words)
    return "\n".join(
        [
            "<!--",
            "Copyright (c) 2026, ipsec.manual contributors",
            (
                "GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or"
                " https://www.gnu.org/licenses/gpl-3.0.txt)"
            ),
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
    shape = (
        f'<rect x="{box.x}" y="{box.y}" width="{box.right - box.x}" height="{box.bottom - box.y}" rx="5"'
        f' fill="{_FILL[box.kind]}" stroke="#555"/>'
    )
    if box.kind == "core":
        words = (
            f'<text x="{box.x + 20}" y="{box.y + 28}" class="name">_core: the standard library and itself, nothing'
            " else</text>"
        )
        return shape + words
    middle = (box.x + box.right) // 2
    name = f'<text x="{middle}" y="{box.y + 20}" class="name" text-anchor="middle">{escape(box.name)}</text>'
    return (
        shape
        + name
        + f'<text x="{middle}" y="{box.y + 37}" class="says" text-anchor="middle">{escape(box.says)}</text>'
    )


def _arrow(user: Box, used: Box, x: int) -> str:
    return (
        f'<line x1="{x}" y1="{user.bottom}" x2="{x}" y2="{used.y - 1}" stroke="#444" stroke-width="1.5"'
        ' marker-end="url(#head)"/>'
    )


if __name__ == "__main__":
    import sys

    sys.stdout.write(draw())
