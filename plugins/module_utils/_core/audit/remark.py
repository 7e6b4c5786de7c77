# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One observation of an audit, in a form that the controller can judge."""

from __future__ import annotations

import itertools
import typing as t

MOST = 100
"""As many observations of one kind are reported; more of them would not change the judgement."""
LONGEST_DETAIL = 200


class Remark(t.NamedTuple):
    """``what`` is a fixed word of this collection, ``place`` the path or name that it is about, and ``detail``
    a few words on it. Never contains a key.
    """

    what: str
    place: str
    detail: str = ""


def bounded(remarks: t.Iterable[Remark]) -> list[Remark]:
    """The first `MOST` of the remarks, with details of bounded length. Bytes of names that are not UTF-8 are
    written as ``\\xff``.
    """
    return [
        Remark(row.what, _readable(row.place), _readable(row.detail)[:LONGEST_DETAIL])
        for row in itertools.islice(remarks, MOST)
    ]


def _readable(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
