# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_utils is private to the collection and may change at any time.

"""``python3 -m ipseckey``, where this folder was copied under that name."""

from __future__ import annotations

from .command import main

if __name__ == "__main__":
    raise SystemExit(main())
