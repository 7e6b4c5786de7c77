# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Policies that name the SPI of the SA to send with, so that groups overlap. Pure.

The hosts of a multicast group share one SA for both directions, and Linux sends through the newest
that fits a policy. So while a host holds two generations, its outbound policy towards the group names
the SPI of one: that of the current generation up to the cut-over, that of the next one from then on. Once
the host holds only one generation, the policy names none again, so policies that are loaded at
boot do not depend on generations.
"""

from __future__ import annotations

import typing as t

from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.checks import ANYTHING
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import format_address, is_multicast
from ansible_collections.ipsec.manual.plugins.module_utils._core.text import language

from .._keystore.records import IN_USE, PREPARED, RETIRING
from .._policies import policies_of_host
from . import decisions
from .rotation import Question, Questions, Result, Rotation

PINS = "pins"
CURRENT, NEWEST = "current", "newest"


def groups(run: Rotation, host: str) -> list[str]:
    """The groups of a host that change in this run, and overlap."""
    changing = decisions.in_phase(run.expected, PREPARED, *IN_USE)
    known = run.expected["hosts"][host]["connections"]
    return sorted(name for name in run.pinned.difference(run.gaps) if name in changing and name in known)


def staged(run: Rotation, host: str) -> Questions:
    """Before the host gets a second generation: to send through the one that every host has."""
    retiring = decisions.in_phase(run.expected, RETIRING)
    wanted = [
        policy
        for name in groups(run, host)
        for policy in _of(run, host, [name], NEWEST if name in retiring else CURRENT)
    ]
    yield from _question(run, host, wanted)


def released(run: Rotation, host: str, names: t.Collection[str]) -> Questions:
    """When only one generation of these groups is left: to send through any."""
    yield from _question(run, host, _of(run, host, sorted({*names}.intersection(groups(run, host)))))


def previous(run: Rotation, host: str, names: t.Collection[str]) -> list[Result]:
    """The policies with which a host sends to these groups through the previous SAs again."""
    return _of(run, host, sorted({*names}.intersection(groups(run, host))), CURRENT)


def naming(run: Rotation, host: str, name: str, policies: t.Sequence[Result]) -> list[Result]:
    """The policies of a unit as they are from the cut-over on."""
    return _pinned(run, host, name, policies, NEWEST) if name in groups(run, host) else list(policies)


def _question(run: Rotation, host: str, wanted: list[Result]) -> Questions:
    if wanted:
        yield Question(PINS, "ipsec_policy", {"policies": wanted, **run.deadline(host)})


def _of(run: Rotation, host: str, names: t.Collection[str], generation: str = "") -> list[Result]:
    """The outbound policies of groups; with ``generation`` they name the SPIs of its SAs."""
    found = []
    for connection in run.connections():
        if connection.name in names:
            own = policies_of_host(connection, host, run.own(host)["policy_priority"])
            outbound = [policy for policy in own if policy["direction"] == "out"]
            found += _pinned(run, host, connection.name, outbound, generation) if generation else outbound
    return found


def _pinned(run: Rotation, host: str, name: str, policies: t.Sequence[Result], generation: str) -> list[Result]:
    sas = language.parse(run.text([name], host, generation), **ANYTHING).sas
    spis = {
        (sa.protocol, format_address(sa.destination)): f"0x{sa.spi:08x}" for sa in sas if is_multicast(sa.destination)
    }
    found = []
    for policy in policies:
        group = policy["selector"]["destination"].partition("/")[0]
        named = [
            (
                {**template, "spi": spis[template["protocol"], group]}
                if policy["direction"] == "out" and (template["protocol"], group) in spis
                else template
            )
            for template in policy["templates"]
        ]
        found.append({**policy, "templates": named})
    return found
