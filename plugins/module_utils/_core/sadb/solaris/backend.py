# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The SADB of Solaris and illumos, through the prompt of their own ipseckey.

Everything goes to its standard input, so that no key is in argv or in a file. There it ends with
status 0 whatever happened, and runs on after an error: what it did is seen by reading the SADB
back, and what it should not have done is undone the same way."""

from __future__ import annotations

import os
import re
import subprocess
import typing as t

from ...errors import InputError, IpsecError, SadbError
from ...sa import model
from ...sa.model import INBOUND, PAIR_SPI, SecurityAssociation, identity, is_unspecified, label
from ...sa.plan import differences
from ...text import language
from ..base import SADB_UNCHANGED, SOLARIS, Sadb, with_outcome
from .output import DEAD, Held, complaints, read

if t.TYPE_CHECKING:
    from ...sa.model import Entry, Identity
    from ...sa.plan import Operation

EXECUTABLE = "/usr/sbin/ipseckey"
ALGORITHMS = "/usr/sbin/ipsecalgs"
# Commands that print this host's addresses after the words inet and inet6. Linux has ip, where
# ifconfig leaves addresses out.
ADDRESSES = (("/usr/sbin/ip", "addr"), ("/sbin/ip", "addr"), ("/usr/sbin/ifconfig", "-a"), ("/sbin/ifconfig", "-a"))

# Without SMF_FMRI, with which ipseckey would flush the SADB; messages and times in one form.
_ENVIRONMENT = {"LC_ALL": "C", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "TZ": "UTC0", "TERM": "dumb", "HOME": "/"}
_TIMEOUT = 60.0
_TIMEOUT_PER_COMMAND = 0.2
_TRIES = 3
_ADDRESS = re.compile(r"\binet6? ([0-9A-Fa-f:.]+)")

Goal = t.Dict["Identity", t.Optional[SecurityAssociation]]


class Said(t.NamedTuple):
    """What one run of the utility printed, which may hold keys, and its exit status."""

    output: str
    errors: str
    status: int

    def complaints(self) -> str:
        """What was wrong, without keys; empty for nothing."""
        return "; ".join(complaints(self.output, self.errors))


class SolarisSadb(Sadb):
    """Solaris and illumos, or wherever ``executable`` is a command of the same language."""

    name = SOLARIS

    def __init__(self, executable: str = EXECUTABLE, algorithms: str = ALGORITHMS) -> None:
        if not os.access(executable, os.X_OK):
            raise InputError(
                f"there is no {executable} that can be run",
                "backend",
                "Install the system's IPsec utilities, or leave backend to auto on another system.",
            )
        self._executable = executable
        self._algorithms = algorithms

    def refusals(self, sa: SecurityAssociation) -> list[InputError]:
        found = language.refusals(sa, language.SOLARIS)

        def cannot(place: str, message: str, hint: str) -> None:
            found.append(InputError(message, place, hint))

        if sa.replay_window and is_unspecified(sa.source):
            cannot(
                "replay_window",
                "Solaris keeps no anti-replay window for an SA without a source",
                "Name the source, or take the window away.",
            )
        if sa.lifetimes.soft_addtime and sa.direction != INBOUND:
            cannot(
                "soft_addtime",
                "Solaris shortens this limit of outbound SAs by chance, so it cannot be compared",
                "Take it away; only daemons heed it.",
            )
        if any(keyword == PAIR_SPI for keyword, dummy in sa.extra):
            cannot(
                PAIR_SPI,
                "pairs are not kept, since SAs are added and removed one by one",
                "Take it away; rotation needs no pairs.",
            )
        return found

    def preflight(self, sas: t.Sequence[SecurityAssociation]) -> list[SadbError]:
        """What the table of ipsecalgs lacks; nothing where there is no such command, since then the
        kernel says so only when an SA is added.
        """
        known = set(re.findall(r"[\w.-]+", _run((self._algorithms, "-l")).lower()))
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
            held.entry
            for held in self._read()
            if protocol in ("", held.entry.sa.protocol)
            and source in (b"", held.entry.sa.source)
            and destination in (b"", held.entry.sa.destination)
        ]

    def _apply(self, operations: t.Sequence[Operation]) -> None:
        before = _by_identity(self._read())
        _check_unmoved(operations, before)
        # Nothing that is in use goes before all that is new has come.
        for step in (
            [each for each in operations if each.new is not None],
            [each for each in operations if each.new is None],
        ):
            if not step:
                continue
            said = self._session([command for operation in step for command in _commands(operation)])
            goal = _goal(step)
            try:
                now = self._after(said)
            except SadbError as error:
                raise self._after_blind_undo(error, before, _goal(operations)) from None
            wrong = _wrong(goal, now)
            if wrong:
                touched = {**_goal(operations), **_strays(goal, before, now)}
                try:
                    not_undone = self._undo(before, touched)
                except SadbError:
                    # What was refused first is still to be told; of the rest nothing is known.
                    not_undone = list(filter(None, (_sa(before.get(key)) or touched[key] for key in touched)))
                raise _refused(wrong, said, not_undone)

    def _after(self, said: Said) -> dict[Identity, Held]:
        """The SADB after it was changed."""
        try:
            return _by_identity(self._read())
        except SadbError as error:
            heard = said.complaints()
            raise SadbError(
                f"the SADB was changed, and cannot be read now: {error.message}{f' ({heard})' if heard else ''}",
                error.place,
                "Look at it: ipseckey -p dump",
            ) from None

    def _after_blind_undo(self, error: SadbError, before: t.Mapping[Identity, Held], goal: Goal) -> SadbError:
        """Undo everything that may have been done, since the SADB cannot be read; return the
        error extended with the result.
        """
        commands = []
        for key in reversed(list(goal)):
            wanted, was = goal[key], before.get(key)
            commands += [_delete(sa) for sa in filter(None, (wanted or _sa(was),))]
            commands += [was.command] if was is not None and was.command else []
        try:
            self._session(commands)
        except SadbError:
            return error
        after = f"Everything was taken back as far as can be; whether that went well is unknown for {len(goal)} SAs."
        return SadbError(error.message, error.place, f"{error.hint} {after}", error.errno_name)

    def _undo(self, before: t.Mapping[Identity, Held], touched: Goal) -> list[SecurityAssociation]:
        """Bring back what was there under the identities; the SAs that are still not as they were."""
        now = _by_identity(self._read())
        commands = []
        for key in reversed(list(touched)):
            was, found = before.get(key), now.get(key)
            if _sa(was) == _sa(found):
                continue
            if found is not None:
                commands.append(_delete(found.entry.sa))
            if was is not None and was.command:
                commands.append(was.command)
        if commands:
            self._session(commands)
            now = _by_identity(self._read())
        ends = [(_sa(before.get(key)), _sa(now.get(key))) for key in touched]
        return [sa for was, found in ends for sa in (was or found,) if was != found and sa is not None]

    def _flush(self, protocol: str) -> None:
        said = self._session([f"flush {protocol}".strip()])
        left = [
            held.entry.sa
            for held in self._after(said).values()
            if not held.entry.larval and protocol in ("", held.entry.sa.protocol)
        ]
        if left:
            raise SadbError(
                f"{len(left)} SAs are still there after a flush. {said.complaints()}".strip(),
                label(left[0]),
                "A daemon may have added them anew.",
            )

    def local_addresses(self) -> frozenset[bytes]:
        for command in ADDRESSES:
            printed = _run(command)
            if printed:
                return frozenset(map(model.pack_address, _ADDRESS.findall(printed)))
        raise SadbError(
            "this host's addresses cannot be read",
            "ifconfig -a",
            "Make one of these commands work: ifconfig -a, ip addr.",
        )

    def keys_hidden(self) -> bool:
        return False

    def _read(self) -> list[Held]:
        """All SAs. The SADB may change between the two forms that are asked for; then both are asked for again."""
        trouble: IpsecError | None = None
        for dummy in range(_TRIES):
            said = self._session(["save all", "dump"], "-nv")
            heard = said._replace(output="").complaints()
            if said.status or heard:
                raise SadbError(
                    f"ipseckey cannot read the SADB: {heard or f'exit status {said.status}'}",
                    "SADB",
                    "Run it as root: ipseckey -p dump",
                )
            try:
                return read(said.output)
            except SadbError as error:
                trouble = error
        raise trouble or SadbError("ipseckey cannot read the SADB", "SADB")

    def _session(self, commands: t.Sequence[str], options: str = "-n") -> Said:
        """The commands, typed at the prompt. What became of them only the SADB tells."""
        text = "".join(f"{command}\n" for command in commands)
        try:
            done = subprocess.run(  # pylint: disable=ansible-bad-function  # the core knows no Ansible, and so no run_command
                (self._executable, options),
                input=text,
                capture_output=True,
                encoding="ascii",
                errors="backslashreplace",
                env=_ENVIRONMENT,
                cwd="/",
                timeout=_TIMEOUT + _TIMEOUT_PER_COMMAND * len(commands),
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Said("", f"it did not end within {_TIMEOUT + _TIMEOUT_PER_COMMAND * len(commands):.0f} seconds", 124)
        except OSError as exc:
            raise SadbError(f"it cannot be run ({exc.strerror})", self._executable) from None
        return Said(done.stdout, done.stderr, done.returncode)


def _run(command: t.Sequence[str]) -> str:
    """What a command prints; nothing where it is not there, or fails."""
    try:
        done = subprocess.run(  # pylint: disable=ansible-bad-function  # as above
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_ENVIRONMENT,
            timeout=_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("ascii", "replace") if done.returncode == 0 else ""


def _by_identity(held: t.Iterable[Held]) -> dict[Identity, Held]:
    return {identity(one.entry.sa): one for one in held}


def _sa(held: Held | None) -> SecurityAssociation | None:
    return held.entry.sa if held is not None else None


def _commands(operation: Operation) -> t.Iterator[str]:
    """The lines that carry one operation out."""
    if operation.old is not None:
        yield _delete(operation.old.sa)
    if operation.new is not None:
        yield language.render([operation.new], target=language.SOLARIS).rstrip("\n")


def _delete(sa: SecurityAssociation) -> str:
    mark = f" mark {model.mark_text(sa.mark)}" if sa.mark is not None else ""
    return f"delete {sa.protocol} spi 0x{sa.spi:x} dst {model.format_address(sa.destination)}{mark}"


def _goal(operations: t.Iterable[Operation]) -> Goal:
    """What is to be there afterwards under each identity that the operations touch."""
    goal: Goal = {}
    for operation in operations:
        if operation.old is not None:
            goal[identity(operation.old.sa)] = None
        if operation.new is not None:
            goal[identity(operation.new)] = operation.new
    return goal


def _check_unmoved(operations: t.Iterable[Operation], held: t.Mapping[Identity, Held]) -> None:
    """Raise SadbError where the SADB is no more as it was when the plan was made; nothing was touched yet."""
    again = "Run it again: the SADB changed in the meantime."
    going = set()
    for operation in operations:
        if operation.old is not None:
            found = held.get(identity(operation.old.sa))
            going.add(identity(operation.old.sa))
            if found is None:
                raise SadbError("the SA is no more there", label(operation.old.sa), again, "ESRCH")
            if found.entry.sa != operation.old.sa:
                raise SadbError("another SA is there now", label(operation.old.sa), again, "ESTALE")
        if operation.new is not None and identity(operation.new) in held and identity(operation.new) not in going:
            raise SadbError("such an SA is there already", label(operation.new), again, "EEXIST")


def _wrong(goal: Goal, held: t.Mapping[Identity, Held]) -> list[tuple[str, SecurityAssociation]]:
    """What is not as it was to be: what about it, and the SA. The SAs that are missing come first."""
    missing: list[tuple[str, SecurityAssociation]] = []
    others: list[tuple[str, SecurityAssociation]] = []
    for key, wanted in goal.items():
        there = held.get(key)
        if wanted is None:
            others += (
                [("ipseckey did not delete it", there.entry.sa)] if there is not None and there.state != DEAD else []
            )
        elif there is None:
            missing.append(("ipseckey did not add it", wanted))
        elif there.state == DEAD:
            others.append(("the kernel took it and declared it dead", wanted))
        else:
            fields = differences(wanted, there.entry.sa)
            others += [(f"ipseckey added it with another {', '.join(fields)}", wanted)] if fields else []
    return missing + others


def _strays(goal: Goal, before: t.Mapping[Identity, Held], now: t.Mapping[Identity, Held]) -> Goal:
    """SAs that nobody asked for, with keys of those that were to be added: what the utility made of
    a command that it misread.
    """
    keys = {key for sa in goal.values() if sa is not None for key in (sa.encryption_key, sa.authentication_key) if key}
    return {
        key: None
        for key, held in now.items()
        if key not in before
        and key not in goal
        and not keys.isdisjoint((held.entry.sa.encryption_key, held.entry.sa.authentication_key))
    }


def _refused(
    wrong: t.Sequence[tuple[str, SecurityAssociation]], said: Said, not_undone: t.Sequence[SecurityAssociation]
) -> SadbError:
    message, sa = wrong[0]
    heard = said.complaints()
    message += f" ({heard})" if heard else f", and said nothing about it (exit status {said.status})"
    if len(wrong) > 1:
        message += f"; {len(wrong) - 1} more SAs were refused"
    return with_outcome(SadbError(message, label(sa)), list(map(label, not_undone)), SADB_UNCHANGED)
