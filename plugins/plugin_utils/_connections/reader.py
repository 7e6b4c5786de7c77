# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Connections: who shares SAs with whom, and with which algorithms. From the inventory's data to checked values. Pure.

A connection has two or more endpoints and one or two associations: ESP, AH, or both (ESP inside, AH
outside). Each association becomes one SA in each direction between every two endpoints, or between
the hubs and everybody where it has hubs, with an SPI and keys of its own. A connection with
multicast groups has one SA for each association, which all endpoints share for sending and
receiving (RFC 4552 section 7)."""

from __future__ import annotations

import collections
import difflib
import ipaddress
import re
import typing as t

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import InputError, IpsecError, raise_all, shown
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa import checks, keys
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa import model as association
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.algorithms import (
    AUTHENTICATION,
    BY_NAME,
    DEFAULT_AUTHENTICATION,
    DEFAULT_ENCRYPTION,
    ENCRYPTION,
    Algorithm,
    find,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import (
    AH,
    ESP,
    NO_LIFETIMES,
    SPI_MIN,
    TRANSPORT,
    TUNNEL,
    Lifetimes,
    Mark,
    SecurityAssociation,
    format_address,
    pack_address,
)

PLACE = "ipsec_connections"
# A connection's name is also the name of its keystore file.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")

Raw = t.Mapping[str, t.Any]
Network = t.Tuple[bytes, int]


class Association(t.NamedTuple):
    """One SA of each direction, without its SPI and keys. ``encryption_bits`` is the key's size
    without salt, 0 for no key.
    """

    protocol: str
    mode: str
    encryption: str
    encryption_bits: int
    authentication: str
    icv_bits: int
    replay_window: int
    esn: bool
    lifetimes: Lifetimes


class Endpoint(t.NamedTuple):
    """A host of the inventory with its packed address in the connection, and the networks behind it
    (packed address, prefix) for tunnels.
    """

    host: str
    address: bytes
    networks: tuple[Network, ...] = ()


class Connection(t.NamedTuple):
    """One checked connection; ``endpoints`` are sorted by host, ``associations`` in the order in
    which a packet meets them: ESP, then AH.

    ``hubs`` are the hosts that share SAs with everybody, while the others share none with each
    other; empty for a full mesh. ``multicast`` are packed group addresses; with ``unicast`` the
    shared SA is also for packets to the endpoints' own addresses. ``upper_protocol`` narrows the
    policies."""

    name: str
    mode: str
    endpoints: tuple[Endpoint, ...]
    associations: tuple[Association, ...]
    reqid: int = 0
    mark: Mark | None = None
    if_id: int = 0
    hubs: tuple[str, ...] = ()
    multicast: tuple[bytes, ...] = ()
    unicast: bool = False
    upper_protocol: str = ""

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(endpoint.host for endpoint in self.endpoints)

    @property
    def counter_mode(self) -> bool:
        """True where a key of this connection must never be loaded twice (RFC 8221 section 3)."""
        return any(BY_NAME[row.encryption].counter_mode for row in self.associations if row.encryption)

    def settings(self) -> dict[str, t.Any]:
        """What a generation is made for, as plain data: another value needs another generation."""
        return {
            "endpoints": {endpoint.host: format_address(endpoint.address) for endpoint in self.endpoints},
            "mode": self.mode,
            "associations": [
                {
                    **row._asdict(),
                    "lifetimes": {name: limit for name, limit in row.lifetimes._asdict().items() if limit},
                }
                for row in self.associations
            ],
            "reqid": self.reqid,
            "mark": f"0x{self.mark.value:x}/0x{self.mark.mask:x}" if self.mark else "",
            "if_id": self.if_id,
            **({"hubs": list(self.hubs)} if self.hubs else {}),
            **({"multicast": list(map(format_address, self.multicast))} if self.multicast else {}),
            **({"unicast": True} if self.unicast else {}),
        }

    def peers(self, host: str) -> t.Iterator[Endpoint]:
        """The endpoints that ``host`` shares SAs with."""
        for peer in self.endpoints:
            if peer.host != host and (not self.hubs or host in self.hubs or peer.host in self.hubs):
                yield peer

    def flows(self, host: str = "") -> t.Iterator[tuple[bytes, tuple[bytes, ...]]]:
        """Source and destinations of every SA of an association: one SPI and one set of keys for
        each. Of one endpoint where ``host`` is given, in time that grows with its peers."""
        if self.multicast:
            groups = (*self.multicast, *(endpoint.address for endpoint in self.endpoints if self.unicast))
            yield bytes(len(groups[0])), groups
        elif host:
            for address in (endpoint.address for endpoint in self.endpoints if endpoint.host == host):
                for peer in self.peers(host):
                    yield address, (peer.address,)
                    yield peer.address, (address,)
        else:
            for endpoint in self.endpoints:
                for peer in self.peers(endpoint.host):
                    yield endpoint.address, (peer.address,)

    def arrivals(self) -> t.Iterator[tuple[tuple[bytes, ...], list[bytes]]]:
        """The same by receiver: destinations, and the sources of the SAs towards them."""
        if self.multicast:
            ((source, groups),) = self.flows()
            yield groups, [source]
            return
        for endpoint in self.endpoints:
            yield (endpoint.address,), [peer.address for peer in self.peers(endpoint.host)]

    def arrivals_at(self, address: bytes) -> t.Iterator[tuple[tuple[bytes, ...], list[bytes]]]:
        """The one of `arrivals` that is towards an address, if any, in time that grows with its senders."""
        if self.multicast:
            ((source, groups),) = self.flows()
            if address in groups:
                yield groups, [source]
            return
        host = next((endpoint.host for endpoint in self.endpoints if endpoint.address == address), None)
        if host is not None:
            yield (address,), [peer.address for peer in self.peers(host)]


def connection_of(name: str, settings: Raw) -> Connection:
    """The connection that `Connection.settings` came from; without what is for policies alone.
    Raises KeyError, TypeError or ValueError for other data.
    """
    return Connection(
        name=name,
        mode=settings["mode"],
        endpoints=tuple(
            Endpoint(host, pack_address(address)) for host, address in sorted(settings["endpoints"].items())
        ),
        associations=tuple(
            Association(**{**row, "lifetimes": Lifetimes(**row["lifetimes"])}) for row in settings["associations"]
        ),
        reqid=settings["reqid"],
        mark=_mark(settings["mark"]) if settings["mark"] else None,
        if_id=settings["if_id"],
        hubs=tuple(settings.get("hubs", ())),
        multicast=tuple(map(pack_address, settings.get("multicast", ()))),
        unicast=bool(settings.get("unicast")),
    )


def read_connections(
    raw: t.Any,
    addresses: t.Callable[[str], t.Any] = lambda host: None,
    allow_static_counter_mode: bool = False,
    place: str = PLACE,
    groups: t.Callable[[str], t.Sequence[str] | None] = lambda group: None,
) -> list[Connection]:
    """The connections that ``raw`` describes. ``addresses`` gives a host's variable
    ``ipsec_address``, ``groups`` a group's hosts; None where there is none.

    Raises everything that is wrong with them at once, each problem with the connection, the
    endpoint or association, and the field."""
    if not isinstance(raw, (list, tuple)):
        raise InputError(f"a list of connections is wanted, found {type(raw).__name__}", place)
    problems: list[IpsecError] = []
    found = []
    for index, entry in enumerate(raw):
        reader = _Reader(f"{place}[{index}]", addresses, groups, allow_static_counter_mode)
        connection = reader.connection(entry)
        problems.extend(reader.problems)
        if connection is not None:
            found.append(connection)
    problems.extend(_between(found, place))
    raise_all(problems)
    return found


def _between(connections: t.Sequence[Connection], place: str) -> t.Iterator[InputError]:
    """What is wrong with connections that are each right: one name or one address pair twice."""
    names: dict[str, str] = {}
    for connection in connections:
        # Each names a file, and not every file system tells capitals from small letters.
        before = names.get(connection.name.lower())
        if before is not None:
            both = (
                f"named {before}"
                if before == connection.name
                else f"whose names differ in capitals alone, {before} and {connection.name}"
            )
            yield InputError(f"there are two connections {both}", place, "Give each a name of its own.")
        names[connection.name.lower()] = connection.name
    told: set[tuple[str, str]] = set()
    for first, second, one, other in _shared_pairs(connections):
        if first != second and (first, second) not in told:
            told.add((first, second))
            yield InputError(
                f"connections {first} and {second} both join {format_address(one)} and {format_address(other)}",
                place,
                "Two addresses belong to one connection; merge the two, or give one of them other addresses.",
            )


def _shared_pairs(connections: t.Sequence[Connection]) -> t.Iterator[tuple[str, str, bytes, bytes]]:
    """Names of two connections, and two addresses that both join.

    The pairs of a mesh are never listed, they are quadratic in its hosts: it shares a pair with
    whoever shares two of its addresses."""
    meshes: list[tuple[str, set[bytes]]] = []
    owners: dict[frozenset[bytes], str] = {}
    for connection in connections:
        if _is_mesh(connection):
            members = {endpoint.address for endpoint in connection.endpoints}
            for name, others in meshes:
                shared = sorted(members & others)[:2]
                if len(shared) == 2:
                    yield name, connection.name, shared[0], shared[1]
            meshes.append((connection.name, members))
            continue
        for source, destinations in connection.flows():
            for destination in destinations:
                yield (
                    owners.setdefault(frozenset((source, destination)), connection.name),
                    connection.name,
                    source,
                    destination,
                )
    for pair, owner in owners.items():
        for name, members in meshes:
            if pair <= members:
                one, other = sorted(pair)
                yield owner, name, one, other


def _is_mesh(connection: Connection) -> bool:
    return len(connection.endpoints) > 2 and not connection.hubs and not connection.multicast


class _Reader:
    """One connection's data into a `Connection`. Collects every problem instead of stopping at the first."""

    def __init__(
        self,
        place: str,
        addresses: t.Callable[[str], t.Any],
        groups: t.Callable[[str], t.Sequence[str] | None],
        allow_static_counter_mode: bool,
    ) -> None:
        self.place = place
        self.addresses = addresses
        self.groups = groups
        self.allow_static_counter_mode = allow_static_counter_mode
        self.problems: list[IpsecError] = []

    def wrong(self, where: str, message: str, hint: str = "") -> None:
        self.problems.append(InputError(message, f"{self.place}{where}", hint))

    def connection(self, raw: t.Any) -> Connection | None:
        if not isinstance(raw, dict):
            self.wrong("", f"a dictionary is wanted, found {type(raw).__name__}")
            return None
        name = raw.get("name")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            self.wrong(
                ".name",
                "a connection needs a name of letters, digits, '_', '.' and '-', at most 100",
                "It also names the connection's keystore file.",
            )
            return None
        name = str(name)
        self.place += f" ({name})"
        fields = self.fields(raw, "", _CONNECTION)
        mode = fields["mode"]
        connection = Connection(
            name=name,
            mode=mode,
            endpoints=self.endpoints(fields, mode),
            associations=self.associations(fields["associations"], mode),
            reqid=fields["reqid"],
            mark=fields["mark"],
            if_id=fields["if_id"],
            hubs=tuple(sorted(fields["hub"])),
            multicast=self.multicast(fields["multicast"]),
            unicast=fields["unicast"],
            upper_protocol=fields["upper_protocol"],
        )
        if not self.problems:
            self.check_shape(connection)
        if not self.problems:
            self.check(connection)
        return connection

    def fields(
        self, raw: Raw, where: str, table: t.Mapping[str, tuple[t.Callable[[t.Any], t.Any], t.Any]]
    ) -> dict[str, t.Any]:
        """Every field of the table, converted; its default where the data has none or it is wrong."""
        for word in raw:
            if word not in table:
                near = difflib.get_close_matches(str(word), table, 3, 0.5) or sorted(table)
                self.wrong(where, f"unknown field {shown(str(word))}", f"Known here: {', '.join(near)}.")
        found = {}
        for name, (convert, default) in table.items():
            found[name] = default
            if raw.get(name) is not None:
                try:
                    found[name] = convert(raw[name])
                except ValueError as exc:
                    self.wrong(f"{where}.{name}", str(exc))
        return found

    def endpoints(self, fields: Raw, mode: str) -> tuple[Endpoint, ...]:
        before = len(self.problems)
        given = self.given(fields)
        given_well = len(self.problems) == before
        found = [
            endpoint
            for host, value in given
            for endpoint in [self.endpoint(str(host), value, mode)]
            if endpoint is not None
        ]
        if given_well and len(found) == len(given) and len(found) < 2:
            self.wrong(".endpoints", f"a connection joins two or more endpoints, found {len(found)}")
        for label, things in (
            ("host", [endpoint.host for endpoint in found]),
            ("address", [format_address(endpoint.address) for endpoint in found]),
        ):
            for thing in sorted(thing for thing, count in collections.Counter(things).items() if count > 1):
                self.wrong(".endpoints", f"the {label} {thing} is given twice")
        if len({len(endpoint.address) for endpoint in found}) > 1:
            self.wrong(".endpoints", "the endpoints mix IPv4 and IPv6", "Make one connection of each family.")
        return tuple(sorted(found))

    def given(self, fields: Raw) -> list[tuple[t.Any, t.Any]]:
        """Hosts with their addresses as the data has them: those of the groups, of ``endpoints``,
        which may say more about one of a group, and the hubs.
        """
        raw = fields["endpoints"]
        hosts: dict[str, t.Any] = {}
        for name in fields["group"]:
            members = self.groups(name)
            if members is None:
                self.wrong(".group", f"the inventory has no group {shown(name)}")
            hosts.update({str(host): None for host in members or ()})
        if isinstance(raw, dict):
            own = list(raw.items())
        elif isinstance(raw, (list, tuple)):
            own = [(host, None) for host in raw]
        elif raw is None and fields["group"]:
            own = []
        else:
            self.wrong(
                ".endpoints",
                "endpoints are missing",
                "Give a dictionary of hosts and addresses, or a list of hosts that have the variable ipsec_address, or"
                " group.",
            )
            return []
        extra = {str(host) for host, dummy in own}
        own += [(host, None) for host in fields["hub"] if host not in extra and host not in hosts]
        given = [*((host, None) for host in hosts if host not in extra), *own]
        return [(host, self.addresses(str(host)) if value is None else value) for host, value in given]

    def multicast(self, raw: t.Sequence[str]) -> tuple[bytes, ...]:
        found = []
        for text in raw:
            try:
                packed = pack_address(text, f"{self.place}.multicast")
            except InputError as exc:
                self.problems.append(InputError(exc.message, exc.place, "Write the address of the group itself."))
                continue
            if not association.is_multicast(packed):
                self.wrong(".multicast", f"{format_address(packed)} is no multicast address")
            found.append(packed)
        return tuple(dict.fromkeys(found))

    def check_shape(self, connection: Connection) -> None:
        """What goes together: a shared SA has many senders, so it can count nothing (RFC 4303
        section 2.2); a tunnel has one end only.
        """
        if connection.hubs and not connection.multicast and len(connection.hubs) == len(connection.endpoints):
            self.wrong(".hub", "every endpoint is a hub", "Leave hub out: every two endpoints share SAs then.")
        families = {
            endpoint.host: {len(network[0]) for network in endpoint.networks}
            for endpoint in connection.endpoints
            if endpoint.networks
        }
        for host, family in families.items():
            if len(families) == len(connection.endpoints) and not any(
                family & families[peer.host] for peer in connection.peers(host)
            ):
                self.wrong(
                    f".endpoints.{host}.networks",
                    "no peer has a network of the same address family, so nothing could pass",
                )
        if not connection.multicast:
            if connection.unicast:
                self.wrong(
                    ".unicast",
                    "only a connection with multicast groups shares one SA",
                    "Give multicast, or take unicast away.",
                )
            return
        if connection.hubs:
            self.wrong(".hub", "all endpoints share the SA of a multicast group", "Take hub away.")
        if connection.mode != TRANSPORT:
            self.wrong(".mode", "the SA of a multicast group needs transport mode", "Take mode away.")
        if any(len(group) != len(connection.endpoints[0].address) for group in connection.multicast):
            self.wrong(
                ".multicast", "the groups and the endpoints mix IPv4 and IPv6", "Make one connection of each family."
            )
        for index, row in enumerate(connection.associations):
            if row.replay_window or row.esn:
                self.wrong(
                    f".associations[{index}].replay_window",
                    "an SA with many senders has no anti-replay window (RFC 4303 section 2.2)",
                )
            if row.encryption and BY_NAME[row.encryption].counter_mode:
                self.wrong(
                    f".associations[{index}].encryption_algorithm",
                    f"{row.encryption} would repeat nonces at once, since many senders share the key",
                )

    def endpoint(self, host: str, value: t.Any, mode: str) -> Endpoint | None:
        where = f".endpoints.{host}"
        fields = self.fields(value, where, _ENDPOINT) if isinstance(value, dict) else {"address": value, "networks": []}
        address = fields["address"]
        if not isinstance(address, str):
            self.wrong(
                where,
                "the endpoint has no address",
                f"Give it here, or set the variable ipsec_address of the host {host}.",
            )
            return None
        if fields["networks"] and mode != TUNNEL:
            self.wrong(
                f"{where}.networks",
                "networks behind an endpoint need tunnel mode",
                "Set mode: tunnel for the connection, or take the networks away.",
            )
        try:
            packed = pack_address(address, f"{self.place}{where}")
        except InputError as exc:
            hint = "Write the address itself: whoever controls the naming service would choose the peer."
            self.problems.append(InputError(exc.message, exc.place, hint))
            return None
        if association.is_unspecified(packed) or association.is_multicast(packed):
            self.wrong(
                where,
                f"{format_address(packed)} is no address of a host",
                "Groups that endpoints send to go into multicast.",
            )
            return None
        return Endpoint(host, packed, tuple(fields["networks"]))

    def associations(self, raw: t.Any, mode: str) -> tuple[Association, ...]:
        if not isinstance(raw, (list, tuple)) or not raw:
            self.wrong(
                ".associations",
                "a list with one or two associations is wanted",
                "Leave it out for ESP with AES-CBC-256 and HMAC-SHA-256-128.",
            )
            return ()
        found = [self.association(entry, f".associations[{index}]", mode) for index, entry in enumerate(raw)]
        rows = [row for row in found if row is not None]
        for protocol in (ESP, AH):
            if sum(row.protocol == protocol for row in rows) > 1:
                self.wrong(
                    ".associations",
                    f"{protocol} is given twice",
                    "A packet meets one ESP and one AH association at most.",
                )
        if len(rows) == len(found) and not any(row.protocol == AH for row in rows):
            for row in rows:
                if not row.authentication and not _combined(row.encryption):
                    self.wrong(
                        ".associations",
                        "ESP without integrity can be forged (RFC 8221 section 4)",
                        "Add authentication_algorithm: hmac-sha256 to it, or an AH association beside it.",
                    )
        if len(rows) > 1:
            # ESP has put the packet into the tunnel when AH meets it.
            rows = [row._replace(mode=TRANSPORT) if row.protocol == AH else row for row in rows]
        return tuple(sorted(rows, key=lambda row: row.protocol, reverse=True))

    def association(self, raw: t.Any, where: str, mode: str) -> Association | None:
        if not isinstance(raw, dict):
            self.wrong(where, f"a dictionary is wanted, found {type(raw).__name__}")
            return None
        before = len(self.problems)
        fields = self.fields(raw, where, _ASSOCIATION)
        protocol = fields["protocol"]
        encryption = self.algorithm(
            ENCRYPTION, fields["encryption_algorithm"] or (DEFAULT_ENCRYPTION if protocol == ESP else ""), where
        )
        # A cipher that the user chose comes without integrity unless it is chosen too, as
        # everywhere in this collection.
        chosen = fields["authentication_algorithm"] or (
            "" if fields["encryption_algorithm"] else DEFAULT_AUTHENTICATION
        )
        authentication = self.algorithm(AUTHENTICATION, chosen, where)
        bits = fields["encryption_bits"]
        if encryption is None or not encryption.key_bits:
            if bits:
                self.wrong(f"{where}.encryption_bits", "there is no encryption key to have a size")
        elif bits and bits not in encryption.key_bits:
            self.wrong(
                f"{where}.encryption_bits",
                f"{encryption.name} has no key size of {bits} bits",
                f"Choose one of: {', '.join(map(str, encryption.key_bits))}.",
            )
        if len(self.problems) > before:
            return None
        protecting = encryption if encryption is not None and encryption.combined else authentication
        return Association(
            protocol=protocol,
            mode=mode,
            encryption=encryption.name if encryption is not None else "",
            encryption_bits=(bits or encryption.key_bits[0]) if encryption is not None and encryption.key_bits else 0,
            authentication=authentication.name if authentication is not None else "",
            icv_bits=fields["icv_bits"] or (protecting.icv_bits[0] if protecting is not None else 0),
            replay_window=fields["replay_window"],
            esn=fields["esn"],
            lifetimes=fields["lifetimes"],
        )

    def algorithm(self, kind: str, word: str, where: str) -> Algorithm | None:
        try:
            return find(kind, word, f"{self.place}{where}.{kind}_algorithm") if word else None
        except InputError as exc:
            self.problems.append(exc)
            return None

    def check(self, connection: Connection) -> None:
        """The checks that every SA must pass, on one SA of each association with keys made for it."""
        source, (destination, *dummy) = next(connection.flows())
        for index, row in enumerate(connection.associations):
            sa = make_sa(connection, row, source, destination, SPI_MIN, *draw_keys(row, keys.generate))
            for problem in checks.problems(sa, self.allow_static_counter_mode):
                where = "" if problem.place in _CONNECTION else f".associations[{index}]"
                self.wrong(f"{where}.{problem.place}", problem.message, problem.hint)


