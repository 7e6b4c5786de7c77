# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reports of audits: an ordinary one, an empty one, one with hostile names, and one of a large fleet."""

from __future__ import annotations

import itertools
import typing as t

Row = t.Dict[str, t.Any]

# What a host or a colleague may have written into a name: markup, code, bidi controls, escape sequences, quotes.
HOSTILE = (
    "<script>document.title='owned'</script>",
    '"><img src=x onerror="document.title=\'owned\'">',
    "</title></style></script><h1>owned</h1>",
    "enigma\u202egnp.exe\u2066",
    "\x1b[2J\x1b[31mred",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:alert(1)",
    "a\\\"b\n'c'`${d}`",
    "\udcff lone surrogate",
    "x" * 300,
    "\u4e3b\u673a" * 40,
    "../../etc/passwd#?&amp;%3Cb%3E",
)
SEVERITIES = ("high", "medium", "low", "info")
DAY = 86400
_COUNTERS = {"XfrmInNoStates": 0, "XfrmInStateProtoError": 0, "XfrmInStateSeqError": 0}


def host(name: str, worst: str = "none", **fields: t.Any) -> Row:
    return {
        "name": name,
        "answered": True,
        "reason": "",
        "kernel": "Linux 6.12.48",
        "backend": "xfrm",
        "file": {"path": "/etc/inet/secret/ipseckeys", "mode": "0600", "modified": "2026-09-05T06:12:40Z"},
        "service": "enabled",
        "clock_offset": 0.2,
        "counters": dict(_COUNTERS),
        "worst": worst,
        **fields,
    }


def pair(connection: str, one: str, other: str, worst: str = "none", **fields: t.Any) -> Row:
    return {
        "name": f"{connection}: {one} - {other}",
        "connection": connection,
        "hosts": [one, other],
        "addresses": ["192.0.2.1", "192.0.2.2"],
        "generation": 7,
        "agreement": "same",
        "age": 34 * DAY,
        "age_limit": 90 * DAY,
        "budgets": [{"what": "packets", "used": 0.12}],
        "due": [],
        "worst": worst,
        **fields,
    }


def finding(identity: str, severity: str, what: str, **fields: t.Any) -> Row:
    return {
        "id": identity,
        "severity": severity,
        "host": "",
        "pair": "",
        "what": what,
        "why": "RFC 4301 section 4.4.2: keys have a lifetime, after which they are replaced.",
        "fix": "give backbone new keys",
        "commands": [
            {
                "host": "",
                "command": "ansible-playbook --ask-vault-password ipsec.manual.rotate -e rotate_only=backbone",
            }
        ],
        "new": False,
        **fields,
    }


_OLD = "backbone: enigma - partym"


def _hosts() -> list[Row]:
    return [
        host("enigma", "high", counters={**_COUNTERS, "XfrmInNoStates": 1204, "XfrmInStateSeqError": 3}),
        host("partym", "high", clock_offset=-4.7, service="failed"),
        *(host(f"branch-{number:02}") for number in range(1, 9)),
        host("branch-09", "low"),
        host("branch-10", "medium", kernel="SunOS 5.11", backend="solaris", clock_offset=None, counters={}),
        host(
            "branch-11",
            "medium",
            answered=False,
            reason="unreachable (ssh: connect to host branch-11 port 22: No route to host)",
            kernel="",
            backend="",
            file={"path": "", "mode": "", "modified": ""},
            service="",
            clock_offset=None,
            counters={},
        ),
    ]


def _pairs() -> list[Row]:
    return [
        pair("backbone", "enigma", "partym", "high", age=113 * DAY, due=["age"], agreement="differs"),
        *(pair("branches", "enigma", f"branch-{number:02}") for number in range(1, 9)),
        pair(
            "branches",
            "enigma",
            "branch-09",
            "low",
            age=81 * DAY,
            budgets=[{"what": "packets", "used": 0.86}, {"what": "bytes", "used": 0.3}],
        ),
        pair("branches", "enigma", "branch-10", "medium", budgets=[], age_limit=None),
        pair("branches", "enigma", "branch-11", age=None, budgets=[], generation=0, agreement="unknown"),
    ]


