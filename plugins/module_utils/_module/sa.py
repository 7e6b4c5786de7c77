# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The work of ipsec_sa: keep one SA of the SADB as described."""

from __future__ import annotations

import typing as t

from .._core.errors import raise_all
from .._core.sa import checks, model
from .._core.sa.model import SecurityAssociation, label
from .._core.sa.view import public
from .._core.sadb import open_sadb
from .._core.text.mapping import OptionReader, at_option, read_identity, read_sa
from .base import KEYS_HIDDEN, Module, Result, sadb_diff, warn
from .secrets import hide_keys, take_secret

if t.TYPE_CHECKING:
    from .._core.sa.model import Entry
    from .._core.sa.plan import Operation
    from .._core.sadb.base import Sadb

_PRESENT = "present"


def apply_sa(module: Module) -> Result:
    """Add, replace or remove one SA of the SADB."""
    params = module.params
    present = params["state"] == _PRESENT
    reader = OptionReader()
    if present:
        options = {**params, **{name: take_secret(module, name) for name in model.KEY_FIELDS}}
        allowed = params["allow_static_counter_mode"], params["allow_reserved_spi"]
        wanted, doubt = read_sa(reader, options, "", *allowed)
        hide_keys(module, [wanted])
    else:
        wanted, doubt = read_identity(reader, params, any_spi=True)
    reader.finish()

    sadb = open_sadb(params["backend"])
    if present:
        raise_all([at_option(problem) for problem in sadb.refusals(wanted)])
        warn(module, ((text, label(wanted)) for text in checks.warnings(wanted)))
    warn(module, [(doubt, "spi")] if doubt else [])
    actual = sadb.dump(protocol=wanted.protocol, destination=wanted.destination)
    # Keys that equal these are not hidden either, so the kernel is asked nothing more.
    settled = present and any(entry.sa == wanted and not entry.larval for entry in actual)
    operations = () if settled else _operations(module, sadb, wanted, actual)
    if operations and not module.check_mode:
        sadb.apply(operations)
    return _result(module, sadb.name, wanted, operations)


def _operations(
    module: Module, sadb: Sadb, wanted: SecurityAssociation, actual: t.Sequence[Entry]
) -> tuple[Operation, ...]:
    """What makes the SA as wanted."""
    from .._core.sa.plan import plan  # both only here, since most tasks change nothing
    from .._core.sa.reuse import reused

    state = module.params["state"]
    there = state == _PRESENT and bool(actual)
    keys_hidden = there and sadb.keys_hidden()
    if keys_hidden:
        module.warn(KEYS_HIDDEN)
    tells_directions = there and sadb.tells_directions()
    operations = plan(
        [wanted], actual, state, keys_hidden=keys_hidden, tells_directions=tells_directions, take_over=True
    ).operations
    if state == _PRESENT and operations:
        found = reused(operations, sadb.dump(), allow_shared_key=module.params["allow_shared_key"])
        raise_all([at_option(problem) for problem in found])
    return operations


def _result(module: Module, backend: str, wanted: SecurityAssociation, operations: t.Sequence[Operation]) -> Result:
    result: Result = {
        "changed": bool(operations),
        "operations": [str(operation) for operation in operations],
        "differences": [name for operation in operations for name in operation.fields],
        "backend": backend,
    }
    if module.params["state"] == _PRESENT:
        result["sa"] = public(wanted)
    if module._diff:
        result["diff"] = sadb_diff(operations)
    return result
