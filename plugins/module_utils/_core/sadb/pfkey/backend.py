# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The SADB of any system that speaks PF_KEY v2 (RFC 2367): read it, and change it all or nothing.

Every request is answered by a message with its sequence number and our process number; what other
programs do is told in between and passed over. What a system cannot express is in `pfkey_dialects`,
and refused by option name before anything is touched."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import time
import typing as t

from ...errors import InputError, SadbError, shown
from ...sa.algorithms import BY_NAME
from ...sa.model import (
    NO_LIFETIMES,
    PAIR_SPI,
    REPLAY_VALUE,
    TRANSPORT,
    TUNNEL,
    Entry,
    SecurityAssociation,
    is_unspecified,
    label,
)
from .. import PFKEY, SADB_UNCHANGED, Sadb, with_outcome
from . import messages
from .dialects import Dialect, dialect_of
from .explain import AnswerLost, PfkeyError, explain, explain_exchange
from .messages import ANY_TYPE, SA_TYPES, UNTOLD, Message, Supported

if t.TYPE_CHECKING:
    from ...sa.plan import Operation

# Seconds without an answer after which it counts as lost. Linux, FreeBSD and NetBSD answer before the request returns.
_PATIENCE = 10.0
_DUMP_ATTEMPTS = 3
_BUFFER = 8 << 20
_SMALLEST_BUFFER = 64 << 10
_RECEIVE = 64 << 10
_SO_RCVBUFFORCE = 33  # include/uapi/asm-generic/socket.h; lets root go above the limit on Linux
# Errnos are below this everywhere; Linux ends a broken dump with a negative one, cut to the field's
# 8 bits (net/key/af_key.c, pfkey_do_dump).
_ERRNO_MOST = 160
_INFINITE = (1 << 64) - 1
_NOTHING_THERE = (errno.ENOENT, errno.ESRCH)


