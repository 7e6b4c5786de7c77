#!/usr/bin/python
# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ipsec_audit
short_description: Read everything that an audit needs to know about a host
description:
  - Looks at the security associations (SAs) and policies of the kernel, at the protected file and
    the files beside it, at shell histories and scripts, at logins without encryption, at the
    service that loads SAs at boot, and at swap and core dumps. Changes nothing.
  - Returns evidence, not a judgement. The role P(ipsec.manual.audit#role) asks each host once and
    derives findings from all answers.
  - A part that cannot be read is named in RV(unread), and does not stop the others. Without root,
    most parts cannot be read.
  - Keys that it comes across are never returned. For files with keys it returns the place and the
    pattern.
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
      - Path of the protected file on the target. It may be missing.
    type: path
    default: /etc/inet/secret/ipseckeys
seealso:
  - module: ipsec.manual.ipsec_sa_info
  - module: ipsec.manual.ipsec_policy_info
  - module: ipsec.manual.ipsec_preflight
  - ref: ansible_collections.ipsec.manual.docsite.audit
    description: What an audit finds, and how it reports that.
  - name: RFC 4301
    description: Security Architecture for the Internet Protocol.
    link: https://www.rfc-editor.org/rfc/rfc4301
"""

EXAMPLES = r"""
---
- name: Read what an audit needs to know about this host
  ipsec.manual.ipsec_audit:
  register: evidence
"""

RETURN = r"""
epoch:
  description: The target's clock, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795000000.25
kernel:
  description: Name and release of the kernel.
  returned: success
  type: str
  sample: Linux 6.12.48
uptime:
  description: Seconds since the boot, V(0) if the system does not say.
  returned: success
  type: int
  sample: 86400
backend:
  description: How the kernel was reached, empty if it could not be read.
  returned: success
  type: str
  sample: xfrm
keys_hidden:
  description: Whether the kernel hides keys (lockdown), so that nothing is known about them.
  returned: success
  type: bool
  sample: false
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
      description: Whether it exists.
      returned: always
      type: bool
      sample: true
    mode:
      description: Its mode, empty if it does not exist.
      returned: always
      type: str
      sample: "0600"
    modified:
      description: When it was last written, in seconds since the epoch, V(0) if it does not exist.
      returned: always
      type: float
      sample: 1795000000.0
    sas:
      description: Number of SAs in the file.
      returned: always
      type: int
      sample: 2
service:
  description: The service that loads SAs at boot.
  returned: success
  type: dict
  contains:
    manager:
      description: Service manager, empty if it is unknown.
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
      description: V(active), V(inactive), V(failed) or V(unknown).
      returned: always
      type: str
      sample: active
    file:
      description: File that it loads, empty for none.
      returned: always
      type: str
      sample: /etc/inet/secret/ipseckeys
counters:
  description: Packets that the kernel discarded since the boot, by reason, as in
    C(/proc/net/xfrm_stat).
  returned: success
  type: dict
  sample: {"XfrmInNoStates": 0}
policies:
  description: Number of policies of each owner (reqid, mark, if_id).
  returned: success
  type: dict
  sample: {"0,,0": 4}
pairs:
  description: The SAs in the kernel or in the file, one row for each pair of addresses and owner.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Pair of addresses and owner (reqid, mark, if_id).
      returned: always
      type: str
      sample: "192.168.116.16|192.168.13.213#0,,0"
    sas:
      description: SAs in the kernel.
      returned: always
      type: int
      sample: 4
    inbound:
      description: Those of them that are inbound.
      returned: always
      type: int
      sample: 2
    outbound:
      description: Those of them that are outbound.
      returned: always
      type: int
      sample: 2
    oldest:
      description: Seconds since the first of them was added.
      returned: always
      type: int
      sample: 86400
    youngest:
      description: Seconds since the last of them was added.
      returned: always
      type: int
      sample: 86400
    budgets:
      description: What is used of each limit, the one of which the largest share is used first.
      returned: always
      type: list
      elements: dict
      contains:
        what:
          description: V(packets), V(bytes) or V(blocks), each at most once.
          returned: always
          type: str
          sample: packets
        used:
          description: Used share of it; of blocks, the share of the 2^20 that are advised for one key, which
            may exceed 1.
          returned: always
          type: float
          sample: 0.12
    digest:
      description: Fingerprint of the SAs, as M(ipsec.manual.ipsec_sadb) shows it. Empty without any,
        and if keys are hidden.
      returned: always
      type: str
      sample: "5f0c1d6c7e2b9a40"
    storable_digest:
      description: The same for those SAs that a file may hold, which are all but those with counter mode ciphers.
      returned: always
      type: str
      sample: "5f0c1d6c7e2b9a40"
    file_digest:
      description: The same for the SAs of the file.
      returned: always
      type: str
      sample: "5f0c1d6c7e2b9a40"
    outline:
      description: If keys are hidden, fingerprint of the SAs without their keys. Empty otherwise.
      returned: always
      type: str
      sample: ""
    storable_outline:
      description: If keys are hidden, the same for those SAs that a file may hold.
      returned: always
      type: str
      sample: ""
    file_outline:
      description: If keys are hidden, the same for the SAs of the file.
      returned: always
      type: str
      sample: ""
    fingerprints:
      description: Fingerprints of the keys of the SAs, except short keys.
      returned: always
      type: list
      elements: str
      sample: ["4a1bd3cc8a6e0f32"]
    algorithms:
      description: Names of their algorithms.
      returned: always
      type: list
      elements: str
      sample: ["aes-cbc", "hmac-sha256"]
    integrity:
      description: V(own) if every ESP SA has integrity, V(ah) if some have it from AH only, V(none) if
        some have none.
      returned: always
      type: str
      sample: own
    integrity_failures:
      description: Packets dropped because their ICV was wrong.
      returned: always
      type: int
      sample: 0
    replayed:
      description: Packets dropped because they arrived twice or too late.
      returned: always
      type: int
      sample: 0
    leaking:
      description: Outbound SAs that no policy uses.
      returned: always
      type: int
      sample: 0
    open:
      description: Inbound SAs that no policy requires.
      returned: always
      type: int
      sample: 0
    reloaded:
      description: SAs that the boot service noted as loaded again.
      returned: always
      type: int
      sample: 0
    shared_keys:
      description: SAs that share a key with another SA of the host.
      returned: always
      type: int
      sample: 0
    shared_spis:
      description: SAs that share an SPI with another SA of the host.
      returned: always
      type: int
      sample: 0
remarks:
  description: Observations. None of them contains a key.
  returned: success
  type: list
  elements: dict
  contains:
    what:
      description: What was observed, a fixed word.
      returned: always
      type: str
      sample: copy
    place:
      description: Path or name that it is about.
      returned: always
      type: str
      sample: /etc/inet/secret/ipseckeys.bak
    detail:
      description: A few words on it.
      returned: always
      type: str
      sample: "mode 0644"
unread:
  description: Parts that could not be read, each with the reason.
  returned: success
  type: list
  elements: str
  sample: []
"""

from ansible_collections.ipsec.manual.plugins.module_utils._core.specs import IPSEC_AUDIT
from ansible_collections.ipsec.manual.plugins.module_utils._module.audit import audit
from ansible_collections.ipsec.manual.plugins.module_utils._module.base import run


def main() -> None:
    run(IPSEC_AUDIT, audit)


if __name__ == "__main__":
    main()
