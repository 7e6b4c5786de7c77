# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The keystore's random id: the first line of each of its files, and of ``_keystore.yml``, which is
written before the others. Pure except for a new id.

One password often opens several keystores, so a file of another keystore decrypts as well. Only the
encrypted content can show that a file is out of place. Files from releases without ids have none
until they are rewritten::

    keystore: "32 hex digits"
    format: 1
    ...
"""

from __future__ import annotations

import re
import secrets
import typing as t

import yaml

from .records import KeystoreError, now, yaml_lines

FORMAT = 1
NAME = "_keystore"
_ID_BYTES = 16
_LINE = re.compile(r'keystore: "?([0-9a-f]{32})"?\n')
_ADOPT = "If it does belong here, remove its first line with ansible-vault edit."


def new() -> str:
    """A new id."""
    return secrets.token_hex(_ID_BYTES)


def marked(text: str, identity: str) -> str:
    """The text of a file with the id of its keystore added."""
    return f'keystore: "{identity}"\n{text}'


def found_in(text: str) -> str:
    """The id in a file's text; empty for none."""
    line = _LINE.match(text)
    return line[1] if line is not None else ""


def dump(by: str) -> str:
    """The text of ``_keystore.yml``, not yet marked."""
    return yaml_lines({"format": FORMAT, "created": now(), "created_by": by})


def load(text: str, place: str) -> str:
    """The id that ``_keystore.yml`` holds. Raises KeystoreError if it is not such a file."""
    found = found_in(text)
    try:
        known = found and yaml.safe_load(text)["format"] == FORMAT
    except (yaml.YAMLError, KeyError, TypeError):
        known = False
    if not known:
        raise KeystoreError(
            "the file decrypts, but holds no id of a keystore that this release knows",
            place,
            "Restore it from version control.",
        )
    return found


def check(found: str, identity: str, place: str, source: str) -> None:
    """Refuse a file with the id of another keystore. ``source`` is the file from which this keystore's id was read."""
    if found not in ("", identity):
        raise KeystoreError(
            f"the file belongs to another keystore, whose id is {found}; {source} says {identity}",
            place,
            f"Restore it from version control. {_ADOPT}",
        )


def agreed(found: t.Mapping[str, str], place: str) -> str:
    """The id that all files with an id agree on; empty if none has one.

    ``found`` maps file names to ids; ``place`` is their directory.
    """
    rows: dict[str, list[str]] = {}
    for name, identity in found.items():
        if identity:
            rows.setdefault(identity, []).append(name)
    if len(rows) > 1:
        files = "; ".join(f"{', '.join(names)}: id {identity}" for identity, names in rows.items())
        raise KeystoreError(
            f"the directory holds files of several keystores, and no {NAME}.yml that says which one it is ({files})",
            place,
            "Restore that file from version control.",
        )
    return next(iter(rows), "")
