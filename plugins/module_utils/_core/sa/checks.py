# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What makes an SA invalid or unwise, alone and together with others. The kernel checks almost none of it."""

from __future__ import annotations

import typing as t

from ..errors import InputError, shown
from . import keys, model
from .algorithms import AUTHENTICATION, ENCRYPTION, Algorithm, find_linux
from .model import Lifetimes, Mark, SecurityAssociation, Selector

_U32 = 0xFFFFFFFF
Found = t.Iterator[InputError]
_BETTER = {ENCRYPTION: "aes-cbc with hmac-sha256", AUTHENTICATION: "hmac-sha256"}
_USUAL = {ENCRYPTION: "aes-cbc", AUTHENTICATION: "hmac-sha256"}


class Allowed(t.NamedTuple):
    """What SAs may have only if the option of that name allows it."""

    allow_static_counter_mode: bool = False
    allow_reserved_spi: bool = False
    allow_shared_key: bool = False


ANYTHING: dict[str, t.Any] = dict.fromkeys(Allowed._fields, True)
"""Arguments that accept everything that an option can accept, for readers of existing SAs."""


def problems(
    sa: SecurityAssociation, allow_static_counter_mode: bool = False, allow_reserved_spi: bool = False
) -> list[InputError]:
    """Everything that is wrong with the SA on every backend, as errors whose place is the option's
    name; empty for a valid SA.
    """
    if sa.protocol not in model.PROTOCOLS:
        return [InputError(f"unknown SA type {shown(sa.protocol)}", "protocol", "Choose esp or ah.")]
    found = [*_spi_problems(sa.spi, allow_reserved_spi), *_address_problems(sa)]
    found += [*_algorithm_problems(sa, allow_static_counter_mode), *_number_problems(sa)]
    if sa.lifetimes != model.NO_LIFETIMES:
        found += _lifetime_problems(sa.lifetimes)
    found += _encapsulation_problems(sa)
    if sa.selector is not None:
        found += selector_problems(sa.selector)
        inner = sa.selector.source or sa.selector.destination or sa.destination
        if sa.mode == model.TRANSPORT and len(inner) != len(sa.destination):
            fix = "Use addresses of the SA's family, or tunnel mode."
            found.append(InputError("transport mode cannot carry another address family", "selector", fix))
    return found


def spi_problem(spi: int) -> tuple[str, str]:
    """What is wrong with an SPI outside 256..2^32-1, and the fix (RFC 4303 section 2.1)."""
    fix = "{new_spi}"
    if spi == 0:
        return "SPI 0 is for local use only", fix
    if 0 < spi < model.SPI_MIN:
        fix += " If the peer dictates this one, accept it {allow_reserved_spi}."
        return f"SPI {spi} is reserved (1 to 255)", fix
    return f"SPI {spi} does not fit 32 bits", fix


def _spi_problems(spi: int, allow_reserved_spi: bool) -> Found:
    if not (1 if allow_reserved_spi else model.SPI_MIN) <= spi <= model.SPI_MAX:
        message, fix = spi_problem(spi)
        yield InputError(message, "spi", fix)


def _address_problems(sa: SecurityAssociation) -> Found:
    if len(sa.source) != len(sa.destination):
        fix = "Give both as IPv4 or both as IPv6."
        yield InputError("source and destination are of different address families", "source", fix)
    if model.is_unspecified(sa.destination):
        fix = "Give the address of the receiving host."
        yield InputError("the destination is the unspecified address", "destination", fix)
    if model.is_multicast(sa.source):
        fix = "Give the address of the sending host."
        yield InputError("a multicast address cannot be a source", "source", fix)


def _algorithm_problems(sa: SecurityAssociation, allow_static_counter_mode: bool) -> Found:
    cipher, integrity = model.algorithm_of(sa.encryption), model.algorithm_of(sa.authentication)
    yield from _key_problems(ENCRYPTION, sa.encryption, cipher, sa.encryption_key)
    yield from _key_problems(AUTHENTICATION, sa.authentication, integrity, sa.authentication_key)
    if sa.protocol == model.AH:
        if sa.encryption:
            fix = "Use ESP, or omit the encryption algorithm."
            yield InputError("AH cannot encrypt", "encryption_algorithm", fix)
        if not sa.authentication:
            fix = "Name one, such as hmac-sha256, and its key."
            yield InputError("AH needs an authentication algorithm", "authentication_algorithm", fix)
    elif not sa.encryption and not sa.authentication:
        fix = "Name both, such as aes-cbc and hmac-sha256, and their keys."
        yield InputError("ESP needs an encryption or an authentication algorithm", "encryption_algorithm", fix)
    elif sa.encryption == "null" and not sa.authentication:
        message = "ESP with null encryption and no authentication protects nothing"
        yield InputError(message, "authentication_algorithm", "Add an authentication algorithm.")
    if cipher is not None and cipher.combined and sa.authentication:
        message = f"{cipher.name} provides its own integrity"
        yield InputError(message, "authentication_algorithm", "Omit the authentication algorithm.")
    if cipher is not None and cipher.counter_mode and not allow_static_counter_mode:
        yield InputError(
            f"{cipher.name} with a static key may repeat nonces after a reload, which breaks it (MUST NOT, RFC 8221"
            " section 3)",
            "encryption_algorithm",
            "Use aes-cbc with hmac-sha256, or accept it {allow_static_counter_mode} and never load this key twice.",
        )
    yield from _icv_problems(sa.icv_bits, cipher if cipher is not None and cipher.combined else integrity)
    if sa.encryption_key and keys.secret(sa.encryption, sa.encryption_key) == sa.authentication_key:
        fix = "Every algorithm of every SA needs a key of its own."
        yield InputError("one key serves both encryption and authentication", "authentication_key", fix)


