# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import time
import typing as t

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core.audit import files, machine, service, traces, ways
from ansible_collections.ipsec.manual.plugins.module_utils._core.audit.remark import MOST, Remark
from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import ProtectedFileError, SadbError
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import Counters, Entry, label
from ansible_collections.ipsec.manual.plugins.module_utils._core.spd import kernel
from ansible_collections.ipsec.manual.plugins.module_utils._core.spd.text import read_policies
from ansible_collections.ipsec.manual.plugins.module_utils._core.text.language import render
from ansible_collections.ipsec.manual.tests.unit.plugins.modules.harness import World, sa

PATH = "/etc/inet/secret/ipseckeys"
OUT, IN = sa(0x1001), sa(0x1002, "192.0.2.2", "192.0.2.1")
NAME = "192.0.2.1|192.0.2.2#0,,0"


@pytest.fixture()
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """A host with a clean file system and no policies."""
    found = World()
    found.sadb.name = "xfrm"
    monkeypatch.setattr(kernel, "Spd", lambda: found.spd)
    monkeypatch.setattr(files, "examine", lambda path: [])
    for module, name in ((traces, "in_histories"), (traces, "in_scripts"), (ways, "look"), (machine, "look")):
        monkeypatch.setattr(module, name, list)
    monkeypatch.setattr(service, "look", lambda: service.ServiceFacts("systemd", True, True, "active", PATH))
    return found


def row(result: dict[str, t.Any]) -> dict[str, t.Any]:
    (found,) = result["pairs"]
    return t.cast("dict[str, t.Any]", found)


def test_one_answer_has_everything(world: World) -> None:
    world.sadb.put(OUT, IN, add_time=int(time.time()) - 100, packets=1 << 31, replayed=2, late=1, integrity_failures=4)
    world.files.contents[PATH] = render([OUT, IN]).encode()
    result = world.run("ipsec_audit")
    assert not result["changed"] and not result.get("failed")
    assert result["unread"] == [] and result["remarks"] == []
    assert result["backend"] == "xfrm" and abs(result["epoch"] - time.time()) < 60
    assert result["file"]["sas"] == 2
    assert result["service"]["state"] == "active"
    found = row(result)
    assert found["name"] == NAME
    assert (found["sas"], found["inbound"], found["outbound"]) == (2, 1, 1)
    assert 100 <= found["youngest"] <= found["oldest"] < 160
    assert found["budgets"] == [{"what": "packets", "used": 0.5}]
    assert found["digest"] == found["file_digest"] != ""
    assert len(found["fingerprints"]) == 4
    assert (found["replayed"], found["integrity_failures"]) == (6, 8)
    assert (found["algorithms"], found["integrity"]) == (["aes-cbc", "hmac-sha256"], "own")
    assert (found["leaking"], found["open"]) == (1, 1)


def test_two_hosts_of_one_run_can_compare(world: World) -> None:
    world.sadb.put(OUT, IN)
    key = "ab" * 32
    first, second = (row(world.run("ipsec_audit", digest_key=key)) for dummy in range(2))
    assert first["digest"] == second["digest"] != row(world.run("ipsec_audit"))["digest"]


def test_what_two_sas_share_is_counted(world: World) -> None:
    world.sadb.put(OUT, IN._replace(encryption_key=OUT.encryption_key, spi=OUT.spi))
    found = row(world.run("ipsec_audit"))
    assert (found["shared_keys"], found["shared_spis"]) == (2, 2)


def test_hidden_keys_leave_nothing_to_compare(world: World) -> None:
    world.sadb.put(OUT, IN)
    world.sadb.hides_keys = True
    result = world.run("ipsec_audit")
    found = row(result)
    assert result["keys_hidden"]
    assert (found["digest"], found["fingerprints"], found["shared_keys"]) == ("", [], 0)


def test_sas_that_are_only_in_the_file_are_reported(world: World) -> None:
    world.files.contents[PATH] = render([OUT, IN]).encode()
    found = row(world.run("ipsec_audit"))
    assert (found["sas"], found["digest"], found["budgets"]) == (0, "", [])
    assert found["file_digest"]


@pytest.mark.parametrize(("auth", "integrity"), [("hmac-sha256", "own"), ("", "none")])
def test_missing_integrity_is_reported(world: World, auth: str, integrity: str) -> None:
    world.sadb.put(sa(0x1001, authentication=auth, **({} if auth else {"authentication_key": b""})))
    assert row(world.run("ipsec_audit"))["integrity"] == integrity


