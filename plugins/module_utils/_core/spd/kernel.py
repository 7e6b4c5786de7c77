# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The security policy database (SPD, RFC 4301 section 4.4.1) of Linux over NETLINK_XFRM: which
traffic must go through which SAs.

Policies of single sockets are not shown and not touched. Unlike an SA, a policy can be replaced in
one step (XFRM_MSG_UPDPOLICY)."""

from __future__ import annotations

import contextlib
import errno
import socket
import typing as t

from ..errors import InputError, SadbError, raise_all, raise_also, shown
from ..sa.checks import selector_problems
from ..sa.model import AH, ESP, NO_LIFETIMES, TRANSPORT, TUNNEL, Lifetimes, Mark, Selector, format_address
from ..sadb.xfrm import uapi
from ..sadb.xfrm.backend import open_link
from ..sadb.xfrm.decode import strange_word, unpack_lifetimes, unpack_selector
from ..sadb.xfrm.messages import pack_lifetimes, pack_selector
from ..sadb.xfrm.netlink import (
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
from ..signals import uninterrupted

_ATTRIBUTES_KNOWN = frozenset(
    (
        uapi.XFRMA_TMPL,
        uapi.XFRMA_POLICY_TYPE,
        uapi.XFRMA_MARK,
        uapi.XFRMA_IF_ID,
        uapi.XFRMA_LASTUSED,
        uapi.XFRMA_PAD,
    )
)

IN = "in"
OUT = "out"
FORWARD = "fwd"
DIRECTIONS = (IN, OUT, FORWARD)
ALLOW = "allow"
BLOCK = "block"
ACTIONS = (ALLOW, BLOCK)
REQUIRED = "required"
USE = "use"
LEVELS = (REQUIRED, USE)

PRESENT = "present"
ABSENT = "absent"

_ANY_ALGORITHM = 0xFFFFFFFF

# Properties of an entry that `Policy` has no field for, in the words of ip(8)
# (include/uapi/linux/xfrm.h: XFRM_POLICY_*, XFRM_SHARE_*).
_FLAG_WORDS = ("localok", "icmp", "cpu-acquire", *(f"flag-{bit}" for bit in range(3, 8)))
_SHARE_WORDS = ("", "session", "user", "unique")
_ALGORITHM_WORDS = ("auth-algorithms", "encryption-algorithms", "compression-algorithms")


class Template(t.NamedTuple):
    """An SA that a policy asks for. Addresses are packed, all zeros for those of the packet
    (transport mode); SPI 0 is any.

    ``reqid`` must be that of the SA for packets that leave, 0 included; for those that arrive 0 is
    any (net/xfrm/xfrm_state.c). ``level`` "use" lets packets pass in the clear where there is no
    such SA."""

    protocol: str
    mode: str = TRANSPORT
    source: bytes = b""
    destination: bytes = b""
    spi: int = 0
    reqid: int = 0
    level: str = REQUIRED


class Policy(t.NamedTuple):
    """One entry of the SPD. Both networks of the selector are always given, all zeros with prefix 0
    for any of their family.

    The lower the priority, the earlier it is asked. ``templates`` are applied in order, the first innermost.
    ``extra`` names what another program gave it and nobody can ask for here: flags, limits, what
    its templates demand of algorithms."""

    direction: str
    selector: Selector
    action: str = ALLOW
    priority: int = 0
    mark: Mark | None = None
    if_id: int = 0
    templates: tuple[Template, ...] = ()
    extra: tuple[str, ...] = ()


class PolicyEntry(t.NamedTuple):
    """A policy as the kernel holds it, with the index that the kernel gave it. Times are seconds
    since the epoch, 0 for never.

    ``complete`` is False where it has more than `Policy` can say, a port range, an interface, a
    user: it is then never one of ours."""

    policy: Policy
    number: int
    add_time: int
    use_time: int
    complete: bool


class PolicyOperation(t.NamedTuple):
    """One step, kind "add", "replace" or "delete". ``fields`` names what differs."""

    kind: str
    new: Policy | None
    old: Policy | None
    fields: tuple[str, ...] = ()

    def __str__(self) -> str:
        policy = self.new if self.new is not None else t.cast(Policy, self.old)
        return f"{self.kind} policy {label(policy)}" + (f" ({', '.join(self.fields)})" if self.fields else "")


def label(policy: Policy) -> str:
    """One line for messages."""
    selector = policy.selector
    text = (
        f"{policy.direction} {_network(selector.source, selector.source_prefix)} >"
        f" {_network(selector.destination, selector.destination_prefix)}"
    )
    if selector.protocol:
        text += f" protocol {selector.protocol}"
    if selector.source_port or selector.destination_port:
        text += f" ports {selector.source_port or 'any'} > {selector.destination_port or 'any'}"
    return text


def _network(address: bytes, prefix: int) -> str:
    return f"{format_address(address)}/{prefix}" if address else "any"


def identity(policy: Policy) -> tuple[str, Selector, Mark | None, int]:
    """What makes a policy the one it is (net/xfrm/xfrm_policy.c, xfrm_policy_insert_list)."""
    return (policy.direction, policy.selector, policy.mark, policy.if_id)


def build(
    direction: str,
    selector: Selector,
    templates: t.Sequence[Template] = (),
    action: str = ALLOW,
    priority: int = 0,
    mark: Mark | None = None,
    if_id: int = 0,
) -> Policy:
    """A policy in normal form: an address that is not given is any of the family of the other."""
    size = len(selector.source or selector.destination or bytes(4))
    selector = selector._replace(source=selector.source or bytes(size), destination=selector.destination or bytes(size))
    filled = []
    for template in templates:
        outer = len(template.source or template.destination or bytes(size))
        filled.append(
            template._replace(source=template.source or bytes(outer), destination=template.destination or bytes(outer))
        )
    return Policy(direction, selector, action, priority, None if mark == Mark(0, 0) else mark, if_id, tuple(filled))


def problems(policy: Policy) -> list[InputError]:
    """Everything that is wrong with a policy, as errors whose place is the option's name; empty for a good one."""
    found: list[InputError] = []

    def wrong(place: str, message: str, hint: str = "") -> None:
        found.append(InputError(message, place, hint))

    def one_of(place: str, word: str, choices: t.Sequence[str]) -> None:
        if word not in choices:
            wrong(place, f"unknown {place.split()[-1]} {shown(word)}", f"Choose one of: {', '.join(choices)}.")

    one_of("direction", policy.direction, DIRECTIONS)
    one_of("action", policy.action, ACTIONS)
    for field in ("priority", "if_id"):
        if not 0 <= getattr(policy, field) <= 0xFFFFFFFF:
            wrong(field, f"{getattr(policy, field)} does not fit 32 bits", "Choose 0 to 4294967295.")
    if policy.mark is not None and (
        not all(0 <= part <= 0xFFFFFFFF for part in policy.mark) or policy.mark.value & ~policy.mark.mask
    ):
        wrong(
            "mark",
            "mark and mask must fit 32 bits each, and the mark must lie inside its mask",
            "Write VALUE/MASK, such as 0x1/0xff.",
        )
    found.extend(selector_problems(policy.selector))
    if policy.action == BLOCK and policy.templates:
        wrong("templates", "a policy that blocks has no templates", "Take them away, or allow the traffic.")
    if len(policy.templates) > 6:
        wrong(
            "templates", f"{len(policy.templates)} templates are too many", "The kernel takes 6; take the others away."
        )
    for index, template in enumerate(policy.templates):
        place = f"templates[{index}]"
        one_of(f"{place} protocol", template.protocol, (ESP, AH, "comp"))
        one_of(f"{place} mode", template.mode, (TRANSPORT, TUNNEL, "beet"))
        one_of(f"{place} level", template.level, LEVELS)
        if len(template.source) != len(template.destination):
            wrong(
                place, "source and destination are of different address families", "Give both as IPv4 or both as IPv6."
            )
        elif template.mode == TUNNEL and not any(template.destination):
            wrong(
                f"{place} destination",
                "a tunnel needs the address of its far end",
                "Give the outer addresses of both ends.",
            )
        elif template.mode == TRANSPORT and len(template.source) != len(policy.selector.source):
            wrong(place, "transport mode cannot change the address family", "Use addresses of the selector's family.")
        for field in ("spi", "reqid"):
            if not 0 <= getattr(template, field) <= 0xFFFFFFFF:
                wrong(
                    f"{place} {field}",
                    f"{getattr(template, field)} does not fit 32 bits",
                    "Choose 0 to 4294967295; 0 is any.",
                )
    return found


