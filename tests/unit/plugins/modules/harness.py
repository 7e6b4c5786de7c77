# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs a module in this process, over a SADB, an SPD and files that live in memory. Stands in for
the kernel below `_module` only: what a kernel does is tested on one, in tests/kernel."""

from __future__ import annotations

import base64
import contextlib
import importlib
import io
import json
import typing as t
from unittest import mock

from ansible.module_utils import basic
from ansible.module_utils.common.parameters import PASS_VARS
from ansible.module_utils.testing import patch_module_args

from ansible_collections.ipsec.manual.plugins.module_utils._core.audit import service
from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import (
    ProtectedFileError,
    raise_all,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.files import protected
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa import model
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import SecurityAssociation
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.xfrm import backend
from ansible_collections.ipsec.manual.plugins.module_utils._core.spd import policy as spd_policy
from ansible_collections.ipsec.manual.plugins.plugin_utils._answers import ANSWERS
from ansible_collections.ipsec.manual.plugins.plugin_utils._gate import admit, admit_all, visible
from ansible_collections.ipsec.manual.tests.unit.plugins.memory import MemorySadb

COLLECTION = "ansible_collections.ipsec.manual"

# Since ansible-core 2.20 the arguments are in the result only on request.
INVOCATION = {"_ansible_inject_invocation": True} if "inject_invocation" in PASS_VARS else {}

# Keys with a pattern that occurs in no other output.
MARKER = "5ec4e7"
MARKER_FORMS = (MARKER, base64.b64encode(bytes.fromhex(MARKER)).decode().lower())
ENCRYPTION_KEY = "".join(f"{MARKER}{number:02x}" for number in range(1, 9))
AUTHENTICATION_KEY = "".join(f"{MARKER}{number:02x}" for number in range(17, 25))
OTHER_KEY = "".join(f"{MARKER}{number:02x}" for number in range(33, 41))

ESP: dict[str, t.Any] = {
    "protocol": "esp",
    "spi": "0x8bcd1407",
    "source": "192.0.2.1",
    "destination": "192.0.2.2",
    "encryption_algorithm": "aes-cbc",
    "encryption_key": ENCRYPTION_KEY,
    "authentication_algorithm": "hmac-sha256",
    "authentication_key": AUTHENTICATION_KEY,
}


class MemorySpd:
    """A list of policies."""

    def __init__(self) -> None:
        self.policies: list[spd_policy.Policy] = []

    def dump(self) -> list[spd_policy.PolicyEntry]:
        return [
            spd_policy.PolicyEntry(policy, number, 1795000000, 0, True) for number, policy in enumerate(self.policies)
        ]

    def apply(self, operations: t.Sequence[spd_policy.PolicyOperation]) -> None:
        for operation in operations:
            if operation.old is not None:
                self.policies.remove(operation.old)
            if operation.new is not None:
                self.policies.append(operation.new)


class MemoryFiles:
    """Stands in for `protected`: contents by path, and the errors of some paths."""

    FILE_MODE = protected.FILE_MODE
    SECRET, PUBLIC = protected.SECRET, protected.PUBLIC

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}
        self.problems: dict[str, ProtectedFileError] = {}

    def read(self, path: str, protection: protected.Protection = protected.SECRET) -> bytes:
        if path in self.problems:
            raise self.problems[path]
        if path not in self.contents:
            raise ProtectedFileError("the file does not exist", path)
        return self.contents[path]

    def write(self, path: str, data: bytes, check: protected.Check = lambda: None) -> None:
        check()
        self.contents[path] = data

    def update(
        self, path: str, change: t.Callable[[bytes | None], bytes], check: protected.Check
    ) -> tuple[bytes | None, bytes]:
        old = self.read(path) if path in self.contents else None
        new = change(old)
        if new != old:
            self.write(path, new, check)
        return old, new

    def remove(self, path: str, check: protected.Check) -> bool:
        if self.removable(path):
            check()
        return self.contents.pop(path, None) is not None

    def removable(self, path: str) -> bool:
        if path in self.problems:
            raise self.problems[path]
        return path in self.contents

    def writable(self, path: str) -> protected.FileStatus:
        found = self.status(path)
        raise_all(found.problems)
        return found

    def status(self, path: str, protection: protected.Protection = protected.SECRET) -> protected.FileStatus:
        problems = (self.problems[path],) if path in self.problems else ()
        return protected.FileStatus(path, exists=path in self.contents, problems=problems)


class World:
    """One host in memory, and the modules on it. No output may contain a key of the pattern."""

    def __init__(self) -> None:
        self.sadb = MemorySadb()
        self.spd = MemorySpd()
        self.files = MemoryFiles()

    def run(self, module: str, check: bool = False, **arguments: t.Any) -> dict[str, t.Any]:
        """The module's result, which the gate must admit whole. ``warnings`` are plain texts."""
        result = self._run(module, check, arguments)
        admitted = admit(module, result)
        assert {name: admitted.get(name) for name in ANSWERS[module]} == {
            name: _seen(result.get(name)) for name in ANSWERS[module]
        }, admitted
        return result

    def batch(self, *calls: dict[str, t.Any], check: bool = False) -> list[dict[str, t.Any]]:
        """The answers of the modules, each admitted by the gate."""
        result = self._run("ipsec_batch", check, {"calls": json.dumps(calls)})
        admitted = admit_all([call["module"] for call in calls], result)
        assert admitted["changed"] == result["changed"] and "failed" not in result
        return t.cast("list[dict[str, t.Any]]", admitted["answers"])

    def _run(self, module: str, check: bool, arguments: dict[str, t.Any]) -> dict[str, t.Any]:
        main = importlib.import_module(f"{COLLECTION}.plugins.modules.{module}").main
        arguments = {
            **arguments,
            "_ansible_check_mode": check,
            "_ansible_diff": True,
            "_ansible_verbosity": 5,
            **INVOCATION,
        }
        warnings: list[str] = []
        stdout, stderr = io.StringIO(), io.StringIO()
        with contextlib.ExitStack() as stack:
            stack.enter_context(patch_module_args(arguments))
            stack.enter_context(mock.patch.object(backend, "XfrmSadb", lambda: self.sadb))
            stack.enter_context(
                mock.patch.object(basic.AnsibleModule, "warn", lambda dummy, text, **more: warnings.append(text))
            )
            stack.enter_context(mock.patch.object(basic.AnsibleModule, "add_path_info", lambda dummy, result: result))
            for user in (service, *map(_module, ("audit", "file", "text", "sadb", "preflight"))):
                stack.enter_context(mock.patch.object(user, "protected", self.files))
            stack.enter_context(mock.patch.object(_module("policy"), "Spd", lambda: self.spd))
            stack.enter_context(contextlib.redirect_stdout(stdout))
            stack.enter_context(contextlib.redirect_stderr(stderr))
            with contextlib.suppress(SystemExit):
                main()
        output = stdout.getvalue() + stderr.getvalue() + "\n".join(warnings)
        assert not any(form in output.lower() for form in MARKER_FORMS), "a key is in the output"
        result: dict[str, t.Any] = json.loads(stdout.getvalue())
        return {**result, "warnings": warnings}

    def four_times(self, module: str, **arguments: t.Any) -> list[dict[str, t.Any]]:
        """Run in check mode, for real, in check mode, for real."""
        return [self.run(module, check=check, **arguments) for check in (True, False, True, False)]


