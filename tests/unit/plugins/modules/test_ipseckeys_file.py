# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import ProtectedFileError
from ansible_collections.ipsec.manual.plugins.module_utils._core.files.protected import FileStatus
from ansible_collections.ipsec.manual.plugins.module_utils._core.text.language import parse, render
from ansible_collections.ipsec.manual.plugins.module_utils._module import clock
from ansible_collections.ipsec.manual.tests.unit.plugins.modules.harness import ENCRYPTION_KEY, World, expect_once, sa

DEFAULT = "/etc/inet/secret/ipseckeys"
OUT, BACK = sa(0x1001), sa(0x1002, "192.0.2.2", "192.0.2.1")
NEW_OUT = sa(0x2001)
ELSEWHERE = sa(0x3001, destination="192.0.2.99")
AEAD = f"add esp spi 0x1001 dst 192.0.2.2 encr_alg aes-gcm encrkey {ENCRYPTION_KEY}01020304"


def held(world: World, path: str = DEFAULT) -> tuple[object, ...]:
    return parse(world.files.contents[path].decode()).sas


def test_second_run_changes_nothing() -> None:
    world = World()
    results = world.four_times("ipseckeys_file", content=render([OUT, BACK]))
    expect_once(results)
    assert held(world) == (OUT, BACK)
    assert {name: results[1][name] for name in ("path", "mode", "owner", "sas")} == {
        "path": DEFAULT,
        "mode": "0600",
        "owner": "root",
        "sas": 2,
    }
    assert list(results[1]["digest"]) == ["192.0.2.1|192.0.2.2"]


def test_the_text_is_stored_in_its_canonical_form() -> None:
    world = World()
    world.run(
        "ipseckeys_file",
        content="#mine\n" + render([OUT]).replace("esp", "ESP").replace("encr_alg aes-cbc", "encr_alg AES"),
    )
    first = world.files.contents[DEFAULT]
    assert not world.run("ipseckeys_file", content=render([OUT]))["changed"]
    assert first == world.files.contents[DEFAULT]


def test_scope_all_holds_exactly_the_text() -> None:
    world = World()
    world.run("ipseckeys_file", content=render([OUT, ELSEWHERE]))
    expect_once(world.four_times("ipseckeys_file", content=render([NEW_OUT])))
    assert held(world) == (NEW_OUT,)


def test_scope_peers_keeps_other_peers() -> None:
    world = World()
    world.run("ipseckeys_file", content=render([OUT, BACK, ELSEWHERE]))
    world.files.contents["/etc/inet/secret/next"] = render([NEW_OUT]).encode()
    expect_once(world.four_times("ipseckeys_file", src="/etc/inet/secret/next", scope="peers"))
    assert held(world) == (NEW_OUT, ELSEWHERE)


def test_sas_of_another_file_are_removed_whatever_their_keys() -> None:
    world = World()
    world.run("ipseckeys_file", content=render([OUT, BACK, ELSEWHERE]))
    world.files.contents["/etc/inet/secret/old"] = render(
        [ELSEWHERE._replace(encryption_key=NEW_OUT.encryption_key), sa(0x4004)]
    ).encode()
    expect_once(
        world.four_times("ipseckeys_file", content=render([NEW_OUT]), scope="peers", remove_src="/etc/inet/secret/old")
    )
    assert held(world) == (NEW_OUT,)


def test_sas_are_removed_without_any_in_their_place() -> None:
    world = World()
    world.run("ipseckeys_file", content=render([OUT, BACK, ELSEWHERE]))
    world.files.contents["/etc/inet/secret/old"] = render(
        [ELSEWHERE._replace(encryption_key=NEW_OUT.encryption_key)]
    ).encode()
    expect_once(world.four_times("ipseckeys_file", content="", scope="peers", remove_src="/etc/inet/secret/old"))
    assert held(world) == (OUT, BACK)


def test_two_texts_for_one_file_do_not_change_places() -> None:
    world = World()
    world.run("ipseckeys_file", content=render([OUT, ELSEWHERE, BACK]))
    other = sa(0x3002, destination="192.0.2.99")
    for text in (render([NEW_OUT, BACK]), render([ELSEWHERE, other])):
        world.run("ipseckeys_file", content=text, scope="peers")
    assert held(world) == (NEW_OUT, ELSEWHERE, BACK, other)
    for text in (render([NEW_OUT, BACK]), render([ELSEWHERE, other])):
        assert not world.run("ipseckeys_file", content=text, scope="peers")["changed"]


