# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Changes of the SADB of Linux over NETLINK_XFRM, all or nothing."""

from __future__ import annotations

import contextlib
import errno
import typing as t

from ...collector import no_collection
from ...errors import SadbError
from ...sa.model import Entry, Identity, SecurityAssociation, identity, label, without_mark
from ...signals import uninterrupted
from ..base import SADB_UNCHANGED, Sadb, with_outcome
from . import uapi
from .decode import any_redacted, as_shown, decode, decode_all, redacted
from .ids import delete_sa, sa_ids
from .link import open_link, refused
from .messages import new_sas, restore
from .netlink import NETLINK_XFRM, Netlink, Part, Refusal, alike, kind_of, make_request, split
from .transaction import TransactionKind, UndoStep, all_doubtful, transaction
from .watch import MANY, Watch

if t.TYPE_CHECKING:
    from ...sa.plan import Operation

# Operations whose messages are in memory at the same time: few enough for the processor's cache,
# many enough for a system call.
_CHUNK = 1024
# Undoing a doubtful step finds the SA already deleted, or still there.
CHANGES = TransactionKind("changing the SADB", SADB_UNCHANGED, "SAs", label, refused, (errno.ESRCH, errno.EEXIST))


@contextlib.contextmanager
def change(sadb: Sadb, operations: t.Sequence[Operation], watch: Watch | None = None) -> t.Iterator[None]:
    """Carry out all operations in order, or none; undo them if the block fails. Signals are blocked until it ends."""
    with uninterrupted(), open_link(NETLINK_XFRM, CHANGES.doing) as link, no_collection():
        replaced = [operation.old for operation in operations if operation.old is not None]
        gone = [entry.sa for entry in replaced]
        before = current(link, replaced, watch)
        if watch is not None:
            watch.close()
        if any_redacted(gone):
            _rehearse(link, operations)
        pieces = (slice(first, first + _CHUNK) for first in range(0, len(operations), _CHUNK))
        chunks = (
            (_requests(operations[piece]) for piece in pieces)
            if any(operation.new is not None for operation in operations)
            else ((sa_ids(uapi.XFRM_MSG_DELSA, gone[piece]), ()) for piece in pieces)
        )
        with transaction(link, CHANGES, chunks, lambda: _steps(operations, before()), lambda steps: _done(sadb, steps)):
            yield


def _done(sadb: Sadb, steps: t.Sequence[UndoStep]) -> list[UndoStep]:
    """Which steps the kernel carried out, according to the SADB, since its answers were lost; all, as
    doubtful, if the SADB cannot be read either.

    An SA equal to the one to be added counts as added: either the plan did not know it, or it
    replaced an equal one, which undoing restores."""
    try:
        existing = {identity(entry.sa): entry.sa for entry in sadb.dump()}
        tells_directions = sadb.tells_directions()
    except SadbError:
        return all_doubtful(steps)
    added = {identity(step.subject): as_shown(step.subject, tells_directions) for step in steps if _adds(step)}

    def is_done(step: UndoStep) -> bool:
        name = identity(step.subject)
        found = existing.get(name)
        came = found is not None and found == added.get(name)
        return came if _adds(step) else came or found != step.subject

    return [step for step in steps if is_done(step)]


