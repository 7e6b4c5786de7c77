# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_utils is private to the collection and may change at any time.

"""The core: a package that knows no Ansible, and the ipseckey command (``python3 -m ipseckey``) where this folder was copied under that name."""

from __future__ import annotations

if "." not in __name__:
    # A package of its own: it is there to be run. Galaxy takes no file named __main__.py, so command.py answers to that name.
    import importlib.machinery
    import importlib.util
    import os
    import sys
    import typing as t

    class _Command:
        @staticmethod
        def find_spec(name: str, path: t.Sequence[str] | None = None, target: object = None) -> importlib.machinery.ModuleSpec | None:
            if name != f"{__name__}.__main__":
                return None
            return importlib.util.spec_from_file_location(name, os.path.join(os.path.dirname(__file__), "command.py"))

    sys.meta_path.append(_Command)
