# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What operators can do through a real sudo with each right, and what they cannot, although they try."""

from __future__ import annotations

import ctypes
import multiprocessing
import pathlib
import re
import shlex
import shutil
import subprocess
import typing as t

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._module.boot import operators, services, texts

FILE = "/etc/inet/secret/ipseckeys"
POLICIES = "/etc/ipsecpolicies.json"
GROUP, UID, GID = "nogroup", 65534, 65534
CLONE_NEWNS, MS_PRIVATE, MS_REC, MS_BIND = 0x20000, 1 << 18, 1 << 14, 1 << 12
# In place of ipseckey: shows what it was given, and the variables that could change a program.
SHOWS = """#!/bin/sh
printf '%s\\n' "uid $(id -u)" "$@"
env | grep -E '^(EVIL|PYTHON|LD_|PATH=)'
"""
# In place of the programs of a service manager: the same without another program, and then one.
MANAGES = """#!/bin/sh
while read -r name uid rest; do [ "$name" != Uid: ] || printf '%s\\n' "uid $uid"; done </proc/self/status
printf '%s\\n' "$@"
/bin/echo another program ran
"""
SETTINGS = """Defaults !authenticate
Defaults setenv, !use_pty
root ALL = (ALL:ALL) ALL
@includedir /etc/sudoers.d
"""
USUAL = ("look", "load", "flush")
ONE = "spi 0x100 dst 192.0.2.1"

