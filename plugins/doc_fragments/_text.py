# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This doc fragment is private to the collection and may change at any time.

from __future__ import annotations


class ModuleDocFragment:
    """Options of the modules that read sets of SAs as ipseckeys text."""

    DOCUMENTATION = r"""
options:
  content:
    description:
      - SAs in the language of C(ipseckey), one C(add) command each. A C(flush) before the first is
        ignored with a warning, and C(quit) or C(exit) may end the text, as in files for Solaris.
      - Mutually exclusive with O(src).
    type: str
  src:
    description:
      - Path of a file on the target that holds such text.
      - It must be a protected file. Only root may own, read, or replace it, it is not a symbolic
        link, and it is on a local file system.
      - Mutually exclusive with O(content).
    type: path
"""

    READING = r"""
options:
  resolve_names:
    description:
      - Whether to accept host names instead of addresses, and to ask the target's naming service for them.
      - Then whoever controls the naming service chooses the peer.
    type: bool
    default: false
"""
