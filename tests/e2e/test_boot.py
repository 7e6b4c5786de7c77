# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SAs that survive a reboot: role boot on two hosts of a lab of their own, under SysV init and systemd, which run here, and beside stand-ins for SMF's
commands, which do not. The tests build on each other, in this order."""

from __future__ import annotations

import pathlib
import re
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
MARK = "/var/lib/ipseckey/rotation-due"

# The policies are not the role's business: a firewall's script brings them.
POLICIES = """\
#!/bin/sh
ip xfrm policy add src {here} dst {there} dir out tmpl src {here} dst {there} proto esp mode transport
ip xfrm policy add src {there} dst {here} dir in tmpl src {there} dst {here} proto esp mode transport
"""

# systemd as the first process of a PID namespace in the host. It must not change the settings of the kernel that all hosts share.
SYSTEMD = """\
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
exec /lib/systemd/systemd --system --unit=lab.target --log-target=kmsg
"""
TARGET = "[Unit]\nDefaultDependencies=no\nWants=systemd-journald.service {services}\n"
START_SYSTEMD = """\
mkdir -p /run/systemd/system
printf %s '{target}' >/run/systemd/system/lab.target
printf %s '{systemd}' >/root/systemd
grep -q ' /sys/fs/cgroup ' /proc/mounts || mount -t cgroup2 none /sys/fs/cgroup
container=lab setsid unshare -fpm --mount-proc sh /root/systemd >/dev/null 2>&1 </dev/null &
for second in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    sleep 1
    first=$(pgrep -x systemd) && nsenter -t "$first" -p -m systemctl is-active lab.target && break
done
printf '#!/bin/sh\\nexec nsenter -t %s -p -m -- "$@"\\n' "$first" >/root/inside
printf '#!/bin/sh\\nexec /root/inside /usr/bin/python3 "$@"\\n' >/root/python
chmod 755 /root/inside /root/python
for service in {wait}; do /root/inside systemctl start "$service"; done # waits
"""

# Recorded forms of SMF's commands (illumos svcprop(1), svccfg(8), svcadm(8)). They keep the properties in a folder and note what was asked for.
STAND_IN = """\
#!/bin/sh
cd /root/smf
echo "$(basename "$0") $*" >>asked
case "$(basename "$0") $*" in
    "svcprop "*)
        echo "config/config_file astring $(cat running)"
        echo "general/enabled boolean $(cat enabled)"
        echo "restarter/state astring $(cat state)"
        ;;
    "svccfg "*setprop*) printf %s "${6#astring: }" >current ;;
    "svcadm refresh"*) cp current running ;;
    "svcadm enable"*) echo true >enabled ;;
    "svcadm disable"*) echo false >enabled ;;
    "ipseckey -c"*) test -e "$2" ;;
    *) exit 2 ;;
