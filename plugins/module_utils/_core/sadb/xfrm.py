# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_utils is private to the collection and may change at any time.

"""The SADB of Linux over NETLINK_XFRM.

Layouts and numbers are those of ``include/uapi/linux/xfrm.h``; what the kernel makes of them is in ``net/xfrm/xfrm_user.c``. An SA's key is never
changed in place: XFRM_MSG_UPDSA reports success and keeps the old key.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import gc
import os
import socket
import struct
import typing as t

from .. import keys
from ..algorithms import BY_NAME, find_linux
from ..association import (
    AH,
    ESP,
    INBOUND,
    NO_LIFETIMES,
    OUTBOUND,
    TRANSPORT,
    TUNNEL,
    Counters,
    Encapsulation,
    Entry,
    Lifetimes,
    Mark,
    SecurityAssociation,
    Selector,
    identity,
    label,
    normal_selector,
)
from ..errors import InputError, SadbError
from . import XFRM, Sadb
from .netlink import (
    ATTRIBUTE,
    NETLINK_ROUTE,
    NETLINK_XFRM,
    NLM_F_CREATE,
    NLM_F_EXCL,
    AnswersLost,
    Message,
    Netlink,
    NetlinkError,
    Part,
    Refusal,
    attribute,
    attributes,
    errno_name,
    errno_text,
)

if t.TYPE_CHECKING:
    from ..plan import Operation

XFRM_MSG_NEWSA = 0x10
XFRM_MSG_DELSA = 0x11
XFRM_MSG_GETSA = 0x12
XFRM_MSG_FLUSHSA = 0x1C

XFRMA_ALG_AUTH = 1
XFRMA_ALG_CRYPT = 2
XFRMA_ENCAP = 4
XFRMA_LTIME_VAL = 9
XFRMA_REPLAY_VAL = 10
XFRMA_LASTUSED = 15
XFRMA_ALG_AEAD = 18
XFRMA_ALG_AUTH_TRUNC = 20
XFRMA_MARK = 21
XFRMA_REPLAY_ESN_VAL = 23
XFRMA_PROTO = 25
XFRMA_ADDRESS_FILTER = 26
XFRMA_PAD = 27
XFRMA_IF_ID = 31
XFRMA_SA_DIR = 33

_FLAG_AF_UNSPEC = 32
_FLAG_ESN = 128
_INFINITE = (1 << 64) - 1
_UDP_ENCAP_ESPINUDP = 2
_WINDOW_OF_BASE = 32
# Operations whose messages are in memory at the same time.
_CHUNK = 1024
_REPLAY_VALUE = "replay_value"

_RTM_NEWADDR = 20
_RTM_GETADDR = 22
_IFA_ADDRESS = 1
_IFA_LOCAL = 2

_LOCKDOWN = "/sys/kernel/security/lockdown"

PROTOCOL_NUMBERS = {ESP: socket.IPPROTO_ESP, AH: socket.IPPROTO_AH, "comp": 108, "route2": socket.IPPROTO_ROUTING, "hao": socket.IPPROTO_DSTOPTS}
PROTOCOL_NAMES = {number: name for name, number in PROTOCOL_NUMBERS.items()}
_PROTOCOL_ANY = 255
MODE_NUMBERS = {TRANSPORT: 0, TUNNEL: 1, "ro": 2, "in_trigger": 3, "beet": 4, "iptfs": 5}
MODE_NAMES = {number: name for name, number in MODE_NUMBERS.items()}
_DIRECTION_NUMBERS = {INBOUND: 1, OUTBOUND: 2}
_DIRECTION_NAMES = {number: name for name, number in _DIRECTION_NUMBERS.items()}
_FAMILIES = {4: socket.AF_INET, 16: socket.AF_INET6}
_ADDRESS_SIZES = {int(family): size for size, family in _FAMILIES.items()}

# Native alignment, since the kernel's structures have it; 0Q pads a structure that has 64-bit members to its whole size.
# xfrm_selector: addresses (destination first), ports with masks, family, prefixes, protocol, interface, user.
_SELECTOR = struct.Struct("@16s16sHHHHHBBBiI")
# xfrm_usersa_info: selector, id (destination, SPI, protocol), source, lifetime_cfg, lifetime_cur, stats, seq, reqid, family, mode, window, flags.
_INFO = struct.Struct("@56s16sIB3x16s64s4QIIIIIHBBB0Q")
_LIFETIMES = struct.Struct("@8Q")
_USED = struct.Struct("@4Q")
# xfrm_usersa_id: destination, SPI, family, protocol.
_ID = struct.Struct("@16sIHB0I")
_ALGORITHM = struct.Struct("@64sI")
_ALGORITHM_ICV = struct.Struct("@64sII")
_REPLAY = struct.Struct("@III")
# xfrm_replay_state_esn: words of the bitmap, out, in, out high, in high, window; then the bitmap.
_REPLAY_ESN = struct.Struct("@6I")
_ENCAP = struct.Struct("@HHH2x16s")
_MARK = struct.Struct("@II")
_U32 = struct.Struct("@I")
_U32_ATTRIBUTE = struct.Struct("@HHI")
_U8_ATTRIBUTE = struct.Struct("@HHB3x")
_ADDRESS_FILTER = struct.Struct("@16s16sHBB")

_NO_BYTES = bytes(96)
_NO_LIMITS = _LIFETIMES.pack(*(_INFINITE,) * 4, *(0,) * 4)
_ANY_TRAFFIC = frozenset(bytes(40) + struct.pack("@H", family) + bytes(14) for family in (socket.AF_UNSPEC, socket.AF_INET, socket.AF_INET6))


def pack_selector(selector: Selector, family: int) -> bytes:
    """struct xfrm_selector; the family is that of its addresses, ``family`` where it has none."""
    address = selector.source or selector.destination
    return _SELECTOR.pack(
        selector.destination,
        selector.source,
        socket.htons(selector.destination_port),
        0xFFFF if selector.destination_port else 0,
        socket.htons(selector.source_port),
        0xFFFF if selector.source_port else 0,
        _FAMILIES[len(address)] if address else family,
        selector.destination_prefix,
        selector.source_prefix,
        selector.protocol,
        0,
        0,
    )


def unpack_selector(packed: bytes) -> tuple[Selector, int]:
    """A selector with packed addresses, and its family (0: none)."""
    destination, source, destination_port, dummy, source_port, dummy, family, prefix_d, prefix_s, protocol, dummy, dummy = _SELECTOR.unpack(packed)
    size = _ADDRESS_SIZES.get(family, 4)
    return Selector(source[:size], prefix_s, destination[:size], prefix_d, protocol, socket.ntohs(source_port), socket.ntohs(destination_port)), family


def pack_lifetimes(lifetimes: Lifetimes) -> bytes:
    """struct xfrm_lifetime_cfg: no limit is the highest number for bytes and packets, 0 for times."""
    soft_bytes, hard_bytes, soft_packets, hard_packets, soft_add, hard_add, soft_use, hard_use = lifetimes
    counts = (soft_bytes or _INFINITE, hard_bytes or _INFINITE, soft_packets or _INFINITE, hard_packets or _INFINITE)
    return _LIFETIMES.pack(*counts, soft_add, hard_add, soft_use, hard_use)


def unpack_lifetimes(packed: bytes) -> Lifetimes:
    if packed == _NO_LIMITS:
        return NO_LIFETIMES
    limits = _LIFETIMES.unpack(packed)
    return Lifetimes(*(0 if limit == _INFINITE else limit for limit in limits[:4]), *limits[4:])


@functools.lru_cache(maxsize=256)
def _algorithm_prefix(name: str, kind: int, key_size: int, icv_bits: int) -> bytes:
    """Everything of an algorithm attribute that comes before the key; a name without a row is the kernel's own."""
    row = BY_NAME.get(name)
    linux = (row.linux if row is not None else name).encode("ascii")
    payload = _ALGORITHM.pack(linux, key_size * 8) if kind == XFRMA_ALG_CRYPT else _ALGORITHM_ICV.pack(linux, key_size * 8, icv_bits)
    return ATTRIBUTE.pack(4 + len(payload) + key_size, kind) + payload


