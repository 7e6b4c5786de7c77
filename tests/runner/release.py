# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a release consists of, into build/release: the artifact, its bill of materials, and the manifest that is to be signed.

Runs in the copy. Refuses, with every reason at once, while the checkout is not what can be published.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import typing as t
from pathlib import Path

import checks
import workspace
import yaml

OUT = workspace.BUILD / "release"
ADDRESS = re.compile(r"^Security contact: <?(mailto:)?[^\s@<>]+@[^\s@<>]+\.[^\s@<>]+>?$", re.MULTILINE)


def obstacles() -> t.Iterator[str]:
    if not ADDRESS.search(Path("MAINTAINERS").read_text(encoding="utf-8")):
        yield "MAINTAINERS: the security contact is not filled in yet. Put a mail address of the project's own after 'Security contact:'."
    version = yaml.safe_load(Path("galaxy.yml").read_text(encoding="utf-8"))["version"]
    changelog = Path("changelogs/changelog.yaml")
    releases = yaml.safe_load(changelog.read_text(encoding="utf-8"))["releases"] if changelog.exists() else {}
    if version not in releases:
        yield f"changelogs/changelog.yaml: version {version} of galaxy.yml is not in it. Run: antsibull-changelog release"
    git = ("git", "-c", f"safe.directory={workspace.TOP}", "-C", str(workspace.TOP), "status", "--porcelain")
    changed = subprocess.run(git, stdout=subprocess.PIPE, text=True, check=True).stdout
    if changed:
        yield f"Files that are not committed would be packed. Commit or remove them:\n{changed.rstrip()}"


def main() -> None:
    found = list(obstacles())
    if found:
        sys.exit("\n".join(["No release is made:", *found]))
    tarball = checks.build(OUT)
    checks.check_bill(tarball)
    with tarfile.open(tarball) as archive:
        manifest = archive.extractfile("MANIFEST.json")
        (OUT / "MANIFEST.json").write_bytes(manifest.read() if manifest else b"")
    print(f"{OUT}: {' '.join(sorted(path.name for path in OUT.iterdir()))}. Sign MANIFEST.json and the bill of materials as CONTRIBUTING.md says.")


if __name__ == "__main__":
    main()
