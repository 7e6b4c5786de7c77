# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The inputs of the role `audit`: one value for all hosts, or one for each."""

from __future__ import annotations

import math
import typing as t

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import InputError, IpsecError, raise_all

from .._inputs import Inputs
from .._rotation import inputs as rotation
from .._rotation.inputs import unknown
from .._variables import Values, read_variables
from .kinds import SEVERITIES
from .output import FORMATS

PREFIX = "audit_"
NEVER = "never"

# The names are those of the role's variables without the prefix. Some are variables of `rotate`, too.
WIDE: dict[str, Values] = {
    **{name: rotation.WIDE[name] for name in ("connections", "keystore", "clock_tolerance", "trusted_transports")},
    "age_limit": {"type": "float", "range": (0, math.inf)},
    "directory": {"type": "str"},
    "formats": {"type": "list", "elements": "str", "choices": list(FORMATS)},
    "fail_on": {"type": "str", "choices": [NEVER, *SEVERITIES]},
}
OWN: dict[str, Values] = {name: rotation.OWN[name] for name in ("file", "backend", "timeout")}
NAMES = frozenset([*WIDE, *OWN])


def read_wide(inputs: Inputs, hosts: t.Sequence[str]) -> Values:
    """The inputs for all hosts, as the first of them has them. Raises every problem at once."""
    problems: list[IpsecError] = [*unknown(inputs, hosts, {PREFIX: NAMES, "rotate_": rotation.ROLES["rotate_"]})]
    values = read_variables(inputs, hosts[:1], WIDE, PREFIX, problems)[hosts[0]]
    problems += _differences(inputs, hosts)
    raise_all(problems)
    return values


def read_own(inputs: Inputs, hosts: t.Iterable[str]) -> dict[str, Values]:
    """The inputs of single hosts. Raises every problem at once."""
    problems: list[IpsecError] = []
    values = read_variables(inputs, hosts, OWN, PREFIX, problems)
    raise_all(problems)
    return values


def _differences(inputs: Inputs, hosts: t.Sequence[str]) -> t.Iterator[InputError]:
    """Variables that are not written alike for all hosts. Their templates are not evaluated, which would
    take long for many connections and hosts.
    """
    first = inputs.raw(hosts[0])
    for name in ("ipsec_connections", *(PREFIX + word for word in WIDE)):
        for host in hosts[1:]:
            if inputs.raw(host).get(name) != first.get(name):
                yield InputError(
                    f"the variable {name} has a different value for {host} than for {hosts[0]}",
                    "",
                    "Define it once for all hosts of the play, in group_vars/all.yml or in the play.",
                )
                break
