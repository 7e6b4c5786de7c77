#!/usr/bin/python
# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ipsec_fleet
short_description: Run one step of the playbook status
description:
  - The playbook C(ipsec.manual.status) is made of these steps, in their order. It is not meant for playbooks of your
    own, and its steps may change with every release. Use the playbook, or M(ipsec.manual.ipsec_status) for one host.
  - The connections are those of the variable C(rotate_connections), or else C(ipsec_connections), the keystore is
    C(rotate_keystore), and keys are due by C(rotate_due). Facts are ignored.
  - Asks each host that is an endpoint of a connection once, and changes nothing.
author:
  - ipsec.manual contributors (!UNKNOWN)
extends_documentation_fragment:
  - ipsec.manual._attributes
  - ipsec.manual._attributes.info
attributes:
  platform:
    details:
      - The controller, on any POSIX system, and whatever M(ipsec.manual.ipsec_status) supports on the hosts.
options:
  step:
    description:
      - V(begin) and V(report) run once, on the controller alone, and need C(run_once). V(ask) asks every host.
    type: str
    required: true
    choices:
      - begin
      - ask
      - report
seealso:
  - module: ipsec.manual.ipsec_status
  - module: ipsec.manual.ipsec_keystore_info
  - name: RFC 4107
    description: When automated key management is needed, and when manual keys are enough.
    link: https://www.rfc-editor.org/rfc/rfc4107
"""

EXAMPLES = r"""
---
- name: Show the status of the fleet
  ansible.builtin.import_playbook: ipsec.manual.status
"""

RETURN = r"""
connections:
  description:
    - With V(begin) the names of the connections. With V(report) a dictionary for each, with the columns of the table
      (C(connection), C(hosts), C(generation), C(age), C(due), C(agreement), C(policies), C(boot)) as text, and the
      hosts that did not answer as C(absent).
  returned: with V(begin) and V(report)
  type: list
  elements: raw
  sample:
    - connection: enigma-partym
      hosts: 2/2
      absent: []
      generation: "8"
      age: 12 d
      due: "no"
      agreement: "yes"
      policies: "yes"
      boot: 2/2
problems:
  description: What is wrong, due, or cannot be seen, a sentence each.
  returned: with V(report)
  type: list
  elements: str
  sample: []
lines:
  description: The table and the first of the sentences, as lines for people.
  returned: with V(report)
  type: list
  elements: str
  sample: []
"""