def check(policy: Policy) -> None:
    """Raise what `problems` finds, all of it together."""
    raise_all(problems(policy))


def warnings(policy: Policy) -> list[str]:
    """What is allowed but unwise; one sentence each."""
    found = []
    if any(template.level == USE for template in policy.templates):
        found.append("level use sends packets in the clear while the SA is missing; prefer level required")
    if policy.action == ALLOW and not policy.templates:
        found.append("a policy that allows without templates lets this traffic pass in the clear")
    return found


def lets_pass(policy: Policy) -> bool:
    """Whether packets that the policy is for may pass in the clear."""
    return policy.action == ALLOW and all(template.level == USE for template in policy.templates)


def differences(desired: Policy, actual: Policy) -> tuple[str, ...]:
    """Names of the fields in which ``actual`` is not what ``desired`` asks for, and what it has beyond them."""
    fields = tuple(
        name for name, wanted, found in zip(Policy._fields, desired, actual) if wanted != found and name != "extra"
    )
    return (*fields, *(word for word in actual.extra if word not in desired.extra))


def plan(desired: t.Sequence[Policy], actual: t.Sequence[PolicyEntry], state: str = PRESENT) -> list[PolicyOperation]:
    """What to do so that the policies are there as they should be (present), or not there (absent). Pure."""
    held = {identity(entry.policy): entry.policy for entry in actual if entry.complete}
    operations = []
    for policy in desired:
        old = held.get(identity(policy))
        if state == ABSENT:
            if old is not None:
                operations.append(PolicyOperation("delete", None, old))
        elif old is None:
            operations.append(PolicyOperation("add", policy, None))
        elif old != policy:
            operations.append(PolicyOperation("replace", policy, old, differences(policy, old)))
    return operations


