# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which policies make traffic use which SAs."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.ipsec.manual.plugins.module_utils._core.sa import model as association
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import Mark, Selector, pack_address
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.plan import direction_of
from ansible_collections.ipsec.manual.plugins.module_utils._core.spd import guarding
from ansible_collections.ipsec.manual.plugins.module_utils._core.spd import policy as spd_policy
from ansible_collections.ipsec.manual.plugins.module_utils._core.spd.policy import Template
from ansible_collections.ipsec.manual.tests.unit.plugins.module_utils._core.sadb.strategies import (
    association_sets,
    associations,
    policy_sets,
)

HERE, THERE, OTHER = (pack_address(f"192.0.2.{end}") for end in (1, 2, 3))
HERE_6, THERE_6 = (pack_address(f"2001:db8::{end}") for end in (1, 2))
GROUP, GROUP_6 = pack_address("224.0.0.5"), pack_address("ff02::5")
ANY, ANY_6 = bytes(4), bytes(16)
LOCAL = frozenset((HERE, HERE_6, pack_address("127.0.0.1")))
# What a host has before its network is up.
BOOTING = frozenset((pack_address("127.0.0.1"), pack_address("::1")))


def sa(source=HERE, destination=THERE, protocol="esp", **fields):
    return association.build(protocol, fields.pop("spi", 0x1001), destination, source, **fields)


def selector(source=HERE, destination=THERE, *traffic):
    return Selector(
        source, len(source) * 8 * any(source), destination, len(destination) * 8 * any(destination), *traffic
    )


def out(*templates, source=HERE, destination=THERE, traffic=(), direction="out", **fields):
    return spd_policy.build(
        direction,
        fields.pop("selector", selector(source, destination, *traffic)),
        templates or [Template("esp")],
        **fields,
    )


def arriving(*templates, source=THERE, destination=HERE, **fields):
    return out(*templates, source=source, destination=destination, direction="in", **fields)


def network(text, prefix):
    return pack_address(text), prefix


TUNNEL = Template("esp", "tunnel", HERE, THERE)
NETWORKS = Selector(*network("10.1.0.0", 16), *network("10.2.0.0", 16))


# An SA, a policy, and whether packets use it. tests/kernel/test_guarding.py asks a kernel the same.
USES = [
    (sa(), out(), True),
    (sa(), arriving(), False),
    (sa(destination=OTHER), out(), False),
    (sa(), out(action="block", selector=selector())._replace(templates=()), False),
    (sa(), out()._replace(templates=()), False),
    (sa(protocol="ah"), out(), False),
    (sa(protocol="ah"), out(Template("esp"), Template("ah")), True),
    (sa(HERE_6, THERE_6), out(source=HERE_6, destination=THERE_6), True),
    (sa(HERE_6, THERE_6), out(), False),
    # What a template asks for.
    (sa(reqid=7), out(Template("esp", reqid=7)), True),
    (sa(reqid=7), out(), False),
    (sa(), out(Template("esp", reqid=7)), False),
    (sa(spi=0x2002), out(Template("esp", spi=0x2002)), True),
    (sa(spi=0x2002), out(Template("esp", spi=0x2003)), False),
    (sa(), out(Template("esp", level="use")), True),
    (sa(if_id=3), out(if_id=3), True),
    (sa(if_id=3), out(), False),
    (sa(), out(if_id=3), False),
    # The mark of the policy is what an SA is looked for with.
    (sa(mark=Mark(1, 0xFF)), out(mark=Mark(1, 0xFF)), True),
    (sa(mark=Mark(1, 0xFF)), out(mark=Mark(0x101, 0xFFF)), True),
    (sa(mark=Mark(1, 0xFF)), out(), False),
    (sa(), out(mark=Mark(1, 0xFF)), True),
    (sa(mark=Mark(0, 0xFF)), out(), True),
    # Networks of hosts, and parts of their traffic.
    (sa(), out(selector=Selector(*network("192.0.2.0", 24), *network("192.0.2.0", 24))), True),
    (sa(), out(selector=Selector(*network("192.0.2.0", 31), *network("192.0.2.4", 30))), False),
    (sa(), out(source=ANY, destination=THERE), True),
    (sa(), out(traffic=(6, 0, 443)), True),
    (sa(selector=selector(HERE, THERE, 6)), out(traffic=(6, 0, 443)), True),
    (sa(selector=selector(HERE, THERE, 6)), out(), True),
    (sa(selector=selector(HERE, THERE, 17)), out(traffic=(6, 0, 443)), False),
    (sa(selector=selector(HERE, THERE, 6, 0, 80)), out(traffic=(6, 0, 443)), False),
    # Tunnels: the ends are the template's, whatever the traffic.
    (sa(mode="tunnel"), out(TUNNEL, selector=NETWORKS), True),
    (sa(mode="tunnel", selector=NETWORKS), out(TUNNEL, selector=NETWORKS), True),
    (sa(mode="tunnel", selector=Selector(*network("10.3.0.0", 16))), out(TUNNEL, selector=NETWORKS), False),
    (sa(mode="tunnel"), out(TUNNEL._replace(source=ANY), selector=NETWORKS), True),
    (sa(mode="tunnel"), out(TUNNEL._replace(destination=OTHER), selector=NETWORKS), False),
    (sa(mode="tunnel"), out(TUNNEL._replace(source=OTHER), selector=NETWORKS), False),
    (sa(mode="tunnel"), out(), False),
    (sa(), out(TUNNEL, selector=NETWORKS), False),
    (
        sa(mode="tunnel"),
        out(TUNNEL, selector=Selector(*network("2001:db8:1::", 48), *network("2001:db8:2::", 48))),
        True,
    ),
    # AH around a tunnel goes between the tunnel's ends.
    (sa(protocol="ah"), out(TUNNEL, Template("ah"), selector=NETWORKS), True),
    # Groups.
    (sa(ANY, GROUP), out(destination=GROUP), True),
    (sa(ANY, GROUP), arriving(source=ANY, destination=GROUP), False),
    (sa(ANY_6, GROUP_6, protocol="ah"), out(Template("ah"), source=HERE_6, destination=GROUP_6), True),
    (sa(ANY, THERE), out(), True),
]


