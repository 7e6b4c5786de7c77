# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The work of ipseckeys_file: keep the protected file that holds SAs with their keys."""

from __future__ import annotations

import re
import typing as t

from .._core.errors import InputError, IpsecError, ProtectedFileError, raise_all
from .._core.files import protected
from .._core.sa import checks, conflicts, model
from .._core.sa.digest import digest
from .._core.sa.merge import merged
from .._core.sa.model import SecurityAssociation
from .._core.sa.plan import BOTH, PEERS, direction_of
from .._core.specs import DEFAULT_PATH
from .._core.text import language
from .base import Module, Result, diff
from .clock import Deadline
from .secrets import take_digest_key
from .text import parse, read_file, read_pairs, read_text, warn_of

COMMENT = "Managed by ipsec.manual.ipseckeys_file. Holds secret keys: mode 0600, owner root."


def apply_file(module: Module) -> Result:
    """Write the file, or remove it."""
    deadline, digest_key = Deadline(module.params["deadline"]), take_digest_key(module)
    return _remove(module, deadline) if module.params["state"] == "absent" else _write(module, deadline, digest_key)


def _write(module: Module, deadline: Deadline, digest_key: bytes) -> Result:
    params = module.params
    if params["others"]:
        raise InputError("others names files that can only be removed", "others", "Use it with state absent.")
    path: str = params["path"]
    chosen = _chosen(params)
    text = read_text(module, {"allow_static_counter_mode": params["omit_counter_mode"]})
    warn_of(module, text)
    gone = (
        {model.identity(sa) for sa in read_file(module, params["remove_src"], checks.ANYTHING).sas}
        if params["remove_src"]
        else set()
    )
    there = protected.writable(path)
    sas: tuple[SecurityAssociation, ...] = ()

    def change(old: bytes | None) -> bytes:
        nonlocal sas
        sas = _contents(module, text, old, gone, chosen)
        return language.render(sas, comment=COMMENT, target=params["target"]).encode("utf-8")

    if module.check_mode:
        old = protected.read(path) if there.exists else None
        new = change(old)
    else:
        old, new = protected.update(path, change, deadline.check)

    result: Result = {
        "changed": new != old,
        "path": path,
        "mode": f"{protected.FILE_MODE:04o}",
        "owner": "root",
        "sas": len(sas),
    }
    result["digest"] = digest(sas, digest_key)
    if module._diff:
        result["diff"] = _diff(path, _sas_of(module, path, old), sas, old is not None and new != old)
    return result


def _remove(module: Module, deadline: Deadline) -> Result:
    path: str = module.params["path"]
    there = {name: protected.removable(name) for name in (path, *module.params["others"])}
    result: Result = {"changed": any(there.values()), "path": path, "sas": 0, "digest": {}}
    if module._diff:
        gone = [sa for name, found in there.items() if found for sa in _sas_of(module, name, _read_if_fit(name))]
        result["diff"] = diff(", ".join(there), gone, ())
    if not module.check_mode:
        removed = [protected.remove(name, deadline.check) for name in there]
        result["changed"] = any(removed)
    return result


def _read_if_fit(path: str) -> bytes:
    # An unsafe file can still be removed.
    try:
        return protected.read(path)
    except ProtectedFileError:
        return b""


def _diff(
    path: str, before: t.Sequence[SecurityAssociation], after: t.Sequence[SecurityAssociation], rewritten: bool
) -> Result:
    """The difference of a file; if only its form changes, a comment says so."""
    shown = diff(path, before, after)
    if rewritten and shown["before"] == shown["after"]:
        shown["before"] = "# the same SAs in another form\n" + shown["before"]
        shown["after"] = "# in the form that ipseckeys_file writes\n" + shown["after"]
    return shown


def _sas_of(module: Module, path: str, data: bytes | None) -> t.Sequence[SecurityAssociation]:
    """The SAs of a file for the difference; none if it is not a valid text, since it is replaced anyway."""
    try:
        return parse(module, data or b"", path, checks.ANYTHING).sas
    except IpsecError:
        return ()


_Test = t.Callable[[SecurityAssociation], bool]


def _chosen(params: t.Mapping[str, t.Any]) -> _Test:
    """A test whether the task applies to an SA, by its direction and pair of addresses."""
    left, direction = read_pairs(params, "leave"), params["direction"]
    if params["scope"] != PEERS and (left or params["keep"] or direction != BOTH):
        raise InputError(
            "keep, leave and direction limit which SAs of the file are replaced", "scope", "Set scope: peers."
        )
    if direction == BOTH:
        return lambda sa: model.pair(sa) not in left
    # Imported here, since the file of another system can be written without access to this one's SADB.
    from .._core.sadb import open_sadb

    local = open_sadb().local_addresses()

    return lambda sa: model.pair(sa) not in left and direction_of(sa, local) == direction


