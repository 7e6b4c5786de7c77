# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Changes of the SADB of Linux over NETLINK_XFRM, all or nothing."""

from __future__ import annotations

import contextlib
import errno
import operator
import typing as t

from ...collector import no_collection
from ...errors import SadbError
from ...sa.model import Entry, Identity, SecurityAssociation, identity, label, without_mark
from ...signals import uninterrupted
from ..base import SADB_UNCHANGED, Sadb, with_outcome
from . import uapi
from .decode import any_redacted, as_shown, decode, fields_of_several, redacted
from .ids import delete_sa, sa_id
from .link import open_link, refused
from .messages import new_sa, restore
from .netlink import NETLINK_XFRM, Message, Netlink, Part, Refusal, split
from .transaction import TransactionKind, UndoStep, all_doubtful, transaction

if t.TYPE_CHECKING:
    from ...sa.plan import Operation

# Operations whose messages are in memory at the same time: few enough for the processor's cache,
# many enough for a system call.
_CHUNK = 256
# From this number of SAs on, one dump of the whole SADB is faster than a request for each.
_MANY = 256
# Undoing a doubtful step finds the SA already deleted, or still there.
CHANGES = TransactionKind("changing the SADB", SADB_UNCHANGED, "SAs", label, refused, (errno.ESRCH, errno.EEXIST))
_mark = operator.itemgetter(SecurityAssociation._fields.index("mark"))


@contextlib.contextmanager
def change(sadb: Sadb, operations: t.Sequence[Operation]) -> t.Iterator[None]:
    """Carry out all operations in order, or none; undo them if the block fails. Signals are blocked until it ends."""
    with uninterrupted(), open_link(NETLINK_XFRM, CHANGES.doing) as link, no_collection():
        replaced = [operation.old for operation in operations if operation.old is not None]
        before = current(link, replaced)
        if any_redacted([entry.sa for entry in replaced]):
            _rehearse(link, operations)
        chunks = (_requests(operations[first : first + _CHUNK]) for first in range(0, len(operations), _CHUNK))
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
    link: Netlink, entries: t.Sequence[Entry], whatever_lifetimes: bool = False
) -> t.Callable[[], dict[Identity, Part]]:
    """Raise SadbError unless the kernel has these SAs now (with ``whatever_lifetimes``, except for
    lifetimes), and none of them is hidden by another through its mark: the kernel would change the
    wrong one.

    Returns a function that finds the messages that show them: only an undo needs those of many SAs."""
    messages: list[Part] = []
    datagrams: list[bytes] = []
    many = len(entries) >= _MANY and not whatever_lifetimes
    others = _unsettled(link, entries, datagrams) if many else entries
    requests = [sa_id(uapi.XFRM_MSG_GETSA, entry.sa) for entry in others]
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
        dumped = [
            part for datagram in datagrams for kind, *dummy, part in split(datagram) if kind == uapi.XFRM_MSG_NEWSA
        ]
        return {identity(decode(part).sa): part for part in (*dumped, *messages)}

    return find


def _unsettled(link: Netlink, entries: t.Sequence[Entry], datagrams: list[bytes]) -> t.Sequence[Entry]:
    """The entries that need a look of their own, since a dump does not show an equal SA, or shows
    another that differs in its mark only. The dump is appended to ``datagrams``.
    """
    wanted = [entry.sa for entry in entries]
    settled = bytearray(len(wanted))
    numbers: dict[t.Any, int] = {}
    marked: set[t.Any] = set()
    at = 0

    def look_up(shown: t.Sequence[t.Any]) -> None:
        nonlocal at
        if not numbers:
            numbers.update(zip(map(without_mark, wanted), range(len(wanted))))
        for sa in shown:
            number = numbers.get(without_mark(sa), -1)
            if number >= 0 and sa == wanted[number]:
                settled[number] = 1
                at = number + 1

    def look(part: Part) -> list[None]:
        nonlocal at
        if not datagrams or part.buffer is not datagrams[-1]:
            datagrams.append(part.buffer)
        shown = fields_of_several(part)
        # Most entries have the order of the dump that they are from, so few need to be looked up.
        if shown == wanted[at : at + len(shown)]:
            settled[at : at + len(shown)] = b"\1" * len(shown)
            at += len(shown)
        else:
            look_up(shown)
        if _mark(shown[0]) is not None:
            marked.update(map(without_mark, shown))
        return [None] * len(shown)

    link.dump(Message(uapi.XFRM_MSG_GETSA, b""), uapi.XFRM_MSG_NEWSA, look)
    if all(settled) and not marked:
        return []
    return [entry for entry, sure in zip(entries, settled) if not sure or without_mark(entry.sa) in marked]


def _requests(operations: t.Sequence[Operation]) -> tuple[list[Message], set[int]]:
    """The requests for operations, and the indexes of those that must go in one send with the request
    before: the second half of a replacement.
    """
    requests: list[Message] = []
    together = set()
    for operation in operations:
        old, new = operation.old, operation.new
        if old is not None:
            requests.append(sa_id(uapi.XFRM_MSG_DELSA, old.sa))
            if new is not None:
                together.add(len(requests))
        if new is not None:
            requests.append(new_sa(new))
    return requests, together


def _steps(operations: t.Sequence[Operation], before: t.Mapping[Identity, Part]) -> t.Iterator[UndoStep]:
    """A step for each request of `_requests`, so that it can be undone."""
    for operation in operations:
        old, new = operation.old, operation.new
        if old is not None:
            yield UndoStep(old.sa, None if redacted(old.sa) else restore(before[identity(old.sa)]))
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
    return step.inverse is not None and step.inverse.kind == uapi.XFRM_MSG_DELSA
