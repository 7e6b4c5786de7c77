# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Work that makes ten thousands of objects."""

from __future__ import annotations

import contextlib
import gc
import typing as t

# Objects from which on they are worth being kept from the garbage collector.
_MANY = 1000


@contextlib.contextmanager
def no_collection() -> t.Iterator[None]:
    """Without the cyclic garbage collector, which would walk ten thousands of fresh tuples again
    and again; none of them is in a cycle.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def keep(made: t.Sized) -> None:
    """Spare the collector what is alive now, where ``made`` is much of it: it goes when nobody
    refers to it, collector or not.
    """
    if len(made) > _MANY:
        gc.freeze()
