# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import ast
import base64
import pathlib
import sys
import types
import typing as t

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core.sa import keys
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.algorithms import BY_NAME
from ansible_collections.ipsec.manual.plugins.module_utils._module import base, secrets
from ansible_collections.ipsec.manual.tests.unit.plugins.modules.harness import ENCRYPTION_KEY, sa

PLUGINS = pathlib.Path(base.__file__).parents[2]


class Module:
    """The part of AnsibleModule that the helpers use."""

    def __init__(self, **params: t.Any) -> None:
        self.params = params
        self.argument_spec = {"encryption_key": {"aliases": ["encrkey"]}}
        self.no_log_values = {value for value in params.values() if value}
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def test_every_written_form_of_a_key_is_known() -> None:
    key = bytes.fromhex("0123456789abcdef" * 4) + b"salt"
    forms = secrets.key_forms(BY_NAME["aes-gcm"], key)
    without = key[:-4]
    assert forms == {
        key.hex(),
        key.hex().upper(),
        base64.b64encode(key).decode(),
        without.hex(),
        without.hex().upper(),
        base64.b64encode(without).decode(),
    }


def test_a_des_key_is_also_known_with_its_parity() -> None:
    row, key = BY_NAME["des-cbc"], bytes.fromhex("0022446688aaccee")
    assert keys.set_parity(row, key) != key
    assert keys.set_parity(row, key).hex() in secrets.key_forms(row, key)


def test_a_secret_leaves_the_parameters_under_all_its_names() -> None:
    module = Module(encryption_key=ENCRYPTION_KEY, encrkey=ENCRYPTION_KEY)
    assert secrets.take_secret(module, "encryption_key") == ENCRYPTION_KEY
    assert set(module.params.values()) == {secrets.HIDDEN}
    assert ENCRYPTION_KEY in module.no_log_values


def test_a_missing_secret_stays_missing() -> None:
    module = Module(encryption_key=None)
    assert secrets.take_secret(module, "encryption_key") is None
    assert module.params == {"encryption_key": None}


def test_keys_are_registered_with_newer_ansible(monkeypatch: pytest.MonkeyPatch) -> None:
    registered: list[str] = []
    masking = types.ModuleType("ansible.module_utils.secrets")
    masking.register_secret = registered.append  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ansible.module_utils.secrets", masking)
    module = Module()
    secrets.hide_keys(module, [sa()])
    assert set(registered) == module.no_log_values
    assert sa().encryption_key.hex() in registered
    assert sa().authentication_key.hex().upper() in registered


def test_keys_are_in_the_list_of_older_ansible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ansible.module_utils.secrets", None)
    module = Module()
    secrets.hide_keys(module, [sa()])
    assert sa().encryption_key.hex() in module.no_log_values


def test_the_keys_of_a_fleet_are_not_masked() -> None:
    module = Module()
    secrets.hide_keys(module, [sa(spi) for spi in range(0x1000, 0x1000 + secrets.MOST_SECRETS + 1)])
    assert not module.no_log_values


def test_warnings_are_grouped() -> None:
    module = Module()
    base.warn(module, [("a is old", "line 1"), ("b is odd", ""), ("a is old", "line 2"), ("a is old", "line 3")])
    assert module.warnings == ["line 1 (and 2 more): a is old.", "b is odd."]


def test_the_core_knows_no_ansible() -> None:
    """The core must run without Ansible."""
    imports = {
        (path.relative_to(PLUGINS).as_posix(), name)
        for path in (PLUGINS / "module_utils" / "_core").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""])
        if name.split(".")[0].startswith("ansible")
    }
    assert imports == set()


def test_a_module_holds_no_logic() -> None:
    """A module has documentation, an argument spec and main. The work is done in _module."""
    for path in (PLUGINS / "modules").glob("*.py"):
        functions = [
            node.name
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.FunctionDef)
        ]
        assert functions in ([], ["main"]), path.name
