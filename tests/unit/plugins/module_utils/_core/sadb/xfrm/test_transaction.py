# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A transaction that fails in one of its batches, or whose undoing fails: everything that can be
undone is, and the error reports the first cause.
"""

from __future__ import annotations

import contextlib
import errno
import typing as t

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import Problems, SadbError
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.xfrm import transaction as module
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.xfrm.netlink import (
    HEADER_SIZE,
    AnswersLost,
    NetlinkError,
    Refusal,
    make_request,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.xfrm.transaction import TransactionKind, UndoStep

UNCHANGED = "All is as it was before."


class Link:
    """A socket with room for one message per batch, whose answers follow a script."""

    def __init__(self) -> None:
        self.answers: list[t.Any] = []
        self.sent: list[bytes] = []

    def batches(self, requests: t.Sequence[bytes], inseparable: t.Container[int] = ()) -> list[tuple[int, int]]:
        starts = [index for index in range(len(requests)) if index not in inseparable]
        return list(zip(starts, [*starts[1:], len(requests)]))

    def send(self, requests: t.Sequence[bytes]) -> tuple[dict[int, Refusal], dict[int, t.Any]]:
        self.sent += [request[HEADER_SIZE:] for request in requests]
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer, {}


def explain(refusal: Refusal, subject: str) -> SadbError:
    return SadbError("refused", subject, "", errno.errorcode[refusal.errno])


KIND = TransactionKind("changing", UNCHANGED, "things", str, explain, (errno.ENOENT,))


def run(link: Link, *chunks: int, inseparable: t.Container[int] = (), hidden: t.Container[int] = ()) -> t.Any:
    """A transaction of chunks with so many requests each."""
    numbers = iter(range(sum(chunks)))
    requests = [([make_request(1, b"do %d" % next(numbers)) for dummy in range(size)], inseparable) for size in chunks]
    steps = [
        UndoStep(f"thing {number}", None if number in hidden else make_request(1, b"undo %d" % number))
        for number in range(sum(chunks))
    ]
    return module.transaction(t.cast(t.Any, link), KIND, requests, lambda: list(steps))


@pytest.fixture(name="link")
def make_link(monkeypatch: pytest.MonkeyPatch) -> Link:
    """Every socket while a test runs."""
    made = Link()
    monkeypatch.setattr(module, "open_link", lambda family, doing: contextlib.nullcontext(made))
    return made


def failure(link: Link, *chunks: int, **options: t.Any) -> SadbError:
    with pytest.raises(SadbError) as caught, run(link, *chunks, **options):
        pass
    return caught.value


def test_losing_answers_while_undoing_neither_stops_the_undo_nor_hides_the_cause(link: Link) -> None:
    link.answers = [{}, {}, {0: Refusal(errno.EEXIST, "")}, AnswersLost(), {}]
    error = failure(link, 3)
    assert link.sent == [b"do 0", b"do 1", b"do 2", b"undo 1", b"undo 0"]
    assert error.errno_name == "EEXIST"
    assert "Undoing the rest failed for: thing 1: whether the kernel undid 1 change is unknown" in str(error)


def test_a_doubtful_change_that_was_not_made_needs_no_undoing(link: Link) -> None:
    link.answers = [{}, AnswersLost(), {0: Refusal(errno.ENOENT, "")}, {}]
    assert UNCHANGED in str(failure(link, 2))


def test_a_certain_change_that_cannot_be_undone_is_reported(link: Link) -> None:
    link.answers = [{}, {0: Refusal(errno.EEXIST, "")}, {0: Refusal(errno.ENOENT, "")}]
    assert "Undoing the rest failed for: thing 0: refused" in str(failure(link, 2))


def test_a_failed_send_changed_nothing(link: Link) -> None:
    link.answers = [{}, NetlinkError(Refusal(errno.EPERM, "")), {}]
    error = failure(link, 2)
    assert UNCHANGED in str(error) and error.place == "changing"
    assert link.sent == [b"do 0", b"do 1", b"undo 0"]


def test_losing_answers_while_changing_undoes_everything(link: Link) -> None:
    link.answers = [{}, AnswersLost(), {}, {}]
    assert UNCHANGED in str(failure(link, 2))
    assert link.sent == [b"do 0", b"do 1", b"undo 1", b"undo 0"]


def test_earlier_chunks_are_undone_too(link: Link) -> None:
    link.answers = [{}, {}, {}, {0: Refusal(errno.EEXIST, "")}, {}, {}, {}]
    assert UNCHANGED in str(failure(link, 2, 3))
    assert link.sent[4:] == [b"undo 2", b"undo 1", b"undo 0"]


def test_what_was_done_in_the_batch_of_a_refusal_is_undone(link: Link) -> None:
    link.answers = [{0: Refusal(errno.EEXIST, ""), 2: Refusal(errno.EEXIST, "")}, {}]
    assert "1 more things were refused" in str(failure(link, 3, inseparable=(1, 2)))
    assert link.sent[3:] == [b"undo 1"]


def test_what_cannot_be_put_back_is_reported_and_the_rest_undone(link: Link) -> None:
    link.answers = [{}, {}, {0: Refusal(errno.EEXIST, "")}, {}]
    error = failure(link, 3, hidden=(1,))
    assert "Undoing the rest failed for: thing 1: the kernel hides its keys" in str(error)
    assert link.sent[3:] == [b"undo 0"]


def test_a_chunk_that_cannot_be_made_undoes_those_before(link: Link) -> None:
    def chunks() -> t.Iterator[tuple[list[bytes], t.Container[int]]]:
        yield [make_request(1, b"do 0"), make_request(1, b"do 1")], ()
        raise ValueError("the second chunk")

    def steps() -> t.Iterator[UndoStep]:
        yield from (UndoStep(f"thing {number}", make_request(1, b"undo %d" % number)) for number in range(2))
        raise ValueError("nor can what would undo it")

    link.answers = [{}, {}, {}, {}]
    with pytest.raises(ValueError, match="the second chunk"), module.transaction(
        t.cast(t.Any, link), KIND, chunks(), steps
    ):
        pytest.fail("not everything was done")
    assert link.sent == [b"do 0", b"do 1", b"undo 1", b"undo 0"]


def test_whatever_stops_a_send_leaves_nothing_done(link: Link) -> None:
    link.answers = [{}, MemoryError(), {0: Refusal(errno.ENOENT, "")}, {}]
    with pytest.raises(MemoryError), run(link, 3):
        pytest.fail("not everything was done")
    assert link.sent == [b"do 0", b"do 1", b"undo 1", b"undo 0"]


@pytest.mark.parametrize("refused", [False, True])
def test_a_block_that_fails_undoes_everything(link: Link, refused: bool) -> None:
    link.answers = [{}, {}, {0: Refusal(errno.EEXIST, "")} if refused else {}, {}]
    cause = SadbError("the block failed")
    with pytest.raises(Problems if refused else SadbError) as caught, run(link, 1, 1):
        raise cause
    assert (caught.value.problems[0] if isinstance(caught.value, Problems) else caught.value) is cause
    assert link.sent[2:] == [b"undo 1", b"undo 0"]


def test_a_block_that_succeeds_undoes_nothing(link: Link) -> None:
    link.answers = [{}, {}]
    with run(link, 2):
        pass
    assert link.sent == [b"do 0", b"do 1"]