ALLOWED: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("look", ("dump", "dump esp", "dump ah", "status", "-v status", "--json status", "monitor", "pmonitor")),
    ("look", (f"-c {FILE}", f"--compare {FILE} --policies {POLICIES}", "--show-policies", "--json --show-policies")),
    ("load", (f"-f {FILE}", f"--apply {FILE} --policies {POLICIES}")),
    ("flush", ("flush", "flush esp", "flush ah", f"--remove {FILE} --policies {POLICIES}")),
    ("get", (f"get esp {ONE}", f"get ah {ONE} src 192.0.2.2", "get esp spi 256 dst6 2001:db8::1")),
    ("delete", (f"delete esp {ONE}", f"delete ah {ONE} src 192.0.2.2")),
    ("policies", ("--show-policies", "--json --show-policies", "--flush-policies", "--delete-policy 57")),
    ("policies", (f"--policies {POLICIES}", "--policies /root/policies", f"--compare {FILE} --policies /root/other")),
    ("keys", ("--show-keys dump", "--show-keys dump esp", f"--show-keys get esp {ONE}", "--show-keys -s -")),
    ("files", ("-f /root/keys", "-c /root/keys", "--apply /root/keys", "--compare /root/k", "--remove /root/k")),
    ("boot_file", ("--boot-file /etc/other", "--boot-file /etc/other --policies /etc/others")),
    ("boot_without_policies", ("--boot-file /etc/other --no-policies",)),
    ("save", ("-s /root/backup",)),
    ("prompt", ("",)),
    ("all", ("", "dump", "-f /x --allow-unsafe-file", "save esp /root/backup", "anything at all")),
)
# What somebody with a right may try beyond it.
REFUSED: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (
        USUAL,
        (
            *("", "dump --show-keys", "--show-keys dump", "dump esp ah", "save esp /etc/passwd"),
            *("-f /etc/shadow", "-f /tmp/mine", f"-f {FILE} --allow-unsafe-file", f"-f {FILE}x", f"-f {FILE}/../x"),
            *(f"-f{FILE}", f"--apply {FILE} --rotation-due /etc/passwd", f"--apply {FILE} --policies /tmp/mine"),
            *("-s -", "-s /etc/passwd", f"-c {FILE} -s /etc/passwd", f"get esp {ONE}", f"delete esp {ONE}"),
            *("--flush-policies", "--delete-policy 57", f"--policies {POLICIES}", "--show-policies --policies /x"),
            *("status /etc/shadow", "--man", "*", "dump*", "'dump\\nesp'", "-p dump", "DUMP"),
        ),
    ),
    (
        ("get", "delete"),
        (
            *(
                f"get esp {ONE} --show-keys",
                f"--show-keys get esp {ONE}",
                "get esp",
                f"get all {ONE}",
                f"getx esp {ONE}",
            ),
            *(f"get esp {ONE} encrkey 00", f"delete esp {ONE} -s /etc/passwd", f"'get esp {ONE}\\n--show-keys'"),
            *(f"delete-pair esp {ONE}", "delete esp spi 1 dst partym", "flush", f"get esp {ONE} src 192.0.2.2 -v"),
        ),
    ),
    (
        ("policies",),
        (
            *("--policies relative", "--policies -", "--policies", "--policies /x --allow-unsafe-file"),
            *("--policies '/x --allow-unsafe-file'", "--policies /x --policies /y", "dump", "flush"),
            *(
                "--delete-policy",
                "--delete-policy all",
                "--delete-policy '1 --allow-unsafe-file'",
                "--delete-policy -1",
            ),
            *(
                f"--apply {FILE} --policies /x",
                f"--remove {FILE} --policies /x",
                f"--compare {FILE} --policies '/x -v'",
            ),
            *("--compare /etc/shadow --policies /x", "--compare /etc/inet/secret_ipseckeys --policies /x"),
            *("--flush-policies -s /etc/passwd", "--show-policies -s /etc/passwd", "'--policies\n/x'"),
        ),
    ),
    (
        ("keys",),
        ("--show-keys -s /etc/passwd", "--show-keys", f"--show-keys delete esp {ONE}", "--show-keys save esp /x"),
    ),
    (
        ("files",),
        (
            *("-f relative", "-f -", "-c - --text-only", "-s /root/x", "-f /root/keys --allow-unsafe-file"),
            *("'-f /root/keys --allow-unsafe-file'", "-f '/root/keys --show-keys'", "-f '/a\\n/b'", "-v -f /root/keys"),
            *("--apply /a --rotation-due /etc/passwd", "--apply /a --policies /b", "-x /root/keys", "-cf /root/keys"),
        ),
    ),
    (
        ("boot_file",),
        (
            *("--boot-file", "--boot-file relative", "--boot-file -", "--boot-file /a --allow-unsafe-file", "dump"),
            *("'--boot-file /a --allow-unsafe-file'", "--boot-file '/a --allow-unsafe-file'", "-v --boot-file /a"),
            *("--boot-file /a /b", "--boot-file /a --policies", "--boot-file /a --policies b", "--policies /b"),
            *("--boot-file /a --policies /b -v", "--boot-file /a --policies '/b -v'", "--boot-file '/a\\n/b'"),
            *("--boot-file /a --policies /b --policies /c", "--policies /b --boot-file /a", "--boot-file=/a"),
            *("--boot-file /a --rotation-due /etc/passwd", "--boot-file /a -s /etc/passwd", "--apply /a"),
            *("--boot-file /a --no-policies", "--no-policies --boot-file /a", "'--boot-file /a --no-policies'"),
            *(
                "--boot-file '/a --no-policies'",
                "--boot-file /a '--policies /b --no-policies'",
                "--boot-file /a --no-p",
            ),
            *("--boot-file /a --policies /b --no-policies", "--boot-file /a --policies ''", "--boot-file /a ''"),
            *(
                "--boot-file /a --policies=/b",
                "--boot-file /a --policies --no-policies",
                "--boot-file '/a\t--no-policies'",
            ),
            "--boot-file '/a\\n--no-policies'",
        ),
    ),
    (
        ("boot_without_policies",),
        (
            *("--boot-file", "--boot-file /a", "--no-policies", "--boot-file relative --no-policies", "dump"),
            *("--boot-file /a --policies /b", "--no-policies --boot-file /a", "--boot-file /a --no-policies -v"),
            *("--boot-file /a --no-policies --policies /b", "--boot-file /a --policies /b --no-policies"),
            *("--boot-file /a --no-policies --allow-unsafe-file", "--boot-file '/a --allow-unsafe-file' --no-policies"),
            *("--boot-file /a --no-policies --rotation-due /etc/passwd", "--apply /a --no-policies", "--policies /b"),
            *(
                "--boot-file '/a\\n/b' --no-policies",
                "--boot-file /a '' --no-policies",
                "--boot-file /a --no-policiesx",
            ),
        ),
    ),
    (("save",), ("-s -", "-s", "-s relative", "-s /a --show-keys", "-s '/a --show-keys'", "save esp /a", "-f /a")),
    (("prompt",), ("--show-keys", "-v", "dump", "-f /a", "\"''\"", "help")),
)

