# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The work of ipsec_status: the status of a host, for the table of a fleet."""

from __future__ import annotations

import typing as t

from .._core.audit import sas as audit_sas
from .._core.errors import InputError
from .._core.program.status import Status, due, gather, wrong
from .._core.sa.digest import digest_by_owner, name_by_owner
from .._core.sa.model import Entry, SecurityAssociation
from .base import Module, Result
from .secrets import take_digest_key
from .usage import usage

# Sentences of each kind that are returned.
MOST_SENTENCES = 20
LONGEST_SENTENCE = 1000


def status(module: Module) -> Result:
    """What can be seen of the host. Fails only for wrong options."""
    path = module.params["path"] or ""
    if path and not path.startswith("/"):
        raise InputError("it is not absolute", "path", "Begin it with /.")
    digest_key = take_digest_key(module)
    found = gather(path, module.params["backend"])
    sas = [entry.sa for entry in found.entries]
    return {
        "changed": False,
        "epoch": found.now,
        "service": found.service._asdict(),
        "file": {
            "path": found.file.status.path,
            "exists": found.file.status.exists,
            "sas": found.file.sas,
            "pending": found.file.pending,
        },
        "backend": found.backend,
        "keys_hidden": found.keys_hidden,
        "held": {} if found.keys_hidden else digest_by_owner(sas, digest_key),
        "pairs": _pairs(found),
        "usage": usage(found.entries, None, found.now),
        "asked": _names(entry.sa for entry in found.marked),
        "policies": _policies(found),
        "wrong": _sentences(wrong(found)),
        "due": _sentences(due(found)),
        "unseen": _sentences(map(str, found.unseen)),
    }


def _pairs(found: Status) -> dict[str, Result]:
    """Facts about the SAs of each pair of addresses and owner."""
    groups: dict[str, list[Entry]] = {}
    for entry in found.entries:
        groups.setdefault(name_by_owner(entry.sa), []).append(entry)
    return {name: _pair(*audit_sas.pairs(group, frozenset(), found.now)) for name, group in groups.items()}


def _pair(row: audit_sas.PairFacts) -> Result:
    return {
        "sas": row.outbound + row.inbound + row.unknown,
        "age": row.oldest,
        "limit": row.scarcest.name,
        "left": row.scarcest.percent_left,
    }


def _policies(found: Status) -> Result | None:
    facts = found.policies
    if facts is None:
        return None
    return {
        "total": facts.total,
        "leaking": _names(facts.leaking),
        "open": _names(facts.open),
        "waiting": len(facts.waiting),
        "optional": len(facts.optional),
    }


def _names(sas: t.Iterable[SecurityAssociation]) -> list[str]:
    return sorted(set(map(name_by_owner, sas)))


def _sentences(found: t.Iterable[str]) -> list[str]:
    """As many as are worth reading, in one line each, and the number of the others."""
    rows = list(found)
    more = [f"and {len(rows) - MOST_SENTENCES} more"] if len(rows) > MOST_SENTENCES else []
    return [*(" ".join(row.split())[:LONGEST_SENTENCE] for row in rows[:MOST_SENTENCES]), *more]
