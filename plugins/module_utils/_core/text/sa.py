# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Attributes to an SA: which attributes require or exclude each other, and the SA that they describe."""

from __future__ import annotations

import typing as t

from ..sa import checks, model
from ..sa.checks import Allowed
from ..sa.model import Encapsulation, Lifetimes, SecurityAssociation, Selector
from .attributes import Attributes
from .grammar import EXTRA_KEYWORDS, INNER_FIELDS, NAT_KEYWORDS, NAT_PORT, SOLARIS
from .lexer import CommandWords, Report, Word
from .render import in_keywords
from .solaris import order_problems, refusals

# A field, the message and the fix. The problem is reported at the word of the field.
Problem = t.Tuple[str, str, str]

# Where a problem of `checks.problems` is reported: at the first of these fields that the command
# has. If one of them was refused already, the problem is only a consequence.
_CONCERNS: dict[str, tuple[str, ...]] = {
    "source": ("source", "destination"),
    "encryption_algorithm": ("encryption", "authentication"),
    "encryption_key": ("encryption_key", "encryption"),
    "authentication_algorithm": ("authentication", "encryption"),
    "authentication_key": ("authentication_key", "authentication"),
    "icv_bits": ("icv_bits", "authentication", "encryption"),
    "esn": ("esn", "replay_window"),
    "selector": (
        "inner_destination",
        "inner_source",
        "protocol",
        "inner_protocol",
        "source_port",
        "destination_port",
        "destination",
    ),
    "nat_local": ("nat_local", "destination"),
    "nat_remote": ("nat_remote", "nat_remote_port", "destination"),
    "selector source": ("inner_source",),
    "selector destination": ("inner_destination",),
    "selector protocol": ("protocol", "inner_protocol"),
}
_PLAIN_FIELDS = (
    "encryption",
    "encryption_key",
    "authentication",
    "authentication_key",
    "icv_bits",
    "replay_window",
    "reqid",
    "mark",
    "if_id",
)


_NEEDED = {
    "spi": "Add: spi 0x and 8 hexadecimal digits.",
    "destination": "Add: dst and the address of the receiving host.",
}
_INNER_ADDRESSES = ("inner_source", "inner_destination")


class Builder:
    """Builds the SAs of the add commands of one text, and reports the problems of each."""

    def __init__(self, target: str, allowed: Allowed, report: Report) -> None:
        self.target = target
        self.allowed = allowed
        self.report = report

    def build(self, protocol: str, command: CommandWords, attributes: Attributes) -> SecurityAssociation | None:
        """The SA, to be used if no problem was reported; None if its SA type was refused."""
        words, refused, report = attributes.words, attributes.refused, self.report
        missing = [field for field in _NEEDED if field not in words and field not in refused]
        if not command.broken:
            for field in missing:
                name = "dst" if field == "destination" else field
                report.problem(f"the SA has no {name}", command.words[0], _NEEDED[field])
        refused.update(missing)
        for field, message, hint in self._combination_problems(protocol, attributes):
            if field not in refused:
                report.problem(message, words[field], hint)
        if attributes.values.get("reserved_bits", "0") != "0":
            refused.update(("encryption", "encryption_key"))
        if self.target == SOLARIS:
            for field, message, hint in order_problems(attributes):
                report.problem(message, words[field], hint)
                refused.add(field)
        if not protocol:
            return None
        sa = build(protocol, attributes)
        for wrong in checks.problems(sa, *self.allowed[:2]) + refusals(sa, self.target):
            concerned = _CONCERNS.get(wrong.place, (wrong.place,))
            certain = not command.broken or all(field in words for field in concerned)
            if certain and not refused.intersection(concerned):
                word = next((words[field] for field in concerned if field in words), command.words[1])
                report.problem(in_keywords(wrong.message), word, in_keywords(wrong.hint))
        return sa

    def _combination_problems(self, protocol: str, attributes: Attributes) -> t.Iterator[Problem]:
        """Attributes that require or exclude each other, as far as the SA itself does not show it."""
        values, words = attributes.values, attributes.words
        yield from _nat_problems(attributes)
        yield from _tunnel_problems(values, self.target) if _is_tunnel(values) else _transport_problems(words)
        yield from limit_problems(values, ("alloc",))
        if int(values.get("replay_value", "0")) >> 32 and "esn" not in words:
            yield (
                "replay_value",
                "without esn a sequence number has 32 bits; ipseckey would cut it silently",
                "Start from a smaller one.",
            )
        if values.get("reserved_bits", "0") != "0":
            yield (
                "reserved_bits",
                "a fixed initial value is for test vectors only",
                "Remove it, and the value from the end of encrkey.",
            )
        if protocol == model.AH and values.get("encryption") == "":
            yield "encryption", "AH accepts no encryption algorithm, not even none", "Remove encr_alg."


def _nat_problems(attributes: Attributes) -> t.Iterator[Problem]:
    words = attributes.words
    encapsulated = "encapsulation" in words or "encapsulation" in attributes.refused
    for field, row in NAT_KEYWORDS.items():
        if field in words and not encapsulated:
            yield field, f"{row.name} needs encap udp", "Add: encap udp."
        if attributes.values.get(field) == 0:
            yield field, "0 is not a UDP port", "Choose 1 to 65535; 4500 is usual."
    if "encapsulation" in words and not any(field in words for field in NAT_KEYWORDS):
        names = ", ".join(row.name for row in NAT_KEYWORDS.values())
        yield "encapsulation", "encap udp needs a NAT address or port", f"Add one of: {names}."


