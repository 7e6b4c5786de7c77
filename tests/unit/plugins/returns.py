# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the documentation of a module says that it returns."""

from __future__ import annotations

import copy
import importlib
import typing as t

import yaml

Rows = t.Mapping[str, t.Any]


def documented(module: str) -> Rows:
    """The RETURN block of a module, by field."""
    text = importlib.import_module(f"ansible_collections.ipsec.manual.plugins.modules.{module}").RETURN
    return t.cast(Rows, yaml.safe_load(text))


def honest(module: str) -> dict[str, t.Any]:
    """An answer of the module, made of the samples of its documentation."""
    return {"changed": False, **_samples(documented(module))}


def _samples(rows: Rows) -> dict[str, t.Any]:
    found = {}
    for name, row in rows.items():
        inner = _samples(row["contains"]) if "contains" in row else copy.deepcopy(row["sample"])
        found[name] = [inner] if row["type"] == "list" and "contains" in row else inner
    return found