def _algorithm(name: str, kind: int, key: bytes, icv_bits: int = 0) -> bytes:
    size = len(key)
    return _algorithm_prefix(name, kind, size, icv_bits) + key + bytes(-size % 4)


def _is_combined(sa: SecurityAssociation) -> bool:
    row = BY_NAME.get(sa.encryption)
    return row.combined if row is not None else bool(sa.icv_bits and not sa.authentication)


def _replay_attribute(sa: SecurityAssociation) -> bytes:
    """The sequence numbers that the SA starts with, where it says so, and a window that the base structure cannot hold.

    Every number up to the start counts as received, so that nothing old is taken twice. An SA that says its direction has one counter.
    """
    start = int(dict(sa.extra).get(_REPLAY_VALUE, "0"), 0)
    out = start if sa.direction != INBOUND else 0
    into = start if sa.direction != OUTBOUND else 0
    bits = 0xFFFFFFFF
    if not sa.esn and sa.replay_window <= _WINDOW_OF_BASE:
        return attribute(XFRMA_REPLAY_VAL, _REPLAY.pack(out & bits, into & bits, bits if into else 0)) if start else b""
    words = (sa.replay_window + 31) // 32
    state = _REPLAY_ESN.pack(words, out & bits, into & bits, out >> 32, into >> 32, sa.replay_window)
    return attribute(XFRMA_REPLAY_ESN_VAL, state + (b"\xff" if into else b"\0") * (4 * words))


