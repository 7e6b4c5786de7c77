# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The documentation of a module says that it returns what the gate admits, with samples
that the gate admits.
"""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.ipsec.manual.plugins.plugin_utils._answers import ANSWERS
from ansible_collections.ipsec.manual.plugins.plugin_utils._gate import admit
from ansible_collections.ipsec.manual.tests.docs import returns

MODULES = Path(__file__).resolve().parents[3] / "plugins" / "modules"


def samples(rows: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """An answer made of the samples of a RETURN block."""
    found = {}
    for name, row in rows.items():
        inner = samples(row["contains"]) if "contains" in row else row["sample"]
        found[name] = [inner] if row["type"] == "list" and "contains" in row else inner
    return found


@pytest.mark.parametrize("module", ANSWERS)
def test_the_return_block_matches_the_table(module: str) -> None:
    source = (MODULES / f"{module}.py").read_text(encoding="utf-8")
    assert source == returns.written(source, ANSWERS[module]), "make docs-returns"


@pytest.mark.parametrize("module", ANSWERS)
def test_the_gate_admits_the_samples_unchanged(module: str) -> None:
    answer = {"changed": True, **samples(yaml.safe_load(returns.block(ANSWERS[module])))}
    assert admit(module, answer) == answer
