# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This doc fragment is private to the collection and may change at any time.

from __future__ import annotations


class ModuleDocFragment:
    """Options of the filters that look at connections from one host."""

    DOCUMENTATION = r"""
options:
  _input:
    description: Connections, as in O(ipsec.manual.ipsec_keystore#module:connections).
    type: list
    elements: dict
    required: true
  host:
    description: Name of an endpoint.
    type: str
    required: true
  addresses:
    description:
      - The address or the variables of each host, for endpoints without an address in the
        connections. Usually the variable C(hostvars). An empty address counts as missing.
    type: dict
  groups:
    description:
      - Hosts of each group of the inventory, for connections that name groups. Usually the variable
        C(groups).
    type: dict
"""
