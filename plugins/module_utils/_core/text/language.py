# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The text form of SAs: the command language of Solaris' ``ipseckey`` and of its file
``ipseckeys``. `parse` reads it, `render` writes it.

One table, `grammar.KEYWORDS`, says what every word means; both follow it. What ipseckey does
silently and to the user's harm (cutting numbers and keys, filling up keys, swallowing lines, losing
text after quotes) is refused with line and column. No message ever shows a key."""

from __future__ import annotations

import typing as t

from ..sa.checks import Allowed
from ..sa.model import Pair, SecurityAssociation, pair
from .grammar import LINUX, SAS, SOLARIS
from .render import render
from .script import ScriptReader
from .solaris import refusals

__all__ = ["Document", "SOLARIS", "parse", "refusals", "render"]


class Document(t.NamedTuple):
    """The SAs of the text ``name``. ``lines[i]`` is the line, from 1, on which ``sas[i]`` begins.

    ``warnings`` are pairs of a sentence about how the text was understood, and the place. What is
    unwise about an SA itself is in `checks.warnings`."""

    sas: tuple[SecurityAssociation, ...]
    lines: tuple[int, ...]
    warnings: tuple[tuple[str, str], ...]
    name: str

    def placed(self) -> t.Iterator[tuple[SecurityAssociation, str]]:
        """Every SA with its place, for messages."""
        return ((sa, f"{self.name}, line {number}") for sa, number in zip(self.sas, self.lines))

    def without(self, pairs: t.AbstractSet[Pair]) -> Document:
        """The text without the SAs between these pairs of addresses."""
        if not pairs:
            return self
        kept = [(sa, number) for sa, number in zip(self.sas, self.lines) if pair(sa) not in pairs]
        return self._replace(sas=tuple(sa for sa, dummy in kept), lines=tuple(number for dummy, number in kept))


def parse(
    text: str | bytes,
    name: str = "text",
    target: str = LINUX,
    resolve_names: bool = False,
    **allowed: bool,
) -> Document:
    """The SAs of a text of add commands (`grammar.SAS`); options and errors are those of `script.parse`."""
    reader = ScriptReader(name, SAS, target, resolve_names, Allowed(**allowed))
    reader.read(text)
    return Document(tuple(reader.sas), tuple(reader.lines), tuple(reader.report.warnings), name)
