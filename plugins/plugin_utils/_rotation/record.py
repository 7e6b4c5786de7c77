# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The inputs, decisions and answers of one run of a role: files on the controller, which no host can write.

Ansible's own storage is not suitable: facts and registered results are variables of the host, so what
a host reports could replace an input. The record is in the temporary directory of this Ansible
process (mode 0700), which Ansible removes at its end; the role removes the record earlier.

One file holds what the steps of the run decided. For each step and host, one file holds the host's
answers after the gate. Several processes ask hosts at the same time, but never two for the same step
and host. If several processes write the decisions, all write the same.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import json
import os
import re
import secrets
import shutil
import time
import typing as t
import urllib.parse

from ansible import constants as C
from ansible.errors import AnsibleError

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import InputError, IpsecError
from ansible_collections.ipsec.manual.plugins.module_utils._core.files import atomic
from ansible_collections.ipsec.manual.plugins.plugin_utils._failures import is_timeout

_STATE = "state.json"
_LONGEST_RUN = 86400.0  # seconds

Result = t.Dict[str, t.Any]

# An answer that never came: the host was asked, but the task ended before it answered.
UNANSWERED: t.Final[Result] = {"unreachable": True, "msg": "it did not answer, or not in time"}
SKIPPED: t.Final[Result] = {"skipped": True}


def new_digest_key() -> str:
    """A secret that makes the fingerprints of keys comparable between the hosts of one run."""
    return secrets.token_hex(32)


class Answers(t.NamedTuple):
    """A host's answers in one step: results by the name of the question, and when the last question
    was asked and answered (seconds since the epoch, controller's clock).
    """

    results: dict[str, Result]
    asked: float = 0.0
    answered: float = 0.0

    def get(self, question: str) -> Result:
        """`UNANSWERED` for a question that was asked but not answered, `SKIPPED` for one that was not asked."""
        return self.results.get(question, SKIPPED)


class RunRecord:
    """The record of the run that this process belongs to; each ``role`` has its own."""

    def __init__(self, role: str) -> None:
        self.directory = os.path.join(C.DEFAULT_LOCAL_TMP, f"ipsec.manual.{role}")

    def begin(self, state: t.Mapping[str, t.Any]) -> None:
        """Begin a record. Removes the records that an earlier run of the role in this process, or runs
        killed a day or more ago, left behind.
        """
        self.end()
        self._sweep()
        os.makedirs(self.directory, mode=0o700)
        self.save(state)

    def begun(self, run: str, read: t.Callable[[], Result], words: t.Mapping[str, str] | None = None) -> Result:
        """The decisions of this run. Of the processes that ask hosts at the same time, one begins it, with what
        ``read`` returns, while the others wait. ``refused`` are the lines of the error if ``read`` raises one, or takes
        longer than its task may, so that the next step reports it once; ``words`` spell it.
        """
        with self._alone():
            state = self._read(_STATE) or {}
            if state.get("run") != run:
                # What an earlier run left must not pass for this one.
                self.end()
                try:
                    state = {**_in_time(read), "run": run, "refused": []}
                except (AnsibleError, IpsecError) as exc:
                    text = exc.spelled(words) if words and isinstance(exc, IpsecError) else str(exc)
                    state = {"run": run, "refused": text.split("\n")}
                self.begin(state)
            return state

    def first(self, run: str, text: str, host: str, batch: t.Iterable[str]) -> str:
        """Which host was the first to end the task ``run`` with this text, which it explains to the others of its
        ``batch``; ``host`` if none was. The batch shrinks while the task runs, since hosts that have failed leave it.
        """
        with self._alone():
            state = self._read(_STATE) or {}
            if state.get("run") != run:
                state = {"run": run, "said": {}}
                self.begin(state)
            found, others = state["said"].get(text, ("", ()))
            if host not in others:
                found = host
                state["said"][text] = [host, [*batch]]
                self.save(state)
            return str(found)

    @contextlib.contextmanager
    def _alone(self) -> t.Iterator[None]:
        """Let the processes that work for other hosts wait."""
        with open(f"{self.directory}.lock", "ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def end(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)

    def _sweep(self) -> None:
        """Ansible names its directory after the process. The processes of another container are not
        visible, but no run takes a day.
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
        """Replace the decisions of the run."""
        self._write(_STATE, state)

    def state(self) -> dict[str, t.Any]:
        """The decisions of the run. Raises InputError if no run has begun."""
        found = self._read(_STATE)
        if found is None:
            raise InputError("no run has begun", "step", "The steps belong to a role of this collection: use the role.")
        return found

    def put(self, step: str, host: str, questions: t.Iterable[str]) -> None:
        """Record that a host is asked these questions; until `note` they count as unanswered."""
        asked = {"results": dict.fromkeys(questions, UNANSWERED), "asked": time.time(), "answered": 0.0}
        self._write(self._name(step, host), asked)

    def note(self, step: str, host: str, results: t.Mapping[str, t.Any]) -> None:
        """Record the answers, by question. Those that are missing were not asked."""
        found = self._read(self._name(step, host)) or {"asked": 0.0}
        self._write(self._name(step, host), {**found, "results": dict(results), "answered": time.time()})

    def answers(self, step: str, host: str) -> Answers:
        """A host's answers in a step; empty if it was not asked."""
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


def _in_time(read: t.Callable[[], Result]) -> Result:
    try:
        return read()
    except BaseException as exc:  # pylint: disable=broad-except  # Ansible's timeout is no Exception
        if not is_timeout(exc):
            raise
        raise InputError(
            "reading the connections, the settings and the keystore took longer than a task may",
            "timeout",
            "Raise rotate_timeout or audit_timeout, or find out what is slow, such as the script of a vault password.",
        ) from None
