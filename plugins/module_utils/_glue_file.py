# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_utils is private to the collection and may change at any time.

"""The work of ipseckeys_file: the protected file that holds SAs with their keys."""

from __future__ import annotations

import typing as t

from ._core import association, language, protected
from ._core.algorithms import BY_NAME
from ._core.association import SecurityAssociation
from ._core.errors import InputError, IpsecError, ProtectedFileError, raise_all
from ._core.plan import PEERS, Pair, digest, pair
from ._glue import Result, diff
from ._glue_text import Text, parse, read_text

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

DEFAULT_PATH = "/etc/inet/secret/ipseckeys"
COMMENT = "Managed by ipsec.manual.ipseckeys_file. Holds secret keys: mode 0600, owner root."


def apply_file(module: AnsibleModule) -> Result:
    """Make the file hold the SAs it should, or remove it."""
    return _remove(module) if module.params["state"] == "absent" else _write(module)


def _write(module: AnsibleModule) -> Result:
    params = module.params
    path: str = params["path"]
    text = read_text(module, params["target"])
    text.warn(module)
    sas = text.sas
    if params["omit_counter_mode"]:
        sas = tuple(sa for sa in sas if not _is_counter_mode(sa))
    else:
        _refuse_at_boot(path, text)

    there = protected.status(path)
    raise_all(there.problems)
    old = protected.read(path) if there.exists else None
    if params["scope"] == PEERS and old is not None:
        sas = _merged(parse(module, old, path, params["target"]).sas, sas, {pair(sa) for sa in text.sas})
        raise_all(association.set_problems(sas))
    new = language.render(sas, comment=COMMENT, target=params["target"]).encode("utf-8")
    if new != old and not module.check_mode:
        protected.write(path, new)

    result: Result = {"changed": new != old, "path": path, "mode": f"{protected.FILE_MODE:04o}", "owner": "root", "sas": len(sas), "digest": digest(sas)}
    if module._diff:
        result["diff"] = diff(path, _sas_of(module, path, old), sas)
    return result


def _remove(module: AnsibleModule) -> Result:
    path: str = module.params["path"]
    there = protected.status(path).exists
    result: Result = {"changed": there, "path": path, "sas": 0, "digest": {}}
    if module._diff:
        result["diff"] = diff(path, _sas_of(module, path, _read_if_fit(path) if there else None), ())
    if there and not module.check_mode:
        protected.remove(path)
    return result


def _read_if_fit(path: str) -> bytes:
    # A file that is not as safe as it must be can still be removed.
    try:
        return protected.read(path)
    except ProtectedFileError:
        return b""


def _sas_of(module: AnsibleModule, path: str, data: bytes | None) -> t.Sequence[SecurityAssociation]:
    """What a file held before, for the difference; nothing where it is no valid text, since it will not be one for long."""
    try:
        return parse(module, data or b"", path, module.params["target"]).sas
    except IpsecError:
        return ()


def _merged(old: t.Sequence[SecurityAssociation], new: t.Sequence[SecurityAssociation], replaced: t.AbstractSet[Pair]) -> tuple[SecurityAssociation, ...]:
    """``new``, and of ``old`` what is between other addresses than those ``replaced``, in its place."""
    return (*(sa for sa in old if pair(sa) not in replaced), *new)


def _refuse_at_boot(path: str, text: Text) -> None:
    """A counter-mode key that is loaded again after a reboot runs through the same nonces twice (RFC 8221 section 3)."""
    if path != DEFAULT_PATH:
        return
    raise_all(
        [
            InputError(
                f"{sa.encryption} with a static key must not stand in a file that is loaded at boot",
                place,
                "Use aes-cbc with hmac-sha256, or keep these SAs in a file of another name.",
            )
            for sa, place in text.placed()
            if _is_counter_mode(sa)
        ]
    )


def _is_counter_mode(sa: SecurityAssociation) -> bool:
    return sa.encryption in BY_NAME and BY_NAME[sa.encryption].counter_mode