def current(
    link: Netlink, entries: t.Sequence[Entry], watch: Watch | None = None, whatever_lifetimes: bool = False
) -> t.Callable[[], dict[Identity, Part]]:
    """Raise SadbError unless the kernel has these SAs now (with ``whatever_lifetimes``, except for
    lifetimes), and none of them is hidden by another through its mark: the kernel would change the
    wrong one. ``watch`` may vouch for many.

    Returns a function that finds the messages that show them: only an undo needs those of many SAs."""
    messages: list[Part] = []
    datagrams: list[bytes] = []
    others = entries

    def look(part: Part) -> list[None]:
        if not datagrams or part.buffer is not datagrams[-1]:
            datagrams.append(part.buffer)
        return [None] * alike(part)

    if len(entries) >= MANY and not whatever_lifetimes:
        count = len(link.dump(make_request(uapi.XFRM_MSG_GETSA, uapi.ANY_PROTOCOL), uapi.XFRM_MSG_NEWSA, look))
        others = [] if watch is not None and watch.vouches_for(entries, count) else _unsettled(entries, datagrams)
    requests = sa_ids(uapi.XFRM_MSG_GETSA, (entry.sa for entry in others))
    for first, last in link.batches(requests, with_answers=True):
        refusals, answers = link.send(requests[first:last])
        for index, entry in enumerate(others[first:last]):
            answer = answers.get(index)
            if answer is None:
                raise refused(refusals.get(index, Refusal(errno.ENOBUFS, "")), entry.sa)
            sa = decode(answer).sa
            if (sa._replace(lifetimes=entry.sa.lifetimes) if whatever_lifetimes else sa) != entry.sa:
                raise refused(Refusal(errno.ESTALE, ""), entry.sa)
            messages.append(answer)

    def find() -> dict[Identity, Part]:
        parts = (
            part for datagram in datagrams for kind, *dummy, part in split(datagram) if kind == uapi.XFRM_MSG_NEWSA
        )
        return {identity(decode(part).sa): part for part in (*parts, *messages)}

    return find


def _unsettled(entries: t.Sequence[Entry], datagrams: t.Sequence[bytes]) -> t.Sequence[Entry]:
    """The entries that need a look of their own, since a dump does not show an equal SA, or shows
    another that differs in its mark only.
    """
    shown: dict[t.Any, SecurityAssociation] = {}
    marked: set[t.Any] = set()
    for datagram in datagrams:
        for sa, *dummy in decode_all(datagram):
            name = without_mark(sa)
            shown[name] = sa
            if sa.mark is not None:
                marked.add(name)
    names = (without_mark(entry.sa) for entry in entries)
    return [entry for entry, name in zip(entries, names) if name in marked or shown.get(name) != entry.sa]


def _requests(operations: t.Sequence[Operation]) -> tuple[list[bytes], set[int]]:
    """The requests for operations, and the indexes of those that must go in one send with the request
    before: the second half of a replacement.
    """
    deletions = sa_ids(uapi.XFRM_MSG_DELSA, [operation.old.sa for operation in operations if operation.old is not None])
    additions = new_sas([operation.new for operation in operations if operation.new is not None])
    if not (deletions and additions):
        return deletions or additions, set()
    gone, come = iter(deletions), iter(additions)
    requests: list[bytes] = []
    together = set()
    for operation in operations:
        if operation.old is not None:
            requests.append(next(gone))
            if operation.new is not None:
                together.add(len(requests))
        if operation.new is not None:
            requests.append(next(come))
    return requests, together


def _steps(operations: t.Sequence[Operation], before: t.Mapping[Identity, Part]) -> t.Iterator[UndoStep]:
    """A step for each request of `_requests`, so that it can be undone."""
    for operation in operations:
        old, new = operation.old, operation.new
        if old is not None:
            # An SA that had gone without an event is not there; then the kernel refuses to delete it.
            part = before.get(identity(old.sa))
            yield UndoStep(old.sa, None if part is None or redacted(old.sa) else restore(part))
        if new is not None:
            yield UndoStep(new, delete_sa(new))


def _rehearse(link: Netlink, operations: t.Sequence[Operation]) -> None:
    """Raise what the kernel would refuse after SAs are deleted that cannot be restored, since it hides
    their keys.
    """
    from .explain import first_of
    from .probe import rehearse

    problems = rehearse(link, operations)
    if problems:
        raise with_outcome(first_of(problems), (), SADB_UNCHANGED)


def _adds(step: UndoStep) -> bool:
    return step.inverse is not None and kind_of(step.inverse) == uapi.XFRM_MSG_DELSA
