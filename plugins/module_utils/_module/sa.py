# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The work of ipsec_sa: one SA against the SADB."""

from __future__ import annotations

import typing as t

from .._core.errors import InputError, raise_all
from .._core.sa import checks, model
from .._core.sa.algorithms import AUTHENTICATION, ENCRYPTION, find
from .._core.sa.model import Encapsulation, Lifetimes, SecurityAssociation, Selector, label
from .._core.sa.plan import PRESENT, Plan, plan
from .._core.sadb import open_sadb
from .._core.text.mapping import Reader, read_address, read_selector
from .._core.text.values import parse_installed_spi, parse_key, parse_mark, parse_spi
from .result import KEYS_HIDDEN, Result, sadb_diff, warn
from .secrets import hide_keys, take_secret
from .view import public

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

# Stands in for an address that could not be read, while the other options are checked.
_SOME_ADDRESS = bytes([192, 0, 2, 1])
# The core names a field by its own name; the option that the user has to change is sometimes inside another.
_OPTIONS = {
    **{name: f"lifetimes.{name}" for name in Lifetimes._fields},
    **{f"selector {side}": f"selector.{side}" for side in Selector._fields},
    **{name: f"encapsulation.{name}" for name in ("nat_local", "nat_remote")},
}
# What cannot be judged while another option could not be read.
_DEPENDENT = {
    "encapsulation": ("nat_keepalive",),
    "destination": ("source", "selector", "encapsulation.nat_local", "encapsulation.nat_remote"),
    "encryption_algorithm": ("encryption_key", "icv_bits", "authentication_algorithm"),
    "authentication_algorithm": ("authentication_key", "icv_bits", "encryption_algorithm"),
}


def apply_sa(module: AnsibleModule) -> Result:
    """Bring one SA into the SADB, or out of it."""
    params = module.params
    present = params["state"] == PRESENT
    reader = Reader()
    spi, doubt = reader.require(
        parse_spi if present else parse_installed_spi, params["spi"], "spi", (model.SPI_MIN, "")
    )
    wanted = model.build(
        params["protocol"],
        spi,
        reader.require(read_address, params["destination"], "destination", _SOME_ADDRESS),
        mark=reader.read(parse_mark, params["mark"], "mark", None),
    )
    if present:
        wanted = _read_rest(module, reader, wanted)
        hide_keys(module, [wanted])
    reader.finish()

    sadb = open_sadb(params["backend"])
    if present:
        raise_all([_at_option(problem) for problem in sadb.refusals(wanted)])
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
    if steps.operations and not module.check_mode:
        sadb.apply(steps.operations)
    return _result(module, sadb.name, wanted, steps)


def _result(module: AnsibleModule, backend: str, wanted: SecurityAssociation, steps: Plan) -> Result:
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


def _read_rest(module: AnsibleModule, reader: Reader, identified: SecurityAssociation) -> SecurityAssociation:
    """The whole SA, checked, from its identity and the other options."""
    params = module.params
    sa = model.build(
        identified.protocol,
        identified.spi,
        identified.destination,
        reader.read(read_address, params["source"], "source", bytes(len(identified.destination))),
        reader.read(_read_cipher, params["encryption_algorithm"], "encryption_algorithm", ""),
        reader.read(_read_integrity, params["authentication_algorithm"], "authentication_algorithm", ""),
        params["icv_bits"] or 0,
        mode=params["mode"],
        encryption_key=reader.read(parse_key, take_secret(module, "encryption_key"), "encryption_key", b""),
        authentication_key=reader.read(parse_key, take_secret(module, "authentication_key"), "authentication_key", b""),
        replay_window=params["replay_window"],
        esn=params["esn"],
        reqid=params["reqid"],
        mark=identified.mark,
        if_id=params["if_id"],
        selector=reader.read(read_selector, params["selector"], "selector", None),
        encapsulation=reader.read(_read_encapsulation, params["encapsulation"], "encapsulation", None),
        lifetimes=Lifetimes(**params["lifetimes"]) if params["lifetimes"] else model.NO_LIFETIMES,
        direction=params["direction"] or "",
        output_mark=reader.read(parse_mark, params["output_mark"], "output_mark", None),
        tfc_padding=params["tfc_padding"],
        nat_keepalive=params["nat_keepalive"],
    )
    unread = reader.unread()
    unread.update(place for noted in tuple(unread) for place in _DEPENDENT.get(noted.partition(".")[0], ()))
    found = checks.problems(sa, params["allow_static_counter_mode"])
    reader.problems += [problem for problem in map(_at_option, found) if problem.place not in unread]
    return sa


def _read_cipher(word: str, place: str) -> str:
    return find(ENCRYPTION, word, place).name


def _read_integrity(word: str, place: str) -> str:
    return find(AUTHENTICATION, word, place).name


def _read_encapsulation(given: t.Mapping[str, t.Any], place: str) -> Encapsulation:
    reader = Reader()
    for name in ("source_port", "destination_port"):
        if not 1 <= given[name] <= 65535:
            reader.problems.append(
                InputError(f"{given[name]} is no UDP port", f"{place}.{name}", "Choose 1 to 65535; 4500 is usual.")
            )
    nat = [reader.read(read_address, given[name], f"{place}.{name}", b"") for name in ("nat_local", "nat_remote")]
    reader.finish()
    return Encapsulation(given["source_port"], given["destination_port"], *nat)


def _at_option(problem: InputError) -> InputError:
    return InputError(problem.message, _OPTIONS.get(problem.place, problem.place), problem.hint)
