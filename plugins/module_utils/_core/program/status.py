# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The status of this host: what loads its SAs at boot, its protected file, its SAs and policies, and
what is wrong or due. Only reads, and continues where access is denied; contains no key.
"""

from __future__ import annotations

import time
import typing as t

from ..audit import policies as audit_policies
from ..audit import sas as audit_sas
from ..audit import service as audit_service
from ..audit.policies import PolicyFacts
from ..audit.sas import PairFacts
from ..audit.service import ServiceFacts
from ..errors import IpsecError, Problems, counted
from ..files import protected
from ..sa.checks import ANYTHING
from ..sa.model import Entry, SecurityAssociation, pair
from ..sadb import AUTO, open_sadb
from ..sadb.base import XFRM, Sadb
from ..spd.policy import label as policy_label
from ..specs import DEFAULT_PATH
from ..text import language
from . import loading

T = t.TypeVar("T")


class FileFacts(t.NamedTuple):
    """A protected file: how many SAs it has, and how many SAs ``--apply`` would change. Both are None
    if that cannot be seen. ``status`` includes the problems of its protection, ``named`` says that somebody asked
    for this file.
    """

    status: protected.FileStatus
    sas: int | None = None
    pending: int | None = None
    named: bool = False


class Status(t.NamedTuple):
    """What can be seen of a host at ``now`` (seconds since the epoch). ``entries`` and ``pairs`` leave larval
    SAs out, which ``larval`` counts. ``policies`` is None where they cannot be seen, or are of another kind than
    those of Linux. ``policies_pending`` is how many policies the service would change, None if it loads none, and none
    are left of those that it loaded before.

    ``marked`` are the SAs for which the service at boot asked for a rotation. ``overriding`` are the drop-ins of
    systemd that replace commands of the service. ``unseen`` are the errors that tell what could not be seen."""

    now: float
    service: ServiceFacts
    file: FileFacts
    entries: tuple[Entry, ...] = ()
    larval: int = 0
    keys_hidden: bool = False
    backend: str = ""
    pairs: tuple[PairFacts, ...] = ()
    policies: PolicyFacts | None = None
    policies_pending: int | None = None
    marked: tuple[Entry, ...] = ()
    overriding: tuple[str, ...] = ()
    unseen: tuple[IpsecError, ...] = ()


class _Look:
    """Runs readers, and collects the errors of those that are denied access, once each."""

    def __init__(self) -> None:
        self.errors: dict[str, IpsecError] = {}

    def at(self, read: t.Callable[..., T], *arguments: t.Any) -> T | None:
        """What the reader returns; None if it raises."""
        try:
            return read(*arguments)
        except IpsecError as error:
            self.note(error)
        except OSError as exc:
            self.note(IpsecError(f"it cannot be read ({exc.strerror})", str(exc.filename or "")))
        return None

    def note(self, error: IpsecError) -> None:
        for problem in error.problems if isinstance(error, Problems) else (error,):
            self.errors.setdefault(str(problem), problem)


def gather(path: str = "", backend: str = AUTO) -> Status:
    """The status of this host. ``path`` is the protected file, which whoever names it wants to exist; empty for the
    one that the service loads, or without a service the usual one, which may not exist yet.
    """
    look = _Look()
    service = look.at(audit_service.look) or ServiceFacts(audit_service.detect())
    named, path = bool(path), path or service.file or DEFAULT_PATH
    file = FileFacts(look.at(protected.status, path) or protected.FileStatus(path), named=named)
    sas = look.at(_sas, file.status)
    found = Status(time.time(), service, file._replace(sas=None if sas is None else len(sas)))
    sadb: Sadb | None = look.at(open_sadb, backend)
    dumped = None if sadb is None else look.at(sadb.dump)
    if sadb is not None and dumped is not None:
        local = look.at(sadb.local_addresses) or frozenset()
        entries = tuple(entry for entry in dumped if not entry.larval)
        hidden = bool(dumped) and bool(look.at(sadb.keys_hidden))
        if hidden:
            look.note(
                IpsecError("this kernel hides keys (lockdown), so whether they are the right ones cannot be checked")
            )
        found = found._replace(
            now=time.time(),
            file=found.file._replace(
                pending=None if sas is None else look.at(_pending, path, sas, dumped, hidden, sadb)
            ),
            entries=entries,
            larval=len(dumped) - len(entries),
            keys_hidden=hidden,
            backend=sadb.name,
            pairs=tuple(audit_sas.pairs(entries, local, time.time())),
            marked=tuple(look.at(audit_service.loaded_again, entries) or ()),
        )
        if sadb.name == XFRM:
            policies, pending = look.at(_policies, service, entries, local) or (None, None)
            found = found._replace(policies=policies, policies_pending=pending)
    found = found._replace(overriding=tuple(look.at(lambda: list(audit_service.overriding())) or ()))
    return found._replace(unseen=tuple(look.errors.values()))


def _sas(status: protected.FileStatus) -> tuple[SecurityAssociation, ...] | None:
    """The SAs of the protected file, none if it does not exist; None if its protection is at fault, which
    `wrong` reports. Raises what is wrong with its text, or that it cannot be reached or read.
    """
    if status.problems:
        if _is_out_of_reach(status):
            raise Problems(status.problems)
        return None
    return language.parse(protected.read(status.path), status.path, **ANYTHING).sas if status.exists else ()


def _is_out_of_reach(status: protected.FileStatus) -> bool:
    """Whether the file's directory cannot be seen, so that the file may exist."""
    return not status.directory_exists and not status.file_system


