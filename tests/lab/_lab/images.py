# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""User-Mode Linux kernels that are here: the installed one, and those unpacked into
`build/kernels/SUITE`, which `fetch` brings.
"""

from __future__ import annotations

import pathlib
import subprocess
import typing as t

from . import tables
from .errors import LabError
from .folder import BUILD, Lab

UNPACKED = BUILD / "kernels"
INSTALLED = "installed"
PREFIX = "uml-"


class Image(t.NamedTuple):
    """A kernel."""

    version: str
    origin: str  # INSTALLED, or the suite of the distribution
    root: pathlib.Path  # where its package is unpacked

    @property
    def release(self) -> tuple[int, ...]:
        """Its version, comparable."""
        return tuple(int(number) for number in self.version.split(".") if number.isdigit())

    @property
    def program(self) -> pathlib.Path:
        return self.root / "usr/bin/linux.uml"

    @property
    def modules(self) -> pathlib.Path:
        """The folder that contains VERSION/."""
        return self.root / "usr/lib/uml/modules"

    @property
    def libraries(self) -> pathlib.Path:
        """The C library that came with it, which older suites have in /lib. An installed kernel has this machine's."""
        return next(
            folder
            for top in ("usr/lib", "lib")
            if ((folder := self.root / top / "x86_64-linux-gnu") / "libc.so.6").exists()
        )


def found(root: pathlib.Path, origin: str) -> list[Image]:
    """The kernels in a package unpacked at root; empty if there is no such package."""
    image = Image("", origin, root)
    if not (image.program.exists() and image.modules.is_dir()):
        return []
    return [image._replace(version=folder.name) for folder in image.modules.iterdir() if folder.name[0].isdigit()]


def images() -> list[Image]:
    """All kernels, the newest first."""
    folders = UNPACKED.iterdir() if UNPACKED.is_dir() else ()
    known = found(pathlib.Path("/"), INSTALLED)
    for folder in folders:
        known += found(folder, folder.name)
    return sorted(known, key=lambda image: (image.release, image.origin), reverse=True)


def choose(version: str, known: t.Sequence[Image]) -> Image:
    """The newest whose version begins with those numbers; with none, the newest."""
    fitting = [image for image in known if f"{image.version}.".startswith(f"{version}." if version else "")]
    if not fitting:
        there = ", ".join(PREFIX + image.version for image in known) or "none"
        raise LabError(
            f"--kernel {PREFIX}{version}: no such kernel is here. Here are: {there}. Another suite's comes by:"
            " tests/lab/lab fetch SUITE"
        )
    return fitting[0]


def program_of(lab: Lab, image: Image) -> str:
    """The program to run. An unpacked kernel needs the C library from its suite: a copy in the
    lab's folder refers to that one.
    """
    if image.origin == INSTALLED:
        return str(image.program)
    copy = lab.path / image.program.name
    loader = image.libraries / "ld-linux-x86-64.so.2"
    command = [
        "patchelf",
        "--set-interpreter",
        str(loader),
        "--set-rpath",
        str(image.libraries),
        "--output",
        str(copy),
        str(image.program),
    ]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    if result.returncode:
        raise LabError(f"{' '.join(command)}: {result.stderr.strip()}")
    return str(copy)


def settings(image: Image) -> list[str]:
    """Options for this kernel only."""
    return ["seccomp=auto"] if image.release >= tables.SECCOMP_SINCE else []


def listing() -> str:
    """The kernels, one per line; labs use the first, the newest."""
    return "\n".join(f"{PREFIX + image.version:<14}{image.origin}" for image in images())
