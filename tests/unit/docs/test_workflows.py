# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The workflows have no permissions that they do not need, and pin actions to commits, since tags can move."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import pytest
import yaml

TOP = Path(__file__).resolve().parents[3]
WORKFLOWS = sorted(TOP.glob(".github/workflows/*.yml"))
USES = re.compile(r"uses: *(\S+)(?: # (v\d+\.\d+\.\d+))?$", re.M)


def read(path: Path) -> dict[str, t.Any]:
    return t.cast("dict[str, t.Any]", yaml.safe_load(path.read_text(encoding="utf-8")))


def test_there_are_workflows() -> None:
    assert [path.stem for path in WORKFLOWS] == ["ci", "nightly", "release"]


def test_every_action_is_pinned_to_one_commit() -> None:
    pins: dict[str, set[tuple[str, str]]] = {}
    for path in WORKFLOWS:
        for used, version in USES.findall(path.read_text(encoding="utf-8")):
            name, dummy, commit = used.partition("@")
            assert re.fullmatch(r"[0-9a-f]{40}", commit) and version, f"{path.name}: {used}"
            pins.setdefault(name, set()).add((commit, version))
    assert pins and all(len(found) == 1 for found in pins.values()), pins


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_may_only_read_and_has_a_timeout(path: Path) -> None:
    workflow = read(path)
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["group"]
    for name, job in workflow["jobs"].items():
        assert 0 < job["timeout-minutes"] <= 360, name
        assert "permissions" not in job or (path.stem, name) == ("release", "draft")
        for step in job["steps"]:
            # A value from a pull request that stands in a script would be run as part of it.
            assert "${{" not in step.get("run", ""), name
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"] == {"persist-credentials": False}, name


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_only_jobs_that_need_approval_use_secrets(path: Path) -> None:
    for name, job in read(path)["jobs"].items():
        assert ("secrets." in str(job)) == ("environment" in job), name


def test_issue_forms_link_to_this_repository() -> None:
    repository = yaml.safe_load((TOP / "galaxy.yml").read_text(encoding="utf-8"))["repository"]
    links = {row["url"] for row in read(TOP / ".github/ISSUE_TEMPLATE/config.yml")["contact_links"]}
    assert f"{repository}/security/policy" in links
    assert repository.split("github.com/")[1] in read(TOP / ".github/workflows/release.yml")["jobs"]["galaxy"]["if"]
