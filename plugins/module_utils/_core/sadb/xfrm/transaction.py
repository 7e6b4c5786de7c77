# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Changes over netlink, all or nothing: of SAs, of policies, of lifetimes.

The kernel itself carries out one request after the other, and goes on after one that it refused. So
every request has an inverse, and these are sent in reverse order where one request fails."""

from __future__ import annotations

import contextlib
import itertools
import typing as t

from ...errors import SadbError, raise_also
from ..base import with_outcome
from .link import open_link
from .netlink import NETLINK_XFRM, AnswersLost, Netlink, NetlinkError, Refusal


class UndoStep(t.NamedTuple):
    """One request: the SA or policy that it changes, and the request that undoes it, None where
    the kernel hides the keys that it would need.

    ``doubtful`` if it is unknown whether the kernel carried the request out.
    """

    subject: t.Any
    inverse: bytes | None
    doubtful: bool = False


class TransactionKind(t.NamedTuple):
    """What the messages about a transaction say, and how they name the subject of a step.

    ``unchanged`` is the sentence for a change that was undone. ``harmless`` are the errnos with
    which the kernel refuses to undo a doubtful step that it had not carried out."""

    doing: str
    unchanged: str
    subjects: str
    label: t.Callable[[t.Any], str]
    explain: t.Callable[[Refusal, t.Any], SadbError]
    harmless: t.Container[int] = ()


def all_doubtful(steps: t.Sequence[UndoStep]) -> list[UndoStep]:
    return [step._replace(doubtful=True) for step in steps]


@contextlib.contextmanager
def transaction(
    link: Netlink,
    kind: TransactionKind,
    chunks: t.Iterable[tuple[t.Sequence[bytes], t.Container[int]]],
    steps: t.Callable[[], t.Iterable[UndoStep]],
    done: t.Callable[[t.Sequence[UndoStep]], list[UndoStep]] = all_doubtful,
) -> t.Iterator[None]:
    """Carry out all requests in order; undo them where the kernel refuses one, or where the block fails.

    A chunk is requests, and the indexes of those that go in one send with the request before.
    ``steps`` returns a step for each request of all chunks, of which those are taken whose requests were sent; it
    is called only where something failed. ``done`` picks from steps whose answers were lost those to be undone.

    Raises SadbError with what was refused and what became of the rest, or the error of the block, or of
    what makes the chunks, with what could not be undone."""
    carried_out = sending = 0
    try:
        for batch in _batches(link, chunks):
            sending = len(batch)
            refusals, failure = _send(link, batch)
            if refusals or failure is not None:
                break
            carried_out += sending
            sending = 0
        else:
            yield
            return
    except BaseException as cause:
        sent = list(itertools.islice(steps(), carried_out + sending))
        unknown = sent[carried_out:]
        raise_also(cause, _undo(kind, sent[:carried_out] + (done(unknown) if unknown else [])))
        raise
    sent = list(itertools.islice(steps(), carried_out + sending))
    before, last = sent[:carried_out], sent[carried_out:]
    if failure is None:
        before += [step for index, step in enumerate(last) if index not in refusals]
    elif isinstance(failure, AnswersLost):
        # A send that failed changed nothing; only lost answers leave the outcome unknown.
        before += done(last)
    error = _error(kind, last, refusals, failure)
    raise with_outcome(error, _undo(kind, before), kind.unchanged)


def _batches(
    link: Netlink, chunks: t.Iterable[tuple[t.Sequence[bytes], t.Container[int]]]
) -> t.Iterator[t.Sequence[bytes]]:
    """The requests of all chunks, as many at a time as go in one send."""
    for requests, inseparable in chunks:
        for first, last in link.batches(requests, inseparable=inseparable):
            yield requests[first:last]


def _send(link: Netlink, batch: t.Sequence[bytes]) -> tuple[dict[int, Refusal], NetlinkError | None]:
    """The refusals by index, or why not all answers came."""
    try:
        return link.send(batch)[0], None
    except NetlinkError as exc:
        return {}, exc


def _error(
    kind: TransactionKind, batch: t.Sequence[UndoStep], refusals: t.Mapping[int, Refusal], failure: NetlinkError | None
) -> SadbError:
    from .explain import explain_exchange, first_of  # only here, since most changes succeed

    if failure is not None:
        return explain_exchange(failure, kind.doing)
    return first_of([kind.explain(refusals[index], batch[index].subject) for index in sorted(refusals)], kind.subjects)


def _undo(kind: TransactionKind, done: t.Sequence[UndoStep]) -> list[SadbError]:
    """Undo in reverse order, doubtful steps as well; return what could not be undone, or may not have been."""
    from .explain import explain_lost

    not_undone: list[SadbError] = []
    steps: list[UndoStep] = []
    requests: list[bytes] = []
    for step in reversed(done):
        if step.inverse is None:
            not_undone.append(
                SadbError("the kernel hides its keys, so it could not be put back", kind.label(step.subject))
            )
        else:
            steps.append(step)
            requests.append(step.inverse)
    if not steps:
        return not_undone
    try:
        # A separate socket, since the other one may be what is broken.
        with open_link(NETLINK_XFRM, f"undoing changes of {len(steps)} {kind.subjects}") as link:
            for first, last in link.batches(requests):
                batch = steps[first:last]
                try:
                    refusals = link.send(requests[first:last])[0]
                except NetlinkError as exc:
                    # The other batches can still be undone, and the first refusal must still be reported.
                    not_undone.append(explain_lost(exc, [kind.label(step.subject) for step in batch]))
                    continue
                not_undone += [
                    kind.explain(refusal, batch[index].subject)
                    for index, refusal in refusals.items()
                    if not (batch[index].doubtful and refusal.errno in kind.harmless)
                ]
    except SadbError as error:
        not_undone.append(error)
    return not_undone
