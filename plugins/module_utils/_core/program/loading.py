# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plan how to load a file of SAs: its difference from the SADB, and the record of what was loaded from it.

A file owns an SA if it names it, if it names both addresses and an owner (reqid, mark, if_id) that
the SA has, or if the SA was loaded from it last time. Records of that hold identities, never keys,
and are gone after a reboot, as what they name is."""

from __future__ import annotations

import contextlib
import json
import typing as t

from ..errors import IpsecError, ProtectedFileError
from ..files import protected
from ..sa.checks import ANYTHING
from ..sa.model import Entry, Mark, SecurityAssociation, format_address, identity, is_counter_mode, label, pack_address
from ..sa.plan import ABSENT, ADD, DELETE, EXACT, PEERS, REPLACE, Operation, Plan, plan
from ..text import language

if t.TYPE_CHECKING:
    from ..spd.policy import PolicyOperation

T = t.TypeVar("T")


class Record(t.NamedTuple):
    """A file of records: its path, and what it is a record of."""

    path: str
    of: str

    def read(self, file: str, build: t.Callable[[t.Any], T], before: str = "") -> list[T]:
        """What was loaded from ``file``, and from the file that was ``before`` in its place, each row
        converted by ``build``. Raises ProtectedFileError for a record that is unsafe or damaged.
        """
        if not protected.status(self.path).exists:
            return []
        content = self._content(protected.read(self.path))
        try:
            return [build(row) for row in _of_both(content, file, before)]
        except (TypeError, ValueError, IpsecError):
            raise self._damaged() from None

    def write(self, file: str, rows: t.Iterable[t.Any]) -> None:
        """Record what is now loaded from ``file``; what came from other files stays."""
        kept = list(rows)

        def change(old: bytes | None) -> bytes:
            content = {**(self._content(old) if old else {}), file: kept}
            return json.dumps({name: found for name, found in sorted(content.items()) if found}).encode("ascii")

        protected.update(self.path, change)

    @contextlib.contextmanager
    def handed_over(self, before: str, file: str, named: t.Iterable[t.Any]) -> t.Iterator[None]:
        """From now on, what was loaded from the file ``before``, and the rows ``named`` there, count as loaded from
        ``file``, so that loading that removes what it does not name. Undone if the block fails.
        """
        more = list(named)
        if before in ("", file) or not file or not (more or protected.status(self.path).exists):
            yield
            return

        def change(old: bytes | None) -> bytes:
            content = self._content(old or b"{}")
            rows = _of_both({**content, before: [*content.get(before, ()), *more]}, file, before)
            kept = {name: found for name, found in content.items() if name != before}
            return json.dumps({**kept, file: rows} if rows else kept, sort_keys=True).encode("ascii")

        old = protected.update(self.path, change)[0]
        try:
            yield
        except BaseException:
            protected.write(self.path, old or b"{}")
            raise

    def _content(self, data: bytes) -> dict[str, t.Any]:
        try:
            found = json.loads(data)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise self._damaged()
        return found

    def _damaged(self) -> ProtectedFileError:
        return ProtectedFileError(
            f"this is not a record of loaded {self.of}",
            self.path,
            f"Remove it; {self.of} that the file no longer names then stay until a reboot.",
        )


def _of_both(content: t.Mapping[str, t.Any], file: str, before: str) -> list[t.Any]:
    rows = list(content.get(file, ()))
    if before in ("", file):
        return rows
    return list({json.dumps(row, sort_keys=True): row for row in (*rows, *content.get(before, ()))}.values())


RECORD = Record("/run/ipseckey/loaded", "SAs")
# That of `policies`, which few runs need.
RECORD_OF_POLICIES = Record("/run/ipseckey/policies", "policies")


def load_plan(
    sas: t.Sequence[SecurityAssociation],
    loaded: t.Sequence[SecurityAssociation],
    actual: t.Sequence[Entry],
    keys_hidden: bool,
    with_counter_mode: bool = False,
    tells_directions: bool = False,
) -> Plan:
    """The plan after which the SADB holds the SAs of a file, and no others that the file owns.
    ``loaded`` is what `read_record` returns.

    SAs with counter mode ciphers that the file does not name stay unless ``with_counter_mode``:
    without it no file may name them, so that it says nothing about them."""
    named = set(map(identity, sas))
    judged = [
        entry for entry in actual if with_counter_mode or identity(entry.sa) in named or not is_counter_mode(entry.sa)
    ]
    first = (
        plan(sas, judged, EXACT, PEERS, keys_hidden=keys_hidden, tells_directions=tells_directions)
        if sas
        else Plan((), 0, 0)
    )
    gone = {identity(step.old.sa) for step in first.operations if step.old is not None}
    left = remove_plan(
        [sa for sa in loaded if identity(sa) not in named],
        [entry for entry in actual if identity(entry.sa) not in gone],
    )
    return Plan((*first.operations, *left.operations), first.unchanged, first.foreign)


def remove_plan(sas: t.Sequence[SecurityAssociation], actual: t.Sequence[Entry]) -> Plan:
    """The plan that removes exactly these SAs: those with their identity, source and owner."""
    own = {(identity(sa), sa.source, sa.reqid, sa.if_id) for sa in sas}
    return plan(
        sas,
        [entry for entry in actual if (identity(entry.sa), entry.sa.source, entry.sa.reqid, entry.sa.if_id) in own],
        ABSENT,
    )


def summary(path: str, operations: t.Sequence[Operation | PolicyOperation], unchanged: int) -> str:
    """One line for a log about changes of SAs or policies."""
    kinds = [operation.kind for operation in operations]
    counts = ", ".join(
        f"{kinds.count(kind)} {word}" for kind, word in ((ADD, "added"), (REPLACE, "replaced"), (DELETE, "removed"))
    )
    return f"{path}: {counts}, {unchanged} unchanged"


def read_record(path: str, before: str = "") -> list[SecurityAssociation]:
    """The SAs loaded from the file ``path`` since the last reboot, or from the one that was ``before`` in its
    place, without algorithms and keys. Raises ProtectedFileError for a record that is unsafe.
    """
    return [*RECORD.read(path, _from_fields, before), *map(_from_fields, _named(before, path))]


def handed_over(before: str, file: str) -> t.ContextManager[None]:
    """`Record.handed_over` for SAs. Those that the file ``before`` names may be in the kernel without a record, as
    after a rotation, which loads them itself.
    """
    return RECORD.handed_over(before, file, _named(before, file))


def _named(before: str, file: str) -> list[list[t.Any]]:
    """What the file ``before`` names, if it is another file that can be read."""
    if before not in ("", file):
        with contextlib.suppress(IpsecError):
            return list(map(_fields, language.parse(protected.read(before), before, **ANYTHING).sas))
    return []


def write_record(path: str, sas: t.Sequence[SecurityAssociation]) -> None:
    """Record the identities of what is now loaded from the file ``path``; those of other files stay."""
    RECORD.write(path, map(_fields, sas))


def _fields(sa: SecurityAssociation) -> list[t.Any]:
    source, destination = format_address(sa.source), format_address(sa.destination)
    return [sa.protocol, sa.spi, source, destination, list(sa.mark) if sa.mark else None, sa.reqid, sa.if_id]


def _from_fields(fields: t.Sequence[t.Any]) -> SecurityAssociation:
    protocol, spi, source, destination, pair, reqid, if_id = fields
    mark = Mark(*pair) if pair else None
    addresses = pack_address(source), pack_address(destination)
    return SecurityAssociation(protocol, spi, *addresses, mark=mark, reqid=reqid, if_id=if_id)


def rotation_due(found: Plan) -> str:
    """The content of the mark that asks for a rotation: the SAs that were added, one per line; empty for none."""
    return "".join(f"{label(step.new)}\n" for step in found.operations if step.new is not None)
