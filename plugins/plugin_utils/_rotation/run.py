# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Select the connections of a run, or parts of them, and check that it may change them: all endpoints must take part,
in step, over a transport that hides keys. Pure.
"""

from __future__ import annotations

import difflib
import typing as t

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import InputError, IpsecError

from .._connections.model import Connection, Unit
from .._connections.reader import PLACE
from .._connections.units import named

# Connection plugins that carry nothing in clear text over a network, by the last word of their names.
TRANSPORTS = frozenset(
    {
        *("ssh", "smart", "paramiko", "paramiko_ssh", "aws_ssm", "network_cli", "netconf", "local"),
        *("buildah", "containerd", "docker", "docker_api", "kubectl", "oc", "podman", "podman_unshare"),
        *("chroot", "incus", "iocage", "jail", "lxc", "lxd", "machinectl", "nspawn", "nsenter", "qubes", "zone"),
    }
)
# Strategies that let no host begin a task before all have ended the one before.
STRATEGIES = frozenset({"linear", "debug", "mitogen_linear"})


class Run(t.NamedTuple):
    """Ansible's view of the run. ``hosts`` take part and have not failed; ``batch`` are those of them
    in the current batch (``serial``).
    """

    hosts: frozenset[str]
    batch: frozenset[str]
    inventory: frozenset[str]
    strategy: str
    transports: t.Mapping[str, str]


def choose(
    connections: t.Sequence[Connection],
    hosts: t.AbstractSet[str],
    only: t.Sequence[str] = (),
    may_be_empty: bool = False,
    place: str = PLACE,
) -> list[Connection]:
    """The connections, hosts and pairs that ``only`` names (`_connections.units`), else the connections
    with an endpoint among the run's hosts. Each has only the units that are named. Raises InputError if
    there are none, unless ``may_be_empty``, at ``place``.
    """
    wanted: dict[str, frozenset[Unit]] = {}
    unknown = []
    for word in only:
        found = named(word, connections)
        if not found:
            unknown.append(word)
        for name, units in found.items():
            wanted[name] = units | wanted.get(name, frozenset())
    if unknown:
        names = ", ".join(sorted(connection.name for connection in connections)) or "none"
        raise InputError(
            f"there is no connection, host or pair {', '.join(unknown)}",
            place,
            f"Known connections are: {names}. Write a pair as HOST,HOST or CONNECTION/HOST,HOST.",
        )
    chosen = (
        [connection.only(wanted[connection.name]) for connection in connections if connection.name in wanted]
        if only
        else [connection for connection in connections if not hosts.isdisjoint(connection.hosts)]
    )
    if not chosen and not may_be_empty:
        raise InputError(
            "no connection has an endpoint among the hosts of this run",
            place,
            f"Hosts are: {', '.join(sorted(hosts))}.",
        )
    return chosen


def run_problems(
    connections: t.Sequence[Connection], run: Run, trusted: t.Sequence[str] = ()
) -> t.Iterator[IpsecError]:
    """Why this run must not change the connections."""
    if run.strategy.rpartition(".")[2] not in STRATEGIES:
        yield InputError(
            f"the strategy {run.strategy} lets one host run ahead of its peers",
            "strategy",
            "Use strategy: ansible.builtin.linear for this play.",
        )
    for connection in connections:
        for host in connection.hosts:
            place = f"connection {connection.name}, endpoint {host}"
            if host not in run.inventory:
                near = difflib.get_close_matches(host, sorted(run.inventory), 1)
                hint = f" The nearest is {near[0]}." if near else ""
                yield InputError(
                    "this host is not in the inventory", place, f"Name endpoints as the inventory does.{hint}"
                )
            elif host not in run.hosts:
                yield InputError(
                    "this host does not take part in the run, or has failed or was unreachable in it",
                    place,
                    "Keys change on both hosts of a pair, or on none: widen hosts or --limit, fix the host, or name"
                    " other connections, hosts or pairs only.",
                )
            elif host not in run.batch:
                yield InputError("serial splits this connection over two batches", place, "Run without serial.")
            elif not is_private(run.transports.get(host, "ssh"), trusted):
                yield InputError(
                    f"the connection plugin {run.transports[host]} is not known to hide what it carries",
                    place,
                    "Keys must not cross a network in clear text. Use ssh, or name the plugin in"
                    " {trusted_transports} if it encrypts.",
                )


def is_private(transport: str, trusted: t.Sequence[str]) -> bool:
    """Whether a connection plugin carries nothing in clear text over a network, or the user trusts it."""
    return transport in trusted or transport.rpartition(".")[2] in TRANSPORTS
