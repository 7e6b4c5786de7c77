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
      - V(ask) asks every host. Before it asks the first one, it checks the settings.
      - V(report) shows the table. It runs once, on the controller, and needs C(run_once).
    type: str
    required: true
    choices:
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
report:
  description: The table, and the first sentences about what is wrong, due, or cannot be seen, as lines for people; of a
    failure, the reasons.
  returned: with V(report)
  type: list
  elements: str
  sample: []
msg:
  description: The heading of a failure.
  returned: failure
  type: str
"""