def _key_problems(kind: str, name: str, row: Algorithm | None, key: bytes) -> Found:
    if name and row is None:
        fix = f"Use a name from the algorithm table, such as {_USUAL[kind]}."
        yield InputError(f"unknown {kind} algorithm {shown(name)}", f"{kind}_algorithm", fix)
    elif row is None and key:
        fix = f"Name the algorithm in {kind}_algorithm."
        yield InputError(f"an {kind} key is given without an {kind} algorithm", f"{kind}_key", fix)
    elif row is not None:
        reason = keys.problem(row, key)
        if reason:
            omit = f"Omit it, or name the algorithm it is for in {kind}_algorithm."
            yield InputError(reason, f"{kind}_key", keys.make_hint(row) if row.key_bits else omit)


def _icv_problems(icv_bits: int, row: Algorithm | None) -> Found:
    """``row`` is the algorithm that provides integrity."""
    if row is not None and icv_bits not in row.icv_bits:
        other = find_linux(row.linux, icv_bits)
        choices = f"Choose one of: {', '.join(map(str, row.icv_bits))}."
        fix = f"The algorithm with {icv_bits} bits is {other.name}." if other is not None else choices
        yield InputError(f"{row.name} has no ICV of {icv_bits} bits", "icv_bits", fix)
    elif row is None and icv_bits:
        fix = "Omit it, or add an authentication algorithm."
        yield InputError("an ICV length is given without integrity", "icv_bits", fix)


def _number_problems(sa: SecurityAssociation) -> Found:
    if sa.mode not in (model.TRANSPORT, model.TUNNEL):
        yield InputError(f"unknown mode {shown(sa.mode)}", "mode", "Choose transport or tunnel.")
    if not 0 <= sa.replay_window <= model.REPLAY_WINDOW_MAX:
        message = f"a replay window of {sa.replay_window} packets is out of range"
        yield InputError(message, "replay_window", f"Choose 0 to {model.REPLAY_WINDOW_MAX}.")
    if sa.esn and not sa.replay_window and sa.direction != model.OUTBOUND:
        fix = "Set replay_window, 32 or more."
        yield InputError("extended sequence numbers need a replay window", "esn", fix)
    for field, value in (("reqid", sa.reqid), ("if_id", sa.if_id), ("nat_keepalive", sa.nat_keepalive)):
        if not 0 <= value <= _U32:
            yield InputError(f"{value} does not fit 32 bits", field, "Choose 0 to 4294967295; 0 means none.")
    if sa.mark is not None:
        yield from _mark_problems("mark", sa.mark, "so it would match no packet")
    if sa.output_mark is not None:
        yield from _mark_problems("output_mark", sa.output_mark, "which no packet would get")


def _mark_problems(field: str, mark: Mark, consequence: str) -> Found:
    if not all(0 <= part <= _U32 for part in mark):
        yield InputError("mark and mask must fit 32 bits each", field, "Choose 0 to 0xffffffff for both.")
    elif mark.value & ~mark.mask:
        message = f"the mark {mark.value:#x} has bits outside its mask {mark.mask:#x}, {consequence}"
        yield InputError(
            message, field, f"Write {model.mark_text(Mark(mark.value & mark.mask, mark.mask))}, or a wider mask."
        )


def _lifetime_problems(lifetimes: Lifetimes) -> Found:
    limits = lifetimes._asdict()
    for field, limit in limits.items():
        if not 0 <= limit < 1 << 64:
            fix = "Choose 0 to 18446744073709551615; 0 means no limit."
            yield InputError("a limit must fit 64 bits", field, fix)
    for field, message, fix in soft_above_hard(limits):
        yield InputError(message, field, fix)


def soft_above_hard(
    limits: t.Mapping[str, int], kinds: t.Iterable[str] = model.LIFETIME_KINDS
) -> t.Iterator[tuple[str, str, str]]:
    """Field, message and fix for each soft limit that exceeds its hard one. ``limits`` are named as
    in `Lifetimes`.
    """
    for kind in kinds:
        soft, hard = limits.get(f"soft_{kind}", 0), limits.get(f"hard_{kind}", 0)
        if 0 < hard < soft:
            message = f"the soft limit {soft} is above the hard limit {hard}"
            yield f"soft_{kind}", message, "A soft limit warns before the hard one ends the SA."