def new_sa(sa: SecurityAssociation) -> Message:
    """XFRM_MSG_NEWSA. Integrity goes as XFRMA_ALG_AUTH_TRUNC with its ICV: without, the kernel takes 96 bits for hmac(sha256)."""
    family = _FAMILIES[len(sa.destination)]
    flags = _FLAG_ESN if sa.esn else 0
    if sa.selector is not None:
        selector = pack_selector(sa.selector, family)
    else:
        selector = b""
        if sa.mode == TUNNEL:
            # No family, so that packets of either may go through the tunnel.
            flags |= _FLAG_AF_UNSPEC
    window = sa.replay_window if sa.replay_window <= _WINDOW_OF_BASE and not sa.esn else 0
    parts = [
        _INFO.pack(
            selector,
            sa.destination,
            socket.htonl(sa.spi),
            PROTOCOL_NUMBERS[sa.protocol],
            sa.source,
            _NO_LIMITS if sa.lifetimes is NO_LIFETIMES else pack_lifetimes(sa.lifetimes),
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            sa.reqid,
            family,
            MODE_NUMBERS[sa.mode],
            window,
            flags,
        )
    ]
    if sa.encryption:
        if _is_combined(sa):
            parts.append(_algorithm(sa.encryption, XFRMA_ALG_AEAD, sa.encryption_key, sa.icv_bits))
        else:
            parts.append(_algorithm(sa.encryption, XFRMA_ALG_CRYPT, sa.encryption_key))
    if sa.authentication:
        parts.append(_algorithm(sa.authentication, XFRMA_ALG_AUTH_TRUNC, sa.authentication_key, sa.icv_bits))
    if sa.esn or sa.replay_window > _WINDOW_OF_BASE or sa.extra:
        parts.append(_replay_attribute(sa))
    if sa.mark is not None:
        parts.append(attribute(XFRMA_MARK, _MARK.pack(*sa.mark)))
    if sa.if_id:
        parts.append(_U32_ATTRIBUTE.pack(8, XFRMA_IF_ID, sa.if_id))
    if sa.encapsulation is not None:
        ports = socket.htons(sa.encapsulation.source_port), socket.htons(sa.encapsulation.destination_port)
        parts.append(attribute(XFRMA_ENCAP, _ENCAP.pack(_UDP_ENCAP_ESPINUDP, *ports, sa.encapsulation.nat_remote)))
    if sa.direction and not (sa.direction == OUTBOUND and sa.replay_window):
        # Since Linux 6.10; older kernels ignore it. With it an outbound SA may have no window, and without it ESN needs one.
        parts.append(_U8_ATTRIBUTE.pack(5, XFRMA_SA_DIR, _DIRECTION_NUMBERS[sa.direction]))
    return Message(XFRM_MSG_NEWSA, b"".join(parts), NLM_F_CREATE | NLM_F_EXCL)


def _sa_id(kind: int, sa: SecurityAssociation) -> Message:
    body = _ID.pack(sa.destination, socket.htonl(sa.spi), _FAMILIES[len(sa.destination)], PROTOCOL_NUMBERS.get(sa.protocol) or int(sa.protocol))
    return Message(kind, body if sa.mark is None else body + attribute(XFRMA_MARK, _MARK.pack(*sa.mark)))


def delete_sa(sa: SecurityAssociation) -> Message:
    return _sa_id(XFRM_MSG_DELSA, sa)


@functools.lru_cache(maxsize=256)
def _read_algorithm(prefix: bytes) -> tuple[str, int]:
    """Name and key bytes from struct xfrm_algo without its key."""
    linux, bits = _ALGORITHM.unpack(prefix)
    return _name(linux, 0), (bits + 7) // 8


