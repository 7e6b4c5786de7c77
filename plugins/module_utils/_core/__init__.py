# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The core: SAs, policies, the language of ipseckey, kernels, the protected file, and the command.

It imports Python's standard library and itself only, and runs on Python 3.8 and later. It is private to
the collection and may change at any time, as everything in ``module_utils`` and ``plugin_utils``.
"""
