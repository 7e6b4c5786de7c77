# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every option, variable and plugin that a message or a hint names exists where it is shown."""

from __future__ import annotations

import ast
import functools
import re
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import WORDS, IpsecError, in_words
from ansible_collections.ipsec.manual.plugins.module_utils._core.program.options import (
    COMMAND_WORDS,
    OPTIONS,
    PROMPT_WORDS,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import Counters, Entry
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.plan import plan
from ansible_collections.ipsec.manual.plugins.module_utils._core.specs import IPSEC_BOOT
from ansible_collections.ipsec.manual.plugins.module_utils._core.text import language
from ansible_collections.ipsec.manual.plugins.module_utils._core.text.grammar import KEYWORDS
from ansible_collections.ipsec.manual.plugins.module_utils._core.text.render import in_keywords
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections import fields
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation.wording import (
    BOOT_VARIABLES,
    ROLE_WORDS,
    in_variables,
    otherwise,
)
from ansible_collections.ipsec.manual.tests.unit.docs.messages import VALUE, problems, says_something, spoken

TOP = Path(__file__).resolve().parents[3]

COMMAND, PROMPT, TASK, ROLE = "command", "prompt", "task", "role"
SPELLINGS = {COMMAND: COMMAND_WORDS, PROMPT: PROMPT_WORDS, TASK: WORDS, ROLE: ROLE_WORDS}
# The readers of the messages of each file; the first row that matches counts.
AUDIENCES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("plugins/module_utils/_core/errors.py", ()),  # the words themselves
    ("plugins/module_utils/_core/program/options.py", ()),
    ("plugins/module_utils/_core/program/reference.py", ()),  # documents
    ("plugins/module_utils/_core/text/grammar.py", ()),
    ("plugins/module_utils/_module/boot/texts.py", ()),
    ("plugins/module_utils/_module/boot/operators.py", ()),  # what sudo allows, in options of the command
    ("plugins/module_utils/_core/audit/service.py", ()),  # recognises those
    ("plugins/module_utils/_core/program/execute.py", (COMMAND, PROMPT)),
    ("plugins/module_utils/_core/program/effect.py", (COMMAND, PROMPT)),
    ("plugins/module_utils/_core/program/*.py", (COMMAND,)),
    # The system's own utility, which these run, has the same name as ours.
    ("plugins/module_utils/_core/sadb/solaris/*.py", (TASK,)),
    ("plugins/module_utils/_core/sa/checks.py", (COMMAND, PROMPT, TASK, ROLE)),
    ("plugins/module_utils/_core/sa/conflicts.py", (COMMAND, PROMPT, TASK, ROLE)),
    ("plugins/module_utils/_core/**/*.py", (COMMAND, PROMPT, TASK)),
    ("plugins/module_utils/_module/**/*.py", (TASK,)),
    ("plugins/plugin_utils/_rotation/*.py", (ROLE,)),
    ("plugins/plugin_utils/_audit/remedies.py", ()),  # commands, which tests of their own run
    ("plugins/plugin_utils/_audit/*.py", (ROLE,)),
    ("plugins/plugin_utils/_connections/*.py", (TASK, ROLE)),
    ("plugins/plugin_utils/_keystore/*.py", (TASK, ROLE)),
    ("plugins/plugin_utils/*.py", (TASK, ROLE)),
    ("plugins/action/ipsec_rotation.py", (ROLE,)),
    ("plugins/action/ipsec_audit_report.py", (ROLE,)),
    ("plugins/action/ipsec_fleet.py", (ROLE,)),
    ("plugins/action/*.py", (TASK,)),
    ("plugins/filter/*.py", (TASK,)),
    ("plugins/lookup/*.py", (TASK,)),
)
# Variables of the inventory, and names from Ansible and from operating systems.
FOREIGN = {
    *("ipsec_address", "ipsec_connections"),
    *(
        "ansible_host",
        "ansible_python_interpreter",
        "group_vars",
        "inventory_hostname",
        "set_fact",
        "vault_password_file",
    ),
    *("af_key", "sys_ip_config", "xfrm_user"),
}
LONG_OPTIONS = {"--no-pager", "--limit", "--forks", "--vault-id", "--vault-password-file", "--ask-vault-pass"}