def make_sa(
    connection: Connection,
    row: Association,
    source: bytes,
    destination: bytes,
    spi: int,
    encryption_key: bytes,
    authentication_key: bytes,
) -> SecurityAssociation:
    """The SA of one association from ``source`` to ``destination``."""
    return association.build(
        row.protocol,
        spi,
        destination,
        source,
        row.encryption,
        row.authentication,
        row.icv_bits,
        mode=row.mode,
        encryption_key=encryption_key,
        authentication_key=authentication_key,
        replay_window=row.replay_window,
        esn=row.esn,
        reqid=connection.reqid,
        mark=connection.mark,
        if_id=connection.if_id,
        lifetimes=row.lifetimes,
    )


def draw_keys(row: Association, draw: t.Callable[[Algorithm, int], bytes]) -> tuple[bytes, bytes]:
    """The encryption and the authentication key of one SA; empty where the association has none."""
    encryption_key = draw(BY_NAME[row.encryption], row.encryption_bits) if row.encryption_bits else b""
    authentication_key = (
        draw(BY_NAME[row.authentication], BY_NAME[row.authentication].key_bits[0]) if row.authentication else b""
    )
    return encryption_key, authentication_key


def _combined(encryption: str) -> bool:
    return bool(encryption) and BY_NAME[encryption].combined


