# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The group that may run some commands of ipseckey through sudo: what it is given, and that it is removed."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest

from ansible.module_utils import basic

from ansible_collections.ipsec.manual.plugins.module_utils._core.program.options import read_options
from ansible_collections.ipsec.manual.plugins.module_utils._core.specs import IPSEC_BOOT
from ansible_collections.ipsec.manual.plugins.module_utils._core.text.language import render
from ansible_collections.ipsec.manual.plugins.module_utils._module.boot import operators, services
from ansible_collections.ipsec.manual.tests.unit.plugins.modules import test_ipsec_boot as boot
from ansible_collections.ipsec.manual.tests.unit.plugins.modules.harness import sa

GROUP = "daemon"  # every system has it
FILE = "/etc/inet/secret/ipseckeys"
host_in_a_folder = boot.host_in_a_folder
# Stands in for visudo: refuses a file in which no line is about a group.
VISUDO = '#!/bin/sh\n[ "$1 $2 $3" = "-c -q -f" ] && grep -q "^%" "$4" || { echo "syntax error" >&2; exit 1; }\n'


@pytest.fixture(name="sudoers")
def make_sudoers(host: boot.Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host with sudo. Returns the path of the file for operators."""
    host.keys.write_text(render([sa()]))
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "visudo").write_text(VISUDO)
    (programs / "visudo").chmod(0o755)
    (tmp_path / "sudoers").write_text("@includedir /etc/sudoers.d\n")
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setattr(operators, "PATH", str(tmp_path / "sudoers.d" / "ipseckey"))
    monkeypatch.setattr(operators, "SUDOERS", str(tmp_path / "sudoers"))
    return Path(operators.PATH)


def test_a_group_is_given_commands_once_and_they_are_taken_away(host: boot.Host, sudoers: Path) -> None:
    assert host.boot(check=True, operators=GROUP)["changed"] and not sudoers.exists()
    done = host.boot(operators=GROUP)
    assert done["changed"] and str(sudoers) in done["files"] and done["warnings"] == []
    assert stat.S_IMODE(sudoers.stat().st_mode) == 0o440
    assert f"%{GROUP} ALL = (root) NOSETENV: IPSECKEY_LOOK, IPSECKEY_LOAD, IPSECKEY_FLUSH\n" in sudoers.read_text()
    assert not host.boot(operators=GROUP)["changed"]
    assert not host.boot()["changed"] and sudoers.exists(), "a rotation, which names none, leaves them"
    assert host.boot(operators="")["changed"] and not sudoers.exists()
    assert not host.boot(operators="")["changed"]


def test_they_go_with_the_service(host: boot.Host, sudoers: Path) -> None:
    host.boot(operators=GROUP)
    assert str(sudoers) in host.boot(state="absent")["files"]
    assert not sudoers.exists()


def test_the_difference_shows_what_is_given(host: boot.Host, sudoers: Path) -> None:
    assert f"%{GROUP} ALL" in host.boot(check=True, operators=GROUP)["diff"]["after"]


def test_a_file_that_visudo_refuses_is_not_installed(
    host: boot.Host, sudoers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = host.tree()
    monkeypatch.setattr(operators, "text", lambda *dummy: "nonsense\n")
    result = host.boot(operators=GROUP)
    assert result["failed"] and "visudo refuses it: syntax error" in result["msg"]
    assert host.tree() == before


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ("nobody-has-this-group", "this host has no group nobody-has-this-group"),
        ("ALL, root ALL", "this is not the name of a group"),
        ("a\nb", "this is not the name of a group"),
        ("%x", "this is not the name of a group"),
    ],
)
def test_a_name_that_is_no_group_is_refused(host: boot.Host, sudoers: Path, group: str, message: str) -> None:
    result = host.boot(operators=group)
    assert result["failed"] and message in result["msg"]
    assert not sudoers.exists()


def test_a_host_without_sudo_is_refused(host: boot.Host, sudoers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(basic.AnsibleModule, "get_bin_path", lambda *dummy: None)
    assert "this host has no visudo" in host.boot(check=True, operators=GROUP)["msg"]


def test_a_directory_that_sudo_ignores_is_warned_about(host: boot.Host, sudoers: Path) -> None:
    Path(operators.SUDOERS).write_text("# @includedir /etc/sudoers.d\n")
    (warning,) = host.boot(operators=GROUP)["warnings"]
    assert "does not include /etc/sudoers.d" in warning


USUAL = ["look", "load", "flush"]
REGULAR = re.compile(r"\^.*\$")


@pytest.mark.parametrize("policies", [False, True])
def test_usual_rights_are_exact(policies: bool) -> None:
    words = [row for rows in operators.commands(FILE, policies, USUAL).values() for row in rows]
    assert all(words) and not [row for row in words if re.search(r"[*?!\[\]^$,:=\\]", row)]
    assert not any(row.split()[0] in ("add", "save", "delete") or "allow" in row or "show-keys" in row for row in words)


def test_the_usual_rights_are_the_default() -> None:
    assert IPSEC_BOOT["operators_rights"]["default"] == USUAL
    assert IPSEC_BOOT["operators_rights"]["choices"] == list(operators.RIGHTS)


def test_only_one_right_has_any_arguments() -> None:
    assert operators.commands("/etc/WHAT/FILE", False, ["load"])["load"] == [
        *("-f /etc/WHAT/FILE", "--apply /etc/WHAT/FILE"),
    ]
    for name, rows in operators.commands(FILE, True, operators.RIGHTS).items():
        assert ("" in rows) == (name == "all")
        assert not [row for row in rows if "*" in row or "?" in re.sub(r"(\)|dst6|src6)\?", "", row)]


def test_a_file_in_a_regular_expression_is_meant_literally() -> None:
    (pattern,) = (
        row for row in operators.commands("/etc/a.b+c/keys", False, ["policies"])["policies"] if "compare" in row
    )
    assert re.search(pattern.replace("[[:graph:]]", r"\S"), "--compare /etc/a.b+c/keys --policies /x")
    assert not re.search(pattern.replace("[[:graph:]]", r"\S"), "--compare /etc/aXbbc/keys --policies /x")


def test_rights_are_granted_by_name(host: boot.Host, sudoers: Path) -> None:
    host.boot(operators=GROUP, operators_rights=["keys", "look"])
    assert "NOSETENV: IPSECKEY_LOOK, IPSECKEY_KEYS\n" in sudoers.read_text()
    assert host.boot(operators=GROUP)["changed"] and "show-keys" not in sudoers.read_text()


@pytest.mark.parametrize("name", operators.RIGHTS)
def test_the_page_has_every_right_beside_the_profile_of_solaris(name: str) -> None:
    page = (Path(__file__).parents[4] / "docs" / "docsite" / "rst" / "from_the_guide.rst").read_text(encoding="utf-8")
    table = page.partition("The table has the right for each use")[2].partition("\nThe rights in the first")[0]
    assert table and re.search(rf"^     - ``{name}``[:,]", table, re.M)


@pytest.mark.parametrize("real", [services.Systemd, services.Openrc, services.Sysvinit])
def test_the_service_is_managed_with_exact_commands(
    host: boot.Host, sudoers: Path, monkeypatch: pytest.MonkeyPatch, real: type[services.Service]
) -> None:
    for name in ("systemctl", "rc-service", "rc-update", "update-rc.d"):
        (sudoers.parents[1] / "programs" / name).symlink_to("/bin/true")
    monkeypatch.setattr(services, "_SYSTEM", ("/nowhere", str(sudoers.parents[1] / "programs")))
    monkeypatch.setattr(boot.Manager, "operated", real.operated)
    monkeypatch.setattr(boot.Manager, "shown", real.shown)
    host.boot(operators=GROUP, operators_rights=["service", "look"])
    text = sudoers.read_text()
    commands = re.findall(r"(?:= |^    )(/.*?)(?:, \\)?$", text, re.M)
    managing = [row for row in commands if "/ipseckey " not in row]
    assert len(managing) == len(real.operated) + len(real.shown) > 6
    assert all(
        re.search(r"[ /]ipseckeys(\.service)?\b", row) and not re.search(r"[*?!\[\]^$,:=\\]", row) for row in managing
    )
    assert not any(word in row.split() for row in managing for word in ("edit", "mask", "cat", "ALL"))
    ending = ", NOEXEC: IPSECKEY_STATUS" if real.shown else ""
    assert f"NOSETENV: IPSECKEY_LOOK, IPSECKEY_SERVICE{ending}\n" in text
    assert host.boot(operators=GROUP)["changed"] and "IPSECKEY_SERVICE" not in sudoers.read_text()


def test_a_host_without_its_service_manager_is_refused(
    host: boot.Host, sudoers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "_SYSTEM", ("/nowhere",))
    monkeypatch.setattr(boot.Manager, "operated", services.Openrc.operated)
    assert "this host has no rc-service" in host.boot(operators=GROUP, operators_rights=["service"])["msg"]
    assert not sudoers.exists()


def test_no_right_is_an_error(host: boot.Host, sudoers: Path) -> None:
    assert "operators_rights: no right is named" in host.boot(operators=GROUP, operators_rights=[])["msg"]


def test_every_command_is_one_that_ipseckey_has() -> None:
    for rows in operators.commands(FILE, True, operators.RIGHTS).values():
        for row in rows:
            if not REGULAR.fullmatch(row):
                read_options(row.strip('"').split())


def test_a_file_of_somebody_else_is_left_alone(host: boot.Host, sudoers: Path) -> None:
    sudoers.parent.mkdir(parents=True, exist_ok=True)
    sudoers.write_text("%wheel ALL = (root) /usr/local/sbin/ipseckey dump\n")
    assert "this module did not write it" in host.boot(operators=GROUP)["msg"]
    host.boot(operators="")
    host.boot(state="absent")
    assert "wheel" in sudoers.read_text()
