# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SAs for people and scripts, in the lines that the Solaris utility prints for a PF_KEY message, or as
JSON. Keys appear as fingerprints unless the user asks for them.

The lines follow usr/src/lib/libipsecutil/common/ipsec_util.c of illumos, their order and flags follow
usr/src/uts/common/inet/ip/sadb.c. `sadb.solaris.output` reads them.
"""

from __future__ import annotations

import re
import socket
import time
import typing as t

from ..sa import model
from ..sa.model import AH, Entry, Lifetimes, SecurityAssociation, format_address, mark_text
from ..sa.plan import direction_of
from ..sadb.backup import last_sequence

if t.TYPE_CHECKING:
    from .names import Names

HIDDEN = "hidden"
CROSSED = "crossed"
SHOWN = "shown"

NUMBERS = {AH: 2, "esp": 3}
ACQUIRE = "ACQUIRE"
# By kind of an event: the type of its message, the state of the SA, and the limits that the message has.
_EXPIRED: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "SOFT EXPIRE": ("EXPIRE", "DYING", ("soft",)),
    "HARD EXPIRE": ("EXPIRE", "DEAD", ("hard",)),
}
# In the order in which they are printed, with their bits (net/pfkeyv2.h).
_FLAGS = {
    "X_USED": 0x80000000,
    "X_PAIRED": 0x10000,
    "X_OUTBOUND": 0x8000,
    "X_INBOUND": 0x4000,
    "X_NATT_LOC": 0x100000,
    "X_NATT_REM": 0x80000,
    "X_TUNNEL": 0x20000,
}
_IDENTITY_KEYWORDS = {"SID": ("Source", "srcidtype"), "DID": ("Destination", "dstidtype")}
_IDENTITIES = {
    "prefix": "prefix",
    "fqdn": "FQDN",
    "user_fqdn": "user-FQDN (mbox)",
    "der_dn": "ASN.1 DER Distinguished Name",
    "der_gn": "ASN.1 DER Generic Name",
}
_UNPRINTABLE = re.compile("[^ -~]")
_TIMES = (("day", 86400), ("hour", 3600), ("minute", 60))


class Style(t.NamedTuple):
    """How SAs are printed: ``keys`` as "hidden" (a fingerprint), "crossed" (XX for each byte) or "shown";
    times also in seconds if ``raw_times``; hosts and protocols also by name if there are ``names``.

    ``local`` are the addresses of this host, which tell the direction of an SA that states none."""

    keys: str = HIDDEN
    raw_times: bool = False
    names: Names | None = None
    local: t.AbstractSet[bytes] = frozenset()


PLAIN = Style()


class Origin(t.NamedTuple):
    """The header of the kernel's message: its size in bytes, and the sequence number and the process
    ID that the program that caused it wrote into its request.
    """

    size: int
    sequence: int
    process: int


def head(kind: str, protocol: str, origin: Origin | None = None, now: float = 0.0) -> list[str]:
    """The lines about a message, of an SA type or, if that is empty, of all. ``kind`` is its PF_KEY type
    (RFC 2367 section 3.1), or the kind of an event, whose ``origin`` is known.
    """
    number = f"<unknown {protocol}>" if protocol.isdigit() else protocol.upper()
    base = f"Base message (version 2) type {_EXPIRED.get(kind, (kind,))[0]}, SA type {number or '<unspecified/all>'}."
    if origin is None:
        return [base]
    return [
        f"Read {origin.size} bytes.",
        f"Timestamp: {_date(int(now or time.time()))}",
        base,
        f"Message length {origin.size} bytes, seq={origin.sequence}, pid={origin.process}.",
    ]


def block(
    entry: Entry, style: Style = PLAIN, kind: str = "DUMP", origin: Origin | None = None, now: float = 0.0
) -> str:
    """One SA, a fact per line; ``kind`` and ``origin`` as for `head`."""
    now = int(now or time.time())
    sa = entry.sa
    usual = ("", "LARVAL" if entry.larval else "MATURE", ("soft", "hard"))
    dummy, state, limits = _EXPIRED.get(kind, usual)
    direction = sa.direction or (direction_of(sa, style.local) if style.local else "")
    lines = head(kind, sa.protocol, origin, now)
    if kind != ACQUIRE:
        lines += _sa_lines(entry, state, direction)
    lines += _address_lines(sa, direction, style.names)
    lines += _rest_lines(entry, style.keys)
    lines = [visible(line) for line in lines]
    if kind != ACQUIRE:
        lines += _lifetime_lines(entry, limits, style.raw_times, now)
    return "".join(f"{line}\n" for line in lines)


def visible(text: str) -> str:
    """The text with an escape instead of each character that could move the cursor or begin a line."""
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def _sa_lines(entry: Entry, state: str, direction: str) -> t.Iterator[str]:
    sa = entry.sa
    yield f"SA: SADB_ASSOC spi=0x{sa.spi:x}, replay window size={sa.replay_window}, state={state}"
    if sa.authentication:
        yield f"SA: Authentication algorithm = {sa.authentication}"
    if sa.encryption:
        yield f"SA: Encryption algorithm = {sa.encryption}"
    is_set = {
        "X_USED": entry.counters.use_time,
        "X_PAIRED": model.PAIR_SPI in dict(sa.extra),
        f"X_{direction.upper()}": direction,
        "X_NATT_LOC": sa.encapsulation,
        "X_NATT_REM": sa.encapsulation,
        "X_TUNNEL": sa.mode == model.TUNNEL,
    }
    words = [word for word in _FLAGS if is_set.get(word)]
    yield f"SA: flags=0x{sum(map(_FLAGS.__getitem__, words)):x} < {''.join(f'{word} ' for word in words)}>"


def _address_lines(sa: SecurityAssociation, direction: str, names: Names | None) -> t.Iterator[str]:
    """Two lines for each address; 0.0.0.0 or :: for one that is not set."""
    inner, nat, tunnel = sa.selector or model.Selector(), sa.encapsulation, sa.mode == model.TUNNEL
    width = len(inner.source or inner.destination or sa.destination)
    has_inner = tunnel or bool(inner.source or inner.destination)
    carried = socket.IPPROTO_IPIP if width == 4 else socket.IPPROTO_IPV6
    outer = model.Selector(protocol=carried if tunnel else 0) if has_inner else inner
    # Label, title, address, prefix, protocol, port.
    rows: list[tuple[str, str, bytes, int, int, int]] = [
        ("SRC", "Source", sa.source, 0, outer.protocol, outer.source_port),
        ("DST", "Destination", sa.destination, 0, outer.protocol, outer.destination_port),
    ]
    if nat is not None:
        ports = nat.source_port, nat.destination_port
        local, remote = reversed(ports) if direction == model.INBOUND else ports
        rows += (
            ("NLC", "NAT-T local", nat.nat_local or bytes(len(sa.destination)), 0, socket.IPPROTO_UDP, local),
            ("NRM", "NAT-T remote", nat.nat_remote or bytes(len(sa.destination)), 0, socket.IPPROTO_UDP, remote),
        )
    if has_inner:
        source, destination = inner.source or bytes(width), inner.destination or bytes(width)
        rows += (
            ("INS", "Inner source", source, inner.source_prefix, inner.protocol, inner.source_port),
            ("IND", "Inner destination", destination, inner.destination_prefix, inner.protocol, inner.destination_port),
        )
    for label, title, packed, prefix, protocol, port in rows:
        network = f"{format_address(packed)}/{prefix}" if prefix else format_address(packed)
        family = "AF_INET" if len(packed) == 4 else "AF_INET6"
        yield f"{label}: {title} address (proto={protocol}{_protocol_name(protocol, names)})"
        yield f"{label}: {family}: port {port}, {network}{_host_name(packed, names)}."


def _protocol_name(number: int, names: Names | None) -> str:
    if names is None:
        return ""
    return f"/{names.protocol(number) or '<unknown>'}" if number else "/<unspecified>"


def _host_name(packed: bytes, names: Names | None) -> str:
    if names is None:
        return ""
    if model.is_unspecified(packed):
        return " <unspecified>"
    name = names.host(packed)
    return f" ({name})" if name else " <unknown>"


def _rest_lines(entry: Entry, keys: str) -> t.Iterator[str]:
    """Keys, identities, what Solaris has no field for, and the sequence number."""
    sa, extra = entry.sa, dict(entry.sa.extra)
    for label, kind in (("AKY", "authentication"), ("EKY", "encryption")):
        shown = _key(sa, kind, keys)
        if shown:
            yield f"{label}: {kind.capitalize()} key."
            yield f"{label}: {shown}"
    for label, (end, keyword) in _IDENTITY_KEYWORDS.items():
        if keyword in extra:
            kind, dummy, text = extra.pop(keyword).partition(" ")
            yield f"{label}: {end} identity, uid=0, type {_IDENTITIES.get(kind, f'<unknown {kind}>')}"
            yield f"{label}: {text}"
    if model.PAIR_SPI in extra:
        yield f"OTH: Paired with spi=0x{int(extra.pop(model.PAIR_SPI), 0):x}"
    others = {
        "mode": "" if sa.mode in (model.TRANSPORT, model.TUNNEL) else sa.mode,
        "reqid": sa.reqid,
        "if_id": sa.if_id,
        "mark": mark_text(sa.mark),
        "output_mark": mark_text(sa.output_mark),
        "tfc_padding": sa.tfc_padding,
        "nat_keepalive": sa.nat_keepalive,
        **extra,
    }
    if sa.esn:
        yield "OTH: esn"
    for name, value in others.items():
        if value and name != model.REPLAY_VALUE:
            yield f"OTH: {name} {value}"
    sequence = last_sequence(entry)
    if sequence:
        yield f"RPL: Replay Value {sequence}"


def _lifetime_lines(entry: Entry, words: t.Iterable[str], raw_times: bool, now: int) -> t.Iterator[str]:
    """What the SA has used of its lifetimes, and the soft and the hard ones with what is left of them."""
    used, lifetimes = entry.counters, entry.sa.lifetimes

    def moment(label: str, text: str, seconds: int) -> t.Iterator[str]:
        yield f"{label}: {text.format(_date(seconds))}"
        if raw_times:
            yield f"{label}: \t(raw time value {seconds})"

    yield " LT: Lifetime information"
    yield "CLT: Current lifetime information:"
    yield f"CLT: {_bytes(used.bytes)} protected, {used.packets} allocations used."
    yield from moment("CLT", "SA added at time: {}", used.add_time)
    if used.use_time:
        yield from moment("CLT", "SA first used at time {}", used.use_time)
    yield from moment("CLT", "Time now is {}", now)
    for word in words:
        label, title = f"{word[0].upper()}LT", word.capitalize()
        octets, packets, addtime, usetime = (getattr(lifetimes, f"{word}_{kind}") for kind in model.LIFETIME_KINDS)
        if not any((octets, packets, addtime, usetime)):
            continue
        yield f"{label}: {title} lifetime information:"
        yield f"{label}: {_bytes(octets)} of lifetime, {packets} allocations."
        yield f"{label}: {_seconds(addtime)} of post-add lifetime."
        yield f"{label}: {_seconds(usetime)} of post-use lifetime."
        if octets:
            yield f"{label}: {_bytes(max(0, octets - used.bytes))} more can be protected."
        ends = [used.add_time + addtime] if addtime else []
        if usetime and used.use_time:
            ends.append(used.use_time + usetime)
        if ends:
            left = min(ends) - now
            yield f"{label}: {title} expiration " + (f"occurs in {_seconds(left)}" if left >= 0 else "occurred")
            yield from moment(label, "Time of expiration: {}.", min(ends))


def _date(seconds: int) -> str:
    try:
        return time.strftime("%a %b %e %H:%M:%S %Z %Y", time.localtime(seconds))
    except (OverflowError, ValueError, OSError):
        return "<time conversion failed>"


def _bytes(number: int) -> str:
    """A number of bytes; above 1024 also in a larger unit."""
    if number <= 1024:
        return f"{number} bytes"
    power = (number.bit_length() - 1) // 10
    return f"{number} bytes ({number / (1 << 10 * power):.2f} {' KMGTPE'[power]}B)"


def _seconds(number: int) -> str:
    """A number of seconds; above a minute also in a larger unit."""
    if number <= 60:
        return f"{number} seconds"
    unit, size = next(row for row in _TIMES if number >= row[1])
    return f"{number} seconds ({number / size:.2f} {unit}{'s' if number >= 2 * size else ''})"


def _key(sa: SecurityAssociation, kind: str, keys: str) -> str:
    """``hex/bits``, or ``hex[salt]/bits+saltbits``; the hex is replaced unless it is to be shown."""
    material: bytes = getattr(sa, f"{kind}_key")
    if not material:
        return ""
    row = model.algorithm_of(getattr(sa, kind))
    salt = row.salt_bits // 8 if row is not None else 0
    split = len(material) - salt
    if keys == HIDDEN:
        text = model.in_place_of_keys(sa)[kind]
    else:
        digits = material.hex() if keys == SHOWN else "XX" * len(material)
        text = digits[: split * 2] + (f"[{digits[split * 2 :]}]" if salt else "")
    return f"{text}/{split * 8}" + (f"+{salt * 8}" if salt else "")


def record(entry: Entry, keys: str = HIDDEN) -> dict[str, t.Any]:
    """One SA for JSON: the fields of `SecurityAssociation` that are set, addresses as text,
    fingerprints and counters.
    """
    sa = entry.sa
    found: dict[str, t.Any] = {
        "protocol": sa.protocol,
        "spi": f"0x{sa.spi:08x}",
        "source": format_address(sa.source),
        "destination": format_address(sa.destination),
        "mode": sa.mode,
        "larval": entry.larval,
    }
    prints = model.fingerprints(sa)
    for kind in ("encryption", "authentication"):
        if getattr(sa, kind):
            found[f"{kind}_algorithm"] = getattr(sa, kind)
        if getattr(sa, f"{kind}_key"):
            found[f"{kind}_fingerprint"] = prints[kind]
            found[f"{kind}_key_bits"] = len(getattr(sa, f"{kind}_key")) * 8
            if keys == SHOWN:
                found[f"{kind}_key"] = getattr(sa, f"{kind}_key").hex()
    for field in ("icv_bits", "replay_window", "esn", "reqid", "if_id", "direction", "tfc_padding", "nat_keepalive"):
        if getattr(sa, field):
            found[field] = getattr(sa, field)
    for name in ("mark", "output_mark"):
        if getattr(sa, name) is not None:
            found[name] = getattr(sa, name)._asdict()
    for name in ("selector", "encapsulation"):
        if getattr(sa, name) is not None:
            found[name] = {
                field: format_address(value) if isinstance(value, bytes) else value
                for field, value in getattr(sa, name)._asdict().items()
                if value
            }
    if sa.lifetimes != Lifetimes():
        found["lifetimes"] = {name: value for name, value in sa.lifetimes._asdict().items() if value}
    if model.flags(sa):
        found["flags"] = model.flags(sa).split()
    found["counters"] = entry.counters._asdict()
    return found
