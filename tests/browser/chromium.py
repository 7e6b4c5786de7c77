# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A headless Chromium, driven through the DevTools protocol on a pair of pipes.

Messages are JSON, ended by a null byte; requests go to descriptor 3, answers and events come from 4
(--remote-debugging-pipe, content/browser/devtools/devtools_pipe_handler.cc).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
import typing as t
from pathlib import Path

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
PATIENCE = 60  # seconds
# The sandbox of root needs --no-sandbox; nothing may go out, not even to look for updates.
OPTIONS = (
    "--headless",
    "--remote-debugging-pipe",
    "--no-sandbox",
    "--no-first-run",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)


def find() -> str | None:
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class Page:
    """One page, and what it wrote to the console."""

    def __init__(self, requests: int, answers: int) -> None:
        """``requests`` and ``answers`` are descriptors."""
        self._requests = requests
        self._answers = answers
        self._buffer = b""
        self._number = 0
        self._session = ""
        self._events: list[dict[str, t.Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: t.Any) -> dict[str, t.Any]:
        """The result of a command; an error of the protocol is raised."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._requests, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return dict(answer["result"])
            self._events.append(answer)

    def open(self, path: Path) -> float:
        """Load a page; the seconds until what is seen of it was painted, with its script done."""
        self._events.clear()
        begun = time.monotonic()
        self.call("Page.navigate", url=path.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self._events):
            self._events.append(self._read())
        self.call("Page.captureScreenshot", format="jpeg", quality=1)
        return time.monotonic() - begun

    def value(self, expression: str) -> t.Any:
        """The value of an expression in the page, as JSON."""
        result = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(result["exceptionDetails"])
        return result["result"].get("value")

    def complaints(self) -> list[str]:
        """What the console shows: errors, violations of the policy, messages; since the page was opened."""
        kinds = ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")
        return [json.dumps(event["params"]) for event in self._events if event.get("method") in kinds]

    def forget(self) -> None:
        """Drop what the console showed."""
        self._events = [event for event in self._events if event.get("method") == "Network.requestWillBeSent"]

    def requested(self) -> list[str]:
        """The addresses that the page asked for, itself among them."""
        sent = [event["params"] for event in self._events if event.get("method") == "Network.requestWillBeSent"]
        return [event["request"]["url"] for event in sent]

    def _read(self) -> dict[str, t.Any]:
        while b"\0" not in self._buffer:
            if not select.select([self._answers], [], [], PATIENCE)[0]:
                raise RuntimeError(f"Chromium has been silent for {PATIENCE} s")
            part = os.read(self._answers, 1 << 20)
            if not part:
                raise RuntimeError("Chromium ended")
            self._buffer += part
        message, dummy, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(message))


@contextlib.contextmanager
def started(program: str, home: Path) -> t.Iterator[Page]:
    """A page in a Chromium of its own, which ends with the block; ``home`` holds its profile."""
    (asked, asks), (answers, answered) = os.pipe(), os.pipe()

    def pass_pipes() -> None:
        # Above 4 first, since either may already be 3 or 4.
        high = [fcntl.fcntl(number, fcntl.F_DUPFD, 10) for number in (asked, answered)]
        os.dup2(high[0], 3)
        os.dup2(high[1], 4)

    with (home / "chromium.log").open("wb") as log:
        process = subprocess.Popen(
            (program, *OPTIONS, f"--user-data-dir={home / 'profile'}"),
            env={**os.environ, "HOME": str(home)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(3, 4),
            preexec_fn=pass_pipes,
        )
    os.close(asked)
    os.close(answered)
    try:
        yield Page(asks, answers)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(asks)
        os.close(answers)