def _word(value: t.Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"a word is wanted, found {type(value).__name__}")
    return value


def _one_of(*words: str) -> t.Callable[[t.Any], str]:
    def convert(value: t.Any) -> str:
        if value not in words:
            raise ValueError(f"{shown(str(value))} is none of {', '.join(words)}")
        return str(value)

    return convert


def _number(value: t.Any) -> int:
    # A template gives digits where a number is meant.
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"a number from 0 is wanted, found {shown(str(value))}")
    return value


def _truth(value: t.Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"true or false is wanted, found {shown(str(value))}")
    return value


def _mark(value: t.Any) -> Mark:
    text = str(value)
    match = re.fullmatch(r"(0[xX][0-9a-fA-F]+|[0-9]+)(?:/(0[xX][0-9a-fA-F]+|[0-9]+))?", text)
    if isinstance(value, bool) or match is None:
        raise ValueError(f"{shown(text)} is no mark; write VALUE or VALUE/MASK, decimal or with 0x")
    parts = [int(part, 16 if part[:2].lower() == "0x" else 10) for part in match.groups() if part]
    return Mark(*parts)


def _networks(value: t.Any) -> list[Network]:
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"a list of networks is wanted, found {type(value).__name__}")
    return [
        (network.network_address.packed, network.prefixlen) for network in map(ipaddress.ip_network, map(str, value))
    ]


