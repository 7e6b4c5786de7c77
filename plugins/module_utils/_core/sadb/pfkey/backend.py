# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The SADB of any system that speaks PF_KEY v2 (RFC 2367): read it, and change it all or nothing.

The kernel answers every request with a message that carries its sequence number and our process
number; messages about other programs' requests arrive in between and are skipped."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import time
import typing as t

from ...errors import InputError, IpsecError, SadbError, counted
from ...sa.algorithms import BY_NAME
from ...sa.model import Entry, SecurityAssociation, label
from ...sa.plan import Operation
from ..base import PFKEY, SADB_UNCHANGED, Sadb, Settle, with_outcome
from . import layout, messages
from .dialects import Dialect, dialect_of
from .explain import AnswerLost, PfkeyError, explain, explain_exchange
from .layout import ParsedMessage, Supported
from .messages import ANY_TYPE, NOT_SHOWN, SA_TYPES
from .refusals import refusals

# Seconds after which an answer counts as lost. Linux, FreeBSD and NetBSD answer before the request returns.
_PATIENCE = 10.0
_DUMP_ATTEMPTS = 3
_BUFFER = 8 << 20
_SMALLEST_BUFFER = 64 << 10
_RECEIVE = 64 << 10
_SO_RCVBUFFORCE = 33  # include/uapi/asm-generic/socket.h; lets root exceed the limit on Linux
# Errnos are below this everywhere; Linux ends a broken dump with a negative one, cut to the field's
# 8 bits (net/key/af_key.c, pfkey_do_dump).
_ERRNO_MOST = 160
_NOTHING_THERE = (errno.ENOENT, errno.ESRCH)


class Pfkey:
    """A PF_KEY socket; use it in a ``with`` statement."""

    def __init__(self, dialect: Dialect) -> None:
        try:
            self._socket = socket.socket(dialect.domain, socket.SOCK_RAW, layout.VERSION)
        except OSError as exc:
            raise PfkeyError(exc.errno or 0) from None
        self._process = os.getpid()
        # Far from the numbers of requests that kernels send: small ones, or from 2^31 on.
        self._sequence = 0x40000000 | int.from_bytes(os.urandom(3), "big") << 4
        self._enlarge_buffer(dialect)

    def _enlarge_buffer(self, dialect: Dialect) -> None:
        """Request as large a receive buffer as the system allows."""
        size = _BUFFER
        if dialect.platform == "linux":
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, size)
                return
        while size >= _SMALLEST_BUFFER:
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
                return
            size //= 2

    def __enter__(self) -> Pfkey:
        return self

    def __exit__(self, *dummy: t.Any) -> None:
        self._socket.close()

    def ask(self, kind: int, satype: int, extensions: t.Sequence[bytes] = ()) -> ParsedMessage:
        """Send one request and return its answer. Raises PfkeyError if the kernel refuses it, and
        AnswerLost if the outcome is unknown.
        """
        sequence = self._send(kind, satype, extensions)
        for message in self._answers(kind):
            if message.sequence == sequence:
                if message.errno:
                    raise PfkeyError(message.errno, message.diagnostic)
                return message
        raise AnswerLost

    def dump(self, satype: int) -> list[ParsedMessage]:
        """Every SA of a type, or of all types. The messages count up or down; the last one has the
        number 0 and may lack an SA.
        """
        self._send(layout.DUMP, satype, ())
        found = []
        for message in self._answers(layout.DUMP):
            if message.errno:
                number = message.errno if message.errno < _ERRNO_MOST else 256 - message.errno
                if number in _NOTHING_THERE and not message.extensions:
                    return []
                raise PfkeyError(number, message.diagnostic)
            if message.extensions:
                found.append(message)
            if not message.sequence:
                return found
        raise AnswerLost

    def _send(self, kind: int, satype: int, extensions: t.Sequence[bytes]) -> int:
        self._sequence += 1
        try:
            self._socket.send(layout.pack_message(kind, satype, self._sequence, self._process, extensions))
        except OSError as exc:
            # BSDs carry out a request before they find no room for its answer.
            if kind == layout.DUMP or exc.errno != errno.ENOBUFS:
                raise PfkeyError(exc.errno or 0) from None
        return self._sequence

    def _answers(self, kind: int) -> t.Iterator[ParsedMessage]:
        """Messages of a kind to this process, until one is late."""
        deadline = time.monotonic() + _PATIENCE
        header = layout.HEADER
        while time.monotonic() <= deadline:
            self._socket.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                buffer = self._socket.recv(_RECEIVE)
            except socket.timeout:
                return
            except OSError as exc:
                if exc.errno == errno.ENOBUFS:
                    # The socket overflowed, so the answer may be among the lost messages.
                    return
                raise PfkeyError(exc.errno or 0) from None
            if len(buffer) >= header.size:
                dummy, answered, dummy, dummy, dummy, dummy, dummy, process = header.unpack_from(buffer)
                if answered == kind and process == self._process:
                    deadline = time.monotonic() + _PATIENCE
                    yield layout.parse(buffer)


