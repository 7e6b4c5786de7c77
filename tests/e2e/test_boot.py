# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SAs that survive a reboot: role boot on two hosts of a lab of their own, under SysV init. The tests build on each other, in this order."""

from __future__ import annotations

import pathlib
import subprocess
import typing as t

import pytest

from ansible_collections.ipsec.manual.tests.e2e.harness import GUIDE, LAB, SECRET_FILE, Host, Project, Run

NAME = "e2e-boot"
SYSVINIT = {"boot_service_manager": "sysvinit"}
SCRIPT = "/etc/init.d/ipseckeys"
FOREIGN = ("src", GUIDE[0], "dst", GUIDE[1], "proto", "esp", "spi", "0x00c0ffee")
FOREIGN_SPI = "0x00c0ffee"
EXTRA_KEY = "f00dfeed" * 8
EXTRA = f"add esp spi 0x00002001 src {GUIDE[0]} dst 192.0.2.9 encr_alg aes encrkey {EXTRA_KEY[:32]} auth_alg sha256 authkey {EXTRA_KEY}\n"
# A key that is one digit short.
WRONG = EXTRA.replace(f"authkey {EXTRA_KEY}", f"authkey {EXTRA_KEY[1:]}")

# The policies are not the role's business: a firewall's script brings them.
POLICIES = """\
#!/bin/sh
ip xfrm policy add src {here} dst {there} dir out tmpl src {here} dst {there} proto esp mode transport
ip xfrm policy add src {there} dst {here} dir in tmpl src {there} dst {here} proto esp mode transport
"""


@pytest.fixture(scope="module", name="hosts")
def own_lab() -> t.Iterator[dict[str, Host]]:
    subprocess.run([LAB, "down", "--name", NAME], check=False, capture_output=True)
    subprocess.run([LAB, "up", "--name", NAME, "--hosts", "enigma,partym"], check=True)
    yield {name: Host(name, NAME) for name in ("enigma", "partym")}
    subprocess.run([LAB, "down", "--name", NAME], check=True)


