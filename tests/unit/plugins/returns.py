# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the documentation of a module says that it returns."""

from __future__ import annotations

import copy
import functools
import importlib
import re
import typing as t

import yaml

Rows = t.Mapping[str, t.Any]
# A dictionary whose fields are described elsewhere. It has those of its sample, and all optional ones.
_ELSEWHERE = re.compile(r"RV\(ipsec\.manual\.(\w+)#module:([\w.\[\]]+)\) describes")


@functools.cache  # reading YAML takes longer than most tests that ask
def documented(module: str) -> Rows:
    """The RETURN block of a module, by field. Not to be changed: all callers share it."""
    text = importlib.import_module(f"ansible_collections.ipsec.manual.plugins.modules.{module}").RETURN
    return _complete(yaml.safe_load(text))


def _complete(rows: Rows) -> Rows:
    """The rows with what they leave to another place."""
    for row in rows.values():
        found = _ELSEWHERE.search("".join(row["description"]))
        if found is not None:
            there = documented(found[1])
            for name in found[2].replace("[]", "").split("."):
                there = there[name]["contains"]
            row["contains"] = {
                name: inner for name, inner in there.items() if name in row["sample"] or inner["returned"] != "always"
            }
        _complete(row.get("contains", {}))
    return rows


def honest(module: str) -> dict[str, t.Any]:
    """An answer of the module, made of the samples of its documentation."""
    return {"changed": False, **_samples(documented(module))}


def _samples(rows: Rows) -> dict[str, t.Any]:
    found = {}
    for name, row in rows.items():
        if row.get("sample") is not None or "contains" not in row:
            found[name] = copy.deepcopy(row["sample"])
        else:
            inner = _samples(row["contains"])
            found[name] = [inner] if row["type"] == "list" else inner
    return found
