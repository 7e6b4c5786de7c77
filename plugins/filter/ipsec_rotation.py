# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filters that decide about a rotation. Pure; each has its page beside this file."""

from __future__ import annotations

import typing as t

from ansible_collections.ipsec.manual.plugins.plugin_utils import _rotation


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {
            "ipsec_agreement": _rotation.agreement,
            "ipsec_clocks": _rotation.clocks,
            "ipsec_out_of_place": _rotation.in_place,
            "ipsec_probe_verdict": _rotation.probe_verdict,
            "ipsec_reload_problems": _rotation.reload_problems,
            "ipsec_resumed_hosts": _rotation.resumed_hosts,
            "ipsec_roll_back_hosts": _rotation.roll_back_hosts,
            "ipsec_rotation_report": _rotation.report,
            "ipsec_settled_hosts": _rotation.settled_hosts,
            "ipsec_task_problems": _rotation.task_problems,
        }
