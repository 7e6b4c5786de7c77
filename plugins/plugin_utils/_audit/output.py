# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files of a report on the controller: one in each format, and the history that the next audit is
compared with.
"""

from __future__ import annotations

import json
import os
import re
import typing as t

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import InputError, IpsecError
from ansible_collections.ipsec.manual.plugins.module_utils._core.files import atomic

from . import render_html, render_json, render_prometheus, render_text
from .fleet import Row
from .kinds import SEVERITIES
from .report import FORMAT

FORMATS: t.Mapping[str, tuple[str, t.Callable[[Row], str]]] = {
    "html": ("report.html", render_html.render),
    "json": ("report.json", render_json.render),
    "text": ("report.txt", render_text.render),
    "prometheus": ("ipsec_audit.prom", render_prometheus.render),
}
# Reports say where a fleet is weak.
_DIRECTORY_MODE, _FILE_MODE = 0o700, 0o600
_KEPT = re.compile(r"audit-[0-9]{8}T[0-9]{6}Z\.json")
_MOST_BYTES = 1 << 28


def directory_of(path: str) -> str:
    """The directory of reports. Raises InputError for one that an update of the collection would remove."""
    if "ansible_collections" in path.split(os.sep):
        raise InputError(
            "the report would be inside an installed collection",
            path,
            "Set audit_directory to a directory of your own, or to nothing.",
        )
    return path


def write(directory: str, report: Row, formats: t.Iterable[str]) -> list[str]:
    """Write the report in these formats, and keep it for the next audit. Returns the paths. Raises
    IpsecError if a file cannot be written.
    """
    kept = _kept_as(report["made"])
    texts = {kept: render_json.render(report), **{name: render(report) for name, render in _wanted(formats)}}
    try:
        os.makedirs(directory, _DIRECTORY_MODE, exist_ok=True)
        for name, text in texts.items():
            atomic.replace(os.path.join(directory, name), text.encode("utf-8", "backslashreplace"), _FILE_MODE)
    except OSError as exc:
        raise IpsecError(
            f"the report cannot be written: {exc.strerror}", exc.filename or directory, "Name another audit_directory."
        ) from None
    return [os.path.join(directory, name) for name in texts]


def _wanted(formats: t.Iterable[str]) -> t.Iterator[tuple[str, t.Callable[[Row], str]]]:
    return (FORMATS[name] for name in dict.fromkeys(formats))


def _kept_as(made: str) -> str:
    return f"audit-{re.sub('[-:]', '', made)}.json"


def previous(directory: str, made: str) -> tuple[Row | None, list[str]]:
    """The newest report before this time that is kept there and can be read, and a warning for each newer one
    that cannot. One of later was made while the clock was wrong.
    """
    last = _kept_as(made)
    try:
        names = sorted((name for name in os.listdir(directory) if _KEPT.fullmatch(name) and name <= last), reverse=True)
    except OSError:
        return None, []
    warnings: list[str] = []
    for name in names:
        path = os.path.join(directory, name)
        try:
            with open(path, encoding="utf-8") as file:
                return read(file.read(_MOST_BYTES)), warnings
        except (OSError, ValueError) as exc:
            warnings.append(f"{path} is not a report of an audit ({exc}), so nothing is compared with it. Remove it.")
    return None, warnings


def read(text: str) -> Row:
    """A kept report. Raises ValueError for anything else."""
    try:
        found = json.loads(text)
        well_formed = (
            found["format"] == FORMAT
            and isinstance(found["made"], str)
            and all(isinstance(row["counters"], dict) and isinstance(row["name"], str) for row in found["hosts"])
            and all(isinstance(row["hosts"], list) and isinstance(row["name"], str) for row in found["pairs"])
            and all(_is_finding(row) for row in (*found["findings"], *found.get("unchecked", ())))
        )
    except (KeyError, TypeError, RecursionError):
        well_formed = False
    if not well_formed:
        raise ValueError("it does not have the form of a report")
    return t.cast(Row, found)


def _is_finding(row: Row) -> bool:
    texts = ("id", "host", "pair", "what", "why", "fix")
    return all(isinstance(row[name], str) for name in texts) and row["severity"] in SEVERITIES


def summary(report: Row, files: t.Sequence[str]) -> str:
    """The report for a terminal, when these files were written."""
    texts = [path for path in files if os.path.basename(path) == FORMATS["text"][0]]
    return render_text.summary(report, (texts or [*files, ""])[0])