def _module(name: str) -> t.Any:
    return importlib.import_module(f"{COLLECTION}.plugins.module_utils._module.{name}")


def expect_once(results: t.Sequence[t.Mapping[str, t.Any]]) -> None:
    """Expect that check mode predicts the change and its difference, and that the second pair changes nothing."""
    assert [result.get("failed", False) for result in results] == [False] * 4, results
    assert [result["changed"] for result in results] == [True, True, False, False]
    assert results[0]["diff"] == results[1]["diff"]
    assert results[0]["diff"]["before"] != results[0]["diff"]["after"]
    assert results[2]["diff"] == results[3]["diff"]
    assert results[2]["diff"]["before"] == results[2]["diff"]["after"]
    # Check mode applies nothing.
    ignored = ("invocation", "applied")
    without = [{name: value for name, value in result.items() if name not in ignored} for result in results]
    assert without[0] == without[1]
    assert without[2] == without[3]


def sa(
    spi: int = 0x1001, source: str = "192.0.2.1", destination: str = "192.0.2.2", **fields: t.Any
) -> SecurityAssociation:
    """An SA with keys of its own."""
    material = spi.to_bytes(4, "big") + model.pack_address(destination)[-4:]
    given: dict[str, t.Any] = {
        "encryption": "aes-cbc",
        "encryption_key": b"\x5e\xc4\xe7\x01" + material * 3 + b"\x5e\xc4\xe7\x02",
        "authentication": "hmac-sha256",
        "authentication_key": b"\x5e\xc4\xe7\x03" + material * 3 + b"\x5e\xc4\xe7\x04",
        **fields,
    }
    return model.build("esp", spi, model.pack_address(destination), model.pack_address(source), **given)


def _seen(value: t.Any) -> t.Any:
    """The value with unprintable characters made visible, as the gate passes it on."""
    if isinstance(value, dict):
        return {name: _seen(part) for name, part in value.items()}
    if isinstance(value, list):
        return list(map(_seen, value))
    return visible(value) if isinstance(value, str) else value
