# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which policies make traffic use which SAs. Pure.

What an SA protects leaves unencrypted where no policy requires the SA. Matching follows the kernel
(net/xfrm/xfrm_state.c: xfrm_state_find for packets that leave; net/xfrm/xfrm_policy.c:
xfrm_state_ok for those that arrive). Priorities are ignored: a policy that matches earlier is an
intended exception."""

from __future__ import annotations

import typing as t

from ..sa.model import (
    INBOUND,
    NO_MARK,
    OUTBOUND,
    PROTOCOLS,
    TRANSPORT,
    Pair,
    SecurityAssociation,
    Selector,
    format_address,
    is_multicast,
    is_unspecified,
    lies_in,
    pair,
)
from ..sa.plan import direction_of
from .policy import ALLOW, OUT, Policy, Template

Network = t.Tuple[bytes, int]

_SHOWN_LENGTH = 400


class _Demand(t.NamedTuple):
    """What one template of a policy requires of an SA: the template itself, and the networks of its ends."""

    policy: Policy
    template: Template
    source: Network
    destination: Network


class _Demands:
    """The demands of many policies, indexed by destination."""

    def __init__(self, policies: t.Iterable[Policy]) -> None:
        self.exact: dict[bytes, list[_Demand]] = {}
        self.wide: list[_Demand] = []
        for policy in policies:
            for demand in _demands(policy):
                address, prefix = demand.destination
                row = self.exact.setdefault(address, []) if prefix == len(address) * 8 else self.wide
                row.append(demand)

    def all(self) -> t.Iterator[_Demand]:
        for demands in (*self.exact.values(), self.wide):
            yield from demands

    def met_by(self, sa: SecurityAssociation) -> t.Iterator[_Demand]:
        """The demands that the SA can serve."""
        for demands in (self.exact.get(sa.destination, ()), self.wide):
            for demand in demands:
                if _meets(sa, demand):
                    yield demand


def uncovered(
    sas: t.Iterable[SecurityAssociation], policies: t.Iterable[Policy], local: t.AbstractSet[bytes]
) -> list[SecurityAssociation]:
    """The outbound SAs that no policy uses, so their traffic leaves unencrypted. Includes SAs
    shared towards a multicast group.

    ``local`` is the addresses of this host. Where it has none but loopback yet, as before the
    network is up, the policies tell which end of an SA is here; an SA for which they show neither
    counts."""
    policies = list(policies)
    leaving = _Demands(policy for policy in policies if policy.direction == OUT)
    arriving = _Demands(policy for policy in policies if policy.direction != OUT)
    local = {address for address in local if not _is_loopback(address)}
    unused: list[SecurityAssociation] = []
    here: set[bytes] = set()
    for sa in sas:
        if _way(sa, local) != INBOUND:
            if any(True for dummy in leaving.met_by(sa)):
                here.add(sa.source)
            else:
                unused.append(sa)

    def only_arrives(sa: SecurityAssociation) -> bool:
        return (sa.destination in here and sa.source not in here) or any(True for dummy in arriving.met_by(sa))

    return [sa for sa in unused if _way(sa, local) == OUTBOUND or not only_arrives(sa)]


def guarding(policies: t.Iterable[Policy], sas: t.Iterable[SecurityAssociation]) -> list[Policy]:
    """The policies that guard any of the SAs, in their order: an SA could serve a template of the policy,
    so that without the policy its traffic would pass unprotected, in either direction.
    """
    policies = list(policies)
    demands = _Demands(policies)
    found = {demand.policy for sa in sas for demand in demands.met_by(sa)}
    return [policy for policy in policies if policy in found]


def unserved(policies: t.Iterable[Policy], sas: t.Iterable[SecurityAssociation]) -> list[Policy]:
    """The policies with a template for which there is no SA, in their order. Their traffic does not pass, or,
    if the template is optional, passes without that protection. Templates of other protocols, such as
    IPComp, do not count.
    """
    policies = list(policies)
    demands = _Demands(policies)
    served = {demand for sa in sas for demand in demands.met_by(sa)}
    found = {
        demand.policy for demand in demands.all() if demand.template.protocol in PROTOCOLS and demand not in served
    }
    return [policy for policy in policies if policy in found]


def unguarded(sas: t.Iterable[SecurityAssociation], policies: t.Iterable[Policy]) -> list[SecurityAssociation]:
    demands = _Demands(policies)
    return [sa for sa in sas if not any(True for dummy in demands.met_by(sa))]


def between(sas: t.Iterable[SecurityAssociation]) -> str:
    """The pairs of addresses of SAs, for a message: as many as fit on a line, and the number of the others."""
    pairs: dict[Pair, str] = {}
    for sa in sas:
        pairs.setdefault(pair(sa), f"{format_address(sa.source)} and {format_address(sa.destination)}")
    shown: list[str] = []
    for text in pairs.values():
        if shown and sum(map(len, shown)) + len(text) > _SHOWN_LENGTH:
            break
        shown.append(text)
    more = len(pairs) - len(shown)
    return ", ".join(shown) + (f", and {more} more" if more else "")


def _demands(policy: Policy) -> t.Iterator[_Demand]:
    """What the templates require, the innermost first. Inside a tunnel the packet's ends are those of
    the tunnel.
    """
    selector = policy.selector
    source, destination = (selector.source, selector.source_prefix), (selector.destination, selector.destination_prefix)
    for template in policy.templates if policy.action == ALLOW else ():
        if template.mode != TRANSPORT:
            source, destination = _end(template.source), _end(template.destination)
        yield _Demand(policy, template, source, destination)


def _end(address: bytes) -> Network:
    """The network of a tunnel's end: its address, or any if it is unspecified."""
    return (address, 0 if is_unspecified(address) else len(address) * 8)


