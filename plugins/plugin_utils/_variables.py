# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The types and choices of variables of roles.

Ansible checks them, too, for an entry point `main` in `argument_specs.yml`. But its error holds the whole
specification for each host, and it checks without converting, so that a task gets the text `false` from the
command line. So that file names its entry point `variables`, and this is the check.
"""

from __future__ import annotations

import difflib
import math
import typing as t

from ansible.module_utils.common import validation

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import InputError, IpsecError, shown, type_name

from ._inputs import Inputs

Values = t.Dict[str, t.Any]

_NEAR = 0.5  # of difflib


class _Kind(t.NamedTuple):
    words: str
    convert: t.Callable[[t.Any], t.Any]
    accepts: tuple[type, ...]


def _finite(value: t.Any) -> float:
    number = float(validation.check_type_float(value))
    if not math.isfinite(number):
        raise ValueError
    return number


_KINDS: dict[str, _Kind] = {
    "str": _Kind("text", validation.check_type_str, (str, int, float)),
    "bool": _Kind("true or false", validation.check_type_bool, (bool, str, int, float)),
    "int": _Kind("a whole number", validation.check_type_int, (str, int, float)),
    "float": _Kind("a number", _finite, (str, int, float)),
    "list": _Kind("a list", validation.check_type_list, (list, str, int, float)),
    "dict": _Kind("a mapping", validation.check_type_dict, (dict, str)),
    "raw": _Kind("a value", validation.check_type_raw, (object,)),
}


def read_variables(
    inputs: Inputs,
    hosts: t.Iterable[str],
    specs: t.Mapping[str, Values],
    prefix: str,
    problems: list[IpsecError],
    defaults: t.Mapping[str, t.Any] | None = None,
) -> dict[str, Values]:
    """The variables of hosts that begin with the prefix, in the types that specs ask for.

    Adds to ``problems`` what is wrong, once for all hosts where it is the same.
    """
    values: dict[str, Values] = {}
    wrong: dict[tuple[str, str, str], list[str]] = {}
    for host in hosts:
        values[host] = {}
        for word, spec in specs.items():
            name = prefix + word
            try:
                given = inputs.get(host, name, (defaults or {}).get(word))
                values[host][word] = check(given, spec, name)
            except InputError as exc:
                place = exc.place.removesuffix(f" of {host}")
                wrong.setdefault((place, exc.message, exc.hint), []).append(host)
    problems += (
        InputError(message, place + _owners(inputs, place, owners), hint)
        for (place, message, hint), owners in wrong.items()
    )
    return values


def _owners(inputs: Inputs, place: str, owners: t.Sequence[str]) -> str:
    """Which hosts have a variable, unless the command line gives it to all."""
    if place.partition("[")[0] in inputs.given():
        return ""
    return f" of {owners[0]}" + (f" and {len(owners) - 1} more" if owners[1:] else "")


def check(value: t.Any, spec: Values, place: str) -> t.Any:
    """The value in the type of the spec. Raises InputError if it is of another type, not one of the ``choices``, or
    outside the ``range``.
    """
    kind = _KINDS[spec["type"]]
    # True is an int for Python.
    fits = (
        value is not None
        and isinstance(value, kind.accepts)
        and not (isinstance(value, bool) and kind.accepts[0] not in (bool, object))
    )
    converted: t.Any = None
    try:
        converted = kind.convert(value) if fits else None
    except (TypeError, ValueError, OverflowError):
        fits = False
    if not fits:
        hint = _NO_VALUE if value is None else _HINTS.get(spec["type"], "").replace("NAME", place)
        raise InputError(f"expected {_expected(spec)}, but found {_found(value)}", place, hint)
    if spec["type"] == "list":
        inner = {"type": spec.get("elements", "raw"), **{n: spec[n] for n in ("choices",) if n in spec}}
        return [check(part, inner, f"{place}[{number}]") for number, part in enumerate(converted)]
    if "range" in spec and not spec["range"][0] <= converted <= spec["range"][1]:
        raise InputError(f"expected {_expected(spec)}, but found {_found(value)}", place)
    if "choices" in spec and converted not in spec["choices"]:
        near = difflib.get_close_matches(converted, spec["choices"], 1, _NEAR)
        hint = f"The nearest value is {near[0]}." if near else ""
        raise InputError(f"expected {_expected(spec)}, but found {_found(value)}", place, hint)
    return converted


_NO_VALUE = "Write a value, or remove the line."
_HINTS = {
    "list": 'In YAML, write [A, B]; on the command line -e \'{"NAME": ["A", "B"]}\'.',
    "dict": 'In YAML, write {A: B}; on the command line -e \'{"NAME": {"A": "B"}}\'.',
}


def _expected(spec: Values) -> str:
    if "choices" in spec and spec["type"] != "list":
        return "one of " + ", ".join(choice or "an empty text" for choice in spec["choices"])
    words = _KINDS[spec["type"]].words
    if "range" not in spec:
        return words
    least, most = spec["range"]
    return f"{words} of {least} or more" if most == math.inf else f"{words} from {least} to {most}"


def _found(value: t.Any) -> str:
    """A value for an error message, unless it may hold a key."""
    if isinstance(value, bool):
        return str(value).lower()
    return type_name(value) if isinstance(value, (list, dict, type(None))) else shown(str(value))
