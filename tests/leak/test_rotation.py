# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rotations with keys of a known pattern, by ansible-playbook, and what is shown of hosts that hold them."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import pytest

from ansible_collections.ipsec.manual.tests.leak.rotations import (
    CONNECTIONS,
    FILE,
    KEYS,
    KEYSTORE,
    SETTINGS,
    check_watched,
    keys_in,
    keystore,
    prepare,
)
from ansible_collections.ipsec.manual.tests.leak.stage import CONTROLLER, HISTORY, HOSTS, TOP, WORK, Outcome, Stage

COMMAND = ("env", f"PYTHONPATH={TOP}/plugins/module_utils", "/usr/bin/python3", "-B", "-m", "_core.program.command")
REPORTS = WORK / "audit"


def rotate(stage: Stage, *arguments: str, playbook: str = "rotate", plain: bool = False, **settings: t.Any) -> Outcome:
    """Rotate: plain as most users would, on connections that do not pipeline; else with debug
    messages and without the role's no_log.
    """
    outcome = stage.playbook(
        f"ipsec.manual.{playbook}",
        *arguments,
        pipelining=not plain,
        debug=not plain,
        settings={**SETTINGS, "rotate_secure_logging": plain, **settings},
    )
    listed = stage.list_inventory()
    assert HOSTS[0] in listed.output
    assert (WORK / "retry").exists() is (outcome.status != 0)
    stage.clear()
    return outcome._replace(leaks=[*outcome.leaks, *listed.leaks])


@pytest.mark.parametrize("plain", [True, False], ids=["plain", "debug"])
def test_rotation_leaks_no_key(stage: Stage, plain: bool) -> None:
    texts = prepare(stage)
    outcome = rotate(stage, plain=plain)
    assert [str(leak) for leak in outcome.leaks] == []
    assert outcome.status == 0, outcome.output
    check_watched(outcome)
    # These keys are where they belong.
    assert {leak.system for leak in outcome.allowed if leak.finding.place == FILE} == set(HOSTS)
    for host in HOSTS:
        assert sorted(stage.kernel_keys(host)) == keys_in(texts.values())
    for connection in CONNECTIONS:
        whole = keystore(stage).read(connection["name"])
        assert whole is not None
        (record,) = whole.records
        assert record.current is not None and record.next is None
        assert record.current.sas == texts[connection["name"]]
        assert stage.search.first(Path(keystore(stage).path(connection["name"])).read_bytes()) == ""


def test_rotation_that_is_rolled_back_leaks_no_key(stage: Stage) -> None:
    before = {host: sorted(stage.kernel_keys(host)) for host in HOSTS}
    assert len(before[HOSTS[0]]) == KEYS
    # An SA through which this host sends: an inbound one would be refused before any host switches.
    source = str(CONNECTIONS[1]["endpoints"][HOSTS[1]])
    wanted = re.search(rf"spi (0x[0-9a-f]+) src {re.escape(source)} dst (\S+)", prepare(stage)["new"])
    assert wanted
    # Another program's SA has an identity that the generation needs, so one host's kernel refuses
    # the cut-over.
    spi, address = wanted.groups()
    other = ["src", "::", "dst", address, "proto", "esp", "spi", spi]
    taken = ["ip", "xfrm", "state", "add", *other, "reqid", "77", "enc", "cipher_null", "", "auth", "digest_null", ""]
    assert stage.run(HOSTS[1], *taken).status == 0
    try:
        outcome = rotate(stage)
    finally:
        stage.run(HOSTS[1], "ip", "xfrm", "state", "delete", *other[2:])
    assert [str(leak) for leak in outcome.leaks] == []
    assert outcome.status != 0
    check_watched(outcome)
    assert "partym: what it held before this run" in outcome.output
    files = {
        re.sub(r"/[.](.*)[.][0-9a-f]+[.]tmp$", r"/\1", leak.finding.place) for leak in outcome.allowed
    }  # seen before or after the rename
    assert files == {FILE, f"{FILE}.next", f"{FILE}.previous"}
    assert {host: sorted(stage.kernel_keys(host)) for host in HOSTS} == before


