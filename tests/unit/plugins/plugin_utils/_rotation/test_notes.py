# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Warnings of hosts are shown once, also those of changes that are only predicted."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.reader import read_connections
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation.notes import placed, unwise, warnings

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


def test_weak_algorithms_are_named_by_connection_and_not_again_by_a_host() -> None:
    ends, weak = {"a": "192.0.2.1", "b": "192.0.2.2"}, [{"protocol": "ah", "authentication_algorithm": "md5"}]
    raw = [{"name": name, "endpoints": ends, "reqid": reqid, "associations": weak} for reqid, name in enumerate("xy")]
    found = unwise([connection for row in raw for connection in read_connections([row])])
    (text,) = found
    assert text.startswith("hmac-md5 is not recommended (MUST NOT")
    assert placed(found) == [f"connection x, ah (and 1 more): {text}."]
    host = {"warnings": [f"content, line 5 (and 3 more): {text}.", "something else"]}
    assert warnings(host, [], [], found) == ["something else"]
