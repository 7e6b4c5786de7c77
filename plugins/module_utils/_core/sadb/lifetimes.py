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
from .netlink import NETLINK_XFRM, AnswersLost, Message, NetlinkError, Refusal
from .xfrm import open_link

_XFRM_MSG_UPDSA = 0x1A

Change = t.Tuple[Entry, Lifetimes]


def update(changes: t.Sequence[Change]) -> None:
    """Give each SA its new lifetimes, all or nothing; counters, sequence numbers and keys stay. Raises SadbError with what was refused."""
    with open_link(NETLINK_XFRM, "changing lifetimes") as link:
        requests = [_request(entry, lifetimes) for entry, lifetimes in changes]
        done: list[Change] = []
        for first, last in link.batches(requests):
            batch = changes[first:last]
            try:
                refusals = link.send(requests[first:last])[0]
            except NetlinkError as exc:
                # Setting an SA's existing lifetimes again is harmless, so what may have been done is undone, too.
                raise _refused(_exchange_error(exc), [*done, *(batch if isinstance(exc, AnswersLost) else ())]) from None
            done += [change for index, change in enumerate(batch) if index not in refusals]
            if refusals:
                index = min(refusals)
                raise _refused(_error(refusals[index], batch[index][0]), done)


def _request(entry: Entry, lifetimes: Lifetimes) -> Message:
    return new_sa(entry.sa._replace(lifetimes=lifetimes))._replace(kind=_XFRM_MSG_UPDSA, flags=0)


def _refused(error: SadbError, done: t.Sequence[Change]) -> SadbError:
    """Undo the changes before the error; return it extended with the result."""
    stuck = _undo([entry for entry, dummy in done])
    after = "Undoing the rest failed for: " + "; ".join(map(str, stuck)) if stuck else "No lifetime was changed."
    return SadbError(error.message, error.place, f"{error.hint} {after}".strip(), error.errno_name)


def _undo(entries: t.Sequence[Entry]) -> list[SadbError]:
    if not entries:
        return []
    from .explain import explain_lost

    requests = [_request(entry, entry.sa.lifetimes) for entry in entries]
    stuck: list[SadbError] = []
    try:
        with open_link(NETLINK_XFRM, f"taking back {len(entries)} changes") as link:
            for first, last in link.batches(requests):
                try:
                    refusals = link.send(requests[first:last])[0]
                except NetlinkError as exc:
                    stuck.append(explain_lost(exc, [label(entry.sa) for entry in entries[first:last]]))
                    continue
                stuck += [_error(refusal, entries[first + index]) for index, refusal in refusals.items()]
    except SadbError as error:
        stuck.append(error)
    return stuck


def _error(refusal: Refusal, entry: Entry) -> SadbError:
    from .explain import explain  # only here, since most updates succeed

    return explain(refusal, entry.sa)


def _exchange_error(exc: NetlinkError) -> SadbError:
    from .explain import explain_exchange

    return explain_exchange(exc, "changing lifetimes")
