# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Connections whose next generation is already prepared, with the marker in every key: the role resumes it."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.reader import read_connections
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore import changes, generations, records
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.directory import Keystore
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.vault import Vault
from ansible_collections.ipsec.manual.tests.unit.plugins.generations import make

from .stage import CONTROLLER, HOSTS, WORK, Outcome, Stage

FILE = "/etc/inet/secret/ipseckeys"
KEYSTORE = WORK / "keystore"
# Ciphers old and new, ESP and AH, both families: 10 keys on each host.
CONNECTIONS: list[dict[str, t.Any]] = [
    {
        "name": "old",
        "endpoints": {"enigma": "192.168.116.16", "partym": "192.168.13.213"},
        "associations": [
            {"protocol": "esp", "encryption_algorithm": "3des-cbc", "authentication_algorithm": "hmac-md5"},
            {"protocol": "ah"},
        ],
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
        whole = store.read(connection.name)
        known = whole.records if whole is not None else ()
        (record,) = known or (records.KeyRecord(connection.name),)  # none are left after a removal
        made = make(changes.discard(record, {}), connection, generations.SpiAllocator(), set())
        assert made.next
        marked = re.sub(r"(?<=key )[0-9a-f]+", lambda match: stage.keys.key(len(match[0]) // 2).hex(), made.next.sas)
        texts[connection.name] = damage(marked)
        marked_record = made._replace(next=made.next._replace(sas=texts[connection.name]))
        store.write(records.ConnectionRecord.of(marked_record))
    return texts


def keys_in(texts: t.Iterable[str]) -> list[bytes]:
    return sorted(key.encode() for text in texts for key in re.findall(r"(?<=key )[0-9a-f]+", text))


def check_watched(outcome: Outcome) -> None:
    """Check that the run really used what was watched."""
    assert outcome.counts[CONTROLLER]["execs"] > 10
    for host in HOSTS:
        assert outcome.counts[host]["samples"] > 100
        assert outcome.counts[host]["execs"] > 10
        assert {"ansible-ipsec.manual.ipsec_batch", "ansible-ipsec.manual.ipsec_sadb"} <= outcome.invocations[
            host
        ], outcome.invocations[host]
