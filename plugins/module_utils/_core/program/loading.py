# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A file whose SAs are to be in the SADB: the difference, what was loaded from it before, and
whether its keys are in use a second time.

An SA is the file's own where the file names it, where it lies between two addresses that the file
names and carries an owner (reqid, mark, if_id) that the file's SAs carry, or where it was in the
SADB by the file when that was loaded last. The record of that holds identities, never keys, and is
gone after a reboot, as the SAs are."""

from __future__ import annotations

import typing as t

from ..sa.model import Entry, Mark, SecurityAssociation, format_address, identity, is_counter_mode, label, pack_address
from ..sa.plan import ABSENT, ADD, DELETE, EXACT, PEERS, REPLACE, Operation, Plan, plan
from .record import Record

if t.TYPE_CHECKING:
    from ..spd.kernel import PolicyOperation

RECORD = Record("/run/ipseckey/loaded", "SAs")


def load_plan(
    sas: t.Sequence[SecurityAssociation],
    loaded: t.Sequence[SecurityAssociation],
    actual: t.Sequence[Entry],
    keys_hidden: bool,
    with_counter_mode: bool = False,
    tells_directions: bool = False,
) -> Plan:
    """What makes the SADB hold the SAs of a file, and no others of its own. ``loaded`` is what `read_record` tells.

    SAs with counter mode ciphers that the file does not name stay unless ``with_counter_mode``: no
    such file may name them, so it says nothing of them."""
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
    """What takes the very SAs out of the SADB: those with their identity, source and owner."""
    own = {(identity(sa), sa.source, sa.reqid, sa.if_id) for sa in sas}
    return plan(
        sas,
        [entry for entry in actual if (identity(entry.sa), entry.sa.source, entry.sa.reqid, entry.sa.if_id) in own],
        ABSENT,
    )


def summary(path: str, operations: t.Sequence[Operation | PolicyOperation], unchanged: int) -> str:
    """One line for a log, about SAs or policies."""
    kinds = [operation.kind for operation in operations]
    counts = ", ".join(
        f"{kinds.count(kind)} {word}" for kind, word in ((ADD, "added"), (REPLACE, "replaced"), (DELETE, "removed"))
    )
    return f"{path}: {counts}, {unchanged} unchanged"


# The record


def read_record(path: str) -> list[SecurityAssociation]:
    """The SAs loaded from the file ``path`` since the last reboot, without algorithms and keys.
    Raises ProtectedFileError for a record that is unsafe.
    """
    return RECORD.read(path, _from_fields)


def write_record(path: str, sas: t.Sequence[SecurityAssociation]) -> None:
    """Keep the identities of what is loaded from the file ``path`` now; those of other files stay."""
    RECORD.write(path, map(_fields, sas))


def _fields(sa: SecurityAssociation) -> list[t.Any]:
    return [
        sa.protocol,
        sa.spi,
        format_address(sa.source),
        format_address(sa.destination),
        list(sa.mark) if sa.mark else None,
        sa.reqid,
        sa.if_id,
    ]


def _from_fields(fields: t.Sequence[t.Any]) -> SecurityAssociation:
    protocol, spi, source, destination, mark, reqid, if_id = fields
    return SecurityAssociation(
        protocol,
        spi,
        pack_address(source),
        pack_address(destination),
        mark=Mark(*mark) if mark else None,
        reqid=reqid,
        if_id=if_id,
    )


# The mark that asks for a rotation


def rotation_due(found: Plan) -> str:
    """What the mark says: the SAs that were put into the SADB, one a line; empty for none."""
    return "".join(f"{label(step.new)}\n" for step in found.operations if step.new is not None)
