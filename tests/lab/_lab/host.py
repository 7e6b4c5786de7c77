# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One host: a process with its own network, mount, PID, IPC and host name namespaces. Runs on the lab's side."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import time
import typing as t

from . import places, plan, spec, sshd, system, tables

# Folders that start empty at every boot of a host, with their mode.
VOLATILE: dict[str, str] = {"run": "755", "tmp": "1777", "dev/shm": "1777"}
# Private folders of a host from its first boot on: they hide the real machine's, and survive a
# reboot.
KEPT: dict[str, int] = {"etc/inet": 0o755, "var/tmp": 0o1777}
# Interpreters that version managers keep below root's home: shown to the hosts, read-only.
TOOLCHAINS = (".pyenv", ".local/share/uv")
DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "kmsg", "net/tun", "fuse")
REAL_FILE_SYSTEMS = frozenset(
    {"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "zfs", "overlay", "virtiofs", "9p", "hostfs"}
)

SSHD_CONFIG = """\
ListenAddress {address}
HostKey /run/lab-ssh/host_key
AuthorizedKeysFile /run/lab-ssh/authorized_keys
PidFile /run/lab-ssh/sshd.pid
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
PrintMotd no
PrintLastLog no
AcceptEnv *
MaxSessions 100
MaxStartups 100
LogLevel ERROR
Subsystem sftp internal-sftp
"""


def ip_batch(lines: t.Iterable[str], namespace: str | None = None) -> None:
    """Run `ip` commands in one process; the first that fails ends it."""
    text = "".join(f"{line}\n" for line in lines)
    command = ["ip", *(["-n", namespace] if namespace else []), "-batch", "-"]
    result = subprocess.run(command, input=text, check=False, capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f"{' '.join(command)}: {result.stderr.strip()}\n{text}")


def without_rules(names: t.Sequence[str]) -> str:
    """modprobe.d rules that block modules, whether requested by name, by alias or as a dependency."""
    spellings = sorted({spelling for name in names for spelling in (name.replace("-", "_"), name.replace("_", "-"))})
    return "".join(f"blacklist {name}\ninstall {name} /bin/false\n" for name in spellings)


def management_end(index: int) -> str:
    """Name of the bridge's end of a host's management link."""
    return f"mgmt{index}"


def wire_end(index: int) -> str:
    """Name of the router's end of a host's data link."""
    return f"data{index}"


def mac(side: str, index: int) -> str:
    """The same at every boot of a host, since neighbours cache it."""
    return f"02:00:00:0{side}:{index >> 8:02x}:{index & 255:02x}"


def connect(machine: spec.Spec, hosts: t.Iterable[plan.Host]) -> None:
    """Make the hosts' network namespaces and their links: mgmt0 to the controller, data0 to the
    wire. Uses few processes, which are expensive on User-Mode Linux.
    """
    here, wire = [], []
    for host in hosts:
        index = machine.hosts.index(host)
        near, far = management_end(index), wire_end(index)
        here.append(f"netns add {host.name}")
        if host.management:
            here.append(
                f"link add {near} address {mac('1', index)} type veth peer name mgmt0 address {mac('0', index)} netns"
                f" {host.name}"
            )
            here.append(f"link set {near} master mgmt up")
        if host.data is not None:
            ends = f"address {mac('3', index)} type veth peer name data0 address {mac('2', index)} netns {host.name}"
            here.append(f"link add {far} netns {tables.WIRE} {ends}")
            wire.append(f"addr add {host.data.gateway4}/{tables.PREFIX4} dev {far}")
            wire.append(f"addr add {host.data.gateway6}/{tables.PREFIX6} dev {far} nodad")
            wire.append(f"link set {far} up")
    ip_batch(here)
    if wire:
        ip_batch(wire, tables.WIRE)


def configure(host: plan.Host) -> None:
    """Add the host's addresses to the current network namespace."""
    settings = pathlib.Path("/proc/sys/net")
    for device in ("default", "mgmt0", "data0"):  # do not wait a second for duplicate address detection
        with contextlib.suppress(FileNotFoundError):
            (settings / "ipv6/conf" / device / "accept_dad").write_text("0", encoding="ascii")
    lines = ["link set lo up"]
    if host.management:
        lines += [f"addr add {host.management}/16 dev mgmt0", "link set mgmt0 up"]
    if host.data is not None:
        lines += [
            f"addr add {host.data.ipv4}/{tables.PREFIX4} dev data0",
            f"addr add {host.data.ipv6}/{tables.PREFIX6} dev data0 nodad",
            "link set data0 up",
            f"route add 0.0.0.0/0 via {host.data.gateway4}",
            f"route add ::/0 via {host.data.gateway6}",
        ]
    ip_batch(lines)
    if host.name == tables.WIRE:
        for key in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
            (settings / key).write_text("1", encoding="ascii")


def disconnect(machine: spec.Spec, host: plan.Host) -> None:
    """Remove the links and the network namespace, and with it SADB and SPD."""
    index = machine.hosts.index(host)
    subprocess.run(["ip", "link", "del", management_end(index)], check=False, capture_output=True)
    subprocess.run(["ip", "-n", tables.WIRE, "link", "del", wire_end(index)], check=False, capture_output=True)
    subprocess.run(["ip", "netns", "del", host.name], check=True)


def other_real_mounts() -> list[str]:
    """Mount points of further disks, which an overlay of / does not show."""
    points = []
    for line in pathlib.Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        fields, rest = line.split(" - ", 1)
        point = fields.split()[4].encode("ascii").decode("unicode_escape")
        if (
            rest.split()[0] in REAL_FILE_SYSTEMS
            and point != "/"
            and not point.startswith(("/run/", "/proc/", "/sys/", "/dev/"))
        ):
            points.append(point)
    return [point for point in points if os.path.isdir(point)]


def build_root(
    machine: spec.Spec, name: str, *, own_home: bool, writable: t.Sequence[str] = (), shown: t.Sequence[str] = ()
) -> str:
    """Mount the host's file tree, the real one with changes in memory only; return the mount point."""
    top = f"{places.HOSTS}/{name}"
    root = f"{top}/root"
    for folder in ("upper", "work", "root"):
        os.makedirs(f"{top}/{folder}", exist_ok=True)
    system.mount("overlay", root, "overlay", 0, f"lowerdir=/,upperdir={top}/upper,workdir={top}/work")
    if machine.kernel == "host":
        for point in other_real_mounts():
            system.bind(point, root + point, read_only=True)
    for folder, mode in VOLATILE.items():
        if folder != "dev/shm":
            os.makedirs(f"{root}/{folder}", exist_ok=True)
            system.mount("tmpfs", f"{root}/{folder}", "tmpfs", system.MS_NOSUID | system.MS_NODEV, f"mode={mode}")
    for folder, kept_mode in {**KEPT, **({"root": 0o700} if own_home else {})}.items():
        store = f"{top}/keep/{folder}"
        if not os.path.isdir(store):
            os.makedirs(store)
            os.chmod(store, kept_mode)
        os.makedirs(f"{root}/{folder}", exist_ok=True)
        system.bind(store, f"{root}/{folder}")
    if own_home:
        for folder in TOOLCHAINS:
            if os.path.isdir(f"/root/{folder}"):
                os.makedirs(f"{root}/root/{folder}", exist_ok=True)
                system.bind(f"/root/{folder}", f"{root}/root/{folder}", read_only=True)
    # The checkout as it is now: an overlay may show an outdated file when the file below it changes.
    for folder in (machine.checkout, *shown):
        system.bind(folder, made(root + folder), read_only=True)
    for folder in writable:
        system.bind(folder, root + folder)
    system.mount("tmpfs", root + machine.labs, "tmpfs", system.MS_NOSUID | system.MS_NODEV, "mode=700")
    build_dev(f"{root}/dev")
    if machine.kernel == "uml":
        os.makedirs(f"{root}/lib/modules", exist_ok=True)
        system.bind(machine.modules, f"{root}/lib/modules", read_only=True)
        os.makedirs(f"{root}/etc/modprobe.d", exist_ok=True)
        pathlib.Path(root, "etc/modprobe.d/lab-without.conf").write_text(
            without_rules(machine.without), encoding="ascii"
        )
        library = f"/usr/lib/lab-{places.POPULATE}.so"
        shutil.copyfile(f"{machine.folder}/{places.POPULATE}.so", root + library)
        pathlib.Path(root, "etc/ld.so.preload").write_text(f"{library}\n", encoding="ascii")
    packages = made(f"{root}/usr/lib/python3/dist-packages")
    shutil.copyfile(pathlib.Path(__file__).with_name("compiled.py"), f"{packages}/lab_compiled.py")
    pathlib.Path(packages, "lab_compiled.pth").write_text("import lab_compiled; lab_compiled.install()\n", "ascii")
    write_names(machine, root, name)
    return root


def build_dev(dev: str) -> None:
    """A /dev with harmless devices only, and its own terminals."""
    os.makedirs(dev, exist_ok=True)
    system.mount("tmpfs", dev, "tmpfs", system.MS_NOSUID, "mode=755")
    for folder in ("net", "pts", "shm"):
        os.mkdir(f"{dev}/{folder}")
    for device in DEVICES:
        if os.path.exists(f"/dev/{device}"):
            info = os.stat(f"/dev/{device}")
            os.mknod(f"{dev}/{device}", info.st_mode, info.st_rdev)
            os.chmod(f"{dev}/{device}", info.st_mode & 0o7777)
        elif device == "net/tun":
            os.mknod(f"{dev}/{device}", 0o20600, os.makedev(10, 200))
    system.mount("devpts", f"{dev}/pts", "devpts", system.MS_NOSUID, "newinstance,ptmxmode=0666,mode=620")
    system.mount("tmpfs", f"{dev}/shm", "tmpfs", system.MS_NOSUID | system.MS_NODEV, f"mode={VOLATILE['dev/shm']}")
    for link, target in {
        "ptmx": "pts/ptmx",
        "fd": "/proc/self/fd",
        "stdin": "fd/0",
        "stdout": "fd/1",
        "stderr": "fd/2",
    }.items():
        os.symlink(target, f"{dev}/{link}")


def write_names(machine: spec.Spec, root: str, name: str) -> None:
    """Write /etc/hosts and /etc/hostname, and unlock root's account for sshd."""
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost", f"127.0.1.1 {name}"]
    for host in machine.hosts:
        if host.data is not None:
            lines = [line for line in lines if line != f"127.0.1.1 {host.name}"]
            lines += [f"{host.data.ipv4} {host.name}", f"{host.data.ipv6} {host.name}"]
    pathlib.Path(root, "etc/hosts").write_text("\n".join(lines) + "\n", encoding="ascii")
    pathlib.Path(root, "etc/hostname").write_text(f"{name}\n", encoding="ascii")
    shadow = pathlib.Path(root, "etc/shadow")
    if shadow.exists():
        accounts = [line.split(":") for line in shadow.read_text(encoding="utf-8").splitlines()]
        changed = [[account[0], "*", *account[2:]] if account[0] == "root" else account for account in accounts]
        shadow.write_text("".join(":".join(account) + "\n" for account in changed), encoding="utf-8")
        shadow.chmod(0o640)


def prepare_sshd(machine: spec.Spec, name: str, address: str, root: str) -> None:
    """Copy the host's keys into its own /run, since the lab's folder is hidden from it."""
    target = f"{root}/run/lab-ssh"
    os.mkdir(target, 0o700)
    os.mkdir(f"{root}/run/sshd", 0o755)
    for source, copy in {f"{name}.key": "host_key", "user.key.pub": "authorized_keys"}.items():
        shutil.copyfile(f"{machine.folder}/keys/{source}", f"{target}/{copy}")
        os.chmod(f"{target}/{copy}", 0o600)
    pathlib.Path(target, "sshd_config").write_text(SSHD_CONFIG.format(address=address), encoding="ascii")


def detach(main: t.Callable[[], None], flags: int, network: str | None) -> int:
    """Run main in new namespaces as an independent process; return its PID once main has returned.
    The process lives until it is killed, as the first of its PID namespace.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        os.setsid()
        try:
            system.unshare(flags)
            system.private_mounts()  # before the old root is detached, so that it stays for other processes
            if network:
                system.enter_network(network)
            first = os.fork()
            if first:
                os.write(writer, f"{first}\n".encode())
                os._exit(0)
            main()
            os.write(writer, b"ready\n")
            os.close(writer)
            bury()
        except BaseException as exc:  # the parent reports it; this process must not continue in the caller's code
            os.write(writer, f"failed: {exc!r}\n".encode())
        finally:
            os._exit(1)
    os.close(writer)
    os.waitpid(child, 0)
    with open(reader, encoding="utf-8") as stream:
        lines = stream.read().splitlines()
    if lines[1:] != ["ready"]:
        raise RuntimeError("; ".join(lines) or "the host's first process died at once")
    return int(lines[0])


def bury() -> t.NoReturn:
    """PID 1 of a host: reap its orphans until killed."""
    null = os.open("/dev/null", os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    while True:
        try:
            os.wait()
        except ChildProcessError:
            time.sleep(1)


def own_start_scripts(name: str) -> list[str]:
    """The host's own start scripts for early boot; those of the machine are not for the lab."""
    folder = pathlib.Path(places.HOSTS, name, "upper/etc/rcS.d")
    return sorted(f"/etc/rcS.d/{path.name}" for path in folder.glob("S*") if path.is_symlink())


def run_start_scripts(scripts: t.Sequence[str]) -> None:
    """Run them one after the other, as init does before the network is up; their output goes to /run/boot.log."""
    with open("/run/boot.log", "w", encoding="utf-8") as log:
        for script in scripts:
            done = subprocess.run(
                [script, "start"],
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": places.PATH},
                cwd="/",
            )
            print(f"{script}: exit status {done.returncode}", file=log, flush=True)


def start(machine: spec.Spec, host: plan.Host) -> None:
    """Boot the host, whose links exist: file tree, its own start scripts, addresses, sshd."""

    scripts = own_start_scripts(host.name)

    def boot() -> None:
        socket.sethostname(host.name)
        root = build_root(machine, host.name, own_home=machine.own_home, writable=machine.writable, shown=machine.shown)
        system.mount("proc", f"{root}/proc", "proc", system.MS_NOSUID | system.MS_NODEV)
        system.mount("sysfs", f"{root}/sys", "sysfs", system.MS_NOSUID | system.MS_NODEV)
        if host.management:
            prepare_sshd(machine, host.name, host.management, root)
        system.pivot_root(root)
        os.mkdir("/run/netns")
        run_start_scripts(scripts)
        configure(host)
        if host.management:
            sshd.main()

    namespaces = system.CLONE_NEWNS | system.CLONE_NEWUTS | system.CLONE_NEWIPC | system.CLONE_NEWPID
    places.remember(host.name, detach(boot, namespaces, host.name))


def start_control(machine: spec.Spec) -> None:
    """The sshd through which the controller reaches the lab itself, and from there any host, even
    one whose sshd is down.
    """
    if machine.kernel != "uml":
        return

    def boot() -> None:
        root = build_root(machine, "control", own_home=True)
        system.bind(places.HOSTS, made(f"{root}{places.HOSTS}"))
        system.bind("/run/netns", made(f"{root}/run/netns"))
        system.bind(machine.folder, made(root + machine.folder), read_only=True)
        system.bind("/proc", f"{root}/proc")
        system.bind("/sys", f"{root}/sys")
        prepare_sshd(machine, "control", tables.MACHINE_ADDRESS, root)
        system.pivot_root(root)
        sshd.main()

    detach(boot, system.CLONE_NEWNS, None)


def made(folder: str) -> str:
    os.makedirs(folder, exist_ok=True)
    return folder
