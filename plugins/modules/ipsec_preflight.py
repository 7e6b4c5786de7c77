#!/usr/bin/python
# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ipsec_preflight
short_description: Check whether a host is ready for a change of keys
description:
  - Looks for everything that could stop a rotation on this host, before any host is changed. It
    checks access to the kernel, what the kernel can do, the protected file and its directory, and
    the addresses.
  - Reports everything that it finds in one failure. Changes nothing.
author:
  - ipsec.manual contributors (!UNKNOWN)
extends_documentation_fragment:
  - ipsec.manual._attributes
  - ipsec.manual._attributes.info
  - ipsec.manual._backend
  - ipsec.manual._backend.counter_mode
  - ipsec.manual._backend.secrets
  - ipsec.manual._backend.digest
  - ipsec.manual._text.reading
options:
  path:
    description:
      - Path of the protected file on the target. It may be missing, and so may its directory. If
        they exist, they must be safe enough to hold keys.
    type: path
    default: /etc/inet/secret/ipseckeys
  addresses:
    description:
      - Addresses of the endpoints on this host, which the host must have.
    type: list
    elements: str
    default: []
  associations:
    description:
      - Kinds of security associations (SAs) that the kernel must support, without keys.
    type: list
    elements: dict
    default: []
    suboptions:
      protocol:
        description: Protocol.
        type: str
        choices: [ah, esp]
        default: esp
      mode:
        description: Mode.
        type: str
        choices: [transport, tunnel]
        default: transport
      encryption_algorithm:
        description: Cipher.
        type: str
      encryption_bits:
        description: Size of its key, the salt not counted. If missing, the default of P(ipsec.manual.ipsec_key#lookup).
        type: int
      authentication_algorithm:
        description: Authentication algorithm.
        type: str
      icv_bits:
        description: Length of the integrity check value. If missing, the one in the RFC of the algorithm.
        type: int
      replay_window:
        description: Anti-replay window in packets.
        type: int
        default: 0
      esn:
        description: Whether sequence numbers are extended.
        type: bool
        default: false
      udp_port:
        description:
          - The UDP port of both ends if ESP is carried in UDP, V(0) if not.
          - On Linux, the module warns if no socket has this port. It does not see whether the socket's
            program accepts ESP in UDP.
        type: int
        default: 0
  expected:
    description:
      - The SAs that the host will have in the end, in the form of
        RV(ipsec.manual.ipsec_keystore#module:held). SAs that O(addresses) have no part in are
        ignored.
      - If the kernel hides keys, a host that would have to change existing SAs is refused, since
        those could not be restored.
    type: dict
    default: {}
  usage:
    description:
      - Whether to report how much of their limits the SAs of O(expected) have used.
    type: bool
    default: false
seealso:
  - module: ipsec.manual.ipsec_sadb
  - module: ipsec.manual.ipseckeys_file
  - module: ipsec.manual.ipsec_keystore
  - ref: ansible_collections.ipsec.manual.docsite.rotation
    description: The role P(ipsec.manual.rotate#role), which uses it.
  - name: RFC 8221
    description: Cryptographic algorithm requirements for ESP and AH, and what it says about manual keying.
    link: https://www.rfc-editor.org/rfc/rfc8221
"""

EXAMPLES = r"""
---
- name: Check whether this host is ready for new keys
  ipsec.manual.ipsec_preflight:
    addresses: [192.168.116.16]
    associations:
      - encryption_algorithm: aes-cbc
        authentication_algorithm: hmac-sha256
      - protocol: ah
        authentication_algorithm: hmac-sha256
"""

RETURN = r"""
epoch:
  description: The target's clock, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795000000.25
file:
  description: The protected file.
  returned: success
  type: dict
  contains:
    path:
      description: Path of the file.
      returned: always
      type: str
      sample: /etc/inet/secret/ipseckeys
    sas:
      description: Number of SAs in the file.
      returned: always
      type: int
      sample: 2
    digest:
      description: Digest of its SAs, as M(ipsec.manual.ipsec_sadb) shows it.
      returned: always
      type: dict
      sample: {"192.168.116.16|192.168.13.213": "5f0c1d6c7e2b9a40"}
held:
  description: For each pair of addresses and each owner (reqid, mark, if_id), a fingerprint of all
    its SAs in the SADB.
  returned: success
  type: dict
  sample: {"192.168.116.16|192.168.13.213#0,,0": "5f0c1d6c7e2b9a40"}
asked:
  description: The pairs of addresses and owners, as in RV(held), of SAs that the service of
    M(ipsec.manual.ipsec_boot) loaded and noted in C(/var/lib/ipseckey/rotation-due), since their
    keys may have been in use before. Only SAs that the SADB still holds.
  returned: success
  type: list
  elements: str
  sample: []
usage:
  description:
    - For each pair of addresses and owner, as in RV(held), the most that one of its SAs has used, with the
      same numbers as RV(ipsec.manual.ipsec_status#module:usage).
  returned: if O(usage)
  type: dict
  sample: {"192.168.116.16|192.168.13.213#0,,0": {"age": 86400, "packets": 120000}}
leftovers:
  description: Files that a broken rotation left beside O(path), named like it with C(.next),
    C(.previous), or C(.replaced) added.
  returned: success
  type: list
  elements: str
  sample: ["/etc/inet/secret/ipseckeys.next"]
keys_hidden:
  description: Whether the kernel hides keys (lockdown), so that nobody can tell whether the right
    ones are installed.
  returned: success
  type: bool
  sample: false
spis:
  description: SPIs in use in the SADB or in the file, except 0 to 255, which a rotation never
    assigns.
  returned: success
  type: list
  elements: str
  sample: ["0x122a43e4", "0x8bcd1407"]
backend:
  description: How the kernel was reached.
  returned: success
  type: str
  sample: xfrm
"""

from ansible_collections.ipsec.manual.plugins.module_utils._core.specs import IPSEC_PREFLIGHT
from ansible_collections.ipsec.manual.plugins.module_utils._module.base import run
from ansible_collections.ipsec.manual.plugins.module_utils._module.preflight import preflight


def main() -> None:
    run(IPSEC_PREFLIGHT, preflight)


if __name__ == "__main__":
    main()
