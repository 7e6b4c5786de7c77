# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The SADB of this system, through the backend that its kernel needs."""

from __future__ import annotations

import sys

from ..errors import InputError, shown
from .base import PFKEY, SOLARIS, XFRM, Sadb

AUTO = "auto"


# By prefixes of sys.platform on which `auto` chooses the backend.
_PLATFORMS = {XFRM: ("linux",), SOLARIS: ("sunos",), PFKEY: ("freebsd", "netbsd")}
BACKENDS = (AUTO, *_PLATFORMS)


def open_sadb(backend: str = AUTO) -> Sadb:
    """The backend by name, or the one for this platform. Raises InputError where there is none.

    Each is imported only where it is used, by a statement that Ansible finds when it packs a module."""
    if backend not in BACKENDS:
        raise InputError(f"unknown backend {shown(backend)}", "backend", f"Choose one of: {', '.join(BACKENDS)}.")
    if backend == AUTO:
        backend = next((name for name, systems in _PLATFORMS.items() if sys.platform.startswith(systems)), AUTO)
    if backend == XFRM:
        from .xfrm.backend import XfrmSadb

        return XfrmSadb()
    if backend == SOLARIS:
        from .solaris.backend import SolarisSadb

        return SolarisSadb()
    if backend == PFKEY:
        from .pfkey.backend import PfkeySadb

        return PfkeySadb()
    raise InputError(f"there is no backend for {sys.platform}", "backend", f"Name one of: {', '.join(_PLATFORMS)}.")