def _encapsulation_problems(sa: SecurityAssociation) -> Found:
    if sa.encapsulation is not None and sa.protocol != model.ESP:
        yield InputError("only ESP can be carried in UDP", "encapsulation", "Omit the encapsulation, or use ESP.")
    if not 0 <= sa.tfc_padding <= model.TFC_PADDING_MAX:
        message = f"packets cannot be padded to {sa.tfc_padding} octets"
        yield InputError(message, "tfc_padding", f"Choose 0 to {model.TFC_PADDING_MAX}; 0 pads nothing.")
    elif sa.tfc_padding and (sa.protocol, sa.mode) != (model.ESP, model.TUNNEL):
        fix = "Use both, or omit the padding."
        yield InputError("only ESP in tunnel mode can pad what it carries", "tfc_padding", fix)
    if sa.nat_keepalive and (sa.encapsulation is None or model.bound_direction(sa) != model.OUTBOUND):
        fix = "Set direction to outbound and encapsulation, and no replay_window."
        yield InputError("only an outbound SA in UDP sends NAT keepalives", "nat_keepalive", fix)
    for field in ("nat_local", "nat_remote") if sa.encapsulation is not None else ():
        address = getattr(sa.encapsulation, field)
        if address and (
            len(address) != len(sa.destination) or model.is_unspecified(address) or model.is_multicast(address)
        ):
            message = f"{model.format_address(address)} cannot be the address before translation"
            yield InputError(message, field, "Give a host's address of the destination's family.")


def selector_problems(selector: Selector) -> Found:
    """What is wrong with the selector of an SA or a policy."""
    if selector.source and selector.destination and len(selector.source) != len(selector.destination):
        fix = "Give both networks as IPv4 or both as IPv6."
        yield InputError("the selector mixes address families", "selector", fix)
    for side in ("source", "destination"):
        address, prefix = getattr(selector, side), getattr(selector, side + "_prefix")
        if not address:
            continue
        bits, place = len(address) * 8, f"selector {side}"
        if not 0 <= prefix <= bits:
            yield InputError(f"the prefix /{prefix} is longer than the address", place, f"Write /0 to /{bits}.")
        elif int.from_bytes(address, "big") & ((1 << (bits - prefix)) - 1):
            import ipaddress  # only here, since a module starts for every task

            message = f"{model.format_address(address)}/{prefix} has bits set outside its prefix"
            yield InputError(message, place, f"Write {ipaddress.ip_network((address, prefix), strict=False)}.")
    if not 0 <= selector.protocol <= 255:
        message = f"{selector.protocol} is not a valid IP protocol number"
        yield InputError(message, "selector protocol", "Choose 0 to 255; 0 means any.")
    if not (0 <= selector.source_port <= 65535 and 0 <= selector.destination_port <= 65535):
        yield InputError("a port is out of range", "selector", "Choose 0 to 65535; 0 means any.")


def warnings(sa: SecurityAssociation) -> list[str]:
    """What is allowed but unwise, with the RFC that says so; one sentence each, without keys."""
    found = []
    if sa.spi < model.SPI_MIN:
        found.append("SPIs 1 to 255 are reserved (RFC 4303 section 2.1); use one only if the peer dictates it")
    for name in (sa.encryption, sa.authentication):
        row = model.algorithm_of(name)
        if row is not None and row.advice:
            required = row.advice.startswith("MUST-")
            judged = "still required, but perhaps not for much longer" if required else "not recommended"
            found.append(f"{row.name} is {judged} ({row.advice}); prefer {_BETTER[row.kind]}")
        if row is not None and row.counter_mode:
            found.append(
                f"{row.name} with a static key is safe only as long as this key is never loaded again (RFC 8221"
                " section 3)"
            )
    cipher = model.algorithm_of(sa.encryption)
    if sa.protocol == model.ESP and not sa.authentication and not (cipher is not None and cipher.combined):
        found.append("ESP without integrity can be forged unless an AH SA accompanies it (RFC 8221 section 4)")
    if sa.replay_window:
        found.append(
            "anti-replay with manual keys breaks when one end restarts its counters (RFC 4303 section 3.3.3); rotate"
            " after a reboot"
        )
    if sa.icv_bits and (sa.authentication, sa.icv_bits) == ("hmac-sha256", 96):
        found.append("hmac-sha256 with a 96-bit ICV is from a draft, not from RFC 4868; most peers expect 128")
    if sa.direction != model.bound_direction(sa):
        found.append(
            "Linux cannot bind an outbound SA with an anti-replay window to its direction; omit the window, which"
            " only the receiver needs"
        )
    return found
