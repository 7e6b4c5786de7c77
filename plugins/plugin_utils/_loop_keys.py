# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether Ansible would print a key with a loop's item, label or, with ``extended``, its other items."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.ipsec.manual.plugins.plugin_utils._key_shapes import holds_key

# A shorter value may occur anywhere by chance.
_SHORTEST = 8


def shows_key(task_vars: t.Mapping[str, t.Any], label: t.Any, secrets: t.Iterable[t.Any]) -> bool:
    """Whether the current item, its label or its neighbours contain one of these values in any
    notation, or something that looks like a key.
    """
    shown = [label, *(task_vars.get(name) for name in (task_vars.get("ansible_loop_var", "item"), "ansible_loop"))]
    values = {_digits(str(secret)) for secret in secrets if secret is not None} - {""}
    return holds_key(shown) or any(_holds(leaf, values) for leaf in _leaves(shown))


def _leaves(value: t.Any) -> t.Iterator[str]:
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, (list, tuple)):
        for part in value:
            yield from _leaves(part)
    elif value is not None:
        yield str(value)


def _holds(leaf: str, values: t.AbstractSet[str]) -> bool:
    digits = _digits(leaf)
    return digits in values or any(len(value) >= _SHORTEST and value in digits for value in values)


def _digits(text: str) -> str:
    """The text without prefix, separators and size, as they are written around a key and its digits."""
    return re.sub(r"0x|/[0-9]*$|[^0-9a-z]", "", text.strip().lower())
