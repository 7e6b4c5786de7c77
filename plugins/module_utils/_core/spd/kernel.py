# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The SPD of Linux over NETLINK_XFRM: read it, and change it all or nothing. Policies of single
sockets are neither shown nor changed.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import typing as t

from ..errors import SadbError
from ..sa.model import NO_LIFETIMES, Lifetimes, Mark, Selector
from ..sadb.xfrm import netlink, uapi
from ..sadb.xfrm.decode import unpack_lifetimes
from ..sadb.xfrm.link import open_link
from ..sadb.xfrm.messages import pack_lifetimes
from ..sadb.xfrm.netlink import Part, Refusal, attribute, attributes, make_request
from ..sadb.xfrm.selectors import pack_selector, unpack_selector
from ..sadb.xfrm.strange import strange_word
from ..sadb.xfrm.transaction import TransactionKind, UndoStep, transaction
from ..signals import uninterrupted
from .policy import ACTIONS, DIRECTIONS, REQUIRED, USE, Policy, PolicyEntry, PolicyOperation, Template, identity, label

_BESIDE = (uapi.XFRMA_LASTUSED, uapi.XFRMA_PAD)
_ATTRIBUTES_KNOWN = (uapi.XFRMA_TMPL, uapi.XFRMA_POLICY_TYPE, uapi.XFRMA_MARK, uapi.XFRMA_IF_ID, *_BESIDE)
_ANY_ALGORITHM = 0xFFFFFFFF

# Words of ip(8) for properties that `Policy` has no field for
# (include/uapi/linux/xfrm.h: XFRM_POLICY_*, XFRM_SHARE_*).
_FLAG_WORDS = ("localok", "icmp", "cpu-acquire", *(f"flag-{bit}" for bit in range(3, 8)))
_SHARE_WORDS = ("", "session", "user", "unique")
_ALGORITHM_WORDS = ("auth-algorithms", "encryption-algorithms", "compression-algorithms")


def _family(selector: Selector) -> int:
    return uapi.FAMILIES[len(selector.source or selector.destination or bytes(4))]


def _common(policy: Policy) -> bytes:
    """The attributes that belong to the identity."""
    mark = attribute(uapi.XFRMA_MARK, uapi.MARK.pack(*policy.mark)) if policy.mark is not None else b""
    return mark + (attribute(uapi.XFRMA_IF_ID, uapi.U32.pack(policy.if_id)) if policy.if_id else b"")


def new_policy(policy: Policy, replace: bool = False) -> bytes:
    """XFRM_MSG_NEWPOLICY, or XFRM_MSG_UPDPOLICY."""
    info = uapi.USERPOLICY_INFO.pack(
        pack_selector(policy.selector, _family(policy.selector)),
        pack_lifetimes(NO_LIFETIMES),
        *(0, 0, 0, 0),
        policy.priority,
        0,
        DIRECTIONS.index(policy.direction),
        ACTIONS.index(policy.action),
        0,
        0,
    )
    templates = b"".join(
        uapi.USER_TMPL.pack(
            template.destination,
            socket.htonl(template.spi),
            uapi.PROTOCOL_NUMBERS[template.protocol],
            uapi.FAMILIES[len(template.destination)],
            template.source,
            template.reqid,
            uapi.MODE_NUMBERS[template.mode],
            0,
            template.level == USE,
            *(_ANY_ALGORITHM,) * 3,
        )
        for template in policy.templates
    )
    body = info + (attribute(uapi.XFRMA_TMPL, templates) if templates else b"") + _common(policy)
    return (
        make_request(uapi.XFRM_MSG_UPDPOLICY, body)
        if replace
        else make_request(uapi.XFRM_MSG_NEWPOLICY, body, netlink.NLM_F_CREATE | netlink.NLM_F_EXCL)
    )


def delete_policy(policy: Policy) -> bytes:
    """XFRM_MSG_DELPOLICY, by identity."""
    return make_request(
        uapi.XFRM_MSG_DELPOLICY,
        uapi.USERPOLICY_ID.pack(
            pack_selector(policy.selector, _family(policy.selector)), 0, DIRECTIONS.index(policy.direction)
        )
        + _common(policy),
    )