@functools.lru_cache(maxsize=256)
def _read_algorithm_icv(prefix: bytes, combined: bool) -> tuple[str, int, int]:
    """Name, key bytes and ICV bits from struct xfrm_algo_auth or xfrm_algo_aead without its key."""
    linux, bits, icv_bits = _ALGORITHM_ICV.unpack(prefix)
    return _name(linux, icv_bits if combined else 0), (bits + 7) // 8, icv_bits


def _name(linux: bytes, icv_bits: int) -> str:
    """Our name for the kernel's; the kernel's own where the table has no row, as for the SAs of other programs."""
    text = linux.rstrip(b"\0").decode("ascii", "replace")
    row = find_linux(text, icv_bits)
    return row.name if row is not None else text


_make = tuple.__new__


@functools.lru_cache(maxsize=64)
def _unused(add_time: int) -> Counters:
    """The counters of an SA that has done nothing; thousands that were added in one second share them."""
    return Counters(add_time=add_time)


def decode(part: Part) -> Entry:
    """An Entry from XFRM_MSG_NEWSA. Never fails on an SA of another program: what the model lacks is left out."""
    buffer, start, end = part
    (
        selector,
        destination,
        spi,
        protocol,
        source,
        lifetimes,
        used_bytes,
        used_packets,
        add_time,
        use_time,
        late,
        replayed,
        integrity_failures,
        dummy,
        reqid,
        family,
        mode,
        window,
        flags,
    ) = _INFO.unpack_from(buffer, start)
    offset = start + _INFO.size
    encryption = authentication = direction = ""
    encryption_key = authentication_key = b""
    icv_bits = if_id = sequence_out = sequence_in = 0
    mark = encapsulation = None
    while offset + 4 <= end:
        length, kind = ATTRIBUTE.unpack_from(buffer, offset)
        if kind == XFRMA_ALG_AUTH_TRUNC:
            authentication, size, icv_bits = _read_algorithm_icv(buffer[offset + 4 : offset + 76], False)
            authentication_key = buffer[offset + 76 : offset + 76 + size]
        elif kind == XFRMA_ALG_CRYPT:
            encryption, size = _read_algorithm(buffer[offset + 4 : offset + 72])
            encryption_key = buffer[offset + 72 : offset + 72 + size]
        elif kind == XFRMA_REPLAY_VAL:
            sequence_out, sequence_in, dummy = _REPLAY.unpack_from(buffer, offset + 4)
        elif kind == XFRMA_ALG_AEAD:
            encryption, size, icv_bits = _read_algorithm_icv(buffer[offset + 4 : offset + 76], True)
            encryption_key = buffer[offset + 76 : offset + 76 + size]
        elif kind == XFRMA_REPLAY_ESN_VAL:
            dummy, out_low, in_low, out_high, in_high, window = _REPLAY_ESN.unpack_from(buffer, offset + 4)
            sequence_out, sequence_in = out_high << 32 | out_low, in_high << 32 | in_low
        elif kind == XFRMA_MARK:
            mark = Mark(*_MARK.unpack_from(buffer, offset + 4))
        elif kind == XFRMA_IF_ID:
            if_id = _U32.unpack_from(buffer, offset + 4)[0]
        elif kind == XFRMA_ENCAP:
            encapsulation = _encapsulation(buffer, offset + 4, family)
        elif kind == XFRMA_SA_DIR:
            direction = _DIRECTION_NAMES.get(buffer[offset + 4], "")
        offset += (length + 3) & ~3 or 4
    if family == socket.AF_INET:
        source, destination = source[:4], destination[:4]
    sa = _make(
        SecurityAssociation,
        (
            PROTOCOL_NAMES.get(protocol) or str(protocol),
            socket.ntohl(spi),
            source,
            destination,
            MODE_NAMES.get(mode) or str(mode),
            encryption,
            encryption_key,
            authentication,
            authentication_key,
            icv_bits,
            window,
            flags & _FLAG_ESN != 0,
            reqid,
            mark,
            if_id,
            None if selector in _ANY_TRAFFIC else normal_selector(unpack_selector(selector)[0]),
            encapsulation,
            NO_LIFETIMES if lifetimes == _NO_LIMITS else unpack_lifetimes(lifetimes),
            direction,
            (),
        ),
    )
    if used_packets or use_time or sequence_out or sequence_in or late or replayed or integrity_failures:
        counters = _make(Counters, (used_bytes, used_packets, add_time, use_time, sequence_out, sequence_in, late, replayed, integrity_failures))
    else:
        counters = _unused(add_time)
    # A larval SA has an SPI at most: no algorithm (net/xfrm/xfrm_state.c, xfrm_find_acq and xfrm_state_find).
    larval = not (encryption or authentication) and protocol in (socket.IPPROTO_ESP, socket.IPPROTO_AH)
    return _make(Entry, (sa, counters, larval, b""))