# With the right to manage the service, for each service manager: what it allows, and what somebody may try beyond it.
# Words joined to one with blanks are the same to sudo, but not to these programs, which know no such verb.
UNIT, SCRIPT = "ipseckeys.service", "/etc/init.d/ipseckeys"
MANAGED: t.Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "systemd": (
        (
            *(f"systemctl {verb} {UNIT}" for verb in ("start", "stop", "restart", "reload", "reset-failed")),
            *(f"systemctl enable {UNIT}", f"systemctl disable {UNIT}", f"systemctl --no-pager status {UNIT}"),
        ),
        (
            *("systemctl", "systemctl start", "systemctl start sshd.service", f"systemctl start {UNIT} sshd.service"),
            *(f"systemctl start sshd.service {UNIT}", f"systemctl start {UNIT}x", f"systemctl start ./{UNIT}"),
            *("systemctl start 'ipseckeys*'", "systemctl start ipseckeys@x.service"),
            *(f"systemctl start '{UNIT}\\nsshd.service'", f"systemctl -H host start {UNIT}"),
            *(
                f"systemctl {verb} {UNIT}"
                for verb in ("edit", "mask", "unmask", "kill", "cat", "show", "revert", "link")
            ),
            *(f"systemctl {verb} {UNIT}" for verb in ("status", "START", "--now enable", "--force disable", "isolate")),
            *(
                f"systemctl enable {UNIT} --now",
                f"systemctl enable /tmp/{UNIT}",
                f"systemctl --root=/tmp enable {UNIT}",
            ),
            *("systemctl daemon-reload", "systemctl reboot", f"systemctl set-property {UNIT} User=x"),
            *(
                "systemctl --no-pager status",
                "systemctl --no-pager status sshd.service",
                f"systemctl status --no-pager {UNIT}",
            ),
            *(f"systemctl --no-pager status {UNIT} sshd.service", f"systemctl --no-pager edit {UNIT}"),
            *(
                f"/usr/bin/env systemctl start {UNIT}",
                f"journalctl -u {UNIT}",
                f"{SCRIPT} start",
                "rc-service ipseckeys stop",
            ),
            "ipseckey flush",
        ),
    ),
    "openrc": (
        (
            *(f"rc-service ipseckeys {verb}" for verb in ("start", "stop", "restart", "reload", "zap", "status")),
            *("rc-update add ipseckeys boot", "rc-update del ipseckeys boot"),
        ),
        (
            *("rc-service", "rc-service ipseckeys", "rc-service sshd start", "rc-service ipseckeys start stop"),
            *("rc-service ipseckeys start --nodeps", "rc-service -i ipseckeys start", "rc-service ipseckeysx start"),
            *("rc-service ipseckeys describe", "rc-service ../../tmp/ipseckeys start"),
            *("rc-update add sshd boot", "rc-update add ipseckeys default", "rc-update add ipseckeys boot default"),
            *(
                "rc-update -a del ipseckeys",
                "rc-update del ipseckeys",
                "rc-update",
                "rc-update add ipseckeys sshd boot",
            ),
            *(f"{SCRIPT} start", f"systemctl start {UNIT}", "ipseckey flush"),
        ),
    ),
    "sysvinit": (
        (
            *(f"{SCRIPT} {verb}" for verb in ("start", "stop", "restart", "reload", "status")),
            *("update-rc.d ipseckeys defaults", "update-rc.d -f ipseckeys remove"),
        ),
        (
            *(SCRIPT, f"{SCRIPT} start stop", f"{SCRIPT} other", f"{SCRIPT} 'start stop'", f"{SCRIPT}x start"),
            *("/etc/init.d/other start", "/etc/init.d/../init.d/other start", "update-rc.d other defaults"),
            *("update-rc.d", "update-rc.d ipseckeys", "update-rc.d ipseckeys disable", "update-rc.d -f other remove"),
            *("update-rc.d ipseckeys defaults other", "update-rc.d -f ipseckeys other remove", "ipseckey flush"),
        ),
    ),
}


