# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The gate: a module's answer from a host, reduced to the declared fields. Pure.

A host may be compromised, so its answer is only evidence: no facts, no instructions to Ansible, no
undeclared fields, no terminal control characters. The walk follows the table of answers, never the
answer itself, so the depth of the answer does not matter.
"""

from __future__ import annotations

import functools
import re
import typing as t

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import shown
from ansible_collections.ipsec.manual.plugins.plugin_utils._answers import ANSWERS, Field, Fields

Answer = t.Dict[str, t.Any]
T = t.TypeVar("T")

LONGEST_MESSAGE = 20_000
LONGEST_WARNING = 2_000
MOST_WARNINGS = 100

_SUSPECT = (
    "None of it is used. The module came from this controller: unless the collection has a bug,"
    " somebody else is answering on that host."
)
# Fields that Ansible itself would act on. All other undeclared fields are dropped.
_ORDERS = ("ansible_facts", "add_host", "add_group")
# A boolean is an integer in Python, so it comes first.
_KINDS = {
    dict: "a dictionary",
    list: "a list",
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    type(None): "null",
}


class Malformed(Exception):
    """A malformed answer: the problem and its place."""

    def __init__(self, problem: str, place: str = "") -> None:
        super().__init__(problem, place)
        self.problem = problem
        self.place = place

    def below(self, place: str) -> Malformed:
        """The same problem, with ``place`` prepended."""
        dot = "." if self.place and not self.place.startswith("[") else ""
        return Malformed(self.problem, f"{place}{dot}{self.place}")

    def __str__(self) -> str:
        return f"{self.place} {self.problem}" if self.place else f"it {self.problem}"


class _Signs(t.Dict[int, str]):
    """How each character is shown, by code point; filled on demand, for answers of millions of characters."""

    def __missing__(self, number: int) -> str:
        sign = chr(number)
        self[number] = shown_as = sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii")
        return shown_as


_SIGNS = _Signs()
_pattern = functools.lru_cache(maxsize=None)(re.compile)


def admit(module: str, answer: object) -> Answer:
    """The declared part of the ``answer`` of our module, in plain types; a failure if it is malformed."""
    name = module.rpartition(".")[2]
    fields = ANSWERS[name]
    try:
        found = _typed(dict, answer)
        for order in _ORDERS:
            if order in found:
                raise Malformed("is not part of this module's answer, and Ansible would act on it", order)
        return _failed(name, fields, found) if _flag(found, "failed", default=False) else _succeeded(fields, found)
    except Malformed as exc:
        return malformed(name, str(exc))


def admit_all(modules: t.Sequence[str], answer: object) -> Answer:
    """The declared part of an ``answer`` of `ipsec_batch` to calls of these modules: ``answers`` has that
    of each, up to the first failure. A failure without ``answers`` if it is malformed as a whole.
    """
    try:
        whole = _typed(dict, answer)
        if _flag(whole, "failed", default=False):
            return _failed("ipsec_batch", {}, whole)
        given = _typed(list, whole.get("answers"), "answers")
        found = []
        for module, part in zip(modules, given):
            found.append(admit(module, part))
            if found[-1].get("failed"):
                break
        else:
            if len(given) != len(modules):
                raise Malformed(f"has {len(given)} items, not {len(modules)}", "answers")
        return joined(found)
    except Malformed as exc:
        return malformed("ipsec_batch", str(exc))


def joined(answers: t.Sequence[Answer]) -> Answer:
    """One answer for those of several modules. It fails if the last one does."""
    diffs = [answer["diff"] for answer in answers if "diff" in answer]
    return {
        **({"failed": True, "msg": answers[-1]["msg"]} if answers[-1].get("failed") else {}),
        "changed": any(answer.get("changed") for answer in answers),
        "warnings": [warning for answer in answers for warning in answer.get("warnings", ())],
        **({"diff": diffs} if diffs else {}),
        "answers": list(answers),
    }


def malformed(module: str, problem: str) -> Answer:
    """The failure of a host whose answer is malformed."""
    return failure(module, f"its answer is malformed: {problem}. {_SUSPECT}")


def failure(module: str, message: str) -> Answer:
    """The failure of one of our modules, with a message from the controller."""
    return {"failed": True, "changed": False, "msg": f"ipsec.manual.{module.rpartition('.')[2]}: {message}"}


def visible(text: str, keep: str = "") -> str:
    """The text with unprintable characters, such as control, escape and bidi characters, written as
    ``\\x1b`` or ``\\u202e``, except ``keep``.
    """
    if text.isprintable():
        return str(text)
    if keep and keep in text:
        return keep.join(map(visible, text.split(keep)))
    return text.translate(_SIGNS)


def report(text: str, longest: int) -> str:
    """Multi-line text for people, cut to ``longest`` characters, with a note on how many were removed."""
    more = len(text) - longest
    return visible(text[:longest], keep="\n") + (f"... ({more} more characters)" if more > 0 else "")


def _succeeded(fields: Fields, answer: Answer) -> Answer:
    return {"changed": _flag(answer, "changed"), **_reports(answer), **_contents(fields, answer)}


def _failed(name: str, fields: Fields, answer: Answer) -> Answer:
    partial = {field: row._replace(optional=True) for field, row in fields.items()}
    silent = failure(name, "it failed, and did not say why.")
    return {
        **silent,
        "changed": _flag(answer, "changed", default=False),
        **_reports(answer),
        **_contents(partial, answer),
    }


def _flag(answer: Answer, name: str, default: bool | None = None) -> bool:
    if name not in answer and default is None:
        raise Malformed("is missing", name)
    return _typed(bool, answer.get(name, default), name)


def _reports(answer: Answer) -> Answer:
    """The fields that Ansible adds to a module's answer for people."""
    found: Answer = {}
    for name, read in (
        ("msg", _message),
        ("warnings", _warnings),
        ("deprecations", _deprecations),
        ("diff", _difference),
    ):
        if answer.get(name) is not None:
            try:
                found[name] = read(answer[name])
            except Malformed as exc:
                raise exc.below(name) from None
    return found