def _encapsulation(buffer: bytes, offset: int, family: int) -> Encapsulation | None:
    """None for an encapsulation that is not ESP in UDP; the kernel holds one original address, taken for the remote one."""
    kind, source_port, destination_port, original = _ENCAP.unpack_from(buffer, offset)
    if kind != _UDP_ENCAP_ESPINUDP:
        return None
    original = original[: _ADDRESS_SIZES.get(family, 16)]
    return Encapsulation(socket.ntohs(source_port), socket.ntohs(destination_port), b"", original if any(original) else b"")


def _restore(part: Part) -> Message:
    """The XFRM_MSG_NEWSA that puts a dumped SA back as it was: flags, counters, times, sequence numbers and windows included.

    Of what a dump shows, the kernel does not take back the time of the last use and the counts of refused packets.
    """
    buffer, start, end = part
    used = _INFO.unpack_from(buffer, start)[6:10]
    parts = [buffer[start : start + _INFO.size], attribute(XFRMA_LTIME_VAL, _USED.pack(*used))]
    for kind, (first, last) in attributes(buffer, start + _INFO.size, end).items():
        if kind not in (XFRMA_LASTUSED, XFRMA_PAD, XFRMA_LTIME_VAL):
            parts.append(attribute(kind, buffer[first:last]))
    return Message(XFRM_MSG_NEWSA, b"".join(parts), NLM_F_CREATE | NLM_F_EXCL)


def _as_told(sa: SecurityAssociation) -> tuple[t.Any, ...]:
    """The fields that every kernel tells: all but direction and extra, which are the last."""
    return sa[:-2]


def _redacted(sa: SecurityAssociation) -> bool:
    """Whether all key material reads as zeros (xfrm_redact() under lockdown)."""
    material = sa.encryption_key + sa.authentication_key
    return bool(material) and not any(material)


class _Explanation(t.NamedTuple):
    """What an errno means where the kernel's text contains ``words``; the braces are filled by `_explain`."""

    errno: int
    words: str
    message: str
    hint: str


_LOAD = "Load what is missing (modprobe -a {modules}); where it is not installed or not built, take another kernel package{otherwise}."
_EXPLANATIONS = (
    _Explanation(errno.EPERM, "", "the process lacks CAP_NET_ADMIN in this network namespace", "Run it as root of the host (become: true)."),
    _Explanation(
        errno.EEXIST,
        "",
        "another SA has this identity (protocol, destination, SPI and mark; the source does not count)",
        "It came after the SADB was read, so another program adds SAs here. Run again, or choose another SPI.",
    ),
    _Explanation(errno.ESRCH, "", "the SA is not there any more", "Another program changed the SADB after it was read. Run again."),
    _Explanation(errno.ESTALE, "", "the SA is not the one that was read", "Another program changed the SADB after it was read. Run again."),
    _Explanation(errno.EPROTONOSUPPORT, "mode", "the kernel has no {mode} mode for {family}", _LOAD),
    _Explanation(errno.EPROTONOSUPPORT, "", "the kernel has no {protocol} for {family}", _LOAD),
    _Explanation(errno.EAFNOSUPPORT, "", "the kernel has no {family}", "Enable it, or use addresses of the other family."),
    _Explanation(errno.ENOSYS, "", "the kernel lacks an algorithm of {suite}", _LOAD),
    _Explanation(errno.ENOENT, "", "the kernel cannot set up {suite}", _LOAD),
    _Explanation(errno.EINVAL, "cryptographic", "the kernel cannot set up {suite}", _LOAD),
    _Explanation(errno.ENOMEM, "", "the kernel has no memory for it", "Free memory and run again."),
    _Explanation(errno.ENOBUFS, "", "the kernel has no memory for its answers", "Raise net.core.rmem_max, or run as root, and run again."),
)
_TYPE_MODULES = {(ESP, 4): "esp4", (AH, 4): "ah4", (ESP, 16): "esp6", (AH, 16): "ah6"}


def _modules(sa: SecurityAssociation) -> list[str]:
    """Every Linux module that the SA uses, the protocol's first."""
    rows = [row for row in (BY_NAME.get(sa.encryption), BY_NAME.get(sa.authentication)) if row is not None]
    found = [_TYPE_MODULES.get((sa.protocol, len(sa.destination)), "")]
    if sa.protocol == ESP and not _is_combined(sa):
        found += ["authencesn" if sa.esn else "authenc", "echainiv"]
    found += [module for row in rows for module in row.modules]
    return list(dict.fromkeys(filter(None, found)))