@pytest.fixture(scope="module", name="sbin")
def make_sbin(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder: pathlib.Path = tmp_path_factory.mktemp("sbin")
    folder.chmod(0o755)
    for name in ("ipseckey", "systemctl", "rc-service", "rc-update", "update-rc.d", "script", "journalctl"):
        (folder / name).write_text(SHOWS if name == "ipseckey" else MANAGES, encoding="utf-8")
        (folder / name).chmod(0o755)
    return folder


class Tried(t.NamedTuple):
    status: int
    output: str


def attempts(
    sbin: pathlib.Path,
    rights: t.Sequence[str],
    words: t.Sequence[t.Sequence[str]],
    group: str = GROUP,
    manager: str = "systemd",
) -> list[Tried]:
    """What comes of each command of an operator if a group has these rights, in a mount namespace of its own. A
    command that the first right allows runs before them, if it is the operator's group: sudo works.
    """
    allowed = of(next(rows[0] for name, rows in ALLOWED if name == rights[0]))
    queue: t.Any = multiprocessing.get_context("fork").SimpleQueue()
    arguments = (group, FILE, True, rights, services.SERVICES[manager])
    child = multiprocessing.get_context("fork").Process(
        target=_try_all, args=(sbin, arguments, [allowed, *words], queue)
    )
    child.start()
    child.join(300)
    assert child.exitcode == 0
    first, *found = t.cast("list[Tried]", queue.get())
    assert ("uid 0" in first.output) == (group == GROUP), first.output
    return found


def _try_all(sbin: pathlib.Path, arguments: t.Any, words: t.Sequence[t.Sequence[str]], queue: t.Any) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.unshare(CLONE_NEWNS) == 0
    assert libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None) == 0
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "none", "/etc/sudoers.d"], check=True)
    folder = pathlib.Path(texts.COMMAND).parent
    subprocess.run(["mount", "--bind", sbin, folder], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "none", "/etc/init.d"], check=True)
    for name in ("ipseckeys", "ipseckeysx", "other"):
        shutil.copy(sbin / "script", f"/etc/init.d/{name}")
    services._SYSTEM = (str(folder),)
    (sbin / "sudoers").write_text(SETTINGS, encoding="ascii")
    (sbin / "sudoers").chmod(0o440)
    subprocess.run(["mount", "--bind", sbin / "sudoers", "/etc/sudoers"], check=True)
    granted = pathlib.Path(operators.PATH)
    granted.write_text(operators.text(*arguments), encoding="ascii")
    granted.chmod(0o440)
    subprocess.run(["visudo", "-c", "-q"], check=True)
    queue.put([_try(row) for row in words])


def _try(words: t.Sequence[str]) -> Tried:
    command = ["setpriv", f"--reuid={UID}", f"--regid={GID}", "--clear-groups", "sudo", "-n", *words]
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": "/tmp", "LD_PRELOAD": "", "EVIL": "1"}
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        check=False,
    )
    return Tried(done.returncode, done.stdout.decode("utf-8", "replace"))


def of(text: str) -> list[str]:
    """A command in these tables, with line ends written as \\n."""
    return [texts.COMMAND, *(word.replace("\\n", "\n") for word in shlex.split(text))]


@pytest.mark.parametrize("name", [name for name in operators.RIGHTS if name != "service"])
def test_a_right_allows_its_commands_as_root(sbin: pathlib.Path, name: str) -> None:
    rows = [text for right, several in ALLOWED if right == name for text in several]
    assert rows
    for text, done in zip(rows, attempts(sbin, [name], list(map(of, rows)))):
        assert done.status == 0 or not of(text)[1:], (text, done.output)
        assert done.output.splitlines()[: 1 + len(of(text)[1:])] == ["uid 0", *of(text)[1:]], text
        assert "EVIL" not in done.output and "PYTHON" not in done.output and "LD_" not in done.output


