# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The examples in the documentation run unchanged: those of every plugin, and those marked runnable on pages."""

from __future__ import annotations

import pathlib
import shutil
import typing as t

import pytest
import yaml

from ansible_collections.ipsec.manual.tests.e2e.harness import GUIDE, Host, Project
from ansible_collections.ipsec.manual.tests.unit.docs.examples import Example, examples

Hosts = t.Dict[str, Host]
Play = t.Dict[str, t.Any]

CONNECTIONS = [{"name": "enigma-partym", "endpoints": {"enigma": GUIDE[0], "partym": GUIDE[1]}}]
# Examples that are not run, and why.
NOT_RUN = {
    "ipsec_boot": "the lab's hosts were not booted, so no service manager runs there; test_boot.py brings one",
    "ipsec_fleet": "it imports a playbook, which tests/leak runs on the hosts of a rotation",
    "ipsec_rotation": "examples run on one host, and a rotation wants both; test_rotation.py drives it",
    "ipsec_status": "it fails if something is wrong, as it is after the examples of others",
}
FIRST = "plugins/modules/ipsec_keystore.py"  # others read its results

NEXT = "/etc/inet/secret/ipseckeys.next"
NOTHING: dict[str, t.Any] = {"connections": [], "hosts": {}, "digest": {}, "held": {}, "stored": {}, "pending": False}


def key(number: int) -> str:
    return "".join(f"5ec4e7{number + index:02x}" for index in range(8))


def sa(spi: int, source: str, destination: str) -> str:
    keys = f"encr_alg aes encrkey {key(spi % 97)} auth_alg sha256 authkey {key(spi % 97 + 100)}"
    return f"add esp spi 0x{spi:x} src {source} dst {destination} {keys}\n"


def both_ways(spi: int) -> str:
    return sa(spi, *GUIDE) + sa(spi + 1, *reversed(GUIDE))


# What examples need: variables, files on the controller, files on the host.
VARIABLES = {
    "vault_enigma_partym": {"encryption_key": key(1), "authentication_key": key(9)},
    "vault_gateway": {"authentication_key": key(17) + key(25)},
    "vault_authentication_key": key(33),
    "vault_secret": "correct horse",
    "expected": NOTHING,
    "problems": [],
    "asked": 0,
    **dict.fromkeys(("results", "checks", "sent", "received", "before", "cuts", "saves", "rollbacks"), {}),
}
FILES = {
    "groups.ini": "[routers]\nenigma\npartym\n",
    "enigma.ipseckeys": both_ways(0x1000),
    "fleet.ipseckeys": both_ways(0x2000),
    "keys/ipseckeys": both_ways(0x5000),
}
PREPARATION: dict[str, t.Any] = {
    "ipsec.manual.ipseckeys_file": {"path": "{{ item.path }}", "content": "{{ item.content }}"},
    "loop": [
        {"path": "/etc/inet/secret/ipseckeys", "content": both_ways(0x3000)},
        {"path": NEXT, "content": both_ways(0x4000)},
    ],
    "no_log": True,
}
TRAFFIC: list[dict[str, t.Any]] = [
    {"ipsec.manual.ipsec_sadb": {"src": NEXT, "state": "exact"}},
    {
        "ipsec.manual.ipsec_policy": {
            "direction": "out",
            "selector": {"source": f"{GUIDE[0]}/32", "destination": f"{GUIDE[1]}/32"},
            "templates": [{"protocol": "esp"}],
        }
    },
]
NEEDS = {"ipseckeys_file": [PREPARATION], "ipsec_sadb": [PREPARATION], "ipsec_probe": [PREPARATION, *TRAFFIC]}

ALL = examples()


@pytest.fixture(scope="module", name="stage")
def make_stage(hosts: Hosts, tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Project]:
    """A separate project; the hosts are restored afterwards."""
    folder: pathlib.Path = tmp_path_factory.mktemp("examples")
    stage = Project(folder)
    stage.connections = CONNECTIONS
    (folder / "keys").mkdir()
    for name, text in FILES.items():
        (folder / name).touch(mode=0o600)
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "variables.yml").write_text(yaml.safe_dump(VARIABLES), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder))  # examples install the command there
        yield stage
    for host in hosts.values():
        host.run("ip", "xfrm", "policy", "flush")
        host.run("ip", "xfrm", "state", "flush")
        host.run("rm", "-rf", "/etc/inet/secret", "/etc/ipsecpolicies.json")
    shutil.rmtree(folder)


def plays_of(example: Example) -> list[Play]:
    """The example as plays; tasks run on one host."""
    if example.kind == "playbook":
        return t.cast("list[Play]", example.data)
    return [
        {
            "name": example.place,
            "hosts": "enigma",
            "gather_facts": False,
            "tasks": [*NEEDS.get(example.plugin, ()), *example.data],
        }
    ]


def run(stage: Project, chosen: t.Iterable[Example]) -> str:
    """All of them in one run."""
    plays = [play for example in chosen for play in plays_of(example)]
    (stage.folder / "examples.yml").write_text(yaml.safe_dump(plays, sort_keys=False), encoding="utf-8")
    # As extra variables, the settings of the harness would override the examples'.
    settings = {"ipsec_connections": CONNECTIONS}
    process = stage.start("-i", "groups.ini", "-e", "@variables.yml", playbook="examples.yml", only=settings)
    status = process.wait(1200)
    assert status == 0, stage.output()
    return stage.output()


def test_examples_of_pages_run(hosts: Hosts, stage: Project) -> None:
    chosen = [example for example in ALL if example.runnable]
    assert {example.kind for example in chosen} == {"playbook", "tasks"}
    run(stage, chosen)
    assert len(hosts["enigma"].sas(*GUIDE)) == len(hosts["partym"].sas(*GUIDE)) == 2
    assert stage.record("enigma-partym")["current"]["generation"] == 2


def test_examples_of_plugins_run(hosts: Hosts, stage: Project) -> None:
    chosen = [example for example in ALL if example.plugin and example.plugin not in NOT_RUN]
    assert len(chosen) > 20
    output = run(stage, sorted(chosen, key=lambda example: example.place != FIRST))
    assert all(f"PLAY [{example.place}]" in output for example in chosen)
    assert stage.record("enigma-partym")["phase"] == "steady"
    assert (stage.keystore / "_key.enigma-partym.encryption.yml").read_bytes().startswith(b"$ANSIBLE_VAULT;")
    assert "proto tcp dport 23" in hosts["enigma"].run("ip", "xfrm", "policy")
