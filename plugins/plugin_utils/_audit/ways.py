# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How Ansible reaches a host: over what, whether it checks whom it talks to, and whether a network
decides where that is.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import typing as t

from .._rotation.run import is_private
from .fleet import Way

# Connection plugins that reach a host by its name or address, by the last word of their names.
_BY_ADDRESS = frozenset(["ssh", "smart", "paramiko", "paramiko_ssh", "network_cli", "netconf"])
_UNCHECKED = re.compile(r"StrictHostKeyChecking\s*[= ]\s*[\"']?(?:no|off)\b", re.I)
# Any key of a host is new where none is remembered.
_ACCEPTED = re.compile(r"StrictHostKeyChecking\s*[= ]\s*[\"']?accept-new\b", re.I)
_FORGOTTEN = re.compile(r"UserKnownHostsFile\s*[= ]\s*[\"']?(?:/dev/null|none)\b", re.I)
_ARGUMENTS = ("ssh_args", "ssh_common_args", "ssh_extra_args")
_HOSTS, _SWITCH = "/etc/hosts", "/etc/nsswitch.conf"
# Sources of names on this machine, in nsswitch.conf(5).
_LOCAL = ("files", "myhostname", "mymachines")


def way_of(connection: t.Any, address: str, trusted: t.Sequence[str] = (), shadowed: t.Sequence[str] = ()) -> Way:
    """The way over a connection plugin to this address."""
    transport = str(connection.transport)
    by_address = transport.rpartition(".")[2] in _BY_ADDRESS
    arguments = " ".join(str(_option(connection, name) or "") for name in _ARGUMENTS)
    return Way(
        transport,
        not is_private(transport, trusted),
        by_address and (_option(connection, "host_key_checking") is False or _is_unchecked(arguments)),
        address,
        by_address and goes_over_network(address, _text(_HOSTS), _text(_SWITCH)),
        tuple(shadowed),
        str(_option(connection, "port") or "") if by_address else "",
    )


def _is_unchecked(arguments: str) -> bool:
    return bool(_UNCHECKED.search(arguments) or _ACCEPTED.search(arguments) and _FORGOTTEN.search(arguments))


def goes_over_network(name: str, hosts: str, switch: str) -> bool:
    """Whether a name service may decide what the name means: it is not an address, and the sources before the
    first one that may use the network do not know it. ``hosts`` and ``switch`` are the texts of hosts(5) and
    nsswitch.conf(5).
    """
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(name.partition("%")[0].strip("[]"))
        return False
    rows = (line.partition("#")[0].split() for line in hosts.splitlines())
    known = name in ("", "localhost") or any(name.lower() in map(str.lower, row[1:]) for row in rows)
    sources = (line.partition("#")[0].partition(":")[2].split() for line in switch.splitlines() if _is_hosts(line))
    listed = next(sources, ["files"])
    before = next((index for index, word in enumerate(listed) if word not in _LOCAL), len(listed))
    return not (known and "files" in listed[:before])


def _is_hosts(line: str) -> bool:
    return line.split(":")[0].strip() == "hosts" and ":" in line


def _option(connection: t.Any, name: str) -> t.Any:
    """The value of a connection plugin's option, None if it has no such option."""
    try:
        return connection.get_option(name)
    except Exception:  # pylint: disable=broad-except  # KeyError or AnsibleError, by version
        return None


def _text(path: str) -> str:
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
        return file.read(1 << 20)
    return ""
