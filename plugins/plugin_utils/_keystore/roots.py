# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The root secrets of derived generations: the content of ``_root.yml``, and how it changes. Pure
except for random numbers and the clock.

New generations are derived from the newest one; older ones are kept until no generation needs them.
The file is YAML, vault-encrypted as a whole::

    format: 1
    roots:                           # the newest last
    - {fingerprint: "16 hex digits", created: ..., created_by: ..., secret: "64 hex digits"}
    retired:
    - {fingerprint: ..., created: ..., created_by: ..., retired: ..., retired_by: ...}
"""

from __future__ import annotations

import json
import secrets
import typing as t

import yaml

from .derivation import ROOT_BYTES, root_fingerprint
from .records import KeystoreError, now

FORMAT = 1
NAME = "_root"


class Root(t.NamedTuple):
    """One root secret. ``secret`` is empty once it is retired."""

    fingerprint: str
    created: str
    created_by: str
    secret: bytes = b""
    retired: str = ""
    retired_by: str = ""

    def __repr__(self) -> str:
        return f"<root secret {self.fingerprint}>"


class RootFile(t.NamedTuple):
    """All root secrets, the newest last, and the retired ones without their secrets."""

    roots: tuple[Root, ...] = ()
    retired: tuple[Root, ...] = ()

    @property
    def newest(self) -> Root | None:
        return self.roots[-1] if self.roots else None

    def secrets(self) -> dict[str, bytes]:
        """The secrets by their fingerprints."""
        return {root.fingerprint: root.secret for root in self.roots}


def add(known: RootFile, by: str) -> RootFile:
    """Add a new root secret."""
    secret = secrets.token_bytes(ROOT_BYTES)
    return known._replace(roots=(*known.roots, Root(root_fingerprint(secret), now(), by, secret)))


def prune(known: RootFile, used: t.AbstractSet[str], by: str) -> RootFile:
    """Retire the secrets that no generation needs, except the newest."""
    gone = [root for root in known.roots[:-1] if root.fingerprint not in used]
    if not gone:
        return known
    when = now()
    return RootFile(
        tuple(root for root in known.roots if root not in gone),
        (*known.retired, *(root._replace(secret=b"", retired=when, retired_by=by) for root in gone)),
    )


def dump(known: RootFile) -> str:
    """The file's text, before encryption."""
    rows = [
        *("roots:" if known.roots else "roots: []",),
        *(
            f"- {_row(root, ('fingerprint', 'created', 'created_by'), secret=root.secret.hex())}"
            for root in known.roots
        ),
        *("retired:" if known.retired else "retired: []",),
        *(
            f"- {_row(root, ('fingerprint', 'created', 'created_by', 'retired', 'retired_by'))}"
            for root in known.retired
        ),
    ]
    return "".join(f"{row}\n" for row in (f"format: {FORMAT}", *rows))


def _row(root: Root, names: t.Sequence[str], **more: str) -> str:
    return json.dumps({**{name: getattr(root, name) for name in names}, **more})


def load(text: str, place: str) -> RootFile:
    """The root secrets from a decrypted text. Raises KeystoreError, without the content, for anything else."""
    try:
        data = yaml.safe_load(text)
        if data["format"] != FORMAT:
            raise KeystoreError(
                f"the file has format {data['format']}; this release knows format {FORMAT}",
                place,
                "Use the release that wrote it.",
            )
        known = RootFile(
            tuple(Root(**{**row, "secret": bytes.fromhex(row["secret"])}) for row in data["roots"]),
            tuple(Root(**row) for row in data["retired"]),
        )
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError):
        # The YAML library's message would quote the text.
        raise KeystoreError(
            "the file decrypts, but holds no root secrets of this collection", place, "Restore it from version control."
        ) from None
    retired = {root.fingerprint for root in known.retired}
    for root in known.roots:
        if (
            len(root.secret) != ROOT_BYTES
            or root_fingerprint(root.secret) != root.fingerprint
            or root.fingerprint in retired
        ):
            raise KeystoreError(
                f"the root secret {root.fingerprint} is damaged, or was retired",
                place,
                "Restore the file from version control.",
            )
    return known
