# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: ipsec_key
short_description: Make a random key for an IPsec algorithm
description:
  - Returns a new key of the right length for each algorithm, in hexadecimal, from the random number generator of the controller's operating system.
  - The salt of AES-GCM and its like is included at the end. Keys for DES and 3DES have odd parity, and weak ones are drawn again.
  - Every evaluation returns another key. Evaluate it once, keep the result in a vault-encrypted file, and give the same key to both peers.
    The role P(ipsec.manual.rotate#role) does all of that.
author:
  - ipsec.manual contributors (!UNKNOWN)
options:
  _terms:
    description:
      - Names of algorithms, as M(ipsec.manual.ipsec_sa) takes them in O(ipsec.manual.ipsec_sa#module:encryption_algorithm) and
        O(ipsec.manual.ipsec_sa#module:authentication_algorithm).
    type: list
    elements: str
    required: true
  bits:
    description:
      - Size of the key, its salt not counted, for ciphers that have several.
      - If missing, the strongest size that is usual for the algorithm, V(256) for V(aes-cbc).
    type: int
seealso:
  - plugin: ipsec.manual.ipsec_spi
    plugin_type: lookup
  - module: ipsec.manual.ipsec_sa
  - name: RFC 8221
    description: Cryptographic algorithm requirements for ESP and AH, and what it says about manual keying.
    link: https://www.rfc-editor.org/rfc/rfc8221
"""

EXAMPLES = r"""
---
# The file exists before the first host is touched, and is never made twice.
- name: Make the keys of one SA and store them encrypted
  ansible.builtin.copy:
    dest: "{{ playbook_dir }}/enigma_partym.yml"
    content: "{{ fresh | ansible.builtin.to_nice_yaml | ansible.builtin.vault(vault_secret) }}"
    decrypt: false # or the file would hold the keys in the clear
    mode: "0600"
    force: false
  vars:
    fresh:
      encryption_key: "{{ lookup('ipsec.manual.ipsec_key', 'aes-cbc', bits=256) }}"
      authentication_key: "{{ lookup('ipsec.manual.ipsec_key', 'hmac-sha256') }}"
  delegate_to: localhost
  run_once: true
  no_log: true # the content is key material before it is encrypted
"""

RETURN = r"""
_raw:
  description:
    - One key for each algorithm, in lower-case hexadecimal digits.
  type: list
  elements: str
"""

import typing as t

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

from ansible_collections.ipsec.manual.plugins.module_utils._core import keys
from ansible_collections.ipsec.manual.plugins.module_utils._core.algorithms import AUTHENTICATION, ENCRYPTION, Algorithm, find
from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import InputError, IpsecError
from ansible_collections.ipsec.manual.plugins.module_utils._glue_secrets import key_forms, register


class LookupModule(LookupBase):
    def run(self, terms: list[str], variables: t.Any = None, **kwargs: t.Any) -> list[str]:
        self.set_options(var_options=variables, direct=kwargs)
        if not terms:
            raise AnsibleLookupError("ipsec.manual.ipsec_key: no algorithm is named. Write a name such as aes-cbc or hmac-sha256.")
        try:
            made = [(row, keys.generate(row, self.get_option("bits"))) for row in map(_algorithm, terms)]
        except IpsecError as exc:
            raise AnsibleLookupError(f"ipsec.manual.ipsec_key: {exc}") from exc
        for row, key in made:
            register(key_forms(row, key))
        return [key.hex() for dummy, key in made]


def _algorithm(word: str) -> Algorithm:
    """The row of a cipher or an authentication algorithm; their names differ, their numbers do not."""
    if not isinstance(word, str) or word.isdigit():
        raise InputError(f"{word!r} is no name of an algorithm", "", "Write a name such as aes-cbc or hmac-sha256.")
    try:
        return find(ENCRYPTION, word)
    except InputError as exc:
        try:
            return find(AUTHENTICATION, word)
        except InputError as other:
            raise (other if "authentication" in word or "hmac" in word.lower() else exc) from None
