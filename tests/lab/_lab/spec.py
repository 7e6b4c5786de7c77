# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the controller passes to the lab's first process."""

from __future__ import annotations

import json
import pathlib
import typing as t

from . import plan, tables


class Spec(t.NamedTuple):
    """One lab. Folders are absolute and the same on both sides."""

    kernel: str  # uml, host
    modules: str  # of User-Mode Linux, by version
    folder: str  # this lab's folder
    labs: str  # all labs' folders, hidden from the hosts
    checkout: str
    writable: tuple[str, ...]  # folders of the real file system that hosts may write
    shown: tuple[str, ...]  # further folders of it that hosts see, even inside a private folder
    own_home: bool  # whether root's home is private, or the real one (whose changes are lost)
    without: tuple[str, ...]  # kernel modules to block
    hosts: tuple[plan.Host, ...]


def save(spec: Spec) -> None:
    """Write it into the lab's folder."""
    pathlib.Path(spec.folder, "spec.json").write_text(json.dumps(spec._asdict(), indent=2) + "\n", encoding="utf-8")


def load(folder: pathlib.Path) -> Spec:
    """Read it back."""
    data = json.loads((folder / "spec.json").read_text(encoding="utf-8"))
    hosts = tuple(
        plan.Host(name, management, tables.Network(*network) if network else None)
        for name, management, network in data["hosts"]
    )
    return Spec(
        **{
            **data,
            "hosts": hosts,
            "writable": tuple(data["writable"]),
            "shown": tuple(data["shown"]),
            "without": tuple(data["without"]),
        }
    )
