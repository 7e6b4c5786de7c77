# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The service on a host with a simulated service manager: what is requested of it, and what remains
if it refuses. tests/e2e/test_boot.py uses real ones.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ipsec.manual.plugins.module_utils._core.audit import service as at_boot
from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import IpsecError, ProtectedFileError
from ansible_collections.ipsec.manual.plugins.module_utils._core.program import boot_file, loading
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.plan import ADD, Operation
from ansible_collections.ipsec.manual.plugins.module_utils._core.spd.text import parse, read_policies
from ansible_collections.ipsec.manual.plugins.module_utils._core.text.language import render
from ansible_collections.ipsec.manual.plugins.module_utils._module import command
from ansible_collections.ipsec.manual.plugins.module_utils._module.boot import (
    linux,
    module,
    services,
    texts,
)
from ansible_collections.ipsec.manual.tests.unit.plugins.modules.harness import World, sa
from ansible_collections.ipsec.manual.tests.unit.plugins.modules.test_ipsec_sadb import Clock

KEYS = "/etc/inet/secret/ipseckeys"
OUT, OTHER, BLOCK = (
    {"direction": "out", "selector": {"source": "192.0.2.1/32", "destination": f"192.0.2.{end}/32"}, **rest}
    for end, rest in ((2, {"templates": [{}]}), (9, {"templates": [{}]}), (7, {"action": "block"}))
)
LABEL, OTHER_LABEL, BLOCK_LABEL = (f"out 192.0.2.1/32 > 192.0.2.{end}/32" for end in (2, 9, 7))


class Manager(services.Service):
    """A service manager in memory. ``refuses`` is the request that it refuses."""

    text = texts.SYSTEMD
    mode = 0o644
    asked: t.ClassVar[list[str]] = []
    refuses = ""
    there: t.ClassVar[set[str]] = set()

    def _do(self, verb: str) -> None:
        self.asked.append(verb)
        if verb == self.refuses:
            raise IpsecError("no", verb)

    def enabled(self) -> bool:
        return "enabled" in self.there

    def active(self) -> bool:
        return "active" in self.there

    def reread(self) -> None:
        self._do("reread")

    def do(self, what: str) -> None:
        self._do(what)
        added = {"enable": "enabled", "start": "active"}.get(what)
        if added:
            self.there.add(added)
        elif what == "disable":
            self.there.discard("enabled")


