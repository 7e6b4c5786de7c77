# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Policies as people write them: mappings with the options of ipsec_policy, and a JSON list of those in a file."""

from __future__ import annotations

import json
import typing as t

from ..errors import InputError, raise_all, shown, type_name
from ..sa.model import Selector, format_address, mark_text
from ..text.mapping import Reader, read_address, read_selector, selector_view
from ..text.values import parse_mark, parse_number, parse_spi
from . import kernel
from .kernel import Policy, Template

# What can be read in two ways, or is unwise, with its place.
Doubts = t.List[t.Tuple[str, str]]


class Field(t.NamedTuple):
    """An option of a policy: its Python type, its value where it is missing, and its words where
    there are only some; ``required`` may not be missing.
    """

    kind: type
    default: t.Any = None
    choices: tuple[str, ...] = ()
    required: bool = False


# A test compares these with the arguments of ipsec_policy.
SELECTOR = {
    "source": Field(str),
    "destination": Field(str),
    "protocol": Field(str),
    "source_port": Field(int, 0),
    "destination_port": Field(int, 0),
}
TEMPLATE = {
    "protocol": Field(str, "esp", ("ah", "esp")),
    "mode": Field(str, "transport", ("transport", "tunnel")),
    "source": Field(str),
    "destination": Field(str),
    "reqid": Field(int, 0),
    "spi": Field(str),
    "level": Field(str, "required", ("required", "use")),
}
POLICY = {
    "direction": Field(str, None, ("in", "out", "fwd"), required=True),
    "selector": Field(dict),
    "action": Field(str, "allow", ("allow", "block")),
    "priority": Field(int, 0),
    "mark": Field(str),
    "if_id": Field(int, 0),
    "templates": Field(list, ()),
}
# Names of field types.
_KIND_NAMES = {int: "a whole number", str: "a word", list: "a list", dict: "a mapping"}


def parse(data: bytes, name: str) -> tuple[tuple[Policy, ...], Doubts]:
    """The policies of a file's content, and what of it is doubtful or unwise. Raises everything
    that is wrong, with its place in the file ``name``.
    """
    try:
        given = json.loads(data.decode("utf-8"), object_pairs_hook=lambda pairs: _without_repetition(pairs, name))
    except json.JSONDecodeError as exc:
        raise InputError(
            f"this is no JSON ({exc.msg})",
            f"{name}, line {exc.lineno}, column {exc.colno}",
            "Write a list of policies.",
        ) from None
    except (ValueError, RecursionError):
        raise InputError("this is no JSON", name, "Write a list of policies, in UTF-8.") from None
    doubts: Doubts = []
    found = read_policies(given, f"{name}, policies", doubts)
    return found, [
        *doubts,
        *((text, f"{name}, {kernel.label(policy)}") for policy in found for text in kernel.warnings(policy)),
    ]


def render(policies: t.Iterable[Policy]) -> str:
    """The policies as such a file, one a line, which `parse` reads as the same policies."""
    lines = [json.dumps(view(policy)) for policy in policies]
    return "[\n" + ",\n".join(lines) + "\n]\n" if lines else "[]\n"


def view(policy: Policy) -> dict[str, t.Any]:
    """A policy as the mapping that `read_policy` takes, with all its fields."""
    return {
        "direction": policy.direction,
        "selector": selector_view(policy.selector),
        "action": policy.action,
        "priority": policy.priority,
        "mark": mark_text(policy.mark),
        "if_id": policy.if_id,
        "templates": [template_view(template) for template in policy.templates],
    }


def template_view(template: Template) -> dict[str, t.Any]:
    """A template as such a mapping; an empty address or SPI is any."""
    return {
        "protocol": template.protocol,
        "mode": template.mode,
        "source": format_address(template.source) if any(template.source) else "",
        "destination": format_address(template.destination) if any(template.destination) else "",
        "reqid": template.reqid,
        "spi": f"0x{template.spi:08x}" if template.spi else "",
        "level": template.level,
    }


