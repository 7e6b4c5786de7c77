# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keys, ssh configuration and Ansible inventory of a lab."""

from __future__ import annotations

import pathlib
import shlex
import subprocess
import typing as t

from . import plan, tables
from .folder import Lab


def write_keys(lab: Lab, names: t.Iterable[str]) -> None:
    """One key for the user and one for each sshd, and known_hosts that names them all."""
    keys = lab.path / "keys"
    keys.mkdir(mode=0o700)
    names = list(names)
    making = [
        subprocess.Popen(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(keys / f"{name}.key")])
        for name in ["user", *names]
    ]
    if any(process.wait() for process in making):
        raise RuntimeError(f"ssh-keygen failed in {keys}")
    known = "".join(f"{lab.alias(name)} {(keys / f'{name}.key.pub').read_text(encoding='ascii')}" for name in names)
    (lab.path / "known_hosts").write_text(known, encoding="ascii")


def quoted(value: str | pathlib.Path) -> str:
    """Quote a value that may contain spaces, as ssh_config(5) requires."""
    return f'"{value}"'


def write_ssh_config(lab: Lab, addresses: dict[str, str]) -> None:
    """Host names, addresses, and the ProxyCommand into the lab's network namespace."""
    proxy = shlex.join(
        [
            "nsenter",
            f"--net=/run/netns/{lab.namespace}",
            "/usr/bin/python3",
            "-ISEB",
            str(pathlib.Path(__file__).with_name("connect.py")),
            "%h",
            "%p",
        ]
    )
    common = f"""\
Host *.{lab.identity}.lab
  User root
  IdentityFile {quoted(lab.path / "keys" / "user.key")}
  IdentitiesOnly yes
  UserKnownHostsFile {quoted(lab.path / "known_hosts")}
  GlobalKnownHostsFile none
  StrictHostKeyChecking yes
  UpdateHostKeys no
  PreferredAuthentications publickey
  ProxyCommand {proxy}
  ProxyUseFdpass yes
  ConnectTimeout 10
  ServerAliveInterval 5
  ServerAliveCountMax 3
  LogLevel ERROR
"""
    hosts = "".join(
        f"Host {name} {lab.alias(name)}\n  HostName {address}\n  HostKeyAlias {lab.alias(name)}\n"
        for name, address in addresses.items()
    )
    if "control" in addresses:
        hosts += (
            f"Host {lab.alias('control')}\n  ControlMaster auto\n  ControlPersist 600\n  ControlPath {lab.socket}\n"
        )
    # The short names are for people: `ssh -F ssh_config enigma`.
    (lab.path / "ssh_config").write_text(
        hosts + common.replace("Host *.", f"Host {' '.join(addresses)} *."), encoding="ascii"
    )


def write_inventory(lab: Lab, hosts: t.Sequence[plan.Host]) -> None:
    """The inventory: one group, `lab`; the addresses that IPsec protects as ipsec_address and ipsec_address6."""
    lines = ["---", "lab:", "  hosts:"]
    for host in hosts:
        if host.data is not None:
            lines += [
                f"    {host.name}:",
                f"      ansible_host: {lab.alias(host.name)}",
                f"      ipsec_address: {host.data.ipv4}",
                f'      ipsec_address6: "{host.data.ipv6}"',
            ]
    config = str(lab.path / "ssh_config")
    lines += [
        "  vars:",
        "    ansible_user: root",
        "    ansible_python_interpreter: /usr/bin/python3",
        "    ansible_ssh_pipelining: true",
        "    ansible_ssh_args: -o ControlMaster=auto -o ControlPersist=60s",  # Ansible's, without compression
        f"    ansible_ssh_common_args: {yaml_string('-F ' + shlex.quote(config))}",
    ]
    (lab.path / "inventory.yml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def yaml_string(text: str) -> str:
    """A YAML single-quoted scalar."""
    return "'" + text.replace("'", "''") + "'"


def ssh(lab: Lab, host: str, *command: str, options: t.Sequence[str] = ()) -> list[str]:
    """The ssh command line for a command on a host, or for the options."""
    return [
        "ssh",
        "-F",
        str(lab.path / "ssh_config"),
        "-T",
        *options,
        lab.alias(host),
        *(["exec " + shlex.join(command)] if command else []),
    ]


def write(lab: Lab, hosts: t.Sequence[plan.Host], *, control: bool) -> None:
    """Write all of these files."""
    addresses = {host.name: host.management for host in hosts if host.management}
    if control:
        addresses["control"] = tables.MACHINE_ADDRESS
    write_keys(lab, addresses)
    write_ssh_config(lab, addresses)
    write_inventory(lab, hosts)


def program(name: str, *arguments: str, inside: bool = False) -> list[str]:
    """The command line of one of the lab's own programs. On the lab's side its bytecode is cached
    for the lifetime of the lab.
    """
    bytecode = ["-X", "pycache_prefix=/run/lab/bytecode"] if inside else ["-B"]
    return ["/usr/bin/python3", "-IS", *bytecode, str(pathlib.Path(__file__).with_name("start.py")), name, *arguments]
