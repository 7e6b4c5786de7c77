# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The documentation of a module says that it returns what the gate admits, with samples
that the gate admits.
"""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.ipsec.manual.plugins.plugin_utils._answers import ANSWERS, Fields
from ansible_collections.ipsec.manual.plugins.plugin_utils._gate import admit
from ansible_collections.ipsec.manual.tests.unit.plugins.returns import Rows, documented, honest

# By the path of a field: its type, that of its elements, and whether it may be missing, or null.
Shape = t.Dict[str, t.Tuple[str, t.Optional[str], bool, bool]]


def declared(fields: Fields, place: str = "") -> Shape:
    """What the gate admits."""
    found: Shape = {}
    for name, field in fields.items():
        inner = field.elements if field.type == "list" else None
        found[place + name] = (field.type, inner.type if inner else None, field.optional, field.nullable)
        found.update(declared((inner or field).contains, f"{place}{name}."))
    return found


def described(rows: Rows, place: str = "") -> Shape:
    """What a RETURN block says."""
    found: Shape = {}
    for name, row in rows.items():
        optional = row["returned"] not in ("always", "success")
        nullable = "V(null)" in "".join(row["description"])
        found[place + name] = (row["type"], row.get("elements"), optional, nullable)
        found.update(described(row.get("contains", {}), f"{place}{name}."))
    return found


@pytest.mark.parametrize("module", ANSWERS)
def test_a_module_documents_the_fields_that_the_gate_admits(module: str) -> None:
    assert described(documented(module)) == declared(ANSWERS[module])


@pytest.mark.parametrize("module", ANSWERS)
def test_the_gate_admits_the_samples_unchanged(module: str) -> None:
    assert admit(module, honest(module)) == honest(module)
