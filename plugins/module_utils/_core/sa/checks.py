# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What makes an SA invalid or unwise, alone and together with others. The kernel checks almost none of it."""

from __future__ import annotations

import typing as t

from ..errors import InputError, IpsecError, raise_all, shown
from . import keys
from .algorithms import AUTHENTICATION, BY_NAME, ENCRYPTION, Algorithm, find_linux
from .model import (
    AH,
    ESP,
    OUTBOUND,
    PROTOCOLS,
    REPLAY_WINDOW_MAX,
    SPI_MAX,
    SPI_MIN,
    TFC_PADDING_MAX,
    TRANSPORT,
    TUNNEL,
    Identity,
    SecurityAssociation,
    Selector,
    algorithm_of,
    bound_direction,
    format_address,
    identity,
    is_multicast,
    is_unspecified,
    label,
)


def problems(sa: SecurityAssociation, allow_static_counter_mode: bool = False) -> list[InputError]:
    """Everything that is wrong with the SA on every backend, as errors whose place is the option's
    name; empty for a good SA.

    The kernel checks almost none of this (spec/linux-xfrm.md section 1).
    """
    found: list[InputError] = []

    def wrong(place: str, message: str, hint: str = "") -> None:
        found.append(InputError(message, place, hint))

    if sa.protocol not in PROTOCOLS:
        wrong("protocol", f"unknown SA type {shown(sa.protocol)}", "Choose esp or ah.")
        return found
    if not SPI_MIN <= sa.spi <= SPI_MAX:
        wrong("spi", *spi_problem(sa.spi))
    if len(sa.source) != len(sa.destination):
        wrong(
            "source", "source and destination are of different address families", "Give both as IPv4 or both as IPv6."
        )
    if is_unspecified(sa.destination):
        wrong("destination", "the destination is the unspecified address", "Give the address of the receiving host.")
    if is_multicast(sa.source):
        wrong("source", "a multicast address cannot be a source", "Give the address of the sending host.")
    found.extend(_algorithm_problems(sa, allow_static_counter_mode))
    if sa.mode not in (TRANSPORT, TUNNEL):
        wrong("mode", f"unknown mode {shown(sa.mode)}", "Choose transport or tunnel.")
    if not 0 <= sa.replay_window <= REPLAY_WINDOW_MAX:
        wrong(
            "replay_window",
            f"a replay window of {sa.replay_window} packets is out of range",
            f"Choose 0 to {REPLAY_WINDOW_MAX}.",
        )
    if sa.esn and not sa.replay_window and sa.direction != OUTBOUND:
        wrong("esn", "extended sequence numbers need a replay window", "Set replay_window, 32 or more.")
    for field in ("reqid", "if_id", "nat_keepalive"):
        if not 0 <= getattr(sa, field) <= 0xFFFFFFFF:
            wrong(field, f"{getattr(sa, field)} does not fit 32 bits", "Choose 0 to 4294967295; 0 is none.")
    for field, mark, consequence in (
        ("mark", sa.mark, "so it would match no packet"),
        ("output_mark", sa.output_mark, "which no packet would get"),
    ):
        if mark is not None and not all(0 <= part <= 0xFFFFFFFF for part in mark):
            wrong(field, "mark and mask must fit 32 bits each", "Choose 0 to 0xffffffff for both.")
        elif mark is not None and mark.value & ~mark.mask:
            fix = f"Write 0x{mark.value & mark.mask:x}/0x{mark.mask:x}, or a wider mask."
            wrong(field, f"the mark 0x{mark.value:x} has bits outside its mask 0x{mark.mask:x}, {consequence}", fix)
    for kind in ("bytes", "packets", "addtime", "usetime"):
        soft, hard = getattr(sa.lifetimes, "soft_" + kind), getattr(sa.lifetimes, "hard_" + kind)
        if not (0 <= soft < 1 << 64 and 0 <= hard < 1 << 64):
            wrong(f"hard_{kind}", "a limit must fit 64 bits", "Choose 0 to 18446744073709551615; 0 is no limit.")
        elif hard and soft > hard:
            wrong(
                f"soft_{kind}",
                f"the soft limit {soft} is above the hard limit {hard}",
                "A soft limit warns before the hard one ends the SA.",
            )
    if sa.encapsulation is not None and sa.protocol != ESP:
        wrong("encapsulation", "only ESP can be carried in UDP", "Take the encapsulation away or use ESP.")
    if not 0 <= sa.tfc_padding <= TFC_PADDING_MAX:
        wrong(
            "tfc_padding",
            f"packets cannot be padded to {sa.tfc_padding} octets",
            f"Choose 0 to {TFC_PADDING_MAX}; 0 pads nothing.",
        )
    elif sa.tfc_padding and (sa.protocol, sa.mode) != (ESP, TUNNEL):
        wrong("tfc_padding", "only ESP in tunnel mode can pad what it carries", "Use both, or take the padding away.")
    if sa.nat_keepalive and (sa.encapsulation is None or bound_direction(sa) != OUTBOUND):
        wrong(
            "nat_keepalive",
            "only an outbound SA in UDP sends NAT keepalives",
            "Set direction to outbound and encapsulation, and no replay_window.",
        )
    for field in ("nat_local", "nat_remote") if sa.encapsulation is not None else ():
        address = getattr(sa.encapsulation, field)
        if address and (len(address) != len(sa.destination) or is_unspecified(address)):
            wrong(
                field,
                f"{format_address(address)} cannot be the address before translation",
                "Give a host's address of the destination's family.",
            )
    if sa.selector is not None:
        found.extend(selector_problems(sa.selector))
        if sa.mode == TRANSPORT and len(sa.selector.source or sa.selector.destination or sa.destination) != len(
            sa.destination
        ):
            wrong(
                "selector",
                "transport mode cannot carry another address family",
                "Use addresses of the SA's family, or tunnel mode.",
            )
    return found