esac
"""
SERVICE = "svc:/network/ipsec/manual-key:default"


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


def unlike(one: str, other: str) -> set[str]:
    return set(one.splitlines()) ^ set(other.splitlines())


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


def test_uninstalled_it_leaves_nothing_but_the_sas(hosts: dict[str, Host], project: Project, trees: dict[str, str]) -> None:
    spis = {name: host.spis() for name, host in hosts.items()}
    assert boot(project, "--check", boot_state="absent", **SYSVINIT).changed() == {"enigma": 3, "partym": 3}
    done = boot(project, boot_state="absent", **SYSVINIT)
    assert done.status == 0 and done.changed() == {"enigma": 3, "partym": 3}, done.output
    assert [unlike(tree(host), trees[name]) for name, host in hosts.items()] == [set(), set()]
    assert {name: host.spis() for name, host in hosts.items()} == spis
    assert boot(project, boot_state="absent", **SYSVINIT).changed() == {"enigma": 0, "partym": 0}


# What systemd itself, and the lab's boot, leave.
SYSTEMD_OWN = ("/run/boot.log ", "/run/.containerenv ", "/run/machine-id ", "/run/credentials ", "/run/mount ")


def start_systemd(host: Host, services: str = "") -> None:
    host.run("sh", "-c", START_SYSTEMD.format(target=TARGET.format(services=services), systemd=SYSTEMD, wait=services.split(" ")[0]))


def test_systemd_loads_the_file(hosts: dict[str, Host], project: Project) -> None:
    partym = hosts["partym"]
    start_systemd(partym)
    inside = {"ansible_python_interpreter": "/root/python"}
    check = boot(project, "--check", "--limit", "partym", **inside)
    assert check.status == 0 and check.changed() == {"partym": 2}, check.output
    partym.run("ip", "xfrm", "state", "flush")
    done = boot(project, "--limit", "partym", **inside)
    assert done.status == 0 and done.changed() == {"partym": 3}, done.output
    assert boot(project, "--limit", "partym", **inside).changed() == {"partym": 0}
    assert partym.spis() == project.spis("guide")
    unit = "/etc/systemd/system/ipseckeys.service"
    assert both(partym, "systemd-analyze", "verify", "--man=no", unit) == (0, "")
    status, said = both(partym, "systemd-analyze", "security", "--offline=true", "--threshold=20", unit)
    assert status == 0, said


def test_systemd_reloads_and_stops_as_the_script_does(hosts: dict[str, Host], project: Project) -> None:
    partym = hosts["partym"]
    systemctl = ("/root/inside", "systemctl")
    assert partym.pings(GUIDE[0])
    partym.run("ip", "xfrm", "state", "add", *FOREIGN, "reqid", "4242", "mode", "transport", "enc", "cbc(aes)", "0x" + "5a" * 32)
    before, text = partym.packets(), partym.file()
    put(partym, text + EXTRA)
    assert both(partym, *systemctl, "reload", "ipseckeys")[0] == 0
    assert partym.packets() == {**before, "0x00002001": 0}
    put(partym, text + WRONG)
    assert both(partym, *systemctl, "reload", "ipseckeys")[0] != 0
    assert partym.packets() == {**before, "0x00002001": 0}
    told = both(partym, "/root/inside", "journalctl", "--no-pager", "-u", "ipseckeys")[1]
    assert re.search(rf"{SECRET_FILE}, line \d+, column \d+: .*63", told), told
    put(partym, text)
    assert both(partym, *systemctl, "stop", "ipseckeys")[0] == 0 and partym.spis() == {FOREIGN_SPI}
    put(partym, WRONG)
    assert both(partym, *systemctl, "start", "ipseckeys")[0] != 0 and partym.spis() == {FOREIGN_SPI}
    assert both(partym, *systemctl, "is-failed", "ipseckeys") == (0, "failed\n")
    put(partym, text)
    assert both(partym, *systemctl, "start", "ipseckeys")[0] == 0


def test_systemd_loads_before_the_network_and_asks_for_a_rotation(hosts: dict[str, Host], project: Project) -> None:
    partym = hosts["partym"]
    done = boot(project, "--limit", "partym", ansible_python_interpreter="/root/python", boot_ask_for_rotation=True)
    assert done.status == 0 and done.changed() == {"partym": 1}, done.output
    assert not partym.run("find", "/var/lib", "-path", MARK)
    partym.fault("reboot")
    assert partym.spis() == set()
    start_systemd(partym, "ipseckeys.service network-pre.target")
    assert partym.spis() == project.spis("guide") and partym.pings(GUIDE[0])
    show = ("/root/inside", "systemctl", "show", "--value", "-p", "ActiveEnterTimestampMonotonic")
    loaded, network = (int(partym.run(*show, unit)) for unit in ("ipseckeys.service", "network-pre.target"))
    assert 0 < loaded < network
    assert set(re.findall(r"0x[0-9a-f]{8}", partym.run("cat", MARK))) == project.spis("guide")
    assert "a rotation is due" in both(partym, "/root/inside", "journalctl", "--no-pager", "-u", "ipseckeys")[1]


def test_systemd_forgets_the_unit(hosts: dict[str, Host], project: Project, trees: dict[str, str]) -> None:
    partym = hosts["partym"]
    spis = partym.spis()
    absent = {"boot_state": "absent", "ansible_python_interpreter": "/root/python"}
    done = boot(project, "--limit", "partym", **absent)
    assert done.status == 0 and done.changed() == {"partym": 3}, done.output
    assert partym.spis() == spis
    assert both(partym, "/root/inside", "systemctl", "status", "ipseckeys")[0] == 4
    assert {line for line in unlike(tree(partym), trees["partym"]) if not line.startswith(SYSTEMD_OWN)} == set()
    assert boot(project, "--limit", "partym", **absent).changed() == {"partym": 0}


def test_smf_is_set_once_and_never_refreshed_needlessly(hosts: dict[str, Host], project: Project) -> None:
    """SMF's commands are stand-ins here: what is tested is which of them are run, and when."""
    enigma = hosts["enigma"]
    install = "mkdir /root/smf; cd /usr/local/sbin; cat >svcprop; chmod 755 svcprop; for name in svccfg svcadm ipseckey; do cp svcprop $name; done"
    enigma.run("sh", "-c", f"({install}) <<'X'\n{STAND_IN}X")
    enigma.run("sh", "-c", "cd /root/smf; printf /etc/inet/secret/ipseckeys | tee current >running; echo false >enabled; echo disabled >state")
    run = {"boot_service_manager": "smf", "boot_file": "/etc/inet/secret/other"}

    def asked() -> list[str]:
        lines = enigma.run("sh", "-c", "cat /root/smf/asked; rm /root/smf/asked").splitlines()
        return [line for line in lines if not line.startswith("svcprop ")]

    missing = boot(project, "--limit", "enigma", **run)
    assert missing.status and asked() == [f"ipseckey -c {run['boot_file']}"]
    enigma.run("cp", "-p", SECRET_FILE, run["boot_file"])
    assert boot(project, "--check", "--limit", "enigma", **run).changed() == {"enigma": 2} and asked() == []
    done = boot(project, "--limit", "enigma", **run)
    assert done.status == 0 and done.changed() == {"enigma": 2}, done.output
    setprop = f"svccfg -s {SERVICE} setprop config/config_file = astring: "
    assert asked() == [f"ipseckey -c {run['boot_file']}", setprop + run["boot_file"], f"svcadm refresh {SERVICE}", f"svcadm enable -s {SERVICE}"]
    assert boot(project, "--limit", "enigma", **run).changed() == {"enigma": 0} and asked() == []
    enigma.run("sh", "-c", "echo maintenance >/root/smf/state")
    broken = boot(project, "--limit", "enigma", **run)
    assert broken.status and "svcadm clear" in broken.output and asked() == []
    enigma.run("sh", "-c", "echo online >/root/smf/state")
    assert boot(project, "--limit", "enigma", boot_state="absent", **run).changed() == {"enigma": 2}
    assert asked() == [f"svcadm disable -s {SERVICE}", f"{setprop}{SECRET_FILE}", f"svcadm refresh {SERVICE}"]
