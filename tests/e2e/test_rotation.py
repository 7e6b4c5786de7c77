# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The life of a fleet, from the first keys to derived ones, with ansible-playbook on a real kernel. The
tests build on each other, in this order. What faults do to a rotation is in tests/faults.
"""

from __future__ import annotations

import itertools
import typing as t

import pytest

from ansible_collections.ipsec.manual.tests.e2e.harness import (
    COUNTER,
    FOREIGN,
    FOREIGN_SPI,
    GUIDE,
    MESH,
    SECRET_FILE,
    SHARED,
    Host,
    Losses,
    Project,
    pinging,
)

Hosts = t.Dict[str, Host]
# Options of a run for the guide's connection alone.
GUIDES = ("--limit", "enigma,partym")


@pytest.fixture(autouse=True)
def stop_at_the_first_failure(request: pytest.FixtureRequest) -> t.Iterator[None]:
    """Skip the tests after a failed one, since they depend on it."""
    if getattr(request.session, "story_failed", ""):
        pytest.fail(f"not run, since {request.session.story_failed} failed", pytrace=False)
    failed = request.session.testsfailed
    yield
    if request.session.testsfailed > failed:
        request.session.story_failed = request.node.name


def asks_nobody(output: str) -> bool:
    """Whether a refused run skips every host instead of asking it."""
    return "ok: " not in output.partition("ask every host what it holds]")[2].partition("TASK [")[0]


def agree(hosts: Hosts, one: str, other: str, *pair: str) -> None:
    """Check that both ends of a pair hold the same SAs with the same keys, and at least one."""
    ends = [{sa._replace(packets=0) for sa in hosts[name].sas(*pair) if sa.spi != FOREIGN_SPI} for name in (one, other)]
    assert ends[0] == ends[1] != set()


def all_agree(hosts: Hosts) -> None:
    agree(hosts, "enigma", "partym", *GUIDE)
    agree(hosts, "enigma", "third", *SHARED)
    agree(hosts, "partym", "third", *COUNTER)
    for (one, first), (other, second) in itertools.combinations(zip(("enigma", "partym", "third"), MESH), 2):
        agree(hosts, one, other, first, second)


def only_the_file_is_left(hosts: Hosts) -> None:
    for host in hosts.values():
        assert host.secret_files() == {"ipseckeys": "600 root"}


def no_packet_was_lost(found: list[Losses]) -> None:
    assert found and all(row.sent > 100 and row.lost == 0 for row in found), found


def test_wrong_settings_are_refused_before_any_host_is_contacted(hosts: Hosts, project: Project) -> None:
    same_pair = [*project.connections, {"name": "double", "endpoints": {"enigma": GUIDE[0], "partym": GUIDE[1]}}]
    bare_esp = [
        {"name": "bare", "endpoints": ["enigma", "partym"], "associations": [{"encryption_algorithm": "aes-cbc"}]}
    ]
    named = [{"name": "named", "endpoints": {"enigma": "enigma.example.net", "partym": GUIDE[1]}}]
    for connections, words in (
        (same_pair, ("guide", "double", *GUIDE)),
        (bare_esp, ("ESP without integrity", "hmac-sha256")),
        (named, ("enigma.example.net", "not a literal")),
    ):
        done = project.run_badly(ipsec_connections=connections)
        assert all(word in done.output for word in words), done.output
        assert asks_nobody(done.output)
    parted = project.run_badly(
        rotate_connections="{{ ipsec_connections[:2] if inventory_hostname == 'third' else ipsec_connections }}"
    )
    assert "has a different value for third than for" in " ".join(parted.output.split())
    assert asks_nobody(parted.output)
    assert (
        "counter mode" in project.run_badly(rotate_allow_static_counter_mode=False).output
        or "RFC 8221 section 3" in project.output()
    )
    assert "--ask-vault-pass" in project.run_badly(vault=False).output
    assert not project.keystore.exists()
    assert not any(host.sas() or host.secret_files() for host in hosts.values())


def test_first_run_keys_every_connection(hosts: Hosts, project: Project) -> None:
    hosts["enigma"].ip(FOREIGN)
    project.run_well()
    all_agree(hosts)
    only_the_file_is_left(hosts)
    assert hosts["enigma"].run("stat", "-c", "%a %U", "/etc/inet/secret").strip() == "700 root"
    assert {(sa.protocol, len(sa.keys[0])) for sa in hosts["partym"].sas(*GUIDE)} == {("esp", 48), ("ah", 32)}
    # The kernel matches the keystore; the counter mode SA is in the kernel only.
    for name, host, pair in (("guide", "partym", GUIDE), ("shared", "third", SHARED), ("counter", "third", COUNTER)):
        assert hosts[host].spis(*pair) == project.spis(name)
    text = hosts["third"].file()
    assert all(spi in text for spi in project.spis("shared"))
    assert not any(spi in text for spi in project.spis("counter"))
    for path in project.keystore.glob("*.yml"):
        assert path.read_bytes().startswith(b"$ANSIBLE_VAULT;") and path.stat().st_mode & 0o777 == 0o600


def test_traffic_uses_the_sas(hosts: Hosts, project: Project) -> None:
    before = {name: host.packets() for name, host in hosts.items()}
    assert hosts["enigma"].pings(GUIDE[1]) and hosts["enigma"].pings(SHARED[1]) and hosts["partym"].pings(COUNTER[1])
    assert all(
        hosts[host].pings(address) for host, address in (("enigma", MESH[1]), ("partym", MESH[2]), ("third", MESH[0]))
    )
    for name, host in hosts.items():
        after = host.packets()
        assert all(after[spi] > packets for spi, packets in before[name].items() if spi != FOREIGN_SPI)


def test_second_run_changes_nothing(hosts: Hosts, project: Project) -> None:
    kept = project.snapshot()
    done = project.run_well("--diff")
    assert done.changed() == {"enigma": 0, "partym": 0, "third": 0}
    assert "Stage the SAs" not in done.output
    assert project.snapshot() == kept
    assert (project.keystore / ".lock").read_text() == ""


def test_check_mode_changes_nothing(hosts: Hosts, project: Project) -> None:
    kept, spis = project.snapshot(), hosts["enigma"].spis()
    done = project.run_well("--check", "--diff", rotate_new_keys=True)
    assert done.changed() == {"enigma": 1, "partym": 1, "third": 1}
    assert "guide: generation 1 -> 2, in the SADB and" in done.output and "6 pairs, before a run: 6 due" in done.output
    assert (project.snapshot(), hosts["enigma"].spis()) == (kept, spis)
    only_the_file_is_left(hosts)


def test_rotation_of_one_connection_leaves_all_others(hosts: Hosts, project: Project) -> None:
    old = {name: project.spis(name) for name in ("guide", "mesh", "shared", "counter")}
    old_keys = hosts["enigma"].keys(*GUIDE)
    others = hosts["enigma"].keys() - old_keys
    # The text of the other connection, with its keys.
    lines = [line for line in hosts["enigma"].file().splitlines() if SHARED[1] in line]
    with pinging((hosts["enigma"], GUIDE[1]), (hosts["partym"], GUIDE[0])) as pings:
        project.run_well(rotate_new_keys=True, rotate_only=["guide"])
    no_packet_was_lost(pings)
    all_agree(hosts)
    only_the_file_is_left(hosts)
    new = project.spis("guide")
    assert not new & old["guide"] and project.spis("guide", "previous") == old["guide"]
    assert {name: project.spis(name) for name in ("mesh", "shared", "counter")} == {
        name: old[name] for name in ("mesh", "shared", "counter")
    }
    for name in ("enigma", "partym"):
        assert hosts[name].spis(*GUIDE) - {FOREIGN_SPI} == new
        assert all(spi in hosts[name].file() for spi in new) and not any(
            spi in hosts[name].file() for spi in old["guide"]
        )
    assert not hosts["enigma"].keys(*GUIDE) & (old_keys - {"5a" * 32})
    assert others <= hosts["enigma"].keys() and lines == [
        line for line in hosts["enigma"].file().splitlines() if SHARED[1] in line
    ]
    assert FOREIGN_SPI in hosts["enigma"].spis(*GUIDE)
    assert hosts["enigma"].pings(GUIDE[1])


def test_runs_that_separate_peers_are_refused(hosts: Hosts, project: Project) -> None:
    kept = project.snapshot()
    (project.folder / "serial.yml").write_text(
        "- hosts: all\n  serial: 1\n  gather_facts: false\n  roles: [ipsec.manual.rotate]\n", encoding="utf-8"
    )
    (project.folder / "free.yml").write_text(
        "- hosts: all\n  strategy: free\n  gather_facts: false\n  roles: [ipsec.manual.rotate]\n", encoding="utf-8"
    )
    limited = project.run_badly("--limit", "enigma,third", rotate_new_keys=True).output
    assert (
        all(f"connection {name}, endpoint partym" in limited for name in ("guide", "mesh", "counter"))
        and "connection shared" not in limited
    )
    assert "serial splits" in project.run_badly(playbook="serial.yml", rotate_new_keys=True).output
    assert "strategy free" in project.run_badly(playbook="free.yml", rotate_new_keys=True).output
    project.password("wrong battery")
    wrong = project.run_badly(rotate_new_keys=True).output
    assert "decrypts the keystore file" in wrong and asks_nobody(wrong)
    project.password("correct horse")
    assert project.snapshot() == kept


def test_files_that_others_can_reach_are_refused(hosts: Hosts, project: Project) -> None:
    kept, spis = project.snapshot(), hosts["enigma"].spis()
    hosts["enigma"].run("chmod", "640", SECRET_FILE)
    hosts["partym"].run("mv", SECRET_FILE, SECRET_FILE + ".kept")
    hosts["partym"].run("ln", "-s", SECRET_FILE + ".kept", SECRET_FILE)
    hosts["third"].fault("down")
    report = project.run_badly(rotate_new_keys=True).output.rpartition("The rotation stopped at: preflight")[2]
    assert "enigma: " in report and "0640" in report
    assert "partym: " in report and "symbolic link" in report
    # A peer that vanishes before anything is staged.
    assert "third: unreachable" in report
    hosts["third"].fault("up")
    hosts["enigma"].run("chmod", "600", SECRET_FILE)
    hosts["partym"].run("mv", SECRET_FILE + ".kept", SECRET_FILE)
    assert project.snapshot() == kept and hosts["enigma"].spis() == spis


def test_changed_settings_remove_old_keys(hosts: Hosts, project: Project) -> None:
    """With another reqid the old SAs have another owner than the new ones, so the cut-over does not replace them."""
    old = project.spis("guide")
    others = {name: project.spis(name) for name in ("mesh", "shared", "counter")}
    project.connections = [{**row, "reqid": 77} if row["name"] == "guide" else row for row in project.connections]
    project.run_well()
    new = project.spis("guide")
    assert not new & old and {name: project.spis(name) for name in others} == others
    for name in ("enigma", "partym"):
        assert hosts[name].spis(*GUIDE) - {FOREIGN_SPI} == new
        assert {sa.reqid for sa in hosts[name].sas(*GUIDE) if sa.spi != FOREIGN_SPI} == {77}
        assert all(spi in hosts[name].file() for spi in new) and not any(spi in hosts[name].file() for spi in old)
    all_agree(hosts)
    only_the_file_is_left(hosts)
    assert hosts["enigma"].pings(GUIDE[1])
    assert project.run_well().changed() == {"enigma": 0, "partym": 0, "third": 0}


def test_rebooted_host_gets_its_keys_back_but_none_that_must_not_be_loaded_twice(
    hosts: Hosts, project: Project
) -> None:
    hosts["third"].fault("reboot")
    assert not hosts["third"].sas()
    refused = project.run_badly().output
    assert "connection counter uses a counter mode, and third lost its keys" in refused
    assert "connection shared uses anti-replay, and third lost its keys" in refused and "rotate_new_keys" in refused
    old = {name: project.spis(name) for name in ("counter", "shared")}
    project.run_well(rotate_new_keys=True, rotate_only=list(old))
    assert all(not project.spis(name) & spis for name, spis in old.items())
    done = project.run_well()
    assert done.changed()["third"] > 0
    all_agree(hosts)
    only_the_file_is_left(hosts)
    assert all(hosts["third"].pings(address) for address in (SHARED[0], COUNTER[0], MESH[0], MESH[1]))


def test_keys_are_derived_from_one_secret_and_random_again(hosts: Hosts, project: Project) -> None:
    seen = hosts["enigma"].keys(*GUIDE)
    for settings in (
        {"rotate_new_keys": True, "rotate_store": "derived"},
        {"rotate_new_root": True},
        {"rotate_new_keys": True, "rotate_store": "random"},
    ):
        project.run_well(*GUIDES, rotate_only=["guide"], **settings)
        keys = hosts["enigma"].keys(*GUIDE) - {"5a" * 32}
        assert keys and not keys & seen
        seen |= keys
        agree(hosts, "enigma", "partym", *GUIDE)
        only_the_file_is_left(hosts)
        assert hosts["enigma"].pings(GUIDE[1])
        if "random" not in settings.values():
            assert not project.record("guide")["current"]["sas"]
            assert (project.keystore / "_root.yml").read_bytes().startswith(b"$ANSIBLE_VAULT;")
            assert project.run_well(*GUIDES, rotate_only=["guide"]).changed()["enigma"] == 0
    assert project.spis("guide") == hosts["enigma"].spis(*GUIDE) - {FOREIGN_SPI}
