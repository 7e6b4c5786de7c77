# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The SAs of a SADB as text that restores them, sequence numbers included."""

from __future__ import annotations

import typing as t

from ..errors import InputError, IpsecError, Problems, raise_all
from ..sa import model
from ..sa.checks import ANYTHING, problems, spi_problem
from ..sa.conflicts import set_problems
from ..sa.model import Entry, SecurityAssociation
from ..sa.plan import direction_of
from ..text import language
from ..text.render import render
from .base import Sadb

# Packets that an SA may send between the dump and its deletion: some seconds at the highest rates,
# and a thousandth of the numbers an SA has.
SEQUENCE_MARGIN = 1 << 22


def backup(
    sadb: Sadb,
    entries: t.Iterable[Entry],
    local: t.AbstractSet[bytes],
    comment: str,
    allow_reserved_spi: bool = False,
    allow_shared_key: bool = False,
) -> str:
    """The text of all entries, for SAs that go on sending after the dump; ``local`` are the addresses of this host.

    Raises InputError, or Problems, if an SA could not be read back with the same options. Counter modes are accepted:
    the option for them was given when they were installed, and they return with their sequence numbers."""
    sas = [_with_margin(sadb, entry, local) for entry in entries]
    found: list[IpsecError] = []
    for sa in sas:
        wrong = [f"the language has no word for what it has: {model.unsayable(sa)}"] if model.unsayable(sa) else []
        wrong = wrong or [problem.message for problem in problems(sa, True, allow_reserved_spi)]
        found += [InputError(message, model.label(sa), _remedy(sa)) for message in wrong]
    for clash in set_problems(sas, None, allow_shared_key):
        found.append(InputError(clash.message, clash.place, _REMEDY.format("ipsec.manual.ipsec_sa")))
    raise_all(found)
    return render(sas, comment)


def save(
    entries: t.Iterable[Entry], comment: str, allow_reserved_spi: bool = False, allow_shared_key: bool = False
) -> tuple[str, list[IpsecError]]:
    """The text of the entries that the language can restore, and the problems with the others, between
    SAs, and with reserved SPIs. The options are those with which the text will be read.
    """
    sas = [continued(entry) for entry in entries if not entry.larval]
    reasons = [_unreadable([sa]) for sa in sas] if _unreadable(sas) else [""] * len(sas)
    kept = [sa for sa, reason in zip(sas, reasons) if not reason]
    found: list[IpsecError] = [
        InputError(f"left out: {reason}", model.label(sa)) for sa, reason in zip(sas, reasons) if reason
    ]
    clashes = set_problems(kept, None, allow_shared_key)
    if not allow_reserved_spi:
        for sa in kept:
            if sa.spi < model.SPI_MIN:
                message, hint = spi_problem(sa.spi)
                clashes.append(InputError(message, model.label(sa), hint))
    for clash in clashes:
        option = next((name for name in ANYTHING if f"{{{name}}}" in clash.hint), "")
        message = f"saved, but the file cannot be loaded with it: {clash.message}"
        found.append(InputError(message, clash.place, f"Load it {{{option}}}." if option else ""))
    return render(kept, comment), found


def _unreadable(sas: t.Sequence[SecurityAssociation]) -> str:
    """Why the text of the SAs does not read back as the same SAs; empty if it does."""
    try:
        read = language.parse(render(sas), **ANYTHING).sas
    except IpsecError as error:
        return error.problems[0].message if isinstance(error, Problems) else error.message
    return "" if read == tuple(sas) else "the language has no words for all of it"


def continued(entry: Entry, margin: int = 0) -> SecurityAssociation:
    """The SA, starting at its present sequence number plus ``margin``."""
    sequence = last_sequence(entry) + margin
    if not sequence:
        return entry.sa
    return entry.sa._replace(extra=tuple(sorted((*entry.sa.extra, (model.REPLAY_VALUE, str(sequence))))))


def last_sequence(entry: Entry) -> int:
    """The highest sequence number sent or received."""
    return max(entry.counters.sequence_out, entry.counters.sequence_in)


def _with_margin(sadb: Sadb, entry: Entry, local: t.AbstractSet[bytes]) -> SecurityAssociation:
    """The SA with its sequence number if the kernel accepts one; an outbound SA gets a margin.

    The number increases until the SA is deleted. Peers drop packets with a number they have seen as replays, and
    counter modes must not use one twice; a leap forward is harmless (RFC 4303 section 3.4.3). An inbound SA gets no
    margin, since it would take new packets for old ones.
    """
    left = (1 << (64 if entry.sa.esn else 32)) - 1 - last_sequence(entry)
    margin = min(SEQUENCE_MARGIN, left // 2) if direction_of(entry.sa, local) == model.OUTBOUND else 0
    for more in (margin, 0):
        sa = continued(entry, more)
        if not any(problem.place == model.REPLAY_VALUE for problem in sadb.refusals(sa)):
            return sa
    return entry.sa


_REMEDY = "It is installed and could not be brought back. Remove it with {}, or omit backup."


def _remedy(sa: SecurityAssociation) -> str:
    """How to remove an SA that a backup cannot hold."""
    if sa.protocol in model.PROTOCOLS and sa.spi:
        return _REMEDY.format("ipsec.manual.ipsec_sa")
    mark = f" mark 0x{sa.mark.value:x} mask 0x{sa.mark.mask:x}" if sa.mark is not None else ""
    addresses = f"src {model.format_address(sa.source)} dst {model.format_address(sa.destination)}"
    return _REMEDY.format(f"the command: ip xfrm state delete {addresses} proto {sa.protocol} spi 0x{sa.spi:x}{mark}")
