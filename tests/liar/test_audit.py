# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role `audit` over a fleet that was keyed by the role `rotate`: honest hosts, absent ones, and one that lies."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest

from ansible_collections.ipsec.manual.tests.liar.hosts import HOSTS, PAIRS, Fleet, Run

SETTINGS = {"audit_formats": ["json"]}
PAIR_NAMES = [f"mesh: {one} - {other}" for one, other in PAIRS]


@pytest.fixture(scope="session", name="keyed")
def make_keyed(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """A fleet with its first keys."""
    fleet = Fleet(tmp_path_factory.mktemp("audited"))
    done = fleet.run()
    assert done.status == 0, done.output
    return fleet


@pytest.fixture(name="fleet")
def make_fleet(tmp_path: pathlib.Path, keyed: Fleet) -> Fleet:
    fleet = Fleet(tmp_path, like=keyed)
    for host in HOSTS:
        fleet.asked(host)
    return fleet


def audit(fleet: Fleet, *options: str, **variables: t.Any) -> Run:
    return fleet.run(*options, name="audit", extra={**SETTINGS, **variables})


def report(fleet: Fleet) -> dict[str, t.Any]:
    found: dict[str, t.Any] = json.loads((fleet.folder / "audit" / "report.json").read_text(encoding="utf-8"))
    return found


def found_in(fleet: Fleet) -> list[tuple[str, str]]:
    return [(row["id"], row["host"]) for row in report(fleet)["findings"]]


def test_an_honest_fleet_has_no_findings_and_is_not_changed(fleet: Fleet) -> None:
    before = {host: fleet.state(host) for host in HOSTS}
    keystore = {path.name: path.read_bytes() for path in fleet.keystore.iterdir()}
    done = fleet.run(name="audit", extra={"audit_fail_on": "info"})
    assert done.status == 0, done.output
    assert found_in(fleet) == []
    assert {path.name for path in (fleet.folder / "audit").iterdir() if not path.name.startswith("audit-")} == {
        *("report.html", "report.json", "report.txt", "ipsec_audit.prom")
    }
    made = report(fleet)
    assert [row["name"] for row in made["pairs"]] == PAIR_NAMES
    assert {(row["agreement"], row["generation"]) for row in made["pairs"]} == {("same", 1)}
    assert [row["name"] for row in made["hosts"]] == list(HOSTS)
    assert {host: fleet.state(host) for host in HOSTS} == before
    assert {path.name: path.read_bytes() for path in fleet.keystore.iterdir()} == keystore
    assert set(fleet.changed(done).values()) == {0}
    assert not fleet.leftovers()


def test_each_host_is_asked_once(fleet: Fleet) -> None:
    audit(fleet)
    assert [[row["module"] for row in fleet.asked(host)] for host in HOSTS] == [["ipsec_audit"]] * 3


def test_without_a_vault_password_the_rest_is_still_reported(fleet: Fleet) -> None:
    (fleet.folder / "password").write_text("wrong\n", encoding="utf-8")
    assert audit(fleet).status == 0
    assert found_in(fleet) == [("keystore-unread", "")]
    assert {(row["agreement"], row["generation"]) for row in report(fleet)["pairs"]} == {("same", 0)}


def test_a_host_that_does_not_answer_is_a_finding(fleet: Fleet) -> None:
    fleet.lie("b", ipsec_audit={"raw": "", "status": 1})
    assert audit(fleet).status == 0
    assert ("absent", "b") in found_in(fleet)
    host = report(fleet)["hosts"][1]
    assert not host["answered"] and "gave no answer" in host["reason"]
    assert [row["agreement"] for row in report(fleet)["pairs"]] == ["unknown", "same", "unknown"]


def test_an_unreachable_host_is_a_finding(fleet: Fleet) -> None:
    fleet.inventory["all"]["hosts"]["a"] = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 9}
    done = audit(fleet)
    assert done.status == 0, done.output
    assert ("absent", "a") in found_in(fleet)
    assert report(fleet)["hosts"][0]["reason"].startswith("unreachable")


def test_the_play_fails_after_the_report_is_written(fleet: Fleet) -> None:
    fleet.lie("a", ipsec_audit={"at": {"service.state": "failed"}})
    done = audit(fleet, audit_fail_on="high")
    assert done.status != 0
    assert found_in(fleet) == [("service-failed", "a")]
    assert "1 finding is as bad as high or worse (audit_fail_on); the report is in" in done.text
    assert done.output.count("the service that loads the SAs has failed") == 1, done.output
    assert not fleet.leftovers()
    assert audit(fleet, audit_fail_on="never").status == 0


