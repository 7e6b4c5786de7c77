# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Single keys that the keystore remembers by name, one vault-encrypted file for each, ``_key.NAME.yml``::

format: 1
name: NAME
algorithm: aes-cbc
created: "2026-11-21T21:00:00Z"
created_by: USER@CONTROLLER
key: "hex digits"
"""

from __future__ import annotations

import typing as t

import yaml

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import InputError, shown
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa import keys
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.algorithms import BY_NAME, Algorithm

from .._connections.model import NAME
from .directory import KEY_PREFIX, Keystore
from .lease import actor
from .records import ConnectionRecord, KeystoreError, now, yaml_lines

FORMAT = 1


def remembered(store: Keystore, name: str, algorithm: Algorithm, bits: int | None, dry: bool = False) -> bytes:
    """The key of that name; without one, a new key, which is stored unless ``dry``. Concurrent
    processes get the same key.

    Raises IpsecError if the stored key is for another algorithm or has another size.
    """
    if not NAME.fullmatch(name):
        raise InputError(
            f"{shown(name)} is not a valid name for a key",
            "name",
            "Use letters, digits, '_', '.' and '-', at most 100.",
        )
    known = _read(store, name, algorithm, bits)
    if known is not None:
        return known
    made = keys.generate(algorithm, bits)
    if dry:
        return made
    store.make_directory()
    with store.lock(None):
        # The previous holder of the lock may have made it.
        known = _read(store, name, algorithm, bits)
        if known is not None:
            return known
        fields = {
            "format": FORMAT,
            "name": name,
            "algorithm": algorithm.name,
            "created": now(),
            "created_by": actor(),
            "key": made.hex(),
        }
        store.write_texts({_file(name): yaml_lines(fields)})
    return made


def fingerprints(store: Keystore, records: t.Mapping[str, ConnectionRecord]) -> dict[str, str]:
    """The names of all stored keys by their fingerprints. Raises KeystoreError for a key that was
    retired or is stored twice.
    """
    gone = {
        fingerprint: connection
        for connection, record in records.items()
        for fingerprint in record.retired_fingerprints()
    }
    found: dict[str, str] = {}
    for name in store.key_names():
        kept = _load(store, name)
        if kept is None:
            continue
        fingerprint = keys.full_fingerprint(*kept)
        place, fix = store.path(_file(name)), "Move the file away, and give what uses the key another one."
        if fingerprint in gone:
            raise KeystoreError(f"the key {name} was retired in connection {gone[fingerprint]}", place, fix)
        if fingerprint in found:
            raise KeystoreError(f"the key {name} is also remembered as {found[fingerprint]}", place, fix)
        found[fingerprint] = name
    return found


def _file(name: str) -> str:
    return f"{KEY_PREFIX}{name}"


def _load(store: Keystore, name: str) -> tuple[Algorithm, bytes] | None:
    """The key that is stored under a name, None if there is none."""
    text = store.read_text(_file(name))
    if text is None:
        return None
    try:
        data: t.Any = yaml.safe_load(text)
        found, key = BY_NAME[data["algorithm"]], bytes.fromhex(data["key"])
        whole = data["format"] == FORMAT and data["name"] == name
    except (yaml.YAMLError, KeyError, TypeError, ValueError):
        # The YAML library's message would quote the text.
        whole = False
    if not whole:
        raise KeystoreError(
            "the file decrypts, but holds no key of that name",
            store.path(_file(name)),
            "Restore it from version control.",
        )
    return found, key


def _read(store: Keystore, name: str, algorithm: Algorithm, bits: int | None) -> bytes | None:
    kept = _load(store, name)
    if kept is None:
        return None
    found, key = kept
    wanted = ((bits or len(key) * 8 - algorithm.salt_bits) + algorithm.salt_bits) // 8
    if found.name != algorithm.name or len(key) != wanted or keys.problem(algorithm, key):
        size = f" of {bits} bits" if bits else ""
        raise InputError(
            f"the key {name} is one of {len(key) * 8} bits for {found.name}, not one for {algorithm.name}{size}",
            store.path(_file(name)),
            "Choose another name, or move the file away if the key is no longer used.",
        )
    return key
