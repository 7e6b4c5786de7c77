# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin runs on the controller; its documentation is in plugins/modules/ipsec_keystore.py.

"""Manage the generations of connections: the controller's side of a rotation."""

from __future__ import annotations

import multiprocessing
import os
import typing as t

from ansible import constants as C
from ansible.plugins.action import ActionBase

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import InputError, IpsecError, raise_all
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.digest import digest, digest_by_owner
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import (
    NO_LIFETIMES,
    SecurityAssociation,
    format_address,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.text.render import render
from ansible_collections.ipsec.manual.plugins.module_utils._core.text.values import parse_digest_key, parse_number
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.model import Connection
from ansible_collections.ipsec.manual.plugins.plugin_utils._connections.reader import read_connections
from ansible_collections.ipsec.manual.plugins.plugin_utils._inputs import Inputs
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore import changes, records, steps
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.directory import open_keystore
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.facts import facts_of
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.generations import Roots, sas_of
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.lease import Lease, Runner, actor
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.records import NEWEST, KeyRecord
from ansible_collections.ipsec.manual.plugins.plugin_utils._keystore.steps import Order, Outcome
from ansible_collections.ipsec.manual.plugins.plugin_utils._rotation.run import Run, choose, run_problems

ARGUMENTS: dict[str, t.Any] = {
    "state": {"type": "str", "choices": [*steps.STATES, "released"], "default": "prepared"},
    "directory": {"type": "path", "required": True},
    "connections": {"type": "list", "elements": "dict", "required": True},
    "only": {"type": "list", "elements": "str", "default": []},
    "store": {"type": "str", "choices": list(records.STORES)},
    "new_keys": {"type": "bool", "default": False, "no_log": False},
    "new_root": {"type": "bool", "default": False, "no_log": False},
    "check_run": {"type": "bool", "default": False},
    "trusted_transports": {"type": "list", "elements": "str", "default": []},
    "taken_spis": {"type": "list", "elements": "str", "default": []},
    "digest_key": {"type": "str", "no_log": True},
    "allow_static_counter_mode": {"type": "bool", "default": False},
    "force": {"type": "bool", "default": False},
    "vault_id": {"type": "str", "default": ""},
}


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        dummy, arguments = self.validate_argument_spec(argument_spec=ARGUMENTS)
        try:
            result.update(
                self.release(arguments["directory"])
                if arguments["state"] == "released"
                else self._work(arguments, task_vars or {})
            )
        except IpsecError as exc:
            result.update(failed=True, msg=str(exc))
        return result

    def _work(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        inputs = Inputs(self, task_vars)
        connections = read_connections(
            arguments["connections"],
            arguments["allow_static_counter_mode"],
            groups=task_vars.get("groups", {}).get,
            variables=lambda host, name: inputs.get(host, name) if host in inputs else None,
        )
        return self.keep(arguments, connections, run_of(self, task_vars, inputs), bool(self._task.check_mode))

    def keep(
        self, arguments: t.Mapping[str, t.Any], connections: t.Sequence[Connection], run: Run, dry: bool
    ) -> dict[str, t.Any]:
        """Carry out ``arguments``, or with ``dry`` only report what would be done. Raises IpsecError."""
        known = {connection.name for connection in connections}
        # A removed connection is named in `only`, but is not among the connections.
        ended = [name for name in arguments["only"] if name not in known] if arguments["state"] == steps.RETIRED else []
        only = [name for name in arguments["only"] if name not in ended]
        chosen = choose(connections, run.hosts, only) if only or not ended else []
        if arguments["check_run"]:
            raise_all(run_problems(chosen, run, arguments["trusted_transports"]))
            if C.DEFAULT_KEEP_REMOTE_FILES:
                raise InputError(
                    "Ansible would keep modules and their keys in files of the hosts",
                    "ANSIBLE_KEEP_REMOTE_FILES",
                    "Unset it for this run.",
                )
        order = Order(
            state=arguments["state"],
            by=actor(),
            store=arguments["store"] or "",
            new_keys=arguments["new_keys"],
            renew=frozenset(arguments.get("renew", ())),
            undo=arguments.get("undo", False),
            new_root=arguments["new_root"],
            force=arguments["force"],
            # Any number: a host may report 0 and the reserved 1 to 255, which are never drawn.
            reported=frozenset(parse_number(spi, 32, "taken_spis") for spi in arguments["taken_spis"]),
            ended=tuple(ended),
        )
        digest_key = parse_digest_key(arguments["digest_key"], "digest_key") if arguments["digest_key"] else b""
        store = open_keystore(self._loader, arguments["directory"], arguments["vault_id"])
        runner = _this_run()
        if not dry:
            store.make_directory()
        with store.lock(runner, create=not dry) as lease:
            step = steps.carry_out(store, chosen, order, dry)
            if not dry:
                _settle(lease, runner, arguments["state"])
        return {
            **self._result(chosen, step, digest_key),
            **(_others(step, known) if arguments["state"] == steps.PREPARED else {}),
        }

    def release(self, directory: str) -> dict[str, t.Any]:
        """Release the lease. No other input is read, so this works even if everything else was refused."""
        if not self._task.check_mode:
            open_keystore(self._loader, directory).leave(_this_run())
        return {"changed": False}

    def _result(self, chosen: t.Sequence[Connection], step: steps.Transition, digest_key: bytes) -> dict[str, t.Any]:
        secrets = step.roots.secrets()
        rows = [_Row(connection, step.outcomes[connection.name], secrets, digest_key) for connection in chosen]
        behind = {row.record.connection: changes.left_behind(row.record) for row in rows}
        result: dict[str, t.Any] = {
            "changed": step.changed,
            "connections": [
                *(row.view() for row in rows),
                *(
                    {"outcome": outcome.outcome, **facts_of(outcome.after)}
                    for name, outcome in step.outcomes.items()
                    if name not in behind
                ),
            ],
            "hosts": {
                host: _host_view(host, chosen, behind)
                for host in sorted({host for connection in chosen for host in connection.hosts})
            },
            "pending": any(row.record.next is not None for row in rows),
            **_fingerprints(rows, digest_key),
            "before": {pair: fingerprint for row in rows for pair, fingerprint in row.before().items()},
        }
        if self._task.diff:
            # Removed keys may come from a root secret that is removed with them.
            secrets = {**step.roots_before.secrets(), **secrets}
            result["diff"] = [
                {
                    "before_header": title,
                    "after_header": title,
                    "before": _shown(before, secrets),
                    "after": _shown(after, secrets),
                }
                for dummy, before, after in step.outcomes.values()
                if before != after
                for title in [f"keystore, connection {after.connection}"]
            ]
        return result


def run_of(action: ActionBase, task_vars: t.Mapping[str, t.Any], inputs: Inputs) -> Run:
    """Ansible's view of the run, and the transports of its hosts from the inventory."""
    hosts = frozenset(map(str, task_vars.get("ansible_play_hosts", ())))
    return Run(
        hosts=hosts,
        batch=frozenset(map(str, task_vars.get("ansible_play_batch", ()))),
        inventory=inputs.hosts(),
        strategy=str(getattr(action._task.get_play(), "strategy", "linear")),
        transports={
            host: str(inputs.get(host, "ansible_connection", action._task.connection))
            for host in hosts
            if host in inputs
        },
    )


class _Row:
    """A connection, its outcome, and its newest generation."""

    def __init__(self, connection: Connection, outcome: Outcome, secrets: Roots, digest_key: bytes) -> None:
        self.connection = connection
        self.outcome = outcome.outcome
        self.record = outcome.after
        self.generation = self.record.pick(NEWEST)
        self._secrets = secrets
        self._digest_key = digest_key
        # A mesh has SAs for every two of its hosts, so they are counted and not stored.
        sas = self.sas()
        self.count = len(sas)
        self.digest = digest(sas, digest_key)

    def sas(self) -> list[SecurityAssociation]:
        return sas_of(self.generation, self.connection.name, self._secrets) if self.generation else []

    def held(self) -> dict[str, str]:
        """The digests by two addresses and owner."""
        return _owned(self.generation, self.digest) if self.generation else {}

    def before(self) -> dict[str, str]:
        """The digests of the current generation, if hosts may hold a discarded one."""
        current = self.record.current
        if current is None or not changes.has_abandoned(self.record):
            return {}
        return _owned(current, digest(sas_of(current, self.connection.name, self._secrets), self._digest_key))

    def view(self) -> dict[str, t.Any]:
        facts = facts_of(self.record)
        return {
            **facts,
            "outcome": self.outcome,
            "sas": self.count,
            "endpoints": self.generation.endpoints if self.generation else {},
            "multicast": (
                [format_address(address) for address in next(self.connection.flows())[1]]
                if self.connection.multicast
                else []
            ),
            "counter_mode": self.connection.counter_mode,
            "anti_replay": any(row.replay_window for row in self.connection.associations),
            "abandoned": changes.has_abandoned(self.record),
        }


def _owned(generation: records.Generation, digests: t.Mapping[str, str]) -> dict[str, str]:
    """Digests by two addresses and owner; all SAs of a generation have one owner."""
    reqid, mark, if_id = (generation.settings[name] for name in ("reqid", "mark", "if_id"))
    return {f"{pair}#{reqid},{mark},{if_id}": fingerprint for pair, fingerprint in digests.items()}


def _fingerprints(rows: t.Sequence[_Row], digest_key: bytes) -> dict[str, dict[str, str]]:
    """What the hosts should hold between any two addresses: in total, by owner, and in the file."""
    stored = [row for row in rows if not row.connection.counter_mode]
    if sum(len(row.digest) for row in rows) > len({pair for row in rows for pair in row.digest}):
        # Connections have exchanged addresses since their generations were made.
        everything = [sa for row in rows for sa in row.sas()]
        return {
            "digest": digest(everything, digest_key),
            "held": digest_by_owner(everything, digest_key),
            "stored": digest([sa for row in stored for sa in row.sas()], digest_key),
        }
    return {
        "digest": {pair: fingerprint for row in rows for pair, fingerprint in row.digest.items()},
        "held": {pair: fingerprint for row in rows for pair, fingerprint in row.held().items()},
        "stored": {pair: fingerprint for row in stored for pair, fingerprint in row.digest.items()},
    }


def _others(step: steps.Transition, known: t.AbstractSet[str]) -> dict[str, t.Any]:
    """All connections with keys in use, those not in ``known``, and the hosts that left a connection."""
    keyed = {name: record.current for name, record in step.others.items() if record.current is not None}
    own = [name for name, outcome in step.outcomes.items() if outcome.after.current is not None]
    return {
        "keyed": sorted((*keyed, *own)),
        "unnamed": [
            {"name": name, "generation": generation.generation, "hosts": sorted(generation.endpoints)}
            for name, generation in sorted(keyed.items())
            if name not in known
        ],
        "departed": [
            {"name": name, "hosts": left}
            for name, record in sorted(
                {**step.others, **{name: outcome.after for name, outcome in step.outcomes.items()}}.items()
            )
            for left in [sorted(changes.departed(record))]
            if left
        ],
    }


def _host_view(
    host: str, chosen: t.Sequence[Connection], behind: t.Mapping[str, t.AbstractSet[str]]
) -> dict[str, t.Any]:
    """What a host has to do with the connections: names, its addresses, and the kinds of SAs that
    its kernel must be able to carry.

    ``behind`` are the endpoints, by connection, of current generations that the next ones leave behind.
    """
    mine = [connection for connection in chosen if any(endpoint.host == host for endpoint in connection.endpoints)]
    kinds = {row._replace(lifetimes=NO_LIFETIMES): None for connection in mine for row in connection.associations}
    return {
        "connections": [connection.name for connection in mine],
        "left_behind": [connection.name for connection in mine if host in behind[connection.name]],
        "addresses": sorted(
            {
                format_address(endpoint.address)
                for connection in mine
                for endpoint in connection.endpoints
                if endpoint.host == host
            }
        ),
        "associations": [
            {
                "protocol": row.protocol,
                "mode": row.mode,
                **({"encryption_algorithm": row.encryption} if row.encryption else {}),
                **({"encryption_bits": row.encryption_bits} if row.encryption_bits else {}),
                **({"authentication_algorithm": row.authentication} if row.authentication else {}),
                **({"icv_bits": row.icv_bits} if row.icv_bits else {}),
                "replay_window": row.replay_window,
                "esn": row.esn,
            }
            for row in kinds
        ],
    }


def _this_run() -> Runner:
    """The run that this task belongs to: the parent of this process.

    The parent comes from multiprocessing, because workers survive a killed run and getppid() then
    returns 1."""
    parent = multiprocessing.parent_process()
    pid = parent.pid if parent is not None and parent.pid is not None else os.getppid()
    if pid != os.getppid():
        raise InputError("the run that this task belongs to has ended", f"process {pid}", "Run again.")
    return Runner.of(pid)


def _settle(lease: Lease | None, runner: Runner, state: str) -> None:
    if lease is None:
        return
    if state in ("prepared", "switching", "retiring"):
        lease.take(runner)
    elif state != "promoted":
        # After promotion the run still cleans up on the hosts, so no other run may begin.
        lease.release()


def _shown(record: KeyRecord, secrets: Roots) -> str:
    """The record without keys."""
    rows = [f"phase {record.phase}"]
    for name in (records.CURRENT, records.NEXT, records.PREVIOUS):
        generation = record.pick(name)
        if generation is not None:
            rows.append(f"{name}: generation {generation.generation} of {generation.created}, {generation.store}")
            sas = sas_of(generation, record.connection, secrets)
            rows.extend(f"  {render([sa], hide_keys=True).rstrip()}" for sa in sas)
    rows.extend(f"retired: generation {row.generation} of {row.created}" for row in record.retired)
    return "".join(f"{row}\n" for row in rows)
