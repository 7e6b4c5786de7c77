# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Comparing what a host holds with what the controller expects, without sending a key either way. Pure."""

from __future__ import annotations

import typing as t

from .._core.sa.model import SecurityAssociation, mark_text, owner
from .._core.sa.plan import digest


def held(sas: t.Iterable[SecurityAssociation], key: bytes = b"") -> dict[str, str]:
    """``{"ADDRESS|ADDRESS#REQID,MARK,IF_ID": fingerprint}``: `digest` over all SAs of one owner between two addresses.

    What belongs to somebody else stands under another name, so it does not change the fingerprint of ours.
    """
    groups: dict[t.Any, list[SecurityAssociation]] = {}
    for sa in sas:
        groups.setdefault(owner(sa), []).append(sa)
    return {
        f"{pair}#{reqid},{mark_text(mark)},{if_id}": fingerprint
        for (reqid, mark, if_id), group in groups.items()
        for pair, fingerprint in digest(group, key).items()
    }
