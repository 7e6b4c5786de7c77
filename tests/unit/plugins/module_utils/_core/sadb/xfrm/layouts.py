# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The structures of Linux (include/uapi/linux/xfrm.h, netlink.h), laid out as the C compiler of this Python does it."""

from __future__ import annotations

import ctypes
from ctypes import c_int, c_uint8, c_uint16, c_uint32, c_uint64

Address = c_uint32 * 4  # xfrm_address_t is a union with __be32 members
Name = c_uint8 * 64


class Header(ctypes.Structure):
    """struct nlmsghdr."""

    _fields_ = [
        ("length", c_uint32),
        ("kind", c_uint16),
        ("flags", c_uint16),
        ("sequence", c_uint32),
        ("port", c_uint32),
    ]


class Attribute(ctypes.Structure):
    """struct nlattr."""

    _fields_ = [("length", c_uint16), ("kind", c_uint16)]


class Selector(ctypes.Structure):
    """struct xfrm_selector."""

    _fields_ = [
        ("daddr", Address),
        ("saddr", Address),
        ("dport", c_uint16),
        ("dport_mask", c_uint16),
        ("sport", c_uint16),
        ("sport_mask", c_uint16),
        ("family", c_uint16),
        ("prefixlen_d", c_uint8),
        ("prefixlen_s", c_uint8),
        ("proto", c_uint8),
        ("ifindex", c_int),
        ("user", c_uint32),
    ]


class Id(ctypes.Structure):
    """struct xfrm_id."""

    _fields_ = [("daddr", Address), ("spi", c_uint32), ("proto", c_uint8)]


class LifetimeCfg(ctypes.Structure):
    """struct xfrm_lifetime_cfg."""

    _fields_ = [(f"limit{number}", c_uint64) for number in range(8)]


class LifetimeCur(ctypes.Structure):
    """struct xfrm_lifetime_cur."""

    _fields_ = [("bytes", c_uint64), ("packets", c_uint64), ("add_time", c_uint64), ("use_time", c_uint64)]


class Stats(ctypes.Structure):
    """struct xfrm_stats."""

    _fields_ = [("replay_window", c_uint32), ("replay", c_uint32), ("integrity_failed", c_uint32)]


class UserSaInfo(ctypes.Structure):
    """struct xfrm_usersa_info."""

    _fields_ = [
        ("sel", Selector),
        ("id", Id),
        ("saddr", Address),
        ("lft", LifetimeCfg),
        ("curlft", LifetimeCur),
        ("stats", Stats),
        ("seq", c_uint32),
        ("reqid", c_uint32),
        ("family", c_uint16),
        ("mode", c_uint8),
        ("replay_window", c_uint8),
        ("flags", c_uint8),
    ]


class UserSaId(ctypes.Structure):
    """struct xfrm_usersa_id."""

    _fields_ = [("daddr", Address), ("spi", c_uint32), ("family", c_uint16), ("proto", c_uint8)]


class UserExpire(ctypes.Structure):
    """struct xfrm_user_expire."""

    _fields_ = [("state", UserSaInfo), ("hard", c_uint8)]


class UserPolicyInfo(ctypes.Structure):
    """struct xfrm_userpolicy_info."""

    _fields_ = [
        ("sel", Selector),
        ("lft", LifetimeCfg),
        ("curlft", LifetimeCur),
        ("priority", c_uint32),
        ("index", c_uint32),
        ("dir", c_uint8),
        ("action", c_uint8),
        ("flags", c_uint8),
        ("share", c_uint8),
    ]


class UserPolicyId(ctypes.Structure):
    """struct xfrm_userpolicy_id."""

    _fields_ = [("sel", Selector), ("index", c_uint32), ("dir", c_uint8)]


class UserTmpl(ctypes.Structure):
    """struct xfrm_user_tmpl."""

    _fields_ = [
        ("id", Id),
        ("family", c_uint16),
        ("saddr", Address),
        ("reqid", c_uint32),
        ("mode", c_uint8),
        ("share", c_uint8),
        ("optional", c_uint8),
        ("aalgos", c_uint32),
        ("ealgos", c_uint32),
        ("calgos", c_uint32),
    ]


class UserAcquire(ctypes.Structure):
    """struct xfrm_user_acquire."""

    _fields_ = [
        ("id", Id),
        ("saddr", Address),
        ("sel", Selector),
        ("policy", UserPolicyInfo),
        ("aalgos", c_uint32),
        ("ealgos", c_uint32),
        ("calgos", c_uint32),
        ("seq", c_uint32),
    ]


class Algo(ctypes.Structure):
    """struct xfrm_algo."""

    _fields_ = [("alg_name", Name), ("alg_key_len", c_uint32)]


class AlgoIcv(ctypes.Structure):
    """struct xfrm_algo_auth, struct xfrm_algo_aead."""

    _fields_ = [("alg_name", Name), ("alg_key_len", c_uint32), ("alg_icv_len", c_uint32)]


class ReplayState(ctypes.Structure):
    """struct xfrm_replay_state."""

    _fields_ = [("oseq", c_uint32), ("seq", c_uint32), ("bitmap", c_uint32)]


class ReplayStateEsn(ctypes.Structure):
    """struct xfrm_replay_state_esn, without the bitmap that follows."""

    _fields_ = [(name, c_uint32) for name in ("bmp_len", "oseq", "seq", "oseq_hi", "seq_hi", "replay_window")]


class EncapTmpl(ctypes.Structure):
    """struct xfrm_encap_tmpl."""

    _fields_ = [("encap_type", c_uint16), ("encap_sport", c_uint16), ("encap_dport", c_uint16), ("encap_oa", Address)]


class Mark(ctypes.Structure):
    """struct xfrm_mark."""

    _fields_ = [("v", c_uint32), ("m", c_uint32)]


class AddressFilter(ctypes.Structure):
    """struct xfrm_address_filter."""

    _fields_ = [("saddr", Address), ("daddr", Address), ("family", c_uint16), ("splen", c_uint8), ("dplen", c_uint8)]
