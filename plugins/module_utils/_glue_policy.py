# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_utils is private to the collection and may change at any time.

"""The work of ipsec_policy and ipsec_policy_info: entries of the SPD, which say what traffic must go through SAs."""

from __future__ import annotations

import typing as t

from ._arguments import POLICY
from ._core.association import Selector, format_address
from ._core.errors import InputError, raise_all
from ._core.sadb import spd
from ._core.sadb.spd import Policy, PolicyEntry, PolicyOperation, Spd, Template
from ._core.values import parse_mark, parse_spi
from ._glue import Result, warn
from ._glue_read import Reader, read_address, read_selector
from ._glue_view import mark_text, selector_view

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


def apply_policies(module: AnsibleModule) -> Result:
    """Bring policies into the SPD, or out of it, all or none."""
    doubts: list[tuple[str, str]] = []
    wanted = _wanted(module.params, doubts)
    warn(module, doubts)
    if module.params["state"] == spd.PRESENT:
        warn(module, ((text, spd.label(policy)) for policy in wanted for text in spd.warnings(policy)))
    database = Spd()
    operations = spd.plan(wanted, database.dump(), module.params["state"])
    if operations and not module.check_mode:
        database.apply(operations)
    result: Result = {"changed": bool(operations), "operations": [str(operation) for operation in operations]}
    if module._diff:
        result["diff"] = _diff(operations)
    return result


def policy_info(module: AnsibleModule) -> Result:
    """The policies there are."""
    direction = module.params["direction"]
    return {"changed": False, "policies": [_observed(entry) for entry in Spd().dump() if direction in (None, entry.policy.direction)]}


def _wanted(params: t.Mapping[str, t.Any], doubts: list[tuple[str, str]]) -> list[Policy]:
    """The policies of the options, checked each alone and together; raises everything that is wrong with them.

    Adds to ``doubts`` what can be read in two ways, with its place.
    """
    reader = Reader()
    policies: list[Policy] = []
    several = params["policies"] is not None
    beside = [name for name, spec in POLICY.items() if several and params[name] != spec.get("default")]
    if beside:
        reader.problems.append(InputError(f"{', '.join(beside)} would say nothing beside it", "policies", "Write this into each of the policies."))
    for index, given in enumerate(params["policies"] if several else [params]):
        with reader.noting():
            policies.append(_read_policy(given, f"policies[{index}]." if several else "", doubts))
    seen: dict[t.Any, Policy] = {}
    for policy in policies:
        if seen.setdefault(spd.identity(policy), policy) is not policy:
            reader.problems.append(InputError(f"the policy {spd.label(policy)} is given twice", "policies", "One policy decides about one kind of traffic."))
    reader.finish()
    return policies


def _read_policy(given: t.Mapping[str, t.Any], place: str, doubts: list[tuple[str, str]]) -> Policy:
    reader = Reader()
    selector = reader.read(read_selector, given["selector"], f"{place}selector", Selector())
    mark = reader.read(parse_mark, given["mark"], f"{place}mark", None)
    templates: list[Template] = []
    for index, template in enumerate(given["templates"]):
        with reader.noting():
            templates.append(_read_template(template, f"{place}templates[{index}]", doubts))
    reader.finish()
    if not (selector.source or selector.destination):
        raise InputError(
            "the selector has no address, so it would be for IPv4 alone", f"{place}selector", "Write 0.0.0.0/0 or ::/0; for both families, two policies."
        )
    policy = spd.build(given["direction"], selector, templates, given["action"], given["priority"], mark, given["if_id"])
    raise_all([InputError(problem.message, place + problem.place.replace(" ", "."), problem.hint) for problem in spd.problems(policy)])
    return policy


def _read_template(given: t.Mapping[str, t.Any], place: str, doubts: list[tuple[str, str]]) -> Template:
    reader = Reader()
    source = reader.read(read_address, given["source"], f"{place}.source", b"")
    destination = reader.read(read_address, given["destination"], f"{place}.destination", b"")
    spi, doubt = reader.read(parse_spi, given["spi"], f"{place}.spi", (0, ""))
    doubts += [(doubt, f"{place}.spi")] if doubt else []
    reader.finish()
    return Template(given["protocol"], given["mode"], source, destination, spi, given["reqid"], given["level"])


def _diff(operations: t.Iterable[PolicyOperation]) -> Result:
    operations = list(operations)
    return {
        "before_header": "SPD",
        "after_header": "SPD",
        "before": "".join(f"{_line(step.old)}\n" for step in operations if step.old is not None),
        "after": "".join(f"{_line(step.new)}\n" for step in operations if step.new is not None),
    }


def _line(policy: Policy) -> str:
    """A policy on one line, its templates in order."""
    words = [spd.label(policy), policy.action, f"priority {policy.priority}"]
    words += [f"mark {mark_text(policy.mark)}"] if policy.mark is not None else []
    words += [f"if_id {policy.if_id}"] if policy.if_id else []
    for template in policy.templates:
        view = _template_view(template)
        ends = f" {view['source'] or 'any'} > {view['destination'] or 'any'}" if template.mode == "tunnel" else ""
        words.append(f"{template.protocol} {template.mode}{ends} reqid {template.reqid} spi {view['spi'] or 'any'} {template.level}")
    return ", ".join(words)


def _observed(entry: PolicyEntry) -> Result:
    policy = entry.policy
    return {
        "direction": policy.direction,
        "selector": selector_view(policy.selector),
        "action": policy.action,
        "priority": policy.priority,
        "mark": mark_text(policy.mark),
        "if_id": policy.if_id,
        "templates": [_template_view(template) for template in policy.templates],
        "index": entry.number,
        "add_time": entry.add_time,
        "use_time": entry.use_time,
        "complete": entry.complete,
    }


def _template_view(template: Template) -> Result:
    return {
        "protocol": template.protocol,
        "mode": template.mode,
        "source": format_address(template.source) if any(template.source) else "",
        "destination": format_address(template.destination) if any(template.destination) else "",
        "reqid": template.reqid,
        "spi": f"0x{template.spi:08x}" if template.spi else "",
        "level": template.level,
    }
