# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The result of a task that asks a host the questions of a step. Pure."""

from __future__ import annotations

import typing as t

from .._gate import joined
from . import decisions, notes, staging
from .rotation import PREFLIGHT, Question, Result, Rotation


def of(run: Rotation, step: str, host: str, questions: t.Sequence[Question], answers: t.Mapping[str, Result]) -> Result:
    """What the task of a step says, from the host's answers by the name of the question."""
    # Changes that are only predicted are not shown twice.
    said = {name: answers[name] for name, question in zip(answers, questions) if not question.check}
    predicted = [answers[name] for name, question in zip(answers, questions) if question.check]
    earlier = () if step == PREFLIGHT else run.answers(PREFLIGHT, host).results.values()
    result = _merged(said) if said else {}
    if result and host not in run.state.get("changing", (host,)):
        # It has what it should. Ansible counts what tasks say, and cannot take it back.
        result["changed"] = any(row.get("changed") for name, row in said.items() if name not in staging.TEMPORARY)
    warnings = notes.warnings(result, predicted, earlier, run.state.get("unwise", ()))
    if warnings or result:
        result = {"changed": False, **result, "warnings": warnings}
    return result


def _merged(answers: t.Mapping[str, Result]) -> Result:
    """The result of a task from the answers to its questions. A failure is left out, since a later step decides what
    it means, and reports it with the reason.
    """
    plain = {
        name: {key: value for key, value in answer.items() if key not in ("warnings", "diff")}
        for name, answer in answers.items()
    }
    merged = {**joined([*answers.values()]), "answers": plain}
    if any(map(decisions.has_failed, answers.values())):
        return {name: value for name, value in merged.items() if name not in ("failed", "msg")}
    return merged
