# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A file whose policies are to be in the SPD beside the SAs of another: the difference, and what
was loaded from it before.

A policy is the file's own where the file names it, or where it was in the SPD by the file when that
was loaded last. It fails closed: what is missing is added before anything is known of the SAs, and
what guards SAs that stay is not removed."""

from __future__ import annotations

import typing as t

from ..errors import SadbError, raise_all
from ..spd.guarding import guarding
from ..spd.kernel import ABSENT, Policy, PolicyEntry, PolicyOperation, Spd, identity, lets_pass, plan
from ..spd.text import read_policy, view
from .record import Record

if t.TYPE_CHECKING:
    from ..sa.model import SecurityAssociation
    from ..sa.plan import Operation
    from ..sadb.xfrm.backend import XfrmSadb

RECORD = Record("/run/ipseckey/policies", "policies")
_IDENTITY = ("direction", "selector", "mark", "if_id")


class PolicyChange(t.NamedTuple):
    """What is to be done about the file ``path``, which names the policies ``wanted``, where the SPD holds ``actual``.

    ``closing`` keeps traffic from leaving in the clear, whatever becomes of the SAs; ``changing``
    goes with the SAs, all or nothing; ``leaving`` comes after them. ``kept`` is what the file no
    longer names but stays anyway."""

    path: str
    wanted: tuple[Policy, ...]
    loaded: tuple[Policy, ...]
    actual: tuple[Policy, ...]
    closing: tuple[PolicyOperation, ...]
    changing: tuple[PolicyOperation, ...]
    leaving: tuple[PolicyOperation, ...]
    kept: tuple[Policy, ...] = ()

    @property
    def operations(self) -> tuple[PolicyOperation, ...]:
        return (*self.closing, *self.changing, *self.leaving)

    @property
    def unchanged(self) -> int:
        return len(self.wanted) - sum(step.new is not None for step in self.operations)

    def beside(self, sas: t.Iterable[SecurityAssociation]) -> PolicyChange:
        """The same if these SAs stay: no policy that guards one of them is removed."""
        held = [step.old for step in self.leaving if step.old is not None]
        kept = tuple(guarding(held, sas)) if held else ()
        return self._replace(kept=kept, leaving=tuple(step for step in self.leaving if step.old not in kept))

    def close(self) -> None:
        """Add what the SPD lacks, and note it. Where the kernel refuses one policy, all others are
        added before the refusal is raised.
        """
        problems: list[SadbError] = []
        try:
            Spd().apply(self.closing)
        except SadbError as error:
            for step in self.closing:
                try:
                    Spd().apply([step])
                except SadbError as problem:
                    problems.append(problem)
            problems = [error] if len(problems) == len(self.closing) else problems
        self._note((*self.loaded, *self.wanted))
        raise_all(problems)

    def carry_out(self, sadb: XfrmSadb, operations: t.Sequence[Operation]) -> None:
        """Change the SAs, and the policies that `close` left, all or nothing. Policies go after the
        SAs, so that nothing passes in the clear meanwhile.
        """
        with Spd().applied(self.changing), sadb.applied(operations), Spd().applied(self.leaving):
            pass

    def note(self) -> None:
        """Keep the identities of what is loaded from the file now; those of other files stay."""
        self._note((*self.wanted, *self.kept))

    def _note(self, policies: t.Iterable[Policy]) -> None:
        views = map(view, {identity(policy): policy for policy in policies}.values())
        RECORD.write(self.path, ({name: told[name] for name in _IDENTITY} for told in views))

    def outcome(self) -> list[Policy]:
        """What the SPD holds then, the policies of others included."""
        gone = {step.old for step in self.operations}
        return [
            *(policy for policy in self.actual if policy not in gone),
            *(step.new for step in self.operations if step.new is not None),
        ]


def read_record(path: str) -> list[Policy]:
    """The policies loaded from the file ``path`` since the last reboot, as far as their identity
    goes. Raises ProtectedFileError for an unsafe one.
    """
    return RECORD.read(path, lambda row: read_policy(row, "", []))


def change(
    path: str,
    policies: t.Sequence[Policy],
    loaded: t.Sequence[Policy],
    actual: t.Sequence[PolicyEntry],
    removing: bool = False,
) -> PolicyChange:
    """The changes that bring an SPD from ``actual`` to the policies of the file ``path``, or to none of them.

    ``loaded`` is what `read_record` returns.
    """
    held = tuple(entry.policy for entry in actual)
    if removing:
        ours = {identity(policy): policy for policy in (*loaded, *policies)}
        return PolicyChange(path, (), (), held, (), (), tuple(plan(list(ours.values()), actual, ABSENT)))
    named = set(map(identity, policies))
    steps = plan(policies, actual)
    closing = tuple(step for step in steps if step.old is None or lets_pass(step.old))
    changing = tuple(step for step in steps if step not in closing)
    leaving = plan([policy for policy in loaded if identity(policy) not in named], actual, ABSENT)
    return PolicyChange(path, tuple(policies), tuple(loaded), held, closing, changing, tuple(leaving))
