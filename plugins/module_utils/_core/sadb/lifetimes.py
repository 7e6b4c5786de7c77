# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_utils is private to the collection and may change at any time.

"""Lifetimes changed in place, the only thing of an SA that XFRM_MSG_UPDSA changes (net/xfrm/xfrm_state.c, xfrm_state_update)."""

from __future__ import annotations

import typing as t

from ..association import Entry, Lifetimes, label
from ..errors import SadbError
from .messages import new_sa
from .netlink import NETLINK_XFRM, Message, Refusal
from .xfrm import open_link

_XFRM_MSG_UPDSA = 0x1A

Change = t.Tuple[Entry, Lifetimes]


def update(changes: t.Sequence[Change]) -> None:
    """Give each SA its new lifetimes, all or nothing; counters, sequence numbers and keys stay. Raises SadbError with what was refused."""
    with open_link(NETLINK_XFRM, "changing lifetimes") as link:
        requests = [_request(entry, lifetimes) for entry, lifetimes in changes]
        done: list[Change] = []
        for first, last in link.batches(requests):
            refusals = link.send(requests[first:last])[0]
            done += [change for index, change in enumerate(changes[first:last]) if index not in refusals]
            if refusals:
                undo = [_request(entry, entry.sa.lifetimes) for entry, dummy in done]
                stuck = sum(len(link.send(undo[begin:end])[0]) for begin, end in link.batches(undo))
                index = min(refusals)
                raise _refused(refusals[index], changes[first + index][0], stuck)


def _request(entry: Entry, lifetimes: Lifetimes) -> Message:
    return new_sa(entry.sa._replace(lifetimes=lifetimes))._replace(kind=_XFRM_MSG_UPDSA, flags=0)


def _refused(refusal: Refusal, entry: Entry, stuck: int) -> SadbError:
    from .explain import explain  # only here, since most updates succeed

    found = explain(refusal, entry.sa)
    after = f"{stuck} SAs keep their new lifetimes." if stuck else "No lifetime was changed."
    return SadbError(found.message, label(entry.sa), f"{found.hint} {after}".strip(), found.errno_name)
