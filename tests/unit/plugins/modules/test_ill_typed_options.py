# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whatever the value of an option is, a module returns a result or an error of ours that names the option."""

from __future__ import annotations

import typing as t
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible.module_utils.common.parameters import remove_values

from ansible_collections.ipsec.manual.plugins.module_utils._core import specs
from ansible_collections.ipsec.manual.plugins.plugin_utils._gate import visible
from ansible_collections.ipsec.manual.tests.unit.plugins.modules.harness import ENCRYPTION_KEY, ESP, World, sa
from ansible_collections.ipsec.manual.tests.unit.plugins.values import json_values

Arguments = t.Dict[str, t.Any]

POLICY: Arguments = {"direction": "out", "selector": {"destination": "192.0.2.2"}, "templates": [{}]}
# The spec of each module, and valid options.
MODULES: dict[str, tuple[Arguments, Arguments]] = {
    "ipsec_policy": (specs.IPSEC_POLICY, POLICY),
    "ipsec_policy_info": (specs.IPSEC_POLICY_INFO, {}),
    "ipsec_preflight": (
        specs.IPSEC_PREFLIGHT,
        {"associations": [{"encryption_algorithm": "aes", "authentication_algorithm": "sha256"}]},
    ),
    "ipsec_probe": (specs.IPSEC_PROBE, {"src": "/run/keys"}),
    "ipsec_sa": (specs.IPSEC_SA, ESP),
    "ipsec_sa_info": (specs.IPSEC_SA_INFO, {}),
    "ipsec_sadb": (specs.IPSEC_SADB, {"content": "add esp spi 0x1001"}),
    "ipsec_status": (specs.IPSEC_STATUS, {}),
    "ipseckeys_file": (specs.IPSECKEYS_FILE, {"content": ""}),
}


@pytest.mark.parametrize(
    ("module", "options", "message"),
    [
        (
            "ipsec_sa",
            {**ESP, "selector": 5},
            (
                "selector: this is a whole number, not a mapping. Write names with their values."
                " Known names are: source, destination, protocol, source_port, destination_port."
            ),
        ),
        (
            "ipsec_sa",
            {**ESP, "encapsulation": 0},
            (
                "encapsulation: this is a whole number, not a mapping. Write names with their values."
                " Known names are: type, source_port, destination_port, nat_local, nat_remote."
            ),
        ),
        ("ipsec_sa", {**ESP, "lifetimes": []}, "lifetimes: this is a list, not a mapping."),
        (
            "ipsec_sa",
            {**ESP, "lifetimes": {"hard_bytes": "many"}},
            "lifetimes.hard_bytes: this is a word, not a whole number. Write digits.",
        ),
        (
            "ipsec_sa",
            {**ESP, "replay_window": False},
            "replay_window: this is true or false, not a whole number. Write digits.",
        ),
        ("ipsec_sadb", {"content": "", "at": True}, "at: this is true or false, not a number."),
        ("ipsec_sa", {**ESP, "spi": [1]}, "spi: this is a list, not a word."),
        ("ipsec_sa", {**ESP, "encryption_key": [ENCRYPTION_KEY]}, "encryption_key: this is a list, not a word."),
        ("ipsec_sa", {**ESP, "src": {}}, "src: this is a mapping, not a word."),
        (
            "ipsec_policy",
            {"policies": "x"},
            "policies: this is a word, not a list. Write a list, even for a single value. Known names are: direction,",
        ),
        ("ipsec_policy", {"policies": [POLICY, None]}, "policies[1]: this is nothing, not a mapping."),
        (
            "ipsec_policy",
            {"policies": [{**POLICY, "selector": 5}]},
            "policies[0].selector: this is a whole number, not a mapping.",
        ),
        (
            "ipsec_policy",
            {**POLICY, "templates": [{"reqid": "x"}]},
            "templates[0].reqid: this is a word, not a whole number.",
        ),
        ("ipsec_preflight", {"associations": 3}, "associations: this is a whole number, not a list."),
        ("ipsec_preflight", {"expected": True}, "expected: this is true or false, not a mapping."),
        ("ipsec_preflight", {"addresses": [["192.0.2.1"]]}, "addresses[0]: this is a list, not a word."),
        ("ipsec_sadb", {"content": "", "at": 10**400}, "at: this is a whole number, not a number."),
        ("ipsec_sadb", {"content": "", "protocols": [{}]}, "protocols[0]: this is a mapping, not a word."),
        ("ipsec_sadb", {"content": {"add": ENCRYPTION_KEY}}, "content: this is a mapping, not a word."),
        ("ipsec_probe", {"src": None}, "src: nothing is given. Give it;"),
        ("ipseckeys_file", {"content": "", "path": ["/run/keys"]}, "path: this is a list, not a path."),
    ],
)
def test_an_option_of_a_wrong_type_is_reported_in_our_words(module: str, options: Arguments, message: str) -> None:
    result = World().run(module, **options)
    assert result["failed"]
    assert result["msg"].startswith(message)


def test_all_wrong_types_are_reported_together() -> None:
    lines = World().run("ipsec_sa", selector=5, lifetimes=[], spi={})["msg"].split("\n")
    assert sorted(line.partition(":")[0] for line in lines) == ["lifetimes", "selector", "spi"]


@pytest.mark.parametrize(
    ("module", "options"),
    [
        (
            "ipsec_sa",
            {
                **ESP,
                "selector": "source=10.0.0.0/8",
                "lifetimes": '{"hard_bytes": "1000"}',
                "reqid": "7",
                "esn": "no",
                "spi": 4096,
            },
        ),
        ("ipsec_policy", {"policies": [POLICY]}),
        ("ipsec_preflight", {"addresses": "192.0.2.1"}),
    ],
)
def test_types_that_ansible_converts_are_accepted(module: str, options: Arguments) -> None:
    assert not World().run(module, **options).get("failed")


def names_in(spec: Arguments) -> t.Iterator[str]:
    for name, row in spec.items():
        yield name
        yield from names_in(row.get("options", {}))


@pytest.mark.parametrize("module", MODULES)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_json_gives_a_result_or_an_error_that_names_the_option(module: str, data: st.DataObject) -> None:
    spec, usual = MODULES[module]
    changed = data.draw(
        st.dictionaries(st.sampled_from(sorted(spec)), json_values(sorted(names_in(spec))), min_size=1, max_size=3)
    )
    world = World()
    world.sadb.put(sa())
    world.files.contents["/run/keys"] = b"add esp spi 0x1001\n"
    with mock.patch("time.sleep"):
        result = world.run(module, **{**usual, **changed})
    if result.get("failed"):
        given_names = {alias for name in {*usual, *changed} for alias in (name, *spec[name].get("aliases", ()))}
        paths = {visible(value) for value in changed.values() if value and isinstance(value, str)}
        expected = given_names | {"/run/keys"} | paths
        # Before a module has read its secrets, Ansible masks even a single letter, such as the k of "backend".
        secrets = {value for name, value in changed.items() if spec[name].get("no_log") and isinstance(value, str)} - {
            ""
        }
        expected |= {remove_values(name, secrets) for name in expected}
        assert any(name in visible(result["msg"]) for name in expected), (changed, result["msg"])
        assert "<class" not in result["msg"] and "Traceback" not in result["msg"]
