#!/usr/bin/python
# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ipsec_keystore_info
short_description: Show the age, generation, and phase of the keys in the keystore
description:
  - Returns facts about every pair of hosts and every multicast group that has keys in the keystore,
    for an audit. Returns no key.
  - Runs on the controller, touches no host, changes nothing, and waits for no other run.
author:
  - ipsec.manual contributors (!UNKNOWN)
extends_documentation_fragment:
  - ipsec.manual._attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: N/A
  idempotent:
    support: full
  platform:
    details:
      - The controller, on any POSIX system.
options:
  directory:
    description:
      - The keystore's directory on the controller, as in O(ipsec.manual.ipsec_keystore#module:directory).
    type: path
    required: true
seealso:
  - module: ipsec.manual.ipsec_keystore
  - module: ipsec.manual.ipsec_sa_info
  - name: RFC 4107
    description: When automated key management is needed, and when manual keys are enough.
    link: https://www.rfc-editor.org/rfc/rfc4107
"""

EXAMPLES = r"""
---
- name: Read the keystore
  ipsec.manual.ipsec_keystore_info:
    directory: keystore
  run_once: true
  register: keystore

- name: Fail if keys are older than 90 days
  ansible.builtin.assert:
    that: keystore.connections | selectattr('age', 'gt', 90 * 24 * 3600) | length == 0
  run_once: true
"""

RETURN = r"""
connections:
  description:
    - For each pair of hosts, and for each multicast group, its C(name), its C(connection), its
      C(hosts), the C(phase) of its rotation with the time it began
      (C(since)) and who began it (C(by), user and controller), the C(generation) that hosts should
      use with the time it was C(created), C(created_by) whom, its C(age) in seconds, the time it
      was C(promoted) and C(promoted_by) whom, whether its keys are random or derived (C(store)) and
      from which C(root) secret (a fingerprint), the numbers of the C(current), C(next), and
      C(previous) generation (V(0) for none), and all that were C(retired), with the number of their
      fingerprints, which may be those of several pairs that were retired together.
    - The name is that of the connection if it has only one pair, otherwise, and for a pair that left,
      V(CONNECTION/HOST,HOST).
      A connection that has no keys left is one row without hosts.
    - If a pair no longer belongs to its connection, C(left) is the time at which a run found
      that out. Otherwise it is empty.
    - The phase is V(steady), V(prepared), V(switching), or V(retiring).
  returned: success
  type: list
  elements: dict
  sample:
    - name: enigma-partym
      connection: enigma-partym
      hosts: [enigma, partym]
      left: ""
      phase: steady
      since: "2026-11-21T21:04:00Z"
      by: root@controller
      generation: 8
      created: "2026-11-21T21:00:00Z"
      created_by: root@controller
      promoted: "2026-11-21T21:04:00Z"
      promoted_by: root@controller
      age: 86400
      store: random
      root: ""
      current: 8
      next: 0
      previous: 7
      retired: []
roots:
  description:
    - The root secrets, the newest last, each with its C(fingerprint), the time it was C(created),
      and C(created_by) whom.
  returned: success
  type: list
  elements: dict
  sample: []
msg:
  description: The heading of a failure. RV(report) has the reasons.
  returned: failure
  type: str
  sample: This step was refused.
report:
  description: The reasons of a failure, in lines of the width of a screen.
  returned: failure
  type: list
  elements: str
  sample: ["keystore/enigma-partym.yml: the keystore file is not encrypted."]
"""
