#!/usr/bin/python
# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ipsec_keystore
short_description: Keep the keys of IPsec connections in generations, vault-encrypted on the controller
description:
  - Creates, promotes, and discards generations. A generation is the security associations (SAs) of
    one connection that were created together, with new keys and new SPIs.
  - Each pair of hosts has its own generations, and so does each multicast group as a whole. When
    a host joins or leaves a connection, or its address changes, only its own pairs change.
  - Keeps one file for each connection, encrypted with Ansible Vault, that holds the current, the
    next, and the previous generation, and fingerprints of all keys that were ever used. A key that
    was retired is never used again, in any connection.
  - Runs on the controller and touches no host. Keys are encrypted and decrypted in memory. Files
    are replaced atomically, with mode 0600.
author:
  - ipsec.manual contributors (!UNKNOWN)
extends_documentation_fragment:
  - ipsec.manual._attributes
  - ipsec.manual._backend.digest
attributes:
  check_mode:
    support: full
    details:
      - A generation that would be created is shown with random numbers of its own; the real run draws others.
  diff_mode:
    support: full
    details:
      - Shows fingerprints instead of keys.
  idempotent:
    support: partial
    details:
      - With O(new_keys=true), O(state=prepared) creates another generation after each O(state=promoted).
  platform:
    details:
      - The controller, on any POSIX system.
