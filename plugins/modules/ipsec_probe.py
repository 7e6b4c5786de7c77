#!/usr/bin/python
# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ipsec_probe
short_description: Send packets through security associations and read their counters
description:
  - Sends UDP datagrams to the discard port (9) of the peers in a protected file, from this host's
    addresses, so that the kernel's IPsec policies send them through the security associations (SAs)
    of the file. Reads the SAs' counters before and after.
  - Nothing answers, and nothing has to listen. An SA whose counter rose at both ends carries packets.
  - Changes no SA and no policy. Without an IPsec policy for them the datagrams leave unprotected;
    they hold nothing secret.
author:
  - ipsec.manual contributors (!UNKNOWN)
extends_documentation_fragment:
  - ipsec.manual._attributes
  - ipsec.manual._attributes.info
  - ipsec.manual._attributes.keyless
  - ipsec.manual._backend
  - ipsec.manual._text.reading
attributes:
  check_mode:
    support: full
    details:
      - Reads the counters and sends nothing.
options:
  src:
    description:
      - Path of the protected file on the target whose SAs are probed.
    type: path
    required: true
  count:
    description:
      - How many datagrams to send for each pair of addresses, V(0) to V(1000). With V(0), only the counters are read.
    type: int
    default: 1
seealso:
  - module: ipsec.manual.ipsec_sadb
  - module: ipsec.manual.ipsec_policy
  - name: RFC 863
    description: Discard protocol.
    link: https://www.rfc-editor.org/rfc/rfc863
"""

EXAMPLES = r"""
---
- name: Send three datagrams to every peer
  ipsec.manual.ipsec_probe:
    src: /etc/inet/secret/ipseckeys.next
    count: 3
  register: probe

- name: Check that they went through the SAs of the file
  ansible.builtin.assert:
    that: item.after is not none and item.after > item.before
    fail_msg: "{{ item.key }} carried nothing."
  loop: "{{ probe.sent }}"
"""

RETURN = r"""
sent:
  description: The outbound SAs of the file.
  returned: success
  type: list
  elements: dict
  contains: &carried
    key:
      description: Protocol, destination, and SPI of the SA.
      returned: always
      type: str
      sample: "esp|192.168.13.213|0x8bcd1407"
    before:
      description: Packets it had carried before, or octets with O(backend=solaris). V(null) if it was
        not in the SADB.
      returned: always
      type: int
      sample: 0
    after:
      description: Packets it had carried afterwards, or octets with O(backend=solaris). V(null) if it
        was not in the SADB.
      returned: always
      type: int
      sample: 3
received:
  description: The inbound SAs of the file, in the same form. Packets from peers may have arrived in
    the meantime, or may still arrive.
  returned: success
  type: list
  elements: dict
  contains: *carried
failures:
  description: Datagrams that could not be sent, and why.
  returned: success
  type: list
  elements: str
  sample: ["192.168.116.16 > 192.168.13.213: ENETUNREACH, Network is unreachable"]
backend:
  description: How the kernel was reached.
  returned: success
  type: str
  sample: xfrm
"""

from ansible_collections.ipsec.manual.plugins.module_utils._core.specs import IPSEC_PROBE
from ansible_collections.ipsec.manual.plugins.module_utils._module.base import run
from ansible_collections.ipsec.manual.plugins.module_utils._module.probe import probe


def main() -> None:
    run(IPSEC_PROBE, probe)


if __name__ == "__main__":
    main()