def _message(value: object, longest: int = LONGEST_MESSAGE) -> str:
    return report(_typed(str, value), longest)


def _warnings(value: object) -> list[str]:
    found = [_message(text, LONGEST_WARNING) for text in _events(value)]
    more = len(t.cast("list[object]", value)) - len(found)
    return [*found, f"({more} more warnings)"] if more else found


def _deprecations(value: object) -> list[Answer]:
    return [{"msg": _message(text, LONGEST_WARNING)} for text in _events(value)]


def _events(value: object) -> t.Iterator[object]:
    """The texts of warnings: since ansible-core 2.19, a warning is a dictionary with an event, which
    contains the text among other things.
    """
    for item in _typed(list, value)[:MOST_WARNINGS]:
        event = item.get("event", item) if isinstance(item, dict) else item
        yield event.get("msg") if isinstance(event, dict) else event


def _difference(value: object) -> Answer:
    return _contents(_DIFFERENCE, _typed(dict, value))


def _contents(fields: Fields, value: t.Mapping[str, object]) -> Answer:
    found = {}
    for name, field in fields.items():
        if name in value:
            try:
                found[name] = _value(field, value[name])
            except Malformed as exc:
                raise exc.below(name) from None
        elif not field.optional:
            raise Malformed("is missing", name)
    return found


def _value(field: Field, value: object) -> object:
    if value is None and field.nullable:
        return None
    return _READERS[field.type](field, value)


def _string(field: Field, value: object) -> str:
    given = _typed(str, value)
    if len(given) > field.longest:
        raise Malformed(f"has {len(given)} characters, more than {field.longest}")
    text = visible(given)
    if field.pattern and not _pattern(field.pattern).fullmatch(text):
        raise Malformed(f"cannot be {shown(text)}")
    return text


def _text(field: Field, value: object) -> str:
    return visible(_typed(str, value), keep="\n")


def _boolean(field: Field, value: object) -> bool:
    return _typed(bool, value)


def _integer(field: Field, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _unlike(value, int)
    _check_range(field, value)
    return int(value)


def _number(field: Field, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _unlike(value, float)
    _check_range(field, value)
    return float(value)


def _check_range(field: Field, value: float) -> None:
    # NaN fails every comparison.
    if not field.range[0] <= value <= field.range[1]:
        raise Malformed(f"is out of range, {field.range[0]} to {field.range[1]}")


def _list(field: Field, value: object) -> list[object]:
    given = _typed(list, value)
    _check_size(field, given)
    found: list[object] = []
    if field.elements is not None:
        read, elements = _READERS[field.elements.type], field.elements
        try:
            for item in given:
                found.append(read(elements, item))
        except Malformed as exc:
            raise exc.below(f"[{len(found)}]") from None
    return found


def _dictionary(field: Field, value: object) -> Answer:
    given = _typed(dict, value)
    if field.elements is None:
        return _contents(field.contains, given)
    _check_size(field, given)
    found = {}
    for key, item in given.items():
        if not isinstance(key, str) or not _pattern(field.keys).fullmatch(key):
            raise Malformed(f"has an invalid key, {shown(visible(str(key)))}")
        try:
            found[str(key)] = _value(field.elements, item)
        except Malformed as exc:
            raise exc.below(f"[{key!r}]") from None
    return found


def _check_size(field: Field, value: t.Sized) -> None:
    if len(value) > field.most:
        raise Malformed(f"has {len(value)} items, more than {field.most}")


def _typed(wanted: type[T], value: object, place: str = "") -> T:
    """The value, if it has the wanted type."""
    if isinstance(value, wanted):
        return value
    raise _unlike(value, wanted).below(place)


def _unlike(value: object, wanted: type) -> Malformed:
    """The problem that ``value`` has the wrong type, which is named if JSON has it."""
    found = next((kind for kind in _KINDS if isinstance(value, kind)), None)
    return Malformed(f"is {_KINDS[found] if found is not None else 'something else'}, not {_KINDS[wanted]}")


_READERS: t.Mapping[str, t.Callable[[Field, object], object]] = {
    "str": _string,
    "text": _text,
    "bool": _boolean,
    "int": _integer,
    "float": _number,
    "list": _list,
    "dict": _dictionary,
}
# The difference that Ansible shows with --diff, as all our modules return it.
_DIFFERENCE = dict.fromkeys(("before_header", "after_header", "before", "after"), Field("text", optional=True))