def test_a_merge_keeps_what_another_task_writes_in_the_meantime(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()

    def writable(path: str) -> FileStatus:
        found = world.files.status(path)
        world.files.contents[path] = render([ELSEWHERE]).encode()
        return found

    monkeypatch.setattr(world.files, "writable", writable)
    world.run("ipseckeys_file", content=render([NEW_OUT]), scope="peers")
    assert held(world) == (ELSEWHERE, NEW_OUT)


def test_a_changed_short_key_is_not_taken_for_another_form() -> None:
    world = World()
    old, new = (
        OUT._replace(encryption="des-cbc", encryption_key=bytes.fromhex(text))
        for text in ("5ec4e7015ec4e702", "5ec4e7045ec4e707")
    )
    world.files.contents[DEFAULT] = render([old]).encode()
    results = world.four_times("ipseckeys_file", content=render([new]))
    expect_once(results)
    assert "(short-key:changed)" in results[1]["diff"]["after"] and "another form" not in results[1]["diff"]["before"]


def test_a_file_in_another_form_is_rewritten_and_the_difference_says_so() -> None:
    world = World()
    world.files.contents[DEFAULT] = b"# by hand\n" + render([OUT]).encode()
    expect_once(world.four_times("ipseckeys_file", content=render([OUT])))


def test_scope_peers_refuses_a_key_that_another_peer_has() -> None:
    world = World()
    world.run("ipseckeys_file", content=render([ELSEWHERE]))
    result = world.run(
        "ipseckeys_file", content=render([NEW_OUT._replace(encryption_key=ELSEWHERE.encryption_key)]), scope="peers"
    )
    assert "Every SA needs its own keys" in result["msg"]
    assert held(world) == (ELSEWHERE,)


def test_scope_peers_keeps_sas_that_the_options_allowed_in_the_file() -> None:
    world = World()
    shared = ELSEWHERE._replace(spi=2, destination=bytes((192, 0, 2, 77)))
    text = render([ELSEWHERE._replace(spi=1), shared])
    for missing in ("allow_reserved_spi", "allow_shared_key"):
        allowed = {"allow_reserved_spi": True, "allow_shared_key": True, missing: False}
        assert f"with {missing}" in world.run("ipseckeys_file", content=text, **allowed)["msg"]
    world.run("ipseckeys_file", content=text, allow_reserved_spi=True, allow_shared_key=True)
    expect_once(world.four_times("ipseckeys_file", content=render([NEW_OUT]), scope="peers"))
    kept = parse(world.files.contents[DEFAULT].decode(), allow_reserved_spi=True, allow_shared_key=True).sas
    assert sorted(one.spi for one in kept) == [1, 2, NEW_OUT.spi]
    again = render([NEW_OUT._replace(encryption_key=ELSEWHERE.encryption_key)])
    assert "Every SA needs its own keys" in world.run("ipseckeys_file", content=again, scope="peers")["msg"]


def test_absent_removes_the_file() -> None:
    world = World()
    world.run("ipseckeys_file", content=render([OUT]))
    results = world.four_times("ipseckeys_file", state="absent")
    expect_once(results)
    assert not world.files.contents


@pytest.mark.parametrize("check", [True, False])
def test_an_unsafe_file_is_refused(check: bool) -> None:
    world = World()
    world.files.contents[DEFAULT] = b"old"
    world.files.problems[DEFAULT] = ProtectedFileError("the file is a symbolic link", DEFAULT, "Remove the link.")
    result = world.run("ipseckeys_file", check=check, content=render([OUT]))
    assert result["msg"] == f"{DEFAULT}: the file is a symbolic link. Remove the link."
    assert world.files.contents[DEFAULT] == b"old"


def test_an_invalid_file_is_replaced_but_not_merged() -> None:
    world = World()
    world.files.contents[DEFAULT] = b"nonsense\n"
    assert world.run("ipseckeys_file", content=render([OUT]), scope="peers")["failed"]
    assert world.run("ipseckeys_file", content=render([OUT]))["changed"]


def test_a_file_that_is_not_text_is_reported() -> None:
    world = World()
    world.files.contents[DEFAULT] = b"\xff\xfe"
    assert world.run("ipsec_sadb", src=DEFAULT)["msg"].startswith(f"{DEFAULT}: the file is not UTF-8 text")


def test_counter_mode_is_refused_in_the_file_for_boot() -> None:
    world = World()
    assert "RFC 8221" in world.run("ipseckeys_file", content=AEAD)["msg"]
    result = world.run("ipseckeys_file", content=AEAD, allow_static_counter_mode=True)
    assert "content, line 1: aes-gcm with a static key must not stand in a file that is loaded at boot" in result["msg"]
    assert world.run("ipseckeys_file", content=AEAD, allow_static_counter_mode=True, path="/run/keys/next")["changed"]


def test_counter_mode_can_be_left_out() -> None:
    world = World()
    world.run("ipseckeys_file", content=render([BACK, ELSEWHERE]))
    world.files.contents["/run/keys/next"] = (AEAD + "\n" + render([sa(0x1002)])).encode()
    options = {"src": "/run/keys/next", "scope": "peers", "omit_counter_mode": True}
    expect_once(world.four_times("ipseckeys_file", **options))
    assert held(world) == (sa(0x1002), ELSEWHERE)


@pytest.mark.parametrize("path", ["//etc/inet/secret/ipseckeys", "/etc//inet/secret///ipseckeys"])
def test_other_spellings_of_the_file_for_boot_are_recognized(path: str) -> None:
    result = World().run("ipseckeys_file", content=AEAD, allow_static_counter_mode=True, path=path)
    assert "must not stand in a file that is loaded at boot" in result["msg"]


def test_counter_mode_of_other_peers_is_refused_in_the_file_for_boot() -> None:
    world = World()
    world.files.contents[DEFAULT] = AEAD.encode() + b"\n"
    new = render([ELSEWHERE])
    result = world.run("ipseckeys_file", content=new, scope="peers", allow_static_counter_mode=True)
    assert f"{DEFAULT}, line 1: aes-gcm with a static key must not stand" in result["msg"]
    world.run("ipseckeys_file", content=new, scope="peers", omit_counter_mode=True)
    assert held(world) == (ELSEWHERE,)


@pytest.mark.parametrize("check", [True, False])
def test_a_file_that_cannot_be_removed_is_reported(check: bool) -> None:
    world = World()
    world.files.problems[DEFAULT] = ProtectedFileError(
        "the path contains a symbolic link", "/etc/inet", "Name the real directory."
    )
    assert (
        world.run("ipseckeys_file", check=check, state="absent")["msg"]
        == "/etc/inet: the path contains a symbolic link. Name the real directory."
    )


def test_what_solaris_cannot_express_is_refused() -> None:
    result = World().run(
        "ipseckeys_file", content=render([sa(0x1001, reqid=5)]), target="solaris", path="/run/keys/solaris"
    )
    assert result["failed"]
    assert "content, line 1, reqid: Solaris has no reqid" in result["msg"]


def test_a_text_with_our_keywords_is_written_with_those_of_solaris() -> None:
    world = World()
    content = render([sa(0x1001, mode="tunnel")])
    assert " mode tunnel" in content
    for changed in (True, False):
        result = world.run("ipseckeys_file", content=content, target="solaris", path="/run/keys/solaris", scope="peers")
        assert result["changed"] is changed
    assert b"proto 4 isrc 0.0.0.0/0 idst 0.0.0.0/0" in world.files.contents["/run/keys/solaris"]


def test_the_short_key_of_the_guide_is_refused_with_its_line() -> None:
    text = (
        "add esp spi 8bcd1407 dst 192.168.13.213  encr_alg 3DES \\\n   encrkey "
        " d41fb74470271826a8e7a80d343cc5aae9e2a7f05f13730d\n#\n#\nadd esp spi 122a43e4 dst 192.168.116.16 encr_alg 3DES"
        " \\\n    encrkey 137fb4739a55c9b3a1747baa06359826a5e4358e\n"
    )
    world = World()
    result = world.run("ipseckeys_file", content=text)
    assert "content, line 6" in result["msg"]
    assert "3des-cbc needs a key of 192 bits (48 hex digits), found 160 bits (40 hex digits)" in result["msg"]
    assert "137fb4739a55" not in str(result)
    assert not world.files.contents


def test_no_output_holds_a_key() -> None:
    world = World()
    for text in (render([OUT]), render([NEW_OUT]), render([OUT]) + "add " + render([NEW_OUT])):
        world.run("ipseckeys_file", content=text)


@pytest.mark.parametrize("arguments", [{"content": render([NEW_OUT])}, {"state": "absent"}])
def test_a_file_does_not_change_after_the_deadline(monkeypatch: pytest.MonkeyPatch, arguments: dict[str, str]) -> None:
    world = World()
    world.run("ipseckeys_file", content=render([OUT]))
    now = [1000.0]
    monkeypatch.setattr(clock.time, "time", lambda: now[0])
    assert "deadline: the deadline passed 5.0 s ago" in world.run("ipseckeys_file", deadline=995.0, **arguments)["msg"]

    found = world.files.status

    def stall(path: str) -> FileStatus:
        now[0] += 20
        return found(path)

    removable = world.files.removable

    def stall_too(path: str) -> bool:
        now[0] += 20
        return removable(path)

    monkeypatch.setattr(world.files, "status", stall)
    monkeypatch.setattr(world.files, "removable", stall_too)
    assert "nothing was changed" in world.run("ipseckeys_file", deadline=1010.0, **arguments)["msg"]
    assert held(world) == (OUT,)
    assert world.run("ipseckeys_file", deadline=2000.0, **arguments)["changed"]


POLICIES = "/etc/ipsecpolicies.json"


def policies(*destinations: str) -> bytes:
    ends = [{"source": "192.0.2.1/32", "destination": f"{destination}/32"} for destination in destinations]
    return json.dumps([{"direction": "out", "selector": selector, "templates": [{}]} for selector in ends]).encode()


@pytest.mark.parametrize("scope", ["all", "peers"])
def test_sas_that_boot_would_load_without_a_policy_are_refused(scope: str) -> None:
    world = World()
    arguments = {"content": render([OUT, BACK, ELSEWHERE]), "scope": scope, "policies_file": POLICIES}
    world.files.contents[POLICIES] = policies("192.0.2.2")
    before = dict(world.files.contents)
    for check in (True, False):
        result = world.run("ipseckeys_file", check=check, **arguments)
        assert (
            result["failed"]
            and "between 192.0.2.1 and 192.0.2.99, so after a reboot" in result["msg"]
            and "rotate_boot" in result["msg"]
        )
        assert "192.0.2.2" not in result["msg"] and world.files.contents == before
    world.files.contents[POLICIES] = policies("192.0.2.2", "192.0.2.99")
    expect_once(world.four_times("ipseckeys_file", **arguments))


def test_only_sas_of_the_text_need_a_policy() -> None:
    world = World()
    world.run("ipseckeys_file", content=render([ELSEWHERE]))
    world.files.contents[POLICIES] = policies("192.0.2.2")
    expect_once(world.four_times("ipseckeys_file", content=render([OUT, BACK]), scope="peers", policies_file=POLICIES))
    world.files.contents[POLICIES] = b"{"
    assert "this is not JSON" in world.run("ipseckeys_file", content=render([OUT]), policies_file=POLICIES)["msg"]


def test_no_policy_is_needed_if_none_is_loaded_at_boot() -> None:
    expect_once(World().four_times("ipseckeys_file", content=render([OUT, BACK]), policies_file=POLICIES))


def test_a_rotation_writes_each_direction_when_it_changes() -> None:
    """New SAs come in beside the old ones; then the new ones go out instead of the old; then the old ones are gone."""
    world = World()
    elsewhere = sa(0x3002, "192.0.2.99", "192.0.2.1")
    world.run("ipseckeys_file", content=render([OUT, BACK, ELSEWHERE, elsewhere]))
    new_back = sa(0x2002, "192.0.2.2", "192.0.2.1")
    world.files.contents["/run/next"] = render([NEW_OUT, new_back]).encode()
    for step, expected in (
        ({"direction": "inbound", "keep": True}, {OUT, BACK, new_back}),
        ({"direction": "outbound"}, {NEW_OUT, BACK, new_back}),
        ({}, {NEW_OUT, new_back}),
    ):
        expect_once(world.four_times("ipseckeys_file", src="/run/next", scope="peers", **step))
        assert set(held(world)) == expected | {ELSEWHERE, elsewhere}


def test_a_direction_goes_back_without_the_other() -> None:
    world = World()
    new_back = sa(0x2002, "192.0.2.2", "192.0.2.1")
    world.run("ipseckeys_file", content=render([NEW_OUT, new_back, BACK]))
    world.files.contents["/run/next"] = render([NEW_OUT, new_back]).encode()
    back = {"content": render([OUT, BACK]), "remove_src": "/run/next", "scope": "peers"}
    expect_once(world.four_times("ipseckeys_file", direction="outbound", **back))
    assert set(held(world)) == {OUT, new_back, BACK}
    world.run("ipseckeys_file", **back)
    assert set(held(world)) == {OUT, BACK}


def test_pairs_of_addresses_are_left_alone() -> None:
    world = World()
    new_back, third = sa(0x2002, "192.0.2.2", "192.0.2.1"), sa(0x3003, "192.0.2.99", "192.0.2.1")
    world.run("ipseckeys_file", content=render([OUT, BACK, ELSEWHERE]))
    world.files.contents["/run/next"] = render([NEW_OUT, new_back, third]).encode()
    world.run("ipseckeys_file", src="/run/next", scope="peers", leave=["192.0.2.1|192.0.2.99"])
    assert set(held(world)) == {NEW_OUT, new_back, ELSEWHERE}


@pytest.mark.parametrize("option", [{"keep": True}, {"direction": "inbound"}, {"leave": ["192.0.2.1|192.0.2.2"]}])
def test_what_limits_the_replacement_needs_the_scope_of_peers(option: dict[str, object]) -> None:
    result = World().run("ipseckeys_file", content=render([OUT]), **option)
    assert result["failed"] and result["msg"].startswith("scope: ") and "Set scope: peers" in result["msg"]
