# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lifetimes changed in place, the only thing of an SA that XFRM_MSG_UPDSA changes
(net/xfrm/xfrm_state.c, xfrm_state_update).
"""

from __future__ import annotations

import typing as t

from ...errors import SadbError
from ...sa.model import Entry, Lifetimes, label
from .backend import current, open_link
from .decode import decode
from .messages import revised
from .netlink import NETLINK_XFRM, AnswersLost, NetlinkError, Part, Refusal

Change = t.Tuple[Entry, Lifetimes]


def update(changes: t.Sequence[Change]) -> None:
    """Give each SA its new lifetimes, all or nothing; counters, sequence numbers and keys stay.
    Raises SadbError with what was refused.
    """
    with open_link(NETLINK_XFRM, "changing lifetimes") as link:
        try:
            shown = current(link, [entry for entry, dummy in changes], whatever_lifetimes=True)
        except SadbError as error:
            raise _refused(error, ()) from None
        held = [shown[id(entry)] for entry, dummy in changes]
        requests = [revised(part, lifetimes) for part, (dummy, lifetimes) in zip(held, changes)]
        done: list[Part] = []
        for first, last in link.batches(requests):
            batch = held[first:last]
            try:
                refusals = link.send(requests[first:last])[0]
            except NetlinkError as exc:
                # Setting an SA's existing lifetimes again is harmless, so what may have been done is undone, too.
                raise _refused(
                    _exchange_error(exc), [*done, *(batch if isinstance(exc, AnswersLost) else ())]
                ) from None
            done += [part for index, part in enumerate(batch) if index not in refusals]
            if refusals:
                index = min(refusals)
                raise _refused(_error(refusals[index], decode(batch[index])), done)


def _refused(error: SadbError, done: t.Sequence[Part]) -> SadbError:
    """Undo the changes before the error, of SAs as they were shown; return it extended with the result."""
    stuck = _undo(done)
    after = "Undoing the rest failed for: " + "; ".join(map(str, stuck)) if stuck else "No lifetime was changed."
    return SadbError(error.message, error.place, f"{error.hint} {after}".strip(), error.errno_name)


def _undo(parts: t.Sequence[Part]) -> list[SadbError]:
    if not parts:
        return []
    from .explain import explain_lost

    entries = [decode(part) for part in parts]
    requests = [revised(part, entry.sa.lifetimes) for part, entry in zip(parts, entries)]
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
