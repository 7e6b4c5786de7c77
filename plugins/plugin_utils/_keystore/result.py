# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The result of a step of the keystore, as `ipsec_keystore` returns it: without any key. Pure except for
the clock.
"""

from __future__ import annotations

import typing as t

from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.digest import digest, digest_by_owner
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import (
    NO_LIFETIMES,
    SecurityAssociation,
    format_address,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.text.render import render

from .._connections.flows import udp_port
from .._connections.model import Association, Connection, Unit, connection_of
from .._connections.units import names_of
from . import changes, owners, parts, records
from .facts import facts_of, facts_of_part
from .generations import Roots, sas_of
from .records import NEWEST, ConnectionRecord, Generation, KeyRecord
from .steps import Transition, UnitsOutcome

Result = t.Dict[str, t.Any]
Names = t.Mapping[str, t.Mapping[Unit, str]]


def of(step: Transition, connections: t.Sequence[Connection], digest_key: bytes) -> Result:
    """What was done, unit by unit, and what hosts should hold. ``connections`` are all of them."""
    secrets = step.roots.secrets()
    names = {connection.name: names_of(connection.name, connection.units()) for connection in connections}
    rows = [_Row(part, secrets, digest_key) for outcome in step.outcomes.values() for part in outcome.parts]
    views = [view for row in rows for view in row.views(names[row.connection.name])]
    ended = [
        {"outcome": records.RETIRED, **facts}
        for outcome in step.outcomes.values()
        if outcome.before.connection not in names
        for facts in facts_of(outcome.after)
    ]
    return {
        "connections": [*sorted(views, key=lambda view: (view["connection"], view["hosts"])), *ended],
        "hosts": _host_views(rows, names),
        "pending": any(row.record.next is not None for row in rows),
        **_fingerprints(rows, digest_key),
        "before": {pair: fingerprint for row in rows for pair, fingerprint in row.before().items()},
    }


class _Row:
    """Units of a connection with one outcome and one newest generation."""

    def __init__(self, part: UnitsOutcome, secrets: Roots, digest_key: bytes) -> None:
        self.outcome, self.record, self.connection = part
        self.generation = self.record.pick(NEWEST)
        self.units = self.connection.units()
        self._secrets = secrets
        self._digest_key = digest_key
        # A mesh has SAs for every two of its hosts, so they are counted and not stored.
        sas = self.sas()
        self.count = len(sas) // len(self.units)
        self.digest = digest(sas, digest_key)

    def sas(self) -> list[SecurityAssociation]:
        return sas_of(self.generation, self.connection.name, self._secrets) if self.generation else []

    def held(self) -> dict[str, str]:
        """The digests by two addresses and owner."""
        return _owned(self.generation, self.digest) if self.generation else {}

    def before(self) -> dict[str, str]:
        """The digests of the current generation, if hosts may hold a next or a discarded one."""
        current = self.record.current
        if current is None or not (self.record.abandoned or self.record.phase in records.IN_USE):
            return {}
        return _owned(current, digest(sas_of(current, self.connection.name, self._secrets), self._digest_key))

    def views(self, names: t.Mapping[Unit, str]) -> t.Iterator[Result]:
        """What is reported of each unit."""
        endpoints = self.generation.endpoints if self.generation else {}
        (dummy, groups), *dummy2 = self.connection.flows() if self.connection.multicast else [(b"", ())]
        common = {
            **facts_of_part(self.record),
            "outcome": self.outcome,
            "sas": self.count,
            "multicast": [*map(format_address, groups)],
            "counter_mode": self.connection.counter_mode,
            "anti_replay": any(row.replay_window for row in self.connection.associations),
            "abandoned": self.record.abandoned,
        }
        earlier = self._earlier()
        for unit in self.units:
            hosts = list(unit or self.connection.hosts)
            ends = {host: endpoints[host] for host in hosts} if endpoints else {}
            before = earlier.only({unit}).settings() if earlier is not None else {}
            changing = changes.changed(before, self.connection.only({unit}).settings()) if before else []
            yield {
                **common,
                "name": names[unit],
                "hosts": hosts,
                "endpoints": ends,
                "before": before,
                "changing": changing,
            }

    def _earlier(self) -> Connection | None:
        """The units when their current generation was made, if the settings of the next one differ."""
        current, following = self.record.current, self.record.next
        if current is None or following is None or current.settings == following.settings:
            return None
        return connection_of(self.record.connection, current.settings)


def _owned(generation: Generation, digests: t.Mapping[str, str]) -> dict[str, str]:
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


def _host_views(rows: t.Sequence[_Row], names: Names) -> dict[str, Result]:
    """What each host has to do with the units: their names, its addresses, and the kinds of SAs that its
    kernel must be able to carry.
    """
    found: dict[str, Result] = {}
    for row in rows:
        behind = changes.left_behind(row.record)
        kinds = [_kind(row.connection, association) for association in row.connection.associations]
        addresses = {endpoint.host: format_address(endpoint.address) for endpoint in row.connection.endpoints}
        for unit in row.units:
            name = names[row.connection.name][unit]
            for host in unit or row.connection.hosts:
                view = found.setdefault(
                    host, {"connections": [], "left_behind": [], "addresses": [], "associations": []}
                )
                view["connections"].append(name)
                view["left_behind"] += [name] if unit in behind else []
                view["addresses"] += [addresses[host]] if addresses[host] not in view["addresses"] else []
                view["associations"] += [kind for kind in kinds if kind not in view["associations"]]
    for view in found.values():
        for field in ("connections", "left_behind", "addresses"):
            view[field].sort()
    return dict(sorted(found.items()))


def _kind(connection: Connection, row: Association) -> Result:
    """An association as `ipsec_preflight` takes it."""
    common = {"mode": row.mode, "replay_window": 0, "esn": False, "udp_port": udp_port(connection, row)}
    return {**common, **row._replace(lifetimes=NO_LIFETIMES).options()}


def others(step: Transition, connections: t.Sequence[Connection]) -> Result:
    """All units with keys in use; of those outside this step, the settings that their keys were made for, if these have
    changed, and which are midway in a change of them; the connections that are not among ``connections``, and what
    left a connection.
    """
    known = {connection.name: connection.units() for connection in connections}
    hosts_of = {connection.name: frozenset(connection.hosts) for connection in connections}
    settings = {connection.name: connection.settings() for connection in connections}
    chosen = {
        name: frozenset[Unit]().union(*(part.connection.units() for part in outcome.parts))
        for name, outcome in step.outcomes.items()
    }
    records_of = {**step.others, **{name: outcome.after for name, outcome in step.outcomes.items()}}
    keyed: list[str] = []
    midway: list[str] = []
    outdated: dict[str, Result] = {}
    unnamed = []
    for name, whole in sorted(records_of.items()):
        used = [record for record in whole.present() if record.current is not None]
        units = frozenset[Unit]().union(*(record.units() for record in used))
        names = names_of(name, known.get(name, units))
        keyed += [names[unit] for unit in units if unit in names]
        for record in filter(is_midway, whole.present() if name in known else ()):
            midway += [names[unit] for unit in record.units() & known[name] - chosen.get(name, frozenset())]
        for record in used if name in known else ():
            left_out = _outdated(name, record.current, settings[name], known[name] - chosen.get(name, frozenset()))
            outdated.update({names[unit]: found for unit, found in left_out})
        if used and name not in known:
            current = [record.current for record in used if record.current is not None]
            unnamed.append(
                {
                    "name": name,
                    "generation": max(generation.generation for generation in current),
                    "hosts": sorted({host for generation in current for host in generation.endpoints}),
                }
            )
    return {
        "keyed": sorted(keyed),
        "outdated": outdated,
        "midway": sorted(midway),
        "unnamed": unnamed,
        "departed": [
            {"name": name, "hosts": sorted(hosts), "pairs": sorted(map(list, units))}
            for name, whole in sorted(records_of.items())
            # A run that is limited to others does not take back what has returned.
            for hosts in [changes.departed(whole).keys() - hosts_of.get(name, frozenset())]
            for units in [changes.left_units(whole) - known.get(name, frozenset())]
            if hosts or units
        ],
        "leaving": [
            row
            for name, whole in sorted(records_of.items())
            for row in _leaving(name, whole, known.get(name), step.owner)
        ],
    }


def is_midway(record: KeyRecord) -> bool:
    """Whether hosts may use SAs with other settings than those of the current generation."""
    current, following = record.current, record.next
    if current is None or following is None or record.phase not in records.IN_USE:
        return record.abandoned
    return record.abandoned or bool(changes.changed(current.settings, following.settings))


def _outdated(
    name: str, generation: Generation | None, settings: t.Mapping[str, t.Any], units: t.AbstractSet[Unit]
) -> t.Iterator[tuple[Unit, Result]]:
    """Those of the units whose settings have changed since the generation was made, and their settings then."""
    if generation is None:
        return
    earlier, is_outdated = connection_of(name, generation.settings), changes.outdated(generation, settings)
    for unit in earlier.units() & units:
        if is_outdated(unit):
            yield unit, earlier.only({unit}).settings()


def _leaving(
    name: str, whole: ConnectionRecord, present: t.AbstractSet[Unit] | None, owner: owners.Owner
) -> t.Iterator[Result]:
    """The units that left, those of a record together, with the settings of their generations. ``present`` are those
    of the connection, None if it is not among the connections. ``own`` is whether only the run's play has them,
    ``plays`` are all that do.
    """
    for record in whole.records:
        if record.left or present is None:
            part = parts.divided(record, (present or frozenset()).__contains__).get(False)
            found = part.held() if part is not None else []
            if found:
                yield {
                    "connection": name,
                    "own": owners.is_own(record, owner),
                    "plays": [play for play, dummy in record.plays if play],
                    "settings": [generation.settings for generation in found],
                    "selectors": [generation.selectors for generation in found],
                    "cleaned": list(record.cleaned) if record.cleaned is not None else None,
                }


def diff_of(step: Transition) -> list[Result]:
    """The records before and after, without keys."""
    # Removed keys may come from a root secret that is removed with them.
    secrets = {**step.roots_before.secrets(), **step.roots.secrets()}
    return [
        {
            "before_header": title,
            "after_header": title,
            "before": _shown(outcome.before, secrets),
            "after": _shown(outcome.after, secrets),
        }
        for outcome in step.outcomes.values()
        if outcome.before != outcome.after
        for title in [f"keystore, connection {outcome.after.connection}"]
    ]


def _shown(whole: ConnectionRecord, secrets: Roots) -> str:
    """The records without keys."""
    rows = []
    for record in whole.records:
        rows.append(f"phase {record.phase}" + (", left the connection" if record.left else ""))
        for name in (records.CURRENT, records.NEXT, records.PREVIOUS):
            generation = record.pick(name)
            if generation is not None:
                rows.append(f"{name}: generation {generation.generation} of {generation.created}, {generation.store}")
                sas = sas_of(generation, record.connection, secrets)
                rows.extend(f"  {render([sa], hide_keys=True).rstrip()}" for sa in sas)
    rows.extend(f"retired: generation {row.generation} of {row.created}" for row in whole.retired)
    return "".join(f"{row}\n" for row in rows)