class Pfkey:
    """A PF_KEY socket; use it in a ``with`` statement."""

    def __init__(self, dialect: Dialect) -> None:
        try:
            self._socket = socket.socket(dialect.domain, socket.SOCK_RAW, messages.VERSION)
        except OSError as exc:
            raise PfkeyError(exc.errno or 0) from None
        self._process = os.getpid()
        # Far from the numbers that kernels give their own questions: small ones, or from 2^31 on.
        self._sequence = 0x40000000 | int.from_bytes(os.urandom(3), "big") << 4
        self._make_room(dialect)

    def _make_room(self, dialect: Dialect) -> None:
        """As much receive buffer as the system gives."""
        size = _BUFFER
        if dialect.platform == "linux":
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, size)
                return
        while size >= _SMALLEST_BUFFER:
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
            except OSError:
                size //= 2
            else:
                return

    def __enter__(self) -> Pfkey:
        return self

    def __exit__(self, *dummy: t.Any) -> None:
        self._socket.close()

    def ask(self, kind: int, satype: int, extensions: t.Sequence[bytes] = ()) -> Message:
        """One request and its answer. Raises PfkeyError where the kernel refuses it, AnswerLost
        where it is unknown whether it did.
        """
        sequence = self._send(kind, satype, extensions)
        for told in self._told(kind):
            if told.sequence == sequence:
                if told.errno:
                    raise PfkeyError(told.errno, told.diagnostic)
                return told
        raise AnswerLost

    def dump(self, satype: int) -> list[Message]:
        """Every SA of a type, or of all. The messages count up or down, and the last one, which may
        be without an SA, has the number 0.
        """
        self._send(messages.DUMP, satype, ())
        found = []
        for told in self._told(messages.DUMP):
            if told.errno:
                number = told.errno if told.errno < _ERRNO_MOST else 256 - told.errno
                if number in _NOTHING_THERE and not told.extensions:
                    return []
                raise PfkeyError(number, told.diagnostic)
            if told.extensions:
                found.append(told)
            if not told.sequence:
                return found
        raise AnswerLost

    def _send(self, kind: int, satype: int, extensions: t.Sequence[bytes]) -> int:
        self._sequence += 1
        try:
            self._socket.send(messages.message(kind, satype, self._sequence, self._process, extensions))
        except OSError as exc:
            # BSDs do what they were asked before they find no room for the answer.
            if kind == messages.DUMP or exc.errno != errno.ENOBUFS:
                raise PfkeyError(exc.errno or 0) from None
        return self._sequence

    def _told(self, kind: int) -> t.Iterator[Message]:
        """Messages of a kind to this process, until one is late."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            self._socket.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                buffer = self._socket.recv(_RECEIVE)
            except socket.timeout:
                return
            except OSError as exc:
                if exc.errno == errno.ENOBUFS:
                    # The socket overflowed, so the answer may be among what is gone.
                    return
                raise PfkeyError(exc.errno or 0) from None
            header = messages.HEADER
            if len(buffer) >= header.size:
                dummy, told_kind, dummy, dummy, dummy, dummy, dummy, process = header.unpack_from(buffer)
                if told_kind == kind and process == self._process:
                    deadline = time.monotonic() + _PATIENCE
                    yield messages.parse(buffer)
            if time.monotonic() > deadline:
                return


class _Step(t.NamedTuple):
    """One request of an `apply`: the SA it is about, whether it adds it, and what the kernel showed
    of it where it deletes it.

    ``doubtful`` if it was sent and it is unknown whether the kernel carried it out.
    """

    sa: SecurityAssociation
    adds: bool
    before: Message | None
    doubtful: bool = False


class PfkeySadb(Sadb):
    """PF_KEY v2 in the dialect of this system."""

    name = PFKEY

    def __init__(self, dialect: Dialect | None = None) -> None:
        self.dialect = dialect if dialect is not None else dialect_of()

    @contextlib.contextmanager
    def _open(self, doing: str) -> t.Iterator[Pfkey]:
        """A socket whose failures are our errors; ``doing`` says what they interrupt."""
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
                answer = link.ask(messages.REGISTER, ANY_TYPE if self.dialect.unregistered else satype)
                supported[satype] = messages.read_supported(answer)
        return [lack for sa in kinds.values() for lack in self._lacks(sa, supported[SA_TYPES[sa.protocol]])]

    def _lacks(self, sa: SecurityAssociation, supported: Supported) -> t.Iterator[SadbError]:
        integrity = self.dialect.authentication.get(sa.authentication)
        asked = [
            (sa.encryption, sa.encryption_key, self.dialect.encryption.get(sa.encryption), supported.encryption),
            (
                sa.authentication,
                sa.authentication_key,
                integrity.number if integrity is not None else None,
                supported.authentication,
            ),
        ]
        for name, key, number, known in asked:
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
        entries = (
            messages.decode(self.dialect, told) for told in self._dump(SA_TYPES[protocol] if protocol else ANY_TYPE)
        )
        return [
            entry
            for entry in entries
            if source in (b"", entry.sa.source) and destination in (b"", entry.sa.destination)
        ]

    def _dump(self, satype: int) -> list[Message]:
        attempts = 0
        while True:
            attempts += 1
            with self._open("reading the SADB") as link:
                try:
                    return link.dump(satype)
                except AnswerLost:
                    # The last message was pushed out by what other programs did.
                    if attempts == _DUMP_ATTEMPTS:
                        raise

    def _apply(self, operations: t.Sequence[Operation]) -> None:
        with self._open("changing the SADB") as link:
            steps = list(self._steps(link, operations))
            done: list[_Step] = []
            for step in steps:
                error, step = self._carry_out(link, step)
                if error is None or step.doubtful:
                    done.append(step)
                if error is not None:
                    raise self._after_undo(error, done)

    def _steps(self, link: Pfkey, operations: t.Sequence[Operation]) -> t.Iterator[_Step]:
        """Every request, once what goes is seen to be what was read. Raises SadbError before anything is touched."""
        for operation in operations:
            if operation.old is not None:
                told = self._current(link, operation.old)
                if operation.new is not None:
                    self._check_way_back(operation.old.sa)
                yield _Step(operation.old.sa, False, told)
            if operation.new is not None:
                yield _Step(operation.new, True, None)

    def _current(self, link: Pfkey, entry: Entry) -> Message:
        """What the kernel holds right now under an identity. Raises SadbError unless it is that very SA."""
        try:
            told = link.ask(messages.GET, messages.satype_of(entry.sa), messages.identify(self.dialect, entry.sa))
        except PfkeyError as exc:
            raise explain(self.dialect, exc, entry.sa) from None
        if messages.decode(self.dialect, told).sa != entry.sa:
            raise explain(self.dialect, PfkeyError(errno.ESTALE), entry.sa)
        return told

    def _check_way_back(self, sa: SecurityAssociation) -> None:
        if not _restorable(sa):
            raise SadbError(
                "PF_KEY does not show all of this SA, so it could not be put back if its replacement failed",
                label(sa),
                "Delete it first, or use the backend that made it. Nothing was changed.",
            )

    def _request(self, link: Pfkey, step: _Step, takes_back: bool = False) -> None:
        """Carry a step out, or take it back."""
        satype = messages.satype_of(step.sa)
        if step.adds == takes_back:
            link.ask(messages.DELETE, satype, messages.identify(self.dialect, step.sa))
        elif step.before is not None:
            link.ask(messages.ADD, satype, messages.restore(self.dialect, step.before))
        else:
            link.ask(messages.ADD, satype, messages.new_sa(self.dialect, step.sa))

    def _carry_out(self, link: Pfkey, step: _Step) -> tuple[SadbError | None, _Step]:
        """What went wrong, and the step, doubtful if it may have happened anyway."""
        try:
            self._request(link, step)
        except AnswerLost as exc:
            error = explain(self.dialect, exc, step.sa, step.adds)
            try:
                return (None if self._is_there(step.sa) == step.adds else error), step
            except SadbError:
                return error, step._replace(doubtful=True)
        except PfkeyError as exc:
            return explain(self.dialect, exc, step.sa, step.adds), step
        return None, step

    def _is_there(self, sa: SecurityAssociation) -> bool:
        found = [entry.sa for entry in self.dump(sa.protocol, destination=sa.destination) if entry.sa.spi == sa.spi]
        return any(
            there.encryption_key == sa.encryption_key and there.authentication_key == sa.authentication_key
            for there in found
        )

    def _after_undo(self, error: SadbError, done: t.Sequence[_Step]) -> SadbError:
        """Undo in reverse order; return the error extended with the result.

        Doubtful steps are undone as well: if an SA is already gone, or still there, that counts as success.
        """
        not_undone = []
        renewed = 0
        for step in reversed(done):
            if step.before is not None and not _restorable(step.sa):
                not_undone.append(
                    SadbError("PF_KEY does not show all of it, so it could not be put back", label(step.sa))
                )
                continue
            try:
                # A separate socket, since the other one may be what is broken.
                with self._open("taking back a change") as link:
                    self._take_back(link, step)
            except SadbError as failure:
                not_undone.append(failure)
            else:
                renewed += step.before is not None and messages.decode(self.dialect, step.before).counters.packets > 0
        note = (
            f" Counters and sequence numbers of {renewed} SAs restarted, since PF_KEY cannot set them; rotate"
            " where peers check for replays."
        )
        return with_outcome(error, not_undone, SADB_UNCHANGED, note if renewed else "")

    def _take_back(self, link: Pfkey, step: _Step) -> None:
        try:
            self._request(link, step, takes_back=True)
        except AnswerLost as exc:
            message = f"whether the kernel took back {'an addition' if step.adds else 'a deletion'} is unknown"
            name = explain(self.dialect, exc, step.sa).errno_name
            raise SadbError(message, label(step.sa), "Look at what is there, and run again.", name) from None
        except PfkeyError as exc:
            if not (step.doubtful and exc.errno in (*_NOTHING_THERE, errno.EEXIST)):
                raise explain(self.dialect, exc, step.sa) from None

    def _flush(self, protocol: str) -> None:
        with self._open("flushing the SADB") as link:
            try:
                link.ask(messages.FLUSH, SA_TYPES[protocol] if protocol else ANY_TYPE)
            except PfkeyError as exc:
                if exc.errno not in _NOTHING_THERE:
                    raise

    def local_addresses(self) -> frozenset[bytes]:
        from .addresses import local_addresses

        return local_addresses(self.dialect)

    def keys_hidden(self) -> bool:
        seen = [entry.sa.encryption_key + entry.sa.authentication_key for entry in self.dump()]
        material = [key for key in seen if key]
        return bool(material) and not any(map(any, material))


def _restorable(sa: SecurityAssociation) -> bool:
    material = sa.encryption_key + sa.authentication_key
    return UNTOLD not in (sa.encryption, sa.authentication) and (any(material) or not material)


def refusals(dialect: Dialect, sa: SecurityAssociation) -> t.Iterator[InputError]:
    """What of the SA PF_KEY cannot express in a dialect, by option name."""
    name = dialect.name
    for field, empty in (("mark", None), ("if_id", 0), ("output_mark", None), ("tfc_padding", 0), ("nat_keepalive", 0)):
        if getattr(sa, field) != empty:
            yield InputError(f"PF_KEY has no {field}", field, "Take it away, or use the backend xfrm on Linux.")
    if sa.esn and not dialect.flags.esn:
        yield InputError(
            f"PF_KEY of {name} has no extended sequence numbers",
            "esn",
            "Turn it off, or use the backend xfrm on Linux.",
        )
    elif sa.esn and not sa.replay_window:
        yield InputError(
            f"PF_KEY of {name} has no extended sequence numbers without a replay window",
            "esn",
            "Set replay_window, 32 or more.",
        )
    if sa.reqid >> dialect.reqid_bits:
        fits = f"of {dialect.reqid_bits} bits" if dialect.reqid_bits else "at all"
        yield InputError(
            f"PF_KEY of {name} has no reqid {fits}" if not dialect.reqid_bits else f"a reqid on {name} is {fits}",
            "reqid",
            "Choose a smaller one, or 0.",
        )
    yield from _algorithm_refusals(dialect, sa)
    yield from _window_refusals(dialect, sa)
    for limit, value in zip(NO_LIFETIMES._fields, sa.lifetimes):
        if value and limit not in dialect.limits:
            yield InputError(
                f"{name} does not keep this limit when it comes over PF_KEY", limit, "Leave the limit away."
            )
        elif limit.endswith("_packets") and value >> 32:
            yield InputError("a number of packets fits 32 bits in PF_KEY", limit, f"Choose at most {0xFFFFFFFF}.")
        elif value == _INFINITE:
            yield InputError(f"{name} takes this number for no limit", limit, "Leave the limit away.")
    yield from _traffic_refusals(dialect, sa)
    words = {PAIR_SPI: dialect.pair, REPLAY_VALUE: dialect.replay_value}
    for keyword, text in sa.extra:
        if not words.get(keyword):
            yield InputError(f"PF_KEY of {name} has nothing like it", keyword, "Take it away.")
        elif not _is_word(text):
            yield InputError(f"{shown(text)} does not fit the 32 bits of PF_KEY", keyword, "Choose a smaller number.")


def _is_word(text: str) -> bool:
    try:
        return 0 <= int(text, 0) < 1 << 32
    except ValueError:
        return False


def _algorithm_refusals(dialect: Dialect, sa: SecurityAssociation) -> t.Iterator[InputError]:
    if sa.encryption and sa.encryption not in dialect.encryption:
        yield _no_number(dialect, sa.encryption, "encryption_algorithm", dialect.encryption)
    if sa.authentication and sa.authentication not in dialect.authentication:
        yield _no_number(dialect, sa.authentication, "authentication_algorithm", dialect.authentication)
    integrity = dialect.authentication.get(sa.authentication)
    if integrity is not None and sa.icv_bits != integrity.icv_bits:
        yield InputError(
            f"PF_KEY of {dialect.name} gives {sa.authentication} an ICV of {integrity.icv_bits} bits, not"
            f" {sa.icv_bits}",
            "icv_bits",
            f"Set {integrity.icv_bits} on both peers, choose another algorithm, or use another backend.",
        )


def _no_number(dialect: Dialect, algorithm: str, place: str, known: t.Iterable[str]) -> InputError:
    return InputError(
        f"{algorithm} has no number in PF_KEY of {dialect.name}", place, f"Choose one of: {', '.join(known)}."
    )


def _window_refusals(dialect: Dialect, sa: SecurityAssociation) -> t.Iterator[InputError]:
    window = sa.replay_window
    if window > dialect.replay_most:
        message = f"PF_KEY of {dialect.name} has replay windows of {dialect.replay_most} packets at most"
        yield InputError(message, "replay_window", f"Choose 0 to {dialect.replay_most}.")
    elif window % dialect.replay_unit:
        message = f"replay windows on {dialect.name} are multiples of {dialect.replay_unit} packets"
        yield InputError(
            message,
            "replay_window",
            f"Choose {window // dialect.replay_unit * dialect.replay_unit + dialect.replay_unit}.",
        )
    if window and not dialect.any_source and is_unspecified(sa.source):
        yield InputError(
            f"{dialect.name} gives an SA without a source no replay window",
            "replay_window",
            "Name the source, or choose 0.",
        )


def _traffic_refusals(dialect: Dialect, sa: SecurityAssociation) -> t.Iterator[InputError]:
    name = dialect.name
    if sa.encapsulation is not None:
        if dialect.encapsulation is None:
            yield InputError(
                f"ESP in UDP on {name} is not known to this backend", "encapsulation", "Use the backend solaris."
            )
        for field in ("nat_local", "nat_remote"):
            if getattr(sa.encapsulation, field):
                yield InputError(f"{name} takes no original address over PF_KEY", field, "Take it away.")
    selector, numbers = sa.selector, dialect.selector
    networks = (selector.source, selector.destination) if selector is not None else (b"", b"")
    if numbers.destination:
        # The inner addresses are what makes a tunnel there.
        if sa.mode == TUNNEL and not all(networks):
            yield InputError(
                f"tunnel mode on {name} needs both networks", "selector", "Give source and destination of the selector."
            )
        if sa.mode == TRANSPORT and any(networks):
            yield InputError(
                f"inner addresses mean tunnel mode on {name}",
                "selector",
                "Use tunnel mode, or take the addresses away.",
            )
        return
    if selector is None:
        return
    if not numbers.source:
        yield InputError(f"SAs have no selector on {name}", "selector", "Take it away; a policy selects the traffic.")
        return
    if selector.destination or selector.protocol or selector.source_port or selector.destination_port:
        yield InputError(
            f"PF_KEY of {name} takes the source network of a selector only",
            "selector",
            "Take the rest away, or use the backend xfrm.",
        )
    if selector.source == sa.source:
        message = f"PF_KEY of {name} does not show a selector that begins with the SA's own source"
        yield InputError(message, "selector source", "Take it away, or use the backend xfrm.")
    elif selector.source and len(selector.source) != len(sa.source):
        message = f"PF_KEY of {name} has no selector of another address family than the SA's"
        yield InputError(message, "selector source", "Use the backend xfrm.")
