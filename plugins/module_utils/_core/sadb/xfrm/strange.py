# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Properties that another program gave an SA or a policy and that the model has no field for, in the words of ip(8)."""

from __future__ import annotations

import typing as t

from ...sa.model import INBOUND, OUTBOUND, SecurityAssociation, Selector
from . import uapi
from .layout import FLAGS_KNOWN, MODELLED, Info
from .selectors import pack_selector, takes_both_families

# By bit: XFRM_STATE_*, and XFRM_SA_XFLAG_* of XFRMA_SA_EXTRA_FLAGS.
_FLAG_WORDS = ("noecn", "decap-dscp", "nopmtudisc", "wildrecv", "icmp", "af-unspec", "align4", "esn")
_EXTRA_FLAG_WORDS = ("dont-encap-dscp", "oseq-may-wrap", *(f"extra-flag-{bit}" for bit in range(2, 32)))
# The word of an attribute that the model has no field for, and the struct of its value where it is a number.
_OTHER_ATTRIBUTES = {
    uapi.XFRMA_ALG_COMP: ("comp", None),
    uapi.XFRMA_SEC_CTX: ("ctx", None),
    uapi.XFRMA_COADDR: ("coa", None),
    uapi.XFRMA_MTIMER_THRESH: ("mapping-threshold", uapi.U32),
    uapi.XFRMA_SA_PCPU: ("pcpu", uapi.U32),
    uapi.XFRMA_IPTFS_DROP_TIME: ("iptfs-drop-time", uapi.U32),
    uapi.XFRMA_IPTFS_REORDER_WINDOW: ("iptfs-reorder-window", uapi.U16),
    uapi.XFRMA_IPTFS_DONT_FRAG: ("iptfs-dont-frag", None),
    uapi.XFRMA_IPTFS_INIT_DELAY: ("iptfs-init-delay", uapi.U32),
    uapi.XFRMA_IPTFS_MAX_QSIZE: ("iptfs-max-queue-size", uapi.U32),
    uapi.XFRMA_IPTFS_PKT_SIZE: ("iptfs-packet-size", uapi.U32),
}


def strange_words(sa: SecurityAssociation, info: Info, payloads: t.Mapping[int, bytes]) -> list[str]:
    """The words of ip(8) for properties of an SA that `SecurityAssociation` has no field for."""
    flags = info.flags & ~FLAGS_KNOWN
    if takes_both_families(sa):
        flags &= ~uapi.XFRM_STATE_AF_UNSPEC
    words = [word for bit, word in enumerate(_FLAG_WORDS) if flags & 1 << bit]
    if (
        info.selector not in uapi.ANY_TRAFFIC
        and pack_selector(sa.selector or Selector(), uapi.FAMILIES[len(sa.destination)]) != info.selector
    ):
        words.append("selector")
    for kind, payload in payloads.items():
        if kind == uapi.XFRMA_SA_EXTRA_FLAGS:
            bits = uapi.U32.unpack_from(payload)[0]
            words += [word for bit, word in enumerate(_EXTRA_FLAG_WORDS) if bits & 1 << bit]
        elif kind == uapi.XFRMA_ENCAP:
            if sa.encapsulation is None:
                words.append(f"encap-{uapi.ENCAP_TMPL.unpack_from(payload)[0]}")
        elif kind not in MODELLED and not (kind == uapi.XFRMA_SA_DIR and sa.direction):
            words.append(strange_word(kind, payload))
    return list(dict.fromkeys(words))


def strange_word(kind: int, payload: bytes) -> str:
    """The word for an attribute of an SA or a policy without a field, with its value if that is a number:
    ``pcpu=3``.

    An offload shows the number of the interface, the direction and the kind: ``offload=2,inbound,packet``."""
    if kind == uapi.XFRMA_OFFLOAD_DEV and len(payload) >= uapi.USER_OFFLOAD.size:
        interface, flags = uapi.USER_OFFLOAD.unpack_from(payload)
        direction = INBOUND if flags & uapi.XFRM_OFFLOAD_INBOUND else OUTBOUND
        return f"offload={interface},{direction},{'packet' if flags & uapi.XFRM_OFFLOAD_PACKET else 'crypto'}"
    word, layout = _OTHER_ATTRIBUTES.get(kind, (f"attribute-{kind}", None))
    return f"{word}={layout.unpack_from(payload)[0]}" if layout is not None and len(payload) >= layout.size else word