@pytest.mark.parametrize("association, policy, used", USES)
def test_an_outbound_sa_is_used_where_the_kernel_would_take_it(association, policy, used):
    assert guarding.uncovered([association], [policy], LOCAL) == ([] if used else [association])


@pytest.mark.parametrize(
    "association, policy, guarded",
    [
        (sa(THERE, HERE), arriving(), True),
        (sa(THERE, HERE, reqid=7), arriving(), True),
        (sa(THERE, HERE, reqid=7), arriving(Template("esp", reqid=8)), False),
        (sa(THERE, HERE, if_id=7), arriving(), True),
        (sa(THERE, HERE, mark=Mark(1, 0xFF)), arriving(), True),
        (sa(THERE, HERE, mark=Mark(1, 0xFF)), arriving(mark=Mark(2, 0xFF)), False),
        (sa(THERE, HERE, direction="outbound"), arriving(), False),
        (sa(THERE, HERE), out(), False),
        (sa(ANY, GROUP), arriving(source=ANY, destination=GROUP), True),
        (
            sa(THERE, HERE, mode="tunnel"),
            out(Template("esp", "tunnel", THERE, HERE), selector=NETWORKS, direction="fwd"),
            True,
        ),
        (sa(THERE, HERE), arriving()._replace(templates=()), False),
    ],
)
def test_a_policy_guards_what_could_serve_it_in_any_direction(association, policy, guarded):
    assert guarding.guarding([policy], [sa(OTHER, HERE, spi=0x9999), association]) == [policy] * guarded


def test_only_what_leaves_needs_a_policy():
    sas = [sa(), sa(THERE, HERE), sa(OTHER, GROUP), sa(OTHER, THERE)]
    assert guarding.uncovered(sas, [], LOCAL) == [sa()] + [sa(OTHER, THERE)]
    assert (
        guarding.uncovered(
            [sa(OTHER, THERE, direction="inbound"), sa(ANY, GROUP, direction="inbound"), sa(ANY, HERE)], [], LOCAL
        )
        == []
    )


def test_both_sas_of_a_bundle_need_it():
    esp, ah = sa(), sa(protocol="ah")
    assert guarding.uncovered([esp, ah], [out()], LOCAL) == [ah]
    assert guarding.uncovered([esp, ah], [out(Template("esp"), Template("ah"))], LOCAL) == []


