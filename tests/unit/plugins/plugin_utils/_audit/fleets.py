# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A fleet of two hosts in which everything is as it should be, and ways to change what they answer."""

from __future__ import annotations

import copy
import typing as t

from ansible_collections.ipsec.manual.plugins.plugin_utils._audit.fleet import (
    DAY,
    Fleet,
    Known,
    Row,
    Way,
    host_of,
    pairs_of,
)
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.reader import read_connections

FILE = "/etc/inet/secret/ipseckeys"
ADDRESSES = {"enigma": "192.0.2.1", "partym": "192.0.2.2"}
NAME = "192.0.2.1|192.0.2.2#0,,0"
PAIR = "pair: enigma - partym"
NOW = 1_795_000_000.0
DIGEST, OTHER, OUTLINE = "ab" * 16, "cd" * 16, "ef" * 16
CONNECTIONS = read_connections([{"name": "pair", "endpoints": ADDRESSES}])


def row(**fields: t.Any) -> Row:
    """A host's SAs of the pair, none of them in a counter mode."""
    return {
        "name": NAME,
        "sas": 2,
        "inbound": 1,
        "outbound": 1,
        "oldest": 5 * DAY,
        "youngest": 5 * DAY,
        "budgets": [{"what": "packets", "used": 0.1}],
        "digest": DIGEST,
        "file_digest": DIGEST,
        **dict.fromkeys(("outline", "storable_outline", "file_outline"), ""),
        "fingerprints": ["00112233445566aa", "00112233445566bb"],
        "algorithms": ["aes-cbc", "hmac-sha256"],
        "integrity": "own",
        "integrity_failures": 0,
        "replayed": 0,
        "leaking": 0,
        "open": 0,
        "reloaded": 0,
        "shared_keys": 0,
        "shared_spis": 0,
        **{"storable_digest": fields.get("digest", DIGEST), **fields},
    }


def answer(**fields: t.Any) -> Row:
    return {
        "changed": False,
        "epoch": NOW,
        "kernel": "Linux 6.12.48",
        "uptime": 20 * DAY,
        "backend": "xfrm",
        "keys_hidden": False,
        "file": {"path": FILE, "exists": True, "mode": "0600", "modified": NOW - 5 * DAY, "sas": 2},
        "service": {"manager": "systemd", "installed": True, "enabled": True, "state": "active", "file": FILE},
        "counters": {"XfrmInNoStates": 3, "XfrmInError": 1},
        "policies": {"0,,0": 2},
        "pairs": [row()],
        "remarks": [],
        "unread": [],
        **fields,
    }


def known(**fields: t.Any) -> Known:
    return Known(
        "steady",
        7,
        {NAME: {DIGEST: 7}},
        {7: 5 * DAY},
        {7: 5 * DAY},
        frozenset(["ffffffffffffffff"]),
        {},
        {NAME: {7: DIGEST}},
        {NAME: {OUTLINE: 7}},
    )._replace(**fields)


def clean() -> Fleet:
    way = Way("ssh", address="192.0.2.1")
    hosts = {name: host_of(name, FILE, answer(), offset=0.0, way=way) for name in ADDRESSES}
    return Fleet(
        hosts,
        tuple(pairs_of(CONNECTIONS, hosts)),
        {"pair": known()},
        counters={name: {"XfrmInNoStates": 3, "XfrmInError": 1} for name in hosts},
    )


def changed(change: t.Callable[[Row], object], *names: str) -> Fleet:
    """The clean fleet after a change of the answer of one host, enigma unless named."""
    fleet = clean()
    hosts = dict(fleet.hosts)
    for name in names or ("enigma",):
        new = copy.deepcopy(hosts[name].answer)
        change(new)
        hosts[name] = host_of(name, FILE, new, offset=0.0, way=hosts[name].way)
    return fleet._replace(hosts=hosts)


def pairs(**fields: t.Any) -> t.Callable[[Row], None]:
    """A change of the host's only row of SAs."""
    changes = {"storable_digest": fields["digest"], **fields} if "digest" in fields else fields
    return lambda found: found["pairs"][0].update(changes)


def part(name: str, **fields: t.Any) -> t.Callable[[Row], None]:
    """A change of one part of an answer."""
    return lambda found: found[name].update(fields)


def fields(**values: t.Any) -> t.Callable[[Row], None]:
    return lambda found: found.update(values)


def remark(what: str, place: str = FILE, detail: str = "mode 0644") -> t.Callable[[Row], None]:
    return lambda found: found["remarks"].append({"what": what, "place": place, "detail": detail})


def way(**values: t.Any) -> Fleet:
    """The clean fleet with another way to one host."""
    fleet = clean()
    host = fleet.hosts["enigma"]
    return fleet._replace(hosts={**fleet.hosts, "enigma": host._replace(way=host.way._replace(**values))})
