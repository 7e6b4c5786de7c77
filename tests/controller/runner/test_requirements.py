# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is installed is what is needed."""

from __future__ import annotations

import subprocess
from pathlib import Path

TESTS = Path(__file__).resolve().parents[2]


def packages(*groups: str) -> set[str]:
    rows = [line.split() for line in (TESTS / "requirements" / "debian.txt").read_text().splitlines() if not line.startswith("#")]
    return {row[0] for row in rows if row[1] in groups}


def test_the_installer_brings_what_the_lab_asks_for() -> None:
    wanted = subprocess.run([TESTS / "lab" / "lab", "requirements"], stdout=subprocess.PIPE, check=True).stdout.decode().split()
    assert wanted
    assert set(wanted) - packages("base", "lab") == set()
