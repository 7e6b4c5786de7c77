# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which settings an undo restores, what it prints, and which later settings are refused."""

from __future__ import annotations

import typing as t

import pytest
import yaml

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import IpsecError
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.model import Connection
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.reader import read_connections
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore import undo
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.records import Generation, KeyRecord

ENDS = {"a": "192.0.2.1", "b": "192.0.2.2"}
STRONG = [{"encryption_algorithm": "aes-cbc", "authentication_algorithm": "hmac-sha512", "replay_window": 64}]
CHANGES: list[dict[str, t.Any]] = [
    {"mode": "tunnel"},
    {"associations": STRONG},
    {"associations": [{"protocol": "ah", "lifetimes": {"hard_bytes": 10**9}}]},
    {"reqid": 7},
    {"mark": "0x1/0xff"},
    {"if_id": 9},
    {"encapsulation": {"port": 4501}},
    {"endpoints": {**ENDS, "b": "192.0.2.9"}},
    {"multicast": ["233.252.0.1"]},
    {"multicast": ["233.252.0.1"], "unicast": True},
]


def pair(**fields: t.Any) -> Connection:
    (connection,) = read_connections([{"name": "pair", "endpoints": ENDS, **fields}])
    return connection


def generation(number: int, connection: Connection, undone: Connection | None = None) -> Generation:
    settings = undone.settings() if undone is not None else {}
    return Generation(number, "", "", connection.settings(), sas="-", undone=settings)


def record(current: Connection, previous: Connection | None = None, undone: Connection | None = None) -> KeyRecord:
    return KeyRecord(
        "pair",
        last=2,
        current=generation(2, current, undone),
        previous=generation(1, previous) if previous is not None else None,
    )


@pytest.mark.parametrize("fields", CHANGES, ids=lambda fields: next(iter(fields)))
def test_every_setting_goes_back_and_what_is_printed_corrects_the_inventory(fields: dict[str, t.Any]) -> None:
    for before, after in (({}, fields), (fields, {})):
        old, new = pair(**before), pair(**after)
        back = undo.restored(new, undo.settings_before(new, [record(new, old)], "pair.yml"))
        assert back == old
        lines: dict[str, t.Any] = {}
        for line in undo.differences(new, back):
            lines.update(yaml.safe_load(line))
        assert lines.keys() == fields.keys()
        assert pair(**{**after, **lines}).settings() == old.settings()


def test_a_generation_that_is_not_in_use_everywhere_is_undone_too() -> None:
    old, new = pair(), pair(reqid=7)
    pending = record(old)._replace(phase="switching", next=generation(3, new))
    assert undo.settings_before(new, [pending], "pair.yml")["reqid"] == 0


def test_an_undo_does_not_take_over_the_sas_of_the_settings_that_it_restores() -> None:
    old, new = pair(reqid=7), pair(reqid=9, replaces_reqid=7)
    back = undo.restored(new, undo.settings_before(new, [record(new, old)], "pair.yml"))
    assert (back.reqid, back.replaces_reqid) == (7, None)


def test_an_undo_is_not_undone() -> None:
    old, new = pair(), pair(reqid=7)
    done = record(old, new, undone=new)
    assert undo.restored(new, undo.settings_before(new, [done], "pair.yml")) == old
    made = undo.noted(done, done._replace(next=generation(3, old)))
    assert made.next is not None and made.next.undone == new.settings()


def test_hosts_and_networks_are_not_undone() -> None:
    ends = {"a": {"address": "192.0.2.1", "networks": ["10.0.0.0/8"]}, "b": "192.0.2.2"}
    old = pair(mode="tunnel", endpoints={**ENDS, "gone": "192.0.2.3"})
    new = pair(mode="tunnel", endpoints={**ends, "new": "192.0.2.4"}, reqid=7, upper_protocol="89")
    back = undo.restored(new, undo.settings_before(new, [record(new, old)], "pair.yml"))
    assert back == new._replace(reqid=0)


@pytest.mark.parametrize(
    "records",
    [
        [],
        [KeyRecord("pair")],
        [record(pair())],
        [record(pair(), pair())],
        [record(pair(), pair(endpoints={**ENDS, "c": "192.0.2.3"}))],
    ],
)
def test_without_a_change_there_is_nothing_to_undo(records: list[KeyRecord]) -> None:
    with pytest.raises(IpsecError, match=r"pair\.yml: the keystore knows no earlier settings of connection pair\."):
        undo.settings_before(pair(), records, "pair.yml")


def test_different_changes_of_parts_are_refused() -> None:
    new = pair(reqid=7)
    with pytest.raises(IpsecError, match="parts of connection pair had different settings before"):
        undo.settings_before(new, [record(new, pair()), record(new, pair(reqid=8))], "pair.yml")
    assert undo.settings_before(new, [record(new, pair()), record(new, new)], "pair.yml")["reqid"] == 0


def test_settings_that_were_undone_are_refused_until_they_are_corrected() -> None:
    old, new = pair(), pair(reqid=7, mode="tunnel")
    done = record(old, new, undone=new)
    with pytest.raises(IpsecError, match="Restore in the connection: mode: transport; reqid: 0. If they are right"):
        undo.check(new, [done], "pair.yml")
    for corrected in (old, pair(reqid=8), pair(mode="tunnel")):
        undo.check(corrected, [done], "pair.yml")
    # A host that joins does not make them other settings.
    with pytest.raises(IpsecError, match="still has the settings"):
        undo.check(pair(reqid=7, mode="tunnel", endpoints={**ENDS, "c": "192.0.2.3"}), [done], "pair.yml")