def test_history_says_what_is_new_and_what_is_gone(fleet: Fleet) -> None:
    fleet.lie("a", ipsec_audit={"at": {"service.enabled": False}})
    audit(fleet)
    fleet.lie("a", ipsec_audit={"at": {"counters.XfrmInNoStates": 7}})
    (kept,) = (fleet.folder / "audit").glob("audit-*.json")
    kept.rename(kept.with_name("audit-20260101T000000Z.json"))
    audit(fleet)
    made = report(fleet)
    assert [(row["id"], row["new"]) for row in made["findings"]] == [("no-state-packets", True)]
    assert [row["id"] for row in made["gone"]] == ["service-disabled"]
    assert len(list((fleet.folder / "audit").glob("audit-*.json"))) == 2


def test_a_host_with_other_keys_is_found_by_its_peers_and_the_keystore(fleet: Fleet) -> None:
    fleet.lie("c", ipsec_audit={"at": {"pairs": []}})
    audit(fleet)
    assert {row for row in found_in(fleet) if row[0] == "no-sas"} == {("no-sas", "c")}


def test_check_mode_writes_nothing(fleet: Fleet) -> None:
    assert audit(fleet, "--check").status == 0
    assert not (fleet.folder / "audit").exists()


def test_without_a_directory_nothing_is_written(fleet: Fleet) -> None:
    assert audit(fleet, audit_directory="").status == 0
    assert not (fleet.folder / "audit").exists()


EVIL = {"audit_fail_on": "never", "audit_directory": "evil", "ipsec_connections": [], "inventory_hostname": "b"}
LIES: dict[str, dict[str, t.Any]] = {
    "facts": {"set": {"ansible_facts": EVIL}},
    "nan": {"raw": '{"changed": NaN}'},
    "deep": {"raw": "[" * 100_000},
    "terminal": {"raw": "\x1b]0;owned\x07 nothing"},
    "many": {"at": {"remarks": [{"what": "copy", "place": "/", "detail": ""}] * 300_000}},
    "name": {"at": {"pairs": [{"name": "{{ lookup('pipe', 'touch evil') }}"}]}},
    "epoch": {"at": {"epoch": 1e300}},
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("liar", ["a", "c"])
def test_a_malformed_answer_is_used_in_no_part(fleet: Fleet, lie: str, liar: str) -> None:
    fleet.lie(liar, ipsec_audit=LIES[lie])
    done = audit(fleet, audit_fail_on="high")
    assert ("absent", liar) in found_in(fleet)
    assert {host for dummy, host in found_in(fleet)} <= {liar, ""}
    assert "Traceback" not in done.output and "\x1b" not in done.output and "\x07" not in done.output
    assert not list(fleet.folder.rglob("evil*"))


def test_hostile_names_are_text(fleet: Fleet) -> None:
    place = "/etc/inet/secret/ipseckeys\u202e\x1b[2J{{ lookup('pipe', 'touch evil') }}<script>"
    fleet.lie("a", ipsec_audit={"at": {"remarks": [{"what": "copy", "place": place, "detail": "{{ 7 * 7 }}"}]}})
    done = audit(fleet, audit_fail_on="high")
    assert done.status != 0 and "Traceback" not in done.output
    assert "\x1b" not in done.output and "\u202e" not in done.output and "(49)" not in done.output
    (row,) = report(fleet)["findings"]
    assert (row["id"], row["host"]) == ("file-copy", "a") and "{{ 7 * 7 }}" in row["what"]
    assert not list(fleet.folder.rglob("evil*"))


def test_facts_with_the_names_of_inputs_are_a_finding_and_change_nothing(fleet: Fleet) -> None:
    fleet.lie("a", setup={"set": {"ansible_facts": {"audit_file": "/evil", "audit_fail_on": "info"}}})
    done = fleet.run(name="audit", extra=SETTINGS, before=[{"ansible.builtin.setup": {}}])
    assert done.status == 0, done.output
    assert {row for row in found_in(fleet) if row[0] == "facts-change-inputs"} == {("facts-change-inputs", "a")}
    assert all(row["options"].get("path") != "/evil" for host in HOSTS for row in fleet.asked(host))


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"audit_fail_on": "critical"}, "audit_fail_on"),
        ({"audit_age_limits": 3}, "audit_age_limits"),
        ({"audit_backend": "{{ 'xf' ~ 'rn' }}"}, "backend"),
        ({"ipsec_connections": "mesh"}, "expected a list of connections"),
    ],
)
def test_wrong_inputs_are_refused_before_any_host_is_asked(
    fleet: Fleet, variables: dict[str, t.Any], message: str
) -> None:
    done = audit(fleet, **variables)
    assert done.status != 0 and message in done.text
    assert [fleet.asked(host) for host in HOSTS] == [[], [], []]
