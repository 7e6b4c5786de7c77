#!/usr/bin/python
# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ipsec_sadb
short_description: Manage a set of IPsec security associations that a text describes
description:
  - Compares the security associations (SAs) of an ipseckeys text with the kernel's security
    association database (SADB), and makes the SADB agree with it in one transaction.
  - If the kernel refuses one step, those before it are undone, and the error says what it refused.
  - Refuses a new SA whose key another SA of the text or of the kernel has, unless
    O(allow_shared_key=true).
  - Leaves SAs of others alone, unless O(scope=all). Those are reservations of a key management
    daemon, and SAs whose reqid, mark, and if_id no SA of the text carries.
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
  - ipsec.manual._backend.digest
  - ipsec.manual._text
  - ipsec.manual._text.reading
options:
  state:
    description:
      - With V(present), the SAs of the text exist.
      - With V(exact), they exist, and no other SA in O(scope) does.
      - With V(absent), none of them exists. Their keys do not matter.
      - With V(flushed), no SA in O(scope) exists.
      - One of O(content) and O(src) is required, except for V(flushed).
    type: str
    choices: [present, exact, absent, flushed]
    default: present
  scope:
    description:
      - Which SAs O(state=exact) and O(state=flushed) may remove.
      - With V(peers), those between addresses that the text or O(scope_src) names.
      - With V(protocol), those of protocols that the text, O(scope_src), or O(protocols) names.
      - With V(all), all of them, including those of others. O(protocols) restricts it.
    type: str
    choices: [peers, protocol, all]
    default: peers
  scope_src:
    description:
      - Path of another protected file on the target, whose SAs count for the scope but are not installed.
      - Lets you return to an earlier file that may be empty, by naming the later one here.
    type: path
  protocols:
    description:
      - Protocols in scope.
    type: list
    elements: str
    choices: [ah, esp]
    default: []
  direction:
    description:
      - Restricts everything to SAs towards this host (V(inbound)) or away from it (V(outbound)), so
        that one file can be installed in steps.
      - With V(outbound) and O(state=exact), SAs that are replaced by others are deleted a quarter of a second
        after these have been added, so that packets which are about to leave through the old ones are not lost.
    type: str
    choices: [both, inbound, outbound]
    default: both
  both_directions:
    description:
      - Pairs of addresses, each as C(ADDRESS|ADDRESS), to which O(direction) does not apply.
    type: list
    elements: str
    default: []
  beside:
    description:
      - Pairs of addresses, each as C(ADDRESS|ADDRESS), between which O(state=exact) removes nothing. SAs
        with another reqid stand beside the desired ones there, until policies use these.
    type: list
    elements: str
    default: []
  backup:
    description:
      - Path on the target of a protected file. Before anything changes, the SAs in scope are
        written to it as they are, with keys and sequence numbers, even if there are none. This
        includes SAs with counter mode ciphers; loading them again requires
        O(allow_static_counter_mode).
      - Sequence numbers of outbound SAs are written 4194304 higher than they are (or higher by half
        of what is left, if an SA has fewer left), so that an SA that is restored does not reuse
        numbers from before it was removed. Peers accept such a leap, but drop packets that repeat a
        number as replays.
      - With O(at), the file is written at once, and again with fresh numbers about a second before the instant.
      - It is not written if nothing changes, or in check mode, but a path that cannot be written is always refused.
      - It cannot be the file of O(src) or O(scope_src).
    type: path
  backup_label:
    description:
      - Text of printable characters, at most 100,000, that is written into O(backup) as a comment.
        It says which change the file undoes.
    type: str
  src_label:
    description:
      - The file O(src) is refused unless it is a O(backup) with this O(backup_label). This prevents
        a file left over from an older change from being used to undo this one.
    type: str
  ignore_missing:
    description:
      - Whether to change nothing if the file O(src) does not exist, and to report that in
        RV(missing), instead of failing.
    type: bool
    default: false
  leave:
    description:
      - Pairs of addresses, each as C(ADDRESS|ADDRESS), whose SAs are left alone, both those in the
        text and those in the SADB.
    type: list
    elements: str
    default: []
  at:
    description:
      - Instant in seconds since the epoch, on the target's clock. Everything is prepared, then the
        module waits and changes the SADB at that instant, so that peers switch together.
      - Refused if it is more than 300 seconds away, or more than one second ago, even if the module
        itself woke up late.
    type: float
  deadline:
    description:
      - Instant in seconds since the epoch, on the target's clock, after which the module changes nothing.
      - Choose one before the task's C(timeout) ends. Then a module that hangs, and resumes after
        the controller has given up on the host, leaves the SADB as others have set it in the
        meantime.
      - Checked when the module starts, before O(backup) is replaced, and right before the SADB
        changes. If it has passed, the module fails and says how late it is.
      - The O(backup) file may have been written by then. It is harmless, since it holds the
        previous state, which was not changed.
    type: float
