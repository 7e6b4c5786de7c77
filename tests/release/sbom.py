# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The artifact's software bill of materials, in CycloneDX's JSON: its files with hashes and
licences, and what the controller needs besides.
"""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
import typing as t
from pathlib import Path

import yaml
from cyclonedx.factory.license import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

VERSION = SchemaVersion.V1_6
# Files that the build creates, and REUSE's own files: they have no licence header, and the
# collection's licence applies.
UNMARKED = re.compile(r"(FILES|MANIFEST)\.json|REUSE\.toml|LICENSES/.*|.*\.license")
# Each package, its licence, and why the controller needs it. Managed hosts need only Python.
NEEDED = {
    "ansible-core": ("GPL-3.0-or-later", "runs the collection"),
    "cryptography": (
        "Apache-2.0 OR BSD-3-Clause",
        "encrypts the keystore, as Ansible Vault does, and derives keys with its HKDF",
    ),
}


def path_for(tarball: Path) -> Path:
    return tarball.with_name(tarball.name.replace(".tar.gz", ".cdx.json"))


def describe(tarball: Path, licences: t.Mapping[str, str]) -> str:
    """The bill of materials of an artifact. ``licences`` maps the path of each file to its SPDX expression.

    Raises ValueError with the files without a licence, or with a package that is not in NEEDED.
    """
    with tarfile.open(tarball) as archive:
        files = {member.name: _content(archive, member) for member in archive.getmembers() if member.isfile()}
    lacking = sorted(name for name in files if name not in licences and not UNMARKED.fullmatch(name))
    if lacking:
        raise ValueError(f"no licence is known of: {' '.join(lacking)}")
    about = json.loads(files["MANIFEST.json"])["collection_info"]
    own = " AND ".join(about["license"])
    bom = Bom()
    bom.metadata.component = root = Component(
        type=ComponentType.LIBRARY,
        bom_ref="collection",
        group=about["namespace"],
        name=about["name"],
        version=about["version"],
        description=about["description"],
        purl=PackageURL("generic", about["namespace"], about["name"], about["version"]),
        licenses=[_licence(own)],
        hashes=[_hash(tarball.read_bytes())],
    )
    for name, content in sorted(files.items()):
        bom.components.add(
            Component(
                type=ComponentType.FILE,
                bom_ref=f"file:{name}",
                name=name,
                licenses=[_licence(licences.get(name, own))],
                hashes=[_hash(content)],
            )
        )
    needed = list(_needed(files))
    bom.components.update(needed)
    bom.register_dependency(root, needed)
    return make_outputter(bom, OutputFormat.JSON, VERSION).output_as_string(indent=2) + "\n"


def problems(text: str) -> str:
    """The problems that CycloneDX's validator finds."""
    return str(JsonStrictValidator(VERSION).validate_str(text) or "")


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    return file.read() if file else b""


def _needed(files: t.Mapping[str, bytes]) -> t.Iterator[Component]:
    """The packages that the collection's metadata require on a controller."""
    lines = [line.partition("#")[0].strip() for line in files["meta/ee-requirements.txt"].decode().splitlines()]
    core = "ansible-core" + yaml.safe_load(files["meta/runtime.yml"])["requires_ansible"]
    for wanted in (core, *filter(None, lines)):
        name = wanted.rstrip("<>=!~.,0123456789 ")
        if name not in NEEDED:
            raise ValueError(
                f"{wanted}: why a controller needs it, and its licence, are not in NEEDED of {Path(__file__).name}"
            )
        licence, reason = NEEDED[name]
        yield Component(
            type=ComponentType.LIBRARY,
            bom_ref=f"needed:{name}",
            name=name,
            description=f"{wanted}, on the controller: {reason}",
            purl=PackageURL("pypi", name=name),
            licenses=[_licence(licence)],
            scope=ComponentScope.REQUIRED,
        )


def _licence(expression: str) -> t.Any:
    return LicenseFactory().make_from_string(expression)


def _hash(content: bytes) -> HashType:
    return HashType(alg=HashAlgorithm.SHA_256, content=hashlib.sha256(content).hexdigest())
