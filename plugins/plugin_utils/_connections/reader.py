# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Read connections, as `ipsec_connections` of the inventory has them, into checked ones. Pure."""

from __future__ import annotations

import collections
import functools
import typing as t

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import (
    InputError,
    IpsecError,
    raise_all,
    shown,
    type_name,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa import checks, keys
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
    SPI_MIN,
    TRANSPORT,
    TUNNEL,
    format_address,
    is_multicast,
    is_unspecified,
    pack_address,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.text.mapping import OptionReader, Options, read_address

from .fields import ADDRESS_VARIABLE, ASSOCIATION, CONNECTION, ENDPOINT, nearest
from .flows import draw_keys, make_sa, shared_pairs
from .model import NAME, Association, Connection, Endpoint, Raw
from .units import SEPARATORS

PLACE = "connections"
REQID_MAX = 0xFFFFFFFF


def read_connections(
    raw: t.Any,
    allow_static_counter_mode: bool = False,
    groups: t.Callable[[str], t.Sequence[str] | None] = lambda group: None,
    variables: t.Callable[[str, str], t.Any] = lambda host, name: None,
    place: str = PLACE,
) -> list[Connection]:
    """The connections that ``raw`` describes. ``groups`` returns the hosts of a group, ``variables`` a
    variable of a host, such as its address; None if there is none. ``place`` is what the user wrote them into: a
    variable, or the option or argument of a plugin.

    Raises all problems together, each with the index and name of the connection, the endpoint or
    association, and the field."""
    if not isinstance(raw, (list, tuple)):
        raise InputError(f"expected a list of connections, found {type_name(raw)}", place)
    problems: list[IpsecError] = []
    found, sound = [], []
    for index, entry in enumerate(raw):
        reader = _ConnectionReader(f"{place}[{index}]", groups, allow_static_counter_mode, variables)
        connection = reader.connection(entry)
        problems.extend(reader.problems)
        if connection is not None:
            found.append(connection)
            if not reader.doubted:
                sound.append(connection)
    problems.extend([*_same_names(found, place), *_same_pairs(sound, place)])
    raise_all(problems)
    return found


def _same_names(connections: t.Sequence[Connection], place: str) -> t.Iterator[InputError]:
    names: dict[str, str] = {}
    for connection in connections:
        # Each name is also a file name, and some file systems ignore case.
        before = names.get(connection.name.lower())
        if before is not None:
            both = (
                f"named {before}"
                if before == connection.name
                else f"whose names differ only in capitals, {before} and {connection.name}"
            )
            yield InputError(f"there are two connections {both}", place, "Give each its own name.")
        names[connection.name.lower()] = connection.name


def _same_pairs(connections: t.Sequence[Connection], place: str) -> t.Iterator[InputError]:
    reported: set[tuple[str, str]] = set()
    for first, second, one, other in shared_pairs(connections):
        if first != second and (first, second) not in reported:
            reported.add((first, second))
            yield InputError(
                f"connections {first} and {second} both join {format_address(one)} and {format_address(other)}",
                place,
                "Two addresses belong to one connection; merge the two, or give one of them other addresses.",
            )


class _ConnectionReader(OptionReader):
    """Converts one connection's data into a `Connection`."""

    def __init__(
        self,
        place: str,
        groups: t.Callable[[str], t.Sequence[str] | None],
        allow_static_counter_mode: bool,
        variables: t.Callable[[str, str], t.Any],
    ) -> None:
        super().__init__()
        self.place = place
        self.groups = groups
        self.variables = variables
        self.address_variable = ADDRESS_VARIABLE
        # Fields of the connection that may not have the value that the user meant. What follows from them
        # is not a second mistake, so it is not reported.
        self.doubted: frozenset[str] = frozenset()
        self.allow_static_counter_mode = allow_static_counter_mode

    def wrong(self, where: str, message: str, hint: str = "") -> None:
        self.note(message, f"{self.place}{where}", hint)

    def known(self, word: str, spec: Options) -> str:
        return nearest(word, spec)

    def connection(self, raw: t.Any) -> Connection | None:
        if not isinstance(raw, dict):
            self.wrong("", f"this is {type_name(raw)}, not a mapping")
            return None
        name = raw.get("name")
        has_unknown = not CONNECTION.keys() >= raw.keys()
        if name is None and has_unknown:
            self.options(raw, CONNECTION, self.place)
            return None
        if not isinstance(name, str) or not NAME.fullmatch(name):
            self.wrong(
                ".name",
                "a connection needs a name of letters, digits, '_', '.' and '-', at most 100",
                "It also names the connection's keystore file.",
            )
            return None
        name = str(name)
        self.place += f" ({name})"
        fields = self.options(raw, CONNECTION, self.place)
        unread = self.unread()
        self.doubted = frozenset(field for field in CONNECTION if has_unknown or f"{self.place}.{field}" in unread)
        mode = fields["mode"]
        self.address_variable = fields["address_variable"]
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
            replaces_reqid=fields["replaces_reqid"],
            udp_port=fields["encapsulation"],
        )
        if connection.replaces_reqid is not None:
            self.check_replaced(connection, connection.replaces_reqid)
        if not self.problems:
            self.check_shape(connection)
        if not self.problems:
            self.check(connection)
        return connection

    def endpoints(self, fields: Raw, mode: str) -> tuple[Endpoint, ...]:
        before = len(self.problems)
        given = self.given(fields)
        given_well = len(self.problems) == before and self.doubted.isdisjoint(("group", "address_variable"))
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
        """Hosts with their unchecked addresses: from the groups, from ``endpoints``, which overrides the
        groups, and from the hubs.
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
        elif raw is None and (fields["group"] or "group" in self.doubted):
            own = []
        else:
            self.wrong(
                ".endpoints",
                "endpoints are missing",
                "Give a dictionary of hosts and addresses, or group, or a list of hosts that have the variable"
                f" {self.address_variable}.",
            )
            return []
        extra = {str(host) for host, dummy in own}
        own += [(host, None) for host in fields["hub"] if host not in extra and host not in hosts]
        given = [*((host, None) for host in hosts if host not in extra), *own]
        if "address_variable" in self.doubted:
            return [(host, value) for host, value in given if value is not None]
        return [
            (host, self.variables(str(host), self.address_variable) if value is None else value)
            for host, value in given
        ]

    def multicast(self, raw: t.Sequence[str]) -> tuple[bytes, ...]:
        found = []
        for text in raw:
            try:
                packed = pack_address(text, f"{self.place}.multicast")
            except InputError as exc:
                self.problems.append(InputError(exc.message, exc.place, "Write the address of the group itself."))
                continue
            if not is_multicast(packed):
                self.wrong(".multicast", f"{format_address(packed)} is not a multicast address")
            found.append(packed)
        return tuple(dict.fromkeys(found))

    def check_replaced(self, connection: Connection, reqid: int) -> None:
        if not 0 <= reqid <= REQID_MAX:
            self.wrong(".replaces_reqid", f"{reqid} does not fit 32 bits", f"Choose 0 to {REQID_MAX}.")
        if reqid == connection.reqid:
            self.wrong(
                ".replaces_reqid",
                "this is the reqid of the connection itself, which replaces such SAs anyway",
                "Remove replaces_reqid.",
            )
        if connection.multicast:
            self.wrong(
                ".replaces_reqid",
                "SAs of a multicast group cannot stand side by side with others, so they are not taken over",
                "Remove replaces_reqid, and remove the old SAs and policies yourself.",
            )

    def check_udp(self, connection: Connection) -> None:
        if not connection.udp_port:
            return
        if any(row.protocol == AH for row in connection.associations):
            self.wrong(
                ".encapsulation",
                "only ESP can be carried in UDP (RFC 3948)",
                "Remove encapsulation, or the AH association; ESP then needs an authentication_algorithm.",
            )
        if connection.multicast:
            self.wrong(".encapsulation", "packets to a multicast group are not carried in UDP", "Remove encapsulation.")

    def check_shape(self, connection: Connection) -> None:
        """Check that the fields are compatible: a shared SA has many senders, so it cannot have a
        anti-replay window (RFC 4303 section 2.2), and a tunnel has a single end.
        """
        if connection.hubs and not connection.multicast and len(connection.hubs) == len(connection.endpoints):
            self.wrong(".hub", "every endpoint is a hub", "Omit hub: then every two endpoints share SAs.")
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
        self.check_udp(connection)
        if not connection.multicast:
            if connection.unicast:
                self.wrong(
                    ".unicast",
                    "only a connection with multicast groups shares one SA",
                    "Give multicast, or remove unicast.",
                )
            return
        if connection.hubs:
            self.wrong(".hub", "all endpoints share the SA of a multicast group", "Remove hub.")
        if connection.mode != TRANSPORT:
            self.wrong(".mode", "the SA of a multicast group needs transport mode", "Remove mode.")
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
        if SEPARATORS.intersection(host):
            self.wrong(
                where,
                f"the name of the host {shown(host)} has a comma or a slash, which separate the parts of a pair's name",
                "Give it another name in the inventory, and its address there as ansible_host.",
            )
            return None
        fields = {"address": value, "networks": []}
        if isinstance(value, dict):
            fields = self.options(value, ENDPOINT, f"{self.place}{where}")
            if fields["address"] is None and not ENDPOINT.keys() >= value.keys():
                return None
        address = fields["address"]
        if not (isinstance(address, str) and address):
            self.wrong(
                where,
                "the endpoint has no address",
                f"Give it here, or set the variable {self.address_variable} of the host {host}. For a host that is not"
                " in the inventory, see the page 'Where keys live', 'A host that Ansible cannot reach'.",
            )
            return None
        if fields["networks"] and mode != TUNNEL and "mode" not in self.doubted:
            self.wrong(
                f"{where}.networks",
                "networks behind an endpoint need tunnel mode",
                "Set mode: tunnel for the connection, or remove the networks.",
            )
        packed = self.read(read_address, address, f"{self.place}{where}", b"")
        if not packed:
            return None
        if is_unspecified(packed) or is_multicast(packed):
            self.wrong(
                where,
                f"{format_address(packed)} is not the address of a host",
                "Groups that endpoints send to go into multicast.",
            )
            return None
        return Endpoint(host, packed, tuple(fields["networks"]))

    def associations(self, raw: t.Any, mode: str) -> tuple[Association, ...]:
        if not isinstance(raw, (list, tuple)) or not raw:
            self.wrong(
                ".associations",
                "expected a list of one or two associations",
                "Omit it for ESP with AES-CBC-256 and HMAC-SHA-256-128.",
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
            # ESP has already put the packet into the tunnel when AH is applied.
            rows = [row._replace(mode=TRANSPORT) if row.protocol == AH else row for row in rows]
        return tuple(sorted(rows, key=lambda row: row.protocol, reverse=True))

    def association(self, raw: t.Any, where: str, mode: str) -> Association | None:
        if not isinstance(raw, dict):
            self.wrong(where, f"this is {type_name(raw)}, not a mapping")
            return None
        before = len(self.problems)
        fields = self.options(raw, ASSOCIATION, f"{self.place}{where}")
        protocol = fields["protocol"]
        encryption = self.algorithm(
            ENCRYPTION, fields["encryption_algorithm"] or (DEFAULT_ENCRYPTION if protocol == ESP else ""), where
        )
        # As everywhere in this collection, a chosen cipher has no integrity unless that is chosen too.
        chosen = fields["authentication_algorithm"] or (
            "" if fields["encryption_algorithm"] else DEFAULT_AUTHENTICATION
        )
        authentication = self.algorithm(AUTHENTICATION, chosen, where)
        bits = fields["encryption_bits"]
        if not ASSOCIATION.keys() >= raw.keys():
            return None
        if encryption is None or not encryption.key_bits:
            if bits:
                self.wrong(
                    f"{where}.encryption_bits", "the association has no encryption key, so a key size has no meaning"
                )
        elif bits and bits not in encryption.key_bits:
            self.wrong(
                f"{where}.encryption_bits",
                f"{encryption.name} has no key size of {bits} bits",
                encryption.size_choices(),
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
        return self.read(functools.partial(find, kind), word, f"{self.place}{where}.{kind}_algorithm", None)

    def check(self, connection: Connection) -> None:
        """Check one SA of each association, with keys made for this purpose, like every other SA."""
        source, (destination, *dummy) = next(connection.flows())
        for index, row in enumerate(connection.associations):
            sa = make_sa(connection, row, source, destination, SPI_MIN, *draw_keys(row, keys.generate))
            for problem in checks.problems(sa, self.allow_static_counter_mode):
                where = "" if problem.place in CONNECTION else f".associations[{index}]"
                self.wrong(f"{where}.{problem.place}", problem.message, problem.hint)


def _combined(encryption: str) -> bool:
    return bool(encryption) and BY_NAME[encryption].combined