def _tunnel_problems(values: t.Mapping[str, t.Any], target: str) -> t.Iterator[Problem]:
    for field in ("source_port", "destination_port"):
        if values.get(field):
            yield (
                field,
                "a port of the outer header means nothing in tunnel mode",
                "Use isport and idport for the traffic inside.",
            )
    protocol, destination = values.get("protocol"), values.get("destination", b"")
    inside = [field for field in INNER_FIELDS if field in values]
    networks = [values[field] for field in inside if field in _INNER_ADDRESSES]
    traffic = any(values[field] for field in inside if field not in _INNER_ADDRESSES)
    widths = {len(address) for address, dummy in networks}
    if not networks and inside and destination:
        widths = {16 if target == SOLARIS else len(destination)}
    if protocol not in (None, 0, 4, 41):
        yield (
            "protocol",
            f"protocol {protocol} is not a tunnel protocol",
            "Write 4 (IPv4 inside) or 41 (IPv6 inside), and iproto for the traffic inside.",
        )
    if (protocol, widths) in ((4, {16}), (41, {4})):
        yield (
            "protocol",
            f"protocol {protocol} contradicts the traffic inside, which is IPv{6 if widths == {16} else 4}",
            "Write 4 for IPv4 inside, 41 for IPv6 inside, or omit it.",
        )
    if destination and model.loses_family(networks, destination) and (traffic or target == SOLARIS):
        yield (
            inside[0],
            "a network of every address must be of the address family of dst",
            "Name the networks inside.",
        )
    if target == SOLARIS and inside and not networks and len(destination) == 4:
        yield inside[0], "Solaris takes the traffic inside the tunnel for IPv6", "Add: isrc 0.0.0.0/0 idst 0.0.0.0/0."


def _transport_problems(words: t.Mapping[str, Word]) -> t.Iterator[Problem]:
    for field in ("protocol", "source_port", "destination_port"):
        if field in words and f"inner_{field}" in words:
            yield (
                f"inner_{field}",
                "the traffic is described twice",
                "Keep one of them; in transport mode there is no inner header.",
            )


def limit_problems(values: t.Mapping[str, t.Any], kinds: t.Sequence[str]) -> t.Iterator[Problem]:
    """Soft limits of those kinds above their hard ones, and idle limits above both. The kernel of
    Solaris checks idle limits only beside both others.
    """
    limits = {field: int(value) for field, value in values.items() if field.startswith(("soft_", "hard_", "idle_"))}
    yield from checks.soft_above_hard(limits, kinds)
    if not all(any(field.startswith(end) for field in limits) for end in ("soft_", "hard_")):
        return
    for kind in ("addtime", "usetime"):
        idle = limits.get(f"idle_{kind}", 0)
        others = [limit for limit in (limits.get(f"soft_{kind}"), limits.get(f"hard_{kind}")) if limit]
        if others and idle > min(others):
            yield (
                f"idle_{kind}",
                f"the idle limit {idle} is above the limit {min(others)} of soft_{kind} or hard_{kind}",
                "An idle SA ends before its time is up.",
            )


def build(protocol: str, attributes: Attributes) -> SecurityAssociation:
    """The SA in normal form. Refused fields are left out; a refused SPI or destination is replaced
    by a value that causes no further problem.
    """
    values = attributes.values
    source = values.get("source", b"")
    destination = values.get("destination")
    if not destination or "destination" in attributes.refused:
        destination = bytes(len(source or b"1234") - 1) + b"\1"
    direction = values.get("direction", "")
    return model.build(
        protocol,
        values.get("spi", model.SPI_MIN),
        destination,
        source,
        mode=model.TUNNEL if _is_tunnel(values) else model.TRANSPORT,
        esn="esn" in values,
        selector=_selector(values),
        encapsulation=_encapsulation(values, direction) if "encapsulation" in values else None,
        lifetimes=Lifetimes(*(values.get(field, 0) for field in Lifetimes._fields)),
        direction=direction,
        extra=tuple(pair for pair in extra_of(values) if pair != ("reserved_bits", "0")),
        **{field: values[field] for field in _PLAIN_FIELDS if field in values},
    )


def extra_of(values: t.Mapping[str, t.Any]) -> tuple[tuple[str, str], ...]:
    """The values that only Solaris uses, as in `SecurityAssociation.extra`."""
    return tuple(sorted((field, value) for field, value in values.items() if field in EXTRA_KEYWORDS))


def _is_tunnel(values: t.Mapping[str, t.Any]) -> bool:
    if "mode" in values:
        return bool(values["mode"] == model.TUNNEL)
    return any(field in values for field in INNER_FIELDS)


def _selector(values: t.Mapping[str, t.Any]) -> Selector:
    """The traffic. In tunnel mode, proto, sport and dport describe the outer header, which is not
    part of an SA.
    """
    tunnel = _is_tunnel(values)
    traffic = (
        values.get(f"inner_{field}", 0 if tunnel else values.get(field, 0))
        for field in ("protocol", "source_port", "destination_port")
    )
    return Selector(*values.get("inner_source", (b"", 0)), *values.get("inner_destination", (b"", 0)), *traffic)


def _encapsulation(values: t.Mapping[str, t.Any], direction: str) -> Encapsulation:
    """Local means the source, unless the SA is inbound. ipseckey saves a missing NAT address as
    0.0.0.0, or as :: if the SA is for IPv6.
    """
    ports = [values.get(field, NAT_PORT) for field in ("nat_local_port", "nat_remote_port")]
    if direction == model.INBOUND:
        ports.reverse()
    none = bytes(4), bytes(len(values.get("destination", b"")))
    nat = (values.get(field, b"") for field in ("nat_local", "nat_remote"))
    return Encapsulation(*ports, *(b"" if address in none else address for address in nat))