class _Change(t.NamedTuple):
    """One request of an `apply`: its SA, whether it adds the SA, and, if it deletes the SA, what the
    kernel showed of it.

    ``doubtful`` if it was sent and it is unknown whether the kernel carried it out.
    """

    sa: SecurityAssociation
    adds: bool
    before: ParsedMessage | None
    doubtful: bool = False


class PfkeySadb(Sadb):
    """PF_KEY v2 in the dialect of this system."""

    name = PFKEY

    def __init__(self, dialect: Dialect | None = None) -> None:
        self.dialect = dialect if dialect is not None else dialect_of()

    @contextlib.contextmanager
    def _open(self, doing: str) -> t.Iterator[Pfkey]:
        """A socket whose failures become SadbError; ``doing`` names the interrupted action."""
        try:
            with Pfkey(self.dialect) as link:
                yield link
        except PfkeyError as exc:
            raise explain_exchange(self.dialect, exc, doing) from None

    def refusals(self, sa: SecurityAssociation) -> list[InputError]:
        return list(refusals(self.dialect, sa))

    def preflight(self, sas: t.Sequence[SecurityAssociation]) -> list[SadbError]:
        kinds = {(sa.protocol, sa.encryption, len(sa.encryption_key), sa.authentication): sa for sa in sas}
        supported: dict[int, Supported] = {}
        with self._open("asking the kernel for its algorithms") as link:
            for protocol in sorted({sa.protocol for sa in sas}):
                satype = SA_TYPES[protocol]
                answer = link.ask(layout.REGISTER, ANY_TYPE if self.dialect.unregistered else satype)
                supported[satype] = layout.read_supported(answer)
        return [lack for sa in kinds.values() for lack in self._lacks(sa, supported[SA_TYPES[sa.protocol]])]

    def _lacks(self, sa: SecurityAssociation, supported: Supported) -> t.Iterator[SadbError]:
        integrity = self.dialect.authentication.get(sa.authentication)
        hash_number = integrity.number if integrity is not None else None
        for name, key, number, known in (
            (sa.encryption, sa.encryption_key, self.dialect.encryption.get(sa.encryption), supported.encryption),
            (sa.authentication, sa.authentication_key, hash_number, supported.authentication),
        ):
            if not name:
                continue
            if number is None or number not in known:
                yield explain(self.dialect, PfkeyError(errno.ENOSYS), sa)
                return
            least, most = known[number]
            row = BY_NAME.get(name)
            # Systems differ in whether the salt counts.
            bits = {len(key) * 8, len(key) * 8 - (row.salt_bits if row is not None else 0)}
            if not any(least <= size <= most for size in bits):
                message = f"the kernel takes keys of {least} to {most} bits for {name}, not of {len(key) * 8}"
                yield SadbError(message, label(sa), "Choose another size or algorithm.", "EINVAL")

    def dump(self, protocol: str = "", source: bytes = b"", destination: bytes = b"") -> list[Entry]:
        satype = SA_TYPES[protocol] if protocol else ANY_TYPE
        return [
            entry
            for entry in (messages.decode(self.dialect, message) for message in self._dump(satype))
            if source in (b"", entry.sa.source) and destination in (b"", entry.sa.destination)
        ]

    def _dump(self, satype: int) -> list[ParsedMessage]:
        attempts = 0
        while True:
            attempts += 1
            with self._open("reading the SADB") as link:
                try:
                    return link.dump(satype)
                except AnswerLost:
                    # Messages about other programs' requests displaced the last one.
                    if attempts == _DUMP_ATTEMPTS:
                        raise

    def _apply(self, operations: t.Sequence[Operation]) -> None:
        self._apply_in_two(operations, lambda: None, ())

    def _apply_in_two(self, additions: t.Sequence[Operation], settle: Settle, deletions: t.Sequence[Operation]) -> None:
        with self._open("changing the SADB") as link:
            done: list[_Change] = []
            first, last = ([*self._changes(link, part)] for part in (additions, deletions))
            for change in (*first, *last):
                if last and change is last[0]:
                    try:
                        settle()
                    except IpsecError as failure:
                        raise self._after_undo(failure, done) from None
                error, change = self._carry_out(link, change)
                if error is None or change.doubtful:
                    done.append(change)
                if error is not None:
                    raise self._after_undo(error, done)

    def _changes(self, link: Pfkey, operations: t.Sequence[Operation]) -> t.Iterator[_Change]:
        """All requests. Raises SadbError before anything is changed if an SA to be deleted is not
        the one that was read.
        """
        for operation in operations:
            if operation.old is not None:
                message = self._current(link, operation.old)
                if operation.new is not None and not _is_restorable(operation.old.sa):
                    raise SadbError(
                        "PF_KEY does not show all of this SA, so it could not be restored if its replacement failed",
                        label(operation.old.sa),
                        "Delete it first, or use the backend that made it. Nothing was changed.",
                    )
                yield _Change(operation.old.sa, False, message)
            if operation.new is not None:
                yield _Change(operation.new, True, None)

    def _current(self, link: Pfkey, entry: Entry) -> ParsedMessage:
        """What the kernel shows now for an identity. Raises SadbError unless it is that very SA."""
        try:
            message = link.ask(layout.GET, messages.satype_of(entry.sa), messages.identify(self.dialect, entry.sa))
        except PfkeyError as exc:
            raise explain(self.dialect, exc, entry.sa) from None
        if messages.decode(self.dialect, message).sa != entry.sa:
            raise explain(self.dialect, PfkeyError(errno.ESTALE), entry.sa)
        return message

    def _request(self, link: Pfkey, change: _Change, undo: bool = False) -> None:
        satype = messages.satype_of(change.sa)
        if change.adds == undo:
            link.ask(layout.DELETE, satype, messages.identify(self.dialect, change.sa))
        elif change.before is not None:
            link.ask(layout.ADD, satype, messages.restore(self.dialect, change.before))
            pairing = messages.pair_again(self.dialect, change.before)
            if pairing:
                # This fails if the other SA of the pair is not restored yet; restoring that one pairs both.
                with contextlib.suppress(PfkeyError):
                    link.ask(layout.UPDATE, satype, pairing)
        else:
            link.ask(layout.ADD, satype, messages.new_sa(self.dialect, change.sa))

    def _carry_out(self, link: Pfkey, change: _Change) -> tuple[SadbError | None, _Change]:
        """What went wrong, and the change, doubtful if the kernel may have carried it out anyway."""
        try:
            self._request(link, change)
        except AnswerLost as exc:
            error = explain(self.dialect, exc, change.sa, change.adds)
            try:
                return (None if self._is_there(change.sa) == change.adds else error), change
            except SadbError:
                return error, change._replace(doubtful=True)
        except PfkeyError as exc:
            return explain(self.dialect, exc, change.sa, change.adds), change
        except SadbError as error:
            # The answer is malformed.
            return error, change._replace(doubtful=True)
        return None, change

    def _is_there(self, sa: SecurityAssociation) -> bool:
        return any(
            entry.sa.spi == sa.spi
            and entry.sa.encryption_key == sa.encryption_key
            and entry.sa.authentication_key == sa.authentication_key
            for entry in self.dump(sa.protocol, destination=sa.destination)
        )

    def _after_undo(self, error: IpsecError, done: t.Sequence[_Change]) -> SadbError:
        """Undo in reverse order; return the error extended with the result.

        Doubtful changes are undone as well: if an SA is already gone, or still there, that counts as success.
        """
        not_undone = []
        restarted = 0
        for change in reversed(done):
            if change.before is not None and not _is_restorable(change.sa):
                message = "PF_KEY does not show all of it, so it could not be restored"
                not_undone.append(SadbError(message, label(change.sa)))
                continue
            try:
                # A separate socket, since the other one may be what is broken.
                with self._open("undoing a change") as link:
                    self._undo(link, change)
            except SadbError as failure:
                not_undone.append(failure)
            else:
                before = change.before
                restarted += before is not None and messages.decode(self.dialect, before).counters.packets > 0
        note = (
            f" Counters and sequence numbers of {counted(restarted, 'SA')} restarted, since PF_KEY cannot set them;"
            " rotate where peers check for replays."
        )
        return with_outcome(error, not_undone, SADB_UNCHANGED, note if restarted else "")

    def _undo(self, link: Pfkey, change: _Change) -> None:
        try:
            self._request(link, change, undo=True)
        except AnswerLost as exc:
            message = f"whether the kernel undid {'an addition' if change.adds else 'a deletion'} is unknown"
            name = explain(self.dialect, exc, change.sa).errno_name
            raise SadbError(message, label(change.sa), "Look at what is there, and run again.", name) from None
        except PfkeyError as exc:
            if not (change.doubtful and exc.errno in (*_NOTHING_THERE, errno.EEXIST)):
                raise explain(self.dialect, exc, change.sa) from None

    def _flush(self, protocol: str) -> None:
        with self._open("flushing the SADB") as link:
            try:
                link.ask(layout.FLUSH, SA_TYPES[protocol] if protocol else ANY_TYPE)
            except PfkeyError as exc:
                if exc.errno not in _NOTHING_THERE:
                    raise

    def local_addresses(self) -> frozenset[bytes]:
        from .addresses import local_addresses

        return local_addresses(self.dialect)

    def keys_hidden(self) -> bool:
        keys = [key for entry in self.dump() for key in (entry.sa.encryption_key, entry.sa.authentication_key) if key]
        return bool(keys) and not any(map(any, keys))


def _is_restorable(sa: SecurityAssociation) -> bool:
    keys = sa.encryption_key + sa.authentication_key
    return NOT_SHOWN not in (sa.encryption, sa.authentication) and (any(keys) or not keys)
