# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Explanations of the kernel's refusals: what failed, why in the kernel's words, and what to do.
Imported only when something was refused.
"""

from __future__ import annotations

import errno
import typing as t

from ...errors import SadbError
from ...sa.algorithms import BY_NAME
from ...sa.model import AH, ESP, SecurityAssociation, label
from .messages import is_combined
from .netlink import AnswersLost, NetlinkError, Refusal, errno_name, errno_text


class _Explanation(t.NamedTuple):
    """What an errno means if the kernel's text contains ``words``; `explain` fills in the braces."""

    errno: int
    words: str
    message: str
    hint: str


_LOAD = (
    "Load what is missing (modprobe -a {modules}); where it is not installed or not built, use another kernel"
    " package{otherwise}."
)
_EXPLANATIONS = (
    _Explanation(
        errno.EPERM,
        "",
        "the process lacks CAP_NET_ADMIN in this network namespace",
        "Run it as root of the host{become}.",
    ),
    _Explanation(
        errno.EEXIST,
        "",
        "another SA has this identity (protocol, destination, SPI and mark; the source does not count)",
        "It came after the SADB was read, so another program adds SAs here. Run again, or choose another SPI.",
    ),
    _Explanation(
        errno.ESRCH,
        "",
        "the SA is no longer there",
        "Another program changed the SADB after it was read. Run again.",
    ),
    _Explanation(
        errno.ESTALE,
        "",
        "the SA is not the one that was read",
        "Another program changed the SADB after it was read. Run again.",
    ),
    _Explanation(errno.EPROTONOSUPPORT, "mode", "the kernel has no {mode} mode for {family}", _LOAD),
    _Explanation(errno.EPROTONOSUPPORT, "", "the kernel has no {protocol} for {family}", _LOAD),
    _Explanation(
        errno.EAFNOSUPPORT, "", "the kernel has no {family}", "Enable it, or use addresses of the other family."
    ),
    _Explanation(errno.ENOSYS, "", "the kernel lacks an algorithm of {suite}", _LOAD),
    _Explanation(errno.ENOENT, "", "the kernel cannot set up {suite}", _LOAD),
    _Explanation(errno.EINVAL, "cryptographic", "the kernel cannot set up {suite}", _LOAD),
    _Explanation(
        errno.EINVAL,
        "ESN replay window",
        "the kernel requires a replay window with extended sequence numbers",
        "Give it one of 32 packets or more; from Linux 6.12 on an outbound SA needs none.",
    ),
    _Explanation(errno.ENOMEM, "", "the kernel has no memory for it", "Free memory and run again."),
    _Explanation(
        errno.ENOBUFS,
        "",
        "the kernel has no memory for its answers",
        "Raise net.core.rmem_max, or run as root, and run again.",
    ),
)
# How many of the affected items an error names.
_LABELS_MOST = 5
_TYPE_MODULES = {(ESP, 4): "esp4", (AH, 4): "ah4", (ESP, 16): "esp6", (AH, 16): "ah6"}


def _modules(sa: SecurityAssociation) -> list[str]:
    """The modules that modprobe(8) loads for the SA, the protocol's first."""
    rows = [row for row in (BY_NAME.get(sa.encryption), BY_NAME.get(sa.authentication)) if row is not None]
    found = [_TYPE_MODULES.get((sa.protocol, len(sa.destination)), "")]
    if sa.protocol == ESP and not is_combined(sa):
        found += ["crypto-authencesn" if sa.esn else "crypto-authenc", "crypto-echainiv"]
    found += [module for row in rows for module in row.modules]
    return list(dict.fromkeys(filter(None, found)))


def explain(refusal: Refusal, sa: SecurityAssociation) -> SadbError:
    """The error for one refusal of the kernel."""
    name = errno_name(refusal.errno)
    cause = f"{name}: {refusal.text}" if refusal.text else f"{name}: {errno_text(refusal.errno)}"
    found = next((row for row in _EXPLANATIONS if row.errno == refusal.errno and row.words in refusal.text), None)
    if found is None:
        return SadbError(f"the kernel refuses it ({cause})", label(sa), "", name)
    words = {
        "become": "{become}",  # each front end says it in its own words
        "protocol": sa.protocol.upper(),
        "family": "IPv4" if len(sa.destination) == 4 else "IPv6",
        "mode": sa.mode,
        "suite": " with ".join(filter(None, (sa.encryption, sa.authentication))),
        "modules": " ".join(_modules(sa)) if refusal.errno != errno.EPROTONOSUPPORT else _modules(sa)[0],
        "otherwise": "" if refusal.errno == errno.EPROTONOSUPPORT else " or another algorithm",
    }
    return SadbError(f"{found.message.format(**words)} ({cause})", label(sa), found.hint.format(**words), name)


def first_of(errors: t.Sequence[SadbError], subjects: str = "SAs") -> SadbError:
    """One error for several: the first, and how many more there are."""
    first = errors[0]
    rest = f"; {len(errors) - 1} more {subjects} were refused" if len(errors) > 1 else ""
    return SadbError(first.message + rest, first.place, first.hint, first.errno_name)


def explain_lost(exc: NetlinkError, labels: t.Sequence[str]) -> SadbError:
    """The error for changes that may not be undone: a failed send changed nothing; lost answers leave the outcome
    unknown.
    """
    name = errno_name(exc.refusal.errno)
    cause = f"{name}: {exc.refusal.text or errno_text(exc.refusal.errno)}"
    count = f"{len(labels)} changes" if len(labels) > 1 else "1 change"
    lost = isinstance(exc, AnswersLost)
    message = (
        f"whether the kernel undid {count} is unknown ({cause})" if lost else f"{count} could not be undone ({cause})"
    )
    shown = ", ".join(labels[:_LABELS_MOST]) + (
        f", and {len(labels) - _LABELS_MOST} more" if len(labels) > _LABELS_MOST else ""
    )
    return SadbError(message, shown, "Look at what is there, and run again.", name)


def explain_exchange(exc: NetlinkError, doing: str) -> SadbError:
    """The error for a failure of the whole exchange."""
    refusal = exc.refusal
    name = errno_name(refusal.errno)
    cause = f"{name}: {refusal.text or errno_text(refusal.errno)}"
    if refusal.errno == errno.EPROTONOSUPPORT:
        return SadbError(
            f"the kernel has no netlink interface to its SADB ({cause})",
            doing,
            "Load the module xfrm_user (modprobe xfrm_user).",
            name,
        )
    if refusal.errno == errno.EOPNOTSUPP:
        hint = "Run it with a 64-bit Python{python}."
        return SadbError(f"the kernel accepts no requests from a 32-bit Python ({cause})", doing, hint, name)
    if refusal.errno in (errno.EPERM, errno.EACCES):
        return SadbError(
            f"the process lacks CAP_NET_ADMIN in this network namespace ({cause})",
            doing,
            "Run it as root of the host{become}.",
            name,
        )
    return SadbError(f"the exchange with the kernel failed ({cause})", doing, "", name)
