# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Entries of a security policy database (SPD, RFC 4301 section 4.4.1): which traffic must go through which SAs.

Fields are those of Linux. Unlike an SA, a policy can be replaced in one step."""

from __future__ import annotations

import typing as t

from ..errors import InputError, shown
from ..sa.checks import selector_problems
from ..sa.model import AH, ESP, TRANSPORT, TUNNEL, Mark, Selector, network_text

IN = "in"
OUT = "out"
FORWARD = "fwd"
DIRECTIONS = (IN, OUT, FORWARD)
ALLOW = "allow"
BLOCK = "block"
ACTIONS = (ALLOW, BLOCK)
REQUIRED = "required"
USE = "use"
LEVELS = (REQUIRED, USE)

PRESENT = "present"
ABSENT = "absent"


class Template(t.NamedTuple):
    """An SA that a policy requires. Addresses are packed, all zeros for those of the packet
    (transport mode); SPI 0 is any.

    ``reqid`` must equal that of the SA for outbound packets, also if it is 0; for inbound ones 0 is
    any (net/xfrm/xfrm_state.c). ``level`` "use" lets packets pass in the clear if there is no such
    SA."""

    protocol: str
    mode: str = TRANSPORT
    source: bytes = b""
    destination: bytes = b""
    spi: int = 0
    reqid: int = 0
    level: str = REQUIRED


class Policy(t.NamedTuple):
    """One entry of the SPD. Both networks of the selector are always given, all zeros with prefix 0
    for any of their family.

    A policy with a lower priority matches first. ``templates`` are applied in order, the first innermost.
    ``extra`` names properties that only other programs set: flags, limits, restrictions on the
    algorithms of its templates."""

    direction: str
    selector: Selector
    action: str = ALLOW
    priority: int = 0
    mark: Mark | None = None
    if_id: int = 0
    templates: tuple[Template, ...] = ()
    extra: tuple[str, ...] = ()


class PolicyEntry(t.NamedTuple):
    """A policy as the kernel shows it, with the index that the kernel gave it. Times are seconds since
    the epoch, 0 for never.

    ``complete`` is False if it has a property that `Policy` cannot express, such as a port range, an
    interface or a user: then it is never one of ours."""

    policy: Policy
    number: int
    add_time: int
    use_time: int
    complete: bool


class PolicyOperation(t.NamedTuple):
    """One change, of kind "add", "replace" or "delete". ``fields`` names what differs."""

    kind: str
    new: Policy | None
    old: Policy | None
    fields: tuple[str, ...] = ()

    def __str__(self) -> str:
        policy = self.new if self.new is not None else t.cast(Policy, self.old)
        return f"{self.kind} policy {label(policy)}" + (f" ({', '.join(self.fields)})" if self.fields else "")


def label(policy: Policy) -> str:
    """One line for messages."""
    selector = policy.selector
    source = network_text(selector.source, selector.source_prefix) or "any"
    destination = network_text(selector.destination, selector.destination_prefix) or "any"
    text = f"{policy.direction} {source} > {destination}"
    if selector.protocol:
        text += f" protocol {selector.protocol}"
    if selector.source_port or selector.destination_port:
        text += f" ports {selector.source_port or 'any'} > {selector.destination_port or 'any'}"
    return text


def identity(policy: Policy) -> tuple[str, Selector, Mark | None, int]:
    """What identifies a policy (net/xfrm/xfrm_policy.c, xfrm_policy_insert_list)."""
    return (policy.direction, policy.selector, policy.mark, policy.if_id)


def build(
    direction: str,
    selector: Selector,
    templates: t.Sequence[Template] = (),
    action: str = ALLOW,
    priority: int = 0,
    mark: Mark | None = None,
    if_id: int = 0,
) -> Policy:
    """A policy in normal form: a missing address means any of the other address's family, or in a template without
    any, of the packets that it gets.
    """
    size = len(selector.source or selector.destination or bytes(4))
    selector = selector._replace(source=selector.source or bytes(size), destination=selector.destination or bytes(size))
    filled = []
    for template in templates:
        # The next template gets the packets of this one (net/xfrm/xfrm_user.c, validate_tmpl).
        size = len(template.source or template.destination or bytes(size))
        filled.append(
            template._replace(source=template.source or bytes(size), destination=template.destination or bytes(size))
        )
    return Policy(direction, selector, action, priority, None if mark == Mark(0, 0) else mark, if_id, tuple(filled))


def problems(policy: Policy) -> list[InputError]:
    """Everything that is wrong with a policy, as errors whose place is the option's name; empty for a valid one."""
    found: list[InputError] = []

    def wrong(place: str, message: str, hint: str = "") -> None:
        found.append(InputError(message, place, hint))

    def one_of(place: str, word: str, choices: t.Sequence[str]) -> None:
        if word not in choices:
            wrong(place, f"unknown {place.split()[-1]} {shown(word)}", f"Choose one of: {', '.join(choices)}.")

    one_of("direction", policy.direction, DIRECTIONS)
    one_of("action", policy.action, ACTIONS)
    for field in ("priority", "if_id"):
        if not 0 <= getattr(policy, field) <= 0xFFFFFFFF:
            wrong(field, f"{getattr(policy, field)} does not fit 32 bits", "Choose 0 to 4294967295.")
    if policy.mark is not None and (
        not all(0 <= part <= 0xFFFFFFFF for part in policy.mark) or policy.mark.value & ~policy.mark.mask
    ):
        wrong(
            "mark",
            "mark and mask must fit 32 bits each, and the mark must lie inside its mask",
            "Write VALUE/MASK, such as 0x1/0xff.",
        )
    found.extend(selector_problems(policy.selector))
    if policy.action == BLOCK and policy.templates:
        wrong("templates", "a policy that blocks has no templates", "Remove them, or allow the traffic.")
    if len(policy.templates) > 6:
        wrong(
            "templates", f"{len(policy.templates)} templates are too many", "The kernel accepts 6; remove the others."
        )
    size, whose = len(policy.selector.source), "selector"
    for index, template in enumerate(policy.templates):
        place = f"templates[{index}]"
        one_of(f"{place} protocol", template.protocol, (ESP, AH, "comp"))
        one_of(f"{place} mode", template.mode, (TRANSPORT, TUNNEL, "beet"))
        one_of(f"{place} level", template.level, LEVELS)
        if len(template.source) != len(template.destination):
            wrong(
                place, "source and destination are of different address families", "Give both as IPv4 or both as IPv6."
            )
        elif template.mode == TUNNEL and not any(template.destination):
            wrong(
                f"{place} destination",
                "a tunnel needs the address of its far end",
                "Give the outer addresses of both ends.",
            )
        elif template.mode == TRANSPORT and len(template.source) != size:
            fix = f"Use addresses of the family of the {whose}."
            wrong(place, "transport mode cannot change the address family", fix)
        if template.mode != TRANSPORT:
            size, whose = len(template.source), "tunnel before it"
        for field in ("spi", "reqid"):
            if not 0 <= getattr(template, field) <= 0xFFFFFFFF:
                wrong(
                    f"{place} {field}",
                    f"{getattr(template, field)} does not fit 32 bits",
                    "Choose 0 to 4294967295; 0 is any.",
                )
    return found