def _meets(sa: SecurityAssociation, demand: _Demand) -> bool:
    policy, template = demand.policy, demand.template
    mark, sa_mark = policy.mark or NO_MARK, sa.mark or NO_MARK
    if policy.direction == OUT:
        # The kernel compares the policy's mark here, not that of the outbound packet.
        fits = (
            sa.reqid == template.reqid
            and sa.if_id == policy.if_id
            and mark.value & mark.mask & sa_mark.mask == sa_mark.value
            and sa.direction != INBOUND
        )
    else:
        fits = (
            template.reqid in (0, sa.reqid)
            and policy.if_id in (0, sa.if_id)
            and not (mark.value ^ sa_mark.value) & mark.mask & sa_mark.mask
            and sa.direction != OUTBOUND
        )
    return (
        fits
        and sa.protocol == template.protocol
        and sa.mode == template.mode
        and template.spi in (0, sa.spi)
        and lies_in(sa.destination, *demand.destination)
        and (
            lies_in(sa.source, *demand.source)
            or (is_unspecified(sa.source) and len(sa.source) == len(demand.source[0]))
        )
        and (sa.selector is None or overlap(sa.selector, policy.selector))
    )


def overlap(one: Selector, other: Selector) -> bool:
    """Whether some packets match both selectors."""
    return (
        _meet((one.source, one.source_prefix), (other.source, other.source_prefix))
        and _meet((one.destination, one.destination_prefix), (other.destination, other.destination_prefix))
        and all(not mine or not yours or mine == yours for mine, yours in zip(one[4:], other[4:]))
    )


def _meet(one: Network, other: Network) -> bool:
    """Whether two networks share an address; an empty one is any."""
    return not one[0] or not other[0] or lies_in(one[0], other[0], min(one[1], other[1]))


def _way(sa: SecurityAssociation, local: t.AbstractSet[bytes]) -> str:
    """The direction of the SA, by `direction_of` if the host has addresses; empty if unknown."""
    if is_unspecified(sa.source):
        # Shared by many senders, including this host; but a sole receiver does not send to itself.
        return sa.direction or (
            OUTBOUND if is_multicast(sa.destination) else INBOUND if sa.destination in local else ""
        )
    return direction_of(sa, local) if local else sa.direction


def _is_loopback(address: bytes) -> bool:
    return address[0] == 127 if len(address) == 4 else address == bytes(15) + b"\1"
