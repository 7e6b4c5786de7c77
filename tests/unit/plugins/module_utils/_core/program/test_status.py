# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The status of a host: what is gathered where something cannot be seen, and what is wrong or due.
tests/kernel/test_command.py shows that of a real kernel.
"""

from __future__ import annotations

import json
import types
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ipsec.manual.plugins.module_utils._core.audit.policies import PolicyFacts
from ansible_collections.ipsec.manual.plugins.module_utils._core.audit.sas import pairs
from ansible_collections.ipsec.manual.plugins.module_utils._core.audit.service import ROTATION_DUE, ServiceFacts
from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import (
    IpsecError,
    ProtectedFileError,
    SadbError,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.files.protected import FileStatus
from ansible_collections.ipsec.manual.plugins.module_utils._core.program import command, policies, status, status_text
from ansible_collections.ipsec.manual.plugins.module_utils._core.program.status import FileFacts, Status
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import (
    Counters,
    Entry,
    SecurityAssociation,
    Selector,
    build,
    pack_address,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.spd import kernel, policy
from ansible_collections.ipsec.manual.plugins.module_utils._core.specs import DEFAULT_PATH
from ansible_collections.ipsec.manual.plugins.module_utils._core.text.language import render
from ansible_collections.ipsec.manual.tests.unit.plugins.memory import MemorySadb

NOW = 1_795_000_000
HERE, PEER = pack_address("192.0.2.1"), pack_address("192.0.2.2")
LONG = pack_address("2001:db8:1111:2222:3333:4444:5555:6666")
KEYS = "/etc/keys"
SAFE = FileStatus(KEYS, True, 0o600, directory_exists=True, file_system="ext4")
WELL = Status(NOW, ServiceFacts("systemd", True, True, "active", KEYS), FileFacts(SAFE, 2, 0), backend="xfrm")
OUT = policy.build("out", Selector(HERE, 32, PEER, 32), [policy.Template("esp")])
# A pattern that occurs in no other output.
MARKER = "5ec4e7"


def sa(spi: int = 0x1001, source: bytes = HERE, destination: bytes = PEER, **fields: t.Any) -> SecurityAssociation:
    key = bytes.fromhex(MARKER) + spi.to_bytes(4, "big") * 6 + b"\1" * 5
    given = {"encryption": "aes-cbc", "encryption_key": key, "authentication": "hmac-sha256", **fields}
    return build("esp", spi, destination, source, authentication_key=key[::-1], **given)


def with_sas(*entries: Entry) -> Status:
    return WELL._replace(entries=entries, pairs=tuple(pairs(entries, {HERE}, NOW)))


class Files:
    """Stands in for `protected`: the status and the content of each path."""

    PUBLIC = status.protected.PUBLIC

    def __init__(self, files: t.Mapping[str, tuple[FileStatus, bytes]]) -> None:
        self.files = files

    def status(self, path: str) -> FileStatus:
        return self.files[path][0] if path in self.files else FileStatus(path, file_system="ext4")

    def read(self, path: str, protection: t.Any = None) -> bytes:
        return self.files[path][1]


class Host:
    """A host whose SADB and files are in memory."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sadb = MemorySadb()
        self.files: dict[str, tuple[FileStatus, bytes]] = {}
        self.service = ServiceFacts("systemd", True, True, "active", KEYS)
        monkeypatch.setattr(command.os, "umask", lambda dummy: 0)
        monkeypatch.setattr(status, "open_sadb", lambda dummy: self.sadb)
        for user in (status, status.audit_service):
            monkeypatch.setattr(user, "protected", Files(self.files))
        monkeypatch.setattr(status.audit_service, "look", lambda: self.service)
        monkeypatch.setattr(status.loading, "read_record", lambda dummy: [])

    def keep(self, *sas: SecurityAssociation, path: str = KEYS) -> None:
        self.files[path] = (SAFE._replace(path=path), render(sas).encode())


