# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Policies are added to the kernel as requested, checked with ip(8), read back equal, and changed all or nothing."""

from __future__ import annotations

import socket
import time
import typing as t

import pytest
from hypothesis import given

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import SadbError
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import Mark, Selector, pack_address
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.xfrm import uapi
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.xfrm.netlink import (
    HEADER_SIZE,
    NETLINK_XFRM,
    Netlink,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.spd import kernel as spd_module
from ansible_collections.ipsec.manual.plugins.module_utils._core.spd import policy as spd_policy
from ansible_collections.ipsec.manual.plugins.module_utils._core.spd.kernel import Spd
from ansible_collections.ipsec.manual.plugins.module_utils._core.spd.policy import (
    Policy,
    PolicyOperation,
    Template,
    build,
    plan,
)
from ansible_collections.ipsec.manual.tests.kernel import witness
from ansible_collections.ipsec.manual.tests.unit.plugins.module_utils._core.sadb.strategies import policy_sets

HERE, THERE = pack_address("192.0.2.1"), pack_address("192.0.2.2")
HERE6, THERE6 = pack_address("2001:db8::1"), pack_address("2001:db8::2")
PAIR = Selector(HERE, 32, THERE, 32)

TABLE: list[tuple[Policy, list[str]]] = [
    (
        build("out", PAIR, [Template("esp")]),
        [
            "src 192.0.2.1/32 dst 192.0.2.2/32 dir out priority 0",
            "tmpl src 0.0.0.0 dst 0.0.0.0 proto esp reqid 0 mode transport",
        ],
    ),
    (
        build("in", PAIR, [Template("esp"), Template("ah")], priority=7),
        ["dir in priority 7", "proto esp reqid 0 mode transport tmpl", "proto ah reqid 0"],
    ),
    (build("out", PAIR, [Template("ah", level="use")]), ["proto ah reqid 0 mode transport level use"]),
    (
        build(
            "fwd",
            Selector(bytes((10, 0, 0, 0)), 8, bytes((10, 1, 0, 0)), 16),
            [Template("esp", "tunnel", HERE, THERE, 0x1000, 5)],
        ),
        [
            "src 10.0.0.0/8 dst 10.1.0.0/16 dir fwd",
            "tmpl src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x00001000 reqid 5 mode tunnel",
        ],
    ),
    (
        build("out", Selector(HERE6, 128, THERE6, 128), [Template("esp")]),
        ["src 2001:db8::1/128 dst 2001:db8::2/128 dir out", "tmpl src :: dst ::"],
    ),
    (
        build("out", Selector(bytes(16), 0, THERE6, 64 + 64), [Template("esp", "tunnel", HERE, THERE)]),
        ["src ::/0 dst 2001:db8::2/128", "tmpl src 192.0.2.1 dst 192.0.2.2 proto esp"],
    ),
    (
        build("in", Selector(bytes(4), 0, bytes(4), 0), action="block", priority=0xFFFFFFFF),
        ["src 0.0.0.0/0 dst 0.0.0.0/0 dir in action block priority 4294967295"],
    ),
    (
        build("out", Selector(HERE, 32, THERE, 32, 17, 53, 1024), [Template("esp")]),
        ["proto udp sport 53 dport 1024 dir out"],
    ),
    (build("out", PAIR, [Template("esp")], mark=Mark(5, 0xFF), if_id=9), ["mark 0x5/0xff", "if_id 0x9"]),
]


@pytest.mark.parametrize("policy, texts", TABLE)
def test_every_attribute(spd: Spd, policy: Policy, texts: list[str]) -> None:
    assert not spd_policy.problems(policy)
    spd.apply(plan([policy], spd.dump()))
    (text,) = witness.policies()
    for part in texts:
        assert part in text
    (entry,) = spd.dump()
    assert entry.policy == policy
    assert entry.complete
    assert plan([policy], [entry]) == []
    spd.apply(plan([policy], [entry], "absent"))
    assert witness.policies() == []


@given(policies=policy_sets())
def test_any_set_of_policies_is_read_back_equal_and_removed(spd: Spd, policies: list[Policy]) -> None:
    try:
        spd.apply(plan(policies, spd.dump()))
        dump = spd.dump()
        assert len(witness.policies()) == len(policies)
        assert {entry.policy for entry in dump} == set(policies)
        assert plan(policies, dump) == []
        spd.apply(plan(policies, dump, "absent"))
        assert witness.policies() == []
    finally:
        witness.run("ip", "xfrm", "policy", "flush")


def test_a_policy_is_replaced_in_one_step(spd: Spd) -> None:
    old = build("out", PAIR, [Template("esp")], priority=1)
    new = build("out", PAIR, [Template("ah", reqid=3), Template("esp", reqid=4)], priority=2)
    spd.apply(plan([old], spd.dump()))
    number = spd.dump()[0].number
    operations = plan([new], spd.dump())
    assert [str(operation) for operation in operations] == [
        "replace policy out 192.0.2.1/32 > 192.0.2.2/32 (priority, templates)"
    ]
    spd.apply(operations)
    (entry,) = spd.dump()
    assert entry.policy == new
    assert entry.number == number
    assert "priority 2" in witness.policies()[0]


def test_policies_of_other_programs_stay(spd: Spd) -> None:
    witness.ip("xfrm policy add src 192.0.2.1 dst 192.0.2.2 dev lo dir out priority 3")
    ours = build("out", PAIR, [Template("esp")])
    assert [entry.complete for entry in spd.dump()] == [False]
    spd.apply(plan([ours], spd.dump()))
    assert len(witness.policies()) == 2
    spd.apply(plan([ours], spd.dump(), "absent"))
    assert len(witness.policies()) == 1
    assert "dev lo" in witness.policies()[0]


@pytest.mark.parametrize(
    "options, words",
    [
        ("flag localok", "localok"),
        ("flag icmp", "icmp"),
        ("limit time-hard 4", "hard_addtime 4"),
        ("limit time-use-soft 400", "soft_usetime 400"),
        ("limit byte-hard 1000", "hard_bytes 1000"),
        ("limit packet-soft 10", "soft_packets 10"),
    ],
)
def test_properties_set_by_other_programs_are_differences_and_replaced(spd: Spd, options: str, words: str) -> None:
    ends = ("src", "192.0.2.1/32", "dst", "192.0.2.2/32", "dir", "out")
    witness.run("ip", "xfrm", "policy", "add", *ends, *options.split(), "tmpl", "proto", "esp", "mode", "transport")
    expect_replaced(spd, words)
    if "time-hard" in options:
        time.sleep(5)
        assert len(witness.policies()) == 1


@pytest.mark.parametrize(
    "offset, value, words",
    [
        (49, b"\3", "templates[0] share-unique"),
        (52, b"\1\0\0\0", "templates[0] auth-algorithms"),
        (56, bytes(4), "templates[0] encryption-algorithms"),
    ],
)
def test_additional_template_requirements_are_differences_and_replaced(
    spd: Spd, offset: int, value: bytes, words: str
) -> None:
    """ip(8) cannot express it, so we change some bytes of struct xfrm_user_tmpl in our message; it
    follows the policy and its attribute's header.
    """
    request = spd_module.new_policy(build("out", PAIR, [Template("esp")]))
    place = HEADER_SIZE + uapi.USERPOLICY_INFO.size + 4 + offset
    with Netlink(NETLINK_XFRM) as link:
        assert link.send([request[:place] + value + request[place + len(value) :]]) == ({}, {})
    expect_replaced(spd, words)


def test_a_flag_unknown_to_ip_is_a_difference_and_replaced(spd: Spd) -> None:
    request = bytearray(spd_module.new_policy(build("out", PAIR, [Template("esp")])))
    request[HEADER_SIZE + 162] = 4  # XFRM_POLICY_CPU_ACQUIRE in struct xfrm_userpolicy_info
    with Netlink(NETLINK_XFRM) as link:
        assert link.send([bytes(request)]) == ({}, {})
    expect_replaced(spd, "cpu-acquire")


def expect_replaced(spd: Spd, words: str) -> None:
    """The existing policy differs from ours only in this, survives a failure unchanged, and is replaced by ours."""
    ours = build("out", PAIR, [Template("esp")])
    (operation,) = plan([ours], spd.dump())
    assert str(operation) == f"replace policy out 192.0.2.1/32 > 192.0.2.2/32 ({words})"
    refused(spd, [operation, PolicyOperation("add", build("in", PAIR, [Template("esp")] * 7), None)])
    assert plan([ours], spd.dump()) == [operation]
    spd.apply([operation])
    assert plan([ours], spd.dump()) == []


def test_policies_of_sockets_are_not_shown(spd: Spd) -> None:
    body = spd_module.new_policy(build("out", Selector(bytes(4), 0, bytes(4), 0)))[HEADER_SIZE:]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as owner:
        owner.setsockopt(socket.IPPROTO_IP, 17, body)  # IP_XFRM_POLICY
        assert len(witness.policies()) == 1
        assert "socket out" in witness.policies()[0]
        assert spd.dump() == []


def refused(spd: Spd, operations: t.Sequence[PolicyOperation]) -> SadbError:
    """The error of an `apply` that must fail and change nothing."""
    before = sorted(witness.policies())
    with pytest.raises(SadbError) as caught:
        spd.apply(operations)
    assert sorted(witness.policies()) == before
    return caught.value


def test_a_failure_is_undone(spd: Spd) -> None:
    kept, changed, taken = (
        build("in", PAIR, [Template("esp")]),
        build("out", PAIR, [Template("esp")], priority=1),
        build("fwd", PAIR, action="block"),
    )
    spd.apply(plan([kept, changed, taken], []))
    new = build("in", Selector(HERE, 32, THERE, 32, 6), [Template("esp")])
    error = refused(
        spd,
        [
            PolicyOperation("delete", None, kept),
            PolicyOperation("replace", changed._replace(templates=(), priority=9), changed),
            PolicyOperation("add", new, None),
            PolicyOperation("add", taken, None),
        ],
    )
    assert error.errno_name == "EEXIST"
    assert "policy fwd 192.0.2.1/32 > 192.0.2.2/32" in error.place
    assert "The SPD is as it was before." in str(error)


@pytest.mark.parametrize("change", ["gone", "other"])
def test_a_policy_that_another_program_changed_meanwhile_is_left_alone(spd: Spd, change: str) -> None:
    policy = build("out", PAIR, [Template("esp")])
    spd.apply(plan([policy], []))
    ends = ("src", "192.0.2.1", "dst", "192.0.2.2", "dir", "out")
    if change == "gone":
        witness.run("ip", "xfrm", "policy", "delete", *ends)
    else:
        witness.run(
            "ip", "xfrm", "policy", "update", *ends, "priority", "5", "tmpl", "proto", "ah", "mode", "transport"
        )
    error = refused(spd, [PolicyOperation("delete", None, policy)])
    assert error.errno_name == "ENOENT"
    assert "Run again" in str(error)


def test_a_refusal_has_the_kernels_own_message(spd: Spd) -> None:
    error = refused(spd, [PolicyOperation("add", build("out", PAIR, [Template("esp")] * 7), None)])
    assert error.errno_name == "EINVAL"
    assert "policy out 192.0.2.1/32" in error.place
