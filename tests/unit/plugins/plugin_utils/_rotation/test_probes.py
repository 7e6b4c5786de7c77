# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation import probes

SKIPPED = {"skipped": True, "changed": False}


def probe(*rows: tuple[str, t.Any, t.Any], failures: t.Sequence[str] = ()) -> dict[str, t.Any]:
    return {
        "sent": [{"key": key, "before": before, "after": after} for key, before, after in rows],
        "failures": list(failures),
    }


def arrival(key: str, packets: t.Any) -> dict[str, t.Any]:
    return {"received": [{"key": key, "before": packets, "after": packets}]}


KEY = "esp|192.0.2.2|0x00001000"


@pytest.mark.parametrize(
    ("sent", "received", "problems", "unprobed"),
    [
        (probe((KEY, 0, 3)), arrival(KEY, 3), 0, 0),
        (probe((KEY, 0, 3)), arrival(KEY, 0), 1, 0),
        (probe((KEY, 0, 3)), arrival(KEY, None), 1, 0),
        (probe((KEY, 0, 3)), arrival("esp|192.0.2.2|0x00001001", 3), 1, 0),
        (probe((KEY, 3, 3)), arrival(KEY, 0), 0, 1),
        (probe((KEY, None, None), failures=["ENETUNREACH"]), arrival(KEY, 0), 0, 2),
    ],
)
def test_packets_that_left_must_arrive(sent: t.Any, received: t.Any, problems: int, unprobed: int) -> None:
    verdict = probes.verdict({"a": sent, "c": SKIPPED}, {"b": received, "c": SKIPPED}, {"b": SKIPPED})
    assert (len(verdict.problems), len(verdict.unprobed)) == (problems, unprobed)
    assert all("esp 0x00001000 towards 192.0.2.2" in text for text in verdict.problems)


@pytest.mark.parametrize(("arrived", "problems"), [(7, 0), (4, 1)])
def test_packets_from_before_the_probe_do_not_count(arrived: int, problems: int) -> None:
    """A peer that drops packets as replays has counted earlier packets, but none of these."""
    verdict = probes.verdict({"a": probe((KEY, 4, 7))}, {"b": arrival(KEY, arrived)}, {"b": arrival(KEY, 4)})
    assert len(verdict.problems) == problems
