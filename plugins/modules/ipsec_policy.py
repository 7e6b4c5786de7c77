#!/usr/bin/python
# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ipsec_policy
short_description: Manage IPsec policies, so that traffic goes through security associations
description:
  - Adds, replaces, or removes entries of the kernel's security policy database (SPD). Without one,
    security associations (SAs) carry nothing.
  - A policy is identified by O(direction), O(selector), O(mark), and O(if_id). Policies with
    another identity stay as they are.
  - Takes one policy in its options, or any number in O(policies), which are changed together or not at all.
author:
  - ipsec.manual contributors (!UNKNOWN)
extends_documentation_fragment:
  - ipsec.manual._attributes
  - ipsec.manual._attributes.changes
  - ipsec.manual._attributes.keyless
attributes:
  platform:
    platforms: Linux
    details:
      - Other systems have their own kind of policies.
  diff_mode:
    support: full
    details:
      - A policy holds no key.
options:
  state:
    description:
      - Whether the policies should exist.
      - For V(absent), only their identity matters.
    type: str
    choices: [absent, present]
    default: present
  direction:
    description:
      - V(out) for traffic that leaves, V(in) for traffic for this host, V(fwd) for traffic that this host forwards.
      - Required unless O(policies) is given.
    type: str
    choices: [in, out, fwd]
  selector: &selector
    description:
      - The traffic that the policy is for.
      - Required, with at least one of its networks, since a policy is for IPv4 or for IPv6. Any
        address is V(0.0.0.0/0) or V(::/0).
    type: dict
    suboptions:
      source:
        description:
          - Source network in CIDR notation. If missing, any of the family of O(selector.destination).
        type: str
      destination:
        description:
          - Destination network in CIDR notation. If missing, any of the family of O(selector.source).
        type: str
      protocol:
        description: Upper-layer protocol by number or name. If missing, any.
        type: str
      source_port:
        description: Source port, V(0) for any.
        type: int
        default: 0
      destination_port:
        description: Destination port, V(0) for any.
        type: int
        default: 0
  action: &action
    description:
      - V(allow) lets the traffic pass, through the SAs that O(templates) name. V(block) drops it.
    type: str
    choices: [allow, block]
    default: allow
  priority: &priority
    description:
      - The policy with the lowest number decides.
    type: int
    default: 0
  mark: &mark
    description:
      - Packet mark, as V(VALUE) or V(VALUE/MASK), each decimal or with V(0x).
    type: str
  if_id: &if_id
    description:
      - Identifier of the XFRM interface, V(0) for none.
    type: int
    default: 0
  templates: &templates
    description:
      - SAs that the traffic must go through, the innermost first. ESP comes before AH where both protect a packet.
      - If empty, what O(action=allow) lets pass goes unprotected.
    type: list
    elements: dict
    default: []
    suboptions:
      protocol:
        description: Protocol of the SA.
        type: str
        choices: [ah, esp]
        default: esp
      mode:
        description: Mode of the SA.
        type: str
        choices: [transport, tunnel]
        default: transport
      source:
        description: Address of the tunnel's near end. Omit it in transport mode, where it is that of the packet.
        type: str
      destination:
        description: Address of the tunnel's far end. Required in tunnel mode.
        type: str
      reqid:
        description:
          - The SA must carry this O(ipsec.manual.ipsec_sa#module:reqid).
          - For traffic that leaves, V(0) means an SA with reqid V(0). For traffic that arrives, V(0) means any SA.
        type: int
        default: 0
      spi:
        description: The SA must have this SPI. If missing, the newest SA is used, so that a new one
          takes over as soon as it is installed.
        type: str
      level:
        description:
          - V(required) drops the traffic while there is no such SA. V(use) lets it pass
            without, which is rarely wanted and causes a warning unless another template with the
            same protocol is V(required).
        type: str
        choices: [required, use]
        default: required
  deadline:
    description:
      - Instant in seconds since the epoch, on the target's clock, after which the module changes nothing.
      - Choose one before the task's C(timeout) ends. Then a module that hangs changes nothing after
        the controller has given up on the host.
    type: float
  policies:
    description:
      - Policies, each with the options above.
      - Mutually exclusive with all of them.
    type: list
    elements: dict
    suboptions:
      direction:
        description:
          - V(out) for traffic that leaves, V(in) for traffic for this host, V(fwd) for traffic that this host forwards.
        type: str
        choices: [in, out, fwd]
        required: true
      selector: *selector
      action: *action
      priority: *priority
      mark: *mark
      if_id: *if_id
      templates: *templates
requirements:
  - Python 3.8 or later on the target, nothing else.
  - A Linux kernel with XFRM (module C(xfrm_user)) and the capability CAP_NET_ADMIN.
seealso:
  - module: ipsec.manual.ipsec_policy_info
  - module: ipsec.manual.ipsec_sa
  - plugin: ipsec.manual.ipsec_policies
    plugin_type: filter
  - name: RFC 4301, section 4.4.1
    description: The security policy database.
    link: https://www.rfc-editor.org/rfc/rfc4301#section-4.4.1
"""

EXAMPLES = r"""
---
- name: Protect everything that enigma sends to partym with ESP
  ipsec.manual.ipsec_policy:
    direction: out
    selector:
      source: 192.168.116.16/32
      destination: 192.168.13.213/32
    templates:
      - protocol: esp

- name: Use ESP and AH in both directions
  ipsec.manual.ipsec_policy:
    policies:
      - direction: out
        selector: {source: 192.168.116.16/32, destination: 192.168.13.213/32}
        templates: [{protocol: esp}, {protocol: ah}]
      - direction: in
        selector: {source: 192.168.13.213/32, destination: 192.168.116.16/32}
        templates: [{protocol: esp}, {protocol: ah}]

- name: A tunnel between two gateways
  ipsec.manual.ipsec_policy:
    direction: out
    selector:
      source: 10.1.0.0/16
      destination: 10.2.0.0/16
    templates:
      - mode: tunnel
        source: 192.0.2.1
        destination: 198.51.100.1
        reqid: 7

- name: Drop telnet, over IPv4 and over IPv6
  ipsec.manual.ipsec_policy:
    policies:
      - direction: out
        selector: {destination: 0.0.0.0/0, protocol: tcp, destination_port: 23}
        action: block
        priority: 10
      - direction: out
        selector: {destination: "::/0", protocol: tcp, destination_port: 23}
        action: block
        priority: 10
"""

RETURN = r"""
operations:
  description: Operations that were carried out, in order. In check mode, those that would be.
  returned: success
  type: list
  elements: str
  sample: ["add policy out 192.168.116.16/32 > 192.168.13.213/32"]
added:
  description: The policies that were missing, each as direction, source, and destination.
  returned: success
  type: list
  elements: str
  sample: ["out 192.168.116.16/32 > 192.168.13.213/32"]
replaced:
  description: The policies that are replaced by ones with the same identity, as they were.
  returned: success
  type: list
  elements: dict
  contains:
    policy:
      description: The policy, as direction, source, and destination.
      returned: success
      type: str
      sample: out 192.168.116.16/32 > 192.168.13.213/32
    reqids:
      description: The reqid of each of its templates.
      returned: success
      type: list
      elements: int
      sample: [77]
overtaken:
  description:
    - The policies that are replaced by ones with a larger number as their priority, so that another policy, for
      some of the same traffic, may come first from then on.
  returned: success
  type: list
  elements: dict
  contains:
    policy:
      description: The policy, as direction, source, and destination.
      returned: success
      type: str
      sample: out 192.168.116.16/32 > 192.168.13.213/32
    priority:
      description: Its priority before the change.
      returned: success
      type: int
      sample: 0
    other:
      description: The first of the policies that may come before it.
      returned: success
      type: str
      sample: out 192.168.116.0/24 > 192.168.13.0/24
    other_priority:
      description: The priority of that policy.
      returned: success
      type: int
      sample: 100
"""

from ansible_collections.ipsec.manual.plugins.module_utils._core.specs import IPSEC_POLICY, POLICY_RULES
from ansible_collections.ipsec.manual.plugins.module_utils._module.base import run
from ansible_collections.ipsec.manual.plugins.module_utils._module.policy import apply_policies


def main() -> None:
    run(IPSEC_POLICY, apply_policies, **POLICY_RULES)


if __name__ == "__main__":
    main()
