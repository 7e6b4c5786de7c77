# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SAs as results show them: with the option names of ipsec_sa, and fingerprints instead of keys."""

from __future__ import annotations

import typing as t

from . import model
from .model import SecurityAssociation, Selector

View = t.Dict[str, t.Any]


def key_bits(sa: SecurityAssociation) -> int:
    """The size of the encryption key without its salt."""
    row = model.algorithm_of(sa.encryption)
    return max(0, len(sa.encryption_key) * 8 - (row.salt_bits if row is not None else 0))


def public(sa: SecurityAssociation) -> View:
    """The SA without its keys."""
    view: View = {
        "protocol": sa.protocol,
        "spi": f"0x{sa.spi:08x}",
        "source": model.format_address(sa.source),
        "destination": model.format_address(sa.destination),
        "mode": sa.mode,
        "encryption_algorithm": sa.encryption,
        "encryption_bits": key_bits(sa),
        "authentication_algorithm": sa.authentication,
        "icv_bits": sa.icv_bits,
        "fingerprints": model.fingerprints(sa),
        "replay_window": sa.replay_window,
        "esn": sa.esn,
        "reqid": sa.reqid,
        "mark": model.mark_text(sa.mark),
        "if_id": sa.if_id,
        "direction": sa.direction,
        "output_mark": model.mark_text(sa.output_mark),
        "tfc_padding": sa.tfc_padding,
        "nat_keepalive": sa.nat_keepalive,
        "lifetimes": {name: value for name, value in zip(sa.lifetimes._fields, sa.lifetimes) if value},
    }
    if sa.selector is not None:
        view["selector"] = selector_view(sa.selector)
    if sa.encapsulation is not None:
        view["encapsulation"] = {
            "type": "udp",
            "source_port": sa.encapsulation.source_port,
            "destination_port": sa.encapsulation.destination_port,
            "nat_local": _address(sa.encapsulation.nat_local),
            "nat_remote": _address(sa.encapsulation.nat_remote),
        }
    return view


def selector_view(selector: Selector) -> dict[str, t.Any]:
    """A selector as its suboptions: networks in CIDR notation, empty for any."""
    return {
        "source": model.network_text(selector.source, selector.source_prefix),
        "destination": model.network_text(selector.destination, selector.destination_prefix),
        "protocol": selector.protocol,
        "source_port": selector.source_port,
        "destination_port": selector.destination_port,
    }


def _address(address: bytes) -> str:
    return model.format_address(address) if address else ""
