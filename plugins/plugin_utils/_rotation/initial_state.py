# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run begins with: its inputs, checked as far as possible without asking a host, and the connections that they
describe.
"""

from __future__ import annotations

import json
import time
import typing as t

from ansible_collections.ipsec.manual.plugins.module_utils._core.audit.service import file_problems
from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import (
    InputError,
    IpsecError,
    Problems,
    raise_all,
    raise_also,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.spd.text import read_policies

from .._connections.model import Connection
from .._connections.reader import read_connections
from .._inputs import Inputs
from .._keystore import undo
from .._keystore.directory import open_keystore
from . import departures, report_file
from .inputs import read_inputs
from .record import new_digest_key
from .rotation import Result
from .run import choose

if t.TYPE_CHECKING:
    from ansible.parsing.dataloader import DataLoader


def read(
    inputs: Inputs,
    known_groups: t.Mapping[str, t.Any],
    hosts: t.Sequence[str],
    play: str,
    loader: DataLoader,
    check_mode: bool,
) -> Result:
    """Read the inputs of the run, and check everything that can be checked without asking a host. ``play`` is the
    name of the play.
    """
    try:
        wide, own = read_inputs(inputs, hosts)
    except IpsecError as exc:
        raise_also(exc, _wrong_connections(inputs, hosts[0]))
        raise
    variables: dict[str, dict[str, t.Any]] = {}
    groups: dict[str, t.Any] = {}

    def variable_of(host: str, name: str) -> t.Any:
        known = variables.setdefault(name, {})
        return known.setdefault(host, inputs.get(host, name) if host in inputs else None)

    def hosts_of(group: str) -> t.Any:
        found = known_groups.get(group)
        return groups.setdefault(group, found if found is None else list(map(str, found)))

    place = inputs.place_of_connections(hosts[0], "rotate_connections")
    connections = read_connections(
        wide["connections"],
        wide["allow_static_counter_mode"],
        groups=hosts_of,
        variables=variable_of,
        place=place,
    )
    raise_all([*inputs.shadowed(hosts, variables), *_boot_problems(own)])
    state: Result = {
        "wide": wide,
        "own": own,
        "variables": variables,
        "groups": groups,
        "place": place,
        "play": play,
        "digest_key": new_digest_key(),
        "began": time.time(),
        "check_mode": check_mode,
        "due": False,
        "switching": False,
        "approved": False,
        "refusal": "",
        "leaving": False,
        "undo": _earlier_settings(loader, wide, connections, hosts, place) if wide["undo"] else {},
    }
    if wide["report"]:
        report_file.check(loader.path_dwim(wide["report"]))
    if wide["only"] and departures.is_asked_for(wide):
        raise InputError(
            "a run that is limited to some connections removes nothing",
            "rotate_only",
            "Run without it, or without rotate_leave and rotate_state.",
        )
    return state


def _wrong_connections(inputs: Inputs, host: str) -> list[IpsecError]:
    """What is wrong with the connections beside the settings, without what a wrong setting may have caused."""
    try:
        raw = inputs.get(host, "rotate_connections", [])
    except IpsecError:  # it is among the settings
        return []
    try:
        inputs.connections(raw, place=inputs.place_of_connections(host, "rotate_connections"))
    except Problems as exc:
        return [*exc.problems]
    except IpsecError as exc:
        return [exc]
    return []


def _boot_problems(own: t.Mapping[str, t.Mapping[str, t.Any]]) -> list[IpsecError]:
    """What cannot be loaded at boot although it should; each problem for the first host that has it."""
    files, policies = {}, {}
    for host, row in sorted(own.items(), reverse=True):
        if row["boot"]:
            files[row["file"]] = host
            policies[json.dumps(row["boot_policies"])] = host
    found: list[IpsecError] = []
    for file, host in files.items():
        found += file_problems(file, f"rotate_file of {host}")
    for text, host in policies.items():
        try:
            read_policies(json.loads(text), f"rotate_boot_policies of {host}", [])
        except IpsecError as exc:
            found.append(exc)
    return found


def _earlier_settings(
    loader: DataLoader, wide: Result, connections: t.Sequence[Connection], hosts: t.Sequence[str], place: str
) -> Result:
    """The earlier settings of the connections of this run, by name."""
    store = open_keystore(loader, wide["keystore"])
    problems: list[IpsecError] = []
    found = {}
    for connection in choose(connections, frozenset(hosts), wide["only"], place=place):
        whole = store.read(connection.name)
        try:
            if connection not in connections:
                raise InputError(
                    f"rotate_undo takes back the settings of connection {connection.name} as a whole",
                    "rotate_only",
                    "Name the connection, not hosts or pairs of it.",
                )
            found[connection.name] = undo.settings_before(
                connection, whole.present() if whole is not None else [], store.path(connection.name)
            )
        except InputError as exc:
            problems.append(exc)
    raise_all(problems)
    return found


def connections(state: t.Mapping[str, t.Any]) -> list[Connection]:
    """The connections of the inventory, those that are undone with their earlier settings."""
    return [
        undo.restored(connection, state["undo"][connection.name]) if connection.name in state["undo"] else connection
        for connection in inventory(state)
    ]


def inventory(state: t.Mapping[str, t.Any]) -> list[Connection]:
    """The connections of the inventory; none if the run removes everything."""
    wide = state["wide"]
    if wide["state"] == departures.ABSENT:
        return []
    return read_connections(
        wide["connections"],
        wide["allow_static_counter_mode"],
        groups=state["groups"].get,
        variables=lambda host, name: state["variables"].get(name, {}).get(host),
    )
