#!/usr/bin/python
# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ipsec_batch
short_description: Run several modules of the collection on a host in one go
description:
  - The role P(ipsec.manual.rotate#role) asks each host all the questions of a step at once, since most
    of the time of a task passes before its module begins. It is not meant for playbooks of your own,
    which can call the modules one by one.
  - Each module checks its options, writes its line to the host's log, and answers as it does in a
    task of its own. If one fails, those after it are not run, and the task fails.
author:
  - ipsec.manual contributors (!UNKNOWN)
extends_documentation_fragment:
  - ipsec.manual._attributes
  - ipsec.manual._attributes.changes
options:
  calls:
    description:
      - A list in JSON of dictionaries with C(module), C(options), and C(check) for a module that runs in
        check mode although the task does not.
      - Modules are M(ipsec.manual.ipsec_boot), M(ipsec.manual.ipsec_policy),
        M(ipsec.manual.ipsec_preflight), M(ipsec.manual.ipsec_probe), M(ipsec.manual.ipsec_sadb), and
        M(ipsec.manual.ipseckeys_file).
      - Options may hold keys, so the list is kept out of logs and results.
    type: str
    required: true
requirements:
  - Python 3.8 or later on the target, nothing else.
seealso:
  - module: ipsec.manual.ipsec_sadb
  - module: ipsec.manual.ipseckeys_file
  - name: RFC 4301
    description: Security Architecture for the Internet Protocol.
    link: https://www.rfc-editor.org/rfc/rfc4301
"""

EXAMPLES = r"""
---
- name: Check policies and the service at boot with one start of Python
  ipsec.manual.ipsec_batch:
    calls: >-
      {{ [{'module': 'ipsec_policy', 'options': {'policies': ipsec_connections |
      ipsec.manual.ipsec_policies(inventory_hostname)}, 'check': true},
      {'module': 'ipsec_boot', 'options': {'state': 'query'}}] | ansible.builtin.to_json }}
"""

RETURN = r"""
answers:
  description: What each module returned, in the order of the calls, up to the first that failed. No
    keys.
  returned: if the host answered
  type: list
  elements: dict
  sample: [{"changed": false, "operations": []}]
"""

from ansible_collections.ipsec.manual.plugins.module_utils._core.specs import IPSEC_BATCH
from ansible_collections.ipsec.manual.plugins.module_utils._module.base import run
from ansible_collections.ipsec.manual.plugins.module_utils._module.batch import apply_batch


def main() -> None:
    run(IPSEC_BATCH, apply_batch)


if __name__ == "__main__":
    main()
