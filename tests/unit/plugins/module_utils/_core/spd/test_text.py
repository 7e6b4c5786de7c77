# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Policies as text: all problems are reported with their places, and a round trip preserves policies."""

from __future__ import annotations

import contextlib
import json
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import IpsecError
from ansible_collections.ipsec.manual.plugins.module_utils._core.spd import text as spd_text
from ansible_collections.ipsec.manual.plugins.module_utils._core.spd.policy import Policy, identity
from ansible_collections.ipsec.manual.plugins.module_utils._core.specs import POLICY, SELECTOR, TEMPLATE
from ansible_collections.ipsec.manual.tests.unit.plugins.module_utils._core.sadb.strategies import policy_sets

OUT: dict[str, t.Any] = {
    "direction": "out",
    "selector": {"source": "192.0.2.1/32", "destination": "192.0.2.2/32"},
    "templates": [{"protocol": "esp"}],
}
TUNNEL: dict[str, t.Any] = {"mode": "tunnel", "source": "192.0.2.1", "destination": "192.0.2.2"}


def parse(given: t.Any) -> tuple[Policy, ...]:
    return spd_text.parse(json.dumps(given).encode(), "FILE")[0]


def refused(data: bytes) -> list[str]:
    with pytest.raises(IpsecError) as caught:
        spd_text.parse(data, "FILE")
    return str(caught.value).split("\n")


def refused_policy(**changes: t.Any) -> str:
    (line,) = refused(json.dumps([{**OUT, **changes}]).encode())
    return line


def sayable(policies: list[Policy]) -> bool:
    """Whether no template asks for a reserved SPI, which other programs may do but texts must not."""
    return all(template.spi == 0 or template.spi > 255 for policy in policies for template in policy.templates)


@given(policies=policy_sets().filter(sayable))
def test_rendered_text_is_read_and_rendered_unchanged(policies: list[Policy]) -> None:
    text = spd_text.render(policies)
    found = spd_text.parse(text.encode(), "FILE")[0]
    assert (found, spd_text.render(found)) == (tuple(policies), text)
    assert text.count("\n") == len(policies) + (2 if policies else 1)


def test_numbers_may_be_texts_and_null_means_the_default() -> None:
    loose = {
        **OUT,
        "priority": "7",
        "mark": 16,
        "if_id": None,
        "selector": {**OUT["selector"], "protocol": 6, "destination_port": "443"},
    }
    strict = {
        **OUT,
        "priority": 7,
        "mark": "0x10",
        "selector": {**OUT["selector"], "protocol": "6", "destination_port": 443},
    }
    assert parse([loose]) == parse([strict])