@pytest.fixture(name="host")
def host_in_memory(monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(monkeypatch)


def test_a_file_that_the_kernel_holds_is_all_well(host: Host) -> None:
    host.keep(sa())
    host.sadb.put(sa(), add_time=NOW)
    found = status.gather()
    assert (found.file.sas, found.file.pending, len(found.entries), found.unseen) == (1, 0, 1, ())
    assert status.wrong(found) == [] == status.due(found)
    assert status_text.exit_status(found) == 0


def test_a_file_that_the_kernel_does_not_hold_is_wrong(host: Host) -> None:
    host.keep(sa(), sa(0x1002))
    host.sadb.put(sa())
    found = status.gather()
    assert status.wrong(found) == [f"the kernel differs from {KEYS} in 1 SA; see: ipseckey --compare {KEYS}"]
    assert status_text.exit_status(found) == 1


def test_the_file_is_that_of_the_command_else_of_the_service_else_the_usual_one(host: Host) -> None:
    assert status.gather("/other").file.status.path == "/other"
    assert status.gather().file.status.path == KEYS
    host.service = ServiceFacts("systemd")
    assert status.gather().file.status.path == DEFAULT_PATH


def test_a_text_that_is_wrong_is_unseen_and_the_rest_is_shown(host: Host) -> None:
    host.files[KEYS] = (SAFE, b"add esp spi\n")
    host.sadb.put(sa())
    found = status.gather()
    assert (found.file.sas, found.file.pending, len(found.pairs)) == (None, None, 1)
    assert found.unseen and {problem.place.partition(",")[0] for problem in found.unseen} == {KEYS}


def test_a_file_out_of_reach_may_exist(host: Host) -> None:
    refused = ProtectedFileError("the file cannot be reached (EACCES: Permission denied)", KEYS, "Run as root.")
    host.files[KEYS] = (FileStatus(KEYS, problems=(refused,)), b"")
    found = status.gather()
    assert found.unseen == (refused,) and status.wrong(found) == []
    assert status_text.exit_status(found) == 2
    assert f"{KEYS}: cannot be seen" in status_text.screen(found)


def test_an_unsafe_file_is_wrong_and_not_read(host: Host) -> None:
    wide = ProtectedFileError("the file has mode 0644, not 0600", KEYS)
    host.files[KEYS] = (SAFE._replace(mode=0o644, problems=(wide,)), b"")
    found = status.gather()
    assert status.wrong(found) == [f"{KEYS}: the file has mode 0644, not 0600"] and found.unseen == ()
    assert f"{KEYS}: unread, mode 0644, owner root" in status_text.screen(found)


def test_without_rights_the_files_are_shown(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = SadbError("the process lacks CAP_NET_ADMIN", "SADB", errno_name="EPERM")

    def refuse(*dummies: t.Any) -> t.NoReturn:
        raise refusal

    host.keep(sa())
    monkeypatch.setattr(host.sadb, "dump", refuse)
    found = status.gather()
    assert (found.file.sas, found.file.pending, found.backend, found.unseen) == (1, None, "", (refusal,))
    assert "SAs       cannot be seen\n" in status_text.screen(found)


def test_hidden_keys_are_unseen(host: Host) -> None:
    host.keep(sa())
    host.sadb.put(sa())
    host.sadb.hides_keys = True
    found = status.gather()
    assert found.keys_hidden and found.file.pending == 0
    assert ["lockdown" in problem.message for problem in found.unseen] == [True]


def test_the_mark_of_the_service_is_due(host: Host) -> None:
    host.sadb.put(sa(), sa(0x1002, PEER, HERE))
    host.files[ROTATION_DUE] = (SAFE, status.loading.rotation_due(_plan(sa(), sa(0x1002, PEER, HERE))).encode())
    (sentence,) = status.due(status.gather())
    assert sentence.startswith("the service loaded 2 SAs with 1 peer again at boot")


def _plan(*sas: SecurityAssociation) -> t.Any:
    return status.loading.load_plan(sas, [], [], False)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"state": "failed"}, "failed"),
        ({"state": "inactive"}, "not active"),
        ({"enabled": False}, "not enabled"),
        ({"state": "unknown"}, ""),
        ({"manager": "smf", "enabled": False}, ""),
        ({"installed": False, "enabled": False, "state": "unknown"}, ""),
    ],
)
def test_what_is_wrong_with_the_service(changes: dict[str, t.Any], part: str) -> None:
    found = status.wrong(WELL._replace(service=WELL.service._replace(**changes)))
    assert len(found) == bool(part) and all(part in sentence for sentence in found)


@pytest.mark.parametrize(
    ("facts", "part"),
    [
        (PolicyFacts(0, (sa(),), (), (), ()), "no policy uses 1 outbound SA"),
        (PolicyFacts(0, (), (sa(), sa(0x1002)), (), ()), "no policy requires 2 inbound SAs"),
        (PolicyFacts(1, (), (), (OUT,), ()), "out 192.0.2.1/32 > 192.0.2.2/32 has no SA"),
        (PolicyFacts(1, (), (), (), (OUT,)), "lets traffic pass without an SA"),
    ],
)
def test_what_is_wrong_with_policies(facts: PolicyFacts, part: str) -> None:
    (sentence,) = status.wrong(WELL._replace(policies=facts))
    assert part in sentence


