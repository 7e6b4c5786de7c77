# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The choice of a lab's kernel, and the download of others."""

from __future__ import annotations

import pathlib
import subprocess

import pytest

from ansible_collections.ipsec.manual.tests.lab._lab import fetch, images
from ansible_collections.ipsec.manual.tests.lab._lab.errors import LabError

LAB = str(pathlib.Path(__file__).resolve().parent / "lab")
OWN = frozenset({"bookworm", "stable"})
KEY = """\
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mDMEY865UxYJKwYBBAHaRw8BAQdAd7Z0srwuhlB6JKFkcf4HU4SSS/xcRfwEQWzr
 -----END PGP PUBLIC KEY BLOCK-----
"""


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("deb http://mirror.example/debian bookworm main contrib", "deb http://mirror.example/debian sid main\n"),
        (
            "deb [ arch=amd64 signed-by=/k.gpg ] https://m.example/d/ stable main # ours",
            "deb [ arch=amd64 signed-by=/k.gpg ] https://m.example/d/ sid main\n",
        ),
        (
            "deb mirror+file:/etc/apt/mirrors.list bookworm non-free main",
            "deb mirror+file:/etc/apt/mirrors.list sid main\n",
        ),
        ("deb http://mirror.example/debian bookworm-updates main", ""),
        ("deb http://security.example/ bookworm-security main", ""),
        ("deb-src http://mirror.example/debian bookworm main", ""),
        ("# deb http://mirror.example/debian bookworm main", ""),
        ("deb http://other.example/packages bookworm stable", ""),
        ("deb cdrom:[Debian GNU/Linux 12.5.0 _Bookworm_ - Official amd64 NETINST]/ bookworm main", ""),
    ],
)
def test_one_line_sources_of_the_distribution_get_another_suite(line: str, wanted: str) -> None:
    assert fetch.one_line_style(f"{line}\n{line}\n", OWN, "sid") == wanted


@pytest.mark.parametrize(
    ("stanza", "wanted"),
    [
        (
            (
                "Types: deb deb-src\nURIs: http://m.example/debian\nSuites: bookworm bookworm-updates\nComponents: main"
                " contrib\nSigned-By: /k.gpg\n"
            ),
            "types: deb\nuris: http://m.example/debian\nsuites: sid\ncomponents: main\nsigned-by: /k.gpg\n",
        ),
        (
            (
                "types: deb\n# a comment\nuris: http://m.example/debian\n  http://n.example/debian\nsuites:"
                f" stable\ncomponents: main\n{KEY}"
            ),
            (
                "types: deb\nuris: http://m.example/debian\n  http://n.example/debian\nsuites: sid\ncomponents:"
                f" main\n{KEY.replace('Signed-By', 'signed-by')}"
            ),
        ),
        ("Types: deb\nURIs: http://m.example/debian\nSuites: bookworm\nComponents: main\nEnabled: no\n", ""),
        ("Types: deb-src\nURIs: http://m.example/debian\nSuites: bookworm\nComponents: main\n", ""),
        ("Types: deb\nURIs: http://security.example/\nSuites: bookworm-security\nComponents: main\n", ""),
        ("Types: deb\nURIs: http://other.example/\nSuites: nodistro\nComponents: main\n", ""),
    ],
)
def test_stanzas_of_the_distribution_get_another_suite(stanza: str, wanted: str) -> None:
    assert fetch.deb822_style(f"# of the machine\n\n{stanza}\n{stanza}", OWN, "sid").replace(": \n", ":\n") == wanted


KNOWN = [images.Image(version, "suite", pathlib.Path("/")) for version in ("7.2.7", "6.12.113", "6.1.176")]


@pytest.mark.parametrize(
    ("asked", "got"), [("", "7.2.7"), ("7", "7.2.7"), ("6.12", "6.12.113"), ("6.1", "6.1.176"), ("6.1.176", "6.1.176")]
)
def test_a_kernel_is_chosen_by_the_numbers_its_version_begins_with(asked: str, got: str) -> None:
    assert images.choose(asked, KNOWN).version == got


def test_a_missing_kernel_is_named_with_the_available_ones() -> None:
    with pytest.raises(
        LabError, match=r"uml-6.2: no such kernel is here. Here are: uml-7.2.7, uml-6.12.113, uml-6.1.176[.]"
    ):
        images.choose("6.2", KNOWN)


def test_the_newest_kernel_is_listed_first_and_each_of_them_boots() -> None:
    listed = [
        line.split()[0]
        for line in subprocess.run([LAB, "kernels"], capture_output=True, text=True, check=True).stdout.splitlines()
    ]
    releases = [tuple(map(int, name.removeprefix("uml-").split("."))) for name in listed]
    assert releases == sorted(releases, reverse=True) and releases
    for name in dict.fromkeys(listed):
        booted = subprocess.run(
            [LAB, "exec", "--kernel", name, "--", "uname", "-r"], capture_output=True, text=True, check=True
        ).stdout.strip()
        assert f"uml-{booted}" == name
    booted = subprocess.run(
        [LAB, "exec", "--kernel", "uml", "--", "uname", "-r"], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert f"uml-{booted}" == listed[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fetch", "nosuch"), "the User-Mode Linux of nosuch is not available. apt"),
        (("fetch", "../sid"), "'../sid' is not the name of a suite"),
        (("exec", "--kernel", "uml-x", "--", "true"), "'uml-x': use auto, host, uml"),
        (("exec", "--kernel", "uml-2.4", "--", "true"), "--kernel uml-2.4: no such kernel is here"),
    ],
)
def test_a_failed_download_is_reported_and_leaves_nothing(arguments: tuple[str, ...], message: str) -> None:
    before = sorted(images.UNPACKED.iterdir()) if images.UNPACKED.is_dir() else []
    result = subprocess.run(
        [LAB, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=300
    )
    assert result.returncode not in (0, 3)
    assert message in result.stderr and "Traceback" not in result.stderr
    left = sorted(images.UNPACKED.iterdir()) if images.UNPACKED.is_dir() else []
    assert [path for path in left if path not in before and path.name != ".lock"] == []