def test_every_problem_of_a_policy_is_reported_with_its_place() -> None:
    bad = [
        {"direction": "up", "selector": {"sauce": "192.0.2.1"}, "colour": 1},
        {**OUT, "templates": [{"spi": "0x1001"}, {"spi": "1", "reqid": 1.5}, "esp"]},
        {**OUT, "selector": {"source": "192.0.2.1/24"}},
        OUT,
        {**OUT, "priority": 3},
        7,
    ]
    lines = refused(json.dumps(bad).encode())
    assert [line.split(": ")[0] for line in lines] == [
        "FILE, policies[0].direction",
        "FILE, policies[0]",
        "FILE, policies[0].selector",
        "FILE, policies[1].templates[1].reqid",
        "FILE, policies[1].templates[1].spi",
        "FILE, policies[1].templates[2]",
        "FILE, policies[2].selector.source",
        "FILE, policies[5]",
        "FILE, policies",
    ]
    assert (
        "in, out, fwd" in lines[0]
        and "'colour'" in lines[1]
        and "'sauce'" in lines[2]
        and "Nearest: source." in lines[2]
    )
    assert "given twice" in lines[-1]


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"direction": None}, "policies[0].direction: this is missing. Choose one of: in, out, fwd."),
        ({"direction": ["out"]}, "policies[0].direction: this is a list, not a word"),
        ({"direction": True}, "policies[0].direction: this is true or false, not a word"),
        ({"priority": True}, "policies[0].priority: this is true or false, not a whole number"),
        ({"priority": 1e3}, "policies[0].priority: this is a number with a point, not a whole number"),
        ({"priority": -1}, "policies[0].priority: -1 does not fit 32 bits"),
        ({"priority": "010"}, "policies[0].priority: '010' has a leading zero"),
        ({"selector": None}, "policies[0].selector: the selector has no address"),
        ({"selector": "192.0.2.1"}, "policies[0].selector: this is a word, not a mapping"),
        ({"selector": {"source": "peer"}}, "policies[0].selector.source: 'peer' is not a literal"),
        (
            {"selector": {"source": "192.0.2.1", "protocol": "\ud800"}},
            "policies[0].selector.protocol: '\\ud800' is not an IP protocol",
        ),
        ({"selector": {"source": "192.0.2.1", "source_port": 65536}}, "policies[0].selector: a port is out of range"),
        ({"mark": "0x1ffffffff"}, "does not fit 32 bits"),
        ({"templates": {}}, "policies[0].templates: this is a mapping, not a list"),
        (
            {"templates": [{"level": "maybe"}]},
            "policies[0].templates[0].level: unknown level 'maybe'. Choose one of: required, use.",
        ),
        (
            {"templates": [{"mode": "tunnel"}]},
            "policies[0].templates[0].destination: a tunnel needs the address of its far end",
        ),
        ({"templates": [{"protocol": "comp"}]}, "Choose one of: ah, esp."),
        ({"action": "block"}, "policies[0].templates: a policy that blocks has no templates"),
        ({"0123456789abcdef0123456789abcdef": 1}, "hidden since it may be a key"),
    ],
)
def test_what_is_wrong_is_refused_by_name(changes: dict[str, t.Any], part: str) -> None:
    assert part in refused_policy(**changes)


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (b"", "FILE, line 1, column 1: this is not JSON"),
        (b'[\n {"direction": out}]', "FILE, line 2, column 16: this is not JSON"),
        (b"\xef\xbb\xbf[]", "this is not JSON"),
        (b"\xff[]", "FILE: this is not JSON"),
        (b"[" * 100000, "this is not JSON"),
        (b"{}", "FILE, policies: this is a mapping, not a list of policies"),
        (b"null", "FILE, policies: this is nothing, not a list"),
        (b'[{"direction": "in", "direction": "out"}]', "FILE: 'direction' occurs twice"),
    ],
)
def test_anything_but_a_list_of_policies_is_refused(data: bytes, part: str) -> None:
    (line,) = refused(data)
    assert part in line


def test_doubtful_policies_cause_warnings_with_their_place() -> None:
    policies, doubts = spd_text.parse(
        json.dumps([{**OUT, "templates": [{"spi": "1000", "level": "use"}]}]).encode(), "FILE"
    )
    assert policies[0].templates[0].spi == 1000
    assert [place for dummy, place in doubts] == [
        "FILE, policies[0].templates[0].spi",
        "FILE, out 192.0.2.1/32 > 192.0.2.2/32",
    ]


JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=True),
        st.text(max_size=20),
        st.sampled_from(["out", "esp", "192.0.2.1/32", "0x1001"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from([*POLICY, *SELECTOR, *TEMPLATE, "else"]), inner, max_size=6),
        st.fixed_dictionaries(
            {**{name: st.just(value) for name, value in OUT.items()}},
            optional={name: inner for name in POLICY if name not in OUT},
        ),
    ),
    max_leaves=12,
)


@given(text=st.one_of(st.binary(max_size=60), st.lists(JSON, max_size=3).map(lambda given: json.dumps(given).encode())))
def test_anything_is_read_or_refused(text: bytes) -> None:
    with contextlib.suppress(IpsecError):
        found = spd_text.parse(text, "FILE")[0]
        assert len(set(map(identity, found))) == len(found)