def warnings(policy: Policy) -> list[str]:
    """What is allowed but unwise; one sentence each."""
    found = []
    required = {template.protocol for template in policy.templates if template.level == REQUIRED}
    if any(template.level == USE and template.protocol not in required for template in policy.templates):
        found.append("level use sends packets in the clear while the SA is missing; prefer level required")
    if policy.action == ALLOW and not policy.templates:
        found.append("a policy that allows without templates lets this traffic pass in the clear")
    return found


def lets_pass(policy: Policy) -> bool:
    """Whether packets that match the policy may pass in the clear."""
    return policy.action == ALLOW and all(template.level == USE for template in policy.templates)


def differences(desired: Policy, actual: Policy) -> tuple[str, ...]:
    """The fields in which ``actual`` differs from ``desired``, and the ``extra`` words that only it has."""
    fields = tuple(
        name for name, wanted, found in zip(Policy._fields, desired, actual) if wanted != found and name != "extra"
    )
    return (*fields, *(word for word in actual.extra if word not in desired.extra))


def plan(desired: t.Sequence[Policy], actual: t.Sequence[PolicyEntry], state: str = PRESENT) -> list[PolicyOperation]:
    """The changes that make the policies exist as desired (present), or not at all (absent). Pure."""
    existing = {identity(entry.policy): entry.policy for entry in actual if entry.complete}
    operations = []
    for policy in desired:
        old = existing.get(identity(policy))
        if state == ABSENT:
            if old is not None:
                operations.append(PolicyOperation("delete", None, old))
        elif old is None:
            operations.append(PolicyOperation("add", policy, None))
        elif old != policy:
            operations.append(PolicyOperation("replace", policy, old, differences(policy, old)))
    return operations
