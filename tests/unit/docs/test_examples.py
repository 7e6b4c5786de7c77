# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every example has valid syntax and uses plugins, roles and options that exist."""

from __future__ import annotations

import functools
import json
import re
import subprocess
import sys
import typing as t
from pathlib import Path

import jinja2
import pytest
import yaml

from ansible.vars.reserved import get_reserved_names

from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.reader import read_connections
from ansible_collections.ipsec.manual.tests.unit.docs.examples import TOP, Example, examples

ALL = examples()
MODULES = sorted(path.stem for path in TOP.glob("plugins/modules/*.py"))
KEYWORDS = {"role", "tags", "when", "vars"}


def tool(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


@functools.lru_cache(maxsize=None)
def options() -> dict[str, set[str]]:
    """The options of every module, aliases too, and the variables of every role."""
    listed = subprocess.run(
        [tool("ansible-doc"), "--json", "-t", "module", *(f"ipsec.manual.{name}" for name in MODULES)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found = {
        name: {word for option, row in entry["doc"]["options"].items() for word in (option, *row.get("aliases", ()))}
        for name, entry in json.loads(listed.stdout).items()
    }
    for path in TOP.glob("roles/*/meta/argument_specs.yml"):
        specs = yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"]
        found[f"ipsec.manual.{path.parts[-3]}"] = {
            option for row in specs.values() for option in row.get("options", ())
        }
    return found


def tasks_of(rows: t.Any) -> t.Iterator[dict[str, t.Any]]:
    """The tasks, also those of plays and blocks."""
    for row in rows or ():
        yield row
        for part in ("block", "rescue", "always", "pre_tasks", "tasks", "post_tasks"):
            yield from tasks_of(row.get(part))


def strings(value: t.Any) -> t.Iterator[str]:
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list):
        for part in value:
            yield from strings(part)
    elif isinstance(value, str):
        yield value


def test_examples_of_every_kind_are_found() -> None:
    assert {example.plugin for example in ALL} >= {
        path.stem for kind in ("modules", "lookup") for path in TOP.glob(f"plugins/{kind}/ips*.py")
    }
    assert {example.place.split("-")[0] for example in ALL} >= {
        "README.md",
        "roles/rotate/README.md",
        "docs/docsite/rst/quick_start.rst",
    }
    assert {example.kind for example in ALL} == {"playbook", "tasks", "data"}
    marked = sum(path.read_text(encoding="utf-8").count(".. runnable\n") for path in TOP.glob("docs/docsite/rst/*.rst"))
    assert marked == sum(example.runnable for example in ALL) > 3


def test_ansible_accepts_every_example(tmp_path: Path) -> None:
    """One process checks all examples: it takes a second, and forty processes take forty."""
    plays = []
    for example in ALL:
        if example.kind != "data":
            (tmp_path / example.file).write_text(example.text, encoding="utf-8")
            plays.append(
                {"import_playbook": example.file}
                if example.kind == "playbook"
                else {"hosts": "all", "gather_facts": False, "tasks": [{"ansible.builtin.import_tasks": example.file}]}
            )
    (tmp_path / "all.yml").write_text(yaml.safe_dump(plays), encoding="utf-8")
    command = [tool("ansible-playbook"), "--syntax-check", "-i", "enigma,partym,", "all.yml"]
    done = subprocess.run(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0 and "WARNING" not in done.stdout, done.stdout


def test_no_example_registers_what_ansible_reserves() -> None:
    """Ansible warns of it only when the task runs."""
    written = [example for example in ALL if example.kind != "data"]
    named = {
        (example.place, task["register"])
        for example in written
        for task in tasks_of(example.data)
        if "register" in task
    }
    assert named and not {place for place, name in named if name in get_reserved_names()}


@pytest.mark.parametrize("example", ALL, ids=lambda example: example.place)
def test_an_example_names_existing_plugins_and_roles(example: Example) -> None:
    for text in strings(example.data):
        if "{{" in text:
            jinja2.Environment().parse(text)
    known = {path.stem for path in TOP.glob("plugins/*/*") if path.suffix in (".py", ".yml")}
    known |= {path.parts[-1] for path in TOP.glob("roles/*")} | {path.stem for path in TOP.glob("playbooks/*.yml")}
    assert set(re.findall(r"ipsec\.manual\.(\w+)", example.text)) <= known


@pytest.mark.parametrize(
    "example", [example for example in ALL if example.kind != "data"], ids=lambda example: example.place
)
def test_an_example_uses_existing_options(example: Example) -> None:
    for task in tasks_of(example.data):
        for name, given in task.items():
            if name in options():
                assert set(given or ()) <= options()[name], name
        for role in task.get("roles", ()):
            if role["role"] in options():
                assert set(role) - KEYWORDS <= options()[role["role"]], role["role"]


@pytest.mark.parametrize(
    "example", [example for example in ALL if "ipsec_connections:" in example.text], ids=lambda example: example.place
)
def test_the_connections_of_an_example_are_valid(example: Example) -> None:
    found = list(connections_in(example.data))
    assert found
    for connections in found:
        assert read_connections(
            connections,
            groups=lambda group: [f"{group}{number}" for number in range(1, 4)],
            variables=lambda host, name: (
                ("192.0.2." if name == "ipsec_address" else "2001:db8::") + str(sum(map(ord, host)) % 250 + 1)
            ),
        )


def connections_in(value: t.Any) -> t.Iterator[t.Any]:
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from connections_in(part)
    if isinstance(value, dict) and "ipsec_connections" in value:
        yield value["ipsec_connections"]