options:
  state:
    description:
      - With V(prepared), every pair has the generation that its hosts should use. A next
        generation that an interrupted run left is used, if it was made for the same settings.
        Otherwise one is created if there is no current one, if the current one was made for other
        settings, or if O(new_keys=true).
      - With V(switching), the next generation is marked as one that hosts may use from now on.
      - With V(retiring), a generation that was V(switching) is marked as one that all hosts use, so
        that they may remove the current one. After that, no rollback is possible.
      - With V(promoted), the next generation becomes the current one, and the current one the previous one.
      - With V(discarded), the next generation is abandoned, and its keys are retired.
      - With V(retired), the keys of the previous generation are erased. Their fingerprints stay.
        RV(departed) hosts and pairs are forgotten, and their keys erased. A connection or pair that
        is named in O(only) but no longer in O(connections) loses all of its keys.
      - With V(released), this run releases the keystore, so that others can use it at once, even on
        machines and in containers that cannot see that this run has ended. Generations stay as they
        are. Use it in an C(always) section.
    type: str
    choices: [prepared, switching, retiring, promoted, discarded, retired, released]
    default: prepared
  directory:
    description:
      - Directory on the controller that holds the keystore, relative to the playbook, or beginning
        with C(~). It is created with mode 0700 if it does not exist, with a C(.gitignore) for its
        lock.
      - Each of its files holds the random id of this keystore. A file of another keystore is
        refused, even if the same password opens it.
      - One run at a time uses it. A run owns it from V(prepared) to V(retired), V(discarded) or
        V(released), or until its process has ended.
      - Whether a process on another machine, or in another container, has ended cannot be seen, so
        such a run keeps the keystore for an hour after V(prepared), V(switching) or V(retiring).
    type: path
    required: true
  connections:
    description:
      - All connections, including those that this run does not change, since no two may join the same addresses.
      - Usually the variable C(ipsec_connections), which the inventory holds once for all hosts.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the connection and of its keystore file. Letters, digits, C(_), C(.) and C(-).
        type: str
        required: true
      endpoints:
        description:
          - Two or more hosts. Every two of them share security associations (SAs), unless
            O(connections[].hub) or O(connections[].multicast) says otherwise.
          - A dictionary of inventory hosts, each with its literal address, or with C(address) and,
            for tunnels, C(networks) behind it in CIDR notation.
          - Or a list of inventory hosts that have the variable O(connections[].address_variable).
          - Required unless O(connections[].group) is given.
        type: raw
      address_variable:
        description:
          - Name of the variable that holds the address of each host of a list, of O(connections[].group),
            or of O(connections[].hub). With C(ipsec_address6), for example, a second connection joins
            the same hosts over IPv6.
        type: str
        default: ipsec_address
      group:
        description:
          - Groups of the inventory whose hosts are endpoints, at the address in their variable
            O(connections[].address_variable). O(connections[].endpoints) may say more about some of them and add
            others.
        type: list
        elements: str
        default: []
      hub:
        description:
          - Hosts that share SAs with every endpoint, while the others share none with each other.
            They count as endpoints.
        type: list
        elements: str
        default: []
      multicast:
        description:
          - Addresses of multicast groups. Each association is then one SA that all endpoints share,
            with one SPI and one key, for sending and receiving, as OSPFv3 requires. See RFC 4552,
            section 7.
          - Needs transport mode, and has no anti-replay window, since an SA with many senders cannot have one.
        type: list
        elements: str
        default: []
      unicast:
        description:
          - Whether the shared SA is also for packets to the endpoints' own addresses, as OSPFv3 sends them.
          - Give such a connection a O(connections[].reqid) of its own.
        type: bool
        default: false
      mode:
        description: Mode of the SAs. If a tunnel has both ESP and AH, AH covers the outer packet in transport mode.
        type: str
        choices: [transport, tunnel]
        default: transport
      associations:
        description:
          - ESP, AH, or both, each an SA of its own in each direction.
          - The default is ESP with AES-CBC-256 and HMAC-SHA-256-128.
        type: list
        elements: dict
        suboptions:
          protocol:
            description: Protocol.
            type: str
            choices: [ah, esp]
            default: esp
          encryption_algorithm:
            description: Cipher of ESP. The default is V(aes-cbc). Quote V("null") for none.
            type: str
          encryption_bits:
            description: Size of its key, the salt not counted. The default is the strongest usual one.
            type: int
          authentication_algorithm:
            description:
              - Authentication algorithm. The default is V(hmac-sha256), but none if a cipher is given.
              - ESP without integrity is refused unless an AH association accompanies it.
            type: str
          icv_bits:
            description: Length of the integrity check value. The default is the one in the RFC of the algorithm.
            type: int
          replay_window:
            description: Anti-replay window in packets, V(0) for none. A restart of one end breaks
              it until the next rotation.
            type: int
            default: 0
          esn:
            description: Whether sequence numbers are extended to 64 bits.
            type: bool
            default: false
          lifetimes:
            description: Limits, any of the suboptions of O(ipsec.manual.ipsec_sa#module:lifetimes).
            type: dict
      reqid:
        description: Number by which policies refer to the SAs. SAs of others between the same
          addresses, which have another number, stay.
        type: int
        default: 0
      replaces_reqid:
        description: The reqid of SAs and policies between the same addresses that something else
          made, such as a script, and that the role P(ipsec.manual.rotate#role) replaces. With the reqid
          of the connection, they are replaced without this.
        type: int
      mark:
        description: Packet mark, as V(VALUE) or V(VALUE/MASK).
        type: str
      if_id:
        description: Identifier of the XFRM interface.
        type: int
        default: 0
      encapsulation:
        description:
          - Carries ESP in UDP, for a firewall or provider that drops ESP. See RFC 3948. An empty
            dictionary is enough.
          - The endpoints must reach each other at their own addresses. Address translation between them is
            not supported here; M(ipsec.manual.ipsec_sa) can make such SAs.
          - On Linux a program on each host must hold the port open. The page
            R(Connections, ansible_collections.ipsec.manual.docsite.connections) has an example.
          - Only for ESP without AH, and not for multicast groups.
        type: dict
        suboptions:
          type:
            description: Kind of encapsulation.
            type: str
            choices: [udp]
            default: udp
          port:
            description: UDP port of all endpoints, as source and destination.
            type: int
            default: 4500
      upper_protocol:
        description:
          - Number or name of the upper-layer protocol that the policies of the connection are for. If empty, any.
        type: str
        default: ""
  only:
    description:
      - The connections, hosts or pairs of hosts to work on. If empty, the connections that have an
        endpoint among the hosts of the play.
      - V(NAME) is a connection or, if there is none of that name, the pairs of a host in all
        connections. V(HOST,HOST) is a pair. V(NAME/HOST) and V(NAME/HOST,HOST) are the same in one
        connection.
    type: list
    elements: str
    default: []
  store:
    description:
      - Where the keys of a new generation come from. With V(random), each is random and kept. With
        V(derived), all come from one root secret, with HKDF-SHA-256, and none is kept.
      - A pair whose current generation is of the other kind gets a new one.
      - If missing, a pair keeps the kind that it has, a new one gets that of its connection, and a
        new connection V(random).
    type: str
    choices: [random, derived]
  new_keys:
    description:
      - Whether O(state=prepared) creates a new generation for pairs that have a current one.
    type: bool
    default: false
  new_root:
    description:
      - Whether O(state=prepared) generates a new root secret, and a new generation from it for every
        connection with derived keys. The old root secret is erased as soon as no generation is
        derived from it.
      - If an interrupted run introduced a root secret only for some connections, that one is
        introduced everywhere before another is generated.
    type: bool
    default: false
  check_run:
    description:
      - Whether to refuse unless all endpoints of the connections take part in the play together, in
        step, over transports that keep keys secret.
    type: bool
    default: false
  trusted_transports:
    description:
      - Connection plugins over which O(check_run) lets keys travel, in addition to those that are
        known to keep keys secret.
    type: list
    elements: str
    default: []
  taken_spis:
    description:
      - SPIs that are in use on hosts and that new SAs must not get. M(ipsec.manual.ipsec_preflight) reports them.
    type: list
    elements: str
    default: []
  allow_static_counter_mode:
    description:
      - Whether to accept AES-GCM, AES-CCM, AES-GMAC, AES-CTR, and ChaCha20-Poly1305.
      - With static keys these repeat nonces as soon as a key is loaded a second time, which breaks
        them. See RFC 8221, section 3.
    type: bool
    default: false
  force:
    description:
      - Whether O(state=discarded) abandons a generation even if hosts may already use it.
    type: bool
    default: false
  vault_id:
    description:
      - Vault identity for encryption. If empty, a file keeps its own, and a new file gets the one
        that C(ansible-vault) would use.
    type: str
    default: ""
seealso:
  - module: ipsec.manual.ipsec_keystore_info
  - plugin: ipsec.manual.ipsec_keystore
    plugin_type: lookup
  - ref: ansible_collections.ipsec.manual.docsite.rotation
    description: The role P(ipsec.manual.rotate#role), which uses it.
  - name: RFC 4107
    description: When automated key management is needed, and when manual keys are enough.
    link: https://www.rfc-editor.org/rfc/rfc4107
  - name: RFC 4552
    description: Manual keys for OSPFv3, and how they are changed.
    link: https://www.rfc-editor.org/rfc/rfc4552
"""

EXAMPLES = r"""
---
- name: Prepare new keys for every connection of these hosts
  ipsec.manual.ipsec_keystore:
    directory: keystore
    connections: "{{ ipsec_connections }}"
    new_keys: true
  run_once: true

- name: Move the full mesh of a group to keys that are derived from one root secret
  ipsec.manual.ipsec_keystore:
    directory: keystore
    store: derived
    connections:
      - name: backbone
        group: [routers]
        associations:
          - protocol: esp
          - protocol: ah
  run_once: true

- name: Promote the new generation
  ipsec.manual.ipsec_keystore:
    state: promoted
    directory: keystore
    connections: "{{ ipsec_connections }}"
  run_once: true
"""

RETURN = r"""
connections:
  description:
    - For each pair or group what RV(ipsec.manual.ipsec_keystore_info#module:connections) tells, and
      its C(outcome) (V(made), V(resumed), V(kept), or the state asked for), the number of C(sas),
      C(endpoints), the addresses of an SA that all share (C(multicast)), whether it has a
      C(counter_mode) cipher, whether it has C(anti_replay), whether hosts may have a generation that
      was discarded (C(abandoned)), and if its settings change, those of the current generation
      (C(before)), and which of them concern policies and peers (C(changing)).
  returned: success, but not with O(state=released)
  type: list
  elements: dict
  sample:
    - name: enigma-partym
      connection: enigma-partym
      hosts: [enigma, partym]
      outcome: made
      phase: prepared
      generation: 8
      created: "2026-11-21T21:00:00Z"
      created_by: root@controller
      store: random
      sas: 4
      endpoints: {"enigma": "192.168.116.16", "partym": "192.168.13.213"}
      counter_mode: false
      anti_replay: false
hosts:
  description:
    - For each host the names of its pairs and groups (C(connections)), those of them whose current
      SAs the next ones do not take the place of (C(left_behind)), since addresses, reqid, mark, or
      if_id changed, its C(addresses), and the kinds of SAs (C(associations)) that its kernel must carry.
  returned: success, but not with O(state=released)
  type: dict
  sample:
    enigma:
      connections: ["enigma-partym"]
      left_behind: []
      addresses: ["192.168.116.16"]
      associations: [{"protocol": "esp"}]
departed:
  description:
    - For each connection that hosts or pairs left, its C(name), those C(hosts) and those C(pairs).
      Their hosts have the keys until somebody removes them there. They are forgotten when they come
      back, or with O(state=retired).
  returned: with O(state=prepared)
  type: list
  elements: dict
  sample:
    - name: backbone
      hosts: [c]
      pairs: [[a, c], [b, c]]
leaving:
  description:
    - What left, as far as its keys are not retired. For each C(connection), the C(settings) and
      C(selectors) of the generations that hosts may have, newest first, the C(plays) that have it, whether only
      the play of the run does (C(own)), and the hosts that were C(cleaned), which is null until the role
      P(ipsec.manual.rotate#role) begins to remove it.
  returned: with O(state=prepared)
  type: list
  elements: dict
  sample: []
keyed:
  description:
    - Names of all pairs and groups for which the keystore has keys in use, including those of
      connections that O(connections) does not name.
  returned: with O(state=prepared)
  type: list
  elements: str
  sample: [enigma-partym]
outdated:
  description:
    - The settings of the current generation of those in RV(keyed) that O(only) leaves out, and whose
      settings have changed since it was made.
  returned: with O(state=prepared)
  type: dict
  sample: {}
midway:
  description:
    - Names of the pairs and groups that O(only) leaves out while their hosts may use a discarded generation, or
      other settings than those of the current one, because a change of them was interrupted.
  returned: with O(state=prepared)
  type: list
  elements: str
  sample: []
pending:
  description:
    - Whether a pair or group has a next generation.
  returned: success, but not with O(state=released)
  type: bool
  sample: true
digest:
  description:
    - For each two addresses one fingerprint over the SAs that the hosts should hold between them,
      as M(ipsec.manual.ipsec_sadb) shows it.
  returned: success, but not with O(state=released)
  type: dict
  sample: {"192.168.116.16|192.168.13.213": "5f0c1d6c7e2b9a40"}
held:
  description:
    - The same for each two addresses and owner, as M(ipsec.manual.ipsec_preflight) shows it.
  returned: success, but not with O(state=released)
  type: dict
  sample: {"192.168.116.16|192.168.13.213#0,,0": "5f0c1d6c7e2b9a40"}
before:
  description:
    - The same as RV(held) for the current generations of pairs of which hosts may have used a
      newer one, which may have been discarded since.
  returned: success, but not with O(state=released)
  type: dict
  sample: {}
stored:
  description:
    - The same without the connections that use a counter mode, whose SAs are in no file that is loaded at boot.
  returned: success, but not with O(state=released)
  type: dict
  sample: {"192.168.116.16|192.168.13.213": "5f0c1d6c7e2b9a40"}
unnamed:
  description:
    - For each connection with keys in use that O(connections) does not name, its C(name), its
      newest C(generation), and the C(hosts) that have its keys.
  returned: with O(state=prepared)
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
