# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The SADB of Linux over NETLINK_XFRM: read it, and change it all or nothing."""

from __future__ import annotations

import errno
import typing as t

from ...collector import keep, no_collection
from ...errors import InputError, SadbError
from ...sa.model import ESP, REPLAY_VALUE, Entry, SecurityAssociation
from ..base import XFRM, Sadb, Settle, fits
from . import uapi
from .decode import decode_several, redacted
from .link import open_link
from .netlink import (
    NETLINK_ROUTE,
    NETLINK_XFRM,
    Netlink,
    NetlinkError,
    Part,
    attribute,
    attributes,
    extended,
    make_request,
)

if t.TYPE_CHECKING:
    from ...sa.plan import Operation
    from .watch import Watch

# Fields that kernels before the version ignore, with their attribute.
_SINCE = (
    ("output_mark", uapi.XFRMA_SET_MARK_MASK, "4.19"),
    ("nat_keepalive", uapi.XFRMA_NAT_KEEPALIVE_INTERVAL, "6.11"),
)
# An SA that cannot exist: its address is unassigned (RFC 7600).
_NOBODY = SecurityAssociation(ESP, 1, bytes(4), bytes((192, 0, 0, 8)))
_LOCKDOWN = "/sys/kernel/security/lockdown"


class XfrmSadb(Sadb):
    """The SADB of this network namespace."""

    name = XFRM

    def __init__(self) -> None:
        self._known: dict[int, bool] = {}
        self._watch: Watch | None = None

    def refusals(self, sa: SecurityAssociation) -> list[InputError]:
        found = []
        if sa.esn and not sa.replay_window and not self.tells_directions():
            fix = "Give it one of 32 packets or more; from Linux 6.12 on an outbound SA needs none."
            found.append(InputError("the kernel requires a replay window with extended sequence numbers", "esn", fix))
        for field, kind, version in _SINCE:
            if getattr(sa, field) and not self._knows(kind):
                found.append(
                    InputError("this kernel does not support it", field, f"Remove it, or use Linux {version} or later.")
                )
        for keyword, text in sa.extra:
            if keyword != REPLAY_VALUE:
                found.append(InputError("Linux has nothing like it", keyword, "Remove it, or use it for Solaris only."))
            elif not fits(text, 64 if sa.esn else 32):
                found.append(InputError(f"a sequence number fits {64 if sa.esn else 32} bits here", keyword))
        if sa.encapsulation is not None and sa.encapsulation.nat_local:
            found.append(
                InputError(
                    "Linux keeps only the remote original address",
                    "nat_local",
                    "Remove it; the kernel does not need it.",
                )
            )
        for limit in ("soft_bytes", "hard_bytes", "soft_packets", "hard_packets"):
            if getattr(sa.lifetimes, limit) == uapi.XFRM_INF:
                found.append(InputError("Linux reads this number as no limit", limit, "Omit the limit."))
        return found

    def dump(self, protocol: str = "", source: bytes = b"", destination: bytes = b"") -> list[Entry]:
        body = uapi.ANY_PROTOCOL
        if protocol:
            body = uapi.U8_ATTRIBUTE.pack(5, uapi.XFRMA_PROTO, uapi.PROTOCOL_NUMBERS[protocol])
        if source or destination:
            family = uapi.FAMILIES[len(source or destination)]
            body += attribute(
                uapi.XFRMA_ADDRESS_FILTER,
                uapi.ADDRESS_FILTER.pack(source, destination, family, len(source) * 8, len(destination) * 8),
            )
        request = make_request(uapi.XFRM_MSG_GETSA, body)
        with open_link(NETLINK_XFRM, "reading the SADB") as link, no_collection():
            if protocol or source or destination:
                return link.dump(request, uapi.XFRM_MSG_NEWSA, decode_several)
            return self._dump_watched(link, request)

    def _dump_watched(self, link: Netlink, request: bytes) -> list[Entry]:
        """All SAs, with a `Watch` if there are many."""
        from .watch import MANY, Watch  # only here, since most tasks read a few SAs

        # The entries of the dump before are freed first, so that this one gets their memory.
        self._watch = None
        watch = Watch()

        def read(part: Part) -> list[Entry]:
            found = decode_several(part)
            # All that are found together have the same mark.
            watch.marked |= found[0].sa.mark is not None
            return found

        entries = link.dump(request, uapi.XFRM_MSG_NEWSA, read)
        keep(entries)
        if len(entries) >= MANY:
            watch.entries = entries
            self._watch = watch
        return entries

    def _apply(self, operations: t.Sequence[Operation]) -> None:
        with self.transaction(operations):
            pass

    def _apply_in_two(self, additions: t.Sequence[Operation], settle: Settle, deletions: t.Sequence[Operation]) -> None:
        with self.transaction(additions):
            settle()
            self._apply(deletions)

    def transaction(self, operations: t.Sequence[Operation]) -> t.ContextManager[None]:
        """As `apply`, and undo everything if the block fails; signals are blocked until it ends."""
        from .changes import change  # only here, since most tasks change nothing

        watch, self._watch = self._watch, None
        return change(self, operations, watch)

    def _flush(self, protocol: str) -> None:
        number = uapi.PROTOCOL_NUMBERS[protocol] if protocol else uapi.IPSEC_PROTO_ANY
        with open_link(NETLINK_XFRM, "flushing the SADB") as link:
            for refusal in link.send([make_request(uapi.XFRM_MSG_FLUSHSA, bytes((number, 0, 0, 0)))])[0].values():
                # Before Linux 6.1 the kernel answers this if there was nothing to flush.
                if refusal.errno != errno.ESRCH:
                    raise NetlinkError(refusal)

    def local_addresses(self) -> frozenset[bytes]:
        with open_link(NETLINK_ROUTE, "reading this host's addresses") as link:
            # struct ifaddrmsg: any family, everything else 0.
            return frozenset(
                filter(
                    None,
                    link.dump(
                        make_request(uapi.RTM_GETADDR, bytes(8)), uapi.RTM_NEWADDR, lambda part: [_read_address(part)]
                    ),
                )
            )

    def keys_hidden(self) -> bool:
        try:
            with open(_LOCKDOWN, encoding="ascii") as file:
                return "[confidentiality]" in file.read()
        except OSError:
            pass
        entries = self._watch.entries if self._watch is not None else self.dump()
        seen = [redacted(entry.sa) for entry in entries if entry.sa.encryption_key or entry.sa.authentication_key]
        return bool(seen) and all(seen)

    def tells_directions(self) -> bool:
        return self._knows(uapi.XFRMA_SA_DIR)

    def _knows(self, kind: int) -> bool:
        """Whether the kernel knows an attribute: it refuses an empty one, and ignores one that it does not
        know (xfrma_policy in net/xfrm/xfrm_user.c).
        """
        if kind not in self._known:
            from .ids import sa_id  # only here, since most tasks ask nothing

            with open_link(NETLINK_XFRM, "asking the kernel which properties of SAs it knows") as link:
                question = sa_id(uapi.XFRM_MSG_GETSA, _NOBODY)
                refusal = link.send([extended(question, attribute(kind, b""))])[0].get(0)
                if refusal is not None and refusal.errno == errno.EPERM:
                    raise NetlinkError(refusal)
            self._known[kind] = refusal is not None and refusal.errno != errno.ESRCH
        return self._known[kind]

    def preflight(self, sas: t.Sequence[SecurityAssociation]) -> list[SadbError]:
        from .probe import lacks

        with open_link(NETLINK_XFRM, "asking the kernel for its algorithms") as link:
            return lacks(link, sas)


def _read_address(part: Part) -> bytes:
    """The address in a struct ifaddrmsg. On a point-to-point link IFA_ADDRESS is the peer's."""
    buffer, start, end = part
    found = attributes(buffer, start + 8, end)
    first, last = found.get(uapi.IFA_LOCAL) or found.get(uapi.IFA_ADDRESS) or (0, 0)
    return buffer[first:last]
