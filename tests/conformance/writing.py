# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Commands as text, so that tests can read back what they mean."""

from __future__ import annotations

import typing as t

from ansible_collections.ipsec.manual.plugins.module_utils._core.text import grammar
from ansible_collections.ipsec.manual.plugins.module_utils._core.text.grammar import COMMAND_BY_WORD
from ansible_collections.ipsec.manual.plugins.module_utils._core.text.render import (
    folded,
    quoted,
    words_of,
    words_of_sa,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.text.script import Step, Subject

_TRAFFIC = ("protocol", "source_port", "destination_port")


def text_of(steps: t.Iterable[Step]) -> str:
    """The text of the steps, one command per line, keys included. `script.parse` reads it back as the same
    steps except for their lines. Raises InputError.
    """
    return "".join(folded(_words_of_step(step)) + "\n" for step in steps)


def _words_of_step(step: Step) -> list[str]:
    if step.sa is not None:
        return words_of_sa(step.sa)
    row = COMMAND_BY_WORD[step.command]
    words = [row.name]
    if step.subject is not None:
        return [*words, step.subject.protocol, *words_of(_values(step, step.subject))]
    if step.protocol or row.type == grammar.ANY_TYPE:
        words.append(step.protocol or "all")
    return [*words, quoted(step.word, row.name)] if step.word else words


def _values(step: Step, subject: Subject) -> dict[str, t.Any]:
    """The values of a command about one SA by `Keyword.field`; the inverse of what the reader does."""
    dummy, spi, destination, mark, source, traffic, direction = subject
    named = {"spi": spi, "source": source, "destination": destination, "mark": mark, "direction": direction}
    named.update(zip(_TRAFFIC, traffic))
    named.update(step.lifetimes._asdict())
    return {field: value for field, value in (*named.items(), *step.extra) if value}
