# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module ipsec_status, over a host in memory."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core.audit import service
from ansible_collections.ipsec.manual.plugins.module_utils._core.audit.service import ServiceFacts
from ansible_collections.ipsec.manual.plugins.module_utils._core.files.protected import FileStatus
from ansible_collections.ipsec.manual.plugins.module_utils._core.program import status
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.digest import digest_by_owner
from ansible_collections.ipsec.manual.plugins.module_utils._core.spd import kernel
from ansible_collections.ipsec.manual.plugins.module_utils._core.spd.text import read_policies
from ansible_collections.ipsec.manual.plugins.module_utils._core.text.language import render
from ansible_collections.ipsec.manual.plugins.module_utils._module.status import MOST_SENTENCES
from ansible_collections.ipsec.manual.tests.unit.plugins.modules.harness import World, sa

KEYS = "/etc/keys"
NAME = "192.0.2.1|192.0.2.2#0,,0"
OUT = {"direction": "out", "selector": {"source": "192.0.2.1/32", "destination": "192.0.2.2/32"}, "templates": [{}]}


@pytest.fixture(name="world")
def host_in_memory(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    monkeypatch.setattr(world.sadb, "name", "xfrm")
    monkeypatch.setattr(kernel, "Spd", lambda: world.spd)
    monkeypatch.setattr(service, "look", lambda: ServiceFacts("systemd", True, True, "active", KEYS))
    monkeypatch.setattr(status, "protected", world.files)
    monkeypatch.setattr(status.loading, "read_record", lambda dummy: [])
    monkeypatch.setattr(
        world.files,
        "status",
        lambda path: FileStatus(path, path in world.files.contents, 0o600, directory_exists=True, file_system="ext4"),
    )
    return world


def test_a_host_that_is_well(world: World) -> None:
    world.files.contents[KEYS] = render([sa()]).encode()
    world.sadb.put(sa(), add_time=1)
    world.spd.policies = list(read_policies([OUT], "", []))
    found = world.run("ipsec_status")
    assert not found["changed"] and found["wrong"] == found["due"] == found["unseen"] == []
    assert found["file"] == {"path": KEYS, "exists": True, "sas": 1, "pending": 0}
    assert found["policies"] == {"total": 1, "leaking": [], "open": [], "waiting": 0, "optional": 0}
    assert found["held"] == digest_by_owner([sa()])
    assert found["pairs"][NAME]["left"] == 100 and found["pairs"][NAME]["sas"] == 1


def test_a_host_without_policies(world: World) -> None:
    world.sadb.put(sa(), sa(0x1002, "192.0.2.2", "192.0.2.1"), sa(0x1003, reqid=7))
    found = world.run("ipsec_status")
    assert found["policies"]["leaking"] == [NAME, NAME.replace("#0", "#7")] and found["policies"]["open"] == [NAME]
    assert any("no policy uses 2 outbound SAs" in sentence for sentence in found["wrong"])


def test_fingerprints_are_keyed_with_the_secret_of_the_run(world: World) -> None:
    world.sadb.put(sa())
    one, other = (world.run("ipsec_status", digest_key=digits * 32)["held"][NAME] for digits in ("a1", "b2"))
    assert one == digest_by_owner([sa()], bytes.fromhex("a1" * 32))[NAME] != other


def test_hidden_keys_have_no_fingerprints(world: World) -> None:
    world.sadb.put(sa())
    world.sadb.hides_keys = True
    found = world.run("ipsec_status")
    assert found["keys_hidden"] and found["held"] == {} and "lockdown" in found["unseen"][0]


def test_sentences_are_bounded(world: World) -> None:
    world.sadb.put(*(sa(0x1001 + number) for number in range(MOST_SENTENCES + 5)), packets=2**32)
    found = world.run("ipsec_status")
    assert len(found["due"]) == MOST_SENTENCES + 1 and found["due"][-1] == "and 5 more"


@pytest.mark.parametrize(
    ("arguments", "wrong"), [({"path": "/nosuch"}, ["/nosuch does not exist"]), ({}, []), ({"path": KEYS}, [])]
)
def test_a_file_that_somebody_names_should_exist(
    world: World, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, t.Any], wrong: list[str]
) -> None:
    """The usual one of a host without a service may not."""
    monkeypatch.setattr(service, "look", lambda: ServiceFacts("systemd"))
    world.files.contents[KEYS] = b""
    assert world.run("ipsec_status", **arguments)["wrong"] == wrong


@pytest.mark.parametrize(
    ("arguments", "place"), [({"path": "keys"}, "path"), ({"digest_key": "not a digest key"}, "digest_key")]
)
def test_wrong_options_are_refused(world: World, arguments: dict[str, t.Any], place: str) -> None:
    found = world.run("ipsec_status", **arguments)
    assert found["failed"] and found["msg"].startswith(place)
