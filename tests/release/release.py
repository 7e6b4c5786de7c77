# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Builds a release in build/release: the artifact, its bill of materials, and the
manifest to sign.

Refuses if the checkout cannot be published, with all reasons at once.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import typing as t
from pathlib import Path

import sbom
import yaml

OUT = Path("build", "release")
WITHOUT_LICENCE = ("FILES.json", "MANIFEST.json")  # ansible-galaxy writes them
ADDRESS = re.compile(r"^Security contact: <?(mailto:)?[^\s@<>]+@[^\s@<>]+\.[^\s@<>]+>?$", re.MULTILINE)


def obstacles() -> t.Iterator[str]:
    if not ADDRESS.search(Path("MAINTAINERS").read_text(encoding="utf-8")):
        yield (
            "MAINTAINERS: the security contact is not filled in yet. Put a mail address of the project's own after"
            " 'Security contact:'."
        )
    version = yaml.safe_load(Path("galaxy.yml").read_text(encoding="utf-8"))["version"]
    changelog = Path("changelogs/changelog.yaml")
    releases = yaml.safe_load(changelog.read_text(encoding="utf-8"))["releases"] if changelog.exists() else {}
    if version not in releases:
        yield (
            f"changelogs/changelog.yaml: version {version} of galaxy.yml is not in it. Run: antsibull-changelog release"
        )
    changed = output("git", "-c", f"safe.directory={Path.cwd()}", "status", "--porcelain")
    if changed:
        yield f"Files that are not committed would be packed. Commit or remove them:\n{changed.rstrip()}"


def build(out: Path) -> Path:
    """The artifact of the current directory, in a folder with nothing else but its bill of materials."""
    shutil.rmtree(out, ignore_errors=True)
    output("ansible-galaxy", "collection", "build", "--force", "--output-path", str(out))
    (tarball,) = out.glob("*.tar.gz")
    try:
        text = sbom.describe(tarball, licences(tarball))
    except ValueError as exc:
        sys.exit(f"The bill of materials cannot be made: {exc}")
    sbom.path_for(tarball).write_text(text, encoding="utf-8")
    check_bill(tarball)
    return tarball


def licences(tarball: Path) -> dict[str, str]:
    """The SPDX expression of each file of an artifact with one. In the checkout, reuse would find caches, too."""
    with tempfile.TemporaryDirectory() as folder, tarfile.open(tarball) as archive:
        archive.extractall(folder, filter="data")
        for written in WITHOUT_LICENCE:
            Path(folder, written).unlink()
        command = ("reuse", "--root", folder, "lint", "--json")
        files = json.loads(output(*command, REUSE_ENCODING_MODULE="charset_normalizer"))["files"]
    return {
        row["path"]: " AND ".join(sorted({found["value"] for found in row["spdx_expressions"]}))
        for row in files
        if row["spdx_expressions"]
    }


def check_bill(tarball: Path) -> None:
    """Check that the bill of materials is valid and lists every file of the artifact with its hash."""
    text = sbom.path_for(tarball).read_text(encoding="utf-8")
    problems = sbom.problems(text)
    if problems:
        sys.exit(f"The bill of materials is not valid CycloneDX: {problems}")
    listed = {
        row["name"]: row["hashes"][0]["content"] for row in json.loads(text)["components"] if row["type"] == "file"
    }
    with tarfile.open(tarball) as archive:
        packed = {
            member.name: hashlib.sha256(t.cast(t.IO[bytes], archive.extractfile(member)).read()).hexdigest()
            for member in archive
            if member.isfile()
        }
    if listed != packed:
        sys.exit(
            "The bill of materials and the artifact differ in:"
            f" {' '.join(sorted({name for name, dummy in listed.items() ^ packed.items()}))}"
        )


def output(*command: str, **environment: str) -> str:
    answer = subprocess.run(command, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True, check=False)
    if answer.returncode:
        sys.exit(f"{' '.join(command)}: exit status {answer.returncode}\n{answer.stdout}")
    return answer.stdout


def main() -> None:
    found = list(obstacles())
    if found:
        sys.exit("\n".join(["No release is made:", *found]))
    tarball = build(OUT)
    with tarfile.open(tarball) as archive:
        (OUT / "MANIFEST.json").write_bytes(t.cast(t.IO[bytes], archive.extractfile("MANIFEST.json")).read())
    print(
        f"{OUT}: {' '.join(sorted(path.name for path in OUT.iterdir()))}. Sign MANIFEST.json and the bill of materials"
        " as CONTRIBUTING.md says."
    )


if __name__ == "__main__":
    main()
