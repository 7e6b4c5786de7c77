# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import IpsecError
from ansible_collections.ipsec.manual.plugins.module_utils._core.program.effect import net_changes
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import Counters, Entry, Lifetimes, Mark
from ansible_collections.ipsec.manual.plugins.module_utils._core.text import script

ONE = "esp spi 0x1001 dst 192.0.2.2"


def add(spi, digit):
    return f"add esp spi 0x{spi:x} src 192.0.2.1 dst 192.0.2.2 auth_alg sha1 authkey {digit * 38}ab"


def steps(text):
    return script.parse(text, "keys").steps


def entry(spi=0x1001, digit="1", larval=False, **fields):
    (step,) = steps(add(spi, digit))
    return Entry(step.sa._replace(**fields), Counters(bytes=7), larval)


def result(text, *held):
    return net_changes(steps(text), held, "keys")


def test_an_added_sa_is_added():
    found = result(add(0x1001, "1"))
    assert [operation.kind for operation in found.operations] == ["add"] and not found.updates


def test_an_sa_deleted_and_added_again_is_replaced():
    held = entry()
    for gone in (f"delete {ONE}", "flush", "flush esp"):
        (operation,) = result(f"{gone}\n{add(0x1001, '2')}", held).operations
        assert operation.kind == "replace" and operation.old is held and operation.new.authentication_key[0] == 0x22


def test_an_sa_added_and_deleted_again_is_left_out():
    assert result(f"{add(0x1001, '1')}\ndelete {ONE}").operations == ()


def test_operations_that_can_fail_come_first():
    text = f"delete {ONE}\n{add(0x1003, '3')}\ndelete esp spi 0x1002 dst 192.0.2.2\n{add(0x1002, '4')}"
    assert [operation.kind for operation in result(text, entry(), entry(0x1002, "2")).operations] == [
        "replace",
        "add",
        "delete",
    ]


def test_an_sa_makes_room_for_one_that_differs_in_its_mark_only():
    """Linux refuses the new one beside one without a mark, and takes it for one that has a mark."""
    text = f"delete {ONE} mark 5\ndelete esp spi 0x1002 dst 192.0.2.2\n{add(0x1001, '2')}"
    marked, other = entry(mark=Mark(5)), entry(0x1002, "2")
    operations = result(text, marked, other).operations
    assert [(operation.kind, operation.old) for operation in operations] == [
        ("delete", marked),
        ("add", None),
        ("delete", other),
    ]


def test_flush_deletes_its_type_but_no_reservation_without_an_spi():
    held = entry(), entry(0x1002, "2", protocol="ah"), entry(0x1003, "3")._replace(sa=entry().sa._replace(spi=0))
    assert [operation.old for operation in result("flush", *held).operations] == list(held[:2])
    assert [operation.old for operation in result("flush ah", *held).operations] == [held[1]]


def test_an_update_keeps_limits_that_it_does_not_set():
    held = entry(lifetimes=Lifetimes(soft_bytes=5, hard_usetime=9))
    found = result(f"update {ONE} hard_bytes 50", held)
    assert found.updates == ((held, Lifetimes(soft_bytes=5, hard_bytes=50, hard_usetime=9)),) and not found.operations


def test_an_update_of_an_added_sa_is_part_of_the_addition():
    (operation,) = result(f"{add(0x1001, '1')}\nupdate {ONE} hard_bytes 50").operations
    assert operation.kind == "add" and operation.new.lifetimes.hard_bytes == 50


def test_get_shows_the_sa_as_it_is_at_that_line():
    held = entry()
    found = result(f"get {ONE}\nupdate {ONE} hard_bytes 50\nget {ONE}\ndelete {ONE}", held)
    assert [shown.sa.lifetimes.hard_bytes for shown in found.shown] == [0, 50]
    assert [operation.kind for operation in found.operations] == ["delete"] and found.updates == ()


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (add(0x1001, "2"), "there already"),
        ("delete esp spi 0x1002 dst 192.0.2.2", "does not exist"),
        (f"get {ONE} src 192.0.2.7", "is not like that"),
        (f"get {ONE} inbound", "is not like that"),
        (f"update {ONE} hard_bytes 4", "above the hard limit 4"),
        (f"update {ONE} idle_addtime 4", "nothing like idle_addtime"),
        (f"update-pair {ONE}", "does not pair SAs"),
        (f"delete {ONE}\ndelete {ONE}", "line 2, column 1: the SA esp spi 0x00001001 dst 192.0.2.2 does not exist"),
        (f"flush\nget {ONE}", "does not exist"),
    ],
)
def test_commands_that_do_not_fit_the_sadb_are_refused(text, part):
    with pytest.raises(IpsecError) as caught:
        result(text, entry(lifetimes=Lifetimes(soft_bytes=5), direction="outbound"))
    assert part in str(caught.value)


def test_reservations_of_daemons_are_refused():
    for text in (add(0x1001, "2"), f"update {ONE} hard_bytes 5"):
        with pytest.raises(IpsecError, match="reserved by a key management daemon"):
            result(text, entry(larval=True))
