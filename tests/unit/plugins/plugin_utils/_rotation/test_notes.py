# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Warnings of hosts are shown once, also those of changes that are only predicted."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation.notes import warnings

A, B = {"warnings": ["a"]}, {"warnings": ["b"]}
SILENT: dict[str, t.Any] = {}


@pytest.mark.parametrize(
    ("result", "predicted", "earlier", "shown"),
    [
        (SILENT, [A, B], [], ["a", "b"]),
        (A, [A, B], [], ["a", "b"]),
        (A, [], [SILENT, A], []),
        ({"warnings": ["a", "c"]}, [], [A, B], ["c"]),
        (SILENT, [], [A], []),
    ],
)
def test_each_warning_is_shown_once(
    result: dict[str, t.Any], predicted: list[t.Any], earlier: list[t.Any], shown: list[str]
) -> None:
    assert warnings(result, predicted, earlier) == shown
