# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The SADB of Solaris and illumos, through the prompt of their own ipseckey.

Everything goes to its standard input, so that no key is in argv or in a file. There it exits with
status 0 whatever happened, and continues after an error. So the result is found by reading the SADB
back, and unwanted changes are undone the same way."""

from __future__ import annotations

import os
import re
import subprocess
import typing as t

from ... import programs
from ...errors import InputError, IpsecError, SadbError, counted
from ...sa import model
from ...sa.model import INBOUND, PAIR_SPI, Entry, Identity, SecurityAssociation, identity, is_unspecified, label
from ...sa.plan import Operation, differences
from ...text import grammar, solaris
from ...text.render import render
from ..base import SADB_UNCHANGED, SOLARIS, Sadb, Settle, with_outcome
from .output import DEAD, InstalledSa, complaints, read, unprinted

EXECUTABLE = "/usr/sbin/ipseckey"
ALGORITHMS = "/usr/sbin/ipsecalgs"
# Commands that print this host's addresses after the words inet and inet6. On Linux ip comes first,
# since ifconfig omits addresses there.
ADDRESSES = (("/usr/sbin/ip", "addr"), ("/sbin/ip", "addr"), ("/usr/sbin/ifconfig", "-a"), ("/sbin/ifconfig", "-a"))

_TIMEOUT = 60.0
_TIMEOUT_PER_COMMAND = 0.2
_ATTEMPTS = 3
_ADDRESS = re.compile(r"\binet6? ([0-9A-Fa-f:.]+)")

Goal = t.Dict[Identity, t.Optional[SecurityAssociation]]


class SessionOutput(t.NamedTuple):
    """What one run of the utility printed, which may include keys, and its exit status."""

    output: str
    errors: str
    status: int

    def complaints(self) -> str:
        """The utility's complaints, without keys; empty for none."""
        return "; ".join(complaints(self.output, self.errors))


