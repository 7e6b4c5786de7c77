#!/usr/bin/python
# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ipseckeys_file
short_description: Manage the protected file of security associations
description:
  - Checks an ipseckeys text and writes it in canonical form to a protected file, atomically, with
    mode 0600 and owner root.
  - The file may not be a symbolic link, nor readable by others, nor lie on a network file system,
    nor in a directory that others can write. Missing directories are created with mode 0700.
  - Does not touch the kernel. M(ipsec.manual.ipsec_sadb) loads the file.
author:
  - ipsec.manual contributors (!UNKNOWN)
extends_documentation_fragment:
  - ipsec.manual._attributes
  - ipsec.manual._attributes.changes
  - ipsec.manual._backend.counter_mode
  - ipsec.manual._backend.reserved_spi
  - ipsec.manual._backend.shared_key
  - ipsec.manual._backend.secrets
  - ipsec.manual._backend.digest
  - ipsec.manual._text
  - ipsec.manual._text.reading
options:
  state:
    description:
      - Whether the file should exist.
      - One of O(content) and O(src) is required for V(present).
    type: str
    choices: [absent, present]
    default: present
  path:
    description:
      - Path of the file on the target.
      - The default is the file that is loaded at boot. It must not hold SAs with counter mode
        ciphers, not even with O(allow_static_counter_mode).
    type: path
    default: /etc/inet/secret/ipseckeys
  others:
    description:
      - Further protected files that O(state=absent) removes in the same way.
    type: list
    elements: path
    default: []
  scope:
    description:
      - With V(all), the file holds exactly the SAs of the text.
      - With V(peers), the text replaces what the file holds between the addresses it names, and SAs
        between other addresses stay. Tasks for several peers may run at the same time and in any
        order, if the directory is closed to other users.
    type: str
    choices: [all, peers]
    default: all
  keep:
    description:
      - With O(scope=peers), whether the SAs that the file holds stay, so that the text only adds to them.
    type: bool
    default: false
  direction:
    description:
      - With O(scope=peers), restricts everything to SAs towards this host (V(inbound)) or away from
        it (V(outbound)). SAs of the text in the other direction are not written, and those of the
        file stay.
    type: str
    choices: [both, inbound, outbound]
    default: both
  leave:
    description:
      - With O(scope=peers), pairs of addresses, each as C(ADDRESS|ADDRESS), whose SAs in the file
        stay, and whose SAs in the text are not written.
    type: list
    elements: str
    default: []
  remove_src:
    description:
      - Path of another protected file on the target. With O(scope=peers), its SAs are removed from
        the file, including those between addresses that the text does not name. Their keys do not
        matter.
    type: path
  omit_counter_mode:
    description:
      - Whether to leave SAs with counter mode ciphers out of the file instead of writing or
        refusing them. This does not require O(allow_static_counter_mode).
      - With O(scope=peers), the SAs that the file held between their addresses are removed anyway.
    type: bool
    default: false
  target:
    description:
      - System that will read the file.
      - V(solaris) writes the keywords of its C(ipseckey), and refuses what they cannot express. The
        text itself may use other keywords.
    type: str
    choices: [linux, solaris]
    default: linux
  deadline:
    description:
      - Instant in seconds since the epoch, on the target's clock, after which the file is neither replaced nor removed.
      - Choose one before the task's C(timeout) ends. Then a module that hangs changes nothing after
        the controller has given up on the host.
      - Checked when the module starts, and right before the file changes, once the new one has
        reached the disk. If it has passed, the module fails and says how late it is.
    type: float
  policies_file:
    description:
      - Path of the file of policies that the host loads at boot, as M(ipsec.manual.ipsec_boot)
        writes it. If it exists, each SA of the text through which this host sends must be used by a
        policy in it. Otherwise nothing is written, since after a reboot the traffic of that SA
        would leave unencrypted.
      - If it does not exist, this option has no effect.
    type: path
requirements:
  - Python 3.8 or later on the target, nothing else.
seealso:
  - module: ipsec.manual.ipsec_sadb
  - module: ipsec.manual.ipsec_sa
  - plugin: ipsec.manual.ipseckeys_parse
    plugin_type: filter
  - plugin: ipsec.manual.ipseckeys_render
    plugin_type: filter
  - name: RFC 8221
    description: Cryptographic algorithm requirements for ESP and AH, and what it says about manual keying.
    link: https://www.rfc-editor.org/rfc/rfc8221
"""

EXAMPLES = r"""
---
- name: Write the SAs of a vault-encrypted file
  ipsec.manual.ipseckeys_file:
    content: "{{ lookup('ansible.builtin.file', inventory_hostname ~ '.ipseckeys') }}"

- name: Make the staged SAs permanent, and keep those of other peers
  ipsec.manual.ipseckeys_file:
    src: /etc/inet/secret/ipseckeys.next
    scope: peers

- name: Remove the staged file
  ipsec.manual.ipseckeys_file:
    path: /etc/inet/secret/ipseckeys.next
    state: absent
"""

RETURN = r"""
path:
  description: Path of the file.
  returned: success
  type: str
  sample: /etc/inet/secret/ipseckeys
mode:
  description: Mode of the file.
  returned: success and O(state=present)
  type: str
  sample: "0600"
owner:
  description: Owner of the file.
  returned: success and O(state=present)
  type: str
  sample: root
sas:
  description: Number of SAs in the file.
  returned: success
  type: int
  sample: 4
digest:
  description: For each pair of addresses, a fingerprint of all SAs of the file between them, as
    M(ipsec.manual.ipsec_sadb) shows it.
  returned: success
  type: dict
  sample: {"192.168.116.16|192.168.13.213": "5f0c1d6c7e2b9a40"}
"""

from ansible_collections.ipsec.manual.plugins.module_utils._core.specs import FILE_RULES, IPSECKEYS_FILE
from ansible_collections.ipsec.manual.plugins.module_utils._module.base import run
from ansible_collections.ipsec.manual.plugins.module_utils._module.file import apply_file


def main() -> None:
    run(IPSECKEYS_FILE, apply_file, **FILE_RULES)


if __name__ == "__main__":
    main()
