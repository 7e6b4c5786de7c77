#!/usr/bin/python
# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ipsec_sa_info
short_description: Show the security associations of the kernel, without keys
description:
  - Reads the kernel's security association database (SADB), and returns each security association
    (SA) with its counters and what is left of its budget.
  - Shows fingerprints of keys, never a key.
author:
  - ipsec.manual contributors (!UNKNOWN)
extends_documentation_fragment:
  - ipsec.manual._attributes
  - ipsec.manual._attributes.info
  - ipsec.manual._backend
  - ipsec.manual._backend.secrets
  - ipsec.manual._backend.digest
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
      - Unlike in M(ipsec.manual.ipsec_sa), it is not an alias of O(source).
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
- name: Show all SAs
  ipsec.manual.ipsec_sa_info:
  register: sadb

- name: Fail if an SA will soon run out of sequence numbers
  ansible.builtin.assert:
    that: sadb.sas | map(attribute="budget.packets") | min > 400000000
    fail_msg: Rotate the keys.
  when: sadb.sas | length > 0

- name: Show the ESP SAs towards one host
  ipsec.manual.ipsec_sa_info:
    protocol: esp
    destination: 192.168.13.213
"""

RETURN = r"""
sas:
  description: The SAs.
  returned: success
  type: list
  elements: dict
  contains:
    protocol:
      description: Protocol.
      returned: always
      type: str
      sample: esp
    spi:
      description: SPI in hexadecimal.
      returned: always
      type: str
      sample: "0x8bcd1407"
    source:
      description: Address of the sender.
      returned: always
      type: str
      sample: "192.168.116.16"
    destination:
      description: Address of the receiver.
      returned: always
      type: str
      sample: "192.168.13.213"
    mode:
      description: Mode.
      returned: always
      type: str
      sample: transport
    encryption_algorithm:
      description: Cipher, empty for AH.
      returned: always
      type: str
      sample: aes-cbc
    encryption_bits:
      description: Size of the encryption key, its salt not counted.
      returned: always
      type: int
      sample: 256
    authentication_algorithm:
      description: Authentication algorithm, empty for none.
      returned: always
      type: str
      sample: "hmac-sha256"
    icv_bits:
      description: Length of the ICV.
      returned: always
      type: int
      sample: 128
    fingerprints:
      description: Fingerprints of the keys.
      returned: always
      type: dict
      contains:
        encryption:
          description: Fingerprint of the encryption key, empty if there is none, V(short-key) if it has
            fewer than 112 bits.
          returned: always
          type: str
          sample: "4a1bd3cc8a6e0f32"
        authentication:
          description: Fingerprint of the authentication key, empty if there is none.
          returned: always
          type: str
          sample: "09d5b1e27c66a8f1"
    replay_window:
      description: Anti-replay window in packets.
      returned: always
      type: int
      sample: 0
    esn:
      description: Whether sequence numbers are extended to 64 bits.
      returned: always
      type: bool
      sample: false
    reqid:
      description: Number that ties the SA to policies.
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
    direction:
      description: Direction that the SA is bound to, empty for none.
      returned: always
      type: str
      sample: ""
    output_mark:
      description: Mark and mask that the SA sets on its packets, empty for none.
      returned: always
      type: str
      sample: ""
    tfc_padding:
      description: Length in octets that packets are padded to, V(0) for no padding.
      returned: always
      type: int
      sample: 0
    nat_keepalive:
      description: Seconds between NAT keepalive packets, V(0) for none.
      returned: always
      type: int
      sample: 0
    lifetimes:
      description: Limits that are set.
      returned: always
      type: dict
      sample: {"hard_packets": 1000000000000}
    selector:
      description: Traffic that the SA may carry.
      returned: if the SA has a selector
      type: dict
      contains:
        source:
          description: Network of the senders in CIDR notation, empty for any.
          returned: always
          type: str
          sample: "10.1.0.0/16"
        destination:
          description: Network of the receivers in CIDR notation, empty for any.
          returned: always
          type: str
          sample: "10.2.0.0/16"
        protocol:
          description: Number of the upper protocol, V(0) for any.
          returned: always
          type: int
          sample: 0
        source_port:
          description: Port of the senders, V(0) for any.
          returned: always
          type: int
          sample: 0
        destination_port:
          description: Port of the receivers, V(0) for any.
          returned: always
          type: int
          sample: 0
    encapsulation:
      description: Encapsulation in UDP.
      returned: if the SA is encapsulated
      type: dict
      contains:
        type:
          description: Always V(udp).
          returned: always
          type: str
          sample: udp
        source_port:
          description: UDP port of the sender.
          returned: always
          type: int
          sample: 4500
        destination_port:
          description: UDP port of the receiver.
          returned: always
          type: int
          sample: 4500
        nat_local:
          description: Address of this end behind its NAT device, empty for none.
          returned: always
          type: str
          sample: ""
        nat_remote:
          description: Address of the other end behind its NAT device, empty for none.
          returned: always
          type: str
          sample: ""
    larval:
      description: Whether the SA is only a reservation of an SPI, without keys. See RFC 2367, section
        3.3.
      returned: always
      type: bool
      sample: false
    flags:
      description:
        - Properties that another program gave the SA and that this collection neither sets nor keeps,
          such as C(noecn) or C(pcpu=3).
        - An SA with such properties differs from every SA of a text, and cannot be backed up.
      returned: always
      type: list
      elements: str
      sample: []
    age:
      description: Seconds since the SA was added.
      returned: always
      type: int
      sample: 86400
    counters:
      description:
        - Counters of the SA.
        - With O(backend=solaris), only C(bytes), the times, and the sequence number of an SA that keeps
          one, are known.
      returned: always
      type: dict
      contains:
        bytes:
          description: Octets that the SA has carried.
          returned: always
          type: int
          sample: 840
        packets:
          description: Packets that the SA has carried.
          returned: always
          type: int
          sample: 10
        add_time:
          description: Time when it was added, in seconds since the epoch.
          returned: always
          type: int
          sample: 1795000000
        use_time:
          description: Time when it was first used, V(0) for never.
          returned: always
          type: int
          sample: 1795000060
        sequence_out:
          description: Sequence number of the last packet sent.
          returned: always
          type: int
          sample: 10
        sequence_in:
          description: Sequence number of the last packet received.
          returned: always
          type: int
          sample: 0
        late:
          description: Packets dropped because they arrived after the window had passed them.
          returned: always
          type: int
          sample: 0
        replayed:
          description: Packets dropped because they had been received before.
          returned: always
          type: int
          sample: 0
        integrity_failures:
          description: Packets dropped because their ICV was wrong.
          returned: always
          type: int
          sample: 0
    budget:
      description: What the SA may still carry until it ends or should be replaced.
      returned: always
      type: dict
      contains:
        packets:
          description: Packets until the sequence numbers (2^32, or 2^64 with ESN) or the hard limit of
            packets run out.
          returned: always
          type: int
          sample: 4294967285
        bytes:
          description: Bytes until the hard limit of bytes, or 2^32 blocks of a cipher with 64-bit blocks.
            V(null) if there is no such limit.
          returned: always
          type: int
          sample: null
digest:
  description:
    - For each pair of addresses, a fingerprint of all SAs between them.
    - Two hosts with the same fingerprint have the same SAs with the same keys.
    - Empty if the kernel hides keys.
  returned: success
  type: dict
  sample: {"192.168.116.16|192.168.13.213": "5f0c1d6c7e2b9a40"}
keys_hidden:
  description: Whether the kernel hides keys (lockdown), which makes fingerprints meaningless.
  returned: success
  type: bool
  sample: false
backend:
  description: How the kernel was reached.
  returned: success
  type: str
  sample: xfrm
"""

from ansible_collections.ipsec.manual.plugins.module_utils._core.specs import IPSEC_SA_INFO
from ansible_collections.ipsec.manual.plugins.module_utils._module.base import run
from ansible_collections.ipsec.manual.plugins.module_utils._module.sa_info import sa_info


def main() -> None:
    run(IPSEC_SA_INFO, sa_info)


if __name__ == "__main__":
    main()
