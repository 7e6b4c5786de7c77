# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The drawing of a rotation, from two tables: its phases, and what each place holds while they
pass. A test compares both with the role.

python -m tests.docs.timeline > docs/docsite/rst/rotation.svg
"""

from __future__ import annotations

import itertools
import typing as t
from xml.sax.saxutils import escape

from .diagram import document


class Phase(t.NamedTuple):
    """``steps`` are those of the role's tasks; ``fails`` is what a failure in this phase leads to,
    in the words of the page Rotation.
    """

    name: str
    steps: tuple[str, ...]
    fails: str


class Bar(t.NamedTuple):
    """Keys that are in a place from one phase to another, from the left edge or to the right edge
    if ``begin`` or ``end`` is empty.
    """

    keys: str
    begin: str = ""
    end: str = ""


class Row(t.NamedTuple):
    """One place that holds keys. ``owner`` is said once, at the first of its rows, and so is the name of
    a place that holds old and new keys at the same time.
    """

    owner: str
    place: str
    bars: tuple[Bar, ...]


PHASES = (
    Phase("preflight", ("preflight",), "stops; nothing was touched"),
    Phase("prepare", ("prepare",), "stops; nothing was touched"),
    Phase("stage", ("stage",), "removes what it staged"),
    Phase("cut over", ("switch", "cut_over"), "rolls back"),
    Phase("verify", ("send", "arrivals", "judge"), "rolls back"),
    Phase("persist", ("persist",), "reports; run again"),
    Phase("promote", ("promote",), "run again"),
)
# Steps of the role that are not phases: the rollback, the report at the end, and the removal of what left.
NOT_DRAWN = ("stop", "go_back", "forget", "accept", "unnest", "settle", "forecast", "leave", "left", "end")
OLD, NEW = "old", "new"
_HOST = (
    ("accepts", (Bar(OLD, end="persist"),)),
    ("accepts", (Bar(NEW, "stage"),)),
    ("sends", (Bar(OLD, end="cut over"), Bar(NEW, "cut over"))),
    ("ipseckeys", (Bar(OLD, end="persist"),)),
    ("ipseckeys", (Bar(NEW, "stage"),)),
    ("ipseckeys.next", (Bar(NEW, "stage", "persist"),)),
    ("ipseckeys.previous", (Bar(OLD, "cut over", "persist"),)),
)
ROWS = (
    Row("keystore", "current", (Bar(OLD, end="promote"), Bar(NEW, "promote"))),
    Row("keystore", "next", (Bar(NEW, "prepare", "promote"),)),
    *(Row(host, place, bars) for host in ("enigma", "partym") for place, bars in _HOST),
)

_LEFT, _COLUMN, _TOP, _ROW, _GAP = 190, 98, 62, 26, 14
_RIGHT = _LEFT + _COLUMN * len(PHASES)
_STYLE = (
    "text{font-family:sans-serif;font-size:13px;fill:#1f2328}.name{font-weight:bold}"
    ".quiet{fill:#59636e;font-size:12px}.ground{fill:#fff}"
    ".line{stroke:#d1d9e0}.old{fill:#d8dee4;stroke:#59636e}.new{fill:#0969da;stroke:#0969da}"
    ".on-new{fill:#fff}.back{fill:#fff8c5;stroke:#9a6700}"
    ".back-text{fill:#1f2328;font-size:12px}"
    "@media(prefers-color-scheme:dark){text{fill:#f0f6fc}.quiet{fill:#9198a1}.ground{fill:#0d1117}.line{stroke:#3d444d}"
    ".old{fill:#3d444d;stroke:#9198a1}.new{fill:#1f6feb;stroke:#1f6feb}.on-new{fill:#fff}"
    ".back{fill:#3b2f0b;stroke:#d29922}.back-text{fill:#f0f6fc}}"
)
_DESCRIPTION = (
    "Two hosts get new keys in seven phases. Preflight changes nothing. Prepare writes the new keys to the keystore, as"
    " its next generation. Stage writes them to each host, as the file ipseckeys.next, and the host accepts packets"
    " through them. In cut over both hosts begin to send through the new keys instead of the old ones, which they keep"
    " in the file ipseckeys.previous. Verify compares the hosts. In persist they stop accepting packets through the old"
    " keys, and remove the two other files. The protected file ipseckeys of each host changes in the same order."
    " Promote makes the new keys current in the keystore. Up to stage, a failure changes nothing that is in use;"
    " in cut over and verify it makes all hosts roll back to the old keys; after that, another run finishes the job."
)


def draw() -> str:
    """The SVG."""
    parts = []
    y = _TOP
    for owner, rows in itertools.groupby(ROWS, key=lambda row: row.owner):
        parts.append(_text(16, y + 18, owner, "name"))
        place = ""
        for row in rows:
            if row.place != place:
                parts.append(_text(_LEFT - 12, y + 18, row.place, "quiet", "end"))
            place = row.place
            parts += [_bar(bar, y) for bar in row.bars]
            y += _ROW
        y += _GAP
    columns = [_column(index, phase.name, y) for index, phase in enumerate(PHASES)]
    failures = [_text(16, y + 24, "a failure here", "name")]
    at = 0
    for fails, group in itertools.groupby(phase.fails for phase in PHASES):
        wide = len(list(group))
        failures += _failure(fails, at, wide, y)
        at += wide
    height = y + 56
    ground = f'<rect width="{_RIGHT + 16}" height="{height}" rx="6" class="ground"/>'
    return document(
        "tests/docs/timeline.py",
        (_RIGHT + 16, height),
        ("A rotation, phase by phase", _DESCRIPTION),
        _STYLE,
        [ground, *columns, *parts, *failures],
    )


def _moment(phase: str, edge: int) -> int:
    """The x position at which a phase does its work: its middle."""
    names = [known.name for known in PHASES]
    return _LEFT + _COLUMN * names.index(phase) + _COLUMN // 2 if phase else edge


def _column(index: int, name: str, bottom: int) -> str:
    x = _LEFT + _COLUMN * index
    line = f'<line x1="{x}" y1="20" x2="{x}" y2="{bottom - 4}" class="line"/>'
    return (
        line
        + _text(x + _COLUMN // 2, 32, name, "name", "middle")
        + _text(x + _COLUMN // 2, 49, str(index + 1), "quiet", "middle")
    )


def _bar(bar: Bar, y: int) -> str:
    begin, end = _moment(bar.begin, _LEFT), _moment(bar.end, _RIGHT)
    shape = f'<rect x="{begin}" y="{y + 3}" width="{end - begin}" height="{_ROW - 6}" rx="3" class="{bar.keys}"/>'
    label = f"{bar.keys} keys" if end - begin >= _COLUMN else bar.keys
    return shape + _text((begin + end) // 2, y + 17, label, f"on-{bar.keys}", "middle")


def _failure(fails: str, at: int, wide: int, y: int) -> t.Iterator[str]:
    x, width = _LEFT + _COLUMN * at + 3, _COLUMN * wide - 6
    yield f'<rect x="{x}" y="{y}" width="{width}" height="40" rx="3" class="back"/>'
    half = len(fails) // 2
    cut = fails.find(" ", half - 3) if wide == 1 and len(fails) > 10 else -1
    lines = [fails] if cut < 0 else [fails[:cut], fails[cut + 1 :]]
    for index, line in enumerate(lines):
        yield _text(x + width // 2, y + 24 + 15 * index - 7 * (len(lines) - 1), line, "back-text", "middle")


def _text(x: int, y: int, words: str, kind: str, anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>'


if __name__ == "__main__":
    import sys

    sys.stdout.write(draw())
