# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: ipsec_spi
short_description: Draw a fresh SPI for an IPsec security association
description:
  - Returns random security parameters indexes (SPIs) from the random number generator of the
    controller's operating system.
  - They lie between 256 and 4294967295, since 0 to 255 are reserved. See RFC 4303, section 2.1.
  - They differ from each other and from those that are to be excluded. An SPI must be unique at the
    receiving host, so exclude what that host uses.
author:
  - ipsec.manual contributors (!UNKNOWN)
options:
  _terms:
    description:
      - SPIs to exclude, as O(exclude). May be empty.
    type: list
    elements: str
  exclude:
    description:
      - SPIs that are in use, written as in O(ipsec.manual.ipsec_sa#module:spi). V(0) to V(255) are accepted too.
      - Or dictionaries that have one as C(spi), such as those of RV(ipsec.manual.ipsec_sa_info#module:sas).
    type: list
    elements: raw
    default: []
  keystore:
    description:
      - A keystore's directory on the controller, as in
        O(ipsec.manual.ipsec_keystore#module:directory). SPIs that any of its generations has, or
        has had with random keys, are excluded too.
    type: str
  destination:
    description:
      - Address of the receiving host. Of the keystore's current, next, and previous generations
        only the SPIs towards it are excluded then. Needed with derived keys in large numbers, since
        theirs are stored nowhere.
    type: str
  count:
    description:
      - How many to draw.
    type: int
    default: 1
seealso:
  - plugin: ipsec.manual.ipsec_key
    plugin_type: lookup
  - module: ipsec.manual.ipsec_sa_info
  - name: RFC 4303
    description: IP Encapsulating Security Payload (ESP).
    link: https://www.rfc-editor.org/rfc/rfc4303
"""

EXAMPLES = r"""
---
- name: See which SPIs are in use
  ipsec.manual.ipsec_sa_info:
  register: sadb

- name: Draw two that are not, one for each direction
  ansible.builtin.debug:
    msg: "{{ query('ipsec.manual.ipsec_spi', exclude=sadb.sas, keystore='keystore', count=2) }}"
"""

RETURN = r"""
_raw:
  description:
    - SPIs, each V(0x) and eight hexadecimal digits.
  type: list
  elements: str
"""

import contextlib
import os
import typing as t

from ansible.utils.display import Display

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import InputError
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import SPI_MAX, SPI_MIN, pack_address
from ansible_collections.ipsec.manual.plugins.module_utils._core.text.values import parse_number, parse_spi
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.model import connection_of
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.directory import open_keystore
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.generations import allocator_of
from ansible_collections.ipsec.manual.plugins.plugin_utils._lookup import Lookup

display = Display()


class LookupModule(Lookup):
    name = "ipsec_spi"

    def found(self, terms: list[str], variables: t.Mapping[str, t.Any]) -> list[str]:
        used = [read_excluded(word) for word in (*terms, *self.get_option("exclude"))]
        for doubt in sorted({doubt for dummy, doubt in used if doubt}):
            display.warning(f"ipsec.manual.ipsec_spi: exclude: {doubt}.")
        return [f"0x{spi:08x}" for spi in draw(self.get_option("count"), {spi for spi, dummy in used} | self._kept())]

    def _kept(self) -> set[int]:
        """The SPIs that the keystore knows."""
        directory, destination = self.get_option("keystore"), self.get_option("destination")
        if not directory and destination:
            raise InputError(
                "a destination is given, but no keystore to look for its SPIs in",
                "destination",
                "Give keystore, or omit destination.",
            )
        if not directory:
            return set()
        store = open_keystore(self._loader, directory)
        known = store.read_all()
        spis = allocator_of(known.values(), store.read_roots().secrets())
        if destination:
            return {*spis.reported, *spis.towards(pack_address(destination, "destination"))}
        ends = {
            end
            for whole in known.values()
            for record in whole.records
            for generation in record.generations()
            for dummy, ends in connection_of(record.connection, generation.settings).flows()
            for end in ends
        }
        return set(spis.reported).union(*map(spis.towards, ends))


def read_excluded(word: t.Any) -> tuple[int, str]:
    """An SPI and a warning, like `parse_spi`. A SADB may also report 0 (no SPI assigned yet) and 1 to
    255; these are never drawn.
    """
    word = str(word.get("spi", "") if isinstance(word, dict) else word)
    with contextlib.suppress(InputError):
        spi = parse_number(word, 8)
        if spi < SPI_MIN:
            return spi, ""
    return parse_spi(word, "exclude")


def draw(count: int, used: t.AbstractSet[int]) -> list[int]:
    """Draw ``count`` different SPIs that are not in ``used``."""
    if not 0 <= count <= SPI_MAX // 2 - len(used):
        raise InputError(f"{count} SPIs cannot be drawn", "count", "Choose a number from 0 to some millions.")
    found: dict[int, None] = {}
    while len(found) < count:
        spi = int.from_bytes(os.urandom(4), "big")
        if spi >= SPI_MIN and spi not in used:
            found[spi] = None
    return list(found)
