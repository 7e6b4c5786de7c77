#!/usr/bin/python
# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ipsec_boot
short_description: Load security associations and policies into the kernel before the network is up
description:
  - Installs the C(ipseckey) command, as M(ipsec.manual.ipseckey_command) does, and a service
    C(ipseckeys), which loads the protected file and O(policies) at boot. Works with systemd,
    OpenRC, and SysV init.
  - On Solaris and illumos, points C(svc:/network/ipsec/manual-key) to the file and enables it.
    Enabling, refreshing, or disabling that service flushes all SAs, including those of others, so
    this is done only if the service is disabled or points elsewhere.
  - The service fails closed. Policies are in the kernel before the SAs, and are loaded even if the
    protected file is missing, wrong, or refused, so that traffic waits for its SAs. In that case
    the service fails. With O(policies), it also fails if it loads SAs that no policy uses.
  - If the service manager refuses the service, the files are restored. If the service is installed
    but its files cannot be loaded now, it stays installed.
author:
  - ipsec.manual contributors (!UNKNOWN)
extends_documentation_fragment:
  - ipsec.manual._attributes
  - ipsec.manual._attributes.changes
  - ipsec.manual._attributes.keyless
attributes:
  diff_mode:
    support: full
    details:
      - Shows digests of the command. The service and its policies hold no key.
  platform:
    platforms: Linux, Solaris, illumos
    details:
      - Not yet run on Solaris or illumos; it is tested against simulated SMF commands.