def decode(part: Part) -> PolicyEntry | None:
    """An entry from XFRM_MSG_NEWPOLICY; None for the policy of a socket, and for the secondary type of policy."""
    buffer, start, end = part
    selector, lifetimes, dummy, dummy, add_time, use_time, priority, index, direction, action, flags, share = (
        uapi.USERPOLICY_INFO.unpack_from(buffer, start)
    )
    found = attributes(buffer, start + uapi.USERPOLICY_INFO.size, end)
    kind = found.get(uapi.XFRMA_POLICY_TYPE)
    if direction >= len(DIRECTIONS) or (kind is not None and buffer[kind[0]] != 0):
        return None
    packed: list[tuple[t.Any, ...]] = []
    if uapi.XFRMA_TMPL in found:
        first, last = found[uapi.XFRMA_TMPL]
        packed = list(uapi.USER_TMPL.iter_unpack(buffer[first : last - (last - first) % uapi.USER_TMPL.size]))
    extra = [word for bit, word in enumerate(_FLAG_WORDS) if flags & 1 << bit]
    extra += _share_words(share)
    extra += [f"{name} {value}" for name, value in zip(Lifetimes._fields, unpack_lifetimes(lifetimes)) if value]
    extra += [f"templates[{place}] {word}" for place, fields in enumerate(packed) for word in _template_extra(fields)]
    extra += [
        strange_word(kind, buffer[first:last]) for kind, (first, last) in found.items() if kind not in _ATTRIBUTES_KNOWN
    ]
    mark = Mark(*uapi.MARK.unpack_from(buffer, found[uapi.XFRMA_MARK][0])) if uapi.XFRMA_MARK in found else None
    if_id = uapi.U32.unpack_from(buffer, found[uapi.XFRMA_IF_ID][0])[0] if uapi.XFRMA_IF_ID in found else 0
    traffic, family = unpack_selector(selector)
    policy = Policy(
        DIRECTIONS[direction],
        traffic,
        ACTIONS[min(action, 1)],
        priority,
        mark,
        if_id,
        tuple(map(_read_template, packed)),
        tuple(extra),
    )
    # Packets and security contexts are compared together: one with a context stands beside one without it
    # (net/xfrm/xfrm_policy.c, xfrm_policy_insert_list).
    complete = pack_selector(traffic, family) == selector and uapi.XFRMA_SEC_CTX not in found
    return PolicyEntry(policy, index, add_time, use_time, complete)


def _share_words(share: int) -> list[str]:
    return [f"share-{_SHARE_WORDS[share] if share < len(_SHARE_WORDS) else share}"] if share else []


def _template_extra(fields: tuple[t.Any, ...]) -> list[str]:
    """Words for what a template demands and `Template` has no field for: how SAs are shared, and
    restricted sets of algorithms.
    """
    return [
        *_share_words(fields[7]),
        *(word for word, mask in zip(_ALGORITHM_WORDS, fields[9:12]) if mask != _ANY_ALGORITHM),
    ]


def _read_template(fields: tuple[t.Any, ...]) -> Template:
    destination, spi, protocol, family, source, reqid, mode, dummy, optional = fields[:9]
    size = 16 if family == socket.AF_INET6 else 4
    return Template(
        uapi.PROTOCOL_NAMES.get(protocol, str(protocol)),
        uapi.MODE_NAMES.get(mode, str(mode)),
        source[:size],
        destination[:size],
        socket.ntohl(spi),
        reqid,
        USE if optional else REQUIRED,
    )


def _restore(part: Part) -> bytes:
    """The XFRM_MSG_UPDPOLICY that restores a dumped policy with all its properties except its times."""
    buffer, start, end = part
    kept = [
        attribute(kind, buffer[first:last])
        for kind, (first, last) in attributes(buffer, start + uapi.USERPOLICY_INFO.size, end).items()
        if kind not in _BESIDE
    ]
    return make_request(uapi.XFRM_MSG_UPDPOLICY, buffer[start : start + uapi.USERPOLICY_INFO.size] + b"".join(kept))