def raw(node: ast.AST) -> str:
    """A string as it is written, braces included; VALUE for what is not constant."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return "".join(map(raw, node.values)) if isinstance(node, ast.JoinedStr) else VALUE


def sentences(path: Path) -> t.Iterator[str]:
    """All strings of a file that may be a message, or a part of one."""
    return (text for text in spoken(path, raw) if says_something(text) and "\n" not in text)


@functools.lru_cache(maxsize=None)
def shown() -> list[tuple[str, str, str]]:
    """Audience, file and text of every message, in the audience's words."""
    found, seen = [], set()
    for glob, audiences in AUDIENCES:
        for path in sorted(TOP.glob(glob)):
            if path in seen:
                continue
            seen.add(path)
            name = str(path.relative_to(TOP))
            for text in dict.fromkeys(sentences(path)):
                for audience in audiences:
                    words = in_words(text, SPELLINGS[audience])
                    found.append((audience, name, in_keywords(words) if audience in (COMMAND, PROMPT) else words))
    return found


def _names_in(options: t.Mapping[str, t.Any]) -> t.Iterator[str]:
    for name, option in options.items():
        yield name
        yield from option.get("aliases", ())
        yield from _names_in(option.get("suboptions") or option.get("options") or {})


@functools.lru_cache(maxsize=None)
def task_names() -> set[str]:
    """Names of options, with their suboptions, and of what answers hold."""
    found = set(fields.CONNECTION) | set(fields.ENDPOINT) | set(fields.ASSOCIATION)
    for path in (*TOP.glob("plugins/modules/*.py"), *TOP.glob("plugins/lookup/*.py"), *TOP.glob("plugins/*/_*.py")):
        for block in re.findall(r'^ *[A-Z_]+ = r"""(.*?)"""', path.read_text(encoding="utf-8"), re.M | re.S):
            data = yaml.safe_load(block)
            if isinstance(data, dict):
                found.update(_names_in(data.get("options") or {}))
    for path in TOP.glob("plugins/filter/*.yml"):
        documentation = yaml.safe_load(path.read_text(encoding="utf-8"))["DOCUMENTATION"]
        found.update(_names_in(documentation.get("options") or {}))
    return found


@functools.lru_cache(maxsize=None)
def role_names() -> set[str]:
    found: set[str] = set()
    for path in TOP.glob("roles/*/meta/argument_specs.yml"):
        (spec,) = yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"].values()
        found.update(_names_in(spec["options"]))
    return found


@functools.lru_cache(maxsize=None)
def plugin_names() -> set[str]:
    return {path.stem for path in TOP.glob("plugins/*/*.*")} | {path.name for path in TOP.glob("roles/*")}


COMMAND_OPTIONS = {row.name for row in OPTIONS}
KEYWORD_NAMES = {row.name for row in KEYWORDS}


@pytest.mark.parametrize("audience", [COMMAND, PROMPT, TASK, ROLE])
def test_every_name_in_a_message_exists_where_it_is_shown(audience: str) -> None:
    wrong = []
    tasks, roles, plugins = task_names(), role_names(), plugin_names()
    for who, path, text in shown():
        if who != audience:
            continue
        for problem in _unknown(audience, text, tasks, roles, plugins):
            wrong.append(f"{path}: {problem} in: {text}")
    assert wrong == []


@pytest.mark.parametrize("audience", [COMMAND, PROMPT, TASK, ROLE])
def test_the_words_of_each_audience_name_what_it_has(audience: str) -> None:
    names = task_names(), role_names(), plugin_names()
    wrong = [problem for text in SPELLINGS[audience].values() for problem in _unknown(audience, text, *names)]
    assert wrong == []


