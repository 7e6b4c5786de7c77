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
      - Other systems have policies of their own kind.
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
- name: Look at the policies for traffic that leaves
  ipsec.manual.ipsec_policy_info:
    direction: out
  register: spd

- name: No policy may let traffic pass unprotected
  ansible.builtin.assert:
    that: spd.policies | map(attribute="templates") | flatten | selectattr("level", "eq", "use") | length == 0
"""

RETURN = r"""
policies:
  description:
    - The policies, in the kernel's order.
  returned: success
  type: list
  elements: dict
  contains:
    direction:
      description: Direction.
      type: str
      returned: always
      sample: out
    selector:
      description: The traffic it is for, with networks in CIDR notation, V(0) for any protocol and port.
      type: dict
      returned: always
      sample: {"source": "192.168.116.16/32", "destination": "192.168.13.213/32", "protocol": 0, "source_port": 0, "destination_port": 0}
    action:
      description: What happens to the traffic, V(allow) or V(block).
      type: str
      returned: always
      sample: allow
    priority:
      description: The lowest number decides.
      type: int
      returned: always
      sample: 0
    mark:
      description: Mark and mask, empty for none.
      type: str
      returned: always
      sample: ""
    if_id:
      description: Identifier of the XFRM interface.
      type: int
      returned: always
      sample: 0
    templates:
      description: SAs that the traffic must go through, the innermost first. Empty addresses are those of the packet, an empty SPI is any.
      type: list
      elements: dict
      returned: always
      sample: [{"protocol": "esp", "mode": "transport", "source": "", "destination": "", "reqid": 0, "spi": "", "level": "required"}]
    index:
      description: The kernel's number for it.
      type: int
      returned: always
      sample: 17
    add_time:
      description: When it was added, in seconds since the epoch.
      type: int
      returned: always
      sample: 1795000000
    use_time:
      description: When it was last used, V(0) for never.
      type: int
      returned: always
      sample: 0
    complete:
      description: Whether this is all of it. V(false) where it also has what M(ipsec.manual.ipsec_policy) cannot say, such as a range of ports.
      type: bool
      returned: always
      sample: true
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ipsec.manual.plugins.module_utils._arguments import IPSEC_POLICY_INFO
from ansible_collections.ipsec.manual.plugins.module_utils._glue import run
from ansible_collections.ipsec.manual.plugins.module_utils._glue_policy import policy_info


def main() -> None:
    module = AnsibleModule(
        argument_spec=IPSEC_POLICY_INFO,
        supports_check_mode=True,
    )
    run(module, policy_info)


if __name__ == "__main__":
    main()
