# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The status of a host on one screen of 80 columns, and as JSON."""

from __future__ import annotations

import typing as t

from ..audit.sas import PairFacts
from ..errors import counted
from ..sa.model import format_address, label
from ..spd.policy import label as policy_label
from .completion import wrapped
from .display import visible
from .options import COMMAND_WORDS
from .status import Status, due, wrong

WIDTH = 80
_INDENT = 10
# Lines of a list, unless all are wanted.
_MOST_PEERS = 8
_MOST_SENTENCES = 3
# Seconds from which on, unit, and its seconds.
_SPANS = ((2 * 86400, "d", 86400), (2 * 3600, "h", 3600), (120, "min", 60))


def screen(status: Status, everything: bool = False) -> str:
    """The status for people; lists are cut unless ``everything`` is wanted."""
    lines = [
        *_paragraph("service", _service(status)),
        *_paragraph("file", _file(status)),
        *_paragraph("SAs", _sas(status)),
        *_peers(status.pairs, everything),
        *_paragraph("policies", _policies(status)),
    ]
    rows = (
        ("wrong", wrong(status)),
        ("due", due(status)),
        ("unseen", [problem.spelled(COMMAND_WORDS) for problem in status.unseen]),
    )
    for title, sentences in rows:
        shown = sentences if everything else sentences[:_MOST_SENTENCES]
        for sentence in shown:
            lines += _paragraph(title, sentence)
            title = ""
        if len(shown) < len(sentences):
            lines += _paragraph("", f"and {len(sentences) - len(shown)} more: add -v")
    if not any(sentences for dummy, sentences in rows):
        lines += _paragraph("wrong", "nothing")
    return "".join(f"{line}\n" for line in lines)


def exit_status(status: Status) -> int:
    """0 if all is well, 1 if something is wrong or due, 2 if neither can be seen, but not everything can be."""
    return 1 if wrong(status) or due(status) else 2 if status.unseen else 0


def span(seconds: int) -> str:
    """A time in its largest fitting unit."""
    unit, size = next(((unit, size) for start, unit, size in _SPANS if seconds >= start), ("s", 1))
    return f"{seconds // size} {unit}"


def _paragraph(title: str, text: str) -> t.Iterator[str]:
    for line in wrapped(visible(text), WIDTH - _INDENT) or [""]:
        yield f"{title:<{_INDENT}}{line}".rstrip()
        title = ""


def _service(status: Status) -> str:
    service = status.service
    if not service.manager:
        return "unknown: no known service manager"
    if not service.installed:
        return f"{service.manager}: absent"
    enabled = "enabled" if service.enabled else "disabled"
    files = " and ".join(filter(None, (service.file, service.policies_file)))
    alone = ", and no policies" if service.loads_sas_alone else ""
    return f"{service.manager}: {enabled}, {service.state}; loads {files or 'nothing'}{alone}"


def _file(status: Status) -> str:
    found = status.file
    if not found.status.exists:
        return f"{found.status.path}: {'absent' if found.sas is not None else 'cannot be seen'}"
    words = [
        counted(found.sas, "SA") if found.sas is not None else "unread",
        f"mode {found.status.mode:04o}",
        f"owner {'root' if found.status.uid == 0 else f'user {found.status.uid}'}",
    ]
    if found.pending is not None:
        words.append("as in the kernel" if not found.pending else "not as in the kernel")
    return f"{found.status.path}: {', '.join(words)}"


def _sas(status: Status) -> str:
    if not status.backend:
        return "cannot be seen"
    peers = f" with {counted(len(status.pairs), 'peer')}" if status.pairs else ""
    larval = f", and {counted(status.larval, 'reserved SPI')}" if status.larval else ""
    return f"{len(status.entries):,}{peers}{larval}"


def _peers(pairs: t.Sequence[PairFacts], everything: bool) -> t.Iterator[str]:
    """A table of peers, the worst first."""
    if not pairs:
        return
    shown = pairs if everything else pairs[:_MOST_PEERS]
    rows = [("peer", "out", "in", "age", "least left")]
    rows += [
        (
            format_address(row.peer),
            str(row.outbound + row.unknown),
            str(row.inbound),
            span(row.oldest) if row.oldest else "-",
            f"{row.scarcest.percent_left}% {row.scarcest.name}",
        )
        for row in shown
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for peer, out, arriving, age, left in rows:
        yield f"{peer:<{widths[0]}} {out:>{widths[1]}} {arriving:>{widths[2]}} {age:>{widths[3]}}  {left}"
    if len(shown) < len(pairs):
        yield f"and {counted(len(pairs) - len(shown), 'peer')} more: add -v"


def _policies(status: Status) -> str:
    facts = status.policies
    if facts is None:
        return "cannot be seen" if status.unseen else "not shown on this system"
    return (
        f"{facts.total}; SAs without a policy: {len(facts.leaking)} out, {len(facts.open)} in; policies without an SA:"
        f" {len(facts.waiting)}"
    )


def record(status: Status) -> dict[str, t.Any]:
    """The status for programs; None for what cannot be seen."""
    facts, file = status.policies, status.file
    return {
        "service": status.service._asdict(),
        "file": {
            "path": file.status.path,
            "exists": file.status.exists,
            "mode": f"{file.status.mode:04o}",
            "uid": file.status.uid,
            "sas": file.sas,
            "pending": file.pending,
        },
        "sas": len(status.entries) if status.backend else None,
        "larval": status.larval,
        "keys_hidden": status.keys_hidden,
        "peers": list(map(_peer, status.pairs)),
        "policies": (
            None
            if facts is None
            else {
                "total": facts.total,
                "leaking": list(map(label, facts.leaking)),
                "open": list(map(label, facts.open)),
                "waiting": list(map(policy_label, facts.waiting)),
                "optional": list(map(policy_label, facts.optional)),
                "pending": status.policies_pending,
            }
        ),
        "rotation_due": list(map(label, (entry.sa for entry in status.marked))),
        "wrong": wrong(status),
        "due": due(status),
        "unseen": [problem.spelled(COMMAND_WORDS) for problem in status.unseen],
    }


def _peer(row: PairFacts) -> dict[str, t.Any]:
    return {
        "peer": format_address(row.peer),
        "outbound": row.outbound,
        "inbound": row.inbound,
        "unknown": row.unknown,
        "oldest": row.oldest,
        "youngest": row.youngest,
        "scarcest": {
            **row.scarcest._asdict(),
            "left": row.scarcest.left,
            "percent_left": row.scarcest.percent_left,
        },
        "due": list(map(str, row.due)),
    }
