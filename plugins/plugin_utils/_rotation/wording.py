# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What hosts and the collection say, in the words of the roles. Pure."""

from __future__ import annotations

import re

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import WORDS, IpsecError

from .inputs import BOOT, BOOT_ROLE
from .rotation import Result

ROLE_WORDS = {
    **WORDS,
    "allow_static_counter_mode": "with rotate_allow_static_counter_mode",
    "moved": "",
    **{name: f"rotate_{name}" for name in ("new_keys", "store", "trusted_transports")},
}
"""What hints have in braces, in the words of the role."""
# The options of `ipsec_boot` as the variables of the role that sets them.
BOOT_VARIABLES = {
    "boot": {name: f"boot_{name}" for name in BOOT_ROLE},
    "rotate": {**{name: f"boot_{name}" for name in BOOT}, "file": "rotate_file"},
}
# What hosts suggest, and no role can do.
_OTHERWISE = {
    "run without purge: false": "run the role boot with all policies that should stay",
    f"Choose another SPI, or delete that SA if nobody needs it.{WORDS['moved']}": (
        "Delete that SA if nobody needs it, or see the page Recovery for how to draw other SPIs."
    ),
}


def worded(answer: Result, module: str, role: str) -> Result:
    """An answer of a module, which speaks of its options, in the words of the role."""

    def reworded(text: str) -> str:
        return otherwise(in_variables(text, role) if module == "ipsec_boot" else text)

    told: Result = {"msg": reworded(str(answer["msg"]))} if "msg" in answer else {}
    if "warnings" in answer:
        told["warnings"] = [reworded(text) for text in answer["warnings"]]
    return {**answer, **told}


def otherwise(text: str) -> str:
    """What a host says, with what the operator of a role can do about it."""
    for phrase, other in _OTHERWISE.items():
        text = text.replace(phrase, other)
    return text


def in_variables(text: str, role: str) -> str:
    """What `ipsec_boot` says, with the variables of a role instead of the options of the module: where one is the
    place of a problem, where it has a value, and where its name cannot be another word.
    """
    known = BOOT_VARIABLES[role]
    words, names = "|".join(known), "|".join(name for name in known if "_" in name)
    pattern = rf"^(?:{words})(?=[:.\[])|(?<![\w.])(?:(?:{words})(?=: (?:true|false)\b)|(?:{names})\b)"
    return re.sub(pattern, lambda found: known[found[0]], text, flags=re.M)


def without_host(error: IpsecError, host: str) -> str:
    """What a host's inputs were refused for, as it is said of any host."""
    return re.sub(rf"\b(of|which) {re.escape(host)}(?=:|\[| has,)", r"\1", str(error))
