# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The inputs, decisions and answers of one run of a role: files on the controller, which no host can write.

Ansible's own storage is not suitable. Facts and registered results of a host lie among its variables, where
what a host reports
can take the place of an input. The record lies in Ansible's temporary directory of this process
(mode 0700), which Ansible removes when it ends, and the role removes the record before that.

One file holds what the run's own steps decided, and one for each step and host what the host answered, after the gate.
Hosts are asked by several processes at once, but never two for the same step and host; where several write what the run
decided, all write the same.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import re
import shutil
import time
import typing as t
import urllib.parse

from ansible import constants as C

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import InputError
from ansible_collections.ipsec.manual.plugins.module_utils._core.files import atomic

_STATE = "state.json"
_LONGEST_RUN = 86400.0  # seconds

Result = t.Dict[str, t.Any]

# Marks an answer that never came: the host was asked, and the task ended before it answered.
UNANSWERED: t.Final[Result] = {"unreachable": True, "msg": "it did not answer, or not in time"}
SKIPPED: t.Final[Result] = {"skipped": True}


class Answers(t.NamedTuple):
    """What one host answered in one step: results by the name of the question; when it was asked
    the last and had answered (controller's clock).
    """

    results: dict[str, Result]
    asked: float = 0.0
    answered: float = 0.0

    def get(self, question: str) -> Result:
        """`UNANSWERED` for a question that was asked but not answered, `SKIPPED` for one that was not asked."""
        return self.results.get(question, SKIPPED)


class RunRecord:
    """The record of the run that this process belongs to. ``role`` keeps those of different roles apart."""

    def __init__(self, role: str) -> None:
        self.directory = os.path.join(C.DEFAULT_LOCAL_TMP, f"ipsec.manual.{role}")

    def begin(self, state: t.Mapping[str, t.Any]) -> None:
        """A new record. Removes what an earlier run of the role in this process left, and what
        runs killed a day or more ago left.
        """
        self.end()
        self._sweep()
        os.makedirs(self.directory, mode=0o700)
        self.save(state)

    def end(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)

    def _sweep(self) -> None:
        """Ansible names its directory after the process. Another container's processes cannot be
        seen, but no run takes a day.
        """
        for path in glob.glob(os.path.join(os.path.dirname(C.DEFAULT_LOCAL_TMP), "ansible-local-*", "ipsec.manual.*")):
            process = re.search(r"ansible-local-([0-9]+)", path)
            with contextlib.suppress(OSError):
                if (
                    process
                    and not os.path.exists(f"/proc/{process[1]}")
                    and time.time() - os.stat(path).st_mtime > _LONGEST_RUN
                ):
                    shutil.rmtree(path, ignore_errors=True)

    def save(self, state: t.Mapping[str, t.Any]) -> None:
        """Replace what the run decided."""
        self._write(_STATE, state)

    def state(self) -> dict[str, t.Any]:
        """What the run decided. Raises InputError where no run has begun."""
        found = self._read(_STATE)
        if found is None:
            raise InputError("no run has begun", "step", "The steps belong to a role of this collection: use the role.")
        return found

    def put(self, step: str, host: str, question: str) -> None:
        """Note that a host is asked a question; until `note` it counts as unanswered."""
        found = self._read(self._name(step, host)) or {"results": {}, "answered": 0.0}
        found["results"][question] = UNANSWERED
        self._write(self._name(step, host), {**found, "asked": time.time()})

    def note(self, step: str, host: str, question: str, result: t.Mapping[str, t.Any]) -> None:
        """Note an answer."""
        found = self._read(self._name(step, host)) or {"results": {}, "asked": 0.0}
        found["results"][question] = dict(result)
        self._write(self._name(step, host), {**found, "answered": time.time()})

    def answers(self, step: str, host: str) -> Answers:
        """What a host answered in a step; empty where it was not asked."""
        return Answers(**(self._read(self._name(step, host)) or {"results": {}}))

    def _name(self, step: str, host: str) -> str:
        return f"{step}.{urllib.parse.quote(host, safe='')}.json"

    def _read(self, name: str) -> dict[str, t.Any] | None:
        try:
            with open(os.path.join(self.directory, name), encoding="utf-8") as stream:
                found: dict[str, t.Any] = json.load(stream)
                return found
        except FileNotFoundError:
            return None

    def _write(self, name: str, content: t.Mapping[str, t.Any]) -> None:
        # It need not outlast a power failure, since this process does not.
        atomic.replace(os.path.join(self.directory, name), json.dumps(content).encode("ascii"), durable=False)
