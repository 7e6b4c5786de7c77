# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tests of the leak test itself: planted leaks must all be seen, alone and through Ansible."""

from __future__ import annotations

import pytest

from ansible_collections.ipsec.manual.tests.leak import stage as staging
from ansible_collections.ipsec.manual.tests.leak.observe import Finding
from ansible_collections.ipsec.manual.tests.leak.stage import CONTROLLER, HOSTS, Stage, is_allowed

# A program that leaks the key it reads in each way once, and removes every trace immediately if
# possible.
PLANTS = """\
import gzip, os, pathlib, subprocess, sys, syslog, time
key = sys.stdin.read()
subprocess.run(["/bin/true", key])
subprocess.run(["/bin/false"], env={"PASSWORD": key.upper()})
subprocess.run(["/bin/sleep", "0.3"], env={"PASSWORD": key})
subprocess.run(["/bin/sh", "-c", "sleep 0.3; :", key])
packed = gzip.compress(bytes.fromhex(key))
written = {"/tmp/gone": key.encode(), "/dev/shm/packed": packed, "/var/tmp/" + key: b"1", "/etc/planted": key.encode()}
for path, data in written.items():
    pathlib.Path(path).write_bytes(data)
    os.unlink(path)
os.makedirs("/etc/inet/secret", exist_ok=True)
for path, mode in {"/etc/inet/secret/wide": 0o640, "/etc/inet/secret/narrow": 0o600}.items():
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    pathlib.Path(path).write_text(key)
    os.chmod(path, mode)
with open("/run/kept", "w") as kept:  # never closed as long as it holds anything: only the search at the end sees it
    kept.write(key)
    kept.flush()
syslog.syslog("Invoked with key=" + key)
print(key)
"""
SEEN = {
    ("exec argv", "/bin/true"),
    ("exec environ", "/bin/false"),
    ("environ", "/usr/bin/sleep"),
    ("argv", "/usr/bin/dash"),
    ("file", "/tmp/gone"),
    ("file", "/dev/shm/packed"),
    ("file", "/etc/planted"),
    ("file", "/run/kept"),
    ("file", "/etc/inet/secret/wide"),
    ("log", "/dev/log"),
    ("output", "/usr/bin/python3"),
}


@pytest.mark.parametrize("system", [CONTROLLER, HOSTS[0]])
def test_every_planted_leak_is_seen(stage: Stage, system: str) -> None:
    key = stage.keys.key(16).hex()
    try:
        outcome = stage.run(system, "/usr/bin/python3", "-c", PLANTS, stdin=key.encode())
    finally:
        stage.run(system, "rm", "-rf", "/etc/inet/secret", "/run/kept")
    assert outcome.status == 0, outcome.output
    found = {(leak.finding.kind, leak.finding.place) for leak in outcome.leaks if leak.system == system}
    assert SEEN - found == set()
    assert ("name", f"/var/tmp/{key}") in found
    assert not [leak for leak in outcome.leaks if leak.system != system]
    allowed = {leak.finding.place for leak in outcome.allowed}
    assert ("/etc/inet/secret/narrow" in allowed) is (system != CONTROLLER)


def test_removed_leaks_are_not_reported_again(stage: Stage) -> None:
    assert stage.run(HOSTS[0], "true").leaks == []


def test_leaks_of_a_careless_playbook_are_seen(stage: Stage) -> None:
    stage.write_variables({"careless_key": stage.keys.key(32).hex()})
    outcome = stage.playbook("careless.yml", "-e", "@variables.yml", pipelining=False, debug=False)
    listed = stage.list_inventory()
    stage.clear()
    assert outcome.status == 0, outcome.output
    assert {"output", "file"} <= outcome.kinds(CONTROLLER)
    assert {"argv", "exec argv", "exec environ", "file", "log"} <= outcome.kinds(HOSTS[0])
    written = {
        leak.finding.place.replace(str(staging.WORK), "").split("/")[1]
        for leak in outcome.leaks
        if leak.finding.kind == "file" and leak.system == CONTROLLER
    }
    assert {"ansible.log", "facts", "junit", "results", "tree"} <= written
    assert "output" in listed.kinds(CONTROLLER), listed.output
    modules = [
        leak.finding.place
        for leak in outcome.leaks
        if leak.system == HOSTS[0] and "/.ansible/tmp/" in leak.finding.place
    ]
    assert modules  # an option in a module's temporary file


@pytest.mark.parametrize(
    ("system", "finding", "allowed"),
    [
        (HOSTS[0], Finding("file", "/etc/inet/secret/ipseckeys", "hex", "0600", 0, ""), True),
        (HOSTS[0], Finding("file", "/etc/inet/secret/ipseckeys", "hex", "0640", 0, ""), False),
        (HOSTS[0], Finding("file", "/etc/inet/secret/ipseckeys", "hex", "0600", 1000, ""), False),
        (HOSTS[0], Finding("file", "/tmp/ipseckeys", "hex", "0600", 0, ""), False),
        (HOSTS[0], Finding("name", "/etc/inet/secret/ipseckeys", "hex", "0600", 0, ""), False),
        (CONTROLLER, Finding("file", "/etc/inet/secret/ipseckeys", "hex", "0600", 0, ""), False),
    ],
)
def test_only_a_protected_file_of_a_host_may_hold_a_key(system: str, finding: Finding, allowed: bool) -> None:
    assert is_allowed(system, finding) is allowed