options:
  state:
    description:
      - Whether SAs should be loaded at boot.
      - V(absent) removes everything that was installed. The protected file, and the SAs and
        policies in the kernel, stay. On Solaris and illumos it disables the service, which flushes
        all SAs.
      - V(query) changes nothing and reports how the service is set up. All other options except
        O(service_manager) are then ignored.
    type: str
    choices: [absent, present, query]
    default: present
  file:
    description:
      - The protected file, as M(ipsec.manual.ipseckeys_file) writes it. If it does not exist, no SA is loaded.
    type: path
    default: /etc/inet/secret/ipseckeys
  policies:
    description:
      - All policies that the service loads, as O(ipsec.manual.ipsec_policy#module:policies) takes
        them. They are kept in C(/etc/ipsecpolicies.json), which is not secret.
      - A policy that is no longer named is removed, unless it guards SAs in O(file). In that case
        it stays in the kernel and in the policy file, with a warning, until those SAs have left
        O(file).
      - Policies in the kernel that nothing names are added, with a warning, if they guard SAs in
        O(file) that no other policy guards.
      - Linux only. Solaris and illumos load policies of their own.
    type: list
    elements: dict
    default: []
  purge:
    description:
      - Whether to remove a policy that O(policies) no longer names and that guards no SA in
        O(file). If not, it stays, with a warning, unless it has no templates.
    type: bool
    default: true
  removed:
    description:
      - Policies that are no longer loaded, whatever O(purge) says, unless they guard SAs in O(file).
        Only their O(ipsec.manual.ipsec_policy#module:direction),
        O(ipsec.manual.ipsec_policy#module:selector), mark and interface matter.
      - Linux only.
    type: list
    elements: dict
    default: []
  load:
    description:
      - Whether to load the file now as well, if it exists and the service is not active, loaded
        another file until now, or the kernel lacks O(policies).
      - On Solaris and illumos, the file is always loaded when the service is enabled.
    type: bool
    default: true
  ask_for_rotation:
    description:
      - Whether the service notes in C(/var/lib/ipseckey/rotation-due) which SAs it had to add, and warns in the log.
    type: bool
    default: false
  operators:
    description:
      - A group of the host whose members may run C(ipseckey), and manage its service, as root through sudo, with
        the arguments that O(operators_rights) allow and no others.
      - The file C(/etc/sudoers.d/ipseckey) is checked with C(visudo) before it is in place. It is removed
        if this is empty, and with O(state=absent). If this is missing, it stays as it is. A file of that
        name that this module did not write is an error, and is never removed.
      - Linux only, and an error on Solaris and illumos, which have profiles.
    type: str
  operators_rights:
    description:
      - What O(operators) may do.
      - V(look) is C(dump), C(status), C(monitor), C(--show-policies), and C(-c) and C(--compare) with O(file), all
        without keys.
        V(load) is C(-f) and C(--apply) with O(file). V(flush) is C(flush), and C(--remove) with O(file).
      - V(get) is C(get), without keys, and V(delete) is C(delete), both with SPI and destination, and optionally the
        source, in this order. V(keys) shows keys, with C(--show-keys dump), C(--show-keys get), and
        C(--show-keys -s -).
      - V(policies) is C(--show-policies), C(--delete-policy), C(--flush-policies), and C(--policies) with the absolute
        path of any file, which must belong to root, alone or with C(--compare) and O(file). This is what C(ipsecconf)
        does in the profile of Solaris. Whoever has it decides which traffic is protected or blocked, and sees words of
        such a file, in messages about what is wrong there.
      - V(files) is C(-c), C(-f), C(--apply), C(--compare) and C(--remove) with the absolute path of any file, which
        must belong to root. Whoever has it can load any SAs that are in such a file, and see words of it, in messages
        about what is wrong there.
      - V(boot_file) is C(--boot-file) with the absolute path of any file, alone or with C(--policies) and another. Both
        must belong to root, and be files that the service can load. The service then loads them from its next reload
        on, until the next run of this module. Whoever has it decides which traffic is protected, and with which of
        root's keys, and sees words of such files, in messages about what is wrong there.
      - V(boot_without_policies) is C(--boot-file) with the absolute path of any such file, and C(--no-policies). The
        service then loads that file and no policies from its next reload on, until the next run of this module. Whoever
        has it lets the traffic of these SAs leave unencrypted, unless something else has policies for it. To have the
        service load policies again needs V(boot_file).
      - V(save) is C(-s) with the absolute path of any file. Whoever has it can see no key, but can replace any file of
        root that has mode 0600, and add files, and so make the host unusable.
      - V(prompt) is C(ipseckey) without arguments, and the only one that can C(add) single SAs. It can also save to
        any file, with all that this means.
      - V(service) is the right to start, stop, restart, reload, enable and disable the service C(ipseckeys),
        and to see its status, with the commands of its service manager, such as C(systemctl reload
        ipseckeys.service) and C(systemctl --no-pager status ipseckeys.service). Whoever has it can let traffic
        leave unencrypted, at once or after the next boot.
      - V(all) is C(ipseckey) with any arguments, as C(ipseckey) and C(ipsecconf) in the profile of Solaris.
        Whoever has it is root as far as IPsec and the content of files go.
      - V(get), V(delete), V(policies), V(keys), V(files), V(boot_file), V(boot_without_policies) and V(save) need sudo
        1.9.10 or later, whose regular expressions they use. An older one refuses the file, or never allows them.
    type: list
    elements: str
    choices:
      - look
      - load
      - flush
      - get
      - delete
      - policies
      - keys
      - files
      - boot_file
      - boot_without_policies
      - save
      - prompt
      - service
      - all
    default: [look, load, flush]
  service_manager:
    description:
      - The service manager of the host. V(auto) detects it.
    type: str
    choices: [auto, openrc, smf, systemd, sysvinit]
    default: auto
  deadline:
    description:
      - Instant in seconds since the epoch, on the target's clock, after which the module installs, removes and loads
        nothing.
      - Choose one before the task's C(timeout) ends. Then a module that hangs changes nothing after
        the controller has given up on the host.
    type: float
requirements:
  - Python 3.8 or later on the target, nothing else.
seealso:
  - module: ipsec.manual.ipseckeys_file
  - module: ipsec.manual.ipsec_policy
  - name: RFC 4303
    description: ESP; section 3.3.3 explains why counters must not restart with manual keys.
    link: https://www.rfc-editor.org/rfc/rfc4303
"""

EXAMPLES = r"""
---
- name: Load SAs, and the policies of all connections, at boot
  ipsec.manual.ipsec_boot:
    policies: "{{ ipsec_connections | ipsec.manual.ipsec_policies(inventory_hostname) }}"

- name: Show what is loaded at boot
  ipsec.manual.ipsec_boot:
    state: query
  register: boot

- name: Stop loading SAs at boot
  ipsec.manual.ipsec_boot:
    state: absent
"""

RETURN = r"""
service_manager:
  description: Service manager of the host. Empty if no known one was found, which only
    O(state=query) accepts.
  returned: success
  type: str
  sample: systemd
running:
  description: Whether the service manager runs. In images, and in many containers, it is installed only,
    so that the service can be set up for the next boot with O(load=false), but not started.
  returned: success
  type: bool
  sample: true
installed:
  description: Whether the service is installed. On Solaris and illumos, it always is.
  returned: success
  type: bool
  sample: true
enabled:
  description: Whether the service starts at boot.
  returned: success
  type: bool
  sample: true
file:
  description: Protected file that the service loads, empty if it loads none.
  returned: success
  type: str
  sample: /etc/inet/secret/ipseckeys
policies_file:
  description: File of policies that the service loads, empty if it loads none.
  returned: success
  type: str
  sample: /etc/ipsecpolicies.json
policies:
  description: The policies in that file, each as direction, source, and destination.
  returned: success
  type: list
  elements: str
  sample: ["out 192.168.116.16/32 > 192.168.13.213/32"]
kept:
  description: Policies in RV(policies) that O(policies) does not name.
  returned: success
  type: list
  elements: str
  sample: []
files:
  description: Files that were written or removed, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: ["/etc/ipsecpolicies.json", "/etc/systemd/system/ipseckeys.service"]
"""

from ansible_collections.ipsec.manual.plugins.module_utils._core.specs import IPSEC_BOOT
from ansible_collections.ipsec.manual.plugins.module_utils._module.base import run
from ansible_collections.ipsec.manual.plugins.module_utils._module.boot.module import apply_boot


def main() -> None:
    run(IPSEC_BOOT, apply_boot)


if __name__ == "__main__":
    main()
