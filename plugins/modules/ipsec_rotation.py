#!/usr/bin/python
# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ipsec_rotation
short_description: Run one step of the role rotate
description:
  - The role P(ipsec.manual.rotate#role) is made of these steps, in their order. It is not meant for
    playbooks of your own, and its steps may change with every release. Use the role.
  - The first step reads all inputs of the run, the variables of the role and the inventory's
    addresses, into a record on the controller. Facts are ignored, whether hosts report them in this
    run or they come from a fact cache, and a fact with the name of an input is refused. All later
    steps take inputs from that record, so nothing that a host reports can change them.
  - Answers of hosts are checked against the fields that the modules declare, and kept in the same
    record. The record lies in Ansible's temporary directory on the controller, with mode 0700, and
    is removed when the role ends. It holds no keys of SAs.
author:
  - ipsec.manual contributors (!UNKNOWN)
extends_documentation_fragment:
  - ipsec.manual._attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
  platform:
    details:
      - The controller, on any POSIX system, and whatever the modules that it runs on the hosts
        support.
options:
  step:
    description:
      - V(prepare), V(switch), V(judge), V(settle), V(promote), V(left), and V(end) run once, on the controller
        alone, and need C(run_once).
      - V(stop) and V(forecast) run for every host, on the controller alone.
      - V(service) is the one step of the role P(ipsec.manual.boot#role).
      - The others ask every host. Of the hosts of V(preflight), the first one begins the run for all.
    type: str
    required: true
    choices:
      - prepare
      - switch
      - judge
      - stop
      - settle
      - promote
      - forecast
      - left
      - end
      - preflight
      - stage
      - cut_over
      - send
      - arrivals
      - go_back
      - forget
      - accept
      - unnest
      - persist
      - leave
      - service
seealso:
  - module: ipsec.manual.ipsec_keystore
  - name: RFC 4301
    description: Security Architecture for the Internet Protocol.
    link: https://www.rfc-editor.org/rfc/rfc4301
"""

EXAMPLES = r"""
---
- name: Give the connections new keys
  ansible.builtin.include_role:
    name: ipsec.manual.rotate
  vars:
    rotate_new_keys: true
"""

RETURN = r"""
answers:
  description: What the host answered to each question of the step, by the question's name. Without keys.
  returned: when the step asks hosts
  type: dict
  sample:
    sadb:
      changed: true
      counts:
        added: 2
        deleted: 2
        foreign: 0
        replaced: 0
        unchanged: 0
connections:
  description: What M(ipsec.manual.ipsec_keystore) returns about each connection of the run.
  returned: with V(prepare)
  type: list
  elements: raw
approved:
  description: Whether hosts keep the new SAs.
  returned: with V(judge)
  type: bool
keystore:
  description: The keystore, which is on the controller. Its changes count as changes of the host of the task only if
    that host changes in this run, too, and not with C(--check), where each host that would change counts once.
  returned: with V(prepare), V(switch), V(judge), V(promote) and V(left), unless they fail
  type: dict
  contains:
    changed:
      description: Whether the step changed the keystore, or with C(--check) would have.
      type: bool
tasks:
  description: The files of the role with the tasks that the run needs. Empty if no host must change.
  returned: with V(prepare)
  type: list
  elements: str
  sample: [transaction.yml]
changes:
  description: Which connections the run is about to change, or with C(--check) would, and on how many hosts.
  returned: with V(prepare)
  type: str
  sample: enigma-partym, on 2 hosts
reasons:
  description: What is due for new keys, and why. Empty if the run does not ask what is due.
  returned: with V(prepare)
  type: list
  elements: str
  sample: ["connection enigma-partym gets new keys: 91 days old"]
out_of_place:
  description: Hosts that do not hold what they should, each with the place.
  returned: with V(prepare)
  type: list
  elements: str
  sample: ["enigma: the SADB"]
report:
  description:
    - Lines in the width of a screen. With V(end), the table of the run; with V(forecast), what a run
      would change on the host; of a failure, the reasons.
  returned: with V(end) and V(forecast), and on failure
  type: list
  elements: str
  sample:
    - "1 connection: 1 rotated."
    - "connection     hosts           generation  strategy, gap    packets"
    - "enigma-partym  enigma, partym  7 -> 8      overlap, no gap  12 of 12"
msg:
  description: The heading of a failure. RV(report) has the reasons.
  returned: failure
  type: str
  sample: "The rotation stopped at: preflight."
"""
