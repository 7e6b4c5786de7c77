# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_utils is private to the collection and may change at any time.

"""A file whose policies are to be in the SPD beside the SAs of another: the difference, and what was loaded from it before.

A policy is the file's own where the file names it, or where it was in the SPD by the file when that was loaded last.
"""

from __future__ import annotations

import typing as t

from .record import Record
from .sadb.spd import ABSENT, Policy, PolicyEntry, PolicyOperation, Spd, identity, plan
from .sadb.spd_text import read_policy, view
from .sadb.xfrm import XfrmSadb

if t.TYPE_CHECKING:
    from .plan import Operation

RECORD = Record("/run/ipseckey/policies", "policies")
_IDENTITY = ("direction", "selector", "mark", "if_id")


class PolicyChange(t.NamedTuple):
    """What is to be done about the file ``path``. ``kept`` is what the SPD holds of it then, ``unchanged`` how many policies are as they should be."""

    path: str
    removing: bool
    kept: tuple[Policy, ...]
    operations: list[PolicyOperation]
    unchanged: int
    sadb: XfrmSadb

    def carry_out(self, operations: t.Sequence[Operation]) -> None:
        """Change policies and SAs, all or nothing. Policies come before SAs and go after them, so that nothing passes in the clear meanwhile."""
        policies, sas = Spd().applied(self.operations), self.sadb.applied(operations)
        first, second = (sas, policies) if self.removing else (policies, sas)
        with first, second:
            pass

    def note(self) -> None:
        """Keep the identities of what is loaded from the file now; those of other files stay."""
        views = map(view, self.kept)
        RECORD.write(self.path, ({name: told[name] for name in _IDENTITY} for told in views))


def read_record(path: str) -> list[Policy]:
    """The policies loaded from the file ``path`` since the last reboot, as far as their identity goes. Raises ProtectedFileError for an unsafe one."""
    return RECORD.read(path, lambda row: read_policy(row, "", []))


def change(sadb: XfrmSadb, path: str, policies: tuple[Policy, ...], loaded: t.Sequence[Policy], removing: bool) -> PolicyChange:
    """What makes the SPD hold the policies of the file ``path``, or none of them. ``loaded`` is what `read_record` tells."""
    actual = Spd().dump()
    if removing:
        return PolicyChange(path, True, (), remove_plan(policies, loaded, actual), 0, sadb)
    operations = load_plan(policies, loaded, actual)
    return PolicyChange(path, False, policies, operations, len(policies) - sum(step.new is not None for step in operations), sadb)


def load_plan(policies: t.Sequence[Policy], loaded: t.Sequence[Policy], actual: t.Sequence[PolicyEntry]) -> list[PolicyOperation]:
    """What makes the SPD hold the policies, and none of those that were loaded and are named no more."""
    named = set(map(identity, policies))
    return [*plan(policies, actual), *plan([policy for policy in loaded if identity(policy) not in named], actual, ABSENT)]


def remove_plan(policies: t.Sequence[Policy], loaded: t.Sequence[Policy], actual: t.Sequence[PolicyEntry]) -> list[PolicyOperation]:
    """What takes the policies out of the SPD, and those that were loaded."""
    return plan(list({identity(policy): policy for policy in (*loaded, *policies)}.values()), actual, ABSENT)
