# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Policies without a kernel: messages read back, problems, warnings, the plan."""

from __future__ import annotations

import struct
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import Mark, Selector, pack_address
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.xfrm import uapi
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.xfrm.netlink import (
    HEADER_SIZE,
    Part,
    attribute,
    kind_of,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.spd import kernel
from ansible_collections.ipsec.manual.plugins.module_utils._core.spd import policy as spd_policy
from ansible_collections.ipsec.manual.tests.unit.plugins.module_utils._core.sadb.strategies import policies, policy_sets

HERE, THERE = pack_address("192.0.2.1"), pack_address("192.0.2.2")
PAIR = Selector(HERE, 32, THERE, 32)
ESP = spd_policy.Template("esp", source=bytes(4), destination=bytes(4))


def sent(policy: spd_policy.Policy) -> spd_policy.PolicyEntry | None:
    body = kernel.new_policy(policy)[HEADER_SIZE:]
    return kernel.decode(Part(body, 0, len(body)))


def held(*entries: spd_policy.Policy) -> list[spd_policy.PolicyEntry]:
    return [spd_policy.PolicyEntry(policy, number, 0, 0, True) for number, policy in enumerate(entries)]


@given(policies())
def test_what_is_sent_reads_back_equal(policy: spd_policy.Policy) -> None:
    assert not spd_policy.problems(policy)
    assert spd_policy.build(**{name: value for name, value in policy._asdict().items() if name != "extra"}) == policy
    entry = sent(policy)
    assert entry is not None
    assert entry.policy == policy
    assert entry.complete


@given(policies())
def test_restoring_sends_the_same_policy(policy: spd_policy.Policy) -> None:
    body = kernel.new_policy(policy)[HEADER_SIZE:]
    restored = kernel._restore(Part(body, 0, len(body)))
    assert (kind_of(restored), restored[HEADER_SIZE:]) == (uapi.XFRM_MSG_UPDPOLICY, body)


@pytest.mark.parametrize(
    "offset, value",
    [(34, 1), (38, 1), (48, 7), (52, 1000)],
    ids=["port range", "source port range", "interface", "user"],
)
def test_a_policy_that_the_model_cannot_express_is_incomplete(offset: int, value: int) -> None:
    policy = spd_policy.build("out", PAIR, [ESP])
    body = bytearray(kernel.new_policy(policy)[HEADER_SIZE:])
    body[offset] = value & 0xFF
    entry = kernel.decode(Part(bytes(body), 0, len(body)))
    assert entry is not None
    assert not entry.complete
    assert [operation.kind for operation in spd_policy.plan([policy], [entry])] == ["add"]
    assert spd_policy.plan([policy], [entry], spd_policy.ABSENT) == []


def test_a_policy_with_a_security_context_is_never_ours() -> None:
    """The kernel keeps one with a context and one without it side by side."""
    policy = spd_policy.build("out", PAIR, [ESP])
    theirs = kernel.new_policy(policy)[HEADER_SIZE:] + attribute(uapi.XFRMA_SEC_CTX, bytes(8))
    entries = [entry for entry in (kernel.decode(Part(theirs, 0, len(theirs))), sent(policy)) if entry is not None]
    assert [entry.complete for entry in entries] == [False, True]
    for order in (entries, entries[::-1]):
        assert spd_policy.plan([policy], order) == []
    assert [step.kind for step in spd_policy.plan([policy], entries[:1])] == ["add"]
    assert spd_policy.plan([policy], entries[:1], spd_policy.ABSENT) == []


def changed(offset: int, value: int) -> bytes:
    """The message body of one of our policies with one byte changed."""
    body = bytearray(kernel.new_policy(spd_policy.build("out", PAIR, [ESP]))[HEADER_SIZE:])
    body[offset] = value
    return bytes(body)


@pytest.mark.parametrize(
    "body, words",
    [
        (changed(162, 1), "localok"),
        (changed(162, 4), "cpu-acquire"),
        (changed(162, 128), "flag-7"),
        (changed(163, 3), "share-unique"),
        (changed(96, 9), "hard_addtime 9"),  # in struct xfrm_lifetime_cfg: soft and hard bytes, packets, then seconds
        (changed(0, 192) + attribute(28, struct.pack("@iBxxx", 2, 4)), "offload=2,outbound,packet"),
        (changed(0, 192) + attribute(42, b""), "attribute-42"),
    ],
)
def test_properties_without_an_option_make_a_policy_differ(body: bytes, words: str) -> None:
    policy, part = spd_policy.build("out", PAIR, [ESP]), Part(body, 0, len(body))
    entry = kernel.decode(part)
    assert entry is not None and entry.policy.extra == (words,)
    (operation,) = spd_policy.plan([policy], [entry])
    assert (operation.kind, operation.fields) == ("replace", (words,))
    assert kernel._restore(part)[HEADER_SIZE:] == body


@pytest.mark.parametrize("direction", [3, 4, 7])
def test_policies_of_sockets_are_not_shown(direction: int) -> None:
    body = bytearray(kernel.new_policy(spd_policy.build("in", PAIR))[HEADER_SIZE:])
    body[160] = direction
    assert kernel.decode(Part(bytes(body), 0, len(body))) is None


@settings(max_examples=30)
@given(policy_sets())
def test_the_plan_for_existing_policies_is_empty(desired: list[spd_policy.Policy]) -> None:
    assert spd_policy.plan(desired, held(*desired)) == []
    assert spd_policy.plan(desired, [], spd_policy.ABSENT) == []


@settings(max_examples=30)
@given(policy_sets(), policy_sets(), st.sampled_from((spd_policy.PRESENT, spd_policy.ABSENT)))
def test_the_plan_leads_to_the_desired_state(
    desired: list[spd_policy.Policy], actual: list[spd_policy.Policy], state: str
) -> None:
    there = {spd_policy.identity(policy): policy for policy in actual}
    before = dict(there)
    for operation in spd_policy.plan(desired, held(*actual), state):
        if operation.old is not None:
            assert there.pop(spd_policy.identity(operation.old)) == operation.old
        if operation.new is not None:
            assert spd_policy.identity(operation.new) not in there
            there[spd_policy.identity(operation.new)] = operation.new
    for policy in desired:
        assert there.get(spd_policy.identity(policy)) == (policy if state == spd_policy.PRESENT else None)
    wanted = {spd_policy.identity(policy) for policy in desired}
    assert {key: policy for key, policy in there.items() if key not in wanted} == {
        key: policy for key, policy in before.items() if key not in wanted
    }


def test_a_replacement_names_what_differs() -> None:
    old = spd_policy.build("out", PAIR, [ESP], priority=1)
    (operation,) = spd_policy.plan([old._replace(priority=2, templates=())], held(old))
    assert str(operation) == "replace policy out 192.0.2.1/32 > 192.0.2.2/32 (priority, templates)"


@pytest.mark.parametrize(
    "changes, places",
    [
        ({"direction": "up"}, ["direction"]),
        ({"action": "drop"}, ["action"]),
        ({"priority": 1 << 32}, ["priority"]),
        ({"if_id": -1}, ["if_id"]),
        ({"mark": Mark(0x100, 0xFF)}, ["mark"]),
        ({"selector": Selector(HERE, 33, THERE, 32)}, ["selector source"]),
        ({"selector": Selector(HERE, 24, THERE, 32)}, ["selector source"]),
        ({"selector": Selector(HERE, 32, THERE, 32, 256)}, ["selector protocol"]),
        ({"action": "block"}, ["templates"]),
        ({"templates": (ESP,) * 7}, ["templates"]),
        ({"templates": (ESP._replace(protocol="gre"),)}, ["templates[0] protocol"]),
        ({"templates": (ESP._replace(mode="beam"),)}, ["templates[0] mode"]),
        ({"templates": (ESP, ESP._replace(level="maybe"))}, ["templates[1] level"]),
        ({"templates": (ESP._replace(source=bytes(16)),)}, ["templates[0]"]),
        ({"templates": (ESP._replace(source=bytes(16), destination=bytes(16)),)}, ["templates[0]"]),
        ({"templates": (ESP._replace(mode="tunnel"),)}, ["templates[0] destination"]),
        ({"templates": (ESP._replace(spi=1 << 32),)}, ["templates[0] spi"]),
        ({"templates": (ESP._replace(reqid=-1),)}, ["templates[0] reqid"]),
    ],
)
def test_problems_are_named_by_option(changes: dict[str, t.Any], places: list[str]) -> None:
    policy = spd_policy.build("out", PAIR, [ESP])._replace(**changes)
    assert [problem.place for problem in spd_policy.problems(policy)] == places
    assert all(problem.hint.endswith(".") for problem in spd_policy.problems(policy))


def test_all_problems_are_reported_together() -> None:
    assert len(spd_policy.problems(spd_policy.build("up", PAIR, action="drop"))) == 2


def test_a_policy_that_may_leak_cleartext_warns() -> None:
    assert spd_policy.warnings(spd_policy.build("out", PAIR, [ESP])) == []
    assert "level use" in spd_policy.warnings(spd_policy.build("out", PAIR, [ESP._replace(level="use")]))[0]
    assert "in the clear" in spd_policy.warnings(spd_policy.build("out", PAIR))[0]


def test_missing_addresses_are_any_of_the_family() -> None:
    six = pack_address("2001:db8::1")
    policy = spd_policy.build("in", Selector(source=six, source_prefix=128), [spd_policy.Template("esp")])
    assert policy.selector.destination == bytes(16)
    assert policy.templates[0].source == bytes(16)


def test_a_template_gets_the_packets_of_the_one_before_it() -> None:
    """As in net/xfrm/xfrm_user.c, validate_tmpl: only a tunnel changes the family."""
    six = pack_address("2001:db8::1"), pack_address("2001:db8::2")
    tunnel, outer = spd_policy.Template("esp", "tunnel", *six), spd_policy.Template("ah")
    policy = spd_policy.build("out", PAIR, [tunnel, outer])
    assert policy.templates[1].source == policy.templates[1].destination == bytes(16)
    assert spd_policy.problems(policy) == []
    (wrong,) = spd_policy.problems(policy._replace(templates=(tunnel, ESP)))
    assert wrong.place == "templates[1]" and "tunnel before it" in wrong.hint
    (wrong,) = spd_policy.problems(policy._replace(templates=(outer._replace(source=six[0], destination=six[1]), ESP)))
    assert wrong.place == "templates[0]" and "selector" in wrong.hint
