# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The option --boot-file: which files the service loads from then on, what its next reload does to the kernel, and
that nothing changes if the service could not load them. tests/e2e/test_boot.py does it under a real systemd.
"""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import stat
import tempfile
import typing as t
from pathlib import Path

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core import programs
from ansible_collections.ipsec.manual.plugins.module_utils._core.audit import service
from ansible_collections.ipsec.manual.plugins.module_utils._core.program import boot_file, command, loading, policies
from ansible_collections.ipsec.manual.plugins.module_utils._module.boot import texts
from ansible_collections.ipsec.manual.tests.kernel import witness
from ansible_collections.ipsec.manual.tests.kernel.test_command import ADD as NEAR
from ansible_collections.ipsec.manual.tests.kernel.test_command import AH, BACK, KEYS, OUT, kept

FAR = (
    "add esp spi 0x1007 src 192.0.2.1 dst 192.0.2.7 encr_alg aes"
    f" encrkey {KEYS[0][::-1]} auth_alg sha1 authkey {KEYS[2]}"
)
TO_FAR = {**OUT, "selector": {"source": "192.0.2.1/32", "destination": "192.0.2.7/32"}}


SHOW = "show -p NeedDaemonReload ipseckeys.service"


class Service:
    """A service of a manager, in a folder, and files for it."""

    def __init__(self, folder: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.text, self.capsys = folder, text, capsys
        self.path = folder / "service"

    def file(self, name: str, text: str, mode: int = 0o600) -> str:
        path = self.folder / name
        path.write_text(text, encoding="ascii")
        path.chmod(mode)
        return str(path)

    def policies(self, name: str, *rows: t.Any) -> str:
        return self.file(name, json.dumps(rows), 0o644)

    def install(self, *files: str) -> None:
        self.path.write_bytes(texts.fill(self.text, files[0], files[1] if files[1:] else "", True))
        self.path.chmod(0o755)
        self.reload(*files)

    def reload(self, *files: str) -> None:
        """What the service does, with the words that its text has."""
        assert service.says(self.path.read_text()) == (files[0], files[1] if files[1:] else "")
        words = ["-n", "--allow-reserved-spi", "--allow-shared-key", "--apply", files[0]]
        assert command.main([*words, *(("--policies", files[1]) if files[1:] else ())]) == 0

    def run(self, *words: str) -> tuple[int, str]:
        self.capsys.readouterr()
        status = command.main(list(words))
        captured = self.capsys.readouterr()
        return status, captured.out + captured.err

    def switch(self, *words: str) -> tuple[int, str]:
        self.capsys.readouterr()
        status = command.main(["--boot-file", *words])
        captured = self.capsys.readouterr()
        assert not any(key[:8] in captured.out + captured.err for key in KEYS)
        return status, captured.out + captured.err

    def all(self) -> t.Any:
        """Everything that must stay as it is."""
        notes = [Path(row.path).read_bytes() for row in (loading.RECORD, policies.RECORD) if os.path.exists(row.path)]
        status = self.path.stat()
        return self.path.read_bytes(), status.st_mode, notes, sorted(os.listdir(self.folder)), witness.states(), kept()


def forget() -> None:
    for record in (loading.RECORD, policies.RECORD):
        if os.path.exists(record.path):
            os.unlink(record.path)


@pytest.fixture(name="made", params=[service.SYSTEMD, service.OPENRC, service.SYSVINIT])
def make_service(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> t.Iterator[Service]:
    manager = t.cast(str, request.param)
    text = {service.SYSTEMD: texts.SYSTEMD, service.OPENRC: texts.OPENRC, service.SYSVINIT: texts.SYSVINIT}[manager]
    with tempfile.TemporaryDirectory(prefix="ipsec-manual-test-", dir="/root") as folder:
        made = Service(Path(folder), text, capsys)
        place = service.PLACES[manager]._replace(path=str(made.path))
        monkeypatch.setattr(service, "detect", lambda: manager)
        monkeypatch.setitem(service.PLACES, manager, place)
        monkeypatch.setattr(service, "systemd_runs", lambda: False)
        monkeypatch.setattr(service, "_TOO_LATE", service.re.compile("/(?:home|dev)/"))
        monkeypatch.setattr(os, "umask", lambda dummy: 0)
        forget()
        yield made
        forget()  # other tests know nothing of a damaged one


def spis() -> set[str]:
    return {f"{spi:#x}" for dummy, spi in (row[:2] for row in witness.states())}


def test_a_reload_removes_what_only_the_file_before_had(made: Service) -> None:
    old, new = made.file("old", f"{NEAR}\n{FAR}\n"), made.file("new", f"{AH}\n")
    made.install(old)
    before = made.all()
    status, output = made.switch(new)
    assert status == 0 and f"the service loads {new} from now on" in output and "nothing was loaded" in output
    assert made.path.read_bytes() == texts.fill(made.text, new, "", True)
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o755 and made.all()[3:] == before[3:]
    assert made.switch(new) == (0, f"{made.path}: nothing changed; the service loads {new} already\n")
    made.reload(new)
    assert spis() == {"0x1002"}
    # And back again, also without a reload in between.
    assert made.switch(old)[0] == 0 == made.switch(new)[0] == made.switch(old)[0]
    made.reload(old)
    assert spis() == {"0x1001", "0x1007"}
    assert command.main(["--remove", old]) == 0 and spis() == set()


def test_a_reload_removes_what_a_rotation_loaded(made: Service) -> None:
    """It loads SAs and policies itself, and then writes the files, which name what no record does."""
    old, new = made.file("old", f"{NEAR}\n"), made.file("new", f"{FAR}\n")
    first, second = made.policies("first", OUT), made.policies("second", TO_FAR)
    made.install(old, first)
    assert command.main(["delete", "esp", "spi", "0x1001", "dst", "192.0.2.2"]) == 0
    assert command.main(["-f", made.file("rotated", NEAR.replace("0x1001", "0x1003") + "\n")]) == 0
    assert command.main(["--policies", made.policies("others", OUT, BACK)]) == 0
    os.replace(made.folder / "rotated", old)
    os.replace(made.folder / "others", first)
    assert spis() == {"0x1003"} and len(kept()) == 2
    assert made.switch(new, "--policies", second)[0] == 0
    made.reload(new, second)
    assert spis() == {"0x1007"} and kept() == {"dir out priority 0 reqid 0"}


def test_policies_of_another_file_replace_those_before(made: Service) -> None:
    old, new = made.file("old", f"{NEAR}\n"), made.file("new", f"{FAR}\n")
    first, second = made.policies("first", OUT, BACK), made.policies("second", TO_FAR)
    made.install(old, first)
    before = made.all()
    assert made.switch(new, "--policies", second)[0] == 0 and made.all()[3:] == before[3:]
    assert made.path.read_bytes() == texts.fill(made.text, new, second, True)
    made.reload(new, second)
    assert spis() == {"0x1007"} and kept() == {"dir out priority 0 reqid 0"}
    assert "dst 192.0.2.7/32" in "".join(witness.policies())


def test_without_policies_those_of_the_service_stay(made: Service) -> None:
    old, new = made.file("old", f"{NEAR}\n"), made.file("new", NEAR.replace("0x1001", "0x1003") + "\n")
    first = made.policies("first", OUT)
    made.install(old, first)
    assert made.switch(new)[0] == 0 and service.says(made.path.read_text()) == (new, first)
    made.reload(new, first)
    assert spis() == {"0x1003"} and kept() == {"dir out priority 0 reqid 0"}


def test_without_any_policies_a_reload_removes_those_of_before(made: Service) -> None:
    """Those that guard SAs, too: after a reboot nothing would guard them either. Those of others stay."""
    old, new = made.file("old", f"{NEAR}\n"), made.file("new", f"{NEAR}\n{FAR}\n")
    first = made.policies("first", OUT, BACK)
    made.install(old, first)
    assert made.run("--policies", made.policies("others", TO_FAR))[0] == 0 and len(witness.policies()) == 3
    before = made.all()
    status, output = made.switch(new, "--no-policies")
    assert status == 0 and made.all()[3:] == before[3:]
    assert made.path.read_bytes() == texts.fill(made.text, new, "", True)
    reload = service.PLACES[service.detect()].reload
    assert output == (
        f"{made.path}: the service loads {new} and no policies from now on\n"
        f"ipseckey: warning: {new} is loaded without policies: from the next reload or boot on, the traffic of 2 SAs"
        " leaves unencrypted, unless something else has policies for it, between 192.0.2.1 and 192.0.2.2, 192.0.2.1 and"
        " 192.0.2.7\n"
        f"ipseckey: nothing was loaded or removed. To load it now, and to remove the policies of {first}: {reload}\n"
        f"ipseckey: to have the service load them again: ipseckey --boot-file {new} --policies {first}\n"
    )
    status, output = made.switch(new, "--no-policies")
    assert status == 0 and f"nothing changed; the service loads {new} and no policies already" in output
    # What the service has to remove is pending, for a look and for the status of SysV init.
    status, output = made.run("--compare", new)
    assert status == 1 and f"{new} without policies: 0 added, 0 replaced, 2 removed, 0 unchanged" in output
    made.reload(new)
    assert spis() == {"0x1001", "0x1007"} and len(witness.policies()) == 1
    assert "dst 192.0.2.7/32" in "".join(witness.policies())
    # Only once: what somebody loads later is not what the service loaded.
    assert made.run("--policies", first)[0] == 0
    made.reload(new)
    assert len(witness.policies()) == 3
    assert made.run("--compare", new)[0] == 0


def test_a_stop_removes_the_policies_of_before_too(made: Service) -> None:
    old, first = made.file("old", f"{NEAR}\n"), made.policies("first", OUT)
    made.install(old, first)
    assert made.switch(old, "--no-policies")[0] == 0 and len(kept()) == 1
    assert command.main(["-n", "--remove", old]) == 0 and not spis() and not kept()
    assert command.main(["-n", "--remove", old]) == 0


def test_policies_come_back(made: Service) -> None:
    """With and without a reload in between."""
    old, first, second = made.file("old", f"{NEAR}\n"), made.policies("first", OUT, BACK), made.policies("second", OUT)
    made.install(old, first)
    text = made.path.read_bytes()
    assert made.switch(old, "--no-policies")[0] == 0 == made.switch(old, "--policies", first)[0]
    assert made.path.read_bytes() == text
    made.reload(old, first)
    assert len(kept()) == 2
    assert made.switch(old, "--no-policies")[0] == 0
    made.reload(old)
    assert not kept() and made.switch(old)[0] == 0, "it goes on loading none"
    assert made.switch(old, "--policies", first)[0] == 0
    made.reload(old, first)
    assert len(kept()) == 2
    # What was handed over twice still belongs to the service.
    other = made.file("other", f"{NEAR}\n")
    assert made.switch(old, "--no-policies")[0] == 0 == made.switch(other, "--no-policies")[0]
    assert made.switch(other, "--policies", second)[0] == 0
    made.reload(other, second)
    assert len(kept()) == 1


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("missing", "missing: the file does not exist"),
        ("unreadable", "unreadable: its mode keeps the service from reading it"),
        ("open", "the file has mode 0644, not 0600"),
        ("wrong", "wrong, line 1, column"),
        ("/home/keys", "does not exist, or is hidden from the service"),
        ("new --policies second", "--no-policies and --policies exclude each other"),
        ("new --allow-unsafe-file", "no option that accepts more goes with --boot-file"),
    ],
)
def test_without_policies_all_else_is_checked(made: Service, words: str, part: str) -> None:
    made.install(made.file("old", f"{NEAR}\n"), made.policies("first", OUT))
    made.file("new", f"{FAR}\n")
    made.file("open", f"{NEAR}\n", 0o644)
    made.file("wrong", f"{NEAR[:-1]}\n")
    made.file("unreadable", f"{NEAR}\n", 0o200)
    before = made.all()
    given = [word if word.startswith(("-", "/")) else str(made.folder / word) for word in words.split()]
    status, output = made.switch(*given, "--no-policies")
    assert status == 1 and part in output and made.all() == before, output


def test_without_policies_an_unreadable_file_of_before_does_not_matter(made: Service) -> None:
    old, first = made.file("old", f"{NEAR}\n"), made.policies("first", OUT)
    made.install(old, first)
    os.unlink(first)
    assert "the file does not exist" in made.switch(old)[1]
    assert made.switch(old, "--no-policies")[0] == 0
    made.reload(old)
    assert not kept(), "the record says what was loaded"


def test_a_file_without_sas_loads_policies_alone(made: Service) -> None:
    """As once manual-key of Solaris is disabled."""
    empty, first = made.file("empty", "# no SA\n"), made.policies("first", OUT)
    made.install(made.file("old", f"{NEAR}\n"), first)
    assert made.switch(empty)[0] == 0
    made.reload(empty, first)
    assert not spis() and len(kept()) == 1
    status, output = made.switch(empty, "--no-policies")
    assert status == 0 and "no traffic is encrypted, unless something else has policies for it\n" in output


def test_a_list_saved_after_a_flush_is_a_file_without_sas(made: Service) -> None:
    first, empty = made.policies("first", OUT), str(made.folder / "empty")
    made.install(made.file("old", f"{NEAR}\n"), first)
    assert made.run("flush")[0] == 0 == made.run("-s", empty)[0]
    assert made.switch(empty)[0] == 0
    made.reload(empty, first)
    assert not spis() and len(kept()) == 1


def test_a_reload_without_policies_takes_one_that_replaced_its_own(made: Service) -> None:
    """The kernel has one policy for the same packets, and the record tells it by these."""
    old, first = made.file("old", f"{NEAR}\n"), made.policies("first", OUT)
    made.install(old, first)
    assert made.switch(old, "--no-policies")[0] == 0
    template = {**OUT["templates"][0], "reqid": 77}
    assert made.run("--policies", made.policies("others", {**OUT, "templates": [template]}))[0] == 0
    assert kept() == {"dir out priority 0 reqid 77"}
    made.reload(old)
    assert not kept()


def test_two_runs_do_not_meet(made: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = made.file("old", f"{NEAR}\n"), made.file("new", f"{FAR}\n")
    made.install(old)
    assert made.switch(old)[0] == 0
    monkeypatch.setattr(boot_file, "_PATIENCE", 0.1)
    with open(boot_file._LOCK, "rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        before = made.all()
        status, output = made.switch(new)
        assert status == 1 and "another run that sets up this service has not ended. Wait until it ends" in output
        assert made.all() == before
    assert made.switch(new)[0] == 0
    assert stat.S_IMODE(os.stat(boot_file._LOCK).st_mode) == 0o600


def test_a_drop_in_that_replaces_commands_is_named(made: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    made.install(made.file("old", f"{NEAR}\n"))
    new, folder = made.file("new", f"{FAR}\n"), made.folder / "systemd/system/ipseckeys.service.d"
    folder.mkdir(parents=True)
    monkeypatch.setattr(service, "_FOLDERS", (str(made.folder / "systemd"),))
    (folder / "a.conf").write_text("[Service]\nExecStartPre=/bin/true\nTimeoutSec=9\n")
    (folder / "b.conf").write_text("[Service]\nExecStart=\nExecStart=/bin/true\n")
    before = made.path.read_bytes()
    status, output = made.switch(new)
    if service.detect() == service.SYSTEMD:
        assert status == 1 and f"{folder}/b.conf: this drop-in of systemd replaces commands" in output
        assert made.path.read_bytes() == before
        # One for all services hides none for the service, although its folder comes first.
        first = made.folder / "first/system/service.d"
        first.mkdir(parents=True)
        (first / "b.conf").write_text("")
        monkeypatch.setattr(service, "_FOLDERS", (str(made.folder / "first"), str(made.folder / "systemd")))
        assert f"{folder}/b.conf: this drop-in" in made.switch(new)[1]
        (first.parent / folder.name).mkdir()
        (first.parent / folder.name / "b.conf").symlink_to("/dev/null")
        assert made.switch(new)[0] == 0
    else:
        assert status == 0


def test_a_service_without_policies_gets_some(made: Service) -> None:
    old, first = made.file("old", f"{NEAR}\n"), made.policies("first", OUT)
    made.install(old)
    assert made.switch(old, "--policies", first)[0] == 0
    assert made.path.read_bytes() == texts.fill(made.text, old, first, True)


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("missing", "missing: the file does not exist"),
        ("unreadable", "unreadable: its mode keeps the service from reading it. chmod u+r"),
        ("closed/new", "closed: its mode keeps the service from reading it. chmod u+x"),
        ("new --policies unreadable", "unreadable: its mode keeps the service from reading it"),
        ("open", "the file has mode 0644, not 0600"),
        ("link", "the file is a symbolic link"),
        ("wrong", "wrong, line 1, column"),
        ("/home/keys", "does not exist, or is hidden from the service"),
        ("bad$name", "characters that start scripts could misread"),
        ("new --policies missing", "missing: the file does not exist"),
        ("new --policies loose", "the file has mode 0666, not 0644"),
        ("new --policies new", "is not JSON"),
        ("new --policies /home/policies", "does not exist, or is hidden from the service"),
        ("new --policies owned", "owned: the file belongs to user 65534, not to root"),
        ("uncovered", "no policy uses 1 SA "),
        # The present policy stays as long as it guards the SA, but would be gone after a reboot.
        ("old --policies elsewhere", "no policy uses 1 SA "),
        # Without SAs no traffic of any SA is uncovered, but what the policies protect would be.
        ("empty --policies none", "none: it names no policy, so the service would load none. If that is meant, write"),
        ("new --policies /dev/null", "does not exist, or is hidden from the service"),
        ("new --policies ''", "--policies needs a file"),
        ("new --allow-unsafe-file", "no option that accepts more goes with --boot-file"),
        ("new --allow-static-counter-mode", "no option that accepts more goes with --boot-file"),
    ],
)
def test_what_the_service_could_not_load_changes_nothing(made: Service, words: str, part: str) -> None:
    made.install(made.file("old", f"{NEAR}\n"), made.policies("first", OUT))
    made.file("new", NEAR.replace("0x1001", "0x1003") + "\n")
    made.file("open", f"{NEAR}\n", 0o644)
    made.file("wrong", f"{NEAR[:-1]}\n")
    made.file("bad$name", f"{NEAR}\n")
    made.file("uncovered", f"{FAR}\n")
    made.file("loose", "[]", 0o666)
    made.file("none", "[]", 0o644)
    made.file("empty", "")
    made.policies("elsewhere", TO_FAR)
    os.chown(made.policies("owned", OUT), 65534, 0)
    made.file("unreadable", f"{NEAR}\n", 0o200)
    (made.folder / "closed").mkdir()
    made.file("closed/new", f"{NEAR}\n")
    (made.folder / "closed").chmod(0o600)
    (made.folder / "link").symlink_to(made.folder / "new")
    before = made.all()
    given = [
        word if not word or word.startswith(("-", "/")) else str(made.folder / word)
        for word in shlex.split(words.replace("$", "\\$"))
    ]
    status, output = made.switch(*given)
    assert status == 1 and part in output and "To accept it anyway" not in output, output
    assert made.all() == before


def test_a_service_of_somebody_else_is_left_alone(made: Service) -> None:
    new = made.file("new", f"{NEAR}\n")
    assert made.switch(new)[1] == (
        "ipseckey: --boot-file: this host has no service ipseckeys. Install it where this command was installed from.\n"
    )
    for text, part in (
        (texts.fill(made.text, new, "", False).replace(b"# Managed", b"# Written"), "another program wrote this"),
        (f"{service.MANAGED}\n".encode(), "another program wrote this service"),
    ):
        made.path.write_bytes(text)
        made.path.chmod(0o644)
        status, output = made.switch(new)
        assert status == 1 and part in output and made.path.read_bytes() == text, output
    made.path.write_bytes(texts.fill(made.text, new, "", False))
    made.path.chmod(0o666)
    assert "the file has mode 0666" in made.switch(new)[1]


def test_solaris_has_a_property_for_it(made: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "detect", lambda: service.SMF)
    assert "Run: svccfg -s svc:/network/ipsec/manual-key:default setprop" in made.switch("/etc/keys")[1]


def test_all_is_as_it_was_if_systemd_does_not_read_it(made: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for systemctl, which notes what it is asked and may refuse."""
    made.install(made.file("old", f"{NEAR}\n"), made.policies("first", OUT))
    new, second = made.file("new", f"{FAR}\n"), made.policies("second", TO_FAR)
    asked = made.folder / "asked"
    (made.folder / "systemctl").write_text(
        f'#!/bin/sh\necho "$@" >>{asked}\n'
        f'[ "$1" != show ] || {{ echo NeedDaemonReload=$(cat {made.folder}/behind); exit; }}\n'
        f"[ ! -e {made.folder}/refuses ]\n"
    )
    (made.folder / "systemctl").chmod(0o755)
    monkeypatch.setattr(programs, "ENVIRONMENT", {"PATH": f"{made.folder}:/usr/bin:/bin"})
    monkeypatch.setattr(service, "systemd_runs", lambda: True)
    for name, text in (("asked", ""), ("refuses", ""), ("behind", "no")):
        made.file(name, text)
    before = made.all()
    status, output = made.switch(new, "--policies", second)
    assert status == 1 and "systemd did not read the new definition" in output and made.all() == before, output
    (made.folder / "refuses").unlink()
    assert made.switch(new, "--policies", second)[0] == 0 == made.switch(new, "--policies", second)[0]
    assert [line for line in asked.read_text().splitlines() if line == "daemon-reload"] == ["daemon-reload"] * 2
    # As after an interruption between writing and reading.
    made.file("behind", "yes")
    made.file("refuses", "")
    status, output = made.switch(new, "--policies", second)
    assert status == 1 and "systemd did not read the definition" in output
    (made.folder / "refuses").unlink()
    assert made.switch(new, "--policies", second)[0] == 0
    assert asked.read_text().splitlines()[-4:] == [*(SHOW, "daemon-reload") * 2], "only if it is behind"


def test_a_record_that_something_else_wrote_changes_nothing(made: Service) -> None:
    made.install(made.file("old", f"{NEAR}\n"))
    new = made.file("new", f"{FAR}\n")
    Path(loading.RECORD.path).write_text("[]")
    before = made.all()
    assert "this is not a record of loaded SAs" in made.switch(new)[1] and made.all() == before
