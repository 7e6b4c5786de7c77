# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The work of ipsec_sa: keep one SA of the SADB as described."""

from __future__ import annotations

from .._core.errors import raise_all
from .._core.sa import checks, model
from .._core.sa.model import SecurityAssociation, label
from .._core.sa.plan import PRESENT, Plan, plan
from .._core.sa.view import public
from .._core.sadb import open_sadb
from .._core.text.mapping import OptionReader, at_option, read_identity, read_sa
from .base import KEYS_HIDDEN, Module, Result, sadb_diff, warn
from .secrets import hide_keys, take_secret


def apply_sa(module: Module) -> Result:
    """Add, replace or remove one SA of the SADB."""
    params = module.params
    present = params["state"] == PRESENT
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
    keys_hidden = present and bool(actual) and sadb.keys_hidden()
    if keys_hidden:
        module.warn(KEYS_HIDDEN)
    tells_directions = present and bool(actual) and sadb.tells_directions()
    steps = plan(
        [wanted], actual, params["state"], keys_hidden=keys_hidden, tells_directions=tells_directions, take_over=True
    )
    if present and steps.operations:
        from .._core.sa.reuse import reused  # only here, since most tasks change nothing

        found = reused(steps.operations, sadb.dump(), allow_shared_key=params["allow_shared_key"])
        raise_all([at_option(problem) for problem in found])
    if steps.operations and not module.check_mode:
        sadb.apply(steps.operations)
    return _result(module, sadb.name, wanted, steps)


def _result(module: Module, backend: str, wanted: SecurityAssociation, steps: Plan) -> Result:
    result: Result = {
        "changed": bool(steps.operations),
        "operations": [str(operation) for operation in steps.operations],
        "differences": [name for operation in steps.operations for name in operation.fields],
        "backend": backend,
    }
    if module.params["state"] == PRESENT:
        result["sa"] = public(wanted)
    if module._diff:
        result["diff"] = sadb_diff(steps.operations)
    return result
