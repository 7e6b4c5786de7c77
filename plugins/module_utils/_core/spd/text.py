# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Policies as people write them: mappings with the options of ipsec_policy, and a JSON list of those in a file."""

from __future__ import annotations

import json
import typing as t

from ..errors import InputError, IpsecError, raise_all, shown, type_name
from ..sa.model import SPI_MIN, Selector, format_address, mark_text
from ..sa.view import selector_view
from ..specs import POLICY, TEMPLATE
from ..text.mapping import OptionReader, read_address, read_selector, within
from ..text.values import parse_installed_spi, parse_mark
from .policy import Policy, PolicyEntry, Template, build, identity, label, problems, warnings

# Warnings about what can be read in two ways or is unwise, each with its place.
Doubts = t.List[t.Tuple[str, str]]


def parse(data: bytes, name: str) -> tuple[tuple[Policy, ...], Doubts]:
    """The policies in the content of the file ``name``, and warnings about them. Raises everything
    that is wrong, with its place.
    """
    try:
        given = json.loads(data.decode("utf-8"), object_pairs_hook=lambda pairs: _without_repetition(pairs, name))
    except json.JSONDecodeError as exc:
        raise InputError(
            f"this is not JSON ({exc.msg})",
            f"{name}, line {exc.lineno}, column {exc.colno}",
            "Write a list of policies.",
        ) from None
    except (ValueError, RecursionError):
        raise InputError("this is not JSON", name, "Write a list of policies, in UTF-8.") from None
    doubts: Doubts = []
    found = read_policies(given, f"{name}, policies", doubts)
    return found, [
        *doubts,
        *((text, f"{name}, {label(policy)}") for policy in found for text in warnings(policy)),
    ]


def render(policies: t.Iterable[Policy]) -> str:
    """The content of such a file, one policy a line; `parse` gives back the same policies."""
    lines = [json.dumps(view(policy)) for policy in policies]
    return "[\n" + ",\n".join(lines) + "\n]\n" if lines else "[]\n"


def is_expressible(entry: PolicyEntry) -> bool:
    """Whether such a file can name the policy, so that loading it brings back the same one."""
    if entry.policy.extra or not entry.complete:
        return False
    try:
        return parse(render([entry.policy]).encode("ascii"), "")[0] == (entry.policy,)
    except IpsecError:
        return False


def view(policy: Policy) -> dict[str, t.Any]:
    """A policy as the mapping that `read_policy` takes, with every field."""
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
    """A template as its mapping; an empty address or SPI stands for any."""
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
    """A list of policies, each checked alone and all together; raises everything that is wrong with
    them. Adds to ``doubts``.
    """
    if not isinstance(given, list):
        raise InputError(f"this is {type_name(given)}, not a list of policies", place)
    reader = OptionReader()
    policies: list[Policy] = []
    for index, mapping in enumerate(given):
        with reader.noting():
            policies.append(read_policy(mapping, f"{place}[{index}]", doubts))
    seen: dict[t.Any, Policy] = {}
    for policy in policies:
        if seen.setdefault(identity(policy), policy) is not policy:
            reader.note(
                f"the policy {label(policy)} is given twice",
                place,
                "One policy decides about one kind of traffic.",
            )
    reader.finish()
    return tuple(policies)


def read_policy(given: t.Any, place: str, doubts: Doubts) -> Policy:
    """One policy; ``place`` is empty if its fields are the options themselves."""
    reader = OptionReader()
    values = reader.options(given, POLICY, place)
    selector = reader.read(read_selector, values["selector"], within(place, "selector"), Selector())
    mark = reader.read(parse_mark, values["mark"], within(place, "mark"), None)
    templates: list[Template] = []
    for index, template in enumerate(values["templates"]):
        with reader.noting():
            templates.append(_read_template(template, within(place, f"templates[{index}]"), doubts))
    reader.finish()
    if not (selector.source or selector.destination):
        raise InputError(
            "the selector has no address, so it would be for IPv4 alone",
            within(place, "selector"),
            "Write 0.0.0.0/0 or ::/0; for both families, two policies.",
        )
    policy = build(
        values["direction"], selector, templates, values["action"], values["priority"], mark, values["if_id"]
    )
    raise_all([problem.at(within(place, problem.place.replace(" ", "."))) for problem in problems(policy)])
    return policy


def _read_template(given: t.Any, place: str, doubts: Doubts) -> Template:
    reader = OptionReader()
    values = reader.options(given, TEMPLATE, place)
    source = reader.read(read_address, values["source"], f"{place}.source", b"")
    destination = reader.read(read_address, values["destination"], f"{place}.destination", b"")
    spi, doubt = reader.read(_read_spi, values["spi"], f"{place}.spi", (0, ""))
    doubts += [(doubt, f"{place}.spi")] if doubt else []
    reader.finish()
    return Template(values["protocol"], values["mode"], source, destination, spi, values["reqid"], values["level"])


def _read_spi(text: str, place: str) -> tuple[int, str]:
    spi, doubt = parse_installed_spi(text, place)
    if spi < SPI_MIN:
        raise InputError(f"SPI {spi} is reserved (1 to 255)", place, "Omit it, and give the SA and its policy a reqid.")
    return spi, doubt


def _without_repetition(pairs: list[tuple[str, t.Any]], place: str) -> dict[str, t.Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, dummy in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{shown(twice)} occurs twice in one mapping", place, "Keep one of them.")
    return found
