# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measures Ansible tasks over the lab's ssh: one SA against a ping, and the number of tasks of a rotation."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import typing as t
from pathlib import Path
from xml.etree import ElementTree

TOP = Path(__file__).resolve().parents[2]
LAB = str(TOP / "tests" / "lab" / "lab")
NAME = "bench"
REPETITIONS = 60
NETWORKS = {"enigma": "10.200", "partym": "10.201"}


class Measured(t.NamedTuple):
    """Median seconds of one task, how many times a ping its neighbour took (median), and how many
    tasks a rotation has for 2 and for 4000 SAs.
    """

    ping: float
    module: float
    ratio: float
    repetitions: int
    rotation_tasks: tuple[int, int]


class Task(t.NamedTuple):
    """One task on one host."""

    name: str
    seconds: float


@contextlib.contextmanager
def lab() -> t.Iterator[Path]:
    """Start a lab of two hosts; yields its inventory."""
    subprocess.run([LAB, "down", "--name", NAME], check=False, capture_output=True)
    subprocess.run([LAB, "up", "--name", NAME], check=True, stdout=subprocess.DEVNULL)
    try:
        yield TOP / "build" / "lab" / NAME / "inventory.yml"
    finally:
        subprocess.run([LAB, "down", "--name", NAME], check=True, stdout=subprocess.DEVNULL)


def play(folder: Path, inventory: Path, plays: list[dict[str, t.Any]], **variables: t.Any) -> list[Task]:
    """Run plays; return the tasks of all hosts in order, timed by the callback ansible.builtin.junit."""
    book, settings, reports = folder / "play.yml", folder / "variables.json", folder / "reports"
    book.write_text(json.dumps(plays), encoding="utf-8")
    settings.write_text(json.dumps(variables), encoding="utf-8")
    environment = {
        **os.environ,
        "ANSIBLE_CALLBACKS_ENABLED": "ansible.builtin.junit",
        "ANSIBLE_VAULT_PASSWORD_FILE": str(folder / "vault"),
        "JUNIT_HIDE_TASK_ARGUMENTS": "true",
        "JUNIT_OUTPUT_DIR": str(reports),
    }
    done = subprocess.run(
        ["ansible-playbook", "-i", str(inventory), "-e", f"@{settings}", str(book)],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
    )
    if done.returncode:
        sys.exit(f"ansible-playbook: exit status {done.returncode}\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
    (report,) = reports.iterdir()
    cases = list(ElementTree.parse(report).getroot().iter("testcase"))
    report.unlink()
    return [Task(case.attrib["name"], float(case.attrib["time"])) for case in cases]


def time_module(folder: Path, inventory: Path) -> tuple[float, float, float]:
    """Median seconds of a ping and of an SA that is there already, taking turns, and the median of
    what each pair makes.

    Tasks take several times as long on a busy machine; two that follow each other take their share of that both.
    """
    sa = {
        "protocol": "esp",
        "spi": "0x1000",
        "source": "192.168.116.16",
        "destination": "192.168.13.213",
        "encryption_algorithm": "aes-cbc",
        "encryption_key": secrets.token_hex(32),
        "authentication_algorithm": "hmac-sha256",
        "authentication_key": secrets.token_hex(32),
    }
    # The first pair only prepares connection, caches and the SA itself.
    pair = [{"name": "ping", "ansible.builtin.ping": {}}, {"name": "module", "ipsec.manual.ipsec_sa": sa}]
    done = play(folder, inventory, [{"hosts": "enigma", "gather_facts": False, "tasks": pair * (REPETITIONS + 1)}])[2:]
    ping, module = ([task.seconds for task in done if task.name.endswith(name)] for name in (": ping", ": module"))
    if not len(ping) == len(module) == REPETITIONS:
        sys.exit(f"{len(ping)} pings and {len(module)} SAs were timed instead of {REPETITIONS} each")
    ratio = statistics.median(one / other for one, other in zip(module, ping))
    return statistics.median(ping), statistics.median(module), ratio


def make_connections(count: int, *, with_ah: bool) -> list[dict[str, t.Any]]:
    """Connections between addresses of the two hosts, each with ESP SAs in both directions, and optionally AH."""
    associations = [{"protocol": "esp"}, {"protocol": "ah"}] if with_ah else [{"protocol": "esp"}]
    return [
        {
            "name": f"pair-{number}",
            "endpoints": {host: address(host, number) for host in NETWORKS},
            "associations": associations,
        }
        for number in range(count)
    ]


def address(host: str, number: int) -> str:
    return f"{NETWORKS[host]}.{number // 250}.{number % 250 + 1}"


def add_addresses(count: int) -> None:
    for host in NETWORKS:
        lines = "".join(f"addr add {address(host, number)}/32 dev lo\n" for number in range(count))
        subprocess.run(
            [LAB, "run", "--name", NAME, host, "--", "sh", "-c", f"ip -batch - <<'END'\n{lines}END"], check=True
        )


def count_rotation_tasks(folder: Path, inventory: Path, connections: list[dict[str, t.Any]]) -> int:
    """Give two hosts their first keys, which runs all phases of a rotation, and count the tasks on both."""
    keystore = str(folder / f"keystore{len(connections)}")
    plays = [
        {"hosts": "all", "gather_facts": False, "roles": [{"role": "ipsec.manual.rotate", "rotate_keystore": keystore}]}
    ]
    return len(play(folder, inventory, plays, ipsec_connections=connections))


def measure() -> Measured:
    with tempfile.TemporaryDirectory(prefix="bench.") as name, lab() as inventory:
        folder = Path(name)
        (folder / "vault").write_text(secrets.token_hex(16), encoding="ascii")
        ping, module, ratio = time_module(folder, inventory)
        add_addresses(1000)
        few = count_rotation_tasks(folder, inventory, make_connections(1, with_ah=False))
        many = count_rotation_tasks(folder, inventory, make_connections(1000, with_ah=True))
    return Measured(ping, module, ratio, REPETITIONS, (few, many))
