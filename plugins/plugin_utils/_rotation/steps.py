# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The steps in which a rotation asks each host, in order. Pure.

What is asked, and what the run decides from the answers, is in a module for each part of the transaction.
A question is one call of a module of this collection. Its options come from the inputs of the run and
from the keystore. Hosts' answers only select which questions are asked, through these decisions and for
the same host. No value from a host is ever passed to another host.

=============  ====================================================================
step           what each host is asked
=============  ====================================================================
preflight      whether it can take part, and which SAs it holds
stage          to write the SAs of the generation to a file beside the protected one, and to
               accept packets that arrive through them (also inbound policies that name other SAs)
cut_over       to send through the new SAs, no longer through the previous ones, which it saves in
               another file, and to send its traffic through SAs (outbound policies; all of a tunnel)
send           to send packets through the new SAs
arrivals       to count the packets that arrived
go_back        to send through the previous SAs again, or before the switch, to remove what was staged
forget         to stop accepting packets through the new SAs, once no host sends through them
accept         after a change of the mode (`nesting`), to accept packets through the new SAs alone
unnest         then to send through these alone
persist        to write the staged SAs to the protected file, to remove the previous ones, to accept
               only traffic that arrived through SAs (inbound policies), to load all this at
               boot, and to remove the staged files
=============  ====================================================================

Connections that cannot overlap (`decisions.gaps`) change in both directions at the cut-over, and in the
file just before, unless policies that are loaded at boot fit one generation only (`questions.flushed`). For all
others, at every moment each host accepts what its peers send, even if it reboots: its protected file
holds the new inbound SAs from the step stage on, and the new outbound ones from cut_over on. Where
policies decide which SAs are used (`Rotation.beside`), kernel and file hold the SAs of both
generations and both directions until persist, and what is loaded at boot says which.
"""

from __future__ import annotations

import typing as t

from . import completion, cutover, preflight, rollback, staging
from .rotation import (
    ACCEPT,
    ARRIVALS,
    CUT_OVER,
    FORGET,
    GO_BACK,
    PERSIST,
    PREFLIGHT,
    SEND,
    STAGE,
    UNNEST,
    Questions,
    Rotation,
)

STEPS: t.Mapping[str, t.Callable[[Rotation, str], Questions]] = {
    PREFLIGHT: preflight.preflight,
    STAGE: staging.stage,
    CUT_OVER: cutover.cut_over,
    SEND: cutover.send,
    ARRIVALS: cutover.arrivals,
    GO_BACK: rollback.go_back,
    FORGET: rollback.forget,
    ACCEPT: completion.accept,
    UNNEST: completion.unnest,
    PERSIST: completion.persist,
}
