# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How loading a file changes a SADB: which SAs the file owns, and which stay."""

from __future__ import annotations

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import IpsecError
from ansible_collections.ipsec.manual.plugins.module_utils._core.program import loading
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import (
    Counters,
    Entry,
    Mark,
    build,
    pack_address,
)

HERE, PEER, OTHER = map(pack_address, ("192.0.2.1", "192.0.2.2", "192.0.2.3"))


def sa_of(spi, destination=PEER, source=HERE, key=1, **fields):
    keys = {"encryption_key": bytes([key, spi & 255]) * 16, "authentication_key": bytes([spi & 255, key]) * 16}
    return build("esp", spi, destination, source, "aes-cbc", "hmac-sha256", **keys, **fields)


def counter_of(spi, destination=PEER):
    return build("esp", spi, destination, HERE, "aes-gcm", "", encryption_key=bytes(range(spi & 255, (spi & 255) + 36)))


def steps_of(plan):
    return {(step.kind, (step.new or step.old.sa).spi) for step in plan.operations}


def load(sas, loaded, held, **options):
    return loading.load_plan(sas, loaded, [Entry(sa, Counters()) for sa in held], False, **options)


def test_only_the_difference_is_loaded():
    plan = load(
        [sa_of(0x1001), sa_of(0x1002), sa_of(0x1003, key=9)],
        [],
        [sa_of(0x1001), sa_of(0x1003), sa_of(0x1004), sa_of(0x1005, OTHER)],
    )
    assert steps_of(plan) == {("add", 0x1002), ("replace", 0x1003), ("delete", 0x1004)}
    assert loading.summary("/f", plan.operations, plan.unchanged) == "/f: 1 added, 1 replaced, 1 removed, 1 unchanged"
    assert loading.rotation_due(plan).count("\n") == 2 and "0x00001002" in loading.rotation_due(plan)


def test_a_second_load_changes_nothing():
    sas = [sa_of(0x1001), sa_of(0x1002)]
    assert load(sas, sas, sas).operations == ()


@pytest.mark.parametrize(
    ("there", "goes"),
    [
        (sa_of(0x1009, OTHER), True),
        (sa_of(0x1009, OTHER, key=5), True),
        (sa_of(0x1009, OTHER, source=PEER), False),
        (sa_of(0x1009, OTHER, reqid=7), False),
        (sa_of(0x1009, OTHER, if_id=7), False),
        (sa_of(0x1009, OTHER, mark=Mark(1)), False),
        (sa_of(0x100A, OTHER), False),
    ],
)
def test_only_loaded_sas_of_peers_that_left_the_file_are_removed(there, goes):
    recorded = sa_of(0x1009, OTHER)
    assert steps_of(load([sa_of(0x1001)], [recorded], [sa_of(0x1001), there])) == (
        {("delete", there.spi)} if goes else set()
    )
    assert steps_of(loading.remove_plan([recorded], [Entry(there, Counters())])) == (
        {("delete", there.spi)} if goes else set()
    )
    # Even if nothing is left in the file.
    assert steps_of(load([], [recorded], [there])) == ({("delete", there.spi)} if goes else set())


def test_an_sa_is_deleted_once():
    assert len(load([sa_of(0x1001)], [sa_of(0x1002)], [sa_of(0x1001), sa_of(0x1002)]).operations) == 1


def test_counter_modes_that_the_file_does_not_name_stay():
    held = [sa_of(0x1001), counter_of(0x1002)]
    assert load([sa_of(0x1001)], [], held).operations == ()
    assert steps_of(load([sa_of(0x1001)], [], held, with_counter_mode=True)) == {("delete", 0x1002)}
    assert steps_of(load([sa_of(0x1001), sa_of(0x1002)], [], held)) == {("replace", 0x1002)}


def test_sas_of_others_stay():
    held = [sa_of(0x1002, reqid=42), sa_of(0x1003, mark=Mark(1)), sa_of(0x1004, OTHER)]
    assert steps_of(load([sa_of(0x1001)], [], held)) == {("add", 0x1001)}
    with pytest.raises(IpsecError, match="belongs to another owner"):
        load([sa_of(0x1002)], [], held)


@pytest.fixture(name="files")
def record_in_memory(monkeypatch):
    """Keep records in memory instead of root's files, which test_protected.py tests."""
    contents = {}

    def update(path, change):
        contents[path] = change(contents.get(path))

    monkeypatch.setattr(
        loading.protected, "status", lambda path: loading.protected.FileStatus(path, exists=path in contents)
    )
    monkeypatch.setattr(loading.protected, "read", contents.__getitem__)
    monkeypatch.setattr(loading.protected, "update", update)
    return contents


def test_the_record_keeps_files_apart_and_holds_no_keys(files):
    sas = [
        sa_of(0x1001, mark=Mark(3, 7), reqid=5, if_id=6),
        sa_of(0x1002, pack_address("2001:db8::1"), pack_address("2001:db8::2")),
    ]
    assert loading.read_record("/one") == []
    loading.write_record("/one", sas)
    loading.write_record("/two", sas[:1])
    text = files[loading.RECORD.path].decode()
    for sa, found in zip(sas, loading.read_record("/one")):
        assert (sa.protocol, sa.spi, sa.source, sa.destination, sa.mark, sa.reqid, sa.if_id) == (
            *(found.protocol, found.spi, found.source, found.destination, found.mark, found.reqid, found.if_id),
        )
        assert sa.encryption_key.hex()[:8] not in text and found.encryption_key == b""
    loading.write_record("/one", [])
    assert loading.read_record("/one") == [] and len(loading.read_record("/two")) == 1


@pytest.mark.parametrize("content", [b"", b"{", b'{"/one": [[1]]}', b'{"/one": [["esp", 1, "x", "y", null, 0, 0]]}'])
def test_a_damaged_record_is_reported(files, content):
    files[loading.RECORD.path] = content
    with pytest.raises(IpsecError, match="not a record of loaded SAs"):
        loading.read_record("/one")
