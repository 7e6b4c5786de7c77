# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The core's structures have the layout of the C compiler, on every machine
that runs these tests, 32 bits included.
"""

from __future__ import annotations

import ctypes
import struct
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.xfrm import netlink, uapi
from ansible_collections.ipsec.manual.tests.unit.plugins.module_utils._core.sadb.xfrm import layouts

_ID = "id.daddr id.spi id.proto"
_CURRENT = "curlft.bytes curlft.packets curlft.add_time curlft.use_time"
_END = "reqid family mode replay_window flags"
# A structure of the core, the same structure in C, and the members that the core names, in order.
LAYOUTS: tuple[tuple[struct.Struct, type[ctypes.Structure], str], ...] = (
    (netlink.HEADER, layouts.Header, "length kind flags sequence port"),
    (netlink.ATTRIBUTE, layouts.Attribute, "length kind"),
    (
        uapi.SELECTOR,
        layouts.Selector,
        "daddr saddr dport dport_mask sport sport_mask family prefixlen_d prefixlen_s proto ifindex user",
    ),
    (
        uapi.USERSA_INFO,
        layouts.UserSaInfo,
        f"sel {_ID} saddr lft {_CURRENT} stats.replay_window stats.replay stats.integrity_failed seq {_END}",
    ),
    (
        # Without the header in front of it.
        struct.Struct("@" + uapi.NEW_USERSA_INFO_BEGIN[4:] + uapi.NEW_USERSA_INFO_END.format[1:]),
        layouts.UserSaInfo,
        f"sel {_ID} saddr lft {_END}",
    ),
    (uapi.LIFETIME_CFG, layouts.LifetimeCfg, " ".join(f"limit{number}" for number in range(8))),
    (uapi.LIFETIME_CUR, layouts.LifetimeCur, "bytes packets add_time use_time"),
    (uapi.USERSA_ID, layouts.UserSaId, "daddr spi family proto"),
    (uapi.USER_EXPIRE, layouts.UserExpire, "state hard"),
    (
        uapi.USER_ACQUIRE,
        layouts.UserAcquire,
        f"{_ID} saddr sel.daddr sel.saddr sel.dport sel.dport_mask sel.sport sel.sport_mask sel.family",
    ),
    (uapi.ALGO, layouts.Algo, "alg_name alg_key_len"),
    (uapi.ALGO_ICV, layouts.AlgoIcv, "alg_name alg_key_len alg_icv_len"),
    (uapi.REPLAY_STATE, layouts.ReplayState, "oseq seq bitmap"),
    (uapi.REPLAY_STATE_ESN, layouts.ReplayStateEsn, "bmp_len oseq seq oseq_hi seq_hi replay_window"),
    (uapi.ENCAP_TMPL, layouts.EncapTmpl, "encap_type encap_sport encap_dport encap_oa"),
    (uapi.MARK, layouts.Mark, "v m"),
    (uapi.ADDRESS_FILTER, layouts.AddressFilter, "saddr daddr family splen dplen"),
    (uapi.USERPOLICY_INFO, layouts.UserPolicyInfo, f"sel lft {_CURRENT} priority index dir action flags share"),
    (uapi.USERPOLICY_ID, layouts.UserPolicyId, "sel index dir"),
    (uapi.USER_TMPL, layouts.UserTmpl, f"{_ID} family saddr reqid mode share optional aalgos ealgos calgos"),
)
# Of these the core reads only the beginning.
STARTS = (uapi.USER_ACQUIRE,)
NAMES = [layout.__name__ for dummy, layout, dummies in LAYOUTS]


def member(structure: t.Any, path: str) -> t.Any:
    """The member at a dotted path, as bytes if it has members itself."""
    for name in path.split("."):
        structure = getattr(structure, name)
    return structure if isinstance(structure, int) else bytes(structure)


@pytest.mark.parametrize(("ours", "theirs", "paths"), LAYOUTS, ids=NAMES)
@given(data=st.data())
def test_a_structure_matches_c(
    ours: struct.Struct, theirs: type[ctypes.Structure], paths: str, data: st.DataObject
) -> None:
    size = ctypes.sizeof(theirs)
    assert ours.size == size or ours in STARTS
    content = data.draw(st.binary(min_size=size, max_size=size))
    structure = theirs.from_buffer_copy(content)
    assert ours.unpack_from(content) == tuple(member(structure, path) for path in paths.split())
