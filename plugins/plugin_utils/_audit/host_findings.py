# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Findings about one host at a time: its traffic, its files, the ways to it, and how it boots. Pure."""

from __future__ import annotations

import typing as t

from .counters import kind_of
from .findings import Finding, finding
from .fleet import Fleet, Host, Row

Found = t.Iterator[Finding]

# What a host remarks, and the finding that it is.
_REMARKS = {
    "mode": "file-mode",
    "world-readable": "file-world-readable",
    "owner": "file-owner",
    "path": "file-path",
    "acl": "file-acl",
    "links": "file-links",
    "file-system": "file-network",
    "unknown-file-system": "file-system-unknown",
    "copy": "file-copy",
    "leftover": "file-leftover",
    "names": "file-names",
    "invalid": "file-invalid",
    "history": "key-in-history",
    "script": "key-in-script",
    "login": "login-clear",
    "listens": "server-clear",
    "swap": "swap",
    "core": "core-dumps",
    "level-use": "level-use",
    "policy-without-sa": "policy-without-sa",
    "boots-without-policies": "service-without-policies",
    "drop-in": "service-overridden",
}
_OF_POLICIES = ("level-use", "policy-without-sa")


def of_traffic(fleet: Fleet) -> Found:
    """SAs without policies, and packets that SAs refused."""
    for pair in fleet.pairs:
        for host, rows in fleet.sides(pair):
            counted = {
                "no-policy": _sum(rows, "leaking"),
                "no-inbound-policy": _sum(rows, "open"),
                "integrity-failures": _sum(rows, "integrity_failures"),
                "replayed": _sum(rows, "replayed"),
            }
            for kind, count in counted.items():
                if count:
                    yield finding(kind, host.name, pair.name, detail=count, connection=pair.connection)


def of_counters(fleet: Fleet) -> Found:
    """The kernel's counters of discarded packets since the previous audit; they restart with each boot. Those
    that it did not see are not compared.
    """
    for host in fleet.hosts.values():
        before = fleet.counters.get(host.name, {})
        for name, value in host.answer.get("counters", {}).items():
            risen = value - before.get(name, value) if value >= before.get(name, value) else value
            if risen:
                yield finding(kind_of(name), host.name, place=name, detail=risen)


def of_remarks(fleet: Fleet) -> Found:
    """Everything that needs no comparison."""
    owners = fleet.owners()
    for host in fleet.hosts.values():
        for row in host.remarks(*_REMARKS):
            # An IKE daemon installs policies first, and SAs when they are needed.
            if row["what"] in _OF_POLICIES and owners and row["detail"] not in owners:
                continue
            yield finding(_REMARKS[row["what"]], host.name, place=row["place"], detail=row["detail"], file=host.file)


def of_ways(fleet: Fleet) -> Found:
    for host in fleet.hosts.values():
        way = host.way
        if way.clear:
            yield finding("transport-clear", host.name, detail=way.transport)
        if way.unchecked:
            yield finding("host-key-unchecked", host.name, detail=way.address, port=way.port)
        if way.resolved:
            yield finding("name-resolved", host.name, detail=way.address)
        if way.shadowed:
            yield finding("facts-change-inputs", host.name, detail=", ".join(way.shadowed))


def of_boot(fleet: Fleet) -> Found:
    """What a host with SAs of the connections has after a reboot. A service that failed may be why it has none."""
    keys = fleet.keys()
    for host in fleet.hosts.values():
        if not host.answer:
            continue
        if host.answer["service"]["state"] == "failed":
            yield finding("service-failed", host.name, manager=host.answer["service"]["manager"])
        if any(row["sas"] for key, row in host.rows.items() if key in keys.get(host.name, ())):
            yield from _service(host)
        # A file behind a path that is not safe was not looked at.
        seen = host.answer["file"]["exists"] or host.remarks("path")
        if not seen and _needs_file(fleet, host, keys.get(host.name, set())):
            yield finding("file-missing", host.name, place=host.file, file=host.file)
        if host.offset is not None and abs(host.offset) > fleet.clock_tolerance:
            yield finding("clock-offset", host.name, detail=f"{host.offset:+.1f}")


def _needs_file(fleet: Fleet, host: Host, keys: t.Collection[str]) -> bool:
    """Whether the host holds SAs of the connections, or the keystore says that its file does."""
    return any(row["sas"] for key, row in host.rows.items() if key in keys) or any(
        known.in_file(key) for known in fleet.known.values() for key in keys
    )


def _service(host: Host) -> Found:
    service = host.answer["service"]
    if any(text.startswith("service at boot:") for text in host.answer["unread"]):
        return  # which is a finding
    if not service["installed"]:
        yield finding("service-absent", host.name, file=host.file)
        return
    if not service["enabled"]:
        yield finding("service-disabled", host.name, file=host.file)
    if service["file"] not in ("", host.file):
        yield finding("service-other-file", host.name, place=service["file"], file=host.file)


def of_others(fleet: Fleet) -> Found:
    """Hosts that did not answer, what they could not read, and SAs and policies of others."""
    keys = fleet.keys()
    owners = fleet.owners()
    for host in fleet.hosts.values():
        if not host.answer:
            yield finding("absent", host.name, detail=host.reason)
            continue
        for text in host.answer["unread"]:
            yield finding("unread", host.name, place=text.partition(":")[0], detail=text)
        mine = keys.get(host.name, set())
        foreign = sum(row["sas"] for key, row in host.rows.items() if key not in mine)
        if foreign:
            yield finding("others-sas", host.name, detail=foreign)
        policies = sum(count for owner, count in host.answer["policies"].items() if owner not in owners)
        if policies:
            yield finding("others-policies", host.name, detail=policies)


def _sum(rows: t.Iterable[Row], field: str) -> int:
    return sum(row[field] for row in rows)


GROUPS = (of_traffic, of_counters, of_remarks, of_ways, of_boot, of_others)
