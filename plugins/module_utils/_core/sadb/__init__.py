# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The SADB of this system, through the backend that its kernel needs."""

from __future__ import annotations

import sys
import typing as t

from ..errors import InputError, shown
from .base import PFKEY, SOLARIS, XFRM, Sadb

AUTO = "auto"


def _open_xfrm() -> Sadb:
    from .xfrm.backend import XfrmSadb

    return XfrmSadb()


def _open_solaris() -> Sadb:
    from .solaris.backend import SolarisSadb

    return SolarisSadb()


def _open_pfkey() -> Sadb:
    from .pfkey.backend import PfkeySadb

    return PfkeySadb()


# By prefixes of sys.platform on which `auto` chooses the backend. Each backend is imported only where
# it is used, by a statement that Ansible finds when it packs a module.
_OPENERS: dict[str, tuple[tuple[str, ...], t.Callable[[], Sadb]]] = {
    XFRM: (("linux",), _open_xfrm),
    SOLARIS: (("sunos",), _open_solaris),
    PFKEY: (("freebsd", "netbsd"), _open_pfkey),
}
BACKENDS = (AUTO, *_OPENERS)


def open_sadb(backend: str = AUTO) -> Sadb:
    """The backend by name, or the one for this platform. Raises InputError where there is none."""
    if backend not in BACKENDS:
        raise InputError(f"unknown backend {shown(backend)}", "backend", f"Choose one of: {', '.join(BACKENDS)}.")
    for name, (platforms, opener) in _OPENERS.items():
        if backend == name or (backend == AUTO and sys.platform.startswith(platforms)):
            return opener()
    raise InputError(f"there is no backend for {sys.platform}", "backend", f"Name one of: {', '.join(_OPENERS)}.")