@pytest.mark.parametrize(("rights", "rows"), REFUSED, ids=lambda value: "-".join(value) if len(value) < 4 else "")
def test_a_right_allows_nothing_else(sbin: pathlib.Path, rights: tuple[str, ...], rows: tuple[str, ...]) -> None:
    for text, done in zip(rows, attempts(sbin, rights, list(map(of, rows)))):
        assert done.status != 0 and "uid 0" not in done.output, text
        assert "not allowed" in done.output or "password" in done.output or "sorry" in done.output.lower(), done.output


def managing(text: str) -> list[str]:
    """A command in the table of service managers."""
    name, *words = shlex.split(text)
    folder = pathlib.Path(texts.COMMAND).parent
    return [str(folder / name), *(word.replace("\\n", "\n") for word in words)]


@pytest.mark.parametrize("manager", services.SERVICES)
def test_the_service_can_be_managed_and_its_status_starts_no_program(sbin: pathlib.Path, manager: str) -> None:
    rows = MANAGED[manager][0]
    found = attempts(sbin, ["look", "service"], list(map(managing, rows)), manager=manager)
    for text, done in zip(rows, found):
        words = managing(text)[1:]
        assert done.output.splitlines()[: 1 + len(words)] == ["uid 0", *words], (text, done.output)
        assert ("another program ran" in done.output) == ("--no-pager" not in words), (text, done.output)


@pytest.mark.parametrize("manager", services.SERVICES)
def test_nothing_else_of_the_service_manager_is_allowed(sbin: pathlib.Path, manager: str) -> None:
    rows = [
        *map(managing, MANAGED[manager][1]),
        ["/usr/bin/systemctl", "start", UNIT],
        ["EVIL=1", *managing(MANAGED[manager][0][0])],
    ]
    for words, done in zip(rows, attempts(sbin, ["look", "service"], rows, manager=manager)):
        assert done.status != 0 and "uid 0" not in done.output, (words, done.output)
        assert "not allowed" in done.output or "password" in done.output or "sorry" in done.output.lower(), done.output


@pytest.mark.parametrize("manager", services.SERVICES)
def test_the_service_is_not_managed_without_the_right(sbin: pathlib.Path, manager: str) -> None:
    others = [name for name in operators.RIGHTS if name != "service"]
    rows = list(map(managing, MANAGED[manager][0]))
    for words, done in zip(rows, attempts(sbin, others, rows, manager=manager)):
        assert done.status != 0 and "uid 0" not in done.output, words


def test_no_right_allows_another_program_or_an_environment(sbin: pathlib.Path) -> None:
    every = [name for name in operators.RIGHTS if name != "all"]
    tries = (
        *(
            ["-E", texts.COMMAND, "dump"],
            ["EVIL=1", texts.COMMAND, "dump"],
            ["--preserve-env=EVIL", texts.COMMAND, "dump"],
        ),
        *(
            ["-u", "daemon", texts.COMMAND, "dump"],
            ["sh"],
            ["-s"],
            ["-i"],
            ["-e", "/etc/passwd"],
            ["/tmp/ipseckey", "dump"],
        ),
        *(["ipseckey-other", "dump"], ["/usr/local/sbin/../sbin/script"], ["-g", "daemon", texts.COMMAND, "dump"]),
    )
    for words, done in zip(tries, attempts(sbin, every, tries)):
        assert done.status != 0 and "uid 0" not in done.output, (words, done.output)


def test_all_allows_ipseckey_only(sbin: pathlib.Path) -> None:
    for done in attempts(sbin, ["all"], [["sh", "-c", "id -u"], ["EVIL=1", texts.COMMAND], ["-e", "/etc/passwd"]]):
        assert done.status != 0 and not re.search("uid 0|^0$", done.output, re.M)


def test_nothing_is_allowed_to_others(sbin: pathlib.Path) -> None:
    (done,) = attempts(sbin, ["all"], [[texts.COMMAND, "dump"]], group="daemon")
    assert done.status != 0 and "uid 0" not in done.output
