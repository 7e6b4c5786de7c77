# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What ipseckey of Solaris and illumos cannot do: SAs that it has no words for, and orders of words
that it rejects or crashes on.
"""

from __future__ import annotations

import typing as t

from ..errors import InputError
from ..sa import model
from ..sa.model import SecurityAssociation
from .attributes import Attributes
from .grammar import AUTHENTICATION, ENCRYPTION, INNER_FIELDS, NAT_PORT, SOLARIS
from .values import parse_number

# Fields of an SA and of its lifetimes.
_LINUX_ONLY = [
    "reqid",
    "mark",
    "if_id",
    "esn",
    "output_mark",
    "tfc_padding",
    "nat_keepalive",
    "soft_packets",
    "hard_packets",
]
# A field, the fields one of which must stand before it, the message and the fix.
_LABELS_ALONE = "Solaris accepts it only after a label"
_ORDER = (
    (
        "direction",
        ("spi", "pair-spi", "replay_window", "state", "authentication", "encryption", "encapsulation"),
        "ipseckey of Solaris crashes on a direction that stands first",
        "Put it last.",
    ),
    ("outer-label", ("label",), _LABELS_ALONE, "Put label before it."),
    ("implicit-label", ("label",), _LABELS_ALONE, "Put label before it."),
)


_NO_REMOTE_PORT = "in transport mode Solaris accepts a remote UDP port only with the remote address behind the NAT"
_NAT_IPV4 = "Solaris supports only IPv4 addresses behind a NAT"
_NO_BROADCAST = "Solaris does not load 255.255.255.255, which it takes for a host name", "Use another address."
_BROADCAST = b"\xff" * 4


def order_problems(attributes: Attributes) -> t.Iterator[tuple[str, str, str]]:
    """Keywords that ipseckey rejects, or crashes on, at their position, and those that its kernel
    rejects without others: field, message and fix.
    """
    order = {field: position for position, field in enumerate(attributes.words)}
    for field, others, message, hint in _ORDER:
        before = [order[other] < order[field] for other in others if other in order] if field in order else []
        if before and not any(before):
            yield field, message, hint
    if "encryption_key" in order and order["encryption_key"] < order.get("reserved_bits", 0):
        yield "reserved_bits", "Solaris accepts reserved_bits only before encrkey", "Put it before encrkey."
    inner = [field for field in ("inner_source", "inner_destination") if field in order]
    if len(inner) == 1 and len(attributes.values.get(inner[0], (b"", 0))[0]) == 4:
        yield inner[0], "Solaris does not read a single inner IPv4 address as a tunnel", "Give both isrc and idst."
    for field in ("nat_local", "nat_remote"):
        if attributes.values.get(field) == bytes(16):
            yield field, _NAT_IPV4, "Remove it; nat_lport alone is enough."
    behind_nat = any(attributes.values.get("nat_remote", b""))
    if "encapsulation" in order and not behind_nat and "nat_remote" not in attributes.refused:
        field = next((field for field in ("nat_remote", "nat_remote_port") if field in order), "")
        if field and not any(field in order for field in INNER_FIELDS):
            yield field, _NO_REMOTE_PORT, "Give the address in nat_rem, or only nat_lport."


def address_problems(source: bytes, destination: bytes) -> t.Iterator[tuple[str, str, str]]:
    """Why ipseckey of Solaris rejects these two addresses, unless it is run with -n, which SMF does
    not do: field, message and fix. It looks them up like names; 255.255.255.255 is not found, and a
    source must have the scope of the destination.
    """
    for field, address in (("source", source), ("destination", destination)):
        if address == _BROADCAST:
            yield field, *_NO_BROADCAST
    if len(source) == len(destination) == 16 and any(source) and _scope(source) != _scope(destination):
        yield (
            "source",
            f"Solaris does not load a source of scope {_scope(source)} for a destination of scope"
            f" {_scope(destination)}",
            "Omit the source, or use addresses of one scope.",
        )


def _scope(address: bytes) -> str:
    """The scope of an IPv6 address as ipseckey sees it, which has no multicast scopes."""
    if address[0] == 0xFE and address[1] >= 0x80:
        return "link-local" if address[1] < 0xC0 else "site-local"
    if any(address[:12]):
        return "global"
    return "loopback" if address[12:] == b"\0\0\0\1" else "IPv4-compatible"


def refusals(sa: SecurityAssociation, target: str) -> list[InputError]:
    """What the SA has that the ipseckey of the target cannot express; places are option names."""
    if target != SOLARIS:
        return []
    found = []

    def cannot(place: str, message: str, hint: str = "Remove it, or write for target linux.") -> None:
        found.append(InputError(message, place, hint))

    for field in _LINUX_ONLY:
        if getattr(sa if field in sa._fields else sa.lifetimes, field):
            cannot(field, f"Solaris has no {field}")
    for kind, name in ((ENCRYPTION, sa.encryption), (AUTHENTICATION, sa.authentication)):
        row = model.algorithm_of(name)
        if name and (row is None or row.number is None):
            cannot(f"{kind}_algorithm", f"the ipsecalgs table of Solaris has no {name}", "Choose another algorithm.")
        protects = row is not None and row.icv_bits and (kind == AUTHENTICATION or row.combined)
        if row is not None and protects and sa.icv_bits not in (0, row.icv_bits[0]):
            cannot("icv_bits", f"Solaris uses {row.name} with an ICV of {row.icv_bits[0]} bits only")
    if sa.replay_window > 255:
        cannot(
            "replay_window",
            f"a replay window of {sa.replay_window} packets does not fit the 8 bits of Solaris",
            "Choose 0 to 255.",
        )
    if any(keyword == "replay_value" and parse_number(text, 64) >> 32 for keyword, text in sa.extra):
        cannot("replay_value", "a sequence number fits 32 bits on Solaris", "Start from a smaller one.")
    labels = {keyword for keyword, dummy in sa.extra if keyword.endswith("label")}
    if labels and "label" not in labels:
        cannot(min(labels), f"Solaris accepts {' and '.join(sorted(labels))} only with a label", "Add label.")
    for field, message, hint in address_problems(sa.source, sa.destination):
        cannot(field, message, hint)
    inner = sa.selector or model.Selector()
    for field, address in (("selector source", inner.source), ("selector destination", inner.destination)):
        if address == _BROADCAST:
            cannot(field, *_NO_BROADCAST)
    if sa.encapsulation is not None:
        for field in ("nat_local", "nat_remote"):
            address = getattr(sa.encapsulation, field)
            if address == _BROADCAST:
                cannot(field, *_NO_BROADCAST)
            if len(address) == 16:
                cannot(field, _NAT_IPV4)
    if sa.mode == model.TRANSPORT and sa.encapsulation is not None and not sa.encapsulation.nat_remote:
        source_port, destination_port, *dummy = sa.encapsulation
        remote_port = source_port if sa.direction == model.INBOUND else destination_port
        if remote_port != NAT_PORT:
            message = (
                f"Solaris accepts the remote port {remote_port} in transport mode only with the address behind the NAT"
            )
            cannot("nat_remote", message, f"Give the address too, or use port {NAT_PORT} at that end.")
    if sa.mode == model.TRANSPORT and sa.selector is not None and (sa.selector.source or sa.selector.destination):
        cannot("selector", "inner addresses mean tunnel mode on Solaris", "Use tunnel mode, or remove the addresses.")
    return found
