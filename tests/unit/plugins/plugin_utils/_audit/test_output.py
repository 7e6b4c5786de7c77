# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files of a report, and the history that the next audit reads."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
import yaml

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import InputError, IpsecError
from ansible_collections.ipsec.manual.plugins.plugin_utils._audit import output, report
from ansible_collections.ipsec.manual.tests.unit.plugins.plugin_utils._audit.fleets import changed, clean, pairs

TOP = Path(__file__).resolve().parents[5]
MADE, LATER = "2026-11-27T22:00:00Z", "2026-11-28T22:00:00Z"
NOW = "2027-01-01T00:00:00Z"


def test_a_report_is_written_in_every_format_and_kept(tmp_path: Path) -> None:
    directory = tmp_path / "new" / "audit"
    found = report.make(changed(pairs(leaking=1)), MADE)
    paths = output.write(str(directory), found, list(output.FORMATS) * 2)
    assert sorted(path.name for path in directory.iterdir()) == sorted(Path(path).name for path in paths)
    assert len(paths) == len(output.FORMATS) + 1
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}
    assert output.previous(str(directory), NOW) == (found, [])


def test_every_format_of_the_role_has_its_file() -> None:
    spec = yaml.safe_load((TOP / "roles" / "audit" / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))
    option = spec["argument_specs"]["variables"]["options"]["audit_formats"]
    assert option["choices"] == option["default"] == list(output.FORMATS)
    text = " ".join(option["description"])
    assert [name for name, dummy in output.FORMATS.values() if f"C({name})" not in text] == []


def test_the_newest_report_is_the_previous_one(tmp_path: Path) -> None:
    for made in (LATER, MADE):
        output.write(str(tmp_path), report.make(clean(), made), ["json"])
    (tmp_path / "audit-notes.json").write_text("{}")
    found, warnings = output.previous(str(tmp_path), NOW)
    assert found is not None and found["made"] == LATER and warnings == []


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"format": 2}', "[" * 100_000, "\x00"])
def test_a_damaged_report_is_passed_over_with_a_warning(tmp_path: Path, text: str) -> None:
    output.write(str(tmp_path), report.make(clean(), MADE), [])
    (tmp_path / "audit-20261128T220000Z.json").write_text(text)
    found, warnings = output.previous(str(tmp_path), NOW)
    assert found is not None and found["made"] == MADE
    (warning,) = warnings
    assert "audit-20261128T220000Z.json is not a report of an audit" in warning


@pytest.mark.parametrize("change", [{"made": 1}, {"findings": [{}]}, {"findings": 1}, {"hosts": [{"name": "a"}]}])
def test_a_report_of_another_form_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="form"):
        output.read(json.dumps({**report.make(clean(), MADE), **change}))


def test_a_report_of_the_future_is_not_the_previous_one(tmp_path: Path) -> None:
    for made in (MADE, "2031-01-01T00:00:00Z"):
        output.write(str(tmp_path), report.make(clean(), made), [])
    found, warnings = output.previous(str(tmp_path), NOW)
    assert found is not None and found["made"] == MADE and warnings == []


def test_without_history_nothing_is_compared(tmp_path: Path) -> None:
    assert output.previous(str(tmp_path), NOW) == output.previous(str(tmp_path / "none"), NOW) == (None, [])


def test_a_directory_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(IpsecError, match="the report cannot be written"):
        output.write(str(tmp_path / "file" / "audit"), report.make(clean(), MADE), [])


def test_no_report_is_written_inside_an_installed_collection() -> None:
    with pytest.raises(InputError, match="inside an installed collection"):
        output.directory_of("/x/ansible_collections/ipsec/manual/playbooks/audit")
    assert output.directory_of("/x/audit") == "/x/audit"


def test_a_summary_names_no_place_where_there_is_none() -> None:
    found = report.make(clean()._replace(known={}, unread="no vault secret is loaded"), MADE)
    assert "fleet: the keystore was not read" in output.FORMATS["text"][1](found)
