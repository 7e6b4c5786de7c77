# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Numbers and structures of Linux from include/uapi/linux: xfrm.h, and rtnetlink.h and if_addr.h for addresses.

Structures have native alignment, like the kernel's. ``0Q`` pads a structure with 64-bit members to
its full size, which is smaller where those are aligned to 32 bits (i386)."""

from __future__ import annotations

import socket
import struct

from ...sa.model import AH, ESP, INBOUND, OUTBOUND, TRANSPORT, TUNNEL

XFRM_MSG_NEWSA = 0x10
XFRM_MSG_DELSA = 0x11
XFRM_MSG_GETSA = 0x12
XFRM_MSG_NEWPOLICY = 0x13
XFRM_MSG_DELPOLICY = 0x14
XFRM_MSG_GETPOLICY = 0x15
XFRM_MSG_ACQUIRE = 0x17
XFRM_MSG_EXPIRE = 0x18
XFRM_MSG_UPDPOLICY = 0x19
XFRM_MSG_UPDSA = 0x1A
XFRM_MSG_FLUSHSA = 0x1C
XFRM_MSG_FLUSHPOLICY = 0x1D

XFRMNLGRP_ACQUIRE = 1
XFRMNLGRP_EXPIRE = 2
XFRMNLGRP_SA = 3
XFRMNLGRP_MIGRATE = 7

XFRMA_ALG_AUTH = 1
XFRMA_ALG_CRYPT = 2
XFRMA_ALG_COMP = 3
XFRMA_ENCAP = 4
XFRMA_TMPL = 5
XFRMA_SA = 6
XFRMA_SEC_CTX = 8
XFRMA_LTIME_VAL = 9
XFRMA_REPLAY_VAL = 10
XFRMA_COADDR = 14
XFRMA_LASTUSED = 15
XFRMA_POLICY_TYPE = 16
XFRMA_ALG_AEAD = 18
XFRMA_ALG_AUTH_TRUNC = 20
XFRMA_MARK = 21
XFRMA_TFCPAD = 22
XFRMA_REPLAY_ESN_VAL = 23
XFRMA_SA_EXTRA_FLAGS = 24
XFRMA_PROTO = 25
XFRMA_ADDRESS_FILTER = 26
XFRMA_PAD = 27
XFRMA_OFFLOAD_DEV = 28
XFRMA_SET_MARK = 29
XFRMA_SET_MARK_MASK = 30
XFRMA_IF_ID = 31
XFRMA_MTIMER_THRESH = 32
XFRMA_SA_DIR = 33
XFRMA_NAT_KEEPALIVE_INTERVAL = 34
XFRMA_SA_PCPU = 35
XFRMA_IPTFS_DROP_TIME = 36
XFRMA_IPTFS_REORDER_WINDOW = 37
XFRMA_IPTFS_DONT_FRAG = 38
XFRMA_IPTFS_INIT_DELAY = 39
XFRMA_IPTFS_MAX_QSIZE = 40
XFRMA_IPTFS_PKT_SIZE = 41

XFRM_STATE_NOPMTUDISC = 4
XFRM_STATE_AF_UNSPEC = 32
XFRM_STATE_ESN = 128
XFRM_OFFLOAD_INBOUND = 2
XFRM_OFFLOAD_PACKET = 4
XFRM_INF = (1 << 64) - 1
UDP_ENCAP_ESPINUDP = 2
IPSEC_PROTO_ANY = 255

RTM_NEWADDR = 20
RTM_GETADDR = 22
IFA_ADDRESS = 1
IFA_LOCAL = 2

PROTOCOL_NUMBERS = {
    ESP: socket.IPPROTO_ESP,
    AH: socket.IPPROTO_AH,
    "comp": 108,
    "route2": socket.IPPROTO_ROUTING,
    "hao": socket.IPPROTO_DSTOPTS,
}
PROTOCOL_NAMES = {number: name for name, number in PROTOCOL_NUMBERS.items()}
MODE_NUMBERS = {TRANSPORT: 0, TUNNEL: 1, "ro": 2, "in_trigger": 3, "beet": 4, "iptfs": 5}
MODE_NAMES = {number: name for name, number in MODE_NUMBERS.items()}
DIRECTION_NUMBERS = {INBOUND: 1, OUTBOUND: 2}
DIRECTION_NAMES = {number: name for name, number in DIRECTION_NUMBERS.items()}
FAMILIES = {4: socket.AF_INET, 16: socket.AF_INET6}
ADDRESS_SIZES = {int(family): size for size, family in FAMILIES.items()}

# xfrm_selector: addresses (destination first), ports with masks, family, prefixes, protocol,
# interface, user.
SELECTOR = struct.Struct("@16s16sHHHHHBBBiI")
# The selectors that match all traffic.
ANY_TRAFFIC = frozenset(
    bytes(40) + struct.pack("@H", family) + bytes(14) for family in (socket.AF_UNSPEC, socket.AF_INET, socket.AF_INET6)
)
# xfrm_usersa_info: selector, id (destination, SPI, protocol), source, lifetime_cfg, lifetime_cur,
# stats, seq, reqid, family, mode, window, flags.
USERSA_INFO = struct.Struct("@56s16sIB3x16s64s4QIIIIIHBBB0Q")
# The same for a new SA, behind a header of netlink, in two parts: up to the source, and the rest, with
# zeros for usage, statistics and sequence number.
NEW_USERSA_INFO_BEGIN = "@16s56s16sIB3x16s"
NEW_USERSA_INFO_END = struct.Struct("@64s48xIHBBB0Q")
LIFETIME_CFG = struct.Struct("@8Q")
LIFETIME_CFG_OFFSET = struct.calcsize("@56s16sIB3x16s0Q")
LIFETIME_CUR = struct.Struct("@4Q")
# xfrm_lifetime_cur, xfrm_stats.
USAGE = struct.Struct("@4QIII")
# xfrm_usersa_id: destination, SPI, family, protocol.
USERSA_ID = struct.Struct("@16sIHB0I")
# xfrm_user_expire: xfrm_usersa_info, whether the limit was the hard one.
USER_EXPIRE = struct.Struct(f"@{USERSA_INFO.size}sB0Q")
# The start of xfrm_user_acquire: xfrm_id (destination, SPI, protocol), the source, and the selector
# up to its family.
USER_ACQUIRE = struct.Struct("@16sIB3x16s16s16sHHHHH")
# xfrm_algo, then xfrm_algo_auth and xfrm_algo_aead, without the key: name, key bits, ICV bits.
ALGO = struct.Struct("@64sI")
ALGO_ICV = struct.Struct("@64sII")
REPLAY_STATE = struct.Struct("@III")
# xfrm_replay_state_esn: words of the bitmap, out, in, out high, in high, window; then the bitmap.
REPLAY_STATE_ESN = struct.Struct("@6I")
ENCAP_TMPL = struct.Struct("@HHH2x16s")
MARK = struct.Struct("@II")
U16 = struct.Struct("@H")
U32 = struct.Struct("@I")
# xfrm_user_offload: interface, flags.
USER_OFFLOAD = struct.Struct("@iB")
# xfrm_address_filter: source, destination, family, prefixes.
ADDRESS_FILTER = struct.Struct("@16s16sHBB")
# Whole attributes: length, type, value.
U8_ATTRIBUTE = struct.Struct("@HHB3x")
U32_ATTRIBUTE = struct.Struct("@HHI")
# Without a protocol of IPsec the kernel also shows what it makes itself beside tunnels of IPComp, and what
# belongs to Mobile IPv6. Nobody can delete that by its identity (xfrm_user_state_lookup).
ANY_PROTOCOL = U8_ATTRIBUTE.pack(5, XFRMA_PROTO, IPSEC_PROTO_ANY)
# xfrm_userpolicy_info: selector, lifetime_cfg, lifetime_cur, priority, index, direction, action, flags, share.
USERPOLICY_INFO = struct.Struct("@56s64s4QIIBBBB0Q")
# xfrm_userpolicy_id: selector, index, direction.
USERPOLICY_ID = struct.Struct("@56sIB0I")
# xfrm_user_tmpl: id (destination, SPI, protocol), family, source, reqid, mode, share, optional, algorithms.
USER_TMPL = struct.Struct("@16sIB3xH2x16sIBBBxIII")
