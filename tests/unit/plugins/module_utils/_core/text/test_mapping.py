# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import socket

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import (
    InputError,
    IpsecError,
    Problems,
    SadbError,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.text.mapping import OptionReader, read_protocol


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("any", 0),
        ("17", 17),
        ("255", 255),
        ("tcp", 6),
        ("UDP", 17),
        ("icmp", 1),
        ("ipv6-icmp", 58),
        ("sctp", 132),
        ("gre", 47),
    ],
)
def test_protocols_by_number_and_name(text: str, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"ipv6-icmp": 58}
    monkeypatch.setattr(socket, "getprotobyname", lambda name: known[name])
    assert read_protocol(text, "selector.protocol") == number


@pytest.mark.parametrize("text", ["256", "-1", "raw", "smoke", "1e1", "\u0661"])
def test_an_invalid_protocol_is_named(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> int:
        raise OSError("protocol not found")

    monkeypatch.setattr(socket, "getprotobyname", unknown)
    with pytest.raises(InputError, match="selector.protocol: .* is not an IP protocol"):
        read_protocol(text, "selector.protocol")


def test_every_problem_is_noted() -> None:
    def fail(text: str, place: str) -> int:
        raise InputError(f"no {text}", place)

    reader = OptionReader()
    assert reader.read(fail, "a", "first", 7) == 7
    assert reader.read(fail, None, "second", 8) == 8
    assert reader.read(int, "12", 10, 9) == 12  # type: ignore[arg-type]
    with reader.noting():
        raise Problems([InputError("no b", "third"), InputError("no c", "fourth")])
    with reader.noting():
        raise SadbError("no kernel")
    assert reader.unread() == {"first", "third", "fourth", ""}
    with pytest.raises(IpsecError) as caught:
        reader.finish()
    assert str(caught.value) == "first: no a\nthird: no b\nfourth: no c\nno kernel"


def test_no_problem_gives_none() -> None:
    OptionReader().finish()


def test_an_error_of_ours_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError), OptionReader().noting():
        raise ZeroDivisionError
