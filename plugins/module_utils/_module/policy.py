# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The work of ipsec_policy and ipsec_policy_info: entries of the SPD, which decide what traffic goes through SAs."""

from __future__ import annotations

import typing as t

from .._core.sa.model import mark_text
from .._core.spd.kernel import Spd
from .._core.spd.order import overtaken
from .._core.spd.policy import PRESENT, Policy, PolicyEntry, PolicyOperation, label, plan, warnings
from .._core.spd.text import Doubts, read_policies, read_policy, template_view, view
from .._core.specs import POLICY
from .._core.text.mapping import OptionReader
from .base import Module, Result, warn
from .clock import Deadline


def apply_policies(module: Module) -> Result:
    """Add, replace or remove policies of the SPD, all or none."""
    deadline = Deadline(module.params["deadline"])
    doubts: Doubts = []
    wanted = _wanted(module.params, doubts)
    warn(module, doubts)
    if module.params["state"] == PRESENT:
        warn(module, ((text, label(policy)) for policy in wanted for text in warnings(policy)))
    database = Spd()
    present = database.dump()
    operations = plan(wanted, present, module.params["state"])
    if operations and not module.check_mode:
        deadline.check()
        database.apply(operations)
    result: Result = {"changed": bool(operations), "operations": [str(operation) for operation in operations]}
    result["added"] = [label(step.new) for step in operations if step.old is None and step.new is not None]
    result["replaced"] = [
        {"policy": label(step.old), "reqids": [template.reqid for template in step.old.templates]}
        for step in operations
        if step.old is not None and step.new is not None
    ]
    result["overtaken"] = [
        {
            **{"policy": label(found.new), "priority": found.old.priority},
            **{"other": label(found.other), "other_priority": found.other.priority},
        }
        for found in overtaken(wanted, operations, present)
    ]
    if module._diff:
        result["diff"] = _diff(operations)
    return result


def policy_info(module: Module) -> Result:
    direction = module.params["direction"]
    return {
        "changed": False,
        "policies": [_observed(entry) for entry in Spd().dump() if direction in (None, entry.policy.direction)],
    }


def _wanted(params: t.Mapping[str, t.Any], doubts: Doubts) -> tuple[Policy, ...]:
    """The policies of the options, each checked alone and all together; raises everything that is
    wrong with them. Adds to ``doubts``.
    """
    reader = OptionReader()
    several = params["policies"] is not None
    beside = [name for name, spec in POLICY.items() if several and params[name] != spec.get("default")]
    if beside:
        reader.note(
            f"{', '.join(beside)} would have no effect beside it", "policies", "Write this into each of the policies."
        )
    policies: tuple[Policy, ...] = ()
    with reader.noting():
        policies = (
            read_policies(params["policies"], "policies", doubts)
            if several
            else (read_policy({name: params[name] for name in POLICY}, "", doubts),)
        )
    reader.finish()
    return policies


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
    words = [label(policy), policy.action, f"priority {policy.priority}"]
    words += [f"mark {mark_text(policy.mark)}"] if policy.mark is not None else []
    words += [f"if_id {policy.if_id}"] if policy.if_id else []
    for template in policy.templates:
        shown = template_view(template)
        ends = f" {shown['source'] or 'any'} > {shown['destination'] or 'any'}" if template.mode == "tunnel" else ""
        words.append(
            f"{template.protocol} {template.mode}{ends} reqid {template.reqid} spi {shown['spi'] or 'any'}"
            f" {template.level}"
        )
    return ", ".join((*words, *policy.extra))


def _observed(entry: PolicyEntry) -> Result:
    return {
        **view(entry.policy),
        "index": entry.number,
        "add_time": entry.add_time,
        "use_time": entry.use_time,
        "complete": entry.complete,
        "flags": list(entry.policy.extra),
    }