class Host(World):
    """A host whose service has its files in a folder. Its protected file is ``keys`` there."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.keys = folder / "etc" / "keys"
        self.keys.parent.mkdir()

    def boot(self, check: bool = False, **arguments: t.Any) -> dict[str, t.Any]:
        Manager.asked.clear()
        return self.run("ipsec_boot", check=check, service_manager="systemd", **{"file": str(self.keys), **arguments})

    def tree(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.folder)): path.read_bytes() for path in self.folder.rglob("*") if path.is_file()
        }


@pytest.fixture(name="host")
def host_in_a_folder(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> t.Iterator[Host]:
    """Files need not belong to root here; files/test_protected.py tests that."""
    host = Host(tmp_path)
    Manager.there.clear()
    monkeypatch.setattr(Manager, "refuses", "")
    monkeypatch.setattr(Manager, "path", str(tmp_path / "unit"))
    monkeypatch.setattr(at_boot, "POLICIES", str(tmp_path / "policies"))
    monkeypatch.setattr(texts, "COMMAND", str(tmp_path / "local" / "sbin" / "ipseckey"))
    notes = tmp_path_factory.mktemp("run") / "ipseckey"
    monkeypatch.setattr(linux, "_NOTES", (str(notes),))
    monkeypatch.setattr(boot_file, "_LOCK", str(notes / "boot-file"))
    monkeypatch.setattr(at_boot, "_TOO_LATE", re.compile("/never/"))
    monkeypatch.setitem(module.SERVICES, "systemd", Manager)
    monkeypatch.setattr(command, "PREFIX", str(tmp_path / "local"))
    monkeypatch.setattr(linux.program, "files", lambda: _files(str(tmp_path / "local"), sys.executable))
    monkeypatch.setattr(linux.protected, "read", lambda path, protection=None: _read(path))
    monkeypatch.setattr(loading.protected, "status", loading.protected.FileStatus)
    monkeypatch.setattr(linux, "Spd", lambda: host.spd)
    yield host


_files = command.files


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise ProtectedFileError("the file does not exist", path) from None


def test_the_service_is_installed_once_reported_and_removed(host: Host) -> None:
    host.keys.write_text(render([sa()]))
    before = host.tree()
    arguments = {"policies": [OUT, BLOCK], "ask_for_rotation": True}
    check = host.boot(check=True, **arguments)
    assert check["changed"] and host.tree() == before and not Manager.asked
    done = host.boot(**arguments)
    assert {**done, "invocation": 0} == {**check, "invocation": 0} and done["changed"]
    assert Manager.asked == ["reread", "enable", "start"]
    assert "+" not in done["policies_file"] and [Path(path).name for path in done["files"]] == [
        "ipseckey",
        "ipseckey.8",
        "ipseckey",
        "policies",
        "unit",
    ]
    expected = {
        "service_manager": "systemd",
        "installed": True,
        "enabled": True,
        "file": str(host.keys),
        "policies": [LABEL, BLOCK_LABEL],
        "kept": [],
    }
    assert {name: done[name] for name in expected} == expected
    host.spd.policies = list(parse(Path(at_boot.POLICIES).read_bytes(), "")[0])
    again = host.boot(**arguments)
    assert (
        not again["changed"]
        and not Manager.asked
        and again["files"] == []
        and again["diff"] == {"before": "", "after": ""}
    )
    state = host.boot(state="query", file="/ignored")
    assert (
        {name: state[name] for name in expected} == expected
        and state["policies_file"] == done["policies_file"]
        and not state["changed"]
    )
    gone = host.boot(check=True, state="absent")
    assert gone["changed"] and host.tree() != before
    assert host.boot(state="absent")["files"] == gone["files"] and Manager.asked == ["disable"]
    assert host.tree() == before
    assert not host.boot(state="absent")["changed"]
    state = host.boot(state="query")
    assert (state["installed"], state["enabled"], state["file"], state["policies"]) == (False, False, "", [])


@pytest.mark.parametrize("verb", ["reread", "enable"])
def test_all_files_are_restored_if_the_service_manager_refuses(
    host: Host, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    before = host.tree()
    monkeypatch.setattr(Manager, "refuses", verb)
    assert host.boot(policies=[OUT])["failed"] and host.tree() == before
    monkeypatch.setattr(Manager, "refuses", "")
    host.boot(policies=[OUT])
    installed = host.tree()
    monkeypatch.setattr(Manager, "refuses", verb)
    Manager.there.clear()
    assert host.boot(file=str(host.keys) + "2", policies=[OTHER])["failed"] and host.tree() == installed


def test_a_service_that_cannot_load_stays_installed_and_is_reported(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.keys.write_text(render([sa()]))
    monkeypatch.setattr(Manager, "refuses", "start")
    result = host.boot(policies=[OUT])
    assert result["failed"] and "start: no. It is installed, and would fail at boot as well." in result["msg"]
    assert Manager.there == {"enabled"} and host.boot(state="query")["installed"]


def test_the_reason_is_what_the_service_itself_meets(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """It accepts reserved SPIs and shared keys; without that, another reason would be shown."""
    host.keys.write_text(render([sa()]))
    monkeypatch.setattr(Manager, "refuses", "start")
    asked = []

    def run(self: t.Any, words: list[str]) -> tuple[int, str, str]:
        asked.append(words)
        return (1, "", f"{KEYS}: no") if words[1:2] == ["-n"] else (0, "", "")

    monkeypatch.setattr(AnsibleModule, "run_command", run)
    assert f"{KEYS}: no" in host.boot(policies=[OUT])["msg"]
    start = texts.fill(texts.SYSTEMD, str(host.keys), at_boot.POLICIES, False).decode("ascii")
    assert f"ExecStart={' '.join(asked[-1]).replace('--compare', '--apply')}\n" in start


def test_runs_do_not_meet(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither those of the module, nor with ipseckey --boot-file."""
    assert host.boot(load=False)["changed"]
    installed = host.tree()
    monkeypatch.setattr(boot_file, "_PATIENCE", 0.1)
    with boot_file.alone():
        for arguments in ({"policies": [OUT]}, {"state": "absent"}):
            assert host.boot(check=True, **arguments)["changed"]
            assert "another run that sets up this service has not ended" in host.boot(**arguments)["msg"]
        assert host.tree() == installed and not Manager.asked
        assert host.boot(state="query")["installed"]
    done = host.boot(state="absent")
    assert done["changed"] and not Path(linux._NOTES[0]).exists()
    assert not host.boot(state="absent")["changed"] and not Path(linux._NOTES[0]).exists()


