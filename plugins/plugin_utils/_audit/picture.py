# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The picture of a fleet, as shapes for its page. Pure.

A small fleet is a list of names, with an arc for each pair. A large one is a field of tiles: hosts by
name, and pairs by connection and name, so that each stays in its place from audit to audit. The worse the
finding, the more ink has the tile or the arc, so the picture can be read without its colours.
"""

from __future__ import annotations

import itertools
import typing as t

from .words import LEVELS, NONE, Row, columns, cut

# A larger fleet is drawn as tiles.
MOST_HOSTS, MOST_PAIRS = 40, 300
# In the units of the picture, which are pixels where there is room.
_ROW, _LETTER, _WIDEST = 22, 7.4, 190
_TILE, _FIELD, _SMALL = 11, 46, 6
_GAP = 26
# The side of the ink inside a tile, as a share of the tile.
_INK = {"none": 0.0, "info": 0.25, "low": 0.45, "medium": 0.65, "high": 1.0}
# The same for the small tiles of pairs, which have no frame.
_DOT = {"none": 0.3, "info": 0.45, "low": 0.6, "medium": 0.8, "high": 1.0}
_LONGEST = 24


class Shape(t.NamedTuple):
    """A path; ``title`` says what it stands for, and ``kind`` and ``name`` lead to its section, if it has one."""

    path: str
    css: str
    title: str = ""
    kind: str = ""
    name: str = ""


class Label(t.NamedTuple):
    x: float
    y: float
    text: str
    css: str = ""


class Picture(t.NamedTuple):
    style: str
    width: int
    height: int
    shapes: list[Shape]
    labels: list[Label]
    text: str


def draw(hosts: t.Sequence[Row], pairs: t.Sequence[Row]) -> Picture:
    """The picture that suits the size of the fleet."""
    is_small = len(hosts) <= MOST_HOSTS and len(pairs) <= MOST_PAIRS
    return _arcs(hosts, pairs) if is_small else _tiles(hosts, pairs)


def _arcs(hosts: t.Sequence[Row], pairs: t.Sequence[Row]) -> Picture:
    known = {host["name"]: host for host in hosts}
    others = {name for pair in pairs for name in pair["hosts"]} - set(known)
    places = {name: _ROW * index + _ROW / 2 for index, name in enumerate([*sorted(known), *sorted(others)])}
    height = _ROW * len(places)
    column = int(max([columns(cut(name, _LONGEST)) for name in places], default=0) * _LETTER) + 24
    squeeze = min(1.0, 2 * _WIDEST / max(height, 1))
    shapes, labels = [], []
    between: dict[tuple[str, ...], int] = {}
    # The worst ones last, so that they are on top.
    for pair in sorted(pairs, key=lambda row: -LEVELS.index(row["worst"])):
        for ends in itertools.combinations(sorted(set(pair["hosts"]), key=places.__getitem__), 2):
            between[ends] = between.get(ends, -1) + 1
            top, bottom = (places[end] for end in ends)
            radius = (bottom - top) / 2
            across = radius * squeeze + 5 * between[ends]
            path = f"M{column} {top:g}A{across:g} {radius:g} 0 0 1 {column} {bottom:g}"
            shapes.append(Shape(path, f"arc {pair['worst']}", f"{pair['name']}: {pair['worst']}", "pair", pair["name"]))
    for name, y in places.items():
        host = known.get(name)
        shapes.append(_of_host(host, column - 10, y - 5, 10) if host else Shape(_tile(column - 10, y - 5, 10), NONE))
        labels.append(Label(column - 18, y + 4, cut(name, _LONGEST), "end"))
    wide = column + int(min(height / 2, _WIDEST)) + 20
    return Picture("arcs", wide, height, shapes, labels, "Hosts by name, joined by an arc for each pair.")


def _tiles(hosts: t.Sequence[Row], pairs: t.Sequence[Row]) -> Picture:
    wide = _FIELD * _TILE
    labels = [Label(0, 12, "Hosts, by name")]
    shapes = []
    top = 22
    for index, host in enumerate(sorted(hosts, key=lambda row: str(row["name"]))):
        shapes.append(_of_host(host, index % _FIELD * _TILE, top + index // _FIELD * _TILE, _TILE - 2))
    top += -(-len(hosts) // _FIELD) * _TILE + _GAP
    labels.append(Label(0, top - 10, "Pairs, by connection and name"))
    # Those without trouble are one shape, since there may be thousands of them.
    quiet: dict[str, list[str]] = {}
    many = wide // _SMALL
    for index, pair in enumerate(sorted(pairs, key=lambda row: (row["connection"], row["name"]))):
        worst = pair["worst"]
        path = _dot(index % many * _SMALL, top + index // many * _SMALL, _SMALL, _DOT[worst])
        if worst in (NONE, "info"):
            quiet.setdefault(worst, []).append(path)
        else:
            shapes.append(Shape(path, worst, f"{pair['name']}: {worst}", "pair", pair["name"]))
    shapes += [Shape("".join(paths), worst) for worst, paths in quiet.items()]
    height = top + -(-len(pairs) // many) * _SMALL
    return Picture("tiles", wide, height, shapes, labels, "A tile for each host, and a small one for each pair.")


def _of_host(host: Row, x: float, y: float, side: float) -> Shape:
    """The tile of a host, or a cross if it did not answer."""
    title = f"{host['name']}: {host['worst'] if host['answered'] else 'did not answer'}"
    if host["answered"]:
        return Shape(_tile(x, y, side, host["worst"]), host["worst"], title, "host", host["name"])
    path = f"M{x:g} {y:g}l{side:g} {side:g}m0 {-side:g}l{-side:g} {side:g}"
    return Shape(path, f"silent {host['worst']}", title, "host", host["name"])


def _tile(x: float, y: float, side: float, worst: str = NONE) -> str:
    """A frame with as much ink inside as the finding is bad; filled by the rule evenodd."""
    ink = _INK[worst]
    path = _square(x, y, side)
    if ink < 1:
        path += _square(x + 1, y + 1, side - 2)
    return path + (_dot(x, y, side, ink) if 0 < ink < 1 else "")


def _dot(x: float, y: float, side: float, share: float) -> str:
    """A square in the middle of another."""
    inner = side * share
    return _square(x + (side - inner) / 2, y + (side - inner) / 2, inner)


def _square(x: float, y: float, side: float) -> str:
    return f"M{x:g} {y:g}h{side:g}v{side:g}h{-side:g}z"