def test_sas_that_were_loaded_again_are_counted(world: World) -> None:
    world.sadb.put(OUT, IN)
    world.files.contents[service.ROTATION_DUE] = f"{label(OUT)}\n".encode()
    assert row(world.run("ipsec_audit"))["reloaded"] == 1


def test_larval_sas_are_left_out(world: World) -> None:
    world.sadb.entries.append(Entry(OUT, Counters(), larval=True))
    assert world.run("ipsec_audit")["pairs"] == []


def test_a_part_that_fails_is_named_and_the_others_are_there(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = ProtectedFileError("the file cannot be examined (EACCES: Permission denied)", PATH, "Run as root.")
    problem.__cause__ = PermissionError()
    world.files.problems[PATH] = problem

    def refuse(*dummy: t.Any) -> t.NoReturn:
        raise SadbError("the process lacks CAP_NET_ADMIN", "SADB", "Run as root.", "EPERM")

    monkeypatch.setattr(world.sadb, "dump", refuse)
    result = world.run("ipsec_audit")
    assert result["backend"] == "" and result["pairs"] == []
    assert [text.partition(":")[0] for text in result["unread"]] == ["SADB", "protected file"]
    assert "Permission denied" in result["unread"][1]


def test_a_file_that_is_not_safe_is_not_read(world: World) -> None:
    world.files.problems[PATH] = ProtectedFileError("the file has mode 0644, not 0600", PATH, "chmod 600")
    world.files.contents[PATH] = render([OUT]).encode()
    result = world.run("ipsec_audit")
    assert (result["unread"], result["file"]["sas"]) == ([], 0)


def test_names_in_the_file_are_reported_and_not_looked_up(world: World) -> None:
    world.files.contents[PATH] = render([OUT]).replace("192.0.2.2", "partym").encode()
    result = world.run("ipsec_audit")
    assert result["remarks"] == [{"what": "names", "place": PATH, "detail": "partym"}]
    assert result["unread"] == []


def test_a_broken_file_is_reported_without_its_content(world: World) -> None:
    world.files.contents[PATH] = (render([OUT]) + "\nfrobnicate\n").encode() + b"\xff"
    result = world.run("ipsec_audit")
    (remark,) = result["remarks"]
    assert (remark["what"], remark["place"], result["unread"]) == ("invalid", PATH, [])
    assert "line" in remark["detail"]


def test_hostile_names_pass_as_text(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    place = "/etc/inet/secret/ipseckeys\x1b[2J\u202e\udcff"
    monkeypatch.setattr(files, "examine", lambda path: files.bounded([Remark("copy", place, "x" * 999)] * (MOST + 9)))
    result = world.run("ipsec_audit")
    assert len(result["remarks"]) == MOST
    assert result["remarks"][0]["place"].endswith("\\xff")


def test_policies_that_the_service_does_not_load_and_drop_ins_are_remarks(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    selector = {"source": "192.0.2.1", "destination": "192.0.2.2"}
    world.sadb.put(OUT, IN)
    assert world.run("ipsec_audit")["remarks"] == [], "nothing guards them now either"
    rows = [{"direction": "out", "selector": selector, "templates": [{}]}]
    world.spd.policies = list(read_policies(rows, "", []))
    expected = {"what": "boots-without-policies", "place": PATH, "detail": "1"}
    assert world.run("ipsec_audit")["remarks"] == [expected]
    facts = service.ServiceFacts("systemd", True, True, "active", PATH, "/etc/ipsecpolicies.json")
    monkeypatch.setattr(service, "overriding", lambda: ["/etc/systemd/system/ipseckeys.service.d/a.conf"])
    for found in (facts, facts._replace(enabled=False, policies_file=""), service.ServiceFacts("systemd")):
        monkeypatch.setattr(service, "look", lambda found=found: found)
        (row_of_drop_in,) = world.run("ipsec_audit")["remarks"]
        assert row_of_drop_in["what"] == "drop-in" and row_of_drop_in["place"].endswith("a.conf")


def test_a_service_that_cannot_be_read_does_not_stop_the_audit(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def look() -> None:
        raise PermissionError(13, "Permission denied", "/etc/systemd/system/ipseckeys.service")

    monkeypatch.setattr(service, "look", look)
    result = world.run("ipsec_audit")
    assert not result["service"]["installed"] and result["unread"][0].startswith("service at boot: ")
