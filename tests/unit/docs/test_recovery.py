# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page Recovery has exactly the messages that can appear although nobody has changed anything."""

from __future__ import annotations

import functools
import re
import typing as t
from pathlib import Path

import pytest

from ansible_collections.ipsec.manual.tests.unit.docs.messages import VALUE, failed, raised, says_something, spoken

TOP = Path(__file__).resolve().parents[3]
PAGE = TOP / "docs" / "docsite" / "rst" / "recovery.rst"

# Files whose messages an operator may see, and how to find these messages.
NIGHT: dict[str, t.Callable[[Path], t.Iterable[str]]] = {
    "plugins/action/*.py": raised,
    "plugins/lookup/ipsec_keystore.py": raised,
    "plugins/plugin_utils/_[!clors]*.py": raised,
    "plugins/plugin_utils/_audit/output.py": raised,
    "plugins/plugin_utils/_keystore/*.py": raised,
    "plugins/plugin_utils/_rotation/run.py": raised,
    "plugins/plugin_utils/_rotation/clocks.py": spoken,
    "plugins/plugin_utils/_rotation/decisions.py": spoken,
    "plugins/plugin_utils/_rotation/probes.py": spoken,
    "plugins/plugin_utils/_rotation/failure.py": spoken,
    "plugins/plugin_utils/_rotation/inputs.py": raised,
    "plugins/plugin_utils/_rotation/initial_state.py": raised,
    "plugins/plugin_utils/_rotation/ending.py": raised,
    "plugins/plugin_utils/_rotation/report_file.py": raised,
    "plugins/plugin_utils/_rotation/leaving.py": raised,
    "plugins/plugin_utils/_rotation/departure_warnings.py": raised,
    "plugins/plugin_utils/_rotation/policies.py": spoken,
    "plugins/plugin_utils/_rotation/policy_checks.py": spoken,
    "plugins/plugin_utils/_rotation/rotation.py": spoken,
    "plugins/plugin_utils/_rotation/questions.py": spoken,
    "plugins/plugin_utils/_rotation/preflight.py": spoken,
    "plugins/plugin_utils/_rotation/staging.py": spoken,
    "plugins/plugin_utils/_rotation/cutover.py": spoken,
    "plugins/plugin_utils/_rotation/rollback.py": spoken,
    "plugins/plugin_utils/_rotation/completion.py": spoken,
    "plugins/plugin_utils/_rotation/record.py": raised,
    "plugins/plugin_utils/_rotation/taking.py": spoken,
    "plugins/plugin_utils/_screen.py": spoken,
    "plugins/plugin_utils/_secret_action.py": lambda path: (text for text in spoken(path) if VALUE in text),
    "plugins/module_utils/_module/clock.py": raised,
    "plugins/module_utils/_module/batch.py": lambda path: (text for text in spoken(path) if "bug of" in text),
    "plugins/module_utils/_module/boot/*.py": lambda path: raised(path, but="InputError"),
    "plugins/module_utils/_module/file.py": raised,
    "plugins/module_utils/_module/preflight.py": raised,
    "plugins/module_utils/_module/command.py": lambda path: raised(path, but="InputError"),
    "plugins/module_utils/_module/sadb.py": raised,
    "plugins/module_utils/_module/text.py": raised,
    "plugins/module_utils/_core/sa/plan.py": raised,
    "plugins/module_utils/_core/files/protected.py": raised,
    "plugins/module_utils/_core/program/loading.py": raised,
    # Of the command: what the system, the login or the naming service does to it, at boot as well;
    # the rest is about what somebody wrote.
    "plugins/module_utils/_core/program/[abio]*.py": lambda path: raised(path, but="InputError"),
    "plugins/module_utils/_core/program/command.py": lambda path: (text for text in raised(path) if "login" in text),
    "plugins/module_utils/_core/text/values.py": lambda path: (
        text for text in raised(path) if text.startswith("the host name")
    ),
    # What a backend cannot express is refused by name, with a way out: that was written.
    "plugins/module_utils/_core/spd/kernel.py": lambda path: raised(path, but="InputError"),
    "plugins/module_utils/_core/sadb/**/*.py": lambda path: raised(path, but="InputError"),
    "plugins/module_utils/_core/sadb/backup.py": lambda path: (
        text for text in spoken(path) if text.startswith("the language has no word for what")
    ),
    "roles/[!m]*/tasks/*.yml": failed,
}
# Files whose messages are about something that a person wrote: option, field, or line, with place and
# fix. The page's last section is about all of them.
WRITTEN = (
    "roles/molecule_hosts/tasks/*.yml",
    "plugins/filter/*.py",
    "plugins/lookup/ipsec_key.py",
    "plugins/lookup/ipsec_spi.py",
    "plugins/plugin_utils/_audit/inputs.py",
    "plugins/plugin_utils/_connections/*.py",
    "plugins/plugin_utils/_lookup.py",
    "plugins/plugin_utils/_rotation/due.py",
    "plugins/module_utils/_module/sa_info.py",
    "plugins/module_utils/_module/base.py",
    "plugins/module_utils/_module/policy.py",
    "plugins/module_utils/_module/probe.py",
    "plugins/module_utils/_module/sa.py",
    "plugins/module_utils/_module/status.py",
    "plugins/module_utils/_core/**/[!_]*.py",
)

CAUSE = re.compile(rf" \({VALUE}(: {VALUE})?\)$")
ENTRY = re.compile(r"^``(.+)``\n  \S", re.M)


@functools.lru_cache(maxsize=None)
def pattern(message: str) -> re.Pattern[str]:
    """A pattern for the message, with or without the cause in brackets that many messages end with."""
    return re.compile(".*".join(map(re.escape, CAUSE.sub("", message).strip().split(VALUE))) + r"( \(.*\))?")


@functools.lru_cache(maxsize=None)
def entries() -> list[str]:
    return ENTRY.findall(PAGE.read_text(encoding="utf-8"))


def found() -> list[tuple[str, str]]:
    return [
        (str(path.relative_to(TOP)), message)
        for glob, collect in NIGHT.items()
        for path in sorted(TOP.glob(glob))
        for message in dict.fromkeys(collect(path))
        if says_something(message)
    ]


def explains(entry: str, message: str) -> bool:
    """Whether an entry is about the message. The entry of a very long message ends with an ellipsis."""
    cut = len(entry) > 60 and entry.endswith(f" {VALUE}")
    return bool(pattern(message).fullmatch(entry) or cut and pattern(entry).fullmatch(message.strip()))


@pytest.mark.parametrize(("path", "message"), found())
def test_every_message_for_operators_is_explained(path: str, message: str) -> None:
    assert any(
        explains(entry, message) for entry in entries()
    ), f"{path} can fail with this, and docs/docsite/rst/recovery.rst has no entry ``{message}``"


def test_every_entry_is_about_an_existing_message() -> None:
    messages = {
        text.strip()
        for glob, collect in NIGHT.items()
        for path in TOP.glob(glob)
        for text in (*collect(path), *(spoken(path) if path.suffix == ".py" else ()))
    }
    messages = {text for text in messages if says_something(text)}
    assert [entry for entry in entries() if not any(explains(entry, text) for text in messages)] == []


def test_no_entry_is_repeated() -> None:
    assert len(entries()) == len(set(entries())) > 100


def test_every_file_with_messages_is_classified() -> None:
    sorted_files = {path for glob in (*NIGHT, *WRITTEN) for path in TOP.glob(glob)}
    lost = [
        path
        for path in TOP.glob("plugins/**/*.py")
        if any(says_something(text) for text in raised(path)) and path not in sorted_files
    ]
    assert lost == []
