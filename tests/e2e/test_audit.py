# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role `audit` over a fleet with real kernels and files: what it finds, and that it changes nothing. The
tests build on each other, in this order.
"""

from __future__ import annotations

import json
import os
import pathlib
import secrets
import subprocess
import typing as t

import pytest

from ansible_collections.ipsec.manual.tests.e2e.harness import (
    COUNTER,
    GUIDE,
    HOSTS,
    SECRET_FILE,
    SHARED,
    Host,
    Project,
    Run,
    lab,
)

LAB = "audit"
Hosts = t.Dict[str, Host]
# Everything on a host that an audit looks at and could change.
STATE = (
    "ip xfrm state | grep -v -e lifetime -e add -e stats -e replay; ip xfrm policy | grep -v add;"
    " stat -c '%n %a %u %h %Y' /etc/inet/secret/* /etc/ipsecpolicies.json; cat /etc/inet/secret/*"
)
# What the lab is like: no service manager, names for ssh.
OF_THE_LAB = {"service-absent", "name-resolved", "core-dumps", "swap"}
# The guide's algorithms, and a cipher that needs to be insisted on.
OF_THE_CONNECTIONS = {"algorithm-must-not", "algorithm-should-not", "counter-mode", "integrity-by-ah"}
# What the kernel counted between two audits depends on what else the hosts say to each other.
COUNTERS = {"counter-rose", "counter-expected", "no-state-packets"}
# Addresses that no connection has.
OTHERS = ("192.0.2.78", "192.0.2.77")


@pytest.fixture(scope="module", name="hosts")
def make_hosts() -> t.Iterator[Hosts]:
    with lab(LAB) as hosts:
        yield hosts


@pytest.fixture(scope="module", name="project")
def make_project(hosts: Hosts, tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder: pathlib.Path = tmp_path_factory.mktemp("audit")
    project = Project(folder, LAB)
    play = {"hosts": "all", "gather_facts": False, "roles": ["ipsec.manual.audit"]}
    (folder / "audit.yml").write_text(json.dumps([play]), encoding="utf-8")
    project.run_well()
    return project


def audit(project: Project, *options: str, vault: bool = True, **variables: t.Any) -> Run:
    settings = {"ipsec_connections": project.connections, **variables}
    return project.finish(project.start(*options, playbook="audit.yml", vault=vault, only=settings))


def report(project: Project) -> dict[str, t.Any]:
    found: dict[str, t.Any] = json.loads((project.folder / "audit" / "report.json").read_text(encoding="utf-8"))
    return found


def findings(
    project: Project, but: t.Container[str] = frozenset(OF_THE_LAB | OF_THE_CONNECTIONS | COUNTERS)
) -> set[t.Any]:
    return {(row["id"], row["host"]) for row in report(project)["findings"] if row["id"] not in but}


def test_a_fleet_that_was_just_keyed_has_nothing_but_what_it_was_told_to(hosts: Hosts, project: Project) -> None:
    before = {name: host.run("sh", "-c", STATE, check=False) for name, host in hosts.items()}
    done = audit(project)
    assert done.status == 0, done.output
    assert findings(project) == set()
    assert {row["id"] for row in report(project)["findings"]} >= {"algorithm-must-not", "counter-mode"}
    assert [row["name"] for row in report(project)["hosts"]] == list(HOSTS)
    assert {(row["agreement"], row["generation"]) for row in report(project)["pairs"]} == {("same", 1)}
    assert set(done.changed().values()) == {0}
    assert {name: host.run("sh", "-c", STATE, check=False) for name, host in hosts.items()} == before


def test_without_the_vault_password_only_the_keystore_is_unknown(project: Project) -> None:
    assert audit(project, vault=False).status == 0
    assert findings(project) == {("keystore-unread", "")}
    assert {row["agreement"] for row in report(project)["pairs"]} == {"same"}


def test_what_was_done_to_a_host_is_found_and_then_gone(hosts: Hosts, project: Project) -> None:
    enigma, partym = hosts["enigma"], hosts["partym"]
    enigma.run("sh", "-c", f"cp {SECRET_FILE} {SECRET_FILE}.bak; chmod 644 {SECRET_FILE}; ip xfrm policy flush")
    enigma.run(
        "sh", "-c", "echo ipseckey add esp spi 256 dst 192.0.2.1 encrkey 00112233445566778899 > ~root/.bash_history"
    )
    partym.ip(f"xfrm state deleteall src {GUIDE[0]} dst {GUIDE[1]}")
    partym.ip(f"xfrm state deleteall src {GUIDE[1]} dst {GUIDE[0]}")
    assert audit(project, audit_fail_on="high").status != 0
    assert findings(project) >= {
        ("file-copy", "enigma"),
        ("file-world-readable", "enigma"),
        ("key-in-history", "enigma"),
        ("no-policy", "enigma"),
        ("no-inbound-policy", "enigma"),
        ("no-sas", "partym"),
        ("policy-without-sa", "partym"),
    }
    enigma.run("sh", "-c", f"rm {SECRET_FILE}.bak ~root/.bash_history; chmod 600 {SECRET_FILE}")
    project.run_well()
    assert audit(project).status == 0
    assert findings(project) == set()
    assert {row["id"] for row in report(project)["gone"]} >= {"file-copy", "no-policy", "no-sas"}


def add_to_file(host: Host, spi: str) -> None:
    """An SA that is in no connection."""
    keys = f"encr_alg aes-cbc encrkey {secrets.token_hex(32)} auth_alg hmac-sha256 authkey {secrets.token_hex(32)}"
    host.run("sh", "-c", f"echo 'add esp spi {spi} src {OTHERS[0]} dst {OTHERS[1]} {keys}' >>{SECRET_FILE}")


def run_all(hosts: Hosts, project: Project, rows: t.Iterable[dict[str, str]], skip: str = "\0") -> None:
    """Run commands of a report as they are, and say yes where they ask: first those that show or install something,
    then those on hosts, then single modules, then rotations, which refuse to begin before everything is in order.
    Commands that contain ``skip`` need something that the lab lacks.
    """
    environment = {**os.environ, **project.environment, "ANSIBLE_NOCOLOR": "1"}
    commands = dict.fromkeys((row["host"], row["command"]) for row in rows if skip not in row["command"])
    for host, command in sorted(commands, key=_turn):
        if host:
            hosts[host].run("sh", "-c", f"yes | {command}", check="--compare" not in command)
        else:
            subprocess.run(["sh", "-c", command], env=environment, cwd="/", check="--check" not in command)


def _turn(row: tuple[str, str]) -> tuple[bool, bool, bool]:
    """What is installed and checked comes first, rotations last."""
    host, command = row
    is_first = "ipseckey_command" in command or "--check" in command
    return (not is_first, not host, command.startswith("ansible-playbook"))


def follow(hosts: Hosts, project: Project, kinds: set[str]) -> None:
    """Audit, find these kinds, run their commands, and audit again: they are gone."""
    assert audit(project, rotate_allow_static_counter_mode=True).status == 0
    found = [row for row in report(project)["findings"] if row["id"] in kinds]
    assert {row["id"] for row in found} == kinds
    run_all(hosts, project, (row for one in found for row in one["commands"]))
    assert audit(project).status == 0
    assert not {row["id"] for row in report(project)["findings"]} & kinds
    assert {row["id"] for row in report(project)["gone"]} >= kinds


def test_the_commands_of_the_report_fix_what_it_found(hosts: Hosts, project: Project) -> None:
    enigma, partym, third = hosts["enigma"], hosts["partym"], hosts["third"]
    enigma.run("sh", "-c", f"cp {SECRET_FILE} '{SECRET_FILE} (old).bak'; chmod 644 {SECRET_FILE}")
    enigma.run("ln", SECRET_FILE, "/etc/inet/elsewhere")
    # The same folder under a second name, in which the file must not be removed.
    enigma.run("sh", "-c", "mkdir -p /etc/mirror && mount --bind /etc/inet/secret /etc/mirror")
    enigma.ip(f"xfrm policy delete src {GUIDE[0]} dst {GUIDE[1]} dir out")
    for source, destination in (GUIDE, GUIDE[::-1]):
        partym.ip(f"xfrm state deleteall src {source} dst {destination}")
    # Connections with anti-replay are refused the same keys again.
    for source, destination in (SHARED, SHARED[::-1]):
        third.ip(f"xfrm state deleteall src {source} dst {destination}")
    # The kernel does not hold these SAs, so only the keystore knows that they are missing here.
    partym.run("sed", "-i", f"s/dst {GUIDE[0]} /dst 192.0.2.9 /", SECRET_FILE)
    partym.run("cp", "-p", SECRET_FILE, f"{SECRET_FILE}.next")
    third.run("sh", "-c", f"chmod 600 {SECRET_FILE}; echo 'add esp spi 0x1000 dst 192.0.2.9 bogus 1' >>{SECRET_FILE}")
    files = {"file-copy", "file-world-readable", "file-links", "file-leftover", "file-invalid", "drift-file-keystore"}
    follow(hosts, project, {*files, "no-sas", "no-policy"})
    assert enigma.run("ls", "/etc/inet").split() == ["secret"]
    assert enigma.run("ls", "/etc/inet/secret").split() == ["ipseckeys"]
    enigma.run("sh", "-c", "umount /etc/mirror && rmdir /etc/mirror")


def test_names_links_and_open_directories_are_fixed_by_their_commands(hosts: Hosts, project: Project) -> None:
    enigma, partym, third = hosts["enigma"], hosts["partym"], hosts["third"]
    enigma.run("sh", "-c", "echo '192.0.2.77 peer.example' >>/etc/hosts")
    named = f"add esp spi 0x77777 src 192.0.2.78 dst peer.example encr_alg aes-cbc encrkey {secrets.token_hex(32)}"
    enigma.run("sh", "-c", f"echo '{named} auth_alg hmac-sha256 authkey {secrets.token_hex(32)}' >>{SECRET_FILE}")
    partym.run("sh", "-c", f"mv {SECRET_FILE} /etc/inet/keys; ln -s /etc/inet/keys {SECRET_FILE}")
    third.run("chmod", "777", "/etc/inet/secret")
    follow(hosts, project, {"file-names", "file-path"})
    assert partym.run("ls", "/etc/inet").split() == ["secret"]
    assert "dst 192.0.2.77 " in enigma.run("cat", SECRET_FILE) and "peer.example" not in enigma.run("cat", SECRET_FILE)
    enigma.run("sed", "-i", "/192.0.2.77/d", SECRET_FILE)


def test_a_missing_proc_is_mounted_by_the_first_command(hosts: Hosts, project: Project) -> None:
    hosts["third"].run("umount", "-l", "/proc")
    assert audit(project).status == 0
    (found,) = (row for row in report(project)["findings"] if row["id"] == "file-system-unknown")
    run_all(hosts, project, found["commands"][:1])
    assert audit(project).status == 0
    assert findings(project) == set() and "file-system-unknown" in {row["id"] for row in report(project)["gone"]}


def test_a_newer_file_is_brought_in_line_by_its_commands(hosts: Hosts, project: Project) -> None:
    """Connections get new keys. SAs of others are loaded, and those that the file no longer has are removed."""
    enigma, third = hosts["enigma"], hosts["third"]
    first, *dummy = sorted(third.sas(*SHARED), key=lambda sa: sa.spi)
    third.ip(f"xfrm state delete src {first.source} dst {first.destination} proto esp spi {first.spi}")
    third.run("touch", "-d", "+1 hour", SECRET_FILE)
    algorithms = "mode transport enc 'cbc(aes)' 0x{} auth-trunc 'hmac(sha256)' 0x{} 128"
    for spi in ("0x77770", "0x77771"):
        keys = algorithms.format(secrets.token_hex(32), secrets.token_hex(32))
        enigma.run("sh", "-c", f"ip xfrm state add src {OTHERS[0]} dst {OTHERS[1]} proto esp spi {spi} {keys}")
    add_to_file(enigma, "0x77772")
    enigma.run("touch", "-d", "+1 hour", SECRET_FILE)
    counter = third.spis(*COUNTER)
    follow(hosts, project, {"file-newer"})
    assert enigma.spis(*OTHERS) == {"0x00077772"} and not third.spis(*SHARED) & {first.spi}
    assert len(third.spis(*COUNTER)) == len(counter) > 0
    enigma.run("sed", "-i", f"/{OTHERS[1]}/d", SECRET_FILE)
    enigma.ip(f"xfrm state deleteall src {OTHERS[0]} dst {OTHERS[1]}")


def test_sas_of_others_that_only_the_file_has_are_found(hosts: Hosts, project: Project) -> None:
    enigma = hosts["enigma"]
    add_to_file(enigma, "0x77773")
    assert audit(project).status == 0
    assert findings(project) == {("others-file", "enigma")}
    (found,) = (row for row in report(project)["findings"] if row["id"] == "others-file")
    subprocess.run(
        ["sh", "-c", found["commands"][0]["command"]], env={**os.environ, **project.environment}, cwd="/", check=True
    )
    shown = enigma.run("sh", "-c", found["commands"][1]["command"], check=False)
    assert OTHERS[1] in shown and "77773" in shown
    # In place of the editor.
    enigma.run("sed", "-i", f"/{OTHERS[1]}/d", SECRET_FILE)
    assert audit(project).status == 0
    assert findings(project) == set()


def test_a_host_that_is_cut_off_is_named(hosts: Hosts, project: Project) -> None:
    hosts["third"].fault("down")
    assert audit(project).status == 0
    assert {row for row in findings(project) if row[1]} == {("absent", "third")}
    assert [row["answered"] for row in report(project)["hosts"]] == [True, True, False]


def test_a_host_that_is_back_is_brought_to_what_its_peers_have(hosts: Hosts, project: Project) -> None:
    """What the commands of ``absent`` do, once somebody has started the host or its server of ssh."""
    hosts["third"].run("ip", "xfrm", "state", "flush")  # as if it had been rebooted
    assert audit(project, rotate_allow_static_counter_mode=True).status == 0
    (found,) = (row for row in report(project)["findings"] if row["id"] == "absent")
    hosts["third"].fault("up")
    run_all(hosts, project, found["commands"], skip="systemctl")
    assert audit(project).status == 0
    assert findings(project) == set()