def test_before_the_network_is_up_the_policies_tell_which_end_is_here():
    covered = [sa(), sa(THERE, HERE)]
    assert guarding.uncovered(covered, [out()], BOOTING) == []
    assert guarding.uncovered(covered, [arriving()], BOOTING) == [sa()]
    assert guarding.uncovered([*covered, sa(HERE, OTHER), sa(OTHER, HERE)], [out(), arriving()], BOOTING) == [
        sa(HERE, OTHER)
    ]
    assert guarding.uncovered(covered, [], BOOTING) == covered
    # A shared SA with one address as both ends, and one with a direction.
    assert guarding.uncovered([sa(ANY, HERE), sa(ANY, THERE)], [out(), arriving()], BOOTING) == []
    assert guarding.uncovered([sa(THERE, HERE, direction="inbound"), sa(direction="outbound")], [], BOOTING) == [
        sa(direction="outbound")
    ]
    groups = [sa(ANY, GROUP), sa(HERE, GROUP, spi=0x1002)]
    assert guarding.uncovered(groups, [arriving(source=ANY, destination=GROUP)], BOOTING) == [sa(ANY, GROUP)]
    assert guarding.uncovered(groups, [], BOOTING) == groups
    # A policy for all traffic does not tell which end is here: no SA counts as inbound.
    wide = out(Template("esp", reqid=5), selector=Selector(ANY, 0, ANY, 0))
    assert guarding.uncovered([sa(reqid=5), sa(THERE, HERE, reqid=5), sa(spi=0x1003)], [wide], BOOTING) == [
        sa(spi=0x1003)
    ]


def protecting(entry):
    """The policy that makes packets use exactly this SA."""
    tunnel = entry.mode == "tunnel"
    template = Template(
        entry.protocol, entry.mode, *((entry.source, entry.destination) if tunnel else ()), reqid=entry.reqid
    )
    size = len((entry.selector.source or entry.selector.destination) if entry.selector else b"") or len(
        entry.destination
    )
    traffic = Selector(bytes(size), 0, bytes(size), 0) if tunnel else selector(entry.source, entry.destination)
    return spd_policy.build("out", traffic, [template], mark=entry.mark, if_id=entry.if_id)


@given(associations().map(lambda entry: entry._replace(selector=None, direction="")))
def test_the_policy_made_for_an_sa_covers_it(entry):
    local = frozenset([entry.source])
    assert guarding.uncovered([entry], [protecting(entry)], local) == []
    assert guarding.guarding([protecting(entry)], [entry])


@settings(max_examples=50)
@given(association_sets(), policy_sets(), st.booleans())
def test_many_sas_are_matched_like_single_ones(sas, policies, known):
    policies = policies + [protecting(entry) for entry in sas[::2]]
    local = frozenset(entry.source for entry in sas[::3] if any(entry.source)) if known else frozenset()
    assert guarding.guarding(policies, sas) == [
        policy for policy in policies if any(guarding.guarding([policy], [entry]) for entry in sas)
    ]
    leaving = [policy for policy in policies if policy.direction == "out"]
    found = guarding.uncovered(sas, policies, local)
    assert not any(guarding.guarding([policy], [entry]) for policy in leaving for entry in found)
    known_to_leave = [
        entry for entry in sas if local and any(entry.source) and direction_of(entry, local) == "outbound"
    ]
    assert all(entry in found for entry in known_to_leave if not guarding.guarding(leaving, [entry]))
    assert set(found) <= set(guarding.uncovered(sas, [], local))


def test_a_message_names_pairs_once_and_counts_what_does_not_fit():
    assert (
        guarding.between([sa(), sa(THERE, HERE), sa(HERE, OTHER)]) == "192.0.2.1 and 192.0.2.2, 192.0.2.1 and 192.0.2.3"
    )
    many = [sa(HERE, pack_address(f"198.51.100.{end}")) for end in range(1, 101)]
    text = guarding.between(many)
    assert len(text) < 500 and text.startswith("192.0.2.1 and 198.51.100.1, ")
    named, dummy, more = text.partition(", and ")
    assert named.count(" and ") + int(more.split()[0]) == 100