def _findings() -> list[Row]:
    return [
        finding("keys_age", "high", "The keys are 113 days old, and the limit is 90 days.", pair=_OLD, new=True),
        finding(
            "drift",
            "high",
            "The kernel holds generation 6, the keystore generation 7.",
            host="partym",
            pair=_OLD,
            why="Peers with different generations drop each other's packets.",
        ),
        finding(
            "service_failed",
            "medium",
            "The service ipseckey.service failed: keys are not loaded at the next boot.",
            host="branch-10",
            why="Without it the host sends no protected traffic after a reboot.",
            fix="start it",
            commands=[{"host": "branch-10", "command": "systemctl start ipseckeys.service"}],
            new=True,
        ),
        finding("unreachable", "medium", "The host did not answer.", host="branch-11", fix="", commands=[]),
        finding(
            "budget",
            "low",
            "86 % of the packets of a 32-bit sequence number are used.",
            host="branch-09",
            pair="branches: enigma - branch-09",
            why="RFC 4303 section 3.3.3: an SA must not send more than 2^32 packets.",
        ),
        *(
            finding("foreign_sas", "info", "2 SAs of another program are in the kernel.", host=f"branch-{n:02}")
            for n in range(1, 4)
        ),
    ]


def ordinary() -> Row:
    """Two sites and their branches, with something of everything."""
    gone = [
        finding("file_mode", "high", "The protected file has mode 0644.", host="enigma", fix="close it"),
        finding("keys_age", "medium", "The keys are 92 days old.", pair="branches: enigma - branch-02"),
    ]
    return report(_hosts(), _pairs(), _findings(), gone)


def report(hosts: list[Row], pairs: list[Row], findings: list[Row], gone: t.Sequence[Row] = ()) -> Row:
    return {
        "format": 1,
        "made": "2026-11-27T22:00:00Z",
        "previous": "2026-11-20T22:00:00Z",
        "hosts": hosts,
        "pairs": pairs,
        "findings": findings,
        "gone": list(gone),
    }


def empty() -> Row:
    return {**report([], [], []), "previous": ""}


def hostile() -> Row:
    """Every text of every row is hostile in turn."""
    hosts = [
        host(
            text,
            "high",
            kernel=text,
            service=text,
            counters={text: 1},
            file={"path": text, "mode": text, "modified": ""},
        )
        for text in HOSTILE
    ]
    hosts.append(host("silent" + HOSTILE[0], answered=False, reason=HOSTILE[1]))
    pairs = [
        pair(one, one, other, "medium", addresses=[one, other], due=[one])
        for one, other in itertools.pairwise([*HOSTILE, HOSTILE[0]])
    ]
    rows = [
        finding(
            text,
            "high",
            text,
            host=text,
            pair=found["name"],
            why=text,
            fix=text,
            commands=[{"host": text, "command": text}],
        )
        for text, found in zip(HOSTILE, pairs)
    ]
    return report(hosts, pairs, rows, rows)


def large(hosts: int = 1000, pairs: int = 5000) -> Row:
    """A fleet of that size with some findings of each severity, and one for every fifth host."""
    names = [f"host-{number:04}.site-{number % 17:02}.example.com" for number in range(hosts)]
    levels = [("none", *SEVERITIES)[(number * 7919 % 101) % 5 if number % 5 == 0 else 0] for number in range(hosts)]
    rows = [host(name, level) for name, level in zip(names, levels)]
    found = []
    for number in range(pairs):
        one, step = number % hosts, 1 + number // hosts
        worst = SEVERITIES[number // 37 % 4] if number % 37 == 0 else "none"
        age = (number * 17 % 100) * DAY
        found.append(pair(f"net-{one % 12}", names[one], names[(one + step) % hosts], worst, age=age))
    findings = [
        finding("keys_age", level, f"{name} has keys that are due.", host=name)
        for name, level in zip(names, levels)
        if level != "none"
    ]
    findings += [
        finding(
            "drift", row["worst"], "The hosts hold different keys.", host=row["hosts"][0], pair=row["name"], new=True
        )
        for row in found
        if row["worst"] != "none"
    ]
    return report(rows, found, findings)