def test_rotation_that_is_refused_leaks_no_key(stage: Stage) -> None:
    before = {host: sorted(stage.kernel_keys(host)) for host in HOSTS}
    kept = {path: path.read_bytes() for path in KEYSTORE.glob("*.yml")}
    prepare(stage, lambda text: re.sub(r"(authkey [0-9a-f]+)[0-9a-f]{2}", r"\1", text, count=1))
    try:
        outcome = rotate(stage)
    finally:
        for path, content in kept.items():
            path.write_bytes(content)
    assert [str(leak) for leak in outcome.leaks] == []
    assert outcome.status != 0
    assert "hex digits" in outcome.output
    assert {host: sorted(stage.kernel_keys(host)) for host in HOSTS} == before


@pytest.mark.parametrize(("playbook", "shown"), [("status", "ipsec_status"), ("audit", "ipsec_audit")])
def test_what_the_fleet_is_asked_leaks_no_key(stage: Stage, playbook: str, shown: str) -> None:
    """The hosts and the keystore hold keys, and so does a shell history."""
    settings = {**SETTINGS, "audit_keystore": str(KEYSTORE), "audit_directory": str(REPORTS)}
    with stage.history(HOSTS[0]):
        outcome = stage.playbook(f"ipsec.manual.{playbook}", pipelining=False, debug=True, settings=settings)
    stage.clear()
    assert [str(leak) for leak in outcome.leaks] == []
    assert outcome.status == 0, outcome.output
    for host in HOSTS:
        assert len(stage.kernel_keys(host)) == KEYS
        assert f"ansible-ipsec.manual.{shown}" in outcome.invocations[host]
    if playbook == "audit":
        assert HISTORY in (REPORTS / "report.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("options", [(), ("--json",)], ids=["text", "json"])
def test_what_a_host_shows_of_itself_leaks_no_key(stage: Stage, options: tuple[str, ...]) -> None:
    outcome = stage.run(HOSTS[0], *COMMAND, *options, "status")
    assert [str(leak) for leak in outcome.leaks] == []
    assert outcome.status in (0, 1) and FILE in outcome.output, outcome.output
    assert len(stage.kernel_keys(HOSTS[0])) == KEYS


SYSVINIT = {"boot_service_manager": "sysvinit"}


@pytest.mark.parametrize(
    ("settings", "left"),
    [
        ({"rotate_leave": ["new"], "ipsec_connections": CONNECTIONS[:1]}, 6),
        ({"rotate_state": "absent", "rotate_policies": True, "rotate_boot": True, **SYSVINIT}, 0),
    ],
    ids=["leave", "absent"],
)
def test_a_removal_leaks_no_key(stage: Stage, settings: dict[str, t.Any], left: int) -> None:
    before = {host: stage.kernel_keys(host) for host in HOSTS}
    for plain, check in ((False, True), (True, False)):
        assert all(len(before[host]) > left and stage.kernel_keys(host) == before[host] for host in HOSTS)
        outcome = rotate(stage, *(["--check"] if check else []), playbook="due", plain=plain, **settings)
        assert [str(leak) for leak in outcome.leaks] == []
        assert outcome.status == 0, outcome.output
        assert ("a run would remove" if check else "Removed from enigma") in outcome.output
        # Not even the list of what is removed has a key.
        files = {re.sub(r"/[.](.*)[.][0-9a-f]+[.]tmp$", r"/\1", leak.finding.place) for leak in outcome.allowed}
        assert files <= {FILE, f"{FILE}.next", f"{FILE}.previous"}
    # The run, which is shorter than a rotation, really used what was watched.
    assert outcome.counts[CONTROLLER]["execs"] > 0
    for host in HOSTS:
        assert outcome.counts[host]["samples"] > 10 and outcome.counts[host]["execs"] > 0
        assert {"ansible-ipsec.manual.ipsec_batch", "ansible-ipsec.manual.ipsec_sadb"} <= outcome.invocations[host]
    assert [len(stage.kernel_keys(host)) for host in HOSTS] == [left, left]
    whole = keystore(stage).read("new")
    assert whole is not None and whole.records == ()
