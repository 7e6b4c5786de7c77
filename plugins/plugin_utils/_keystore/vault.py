# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible Vault for the keystore's files: records are encrypted and decrypted in memory, with the
vault secrets that Ansible loaded. No plaintext ever reaches a disk.
"""

from __future__ import annotations

import secrets
import typing as t

from ansible.errors import AnsibleError
from ansible.parsing.vault import VaultLib, is_encrypted

from .records import KeystoreError

# The length that Ansible Vault uses.
SALT_BYTES = 32

_HOW_TO_LOAD = (
    "Give ansible-playbook --vault-id, --vault-password-file or --ask-vault-pass, or set vault_password_file in"
    " ansible.cfg."
)


class Decryption(t.NamedTuple):
    """How a file was decrypted: the identity in its header, empty for none, and the (identity, secret)
    that decrypted it.
    """

    label: str
    secret: tuple[str, t.Any]


class Vault:
    """Ansible Vault with the secrets that are loaded. ``vault_id`` selects the identity that encrypts."""

    def __init__(
        self, secrets_loaded: t.Sequence[tuple[str, t.Any]] | None, vault_id: str = "", default_identity: str = ""
    ) -> None:
        self.secrets = list(secrets_loaded or ())
        self.vault_id = vault_id
        self.default_identity = default_identity

    def decrypt(self, data: bytes, place: str) -> tuple[str, Decryption]:
        """The text, and how it was encrypted."""
        if not is_encrypted(data):
            what = "is empty" if not data.strip() else "is not encrypted"
            raise KeystoreError(
                f"the keystore file {what}",
                place,
                "Restore it from version control; if its keys were exposed, rotate them.",
            )
        self._need_secrets(place)
        try:
            # Join the lines, because VaultLib makes an object of each: 250 MB for a big mesh.
            header = data.partition(b"\n")[0]
            data = header + b"\n" + data[len(header) :].translate(None, b"\r\n")
            label = b";".join(header.split(b";")[3:4]).strip().decode("ascii")
            text, identity, secret = VaultLib(self.secrets).decrypt_and_get_vault_id(data)
            return bytes(text).decode("utf-8"), Decryption(label, (identity, secret))
        except (AnsibleError, UnicodeDecodeError):
            raise KeystoreError(
                f"none of the vault secrets loaded ({', '.join(name for name, dummy in self.secrets)}) decrypts the"
                " keystore file",
                place,
                "Load the password it was encrypted with; if that is right, the file is damaged: restore it from"
                " version control.",
            ) from None

    def encrypt(self, text: str, decryption: Decryption | None, place: str) -> bytes:
        """Encrypt ``text`` with the identity ``vault_id``, else like the file that it replaces, else as
        Ansible chooses.
        """
        identity, secret = self.choose(decryption, place)
        # Like ansible-vault, omit the label `default`. Do not use a configured salt
        # (VAULT_ENCRYPT_SALT): in counter mode, two texts with the same password and salt reveal
        # each other.
        salt = secrets.token_bytes(SALT_BYTES)
        return bytes(
            VaultLib(self.secrets).encrypt(
                text, secret=secret, vault_id=None if identity == "default" else identity, salt=salt
            )
        )

    def choose(self, decryption: Decryption | None, place: str) -> tuple[str | None, t.Any]:
        """The label to write, None for none, and the secret. ``decryption`` is that of the file to be
        replaced. Raises KeystoreError if encryption is impossible.

        Several secrets may share an identity while a password is being changed. The one that
        decrypted the file is used, else the first."""
        self._need_secrets(place)
        if decryption is not None and self.vault_id in ("", decryption.secret[0]):
            return self.vault_id or decryption.label or None, decryption.secret[1]
        if self.vault_id:
            return self._first(self.vault_id, "vault_id")
        if self.default_identity:
            return self._first(self.default_identity, "DEFAULT_VAULT_ENCRYPT_IDENTITY")
        return self.secrets[0]

    def _first(self, identity: str, option: str) -> tuple[str, t.Any]:
        found = next((row for row in self.secrets if row[0] == identity), None)
        if found is None:
            names = ", ".join(dict.fromkeys(name for name, dummy in self.secrets))
            raise KeystoreError(
                f"no vault secret is loaded for the identity {identity}", option, f"Loaded are: {names}. {_HOW_TO_LOAD}"
            )
        return found

    def _need_secrets(self, place: str) -> None:
        if not self.secrets:
            raise KeystoreError("the keystore is vault-encrypted and no vault secret is loaded", place, _HOW_TO_LOAD)
