# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rotations with keys of a known pattern. The pattern is put into a prepared generation of the keystore, which the role takes up as its own."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import pytest

from ansible_collections.ipsec.manual.plugins.plugin_utils import _records as records
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections import read_connections
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore import Keystore, Vault
from ansible_collections.ipsec.manual.tests.leak.stage import CONTROLLER, HOSTS, WORK, Outcome, Stage

FILE = "/etc/inet/secret/ipseckeys"
KEYSTORE = WORK / "keystore"
# Ciphers old and new, ESP and AH, both families: 10 keys on each host.
CONNECTIONS: list[dict[str, t.Any]] = [
    {
        "name": "old",
        "endpoints": {"enigma": "192.168.116.16", "partym": "192.168.13.213"},
        "associations": [{"protocol": "esp", "encryption_algorithm": "3des-cbc", "authentication_algorithm": "hmac-md5"}, {"protocol": "ah"}],
    },
    {"name": "new", "endpoints": {"enigma": "fd00:192:168:116::16", "partym": "fd00:192:168:13::213"}},
]
SETTINGS: dict[str, t.Any] = {"ipsec_connections": CONNECTIONS, "rotate_keystore": str(KEYSTORE)}
KEYS = 10


def keystore(stage: Stage) -> Keystore:
    return Keystore(str(KEYSTORE), Vault(stage.vault().secrets))


def prepare(stage: Stage, damage: t.Callable[[str], str] = lambda text: text) -> dict[str, str]:
    """Put a next generation whose keys carry the marker into the keystore; its text by connection."""
    store = keystore(stage)
    store.make_directory()
    texts = {}
    for connection in read_connections(CONNECTIONS):
        record = store.read(connection.name) or records.Record(connection.name)
        made = records.make(record, connection, records.Taken(), set())
        assert made.next
        marked = re.sub(r"(?<=key )[0-9a-f]+", lambda match: stage.keys.key(len(match[0]) // 2).hex(), made.next.sas)
        texts[connection.name] = damage(marked)
        store.write(made._replace(next=made.next._replace(sas=texts[connection.name])))
    return texts


def rotate(stage: Stage, *, plain: bool = False) -> Outcome:
    """Rotate: plain as most users would, on connections that do not pipeline; else with debug messages and without the role's no_log."""
    outcome = stage.playbook("ipsec.manual.rotate", pipelining=not plain, debug=not plain, settings={**SETTINGS, "rotate_secure_logging": plain})
    stage.clear()
    return outcome


def keys_in(texts: t.Iterable[str]) -> list[bytes]:
    return sorted(key.encode() for text in texts for key in re.findall(r"(?<=key )[0-9a-f]+", text))


def check_watched(outcome: Outcome) -> None:
    """The run really went through what was watched."""
    assert outcome.counts[CONTROLLER]["execs"] > 10
    for host in HOSTS:
        assert outcome.counts[host]["samples"] > 100
        assert outcome.counts[host]["execs"] > 10
        assert "ansible-ipsec.manual.ipsec_sadb" in outcome.invocations[host]


@pytest.mark.parametrize("plain", [True, False], ids=["plain", "debug"])
def test_rotation_lets_no_key_out(stage: Stage, plain: bool) -> None:
    texts = prepare(stage)
    outcome = rotate(stage, plain=plain)
    assert [str(leak) for leak in outcome.leaks] == []
    assert outcome.status == 0, outcome.output
    check_watched(outcome)
    # Where keys belong, these keys are.
    assert {leak.system for leak in outcome.allowed if leak.finding.place == FILE} == set(HOSTS)
    for host in HOSTS:
        assert sorted(stage.kernel_keys(host)) == keys_in(texts.values())
    for connection in CONNECTIONS:
        record = keystore(stage).read(connection["name"])
        assert record is not None and record.current is not None and record.next is None
        assert record.current.sas == texts[connection["name"]]
        assert stage.search.first(Path(keystore(stage).path(connection["name"])).read_bytes()) == ""


def test_rotation_that_is_rolled_back_lets_no_key_out(stage: Stage) -> None:
    before = {host: sorted(stage.kernel_keys(host)) for host in HOSTS}
    assert len(before[HOSTS[0]]) == KEYS
    wanted = re.search(r"spi (0x[0-9a-f]+) .*dst (\S+)", prepare(stage)["new"])
    assert wanted
    # Somebody else's SA has an identity that the generation needs: the kernel of one host refuses at the cut-over.
    spi, address = wanted.groups()
    other = ["src", "::", "dst", address, "proto", "esp", "spi", spi]
    taken = ["ip", "xfrm", "state", "add", *other, "reqid", "77", "enc", "cipher_null", "", "auth", "digest_null", ""]
    assert stage.run(HOSTS[1], *taken).status == 0
    try:
        outcome = rotate(stage)
    finally:
        stage.run(HOSTS[1], "ip", "xfrm", "state", "delete", *other[2:])
    assert [str(leak) for leak in outcome.leaks] == []
    assert outcome.status != 0
    check_watched(outcome)
    assert "partym: what it held before this run" in outcome.output
    files = {re.sub(r"/[.](.*)[.][0-9a-f]+[.]tmp$", r"/\1", leak.finding.place) for leak in outcome.allowed}  # seen before or after the rename
    assert files == {FILE, f"{FILE}.next", f"{FILE}.previous"}
    assert {host: sorted(stage.kernel_keys(host)) for host in HOSTS} == before


def test_rotation_that_is_refused_lets_no_key_out(stage: Stage) -> None:
    before = {host: sorted(stage.kernel_keys(host)) for host in HOSTS}
    prepare(stage, lambda text: re.sub(r"(authkey [0-9a-f]+)[0-9a-f]{2}", r"\1", text, count=1))
    outcome = rotate(stage)
    assert [str(leak) for leak in outcome.leaks] == []
    assert outcome.status != 0
    assert "hex digits" in outcome.output
    assert {host: sorted(stage.kernel_keys(host)) for host in HOSTS} == before