def spi_problem(spi: int) -> tuple[str, str]:
    """What is wrong with an SPI outside 256..2^32-1, and the fix (RFC 4303 section 2.1)."""
    fix = "Draw one with the lookup ipsec.manual.ipsec_spi."
    if spi == 0:
        return "SPI 0 is for local use only", fix
    if 0 < spi < SPI_MIN:
        return f"SPI {spi} is reserved (1 to 255)", fix
    return f"SPI {spi} does not fit 32 bits", fix


def _algorithm_problems(sa: SecurityAssociation, allow_static_counter_mode: bool) -> t.Iterator[InputError]:
    rows: dict[str, Algorithm | None] = {}
    for kind, name, key in (
        (ENCRYPTION, sa.encryption, sa.encryption_key),
        (AUTHENTICATION, sa.authentication, sa.authentication_key),
    ):
        row = rows[kind] = algorithm_of(name)
        if name and row is None:
            yield InputError(
                f"unknown {kind} algorithm {shown(name)}",
                f"{kind}_algorithm",
                "Use a name of the algorithm table, such as aes-cbc or hmac-sha256.",
            )
        elif row is None and key:
            yield InputError(
                f"an {kind} key is given without an {kind} algorithm",
                f"{kind}_key",
                f"Name the algorithm in {kind}_algorithm.",
            )
        elif row is not None:
            reason = keys.problem(row, key)
            if reason:
                made = f"Make one with the lookup ipsec.manual.ipsec_key, algorithm {row.name}."
                yield InputError(
                    reason,
                    f"{kind}_key",
                    made if row.key_bits else f"Take it away, or name the algorithm it is for in {kind}_algorithm.",
                )
    cipher, integrity = rows[ENCRYPTION], rows[AUTHENTICATION]
    if sa.protocol == AH:
        if sa.encryption:
            yield InputError(
                "AH cannot encrypt", "encryption_algorithm", "Use ESP, or take the encryption algorithm away."
            )
        if not sa.authentication:
            yield InputError(
                "AH needs an authentication algorithm",
                "authentication_algorithm",
                "Name one, such as hmac-sha256, and its key.",
            )
    elif not sa.encryption and not sa.authentication:
        hint = "Name both, such as aes-cbc and hmac-sha256, and their keys."
        yield InputError("ESP needs an encryption or an authentication algorithm", "encryption_algorithm", hint)
    elif sa.encryption == "null" and not sa.authentication:
        yield InputError(
            "ESP with null encryption and no authentication protects nothing",
            "authentication_algorithm",
            "Add an authentication algorithm.",
        )
    if cipher is not None and cipher.combined and sa.authentication:
        yield InputError(
            f"{cipher.name} brings its own integrity",
            "authentication_algorithm",
            "Take the authentication algorithm away.",
        )
    if cipher is not None and cipher.counter_mode and not allow_static_counter_mode:
        yield InputError(
            f"{cipher.name} with a static key may repeat nonces after a reload, which breaks it (MUST NOT, RFC 8221"
            " section 3)",
            "encryption_algorithm",
            "Use aes-cbc with hmac-sha256, or accept it {allow_static_counter_mode} and never load this key twice.",
        )
    protecting = cipher if cipher is not None and cipher.combined else integrity
    if protecting is not None and sa.icv_bits not in protecting.icv_bits:
        choices = ", ".join(map(str, protecting.icv_bits))
        other = find_linux(protecting.linux, sa.icv_bits)
        hint = (
            f"The algorithm with {sa.icv_bits} bits is {other.name}."
            if other is not None
            else f"Choose one of: {choices}."
        )
        yield InputError(f"{protecting.name} has no ICV of {sa.icv_bits} bits", "icv_bits", hint)
    elif protecting is None and sa.icv_bits:
        yield InputError(
            "an ICV length is given without integrity", "icv_bits", "Take it away or add an authentication algorithm."
        )
    if sa.encryption_key and sa.encryption_key == sa.authentication_key:
        yield InputError(
            "one key serves both encryption and authentication",
            "authentication_key",
            "Every algorithm of every SA wants a key of its own.",
        )


