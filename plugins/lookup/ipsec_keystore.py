# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: ipsec_keystore
short_description: Read a host's security associations from the keystore
description:
  - Returns the security associations (SAs) that the keystore holds for connections, with their
    keys, as one ipseckeys text.
  - The keystore is decrypted in memory, with the vault secrets that Ansible has loaded.
author:
  - ipsec.manual contributors (!UNKNOWN)
options:
  _terms:
    description:
      - Names of connections, not the connections themselves, or of pairs of hosts, as
        C(CONNECTION/HOST,HOST), or of all pairs of a host, as C(CONNECTION/HOST). If empty, every
        connection of the keystore that has the generation, and the endpoint O(host).
      - Pairs that have no generation of that kind are left out.
    type: list
    elements: str
  directory:
    description:
      - The keystore's directory on the controller, as in O(ipsec.manual.ipsec_keystore#module:directory).
    type: str
    required: true
  host:
    description:
      - Return only the SAs of this endpoint. If missing, all of each connection.
    type: str
  generation:
    description:
      - Which generation to return. V(newest) is the next one where one is prepared, otherwise the current one.
    type: str
    choices: [current, next, previous, newest]
    default: current
notes:
  - The text holds keys. Hand it straight to O(ipsec.manual.ipseckeys_file#module:content) or
    O(ipsec.manual.ipsec_sadb#module:content), which hide it and keep it out of temporary files.
    Never keep it in a variable of a host, and give it to no other module.
seealso:
  - module: ipsec.manual.ipsec_keystore
  - module: ipsec.manual.ipseckeys_file
"""

EXAMPLES = r"""
---
- name: Write the current SAs of this host
  ipsec.manual.ipseckeys_file:
    content: "{{ lookup('ipsec.manual.ipsec_keystore', 'enigma-partym', directory='keystore',
    host=inventory_hostname) }}"
"""

RETURN = r"""
_raw:
  description:
    - One ipseckeys text for all connections named. It holds keys.
  type: list
  elements: str
"""

import typing as t

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import InputError
from ansible_collections.ipsec.manual.plugins.module_utils._core.text import language
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.directory import open_keystore
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.sas import everything, named
from ansible_collections.ipsec.manual.plugins.plugin_utils._lookup import Lookup

_PRETENDER = (
    "this host reports a fact named inventory_hostname, by which it would get the keys of another one. Find out why,"
    " since no module of Ansible or of this collection reports it, and empty the fact cache."
)


class LookupModule(Lookup):
    name = "ipsec_keystore"

    def found(self, terms: list[t.Any], variables: t.Mapping[str, t.Any]) -> list[str]:
        if "inventory_hostname" in variables.get("ansible_facts", {}):
            # It would override the real one when a playbook asks for the keys of this host.
            raise InputError(_PRETENDER)
        names = [name for term in terms for name in (term if isinstance(term, (list, tuple)) else [term])]
        store = open_keystore(self._loader, self.get_option("directory"))
        which, host = self.get_option("generation"), self.get_option("host") or ""
        return [language.render(named(store, names, which, host) if terms else everything(store, which, host))]