seealso:
  - module: ipsec.manual.ipsec_sa
  - module: ipsec.manual.ipsec_sa_info
  - module: ipsec.manual.ipseckeys_file
  - plugin: ipsec.manual.ipseckeys_render
    plugin_type: filter
  - name: RFC 4301
    description: Security Architecture for the Internet Protocol.
    link: https://www.rfc-editor.org/rfc/rfc4301
"""

EXAMPLES = r"""
---
- name: Load the SAs of the protected file
  ipsec.manual.ipsec_sadb:
    src: /etc/inet/secret/ipseckeys

- name: Switch to the next SAs, and back up the present ones
  ipsec.manual.ipsec_sadb:
    src: /etc/inet/secret/ipseckeys.next
    state: exact
    backup: /etc/inet/secret/ipseckeys.previous

- name: Restore the previous SAs
  ipsec.manual.ipsec_sadb:
    src: /etc/inet/secret/ipseckeys.previous
    scope_src: /etc/inet/secret/ipseckeys.next
    state: exact

- name: Remove all of our AH SAs
  ipsec.manual.ipsec_sadb:
    state: flushed
    scope: protocol
    protocols: [ah]
"""

RETURN = r"""
operations:
  description: Operations that were carried out, in order. In check mode, those that would be.
  returned: success
  type: list
  elements: str
  sample: ["add esp spi 0x8bcd1407 192.168.116.16 > 192.168.13.213 transport aes-cbc+hmac-sha256"]
counts:
  description: Number of SAs of each kind.
  returned: success
  type: dict
  contains:
    added:
      description: SAs that were added.
      returned: always
      type: int
      sample: 4
    replaced:
      description: SAs that replaced others.
      returned: always
      type: int
      sample: 0
    deleted:
      description: SAs that were deleted.
      returned: always
      type: int
      sample: 4
    unchanged:
      description: SAs that existed already.
      returned: always
      type: int
      sample: 0
    foreign:
      description: SAs of other programs in scope, which stayed.
      returned: always
      type: int
      sample: 1
digest:
  description:
    - For each pair of addresses, a fingerprint of the SAs of the text that the kernel now holds
      between them.
    - Two hosts with the same fingerprint have the same SAs with the same keys.
    - In check mode, and if the kernel hides keys, it is the fingerprint of the text.
  returned: success and O(state) is V(present) or V(exact)
  type: dict
  sample: {"192.168.116.16|192.168.13.213": "5f0c1d6c7e2b9a40"}
missing:
  description: Whether the file O(src) did not exist, so nothing was compared.
  returned: with O(ignore_missing)
  type: bool
  sample: false
applied:
  description: When the SADB was changed, on the target's clock, in seconds since the epoch.
  returned: when the SADB was changed
  type: dict
  contains:
    began:
      description: Right before the change.
      returned: always
      type: float
      sample: 1795000000.25
    ended:
      description: Right after it, or with O(direction=outbound), right before the replaced SAs are deleted.
      returned: always
      type: float
      sample: 1795000000.26
backend:
  description: How the kernel was reached.
  returned: success
  type: str
  sample: xfrm
"""

from ansible_collections.ipsec.manual.plugins.module_utils._core.specs import IPSEC_SADB, SADB_RULES
from ansible_collections.ipsec.manual.plugins.module_utils._module.base import run
from ansible_collections.ipsec.manual.plugins.module_utils._module.sadb import apply_sadb


def main() -> None:
    run(IPSEC_SADB, apply_sadb, **SADB_RULES)


if __name__ == "__main__":
    main()