class SolarisSadb(Sadb):
    """Solaris and illumos, or any system whose ``executable`` is a command of the same language."""

    name = SOLARIS

    def __init__(self, executable: str = EXECUTABLE, algorithms: str = ALGORITHMS) -> None:
        if not os.access(executable, os.X_OK):
            raise InputError(
                f"{executable} does not exist or is not executable",
                "backend",
                "Install the system's IPsec utilities, or leave backend to auto on another system.",
            )
        self._executable = executable
        self._algorithms = algorithms

    def refusals(self, sa: SecurityAssociation) -> list[InputError]:
        found = solaris.refusals(sa, grammar.SOLARIS)
        if sa.replay_window and is_unspecified(sa.source):
            message = "Solaris keeps no anti-replay window for an SA without a source"
            found.append(InputError(message, "replay_window", "Set the source, or remove the window."))
        if sa.lifetimes.soft_addtime and sa.direction != INBOUND:
            message = "Solaris shortens this limit of outbound SAs at random, so it cannot be compared"
            found.append(InputError(message, "soft_addtime", "Remove it; only daemons act on it."))
        if any(keyword == PAIR_SPI for keyword, dummy in sa.extra):
            message = "pairs are not kept, since SAs are added and removed one by one"
            found.append(InputError(message, PAIR_SPI, "Remove it; rotation needs no pairs."))
        for keyword, kind in unprinted(sa).items():
            message = f"ipseckey of Solaris does not print an identity of type {kind}, so an undo would lose it"
            found.append(InputError(message, keyword, "Use another type of identity, or remove it."))
        ports = sa.encapsulation[:2] if sa.encapsulation is not None and not sa.direction else ()
        if len(set(ports)) > 1 and sa.destination in self.local_addresses():
            message = "Solaris tells local port from remote port, so an SA to this host needs its direction"
            found.append(InputError(message, "direction", "Set it to inbound."))
        return found

    def preflight(self, sas: t.Sequence[SecurityAssociation]) -> list[SadbError]:
        """What the table of ipsecalgs lacks; nothing if that command is missing, since then only the
        addition of an SA shows what the kernel lacks.
        """
        known = set(re.findall(r"[\w.-]+", programs.output(self._algorithms, "-l", timeout=_TIMEOUT).lower()))
        wanted = dict.fromkeys(name for sa in sas for name in (sa.encryption, sa.authentication) if name)
        return [
            SadbError(
                "this host has no such algorithm",
                name,
                "See: ipsecalgs -l. Update the system, or choose another algorithm.",
                "EPROTONOSUPPORT",
            )
            for name in wanted
            if known and name not in known
        ]

    def dump(self, protocol: str = "", source: bytes = b"", destination: bytes = b"") -> list[Entry]:
        return [
            entry
            for entry, *dummy in self._read()
            if protocol in ("", entry.sa.protocol)
            and source in (b"", entry.sa.source)
            and destination in (b"", entry.sa.destination)
        ]

    def _apply(self, operations: t.Sequence[Operation]) -> None:
        # All new SAs are added before any SA that may be in use is deleted.
        self._apply_in_two(
            [operation for operation in operations if operation.new is not None],
            lambda: None,
            [operation for operation in operations if operation.new is None],
        )

    def _apply_in_two(self, additions: t.Sequence[Operation], settle: Settle, deletions: t.Sequence[Operation]) -> None:
        operations = (*additions, *deletions)
        before = _by_identity(self._read())
        _check_unchanged(operations, before)
        for phase in filter(None, (additions, deletions)):
            try:
                if phase is deletions:
                    settle()
                session = self._session([command for operation in phase for command in _commands(operation)])
            except IpsecError as error:
                not_undone = self._not_undone(before, _goal(operations))
                raise with_outcome(error, list(map(label, not_undone)), SADB_UNCHANGED) from None
            goal = _goal(phase)
            try:
                now = self._after(session)
            except SadbError as error:
                raise self._after_blind_undo(error, before, _goal(operations)) from None
            failures = _failures(goal, now)
            if failures:
                not_undone = self._not_undone(before, {**_goal(operations), **_strays(goal, before, now)})
                raise _refused(failures, session, not_undone)

    def _after(self, session: SessionOutput) -> dict[Identity, InstalledSa]:
        """The SADB after a change."""
        try:
            return _by_identity(self._read())
        except SadbError as error:
            complaint = session.complaints()
            raise SadbError(
                f"the SADB was changed and now cannot be read: {error.message}{f' ({complaint})' if complaint else ''}",
                error.place,
                "Look at it: ipseckey -p dump.",
            ) from None

    def _after_blind_undo(self, error: SadbError, before: t.Mapping[Identity, InstalledSa], goal: Goal) -> SadbError:
        """Undo everything that may have been done, without reading the SADB; return the error
        extended with the result.
        """
        commands = []
        for key in reversed(list(goal)):
            wanted, was = goal[key], before.get(key)
            commands += [_delete(sa) for sa in filter(None, (wanted or _sa(was),))]
            commands += was.commands if was is not None else ()
        try:
            self._session(commands)
        except SadbError:
            return error
        outcome = f"Everything was undone as far as possible; the result is unknown for {counted(len(goal), 'SA')}."
        return with_outcome(error, (), outcome)

    def _not_undone(self, before: t.Mapping[Identity, InstalledSa], touched: Goal) -> list[SecurityAssociation]:
        """`_undo`; where the SADB cannot be read, the first error must still be reported, and the state of all
        these SAs is unknown.
        """
        try:
            return self._undo(before, touched)
        except SadbError:
            return list(filter(None, (_sa(before.get(key)) or touched[key] for key in touched)))

    def _undo(self, before: t.Mapping[Identity, InstalledSa], touched: Goal) -> list[SecurityAssociation]:
        """Restore what was there under the identities; return the SAs that still differ from before."""
        now = _by_identity(self._read())
        commands = []
        for key in reversed(list(touched)):
            was, found = before.get(key), now.get(key)
            if _sa(was) == _sa(found):
                continue
            if found is not None:
                commands.append(_delete(found.entry.sa))
            commands += was.commands if was is not None else ()
        if commands:
            self._session(commands)
            now = _by_identity(self._read())
        ends = [(before.get(key), now.get(key)) for key in touched]
        return [one.entry.sa for was, found in ends for one in (was or found,) if one and _kept(was) != _kept(found)]

    def _flush(self, protocol: str) -> None:
        session = self._session([f"flush {protocol}".strip()])
        left = [
            entry.sa
            for entry, *dummy in self._after(session).values()
            if not entry.larval and protocol in ("", entry.sa.protocol)
        ]
        if left:
            raise SadbError(
                f"the kernel still has {counted(len(left), 'SA')} after a flush. {session.complaints()}".strip(),
                label(left[0]),
                "A daemon may have added them again.",
            )

    def local_addresses(self) -> frozenset[bytes]:
        for command in ADDRESSES:
            printed = programs.output(*command, timeout=_TIMEOUT)
            if printed:
                return frozenset(map(model.pack_address, _ADDRESS.findall(printed)))
        raise SadbError(
            "this host's addresses cannot be read",
            "ifconfig -a",
            "Make one of these commands work: ifconfig -a, ip addr.",
        )

    def keys_hidden(self) -> bool:
        return False

    def _read(self) -> list[InstalledSa]:
        """All SAs. Both forms are requested again if the SADB changed between them."""
        attempts = 0
        while True:
            attempts += 1
            session = self._session(["save all", "dump"], "-nv")
            complaint = session._replace(output="").complaints()
            if session.status or complaint:
                raise SadbError(
                    f"ipseckey cannot read the SADB: {complaint or f'exit status {session.status}'}",
                    "SADB",
                    "Run it as root: ipseckey -p dump",
                )
            try:
                return read(session.output)
            except SadbError:
                if attempts == _ATTEMPTS:
                    raise

    def _session(self, commands: t.Sequence[str], options: str = "-n") -> SessionOutput:
        """Enter the commands at the prompt. Only the SADB shows their result."""
        timeout = _TIMEOUT + _TIMEOUT_PER_COMMAND * len(commands)
        try:
            # The core does not depend on Ansible, and so has no run_command.
            done = subprocess.run(  # pylint: disable=ansible-bad-function
                (self._executable, options),
                input="".join(f"{command}\n" for command in commands),
                capture_output=True,
                encoding="ascii",
                errors="backslashreplace",
                env=programs.ENVIRONMENT,
                cwd="/",
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return SessionOutput("", f"it did not end within {timeout:.0f} seconds", 124)
        except OSError as exc:
            raise SadbError(f"it cannot be run ({exc.strerror})", self._executable) from None
        return SessionOutput(done.stdout, done.stderr, done.returncode)


def _by_identity(installed: t.Iterable[InstalledSa]) -> dict[Identity, InstalledSa]:
    return {identity(row.entry.sa): row for row in installed}


def _sa(installed: InstalledSa | None) -> SecurityAssociation | None:
    return installed.entry.sa if installed is not None else None


def _kept(installed: InstalledSa | None) -> tuple[SecurityAssociation, str] | None:
    """What an undo restores."""
    return (installed.entry.sa, installed.pair) if installed is not None else None


def _commands(operation: Operation) -> t.Iterator[str]:
    if operation.old is not None:
        yield _delete(operation.old.sa)
    if operation.new is not None:
        yield render([operation.new], target=grammar.SOLARIS).rstrip("\n")


def _delete(sa: SecurityAssociation) -> str:
    mark = f" mark {model.mark_text(sa.mark)}" if sa.mark is not None else ""
    return f"delete {sa.protocol} spi 0x{sa.spi:x} dst {model.format_address(sa.destination)}{mark}"


def _goal(operations: t.Iterable[Operation]) -> Goal:
    """The SA wanted afterwards under each identity that the operations touch; None for no SA."""
    goal: Goal = {}
    for operation in operations:
        if operation.old is not None:
            goal[identity(operation.old.sa)] = None
        if operation.new is not None:
            goal[identity(operation.new)] = operation.new
    return goal


def _check_unchanged(operations: t.Iterable[Operation], installed: t.Mapping[Identity, InstalledSa]) -> None:
    """Raise SadbError if the SADB changed since the plan was made, or an SA to be replaced could not
    be restored; nothing was changed here yet.
    """
    hint = "Run it again: the SADB changed in the meantime."
    leaving = set()
    for operation in operations:
        if operation.old is not None:
            found = installed.get(identity(operation.old.sa))
            leaving.add(identity(operation.old.sa))
            if found is None:
                raise SadbError("the SA is no longer there", label(operation.old.sa), hint, "ESRCH")
            if found.entry.sa != operation.old.sa:
                raise SadbError("another SA has this identity now", label(operation.old.sa), hint, "ESTALE")
            if operation.new is not None and not (found.commands or found.entry.larval):
                raise SadbError(
                    "ipseckey does not print all of this SA, so it could not be restored if its replacement failed",
                    label(operation.old.sa),
                    "Delete it first. Nothing was changed.",
                )
        if (
            operation.new is not None
            and identity(operation.new) in installed
            and identity(operation.new) not in leaving
        ):
            raise SadbError("such an SA already exists", label(operation.new), hint, "EEXIST")


def _failures(goal: Goal, installed: t.Mapping[Identity, InstalledSa]) -> list[tuple[str, SecurityAssociation]]:
    """Each failure and its SA. SAs that are missing come first."""
    missing: list[tuple[str, SecurityAssociation]] = []
    others: list[tuple[str, SecurityAssociation]] = []
    for key, wanted in goal.items():
        found = installed.get(key)
        if wanted is None:
            if found is not None and found.state != DEAD:
                others.append(("ipseckey did not delete it", found.entry.sa))
        elif found is None:
            missing.append(("ipseckey did not add it", wanted))
        elif found.state == DEAD:
            others.append(("the kernel accepted it but declared it dead", wanted))
        else:
            fields = differences(wanted, found.entry.sa)
            others += [(f"ipseckey added it with another {', '.join(fields)}", wanted)] if fields else []
    return missing + others


def _strays(goal: Goal, before: t.Mapping[Identity, InstalledSa], now: t.Mapping[Identity, InstalledSa]) -> Goal:
    """Unwanted SAs with keys of those that were to be added: the utility misread a command."""
    keys = {key for sa in goal.values() if sa is not None for key in (sa.encryption_key, sa.authentication_key) if key}
    return {
        key: None
        for key, (entry, *dummy) in now.items()
        if key not in before
        and key not in goal
        and not keys.isdisjoint((entry.sa.encryption_key, entry.sa.authentication_key))
    }


def _refused(
    failures: t.Sequence[tuple[str, SecurityAssociation]],
    session: SessionOutput,
    not_undone: t.Sequence[SecurityAssociation],
) -> SadbError:
    message, sa = failures[0]
    complaint = session.complaints()
    message += f" ({complaint})" if complaint else f", and gave no reason (exit status {session.status})"
    if len(failures) > 1:
        message += f"; {len(failures) - 1} more SAs were refused"
    return with_outcome(SadbError(message, label(sa)), list(map(label, not_undone)), SADB_UNCHANGED)
