# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table of everything `make test` runs."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pythons
import workspace

TIERS = ("unit", "controller", "static", "pythons", "kernel", "lab", "e2e", "leak", "liar", "molecule", "coverage")


@dataclasses.dataclass(frozen=True)
class Part:
    """One command; it runs in the copy.

    Parts of one lane run one after the other, lanes side by side: a lab has one processor, the machine may have two.
    A part waits until those of ``after`` have ended that run as well.
    The tests of a pytest part are counted, and one without a test that passed has failed.
    """

    name: str
    tier: str
    command: tuple[str, ...]
    lane: str = "plain"
    after: tuple[str, ...] = ()
    is_pytest: bool = False
    limit: int = 1200  # seconds


PYTEST = ("python", "-m", "pytest")
MEASURED = ("python", "tests/runner/measured.py")
ON_A_KERNEL = ("tests/lab/lab", "exec", "--show", str(workspace.VENV), "--", "env", f"PYTHONPATH={workspace.COLLECTIONS}")
CHECKS = ("python", str(Path(__file__).parent / "checks.py"))
DOCS_LINT = ("--plugin-docs", "--validate-collection-refs", "self", "--disallow-unknown-collection-refs", "--check-extra-docs-refs")
# With labs of their own, or long: each is a part.
E2E_APART = ("tests/e2e/test_boot.py", "tests/e2e/test_rotation_solaris.py", "tests/e2e/test_wire.py")

PARTS = (
    Part("ruff", "static", ("ruff", "check", "--no-cache", "."), lane="static"),
    Part("black", "static", ("black", "--check", "."), lane="static"),
    Part("mypy", "static", (*CHECKS, "types"), lane="static"),
    Part("yamllint", "static", ("yamllint", "--strict", "."), lane="static"),
    Part("shellcheck", "static", (*CHECKS, "shell"), lane="static"),
    Part("paths", "static", (*CHECKS, "paths"), lane="static"),
    Part("reuse", "static", (*CHECKS, "licences"), lane="static"),
    Part("changelog", "static", ("antsibull-changelog", "lint"), lane="static"),
    Part("artifact", "static", (*CHECKS, "artifact"), lane="static"),
    Part("docs", "static", (*CHECKS, "site"), lane="static"),
    Part("ansible-lint", "static", ("ansible-lint", "--offline", "--profile", "production"), lane="static"),
    Part("galaxy", "static", (*CHECKS, "galaxy"), lane="static"),
    Part("sanity", "static", (*CHECKS, "sanity"), lane="static", limit=2400),
    Part("sanity-middle", "static", (*CHECKS, "sanity_older", "middle"), lane="static", limit=2400),
    Part("sanity-floor", "static", (*CHECKS, "sanity_older", "floor"), lane="static", limit=2400),
    Part("unit", "unit", (*PYTEST, "-n", "2", "tests/unit", "tests/conformance"), is_pytest=True),
    Part("controller", "controller", (*PYTEST, "-n", "2", "tests/controller"), is_pytest=True),
    Part("liar", "liar", (*PYTEST, "-n", "2", "tests/liar/test_liar.py"), is_pytest=True),
    Part("liar-middle", "liar", (*CHECKS, "liar", "middle"), is_pytest=True),
    Part("liar-floor", "liar", (*CHECKS, "liar", "floor"), is_pytest=True),
    Part("antsibull-docs", "static", ("antsibull-docs", "lint-collection-docs", *DOCS_LINT, ".")),
    Part("core", "pythons", (*MEASURED, "core", *pythons.CORE), is_pytest=True),
    *(Part(f"core-{version}", "pythons", (*CHECKS, "core", version), is_pytest=True) for version in pythons.TARGETS if version != pythons.OWN),
    *(Part(f"modules-{version}", "pythons", (*CHECKS, "modules", version), is_pytest=True) for version in pythons.TARGETS),
    Part("coverage", "coverage", MEASURED, lane="coverage", after=("core", "kernel")),
    Part("kernel", "kernel", (*ON_A_KERNEL, *MEASURED, "kernel", "tests/kernel"), lane="kernel", is_pytest=True, limit=3000),
    Part("leak", "leak", (*PYTEST, "tests/leak"), lane="kernel", is_pytest=True, limit=2400),
    Part("liar-lab", "liar", (*PYTEST, "tests/liar/test_lab.py"), lane="hosts", is_pytest=True),
    Part("lab", "lab", (*PYTEST, "tests/lab"), lane="hosts", is_pytest=True),
    Part("e2e", "e2e", (*PYTEST, "tests/e2e", *(f"--ignore={name}" for name in E2E_APART)), lane="hosts", is_pytest=True, limit=2400),
    Part("e2e-boot", "e2e", (*PYTEST, E2E_APART[0]), lane="hosts", is_pytest=True, limit=2400),
    Part("e2e-solaris", "e2e", (*PYTEST, E2E_APART[1]), lane="hosts", is_pytest=True, limit=2400),
    Part("e2e-wire", "e2e", (*PYTEST, E2E_APART[2]), lane="hosts", is_pytest=True, limit=2400),
    Part("molecule", "molecule", (*PYTEST, "tests/molecule"), lane="kernel", is_pytest=True, limit=3600),
)


def named(*words: str) -> list[Part]:
    """The parts of these tiers, of all tiers, or single parts; without those whose Python is not here, which the part `sanity` tells.

    Raises KeyError with a word that names nothing.
    """
    unknown = set(words) - {"all"} - {name for part in PARTS for name in (part.tier, part.name)}
    if unknown:
        raise KeyError(min(unknown))
    chosen = [part for part in PARTS if {"all", part.tier, part.name} & set(words)]
    # Below Python 3.12 tests/requirements/dev.txt brings the oldest ansible-core itself, the others use it, and the line between wants a newer Python, too.
    dropped = {f"{name}-{line}" for name in ("sanity", "liar") for line in ("middle", "floor")} if sys.version_info < (3, 12) else set()
    if any(part.tier == "pythons" for part in chosen):
        found = pythons.found()
        dropped |= {part.name for part in chosen if part.tier == "pythons" and part.command[-1] in set(pythons.TARGETS) - set(found)}
    return [part for part in chosen if part.name not in dropped]