def selector_problems(selector: Selector) -> t.Iterator[InputError]:
    """What is wrong with a selector, of an SA or of a policy."""
    if selector.source and selector.destination and len(selector.source) != len(selector.destination):
        yield InputError(
            "the selector mixes address families", "selector", "Give both networks as IPv4 or both as IPv6."
        )
    for side in ("source", "destination"):
        address, prefix = getattr(selector, side), getattr(selector, side + "_prefix")
        if not address:
            continue
        if not 0 <= prefix <= len(address) * 8:
            yield InputError(
                f"the prefix /{prefix} is longer than the address",
                f"selector {side}",
                f"Write /0 to /{len(address) * 8}.",
            )
        elif int.from_bytes(address, "big") & ((1 << (len(address) * 8 - prefix)) - 1):
            import ipaddress  # only here, since a module starts for every task

            network = ipaddress.ip_network((address, prefix), strict=False)
            yield InputError(
                f"{format_address(address)}/{prefix} has bits set outside its prefix",
                f"selector {side}",
                f"Write {network}.",
            )
    if not 0 <= selector.protocol <= 255:
        yield InputError(
            f"{selector.protocol} is no IP protocol number", "selector protocol", "Choose 0 to 255; 0 is any."
        )
    if not (0 <= selector.source_port <= 65535 and 0 <= selector.destination_port <= 65535):
        yield InputError("a port is out of range", "selector", "Choose 0 to 65535; 0 is any.")


def warnings(sa: SecurityAssociation) -> list[str]:
    """What is allowed but unwise, with the RFC that says so; one sentence each, without keys."""
    found = []
    for name in (sa.encryption, sa.authentication):
        row = algorithm_of(name)
        if row is not None and row.advice:
            found.append(f"{row.name} is not what RFCs ask for ({row.advice}); prefer aes-cbc with hmac-sha256")
        if row is not None and row.counter_mode:
            found.append(
                f"{row.name} with a static key is safe only as long as this key is never loaded again (RFC 8221"
                " section 3)"
            )
    cipher = algorithm_of(sa.encryption)
    if sa.protocol == ESP and not sa.authentication and not (cipher is not None and cipher.combined):
        found.append("ESP without integrity can be forged unless an AH SA goes with it (RFC 8221 section 4)")
    if sa.replay_window:
        found.append(
            "anti-replay with manual keys breaks when one end restarts its counters (RFC 4303 section 3.3.3); rotate"
            " after a reboot"
        )
    if sa.icv_bits and (sa.authentication, sa.icv_bits) == ("hmac-sha256", 96):
        found.append("hmac-sha256 with a 96-bit ICV is a draft's, not RFC 4868's; most peers expect 128")
    if sa.direction != bound_direction(sa):
        found.append(
            "Linux cannot bind an outbound SA with an anti-replay window to its direction; take the window away, which"
            " only the receiver needs"
        )
    return found


