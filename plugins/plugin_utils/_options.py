# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of a lookup. Ansible ignores unknown names, so a misspelt one could draw an SPI that is in use."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import shown


def set_known(lookup: LookupBase, name: str, variables: t.Any, given: t.Mapping[str, t.Any]) -> None:
    """Set the options of the lookup ``name``. Raises AnsibleLookupError for an unknown option."""
    lookup.set_options(var_options=variables, direct=given)
    known = sorted(option for option in lookup.get_options() if not option.startswith("_"))
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise AnsibleLookupError(
            f"ipsec.manual.{name}: there is no option {shown(unknown[0])}. Known are: {', '.join(known)}."
        )
