# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The course of a run: which steps it leaves out, from what it decided. Pure."""

from __future__ import annotations

import typing as t

from . import rotation

# Steps that are skipped if no host must change, and in check mode. Of those: the steps for hosts that
# may have switched, for an approved generation, and for one that was not approved. A generation that
# was not approved is rolled back, whatever the reason.
_TRANSACTION = (rotation.STAGE, "switch", "stop")
_SWITCHED = (rotation.CUT_OVER, rotation.SEND, rotation.ARRIVALS, "judge")
_APPROVED = (rotation.ACCEPT, rotation.UNNEST, "settle", rotation.PERSIST, "promote")
_REFUSED = (rotation.GO_BACK, rotation.FORGET)
# Steps that are skipped if nothing that left is to be removed, if the hosts did not get the generation
# that they should, and in check mode.
_LEAVING = (rotation.LEAVE, "left")


def leaves_out(step: str, state: t.Mapping[str, t.Any]) -> bool:
    """Whether a run skips this step, from what was decided before."""
    wanted = {
        **dict.fromkeys((*_TRANSACTION, *_SWITCHED, *_APPROVED, *_REFUSED), state["due"]),
        **dict.fromkeys(_SWITCHED, state["due"] and state["switching"]),
        **dict.fromkeys(_APPROVED, state["due"] and state["approved"]),
        **dict.fromkeys(_REFUSED, state["due"] and not state["approved"]),
        **dict.fromkeys(_LEAVING, state.get("leaving", False) and (not state["due"] or state.get("promoted", False))),
        "forecast": state.get("check_mode", False),
    }
    return not wanted.get(step, True)
