# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SAs and policies that survive a reboot: role boot on two hosts of a separate lab, under real SysV
init, systemd and OpenRC, and with stand-ins for SMF's commands. The tests build on each other, in
this order.
"""

from __future__ import annotations

import contextlib
import pathlib
import re
import subprocess
import typing as t

import pytest

from ansible_collections.ipsec.manual.tests.e2e.harness import (
    CHECKOUT,
    FOREIGN,
    FOREIGN_SPI,
    GUIDE,
    SECRET_FILE,
    Host,
    Project,
    Run,
    clear,
    lab,
    on_the_wire,
)

NAME = "e2e-boot"
SYSVINIT = {"boot_service_manager": "sysvinit"}
SCRIPT = "/etc/init.d/ipseckeys"
EXTRA_KEY = "f00dfeed" * 8
EXTRA = (
    f"add esp spi 0x00002001 src {GUIDE[0]} dst 192.0.2.9 encr_alg aes encrkey {EXTRA_KEY[:32]} auth_alg sha256 authkey"
    f" {EXTRA_KEY}\n"
)
# A key that is one digit short.
WRONG = EXTRA.replace(f"authkey {EXTRA_KEY}", f"authkey {EXTRA_KEY[1:]}")
ROTATION_DUE = "/var/lib/ipseckey/rotation-due"

POLICIES_FILE = "/etc/ipsecpolicies.json"
CONNECTIONS_POLICIES = "ipsec_connections | ipsec.manual.ipsec_policies(inventory_hostname)"
POLICIES = {"boot_policies": f"{{{{ {CONNECTIONS_POLICIES} }}}}"}
ONE_MORE = '{"direction": "fwd", "selector": {"source": "192.0.2.0/24"}, "action": "block", "priority": 7}'
FOREIGN_POLICY = ("src", "192.0.2.1", "dst", "192.0.2.2", "dir", "fwd", "priority", "42")

# systemd as the first process of a PID namespace in the host. It must not change the settings of
# the kernel that all hosts share.
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

# OpenRC in a host: Debian's packages, only unpacked, since update-rc.d also supports an installed
# one.
OPENRC = ("openrc", "librc1", "libeinfo1", "insserv")
PACKAGES = CHECKOUT / "build" / "openrc"
UNPACK_OPENRC = f"""\
for package in {PACKAGES}/*.deb; do
    dpkg-deb --fsys-tarfile "$package" | tar -x -C / --keep-directory-symlink --exclude=./usr
done
mkdir -p /run/openrc && openrc boot
"""
# Configures the network. Its name sorts before ours, so only the dependency puts it after.
NETWORK = """\
#!/sbin/openrc-run
depend() { provide net; }
start() { ip xfrm state count >/run/before-network; }
"""

# Recorded forms of SMF's commands (illumos svcprop(1), svccfg(8), svcadm(8)). They keep the
# properties in a folder and record requests.
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
    with lab(NAME, ("enigma", "partym")) as hosts:
        yield hosts


@pytest.fixture(scope="module", name="project")
def own_project(hosts: dict[str, Host], tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder: pathlib.Path = tmp_path_factory.mktemp("boot")
    project = Project(folder, NAME)
    project.connections = [{"name": "guide", "endpoints": {"enigma": GUIDE[0], "partym": GUIDE[1]}}]
    (folder / "boot.yml").write_text(
        "- hosts: all\n  gather_facts: false\n  roles: [ipsec.manual.boot]\n", encoding="utf-8"
    )
    return project


@pytest.fixture(scope="module", name="trees")
def what_there_was(hosts: dict[str, Host]) -> dict[str, str]:
    return {name: tree(host) for name, host in hosts.items()}


def tree(host: Host) -> str:
    """Every file that an installation could leave, except the secret ones."""
    folders = ("/etc", "/usr/local", "/var/lib", "/lib/systemd", "/run")
    pruned = (
        "/etc/inet",
        "/run/lab-ssh",
        "/run/lab-compiled*",
        "/run/systemd",
        "/run/udev",
        "/run/log",
        "/run/lock",
        "/run/user",
        "/var/lib/systemd",
    )
    skip = [word for path in pruned for word in ("-path", path, "-prune", "-o")]
    return host.run("find", *folders, "-xdev", *skip, "-printf", r"%p %m %y %l\n")


def boot(project: Project, *options: str, **settings: t.Any) -> Run:
    return project.finish(project.start(*options, playbook="boot.yml", **settings))


def policies(host: Host) -> list[str]:
    """Every policy, as ip(8) shows it, on one line each."""
    return sorted(
        " ".join(block.split())
        for block in re.split(r"^(?=src )", host.run("ip", "xfrm", "policy"), flags=re.M)
        if block
    )


def ours(host: Host) -> bool:
    """Whether both policies of the guide's connection are there, and nothing else."""
    here, there = GUIDE if host.name == "enigma" else GUIDE[::-1]
    found = policies(host)
    return len(found) == 2 and all(
        any(
            f"src {source}/32 dst {destination}/32 dir {way} priority 1000" in text and "proto esp" in text
            for text in found
        )
        for source, destination, way in ((here, there, "out"), (there, here, "in"))
    )


def both(host: Host, *command: str) -> tuple[int, str]:
    """Exit status and all output, which never contains a key."""
    text = host.run("sh", "-c", '"$@" 2>&1; echo "exit status $?"', "sh", *command)
    output, dummy, status = text.rpartition("exit status ")
    assert EXTRA_KEY[:8] not in output and not any(key[:16] in output for key in host.keys()), output  # noqa: SIM118
    return int(status), output


def put(host: Host, text: str) -> None:
    host.run("sh", "-c", f"cat >{SECRET_FILE} <<'X'\n{text}X")


@contextlib.contextmanager
def covered(host: Host) -> t.Iterator[None]:
    """During the block, a policy of another program that makes packets use `EXTRA`."""
    ends = ("src", GUIDE[0], "dst", "192.0.2.9", "dir", "out")
    host.run("ip", "xfrm", "policy", "add", *ends, "tmpl", "proto", "esp", "mode", "transport")
    yield
    host.run("ip", "xfrm", "policy", "delete", *ends)


def unlike(one: str, other: str) -> set[str]:
    return set(one.splitlines()) ^ set(other.splitlines())


def test_check_mode_reports_and_changes_nothing(
    hosts: dict[str, Host], project: Project, trees: dict[str, str]
) -> None:
    done = boot(project, "--check", "--diff", **SYSVINIT, **POLICIES)
    assert done.status == 0 and done.changed() == {"enigma": 1, "partym": 1}, done.output
    assert (
        f'+{{"direction": "out", "selector": {{"source": "{GUIDE[0]}/32", "destination": "{GUIDE[1]}/32"' in done.output
    )
    assert "+# Provides:          ipseckeys" in done.output and "/usr/local/sbin/ipseckey sha256:" in done.output
    assert {name: tree(host) for name, host in hosts.items()} == trees


def test_an_unknown_service_manager_is_refused_by_name(project: Project) -> None:
    done = boot(project, "--limit", "enigma", boot_service_manager="upstart")
    text = " ".join(done.output.split())
    assert done.status and "upstart" in text, text
    assert all(manager in text for manager in ("openrc", "smf", "systemd", "sysvinit")), text


def test_wrong_policies_are_refused_with_their_place(
    hosts: dict[str, Host], project: Project, trees: dict[str, str]
) -> None:
    wrong = [
        {
            "direction": "out",
            "selector": {"source": "192.0.2.1"},
            "templates": [{"spi": "0x1001"}, {"mode": "tunel", "level": "maybe"}],
        }
    ]
    done = boot(project, "--check", "--limit", "enigma", boot_policies=wrong, **SYSVINIT)
    output = " ".join(done.output.split())
    assert (
        done.status
        and "boot_policies[0].templates[1].mode: unknown mode" in output
        and "boot_policies[0].templates[1].level" in output
    ), done.output
    assert tree(hosts["enigma"]) == trees["enigma"]


def test_a_rotation_enables_the_loader(hosts: dict[str, Host], project: Project) -> None:
    project.run_well(rotate_boot=True, **SYSVINIT)
    assert project.run_well(rotate_boot=True, **SYSVINIT).changed() == {"enigma": 0, "partym": 0}
    for host in hosts.values():
        assert host.spis(*GUIDE) == project.spis("guide")
        assert ours(host) and host.run("stat", "-c", "%a %U %G", POLICIES_FILE) == "644 root root\n"
        assert "S" in host.run("sh", "-c", "ls /etc/rcS.d | grep ipseckeys") and "__pycache__" not in tree(host)


def test_hosts_talk_again_after_a_reboot_without_the_controller(hosts: dict[str, Host], project: Project) -> None:
    keys = hosts["enigma"].keys()
    for host in hosts.values():
        host.run("ip", "xfrm", "policy", "add", *FOREIGN_POLICY)  # which no boot brings back
    with on_the_wire(NAME, GUIDE) as seen:
        for host in hosts.values():
            host.fault("reboot")
        for host in hosts.values():
            assert host.run("cat", "/run/boot.log").count("2 added, 0 replaced, 0 removed, 0 unchanged") == 2
            assert (host.spis(), host.keys()) == (project.spis("guide"), keys)
            assert ours(host)
        assert hosts["enigma"].pings(GUIDE[1]) and hosts["partym"].pings(GUIDE[0])
    assert len(seen) >= 4 and clear(seen) == []
    assert all(packets >= 2 for host in hosts.values() for packets in host.packets().values())


def test_without_its_sas_a_host_sends_nothing(hosts: dict[str, Host]) -> None:
    enigma = hosts["enigma"]
    text = enigma.file()
    put(enigma, "")
    assert "0 added, 0 replaced, 2 removed" in both(enigma, SCRIPT, "reload")[1]
    with on_the_wire(NAME, GUIDE) as seen:
        assert not enigma.pings(GUIDE[1])
    assert not seen and ours(enigma)
    put(enigma, text)
    assert both(enigma, SCRIPT, "reload")[0] == 0 and enigma.pings(GUIDE[1])


def test_reload_applies_only_the_difference(hosts: dict[str, Host]) -> None:
    enigma = hosts["enigma"]
    enigma.ip(FOREIGN)
    before, text = enigma.packets(), enigma.file()
    put(enigma, text + EXTRA)
    assert both(enigma, SCRIPT, "status")[0] == 3
    with covered(enigma):
        status, output = both(enigma, SCRIPT, "reload")
        assert status == 0 and "1 added, 0 replaced, 0 removed, 2 unchanged" in output
        assert both(enigma, SCRIPT, "status")[0] == 0
    assert enigma.packets() == {**before, "0x00002001": 0}
    put(enigma, text)
    # Its addresses are no longer in the file: the record of loaded SAs shows that it is ours.
    assert "0 added, 0 replaced, 1 removed, 2 unchanged" in both(enigma, SCRIPT, "reload")[1]
    assert enigma.packets() == before and all(before[spi] for spi in before if spi != FOREIGN_SPI)


def test_sas_that_no_policy_uses_fail_the_service(hosts: dict[str, Host]) -> None:
    enigma = hosts["enigma"]
    named = enigma.run("cat", POLICIES_FILE)
    enigma.run("sh", "-c", f"echo '[]' >{POLICIES_FILE}")
    status, output = both(enigma, SCRIPT, "reload")
    assert status == 0 and output.count("It stays, since it guards SAs") == 2 and ours(enigma)
    enigma.run("ip", "xfrm", "policy", "flush")
    for verb, exit_status in (("reload", 1), ("start", 1), ("status", 3)):
        status, output = both(enigma, SCRIPT, verb)
        assert (
            status == exit_status
            and f"no policy uses 1 SA of {SECRET_FILE}" in output
            and f"between {GUIDE[0]} and {GUIDE[1]}" in output
        ), output
    enigma.run("sh", "-c", f"cat >{POLICIES_FILE} <<'X'\n{named}X")
    assert both(enigma, SCRIPT, "reload")[0] == 0 and ours(enigma)


def test_a_wrong_file_is_reported_and_changes_nothing(hosts: dict[str, Host]) -> None:
    enigma = hosts["enigma"]
    before, text = enigma.packets(), enigma.file()
    put(enigma, text + WRONG)
    line = text.count("\n") + 1
    for verb in ("start", "reload", "stop", "restart"):
        status, output = both(enigma, SCRIPT, verb)
        assert status == 1 and f"{SECRET_FILE}, line {line}, column" in output and "63" in output, output
    assert enigma.packets() == before and ours(enigma)
    enigma.fault("reboot")
    log = enigma.run("cat", "/run/boot.log")
    # Fail closed: its policies are loaded, so traffic that should be encrypted does not leave.
    assert f"line {line}, column" in log and "exit status 1" in log and enigma.spis() == set() and ours(enigma)
    with on_the_wire(NAME, GUIDE) as seen:
        assert not enigma.pings(GUIDE[1])
    assert not seen
    assert f"line {line}, column" in enigma.run("dmesg")
    put(enigma, text)
    enigma.run("mv", POLICIES_FILE, "/etc/away")
    status, output = both(enigma, SCRIPT, "start")
    assert status == 1 and f"{POLICIES_FILE}: the file does not exist" in output and enigma.spis() == set()
    enigma.run("mv", "/etc/away", POLICIES_FILE)
    enigma.run("mv", SECRET_FILE, "/root/away")
    status, output = both(enigma, SCRIPT, "start")
    assert status == 1 and f"{SECRET_FILE}: the file does not exist" in output and ours(enigma)
    enigma.run("mv", "/root/away", SECRET_FILE)
    assert both(enigma, SCRIPT, "start")[0] == 0 and enigma.pings(GUIDE[1])


def test_stop_removes_only_our_sas_and_policies(hosts: dict[str, Host], project: Project) -> None:
    enigma = hosts["enigma"]
    enigma.ip(FOREIGN)
    enigma.run("ip", "xfrm", "policy", "add", *FOREIGN_POLICY)
    assert both(enigma, SCRIPT, "stop")[0] == 0 and enigma.spis() == {FOREIGN_SPI}
    (left,) = policies(enigma)
    assert "priority 42" in left
    assert both(enigma, SCRIPT, "stop")[0] == 0
    assert both(enigma, SCRIPT, "start")[0] == 0 and enigma.spis() == {FOREIGN_SPI, *project.spis("guide")}
    enigma.run("ip", "xfrm", "policy", "delete", *FOREIGN_POLICY[:6])
    assert ours(enigma)


def test_uninstalling_leaves_only_the_state_of_the_kernel(
    hosts: dict[str, Host], project: Project, trees: dict[str, str]
) -> None:
    spis = {name: host.spis() for name, host in hosts.items()}
    assert boot(project, "--check", boot_state="absent", **SYSVINIT).changed() == {"enigma": 1, "partym": 1}
    done = boot(project, boot_state="absent", **SYSVINIT)
    assert done.status == 0 and done.changed() == {"enigma": 1, "partym": 1}, done.output
    assert [unlike(tree(host), trees[name]) for name, host in hosts.items()] == [set(), set()]
    assert {name: host.spis() for name, host in hosts.items()} == spis and all(map(ours, hosts.values()))
    assert boot(project, boot_state="absent", **SYSVINIT).changed() == {"enigma": 0, "partym": 0}


# Left by systemd itself, and by the lab's boot.
SYSTEMD_OWN = ("/run/boot.log ", "/run/.containerenv ", "/run/machine-id ", "/run/credentials ", "/run/mount ")


def start_systemd(host: Host, services: str = "") -> None:
    host.run(
        "sh",
        "-c",
        START_SYSTEMD.format(target=TARGET.format(services=services), systemd=SYSTEMD, wait=services.split(" ")[0]),
    )


def test_systemd_loads_the_file(hosts: dict[str, Host], project: Project) -> None:
    partym = hosts["partym"]
    start_systemd(partym)
    inside = {"ansible_python_interpreter": "/root/python", **POLICIES}
    check = boot(project, "--check", "--limit", "partym", **inside)
    assert check.status == 0 and check.changed() == {"partym": 1}, check.output
    partym.run("ip", "xfrm", "state", "flush")
    partym.run("ip", "xfrm", "policy", "flush")
    done = boot(project, "--limit", "partym", **inside)
    assert done.status == 0 and done.changed() == {"partym": 1}, done.output
    assert boot(project, "--limit", "partym", **inside).changed() == {"partym": 0}
    assert partym.spis() == project.spis("guide") and ours(partym)
    unit = "/etc/systemd/system/ipseckeys.service"
    assert both(partym, "systemd-analyze", "verify", "--man=no", unit) == (0, "")
    status, output = both(partym, "systemd-analyze", "security", "--offline=true", "--threshold=20", unit)
    assert status == 0, output


def test_systemd_reloads_and_stops_as_the_script_does(hosts: dict[str, Host], project: Project) -> None:
    partym = hosts["partym"]
    systemctl = ("/root/inside", "systemctl")
    assert partym.pings(GUIDE[0])
    partym.ip(FOREIGN)
    before, text = partym.packets(), partym.file()
    put(partym, text + EXTRA)
    assert both(partym, *systemctl, "reload", "ipseckeys")[0] != 0  # no policy uses it
    with covered(partym):
        assert both(partym, *systemctl, "reload", "ipseckeys")[0] == 0
    assert partym.packets() == {**before, "0x00002001": 0}
    put(partym, text + WRONG)
    assert both(partym, *systemctl, "reload", "ipseckeys")[0] != 0
    assert partym.packets() == {**before, "0x00002001": 0}
    log = both(partym, "/root/inside", "journalctl", "--no-pager", "-u", "ipseckeys")[1]
    assert re.search(rf"{SECRET_FILE}, line \d+, column \d+: .*63", log), log
    put(partym, text)
    assert (
        both(partym, *systemctl, "stop", "ipseckeys")[0] == 0
        and partym.spis() == {FOREIGN_SPI}
        and policies(partym) == []
    )
    put(partym, WRONG)
    assert both(partym, *systemctl, "start", "ipseckeys")[0] != 0 and partym.spis() == {FOREIGN_SPI} and ours(partym)
    assert both(partym, *systemctl, "is-failed", "ipseckeys") == (0, "failed\n")
    put(partym, text)
    assert both(partym, *systemctl, "start", "ipseckeys")[0] == 0 and ours(partym)


def test_operators_manage_the_service_through_sudo(hosts: dict[str, Host], project: Project) -> None:
    partym = hosts["partym"]
    rights = {
        "ansible_python_interpreter": "/root/python",
        "boot_operators": "operator",  # a group of every Debian system
        "boot_operators_rights": ["service"],
    }
    done = boot(project, "--limit", "partym", **rights, **POLICIES)
    assert done.status == 0 and done.changed() == {"partym": 1}, done.output
    # An operator's own password is asked for, which needs a terminal.
    partym.run("/root/inside", "sh", "-c", "umask 337; echo 'Defaults !authenticate' >/etc/sudoers.d/test")
    operator = ("/root/inside", "setpriv", "--reuid=nobody", "--regid=operator", "--clear-groups", "sudo", "-n")
    unit = "ipseckeys.service"
    status, text = both(partym, *operator, "systemctl", "--no-pager", "status", unit)
    assert status == 0 and "Active: active" in text, text
    assert both(partym, *operator, "systemctl", "stop", unit) == (0, "") and not ours(partym)
    assert both(partym, *operator, "systemctl", "start", unit) == (0, "") and ours(partym)
    for refused in (("status", unit), ("edit", unit), ("stop", "ssh.service")):
        assert both(partym, *operator, "systemctl", *refused)[0] == 1, refused
    assert boot(project, "--limit", "partym", ansible_python_interpreter="/root/python", **POLICIES).status == 0
    assert both(partym, *operator, "systemctl", "--no-pager", "status", unit)[0] == 1
    partym.run("/root/inside", "rm", "/etc/sudoers.d/test")


OTHER_FILE, OTHER_POLICIES = "/etc/inet/secret/other", "/etc/other-policies.json"
OTHER_POLICY = (
    f'[{{"direction": "out", "selector": {{"source": "{GUIDE[0]}", "destination": "192.0.2.9"}}, "templates": [{{}}]}}]'
)


def put_there(host: Host, path: str, mode: str, text: str) -> None:
    host.run("sh", "-c", f"cat >{path} <<'X'\n{text}\nX\nchmod {mode} {path}")


def check_refusals(host: Host, switch: tuple[str, ...], untouched: t.Callable[[], bool]) -> None:
    """``switch`` refuses files that are wrong, and what the operator has no right to. Leaves good files."""
    put_there(host, OTHER_FILE, "600", EXTRA)
    put_there(host, OTHER_POLICIES, "644", OTHER_POLICY)
    status, output = both(host, *switch, OTHER_FILE)
    assert status == 1 and "no policy uses 1 SA " in output and untouched(), output
    put_there(host, OTHER_FILE, "644", EXTRA)
    files = (OTHER_FILE, "--policies", OTHER_POLICIES)
    status, output = both(host, *switch, *files)
    assert status == 1 and "the file has mode 0644, not 0600" in output and untouched(), output
    put_there(host, OTHER_FILE, "600", EXTRA)
    unwanted = (("-v",), ("--allow-unsafe-file",), ("--rotation-due", "/etc/passwd"), ("--policies", "/etc/x"))
    for more in (*unwanted, ("--no-policies",)):
        status, output = both(host, *switch, *files, *more)
        assert status == 1 and "ipseckey:" not in output and untouched(), output


def test_operators_have_the_service_load_other_files(hosts: dict[str, Host], project: Project) -> None:
    partym, unit = hosts["partym"], "ipseckeys.service"
    inside = {"ansible_python_interpreter": "/root/python", **POLICIES}
    rights = {"boot_operators": "operator", "boot_operators_rights": ["boot_file", "boot_without_policies", "service"]}
    assert boot(project, "--limit", "partym", **rights, **inside).status == 0
    partym.run("/root/inside", "sh", "-c", "umask 337; echo 'Defaults !authenticate' >/etc/sudoers.d/test")
    operator = ("/root/inside", "setpriv", "--reuid=nobody", "--regid=operator", "--clear-groups", "sudo", "-n")
    switch = (*operator, "/usr/local/sbin/ipseckey", "--boot-file")
    show = ("/root/inside", "systemctl", "show", "-p", "ExecReload", "-p", "NeedDaemonReload", unit)
    files = (OTHER_FILE, "--policies", OTHER_POLICIES)
    foreign = partym.spis() - project.spis("guide")

    def reloads() -> list[str]:
        return re.findall(r"argv\[\]=[^;]*|NeedDaemonReload=.*", partym.run(*show))

    def untouched() -> bool:
        return reloads() == before and partym.spis() == {*foreign, *project.spis("guide")} and ours(partym)

    before = reloads()
    check_refusals(partym, switch, untouched)
    status, output = both(partym, *switch, *files)
    assert status == 0 and f"To load it now: systemctl reload {unit}" in output, output
    assert partym.spis() == {*foreign, *project.spis("guide")} and ours(partym), "nothing is loaded yet"
    command, needs = reloads()
    assert f"--apply {OTHER_FILE} --policies {OTHER_POLICIES} " in command and needs == "NeedDaemonReload=no"
    assert SECRET_FILE not in partym.run("/root/inside", "systemctl", "cat", unit)
    assert "nothing changed" in both(partym, *switch, *files)[1]
    assert both(partym, *operator, "systemctl", "reload", unit) == (0, "")
    assert partym.spis() == {*foreign, "0x00002001"}
    assert [text for text in policies(partym) if "dst 192.0.2.9/32 dir out" in text] == policies(partym)
    status, output = both(partym, "/root/inside", "/usr/local/sbin/ipseckey", "status")
    assert OTHER_FILE in output and SECRET_FILE not in output, output

    status, output = both(partym, *switch, OTHER_FILE, "--no-policies")
    assert status == 0 and "the traffic of 1 SA leaves unencrypted" in output and len(policies(partym)) == 1, output
    assert f"--boot-file {OTHER_FILE} --policies {OTHER_POLICIES}" in output, output
    assert "--policies" not in reloads()[0] and f"--apply {OTHER_FILE} " in reloads()[0]
    status, output = both(partym, "/root/inside", "/usr/local/sbin/ipseckey", "status")
    assert "and no policies" in " ".join(output.split()) and "which a reload removes" in " ".join(
        output.split()
    ), output
    assert both(partym, *operator, "systemctl", "reload", unit) == (0, "")
    assert partym.spis() == {*foreign, "0x00002001"} and not policies(partym)
    assert both(partym, *operator, "systemctl", "restart", unit) == (0, "")
    assert partym.spis() == {*foreign, "0x00002001"} and not policies(partym)

    done = boot(project, "--limit", "partym", **inside)
    assert done.status == 0 and done.changed() == {"partym": 1}, done.output
    assert untouched() and boot(project, "--limit", "partym", **inside).changed() == {"partym": 0}
    partym.run("/root/inside", "rm", "/etc/sudoers.d/test")
    partym.run("rm", OTHER_FILE, OTHER_POLICIES)


def test_changed_policies_are_loaded_at_once(hosts: dict[str, Host], project: Project) -> None:
    partym = hosts["partym"]
    more = {
        "ansible_python_interpreter": "/root/python",
        "boot_policies": f"{{{{ {CONNECTIONS_POLICIES} + [{ONE_MORE}] }}}}",
    }
    partym.run("ip", "xfrm", "policy", "add", *FOREIGN_POLICY)
    done = boot(project, "--limit", "partym", **more)
    assert done.status == 0 and done.changed() == {"partym": 1}, done.output
    assert (
        sum("priority 7" in text and "action block" in text for text in policies(partym)) == 1
        and len(policies(partym)) == 4
    )
    # Written by a run that does not load, like one interrupted before loading, and loaded by the
    # next.
    written = boot(project, "--limit", "partym", boot_load=False, **{**more, **POLICIES})
    assert written.status == 0 and written.changed() == {"partym": 1}, written.output
    assert sum("priority 7" in text for text in policies(partym)) == 1
    done = boot(project, "--limit", "partym", **{**more, **POLICIES})
    assert done.status == 0 and done.changed() == {"partym": 1}, done.output
    assert sum("priority 42" in text for text in policies(partym)) == 1 and len(policies(partym)) == 3
    partym.run("ip", "xfrm", "policy", "delete", *FOREIGN_POLICY[:6])
    # A policy that protects SAs of the file is kept, with a warning, even if it is no longer
    # configured.
    without = boot(project, "--limit", "partym", ansible_python_interpreter="/root/python")
    assert without.status == 0 and without.changed() == {"partym": 0}, without.output
    assert (
        " ".join(without.output.split()).count("no longer named, but kept") == 2
        and POLICIES_FILE in tree(partym)
        and ours(partym)
    )


def test_systemd_loads_before_the_network_and_asks_for_a_rotation(hosts: dict[str, Host], project: Project) -> None:
    partym = hosts["partym"]
    done = boot(
        project, "--limit", "partym", ansible_python_interpreter="/root/python", boot_ask_for_rotation=True, **POLICIES
    )
    assert done.status == 0 and done.changed() == {"partym": 1}, done.output
    assert not partym.run("find", "/var/lib", "-path", ROTATION_DUE)
    partym.fault("reboot")
    assert partym.spis() == set() and policies(partym) == []
    with on_the_wire(NAME, GUIDE) as seen:
        start_systemd(partym, "ipseckeys.service network-pre.target")
        assert partym.spis() == project.spis("guide") and ours(partym) and partym.pings(GUIDE[0])
    assert len(seen) >= 2 and clear(seen) == []
    show = ("/root/inside", "systemctl", "show", "--value", "-p", "ActiveEnterTimestampMonotonic")
    loaded, network = (int(partym.run(*show, unit)) for unit in ("ipseckeys.service", "network-pre.target"))
    assert 0 < loaded < network
    assert set(re.findall(r"0x[0-9a-f]{8}", partym.run("cat", ROTATION_DUE))) == project.spis("guide")
    assert "a rotation is due" in both(partym, "/root/inside", "journalctl", "--no-pager", "-u", "ipseckeys")[1]


def test_systemd_keeps_the_service_when_another_target_is_isolated(hosts: dict[str, Host], project: Project) -> None:
    """As emergency.target, which does not want it, and in which the network may be up."""
    partym, systemctl = hosts["partym"], ("/root/inside", "systemctl")
    text = TARGET.format(services="") + "AllowIsolate=yes\n"
    partym.run("sh", "-c", 'printf %s "$1" >/run/systemd/system/bare.target', "sh", text)
    partym.run(*systemctl, "daemon-reload")
    partym.run(*systemctl, "isolate", "bare.target")
    assert both(partym, *systemctl, "is-active", "lab.target")[0] != 0
    assert both(partym, *systemctl, "is-active", "ipseckeys") == (0, "active\n")
    assert partym.spis() == project.spis("guide") and ours(partym) and partym.pings(GUIDE[0])


def test_systemd_forgets_the_unit(hosts: dict[str, Host], project: Project, trees: dict[str, str]) -> None:
    partym = hosts["partym"]
    spis = partym.spis()
    absent = {"boot_state": "absent", "ansible_python_interpreter": "/root/python"}
    done = boot(project, "--limit", "partym", **absent)
    assert done.status == 0 and done.changed() == {"partym": 1}, done.output
    assert partym.spis() == spis
    assert both(partym, "/root/inside", "systemctl", "status", "ipseckeys")[0] == 4
    assert {line for line in unlike(tree(partym), trees["partym"]) if not line.startswith(SYSTEMD_OWN)} == set()
    assert boot(project, "--limit", "partym", **absent).changed() == {"partym": 0}


@pytest.fixture(scope="module", name="openrc")
def bring_openrc(hosts: dict[str, Host]) -> str:
    """Set up OpenRC on enigma, without SAs; return every file there."""
    PACKAGES.mkdir(parents=True, exist_ok=True)
    if len(list(PACKAGES.glob("*.deb"))) < len(OPENRC):
        fetch = ("apt-get", "-q", "download", *OPENRC)
        if subprocess.run(fetch, cwd=PACKAGES, check=False, capture_output=True).returncode:
            subprocess.run(("apt-get", "-q", "update"), check=True, capture_output=True)
            subprocess.run(fetch, cwd=PACKAGES, check=True, capture_output=True)
    enigma = hosts["enigma"]
    enigma.run("sh", "-c", UNPACK_OPENRC)
    enigma.run("sh", "-c", "ip xfrm state flush; ip xfrm policy flush")
    return tree(enigma)


OPENRC_MANAGED = {"boot_service_manager": "openrc", **POLICIES}


def test_openrc_loads_the_file(hosts: dict[str, Host], project: Project, openrc: str) -> None:
    enigma = hosts["enigma"]
    check = boot(project, "--check", "--limit", "enigma", **OPENRC_MANAGED)
    assert (
        check.status == 0 and check.changed() == {"enigma": 1} and unlike(tree(enigma), openrc) == set()
    ), check.output
    done = boot(project, "--limit", "enigma", **OPENRC_MANAGED)
    assert done.status == 0 and done.changed() == {"enigma": 1}, done.output
    assert boot(project, "--limit", "enigma", **OPENRC_MANAGED).changed() == {"enigma": 0}
    assert enigma.spis() == project.spis("guide") and ours(enigma)


def test_openrc_reloads_and_stops_as_the_script_does(hosts: dict[str, Host], project: Project, openrc: str) -> None:
    enigma = hosts["enigma"]
    service = ("rc-service", "ipseckeys")
    enigma.ip(FOREIGN)
    text, loaded = enigma.file(), {FOREIGN_SPI, *project.spis("guide")}
    put(enigma, text + EXTRA)
    with covered(enigma):
        status, output = both(enigma, *service, "reload")
    assert (
        status == 0
        and "1 added, 0 replaced, 0 removed, 2 unchanged" in output
        and enigma.spis() == {"0x00002001", *loaded}
    )
    put(enigma, text + WRONG)
    enigma.run("dmesg", "-C")
    wrong = f"{SECRET_FILE}, line {text.count(chr(10)) + 1}, column"
    for verb in ("reload", "restart", "stop"):
        status, output = both(enigma, *service, verb)
        assert status == 1 and wrong in output and "63" in output, output
    assert wrong in enigma.run("dmesg") and enigma.spis() == {"0x00002001", *loaded} and ours(enigma)
    put(enigma, text)
    assert both(enigma, *service, "stop")[0] == 0 and enigma.spis() == {FOREIGN_SPI} and policies(enigma) == []
    put(enigma, text + WRONG)
    status, output = both(enigma, *service, "start")
    assert (
        status == 1 and wrong in output and both(enigma, *service, "status")[0] == 3 and enigma.spis() == {FOREIGN_SPI}
    )
    put(enigma, text)
    assert both(enigma, *service, "start")[0] == 0 and enigma.spis() == loaded and ours(enigma)


def test_openrc_loads_before_the_network(hosts: dict[str, Host], project: Project, openrc: str) -> None:
    enigma = hosts["enigma"]
    enigma.run(
        "sh",
        "-c",
        f"printf %s '{NETWORK}' >/etc/init.d/a-network; chmod 755 /etc/init.d/a-network; rc-update add a-network boot",
    )
    enigma.run("openrc", "shutdown")
    assert enigma.spis() >= project.spis("guide") and ours(enigma)
    enigma.fault("reboot")
    assert enigma.spis() == set() and policies(enigma) == []
    output = enigma.run("sh", "-c", "mkdir -p /run/openrc; openrc boot 2>&1")
    assert "2 added, 0 replaced, 0 removed" in output and enigma.spis() == project.spis("guide") and ours(enigma)
    assert re.search(r"\b2$", enigma.run("cat", "/run/before-network")), output
    assert enigma.pings(GUIDE[1])
    enigma.run(
        "sh",
        "-c",
        "rc-service a-network stop; rc-update del a-network boot; rm /etc/init.d/a-network /run/before-network",
    )


def test_openrc_forgets_the_service(hosts: dict[str, Host], project: Project, openrc: str) -> None:
    enigma = hosts["enigma"]
    spis = enigma.spis()
    absent = {"boot_service_manager": "openrc", "boot_state": "absent"}
    assert boot(project, "--check", "--limit", "enigma", **absent).changed() == {"enigma": 1}
    done = boot(project, "--limit", "enigma", **absent)
    assert done.status == 0 and done.changed() == {"enigma": 1}, done.output
    assert enigma.spis() == spis and ours(enigma)
    # OpenRC's cache of service dependencies.
    assert {line for line in unlike(tree(enigma), openrc) if not line.startswith("/run/openrc/deptree ")} == set()
    assert boot(project, "--limit", "enigma", **absent).changed() == {"enigma": 0}


def test_smf_is_configured_once_and_not_refreshed_without_need(hosts: dict[str, Host], project: Project) -> None:
    """SMF's commands are stand-ins here: the test checks which of them are run, and when."""
    enigma = hosts["enigma"]
    install = (
        "mkdir /root/smf; cd /usr/local/sbin; cat >svcprop; chmod 755 svcprop; for name in svccfg svcadm ipseckey; do"
        " cp svcprop $name; done"
    )
    enigma.run("sh", "-c", f"({install}) <<'X'\n{STAND_IN}X")
    enigma.run(
        "sh",
        "-c",
        "cd /root/smf; printf /etc/inet/secret/ipseckeys | tee current >running; echo false >enabled; echo disabled"
        " >state",
    )
    run = {"boot_service_manager": "smf", "boot_file": "/etc/inet/secret/other"}

    def asked() -> list[str]:
        lines = enigma.run("sh", "-c", "touch /root/smf/asked; cat /root/smf/asked; rm -f /root/smf/asked").splitlines()
        return [line for line in lines if not line.startswith("svcprop ")]

    refused = boot(project, "--limit", "enigma", **run, **POLICIES)
    assert refused.status and "/etc/inet/ipsecinit.conf" in refused.output and not asked()
    missing = boot(project, "--limit", "enigma", **run)
    assert missing.status and asked() == [f"ipseckey -c {run['boot_file']}"]
    enigma.run("cp", "-p", SECRET_FILE, run["boot_file"])
    assert boot(project, "--check", "--limit", "enigma", **run).changed() == {"enigma": 1} and asked() == []
    done = boot(project, "--limit", "enigma", **run)
    assert done.status == 0 and done.changed() == {"enigma": 1}, done.output
    setprop = f"svccfg -s {SERVICE} setprop config/config_file = astring: "
    assert asked() == [
        f"ipseckey -c {run['boot_file']}",
        setprop + run["boot_file"],
        f"svcadm refresh {SERVICE}",
        f"svcadm enable -s {SERVICE}",
    ]
    assert boot(project, "--limit", "enigma", **run).changed() == {"enigma": 0} and asked() == []
    enigma.run("sh", "-c", "echo maintenance >/root/smf/state")
    broken = boot(project, "--limit", "enigma", **run)
    assert broken.status and "svcadm clear" in broken.output and asked() == []
    enigma.run("sh", "-c", "echo online >/root/smf/state")
    assert boot(project, "--limit", "enigma", boot_state="absent", **run).changed() == {"enigma": 1}
    assert asked() == [f"svcadm disable -s {SERVICE}", f"{setprop}{SECRET_FILE}", f"svcadm refresh {SERVICE}"]
