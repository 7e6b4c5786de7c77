# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every backend of the SADB offers."""

from __future__ import annotations

import abc
import typing as t

from ..errors import InputError, IpsecError, SadbError
from ..sa.model import Entry, SecurityAssociation

if t.TYPE_CHECKING:
    from ..sa.plan import Operation

XFRM = "xfrm"
SOLARIS = "solaris"
PFKEY = "pfkey"
SADB_UNCHANGED = "The SADB is as it was before."
Settle = t.Callable[[], None]


class Sadb(abc.ABC):
    """An interface to a SADB. What it dumps equals (``==``) what was added, except for the fields
    that kernels do not show, which `plan.differences` knows.
    """

    name = ""

    @abc.abstractmethod
    def refusals(self, sa: SecurityAssociation) -> list[InputError]:
        """What this backend cannot express of the SA, by option name; call it before changing anything."""

    @abc.abstractmethod
    def preflight(self, sas: t.Sequence[SecurityAssociation]) -> list[SadbError]:
        """What the kernel lacks for such SAs, one error for each lack. Changes nothing and does not use the
        SAs' keys.
        """

    @abc.abstractmethod
    def dump(self, protocol: str = "", source: bytes = b"", destination: bytes = b"") -> list[Entry]:
        """All SAs, or those of one protocol, source or destination; larval ones are marked."""

    def apply(self, operations: t.Sequence[Operation], settle: Settle | None = None) -> None:
        """Carry out all operations in order, or none: if the kernel refuses one, the others are undone,
        and their counters and sequence numbers restored.

        ``settle`` is called once, between additions and the deletions that end the operations, if there
        are both. If it raises IpsecError, everything is undone.

        Signals that end the process are blocked meanwhile. Raises SadbError with what was refused and why.
        """
        from ..sa.plan import in_two  # both only here, since most tasks change nothing
        from ..signals import uninterrupted

        additions, deletions = in_two(operations) if settle is not None else (operations, ())
        with uninterrupted():
            if settle is not None and additions and deletions:
                self._apply_in_two(additions, settle, deletions)
            else:
                self._apply(operations)

    @abc.abstractmethod
    def _apply(self, operations: t.Sequence[Operation]) -> None:
        """`apply` without a pause, with signals already blocked."""

    @abc.abstractmethod
    def _apply_in_two(self, additions: t.Sequence[Operation], settle: Settle, deletions: t.Sequence[Operation]) -> None:
        """`apply` with a pause, with signals already blocked."""

    def flush(self, protocol: str = "") -> None:
        """Delete every SA of a protocol, or all SAs, including those of other programs."""
        from ..signals import uninterrupted

        with uninterrupted():
            self._flush(protocol)

    @abc.abstractmethod
    def _flush(self, protocol: str) -> None:
        """`flush`, with signals already blocked."""

    @abc.abstractmethod
    def local_addresses(self) -> frozenset[bytes]:
        """The addresses of this host, packed."""

    @abc.abstractmethod
    def keys_hidden(self) -> bool:
        """Whether the kernel shows zeros for keys, so that keys cannot be compared."""

    def tells_directions(self) -> bool:
        """Whether the kernel shows the direction of exactly those SAs that asked for one
        (`model.bound_direction`).
        """
        return False


def fits(text: str, bits: int) -> bool:
    """Whether the text is a number from 0 on of so many bits."""
    try:
        return text.isascii() and 0 <= int(text, 0) < 1 << bits
    except ValueError:
        return False


def with_outcome(error: IpsecError, not_undone: t.Sequence[object], unchanged: str, note: str = "") -> SadbError:
    """The refusal that ended a change, its hint extended with what undoing the change did:
    ``not_undone`` names what failed, ``unchanged`` says that nothing did.
    """
    outcome = "Undoing the rest failed for: " + "; ".join(map(str, not_undone)) if not_undone else unchanged
    name = error.errno_name if isinstance(error, SadbError) else ""
    return SadbError(error.message, error.place, f"{error.hint} {outcome}{note}".strip(), name)