@pytest.fixture(scope="module", name="project")
def own_project(hosts: dict[str, Host], tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder: pathlib.Path = tmp_path_factory.mktemp("boot")
    project = Project(folder, NAME)
    project.connections = [{"name": "guide", "endpoints": {"enigma": GUIDE[0], "partym": GUIDE[1]}}]
    (folder / "boot.yml").write_text("- hosts: all\n  gather_facts: false\n  roles: [ipsec.manual.boot]\n", encoding="utf-8")
    return project


@pytest.fixture(scope="module", name="trees")
def what_there_was(hosts: dict[str, Host]) -> dict[str, str]:
    return {name: tree(host) for name, host in hosts.items()}


def tree(host: Host) -> str:
    """Every file that an installation could leave, but the secret ones."""
    folders = ("/etc", "/usr/local", "/var/lib", "/lib/systemd", "/run")
    pruned = ("/etc/inet", "/etc/init.d/policies", "/run/lab-ssh", "/run/systemd", "/run/udev", "/run/log", "/run/lock", "/run/user", "/var/lib/systemd")
    skip = [word for path in pruned for word in ("-path", path, "-prune", "-o")]
    return host.run("find", *folders, "-xdev", *skip, "-name", "S02policies", "-o", "-printf", r"%p %m %y %l\n")


def boot(project: Project, *options: str, **settings: t.Any) -> Run:
    return project.finish(project.start(*options, playbook="boot.yml", **settings))


def both(host: Host, *command: str) -> tuple[int, str]:
    """Exit status and everything that was said; never with a key."""
    text = host.run("sh", "-c", '"$@" 2>&1; echo "exit status $?"', "sh", *command)
    said, dummy, status = text.rpartition("exit status ")
    assert EXTRA_KEY[:8] not in said and not any(key[:16] in said for key in host.keys()), said  # noqa: SIM118
    return int(status), said


def put(host: Host, text: str) -> None:
    host.run("sh", "-c", f"cat >{SECRET_FILE} <<'X'\n{text}X")


def test_check_mode_tells_and_leaves_everything(hosts: dict[str, Host], project: Project, trees: dict[str, str]) -> None:
    done = boot(project, "--check", "--diff", **SYSVINIT)
    assert done.status == 0 and done.changed() == {"enigma": 3, "partym": 3}, done.output
    assert "+# Provides:          ipseckeys" in done.output and "/usr/local/sbin/ipseckey sha256:" in done.output
    assert {name: tree(host) for name, host in hosts.items()} == trees


def test_an_unknown_service_manager_is_refused_by_name(project: Project) -> None:
    done = boot(project, "--limit", "enigma", boot_service_manager="upstart")
    assert done.status and "upstart" in done.output and "systemd, openrc, sysvinit, smf" in " ".join(done.output.split())


def test_a_rotation_enables_the_loader(hosts: dict[str, Host], project: Project) -> None:
    project.run_well(rotate_boot=True, **SYSVINIT)
    assert project.run_well(rotate_boot=True, **SYSVINIT).changed() == {"enigma": 0, "partym": 0}
    for host in hosts.values():
        assert host.spis(*GUIDE) == project.spis("guide")
        assert "S" in host.run("sh", "-c", "ls /etc/rcS.d | grep ipseckeys") and "__pycache__" not in tree(host)


def test_hosts_talk_again_after_a_reboot_without_the_controller(hosts: dict[str, Host], project: Project) -> None:
    for name, (here, there) in (("enigma", GUIDE), ("partym", GUIDE[::-1])):
        hosts[name].run("sh", "-c", f"cat >/etc/init.d/policies <<'X'\n{POLICIES.format(here=here, there=there)}X")
        hosts[name].run("sh", "-c", "chmod 755 /etc/init.d/policies; ln -s ../init.d/policies /etc/rcS.d/S02policies")
    keys = hosts["enigma"].keys()
    for host in hosts.values():
        host.fault("reboot")
    for host in hosts.values():
        assert "2 added, 0 replaced, 0 removed, 0 as they were" in host.run("cat", "/run/boot.log")
        assert (host.spis(), host.keys()) == (project.spis("guide"), keys)
    assert hosts["enigma"].pings(GUIDE[1]) and hosts["partym"].pings(GUIDE[0])
    assert all(packets >= 2 for host in hosts.values() for packets in host.packets().values())


def test_reload_brings_the_difference_and_nothing_else(hosts: dict[str, Host]) -> None:
    enigma = hosts["enigma"]
    enigma.run("ip", "xfrm", "state", "add", *FOREIGN, "reqid", "4242", "mode", "transport", "enc", "cbc(aes)", "0x" + "5a" * 32)
    before, text = enigma.packets(), enigma.file()
    put(enigma, text + EXTRA)
    assert both(enigma, SCRIPT, "status")[0] == 3
    status, said = both(enigma, SCRIPT, "reload")
    assert status == 0 and "1 added, 0 replaced, 0 removed, 2 as they were" in said
    assert both(enigma, SCRIPT, "status")[0] == 0
    assert enigma.packets() == {**before, "0x00002001": 0}
    put(enigma, text)
    # Its addresses are in the file no more: the record of what was loaded tells that it is ours.
    assert "0 added, 0 replaced, 1 removed, 2 as they were" in both(enigma, SCRIPT, "reload")[1]
    assert enigma.packets() == before and all(before[spi] for spi in before if spi != FOREIGN_SPI)


def test_a_wrong_file_changes_nothing_and_is_told(hosts: dict[str, Host]) -> None:
    enigma = hosts["enigma"]
    before, text = enigma.packets(), enigma.file()
    put(enigma, text + WRONG)
    line = text.count("\n") + 1
    for verb in ("start", "reload", "stop", "restart"):
        status, said = both(enigma, SCRIPT, verb)
        assert status == 1 and f"{SECRET_FILE}, line {line}, column" in said and "63" in said, said
    assert enigma.packets() == before
    enigma.fault("reboot")
    log = enigma.run("cat", "/run/boot.log")
    assert f"line {line}, column" in log and "exit status 1" in log and enigma.spis() == set()
    assert f"line {line}, column" in enigma.run("dmesg")
    put(enigma, text)
    assert both(enigma, SCRIPT, "start")[0] == 0 and enigma.pings(GUIDE[1])


def test_stop_removes_ours_only(hosts: dict[str, Host], project: Project) -> None:
    enigma = hosts["enigma"]
    enigma.run("ip", "xfrm", "state", "add", *FOREIGN, "reqid", "4242", "mode", "transport", "enc", "cbc(aes)", "0x" + "5a" * 32)
    assert both(enigma, SCRIPT, "stop")[0] == 0 and enigma.spis() == {FOREIGN_SPI}
    assert both(enigma, SCRIPT, "stop")[0] == 0
    assert both(enigma, SCRIPT, "start")[0] == 0 and enigma.spis() == {FOREIGN_SPI, *project.spis("guide")}
