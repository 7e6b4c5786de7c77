# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which SAs and policies belong together."""

from __future__ import annotations

import typing as t

from ansible_collections.ipsec.manual.plugins.module_utils._core.audit.policies import compare
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import (
    SecurityAssociation,
    Selector,
    build,
    pack_address,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.spd import policy
from ansible_collections.ipsec.manual.plugins.module_utils._core.spd.policy import Policy, Template

HERE, PEER = pack_address("192.0.2.1"), pack_address("192.0.2.2")
LOCAL = frozenset((HERE,))


def sa(source: bytes = HERE, destination: bytes = PEER, protocol: str = "esp", **fields: t.Any) -> SecurityAssociation:
    return build(protocol, 0x1001, destination, source, **fields)


def guard(direction: str, *templates: Template, **fields: t.Any) -> Policy:
    source, destination = (HERE, PEER) if direction == "out" else (PEER, HERE)
    return policy.build(direction, Selector(source, 32, destination, 32), templates or (Template("esp"),), **fields)


BOTH = [sa(), sa(PEER, HERE)]


def test_sas_and_their_policies_belong_together() -> None:
    found = compare(BOTH, [guard("out"), guard("in")], LOCAL)
    assert found == (2, (), (), (), ())


def test_sas_without_policies() -> None:
    assert compare(BOTH, [], LOCAL) == (0, (BOTH[0],), (BOTH[1],), (), ())
    # A policy for the other direction does not help.
    assert compare(BOTH, [guard("in")], LOCAL).leaking == (BOTH[0],)
    assert compare(BOTH, [guard("out")], LOCAL).open == (BOTH[1],)


def test_policies_without_sas() -> None:
    both = [guard("out"), guard("in")]
    assert compare([], both, LOCAL).waiting == tuple(both)
    assert compare(BOTH[:1], both, LOCAL).waiting == (both[1],)
    # ESP alone does not serve a policy that wants AH around it.
    nested = guard("out", Template("esp"), Template("ah"))
    assert compare(BOTH, [nested, both[1]], LOCAL).waiting == (nested,)
    assert compare([*BOTH, sa(protocol="ah")], [nested, both[1]], LOCAL).waiting == ()
    # What the SADB does not hold cannot be missing from it.
    compressed = guard("out", Template("comp"), Template("esp"))
    assert compare(BOTH, [compressed, both[1]], LOCAL).waiting == ()


def test_policies_that_need_no_sa() -> None:
    optional, block = guard("out", Template("esp", level="use")), guard("in", action="block")
    found = compare([], [optional, block, guard("fwd")._replace(templates=())], LOCAL)
    assert (found.waiting, found.optional) == ((), (optional,))
    mixed = guard("out", Template("esp"), Template("ah", level="use"))
    assert compare([], [mixed], LOCAL).optional == () and compare([], [mixed], LOCAL).waiting == (mixed,)
