# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tables of findings on the page "Audit", made from the table that the audit uses. A test compares both.

`make docs-findings` writes them with Python's standard library alone.
"""

from __future__ import annotations

import importlib.util
import re
import textwrap
import typing as t
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
PAGE = TOP / "docs" / "docsite" / "rst" / "audit.rst"
# Between these lines of the page.
BLOCK = re.compile(r"(?<=^\.\. findings begin\n).*?(?=^\.\. findings end$)", re.M | re.S)
WIDTH = 100


def kinds() -> t.Mapping[str, t.Any]:
    """The table of findings, imported alone, since it needs nothing."""
    path = TOP / "plugins" / "plugin_utils" / "_audit" / "kinds.py"
    spec = importlib.util.spec_from_file_location("kinds", path)
    if spec is None or spec.loader is None:
        raise ImportError(path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: t.Mapping[str, t.Any] = module.KINDS
    return found


def tables() -> str:
    """A heading and a table for each group."""
    rows = kinds()
    parts = []
    for group in dict.fromkeys(row.group for row in rows.values()):
        title = group[0].upper() + group[1:]
        parts += [
            "",
            title,
            "~" * len(title),
            "",
            ".. list-table::",
            "   :header-rows: 1",
            "   :widths: 20 12 34 34",
            "",
        ]
        parts += ["   * - Finding", "     - Severity", "     - What", "     - Why"]
        for name, row in rows.items():
            if row.group == group:
                parts += [f"   * - ``{name}``", f"     - {row.severity}", *_cell(row.what), *_cell(row.why)]
    return "\n".join([*parts, "", ""])


def _cell(text: str) -> list[str]:
    words = re.sub(r"\{(\w+)\}", lambda found: found[1].upper(), text.replace("{{", "{").replace("}}", "}"))
    return textwrap.wrap(
        words[0].upper() + words[1:],
        WIDTH,
        initial_indent="     - ",
        subsequent_indent="       ",
        break_on_hyphens=False,
    )


def written(page: str) -> str:
    """The page with these tables."""
    made = tables()
    return BLOCK.sub(lambda dummy: made, page)


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
