# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A release of a small separate checkout: what prevents it, what its metadata say, and that
users can verify it.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import typing as t
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[2]
HEADER = "# SPDX-FileCopyrightText: us\n# SPDX-License-Identifier: GPL-3.0-or-later\n"
FILES = {
    "galaxy.yml": (
        "namespace: some\nname: where\nversion: 1.2.3\nreadme: README.md\nauthors: [us]\ndescription: d\nlicense:"
        " [GPL-3.0-or-later]\nrepository: https://example.com\nbuild_ignore: [.git, .gitignore, build, tests]\n"
    ),
    "README.md": "",
    "MAINTAINERS": "\nSecurity contact: security@example.com\n",
    "meta/runtime.yml": "requires_ansible: '>=2.19.0'\n",
    "meta/ee-requirements.txt": "cryptography\n",
    "changelogs/changelog.yaml": "releases: {1.2.3: {}}\n",
    "plugins/module_utils/of_ours.py": "",
    ".gitignore": ".venv\n/build/\n__pycache__/\n",
}
OF_OTHERS = "plugins/module_utils/of_others.py"


@pytest.fixture(name="checkout")
def fixture_checkout(tmp_path: Path) -> Path:
    """A checkout with everything that a release needs."""
    checkout = tmp_path / "checkout"
    shutil.copytree(TESTS / "release", checkout / "tests" / "release", ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in FILES.items():
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text(HEADER + text)
    (checkout / OF_OTHERS).write_text(HEADER.replace("GPL-3.0-or-later", "MIT"))
    for licence in ("GPL-3.0-or-later", "MIT"):
        (checkout / "LICENSES").mkdir(exist_ok=True)
        (checkout / "LICENSES" / f"{licence}.txt").write_text("You may.\n")
    git(checkout, "init", "-q")
    commit(checkout)
    return checkout


def git(checkout: Path, *arguments: str) -> None:
    subprocess.run(
        ["git", "-C", str(checkout), "-c", "user.name=us", "-c", "user.email=us@example.com", *arguments], check=True
    )


def commit(checkout: Path) -> None:
    git(checkout, "add", "--all")
    git(checkout, "commit", "-q", "-m", "all")


def run(*command: t.Any, cwd: Path | None = None) -> tuple[int, str]:
    answer = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return answer.returncode, answer.stdout


def release(checkout: Path) -> tuple[int, str]:
    return run(sys.executable, "-B", "tests/release/release.py", cwd=checkout)


def made(checkout: Path) -> Path:
    status, output = release(checkout)
    assert status == 0, output
    return checkout / "build" / "release"


def test_the_security_contact_is_written_in_one_place() -> None:
    top = TESTS.parent
    assert "Security contact: " in (top / "MAINTAINERS").read_text(encoding="utf-8")
    policy = (top / "SECURITY.md").read_text(encoding="utf-8")
    assert "(MAINTAINERS)" in policy
    assert "@" not in policy


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        (
            "MAINTAINERS",
            (TESTS.parent / "MAINTAINERS").read_text(encoding="utf-8").split("Security contact:")[0],
            "MAINTAINERS: the security contact is not filled in",
        ),
        (
            "MAINTAINERS",
            "Security contact: TO BE FILLED IN by the owner\n",
            "MAINTAINERS: the security contact is not filled in",
        ),
        ("changelogs/changelog.yaml", "releases: {1.2.2: {}}\n", "version 1.2.3 of galaxy.yml is not in it"),
    ],
)
def test_what_cannot_be_published_is_not_built(checkout: Path, name: str, text: str, reason: str) -> None:
    (checkout / name).write_text(HEADER + text)
    commit(checkout)
    status, output = release(checkout)
    assert status == 1
    assert reason in output
    assert not (checkout / "build" / "release").exists()


def test_what_is_not_committed_is_not_published(checkout: Path) -> None:
    (checkout / "README.md").write_text(f"{HEADER}changed\n")
    (checkout / "stray").write_text(HEADER)
    status, output = release(checkout)
    assert status == 1
    assert " M README.md" in output
    assert "?? stray" in output


def test_a_file_without_a_licence_is_not_published(checkout: Path) -> None:
    (checkout / "stray").write_text("whose?\n")
    commit(checkout)
    status, output = release(checkout)
    assert status != 0
    assert not list((checkout / "build" / "release").glob("*.cdx.json")), output


