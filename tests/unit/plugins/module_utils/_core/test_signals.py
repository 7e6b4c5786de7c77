# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A process that gets a signal during a change ends after the change. Each test starts its
own process, since test runners have threads.
"""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core import signals

BEGIN = f"""
import os, signal, subprocess, sys
exec(compile(open({signals.__file__!r}).read(), "signals", "exec"))
say = lambda text: print(text, flush=True)
end = lambda number: os.kill(os.getpid(), number)
# Reset what this process inherited, for example from nohup(1).
signal.signal(signal.SIGINT, signal.default_int_handler)
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
    signal.signal(number, signal.SIG_DFL)
"""


def run(program: str) -> tuple[int, list[str], str]:
    """Run a program with `uninterrupted`, `say`, and `end`,
    which sends it a signal.
    """
    done = subprocess.run([sys.executable, "-IS", "-c", BEGIN + program], check=False, capture_output=True, text=True)
    return done.returncode, done.stdout.splitlines(), done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_ends_the_process_after_the_block(number: signal.Signals) -> None:
    program = f"""
with uninterrupted():
    end({int(number)})
    with uninterrupted():
        say("inner")
    say("end")
say("after")
"""
    assert run(program)[:2] == (-number, ["inner", "end"])


def test_an_interrupt_arrives_after_a_block_that_failed() -> None:
    status, lines, errors = run("""
with uninterrupted():
    end(signal.SIGINT)
    say("end")
    raise ValueError
""")
    assert (status, lines) == (-signal.SIGINT, ["end"])
    assert "ValueError" in errors and "KeyboardInterrupt" in errors


def test_programs_that_the_block_starts_ignore_signals() -> None:
    """A terminal sends ^C to all processes of its group."""
    program = """
with uninterrupted():
    child = "import os, signal; os.kill(os.getpid(), signal.SIGINT); print('lives')"
    subprocess.run([sys.executable, "-IS", "-c", child], check=True)
"""
    assert run(program)[:2] == (0, ["lives"])
