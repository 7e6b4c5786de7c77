#!/usr/bin/python
# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ipsec_status
short_description: Show whether the SAs, policies, and boot service of a host are well
description:
  - Reads in one go what loads the security associations (SAs) at boot, the protected file, the kernel's security
    association database (SADB) and policies, and returns what is wrong or due. The command C(ipseckey status) shows
    the same on the host itself.
  - Returns fingerprints of all SAs between two addresses, and never a key.
  - The playbook C(ipsec.manual.status) asks all hosts of the connections, and prints one table.
author:
  - ipsec.manual contributors (!UNKNOWN)
extends_documentation_fragment:
  - ipsec.manual._attributes
  - ipsec.manual._attributes.info
  - ipsec.manual._backend
  - ipsec.manual._backend.secrets
  - ipsec.manual._backend.digest
options:
  path:
    description:
      - Absolute path of the protected file on the target.
      - By default the one that the service loads at boot, or without a service C(/etc/inet/secret/ipseckeys).
      - A file that is named here and does not exist is among what is RV(wrong). The usual one may be missing on a host
        without a service, which may not have got any keys yet.
    type: path
seealso:
  - module: ipsec.manual.ipsec_sa_info
  - module: ipsec.manual.ipsec_policy_info
  - module: ipsec.manual.ipsec_fleet
  - name: RFC 4301
    description: Security Architecture for the Internet Protocol.
    link: https://www.rfc-editor.org/rfc/rfc4301
"""

EXAMPLES = r"""
---
- name: Read the status of the host
  ipsec.manual.ipsec_status:
  register: status

- name: Fail if something is wrong or due
  ansible.builtin.assert:
    that: status.wrong + status.due == []
    fail_msg: "{{ status.wrong + status.due }}"
"""

RETURN = r"""
epoch:
  description: The target's clock, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795000000.25
service:
  description: What loads SAs at boot.
  returned: success
  type: dict
  contains:
    manager:
      description: Service manager of the host, empty if no known one was found.
      returned: always
      type: str
      sample: systemd
    installed:
      description: Whether the service is installed.
      returned: always
      type: bool
      sample: true
    enabled:
      description: Whether it starts at boot.
      returned: always
      type: bool
      sample: true
    state:
      description: V(active), V(inactive), V(failed), or V(unknown), as with C(sysvinit), which cannot
        tell.
      returned: always
      type: str
      sample: active
    file:
      description: Protected file that it loads, empty for none.
      returned: always
      type: str
      sample: /etc/inet/secret/ipseckeys
    policies_file:
      description: File of policies that it loads, empty for none.
      returned: always
      type: str
      sample: /etc/ipsecpolicies.json
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
    exists:
      description: Whether it exists, as far as can be seen.
      returned: always
      type: bool
      sample: true
    sas:
      description: Number of SAs in the file, V(null) if it cannot be read.
      returned: always
      type: int
      sample: 2
    pending:
      description: Number of SAs in which the kernel differs from the file, V(null) if that cannot be
        seen.
      returned: always
      type: int
      sample: 0
backend:
  description: How the kernel was reached, empty if it cannot be seen.
  returned: success
  type: str
  sample: xfrm
keys_hidden:
  description: Whether the kernel hides keys (lockdown), which makes fingerprints meaningless.
  returned: success
  type: bool
  sample: false
held:
  description:
    - For each pair of addresses and each owner (reqid, mark, if_id), a fingerprint of all its SAs
      in the SADB. Two hosts with the same fingerprint have the same SAs with the same keys.
    - Empty if the kernel hides keys.
  returned: success
  type: dict
  sample: {"192.168.116.16|192.168.13.213#0,,0": "5f0c1d6c7e2b9a40"}
pairs:
  description: For each pair of addresses and owner, as in RV(held), the number of its SAs (C(sas)),
    the C(age) of the oldest in seconds, the C(limit) that is closest to being used up, and what
    is left of it in percent (C(left)).
  returned: success
  type: dict
  sample: {"10.0.0.1|10.0.0.2#0,,0": {"sas": 2, "age": 86400, "limit": "bytes", "left": 99}}
usage:
  description:
    - For each pair of addresses and owner, as in RV(held), the most that one of its SAs has used.
    - C(packets) are packets, or sequence numbers if more of those are used. C(blocks64) are blocks
      of 64 bits, for ciphers that have them. C(age) is the age of the youngest SA in seconds.
    - Names that end in C(percent) are shares of the sequence numbers and of the SA's own limits,
      rounded up, and V(100) if a soft limit was reached.
    - A number that is zero or unknown is left out.
  returned: success
  type: dict
  sample: {"192.168.116.16|192.168.13.213#0,,0": {"age": 86400, "packets": 120000}}
asked:
  description: The pairs of addresses and owners of SAs that the service loaded again at boot, so
    that they need new keys.
  returned: success
  type: list
  elements: str
  sample: []
policies:
  description: The policies of the kernel, V(null) if they cannot be seen, and on other systems than
    Linux.
  returned: success
  type: dict
  contains:
    total:
      description: Number of policies.
      returned: always
      type: int
      sample: 2
    leaking:
      description: Pairs of addresses and owners of outbound SAs that no policy uses, so that their
        traffic leaves unprotected.
      returned: always
      type: list
      elements: str
      sample: []
    open:
      description: Pairs of addresses and owners of inbound SAs that no policy requires, so that
        unprotected packets are accepted, too.
      returned: always
      type: list
      elements: str
      sample: []
    waiting:
      description: Number of policies whose traffic does not pass for lack of an SA.
      returned: always
      type: int
      sample: 0
    optional:
      description: Number of policies that let traffic pass without an SA.
      returned: always
      type: int
      sample: 0
  sample: null
wrong:
  description: What is wrong, a sentence each.
  returned: success
  type: list
  elements: str
  sample: ["the service is not enabled, so nothing is loaded at boot"]
due:
  description: Why SAs should get new keys soon, a sentence each.
  returned: success
  type: list
  elements: str
  sample: []
unseen:
  description: What could not be seen, and why.
  returned: success
  type: list
  elements: str
  sample: []
"""

from ansible_collections.ipsec.manual.plugins.module_utils._core.specs import IPSEC_STATUS
from ansible_collections.ipsec.manual.plugins.module_utils._module.base import run
from ansible_collections.ipsec.manual.plugins.module_utils._module.status import status


def main() -> None:
    run(IPSEC_STATUS, status)


if __name__ == "__main__":
    main()