class Conflict(t.NamedTuple):
    """The SAs at ``second`` and ``first`` of a sequence share what no two may: ``field`` is "spi"
    (one identity), "encryption_key" or "authentication_key".
    """

    second: int
    first: int
    field: str


def conflicts(sas: t.Sequence[SecurityAssociation]) -> t.Iterator[Conflict]:
    """One identity twice, one key in two SAs (DES parity bits aside) that are not one group's."""
    if not _any_conflict(sas):
        return
    identities: dict[Identity, int] = {}
    owners: dict[bytes, int] = {}
    for index, sa in enumerate(sas):
        first = identities.setdefault(identity(sa), index)
        if first != index:
            yield Conflict(index, first, "spi")
        for field, name, key in (
            ("encryption_key", sa.encryption, sa.encryption_key),
            ("authentication_key", sa.authentication, sa.authentication_key),
        ):
            if key:
                first = owners.setdefault(keys.effective(name, key), index)
                if first != index and not _is_one_group(sas[first], sa):
                    yield Conflict(index, first, field)


def _any_conflict(sas: t.Sequence[SecurityAssociation]) -> bool:
    """Whether `conflicts` finds any, at the speed of sets. One SA that has the same key twice
    counts, though it is no conflict of two.
    """
    if len({(sa[0], sa[3], sa[1], sa[13]) for sa in sas}) < len(sas):
        return True
    used = [
        keys.effective(sa.encryption, sa.encryption_key) if sa.encryption in _PARITY else sa.encryption_key
        for sa in sas
        if sa.encryption_key
    ]
    used += [sa.authentication_key for sa in sas if sa.authentication_key]
    return len(set(used)) < len(used)


def _is_one_group(one: SecurityAssociation, other: SecurityAssociation) -> bool:
    """True for the SA that all systems on a link share, towards another address of theirs (RFC 4552
    section 7): one SPI, one key, any source.
    """
    return is_unspecified(one.source) and one._replace(destination=other.destination) == other


_PARITY = frozenset(name for name, row in BY_NAME.items() if row.des_parity)


def conflict_message(sas: t.Sequence[SecurityAssociation], conflict: Conflict, first: str) -> tuple[str, str]:
    """What is wrong, and the fix; ``first`` names the SA that came first."""
    if conflict.field != "spi":
        return f"the {conflict.field.split('_')[0]} key is also used by {first}", "Every SA needs its own keys."
    sa = sas[conflict.second]
    message = (
        f"SPI 0x{sa.spi:08x} towards {format_address(sa.destination)} is used twice for {sa.protocol}, first by {first}"
    )
    return message, "Every SA towards one destination needs its own SPI."


def set_problems(sas: t.Sequence[SecurityAssociation], places: t.Sequence[str] | None = None) -> list[IpsecError]:
    """What is wrong with several SAs together (`conflicts`), as errors. ``places[i]`` names the i-th SA in messages."""
    names = places or [label(sa) for sa in sas]
    found: list[IpsecError] = []
    for conflict in conflicts(sas):
        message, hint = conflict_message(sas, conflict, names[conflict.first])
        found.append(InputError(message, names[conflict.second], hint))
    return found


def check(sa: SecurityAssociation, allow_static_counter_mode: bool = False) -> None:
    """Raise what `problems` finds, all of it together."""
    raise_all(problems(sa, allow_static_counter_mode))
