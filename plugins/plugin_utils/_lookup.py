# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The common part of the lookups: which options they have, and how their errors begin."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import InputError, IpsecError, shown


class Lookup(LookupBase):
    """Refuses unknown options, which Ansible ignores: a misspelt one could draw an SPI that is in use."""

    name = ""

    def run(self, terms: list[t.Any], variables: t.Any = None, **kwargs: t.Any) -> list[str]:
        self.set_options(var_options=variables, direct=kwargs)
        known = sorted(option for option in self.get_options() if not option.startswith("_"))
        unknown = sorted(set(kwargs) - set(known))
        try:
            if unknown:
                raise InputError(f"there is no option {shown(unknown[0])}", "", f"Known are: {', '.join(known)}.")
            return self.found(terms, variables or {})
        except IpsecError as exc:
            raise AnsibleLookupError(f"ipsec.manual.{self.name}: {exc}") from exc

    def found(self, terms: list[t.Any], variables: t.Mapping[str, t.Any]) -> list[str]:
        """The result. Raises IpsecError."""
        raise NotImplementedError