def _lifetimes(value: t.Any) -> Lifetimes:
    unknown = sorted(set(value) - set(Lifetimes._fields)) if isinstance(value, dict) else ["?"]
    if unknown:
        raise ValueError(f"limits are a dictionary with any of {', '.join(Lifetimes._fields)}")
    return Lifetimes(**{name: _number(limit) for name, limit in value.items()})


def _hosts(value: t.Any) -> list[str]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"a name or a list of names is wanted, found {type(value).__name__}")
    return list(dict.fromkeys(map(str, names)))


def _upper_protocol(value: t.Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, str)) or not str(value):
        raise ValueError(f"a number or name of an upper-layer protocol is wanted, found {shown(str(value))}")
    return str(value)


def _anything(value: t.Any) -> t.Any:
    return value


_CONNECTION: dict[str, tuple[t.Callable[[t.Any], t.Any], t.Any]] = {
    "name": (_word, ""),
    "endpoints": (_anything, None),
    "mode": (_one_of(TRANSPORT, TUNNEL), TRANSPORT),
    "associations": (_anything, [{"protocol": ESP}]),
    "reqid": (_number, 0),
    "mark": (_mark, None),
    "if_id": (_number, 0),
    "group": (_hosts, []),
    "hub": (_hosts, []),
    "multicast": (_hosts, []),
    "unicast": (_truth, False),
    "upper_protocol": (_upper_protocol, ""),
}
_ENDPOINT: dict[str, tuple[t.Callable[[t.Any], t.Any], t.Any]] = {
    "address": (_anything, None),
    "networks": (_networks, []),
}
_ASSOCIATION: dict[str, tuple[t.Callable[[t.Any], t.Any], t.Any]] = {
    "protocol": (_one_of(ESP, AH), ESP),
    "encryption_algorithm": (_word, ""),
    "encryption_bits": (_number, 0),
    "authentication_algorithm": (_word, ""),
    "icv_bits": (_number, 0),
    "replay_window": (_number, 0),
    "esn": (_truth, False),
    "lifetimes": (_lifetimes, NO_LIFETIMES),
}
