# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The work of ipsec_batch: several modules of this collection, one after the other in one process.

Each has its own options, checks them and logs them like a module of its own. A module that fails is the last.
"""

from __future__ import annotations

import json
import os
import traceback
import typing as t

from .._core import specs
from .._core.errors import InputError, IpsecError
from .base import Module, Result
from .secrets import take_secret


class _Ended(Exception):
    """A module failed on its own, perhaps before it was complete, with this message."""

    def __init__(self, call: _Call, message: str) -> None:
        super().__init__()
        self.call = call
        self.message = message


class _Call(Module):
    """A module whose options come from a call, and which does not end the process when it fails."""

    def __init__(self, options: Result, **spec: t.Any) -> None:
        self._options = options
        self.given_warnings: list[str] = []
        super().__init__(supports_check_mode=True, **spec)

    def _read_params(self) -> None:
        self.params = self._options

    def warn(self, warning: str, **dummy: t.Any) -> None:
        self.given_warnings.append(warning)

    def fail_json(self, msg: t.Any, **more: t.Any) -> None:
        raise _Ended(self, self.failure(msg))


def _work(name: str) -> t.Callable[[Module], Result]:
    """The work of a module. What it needs is imported when it is called, since not every system has an
    SPD that we know, and by statements that Ansible finds when it packs a module.
    """
    if name == "ipsec_boot":
        from .boot.module import apply_boot as work
    elif name == "ipsec_policy":
        from .policy import apply_policies as work
    elif name == "ipsec_preflight":
        from .preflight import preflight as work
    elif name == "ipsec_probe":
        from .probe import probe as work
    elif name == "ipsec_sadb":
        from .sadb import apply_sadb as work
    else:
        from .file import apply_file as work
    return work


_SPECS: t.Mapping[str, specs.Arguments] = {
    "ipsec_boot": {"argument_spec": specs.IPSEC_BOOT},
    "ipsec_policy": {"argument_spec": specs.IPSEC_POLICY, **specs.POLICY_RULES},
    "ipsec_preflight": {"argument_spec": specs.IPSEC_PREFLIGHT},
    "ipsec_probe": {"argument_spec": specs.IPSEC_PROBE},
    "ipsec_sadb": {"argument_spec": specs.IPSEC_SADB, **specs.SADB_RULES},
    "ipseckeys_file": {"argument_spec": specs.IPSECKEYS_FILE, **specs.FILE_RULES},
}


def apply_batch(module: Module) -> Result:
    """The answers of all modules, up to the first that fails; the batch itself fails only if the calls
    cannot be read.
    """
    text = take_secret(module, "calls") or ""
    answers = []
    for name, options, is_check in _read(text):
        answer = _call(module, name, options, is_check)
        answers.append(answer)
        if answer.get("failed"):
            break
    return {"changed": any(answer.get("changed") for answer in answers), "answers": answers}


def _read(text: str) -> list[tuple[str, Result, bool]]:
    try:
        found = [(call["module"], dict(call["options"]), bool(call.get("check"))) for call in json.loads(text)]
        unknown = [str(name) for name, dummy, dummy2 in found if name not in _SPECS]
    except (ValueError, TypeError, KeyError):
        # The reader's message would quote the text, which may hold keys.
        raise InputError("this is not a list of calls in JSON", "calls", "Use the role; it writes them.") from None
    if unknown:
        raise InputError(f"no call can name {', '.join(unknown)}", "calls", f"Known are: {', '.join(_SPECS)}.")
    return found


def _call(module: Module, name: str, options: Result, is_check: bool) -> Result:
    internal = {
        "_ansible_module_name": f"ipsec.manual.{name}",  # as in a task of its own, in the host's log
        "_ansible_check_mode": module.check_mode or is_check,
        "_ansible_diff": module._diff and not is_check,
        "_ansible_no_log": module.no_log,
        "_ansible_syslog_facility": module._syslog_facility,
    }
    call: _Call | None = None
    try:
        call = _Call({**internal, **options}, **_SPECS[name])
        answer = _work(name)(call)
    except _Ended as exc:
        call, answer = exc.call, {"failed": True, "msg": exc.message}
    except IpsecError as exc:
        answer = {"failed": True, "msg": str(exc)}
    except Exception as exc:  # pylint: disable=broad-except  # else the answers of the calls before would be lost
        answer = {"failed": True, "msg": _bug(exc)}
    if call is not None:
        module.no_log_values.update(call.no_log_values)
        if call.given_warnings:
            answer["warnings"] = call.given_warnings
    return answer


def _bug(exc: Exception) -> str:
    """What is said of an error that nobody foresaw: not its text, which may hold keys."""
    place = traceback.extract_tb(exc.__traceback__)[-1]
    why = f" ({exc.strerror})" if isinstance(exc, OSError) and exc.strerror else ""
    return (
        f"it ended with {type(exc).__name__}{why} in {os.path.basename(place.filename)}, line {place.lineno}. This is a"
        " bug of the collection: report it."
    )
