# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A change that fails in its second batch while the kernel has no memory for its answers: all that
can be taken back is, and the cause is told.
"""

from __future__ import annotations

import contextlib
import errno

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import SadbError
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import pack_address
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.xfrm.netlink import (
    AnswersLost,
    Message,
    NetlinkError,
    Refusal,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.spd import kernel


class Link:
    """A socket with room for one message a batch, whose answers follow a script."""

    def __init__(self):
        self.answers = []
        self.sent = []

    def batches(self, messages):
        return [(index, index + 1) for index in range(len(messages))]

    def send(self, messages):
        self.sent += [message.body for message in messages]
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer, {}


def steps(count):
    policy = kernel.Policy("out", kernel.Selector(pack_address("192.0.2.1"), 32, pack_address("192.0.2.2"), 32))
    return [
        kernel._Step(policy, Message(1, b"do %d" % index), Message(1, b"undo %d" % index)) for index in range(count)
    ]


@pytest.fixture(name="link")
def make_link(monkeypatch):
    """What every socket is while a test runs."""
    made = Link()
    monkeypatch.setattr(kernel, "open_link", lambda family, doing: contextlib.nullcontext(made))
    return made


def test_losing_answers_while_undoing_neither_stops_the_undo_nor_hides_the_cause(link):
    link.answers = [{}, {}, {0: Refusal(errno.EEXIST, "")}, AnswersLost(), {}]
    with pytest.raises(SadbError) as caught:
        kernel.Spd._carry_out(link, steps(3))
    assert link.sent == [b"do 0", b"do 1", b"do 2", b"undo 1", b"undo 0"]
    assert caught.value.errno_name == "EEXIST"
    assert (
        "Undoing the rest failed for: policy out 192.0.2.1/32 > 192.0.2.2/32: whether the kernel took back 1 change is"
        " unknown" in str(caught.value)
    )


def test_what_did_not_come_need_not_be_taken_back(link):
    link.answers = [{}, AnswersLost(), {0: Refusal(errno.ENOENT, "")}, {}]
    with pytest.raises(SadbError, match="The SPD is as it was before"):
        kernel.Spd._carry_out(link, steps(2))


def test_what_could_not_be_sent_was_not_done(link):
    link.answers = [{}, NetlinkError(Refusal(errno.EPERM, "")), {}]
    with pytest.raises(SadbError, match="The SPD is as it was before"):
        kernel.Spd._carry_out(link, steps(2))
    assert link.sent == [b"do 0", b"do 1", b"undo 0"]


def test_losing_answers_while_changing_takes_everything_back(link):
    link.answers = [{}, AnswersLost(), {}, {}]
    with pytest.raises(SadbError, match="The SPD is as it was before"):
        kernel.Spd._carry_out(link, steps(2))
    assert link.sent == [b"do 0", b"do 1", b"undo 1", b"undo 0"]
