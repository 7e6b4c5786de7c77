# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every finding has commands to copy: they exist, they are about the finding, and nothing that a host says acts in
them.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import shlex
import string
import subprocess
import typing as t

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible.cli.adhoc import AdHocCLI
from ansible.cli.playbook import PlaybookCLI

from ansible_collections.ipsec.manual.plugins.module_utils._core.audit.login import CLEAR_TEXT_SERVERS
from ansible_collections.ipsec.manual.plugins.module_utils._core.audit.ways import PORTS
from ansible_collections.ipsec.manual.plugins.module_utils._core.files import protected
from ansible_collections.ipsec.manual.plugins.module_utils._core.program.options import read_options
from ansible_collections.ipsec.manual.plugins.plugin_utils._audit.counters import CAUSES
from ansible_collections.ipsec.manual.plugins.plugin_utils._audit.findings import Finding, completed, finding
from ansible_collections.ipsec.manual.plugins.plugin_utils._audit.kinds import KINDS
from ansible_collections.ipsec.manual.plugins.plugin_utils._audit.remedies import (
    FOREIGN,
    KEYSTORE,
    OF_OTHERS,
    OURS,
    REMEDIES,
    VARIANTS,
    CommandLine,
    Remedy,
    ShellCommand,
)
from ansible_collections.ipsec.manual.plugins.plugin_utils._audit.run import CONFIGURED, command_line
from ansible_collections.ipsec.manual.plugins.plugin_utils._audit.ways import goes_over_network
from ansible_collections.ipsec.manual.tests.docs.findings import TOP

FILE = "/etc/inet/secret/ipseckeys"
WORDS = dict.fromkeys(("age", "limit", "used", "what", "mine", "theirs"), "1")
# What occurs in place and detail of these kinds; a path for the others.
PLACES = {
    "login-clear": "telnet",
    "server-clear": "rsh",
    "rotation-unfinished": "pair",
    **dict.fromkeys(("counter-rose", "counter-expected"), "XfrmOfTomorrow"),
}
DETAILS = {
    "host-key-unchecked": "192.0.2.1",
    "counter-mode": "aes-gcm",
    "algorithm-must-not": "hmac-md5",
    "file-newer": OURS,
}
# How texts of a host may look.
NASTY = (
    *("$(reboot)", "`reboot`", "; reboot #", "' ; reboot ; '", '" ; reboot ; "', "\n reboot", "\x1b]52;c;\x07", "-rf"),
    *("{{ lookup('pipe', 'reboot') }}", "{host.__class__}", "\u202egnp.x", "a" * 400, "|reboot", ">/etc/passwd", "!!"),
)
PROGRAMS = frozenset(
    [
        *("ansible", "ansible-playbook", "cat", "chmod", "chown", "dmesg", "echo", "/etc/init.d/ipseckeys", "find"),
        *(
            "findmnt",
            "getent",
            "grep",
            "ip",
            "ipseckey",
            "journalctl",
            "ls",
            "install",
            "ln",
            "mount",
            "mv",
            "namei",
            "pkill",
            "rc-service",
            "readlink",
        ),
        *(
            "rm",
            "sed",
            "setfacl",
            "ss",
            "ssh-keygen",
            "ssh-keyscan",
            "stat",
            "sudo",
            "svcadm",
            "svcs",
            "swapoff",
            "swapon",
        ),
        *("sysctl", "systemctl", "timedatectl", "update-inetd", "vi"),
    ]
)
OPERATORS = (";", "|", "||", "&&")
# Words of findings that have a remedy of their own, as the core and the kernel write them.
OF_VARIANTS: dict[str, list[dict[str, str]]] = {
    "file-path": [
        {"detail": "it is a symbolic link"},
        {"detail": "it is not a regular file"},
        {"detail": "the directory belongs to user 1000, not to root"},
        {"detail": "users other than root can write in the directory, mode 0775"},
    ],
    "file-newer": [{"detail": OF_OTHERS}, {"detail": f"{OURS} and {OF_OTHERS}"}],
    "counter-rose": [{"place": cause.counters[0]} for cause in CAUSES if not cause.is_expected],
    "counter-expected": [{"place": cause.counters[-1]} for cause in CAUSES if cause.is_expected],
}
EVERY: list[tuple[str, dict[str, str]]] = [
    *((kind, {}) for kind in KINDS),
    *((kind, words) for kind, several in OF_VARIANTS.items() for words in several),
]
ROWS = [*REMEDIES.values(), FOREIGN, *(row.remedy for several in VARIANTS.values() for row in several)]
# Placeholders that depend on what the host says.
FROM_HOSTS = frozenset(["place", "detail", "parent", "servers", "service", "listening", "service_log", "service_start"])


