# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SAs for people, with the line prefixes of ipseckey's dump and get, or as JSON. Keys are
fingerprints unless asked for.
"""

from __future__ import annotations

import time
import typing as t

from ..sa import model
from ..sa.model import AH, Entry, Lifetimes, SecurityAssociation, format_address, mark_text
from ..sadb.backup import last_sequence

HIDDEN = "hidden"
CROSSED = "crossed"
SHOWN = "shown"

NUMBERS = {AH: 2, "esp": 3}


def block(entry: Entry, keys: str = HIDDEN, raw_times: bool = False, now: float = 0.0, message: str = "DUMP") -> str:
    """One SA, a fact per line. ``keys`` is "hidden" (a fingerprint), "crossed" (XX for each byte) or
    "shown"; ``raw_times`` prints times in seconds only.

    ``message`` is the type of the message that carries the SA, as PF_KEY calls it (RFC 2367 section 3.1).
    """
    sa = entry.sa
    lines = [
        f"Base message (version 2) type {message}, SA type {sa.protocol.upper()}.",
        *_sa_lines(entry),
        *_lifetime_lines(entry, raw_times, now or time.time()),
        *_address_lines(sa),
    ]
    for prefix, kind in (("AKY", "authentication"), ("EKY", "encryption")):
        shown = _key(sa, kind, keys)
        if shown:
            lines += (f"{prefix}: {kind.capitalize()} key.", f"{prefix}: {shown}")
    sequence = last_sequence(entry)
    if sequence:
        lines.append(f"RPL: Replay Value {sequence}")
    others = {
        "reqid": sa.reqid,
        "if_id": sa.if_id,
        "mark": mark_text(sa.mark),
        "output_mark": mark_text(sa.output_mark),
        "tfc_padding": sa.tfc_padding,
        "nat_keepalive": sa.nat_keepalive,
        "flags": model.flags(sa),
    }
    lines += [f"OTH: {name} {value}" for name, value in others.items() if value]
    return "".join(f"{line}\n" for line in lines)


def _sa_lines(entry: Entry) -> t.Iterator[str]:
    sa = entry.sa
    state = "LARVAL" if entry.larval else "MATURE"
    yield f"SA: SADB_ASSOC spi=0x{sa.spi:x}, replay window size={sa.replay_window}, state={state}"
    if sa.authentication:
        yield f"SA: Authentication algorithm = {sa.authentication}"
    if sa.encryption:
        yield f"SA: Encryption algorithm = {sa.encryption}"
    flags = {
        "ESN": sa.esn,
        "TUNNEL": sa.mode == model.TUNNEL,
        "NATT": sa.encapsulation,
        sa.direction.upper(): sa.direction,
    }
    yield f"SA: flags = < {' '.join(word for word, is_set in flags.items() if is_set)} >"


def _address_lines(sa: SecurityAssociation) -> t.Iterator[str]:
    """Two lines for each address; 0.0.0.0 or :: for one that is not set."""
    inner, nat, tunnel = sa.selector or model.Selector(), sa.encapsulation, sa.mode == model.TUNNEL
    outer = model.Selector() if tunnel else inner
    rows = [
        ("SRC", f"Source address (proto={outer.protocol})", sa.source, outer.source_port),
        ("DST", f"Destination address (proto={outer.protocol})", sa.destination, outer.destination_port),
    ]
    if tunnel and sa.selector is not None:
        source, destination = f"{inner.protocol}/{inner.source_prefix}", f"{inner.protocol}/{inner.destination_prefix}"
        rows += (
            ("INS", f"Inner source address (proto={source})", inner.source, inner.source_port),
            ("IND", f"Inner destination address (proto={destination})", inner.destination, inner.destination_port),
        )
    if nat is not None:
        rows += (
            ("NLC", "NAT-Traversal local address", nat.nat_local, nat.source_port),
            ("NRM", "NAT-Traversal remote address", nat.nat_remote, nat.destination_port),
        )
    for prefix, title, address, port in rows:
        packed = address or bytes(len(sa.destination))
        yield f"{prefix}: {title}"
        yield f"{prefix}: {'AF_INET' if len(packed) == 4 else 'AF_INET6'}: port {port}, {format_address(packed)}."


def _lifetime_lines(entry: Entry, raw_times: bool, now: float) -> t.Iterator[str]:
    counters, lifetimes = entry.counters, entry.sa.lifetimes

    def moment(seconds: float) -> str:
        return str(int(seconds)) if raw_times else time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(seconds))

    yield "LT: Lifetime information"
    yield f"CLT: {counters.bytes} bytes protected, {counters.packets} packets."
    yield f"CLT: SA added at time: {moment(counters.add_time)}"
    if counters.use_time:
        yield f"CLT: SA first used at time {moment(counters.use_time)}"
    yield f"CLT: Time now is {moment(now)}"
    for prefix, word in (("SLT", "soft"), ("HLT", "hard")):
        limits = {kind: getattr(lifetimes, f"{word}_{kind}") for kind in model.LIFETIME_KINDS}
        if any(limits.values()):
            yield f"{prefix}: {word.capitalize()} lifetime information:"
            yield f"{prefix}: {limits['bytes']} bytes of lifetime, {limits['packets']} packets."
            yield f"{prefix}: {limits['addtime']} seconds of post-add lifetime."
            yield f"{prefix}: {limits['usetime']} seconds of post-use lifetime."


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
