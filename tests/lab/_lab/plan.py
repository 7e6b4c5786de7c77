# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Computes the complete plan of a lab from host names, without side effects."""

from __future__ import annotations

import ipaddress
import re
import typing as t

from . import tables
from .errors import LabError

HOST_NAME = re.compile(r"[a-z][a-z0-9]{0,9}")  # at most 10, so that interface names fit the kernel's 15
LAB_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


class Host(t.NamedTuple):
    """One host: management address (ssh) and data network (IPsec)."""

    name: str
    management: str
    data: tables.Network | None


def lab_name(text: str, *, new: bool) -> str:
    """Check a lab's name; those of `exec` are not for new labs."""
    if not LAB_NAME.fullmatch(text) or (new and text.startswith(tables.EXEC)):
        raise LabError(f"lab name {text!r}: use 1 to 32 of a-z, 0-9 and '-', not '-' first, nor '{tables.EXEC}'.")
    return text


def data_network(name: str, index: int) -> tables.Network:
    """The host's addresses from the guide, or generated ones; index counts the lab's hosts from 0."""
    if name in tables.KNOWN_HOSTS:
        return tables.KNOWN_HOSTS[name]
    return tables.Network(
        f"10.116.{index}.16", f"10.116.{index}.1", f"fd00:10:116:{index:x}::16", f"fd00:10:116:{index:x}::1"
    )


def plan_hosts(names: t.Sequence[str]) -> tuple[Host, ...]:
    """Hosts with their addresses, in the order named."""
    wrong = [name for name in names if not HOST_NAME.fullmatch(name) or name in tables.RESERVED_NAMES]
    if wrong:
        reserved = ", ".join(sorted(tables.RESERVED_NAMES))
        raise LabError(
            f"host names {', '.join(map(repr, wrong))}: use 1 to 10 of a-z and 0-9, a letter first, none of {reserved}."
        )
    if len(set(names)) != len(names):
        raise LabError(f"host names {', '.join(names)}: each name once.")
    if not 1 <= len(names) <= 200:
        raise LabError(f"{len(names)} hosts: a lab has 1 to 200.")
    management = ipaddress.ip_network(tables.MANAGEMENT)
    return tuple(
        Host(name, str(management[256 + index]), data_network(name, index)) for index, name in enumerate(names)
    )


def cell() -> tuple[Host, ...]:
    """The host of `lab exec`: without links, since its commands create their own."""
    return (Host(tables.CELL, "", None),)
