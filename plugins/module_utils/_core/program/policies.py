# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plan how to load a file of policies beside a file of SAs: its difference from the SPD, and the
record of what was loaded from it.

A file owns a policy if it names it, or if the policy was loaded from it last time. Loading fails
closed: missing policies are added before anything is known about the SAs, and policies that guard
SAs that stay are not removed."""

from __future__ import annotations

import contextlib
import typing as t

from ..errors import IpsecError, SadbError, raise_all
from ..files import protected
from ..signals import uninterrupted
from ..spd.guarding import guarding
from ..spd.kernel import Spd
from ..spd.policy import ABSENT, Policy, PolicyEntry, PolicyOperation, identity, lets_pass, plan
from ..spd.text import parse, read_policy, view
from .loading import RECORD_OF_POLICIES as RECORD

if t.TYPE_CHECKING:
    from ..sa.model import SecurityAssociation
    from ..sa.plan import Operation
    from ..sadb.xfrm.backend import XfrmSadb

_IDENTITY = ("direction", "selector", "mark", "if_id")


class PolicyChange(t.NamedTuple):
    """How to load the file ``path``, which names the policies ``wanted``, into the SPD, which holds ``actual``.

    ``closing`` keeps traffic from leaving in the clear, whatever happens to the SAs; ``changing``
    is carried out with the SAs, all or nothing; ``leaving`` follows them. ``kept`` are policies
    that the file no longer names but that stay."""

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

    def keep_guards_of(self, sas: t.Iterable[SecurityAssociation]) -> PolicyChange:
        """The same change without removing policies that guard one of these SAs, which stay."""
        held = [step.old for step in self.leaving if step.old is not None]
        kept = tuple(guarding(held, sas)) if held else ()
        return self._replace(kept=kept, leaving=tuple(step for step in self.leaving if step.old not in kept))

    def close(self) -> None:
        """Add what the SPD lacks, and record it. If the kernel refuses one policy, all others are
        added before the refusal is raised.
        """
        problems: list[SadbError] = []
        with uninterrupted():
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
        """Change the SAs and the policies that `close` did not, all or nothing. Policies are removed
        after the SAs, so that nothing passes in the clear meanwhile.
        """
        with Spd().transaction(self.changing), sadb.transaction(operations), Spd().transaction(self.leaving):
            pass

    def note(self) -> None:
        """Record the identities of what is now loaded from the file; those of other files stay."""
        self._note((*self.wanted, *self.kept))

    def _note(self, policies: t.Iterable[Policy]) -> None:
        RECORD.write(self.path, map(_row, {identity(policy): policy for policy in policies}.values()))

    def outcome(self) -> list[Policy]:
        """What the SPD holds afterwards, policies of others included."""
        gone = {step.old for step in self.operations}
        return [
            *(policy for policy in self.actual if policy not in gone),
            *(step.new for step in self.operations if step.new is not None),
        ]


def owner(file: str, policies_file: str) -> str:
    """Under what name the record has the policies of a service that loads these files. One that loads no policies owns
    those that it loaded before that, until loading ``file`` removes them.
    """
    return policies_file or (f"{file} without policies" if file else "")


def left_behind(file: str, actual: t.Sequence[PolicyEntry], removing: bool = False) -> PolicyChange | None:
    """How to remove the policies that a service loaded with ``file`` before it was told to load none; None if there
    are none. Those that guard SAs do not stay, as after a reboot.
    """
    path = owner(file, "")
    loaded = read_record(path)
    return change(path, (), loaded, actual, removing) if loaded else None


def read_record(path: str, before: str = "") -> list[Policy]:
    """The policies loaded from the file ``path`` since the last reboot, or from the one that was ``before`` in its
    place, with their identity only. Raises ProtectedFileError for a record that is unsafe.
    """

    def build(row: t.Any) -> Policy:
        return read_policy(row, "", [])

    return [*RECORD.read(path, build, before), *map(build, _named(before, path))]


def handed_over(before: str, file: str) -> t.ContextManager[None]:
    """`Record.handed_over` for policies. Those that the file ``before`` names may be in the kernel without a record, as
    after a rotation, which adds them itself.
    """
    return RECORD.handed_over(before, file, _named(before, file))


def _named(before: str, file: str) -> list[dict[str, t.Any]]:
    """What the file ``before`` names, if it is another file that can be read."""
    if before not in ("", file):
        with contextlib.suppress(IpsecError):
            return list(map(_row, parse(protected.read(before, protection=protected.PUBLIC), before)[0]))
    return []


def _row(policy: Policy) -> dict[str, t.Any]:
    row = view(policy)
    return {name: row[name] for name in _IDENTITY}


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
        leaving = tuple(plan(list(ours.values()), actual, ABSENT))
        return PolicyChange(path, (), tuple(loaded), held, (), (), leaving)
    named = set(map(identity, policies))
    steps = plan(policies, actual)
    closing = tuple(step for step in steps if step.old is None or lets_pass(step.old))
    changing = tuple(step for step in steps if step not in closing)
    leaving = tuple(plan([policy for policy in loaded if identity(policy) not in named], actual, ABSENT))
    return PolicyChange(path, tuple(policies), tuple(loaded), held, closing, changing, leaving)
