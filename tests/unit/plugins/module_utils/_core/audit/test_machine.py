# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a host does with memory and packets, from files as Linux writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core.audit import machine
from ansible_collections.ipsec.manual.plugins.module_utils._core.audit.remark import Remark

SWAPS = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n{}                              partition\t1\t0\t-2\n"
LIMITS = "Limit                     Soft Limit\nMax core file size        {}  unlimited  bytes\n"


def write(root: Path, **texts: str) -> str:
    for name, text in texts.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(root)


def test_a_system_that_says_nothing_gives_nothing(tmp_path: Path) -> None:
    root = str(tmp_path)
    assert (machine.look(root), machine.counters(root), machine.uptime(root)) == ([], {}, 0)


def test_a_clean_host_gives_no_remark(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        proc__swaps=SWAPS.splitlines()[0] + "\n",
        proc__sys__kernel__core_pattern="|/bin/false\n",
        sys__kernel__security__lockdown="[none] integrity confidentiality\n",
    )
    assert machine.look(root) == []


@pytest.mark.parametrize(
    ("device", "uuid", "found"),
    [
        ("/dev/sda2", "", [Remark("swap", "/dev/sda2", "not encrypted, as far as the kernel says")]),
        ("/swapfile", "", [Remark("swap", "/swapfile", "not encrypted, as far as the kernel says")]),
        ("/dev/dm-9", "CRYPT-PLAIN-swap", []),
        ("/dev/zram0", "", []),
    ],
)
def test_swap_that_reaches_a_disk_is_reported(device: str, uuid: str, found: list[Remark]) -> None:
    assert list(machine.swaps(SWAPS.format(device), lambda name: uuid)) == found


@pytest.mark.parametrize(
    ("pattern", "limit", "detail"),
    [
        ("core\n", "0", None),
        ("core\n", "unlimited", "core, and the limit is not 0"),
        ("|/lib/systemd/systemd-coredump %P", "0", "a program gets them: /lib/systemd/systemd-coredump"),
        ("|/bin/false", "unlimited", None),
        ("", "unlimited", None),
    ],
)
def test_core_dumps_are_reported(pattern: str, limit: str, detail: str | None) -> None:
    found = [row.detail for row in machine.core_dumps(pattern, LIMITS.format(limit))]
    assert found == ([] if detail is None else [detail])


def test_lockdown_is_reported(tmp_path: Path) -> None:
    root = write(tmp_path, sys__kernel__security__lockdown="none integrity [confidentiality]\n")
    assert [(row.what, row.detail) for row in machine.look(root)] == [("lockdown", "confidentiality")]


def test_counters_and_uptime_are_read(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        proc__net__xfrm_stat="XfrmInError             \t0\nXfrmInNoStates          \t17\nOther 1\nXfrmBad x\n",
        proc__uptime="50359.12 12.0\n",
    )
    assert machine.counters(root) == {"XfrmInError": 0, "XfrmInNoStates": 17}
    assert machine.uptime(root) == 50359
