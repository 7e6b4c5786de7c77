# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Datagrams of events that are cut, or hold what is not asked for; true ones are the kernel's to send (tests/kernel)."""

from __future__ import annotations

import struct

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb import events

FLUSH_OF_AH = struct.pack("=IHHII", 20, 0x1C, 0, 0, 0) + bytes((51, 0, 0, 0))
POLICY = struct.pack("=IHHII", 20, 0x13, 0, 0, 0) + bytes(4)
# xfrm_usersa_id alone, without the SA that the kernel adds.
GONE = struct.pack("=IHHII", 40, 0x11, 0, 0, 0) + bytes(24)


@pytest.mark.parametrize(
    ("buffer", "wanted"),
    [
        (b"", []),
        (FLUSH_OF_AH, [events.Event(events.FLUSH, None, "ah")]),
        (FLUSH_OF_AH[:15], []),
        (FLUSH_OF_AH[:18], []),
        (struct.pack("=IHHII", 3, 0x1C, 0, 0, 0) + FLUSH_OF_AH, []),
        (POLICY + FLUSH_OF_AH, [events.Event(events.FLUSH, None, "ah")]),
        (GONE, [events.Event(events.DELETE)]),
    ],
)
def test_what_is_no_event_is_passed_over(buffer, wanted):
    assert list(events.read_events(buffer)) == wanted
