# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A change between transport and tunnel mode without a gap. Pure.

No list of templates accepts packets through SAs of either mode, but not clear text. So hosts send packets through
SAs of both meanwhile: through those in transport mode (T), and then through those of the tunnel (U) around
them. On Linux, inbound policies accept that in two ways. One that requires T, and in which U is optional
(``level: use``), accepts {T} and {T, U}. One that requires U alone accepts {U} and {T, U}, since packets may have
passed through more SAs in transport mode than are required (net/xfrm/xfrm_policy.c, __xfrm_policy_check). Neither
accepts clear text. In each of these steps, all hosts accept what was sent in the step before, and in this one:

=========  =============================  =============================  =======================
step       to a tunnel                    to transport mode              in the keystore
=========  =============================  =============================  =======================
stage      accept {T} and {T, U}          accept {U} and {T, U}          prepared
cut_over   send {T, U}                    send {T, U}                    switching
accept     accept {U} and {T, U}          accept {T} and {T, U}          retiring
unnest     send {U}                       send {T}                       retiring
persist    accept {U}, remove T           accept {T}, remove U           retiring, then current
=========  =============================  =============================  =======================

What a host loads at boot changes first in each step. Until persist, kernel and protected file have the SAs of both
generations in both directions. Test packets between cut_over and accept prove the new SAs.

- Up to cut_over, hosts go back as with every change: first their outbound policies, then the inbound ones.
- A host that does not confirm `accept` may not accept what its peers would send next. So in `unnest`, its peers go
  on sending to it through both, and no host of such a pair does anything in persist.
- A host that does not confirm `unnest` may go on sending through both, so its peers keep the previous SAs.
- After a run that ended later than cut_over, hosts may be two steps apart from the next run's point of view: some send
  through both, others no longer accept that. What they accept in the step `accept` is right for all. So the next run
  installs that in stage, and what is sent alone in cut_over (`Rotation.ahead`). Until then, a host that reboots
  sends what it sent before: its outbound policy in the kernel tells (`policies`).
"""

from __future__ import annotations

import typing as t

from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import TUNNEL
from ansible_collections.ipsec.manual.plugins.module_utils._core.spd.policy import OUT, USE, label
from ansible_collections.ipsec.manual.plugins.module_utils._core.spd.text import read_policy

from .._connections.model import Connection
from .._policies import policies_of_host

Result = t.Dict[str, t.Any]
Policies = t.Sequence[Result]


def is_fit(now: Connection) -> bool:
    """Whether its SAs in both modes protect the same packets, and can be nested.

    A tunnel between networks carries other packets than SAs in transport mode do. AH beside ESP is in transport mode
    in a tunnel, too, so that a host which loads both generations at boot might send through the previous AH SA, which
    its peer has removed. Whether packets arrive that are carried in UDP, or that have to have a mark or an XFRM
    interface after each SA, was not measured.
    """
    return not (
        now.selectors()
        or now.multicast
        or now.udp_port
        or now.mark is not None
        or now.if_id
        or len(now.associations) > 1
    )


def is_lacking(connection: Connection, host: str, missing: t.Container[str]) -> bool:
    """Whether the host lacks policies of a connection. ``missing`` are labels."""
    return any(label(read_policy(policy, "", [])) in missing for policy in policies_of_host(connection, host))


def sending(now: Policies, before: Policies) -> list[Result]:
    """The outbound policies that send through the SAs of both modes."""
    return [
        {**policy, "templates": [*inner, *outer]}
        for policy, inner, outer in _both(now, before)
        if policy["direction"] == OUT
    ]


def accepting(now: Policies, before: Policies, alone: bool) -> list[Result]:
    """The inbound policies that accept packets through both, and through the previous SAs alone, or with
    ``alone`` through the new ones alone.
    """
    found = []
    for policy, inner, outer in _both(now, before):
        if policy["direction"] != OUT:
            without_tunnel = _is_tunnel(policy) != alone
            rows = [*inner, *({**row, "level": USE} for row in outer)] if without_tunnel else outer
            found.append({**policy, "templates": [*rows]})
    return found


def _both(now: Policies, before: Policies) -> t.Iterator[tuple[Result, Policies, Policies]]:
    """Each new policy with the templates of transport mode and those of the tunnel."""
    for policy in now:
        for other in before:
            if (policy["direction"], policy["selector"]) == (other["direction"], other["selector"]):
                inner, outer = sorted((policy, other), key=_is_tunnel)
                yield policy, inner["templates"], outer["templates"]


def _is_tunnel(policy: Result) -> bool:
    return any(row["mode"] == TUNNEL for row in policy["templates"])