_EXPLANATIONS: dict[int, tuple[str, str]] = {
    errno.EPERM: (
        "the process lacks CAP_NET_ADMIN in this network namespace",
        "Run it as root of the host{become}.",
    ),
    errno.EEXIST: (
        "another policy has this direction, selector, mark and if_id",
        "It came after the SPD was read. Run again.",
    ),
    errno.ENOENT: ("the policy is no longer there", "Another program changed the SPD after it was read. Run again."),
    errno.EAFNOSUPPORT: ("the kernel lacks this address family", "Enable it, or use addresses of the other family."),
}


def _explain(refusal: Refusal, policy: Policy) -> SadbError:
    name = netlink.errno_name(refusal.errno)
    message, hint = _EXPLANATIONS.get(refusal.errno, ("the kernel refuses the policy", ""))
    return SadbError(
        f"{message} ({name}: {refusal.text or netlink.errno_text(refusal.errno)})",
        f"policy {label(policy)}",
        hint,
        name,
    )


# Undoing a doubtful step finds that the policy was never added; restoring one that is still there is harmless.
_CHANGES = TransactionKind(
    "changing the SPD",
    "The SPD is as it was before.",
    "policies",
    lambda policy: f"policy {label(policy)}",
    _explain,
    (errno.ENOENT,),
)


class Spd:
    """The SPD of this network namespace."""

    def dump(self) -> list[PolicyEntry]:
        """All policies but those of sockets, in the kernel's order."""
        return [entry for entry, dummy in self._read()]

    def _read(self) -> list[tuple[PolicyEntry, Part]]:
        with open_link(netlink.NETLINK_XFRM, "reading the SPD") as link:
            found = link.dump(
                make_request(uapi.XFRM_MSG_GETPOLICY, b""), uapi.XFRM_MSG_NEWPOLICY, lambda part: [(decode(part), part)]
            )
        return [(entry, part) for entry, part in found if entry is not None]

    def flush(self) -> int:
        """Delete all policies but those of sockets, whoever added them. Returns how many there were."""
        count = len(self._read())
        with open_link(netlink.NETLINK_XFRM, "flushing the SPD") as link:
            for refusal in link.send([make_request(uapi.XFRM_MSG_FLUSHPOLICY, b"")])[0].values():
                # Before Linux 6.1 the kernel answers this if there was nothing to flush.
                if refusal.errno != errno.ESRCH:
                    raise netlink.NetlinkError(refusal)
        return count

    def apply(self, operations: t.Sequence[PolicyOperation]) -> None:
        """Carry out all operations in order, or none; signals that end the process are blocked meanwhile.
        Raises SadbError with what was refused and why.
        """
        with self.transaction(operations):
            pass

    @contextlib.contextmanager
    def transaction(self, operations: t.Sequence[PolicyOperation]) -> t.Iterator[None]:
        """As `apply`, and undo everything if the block fails; signals are blocked until it ends."""
        with uninterrupted():
            if not operations:
                yield
                return
            before = self._before(operations)
            requests: list[bytes] = []
            steps: list[UndoStep] = []
            for operation in operations:
                old, new = operation.old, operation.new
                policy = t.cast(Policy, old if new is None else new)
                requests.append(delete_policy(policy) if new is None else new_policy(policy, replace=old is not None))
                inverse = delete_policy(policy) if old is None else _restore(before[identity(policy)])
                steps.append(UndoStep(policy, inverse))
            with open_link(netlink.NETLINK_XFRM, _CHANGES.doing) as link, transaction(
                link, _CHANGES, [(requests, ())], lambda: steps
            ):
                yield

    def _before(self, operations: t.Sequence[PolicyOperation]) -> dict[t.Any, Part]:
        """The policies as the kernel shows them, by identity. Raises SadbError unless the SPD has those
        that the operations replace or delete.
        """
        found = {identity(entry.policy): (entry.policy, part) for entry, part in self._read() if entry.complete}
        for old in (operation.old for operation in operations):
            if old is not None and found.get(identity(old), (None,))[0] != old:
                raise _explain(Refusal(errno.ENOENT, "it was changed" if identity(old) in found else ""), old)
        return {name: part for name, (dummy, part) in found.items()}