def _pending(
    path: str, sas: t.Sequence[SecurityAssociation], dumped: t.Sequence[Entry], hidden: bool, sadb: Sadb
) -> int:
    loaded = loading.read_record(path)
    return len(loading.load_plan(sas, loaded, dumped, hidden, tells_directions=sadb.tells_directions()).operations)


def _policies(
    service: ServiceFacts, entries: t.Sequence[Entry], local: t.AbstractSet[bytes]
) -> tuple[PolicyFacts, int | None]:
    from ..spd.kernel import Spd  # all only here, since only Linux has such policies
    from ..spd.text import parse
    from . import policies

    actual = Spd().dump()
    facts = audit_policies.compare([entry.sa for entry in entries], [entry.policy for entry in actual], local)
    path = service.policies_file
    if not path:
        left = policies.left_behind(service.file, actual) if service.file else None
        return facts, None if left is None else len(left.operations)
    wanted, dummy = parse(protected.read(path, protection=protected.PUBLIC), path)
    return facts, len(policies.change(path, wanted, policies.read_record(path), actual).operations)


def due(status: Status) -> list[str]:
    """Why SAs should get new keys soon, a sentence each."""
    found = [str(row) for facts in status.pairs for row in facts.due]
    if status.marked:
        sas = counted(len(status.marked), "SA")
        peers = counted(len({pair(entry.sa) for entry in status.marked}), "peer")
        found.insert(
            0,
            f"the service loaded {sas} with {peers} again at boot, so that their keys may be in use a second time"
            f" ({audit_service.ROTATION_DUE})",
        )
    return found


def wrong(status: Status) -> list[str]:
    """What is wrong, a sentence each."""
    return [*_wrong_at_boot(status), *_wrong_with_file(status), *_wrong_policies(status)]


def _wrong_at_boot(status: Status) -> t.Iterator[str]:
    service = status.service
    if not service.installed:
        return
    if service.state == audit_service.FAILED:
        yield "the service failed: it did not load what it should"
    elif service.state == audit_service.INACTIVE and service.enabled and status.file.status.exists:
        yield "the service is not active, although there is a file to load"
    if not service.enabled and service.manager != audit_service.SMF:
        yield "the service is not enabled, so nothing is loaded at boot"
    for path in status.overriding:
        yield f"{path} replaces commands of the service, so it may load something else"


def _wrong_with_file(status: Status) -> t.Iterator[str]:
    file = status.file
    if not _is_out_of_reach(file.status):
        yield from (f"{problem.place}: {problem.message}" for problem in file.status.problems)
    if not file.status.exists and file.sas is not None:
        if status.service.enabled and file.status.path == status.service.file:
            yield f"{file.status.path} does not exist, but the service would load it"
        elif file.named:
            yield f"{file.status.path} does not exist"
    if file.pending:
        yield (
            f"the kernel differs from {file.status.path} in {counted(file.pending, 'SA')}; see: ipseckey --compare"
            f" {file.status.path}"
        )
    if status.policies_pending:
        number, path = counted(status.policies_pending, "policy", "policies"), status.service.policies_file
        yield (
            f"the kernel differs from {path} in {number}"
            if path
            else f"the service loads no policies any more, but the kernel has {number} of it, which a reload removes"
        )


def _wrong_policies(status: Status) -> t.Iterator[str]:
    facts = status.policies
    if facts is None:
        return
    if facts.leaking:
        whose = "its" if len(facts.leaking) == 1 else "their"
        yield f"no policy uses {counted(len(facts.leaking), 'outbound SA')}: {whose} traffic leaves unprotected"
    if facts.open:
        yield f"no policy requires {counted(len(facts.open), 'inbound SA')}: unprotected packets are accepted, too"
    for policy in facts.waiting:
        yield f"policy {policy_label(policy)} has no SA: its traffic does not pass"
    for policy in facts.optional:
        yield f"policy {policy_label(policy)} lets traffic pass without an SA"