def _explain(refusal: Refusal, sa: SecurityAssociation) -> SadbError:
    """The kernel's refusal in our words: what, why in its own text, and what to do."""
    name = errno_name(refusal.errno)
    cause = f"{name}: {refusal.text}" if refusal.text else f"{name}: {errno_text(refusal.errno)}"
    found = next((row for row in _EXPLANATIONS if row.errno == refusal.errno and row.words in refusal.text), None)
    if found is None:
        return SadbError(f"the kernel refuses it ({cause})", label(sa), "", name)
    words = {
        "protocol": sa.protocol.upper(),
        "family": "IPv4" if len(sa.destination) == 4 else "IPv6",
        "mode": sa.mode,
        "suite": " with ".join(filter(None, (sa.encryption, sa.authentication))),
        "modules": " ".join(_modules(sa)) if refusal.errno != errno.EPROTONOSUPPORT else _modules(sa)[0],
        "otherwise": "" if refusal.errno == errno.EPROTONOSUPPORT else " or another algorithm",
    }
    return SadbError(f"{found.message.format(**words)} ({cause})", label(sa), found.hint.format(**words), name)


def _exchange_error(exc: NetlinkError, doing: str) -> SadbError:
    """What went wrong with the exchange as a whole."""
    refusal = exc.refusal
    name = errno_name(refusal.errno)
    cause = f"{name}: {refusal.text or errno_text(refusal.errno)}"
    if refusal.errno == errno.EPROTONOSUPPORT:
        return SadbError(f"the kernel has no netlink interface to its SADB ({cause})", doing, "Load the module xfrm_user (modprobe xfrm_user).", name)
    if refusal.errno in (errno.EPERM, errno.EACCES):
        return SadbError(f"the process lacks CAP_NET_ADMIN in this network namespace ({cause})", doing, "Run it as root of the host (become: true).", name)
    return SadbError(f"the exchange with the kernel failed ({cause})", doing, "", name)


@contextlib.contextmanager
def open_link(family: int, doing: str) -> t.Iterator[Netlink]:
    """A netlink socket whose failures are our errors; ``doing`` says what they interrupt."""
    try:
        with Netlink(family) as link:
            yield link
    except NetlinkError as exc:
        raise _exchange_error(exc, doing) from None


