# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which SAs and policies of a host belong together, and which do not. Pure."""

from __future__ import annotations

import typing as t

from ..sa.model import INBOUND, SecurityAssociation
from ..sa.plan import direction_of
from ..spd.guarding import uncovered, unguarded, unserved
from ..spd.policy import ALLOW, OUT, USE, Policy


class PolicyFacts(t.NamedTuple):
    """``leaking``: outbound SAs that no policy uses, so that their traffic leaves unprotected.
    ``open``: inbound SAs that no policy requires, so that their traffic is accepted unprotected, too.
    ``waiting``: policies that require an SA that does not exist, so that their traffic does not pass.
    ``optional``: policies that let traffic pass without an SA. ``total`` is the number of all policies.
    """

    total: int
    leaking: tuple[SecurityAssociation, ...]
    open: tuple[SecurityAssociation, ...]
    waiting: tuple[Policy, ...]
    optional: tuple[Policy, ...]


def compare(
    sas: t.Sequence[SecurityAssociation], policies: t.Sequence[Policy], local: t.AbstractSet[bytes]
) -> PolicyFacts:
    """SAs, larval ones aside, against policies, on a host with the addresses ``local``."""
    arriving = [sa for sa in sas if direction_of(sa, local) == INBOUND]
    optional = tuple(policy for policy in policies if _is_optional(policy))
    return PolicyFacts(
        len(policies),
        tuple(uncovered(sas, policies, local)),
        tuple(unguarded(arriving, [policy for policy in policies if policy.direction != OUT])),
        tuple(policy for policy in unserved(policies, sas) if not _is_optional(policy)),
        optional,
    )


def _is_optional(policy: Policy) -> bool:
    """Whether traffic of the policy may pass without any of the SAs that it names."""
    return policy.action == ALLOW and bool(policy.templates) and all(row.level == USE for row in policy.templates)
