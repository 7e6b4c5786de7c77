# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Garbage-collector settings for tens of thousands of objects."""

from __future__ import annotations

import contextlib
import gc
import typing as t

# The number of objects from which it is worthwhile to keep them from the garbage collector.
_MANY = 1000


@contextlib.contextmanager
def no_collection() -> t.Iterator[None]:
    """Turn the cyclic garbage collector off, which would traverse tens of thousands of new tuples
    again and again; none of them is in a cycle.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def keep(made: t.Sized) -> None:
    """Exclude all objects that are alive from garbage collection if ``made`` is large. Without
    cycles, reference counting frees them anyway.
    """
    if len(made) > _MANY:
        gc.freeze()
