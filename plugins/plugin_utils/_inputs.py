# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Variables as the user of the controller wrote them, without the facts that hosts reported.

Ansible merges facts over inventory variables and role defaults. A host can report any fact, so it
could change the inputs of a run: its own and, through tasks that run once, those of all others.
Inputs are therefore evaluated by a copy of Ansible's variable manager that knows no facts, neither
from this run nor from a fact cache. Variables from `set_fact`, `register` and `include_vars` count,
because the author of the playbook chose their names and values."""

from __future__ import annotations

import copy
import typing as t

from ansible.template import Templar
from ansible.vars.hostvars import HostVars

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import InputError

from ._connections.model import Connection
from ._connections.reader import PLACE, read_connections

if t.TYPE_CHECKING:
    from ansible.plugins.action import ActionBase


CONNECTIONS = "ipsec_connections"
# Variables of Ansible that facts can override and that determine the host of a task.
_IDENTITY = ("inventory_hostname", "inventory_hostname_short", "group_names", "inventory_dir", "inventory_file")


class _NoFacts:
    """Stands in for the fact cache of `ansible.vars.manager.VariableManager`."""

    def get(self, host: str, default: t.Any = None) -> dict[str, t.Any]:
        return {}


class Inputs:
    """The variables of a task, host by host, without facts."""

    def __init__(self, action: ActionBase, task_vars: t.Mapping[str, t.Any]) -> None:
        hostvars = task_vars["hostvars"]
        self._groups = task_vars.get("groups", {})
        self._task = action._task
        self._loader = action._loader
        self._inventory = hostvars._inventory
        self._known = hostvars._variable_manager
        self._manager = copy.copy(self._known)
        self._manager._fact_cache = _NoFacts()
        # Becomes the copy's `hostvars`, so that a template cannot reach facts that way either.
        HostVars(self._inventory, self._manager, self._loader)
        self._variables: dict[str, dict[str, t.Any]] = {}

    def __contains__(self, host: str) -> bool:
        return self._inventory.get_host(host) is not None

    def hosts(self) -> frozenset[str]:
        """Every host of the inventory."""
        return frozenset(map(str, self._inventory.hosts))

    def given(self) -> frozenset[str]:
        """The names of the variables that the command line gives to this run."""
        return frozenset(map(str, self._known.extra_vars))

    def raw(self, host: str) -> dict[str, t.Any]:
        """All variables of a host for this task, not evaluated."""
        if host not in self._variables:
            found = self._inventory.get_host(host)
            self._variables[host] = self._manager.get_vars(play=self._task.get_play(), host=found, task=self._task)
        return self._variables[host]

    def get(self, host: str, name: str, default: t.Any = None) -> t.Any:
        """A variable of a host, with its templates evaluated; ``default`` if the host does not have it.

        Raises InputError if a template cannot be evaluated, for example because it uses facts.
        """
        variables = self.raw(host)
        if name not in variables:
            return default
        try:
            return _plain(Templar(loader=self._loader, variables=variables).template(variables[name]))
        except Exception as exc:
            reason = " ".join(str(exc).split())
            hint = (
                "Inputs are evaluated without facts, because a host could forge them. Write the value into the"
                " inventory or the play."
            )
            raise InputError(f"it cannot be evaluated: {reason}", f"{name} of {host}", hint) from None

    def connections(self, raw: t.Any, allow_static_counter_mode: bool = True, place: str = PLACE) -> list[Connection]:
        """Connections, with the groups of the inventory and the variables of its hosts."""
        return read_connections(
            raw,
            allow_static_counter_mode,
            groups=self._groups.get,
            variables=lambda host, name: self.get(host, name) if host in self else None,
            place=place,
        )

    def place_of_connections(self, host: str, variable: str) -> str:
        """The variable that the user wrote connections into: a role's, or the one that it has them from by default,
        wherever both have the same value.
        """
        usual = self.get(host, CONNECTIONS)
        return variable if usual is None or usual != self.get(host, variable, usual) else CONNECTIONS

    def facts(self, host: str) -> dict[str, t.Any]:
        """The facts of a host, from this run or from the fact cache."""
        try:
            return dict(self._known._fact_cache.get(host) or {})
        except KeyError:
            return {}

    def shadowed(self, hosts: t.Iterable[str], names: t.Collection[str]) -> list[InputError]:
        """Hosts whose facts would change an input of these names, because a fact has its name or that of a
        variable in its template.

        The facts change nothing here, but somebody is trying to change the run, or set a fact by mistake.
        """
        return [
            InputError(
                f"it reports facts that would change the variable {name}",
                host,
                "Find out why, since no module of this collection or of Ansible reports such facts. Where a"
                " playbook set them (set_fact with cacheable), write the value into the inventory, and empty the"
                " fact cache.",
            )
            for host in sorted(hosts)
            for name in self.overridden(host, names)
        ]

    def overridden(self, host: str, names: t.Collection[str]) -> list[str]:
        """The inputs of these names, and the variables that determine the host, that the host's facts would change."""
        facts = self.facts(host)
        if not facts:
            return []
        open_to_facts = self._known.get_vars(
            play=self._task.get_play(), host=self._inventory.get_host(host), task=self._task
        )
        return [
            name
            for name in sorted({*names, *_IDENTITY})
            if name in facts
            or (
                name not in _IDENTITY
                and name in open_to_facts
                and self._evaluated(open_to_facts, name) != self.get(host, name)
            )
        ]

    def _evaluated(self, variables: dict[str, t.Any], name: str) -> t.Any:
        try:
            return _plain(Templar(loader=self._loader, variables=variables).template(variables[name]))
        except Exception:
            return None


def _plain(value: t.Any) -> t.Any:
    """The value in plain Python types: Ansible's containers evaluate templates when read, and
    its strings carry tags.
    """
    if isinstance(value, t.Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_plain(part) for part in value]
    if value is None or isinstance(value, bool):
        return value
    return next((kind(value) for kind in (int, float, str) if isinstance(value, kind)), str(value))
