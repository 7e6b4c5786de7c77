# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The meaning of PF_KEY's errors: what went wrong, why, and what to do."""

from __future__ import annotations

import errno
import typing as t

from ...errors import SadbError
from ...sa.algorithms import BY_NAME
from ...sa.model import SecurityAssociation, label
from ..xfrm.netlink import errno_name, errno_text
from .dialects import ILLUMOS_DIAGNOSTICS, LINUX, Dialect


class _Explanation(t.NamedTuple):
    """The meaning of an errno; `explain` fills the braces."""

    message: str
    hint: str


_CHANGED = "Another program changed the SADB after it was read. Run again."
_NOT_ROOT = _Explanation("the process is not allowed to use PF_KEY here", "Run it as root of the host{become}.")
_EXPLANATIONS = {
    errno.EPERM: _NOT_ROOT,
    errno.EACCES: _NOT_ROOT,
    errno.EEXIST: _Explanation(
        "another SA has this identity (protocol, destination and SPI; the source does not count)",
        "It was added after the SADB was read, or it has a mark, which PF_KEY does not show. Run again, or choose"
        " another SPI.",
    ),
    errno.ESRCH: _Explanation(
        "the SA is no longer there", f"{_CHANGED} On Linux it may have a mark: then use the backend xfrm."
    ),
    errno.ENOENT: _Explanation("the SA is no longer there", _CHANGED),
    errno.ESTALE: _Explanation(
        "the SA is not the one that was read",
        f"{_CHANGED} On Linux a mark may hide one SA behind another: then use the backend xfrm.",
    ),
    errno.ENOSYS: _Explanation("the kernel lacks an algorithm of {suite}", "{load}Choose another algorithm."),
    errno.EPROTONOSUPPORT: _Explanation("the kernel has no {protocol} for {family}", "{load}Use a kernel that has it."),
    errno.EAFNOSUPPORT: _Explanation("the kernel has no {family}", "Enable it, or use addresses of the other family."),
    errno.EINVAL: _Explanation(
        "the kernel rejects the SA, or a length in it, as invalid",
        "Check algorithm and key size; {load}use another backend where there is one.",
    ),
    errno.ENOBUFS: _Explanation(
        "the kernel has no memory for it", "Free memory, or raise the limit of socket buffers, and run again."
    ),
    errno.ENOMEM: _Explanation("the kernel has no memory for it", "Free memory and run again."),
    errno.ETIMEDOUT: _Explanation(
        "the kernel's answer did not arrive, and the SA is not as requested",
        "Run again when fewer programs listen to PF_KEY.",
    ),
}
_CANNOT_SET_UP = _Explanation("the kernel cannot set up {suite}", "{load}Choose another algorithm.")


class PfkeyError(Exception):
    """The kernel's errno, and illumos' diagnostic, for one request or for the socket."""

    def __init__(self, number: int, diagnostic: int = 0) -> None:
        super().__init__(number, diagnostic)
        self.errno = number
        self.diagnostic = diagnostic


class AnswerLost(PfkeyError):
    """The kernel's answer did not arrive: whether it carried out the request is unknown."""

    def __init__(self) -> None:
        super().__init__(errno.ETIMEDOUT)


def _cause(exc: PfkeyError) -> str:
    text = f"{errno_name(exc.errno)}: {errno_text(exc.errno)}"
    if not exc.diagnostic:
        return text
    return f"{text}, diagnostic {exc.diagnostic}: {ILLUMOS_DIAGNOSTICS.get(exc.diagnostic, 'see pfkeyv2.h')}"


def _load(dialect: Dialect, sa: SecurityAssociation) -> str:
    if dialect is not LINUX:
        return ""
    rows = [row for row in (BY_NAME.get(sa.encryption), BY_NAME.get(sa.authentication)) if row is not None]
    kind = f"{sa.protocol}{'4' if len(sa.destination) == 4 else '6'}"
    modules = list(dict.fromkeys([kind, *(module for row in rows for module in row.modules)]))
    return f"Load what is missing (modprobe -a {' '.join(modules)}). "


def explain(dialect: Dialect, exc: PfkeyError, sa: SecurityAssociation, adds: bool = False) -> SadbError:
    """The refusal of one SA that was to be added, or was expected to exist."""
    name = errno_name(exc.errno)
    found = _CANNOT_SET_UP if exc.errno == errno.ENOENT and adds else _EXPLANATIONS.get(exc.errno)
    if found is None:
        return SadbError(f"the kernel refuses it ({_cause(exc)})", label(sa), "", name)
    words = {
        "become": "{become}",  # each front end says it in its own words
        "protocol": sa.protocol.upper(),
        "family": "IPv4" if len(sa.destination) == 4 else "IPv6",
        "suite": " with ".join(filter(None, (sa.encryption, sa.authentication))),
        "load": _load(dialect, sa),
    }
    return SadbError(f"{found.message.format(**words)} ({_cause(exc)})", label(sa), found.hint.format(**words), name)


def explain_exchange(dialect: Dialect, exc: PfkeyError, doing: str) -> SadbError:
    """The failure of an exchange as a whole."""
    name = errno_name(exc.errno)
    if exc.errno in (errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT, errno.ESOCKTNOSUPPORT):
        return SadbError(f"the kernel has no PF_KEY ({_cause(exc)})", doing, dialect.remedy, name)
    if exc.errno in (errno.EPERM, errno.EACCES):
        return SadbError(f"{_NOT_ROOT.message} ({_cause(exc)})", doing, _NOT_ROOT.hint, name)
    if exc.errno in (errno.ENOBUFS, errno.ETIMEDOUT):
        hint = "Run again when fewer programs listen to PF_KEY, or raise the limit of socket buffers."
        return SadbError(
            f"the kernel's answers do not arrive, or overflow the socket ({_cause(exc)})", doing, hint, name
        )
    return SadbError(f"the exchange with the kernel failed ({_cause(exc)})", doing, "", name)