def test_a_lock_that_was_removed_locks_nothing(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the service is removed while somebody waits."""
    lock, waited = Path(boot_file._LOCK), []

    def wait(descriptor: int, seconds: float) -> bool:
        waited.append(descriptor)
        if not waited[1:]:
            lock.unlink()
        return True

    monkeypatch.setattr(boot_file.atomic, "lock", wait)
    with boot_file.alone():
        assert len(waited) == 2 and lock.exists()


def test_the_protected_file_decides_whether_something_is_loaded_now(host: Host) -> None:
    host.boot(policies=[OUT])
    assert Manager.asked == ["reread", "enable"]
    host.keys.write_text(render([sa()]))
    assert not host.boot(policies=[OUT], load=False)["changed"] and not Manager.asked
    assert host.boot(policies=[OUT])["changed"] and Manager.asked == ["start"]
    # A kernel that lacks the policies gets them, even if the file is unchanged.
    assert host.boot(policies=[OUT])["changed"] and Manager.asked == ["reload"]


def test_policies_that_guard_sas_of_the_file_are_kept(host: Host) -> None:
    host.keys.write_text(render([sa(), sa(0x1009, destination="192.0.2.9")]))
    host.boot(policies=[OUT, OTHER, BLOCK])
    for check in (True, False):
        result = host.boot(check=check, policies=[OUT])
        assert result["kept"] == [OTHER_LABEL] and result["policies"] == [LABEL, OTHER_LABEL]
        assert any(OTHER_LABEL in warning and "guards SAs" in warning for warning in result["warnings"])
    # A wrong file does not show what its policies guard.
    host.keys.write_text("add esp\n")
    assert host.boot(policies=[], load=False)["kept"] == [LABEL, OTHER_LABEL]
    host.keys.write_text(render([sa()]))
    assert host.boot(policies=[], load=False)["policies"] == [LABEL]
    host.keys.write_text("")
    last = host.boot(policies=[], load=False)
    assert last["kept"] == [] and last["policies_file"] == "" and not Path(at_boot.POLICIES).exists()
    assert "--policies" not in Path(Manager.path).read_text()


def test_without_purge_policies_that_no_longer_guard_anything_are_kept(host: Host) -> None:
    host.keys.write_text(render([sa()]))
    host.boot(policies=[OUT, OTHER, BLOCK])
    result = host.boot(policies=[], purge=False)
    assert result["kept"] == [LABEL, OTHER_LABEL] == result["policies"]
    (message,) = (warning for warning in result["warnings"] if OTHER_LABEL in warning)
    assert "without it the traffic that it protected would leave unencrypted" in message and "purge: false" in message
    assert host.boot(policies=[])["policies"] == [LABEL]


def test_named_policies_are_removed_without_purge_unless_they_guard_sas(host: Host) -> None:
    host.keys.write_text(render([sa()]))
    host.boot(policies=[OUT, OTHER])
    result = host.boot(policies=[], purge=False, removed=[OUT, OTHER])
    assert result["kept"] == [LABEL] == result["policies"]
    host.keys.write_text("")
    assert host.boot(policies=[], purge=False, removed=[OTHER])["kept"] == [LABEL]
    assert host.boot(policies=[], purge=False, removed=[OUT])["policies"] == []


def test_kernel_policies_that_alone_guard_sas_of_the_file_are_loaded_at_boot(host: Host) -> None:
    host.keys.write_text(render([sa(), sa(0x1009, destination="192.0.2.9")]))
    wide = {**OUT, "selector": {**OUT["selector"], "destination": "192.0.2.0/30"}}
    held, foreign = ({**row, "priority": 5} for row in (OTHER, BLOCK))
    host.spd.policies = list(read_policies([OUT, wide, held, foreign], "", []))
    result = host.boot(policies=[OUT], load=False)
    assert result["kept"] == [OTHER_LABEL] and result["policies"] == [LABEL, OTHER_LABEL]
    host.spd.policies = []
    again = host.boot(policies=[OUT], load=False)
    assert again["kept"] == [OTHER_LABEL] and not again["changed"]


def test_kernel_policies_that_a_file_cannot_express_do_not_spoil_it(host: Host) -> None:
    """As with IPComp, which libreswan adds: one such row would keep all policies from being loaded at boot."""
    host.keys.write_text(render([sa(), sa(0x1009, destination="192.0.2.9")]))
    named, other = read_policies([OUT, OTHER], "", [])
    host.spd.policies = [
        named,
        other._replace(templates=(other.templates[0]._replace(protocol="comp"), *other.templates)),
    ]
    result = host.boot(policies=[OUT], load=False)
    assert result["policies"] == [LABEL] and result["kept"] == []
    assert any(OTHER_LABEL in text and "cannot express it" in text for text in result["warnings"])
    assert host.boot(state="query")["policies"] == [LABEL]


def test_a_policy_is_loaded_once_when_its_templates_change(host: Host) -> None:
    """The file still has SAs for the previous templates, which the policy in the kernel guards."""
    host.keys.write_text(render([sa()]))
    host.boot(policies=[OUT])
    host.spd.policies = list(read_policies([OUT], "", []))
    changed = {**OUT, "templates": [{"reqid": 7}]}
    assert host.boot(policies=[changed], load=False)["policies"] == [LABEL]
    assert not host.boot(policies=[changed], load=False)["changed"]


def test_an_unreadable_file_of_policies_is_replaced_with_a_warning(host: Host) -> None:
    host.boot(policies=[OUT])
    Path(at_boot.POLICIES).write_text("{")
    assert "not JSON" in host.boot(state="query")["msg"]
    result = host.boot(policies=[OUT])
    assert result["changed"] and any("not JSON" in warning for warning in result["warnings"])
    assert host.boot(state="query")["policies"] == [LABEL]


@pytest.mark.parametrize(
    ("arguments", "place", "text"),
    [
        ({"file": "/etc/a b"}, "file", "characters"),
        ({"file": "/etc/$(reboot)"}, "file", "characters"),
        ({"file": "etc"}, "file", "characters"),
        ({"file": "/tmp/keys"}, "file", "Choose a directory below /etc"),
        ({"file": "//root/keys"}, "file", "Choose a directory below /etc"),
        ({"policies": [OUT], "service_manager": "smf"}, "policies", "/etc/inet/ipsecinit.conf"),
        ({"operators": "ipsec", "service_manager": "smf"}, "operators", "the profile Network IPsec Management"),
        (
            {"policies": [{**OUT, "templates": [{"mode": "tunel"}]}]},
            "policies[0].templates[0].mode",
            "transport, tunnel",
        ),
        ({"policies": [OUT, OUT]}, "policies", "given twice"),
        ({"service_manager": "upstart"}, "service_manager", "openrc, smf, systemd, sysvinit"),
    ],
)
def test_options_that_cannot_work_are_refused_with_their_place(
    arguments: dict[str, t.Any], place: str, text: str
) -> None:
    result = World().run("ipsec_boot", **{"service_manager": "sysvinit", **arguments})
    assert result["failed"] and place in result["msg"] and text in result["msg"]


def test_a_service_manager_that_does_not_run_prepares_the_next_boot_only(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Manager, "runs", lambda self=None: False)
    host.keys.write_text(render([sa()]))
    before = host.tree()
    for check in (True, False):
        refused = host.boot(check=check)
        assert refused["failed"] and "does not run on this host" in refused["msg"] and "load: false" in refused["msg"]
        assert host.tree() == before
    done = host.boot(load=False)
    assert done["changed"] and not done["running"] and "start" not in Manager.asked and "enable" in Manager.asked


def test_an_unknown_service_manager_fails_unless_queried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "detect", lambda: "")
    assert "systemd, openrc, sysvinit, smf" in World().run("ipsec_boot")["msg"]
    assert "systemd, openrc, sysvinit, smf" in World().run("ipsec_boot", state="absent")["msg"]
    state = World().run("ipsec_boot", state="query")
    assert (state["service_manager"], state["installed"], state["enabled"]) == ("", False, False)


@pytest.mark.parametrize("text", [texts.SYSTEMD, texts.OPENRC, texts.SYSVINIT])
@pytest.mark.parametrize("ask", [False, True])
def test_written_services_are_read_back(text: str, ask: bool) -> None:
    for policies_file in ("", at_boot.POLICIES):
        written = texts.fill(text, KEYS, policies_file, ask).decode()
        assert at_boot.says(written) == (KEYS, policies_file)
        assert not re.search("@[A-Z]", written) and (at_boot.ROTATION_DUE in written) == ask
        mounts = " ".join(filter(None, (KEYS, policies_file, at_boot.ROTATION_DUE if ask else "")))
        assert ("RequiresMountsFor=" not in written) or f"\nRequiresMountsFor={mounts}\n" in written
    assert at_boot.says("#!/bin/sh\n") == ("", "")


# Paths that resemble what stands around them, too.
PATHS = st.lists(
    st.sampled_from(["/", "a", "Z", "9", "_", ".", "+", "@", "-", "--apply", "--policies", "FILE", "@DUE@", "Exec"]),
    min_size=1,
    max_size=8,
).map(lambda words: "/" + "".join(words))


@pytest.mark.parametrize("text", [texts.SYSTEMD, texts.OPENRC, texts.SYSVINIT])
@given(before=st.tuples(PATHS, st.just("") | PATHS), after=st.tuples(PATHS, PATHS), ask=st.booleans())
def test_a_switched_service_is_the_one_written_for_the_new_files(
    text: str, before: tuple[str, str], after: tuple[str, str], ask: bool
) -> None:
    assert not [*at_boot.file_problems("/etc" + before[0], ""), *at_boot.file_problems("/etc" + after[1], "")]
    for new in (after, (after[0], before[1]), (after[0], "")):
        written = texts.fill(text, *before, ask).decode()
        assert at_boot.switched(written, *new) == texts.fill(text, *new, ask).decode()
        assert at_boot.says(written) == before


@pytest.fixture(name="handed")
def record_what_is_handed_over(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, str]]:
    """What counts from then on as loaded from another file: of which record, from which file, and to which."""
    handed: list[tuple[str, str, str]] = []

    @contextlib.contextmanager
    def handed_over(record: loading.Record, before: str, after: str, dummy: object) -> t.Iterator[None]:
        handed.append((record.of, before, after))
        yield

    monkeypatch.setattr(loading.Record, "handed_over", handed_over)
    return handed


def test_the_files_of_a_switched_service_are_set_again_and_loaded(
    host: Host, handed: list[t.Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel holds what the service loaded from other files meanwhile."""
    left = sa(0x1009, destination="192.0.2.9")
    host.keys.write_text(render([sa()]))
    host.boot(policies=[OUT])
    unit, others = Path(Manager.path), str(host.folder / "others")
    Path(others).write_text("[]")
    unit.write_text(at_boot.switched(unit.read_text(), "/etc/other", others))
    host.sadb.apply([Operation(ADD, new, None) for new in (sa(), left)])
    host.spd.policies = list(read_policies([OUT], "", []))
    handed.clear()
    monkeypatch.setattr(
        loading.Record, "read", lambda record, *files: [left] if record.of == "SAs" and "/etc/other" in files else []
    )
    assert host.boot(state="query")["file"] == "/etc/other"
    assert host.boot(check=True, policies=[OUT])["changed"] and not Manager.asked and not handed
    assert host.boot(policies=[OUT], load=False)["changed"] and Manager.asked == ["reread"]
    assert handed == [("SAs", "/etc/other", str(host.keys)), ("policies", others, at_boot.POLICIES)]
    unit.write_text(at_boot.switched(unit.read_text(), "/etc/other", others))
    assert host.boot(policies=[OUT])["changed"] and Manager.asked == ["reread", "reload"]
    assert at_boot.says(unit.read_text()) == (str(host.keys), at_boot.POLICIES)
    assert not host.boot(policies=[OUT])["changed"] and not Manager.asked


def test_a_service_that_was_told_to_load_no_policies_loads_them_again(host: Host, handed: list[t.Any]) -> None:
    host.keys.write_text(render([sa()]))
    host.boot(policies=[OUT])
    installed = host.tree()
    unit = Path(Manager.path)
    for held, asked in (([OUT], ["reread"]), ([], ["reread", "reload"])):
        host.spd.policies = list(read_policies(held, "", []))
        host.sadb.put(sa())
        unit.write_text(at_boot.switched(unit.read_text(), str(host.keys), ""))
        assert host.boot(state="query")["policies_file"] == "" and host.boot(check=True, policies=[OUT])["changed"]
        handed.clear()
        done = host.boot(policies=[OUT])
        assert done["changed"] and done["files"] == [Manager.path] and Manager.asked == asked
        assert host.tree() == installed
        assert handed == [
            ("SAs", str(host.keys), str(host.keys)),
            ("policies", f"{host.keys} without policies", at_boot.POLICIES),
        ]


def test_a_run_after_one_that_was_killed_has_the_manager_read_the_service(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.keys.write_text(render([sa()]))
    host.boot(policies=[OUT])
    host.spd.policies = list(read_policies([OUT], "", []))
    monkeypatch.setattr(Manager, "behind", lambda self: True)
    assert host.boot(check=True, policies=[OUT])["changed"] and not Manager.asked
    # What it loads is not loaded either, unless the kernel has it already.
    done = host.boot(policies=[OUT])
    assert done["changed"] and done["files"] == [] and Manager.asked == ["reread", "reload"]
    host.sadb.put(sa())
    assert host.boot(policies=[OUT])["changed"] and Manager.asked == ["reread"]
    monkeypatch.setattr(Manager, "behind", lambda self: False)
    assert not host.boot(policies=[OUT])["changed"] and not Manager.asked


@pytest.mark.parametrize("text", [texts.SYSTEMD, texts.OPENRC, texts.SYSVINIT])
def test_the_service_accepts_reserved_spis_and_shared_keys_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    keys, log, program = tmp_path / "keys", tmp_path / "log", tmp_path / "ipseckey"
    keys.touch()
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >>{log}\n', encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setattr(texts, "COMMAND", str(program))
    service = texts.fill(text, str(keys), "", False).decode()
    if text is texts.SYSTEMD:
        script = "\n".join(line.split("=", 1)[1] for line in service.splitlines() if line.startswith("ExecStart="))
    else:
        words = "ebegin() { :; }\neend() { :; }\n"
        script = words + service + ("start" if text is texts.OPENRC else "")
    subprocess.run(["sh", "-c", script, "service", "start"], check=True)
    assert log.read_text(encoding="utf-8").split() == [
        *("-n", "--allow-reserved-spi", "--allow-shared-key", "--apply", str(keys)),
    ]


@pytest.mark.parametrize("text", [texts.OPENRC, texts.SYSVINIT])
@pytest.mark.parametrize("status", [0, 1])
def test_nothing_is_removed_by_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, status: int
) -> None:
    """OpenRC makes a stop and a start of it, and tells the script by RC_CMD. A stop that fails ends it."""
    keys, log, program = tmp_path / "keys", tmp_path / "log", tmp_path / "ipseckey"
    keys.touch()
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >>{log}\nexit {status}\n', encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setattr(texts, "COMMAND", str(program))
    words = 'ebegin() { :; }\neend() { return "$1"; }\n'
    script = words + texts.fill(text, str(keys), at_boot.POLICIES, True).decode()
    script += "stop && start" if text is texts.OPENRC else ""
    done = subprocess.run(["sh", "-c", script, "service", "restart"], check=False, env={"RC_CMD": "restart"})
    assert done.returncode == status
    lines = log.read_text(encoding="utf-8").splitlines()
    assert len(lines) == (2 if text is texts.OPENRC and not status else 1)
    assert all(f"--apply {keys} --policies {at_boot.POLICIES}" in line for line in lines)


@pytest.mark.parametrize("text", [texts.OPENRC, texts.SYSVINIT])
@pytest.mark.parametrize("policies_file", ["", "/etc/ipsec+policies.json"])
@pytest.mark.parametrize(
    ("record", "of", "removes"),
    [
        ("loaded", "/etc/keys", True),
        ("policies", "/etc/ipsec+policies.json", True),
        ("policies", "/etc/keys without policies", True),
        ("loaded", "/etc/keys2", False),
        ("loaded", "", False),
    ],
)
def test_what_was_loaded_is_removed_although_its_files_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, policies_file: str, record: str, of: str, removes: bool
) -> None:
    """And nothing is tried if only others loaded something, or if it was removed already."""
    log, program = tmp_path / "log", tmp_path / "ipseckey"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >>{log}\n', encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setattr(texts, "COMMAND", str(program))
    monkeypatch.setattr(loading.protected, "update", lambda path, made: Path(path).write_bytes(made(None)))
    loading.Record(str(tmp_path / record), "").write(of, [{}] if of else [])
    service = texts.fill(text, "/etc/keys", policies_file, False).decode().replace("/run/ipseckey", str(tmp_path))
    words = "ebegin() { :; }\neend() { :; }\n"
    script = words + service + ("stop" if text is texts.OPENRC else "")
    subprocess.run(["sh", "-c", script, "service", "stop"], check=True)
    removes = removes and (record == "loaded" or of == (policies_file or "/etc/keys without policies"))
    assert log.exists() == removes


