# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A module that reports options of the wrong type in our words: which option, what was given, and what to write."""

from __future__ import annotations

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.parameters import DEFAULT_TYPE_VALIDATORS

from .._core.errors import InputError, type_name

_Spec = t.Mapping[str, t.Mapping[str, t.Any]]

# What is wanted, and how it is written; the names of the suboptions follow where there are any.
_WANTED = {
    "bool": ("true or false", "Write true or false."),
    "dict": ("a mapping", "Write names with their values."),
    "float": ("a number", "Write digits, with a point if need be."),
    "int": ("a whole number", "Write digits."),
    "list": ("a list", "Write a list, even of one."),
    "path": ("a path", "Write the path of one file."),
    "str": ("a word", "Write one word or text, in quotation marks if need be."),
}
# What Ansible would convert, or take as it is, though nobody means it: Python's booleans are integers.
_NEVER_MEANT: dict[str, tuple[type, ...]] = {"str": (dict, list), "int": (bool,), "float": (bool,)}


class Module(AnsibleModule):
    """AnsibleModule that accepts all types that Ansible accepts, and rejects others in its own words."""

    _ill_typed: t.Sequence[InputError] = ()

    def __init__(self, argument_spec: _Spec, **options: t.Any) -> None:
        super().__init__(argument_spec=argument_spec, **options)
        if self._ill_typed:
            self.fail_json(msg="")

    def _load_params(self) -> None:
        super()._load_params()
        found = {option: list(ill_typed({option: self.params[option]}, self.argument_spec)) for option in self.params}
        self._ill_typed = [problem for problems in found.values() for problem in problems]
        for option, problems in found.items():
            if problems:
                # Ansible's own checks would fail on it first, with a traceback for some values.
                del self.params[option]

    def fail_json(self, msg: t.Any, **more: t.Any) -> None:
        super().fail_json(msg="\n".join(map(str, self._ill_typed)) or msg, **more)


def ill_typed(given: t.Mapping[str, t.Any], spec: _Spec, place: str = "") -> t.Iterator[InputError]:
    """Errors for options that neither have their specified type nor convert to it; the errors never contain values."""
    for option, row in spec.items():
        for name in (option, *row.get("aliases", ())):
            if name in given and not (given[name] is None and _may_be_nothing(row)):
                yield from _value(given[name], row, f"{place}{name}")


def _may_be_nothing(row: t.Mapping[str, t.Any]) -> bool:
    """Whether Ansible ignores null; for options that are required or have a default, it
    converts null to a string only.
    """
    return row.get("type", "str") == "str" or not (row.get("required") or row.get("default") is not None)


def _value(value: t.Any, row: t.Mapping[str, t.Any], place: str) -> t.Iterator[InputError]:
    kind = row.get("type", "str")
    if kind == "path" and row.get("required") and value in (None, ""):
        yield InputError("nothing is given", place, "Give it; a variable that it comes from may be empty.")
        return
    try:
        if isinstance(value, _NEVER_MEANT.get(kind, ())) or (kind == "path" and not isinstance(value, str)):
            raise TypeError
        converted = DEFAULT_TYPE_VALIDATORS[kind](value)
    except Exception:  # pylint: disable=broad-except  # what they raise is undocumented; it includes OverflowError
        yield _error(value, kind, row, place)
        return
    if kind == "list" and "elements" in row:
        part = {"type": row["elements"], "options": row.get("options", {})}
        if isinstance(value, list):
            for index, element in enumerate(converted):
                yield from _element(element, part, f"{place}[{index}]")
        elif any(True for element in converted for dummy in _value(element, part, place)):
            yield _error(value, kind, row, place)
    elif kind == "dict":
        yield from ill_typed(converted, row.get("options", {}), f"{place}.")


def _element(element: t.Any, row: t.Mapping[str, t.Any], place: str) -> t.Iterator[InputError]:
    if element is None:
        yield _error(element, row["type"], row, place)
    else:
        yield from _value(element, row, place)


def _error(value: t.Any, kind: str, row: t.Mapping[str, t.Any], place: str) -> InputError:
    wanted, hint = _WANTED[kind]
    names = ", ".join(row.get("options", ()))
    return InputError(
        f"this is {type_name(value)}, not {wanted}", place, f"{hint} Known names are: {names}." if names else hint
    )