def read_policies(given: t.Any, place: str, doubts: Doubts) -> tuple[Policy, ...]:
    """A list of policies, checked each alone and together; raises everything that is wrong with
    them. Adds to ``doubts``.
    """
    if not isinstance(given, list):
        raise InputError(f"this is {type_name(given)}, not a list of policies", place)
    reader = Reader()
    policies: list[Policy] = []
    for index, mapping in enumerate(given):
        with reader.noting():
            policies.append(read_policy(mapping, f"{place}[{index}]", doubts))
    seen: dict[t.Any, Policy] = {}
    for policy in policies:
        if seen.setdefault(kernel.identity(policy), policy) is not policy:
            reader.problems.append(
                InputError(
                    f"the policy {kernel.label(policy)} is given twice",
                    place,
                    "One policy decides about one kind of traffic.",
                )
            )
    reader.finish()
    return tuple(policies)


def read_policy(given: t.Any, place: str, doubts: Doubts) -> Policy:
    """One policy; ``place`` is empty where its fields are the options themselves."""
    reader = Reader()
    values = _values(reader, given, POLICY, place)
    below = f"{place}." if place else ""
    selector = Selector()
    with reader.noting():
        selector = _read_selector(values["selector"], f"{below}selector")
    mark = reader.read(parse_mark, values["mark"], f"{below}mark", None)
    templates: list[Template] = []
    for index, template in enumerate(values["templates"]):
        with reader.noting():
            templates.append(_read_template(template, f"{below}templates[{index}]", doubts))
    reader.finish()
    if not (selector.source or selector.destination):
        raise InputError(
            "the selector has no address, so it would be for IPv4 alone",
            f"{below}selector",
            "Write 0.0.0.0/0 or ::/0; for both families, two policies.",
        )
    policy = kernel.build(
        values["direction"], selector, templates, values["action"], values["priority"], mark, values["if_id"]
    )
    raise_all(
        [
            InputError(problem.message, below + problem.place.replace(" ", "."), problem.hint)
            for problem in kernel.problems(policy)
        ]
    )
    return policy


def _read_selector(given: t.Any, place: str) -> Selector:
    reader = Reader()
    values = _values(reader, {} if given is None else given, SELECTOR, place)
    selector = Selector()
    with reader.noting():
        selector = read_selector(values, place)
    reader.finish()
    return selector


def _read_template(given: t.Any, place: str, doubts: Doubts) -> Template:
    reader = Reader()
    values = _values(reader, given, TEMPLATE, place)
    source = reader.read(read_address, values["source"], f"{place}.source", b"")
    destination = reader.read(read_address, values["destination"], f"{place}.destination", b"")
    spi, doubt = reader.read(parse_spi, values["spi"], f"{place}.spi", (0, ""))
    doubts += [(doubt, f"{place}.spi")] if doubt else []
    reader.finish()
    return Template(values["protocol"], values["mode"], source, destination, spi, values["reqid"], values["level"])


def _values(reader: Reader, given: t.Any, fields: t.Mapping[str, Field], place: str) -> dict[str, t.Any]:
    """Every field's value, its default where it is missing or bad; notes unknown names, and values
    of another type than the field's.
    """
    values = {name: field.default for name, field in fields.items()}
    if not isinstance(given, dict):
        reader.problems.append(
            InputError(f"this is {type_name(given)}, not a mapping", place, f"Known names are: {', '.join(fields)}.")
        )
        return values
    below = f"{place}." if place else ""
    for name, value in given.items():
        if name not in fields:
            reader.problems.append(
                InputError(f"unknown name {shown(str(name))}", place, f"Choose from: {', '.join(fields)}.")
            )
        elif value is not None:
            with reader.noting():
                values[name] = _value(value, fields[name], below + name)
    for name, field in fields.items():
        if field.required and given.get(name) is None:
            reader.problems.append(
                InputError("this is missing", below + name, f"Choose one of: {', '.join(field.choices)}.")
            )
    return values


def _value(value: t.Any, field: Field, place: str) -> t.Any:
    """The value in the type of its field. Digits may stand for a number, and a number for digits, as in Ansible."""
    if field.kind is int and isinstance(value, str):
        return parse_number(value, 32, place)
    if field.kind is str and isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, field.kind) or isinstance(value, bool):
        raise InputError(f"this is {type_name(value)}, not {_KIND_NAMES[field.kind]}", place)
    if field.choices and value not in field.choices:
        raise InputError(
            f"unknown {place.rpartition('.')[2]} {shown(str(value))}",
            place,
            f"Choose one of: {', '.join(field.choices)}.",
        )
    return value


def _without_repetition(pairs: list[tuple[str, t.Any]], place: str) -> dict[str, t.Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, dummy in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{shown(twice)} stands twice in one mapping", place, "Keep one of them.")
    return found