def names_in(row: Remedy) -> set[str]:
    """The placeholders of the commands."""
    return {str(name) for text in row.commands for dummy, name, *dummy in string.Formatter().parse(text)}


def made(kind: str, **words: t.Any) -> Finding:
    """A finding of the kind as an audit makes it, without what its host has control of unless ``words`` say so."""
    given = {"place": PLACES.get(kind, FILE), "detail": DETAILS.get(kind, "detail"), "connection": "backbone"}
    return completed(finding(kind, "enigma", "pair", **{**given, **WORDS, "file": FILE, **words}), CommandLine())


def commands(found: Finding) -> list[str]:
    return [row.command for row in found.commands]


def simple_commands(command: str) -> list[list[str]]:
    """The words of each simple command, as a shell reads them."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars=";|&")
    lexer.whitespace_split = True
    lexer.commenters = ""
    found: list[list[str]] = [[]]
    for word in lexer:
        if word in OPERATORS:
            found.append([])
        else:
            found[-1].append(word)
    return found


def variables() -> set[str]:
    """The variables of all roles."""
    found: set[str] = {"ansible_connection", "ansible_host_key_checking"}
    for path in TOP.glob("roles/*/meta/argument_specs.yml"):
        specs = yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"]
        found.update(name for spec in specs.values() for name in spec["options"])
    return found


def check_ansible(words: list[str], named: set[str]) -> None:
    """The command line is one that Ansible and the collection accept."""
    cli: t.Any = (PlaybookCLI if words[0] == "ansible-playbook" else AdHocCLI)(words)
    cli.init_parser()
    options = cli.parser.parse_args(words[1:])
    if words[0] == "ansible-playbook":
        (playbook,) = options.args
        assert playbook.startswith("ipsec.manual.")
        assert (TOP / "playbooks" / f"{playbook.rpartition('.')[2]}.yml").is_file(), playbook
    else:
        name = options.module_name
        assert name == "ansible.builtin.ping" or (TOP / "plugins" / "modules" / f"{name.split('.')[2]}.py").is_file()
    for text in options.extra_vars:
        given = json.loads(text) if text.startswith("{") else dict([text.split("=", 1)])
        assert set(given) <= named, text


@pytest.mark.parametrize(("kind", "words"), EVERY)
def test_every_kind_has_words_and_a_command(kind: str, words: dict[str, str]) -> None:
    found = made(kind, **words)
    assert REMEDIES[kind].words == REMEDIES[kind].words.strip(" .:") and found.fix
    assert commands(found) and all(command.strip() == command != "" for command in commands(found))
    assert not re.search(r"\{\w*\}", found.fix + " ".join(commands(found)))


def test_there_is_no_remedy_for_something_else() -> None:
    assert set(REMEDIES) == set(KINDS) and set(VARIANTS) == set(OF_VARIANTS) <= set(KINDS)
    for kind, several in OF_VARIANTS.items():
        fixes = {made(kind, **words).fix for words in several}
        assert len(fixes) == len(VARIANTS[kind]) and made(kind).fix not in fixes


# What shows, opens an editor, runs the audit again or asks the host.
SHOWING = re.compile(
    r"ansible .*(?:ipsec_sa_info|ipseckey_command|builtin\.ping|--check)|cat /proc|dmesg|find (?!.*-delete)|"
    r"getent [^|]*$|ip(?:seckey -n (?:-c|--compare))? |journalctl|ls |namei|ss |ssh-key|svcs"
)
# Words about what cannot or need not be fixed, and the kinds that may have them.
SHOWN_ONLY = re.compile("^(?:nothing needs fixing|no command fixes this)\\b")
SOMETIMES_SHOWN_ONLY = {"others-sas", "others-policies", "counter-rose", "counter-expected"}


@pytest.mark.parametrize(("kind", "words"), EVERY)
def test_a_command_fixes_it_or_nothing_needs_fixing(kind: str, words: dict[str, str]) -> None:
    found = made(kind, **words)
    fixing = [command for command in commands(found) if not SHOWING.match(command)]
    shown_only = kind in SOMETIMES_SHOWN_ONLY and SHOWN_ONLY.search(found.fix) is not None
    assert bool(fixing) != shown_only, found


@pytest.mark.parametrize(("kind", "words"), EVERY)
@pytest.mark.parametrize("connection", ["backbone", ""])
def test_the_commands_exist(kind: str, words: dict[str, str], connection: str) -> None:
    named = variables()
    for command in commands(made(kind, connection=connection, **words)):
        for words in simple_commands(command):
            assert words[0] in PROGRAMS, command
            if words[0].startswith("ansible"):
                check_ansible(words, named)
            elif words[0] == "ipseckey":
                read_options(words[1:])
        subprocess.run(["sh", "-n", "-c", command], check=True)


@pytest.mark.parametrize("name", sorted({word for row in ROWS for word in re.findall(r"\w+_\w+", row.words)}))
def test_variables_and_fields_that_words_name_exist(name: str) -> None:
    pages = (TOP / "docs" / "docsite" / "rst" / "connections.rst").read_text(encoding="utf-8")
    ansible = {"ipsec_connections", "ansible_connection", "ansible_host", "host_key_checking", "known_hosts"}
    assert name in variables() | ansible or f"``{name}``" in pages or name in ("xfrm_proc",)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.words[:30])
def test_nothing_that_a_host_says_is_in_a_command_for_ansible(row: Remedy) -> None:
    for template in row.commands:
        if template.startswith("ansible"):
            assert not names_in(Remedy("", (template,))) & FROM_HOSTS, template


@pytest.fixture(name="shell")
def make_shell(tmp_path: pathlib.Path) -> t.Callable[[str], list[list[str]]]:
    """Runs a command in a shell that has only programs that note what they were called with. Returns that."""
    programs, notes, folder = (tmp_path / name for name in ("programs", "notes", "folder"))
    for path in (programs, folder):
        path.mkdir()
    for name in (*PROGRAMS, "reboot"):
        if "/" not in name:
            text = f'#!/bin/sh\n{{ printf "%s\\0" "${{0##*/}}" "$@"; printf "\\n\\0"; }} >>{notes}\n'
            (programs / name).write_text(text, encoding="utf-8")
            (programs / name).chmod(0o755)

    def run(command: str) -> list[list[str]]:
        notes.write_bytes(b"")
        subprocess.run(["/bin/sh", "-c", command], check=True, cwd=folder, env={"PATH": str(programs)}, timeout=30)
        rows = notes.read_text(encoding="utf-8").split("\n\0")[:-1]
        return [row.split("\0")[:-1] for row in rows]

    return run


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        *((name, {}) for name, row in REMEDIES.items() if FROM_HOSTS & names_in(row)),
        *(("file-path", words) for words in OF_VARIANTS["file-path"]),
    ],
)
def test_what_a_host_says_never_acts(
    kind: str, words: dict[str, str], shell: t.Callable[[str], list[list[str]]]
) -> None:
    """Every program gets the place as one word, exactly, and nothing else is run."""
    for nasty in NASTY:
        for place in (f"/srv/{nasty}", f"/srv/{nasty}/x", nasty):
            found = made(kind, place=place, **{"detail": nasty, "manager": nasty, **words})
            for command in (row.command for row in found.commands if row.host):
                calls = shell(command)
                target = f'"$(readlink -f -- {shlex.quote(place)})"'
                known = simple_commands(command.replace(target, "target"))
                assert len(calls) == len(known) + command.count(target)
                assert all(call[0] in PROGRAMS for call in calls)
                assert not (words or "{place}" in "".join(REMEDIES[kind].commands)) or any(
                    word in (place, "/", "/srv", "--show") for call in calls for word in call
                )


@settings(max_examples=200, deadline=None)
@given(st.text(min_size=1, max_size=320))
def test_a_name_is_copied_exactly_or_not_at_all(name: str) -> None:
    place = f"/{name}"
    rows = [row.command for row in made("file-copy", place=place).commands if row.host]
    words = simple_commands(rows[-1])[0]
    assert words[-1] == place or words[:2] == ["ls", "-lab"]
    if len(name) > 300 or not name.isprintable():
        assert words[:2] == ["ls", "-lab"] and "cannot be copied" in made("file-copy", place=place).fix


@pytest.fixture(name="in_folder")
def make_in_folder(tmp_path: pathlib.Path) -> t.Callable[..., str]:
    """Runs a command in a shell in which the whole file system is a folder, and returns its output."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "stat").write_text(f'#!/bin/sh\n[ -e "$4" ] && echo {tmp_path}\n', encoding="utf-8")
    (programs / "stat").chmod(0o755)

    def run(command: str, check: bool = True, **environment: str) -> str:
        path = f"{programs}:{os.environ['PATH']}"
        done = subprocess.run(
            ["sh", "-c", command],
            check=check,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            env={**os.environ, "PATH": path, **environment},
        )
        return done.stdout

    return run


