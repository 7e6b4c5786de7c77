# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the module ipsec_preflight, and keeps the secret of the run hidden on the way to the target."""

from __future__ import annotations

from ansible_collections.ipsec.manual.plugins.module_utils._core.specs import IPSEC_PREFLIGHT
from ansible_collections.ipsec.manual.plugins.plugin_utils._secret_action import ModuleAction


class ActionModule(ModuleAction):
    module = "ipsec.manual.ipsec_preflight"
    arguments = IPSEC_PREFLIGHT
    digests = ("expected",)
