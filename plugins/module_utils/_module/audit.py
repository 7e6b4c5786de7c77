# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The work of ipsec_audit: everything that an audit wants to know of this host, in one answer. Changes nothing."""

from __future__ import annotations

import contextlib
import os
import time
import typing as t

from .._core.audit import evidence, files, machine, policies, service, traces, ways
from .._core.audit.remark import Remark, bounded
from .._core.errors import IpsecError
from .._core.files import protected
from .._core.sa.checks import ANYTHING
from .._core.sa.model import Entry, SecurityAssociation
from .._core.sadb import open_sadb
from .._core.spd.policy import Policy
from .._core.text import language
from .base import Module, Result
from .secrets import hide_keys, take_digest_key

_MOST_UNREAD = 20
# The SPD is read only where this backend reads the SADB.
_HAS_POLICIES = "xfrm"


class _Kernel(t.NamedTuple):
    """What the kernel holds; all empty if it could not be read."""

    backend: str = ""
    hidden: bool = False
    entries: t.Sequence[Entry] = ()
    local: frozenset[bytes] = frozenset()


class _Unread:
    """The parts of the audit that failed, each with the reason. A part that fails does not stop the others."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    @contextlib.contextmanager
    def noting(self, part: str) -> t.Iterator[None]:
        try:
            yield
        except (IpsecError, OSError) as exc:
            self.texts.append(f"{part}: {exc}")


def audit(module: Module) -> Result:
    """The evidence of this host. Only an option that is wrong makes it fail."""
    digest_key = take_digest_key(module)
    path: str = module.params["path"]
    unread = _Unread()
    remarks: list[Remark] = files.examine(path)
    kernel = _Kernel()
    with unread.noting("SADB"):
        kernel = _kernel(module.params["backend"])
    spd: list[Policy] = []
    with unread.noting("SPD"):
        spd = _policies(kernel)
    stored: t.Sequence[SecurityAssociation] = ()
    with unread.noting("protected file"):
        stored, named = _stored(module, path)
        remarks += named
    reloaded: t.Sequence[Entry] = ()
    with unread.noting("mark of the boot service"):
        reloaded = service.loaded_again(kernel.entries)
    facts = policies.compare([entry.sa for entry in kernel.entries], spd, kernel.local)
    remarks += evidence.of_policies(facts)
    for look in (traces.in_histories, traces.in_scripts, ways.look, machine.look):
        remarks += look()
    at_boot = service.ServiceFacts("")
    with unread.noting("service at boot"):
        at_boot = service.look()
        remarks += evidence.of_service(at_boot, service.overriding(), spd, [entry.sa for entry in kernel.entries])
    judged = kernel.backend == _HAS_POLICIES
    observed = evidence.Observed(
        kernel.entries, stored, facts.leaking if judged else (), facts.open if judged else (), reloaded
    )
    now = time.time()
    return {
        "changed": False,
        "kernel": f"{os.uname().sysname} {os.uname().release}",
        "uptime": machine.uptime(),
        "backend": kernel.backend,
        "keys_hidden": kernel.hidden,
        "file": _file(path, stored),
        "service": {name: getattr(at_boot, name) for name in ("manager", "installed", "enabled", "state", "file")},
        "counters": machine.counters(),
        "policies": evidence.owners(spd),
        "pairs": evidence.rows(observed, kernel.local, now, digest_key, kernel.hidden),
        "remarks": [row._asdict() for row in remarks],
        "unread": [" ".join(text.split())[:500] for text in unread.texts[:_MOST_UNREAD]],
        # Read last, so that it is fresh when the controller gets it.
        "epoch": time.time(),
    }


def _kernel(backend: str) -> _Kernel:
    sadb = open_sadb(backend)
    entries = [entry for entry in sadb.dump() if not entry.larval]
    return _Kernel(sadb.name, bool(entries) and sadb.keys_hidden(), entries, sadb.local_addresses())


def _policies(kernel: _Kernel) -> list[Policy]:
    if kernel.backend != _HAS_POLICIES:
        return []
    # Imported here, since other systems have no such policies and cannot import this.
    from .._core.spd.kernel import Spd

    return [entry.policy for entry in Spd().dump()]


def _stored(module: Module, path: str) -> tuple[t.Sequence[SecurityAssociation], list[Remark]]:
    """The SAs of the protected file, and remarks on names in it; nothing if it does not exist, or is not
    safe, which is a remark already.
    """
    found = protected.status(path)
    if not files.unreadable(found) and (found.problems or not found.exists):
        return (), []
    text = protected.read(path).decode("utf-8", "replace")
    named = bounded(Remark("names", path, name) for name in files.names_in(text))
    if named:
        # Names are not looked up: what they mean is what the audit doubts.
        return (), named
    try:
        sas_of_file = language.parse(text, name=path, **ANYTHING).sas
    except IpsecError as exc:
        return (), bounded([Remark("invalid", path, " ".join(str(exc).split()))])
    hide_keys(module, sas_of_file)
    return sas_of_file, []


def _file(path: str, stored: t.Sequence[SecurityAssociation]) -> Result:
    found = protected.status(path)
    modified = 0.0
    if found.exists:
        with contextlib.suppress(OSError):
            modified = os.stat(path, follow_symlinks=False).st_mtime
    return {
        "path": path,
        "exists": found.exists,
        "mode": f"{found.mode:04o}" if found.exists else "",
        "modified": modified,
        "sas": len(stored),
    }
