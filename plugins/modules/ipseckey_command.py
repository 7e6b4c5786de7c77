#!/usr/bin/python
# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ipseckey_command
short_description: Install the ipseckey command
description:
  - Installs the command C(ipseckey) for Linux as one executable file, with its manual page and its
    completion for bash. Downloads nothing.
  - The program is the part of this collection that the modules run on, and is replaced as a whole
    if that changes. It needs only Python's standard library, and imports modules neither from the
    paths of the environment nor from the current directory.
  - A program that does not start is not installed.
author:
  - ipsec.manual contributors (!UNKNOWN)
extends_documentation_fragment:
  - ipsec.manual._attributes
  - ipsec.manual._attributes.keyless
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - Shows digests of the files.
  idempotent:
    support: full
options:
  state:
    description:
      - Whether the command should be installed.
      - V(absent) also removes the directories C(share/man/man8) and
        C(share/bash-completion/completions) of the prefix if they are empty.
    type: str
    choices: [absent, present]
    default: present
  prefix:
    description:
      - Directory below which the files are installed, as C(sbin/ipseckey),
        C(share/man/man8/ipseckey.8), and C(share/bash-completion/completions/ipseckey).
    type: path
    default: /usr/local
  python:
    description:
      - Path of the Python that runs the command, 3.8 or later.
      - If missing, C(/usr/bin/python3) if it exists, otherwise the one that Ansible uses on the target.
    type: path
requirements:
  - Python 3.8 or later on the target, nothing else.
seealso:
  - module: ipsec.manual.ipsec_sadb
  - module: ipsec.manual.ipseckeys_file
  - ref: ansible_collections.ipsec.manual.docsite.recovery
    description: What the command's messages mean. The role P(ipsec.manual.boot#role) installs it.
  - name: RFC 2367
    description: PF_KEY, whose terms ipseckey uses.
    link: https://www.rfc-editor.org/rfc/rfc2367
"""

EXAMPLES = r"""
---
- name: Install the command
  ipsec.manual.ipseckey_command:

- name: Install it on the controller, for the current user, to check texts there
  delegate_to: localhost
  become: false
  run_once: true
  ipsec.manual.ipseckey_command:
    prefix: "{{ lookup('env', 'HOME') }}/.local"

- name: Check a text there, as a pipeline or a pre-commit hook would
  delegate_to: localhost
  become: false
  run_once: true
  changed_when: false
  ansible.builtin.command:
    argv:
      - "{{ lookup('env', 'HOME') }}/.local/sbin/ipseckey"
      - -n
      - --text-only
      - -c
      - keys/ipseckeys

- name: Remove the command
  ipsec.manual.ipseckey_command:
    state: absent
"""

RETURN = r"""
path:
  description: Path of the command.
  returned: success
  type: str
  sample: /usr/local/sbin/ipseckey
files:
  description: Files that were written or removed, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: ["/usr/local/sbin/ipseckey", "/usr/local/share/man/man8/ipseckey.8"]
"""

from ansible_collections.ipsec.manual.plugins.module_utils._core.specs import IPSECKEY_COMMAND
from ansible_collections.ipsec.manual.plugins.module_utils._module.base import run
from ansible_collections.ipsec.manual.plugins.module_utils._module.command import apply_program


def main() -> None:
    run(IPSECKEY_COMMAND, apply_program)


if __name__ == "__main__":
    main()
