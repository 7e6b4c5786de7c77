# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A netlink socket whose failures are raised as SadbError."""

from __future__ import annotations

import contextlib
import errno
import sys
import typing as t

from ...errors import SadbError
from ...sa.model import SecurityAssociation
from .netlink import NETLINK_XFRM, Netlink, NetlinkError, Refusal, make_request
from .uapi import USERSA_ID, XFRM_MSG_GETSA

# A 64-bit kernel accepts the structures of 32-bit programs only if built with CONFIG_XFRM_USER_COMPAT.
_NARROW = sys.maxsize < 1 << 32


def refused(refusal: Refusal, sa: SecurityAssociation) -> SadbError:
    """`explain.explain`, imported only on failure: most runs do not need it, and a module compiles
    everything that it imports.
    """
    from .explain import explain

    return explain(refusal, sa)


@contextlib.contextmanager
def open_link(family: int, doing: str) -> t.Iterator[Netlink]:
    """A netlink socket; NetlinkError in the block becomes SadbError, whose place is ``doing``."""
    try:
        with Netlink(family) as link:
            if _NARROW and family == NETLINK_XFRM:
                _ask_whether_understood(link)
            yield link
    except NetlinkError as exc:
        from .explain import explain_exchange

        raise explain_exchange(exc, doing) from None


def _ask_whether_understood(link: Netlink) -> None:
    """Raise NetlinkError if the kernel accepts no requests of a 32-bit program (xfrm_user_rcv_msg).
    Otherwise it would refuse every SA, as if the SAs were wrong.
    """
    for refusal in link.send([make_request(XFRM_MSG_GETSA, bytes(USERSA_ID.size))])[0].values():
        if refusal.errno == errno.EOPNOTSUPP:
            raise NetlinkError(refusal)
