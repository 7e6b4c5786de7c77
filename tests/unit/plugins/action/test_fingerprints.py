# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The digests that `ipsec_keystore` expects of hosts match those that hosts report."""

from __future__ import annotations

import itertools
import pathlib

from ansible.parsing.vault import VaultSecret

from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.digest import digest, digest_by_owner
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.reader import read_connections
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore import result, steps
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.directory import Keystore
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.vault import Vault


def test_expected_digests_match_those_that_hosts_report(tmp_path: pathlib.Path) -> None:
    """Computed for each connection or for all SAs at once, also if two connections exchanged
    their addresses since.
    """
    several = [
        {
            "name": "one",
            "endpoints": {"a": "192.0.2.1", "b": "192.0.2.2"},
            "reqid": 7,
            "mark": 5,
            "associations": [{}, {"protocol": "ah"}],
        },
        {
            "name": "two",
            "endpoints": {"a": "2001:db8::1", "b": "2001:db8::2", "c": "2001:db8::3"},
            "associations": [{"encryption_algorithm": "aes-gcm"}],
        },
        {
            "name": "link",
            "endpoints": {"a": "192.0.2.1", "b": "192.0.2.2"},
            "multicast": ["224.0.0.5"],
            "unicast": True,
            "if_id": 3,
        },
    ]
    store = Keystore(str(tmp_path / "keystore"), Vault([("default", VaultSecret(b"correct horse"))]))
    store.make_directory()
    connections = read_connections(several, allow_static_counter_mode=True)
    made = steps.carry_out(store, connections, steps.Order("prepared", "me@here", store="derived"))
    secrets = made.roots.secrets()
    parts = {name: outcome.parts[0] for name, outcome in made.outcomes.items()}
    exchanged = parts["one"].record
    assert exchanged.next is not None
    other = parts["two"]._replace(
        record=exchanged._replace(connection="two", next=exchanged.next._replace(generation=2))
    )
    for exchange, key in itertools.product((parts, {**parts, "two": other}), (b"", bytes(range(32)))):
        rows = [result._Row(part, secrets, key) for part in exchange.values()]
        everything = [sa for row in rows for sa in row.sas()]
        stored = [sa for row in rows if row.connection.name != "two" for sa in row.sas()]
        expected = {
            "digest": digest(everything, key),
            "held": digest_by_owner(everything, key),
            "stored": digest(stored, key),
        }
        assert result._fingerprints(rows, key) == expected
        if exchange is parts:
            assert sum(row.count * len(row.units) for row in rows) == len(everything) > 0
