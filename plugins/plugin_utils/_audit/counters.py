# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The counters in /proc/net/xfrm_stat: why each rises, the most likely cause first, and what helps. Pure.

From linux/Documentation/networking/xfrm_proc.rst, and from where net/xfrm and net/ipv4/esp4.c count.
"""

from __future__ import annotations

import typing as t

NO_STATES = "XfrmInNoStates"
# What helps.
NEW_KEYS, POLICIES, MACHINE, NOTHING = "new keys", "policies", "machine", "nothing"


class Cause(t.NamedTuple):
    """Why counters rise, and what helps. ``is_expected``: they rise where everything is as it should be."""

    counters: tuple[str, ...]
    text: str
    remedy: str
    is_expected: bool = False


CAUSES: tuple[Cause, ...] = (
    Cause(
        ("XfrmOutStateSeqError", "XfrmInStateExpired", "XfrmOutStateExpired"),
        "an SA has used up its sequence numbers or its lifetime",
        NEW_KEYS,
    ),
    Cause(
        ("XfrmInStateProtoError",),
        "packets failed the integrity check: the two hosts have different keys, or packets were changed on their way",
        NEW_KEYS,
    ),
    Cause(
        ("XfrmOutNoStates", "XfrmAcquireError"),
        "a policy requires an SA that the kernel does not have",
        NEW_KEYS,
    ),
    Cause(
        ("XfrmInStateMismatch", "XfrmInStateModeError", "XfrmInStateDirError", "XfrmOutStateDirError"),
        "the peer uses an SA in another way than it is set up here: another mode, encapsulation or direction",
        NEW_KEYS,
    ),
    Cause(
        ("XfrmInStateSeqError",),
        "packets arrived twice or too late: the network reordered or duplicated them, or somebody sent copies",
        NOTHING,
        is_expected=True,
    ),
    Cause(
        ("XfrmInStateInvalid", "XfrmOutStateInvalid", "XfrmOutPolDead", "XfrmOutBundleCheckError"),
        "an SA, a policy or a route was replaced while a packet was on its way through the kernel, such as by a"
        " rotation, or an SA has expired",
        NOTHING,
        is_expected=True,
    ),
    Cause(
        ("XfrmInPolBlock", "XfrmOutPolBlock"),
        "a policy blocks this traffic, which is what policies with the action block are for",
        POLICIES,
        is_expected=True,
    ),
    Cause(
        ("XfrmInTmplMismatch",),
        "packets arrived in the clear, or through another SA, although a policy requires protection: somebody sends"
        " what need not be protected elsewhere, or a peer has no policy that protects its traffic",
        POLICIES,
    ),
    Cause(
        ("XfrmInNoPols",),
        "no policy allows packets that came out of a tunnel, or whose direction is blocked by default (ip xfrm policy"
        " getdefault)",
        POLICIES,
    ),
    Cause(
        ("XfrmInPolError", "XfrmOutPolError", "XfrmFwdHdrError", "XfrmOutBundleGenError"),
        "the kernel found no route or no usable policy for packets",
        POLICIES,
    ),
    Cause(
        ("XfrmInHdrError", "XfrmInBufferError", "XfrmInIptfsError"),
        "packets with malformed headers arrived, or the kernel lacked memory",
        MACHINE,
    ),
    Cause(
        ("XfrmOutStateProtoError", "XfrmOutStateModeError"),
        "packets could not be protected: they were too large for the path, or the kernel lacked memory",
        MACHINE,
    ),
    Cause(
        ("XfrmInError", "XfrmOutError", "XfrmOutNoQueueSpace"),
        "the kernel lacked memory, or a device could not do what was left to it",
        MACHINE,
    ),
)
_BY_COUNTER = {name: cause for cause in CAUSES for name in cause.counters}


def kind_of(counter: str) -> str:
    """The finding about packets that the counter counts."""
    if counter == NO_STATES:
        return "no-state-packets"
    cause = _BY_COUNTER.get(counter)
    return "counter-expected" if cause is not None and cause.is_expected else "counter-rose"
