# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The only error class of the lab."""

from __future__ import annotations


class LabError(Exception):
    """What is wrong, where, and what to do, in one text for the user."""
