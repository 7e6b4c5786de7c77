# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The inputs of the role `rotate`, by name and host, read once before any host is asked."""

from __future__ import annotations

import contextlib
import difflib
import fnmatch
import math
import typing as t

from ansible_collections.ipsec.manual.plugins.module_utils._core.audit.service import file_problems
from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import InputError, IpsecError, raise_all
from ansible_collections.ipsec.manual.plugins.module_utils._core.spd.text import read_policies
from ansible_collections.ipsec.manual.plugins.module_utils._core.specs import IPSEC_BOOT

from .._inputs import CONNECTIONS, Inputs
from .._variables import Values, read_variables
from . import departures, due

_FLAG = {"type": "bool"}
_TEXT = {"type": "str"}

# One value for all hosts, because a decision is made once for all. The names are those of the role's
# variables without `rotate_`.
WIDE: dict[str, Values] = {
    "connections": {"type": "raw"},  # the reader of connections says what is wrong, and where
    "only": {"type": "list", "elements": "str"},
    "keystore": _TEXT,
    "vault_id": _TEXT,
    "store": {"type": "str", "choices": ["", "random", "derived"]},
    "new_keys": {**_FLAG, "no_log": False},
    "new_root": {**_FLAG, "no_log": False},
    "undo": _FLAG,
    "leave": {"type": "list", "elements": "str"},
    "state": {"type": "str", "choices": [*departures.STATES]},
    "when": {"type": "str", "choices": [*due.WHEN]},
    "due": {"type": "dict"},  # what it holds is checked by `due.read`
    "strategy": {"type": "str", "choices": ["overlap", "flush"]},
    "grace": {"type": "float", "range": (0, math.inf)},
    "allow_static_counter_mode": _FLAG,
    "trusted_transports": {"type": "list", "elements": "str"},
    "cutover_delay": {"type": "float", "range": (0, 299)},
    "clock_tolerance": {"type": "float", "range": (0, math.inf)},
    "probe": _FLAG,
    "probe_count": {"type": "int", "range": (1, 1000)},
    "report": _TEXT,
}
# One value for each host.
OWN: dict[str, Values] = {
    "file": _TEXT,
    "backend": {"type": "str", "choices": ["auto", "xfrm", "solaris", "pfkey"]},
    "timeout": {"type": "int", "range": (0, math.inf)},
    "policies": _FLAG,
    "policy_priority": {"type": "int"},
    "boot": _FLAG,
    "boot_policies": {"type": "list", "elements": "dict"},
    "secure_logging": _FLAG,
}
# Variables of the role `boot` that apply when `rotate` sets up loading at boot, and their defaults.
BOOT: dict[str, Values] = {
    "load": _FLAG,
    "ask_for_rotation": _FLAG,
    "service_manager": {"type": "str", "choices": ["", "systemd", "openrc", "sysvinit", "smf"]},
}
_BOOT_DEFAULTS = {"load": True, "ask_for_rotation": False, "service_manager": ""}
# All variables of the role `boot`.
BOOT_ROLE: dict[str, Values] = {
    "state": {"type": "str", "choices": ["absent", "present"]},
    "file": _TEXT,
    "policies": {"type": "list", "elements": "dict"},
    "operators": _TEXT,
    "operators_rights": IPSEC_BOOT["operators_rights"],
    **BOOT,
}
IGNORED = "ipsec_ignored_variables"
"""Names of variables that begin like those of a role and that something else uses; * stands for any characters."""

_IGNORED: dict[str, Values] = {"variables": {"type": "list", "elements": "str"}}
# The variables of each role by their prefix.
ROLES: dict[str, frozenset[str]] = {
    "rotate_": frozenset([*WIDE, *OWN]),
    "boot_": frozenset(BOOT_ROLE),
}
_NAMES = (
    "ipsec_address",
    "ipsec_connections",
    IGNORED,
    *(f"rotate_{name}" for name in ROLES["rotate_"]),
    *(f"boot_{name}" for name in BOOT),
)
# Variables with the same prefixes that the collection's playbooks have.
_OF_PLAYBOOKS = frozenset(["play_hosts"])
_LAST_PRIORITY = 0xFFFFFFFF - 1
_NEAR = 0.9  # of difflib: ipsec_conections, ipsec_connection, ipsec_connexions


def read_boot_inputs(inputs: Inputs, host: str) -> Values:
    """The options of `ipsec_boot` for a host, from the variables of the role `boot`. Raises every problem at once."""
    raise_all(inputs.shadowed([host], [f"boot_{name}" for name in BOOT_ROLE]))
    problems: list[IpsecError] = [*unknown(inputs, [host], {"boot_": ROLES["boot_"]})]
    values = read_variables(inputs, [host], BOOT_ROLE, "boot_", problems)[host]
    raise_all(problems)
    if values["state"] == "present":
        # The host would say so, too, but each for itself.
        problems += file_problems(values["file"], "boot_file")
        try:
            read_policies(values["policies"], "boot_policies", [])
        except IpsecError as exc:
            problems.append(exc)
        raise_all(problems)
    return {**values, "service_manager": values["service_manager"] or "auto"}


