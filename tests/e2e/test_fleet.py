# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Three hosts in a mesh with policies and the service at boot, on a real kernel: one reboots and asks for new
keys, one leaves, the connection gets another name, and then everything goes. Each test builds on the
ones before it. tests/liar/test_leaving.py has more cases of leaving, on stand-ins.
"""

from __future__ import annotations

import itertools
import pathlib
import re
import typing as t

import pytest
import yaml

from ansible.parsing.vault import VaultLib, VaultSecret

from ansible_collections.ipsec.manual.tests.e2e.harness import (
    GUIDE,
    HOSTS,
    SECRET_FILE,
    SHARED,
    Host,
    Project,
    clear,
    lab,
    on_the_wire,
    pinging,
)

NAME = "e2e-fleet"
Hosts = t.Dict[str, Host]
ADDRESS = {"enigma": GUIDE[0], "partym": GUIDE[1], "third": SHARED[1]}
FAR = (GUIDE[1], SHARED[1])
ROTATION_DUE = "/var/lib/ipseckey/rotation-due"
POLICIES_FILE = "/etc/ipsecpolicies.json"
FOREIGN_SPI = "0x0000f001"
FOREIGN_PRIORITY = "priority 42"
KEEP: dict[str, t.Any] = {"rotate_leave": []}


def mesh(*hosts: str, name: str = "mesh") -> list[dict[str, t.Any]]:
    return [{"name": name, "endpoints": {host: ADDRESS[host] for host in hosts}}]


@pytest.fixture(scope="module", name="hosts")
def own_lab() -> t.Iterator[Hosts]:
    with lab(NAME) as hosts:
        yield hosts


@pytest.fixture(scope="module", name="project")
def keyed_project(hosts: Hosts, tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder: pathlib.Path = tmp_path_factory.mktemp("fleet")
    project = Project(folder, NAME)
    project.connections = mesh(*HOSTS)
    boot = {"boot_service_manager": "sysvinit", "boot_ask_for_rotation": True}
    project.variables = {"rotate_policies": True, "rotate_boot": True, **boot}
    project.run_well()
    for one, other in itertools.permutations(HOSTS, 2):
        assert ours(hosts[one], other) == {"SAs": 2, "lines": 2, "policies": 2, "policies at boot": 2}
    return project


@pytest.fixture(scope="module", name="foreign_before")
def things_of_others(hosts: Hosts, project: Project) -> dict[str, t.Any]:
    """What other programs have between third and each of its peers, when third leaves."""
    for peer in ("enigma", "partym"):
        add_foreign(hosts["third"], peer)
        add_foreign(hosts[peer], "third")
    project.connections = mesh("enigma", "partym")
    return {name: foreign(host) for name, host in hosts.items()}


def add_foreign(host: Host, peer: str) -> None:
    ends = f"src {ADDRESS[host.name]} dst {ADDRESS[peer]}"
    host.ip(f"xfrm state add {ends} proto esp spi {FOREIGN_SPI} reqid 4242 mode transport enc cbc(aes) 0x{'5a' * 32}")
    host.ip(f"xfrm policy add {ends} proto tcp dport 7 dir out {FOREIGN_PRIORITY}")
    host.ip(f"xfrm policy add {ends} dir fwd {FOREIGN_PRIORITY} action block")


def policies(host: Host) -> list[str]:
    return [text for text in re.split(r"^(?=src )", host.run("ip", "xfrm", "policy"), flags=re.M) if text]


def foreign(host: Host) -> tuple[t.Any, ...]:
    """The SAs and policies of other programs, in every detail that ip(8) shows."""
    sas = sorted(sa for sa in host.sas() if sa.spi == FOREIGN_SPI)
    return sas, sorted(text for text in policies(host) if FOREIGN_PRIORITY in text)


def ours(host: Host, peer: str) -> dict[str, int]:
    """How many things of ours a host has for its traffic with a peer."""
    pair = (ADDRESS[host.name], ADDRESS[peer])
    own = [text for text in policies(host) if FOREIGN_PRIORITY not in text]
    at_boot = host.run("cat", POLICIES_FILE, check=False)
    found = {
        "SAs": len(host.spis(*pair) - {FOREIGN_SPI}),
        "lines": sum(f" {pair[1]} " in f"{line} " for line in host.run("cat", SECRET_FILE, check=False).splitlines()),
        "policies": sum(f" {pair[1]}/32 " in text for text in own),
        "policies at boot": at_boot.count(f'"{pair[1]}/32"'),
    }
    return {what: number for what, number in found.items() if number}


def everything(hosts: Hosts) -> dict[str, t.Any]:
    """What the hosts have for each other, and what their kernels hold, without counters."""
    return {
        name: (
            {peer: ours(host, peer) for peer in HOSTS if peer != name},
            {sa._replace(packets=0) for sa in host.sas()},
            policies(host),
            host.secret_files(),
        )
        for name, host in hosts.items()
    }


def keystore(project: Project, name: str = "mesh") -> dict[str, t.Any]:
    secret = VaultSecret((project.folder / "password").read_bytes().strip())
    text = VaultLib([("default", secret)]).decrypt((project.keystore / f"{name}.yml").read_bytes())
    return t.cast("dict[str, t.Any]", yaml.safe_load(text))


def test_a_rebooted_host_asks_for_new_keys_of_its_own_pairs(hosts: Hosts, project: Project) -> None:
    enigma, partym, third = hosts.values()
    assert not partym.run("find", "/var/lib", "-path", ROTATION_DUE)
    old = {pair: partym.spis(*pair) for pair in (GUIDE, FAR)}
    others = third.spis(*SHARED)
    partym.fault("reboot")
    assert set(re.findall("0x[0-9a-f]{8}", partym.run("cat", ROTATION_DUE))) == old[GUIDE] | old[FAR]
    # Nothing else is due: its SAs were loaded again, which would be a reason, too.
    due = {"rotate_when": "due", "rotate_due": {"reloaded": False}}
    with pinging((enigma, GUIDE[1]), (third, FAR[0]), (enigma, SHARED[1])) as pings:
        done = project.run_well(**due)
    assert all(row.sent > 100 and row.lost == 0 for row in pings), pings
    words = " ".join(done.output.split())
    both = "connections mesh/enigma,partym, mesh/partym,third get new keys: partym: its boot service asked for new keys"
    assert both in words and words.count("new keys:") == 1
    for host, pair in ((enigma, GUIDE), (partym, GUIDE), (partym, FAR), (third, FAR)):
        assert len(host.spis(*pair)) == 2 and not host.spis(*pair) & old[pair]
    assert enigma.spis(*SHARED) == third.spis(*SHARED) == others
    assert not partym.run("find", "/var/lib", "-path", ROTATION_DUE)
    assert project.run_well(**due).changed() == dict.fromkeys(HOSTS, 0)


def foreign_things_stand(hosts: Hosts, before: dict[str, t.Any]) -> None:
    assert {name: foreign(host) for name, host in hosts.items()} == before


def test_a_check_names_what_would_go(hosts: Hosts, project: Project, foreign_before: dict[str, t.Any]) -> None:
    plain = project.run_well(**KEEP)
    assert "third left connection mesh." in plain.output and "rotate_leave: [mesh/third]" in plain.output
    assert plain.changed() == {"enigma": 0, "partym": 0, "third": 0}
    assert "No host changed. The keystore did, which is on the controller." in plain.output  # it remembers what left
    before, kept = everything(hosts), project.snapshot()
    hosts["third"].fault("cut")
    done = project.run_well("--check", "--diff")
    hosts["third"].fault("up")
    pair = (ADDRESS["enigma"], ADDRESS["third"])
    spis = sorted(hosts["enigma"].spis(*pair) - {FOREIGN_SPI})
    would_go = (
        f"mesh/enigma,third: no longer in the connections; a run would remove SAs in the kernel and in {SECRET_FILE}:"
        f" {', '.join(spis)} policies: out {pair[0]}/32 > {pair[1]}/32, in {pair[1]}/32 > {pair[0]}/32 after which"
        " nothing protects this traffic at boot: the same SAs and policies"
    )
    assert would_go in done.output
    text = "Would still have to be removed from third, which was not reached: mesh/enigma,third, mesh/partym,third."
    assert text in done.output and done.changed()["third"] == 0
    assert (everything(hosts), project.snapshot()) == (before, kept)


def test_a_host_that_is_down_is_named_and_remembered(
    hosts: Hosts, project: Project, foreign_before: dict[str, t.Any]
) -> None:
    enigma, partym, third = hosts.values()
    spis = enigma.spis(*GUIDE)
    before = everything(hosts)["third"]
    third.fault("down")
    with pinging((enigma, GUIDE[1]), (partym, GUIDE[0])) as pings:
        done = project.run_well()
    third.fault("up")
    assert all(row.sent > 100 and row.lost == 0 for row in pings), pings
    assert "Removed from enigma: mesh/enigma,third." in done.output
    assert "Still to be removed from third, which was not reached: mesh/enigma,third, mesh/partym,third" in done.output
    assert ours(enigma, "third") == ours(partym, "third") == {}
    assert everything(hosts)["third"] == before
    assert enigma.spis(*GUIDE) == partym.spis(*GUIDE) == spis
    assert spis < project.spis("mesh")  # those of third are not retired yet
    foreign_things_stand(hosts, foreign_before)


def test_the_next_run_in_which_it_answers_cleans_it_up(
    hosts: Hosts, project: Project, foreign_before: dict[str, t.Any]
) -> None:
    enigma, partym, third = hosts.values()
    spis = enigma.spis(*GUIDE)
    with pinging((enigma, GUIDE[1]), (partym, GUIDE[0])) as pings:
        done = project.run_well()
    assert all(row.sent > 100 and row.lost == 0 for row in pings), pings
    assert "Removed from third: mesh/enigma,third, mesh/partym,third." in done.output
    # The step of the keystore runs on enigma, which does not change.
    assert done.changed() == {"enigma": 0, "partym": 0, "third": 1}
    assert ours(third, "enigma") == ours(third, "partym") == {}
    assert third.secret_files() == {"ipseckeys": "600 root"}
    assert enigma.spis(*GUIDE) == partym.spis(*GUIDE) == spis == project.spis("mesh")
    foreign_things_stand(hosts, foreign_before)
    found = keystore(project)
    assert [row["reason"] for row in found["retired"]].count("retired") == 2 and len(found["records"]) == 1


def test_the_second_run_changes_nothing(hosts: Hosts, project: Project) -> None:
    before, kept = everything(hosts), project.snapshot()
    done = project.run_well()
    assert "Nothing was due" in done.output and "left connection" not in done.output
    assert done.changed() == dict.fromkeys(HOSTS, 0)
    assert (everything(hosts), project.snapshot()) == (before, kept)


def test_nothing_returns_after_a_reboot(hosts: Hosts, project: Project) -> None:
    for host in hosts.values():
        host.fault("reboot")
    enigma, partym, third = hosts.values()
    assert not third.sas() and not policies(third)
    assert ours(enigma, "third") == ours(partym, "third") == {}
    with on_the_wire(NAME, GUIDE) as seen:
        assert enigma.pings(GUIDE[1])
    assert seen and clear(seen) == []


def test_a_connection_is_renamed(hosts: Hosts, project: Project) -> None:
    """The new name has new keys; its policies are those of the old one, and stand throughout."""
    enigma, partym, dummy = hosts.values()
    project.connections = mesh("enigma", "partym", name="backbone")
    with on_the_wire(NAME, GUIDE) as seen, pinging((enigma, GUIDE[1]), (partym, GUIDE[0])) as pings:
        first = project.run_well(**KEEP)
        check = project.run_well("--check")
        project.run_well()
        again = project.run_well()
    assert all(row.sent > 100 and row.lost == 0 for row in pings) and seen and clear(seen) == []
    words = " ".join(first.output.split())
    assert "Connection backbone is between the same addresses" in words and "rotate_leave: [mesh]" in words
    assert "policies: none, since other connections need them" in check.output
    assert again.changed() == dict.fromkeys(HOSTS, 0)
    assert enigma.spis(*GUIDE) == partym.spis(*GUIDE) == project.spis("backbone")
    assert ours(enigma, "partym") == {"SAs": 2, "lines": 2, "policies": 2, "policies at boot": 2}
    assert keystore(project)["records"] == []


def test_everything_goes(hosts: Hosts, project: Project) -> None:
    for one, other in itertools.permutations(HOSTS, 2):
        add_foreign(hosts[one], other)
    before = {name: foreign(host) for name, host in hosts.items()}
    check = project.run_well("--check", rotate_state="absent")
    assert check.output.count("at boot: the service") == 2 and hosts["enigma"].spis(*GUIDE) > {FOREIGN_SPI}
    done = project.run_well(rotate_state="absent")
    assert "Removed from enigma: backbone/enigma,partym." in done.output
    for one, other in itertools.permutations(HOSTS, 2):
        assert ours(hosts[one], other) == {}
    foreign_things_stand(hosts, before)
    for name in ("enigma", "partym"):
        assert not hosts[name].run("find", "/etc/init.d", "/etc/ipsecpolicies.json", "-name", "ipsec*", check=False)
    assert keystore(project, "backbone")["records"] == []
    assert project.run_well(rotate_state="absent").changed() == dict.fromkeys(HOSTS, 0)
    for host in hosts.values():
        host.fault("reboot")
        assert not host.sas() and not policies(host)
