# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What of an SA PF_KEY cannot express in a dialect, by option name. Pure."""

from __future__ import annotations

import typing as t

from ...errors import InputError, shown
from ...sa import model
from ...sa.model import SecurityAssociation, Selector
from ..base import fits
from .dialects import Dialect

_INFINITE = (1 << 64) - 1
_REMOVE_OR_XFRM = "Remove it, or use the backend xfrm on Linux."


def refusals(dialect: Dialect, sa: SecurityAssociation) -> t.Iterator[InputError]:
    for field, empty in (("mark", None), ("if_id", 0), ("output_mark", None), ("tfc_padding", 0), ("nat_keepalive", 0)):
        if getattr(sa, field) != empty:
            yield InputError(f"PF_KEY has no {field}", field, _REMOVE_OR_XFRM)
    yield from _number_refusals(dialect, sa)
    yield from _algorithm_refusals(dialect, sa)
    yield from _window_refusals(dialect, sa)
    yield from _lifetime_refusals(dialect, sa)
    yield from _encapsulation_refusals(dialect, sa)
    yield from _selector_refusals(dialect, sa)
    keywords = {model.PAIR_SPI: dialect.pair, model.REPLAY_VALUE: dialect.replay_value}
    for keyword, text in sa.extra:
        if not keywords.get(keyword):
            yield InputError(f"PF_KEY of {dialect.name} has nothing like it", keyword, "Remove it.")
        elif not fits(text, 32):
            yield InputError(f"{shown(text)} does not fit the 32 bits of PF_KEY", keyword, "Choose a smaller number.")


def _number_refusals(dialect: Dialect, sa: SecurityAssociation) -> t.Iterator[InputError]:
    name = dialect.name
    if sa.esn and not dialect.flags.esn:
        yield InputError(f"PF_KEY of {name} has no extended sequence numbers", "esn", _REMOVE_OR_XFRM)
    elif sa.esn and not sa.replay_window:
        message = f"PF_KEY of {name} has no extended sequence numbers without a replay window"
        yield InputError(message, "esn", "Set replay_window, 32 or more.")
    if sa.reqid >> dialect.reqid_bits:
        size = f" of more than {dialect.reqid_bits} bits" if dialect.reqid_bits else ""
        yield InputError(f"PF_KEY of {name} takes no reqid{size}", "reqid", "Choose a smaller one, or 0.")


def _algorithm_refusals(dialect: Dialect, sa: SecurityAssociation) -> t.Iterator[InputError]:
    kinds: tuple[tuple[str, t.Collection[str]], ...] = (
        ("encryption", dialect.encryption),
        ("authentication", dialect.authentication),
    )
    for kind, known in kinds:
        algorithm = getattr(sa, kind)
        if algorithm and algorithm not in known:
            message = f"{algorithm} has no number in PF_KEY of {dialect.name}"
            yield InputError(message, f"{kind}_algorithm", f"Choose one of: {', '.join(known)}.")
    integrity = dialect.authentication.get(sa.authentication)
    if integrity is not None and sa.icv_bits != integrity.icv_bits:
        yield InputError(
            f"PF_KEY of {dialect.name} gives {sa.authentication} an ICV of {integrity.icv_bits} bits, not"
            f" {sa.icv_bits}",
            "icv_bits",
            f"Set {integrity.icv_bits} on both peers, choose another algorithm, or use another backend.",
        )


def _window_refusals(dialect: Dialect, sa: SecurityAssociation) -> t.Iterator[InputError]:
    window, unit = sa.replay_window, dialect.replay_unit
    if window > dialect.replay_most:
        message = f"replay windows of PF_KEY on {dialect.name} have at most {dialect.replay_most} packets"
        yield InputError(message, "replay_window", f"Choose 0 to {dialect.replay_most}.")
    elif window % unit:
        message = f"replay windows on {dialect.name} are multiples of {unit} packets"
        yield InputError(message, "replay_window", f"Choose {window // unit * unit + unit}.")
    if window and not dialect.any_source and model.is_unspecified(sa.source):
        message = f"{dialect.name} keeps no replay window for an SA without a source"
        yield InputError(message, "replay_window", "Set the source, or choose 0.")


def _lifetime_refusals(dialect: Dialect, sa: SecurityAssociation) -> t.Iterator[InputError]:
    for limit, value in zip(model.NO_LIFETIMES._fields, sa.lifetimes):
        if value and limit not in dialect.limits:
            yield InputError(f"{dialect.name} does not keep this limit over PF_KEY", limit, "Omit the limit.")
        elif limit.endswith("_packets") and value >> 32:
            yield InputError("PF_KEY has 32 bits for a number of packets", limit, f"Choose at most {0xFFFFFFFF}.")
        elif value == _INFINITE:
            yield InputError(f"{dialect.name} takes this number for no limit", limit, "Omit the limit.")


def _encapsulation_refusals(dialect: Dialect, sa: SecurityAssociation) -> t.Iterator[InputError]:
    if sa.encapsulation is None:
        return
    if dialect.encapsulation is None:
        message = f"this backend does not support ESP in UDP on {dialect.name}"
        yield InputError(message, "encapsulation", "Use the backend solaris.")
    for field in ("nat_local", "nat_remote"):
        if getattr(sa.encapsulation, field):
            yield InputError(f"{dialect.name} takes no original address over PF_KEY", field, "Remove it.")


def _selector_refusals(dialect: Dialect, sa: SecurityAssociation) -> t.Iterator[InputError]:
    name, selector = dialect.name, sa.selector
    if dialect.selector.destination:
        # A tunnel is made by its inner addresses there.
        networks = (selector.source, selector.destination) if selector is not None else (b"", b"")
        if sa.mode == model.TUNNEL and not all(networks):
            fix = "Give source and destination of the selector."
            yield InputError(f"tunnel mode on {name} needs both networks", "selector", fix)
        if sa.mode == model.TRANSPORT and any(networks):
            fix = "Use tunnel mode, or remove the addresses."
            yield InputError(f"inner addresses mean tunnel mode on {name}", "selector", fix)
        return
    if selector is None:
        return
    if not dialect.selector.source:
        yield InputError(f"SAs have no selector on {name}", "selector", "Remove it; a policy selects the traffic.")
        return
    if selector._replace(source=b"", source_prefix=0) != Selector():
        message = f"PF_KEY of {name} takes the source network of a selector only"
        yield InputError(message, "selector", "Remove the rest, or use the backend xfrm.")
    if selector.source == sa.source:
        message = f"PF_KEY of {name} does not show a selector that begins with the SA's own source"
        yield InputError(message, "selector source", "Remove it, or use the backend xfrm.")
    elif selector.source and len(selector.source) != len(sa.source):
        message = f"PF_KEY of {name} has no selector of another address family than the SA's"
        yield InputError(message, "selector source", "Use the backend xfrm.")
