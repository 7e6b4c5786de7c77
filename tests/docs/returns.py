# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The RETURN blocks of the modules that run on hosts, made from the table of answers that the gate uses.
A test compares both.

`make docs-returns` writes them with Python's standard library alone.
"""

from __future__ import annotations

import json
import re
import sys
import textwrap
import typing as t
from pathlib import Path

if t.TYPE_CHECKING:
    from ansible_collections.ipsec.manual.plugins.plugin_utils._answers import Fields

TOP = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r'(?<=^RETURN = r"""\n).*?(?=^"""$)', re.M | re.S)
WIDTH = 98
# Sentences and words that need no quotes in YAML.
PLAIN = re.compile(r"[A-Z](?!.*(?:: | #)).*|[a-z/][a-z/.-]+")


def block(fields: Fields, indent: str = "") -> str:
    """Fields as YAML, in the form of a RETURN block."""
    return "".join(
        f"{indent}{name}:\n" + "".join(f"{indent}  {line}\n" for line in lines(field)) for name, field in fields.items()
    )


def lines(field: t.Any) -> t.Iterator[str]:
    """The lines of the block about one field, without its name."""
    yield from described(field.description)
    yield f"returned: {field.returned}"
    yield f"type: {field.type}"
    if field.type == "list":
        yield f"elements: {field.elements.type}"
    contains = field.contains or (field.elements.contains if field.type == "list" else {})
    if contains:
        yield "contains:"
        yield from block(contains, "  ").splitlines()
    if field.sample is not None or field.nullable:
        yield f"sample: {scalar(field.sample)}"


def described(texts: str | tuple[str, ...]) -> t.Iterator[str]:
    if isinstance(texts, str):
        yield from textwrap.wrap(f"description: {scalar(texts)}", WIDTH, subsequent_indent="  ", break_on_hyphens=False)
        return
    yield "description:"
    for text in texts:
        yield from textwrap.wrap(
            scalar(text), WIDTH, initial_indent="  - ", subsequent_indent="    ", break_on_hyphens=False
        )


def scalar(value: object) -> str:
    return value if isinstance(value, str) and PLAIN.fullmatch(value) else json.dumps(value)


def written(source: str, fields: Fields) -> str:
    """A module's source with the RETURN block of its fields."""
    made = block(fields)
    return BLOCK.sub(lambda dummy: made, source)


def main() -> None:
    sys.path.insert(0, str(TOP / "plugins" / "plugin_utils"))
    from _answers import ANSWERS

    for name, fields in ANSWERS.items():
        path = TOP / "plugins" / "modules" / f"{name}.py"
        path.write_text(written(path.read_text(encoding="utf-8"), fields), encoding="utf-8")


if __name__ == "__main__":
    main()