def _contents(
    module: Module, text: language.Document, old: bytes | None, gone: t.AbstractSet[model.Identity], chosen: _Test
) -> tuple[SecurityAssociation, ...]:
    """The SAs that the file will hold, given its present content ``old``; ``gone`` are removed from
    it. SAs that are not ``chosen`` are neither written nor removed. Raises IpsecError for SAs that it
    must not hold.
    """
    params = module.params
    sas = tuple(filter(chosen, text.sas))
    places = {model.identity(sa): place for sa, place in text.placed()}
    if params["scope"] == PEERS and old is not None:
        # Whoever wrote the file accepted its reserved SPIs and shared keys.
        held = parse(
            module,
            old,
            params["path"],
            {**checks.ANYTHING, "allow_static_counter_mode": params["omit_counter_mode"]},
        )
        places = {**{model.identity(sa): place for sa, place in held.placed()}, **places}
        arriving = set(map(model.identity, sas))
        sas = merged(
            [sa for sa in held.sas if model.identity(sa) not in gone or not chosen(sa)],
            sas,
            lambda sa: not chosen(sa) or (params["keep"] and model.identity(sa) not in arriving),
        )
    if params["omit_counter_mode"]:
        sas = tuple(sa for sa in sas if not model.is_counter_mode(sa))
    raise_all(
        [
            *_clashes(sas, set(text.sas), params["allow_shared_key"]),
            *_boot_problems(params["path"], sas, places),
            *_unsayable(sas, params["target"], places),
        ]
    )
    written = set(text.sas)
    raise_all(_open_problems(params["policies_file"], [sa for sa in sas if sa in written]))
    return sas


def _clashes(
    sas: t.Sequence[SecurityAssociation], arriving: t.AbstractSet[SecurityAssociation], allow_shared_key: bool
) -> list[IpsecError]:
    """Conflicts between SAs over keys or identities. Those between SAs that the file already has are accepted."""
    held = [sa for sa in sas if sa not in arriving]
    known = {str(problem) for problem in conflicts.set_problems(held)} if len(held) < len(sas) else set()
    return [problem for problem in conflicts.set_problems(sas, None, allow_shared_key) if str(problem) not in known]


def _boot_problems(
    path: str, sas: t.Iterable[SecurityAssociation], places: t.Mapping[model.Identity, str]
) -> list[IpsecError]:
    """A counter-mode key that is loaded again after a reboot repeats its nonces (RFC 8221 section 3)."""
    if re.sub("/+", "/", path) != DEFAULT_PATH:
        return []
    return [
        InputError(
            f"{sa.encryption} with a static key must not stand in a file that is loaded at boot",
            places[model.identity(sa)],
            "Use aes-cbc with hmac-sha256, or keep these SAs in a file of another name.",
        )
        for sa in sas
        if model.is_counter_mode(sa)
    ]


def _open_problems(policies_file: str | None, sas: t.Sequence[SecurityAssociation]) -> list[IpsecError]:
    """SAs that would be loaded at boot without a policy that sends packets through them; nothing if
    no policies are loaded at boot.
    """
    if not policies_file or not protected.status(policies_file, protected.PUBLIC).exists:
        return []
    # Imported here, since other systems have no such file and cannot import this.
    from .._core.sadb import open_sadb
    from .._core.spd.guarding import between, uncovered
    from .._core.spd.text import parse as parse_policies

    policies = parse_policies(protected.read(policies_file, protection=protected.PUBLIC), policies_file)[0]
    found = uncovered(sas, policies, open_sadb().local_addresses())
    if not found:
        return []
    return [
        IpsecError(
            f"this host loads policies at boot from {policies_file}; none of them uses the SAs between"
            f" {between(found)}, so after a reboot their traffic would leave unencrypted",
            "",
            "Run with rotate_policies and rotate_boot, or add the policy to boot_policies. Nothing was written.",
        )
    ]


def _unsayable(
    sas: t.Iterable[SecurityAssociation], target: str, places: t.Mapping[model.Identity, str]
) -> list[IpsecError]:
    """SAs that the system that will read the file cannot express. The words of the given text do not
    matter, since the file is written in canonical form.
    """
    return [
        problem.at(f"{places[model.identity(sa)]}, {problem.place}")
        for sa in sas
        for problem in language.refusals(sa, target)
    ]
