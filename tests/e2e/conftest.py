# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib
import typing as t

import pytest

from ansible_collections.ipsec.manual.tests.e2e.harness import NAME, Host, Project, lab


@pytest.fixture(scope="session")
def hosts() -> t.Iterator[dict[str, Host]]:
    """The lab's hosts, by name."""
    with lab(NAME) as hosts:
        yield hosts


@pytest.fixture(scope="session")
def project(hosts: dict[str, Host], tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The controller's project."""
    folder: pathlib.Path = tmp_path_factory.mktemp("project")
    return Project(folder)
