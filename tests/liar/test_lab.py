# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One host of the lab has a Python that edits what modules answer. The other two exchange packets
before, during and after, through SAs of a real kernel.
"""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest

from ansible_collections.ipsec.manual.tests.e2e.harness import FOREIGN, GUIDE, SHARED, Host, Project, lab

Hosts = t.Dict[str, Host]

NAME = "liar"
LIAR = "third"
HONEST = ("enigma", "partym")
# Answers of the cut-over have counts, those of the way back also say whether something was missing.
PYTHON = """#!/usr/bin/python3
import json, subprocess, sys
done = subprocess.run(["/usr/bin/python3", *sys.argv[1:]], stdin=sys.stdin.buffer, stdout=subprocess.PIPE)
try:
    answer = json.loads(done.stdout)
except ValueError:
    answer = {}
for field, lie in json.load(open("/var/tmp/lies")).items():
    for part in answer.get("answers", [answer]):
        if field in part and "missing" not in part:
            if lie is None:
                sys.exit(137)
            part.update(lie)
            done.stdout = json.dumps(answer).encode()
sys.stdout.buffer.write(done.stdout)
sys.exit(done.returncode)
"""
WEAK = [
    {
        "name": "mesh",
        "endpoints": [*HONEST, LIAR],
        "associations": [{"encryption_algorithm": "null", "authentication_algorithm": "hmac-md5"}],
    }
]


@pytest.fixture(scope="module")
def hosts() -> t.Iterator[Hosts]:
    with lab(NAME, (*HONEST, LIAR)) as hosts:
        yield hosts


@pytest.fixture(scope="module")
def project(hosts: Hosts, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A keyed fleet, with an SA of another program between the honest hosts."""
    folder: pathlib.Path = tmp_path_factory.mktemp("project")
    project = Project(folder, NAME)
    project.connections = [{"name": "mesh", "endpoints": [*HONEST, LIAR]}]
    (folder / "liar.yml").write_text(
        json.dumps({"all": {"hosts": {LIAR: {"ansible_python_interpreter": "/var/tmp/python"}}}}), encoding="utf-8"
    )
    write(hosts[LIAR], "/var/tmp/python", PYTHON)
    tell(hosts[LIAR])
    hosts["enigma"].ip(FOREIGN)
    project.run_well("-i", "liar.yml")
    return project


def write(host: Host, path: str, text: str) -> None:
    host.run("sh", "-c", 'printf %s "$2" >"$1" && chmod 755 "$1"', "sh", path, text)


def tell(host: Host, **lies: t.Any) -> None:
    """From now on, an answer with one of these fields, alone or of a batch, is updated with the given value, or
    all is dropped if that is None.
    """
    write(host, "/var/tmp/lies", json.dumps(lies))


def held(hosts: Hosts) -> set[t.Any]:
    """The SAs that both honest hosts hold between them; the foreign one stands, and the two agree on the others."""
    ends = [{sa._replace(packets=0) for sa in hosts[name].sas(*GUIDE)} for name in HONEST]
    foreign = {sa for sa in ends[0] if sa.reqid == 4242}
    assert {sa.spi for sa in foreign} == {"0x00c0ffee"}
    assert ends[0] - foreign == ends[1] != set()
    return ends[1]


def sent(host: Host, source: str) -> set[str]:
    """The SPIs of the SAs through which a host sends to the other."""
    return {sa.spi for sa in host.sas(*GUIDE) if sa.source == source and sa.reqid != 4242}


def talk(hosts: Hosts) -> None:
    """A ping passes through SAs, which count it at both ends."""
    before = {name: hosts[name].packets(*GUIDE) for name in HONEST}
    assert hosts["enigma"].pings(GUIDE[1])
    after = {name: hosts[name].packets(*GUIDE) for name in HONEST}
    used = sent(hosts["enigma"], GUIDE[0]) | sent(hosts["partym"], GUIDE[1])
    assert used and all(after[name][spi] > before[name][spi] for name in HONEST for spi in used)


@pytest.mark.parametrize(
    "lies",
    [
        pytest.param(
            {
                "held": {
                    "ansible_facts": {"ipsec_connections": WEAK, "rotate_connections": WEAK, "rotate_keystore": "/evil"}
                }
            },
            id="facts",
        ),
        pytest.param({"counts": {"digest": {"|".join(sorted(SHARED)): "0" * 32}}}, id="digest"),
        pytest.param({"counts": None}, id="lost"),
    ],
)
def test_honest_hosts_keep_exchanging_packets_whatever_the_third_answers(
    hosts: Hosts, project: Project, lies: t.Any
) -> None:
    talk(hosts)
    tell(hosts[LIAR], **lies)
    done = project.run_badly("-i", "liar.yml", rotate_new_keys=True)
    report = done.output.rpartition("The rotation stopped at")[2]
    assert f" {LIAR}: " in report and "Traceback" not in done.output, done.output
    talk(hosts)
    tell(hosts[LIAR])


def test_the_next_honest_run_gives_all_hosts_new_keys(hosts: Hosts, project: Project) -> None:
    before = max(record["current"]["generation"] for record in project.records("mesh"))
    project.run_well("-i", "liar.yml")
    assert min(record["current"]["generation"] for record in project.records("mesh")) > before
    after = held(hosts)
    assert {sa.spi for sa in after} <= project.spis("mesh")
    talk(hosts)