def test_the_bill_of_materials_is_complete(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = made(checkout)
    bill = (out / "some-where-1.2.3.cdx.json").read_text()
    rows = json.loads(bill)["components"]
    with tarfile.open(out / "some-where-1.2.3.tar.gz") as archive:
        packed = {
            member.name: hashlib.sha256(t.cast(t.Any, archive.extractfile(member)).read()).hexdigest()
            for member in archive
            if member.isfile()
        }
    assert {row["name"]: row["hashes"][0]["content"] for row in rows if row["type"] == "file"} == packed
    licences = {row["name"]: row["licenses"][0]["license"]["id"] for row in rows if row["type"] == "file"}
    assert licences.pop(OF_OTHERS) == "MIT"
    assert set(licences.values()) == {"GPL-3.0-or-later"}
    needed = {row["purl"]: row["description"] for row in rows if row["type"] == "library"}
    assert set(needed) == {"pkg:pypi/ansible-core", "pkg:pypi/cryptography"}
    assert needed["pkg:pypi/ansible-core"].startswith("ansible-core>=2.19.0, on the controller: ")
    monkeypatch.syspath_prepend(TESTS / "release")
    sbom = importlib.import_module("sbom")
    assert sbom.problems(bill) == ""
    assert "SHA-265" in sbom.problems(bill.replace("SHA-256", "SHA-265", 1))


def test_a_dependency_without_a_reason_is_refused(checkout: Path) -> None:
    (checkout / "meta" / "ee-requirements.txt").write_text(f"{HEADER}cryptography\npyyaml>=6\n")
    commit(checkout)
    status, output = release(checkout)
    assert status != 0
    assert "pyyaml>=6" in output


class Signer:
    """A temporary key. Its folder has a short path, since it holds the agent's socket."""

    def __init__(self, home: str) -> None:
        self.gpg = ("gpg", "--homedir", home, "--batch", "--quiet")
        self.keyring = Path(home) / "public.gpg"
        subprocess.run(
            [*self.gpg, "--passphrase", "", "--quick-generate-key", "us@example.com", "ed25519", "sign", "never"],
            check=True,
        )
        subprocess.run([*self.gpg, "--export", "--output", str(self.keyring)], check=True)

    def sign(self, path: Path) -> Path:
        """Sign as CONTRIBUTING.md describes."""
        subprocess.run([*self.gpg, "--detach-sign", "--armor", "--yes", str(path)], check=True)
        return path.with_name(f"{path.name}.asc")


@pytest.fixture(name="signers")
def fixture_signers() -> t.Iterator[tuple[Signer, Signer]]:
    with tempfile.TemporaryDirectory(prefix="ours-") as ours, tempfile.TemporaryDirectory(prefix="theirs-") as theirs:
        yield Signer(ours), Signer(theirs)
        for home in (ours, theirs):
            subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=True)


def test_a_user_tells_the_signed_artifact_from_any_other(
    checkout: Path, signers: tuple[Signer, Signer], tmp_path: Path
) -> None:
    """With the commands of the page on security. ansible-galaxy accepts no signature when it installs
    a file, so the user verifies after it.
    """
    out, (ours, theirs) = made(checkout), signers
    installed = tmp_path / "installed"
    galaxy = (Path(sys.executable).with_name("ansible-galaxy"), "collection")
    status, output = run(*galaxy, "install", "--offline", "-p", installed, out / "some-where-1.2.3.tar.gz")
    assert status == 0, output
    wanted = ("--offline", "--keyring", ours.keyring, "--required-valid-signature-count", "+1", "-p", installed)

    def verify(*signature: str) -> tuple[int, str]:
        return run(*galaxy, "verify", "some.where", *wanted, *signature)

    wrong = theirs.sign(out / "MANIFEST.json").rename(out / "theirs.asc")
    right = f"--signature=file://{ours.sign(out / 'MANIFEST.json')}"
    status, output = verify(right)
    assert status == 0, output
    for other in ((), (f"--signature=file://{wrong}",)):
        status, output = verify(*other)
        assert (status != 0, "no successful signatures" in output) == (True, True), output
    (installed / "ansible_collections" / "some" / "where" / OF_OTHERS).write_text("import os\n")
    status, output = verify(right)
    assert (status != 0, OF_OTHERS in output) == (True, True), output