@contextlib.contextmanager
def _no_collection() -> t.Iterator[None]:
    """Without the cyclic garbage collector, which would walk ten thousands of fresh tuples again and again; none of them is in a cycle."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class _Step(t.NamedTuple):
    """One request of an `apply`: the SA it is about, whether it adds it, and what the kernel showed of it where it deletes it."""

    sa: SecurityAssociation
    adds: bool
    before: Part | None

    def request(self) -> Message:
        return new_sa(self.sa) if self.adds else delete_sa(self.sa)

    def inverse(self) -> Message:
        return _restore(self.before) if self.before is not None else delete_sa(self.sa)


def _steps(operations: t.Sequence[Operation], before: t.Mapping[int, Part]) -> tuple[list[_Step], set[int]]:
    """The steps of some operations, and the indexes of those that must go in one send with the step before: the second half of a replacement."""
    steps: list[_Step] = []
    together = set()
    for operation in operations:
        if operation.old is not None:
            steps.append(_Step(operation.old.sa, False, before[id(operation.old)]))
            if operation.new is not None:
                together.add(len(steps))
        if operation.new is not None:
            steps.append(_Step(operation.new, True, None))
    return steps, together


def _first_of(refusals: t.Mapping[int, Refusal], steps: t.Sequence[_Step]) -> SadbError:
    """One error for all refusals of a batch: the first, and how many more there are."""
    index = min(refusals)
    first = _explain(refusals[index], steps[index].sa)
    rest = f"; {len(refusals) - 1} more SAs were refused" if len(refusals) > 1 else ""
    return SadbError(first.message + rest, first.place, first.hint, first.errno_name)


class XfrmSadb(Sadb):
    """Linux."""

    name = XFRM

    def refusals(self, sa: SecurityAssociation) -> list[InputError]:
        found = []
        for keyword, text in sa.extra:
            if keyword != _REPLAY_VALUE:
                found.append(InputError("Linux has nothing like it", keyword, "Take it away, or use it for Solaris only."))
            elif not text.isascii() or not _in_range(text, 64 if sa.esn else 32):
                found.append(InputError(f"a sequence number fits {64 if sa.esn else 32} bits here", keyword))
        if sa.encapsulation is not None and sa.encapsulation.nat_local:
            found.append(InputError("Linux keeps the remote original address only", "nat_local", "Take it away; the kernel does not need it."))
        for limit in ("soft_bytes", "hard_bytes", "soft_packets", "hard_packets"):
            if getattr(sa.lifetimes, limit) == _INFINITE:
                found.append(InputError("Linux takes this number for no limit", limit, "Leave the limit away."))
        return found

    def dump(self, protocol: str = "", source: bytes = b"", destination: bytes = b"") -> list[Entry]:
        body = b""
        if protocol:
            body += _U8_ATTRIBUTE.pack(5, XFRMA_PROTO, PROTOCOL_NUMBERS[protocol])
        if source or destination:
            family = _FAMILIES[len(source or destination)]
            body += attribute(XFRMA_ADDRESS_FILTER, _ADDRESS_FILTER.pack(source, destination, family, len(source) * 8, len(destination) * 8))
        with open_link(NETLINK_XFRM, "reading the SADB") as link, _no_collection():
            return link.dump(Message(XFRM_MSG_GETSA, body), XFRM_MSG_NEWSA, decode)

    def apply(self, operations: t.Sequence[Operation]) -> None:
        with open_link(NETLINK_XFRM, "changing the SADB") as link, _no_collection():
            replaced = [operation.old for operation in operations if operation.old is not None]
            before = dict(zip(map(id, replaced), self._current(link, replaced)))
            for first in range(0, len(operations), _CHUNK):
                steps, together = _steps(operations[first : first + _CHUNK], before)
                error, done = self._carry_out(link, steps, together)
                if error is not None:
                    stuck = self._undo(link, [*_steps(operations[:first], before)[0], *done])
                    after = "Undoing the rest failed for: " + "; ".join(map(str, stuck)) if stuck else "The SADB is as it was before."
                    raise SadbError(error.message, error.place, f"{error.hint} {after}".strip(), error.errno_name)

    def _current(self, link: Netlink, entries: t.Sequence[Entry]) -> t.Iterator[Part]:
        """What the kernel holds right now under the identities of ``entries``. Raises SadbError unless those are the very SAs.

        Also where a mark hides one SA behind another: the kernel would delete the wrong one.
        """
        requests = [_sa_id(XFRM_MSG_GETSA, entry.sa) for entry in entries]
        found: list[Part] = []
        for first, last in link.batches(requests, with_answers=True):
            refusals, answers = link.send(requests[first:last])
            for index, entry in enumerate(entries[first:last]):
                answer = answers.get(index)
                if answer is None:
                    raise _explain(refusals.get(index, Refusal(errno.ENOBUFS, "")), entry.sa)
                if _as_told(decode(answer).sa) != _as_told(entry.sa):
                    raise _explain(Refusal(errno.ESTALE, ""), entry.sa)
                found.append(answer)
        return iter(found)

    def _carry_out(self, link: Netlink, steps: t.Sequence[_Step], together: t.AbstractSet[int]) -> tuple[SadbError | None, list[_Step]]:
        """What went wrong, and the steps that were done; no batch follows one with trouble."""
        requests = [step.request() for step in steps]
        done: list[_Step] = []
        for first, last in link.batches(requests, inseparable=together):
            batch = steps[first:last]
            try:
                refusals = link.send(requests[first:last])[0]
            except NetlinkError as exc:
                # What could not be sent was not done; only lost answers leave a doubt.
                return _exchange_error(exc, "changing the SADB"), [*done, *(self._done(batch) if isinstance(exc, AnswersLost) else ())]
            if refusals:
                done += [step for index, step in enumerate(batch) if index not in refusals]
                return _first_of(refusals, batch), done
            done += batch
        return None, done

    def _done(self, steps: t.Sequence[_Step]) -> list[_Step]:
        """Which steps the kernel carried out, seen from the SADB, since its answers were lost.

        An SA that equals the one to be added counts as ours: the plan had not seen it.
        """
        held = {identity(entry.sa): entry.sa for entry in self.dump()}

        def is_there(sa: SecurityAssociation) -> bool:
            found = held.get(identity(sa))
            return found is not None and _as_told(found) == _as_told(sa)

        return [step for step in steps if step.adds == is_there(step.sa)]

    def _undo(self, link: Netlink, done: t.Sequence[_Step]) -> list[SadbError]:
        """Take back what was done, last first; what could not be taken back."""
        stuck = []
        steps = []
        for step in reversed(done):
            if step.before is not None and _redacted(decode(step.before).sa):
                stuck.append(SadbError("the kernel hides its keys, so it could not be put back", label(step.sa)))
            else:
                steps.append(step)
        requests = [step.inverse() for step in steps]
        for first, last in link.batches(requests):
            for index, refusal in link.send(requests[first:last])[0].items():
                stuck.append(_explain(refusal, steps[first + index].sa))
        return stuck

    def flush(self, protocol: str = "") -> None:
        number = PROTOCOL_NUMBERS[protocol] if protocol else _PROTOCOL_ANY
        with open_link(NETLINK_XFRM, "flushing the SADB") as link:
            for refusal in link.send([Message(XFRM_MSG_FLUSHSA, bytes((number, 0, 0, 0)))])[0].values():
                # What the kernel answers, since Linux 6.1 no more, where there was nothing to flush.
                if refusal.errno != errno.ESRCH:
                    raise NetlinkError(refusal)

    def local_addresses(self) -> frozenset[bytes]:
        with open_link(NETLINK_ROUTE, "reading this host's addresses") as link:
            # struct ifaddrmsg: any family, everything else 0.
            return frozenset(filter(None, link.dump(Message(_RTM_GETADDR, bytes(8)), _RTM_NEWADDR, _read_address)))

    def keys_hidden(self) -> bool:
        try:
            with open(_LOCKDOWN, encoding="ascii") as file:
                return "[confidentiality]" in file.read()
        except OSError:
            pass
        seen = [_redacted(entry.sa) for entry in self.dump() if entry.sa.encryption_key or entry.sa.authentication_key]
        return bool(seen) and all(seen)

    def preflight(self, sas: t.Sequence[SecurityAssociation]) -> list[SadbError]:
        shapes = {(sa.protocol, len(sa.destination), sa.mode, sa.encryption, sa.authentication, sa.icv_bits, len(sa.encryption_key), sa.esn): sa for sa in sas}
        probes = [_probe(sa) for sa in shapes.values()]
        found = []
        with open_link(NETLINK_XFRM, "asking the kernel for its algorithms") as link:
            requests = [_broken(new_sa(probe)) for probe in probes]
            for first, last in link.batches(requests):
                refusals = link.send(requests[first:last])[0]
                for index, probe in enumerate(probes[first:last]):
                    refusal = refusals.get(index)
                    if refusal is None:
                        # No kernel is known to accept it; should one do so, it goes again.
                        link.send([delete_sa(probe)])
                    elif not (refusal.errno == errno.EINVAL and (not refusal.text or "replay window" in refusal.text)):
                        found.append(_explain(refusal, list(shapes.values())[first + index]))
        return found


def _read_address(part: Part) -> bytes:
    """The address in a struct ifaddrmsg; of a point-to-point link the plain one is the peer's."""
    buffer, start, end = part
    held = attributes(buffer, start + 8, end)
    first, last = held.get(_IFA_LOCAL) or held.get(_IFA_ADDRESS) or (0, 0)
    return buffer[first:last]


