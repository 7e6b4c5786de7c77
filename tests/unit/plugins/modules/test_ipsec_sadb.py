# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import math
import time

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import ProtectedFileError, SadbError
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import Entry, Mark, identity
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.backup import SEQUENCE_MARGIN as MARGIN
from ansible_collections.ipsec.manual.plugins.module_utils._core.text.language import parse, render
from ansible_collections.ipsec.manual.plugins.module_utils._module import clock as clocks
from ansible_collections.ipsec.manual.tests.unit.plugins.modules.harness import ENCRYPTION_KEY, World, expect_once, sa

OUT, BACK = sa(0x1001), sa(0x1002, "192.0.2.2", "192.0.2.1")
NEW_OUT, NEW_BACK = sa(0x2001), sa(0x2002, "192.0.2.2", "192.0.2.1")
ELSEWHERE = sa(0x3001, destination="192.0.2.99")
FOREIGN = sa(0x4001, reqid=77)
PATH = "/etc/inet/secret/ipseckeys"


class Clock:
    """A clock that jumps when something happens."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(clocks.time, "time", lambda: self.now)
        monkeypatch.setattr(clocks.time, "sleep", self.sleep)
        self.oversleeps = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds + self.oversleeps


@pytest.fixture(name="world")
def _world() -> World:
    world = World()
    world.sadb.put(OUT, BACK, ELSEWHERE, FOREIGN)
    return world


def test_present_adds_what_is_missing(world: World) -> None:
    results = world.four_times("ipsec_sadb", content=render([OUT, NEW_OUT]))
    expect_once(results)
    assert results[1]["counts"] == {"added": 1, "replaced": 0, "deleted": 0, "unchanged": 1, "foreign": 0}
    assert world.sadb.sas == [OUT, BACK, ELSEWHERE, FOREIGN, NEW_OUT]


def test_the_moment_of_a_change_is_returned_and_nothing_without_one(world: World) -> None:
    before = time.time()
    predicted, changed, *same = world.four_times("ipsec_sadb", content=render([NEW_OUT]))
    applied = changed["applied"]
    assert before <= applied["began"] <= applied["ended"] <= time.time()
    assert not any("applied" in result for result in (predicted, *same))


def test_exact_removes_the_rest_between_these_peers_only(world: World) -> None:
    results = world.four_times("ipsec_sadb", content=render([NEW_OUT, NEW_BACK]), state="exact")
    expect_once(results)
    assert results[1]["counts"] == {"added": 2, "replaced": 0, "deleted": 2, "unchanged": 0, "foreign": 1}
    assert world.sadb.sas == [ELSEWHERE, FOREIGN, NEW_BACK, NEW_OUT]


def test_scope_all_includes_foreign_sas(world: World) -> None:
    world.run("ipsec_sadb", content=render([OUT]), state="exact", scope="all")
    assert world.sadb.sas == [OUT]


def test_absent_removes_what_is_named(world: World) -> None:
    expect_once(world.four_times("ipsec_sadb", content=render([OUT, NEW_OUT]), state="absent"))
    assert world.sadb.sas == [BACK, ELSEWHERE, FOREIGN]


def test_flushed_empties_the_scope(world: World) -> None:
    expect_once(world.four_times("ipsec_sadb", content=render([NEW_OUT]), state="flushed"))
    assert world.sadb.sas == [ELSEWHERE, FOREIGN]
    expect_once(world.four_times("ipsec_sadb", state="flushed", scope="protocol", protocols=["esp"]))
    assert world.sadb.sas == [FOREIGN]


def test_direction_leaves_the_other_direction_alone(world: World) -> None:
    world.run("ipsec_sadb", content=render([NEW_OUT, NEW_BACK]), state="present", direction="inbound")
    assert world.sadb.sas == [OUT, BACK, ELSEWHERE, FOREIGN, NEW_BACK]
    world.run("ipsec_sadb", content=render([NEW_OUT, NEW_BACK]), state="exact", direction="outbound")
    assert world.sadb.sas == [BACK, ELSEWHERE, FOREIGN, NEW_BACK, NEW_OUT]
    world.run("ipsec_sadb", content=render([NEW_OUT, NEW_BACK]), state="exact")
    assert world.sadb.sas == [ELSEWHERE, FOREIGN, NEW_BACK, NEW_OUT]


def test_a_reservation_of_a_daemon_survives_exact(world: World) -> None:
    larval = Entry(sa(0x5001), world.sadb.entries[0].counters, larval=True)
    world.sadb.entries.append(larval)
    assert world.run("ipsec_sadb", content=render([OUT, BACK]), state="exact")["counts"]["foreign"] == 2
    assert larval in world.sadb.entries


def test_the_file_may_be_on_the_host(world: World) -> None:
    world.files.contents[PATH] = render([NEW_OUT]).encode()
    expect_once(world.four_times("ipsec_sadb", src=PATH))


def test_an_unsafe_file_is_refused_before_anything_changes(world: World) -> None:
    world.files.contents[PATH] = render([NEW_OUT]).encode()
    world.files.problems[PATH] = ProtectedFileError("the file has mode 0640, not 0600", PATH, "chmod 600")
    result = world.run("ipsec_sadb", src=PATH)
    assert result["failed"]
    assert result["msg"] == f"{PATH}: the file has mode 0640, not 0600. chmod 600"
    assert not world.sadb.applied


def test_the_digest_is_that_of_the_peer(world: World) -> None:
    peer = World()
    peer.sadb.put(ELSEWHERE)
    text = render([NEW_OUT, NEW_BACK])
    ours, theirs = (host.run("ipsec_sadb", content=text, state="exact") for host in (world, peer))
    assert ours["digest"] == theirs["digest"] == world.run("ipsec_sadb", check=True, content=text)["digest"]
    assert list(ours["digest"]) == ["192.0.2.1|192.0.2.2"]
    other = peer.run(
        "ipsec_sadb", content=render([NEW_OUT, NEW_BACK._replace(encryption_key=OUT.encryption_key)]), state="exact"
    )
    assert other["digest"] != ours["digest"]


def test_the_backup_restores_what_was_there(world: World) -> None:
    world.sadb.entries[0] = world.sadb.entries[0]._replace(
        counters=world.sadb.entries[0].counters._replace(sequence_out=1234)
    )
    world.files.contents = {"/run/next": render([NEW_OUT, NEW_BACK]).encode()}
    before = set(world.sadb.sas)
    switch = {"src": "/run/next", "state": "exact", "backup": "/run/previous"}
    world.run("ipsec_sadb", check=True, **switch)
    assert "/run/previous" not in world.files.contents
    world.run("ipsec_sadb", **switch)
    saved = world.files.contents["/run/previous"]
    assert f"replay_value {1234 + MARGIN}".encode() in saved
    assert {identity(one) for one in parse(saved.decode()).sas} == {identity(OUT), identity(BACK)}

    assert not world.run("ipsec_sadb", **switch)["changed"]
    assert world.files.contents["/run/previous"] == saved, "a second run would lose what was before the first"

    world.run("ipsec_sadb", src="/run/previous", scope_src="/run/next", state="exact")
    assert {one._replace(extra=()) for one in world.sadb.sas} == before


def test_the_backup_keeps_a_long_sequence_number() -> None:
    world = World()
    esn = sa(0x1001, esn=True, replay_window=64)
    world.sadb.put(esn, sequence_out=(1 << 32) + 5)
    world.files.contents = {"/run/next": render([NEW_OUT]).encode()}
    world.run("ipsec_sadb", src="/run/next", state="exact", backup="/run/previous")
    world.run("ipsec_sadb", src="/run/previous", scope_src="/run/next", state="exact")
    assert world.sadb.sas == [esn._replace(extra=(("replay_value", str((1 << 32) + 5 + MARGIN)),))]


def test_an_empty_backup_restores_an_empty_sadb() -> None:
    world = World()
    world.sadb.put(FOREIGN)
    world.files.contents = {"/run/next": render([NEW_OUT, NEW_BACK]).encode()}
    world.run("ipsec_sadb", src="/run/next", state="exact", backup="/run/previous")
    assert parse(world.files.contents["/run/previous"].decode()).sas == ()
    expect_once(world.four_times("ipsec_sadb", src="/run/previous", scope_src="/run/next", state="exact"))
    assert world.sadb.sas == [FOREIGN]


def test_nothing_changes_if_the_backup_cannot_be_written(world: World) -> None:
    def refuse(path: str, data: bytes, dummy: object) -> None:
        raise ProtectedFileError("the file cannot be written", path)

    world.files.write = refuse  # type: ignore[method-assign]
    assert world.run("ipsec_sadb", content=render([NEW_OUT]), state="exact", backup="/run/previous")["failed"]
    assert not world.sadb.applied


@pytest.mark.parametrize("check", [True, False])
def test_sas_that_could_not_be_restored_are_not_deleted(world: World, check: bool) -> None:
    world.sadb.put(
        sa(0x1003, encryption_key=OUT.encryption_key),
        sa(0x1004, encryption="aes-gcm", authentication="", authentication_key=b""),
    )
    result = world.run("ipsec_sadb", check=check, content=render([NEW_OUT]), state="exact", backup="/run/previous")
    assert [line.split(" ")[2] for line in result["msg"].split("\n")] == ["0x00001004", "0x00001003"]
    assert "the encryption key is also used by" in result["msg"]
    assert not world.sadb.applied
    assert not world.files.contents


def test_a_key_that_another_sa_of_the_kernel_has_is_refused_unless_allowed(world: World) -> None:
    before = world.sadb.sas
    content = render([NEW_OUT._replace(authentication_key=ELSEWHERE.authentication_key)])
    for state in ("present", "exact"):
        message = world.run("ipsec_sadb", content=content, state=state)["msg"]
        assert message.startswith("content, line 1: the authentication key is also used by")
        assert "which the SADB holds" in message and world.sadb.sas == before
    # The old SA of the key goes in the same step.
    moved = render([NEW_OUT._replace(authentication_key=OUT.authentication_key)])
    assert world.run("ipsec_sadb", content=moved, state="exact")["changed"]
    assert world.run("ipsec_sadb", content=content, allow_shared_key=True)["changed"]


def test_a_backup_is_restored_even_if_other_sas_have_its_keys(world: World) -> None:
    path = "/root/way_back"
    world.run("ipsec_sadb", content=render([NEW_OUT]), state="exact", backup=path, backup_label="x")
    world.sadb.put(ELSEWHERE._replace(spi=0x7777, authentication_key=OUT.authentication_key))
    assert world.run("ipsec_sadb", src=path, src_label="x", state="exact", scope_src=path)["changed"]
    assert OUT in [sa._replace(extra=()) for sa in world.sadb.sas]


def test_what_a_peer_dictates_is_loaded_backed_up_and_restored_with_the_options() -> None:
    world = World()
    allowed = {"allow_reserved_spi": True, "allow_shared_key": True}
    first, second = sa(1), sa(2, encryption_key=sa(1).encryption_key)
    text = render([first, second])
    for missing in allowed:
        refused = world.run("ipsec_sadb", content=text, **{**allowed, missing: False})
        assert f"with {missing}" in refused["msg"] and not world.sadb.sas
    assert world.run("ipsec_sadb", content=text, **allowed)["changed"]
    result = world.run("ipsec_sadb", content=render([NEW_OUT]), state="exact", backup="/run/previous", **allowed)
    assert result["changed"], result
    saved = parse(world.files.contents["/run/previous"], **allowed).sas
    assert [one._replace(extra=()) for one in saved] == [first, second]
    world.run("ipsec_sadb", src="/run/previous", state="exact", **allowed)
    assert {one._replace(extra=()) for one in world.sadb.sas} == {first, second}
    assert world.run("ipsec_sadb", content=text, state="absent")["changed"] and not world.sadb.sas


@pytest.mark.parametrize("check", [True, False])
def test_the_hint_for_removing_what_no_backup_can_hold_works(world: World, check: bool) -> None:
    world.sadb.put(sa(0x5001)._replace(protocol="comp", mark=Mark(1, 255)), sa(0x64))
    result = world.run(
        "ipsec_sadb", check=check, content=render([NEW_OUT]), state="exact", scope="all", backup="/run/previous"
    )
    assert (
        "Remove it with the command: ip xfrm state delete src 192.0.2.1 dst 192.0.2.2 proto comp spi 0x5001 mark 0x1"
        " mask 0xff, or" in result["msg"]
    )
    assert (
        "SPI 100 is reserved (1 to 255). It is installed and could not be brought back. Remove it with"
        " ipsec.manual.ipsec_sa, or" in result["msg"]
    )


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("content", [render([NEW_OUT]), render([OUT])])
def test_an_unsafe_backup_is_refused_in_both_modes_and_whatever_changes(
    world: World, check: bool, content: str
) -> None:
    world.files.problems["/run/previous"] = ProtectedFileError("the file is a symbolic link", "/run/previous")
    result = world.run("ipsec_sadb", check=check, content=content, backup="/run/previous")
    assert result["msg"] == "/run/previous: the file is a symbolic link"
    assert not world.sadb.applied


@pytest.mark.parametrize("option", ["src", "scope_src"])
def test_a_backup_never_overwrites_a_file_that_is_read(world: World, option: str) -> None:
    world.files.contents.update({PATH: render([NEW_OUT]).encode(), "/run/other": render([NEW_BACK]).encode()})
    result = world.run(
        "ipsec_sadb", **{"src": "/run/other", option: PATH}, state="exact", backup="//etc/inet//secret/ipseckeys"
    )
    assert result["msg"].startswith(f"backup: this is the file of {option}, which it would overwrite")
    assert not world.sadb.applied


AEAD = f"add esp spi 0x6001 dst 192.0.2.2 encr_alg aes-gcm encrkey {ENCRYPTION_KEY}01020304"


@pytest.mark.parametrize("state", ["absent", "flushed"])
def test_counter_mode_is_removed_without_the_option(world: World, state: str) -> None:
    world.run("ipsec_sadb", content=AEAD, allow_static_counter_mode=True)
    assert world.run("ipsec_sadb", content=AEAD, state=state)["changed"]
    assert 0x6001 not in {one.spi for one in world.sadb.sas}


def test_counter_mode_in_the_scope_needs_no_option(world: World) -> None:
    world.run("ipsec_sadb", content=AEAD, allow_static_counter_mode=True)
    world.files.contents[PATH] = AEAD.encode()
    assert world.run("ipsec_sadb", content=render([NEW_OUT]), state="exact", scope_src=PATH)["counts"]["deleted"] == 3
    assert "RFC 8221" in world.run("ipsec_sadb", src=PATH, state="exact")["msg"]


def test_a_reservation_is_not_backed_up(world: World) -> None:
    world.sadb.entries.append(Entry(sa(0x5001), world.sadb.entries[0].counters, larval=True))
    world.run("ipsec_sadb", content=render([NEW_OUT]), state="exact", scope="all", backup="/run/previous")
    assert {one.spi for one in parse(world.files.contents["/run/previous"].decode()).sas} == {
        0x1001,
        0x1002,
        0x3001,
        0x4001,
    }


def test_a_backup_of_hidden_keys_is_refused(world: World) -> None:
    world.sadb.hides_keys = True
    result = world.run("ipsec_sadb", content=render([NEW_OUT]), state="exact", backup="/run/previous")
    assert result["msg"].startswith("backup: this kernel hides the keys")
    assert not world.sadb.applied


def test_hidden_keys_of_others_do_not_prevent_a_backup() -> None:
    world = World()
    world.sadb.put(FOREIGN)
    world.sadb.hides_keys = True
    assert world.run("ipsec_sadb", content=render([NEW_OUT]), state="exact", backup="/run/previous")["changed"]
    assert parse(world.files.contents["/run/previous"].decode()).sas == ()


def test_the_backup_restores_counter_mode_with_its_sequence_number(world: World) -> None:
    world.run("ipsec_sadb", content=AEAD, allow_static_counter_mode=True)
    world.sadb.entries[-1] = world.sadb.entries[-1]._replace(
        counters=world.sadb.entries[-1].counters._replace(sequence_out=77)
    )
    world.files.contents["/run/next"] = render([NEW_OUT]).encode()
    assert world.run("ipsec_sadb", src="/run/next", state="exact", backup="/run/previous")["changed"]
    assert 0x6001 not in {one.spi for one in world.sadb.sas}
    world.run("ipsec_sadb", src="/run/previous", scope_src="/run/next", state="exact", allow_static_counter_mode=True)
    assert {one.spi: one.extra for one in world.sadb.sas}[0x6001] == (("replay_value", str(77 + MARGIN)),)


def test_hidden_keys_cause_one_warning(world: World) -> None:
    world.sadb.hides_keys = True
    result = world.run("ipsec_sadb", content=render([OUT, BACK]), state="exact")
    assert result["changed"] is False
    assert len([warning for warning in result["warnings"] if "hides the keys" in warning]) == 1


def test_the_module_waits_for_the_instant(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    assert not world.run("ipsec_sadb", check=True, content=render([NEW_OUT]), at=1007.5).get("failed")
    assert clock.now == 1000.0
    assert world.run("ipsec_sadb", content=render([NEW_OUT]), at=1007.5)["changed"]
    assert clock.now == 1007.5


def starts(world: World, path: str = "/run/previous") -> dict[int, int]:
    """The sequence numbers in a backup, by SPI."""
    return {
        one.spi: int(dict(one.extra).get("replay_value", "0")) for one in parse(world.files.contents[path].decode()).sas
    }


def test_the_backup_has_the_numbers_of_the_end_of_the_wait(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """For inbound SAs, that is the exact number. For outbound SAs it is never below, whatever is
    sent until the SA is removed.
    """
    clock = Clock(monkeypatch)

    def count(seconds: float) -> None:
        clock.now += seconds
        world.sadb.entries[:2] = [
            Entry(OUT, world.sadb.entries[0].counters._replace(sequence_out=int(clock.now))),
            Entry(BACK, world.sadb.entries[1].counters._replace(sequence_in=int(clock.now))),
        ]

    monkeypatch.setattr(clocks.time, "sleep", count)
    assert world.run(
        "ipsec_sadb", content=render([NEW_OUT, NEW_BACK]), state="exact", backup="/run/previous", at=1100.0
    )["changed"]
    assert starts(world) == {0x1001: 1099 + MARGIN, 0x1002: 1099}


@pytest.mark.parametrize(
    ("sent", "esn", "start"),
    [
        (0, False, MARGIN),
        (5, False, 5 + MARGIN),
        (0xFFFFFFFF - 10, False, 0xFFFFFFFF - 5),
        (0xFFFFFFFF, False, 0xFFFFFFFF),
        (0xFFFFFFFF, True, 0xFFFFFFFF + MARGIN),
    ],
)
def test_the_margin_leaves_sequence_numbers_to_use(sent: int, esn: bool, start: int) -> None:
    world = World()
    world.sadb.put(OUT._replace(esn=esn, replay_window=64), sequence_out=sent)
    assert world.run("ipsec_sadb", content=render([NEW_OUT]), state="exact", backup="/run/previous")["changed"]
    assert starts(world) == {0x1001: start}


def test_a_backup_includes_what_changed_during_the_wait(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    late = sa(0x1009)

    def arrive(seconds: float) -> None:
        clock.now += seconds
        if late not in world.sadb.sas:
            world.sadb.put(late)

    monkeypatch.setattr(clocks.time, "sleep", arrive)
    assert (
        world.run("ipsec_sadb", content=render([NEW_OUT]), state="exact", backup="/run/previous", at=1100.0)["counts"][
            "deleted"
        ]
        == 3
    )
    assert set(starts(world)) == {0x1001, 0x1002, 0x1009}


@pytest.mark.parametrize(
    ("at", "message"),
    [
        (1301.0, "at: the instant is 301 s away"),
        (998.9, "at: the instant passed 1.1 s ago"),
        (math.nan, "at: nan is not an instant"),
        (math.inf, "at: inf is not an instant"),
    ],
)
def test_an_instant_out_of_range_is_refused(
    world: World, monkeypatch: pytest.MonkeyPatch, at: float, message: str
) -> None:
    monkeypatch.setattr(clocks.time, "time", lambda: 1000.0)
    assert world.run("ipsec_sadb", content=render([NEW_OUT]), at=at)["msg"].startswith(message)
    assert not world.sadb.applied


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"deadline": 995.0}, "deadline: the deadline passed 5.0 s ago on this host's clock, nothing was changed"),
        ({"deadline": 1010.0, "at": 1012.0}, "deadline: the instant in at is 2.0 s after it"),
        ({"deadline": math.nan}, "deadline: nan is not an instant"),
    ],
)
def test_a_deadline_that_passed_is_refused_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch, options: dict[str, float], message: str, check: bool
) -> None:
    Clock(monkeypatch)
    assert world.run(
        "ipsec_sadb", check=check, content=render([NEW_OUT]), state="exact", backup="/run/previous", **options
    )["msg"].startswith(message)
    assert not world.sadb.applied
    assert not world.files.contents


def test_nothing_is_applied_after_the_deadline(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    clock.oversleeps = 0.8
    result = world.run(
        "ipsec_sadb", content=render([NEW_OUT]), state="exact", backup="/run/previous", at=1007.0, deadline=1007.5
    )
    assert result["msg"].startswith("deadline: the deadline passed 0.3 s ago on this host's clock, nothing was changed")
    assert not world.sadb.applied
    clock.oversleeps, clock.now = 0.4, 1000.0
    assert world.run("ipsec_sadb", content=render([NEW_OUT]), state="exact", at=1007.0, deadline=1007.5)["changed"]


def test_outbound_sas_go_after_packets_that_leave_through_them(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    held: list[set[int]] = []

    def sleep(seconds: float) -> None:
        held.append({sa.spi for sa in world.sadb.sas})
        clock.now += seconds

    monkeypatch.setattr(time, "sleep", sleep)
    result = world.run("ipsec_sadb", content=render([NEW_OUT, NEW_BACK]), state="exact", direction="outbound")
    assert {OUT.spi, NEW_OUT.spi} <= held[0] and len(held) == 1
    assert result["applied"] == {"began": 1000.0, "ended": 1000.0} and clock.now == 1000.25
    assert NEW_OUT in world.sadb.sas and OUT not in world.sadb.sas


def test_nothing_is_deleted_after_the_deadline(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    clock.oversleeps = 5
    before = world.sadb.sas
    result = world.run(
        "ipsec_sadb", content=render([NEW_OUT, NEW_BACK]), state="exact", direction="outbound", deadline=1004.0
    )
    assert result["msg"].startswith(
        "deadline: the deadline passed 1.2 s ago on this host's clock, the change was undone"
    )
    assert world.sadb.sas == before


def test_setting_the_clock_back_does_not_extend_the_deadline(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    elapsed = iter((50.0, 50.0, 61.0, 61.0, 61.0))
    monkeypatch.setattr(clocks.time, "monotonic", lambda: next(elapsed))
    result = world.run("ipsec_sadb", content=render([NEW_OUT]), deadline=1010.0)
    assert clock.now == 1000.0
    assert result["msg"].startswith("deadline: the deadline passed 1.0 s ago")
    assert not world.sadb.applied


def test_a_backup_is_not_replaced_after_the_deadline(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    dump = world.sadb.dump

    def stall() -> list[Entry]:
        clock.now += 20
        return dump()

    world.sadb.dump = stall  # type: ignore[method-assign]
    result = world.run("ipsec_sadb", content=render([NEW_OUT]), state="exact", backup="/run/previous", deadline=1010.0)
    assert "the deadline passed 10.0 s ago" in result["msg"]
    assert not world.sadb.applied
    assert not world.files.contents


def test_a_host_that_wakes_up_late_changes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    clock.oversleeps = 9.0
    assert "at: the instant passed 8.0 s ago" in world.run("ipsec_sadb", content=render([NEW_OUT]), at=1007.0)["msg"]
    assert not world.sadb.applied


def test_every_problem_of_the_text_is_reported_with_its_place(world: World) -> None:
    text = render([NEW_OUT]) + "add esp spi 12 dst 192.0.2.2 encr_alg aes encrkey 00\nadd ah spi 0x1000 dst 192.0.2.2\n"
    result = world.run("ipsec_sadb", content=text)
    assert result["failed"]
    assert "content, line 2" in result["msg"]
    assert "content, line 3" in result["msg"]
    assert not world.sadb.applied


def test_sas_that_the_backend_cannot_express_are_refused_with_their_line(world: World) -> None:
    world.sadb.refused = {"if_id": "this backend has no if_id"}
    result = world.run("ipsec_sadb", content="\n" + render([NEW_OUT]))
    assert result["msg"] == "content, line 2, if_id: this backend has no if_id"


def test_warnings_of_one_kind_are_one_warning(world: World) -> None:
    weak = [
        sa(spi, authentication="hmac-md5", authentication_key=bytes(range(spi - 0x6000, spi - 0x6000 + 16)))
        for spi in range(0x6001, 0x6005)
    ]
    result = world.run("ipsec_sadb", content=render(weak))
    (warning,) = [warning for warning in result["warnings"] if "hmac-md5" in warning]
    assert warning.startswith("content, line 1 (and 3 more): hmac-md5 is not recommended")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"content": "", "state": "exact"}, "content: the text holds no SA"),
        ({"state": "flushed"}, "scope: nothing names the peers"),
        ({"state": "flushed", "scope": "protocol"}, "protocols: nothing names a protocol"),
        ({"state": "present"}, "content, src"),
        ({"state": "present", "content": "add esp", "src": "/x"}, "mutually exclusive"),
    ],
)
def test_an_unclear_scope_is_refused(world: World, options: dict[str, str], message: str) -> None:
    result = world.run("ipsec_sadb", **options)
    assert result["failed"]
    assert message in result["msg"]
    assert not world.sadb.applied


def test_a_refusal_by_the_kernel_shows_no_key(world: World) -> None:
    world.sadb.failure = SadbError("refused", "esp spi 0x2001", "Load the module esp4.", "EPROTONOSUPPORT")
    result = world.run("ipsec_sadb", content=render([NEW_OUT]), state="exact")
    assert result["msg"] == "esp spi 0x2001: refused. Load the module esp4."


def test_many_keys_are_not_searched_for_one_by_one(world: World) -> None:
    many = [sa(spi) for spi in range(0x10000, 0x10000 + 300)]
    result = world.run("ipsec_sadb", content=render(many))
    assert result["counts"]["added"] == 300


def test_a_backup_of_another_change_is_refused(world: World) -> None:
    world.files.contents["/run/next"] = render([NEW_OUT, NEW_BACK]).encode()
    world.run("ipsec_sadb", src="/run/next", state="exact", backup="/run/previous", backup_label="mesh:2 pair:7")
    switched = world.sadb.sas
    back = {"src": "/run/previous", "scope_src": "/run/next", "state": "exact"}
    for label in ("mesh:3 pair:7", "mesh:2"):
        result = world.run("ipsec_sadb", src_label=label, **back)
        assert (
            result["failed"]
            and f"/run/previous: the file is a backup from mesh:2 pair:7, not from {label}" in result["msg"]
        )
    other = world.run("ipsec_sadb", src="/run/next", src_label="mesh:2 pair:7", state="exact")
    assert other["failed"] and "from a change that it does not name" in other["msg"]
    assert world.sadb.sas == switched
    assert world.run("ipsec_sadb", src_label="mesh:2 pair:7", **back)["changed"]
    assert {OUT.spi, BACK.spi} <= {there.spi for there in world.sadb.sas}


def test_a_missing_backup_changes_nothing_on_request(world: World) -> None:
    before = world.sadb.sas
    result = world.run("ipsec_sadb", src="/run/previous", state="exact", src_label="mesh:2", ignore_missing=True)
    assert (result["changed"], result["missing"], world.sadb.sas) == (False, True, before)
    assert world.run("ipsec_sadb", src="/run/previous", state="exact")["failed"]
    world.files.contents["/run/next"] = render([OUT, BACK]).encode()
    assert world.run("ipsec_sadb", src="/run/next", state="exact", ignore_missing=True)["missing"] is False


@pytest.mark.parametrize("label", ["", "two\nlines", "x" * 100_001])
def test_an_invalid_label_is_refused(world: World, label: str) -> None:
    result = world.run("ipsec_sadb", content=render([OUT]), backup="/run/previous", backup_label=label)
    assert result["failed"] and result["msg"].startswith("backup_label: this is not a valid label")
    assert "needs backup" in world.run("ipsec_sadb", content=render([OUT]), backup_label="mesh:2")["msg"]


def test_pairs_are_left_alone_on_request(world: World) -> None:
    """SAs between them stay in the kernel, and those of the text are not loaded."""
    world.files.contents["/run/previous"] = render([NEW_OUT, sa(0x3002, destination="192.0.2.99")]).encode()
    world.run("ipsec_sadb", src="/run/previous", state="exact", leave=["192.0.2.2|192.0.2.1"])
    assert {found.spi for found in world.sadb.sas} == {OUT.spi, BACK.spi, FOREIGN.spi, 0x3002}
    for wrong, message in (("192.0.2.1", "this is not a pair of addresses"), ("192.0.2.1|b", "leave[0]: ")):
        assert message in world.run("ipsec_sadb", src="/run/previous", state="exact", leave=[wrong])["msg"]


def test_nothing_is_removed_between_pairs_that_stand_beside(world: World) -> None:
    other_out = sa(0x3001, destination="192.0.2.99")
    world.sadb.put(other_out)
    text = render([NEW_OUT, sa(0x4001, destination="192.0.2.99")])
    limits = {"direction": "outbound", "beside": ["192.0.2.1|192.0.2.99"]}
    assert world.run("ipsec_sadb", content=text, state="exact", **limits)["changed"]
    again = world.run("ipsec_sadb", content=text, state="exact", **limits)
    assert not again["changed"] and set(again["digest"]) == {"192.0.2.1|192.0.2.2", "192.0.2.1|192.0.2.99"}
    assert {found.spi for found in world.sadb.sas} == {NEW_OUT.spi, BACK.spi, FOREIGN.spi, 0x3001, 0x4001}


def test_the_direction_does_not_apply_to_pairs_that_are_excepted_from_it(world: World) -> None:
    other_out, other_back = sa(0x3001, destination="192.0.2.99"), sa(0x3002, "192.0.2.99", "192.0.2.1")
    world.sadb.put(other_out, other_back)
    text = render([NEW_OUT, NEW_BACK, other_out._replace(spi=0x4001), other_back._replace(spi=0x4002)])
    excepted = {"direction": "outbound", "both_directions": ["192.0.2.1|192.0.2.99"]}
    assert world.run("ipsec_sadb", content=text, state="exact", **excepted)["changed"]
    assert not world.run("ipsec_sadb", content=text, state="exact", **excepted)["changed"]
    assert {found.spi for found in world.sadb.sas} == {NEW_OUT.spi, BACK.spi, FOREIGN.spi, 0x4001, 0x4002}
