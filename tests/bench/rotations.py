# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measures what new keys cost the traffic: a rotation with each strategy, and the playbook that one would
write first, which empties the SADB and adds the new SAs one by one. And how long a rotation takes, without
traffic, against a playbook that only pings.
"""

from __future__ import annotations

import json
import secrets
import statistics
import tempfile
import time
import typing as t
from pathlib import Path

from ansible_collections.ipsec.manual.tests.e2e.flows import MATRIX, Loss, address, flowing
from ansible_collections.ipsec.manual.tests.e2e.harness import Project, lab

NAME = "bench-rotations"
RATE = 500  # packets a second on each flow, each way
LINES = [line for line in MATRIX if line.name.endswith("4-transport")]
DELAY = 15  # seconds to the instant of the cut-over
KEY_BYTES = 32
REPETITIONS = 3
PING = [{"hosts": "all", "gather_facts": False, "tasks": [{"name": "Ping", "ansible.builtin.ping": {}}]}]

WAYS: dict[str, dict[str, t.Any]] = {
    "overlap": {"rotate_new_keys": True},
    "flush": {"rotate_new_keys": True, "rotate_strategy": "flush"},
    "flush_at_an_instant": {"rotate_new_keys": True, "rotate_strategy": "flush", "rotate_cutover_delay": DELAY},
}
COMMON = ("protocol", "spi", "source", "destination", "authentication_algorithm", "authentication_key")
FIELDS = {"esp": (*COMMON, "encryption_algorithm", "encryption_key"), "ah": COMMON}
NAIVE = [
    {
        "hosts": "all",
        "gather_facts": False,
        "tasks": [
            {"name": "Empty the SADB", "ansible.builtin.command": "ip xfrm state flush", "changed_when": True},
            *(
                {
                    "name": f"Add the SAs of {protocol}",
                    "ipsec.manual.ipsec_sa": {field: f"{{{{ item.{field} }}}}" for field in fields},
                    "loop": f"{{{{ sas | selectattr('protocol', 'eq', '{protocol}') }}}}",
                    "no_log": True,
                }
                for protocol, fields in FIELDS.items()
            ),
        ],
    }
]


class Cost(t.NamedTuple):
    """Packets sent and lost on all flows, the longest gap of any in milliseconds, and the seconds of the run."""

    sent: int
    lost: int
    gap: float
    seconds: float


class Measured(t.NamedTuple):
    """The cost of new keys by the way in which they come; and median seconds of a rotation without traffic and of a
    playbook that pings, taking turns, with the median of their ratios.
    """

    costs: dict[str, Cost]
    rotation: float
    ping: float
    ratio: float


def new_sas() -> list[dict[str, t.Any]]:
    """SAs as the connections' own, with other keys and SPIs."""
    found = []
    for line in LINES:
        ends = list(line.connection["endpoints"].values())
        for source, destination in (ends, ends[::-1]):
            for row in line.connection["associations"]:
                encrypted = {"encryption_algorithm": "aes-cbc", "encryption_key": secrets.token_hex(KEY_BYTES)}
                found.append(
                    {
                        "protocol": row["protocol"],
                        "spi": f"0x{0xA0000000 + len(found):08x}",
                        "source": source,
                        "destination": destination,
                        "authentication_algorithm": "hmac-sha256",
                        "authentication_key": secrets.token_hex(KEY_BYTES),
                        **(encrypted if row["protocol"] == "esp" else {}),
                    }
                )
    return found


def cost(losses: dict[str, Loss], seconds: float) -> Cost:
    rows = losses.values()
    return Cost(sum(row.sent for row in rows), sum(row.lost for row in rows), max(row.gap for row in rows), seconds)


def timed(project: Project, **settings: t.Any) -> float:
    """The seconds of a run."""
    start = time.monotonic()
    project.run_well(**settings)
    return time.monotonic() - start


def measure() -> Measured:
    costs = {}
    with tempfile.TemporaryDirectory(prefix="bench.") as folder, lab(NAME, ("enigma", "partym")) as hosts:
        address(hosts, LINES)
        project = Project(Path(folder), NAME)
        project.connections = [line.connection for line in LINES]
        project.variables = {"rotate_boot": True, "boot_service_manager": "sysvinit"}
        for name, plays in (("naive", NAIVE), ("ping", PING)):
            (project.folder / f"{name}.yml").write_text(json.dumps(plays), encoding="utf-8")
        project.run_well()
        pairs = [
            (timed(project, rotate_new_keys=True), timed(project, playbook="ping.yml")) for dummy in range(REPETITIONS)
        ]
        # Last, since the keystore does not know its keys.
        for name, run in {**WAYS, "naive_playbook": {"playbook": "naive.yml", "only": {"sas": new_sas()}}}.items():
            with flowing(list(hosts.values()), {line.name: line.flow for line in LINES}, RATE) as losses:
                seconds = timed(project, **run)
            costs[name] = cost(losses, seconds)
    rotation, ping = (statistics.median(column) for column in zip(*pairs))
    return Measured(costs, rotation, ping, statistics.median(one / other for one, other in pairs))
