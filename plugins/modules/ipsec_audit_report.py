#!/usr/bin/python
# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ipsec_audit_report
short_description: Run one step of the role audit
description:
  - The role P(ipsec.manual.audit#role) is made of these steps, in their order. It is not meant for
    playbooks of your own, and its steps may change with every release. Use the role.
  - Answers of hosts are checked against the fields that M(ipsec.manual.ipsec_audit) declares, and
    kept in a record on the controller until the role ends. They are evidence. No input of the run
    comes from them, and facts are ignored.
author:
  - ipsec.manual contributors (!UNKNOWN)
extends_documentation_fragment:
  - ipsec.manual._attributes
attributes:
  check_mode:
    support: full
    details:
      - Writes no report.
  diff_mode:
    support: N/A
    details:
      - Changes nothing on hosts. The report on the controller does not count as a change.
  idempotent:
    support: full
  platform:
    details:
      - The controller, on any POSIX system, and whatever M(ipsec.manual.ipsec_audit) supports.
options:
  step:
    description:
      - V(ask) asks every host. Before it asks the first one, it checks the inputs.
      - V(report) makes the report, and fails if a finding is at least as severe as C(audit_fail_on). It runs once, on
        the controller, and needs C(run_once).
    type: str
    required: true
    choices:
      - ask
      - report
seealso:
  - module: ipsec.manual.ipsec_audit
  - module: ipsec.manual.ipsec_keystore_info
  - name: RFC 4301
    description: Security Architecture for the Internet Protocol.
    link: https://www.rfc-editor.org/rfc/rfc4301
"""

EXAMPLES = r"""
---
- name: Audit the fleet
  ansible.builtin.include_role:
    name: ipsec.manual.audit
"""

RETURN = r"""
answered:
  description: Whether the host gave an answer that was accepted.
  returned: with V(ask)
  type: bool
report:
  description: The report for a terminal, line by line; if the inputs were refused, the reasons.
  returned: with V(report)
  type: list
  elements: str
msg:
  description: The heading of a failure.
  returned: failure
  type: str
"""
