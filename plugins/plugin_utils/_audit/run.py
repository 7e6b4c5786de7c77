# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One audit on the controller: from answers and facts to the report. Pure, except for what it is given."""

from __future__ import annotations

import os
import typing as t

from .._connections.model import Connection
from .._rotation import clocks, decisions
from .._rotation.record import UNANSWERED, Answers
from .findings import reaches
from .fleet import DAY, Fleet, Host, Known, Row, Way, host_of, pairs_of
from .inputs import NEVER
from .kinds import SEVERITIES
from .remedies import CommandLine

QUESTION = "audit"
_LONGEST_REASON = 300
_NOT_ASKED = (
    "it was not asked: it failed before in this play, or reading the inputs took all of its time (audit_timeout)"
)
# Settings of Ansible that stand in for options of its command line.
CONFIGURED = ("DEFAULT_HOST_LIST", "DEFAULT_VAULT_PASSWORD_FILE", "DEFAULT_VAULT_IDENTITY_LIST")
# Sources of vault passwords that are no files.
_PROMPTS = ("prompt", "prompt_ask_vault_pass")


def host(name: str, file: str, answers: Answers, way: Way, waited: int = 0) -> Host:
    """A host from its answers in this run. ``waited`` are the seconds of its task before it was asked."""
    result = answers.get(QUESTION)
    if "epoch" not in result or decisions.has_failed(result):
        reason = decisions.reason(result)[:_LONGEST_REASON] if answers.results else _NOT_ASKED
        if waited and result == UNANSWERED:
            reason += f" (reading the inputs took {waited} s of its time, so the host may be well: raise audit_timeout)"
        return Host(name, file, reason=reason, way=way)
    offset = round(clocks.offset(answers.asked, float(result["epoch"]), answers.answered), 1)
    # The clock was read at some time between question and answer.
    if abs(offset) <= (answers.answered - answers.asked) / 2:
        offset = 0.0
    return host_of(name, file, result, offset=offset, way=way)


def fleet(
    hosts: t.Iterable[Host],
    connections: t.Sequence[Connection],
    known: t.Mapping[str, Known],
    unread: str,
    previous: Row | None,
    wide: Row,
    inventory: t.Iterable[str] = (),
) -> Fleet:
    """Everything that the findings need. ``wide`` are the inputs of the role for all hosts, ``inventory`` the
    names of all hosts.
    """
    by_name = {host.name: host for host in hosts}
    everybody = frozenset([*inventory, *by_name])
    return Fleet(
        by_name,
        tuple(pairs_of(connections, by_name)),
        known,
        unread,
        {row["name"]: row["counters"] for row in previous["hosts"]} if previous is not None else {},
        wide["age_limit"] * DAY,
        wide["clock_tolerance"],
        everybody,
        {pair.name: pair.hosts for pair in pairs_of(connections, everybody)},
    )


def command_line(cli: Row, configured: Row, keystore: str, is_named: bool) -> CommandLine:
    """What commands for Ansible need to work as this run does. ``cli`` has the options of its command line, as Ansible
    names them, and ``configured`` the settings of `CONFIGURED`. Variables on the command line itself are left out,
    since they may be secret. ``is_named`` says that the inventory sets rotate_keystore.
    """
    options: list[str] = []
    inventory = list(cli.get("inventory") or ())
    if inventory != list(configured["DEFAULT_HOST_LIST"] or ()):
        options += (word for path in inventory for word in ("-i", path))
    options += (
        word
        for value in map(str, cli.get("extra_vars") or ())
        if value.startswith("@")
        for word in ("-e", f"@{os.path.abspath(value[1:])}")
    )
    if cli.get("remote_user"):
        options += ["-u", str(cli["remote_user"])]
    options += [option for name, option in (("become", "-b"), ("become_ask_pass", "-K")) if cli.get(name)]
    vault = [word for name in cli.get("vault_ids") or () for word in ("--vault-id", _from_anywhere(name))]
    vault += (word for path in cli.get("vault_password_files") or () for word in ("--vault-password-file", path))
    is_configured = configured["DEFAULT_VAULT_PASSWORD_FILE"] or configured["DEFAULT_VAULT_IDENTITY_LIST"]
    if cli.get("ask_vault_pass") or not (vault or is_configured):
        vault.append("--ask-vault-password")
    return CommandLine(tuple(options), tuple(vault), keystore, is_named)


def _from_anywhere(vault_id: str) -> str:
    """A vault ID whose file is found from any directory. Ansible itself makes the paths of other options absolute."""
    label, at, source = vault_id.partition("@") if "@" in vault_id else ("", "", vault_id)
    if source in _PROMPTS:
        return vault_id
    return f"{label}{at}{os.path.abspath(os.path.expanduser(os.path.expandvars(source)))}"


def counts(report: Row) -> dict[str, int]:
    """The number of findings of each severity."""
    return {name: sum(row["severity"] == name for row in report["findings"]) for name in SEVERITIES}


def verdict(report: Row, limit: str, where: str) -> str:
    """Why the play fails, empty if no finding is as bad as the limit."""
    if limit == NEVER:
        return ""
    rows = [row for row in report["findings"] if reaches(row["severity"], limit)]
    if not rows:
        return ""
    noun = "finding is" if len(rows) == 1 else "findings are"
    return f"{len(rows)} {noun} as bad as {limit} or worse (audit_fail_on){where}."
