#!/usr/bin/python
# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ipsec_sa_info
short_description: Show the security associations of the kernel, without keys
description:
  - Reads the kernel's security association database (SADB), and says of each security association (SA) what it is, what it has done, and what is
    left of its budget.
  - Shows fingerprints of keys, never a key.
author:
  - ipsec.manual contributors (!UNKNOWN)
extends_documentation_fragment:
  - ipsec.manual._attributes
  - ipsec.manual._attributes.info
  - ipsec.manual._attributes.keyless
  - ipsec.manual._backend
  - ipsec.manual._text.reading
options:
  protocol:
    description:
      - Only SAs of this protocol.
    type: str
    choices: [ah, esp]
    aliases: [type]
  spi:
    description:
      - Only SAs with this SPI, written as in M(ipsec.manual.ipsec_sa). V(1) to V(255) are accepted too.
    type: str
  source:
    description:
      - Only SAs from this address.
    type: str
  destination:
    description:
      - Only SAs to this address.
    type: str
    aliases: [dst]
  src:
    description:
      - Path of a protected file on the target. Only SAs that it holds too, by protocol, destination, SPI, and mark.
      - Unlike in other modules it is no short form of O(source).
    type: path
seealso:
  - module: ipsec.manual.ipsec_sa
  - module: ipsec.manual.ipsec_sadb
  - plugin: ipsec.manual.ipsec_spi
    plugin_type: lookup
  - name: RFC 4303
    description: IP Encapsulating Security Payload (ESP).
    link: https://www.rfc-editor.org/rfc/rfc4303
"""

EXAMPLES = r"""
---
- name: Look at all SAs
  ipsec.manual.ipsec_sa_info:
  register: sadb

- name: Fail when an SA will soon fall silent
  ansible.builtin.assert:
    that: sadb.sas | map(attribute="budget.packets") | min > 400000000
    fail_msg: Rotate the keys.
  when: sadb.sas | length > 0

- name: ESP SAs towards one host
  ipsec.manual.ipsec_sa_info:
    protocol: esp
    destination: 192.168.13.213
"""

RETURN = r"""
sas:
  description:
    - The SAs.
  returned: success
  type: list
  elements: dict
  contains:
    protocol:
      description: Protocol.
      type: str
      returned: always
      sample: esp
    spi:
      description: SPI in hexadecimal.
      type: str
      returned: always
      sample: "0x8bcd1407"
    source:
      description: Address of the sender.
      type: str
      returned: always
      sample: 192.168.116.16
    destination:
      description: Address of the receiver.
      type: str
      returned: always
      sample: 192.168.13.213
    mode:
      description: Mode.
      type: str
      returned: always
      sample: transport
    encryption_algorithm:
      description: Cipher, empty for AH.
      type: str
      returned: always
      sample: aes-cbc
    encryption_bits:
      description: Size of the encryption key, its salt not counted.
      type: int
      returned: always
      sample: 256
    authentication_algorithm:
      description: Authentication algorithm, empty for none.
      type: str
      returned: always
      sample: hmac-sha256
    icv_bits:
      description: Length of the ICV.
      type: int
      returned: always
      sample: 128
    fingerprints:
      description: Fingerprints of the keys C(encryption) and C(authentication), empty where there is no key.
      type: dict
      returned: always
      sample: {"encryption": "4a1bd3cc8a6e0f32", "authentication": "09d5b1e27c66a8f1"}
    replay_window:
      description: Anti-replay window in packets.
      type: int
      returned: always
      sample: 0
    esn:
      description: Whether sequence numbers are extended.
      type: bool
      returned: always
      sample: false
    reqid:
      description: Number that ties the SA to policies.
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
    direction:
      description: Direction, empty where the SA is bound to none.
      type: str
      returned: always
      sample: ""
    lifetimes:
      description: Limits other than none.
      type: dict
      returned: always
      sample: {"hard_packets": 1000000000000}
    selector:
      description: The traffic the SA may carry.
      type: dict
      returned: if the SA has a selector
      sample: {"source": "10.1.0.0/16", "destination": "10.2.0.0/16", "protocol": 0, "source_port": 0, "destination_port": 0}
    encapsulation:
      description: Encapsulation in UDP.
      type: dict
      returned: if the SA is encapsulated
      sample: {"type": "udp", "source_port": 4500, "destination_port": 4500, "nat_local": "", "nat_remote": ""}
    larval:
      description: Whether it is only a reservation of an SPI, without keys. See RFC 2367, section 3.3.
      type: bool
      returned: always
      sample: false
    flags:
      description:
        - Words for what another program gave the SA and this collection neither sets nor keeps, such as C(noecn) or C(output-mark).
        - An SA that has any differs from every SA of a text, and no backup can hold it.
      type: list
      elements: str
      returned: always
      sample: []
    age:
      description: Seconds since the SA was added.
      type: int
      returned: always
      sample: 86400
    counters:
      description:
        - What the SA has done, as C(bytes), C(packets), C(add_time) and C(use_time) in seconds since the epoch, C(sequence_out) and C(sequence_in) of
          the last packet, and what was dropped as C(late), C(replayed), and C(integrity_failures).
        - With O(backend=solaris), only C(bytes), the times, and the sequence number of an SA that keeps one.
      type: dict
      returned: always
      sample:
        bytes: 840
        packets: 10
        add_time: 1795000000
        use_time: 1795000060
        sequence_out: 10
        sequence_in: 0
        late: 0
        replayed: 0
        integrity_failures: 0
    budget:
      description:
        - What is left before the SA ends or should end.
        - C(packets) until the sequence numbers (2^32, or 2^64 with ESN) or the hard limit of packets run out.
        - C(bytes) until the hard limit of bytes, or 2^32 blocks of a cipher with 64-bit blocks. V(null) where there is no such limit.
      type: dict
      returned: always
      sample: {"packets": 4294967285, "bytes": null}
digest:
  description:
    - For each two addresses one fingerprint over all SAs between them.
    - Two hosts that show the same one hold the same SAs with the same keys.
    - Empty where the kernel hides keys.
  returned: success
  type: dict
  sample: {"192.168.116.16|192.168.13.213": "5f0c1d6c7e2b9a40"}
keys_hidden:
  description:
    - Whether this kernel hides keys (lockdown). Then fingerprints say nothing.
  returned: success
  type: bool
  sample: false
backend:
  description:
    - How the kernel was reached.
  returned: success
  type: str
  sample: xfrm
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ipsec.manual.plugins.module_utils._arguments import IPSEC_SA_INFO
from ansible_collections.ipsec.manual.plugins.module_utils._glue import run
from ansible_collections.ipsec.manual.plugins.module_utils._glue_info import sa_info


def main() -> None:
    module = AnsibleModule(
        argument_spec=IPSEC_SA_INFO,
        supports_check_mode=True,
    )
    run(module, sa_info)


if __name__ == "__main__":
    main()
