# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which policy decides where several match the same packets: that with the smallest number as its
priority (net/xfrm/xfrm_policy.c, xfrm_policy_lookup_bytype). Pure."""

from __future__ import annotations

import typing as t

from ..sa.model import NO_MARK, Selector
from .guarding import overlap
from .policy import Policy, PolicyEntry, PolicyOperation, identity


class Overtaken(t.NamedTuple):
    """A policy that loses its place when it is replaced: ``old`` came before ``other``, or was level with it, and
    ``new`` comes after it, or is level with it.
    """

    new: Policy
    old: Policy
    other: Policy


def overtaken(
    wanted: t.Iterable[Policy], operations: t.Iterable[PolicyOperation], actual: t.Iterable[PolicyEntry]
) -> list[Overtaken]:
    """The policies that the operations replace by ones of a weaker priority, so that another policy for some of
    the same packets may decide from then on; each with the first of these. ``actual`` is the whole SPD before
    them, ``wanted`` what is to exist, whose order among themselves is not judged.
    """
    replaced = [(step.old, step.new) for step in operations if step.old is not None and step.new is not None]
    weakened = [(old, new) for old, new in replaced if old.priority < new.priority]
    if not weakened:
        return []
    ours = set(map(identity, wanted))
    others = [entry for entry in actual if not (entry.complete and identity(entry.policy) in ours)]
    found = []
    for old, new in weakened:
        first = [entry.policy for entry in others if _passes(entry, old, new)]
        if first:
            found.append(Overtaken(new, old, min(first, key=lambda policy: policy.priority)))
    return found


def _passes(entry: PolicyEntry, old: Policy, new: Policy) -> bool:
    """Whether the other policy may decide after the change about packets that the replaced one decided about. Among
    equal priorities, age decides, which a replaced policy may lose.
    """
    other = entry.policy
    mark, mine = other.mark or NO_MARK, new.mark or NO_MARK
    # The selector of an incomplete entry is not known but for its networks.
    networks = Selector(*other.selector[:4])
    return (
        old.priority <= other.priority <= new.priority
        and other.direction == new.direction
        and other.if_id == new.if_id
        and not (mark.value ^ mine.value) & mark.mask & mine.mask
        and overlap(other.selector if entry.complete else networks, new.selector)
    )
