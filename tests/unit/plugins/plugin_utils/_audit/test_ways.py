# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a host is reached, from what its connection plugin says and from the controller's files."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.ipsec.manual.plugins.plugin_utils._audit import ways

HOSTS = "127.0.0.1 localhost\n192.0.2.1 enigma.example enigma # partym\n"


class Plugin:
    """A connection plugin with these options."""

    def __init__(self, transport: str, **options: t.Any) -> None:
        self.transport = transport
        self.options = options

    def get_option(self, name: str) -> t.Any:
        return self.options[name]


@pytest.fixture(autouse=True)
def files(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {"/etc/hosts": HOSTS, "/etc/nsswitch.conf": "hosts: files dns\n"}
    monkeypatch.setattr(ways, "_text", texts.__getitem__)


@pytest.mark.parametrize(
    ("plugin", "address", "found"),
    [
        (Plugin("ssh", host_key_checking=True), "192.0.2.1", set()),
        (Plugin("ssh", host_key_checking=False), "192.0.2.1", {"unchecked"}),
        (Plugin("ssh", ssh_common_args="-o StrictHostKeyChecking=no"), "192.0.2.1", {"unchecked"}),
        (Plugin("ssh", ssh_extra_args="-oStrictHostKeyChecking='off'"), "192.0.2.1", {"unchecked"}),
        (Plugin("ssh", ssh_args="-o StrictHostKeyChecking=yes"), "192.0.2.1", set()),
        (
            Plugin(
                "ssh", ssh_args="-o StrictHostKeyChecking=accept-new", ssh_extra_args="-oUserKnownHostsFile=/dev/null"
            ),
            "192.0.2.1",
            {"unchecked"},
        ),
        (Plugin("ssh", ssh_args="-o StrictHostKeyChecking=accept-new"), "192.0.2.1", set()),
        (Plugin("ssh"), "partym", {"resolved"}),
        (Plugin("ssh"), "enigma", set()),
        (Plugin("ansible.netcommon.telnet"), "192.0.2.1", {"clear"}),
        (Plugin("local", host_key_checking=False), "partym", set()),
        (Plugin("podman"), "partym", set()),
    ],
)
def test_a_way_is_judged(plugin: Plugin, address: str, found: set[str]) -> None:
    way = ways.way_of(plugin, address)
    assert {name for name in ("clear", "unchecked", "resolved") if getattr(way, name)} == found
    assert (way.transport, way.address) == (plugin.transport, address)


@pytest.mark.parametrize(("options", "port"), [({"port": 2222}, "2222"), ({"port": None}, ""), ({}, "")])
def test_a_way_has_the_port(options: dict[str, t.Any], port: str) -> None:
    assert ways.way_of(Plugin("ssh", **options), "192.0.2.1").port == port


def test_a_trusted_transport_is_not_clear() -> None:
    assert not ways.way_of(Plugin("example.net.tls"), "192.0.2.1", ["example.net.tls"]).clear


@pytest.mark.parametrize(
    ("name", "switch", "found"),
    [
        ("192.0.2.1", "hosts: dns", False),
        ("2001:db8::1", "hosts: dns", False),
        ("fe80::1%eth0", "hosts: dns", False),
        ("enigma", "hosts: files dns", False),
        ("ENIGMA", "hosts: files dns", False),
        ("enigma", "hosts:files dns", False),
        ("enigma", "hosts :files dns", False),
        ("enigma", "hosts: dns files", True),
        ("enigma", "hosts: files [NOTFOUND=return] dns", False),
        ("enigma", "# nothing", False),
        ("partym", "hosts: files", True),
        ("partym", "hosts: files dns", True),
        ("localhost", "hosts: files dns", False),
    ],
)
def test_a_name_that_only_a_network_knows_is_told_apart(name: str, switch: str, found: bool) -> None:
    assert ways.goes_over_network(name, HOSTS, switch) == found