def test_a_service_without_policies_is_shown_and_what_it_left_is_wrong(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    spd = types.SimpleNamespace(dump=lambda: [policy.PolicyEntry(OUT, 8, 0, 0, True)])
    monkeypatch.setattr(kernel, "Spd", lambda: spd)
    monkeypatch.setattr(policies, "read_record", lambda path: [OUT] if path == f"{KEYS} without policies" else [])
    host.keep(sa())
    host.sadb.put(sa(), add_time=NOW)
    host.sadb.name = "xfrm"
    found = status.gather()
    assert status.wrong(found) == [
        "the service loads no policies any more, but the kernel has 1 policy of it, which a reload removes"
    ]
    assert "service   systemd: enabled, active; loads /etc/keys, and no policies\n" in status_text.screen(found)
    spd.dump = list
    assert not [text for text in status.wrong(status.gather()) if "service" in text]
    host.service = host.service._replace(manager="smf")
    assert "loads /etc/keys\n" in status_text.screen(status.gather())


def test_a_drop_in_that_replaces_commands_is_wrong() -> None:
    path = "/etc/systemd/system/ipseckeys.service.d/a.conf"
    (sentence,) = status.wrong(WELL._replace(overriding=(path,)))
    assert sentence == f"{path} replaces commands of the service, so it may load something else"


def test_a_missing_file_is_wrong_if_the_service_would_load_it() -> None:
    missing = FileFacts(FileStatus(KEYS, directory_exists=True, file_system="ext4"), 0, 0)
    assert status.wrong(WELL._replace(file=missing)) == [f"{KEYS} does not exist, but the service would load it"]
    other = missing._replace(status=missing.status._replace(path="/nosuch"))
    assert status.wrong(WELL._replace(file=other)) == []
    assert status.wrong(WELL._replace(file=other._replace(named=True))) == ["/nosuch does not exist"]
    assert status.wrong(WELL._replace(file=missing, service=ServiceFacts("systemd"))) == []


def test_the_screen_of_a_host_that_is_well() -> None:
    found = with_sas(
        Entry(sa(), Counters(add_time=NOW - 12 * 86400, packets=2**30)),
        Entry(sa(0x1002, PEER, HERE), Counters(add_time=NOW - 12 * 86400)),
    )._replace(policies=PolicyFacts(2, (), (), (), ()))
    assert status_text.screen(found) == (
        "service   systemd: enabled, active; loads /etc/keys, and no policies\n"
        "file      /etc/keys: 2 SAs, mode 0600, owner root, as in the kernel\n"
        "SAs       2 with 1 peer\n"
        "peer      out in  age  least left\n"
        "192.0.2.2   1  1 12 d  74% sequence numbers\n"
        "policies  2; SAs without a policy: 0 out, 0 in; policies without an SA: 0\n"
        "wrong     nothing\n"
    )


def test_the_worst_host_fits_a_screen_and_v_shows_everything() -> None:
    entries = [
        Entry(sa(0x1000 + number, HERE, LONG[:14] + number.to_bytes(2, "big")), Counters(add_time=1, packets=2**32))
        for number in range(2000)
    ]
    found = with_sas(*entries)._replace(
        service=ServiceFacts("systemd", True, False, "failed", "/" + "k" * 60, "/etc/policies"),
        policies=PolicyFacts(3, (sa(),), (sa(),), (OUT,) * 50, (OUT,) * 50),
        unseen=tuple(IpsecError(f"something {number}", "some where " * 9) for number in range(9)),
    )
    lines = status_text.screen(found).splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 40 and "and 1,992 peers more: add -v" in lines
    assert len(status_text.screen(found, everything=True).splitlines()) > 4000


def test_json_says_what_the_screen_says(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    host.keep(sa())
    host.sadb.put(sa(), add_time=NOW, packets=2**32)
    assert command.main(["--json", "status"]) == 1
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert found["file"] == {"path": KEYS, "exists": True, "mode": "0600", "uid": 0, "sas": 1, "pending": 0}
    assert (found["sas"], found["peers"][0]["scarcest"]["left"], len(found["due"])) == (1, 0, 1)
    assert command.main(["status", "/nonexistent"]) == 1
    text = capsys.readouterr().out
    assert "/nonexistent: absent" in text
    assert not any(MARKER in out for out in (printed.out, printed.err, text))


def test_only_one_file_can_be_named(capsys: pytest.CaptureFixture[str], host: Host) -> None:
    assert command.main(["status", "/a", "/b"]) == 1
    assert "too many words after status" in capsys.readouterr().err


@given(st.integers(0, 2**40))
def test_a_span_is_short_and_never_more_than_the_time(seconds: int) -> None:
    number, unit = status_text.span(seconds).split()
    size = {"s": 1, "min": 60, "h": 3600, "d": 86400}[unit]
    assert int(number) * size <= seconds < (int(number) + 1) * size
