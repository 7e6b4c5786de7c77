#!/usr/bin/python
# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ipsec_keystore
short_description: Keep the keys of IPsec connections in generations, vault-encrypted on the controller
description:
  - Makes, promotes, and discards generations. A generation is all security associations (SAs) of one connection that were made together, with new
    keys and new SPIs.
  - Keeps one file for each connection, encrypted with Ansible Vault, that holds the current, the next, and the previous generation, and fingerprints of all
    keys that were ever used. A key that was retired is never used again.
  - Runs on the controller and touches no host. Keys are encrypted and decrypted in memory. Files are replaced atomically, with mode 0600.
author:
  - ipsec.manual contributors (!UNKNOWN)
extends_documentation_fragment:
  - ipsec.manual._attributes
attributes:
  check_mode:
    support: full
    details:
      - A generation that would be made is shown with random numbers of its own; the real run draws others.
  diff_mode:
    support: full
    details:
      - Shows fingerprints in place of keys.
  idempotent:
    support: partial
    details:
      - With O(new_keys=true), O(state=prepared) makes a generation again after each O(state=promoted).
  platform:
    details:
      - The controller, on any POSIX system.
options:
  state:
    description:
      - With V(prepared), every connection has the generation that its hosts should use. A next generation that a broken run left is taken up again, if
        it was made for the same settings. Otherwise one is made if there is no current one, if the current one was made for other settings,
        or if O(new_keys=true).
      - With V(switching), the next generation is marked as one that hosts may use from now on.
      - With V(promoted), the next generation becomes the current one, and the current one the previous one.
      - With V(discarded), the next generation is given up, and its keys are retired.
    type: str
    choices: [prepared, switching, promoted, discarded]
    default: prepared
  directory:
    description:
      - Directory on the controller that holds the keystore, relative to the playbook, or beginning with C(~). It is made with mode 0700 if it does not
        exist, with a C(.gitignore) for its lock.
      - One run at a time uses it. A run owns it from V(prepared) to V(promoted) or V(discarded), or until its process has ended.
    type: path
    required: true
  connections:
    description:
      - All connections, also those that this run is not about, since no two may join the same addresses.
      - The documentation of P(ipsec.manual.rotate#role) describes their fields.
    type: list
    elements: dict
    required: true
  only:
    description:
      - Names of the connections to work on. If empty, those that have an endpoint among the hosts of the play.
    type: list
    elements: str
    default: []
  new_keys:
    description:
      - Whether O(state=prepared) makes a new generation for connections that have a current one.
    type: bool
    default: false
  check_run:
    description:
      - Whether to refuse unless all endpoints of the connections take part in the play together, in step, over transports that hide what they carry.
    type: bool
    default: false
  trusted_transports:
    description:
      - Connection plugins, beside those that are known to, over which O(check_run) lets keys travel.
    type: list
    elements: str
    default: []
  taken_spis:
    description:
      - SPIs that hosts have in use, not to be drawn for new SAs. M(ipsec.manual.ipsec_preflight) reports them.
    type: list
    elements: str
    default: []
  allow_static_counter_mode:
    description:
      - Whether to accept AES-GCM, AES-CCM, AES-GMAC, AES-CTR, and ChaCha20-Poly1305.
      - With static keys these repeat nonces as soon as a key is loaded a second time, which breaks them. See RFC 8221, section 3.
    type: bool
    default: false
  force:
    description:
      - Whether O(state=discarded) gives up a generation that hosts may already use.
    type: bool
    default: false
  vault_id:
    description:
      - Vault identity that encrypts. If empty, a file keeps its own, and a new file takes the one that C(ansible-vault) would.
    type: str
    default: ""
seealso:
  - plugin: ipsec.manual.ipsec_keystore
    plugin_type: lookup
"""

EXAMPLES = r"""
---
- name: Prepare new keys for every connection of these hosts
  ipsec.manual.ipsec_keystore:
    directory: keystore
    connections: "{{ ipsec_connections }}"
    new_keys: true
  run_once: true

- name: Make them the current ones
  ipsec.manual.ipsec_keystore:
    state: promoted
    directory: keystore
    connections: "{{ ipsec_connections }}"
  run_once: true
"""

RETURN = r"""
connections:
  description:
    - For each connection its C(name), C(outcome) (V(made), V(resumed), V(kept), or the state asked for), C(phase), the C(generation) that its hosts should
      use with the time it was C(created), the number of C(sas), C(endpoints), whether it has a C(counter_mode) cipher, and whether it has C(anti_replay).
  returned: success
  type: list
  elements: dict
  sample:
    - name: enigma-partym
      outcome: made
      phase: prepared
      generation: 8
      created: "2026-11-21T21:00:00Z"
      sas: 4
      endpoints: {"enigma": "192.168.116.16", "partym": "192.168.13.213"}
      counter_mode: false
      anti_replay: false
hosts:
  description:
    - For each host the names of its C(connections), those of them whose current SAs the next ones do not take the place of (C(left_behind)), since
      addresses, reqid, mark, or if_id changed, its C(addresses), and the kinds of SAs (C(associations)) that its kernel must carry.
  returned: success
  type: dict
  sample: {"enigma": {"connections": ["enigma-partym"], "left_behind": [], "addresses": ["192.168.116.16"], "associations": [{"protocol": "esp"}]}}
pending:
  description:
    - Whether a connection has a next generation.
  returned: success
  type: bool
  sample: true
digest:
  description:
    - For each two addresses one fingerprint over the SAs that the hosts should hold between them, as M(ipsec.manual.ipsec_sadb) shows it.
  returned: success
  type: dict
  sample: {"192.168.116.16|192.168.13.213": "5f0c1d6c7e2b9a40"}
held:
  description:
    - The same for each two addresses and owner, as M(ipsec.manual.ipsec_preflight) shows it.
  returned: success
  type: dict
  sample: {"192.168.116.16|192.168.13.213#0,,0": "5f0c1d6c7e2b9a40"}
stored:
  description:
    - The same without the connections that use a counter mode, whose SAs are in no file that is loaded at boot.
  returned: success
  type: dict
  sample: {"192.168.116.16|192.168.13.213": "5f0c1d6c7e2b9a40"}
"""
