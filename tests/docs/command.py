# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What docs/ has of the command ipseckey, made from the command's own tables. A test compares both.

`make docs-command` writes it with Python's standard library alone.
"""

from __future__ import annotations

import importlib
import re
import sys
import typing as t
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"


def _core(name: str) -> t.Any:
    """A part of the command's program; outside of a collection's folder, found by its path."""
    package = f"{__package__.rpartition('.tests.')[0]}.plugins.module_utils" if __package__ else ""
    if not package:
        sys.path.insert(0, str(DOCS.parent / "plugins" / "module_utils"))
    return importlib.import_module(f"{package}._core.program.{name}".lstrip("."))


completion, reference = _core("completion"), _core("reference")


def page() -> str:
    """The content of `reference.man_page` as a page of the documentation site."""
    text = _PAGE.format(summary=reference.SUMMARY[:1].upper() + reference.SUMMARY[1:], usage=reference.USAGE)
    for title, head, rows in reference.tables():
        text += f"{_heading(title)}.. list-table::\n   :header-rows: 1\n   :widths: 35 65\n\n   * - {head}\n     -\n"
        for left, right in rows:
            text += f"   * - ``{left}``\n     - " + "\n       ".join(completion.wrapped(_plain(right), 93)) + "\n"
    for title, paragraph in reference.SECTIONS.items():
        text += _heading(title) + "\n".join(completion.wrapped(_plain(paragraph))) + "\n"
    return text


def _heading(title: str) -> str:
    return f"\n{title}\n{'-' * len(title)}\n\n"


def _plain(text: str) -> str:
    """The text with markup of reStructuredText escaped, and options of the command as literals."""
    return re.sub(r"(?<![\w-])--[a-z]+(?:-[a-z]+)*", r"``\g<0>``", re.sub(r"[\\*`|]|_(?!\w)", r"\\\g<0>", text))


_PAGE = """\
..
  Copyright (c) 2026, ipsec.manual contributors
  GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
  SPDX-License-Identifier: GPL-3.0-or-later

.. _ansible_collections.ipsec.manual.docsite.ipseckey:

The command ipseckey
====================

{summary}, in the language of Solaris' utility of that name;
`another page <deviations.rst>`__ lists where it differs.
``make docs-command`` writes this page from the tables of the command itself; ``ipseckey --man``
prints them as a manual page.

.. code-block:: text

   {usage}
"""

# Generated files of docs/, and the functions that return their content.
DOCUMENTS: dict[str, t.Callable[[], str]] = {
    "ipseckey.8": reference.man_page,
    "ipseckey.bash": completion.bash_script,
    "docsite/rst/ipseckey.rst": page,
}


def main() -> None:
    for name, made in DOCUMENTS.items():
        (DOCS / name).write_text(made(), encoding="utf-8")


if __name__ == "__main__":
    main()
