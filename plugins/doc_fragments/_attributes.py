# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This doc fragment is private to the collection and may change at any time.

from __future__ import annotations


class ModuleDocFragment:
    """Attributes that modules share."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Predicts what it would change, and changes nothing.
  diff_mode:
    description: Returns what it changed, or would change in check mode, when asked for a difference.
  idempotent:
    description: A second run with the same options changes nothing, unless something else did.
  platform:
    description: Target systems that it works on.
    support: full
    platforms: Linux, Solaris, illumos, FreeBSD, NetBSD
    details:
      - On Solaris and illumos through C(ipseckey), not yet run there. It is tested against a model
        of that utility, and against the C(ipseckey) of this collection on Linux.
      - On FreeBSD and NetBSD through PF_KEY, not yet run there. Its messages are tested, and the
        same code runs on Linux.
  action_group:
    description: Use C(group/ipsec.manual.ipsec) in C(module_defaults) to set options for all modules of the collection.
    support: full
    membership:
      - ipsec.manual.ipsec
"""

    # Modules that change something.
    CHANGES = r"""
options: {}
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - Shows fingerprints instead of keys.
  idempotent:
    support: full
"""

    # Modules that only read.
    INFO = r"""
options: {}
attributes:
  check_mode:
    support: full
    details:
      - Changes nothing in any mode.
  diff_mode:
    support: N/A
    details:
      - Changes nothing, so there is no difference to show.
  idempotent:
    support: full
"""

    # Modules that have no option for keys.
    KEYLESS = r"""
options: {}
notes:
  - A key in one of its options, and an option that does not exist, are refused on the controller,
    since Ansible would show their values.
"""
