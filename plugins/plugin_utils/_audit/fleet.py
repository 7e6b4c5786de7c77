# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Everything that the findings are made from: what hosts answered, how they were reached, what the
keystore knows, and the previous report. Pure.
"""

from __future__ import annotations

import typing as t

from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import format_address, mark_text

from .._connections.model import Connection
from .remedies import CommandLine

Row = t.Dict[str, t.Any]

DAY = 86400


class Way(t.NamedTuple):
    """How Ansible reaches a host. ``clear``: the transport is not known to encrypt. ``unchecked``: the host
    key is not checked. ``resolved``: the address is a name that a network service resolves. ``shadowed`` are
    names of inputs that the host reports as facts. ``port`` is empty if none is set.
    """

    transport: str = ""
    clear: bool = False
    unchecked: bool = False
    address: str = ""
    resolved: bool = False
    shadowed: tuple[str, ...] = ()
    port: str = ""


class Host(t.NamedTuple):
    """A host: its answer after the gate, empty if there is none, then with a reason. ``offset`` is how far
    its clock is ahead of the controller's, in seconds. ``rows`` is what it has of SAs, by the names of
    `Pair.keys`.
    """

    name: str
    file: str
    answer: Row = {}
    rows: t.Mapping[str, Row] = {}
    reason: str = ""
    offset: float | None = None
    way: Way = Way()

    @property
    def sas_read(self) -> bool:
        """Whether the host could read its SADB."""
        return bool(self.answer.get("backend"))

    def remarks(self, *kinds: str) -> list[Row]:
        return [row for row in self.answer.get("remarks", ()) if row["what"] in kinds]


class Pair(t.NamedTuple):
    """Two hosts that share SAs. ``keys`` are the names under which hosts report them."""

    name: str
    connection: str
    hosts: tuple[str, str]
    addresses: tuple[str, ...]
    keys: tuple[str, ...]


class Known(t.NamedTuple):
    """What the keystore knows about a connection: the latest phase of its pairs, and their newest current
    generation. ``digests`` has, by the names of `Pair.keys`, generations by fingerprint; ages are in
    seconds by generation, since it was created and since it was promoted. ``currents`` are the current
    generations of pairs that have an older one, by the same names. ``files`` has, by these names, the fingerprint
    of what a file holds of each generation, empty for nothing. ``outlines`` is as ``digests``, for SAs without keys.
    """

    phase: str
    current: int
    digests: t.Mapping[str, t.Mapping[str, int]]
    created: t.Mapping[int, int]
    promoted: t.Mapping[int, int]
    retired: frozenset[str]
    currents: t.Mapping[str, int] = {}
    files: t.Mapping[str, t.Mapping[int, str]] = {}
    outlines: t.Mapping[str, t.Mapping[str, int]] = {}

    def current_of(self, name: str) -> int:
        """The current generation of a pair, by one of its names; 0 for none."""
        return self.currents.get(name, self.current)

    def in_file(self, name: str) -> str:
        """The fingerprint of what files should hold of these SAs, empty for nothing."""
        return self.files.get(name, {}).get(self.current_of(name), "")


class Fleet(t.NamedTuple):
    """One run. ``hosts`` are by name, ``known`` is by connection, and ``unread`` says why it is empty.
    ``counters`` are those of the previous run, by host. Limits are in seconds, 0 for none. ``inventory``
    has the names of all hosts, and ``ends`` the hosts of all pairs by name, also of those that do not take
    part in this run. ``line`` is how it was started.
    """

    hosts: t.Mapping[str, Host]
    pairs: tuple[Pair, ...]
    known: t.Mapping[str, Known]
    unread: str = ""
    counters: t.Mapping[str, t.Mapping[str, int]] = {}
    age_limit: float = 90 * DAY
    clock_tolerance: float = 5.0
    inventory: frozenset[str] = frozenset()
    ends: t.Mapping[str, tuple[str, str]] = {}
    line: CommandLine = CommandLine()

    def sides(self, pair: Pair) -> list[tuple[Host, list[Row]]]:
        """The hosts of a pair that could read their SADB, each with its SAs of the pair."""
        hosts = [self.hosts[name] for name in pair.hosts if name in self.hosts]
        return [(host, [host.rows[key] for key in pair.keys if key in host.rows]) for host in hosts if host.sas_read]

    def owners(self) -> set[str]:
        """The owners (reqid, mark, if_id) of the connections' SAs."""
        return {key.partition("#")[2] for pair in self.pairs for key in pair.keys}

    def keys(self) -> dict[str, set[str]]:
        """The names of the SAs that each host should have."""
        found: dict[str, set[str]] = {}
        for pair in self.pairs:
            for name in pair.hosts:
                found.setdefault(name, set()).update(pair.keys)
        return found


def host_of(name: str, file: str, answer: Row, **more: t.Any) -> Host:
    """A host from its answer after the gate."""
    return Host(name, file, answer, {row["name"]: row for row in answer.get("pairs", ())}, **more)


def digest_of(rows: t.Sequence[Row], field: str = "digest") -> str:
    """One fingerprint for the SAs of several rows; empty if one of them has none."""
    parts = [row[field] for row in rows]
    return "+".join(parts) if parts and all(parts) else ""


def generation_of(rows: t.Sequence[Row], known: Known | None) -> int:
    """The generation that these SAs are, as far as the kernel shows them; 0 if the keystore knows none like it."""
    if known is None or not is_comparable(rows):
        return 0
    numbers = {
        known.digests.get(row["name"], {}).get(row["digest"], 0)
        or known.outlines.get(row["name"], {}).get(row["outline"], 0)
        for row in rows
    }
    return numbers.pop() if len(numbers) == 1 else 0


def is_comparable(rows: t.Sequence[Row]) -> bool:
    """Whether the host has these SAs, and shows enough of them to compare them with those of a generation."""
    return bool(digest_of(rows) or digest_of(rows, "outline"))


def pairs_of(connections: t.Iterable[Connection], hosts: t.Container[str]) -> t.Iterator[Pair]:
    """The pairs of the connections that have one of the hosts. Hosts that share a group's SA are paired
    with the first of them.
    """
    for connection in connections:
        owner = f"{connection.reqid},{mark_text(connection.mark)},{connection.if_id}"
        address = {endpoint.host: endpoint.address for endpoint in connection.endpoints}
        for one, other in _couples(connection):
            if one not in hosts and other not in hosts:
                continue
            if connection.multicast:
                ((source, groups),) = connection.flows()
                ends = [(source, group) for group in groups]
                addresses = tuple(map(format_address, groups))
            else:
                ends = [(address[one], address[other])]
                addresses = (format_address(address[one]), format_address(address[other]))
            keys = tuple("|".join(map(format_address, sorted(two))) + f"#{owner}" for two in ends)
            yield Pair(f"{connection.name}: {one} - {other}", connection.name, (one, other), addresses, keys)


def _couples(connection: Connection) -> t.Iterator[tuple[str, str]]:
    if connection.multicast:
        first = connection.hosts[0]
        yield from ((first, other) for other in connection.hosts[1:])
        return
    for host in connection.hosts:
        for peer in connection.peers(host):
            if host < peer.host:
                yield host, peer.host