def _family(selector: Selector) -> int:
    return uapi.FAMILIES[len(selector.source or selector.destination or bytes(4))]


def _common(policy: Policy) -> bytes:
    """The attributes that are part of the identity."""
    mark = attribute(uapi.XFRMA_MARK, uapi.MARK.pack(*policy.mark)) if policy.mark is not None else b""
    return mark + (attribute(uapi.XFRMA_IF_ID, uapi.U32.pack(policy.if_id)) if policy.if_id else b"")


def new_policy(policy: Policy, replace: bool = False) -> Message:
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
        Message(uapi.XFRM_MSG_UPDPOLICY, body)
        if replace
        else Message(uapi.XFRM_MSG_NEWPOLICY, body, NLM_F_CREATE | NLM_F_EXCL)
    )


def delete_policy(policy: Policy) -> Message:
    """XFRM_MSG_DELPOLICY, by identity."""
    return Message(
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
    held = attributes(buffer, start + uapi.USERPOLICY_INFO.size, end)
    kind = held.get(uapi.XFRMA_POLICY_TYPE)
    if direction >= len(DIRECTIONS) or (kind is not None and buffer[kind[0]] != 0):
        return None
    packed: list[tuple[t.Any, ...]] = []
    if uapi.XFRMA_TMPL in held:
        first, last = held[uapi.XFRMA_TMPL]
        packed = list(uapi.USER_TMPL.iter_unpack(buffer[first : last - (last - first) % uapi.USER_TMPL.size]))
    extra = [word for bit, word in enumerate(_FLAG_WORDS) if flags & 1 << bit]
    extra += _share_words(share)
    extra += [f"{name} {value}" for name, value in zip(Lifetimes._fields, unpack_lifetimes(lifetimes)) if value]
    extra += [f"templates[{place}] {word}" for place, fields in enumerate(packed) for word in _template_extra(fields)]
    extra += [
        strange_word(kind, buffer[first:last]) for kind, (first, last) in held.items() if kind not in _ATTRIBUTES_KNOWN
    ]
    mark = Mark(*uapi.MARK.unpack_from(buffer, held[uapi.XFRMA_MARK][0])) if uapi.XFRMA_MARK in held else None
    if_id = uapi.U32.unpack_from(buffer, held[uapi.XFRMA_IF_ID][0])[0] if uapi.XFRMA_IF_ID in held else 0
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
    return PolicyEntry(policy, index, add_time, use_time, pack_selector(traffic, family) == selector)


def _share_words(share: int) -> list[str]:
    return [f"share-{_SHARE_WORDS[share] if share < len(_SHARE_WORDS) else share}"] if share else []


def _template_extra(fields: tuple[t.Any, ...]) -> list[str]:
    """What a template asks for beyond `Template`: how SAs are shared, and sets of algorithms that
    are not all of them.
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


def _restore(part: Part) -> Message:
    """The XFRM_MSG_UPDPOLICY that puts a dumped policy back, whatever it holds; its times start anew."""
    buffer, start, end = part
    kept = [
        attribute(kind, buffer[first:last])
        for kind, (first, last) in attributes(buffer, start + uapi.USERPOLICY_INFO.size, end).items()
        if kind not in (uapi.XFRMA_LASTUSED, uapi.XFRMA_PAD)
    ]
    return Message(uapi.XFRM_MSG_UPDPOLICY, buffer[start : start + uapi.USERPOLICY_INFO.size] + b"".join(kept))


class _Step(t.NamedTuple):
    """The policy of a step, the request, and its inverse; ``doubtful`` if it is unknown whether
    the kernel carried it out.
    """

    policy: Policy
    request: Message
    inverse: Message
    doubtful: bool = False


_EXPLANATIONS: dict[int, tuple[str, str]] = {
    errno.EPERM: (
        "the process lacks CAP_NET_ADMIN in this network namespace",
        "Run it as root of the host (become: true).",
    ),
    errno.EEXIST: (
        "another policy has this direction, selector, mark and if_id",
        "It came after the SPD was read. Run again.",
    ),
    errno.ENOENT: ("the policy is not there any more", "Another program changed the SPD after it was read. Run again."),
    errno.EAFNOSUPPORT: ("the kernel lacks this address family", "Enable it, or use addresses of the other family."),
}


def _explain(refusal: Refusal, policy: Policy) -> SadbError:
    name = errno_name(refusal.errno)
    message, hint = _EXPLANATIONS.get(refusal.errno, ("the kernel refuses the policy", ""))
    return SadbError(
        f"{message} ({name}: {refusal.text or errno_text(refusal.errno)})", f"policy {label(policy)}", hint, name
    )


class Spd:
    """The SPD of this network namespace."""

    def dump(self) -> list[PolicyEntry]:
        """All policies but those of sockets, in the kernel's order."""
        return [entry for entry, dummy in self._read()]

    def _read(self) -> list[tuple[PolicyEntry, Part]]:
        with open_link(NETLINK_XFRM, "reading the SPD") as link:
            found = link.dump(
                Message(uapi.XFRM_MSG_GETPOLICY, b""), uapi.XFRM_MSG_NEWPOLICY, lambda part: (decode(part), part)
            )
        return [(entry, part) for entry, part in found if entry is not None]

    def apply(self, operations: t.Sequence[PolicyOperation]) -> None:
        """Carry operations out in order, all or nothing; signals that end the process wait. Raises
        SadbError with what was refused and why.
        """
        with self.applied(operations):
            pass

    @contextlib.contextmanager
    def applied(self, operations: t.Sequence[PolicyOperation]) -> t.Iterator[None]:
        """As `apply`, and take everything back where the block fails; signals wait until it ends."""
        with uninterrupted():
            steps = self._steps(operations)
            if steps:
                with open_link(NETLINK_XFRM, "changing the SPD") as link:
                    self._carry_out(link, steps)
            try:
                yield
            except BaseException as error:
                raise_also(error, _taken_back(steps))
                raise

    def _steps(self, operations: t.Sequence[PolicyOperation]) -> list[_Step]:
        """What to send. Raises SadbError where the SPD does not hold what the operations replace or delete."""
        if not operations:
            return []
        before = {identity(entry.policy): part for entry, part in self._read() if entry.complete}
        steps: list[_Step] = []
        for operation in operations:
            policy = operation.new if operation.new is not None else t.cast(Policy, operation.old)
            old = before.get(identity(policy))
            if operation.old is not None and (old is None or t.cast(PolicyEntry, decode(old)).policy != operation.old):
                raise _explain(Refusal(errno.ENOENT, "" if old is None else "it was changed"), policy)
            request = (
                delete_policy(policy)
                if operation.new is None
                else new_policy(policy, replace=operation.old is not None)
            )
            steps.append(
                _Step(policy, request, delete_policy(policy) if operation.old is None else _restore(t.cast(Part, old)))
            )
        return steps

    @staticmethod
    def _carry_out(link: Netlink, steps: t.Sequence[_Step]) -> None:
        requests = [step.request for step in steps]
        done: list[_Step] = []
        for first, last in link.batches(requests):
            try:
                refusals = link.send(requests[first:last])[0]
            except NetlinkError as exc:
                refusals = {0: exc.refusal}
                # A failed send changed nothing. Restoring a policy that is still there is harmless,
                # and so is deleting one that was never added.
                if isinstance(exc, AnswersLost):
                    done += [step._replace(doubtful=True) for step in steps[first:last]]
            else:
                done += [step for index, step in enumerate(steps[first:last]) if index not in refusals]
            if refusals:
                index = min(refusals)
                error = _explain(refusals[index], steps[first + index].policy)
                stuck = _taken_back(done)
                after = (
                    "Undoing the rest failed for: " + "; ".join(map(str, stuck))
                    if stuck
                    else "The SPD is as it was before."
                )
                raise SadbError(error.message, error.place, f"{error.hint} {after}".strip(), error.errno_name)


def _taken_back(steps: t.Sequence[_Step]) -> list[SadbError]:
    """Undo steps in reverse order; return what could not be undone, or may not have been."""
    if not steps:
        return []
    try:
        # A separate socket, since the other one may be what is broken.
        with open_link(NETLINK_XFRM, "taking back what was done to the SPD") as link:
            return _undo(link, steps[::-1])
    except SadbError as error:
        return [error]


def _undo(link: Netlink, steps: t.Sequence[_Step]) -> list[SadbError]:
    """Send the inverse of each step, in order; return what could not be undone."""
    from ..sadb.xfrm.explain import explain_lost  # only here, since most changes succeed

    requests = [step.inverse for step in steps]
    stuck = []
    for first, last in link.batches(requests):
        try:
            refusals = link.send(requests[first:last])[0]
        except NetlinkError as exc:
            stuck.append(explain_lost(exc, [f"policy {label(step.policy)}" for step in steps[first:last]]))
            continue
        batch = steps[first:last]
        stuck += [
            _explain(refusal, batch[index].policy)
            for index, refusal in refusals.items()
            if not (batch[index].doubtful and refusal.errno == errno.ENOENT)
        ]
    return stuck
