# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run parts, lanes side by side; report each as it ends, with the lines of its log that begin with ``NOTE: ``; sum up truthfully."""

from __future__ import annotations

import collections.abc as c
import contextlib
import dataclasses
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import workspace
from parts import Part

LOGS = workspace.BUILD / "test"
TAIL = 60  # lines of a failed part's log
COUNTS = re.compile(r"(\d+) (passed|failed|skipped|errors?|xfailed|xpassed)\b")


@dataclasses.dataclass(frozen=True)
class Outcome:
    part: Part
    passed: int
    failed: int
    skipped: int
    seconds: float
    remark: str = ""

    @property
    def text(self) -> str:
        counts = [f"{count} {word}" for count, word in ((self.passed, "passed"), (self.failed, "FAILED"), (self.skipped, "skipped")) if count]
        return ", ".join(counts) + (f": {self.remark}" if self.remark else "")


class Run:
    """The parts of one call: what runs now, and what came out."""

    def __init__(self, parts: c.Sequence[Part]) -> None:
        self.outcomes: list[Outcome] = []
        self._ended = {part.name: threading.Event() for part in parts}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._lock = threading.Lock()
        self._stopped = False
        self._live = sys.stdout.isatty() and not os.environ.get("CI")

    def lane(self, parts: c.Sequence[Part]) -> None:
        try:
            for part in parts:
                for name in self._ended.keys() & set(part.after):
                    self._ended[name].wait()
                if self._stopped:
                    return
                outcome = self._measure(part)
                self._ended[part.name].set()
                with self._lock:
                    self.outcomes.append(outcome)
                    self._show(f"{part.name:<16}{outcome.text:<36}{outcome.seconds:8.1f} s")
                    for note in dict.fromkeys(line for line in _lines(part) if line.startswith("NOTE: ")):
                        self._show(f"  {note}")
        finally:
            for part in parts:  # whoever waits for one that did not come learns it from the lane's end
                self._ended[part.name].set()

    def stop(self) -> None:
        """End what runs, its children too, and start nothing more."""
        with self._lock:
            self._stopped = True
            running = list(self._running.values())
        for number in (signal.SIGINT, signal.SIGKILL):  # interrupted, pytest takes down the labs that it started
            for process in running:
                _signal(process, number)
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline and any(process.poll() is None for process in running):
                time.sleep(0.1)

    def _measure(self, part: Part) -> Outcome:
        start = time.monotonic()
        try:
            with log_of(part).open("wb") as log:
                process = self._start(part, log.fileno())
                try:
                    status, remark = process.wait(part.limit), ""
                except subprocess.TimeoutExpired:
                    remark = f"no end after {part.limit} s"
                    status = 1
                    _signal(process, signal.SIGINT)
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(20)
                finally:
                    _signal(process, signal.SIGKILL)  # whatever the part left behind in its process group
                    with self._lock:
                        self._running.pop(part.name, None)
        except OSError as exc:
            status, remark = 127, str(exc)
            log_of(part).write_text(f"{exc}\n", encoding="utf-8")
        return _judge(part, status, remark, time.monotonic() - start)

    def _start(self, part: Part, log: int) -> subprocess.Popen[bytes]:
        environment = workspace.environment(NO_COLOR="1", ANSIBLE_NOCOLOR="1", PY_COLORS="0")
        program, *arguments = part.command
        found = workspace.COPY / program if "/" in program else workspace.VENV / "bin" / program
        process = subprocess.Popen(
            [found, *arguments], cwd=workspace.COPY, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        with self._lock:
            self._running[part.name] = process
            self._show()
        return process

    def _show(self, line: str = "") -> None:
        if self._live:
            print("\r\x1b[K", end="")
        if line:
            print(line)
        if self._live and self._running:
            print(f"running: {' '.join(self._running)}", end="")
        sys.stdout.flush()


def run(parts: c.Sequence[Part]) -> int:
    """Run the parts, print a table, what failed, and the closing line; 0 if everything passed. An interrupt stops them all."""
    LOGS.mkdir(parents=True, exist_ok=True)
    this = Run(parts)
    lanes = [threading.Thread(target=this.lane, args=([part for part in parts if part.lane == name],)) for name in dict.fromkeys(part.lane for part in parts)]
    start = time.monotonic()
    for lane in lanes:
        lane.start()
    try:
        for lane in lanes:
            lane.join()
    except KeyboardInterrupt:
        this.stop()
        for lane in lanes:
            lane.join()
        print(f"stopped after {len(this.outcomes)} of {len(parts)} parts")
        return 130
    for part in parts:
        if not any(outcome.part == part for outcome in this.outcomes):
            log_of(part).write_text("it did not run\n", encoding="utf-8")
            this.outcomes.append(Outcome(part, 0, 1, 0, 0.0, "did not run"))
    return _sum_up(this.outcomes, time.monotonic() - start)


def log_of(part: Part) -> Path:
    return LOGS / f"{part.name}.log"


def _lines(part: Part) -> list[str]:
    return log_of(part).read_text(encoding="utf-8", errors="replace").splitlines()


def _judge(part: Part, status: int, remark: str, seconds: float) -> Outcome:
    counts = _counts(_lines(part)) if part.is_pytest else {}
    passed, skipped = counts.get("passed", 0), counts.get("skipped", 0) + counts.get("xfailed", 0)
    failed = sum(counts.get(word, 0) for word in ("failed", "error", "errors", "xpassed"))
    if not part.is_pytest:
        passed = int(status == 0)
    elif status == 0 and not passed:
        remark = "no test passed"
    if status == 0 and passed and not failed:
        return Outcome(part, passed, 0, skipped, seconds)
    return Outcome(part, passed if part.is_pytest else 0, max(failed, 1), skipped, seconds, remark or ("" if failed else f"exit status {status}"))


def _counts(lines: c.Sequence[str]) -> dict[str, int]:
    """The counts in pytest's last line, such as ``== 3 failed, 40 passed in 2.10s ==``."""
    last = next((line for line in reversed(lines) if re.search(r" in \d+\.\d+s\b", line)), "")
    return {word: int(count) for count, word in COUNTS.findall(last)}


def _sum_up(outcomes: c.Sequence[Outcome], seconds: float) -> int:
    print(f"{'':<52}{seconds:8.1f} s")
    bad = [outcome for outcome in outcomes if outcome.failed]
    for outcome in bad:
        print(f"\n{outcome.part.name}: {outcome.text}. The end of {log_of(outcome.part).relative_to(workspace.TOP)}:")
        print("\n".join(f"  {line}" for line in _lines(outcome.part)[-TAIL:]))
    passed, failed, skipped = (sum(getattr(outcome, word) for outcome in outcomes) for word in ("passed", "failed", "skipped"))
    print()
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if bad else 0


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
