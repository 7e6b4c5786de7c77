#!/usr/bin/python
# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ipsec_policy_info
short_description: Show the IPsec policies of the kernel
description:
  - Reads the kernel's security policy database (SPD). Policies of single sockets are not shown.
author:
  - ipsec.manual contributors (!UNKNOWN)
extends_documentation_fragment:
  - ipsec.manual._attributes
  - ipsec.manual._attributes.info
  - ipsec.manual._attributes.keyless
attributes:
  platform:
    platforms: Linux
    details:
      - Other systems have their own kind of policies.
options:
  direction:
    description:
      - Only policies of this direction.
    type: str
    choices: [in, out, fwd]
requirements:
  - Python 3.8 or later on the target, nothing else.
  - A Linux kernel with XFRM (module C(xfrm_user)) and the capability CAP_NET_ADMIN.
seealso:
  - module: ipsec.manual.ipsec_policy
  - module: ipsec.manual.ipsec_sa_info
  - name: RFC 4301
    description: Security Architecture for the Internet Protocol.
    link: https://www.rfc-editor.org/rfc/rfc4301
"""

EXAMPLES = r"""
---
- name: Show the policies for outbound traffic
  ipsec.manual.ipsec_policy_info:
    direction: out
  register: spd

- name: Fail if a policy lets traffic pass unprotected
  ansible.builtin.assert:
    that: spd.policies | map(attribute="templates") | flatten | selectattr("level", "eq", "use") | length == 0
"""

RETURN = r"""
policies:
  description: The policies, in the kernel's order.
  returned: success
  type: list
  elements: dict
  contains:
    direction:
      description: Direction.
      returned: always
      type: str
      sample: out
    selector:
      description: Traffic that the policy applies to. RV(ipsec.manual.ipsec_sa_info#module:sas[].selector)
        describes its fields.
      returned: always
      type: dict
      sample:
        source: "10.1.0.0/16"
        destination: "10.2.0.0/16"
        protocol: 0
        source_port: 0
        destination_port: 0
    action:
      description: What happens to the traffic, V(allow) or V(block).
      returned: always
      type: str
      sample: allow
    priority:
      description: Priority. Of the policies that match a packet, the one with the lowest number
        applies.
      returned: always
      type: int
      sample: 0
    mark:
      description: Mark and mask, empty for none.
      returned: always
      type: str
      sample: ""
    if_id:
      description: Identifier of the XFRM interface.
      returned: always
      type: int
      sample: 0
    templates:
      description: SAs that the traffic must go through, the innermost first.
      returned: always
      type: list
      elements: dict
      contains:
        protocol:
          description: Protocol.
          returned: always
          type: str
          sample: esp
        mode:
          description: Mode.
          returned: always
          type: str
          sample: transport
        source:
          description: Address of the sender, empty for that of the packet.
          returned: always
          type: str
          sample: ""
        destination:
          description: Address of the receiver, empty for that of the packet.
          returned: always
          type: str
          sample: ""
        reqid:
          description: Reqid of the SAs that the template asks for, V(0) for any.
          returned: always
          type: int
          sample: 0
        spi:
          description: SPI in hexadecimal, empty for any.
          returned: always
          type: str
          sample: ""
        level:
          description: V(required) if traffic must use such an SA, V(use) if it may also pass without one.
          returned: always
          type: str
          sample: required
    index:
      description: Number that the kernel gave the policy.
      returned: always
      type: int
      sample: 17
    add_time:
      description: Time when it was added, in seconds since the epoch.
      returned: always
      type: int
      sample: 1795000000
    use_time:
      description: Time when it was last used, V(0) for never.
      returned: always
      type: int
      sample: 0
    complete:
      description: Whether this describes the whole policy. V(false) if it also has properties that
        M(ipsec.manual.ipsec_policy) cannot express, such as a port range.
      returned: always
      type: bool
      sample: true
    flags:
      description: Properties that another program gave the policy and that M(ipsec.manual.ipsec_policy)
        cannot set, named as C(ip xfrm) names them, if it does. Limits are followed by their value in
        seconds, bytes, or packets.
      returned: always
      type: list
      elements: str
      sample: ["localok", "hard_addtime 3600", "templates[0] encryption-algorithms"]
"""

from ansible_collections.ipsec.manual.plugins.module_utils._core.specs import IPSEC_POLICY_INFO
from ansible_collections.ipsec.manual.plugins.module_utils._module.base import run
from ansible_collections.ipsec.manual.plugins.module_utils._module.policy import policy_info


def main() -> None:
    run(IPSEC_POLICY_INFO, policy_info)


if __name__ == "__main__":
    main()
