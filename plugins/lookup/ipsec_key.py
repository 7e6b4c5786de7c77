# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: ipsec_key
short_description: Make a random key for an IPsec algorithm, and remember it
description:
  - Returns a new key of the right length for each algorithm, in hexadecimal, from the random number
    generator of the controller's operating system.
  - The salt of AES-GCM and its like is included at the end. Keys for DES and 3DES have odd parity,
    and weak ones are drawn again.
  - With O(keystore), the key is kept there under O(name), encrypted with Ansible Vault, and every
    evaluation returns the same, also where several processes ask at once. Without it, every
    evaluation returns another key.
  - The role P(ipsec.manual.rotate#role) makes, keeps, and renews keys by itself.
author:
  - ipsec.manual contributors (!UNKNOWN)
options:
  _terms:
    description:
      - Names of algorithms, as M(ipsec.manual.ipsec_sa) takes them in
        O(ipsec.manual.ipsec_sa#module:encryption_algorithm) and
        O(ipsec.manual.ipsec_sa#module:authentication_algorithm).
    type: list
    elements: str
    required: true
  bits:
    description:
      - Size of the key, its salt not counted, for ciphers that have several.
      - If missing, the strongest size that is usual for the algorithm, V(256) for V(aes-cbc).
    type: int
  keystore:
    description:
      - The keystore's directory on the controller, as in
        O(ipsec.manual.ipsec_keystore#module:directory). It is made if it does not exist.
      - With C(--check) nothing is written. A key that is not kept yet is then another at every
        evaluation. Lookups do not see C(check_mode) of a task.
    type: str
  name:
    description:
      - Name of the key in O(keystore). Letters, digits, C(_), C(.) and C(-). Required with
        O(keystore), which takes one algorithm only.
      - A key that is kept for another algorithm, or of another size than O(bits), is refused.
    type: str
  vault_id:
    description:
      - Vault identity that encrypts a new key. If empty, the one that C(ansible-vault) would take.
    type: str
    default: ""
seealso:
  - module: ipsec.manual.ipsec_keystore
  - plugin: ipsec.manual.ipsec_spi
    plugin_type: lookup
  - module: ipsec.manual.ipsec_sa
  - name: RFC 8221
    description: Cryptographic algorithm requirements for ESP and AH, and what it says about manual keying.
    link: https://www.rfc-editor.org/rfc/rfc8221
"""

EXAMPLES = r"""
---
# Both hosts get the same two keys, at every run.
- name: Add an SA with keys that the keystore remembers
  ipsec.manual.ipsec_sa:
    protocol: esp
    spi: "0x8bcd1407"
    source: 192.168.116.16
    destination: 192.168.13.213
    encryption_algorithm: aes-cbc
    encryption_key: "{{ lookup('ipsec.manual.ipsec_key', 'aes-cbc', keystore='keystore',
    name='enigma-partym.encryption') }}"
    authentication_algorithm: hmac-sha256
    authentication_key: "{{ lookup('ipsec.manual.ipsec_key', 'hmac-sha256', keystore='keystore',
    name='enigma-partym.authentication') }}"
"""

RETURN = r"""
_raw:
  description:
    - One key for each algorithm, in lower-case hexadecimal digits.
  type: list
  elements: str
"""

import contextlib
import typing as t

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import InputError, shown
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa import keys
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.algorithms import (
    AUTHENTICATION,
    ENCRYPTION,
    Algorithm,
    find,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.neighbours import meaning
from ansible_collections.ipsec.manual.plugins.module_utils._module.secrets import key_forms, register
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.directory import open_keystore
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.single_keys import remembered
from ansible_collections.ipsec.manual.plugins.plugin_utils._lookup import Lookup


class LookupModule(Lookup):
    name = "ipsec_key"

    def found(self, terms: list[str], variables: t.Mapping[str, t.Any]) -> list[str]:
        if not terms:
            raise InputError("no algorithm is named", "", "Write a name such as aes-cbc or hmac-sha256.")
        rows = list(map(_algorithm, terms))
        directory, name, bits = self.get_option("keystore"), self.get_option("name"), self.get_option("bits")
        if directory:
            made = [(row, self._kept(directory, name, row, bits, variables)) for row in _single(rows, name)]
        elif name:
            raise InputError(
                "a name is given, but no keystore to keep the key in", "name", "Give keystore, or omit name."
            )
        else:
            made = [(row, keys.generate(row, bits)) for row in rows]
        for row, key in made:
            register(key_forms(row, key))
        return [key.hex() for dummy, key in made]

    def _kept(
        self, directory: str, name: str, row: Algorithm, bits: int | None, variables: t.Mapping[str, t.Any]
    ) -> bytes:
        store = open_keystore(self._loader, directory, self.get_option("vault_id"))
        return remembered(store, name, row, bits, dry=bool(variables.get("ansible_check_mode")))


def _single(rows: list[Algorithm], name: str | None) -> list[Algorithm]:
    if not name or len(rows) != 1:
        raise InputError("a keystore keeps one key under one name", "name", "Give name, and one algorithm.")
    return rows


def _algorithm(word: str) -> Algorithm:
    """The cipher or authentication algorithm of that name; numbers are ambiguous, so they are refused."""
    if not isinstance(word, str) or word.isdigit():
        raise InputError(
            f"{shown(str(word))} is not the name of an algorithm", "", "Write a name such as aes-cbc or hmac-sha256."
        )
    for kind in (ENCRYPTION, AUTHENTICATION):
        with contextlib.suppress(InputError):
            return find(kind, word)
    likely = any(part in word.lower() for part in ("hmac", "sha", "md5"))
    known = meaning(AUTHENTICATION, word) is not None and meaning(ENCRYPTION, word) is None
    return find(AUTHENTICATION if likely or known else ENCRYPTION, word)  # for its error
