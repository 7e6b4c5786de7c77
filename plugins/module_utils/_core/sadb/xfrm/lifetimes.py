# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lifetimes changed in place, the only part of an SA that XFRM_MSG_UPDSA changes
(net/xfrm/xfrm_state.c, xfrm_state_update).
"""

from __future__ import annotations

import typing as t

from ...errors import SadbError
from ...sa.model import Entry, Lifetimes, identity
from ..base import with_outcome
from .changes import CHANGES, current
from .decode import decode
from .link import open_link
from .messages import revised
from .netlink import NETLINK_XFRM
from .transaction import UndoStep, transaction

# Doubtful steps are undone as well, since setting an SA's existing lifetimes again is harmless; an SA
# that no longer exists then is reported.
_KIND = CHANGES._replace(doing="changing lifetimes", unchanged="No lifetime was changed.", harmless=())

Change = t.Tuple[Entry, Lifetimes]


def update(changes: t.Sequence[Change]) -> None:
    """Give each SA its new lifetimes, all or nothing; counters, sequence numbers and keys stay.
    Raises SadbError with what was refused.
    """
    with open_link(NETLINK_XFRM, _KIND.doing) as link:
        try:
            shown = current(link, [entry for entry, dummy in changes], whatever_lifetimes=True)()
        except SadbError as error:
            raise with_outcome(error, (), _KIND.unchanged) from None
        parts = [shown[identity(entry.sa)] for entry, dummy in changes]
        requests = [revised(part, lifetimes) for part, (dummy, lifetimes) in zip(parts, changes)]

        def steps() -> list[UndoStep]:
            sas = [decode(part).sa for part in parts]
            return [UndoStep(sa, revised(part, sa.lifetimes)) for part, sa in zip(parts, sas)]

        with transaction(link, _KIND, [(requests, ())], steps):
            pass