def read_inputs(inputs: Inputs, hosts: t.Iterable[str]) -> tuple[Values, dict[str, Values]]:
    """The inputs for all hosts, and each host's own, checked for their types. Raises every problem at once."""
    hosts = sorted(hosts)
    raise_all(inputs.shadowed(hosts, _NAMES))
    first = hosts[0]
    problems: list[IpsecError] = [*unknown(inputs, hosts, ROLES)]
    wide = read_variables(inputs, [first], WIDE, "rotate_", problems)[first]
    problems += _one_text(inputs, first)
    own = read_variables(inputs, hosts, OWN, "rotate_", problems)
    if wide.get("connections") == []:  # missing where it cannot be evaluated
        problems += misspelt_connections(inputs, hosts)
    for host, boot in read_variables(inputs, hosts, BOOT, "boot_", problems, _BOOT_DEFAULTS).items():
        # The role's variable is empty where the module says auto.
        own[host]["boot_options"] = {**boot, "service_manager": boot.get("service_manager") or "auto"}
        problems += [*_differences(inputs, wide, first, host), *_out_of_range(own[host], host)]
    raise_all(problems)
    due.read(wide["due"])
    return wide, own


def report_path(inputs: Inputs, hosts: t.Iterable[str]) -> str:
    """The value of rotate_report, empty if the inputs of the run do not tell."""
    for host in hosts:
        with contextlib.suppress(IpsecError):
            found = inputs.get(host, "rotate_report", "")
            return found if isinstance(found, str) else ""
    return ""


def unknown(
    inputs: Inputs,
    hosts: t.Iterable[str],
    roles: t.Mapping[str, frozenset[str]],
) -> list[IpsecError]:
    """Variables with the prefix of a role that it does not have, so that they would do nothing.

    ``roles`` has those of each role by their prefix. Somebody else's variables may begin with the same word: the
    user names them in `IGNORED`. What a task registered counts as nobody's.
    """
    problems: list[IpsecError] = []
    found: dict[str, list[str]] = {}
    names: dict[str, list[str]] = {}
    for host in hosts:
        names[host] = [name for name, value in inputs.raw(host).items() if _may_be_meant(name, value, roles)]
    asked = [host for host in names if names[host]]
    ignored = read_variables(inputs, asked, _IGNORED, "ipsec_ignored_", problems, {"variables": []})
    for host, values in ignored.items():
        # Where the list itself is wrong, only that is reported.
        patterns = values.get("variables", ["*"])
        for name in names[host]:
            if not any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns):
                found.setdefault(name, []).append(host)
    given = inputs.given()
    for name, owners in sorted(found.items()):
        (prefix,) = (prefix for prefix in roles if name.startswith(prefix))
        (near,) = difflib.get_close_matches(name, [prefix + word for word in sorted(roles[prefix])], 1, 0.0)
        where = "" if name in given else f", which {owners[0]} has,"
        problems.append(
            InputError(
                f"the role {prefix[:-1]} has no variable {name}{where} and would ignore it",
                "",
                f"The nearest name is {near}. If something else uses it, add it to the list {IGNORED}.",
            )
        )
    return problems


def _may_be_meant(name: str, value: t.Any, roles: t.Mapping[str, frozenset[str]]) -> bool:
    known = (roles[prefix] | _OF_PLAYBOOKS for prefix in roles if name.startswith(prefix))
    is_result = isinstance(value, t.Mapping) and {"changed", "failed"} <= value.keys()
    return not is_result and any(name.split("_", 1)[1] not in words for words in known)


def misspelt_connections(inputs: Inputs, hosts: t.Iterable[str]) -> list[InputError]:
    """A variable that seems to be meant for the connections, where there are none: all would seem to have left."""
    names = {name for host in hosts for name in inputs.raw(host)}
    near = difflib.get_close_matches(CONNECTIONS, sorted(names), 1, _NEAR)
    return [
        InputError(f"there are no connections, but a variable {name}", CONNECTIONS, "Correct its name.")
        for name in near
        if name != CONNECTIONS
    ]


def _one_text(inputs: Inputs, host: str) -> t.Iterator[InputError]:
    """Refuse a comma that would separate two words, as in any list of Ansible, if it may separate two hosts."""
    with contextlib.suppress(InputError):  # it was reported when all variables were read
        given = inputs.get(host, "rotate_only")
        if isinstance(given, str) and "," in given:
            yield InputError(
                f"{given} may be one pair of hosts, or several words",
                "rotate_only",
                'Write a list, on the command line -e \'{"rotate_only": ["HOST,HOST"]}\'.',
            )


def _out_of_range(own: Values, host: str) -> t.Iterator[InputError]:
    """While a connection changes, its previous policies may get the number after that of the new ones."""
    priority = own.get("policy_priority", 0)
    if not 0 <= priority <= _LAST_PRIORITY:
        yield InputError(
            f"{priority} is outside 0 to {_LAST_PRIORITY}",
            f"rotate_policy_priority of {host}",
            "Choose a number such that the one after it fits 32 bits, too; 1000 is the default.",
        )


def _differences(inputs: Inputs, wide: Values, first: str, host: str) -> t.Iterator[InputError]:
    if host == first:
        return
    ignored: list[IpsecError] = []
    for name, value in read_variables(inputs, [host], WIDE, "rotate_", ignored)[host].items():
        if value != wide.get(name):
            also = ", by default ipsec_connections," if name == "connections" else ""
            yield InputError(
                f"the variable rotate_{name}{also} has a different value for {host} than for {first}",
                "",
                "Define it once for all hosts of the play, in group_vars/all.yml or in the play.",
            )
