# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the SADB still has the SAs that were read, without decoding thousands of them again."""

from __future__ import annotations

import contextlib
import itertools
import operator
import socket
import typing as t

from ...sa.model import Entry
from . import uapi
from .netlink import NETLINK_XFRM

# To these groups the kernel announces every SA that a request adds, changes, deletes or moves, before it answers the
# request, and every SA that expires (km_state_notify, km_migrate and km_state_expired in net/xfrm/xfrm_state.c). It
# does not announce what leaves no other SA under the identity of one: an SA that it deletes together with a device, a
# replay window that XFRM_MSG_NEWAE changes, and before Linux 7.1 a move (XFRM_MSG_MIGRATE) outside of the first
# network namespace.
_GROUPS = (uapi.XFRMNLGRP_SA, uapi.XFRMNLGRP_EXPIRE, uapi.XFRMNLGRP_MIGRATE)
# From this number of SAs on, one dump of the whole SADB is faster than a request for each.
MANY = 256


class Watch:
    """Listens from its creation on for changes of the SADB. ``entries`` are those of a dump of the whole SADB that
    began afterwards, and ``marked`` tells whether any of them has a mark.
    """

    def __init__(self) -> None:
        self.entries: t.Sequence[Entry] = ()
        self.marked = False
        self._socket: socket.socket | None = None
        self._listens = False
        # Where it is not allowed, for example, `vouches_for` is false.
        with contextlib.suppress(OSError):
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_XFRM)
            # The smallest buffer: one event is enough to know.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)
            self._socket.bind((0, sum(1 << group - 1 for group in _GROUPS)))
            self._listens = True

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening."""
        self._listens = False
        if self._socket is not None:
            self._socket.close()

    def vouches_for(self, entries: t.Sequence[Entry], count: int) -> bool:
        """Whether these are some of the ``entries`` that were dumped, in their order, under whose identities the SADB,
        which now has ``count`` SAs, still has the same SAs, none of them hidden by another through its mark.
        """
        dumped: t.Any = iter(self.entries)
        return (
            not self.marked
            and count == len(self.entries)
            and all(map(operator.contains, itertools.repeat(dumped), entries))
            and self._is_quiet()
        )

    def _is_quiet(self) -> bool:
        if not self._listens or self._socket is None:
            return False
        try:
            self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            # ENOBUFS: there were more events than the buffer holds.
            return False
        return False
