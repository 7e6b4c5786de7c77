# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a module runs, warns, and shows a difference. It reports options of the wrong type in our
words: which option, what was given, and what to write.
"""

from __future__ import annotations

import gc
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.parameters import DEFAULT_TYPE_VALIDATORS

from .._core.errors import InputError, IpsecError, type_name
from .._core.sa.model import SecurityAssociation, identity

if t.TYPE_CHECKING:
    from .._core.sa.plan import Operation

# What is loaded by now stays until the module ends. Otherwise Python searches it for garbage while the module loads the
# rest, and once more at the end: a third of what most tasks of ipsec_sa take beyond a ping.
gc.freeze()

Result = t.Dict[str, t.Any]

_Spec = t.Mapping[str, t.Mapping[str, t.Any]]

KEYS_HIDDEN = (
    "This kernel hides the keys of SAs (lockdown), so whether the right ones are installed cannot be seen. Everything"
    " else was compared."
)

# The name of each type, and how to write a value of it. The names of suboptions follow, if there are any.
_WANTED = {
    "bool": ("true or false", "Write true or false."),
    "dict": ("a mapping", "Write names with their values."),
    "float": ("a number", "Write digits, with a point if necessary."),
    "int": ("a whole number", "Write digits."),
    "list": ("a list", "Write a list, even for a single value."),
    "path": ("a path", "Write the path of one file."),
    "str": ("a word", "Write one word or text, in quotation marks if necessary."),
}
# Types that Ansible accepts or converts although nobody means them: a Python boolean is an integer.
_NEVER_MEANT: dict[str, tuple[type, ...]] = {"str": (dict, list), "int": (bool,), "float": (bool,)}


class Module(AnsibleModule):
    """AnsibleModule that accepts all types that Ansible accepts, and rejects others in its own words."""

    _ill_typed: t.Sequence[InputError] = ()

    def __init__(self, argument_spec: _Spec, **options: t.Any) -> None:
        super().__init__(argument_spec=argument_spec, **options)
        if self._ill_typed:
            self.fail_json(msg="")

    def _read_params(self) -> None:
        super()._load_params()

    def _load_params(self) -> None:
        self._read_params()
        found = {option: list(ill_typed({option: self.params[option]}, self.argument_spec)) for option in self.params}
        self._ill_typed = [problem for problems in found.values() for problem in problems]
        for option, problems in found.items():
            if problems:
                # Ansible's own check would fail first, with a traceback for some values.
                del self.params[option]

    def failure(self, msg: t.Any) -> str:
        """The message of a failure: ours, if options have the wrong type."""
        return "\n".join(map(str, self._ill_typed)) or str(msg)

    def fail_json(self, msg: t.Any, **more: t.Any) -> None:
        super().fail_json(msg=self.failure(msg), **more)


def run(argument_spec: _Spec, work: t.Callable[[Module], Result], **options: t.Any) -> None:
    """Run a module: its result is what ``work`` returns; the problems that ``work`` raises make it fail."""
    module = Module(argument_spec, supports_check_mode=True, **options)
    try:
        result = work(module)
    except IpsecError as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(**result)


def warn(module: Module, found: t.Iterable[tuple[str, str]]) -> None:
    """One warning for each text in pairs of text and place, with its first place and the number of others."""
    places: dict[str, list[str]] = {}
    for text, place in found:
        places.setdefault(text, []).append(place)
    for text, where in places.items():
        more = f" (and {len(where) - 1} more)" if len(where) > 1 else ""
        module.warn(f"{where[0]}{more}: {text.rstrip('.')}." if where[0] else f"{text.rstrip('.')}.")


def diff(header: str, before: t.Sequence[SecurityAssociation], after: t.Iterable[SecurityAssociation]) -> Result:
    """Ansible's difference of two sets of SAs: ipseckeys lines with fingerprints instead of keys."""
    from .._core.text.render import render  # only here, since most tasks show no difference

    earlier = {identity(sa): sa for sa in before}
    shown = render(after, hide_keys=True, earlier=earlier)
    return {"before_header": header, "after_header": header, "before": render(before, hide_keys=True), "after": shown}


def sadb_diff(operations: t.Sequence[Operation]) -> Result:
    """The difference that the operations make to the SADB."""
    return diff(
        "SADB",
        [step.old.sa for step in operations if step.old is not None],
        [step.new for step in operations if step.new is not None],
    )


def ill_typed(given: t.Mapping[str, t.Any], spec: _Spec, place: str = "") -> t.Iterator[InputError]:
    """Errors for options that neither have their specified type nor convert to it; the errors never contain values."""
    for option, row in spec.items():
        for name in (option, *row.get("aliases", ())):
            if name in given and not (given[name] is None and _may_be_null(row)):
                yield from _value(given[name], row, f"{place}{name}")


def _may_be_null(row: t.Mapping[str, t.Any]) -> bool:
    """Whether Ansible accepts null. For an option that is required or has a default, it does so only
    if that is a string.
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
    except Exception:  # pylint: disable=broad-except  # what they raise is not documented, and includes OverflowError
        yield _error(value, kind, row, place)
        return
    if kind == "list" and "elements" in row:
        part = {"type": row["elements"], "options": row.get("options", {})}
        if isinstance(value, list):
            for index, element in enumerate(converted):
                if element is None:
                    yield _error(element, part["type"], part, f"{place}[{index}]")
                else:
                    yield from _value(element, part, f"{place}[{index}]")
        elif any(True for element in converted for dummy in _value(element, part, place)):
            yield _error(value, kind, row, place)
    elif kind == "dict":
        yield from ill_typed(converted, row.get("options", {}), f"{place}.")


def _error(value: t.Any, kind: str, row: t.Mapping[str, t.Any], place: str) -> InputError:
    wanted, hint = _WANTED[kind]
    names = ", ".join(row.get("options", ()))
    return InputError(
        f"this is {type_name(value)}, not {wanted}", place, f"{hint} Known names are: {names}." if names else hint
    )