class _LateManager(Manager):
    """A service manager that hangs at one request."""

    hangs_at = ""
    clock: Clock

    def _do(self, verb: str) -> None:
        super()._do(verb)
        if verb == self.hangs_at:
            self.clock.now += 100


@pytest.mark.parametrize(
    ("hangs_at", "said", "asked"),
    [
        ("", "nothing was changed", []),
        ("reread", "nothing was changed", ["reread", "reread"]),
        ("enable", "the service is installed, but nothing was loaded", ["reread", "enable"]),
    ],
)
def test_nothing_is_loaded_after_the_deadline(
    host: Host, monkeypatch: pytest.MonkeyPatch, hangs_at: str, said: str, asked: list[str]
) -> None:
    """A module that hangs changes nothing after the controller has given up on the host."""
    host.keys.write_text(render([sa()]))
    before = host.tree()
    monkeypatch.setitem(module.SERVICES, "systemd", _LateManager)
    monkeypatch.setattr(_LateManager, "clock", Clock(monkeypatch), raising=False)
    monkeypatch.setattr(_LateManager, "hangs_at", hangs_at)
    result = host.boot(deadline=1050.0 if hangs_at else 990.0)
    assert result["failed"] and "the deadline passed" in result["msg"] and said in result["msg"]
    assert Manager.asked == asked and "start" not in asked
    assert "active" not in Manager.there
    assert (host.tree() == before) == (hangs_at != "enable")


def test_nothing_is_removed_after_the_deadline(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.boot()
    before = host.tree()
    Clock(monkeypatch)
    assert "nothing was changed" in host.boot(state="absent", deadline=990.0)["msg"]
    assert host.tree() == before
    assert host.boot(state="absent", deadline=1010.0)["changed"]
