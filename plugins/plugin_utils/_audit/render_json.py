# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A report for programs: JSON, as docs/docsite/rst/audit_report.schema.json describes it. Pure."""

from __future__ import annotations

import json
import typing as t

from .words import plain


def render(report: t.Mapping[str, t.Any]) -> str:
    """The report in ASCII, so that no name in it can act on a terminal."""
    return json.dumps(plain(report), indent=2, allow_nan=False) + "\n"
