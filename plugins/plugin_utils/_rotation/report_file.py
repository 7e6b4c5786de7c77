# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report of a run, as a file of the controller."""

from __future__ import annotations

import json
import os

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import InputError
from ansible_collections.ipsec.manual.plugins.module_utils._core.files import atomic

from .rotation import Result


def check(path: str) -> None:
    """Raise InputError if the report could not be written there."""
    if not os.access(os.path.dirname(path), os.W_OK | os.X_OK):
        raise InputError(
            "its folder does not exist, or cannot be written", "rotate_report", "Name a file of the controller."
        )


def write(path: str, document: Result) -> None:
    """Write what `report.document` returns. Raises InputError."""
    try:
        umask = os.umask(0)
        os.umask(umask)
        atomic.replace(path, json.dumps(document, indent=2).encode() + b"\n", 0o666 & ~umask)
    except OSError as exc:
        raise InputError(
            f"the report of the run cannot be written ({exc.strerror})", path, "Name another file in rotate_report."
        ) from None
