# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How much of the core the tests run. Works in the copy, on this machine's kernel or a lab's.

measured.py PART ARGUMENT...    run pytest, and note what of the core it runs
measured.py                     judge what the parts noted, together
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

NOTES = Path("build", "coverage").absolute()
PARTS = ("core", "kernel")
LEAST = 95  # of 100 branches, and of 100 lines and branches
COVERAGE = ("python", "-m", "coverage")


def note(part: str, *arguments: str) -> int:
    """Run pytest; its exit status. What it runs of the core is in build/coverage/PART, if all passed."""
    NOTES.mkdir(parents=True, exist_ok=True)
    for old in (NOTES / part, *NOTES.glob(f"{part}.*")):
        old.unlink(missing_ok=True)
    environment = {**os.environ, "COVERAGE_FILE": str(NOTES / part)}
    status = subprocess.run(("python", "-m", "pytest", "--cov", "--cov-report=", *arguments), env=environment, check=False).returncode
    if status:
        (NOTES / part).unlink(missing_ok=True)
    return status


def judge() -> str:
    """What is wrong; empty when nothing is."""
    lacking = [part for part in PARTS if not (NOTES / part).exists()]
    if lacking:
        return f"Nothing is noted of: {', '.join(lacking)}. First run, without a failure: " + ", ".join(f"tests/run {part}" for part in lacking)
    environment = {**os.environ, "COVERAGE_FILE": str(NOTES / "all")}
    (NOTES / "all").unlink(missing_ok=True)
    subprocess.run((*COVERAGE, "combine", "-q", "--keep", *(str(NOTES / part) for part in PARTS)), env=environment, check=True)
    subprocess.run((*COVERAGE, "report"), env=environment, check=True)
    subprocess.run((*COVERAGE, "json", "-q", "-o", str(NOTES / "all.json")), env=environment, check=True)
    totals = json.loads((NOTES / "all.json").read_text(encoding="utf-8"))["totals"]
    branches = 100 * totals["covered_branches"] / totals["num_branches"]
    print(f"branches {branches:.1f} of 100, lines and branches {totals['percent_covered']:.1f}")
    return "" if min(branches, totals["percent_covered"]) >= LEAST else f"The tests run too little of the core: {LEAST} of 100 are wanted."


sys.exit(note(*sys.argv[1:]) if sys.argv[1:] else judge() or 0)