def _in_range(text: str, bits: int) -> bool:
    try:
        return 0 <= int(text, 0) < 1 << bits
    except ValueError:
        return False


def _probe(sa: SecurityAssociation) -> SecurityAssociation:
    """An SA like ``sa`` towards an address that nobody has (RFC 7600, RFC 6666), with random keys."""
    destination = bytes((192, 0, 0, 8)) if len(sa.destination) == 4 else b"\x01\x00" + bytes(14)

    def material(name: str, key: bytes) -> bytes:
        row = BY_NAME.get(name)
        if row is None or not row.key_bits:
            return os.urandom(len(key))
        return keys.generate(row, len(key) * 8 - row.salt_bits if key else None)

    return SecurityAssociation(
        sa.protocol,
        int.from_bytes(os.urandom(4), "big") | 256,
        bytes(len(destination)),
        destination,
        sa.mode,
        sa.encryption,
        material(sa.encryption, sa.encryption_key),
        sa.authentication,
        material(sa.authentication, sa.authentication_key),
        sa.icv_bits,
    )


def _broken(message: Message) -> Message:
    """The same with an anti-replay window larger than its bitmap: the kernel looks at that last, after it has set up protocol and algorithms."""
    return message._replace(body=message.body + attribute(XFRMA_REPLAY_ESN_VAL, _REPLAY_ESN.pack(1, 0, 0, 0, 0, 4096) + bytes(4)))