def _unknown(audience: str, text: str, tasks: set[str], roles: set[str], plugins: set[str]) -> t.Iterator[str]:
    for word in re.findall(r"\{(\w+)", text):
        if any(word in words for words in SPELLINGS.values()):
            yield f"no words for {{{word}}}"
    for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", text):
        known = COMMAND_OPTIONS if audience in (COMMAND, PROMPT) else LONG_OPTIONS
        if option not in known or (audience == PROMPT and not re.search("prompt opened|open the prompt", text)):
            yield option
    if audience in (COMMAND, PROMPT):
        for word in re.findall(r"\b(?:become|lookup|Ansible|playbook|inventory|role)\b|\bipsec\.manual\b", text):
            yield word
    for word in re.findall(r"(?<![\w./:-])[a-z][a-z0-9]*(?:_[a-z0-9]+)+(?![\w/(-]|\.\w)", text):
        if word in FOREIGN or (word in KEYWORD_NAMES and audience != ROLE):
            continue
        if audience in (COMMAND, PROMPT) or not any(word in names for names in (tasks, roles, plugins)):
            yield word
        elif audience == ROLE and word not in roles and f"rotate_{word}" in roles:
            yield f"{word} instead of rotate_{word}"


def boot_messages() -> t.Iterator[tuple[str, str]]:
    """What the module `ipsec_boot` says, whole, by its file."""
    room = TOP / "plugins/module_utils"
    for path in (*sorted(room.glob("_module/boot/*.py")), room / "_core/audit/service.py", room / "_module/clock.py"):
        for message, place, hint in problems(path, raw):
            yield path.name, str(IpsecError(message, place, hint))
    # Warnings that a table words.
    for text in sentences(room / "_module/boot/linux.py"):
        yield "linux.py", text


@pytest.mark.parametrize("role", ["boot", "rotate"])
def test_a_role_names_its_variables_where_the_module_of_the_service_names_options(role: str) -> None:
    """As the place of a problem, with a value, or as a word that can be nothing else."""
    variables, wrong, seen = role_names(), [], set()
    options = [name for name in IPSEC_BOOT if f"boot_{name}" in variables or "_" in name or name == "purge"]
    for path, text in boot_messages():
        shown = otherwise(in_variables(text, role))
        seen.update(re.findall(r"\b(?:boot|rotate)_\w+", shown))
        for name in options:
            own = rf"^{name}[:.\[]|(?<![\w.]){name}: (?:true|false|absent|present|\[)" + rf"|\b{name}\b" * ("_" in name)
            if name in BOOT_VARIABLES[role] or name == "purge":
                wrong += [f"{path}: {name} in: {shown}"] if re.search(own, shown, re.M) else []
        wrong += [
            f"{path}: {word} in: {shown}"
            for word in re.findall(r"\b(?:boot|rotate)_\w+", shown)
            if word not in variables
        ]
    assert wrong == []
    assert {"boot_load", "boot_service_manager"} <= seen


@pytest.mark.parametrize(
    ("text", "role", "shown"),
    [
        (
            "load: it does not run. With load: false, it is installed.",
            "boot",
            "boot_load: it does not run. With boot_load: false, it is installed.",
        ),
        (
            "load: it does not run. With load: false, it is installed.",
            "rotate",
            "boot_load: it does not run. With boot_load: false, it is installed.",
        ),
        ("policies[0].action: no\nfile: no", "boot", "boot_policies[0].action: no\nboot_file: no"),
        ("file: no", "rotate", "rotate_file: no"),
        (
            "kept. To remove it, run without purge: false.",
            "rotate",
            "kept. To remove it, run the role boot with all policies that should stay.",
        ),
        (
            "the file exists: true words stay, and boot_file: too",
            "boot",
            "the file exists: true words stay, and boot_file: too",
        ),
    ],
)
def test_the_variables_of_a_role_replace_options_and_no_other_words(text: str, role: str, shown: str) -> None:
    assert otherwise(in_variables(text, role)) == shown


def test_what_the_role_cannot_do_is_not_suggested() -> None:
    """Each phrase that is replaced is one that a host says."""
    key = "00112233445566778899aabbccddee01"
    (sa,) = language.parse(f"add ah spi 0x1001 src 192.0.2.1 dst 192.0.2.2 auth_alg hmac-md5 authkey {key}", "").sas
    with pytest.raises(IpsecError, match="scope_src") as refused:
        plan([sa], [Entry(sa._replace(reqid=99), Counters())], "present")
    shown = otherwise(str(refused.value))
    assert "the page Recovery" in shown and "scope_src" not in shown and "Choose" not in shown