@pytest.mark.parametrize("name", ["keys", "keys [old]*?", "it's \\ $(reboot)"])
def test_other_names_of_a_file_are_removed_and_itself_is_not(
    tmp_path: pathlib.Path, name: str, in_folder: t.Callable[..., str]
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    file, other, stranger = folder / name, folder / "other", folder / "keys oldX"
    for path in (file, stranger):
        path.write_text("key", encoding="utf-8")
    os.link(file, other)
    show, renew, remove, dummy = commands(made("file-links", file=str(file)))
    assert sorted(in_folder(show).splitlines()) == sorted([str(file), str(other)])
    in_folder(renew)
    assert (
        file.read_text(encoding="utf-8") == "key" and not file.samefile(other) and file.stat().st_mode & 0o777 == 0o600
    )
    in_folder(remove)
    assert sorted(folder.iterdir()) == sorted([file, stranger]) and file.stat().st_nlink == 1


def test_a_file_that_could_not_be_written_anew_keeps_its_names(
    tmp_path: pathlib.Path, in_folder: t.Callable[..., str]
) -> None:
    """As where its folder is mounted a second time: whatever is the same file stays."""
    file, other = tmp_path / "keys", tmp_path / "other"
    file.write_text("key", encoding="utf-8")
    os.link(file, other)
    (tmp_path / "programs" / "install").write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    (tmp_path / "programs" / "install").chmod(0o755)
    for command in commands(made("file-links", file=str(file)))[:3]:
        in_folder(command, check=False)
    assert file.read_text(encoding="utf-8") == "key" and other.exists()


def test_a_link_is_removed_with_the_file_that_it_points_to(
    tmp_path: pathlib.Path, in_folder: t.Callable[..., str]
) -> None:
    folder = tmp_path / "it's a folder"
    folder.mkdir()
    target, middle, link = folder / "keys", folder / "middle", folder / "link"
    target.write_text("key", encoding="utf-8")
    middle.symlink_to(target)
    link.symlink_to(middle)
    show, *remove = commands(made("file-path", place=str(link), detail="it is a symbolic link"))[:-1]
    assert str(target) in in_folder(show)
    for command in remove:
        in_folder(f"echo y | {command}")
    assert sorted(folder.iterdir()) == [middle]


@pytest.mark.parametrize("name", ["enigma", "enigma.example"])
def test_a_name_that_the_controller_knows_is_not_looked_up(
    name: str, in_folder: t.Callable[..., str], tmp_path: pathlib.Path
) -> None:
    """What is written is a line of /etc/hosts after which no name service decides, also where the name service
    answers with a full name.
    """
    getent = "192.0.2.1       STREAM enigma.example\n192.0.2.1       DGRAM  \n192.0.2.1       RAW    \n"
    for program, text in (("getent", f"printf '{getent}'"), ("sudo", f"cat >{tmp_path}/hosts")):
        (tmp_path / "programs" / program).write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        (tmp_path / "programs" / program).chmod(0o755)
    dummy, show, add = commands(made("name-resolved", detail=name))
    assert "192.0.2.1 " in in_folder(show)
    in_folder(add)
    hosts = (tmp_path / "hosts").read_text(encoding="utf-8")
    assert hosts == f"192.0.2.1 {name}\n"
    assert goes_over_network(name, "", "hosts: files dns") and not goes_over_network(name, hosts, "hosts: files dns")


def test_the_key_of_a_host_is_asked_for_at_its_port() -> None:
    for port, words in (("", "-t"), ("22", "-t"), ("2222", "-p 2222 -t")):
        scan, *dummy = commands(made("host-key-unchecked", port=port))
        assert scan.startswith(f"ssh-keyscan {words} ed25519 -- 192.0.2.1 ")


def test_a_file_is_checked_without_the_command_on_its_host() -> None:
    for kind in ("file-invalid", "file-names"):
        check, *dummy = commands(made(kind))
        assert check.startswith("ansible enigma ") and check.endswith("--check")
    for detail in (OF_OTHERS, f"{OURS} and {OF_OTHERS}"):
        every = commands(made("file-newer", detail=detail))
        assert "ipsec.manual.ipseckey_command" in every[-3] and every[-1] == f"ipseckey -n --apply {FILE}"


def test_words_of_the_core_choose_their_remedy(tmp_path: pathlib.Path) -> None:
    """The messages about directories are those by which their remedy is found."""
    found = os.stat_result((0o040775, 0, 0, 2, 1000, 0, 0, 0, 0, 0))
    messages = [problem.message for problem in protected._owner_problems(found, "/srv")]
    assert len(messages) == 2 and {
        made("file-path", place="/srv", detail=text).commands[0].command for text in messages
    } == {"chown root -- /srv"}
    (shared,) = protected._owner_problems(os.stat_result((0o041777, 0, 0, 2, 0, 0, 0, 0, 0, 0)), "/tmp")
    assert not any("/tmp" in command for command in commands(made("file-path", place="/tmp", detail=shared.message)))


def test_commands_are_for_the_host_and_the_connection_of_the_finding() -> None:
    found = made("file-mode")
    assert found.commands == (
        ShellCommand("enigma", f"chmod 600 {FILE}"),
        ShellCommand(
            "",
            "ansible-playbook --ask-vault-password ipsec.manual.rotate -e rotate_only=enigma"
            f" -e rotate_keystore={KEYSTORE}",
        ),
    )
    assert KEYSTORE in found.fix
    assert "rotate_only=backbone" in commands(made("key-age"))[0]


@pytest.mark.parametrize("kind", [name for name, row in REMEDIES.items() if "{only}" in "".join(row.commands)])
def test_sas_of_no_connection_get_no_new_keys(kind: str) -> None:
    """An empty list would mean every connection."""
    assert commands(made(kind, connection="")) == ["ansible enigma -b -m ipsec.manual.ipsec_sa_info"]


def test_a_connection_of_any_name_stays_a_text() -> None:
    for name in ("no", "1.0", "null"):
        assert f"rotate_only={name}" in shlex.split(commands(made("key-age", connection=name))[0])


@pytest.mark.parametrize(
    ("algorithm", "fields"),
    [
        ("3des-cbc", {"encryption_algorithm: aes-cbc"}),
        ("hmac-md5", {"authentication_algorithm: hmac-sha256"}),
        ("aes-gcm", {"encryption_algorithm: aes-cbc", "authentication_algorithm: hmac-sha256"}),
    ],
)
def test_what_to_write_for_an_algorithm_depends_on_its_kind(algorithm: str, fields: set[str]) -> None:
    both = {"encryption_algorithm: aes-cbc", "authentication_algorithm: hmac-sha256"}
    text = made("algorithm-must-not", detail=algorithm).fix
    assert {field for field in both if field in text} == fields and "backbone" in text


@pytest.mark.parametrize("server", sorted(CLEAR_TEXT_SERVERS))
def test_a_login_is_ended_by_its_server(server: str) -> None:
    end, show, *stop = commands(made("login-clear", place="joe", detail=f"{server}, from evil.example"))
    pattern = shlex.split(end)[-1]
    assert end.startswith("pkill -x ") and re.fullmatch(pattern, server) and not re.fullmatch(pattern, "sshd")
    assert re.search(r":(23|51[234])'", show) and len(stop) == 2


@pytest.mark.parametrize("service", PORTS.values())
def test_a_connection_is_ended_by_the_servers_of_its_port(service: str) -> None:
    end, *dummy, stop = commands(made("login-clear", place=service, detail="a connection from 192.0.2.9"))
    assert service in stop and end.startswith("pkill -x ")


def test_a_server_that_nobody_knows_is_only_shown() -> None:
    assert commands(made("login-clear", place="joe", detail="evil, from nowhere")) == ["ss -tnp"]
    assert commands(made("server-clear", place="22; reboot", detail="x")) == ["ss -ltnp"]


@pytest.mark.parametrize(
    ("manager", "start"),
    [
        ("systemd", "systemctl start ipseckeys.service"),
        ("openrc", "rc-service ipseckeys start"),
        ("sysvinit", "/etc/init.d/ipseckeys start"),
        ("smf", "svcadm clear svc:/network/ipsec/manual-key:default"),
        ("$(reboot)", "systemctl start ipseckeys.service"),
    ],
)
def test_the_service_is_started_by_its_manager(manager: str, start: str) -> None:
    assert commands(made("service-failed", manager=manager))[-1] == start


CLI = {
    "inventory": ("/srv/in ventory.yml", "a,"),
    "extra_vars": ("@/srv/more.yml", "password=secret", '{"a": 1}'),
    "become": True,
    "become_ask_pass": True,
    "remote_user": "admin",
    "vault_password_files": ("/srv/pw",),
}


def test_commands_repeat_what_the_audit_was_started_with_but_no_values() -> None:
    line = command_line(CLI, dict.fromkeys(CONFIGURED), "/srv/key store", False)
    found = completed(finding("key-age", "", "p", connection="backbone", **WORDS), line)
    assert shlex.split(commands(found)[0]) == [
        *(
            "ansible-playbook",
            "-i",
            "/srv/in ventory.yml",
            "-i",
            "a,",
            "-e",
            "@/srv/more.yml",
            "-u",
            "admin",
            "-b",
            "-K",
        ),
        *("--vault-password-file", "/srv/pw", "ipsec.manual.rotate", "-e", "rotate_only=backbone"),
        *("-e", '{"rotate_keystore": "/srv/key store"}'),
    ]
    check_ansible(shlex.split(commands(found)[0])[:1] + shlex.split(commands(found)[0])[7:], variables())


def test_commands_find_the_files_of_vault_ids_from_any_directory(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/srv/ops")
    given = ("ops@prompt", "ops@secrets/pw", "pw@here", "~/pw", "prompt", "a@prompt_ask_vault_pass", "b@/srv/pw")
    line = command_line({"vault_ids": given}, dict.fromkeys(CONFIGURED), "", True)
    assert [word for word in line.vault if word != "--vault-id"] == [
        *("ops@prompt", f"ops@{tmp_path}/secrets/pw", f"pw@{tmp_path}/here", "/srv/ops/pw"),
        *("prompt", "a@prompt_ask_vault_pass", "b@/srv/pw"),
    ]


def test_commands_do_not_repeat_what_is_configured() -> None:
    configured = {"DEFAULT_HOST_LIST": ["/etc/ansible/hosts"], "DEFAULT_VAULT_PASSWORD_FILE": "/srv/pw"}
    cli = {"inventory": ("/etc/ansible/hosts",), "extra_vars": ()}
    line = command_line(cli, {**dict.fromkeys(CONFIGURED), **configured}, "/srv/keystore", True)
    found = completed(finding("key-age", "", "p", connection="backbone", **WORDS), line)
    assert commands(found) == ["ansible-playbook ipsec.manual.rotate -e rotate_only=backbone"]
