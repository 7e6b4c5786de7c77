# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SAs of two sources as one: of an old and a new text, and of a text and a kernel that hides keys."""

from __future__ import annotations

import typing as t

from .model import Pair, SecurityAssociation, identity, pair
from .plan import differences


def merged(
    old: t.Sequence[SecurityAssociation],
    new: t.Sequence[SecurityAssociation],
    stays: t.Callable[[SecurityAssociation], bool] = lambda sa: False,
) -> tuple[SecurityAssociation, ...]:
    """``new``, and the SAs of ``old`` that are between other addresses or that ``stays`` selects.

    New SAs take the places of old ones between the same addresses, and the rest comes at the end,
    so that two texts written in turn to one file never swap places."""
    arriving: dict[Pair, list[SecurityAssociation]] = {}
    for sa in reversed(new):
        arriving.setdefault(pair(sa), []).append(sa)
    found = []
    for sa in old:
        between = pair(sa)
        if between not in arriving or stays(sa):
            found.append(sa)
        elif arriving[between]:
            found.append(arriving[between].pop())
    left = {identity(sa) for rest in arriving.values() for sa in rest}
    return (*found, *(sa for sa in new if identity(sa) in left))


def with_keys_of(
    stored: t.Sequence[SecurityAssociation], installed: t.Sequence[SecurityAssociation]
) -> list[SecurityAssociation]:
    """The installed SAs of a kernel that hides keys: one that equals a stored SA in everything else
    gets its keys.
    """
    known = {identity(sa): sa for sa in stored}
    return [
        wanted if wanted is not None and not differences(wanted, sa, keys_hidden=True) else sa
        for sa in installed
        for wanted in [known.get(identity(sa))]
    ]
