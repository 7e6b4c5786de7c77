#!/usr/bin/python
# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ipsec_sa
short_description: Manage one IPsec security association
description:
  - Adds, replaces, or removes one security association (SA) in the kernel's security association database (SADB).
  - An SA is identified by O(protocol), O(destination), O(spi), and O(mark) if given, as in RFC
    2401, section 4.1, and in Linux. Its source is not part of its identity.
  - An SA that has this identity but differs in anything else, including its keys, is replaced in
    one step, since kernels cannot change the key of an existing SA.
  - Every other SA stays as it is. A key that another SA in the kernel already has is refused,
    unless O(allow_shared_key=true).
author:
  - ipsec.manual contributors (!UNKNOWN)
extends_documentation_fragment:
  - ipsec.manual._attributes
  - ipsec.manual._attributes.changes
  - ipsec.manual._backend
  - ipsec.manual._backend.counter_mode
  - ipsec.manual._backend.reserved_spi
  - ipsec.manual._backend.shared_key
  - ipsec.manual._backend.secrets
options:
  state:
    description:
      - Whether the SA should exist.
      - For V(absent), only O(protocol), O(destination), O(spi), and O(mark) matter.
    type: str
    choices: [absent, present]
    default: present
  protocol:
    description:
      - V(esp) encrypts, or authenticates, or both. V(ah) authenticates the outer header as well.
    type: str
    choices: [ah, esp]
    required: true
    aliases: [type]
  spi:
    description:
      - Security parameters index, 256 to 4294967295. The receiver finds the SA by it.
      - With O(state=absent) also V(1) to V(255), which another program may have used.
      - Hexadecimal with a leading V(0x). Digits alone are decimal, as C(ipseckey) reads them. Bare
        digits with a letter from V(a) to V(f) are hexadecimal.
    type: str
    required: true
  source:
    description:
      - Literal address of the sender.
      - If missing, any source.
    type: str
    aliases: [src]
  destination:
    description:
      - Literal address of the receiver.
    type: str
    required: true
    aliases: [dst]
  mode:
    description:
      - V(transport) protects the payload of IP packets between two hosts, V(tunnel) whole IP
        packets between two gateways.
    type: str
    choices: [transport, tunnel]
    default: transport
  encryption_algorithm:
    description:
      - Cipher, by a name of C(ipseckey) such as V(aes-cbc), or a name of the Linux kernel such as V(cbc(aes\)).
      - If missing, V(null) for ESP with an authentication algorithm. See RFC 2410.
    type: str
    aliases: [encr_alg]
  encryption_key:
    description:
      - Key of the cipher in hexadecimal, with or without a leading V(0x). The salt of AES-GCM and
        similar ciphers comes at the end.
      - Create one with P(ipsec.manual.ipsec_key#lookup), which knows the right length.
    type: str
    aliases: [encrkey]
  authentication_algorithm:
    description:
      - Algorithm of the integrity check value (ICV), by a name of C(ipseckey) such as
        V(hmac-sha256), or of the Linux kernel such as V(hmac(sha256\)).
      - Required for AH, and for ESP with a cipher that has no integrity of its own unless AH accompanies it.
    type: str
    aliases: [auth_alg]
  authentication_key:
    description:
      - Key of the authentication algorithm in hexadecimal, with or without a leading V(0x).
    type: str
    aliases: [authkey]
  icv_bits:
    description:
      - Length of the ICV.
      - If missing, the one in the RFC of the algorithm, which is V(128) for V(hmac-sha256).
    type: int
  replay_window:
    description:
      - How many packets the receiver looks back to find repeated ones, V(0) to V(4096). V(0) turns the check off.
      - With static keys the check loses packets after one end restarts its counters, so rotate after a reboot.
    type: int
    default: 0
    aliases: [replay]
  esn:
    description:
      - Whether sequence numbers are extended to 64 bits. See RFC 4303, section 2.2.1.
      - Without it, an SA stops sending after 4294967295 packets. Both ends must agree.
      - It requires a O(replay_window), except with O(direction=outbound) on Linux from 6.12 on.
    type: bool
    default: false
  reqid:
    description:
      - Number that ties the SA to the templates of IPsec policies.
    type: int
    default: 0
  mark:
    description:
      - Packet mark that selects the SA, as V(VALUE) or V(VALUE/MASK), each decimal or with V(0x).
        Part of the SA's identity.
    type: str
  if_id:
    description:
      - Identifier of the XFRM interface that the SA belongs to, V(0) for none.
    type: int
    default: 0
  lifetimes:
    description:
      - Limits of the SA. V(0) means no limit. A soft limit announces the hard one, at which the
        kernel removes the SA.
    type: dict
    suboptions:
      soft_bytes:
        description: Bytes, soft limit.
        type: int
        default: 0
      hard_bytes:
        description: Bytes, hard limit.
        type: int
        default: 0
      soft_packets:
        description: Packets, soft limit.
        type: int
        default: 0
      hard_packets:
        description: Packets, hard limit.
        type: int
        default: 0
      soft_addtime:
        description: Seconds since the SA was added, soft limit.
        type: int
        default: 0
      hard_addtime:
        description: Seconds since the SA was added, hard limit.
        type: int
        default: 0
      soft_usetime:
        description: Seconds since the SA was first used, soft limit.
        type: int
        default: 0
      hard_usetime:
        description: Seconds since the SA was first used, hard limit.
        type: int
        default: 0
  encapsulation:
    description:
      - Carries ESP in UDP, so that it passes NAT devices. See RFC 3948.
    type: dict
    suboptions:
      type:
        description: Kind of encapsulation.
        type: str
        choices: [udp]
        default: udp
      source_port:
        description: UDP port of the sender.
        type: int
        default: 4500
      destination_port:
        description: UDP port of the receiver.
        type: int
        default: 4500
      nat_local:
        description: Address of this end before translation. Linux cannot keep it and always refuses it.
        type: str
      nat_remote:
        description: Address of the other end before translation, of the family of O(destination).
        type: str
  selector:
    description:
      - The only traffic that the SA may carry. If missing, whatever a policy sends through it.
    type: dict
    suboptions:
      source:
        description: Source network in CIDR notation. If missing, any.
        type: str
      destination:
        description: Destination network in CIDR notation. If missing, any.
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
  direction:
    description:
      - Binds the SA to one direction, on Linux from 6.10 on. On earlier kernels it has no effect.
      - An SA that is bound otherwise, or unbound where it should be bound, is replaced.
      - Linux cannot bind an outbound SA that has a O(replay_window). Such an SA is added unbound, with a warning.
    type: str
    choices: [inbound, outbound]
  output_mark:
    description:
      - Mark set on packets after the SA has processed them, as V(VALUE) or V(VALUE/MASK), each
        decimal or with V(0x). Routing and firewall see it on the protected packet if the SA is
        outbound, and on the decrypted packet if it is inbound. Bits outside the mask stay as they
        were.
      - Linux only, from 4.19 on.
    type: str
  tfc_padding:
    description:
      - Octets to which the payload of a packet is padded, V(0) to V(65535), so that packet sizes
        reveal less. V(0) for no padding. See RFC 4303, section 2.7. Packets never grow beyond the
        path's maximum.
      - Only for V(esp) with O(mode=tunnel). Only the sender uses it; the receiver accepts padded packets anyway.
      - Linux only.
    type: int
    default: 0
  nat_keepalive:
    description:
      - Seconds without traffic after which the kernel sends a packet that keeps the NAT mapping
        alive. V(0) for never. See RFC 3948, section 4.
      - Needs O(encapsulation), O(direction=outbound), and no O(replay_window).
      - Policies apply to these packets too. A policy for all traffic between the two hosts sends
        them through the SA, which also keeps the mapping alive.
      - Linux only, from 6.11 on; an earlier kernel is refused.
    type: int
    default: 0
seealso:
  - module: ipsec.manual.ipsec_sadb
  - module: ipsec.manual.ipsec_sa_info
  - module: ipsec.manual.ipsec_policy
  - plugin: ipsec.manual.ipsec_key
    plugin_type: lookup
  - plugin: ipsec.manual.ipsec_spi
    plugin_type: lookup
  - name: RFC 4301
    description: Security Architecture for the Internet Protocol.
    link: https://www.rfc-editor.org/rfc/rfc4301
  - name: RFC 4303
    description: IP Encapsulating Security Payload (ESP).
    link: https://www.rfc-editor.org/rfc/rfc4303
  - name: RFC 4302
    description: IP Authentication Header (AH).
    link: https://www.rfc-editor.org/rfc/rfc4302
"""

EXAMPLES = r"""
---
- name: Remove an SA
  ipsec.manual.ipsec_sa:
    protocol: esp
    spi: "0x8bcd1407"
    destination: 192.168.13.213
    state: absent

# Both hosts need the same key, so it comes from a vault-encrypted variable; the lookup ipsec_key made it.
- name: ESP from enigma to partym
  ipsec.manual.ipsec_sa:
    protocol: esp
    spi: "0x8bcd1407"
    source: 192.168.116.16
    destination: 192.168.13.213
    encryption_algorithm: aes-cbc
    encryption_key: "{{ vault_enigma_partym.encryption_key }}"
    authentication_algorithm: hmac-sha256
    authentication_key: "{{ vault_enigma_partym.authentication_key }}"

- name: AH in tunnel mode over IPv6, with extended sequence numbers and a limit
  ipsec.manual.ipsec_sa:
    protocol: ah
    spi: "0x18907dae"
    source: 2001:db8::16
    destination: 2001:db8:13::213
    mode: tunnel
    authentication_algorithm: hmac-sha512
    authentication_key: "{{ vault_gateway.authentication_key }}"
    esn: true
    replay_window: 128
    reqid: 7
    lifetimes:
      hard_packets: 1000000000000
      soft_packets: 900000000000

- name: ESP in UDP from behind a NAT device that forgets a connection after 20 seconds without a packet
  ipsec.manual.ipsec_sa:
    protocol: esp
    spi: "0x8bcd1407"
    source: 192.168.116.16
    destination: 192.168.13.213
    encryption_algorithm: aes-cbc
    encryption_key: "{{ vault_enigma_partym.encryption_key }}"
    authentication_algorithm: hmac-sha256
    authentication_key: "{{ vault_enigma_partym.authentication_key }}"
    encapsulation: {}
    direction: outbound
    nat_keepalive: 20

- name: ESP with the keywords of ipseckey as option names
  ipsec.manual.ipsec_sa:
    type: esp
    spi: "0x8bcd1407"
    src: 192.168.116.16
    dst: 192.168.13.213
    encr_alg: aes
    encrkey: "{{ vault_enigma_partym.encryption_key }}"
    auth_alg: sha256
    authkey: "{{ vault_enigma_partym.authentication_key }}"
"""

RETURN = r"""
operations:
  description: Operations that were carried out, in order. In check mode, those that would be.
  returned: success
  type: list
  elements: str
  sample: ["add esp spi 0x8bcd1407 192.168.116.16 > 192.168.13.213 transport aes-cbc+hmac-sha256"]
differences:
  description: Names of the fields that differed in the SA that was replaced.
  returned: success
  type: list
  elements: str
  sample: ["encryption_key"]
sa:
  description:
    - The SA as it should be, without keys. Its fields are named like the options, and have the values that
      RV(ipsec.manual.ipsec_sa_info#module:sas) describes.
    - It also has C(selector) and C(encapsulation), if the SA has any.
  returned: success and O(state=present)
  type: dict
  sample:
    protocol: esp
    spi: "0x8bcd1407"
    source: "192.168.116.16"
    destination: "192.168.13.213"
    mode: transport
    encryption_algorithm: aes-cbc
    encryption_bits: 256
    authentication_algorithm: hmac-sha256
    icv_bits: 128
    fingerprints: {"encryption": "4a1bd3cc8a6e0f32", "authentication": "09d5b1e27c66a8f1"}
    replay_window: 0
    esn: false
    reqid: 0
    mark: ""
    if_id: 0
    direction: ""
    output_mark: ""
    tfc_padding: 0
    nat_keepalive: 0
    lifetimes: {"hard_packets": 1000000000000}
backend:
  description: How the kernel was reached.
  returned: success
  type: str
  sample: xfrm
"""

from ansible_collections.ipsec.manual.plugins.module_utils._core.specs import IPSEC_SA
from ansible_collections.ipsec.manual.plugins.module_utils._module.base import run
from ansible_collections.ipsec.manual.plugins.module_utils._module.sa import apply_sa


def main() -> None:
    run(IPSEC_SA, apply_sa)


if __name__ == "__main__":
    main()
